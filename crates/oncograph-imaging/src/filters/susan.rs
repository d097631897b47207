use crate::error::{Error, Result};
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;
use std::cmp::Ordering;

/// Below this sum of weights a voxel counts as unlike all around it.
const ALONE: f64 = 1e-6;

/// SUSAN smoothing in three dimensions: the mean of the voxels around, weighted by nearness and by likeness, so that noise is
/// averaged and edges stay.
///
/// J(x) = Σ I(y) w(y) / Σ w(y) with w(y) = exp(−|y − x|² / 2σ² − (I(y) − I(x))² / t²), over the voxels y ≠ x of the volume
/// within 2σ, and at least the next voxel along each axis. The voxel itself does not count, which removes single outliers. Where
/// no voxel around is like it (Σ w < 1e-6) the result is the median of the up to 26 voxels that touch it; a volume of one
/// voxel stays as it is. Voxels beyond the edge do not take part. NaN spreads to the voxels around.
///
/// `brightness` is t, the difference that still counts as noise: three quarters of the contrast between tissue and background is a
/// common choice. The cost is the number of voxels within 2σ, each with an exponential.
///
/// # Units
/// `sigma` in mm, `brightness` in the volume's unit.
///
/// # Errors
/// A sigma or brightness that is not above 0 and finite, or a sigma so large that 2σ spans more than 64 voxels.
///
/// # Example
/// ```
/// use oncograph_imaging::filters::susan;
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([6, 1, 1], [1.0; 3], [0.0; 3])?;
/// let step = Volume::new(grid, Frame::default(), vec![9.0_f32, 11.0, 10.0, 109.0, 111.0, 110.0])?;
/// let smooth = susan(&step, 1.0, 20.0)?;
/// // The noise is smaller, the edge is where it was.
/// assert!(smooth.as_slice()[..3].iter().all(|v| (v - 10.0).abs() < 0.9));
/// assert!(smooth.as_slice()[3..].iter().all(|v| (v - 110.0).abs() < 0.9));
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// Smith & Brady, SUSAN: a new approach to low level image processing, 1997, equation 36. FSL's `susan` is by the same author;
/// its window is shaped and cut differently, so that its numbers are close to these but not the same.
pub fn susan<T: Voxel>(volume: &Volume<T>, sigma: f64, brightness: f64) -> Result<Volume<f64>> {
    let window = window(volume.grid().spacing(), sigma, brightness)?;
    let shape = volume.shape();
    let [nx, ny, nz] = shape.map(|n| n as i64);
    let source = volume.as_slice();
    let scale = 1.0 / (brightness * brightness);
    let mut data = vec![0.0; source.len()];
    data.par_chunks_mut(shape[0]).enumerate().for_each(|(row, line)| {
        let (y, z) = ((row % shape[1]) as i64, (row / shape[1]) as i64);
        let at = |x: i64, [dx, dy, dz]: [i64; 3]| {
            let (x, y, z) = (x + dx, y + dy, z + dz);
            let inside = (0..nx).contains(&x) && (0..ny).contains(&y) && (0..nz).contains(&z);
            inside.then(|| source[(x + nx * (y + ny * z)) as usize].to_f64())
        };
        for (x, out) in (0..nx).zip(line) {
            let own = source[(x + nx * (y + ny * z)) as usize].to_f64();
            let (mut sum, mut total) = (0.0, 0.0);
            for (offset, far) in &window {
                if let Some(value) = at(x, *offset) {
                    let unlike = value - own;
                    let weight = (far - unlike * unlike * scale).exp();
                    sum += weight * value;
                    total += weight;
                }
            }
            *out = if total < ALONE { median_around(own, |offset| at(x, offset)) } else { sum / total };
        }
    });
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

/// The voxels of the window without the middle, in the order of the grid, each with the logarithm of its weight by distance.
fn window(spacing: [f64; 3], sigma: f64, brightness: f64) -> Result<Vec<([i64; 3], f64)>> {
    for (argument, value) in [("sigma", sigma), ("brightness", brightness)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(Error::argument("susan", argument, "a finite number above 0", value));
        }
    }
    let reach = spacing.map(|s| (2.0 * sigma / s).floor().max(1.0));
    if reach.iter().any(|r| *r > 64.0) {
        return Err(Error::argument(
            "susan",
            "sigma",
            "at most 32 voxels",
            format!("{sigma} mm with voxels of {spacing:?} mm"),
        ));
    }
    let [rx, ry, rz] = reach.map(|r| r as i64);
    let mut all = vec![];
    for dz in -rz..=rz {
        for dy in -ry..=ry {
            for dx in -rx..=rx {
                let offset = [dx, dy, dz];
                let squared: f64 = (0..3).map(|k| (offset[k] as f64 * spacing[k]).powi(2)).sum();
                let next = offset.iter().map(|d| d.abs()).sum::<i64>() == 1;
                let within = squared <= (2.0 * sigma).powi(2) && offset != [0; 3];
                if within || next {
                    all.push((offset, -squared / (2.0 * sigma * sigma)));
                }
            }
        }
    }
    Ok(all)
}

/// The median of the voxels that touch one, of an even number the mean of the middle two; `own` where there are none.
fn median_around(own: f64, at: impl Fn([i64; 3]) -> Option<f64>) -> f64 {
    let mut values = Vec::with_capacity(26);
    for i in (0..27_i64).filter(|i| *i != 13) {
        values.extend(at([i % 3 - 1, i / 3 % 3 - 1, i / 9 - 1]));
    }
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    match values.len() {
        0 => own,
        n => (values[(n - 1) / 2] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    fn line(values: &[f64]) -> Volume<f64> {
        let grid = Grid::axis_aligned([values.len(), 1, 1], [2.0; 3], [0.0; 3]).unwrap();
        Volume::new(grid, Frame::default(), values.to_vec()).unwrap()
    }

    #[test]
    fn three_voxels_by_hand() {
        // σ 2 mm and voxels of 2 mm: neighbours at 1 and 2 steps weigh exp(-1/2) and exp(-2) by distance.
        let smooth = susan(&line(&[0.0, 1.0, 3.0]), 2.0, 2.0).unwrap();
        let (near, far) = ((-0.5_f64).exp(), (-2.0_f64).exp());
        let like = |d: f64| (-d * d / 4.0).exp();
        let first = (near * like(1.0) + 3.0 * far * like(3.0)) / (near * like(1.0) + far * like(3.0));
        let middle = 3.0 * like(2.0) / (like(1.0) + like(2.0));
        let last = near * like(2.0) / (near * like(2.0) + far * like(3.0));
        for (got, expected) in smooth.as_slice().iter().zip([first, middle, last]) {
            assert!((got - expected).abs() < 1e-14, "{got} {expected}");
        }
    }

    #[test]
    fn an_outlier_becomes_the_median_and_others_do_not_see_it() {
        let smooth = susan(&line(&[5.0, 6.0, 900.0, 8.0, 7.0]), 1.0, 4.0).unwrap();
        assert_eq!(smooth.as_slice()[2], 7.0);
        assert_eq!(smooth.as_slice()[1], 5.0);
        assert_eq!(susan(&line(&[3.0]), 1.0, 1.0).unwrap().as_slice(), &[3.0]);
    }

    #[test]
    fn edges_stay_where_a_gaussian_blurs_them() {
        let grid = Grid::axis_aligned([12, 12, 12], [1.0; 3], [0.0; 3]).unwrap();
        // A step of 100 with noise of ±4 that has no pattern along the axes.
        let noise = |[i, j, k]: [usize; 3]| ((i * 7 + j * 5 + k * 11) % 9) as f64 - 4.0;
        let clean = |[i, _, _]: [usize; 3]| if i < 6 { 0.0 } else { 100.0 };
        let noisy = Volume::from_fn(grid.clone(), Frame::default(), |at| clean(at) + noise(at));
        let smooth = susan(&noisy, 1.5, 30.0).unwrap();
        let error = |volume: &Volume<f64>| {
            let off = |i: usize| (volume.as_slice()[i] - clean(grid.index_of(i))).powi(2);
            ((0..grid.len()).map(off).sum::<f64>() / grid.len() as f64).sqrt()
        };
        assert!(error(&smooth) < 0.5 * error(&noisy), "{} {}", error(&smooth), error(&noisy));
        let blurred = crate::filters::gaussian(&noisy, [1.5; 3], &crate::filters::GaussianOptions::new());
        assert!(error(&blurred.unwrap()) > 10.0 * error(&smooth));
    }

    #[test]
    fn bad_arguments_are_refused() {
        for (sigma, brightness, argument) in
            [(0.0, 1.0, "sigma"), (1.0, f64::NAN, "brightness"), (200.0, 1.0, "sigma")]
        {
            let error = susan(&line(&[1.0, 2.0]), sigma, brightness).unwrap_err().to_string();
            assert!(error.contains("susan") && error.contains(argument), "{error}");
        }
    }
}
