use crate::Result;
use oncograph_graph::geometry::{FpsConfig, Points, fps};
use oncograph_imaging::Mask;
use oncograph_imaging::mesh::{mask_surface, sample_surface};
use oncograph_nn::Seed;

/// Voxels by which a mask is smoothed before its surface is taken.
const SIGMA: f64 = 0.7;
/// Points that are drawn for each one that is kept.
const DENSE: usize = 4;

/// Points of a tumour's surface in mm (decision G-06): drawn uniformly over the area of the lightly smoothed mask, then those
/// that lie farthest from each other, the first the farthest from their centroid.
///
/// # Errors
/// A mask without a surface.
pub fn surface_points(mask: &Mask, count: usize, seed: Seed) -> Result<Vec<[f32; 3]>> {
    let mut dense = sample_surface(&mask_surface(mask, SIGMA)?, DENSE * count, seed)?;
    let centroid: [f32; 3] =
        std::array::from_fn(|k| dense.iter().map(|p| p[k]).sum::<f32>() / dense.len() as f32);
    let far = |p: &[f32; 3]| (0..3).map(|k| (p[k] - centroid[k]).powi(2)).sum::<f32>();
    let first = (0..dense.len()).max_by(|a, b| far(&dense[*a]).total_cmp(&far(&dense[*b]))).unwrap_or(0);
    dense.swap(0, first);
    let flat: Vec<f32> = dense.iter().flatten().copied().collect();
    let ratio = count as f64 / dense.len() as f64;
    let kept = fps(&Points::new(&flat, 3)?, &FpsConfig::new(ratio), None)?;
    Ok(kept.into_iter().map(|i| dense[i as usize]).collect())
}
