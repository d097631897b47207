use crate::error::{Error, Result};
use crate::lines::{LineKernel, along};
use crate::volume::{Mask, Volume};

/// The Euclidean distance of every foreground voxel to the nearest background voxel; 0 in the background.
///
/// Exact, and O(voxels): one pass along each axis takes the lower envelope of parabolas. `sampling` is the distance
/// between voxel centres along x, y, z; `mask.grid().spacing()` gives millimetres. Where the mask has no background
/// every distance is infinite.
///
/// # Errors
/// A sampling that is not positive.
///
/// # Example
/// ```
/// use oncograph_imaging::morphology::distance_transform;
/// use oncograph_imaging::{Frame, Grid, Mask};
///
/// let grid = Grid::axis_aligned([4, 1, 1], [0.5, 1.0, 1.0], [0.0; 3])?;
/// let mask = Mask::new(grid, Frame::default(), vec![0, 1, 1, 1])?;
/// assert_eq!(distance_transform(&mask, [0.5, 1.0, 1.0])?.as_slice(), &[0.0, 0.5, 1.0, 1.5]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", Theory of Computing 8 (2012);
/// `scipy.ndimage.distance_transform_edt`.
pub fn distance_transform(mask: &Mask, sampling: [f64; 3]) -> Result<Volume<f64>> {
    if sampling.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
        return Err(Error::argument(
            "distance_transform",
            "sampling",
            "positive along each axis",
            format!("{sampling:?}"),
        ));
    }
    let shape = mask.shape();
    let start = mask.map(|v| if v == 0 { 0.0 } else { f64::INFINITY });
    let mut data = start.into_parts().2;
    for axis in 0..3 {
        if shape[axis] > 1 {
            data = along(&data, shape, axis, &Envelope { n: shape[axis], step: sampling[axis] });
        }
    }
    data.iter_mut().for_each(|v| *v = v.sqrt());
    Volume::new(mask.grid().clone(), mask.frame().clone(), data)
}

/// `out[i] = min_j (step (i - j))^2 + in[j]` along lines.
struct Envelope {
    n: usize,
    step: f64,
}

/// The parabolas of the envelope: where they stand, how high, and from where on each is the lowest.
#[derive(Default)]
struct Parabolas {
    place: Vec<f64>,
    height: Vec<f64>,
    from: Vec<f64>,
}

impl LineKernel<f64, f64> for Envelope {
    type Scratch = Parabolas;

    fn outputs(&self) -> usize {
        self.n
    }

    fn run(
        &self,
        lanes: usize,
        p: &mut Parabolas,
        read: impl Fn(usize, usize) -> f64,
        mut write: impl FnMut(usize, usize, f64),
    ) {
        for lane in 0..lanes {
            p.place.clear();
            p.height.clear();
            p.from.clear();
            for i in 0..self.n {
                let (x, height) = (i as f64 * self.step, read(i, lane));
                if height == f64::INFINITY {
                    continue;
                }
                let mut from = f64::NEG_INFINITY;
                while let (Some(&px), Some(&ph), Some(&pf)) = (p.place.last(), p.height.last(), p.from.last())
                {
                    // Where the new parabola falls below the last one.
                    from = ((height + x * x) - (ph + px * px)) / (2.0 * (x - px));
                    if from > pf {
                        break;
                    }
                    p.place.pop();
                    p.height.pop();
                    p.from.pop();
                    from = f64::NEG_INFINITY;
                }
                p.place.push(x);
                p.height.push(height);
                p.from.push(from);
            }
            let mut k = 0;
            for i in 0..self.n {
                let x = i as f64 * self.step;
                while p.from.get(k + 1).is_some_and(|from| *from < x) {
                    k += 1;
                }
                let value = match p.place.get(k) {
                    Some(place) => (x - place) * (x - place) + p.height[k],
                    None => f64::INFINITY,
                };
                write(i, lane, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    #[test]
    fn equals_the_definition() {
        let mut state = 9_u64;
        let sampling = [0.5, 1.0, 2.0];
        for (shape, modulus) in [([9, 8, 7], 9), ([20, 3, 1], 7), ([5, 6, 21], 40)] {
            let grid = Grid::axis_aligned(shape, sampling, [0.0; 3]).unwrap();
            let mask = Mask::from_fn(grid, Frame::default(), |_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                u8::from(!(state >> 33).is_multiple_of(modulus))
            });
            let out = distance_transform(&mask, sampling).unwrap();
            for (offset, got) in out.as_slice().iter().enumerate() {
                let here = mask.grid().index_of(offset);
                let nearest = (0..mask.grid().len()).filter(|o| mask.as_slice()[*o] == 0).map(|o| {
                    let other = mask.grid().index_of(o);
                    let d = |a: usize| (here[a] as f64 - other[a] as f64) * sampling[a];
                    (0..3).map(|a| d(a) * d(a)).sum::<f64>()
                });
                let expected = nearest.fold(f64::INFINITY, f64::min).sqrt();
                assert!((got - expected).abs() < 1e-12, "{shape:?} {here:?} {got} {expected}");
            }
        }
    }

    #[test]
    fn without_background_it_is_infinite() {
        let grid = Grid::axis_aligned([3, 3, 3], [1.0; 3], [0.0; 3]).unwrap();
        let full = Mask::filled(grid, Frame::default(), 1);
        let out = distance_transform(&full, [1.0; 3]).unwrap();
        assert!(out.as_slice().iter().all(|v| *v == f64::INFINITY));
        assert!(distance_transform(&full, [0.0, 1.0, 1.0]).is_err());
    }
}
