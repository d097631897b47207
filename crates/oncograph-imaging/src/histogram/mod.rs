//! Equalising intensities and matching them to those of another volume.

mod clahe;
mod clahe_nd;
mod distinct;
mod equalize;
mod matching;
mod nyul;

pub use clahe::{ClaheOptions, clahe};
pub use clahe_nd::{ClaheNdOptions, clahe_nd};
pub use equalize::{equalize_histogram, percentile, rescale_intensity};
pub use matching::{MatchOptions, match_histogram, match_quantiles};
pub use nyul::NyulScale;

use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use crate::voxel::Voxel;

/// The finite values of the foreground (of all voxels without a mask), ascending.
fn sorted<T: Voxel>(operation: &'static str, volume: &Volume<T>, mask: Option<&Mask>) -> Result<Vec<f64>> {
    volume.require_finite(operation)?;
    let mut values: Vec<f64> = match mask {
        None => volume.as_slice().iter().map(|v| v.to_f64()).collect(),
        Some(mask) => {
            volume.require_same_space(operation, mask)?;
            let inside = volume.as_slice().iter().zip(mask.as_slice()).filter(|(_, m)| **m != 0);
            inside.map(|(v, _)| v.to_f64()).collect()
        }
    };
    if values.is_empty() {
        return Err(Error::argument(operation, "mask", "at least one foreground voxel", "an empty mask"));
    }
    values.sort_unstable_by(f64::total_cmp);
    Ok(values)
}

/// Linear interpolation through points of ascending `x`, constant beyond the ends (numpy's `interp`).
fn interpolate(at: f64, x: &[f64], y: &[f64]) -> f64 {
    let above = x.partition_point(|v| *v <= at);
    if above == 0 {
        return y[0];
    }
    if above == x.len() {
        return y[x.len() - 1];
    }
    let (x0, y0) = (x[above - 1], y[above - 1]);
    if at == x0 { y0 } else { (y[above] - y0) / (x[above] - x0) * (at - x0) + y0 }
}

/// Quantile `p` of ascending values, linear between them (numpy's default).
fn quantile(values: &[f64], p: f64) -> f64 {
    let at = p.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(values.len() - 1);
    values[low] + (at - low as f64) * (values[high] - values[low])
}
