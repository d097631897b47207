use super::{Coordinate, Points};
use crate::{Error, Result};
use oncograph_nn::Seed;
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Configuration of [`fps`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FpsConfig {
    /// The share of the points of a cloud that is chosen, rounded up: one number above 0 and up to 1 for all clouds, or
    /// one for each; 0.5 by default.
    pub ratio: Vec<f64>,
}

impl Default for FpsConfig {
    fn default() -> Self {
        FpsConfig::new(0.5)
    }
}

impl FpsConfig {
    /// One share for all clouds.
    pub fn new(ratio: f64) -> Self {
        FpsConfig { ratio: vec![ratio] }
    }

    /// Sets the share of each cloud.
    pub fn ratio_of_each(mut self, ratio: impl Into<Vec<f64>>) -> Self {
        self.ratio = ratio.into();
        self
    }

    /// Checks that shares are in their range.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub fn validate(&self) -> Result<()> {
        let fits = |r: &f64| *r > 0.0 && *r <= 1.0;
        if self.ratio.is_empty() || !self.ratio.iter().all(fits) {
            return Err(Error::mismatch("ratio", "above 0 and up to 1", format!("{:?}", self.ratio)));
        }
        Ok(())
    }

    /// How many of `n` points are chosen. The peer multiplies in f32, except for f64 coordinates with a share per cloud.
    fn chosen(&self, cloud: usize, n: usize, f32_coordinates: bool) -> usize {
        match self.ratio[..] {
            [one] => (n as f32 * one as f32).ceil() as usize,
            ref each if f32_coordinates => (n as f32 * each[cloud] as f32).ceil() as usize,
            ref each => (n as f64 * each[cloud]).ceil() as usize,
        }
    }
}

/// Points of each cloud that lie far apart: from a first one on, always the point farthest from those chosen so far.
///
/// The first is the first of its cloud, or drawn if there is a `random_start`. Positions come in the order in which they
/// are chosen, cloud by cloud; an empty cloud has none. Among equally far points the first is taken, so that where fewer
/// different points exist than are chosen, the first of the cloud comes again. Work grows with points times chosen points.
///
/// # Errors
/// [`Error::Mismatch`] for a share out of range, or another number of shares than clouds.
///
/// # Reference
/// Qi et al., *PointNet++*, 2017, section 3.2; `torch_cluster.fps` on the CPU, where `random_start = False` is our
/// `None`.
///
/// # Example
///
/// ```
/// use oncograph_graph::geometry::{FpsConfig, Points, fps};
///
/// let points = Points::new(&[0f32, 1.0, 9.0, 4.0], 1)?;
/// assert_eq!(fps(&points, &FpsConfig::new(0.75), None)?, [0, 2, 3]);
/// # Ok::<(), oncograph_graph::Error>(())
/// ```
pub fn fps<T: Coordinate>(
    points: &Points<T>,
    config: &FpsConfig,
    random_start: Option<Seed>,
) -> Result<Vec<u32>> {
    config.validate()?;
    let clouds: Vec<_> = points.clouds().collect();
    if config.ratio.len() != 1 && config.ratio.len() != clouds.len() {
        return Err(Error::mismatch("ratio", format!("1 or {} numbers", clouds.len()), config.ratio.len()));
    }
    let mut rng = random_start.map(|seed| seed.rng());
    let mut chosen = vec![];
    for (i, cloud) in clouds.into_iter().enumerate().filter(|(_, c)| !c.is_empty()) {
        let count = config.chosen(i, cloud.len(), size_of::<T>() == 4);
        let first = rng.as_mut().map_or(0, |rng| rng.random_range(0..cloud.len()));
        let picked = farthest(points.rows(cloud.clone()), points.dim(), first, count);
        chosen.extend(picked.into_iter().map(|p| (cloud.start + p) as u32));
    }
    Ok(chosen)
}

fn farthest<T: Coordinate>(values: &[T], dim: usize, first: usize, count: usize) -> Vec<usize> {
    // Points per task.
    const CHUNK: usize = 4096;
    let mut picked = vec![first];
    let mut distances = vec![T::of(f64::INFINITY); values.len() / dim];
    while picked.len() < count {
        let last = picked[picked.len() - 1];
        let last = &values[last * dim..(last + 1) * dim];
        let chunks = distances.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK * dim)).enumerate();
        let nearest = chunks.map(|(chunk, (distances, values))| {
            let mut best = (T::of(-1.0), 0);
            for (i, (distance, row)) in distances.iter_mut().zip(values.chunks(dim)).enumerate() {
                let mut sum = T::of(0.0);
                for (&a, &b) in row.iter().zip(last) {
                    sum = sum + (a - b) * (a - b);
                }
                if sum < *distance {
                    *distance = sum;
                }
                if *distance > best.0 {
                    best = (*distance, chunk * CHUNK + i);
                }
            }
            best
        });
        // The larger distance, the first point among equals: the same for any order of the tasks.
        let better = |a: (T, usize), b: (T, usize)| {
            if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a }
        };
        picked.push(nearest.reduce(|| (T::of(-1.0), usize::MAX), better).1);
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // 3 of 5 points of the first cloud, 1 of 1 of the third; the second is empty.
        let points = Points::new(&[0f64, 2.0, 10.0, 5.5, 4.0, 7.0], 1).unwrap();
        let points = points.batch(&[0, 0, 0, 0, 0, 2]).unwrap();
        assert_eq!(fps(&points, &FpsConfig::default(), None).unwrap(), [0, 2, 3, 5]);
        let each = FpsConfig::default().ratio_of_each([0.2, 0.5, 1.0]);
        assert_eq!(fps(&points, &each, None).unwrap(), [0, 5]);
        assert!(fps(&points, &FpsConfig::default().ratio_of_each([0.2, 0.5]), None).is_err());
        assert!(fps(&points, &FpsConfig::new(1.5), None).is_err());
    }

    #[test]
    fn equal_points_come_again_from_the_first() {
        let points = Points::new(&[1f32, 1.0, 1.0, 2.0], 1).unwrap();
        assert_eq!(fps(&points, &FpsConfig::new(1.0), None).unwrap(), [0, 3, 0, 0]);
    }

    #[test]
    fn the_start_depends_on_the_seed_alone_and_threads_do_not_matter() {
        let values: Vec<f32> = (0..30_000).map(|i| ((i * 7919) % 10_007) as f32).collect();
        let points = Points::new(&values, 3).unwrap();
        let run = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fps(&points, &FpsConfig::new(0.002), Some(Seed::new(seed))).unwrap())
        };
        assert_eq!(run(1, 7), run(4, 7));
        assert_ne!(run(1, 7), run(1, 8));
        assert_eq!(run(1, 7).len(), 20);
    }
}
