use super::{Coordinate, Points};
use crate::{Error, Result};
use oncograph_nn::Seed;
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

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
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        let fits = |r: &f64| *r > 0.0 && *r <= 1.0;
        if self.ratio.is_empty() || !self.ratio.iter().all(fits) {
            return Err(Error::config("fps", "ratio", "above 0 and up to 1", format!("{:?}", self.ratio)));
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
/// different points exist than are chosen, the first of the cloud comes again. Points lie in boxes, of which a step only
/// visits those that the last chosen point may be near to.
///
/// # Errors
/// [`Error::Argument`] for a share out of range, or another number of shares than clouds.
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
        return Err(Error::config(
            "fps",
            "ratio",
            format!("1 or {} numbers", clouds.len()),
            config.ratio.len(),
        ));
    }
    let mut rng = random_start.map(|seed| seed.rng());
    let mut tasks = vec![];
    for (i, cloud) in clouds.into_iter().enumerate().filter(|(_, c)| !c.is_empty()) {
        let count = config.chosen(i, cloud.len(), size_of::<T>() == 4);
        let first = rng.as_mut().map_or(0, |rng| rng.random_range(0..cloud.len()));
        tasks.push((cloud, first, count));
    }
    let of_cloud = |(cloud, first, count): (Range<usize>, usize, usize)| {
        let picked = farthest(points.rows(cloud.clone()), points.dim(), first, count);
        picked.into_iter().map(move |p| (cloud.start + p) as u32).collect::<Vec<_>>()
    };
    Ok(tasks.into_par_iter().map(of_cloud).collect::<Vec<_>>().concat())
}

/// Points in a bucket, at most.
const BUCKET: usize = 64;

/// Neighbouring points with a box around them: a chosen point that is farther from the box than each of them is from
/// its nearest chosen point changes none of their distances.
struct Bucket<T> {
    /// Its points, in the order of the buckets.
    points: Range<usize>,
    /// Smallest and largest coordinate, per dimension.
    bounds: Vec<(T, T)>,
    /// The largest distance, and the first point of the cloud that has it.
    farthest: (T, u32),
}

/// The larger distance, the first point among equals.
fn further<T: PartialOrd>(a: (T, u32), b: (T, u32)) -> (T, u32) {
    if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a }
}

/// The points of a cloud in buckets.
struct Buckets<T> {
    dim: usize,
    /// The points, bucket by bucket, their coordinates, and squared distances to the nearest chosen point.
    order: Vec<u32>,
    rows: Vec<T>,
    distances: Vec<T>,
    buckets: Vec<Bucket<T>>,
}

impl<T: Coordinate> Buckets<T> {
    fn new(values: &[T], dim: usize) -> Self {
        let count = values.len() / dim;
        let mut order: Vec<u32> = (0..count as u32).collect();
        let mut buckets = Vec::with_capacity(2 * count / BUCKET + 1);
        divide(values, dim, &mut order, 0, &mut buckets);
        let rows = order.iter().flat_map(|&p| &values[p as usize * dim..][..dim]).copied().collect();
        let distances = vec![T::of(f64::INFINITY); count];
        Buckets { dim, order, rows, distances, buckets }
    }

    /// Takes a point as chosen and gives the next one.
    fn choose(&mut self, chosen: &[T]) -> u32 {
        let mut best = (T::of(-1.0), u32::MAX);
        for bucket in &mut self.buckets {
            let points = bucket.points.clone();
            // Rounding keeps the order of differences, squares and sums, so that this is no more than the distance
            // to any point, as it is computed below.
            let mut gap = T::of(0.0);
            for (&q, &(low, high)) in chosen.iter().zip(&bucket.bounds) {
                let side = if q < low {
                    low - q
                } else if q > high {
                    q - high
                } else {
                    T::of(0.0)
                };
                gap = gap + side * side;
            }
            if gap < bucket.farthest.0 {
                bucket.farthest = (T::of(-1.0), u32::MAX);
                let rows = self.rows[points.start * self.dim..points.end * self.dim].chunks_exact(self.dim);
                let distances = &mut self.distances[points.clone()];
                for ((distance, row), &point) in distances.iter_mut().zip(rows).zip(&self.order[points]) {
                    let mut sum = T::of(0.0);
                    for (&a, &b) in row.iter().zip(chosen) {
                        sum = sum + (a - b) * (a - b);
                    }
                    if sum < *distance {
                        *distance = sum;
                    }
                    // Points of a bucket are in the order of the cloud.
                    if *distance > bucket.farthest.0 {
                        bucket.farthest = (*distance, point);
                    }
                }
            }
            best = further(best, bucket.farthest);
        }
        best.1
    }
}

/// Halves points along the widest side of their box until they fit into buckets.
fn divide<T: Coordinate>(
    values: &[T],
    dim: usize,
    points: &mut [u32],
    start: usize,
    buckets: &mut Vec<Bucket<T>>,
) {
    let at = |p: u32, axis: usize| values[p as usize * dim + axis];
    let range = |axis: usize| {
        points.iter().fold((at(points[0], axis), at(points[0], axis)), |(low, high), &p| {
            let v = at(p, axis);
            (if v < low { v } else { low }, if v > high { v } else { high })
        })
    };
    let bounds: Vec<(T, T)> = (0..dim).map(range).collect();
    if points.len() <= BUCKET {
        points.sort_unstable();
        buckets.push(Bucket {
            points: start..start + points.len(),
            bounds,
            farthest: (T::of(f64::INFINITY), points[0]),
        });
        return;
    }
    let side = |axis: usize| bounds[axis].1 - bounds[axis].0;
    let widest = (1..dim).fold(0, |best, axis| if side(axis) > side(best) { axis } else { best });
    let middle = points.len() / 2;
    points.select_nth_unstable_by(middle, |a, b| at(*a, widest).to_f64().total_cmp(&at(*b, widest).to_f64()));
    let (lower, upper) = points.split_at_mut(middle);
    divide(values, dim, lower, start, buckets);
    divide(values, dim, upper, start + middle, buckets);
}

fn farthest<T: Coordinate>(values: &[T], dim: usize, first: usize, count: usize) -> Vec<usize> {
    let mut picked = vec![first];
    let mut buckets = Buckets::new(values, dim);
    while picked.len() < count {
        let last = picked[picked.len() - 1];
        picked.push(buckets.choose(&values[last * dim..(last + 1) * dim]) as usize);
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: every distance in every step.
    fn plain(values: &[f32], dim: usize, first: usize, count: usize) -> Vec<usize> {
        let mut picked = vec![first];
        let mut distances = vec![f32::INFINITY; values.len() / dim];
        while picked.len() < count {
            let last = &values[picked[picked.len() - 1] * dim..][..dim];
            let mut best = (-1.0, 0);
            for (i, (distance, row)) in distances.iter_mut().zip(values.chunks(dim)).enumerate() {
                let sum = row.iter().zip(last).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b));
                *distance = distance.min(sum);
                if *distance > best.0 {
                    best = (*distance, i);
                }
            }
            picked.push(best.1);
        }
        picked
    }

    #[test]
    fn leaving_out_buckets_changes_nothing() {
        let mut state = 5_u64;
        for (count, dim, levels) in [
            (1, 3, 9),
            (63, 1, 1000),
            (65, 2, 3),
            (129, 5, 1000),
            (1000, 3, 7),
            (5003, 3, 100_000),
            (777, 4, 2),
        ] {
            // Few levels make equal distances, which the order of the points decides.
            let values: Vec<f32> = (0..count * dim)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    ((state >> 33) % levels) as f32 * 0.37 - 5.0
                })
                .collect();
            for first in [0, count / 3] {
                let some = count.min(300);
                assert_eq!(
                    farthest(&values, dim, first, some),
                    plain(&values, dim, first, some),
                    "{count} {dim}"
                );
            }
        }
    }

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
