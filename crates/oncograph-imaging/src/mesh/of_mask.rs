use super::{MarchingCubesOptions, Mesh, marching_cubes};
use crate::error::{Error, Result};
use crate::filters::{GaussianOptions, gaussian};
use crate::volume::Mask;
use oncograph_core::Seed;
use rand::Rng;

/// The surface of a mask: marching cubes at a half of the mask smoothed with a Gaussian of `sigma` voxels. A mask of a few
/// voxels does not reach a half when it is smoothed; its surface is taken at half of its peak.
///
/// # Errors
/// An empty mask has no surface; as [`gaussian`] for `sigma`.
///
/// # Example
/// ```
/// use oncograph_imaging::mesh::mask_surface;
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([9; 3], [1.0; 3], [0.0; 3])?;
/// let cube = Volume::from_fn(grid, Frame::default(), |at| u8::from(at.iter().all(|i| (2..7).contains(i))));
/// assert!(mask_surface(&cube, 0.7)?.is_closed());
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
pub fn mask_surface(mask: &Mask, sigma: f64) -> Result<Mesh> {
    let smooth = gaussian(mask, [sigma; 3], &GaussianOptions::new())?;
    let peak = smooth.as_slice().iter().copied().fold(0.0f64, f64::max);
    let level = if peak > 0.5 { 0.5 } else { peak / 2.0 };
    marching_cubes(&smooth, &MarchingCubesOptions::new(level))
}

/// Points drawn uniformly over the area of a mesh.
///
/// # Errors
/// [`Error::Argument`] for a mesh without area.
pub fn sample_surface(mesh: &Mesh, count: usize, seed: Seed) -> Result<Vec<[f32; 3]>> {
    let corner = |i: u32| mesh.vertices[i as usize];
    let area = |t: &[u32; 3]| {
        let [a, b, c] = t.map(corner);
        let (u, v): ([f64; 3], [f64; 3]) =
            (std::array::from_fn(|k| b[k] - a[k]), std::array::from_fn(|k| c[k] - a[k]));
        let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        cross.iter().map(|x| x * x).sum::<f64>().sqrt() / 2.0
    };
    let mut sums = Vec::with_capacity(mesh.triangles.len());
    let mut total = 0.0;
    for t in &mesh.triangles {
        total += area(t);
        sums.push(total);
    }
    if total.is_nan() || total <= 0.0 {
        return Err(Error::argument("sample_surface", "mesh", "a surface with an area", format!("{total}")));
    }
    let mut rng = seed.rng();
    let mut draw = || {
        let at = rng.random::<f64>() * total;
        let triangle = mesh.triangles[sums.partition_point(|s| *s < at).min(sums.len() - 1)];
        let [a, b, c] = triangle.map(corner);
        let (r, s) = (rng.random::<f64>().sqrt(), rng.random::<f64>());
        std::array::from_fn(|k| ((1.0 - r) * a[k] + r * (1.0 - s) * b[k] + r * s * c[k]) as f32)
    };
    Ok((0..count).map(|_| draw()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_on_triangles_by_their_area() {
        let vertices = vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]];
        // Areas 1.5 and 0.5.
        let mesh = Mesh::new(vertices, vec![[0, 1, 2], [0, 1, 3]]);
        let points = sample_surface(&mesh, 4000, Seed::new(1)).unwrap();
        let first = points.iter().filter(|p| p[2] == 0.0).count() as f64 / 4000.0;
        assert!((first - 0.75).abs() < 0.03, "{first}");
        assert!(points.iter().all(|p| p[2] == 0.0 || (p[1] == 0.0 && p[0] + p[2] <= 1.0 + 1e-6)));
        assert!(sample_surface(&Mesh::default(), 1, Seed::new(1)).is_err());
    }
}
