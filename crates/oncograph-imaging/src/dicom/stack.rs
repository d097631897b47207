//! From places in the patient to one grid.

use super::choose::hint;
use super::frames::{self, Image, dot};
use super::options::SeriesOptions;
use crate::error::{Error, Result};
use crate::grid::Grid;
use nalgebra::Matrix4;
use std::path::PathBuf;

/// The slices must agree in all that a grid assumes; the message lists the files that differ from the first.
pub(super) fn require_uniform(slices: &[Image]) -> Result<()> {
    type Same = fn(&Image, &Image) -> bool;
    fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    }
    let checks: [(&str, Same); 5] = [
        ("image size (rows x columns)", |a, b| {
            (a.plane.rows, a.plane.columns) == (b.plane.rows, b.plane.columns)
        }),
        ("orientation", |a, b| near(&a.plane.orientation, &b.plane.orientation, 1e-4)),
        ("pixel spacing", |a, b| near(&a.plane.spacing, &b.plane.spacing, 1e-4 * a.plane.spacing[0])),
        ("frame of reference", |a, b| a.file.frame_uid == b.file.frame_uid),
        ("SOP class", |a, b| a.file.class_uid == b.file.class_uid),
    ];
    let first = &slices[0];
    for (what, same) in checks {
        let others: Vec<&Image> = slices.iter().filter(|s| !same(first, s)).collect();
        if let Some(other) = others.first() {
            let detail = format!("{} of {} slices have another {what}", others.len(), slices.len());
            let detail = format!("{detail} than {}{}", first.file.path.display(), hint(slices, first, other));
            let files = others.iter().map(|s| s.file.path.clone()).collect();
            return Err(Error::Series { series: first.file.series_uid.clone(), detail, files });
        }
    }
    Ok(())
}

/// The vector from one slice's origin to the next, after checking that the slices are evenly placed.
pub(super) fn slice_step(slices: &[Image], normal: [f64; 3], options: &SeriesOptions) -> Result<[f64; 3]> {
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    let fail = |detail: String, pair: &[Image]| {
        let mut files: Vec<PathBuf> = pair.iter().map(|s| s.file.path.clone()).collect();
        files.dedup();
        Err(Error::Series { series: first.file.series_uid.clone(), detail, files })
    };
    if slices.len() == 1 {
        let thickness = frames::thickness(first)?;
        return Ok(normal.map(|v| v * thickness));
    }
    let heights: Vec<f64> = slices.iter().map(|s| dot(s.plane.position, normal)).collect();
    let mut gaps: Vec<f64> = heights.windows(2).map(|w| w[1] - w[0]).collect();
    if let Some(i) = gaps.iter().position(|g| *g < 1e-3) {
        let (one, other) = (&slices[i], &slices[i + 1]);
        let place = format!("two slices at the same position {:?}", one.plane.position);
        return fail(format!("{place}{}", hint(slices, one, other)), &slices[i..i + 2]);
    }
    let listed = gaps.clone();
    gaps.sort_by(f64::total_cmp);
    let usual = gaps[gaps.len() / 2];
    // Positions are often rounded to micrometres in the file.
    let tolerance = (options.spacing_tolerance * usual).max(2e-3);
    if let Some(i) = listed.iter().position(|g| (g - usual).abs() > tolerance) {
        let mut detail =
            format!("uneven spacing: {:.4} mm between two slices, {usual:.4} mm elsewhere", listed[i]);
        let off = listed.iter().map(|g| (g - usual).abs()).fold(0.0, f64::max) / usual;
        if off <= 0.5 {
            detail += &format!(" (positions that were rounded? spacing_tolerance {off:.2} accepts them)");
        }
        return fail(detail, &slices[i..i + 2]);
    }
    let count = (slices.len() - 1) as f64;
    let step: [f64; 3] = std::array::from_fn(|a| (last.plane.position[a] - first.plane.position[a]) / count);
    for (i, slice) in slices.iter().enumerate() {
        let off = (0..3).map(|a| slice.plane.position[a] - first.plane.position[a] - step[a] * i as f64);
        let off = off.map(|d| d * d).sum::<f64>().sqrt();
        if off > tolerance.max(1e-2) {
            return fail(
                format!("slice {i} lies {off:.3} mm off the line through the first and last"),
                &slices[i..=i],
            );
        }
    }
    let along = dot(step, normal) / dot(step, step).sqrt();
    if along < 0.9999 {
        tracing::warn!(
            series = first.file.series_uid,
            "slices are sheared against each other (tilted gantry)"
        );
    }
    Ok(step)
}

/// The grid in RAS+: the first two world axes of DICOM's LPS+ change sign.
pub(super) fn grid_of(slices: &[Image], step: [f64; 3]) -> Result<Grid> {
    let plane = &slices[0].plane;
    let [x, y] = plane.axes();
    let mut affine = Matrix4::identity();
    for row in 0..3 {
        let sign = if row < 2 { -1.0 } else { 1.0 };
        affine[(row, 0)] = sign * x[row] * plane.spacing[1];
        affine[(row, 1)] = sign * y[row] * plane.spacing[0];
        affine[(row, 2)] = sign * step[row];
        affine[(row, 3)] = sign * plane.position[row];
    }
    Grid::new([plane.columns, plane.rows, slices.len()], affine)
}
