use crate::{PatientMasks, Result};
use oncograph_imaging::Mask;
use oncograph_imaging::morphology::{Connectivity, components};

/// What a segmentation says without a network, by the names of their columns: all lesions' volume in ml, how many lesions
/// there are, the largest diameter of one in cm, and the share of the liver that is to remain.
pub const MASK_NUMBERS: [&str; 4] =
    ["tumour_volume_ml", "tumour_count", "tumour_diameter_cm", "remnant_share"];

/// Directions in a slice along which a lesion is measured: the largest of them is at most 0.1 % short of the diameter.
const DIRECTIONS: usize = 36;

/// The [`MASK_NUMBERS`] of a patient, from the masks as they were segmented; `None` where a structure is missing.
///
/// Lesions are the connected components of all tumour together (faces, edges and corners); a diameter is the largest extent
/// within a slice, as it is measured by hand.
///
/// # Errors
/// An error of the images.
///
/// # Reference
/// Eisenhauer et al., *New response evaluation criteria in solid tumours: revised RECIST guideline (version 1.1)*, European
/// Journal of Cancer 45, 2009, for the diameter.
pub fn mask_numbers(masks: &PatientMasks) -> Result<[Option<f64>; 4]> {
    let some = |mask: &Option<Mask>| mask.as_ref().map(Mask::count).filter(|count| *count > 0);
    let share = some(&masks.remnant).zip(some(&masks.liver)).map(|(rest, all)| rest as f64 / all as f64);
    let Some(tumour) = masks.tumour.as_ref().filter(|tumour| tumour.count() > 0) else {
        return Ok([None, None, None, share]);
    };
    let spacing = tumour.grid().spacing();
    let lesions = components(tumour, Connectivity::Corners)?;
    let volume = tumour.count() as f64 * spacing.iter().product::<f64>() / 1e3;
    let diameter =
        largest_extent(lesions.volume.as_slice(), tumour.shape(), [spacing[0], spacing[1]], lesions.len());
    Ok([Some(volume), Some(lesions.len() as f64), Some(diameter / 10.0), share])
}

/// The largest extent within a slice of one of `count` lesions, in mm, from the outer edges of its voxels.
fn largest_extent(labels: &[i32], [nx, ny, _]: [usize; 3], spacing: [f64; 2], count: usize) -> f64 {
    let directions: Vec<[f64; 2]> = (0..DIRECTIONS)
        .map(|k| (k as f64 * std::f64::consts::PI / DIRECTIONS as f64).sin_cos())
        .map(|(sin, cos)| [cos, sin])
        .collect();
    let mut largest: f64 = 0.0;
    for slice in labels.chunks(nx * ny) {
        if slice.iter().all(|l| *l == 0) {
            continue;
        }
        let mut ends = vec![[f64::INFINITY, f64::NEG_INFINITY]; count * DIRECTIONS];
        for (at, &label) in slice.iter().enumerate().filter(|(_, l)| **l > 0) {
            let point = [(at % nx) as f64 * spacing[0], (at / nx) as f64 * spacing[1]];
            let of_lesion = &mut ends[(label as usize - 1) * DIRECTIONS..][..DIRECTIONS];
            for (end, d) in of_lesion.iter_mut().zip(&directions) {
                let along = point[0] * d[0] + point[1] * d[1];
                *end = [end[0].min(along), end[1].max(along)];
            }
        }
        for (i, [low, high]) in ends.into_iter().enumerate().filter(|(_, end)| end[0] <= end[1]) {
            let d = directions[i % DIRECTIONS];
            // Half a voxel at each end.
            let voxel = (spacing[0] * d[0]).hypot(spacing[1] * d[1]);
            largest = largest.max(high - low + voxel);
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_imaging::{Frame, Grid};

    #[test]
    fn boxes_and_discs_by_hand() {
        let grid = Grid::axis_aligned([60, 60, 10], [0.5, 0.5, 4.0], [0.0; 3]).unwrap();
        let mask = |inside: &dyn Fn([usize; 3]) -> bool| {
            Some(Mask::from_fn(grid.clone(), Frame::default(), |i| u8::from(inside(i))))
        };
        let disc = |i: [usize; 3]| (i[0] as f64 - 30.0).hypot(i[1] as f64 - 30.0) <= 10.0 && i[2] == 4;
        let masks = PatientMasks {
            liver: mask(&|i| i[2] > 1),
            remnant: mask(&|i| i[2] > 5),
            tumour: mask(&|i| disc(i) || (i[0] < 4 && i[1] < 3 && i[2] > 7)),
            ..PatientMasks::default()
        };
        let [volume, count, diameter, share] = mask_numbers(&masks).unwrap().map(Option::unwrap);
        let voxels = masks.tumour.as_ref().unwrap().count() as f64;
        approx::assert_relative_eq!(volume, voxels * 0.5 * 0.5 * 4.0 / 1e3, max_relative = 1e-12);
        assert_eq!((count, share), (2.0, 0.5));
        // 21 voxels of 0.5 mm.
        assert!((diameter - 1.05).abs() < 0.02, "{diameter}");
        let none = mask_numbers(&PatientMasks { tumour: None, remnant: None, ..masks }).unwrap();
        assert_eq!(none, [None; 4]);
    }
}
