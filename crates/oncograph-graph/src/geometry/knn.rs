use super::kd_tree::Keep;
use super::{Coordinate, EdgeList, Flow, Points, neighbours};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Configuration of [`knn_graph`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KnnGraphConfig {
    /// How many neighbours a point has, if its cloud has as many points.
    pub k: usize,
    /// Whether a point is its own neighbour, and counts as one (the peer's `loop`); false by default.
    pub self_loops: bool,
    /// The direction of edges; from the neighbour to the point by default.
    pub flow: Flow,
}

impl KnnGraphConfig {
    /// The `k` nearest other points.
    pub fn new(k: usize) -> Self {
        KnnGraphConfig { k, self_loops: false, flow: Flow::SourceToTarget }
    }

    /// Sets whether a point is its own neighbour.
    pub fn self_loops(mut self, self_loops: bool) -> Self {
        self.self_loops = self_loops;
        self
    }

    /// Sets the direction of edges.
    pub fn flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// Checks that at least one neighbour is requested.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        check(self.k)
    }
}

fn check(k: usize) -> Result<()> {
    if k > 0 { Ok(()) } else { Err(Error::config("knn", "k", "at least 1", k)) }
}

/// For every query, the `k` nearest points of its cloud, all of them if there are fewer: edges from point to query.
///
/// Edges come query by query, the nearest point first; among equally near ones, the first that the kd-tree meets.
///
/// # Errors
/// [`Error::Argument`] for a `k` of 0, [`Error::Mismatch`] for points and queries of different dimensions.
///
/// # Reference
/// `torch_cluster.knn` on the CPU, order included; squared distances in the type of the coordinates.
pub fn knn<T: Coordinate>(points: &Points<T>, queries: &Points<T>, k: usize) -> Result<EdgeList> {
    edges(points, queries, k, true)
}

fn edges<T: Coordinate>(points: &Points<T>, queries: &Points<T>, k: usize, loops: bool) -> Result<EdgeList> {
    check(k)?;
    neighbours(points, queries, loops, |tree, query, scratch, found| {
        let mut keep = Nearest { k, found: std::mem::take(&mut scratch.pairs) };
        keep.found.clear();
        tree.search(query, &mut scratch.distances, &mut keep);
        found.extend(keep.found.iter().map(|(_, point)| *point));
        scratch.pairs = keep.found;
    })
}

struct Nearest<T> {
    k: usize,
    /// By ascending distance.
    found: Vec<(T, u32)>,
}

impl<T: Coordinate> Keep<T> for Nearest<T> {
    fn limit(&self) -> T {
        if self.found.len() < self.k { T::of(f64::INFINITY) } else { self.found[self.k - 1].0 }
    }

    fn add(&mut self, distance: T, point: u32) -> bool {
        // From the end: where many points were met, few are nearer.
        let mut at = self.found.len();
        if at < self.k {
            self.found.push((distance, point));
        } else if distance < self.found[at - 1].0 {
            at -= 1;
        } else {
            return true;
        }
        while at > 0 && distance < self.found[at - 1].0 {
            self.found[at] = self.found[at - 1];
            at -= 1;
        }
        self.found[at] = (distance, point);
        true
    }
}

/// The graph that joins each point with the `k` nearest points of its cloud.
///
/// Without self loops the `k + 1` nearest are looked for and the point itself then left out. As in the peer, a point that
/// coincides with more than `k` others may therefore keep `k + 1` of them.
///
/// # Errors
/// [`Error::Argument`] for a `k` of 0.
///
/// # Reference
/// `torch_cluster.knn_graph` (`torch_geometric.nn.knn_graph`) on the CPU, the order of edges included.
///
/// # Example
///
/// ```
/// use oncograph_graph::geometry::{KnnGraphConfig, Points, knn_graph};
///
/// let points = Points::new(&[0f32, 0.0, 1.0, 0.0, 0.0, 5.0], 2)?;
/// let edges = knn_graph(&points, &KnnGraphConfig::new(2))?;
/// assert_eq!(edges.sources, [1, 2, 0, 2, 0, 1]);
/// assert_eq!(edges.targets, [0, 0, 1, 1, 2, 2]);
/// # Ok::<(), oncograph_graph::Error>(())
/// ```
pub fn knn_graph<T: Coordinate>(points: &Points<T>, config: &KnnGraphConfig) -> Result<EdgeList> {
    config.validate()?;
    let k = config.k.saturating_add(usize::from(!config.self_loops));
    Ok(edges(points, points, k, config.self_loops)?.directed(config.flow))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_are_found(
            values in proptest::collection::vec(-1.0f64..1.0, 3..240), k in 1usize..9, loops: bool
        ) {
            let values = &values[..values.len() / 3 * 3];
            let points = Points::new(values, 3).unwrap();
            let edges = knn_graph(&points, &KnnGraphConfig::new(k).self_loops(loops)).unwrap();
            let mut at = 0;
            for target in 0..points.len() as u32 {
                let square = |s: u32| -> f64 {
                    let rows = points.row(s as usize).iter().zip(points.row(target as usize));
                    rows.map(|(a, b)| (a - b) * (a - b)).sum()
                };
                let mut others: Vec<u32> = (0..points.len() as u32).filter(|s| loops || *s != target).collect();
                others.sort_by(|a, b| square(*a).total_cmp(&square(*b)));
                others.truncate(k);
                prop_assert_eq!(&edges.sources[at..at + others.len()], &others[..]);
                prop_assert!(edges.targets[at..at + others.len()].iter().all(|t| *t == target));
                at += others.len();
            }
            prop_assert_eq!(at, edges.sources.len());
        }
    }

    #[test]
    fn queries_may_be_other_points_and_any_number_of_threads_agrees() {
        let values: Vec<f32> = (0..3000).map(|i| ((i * 7919) % 1009) as f32 * 0.01).collect();
        let points = Points::new(&values, 3).unwrap();
        let queries = Points::new(&values[..300], 3).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| knn(&points, &queries, 5).unwrap())
        };
        assert_eq!(run(1), run(4));
        assert_eq!(run(1).sources.len(), 500);
        assert!(knn(&points, &queries, 0).is_err());
        assert!(knn(&points, &Points::new(&values[..4], 2).unwrap(), 1).is_err());
    }
}
