use super::kd_tree::Keep;
use super::{Coordinate, EdgeList, Flow, Points, neighbours};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Configuration of [`radius_graph`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RadiusGraphConfig {
    /// The radius; a neighbour is strictly nearer.
    pub r: f64,
    /// Whether a point is its own neighbour (the peer's `loop`); false by default.
    pub self_loops: bool,
    /// How many neighbours a point has at most; 32 by default. One more may be kept without self loops, see
    /// [`radius_graph`].
    pub max_num_neighbors: usize,
    /// The direction of edges; from the neighbour to the point by default.
    pub flow: Flow,
}

impl RadiusGraphConfig {
    /// Neighbours nearer than `r`, at most 32.
    pub fn new(r: f64) -> Self {
        RadiusGraphConfig { r, self_loops: false, max_num_neighbors: 32, flow: Flow::SourceToTarget }
    }

    /// Sets whether a point is its own neighbour.
    pub fn self_loops(mut self, self_loops: bool) -> Self {
        self.self_loops = self_loops;
        self
    }

    /// Sets how many neighbours a point has at most.
    pub fn max_num_neighbors(mut self, count: usize) -> Self {
        self.max_num_neighbors = count;
        self
    }

    /// Sets the direction of edges.
    pub fn flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// Checks that the radius is a number of 0 or more.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        check(self.r)
    }
}

fn check(r: f64) -> Result<()> {
    if r >= 0.0 { Ok(()) } else { Err(Error::config("radius", "r", "at least 0", r)) }
}

/// For every query, the points of its cloud that are nearer than `r`: edges from point to query.
///
/// Edges come query by query. Within a query they are in the order in which the kd-tree meets them, not by distance, and
/// where there are more than `max_num_neighbors` the first in that order are kept, which need not be the nearest; take
/// [`knn`](super::knn) where they should be.
///
/// # Errors
/// [`Error::Argument`] for a negative radius, [`Error::Mismatch`] for points and queries of different dimensions.
///
/// # Reference
/// `torch_cluster.radius` on the CPU, order included; squared distances in the type of the coordinates.
pub fn radius<T: Coordinate>(
    points: &Points<T>,
    queries: &Points<T>,
    r: f64,
    max_num_neighbors: usize,
) -> Result<EdgeList> {
    edges(points, queries, r, max_num_neighbors, true)
}

fn edges<T: Coordinate>(
    points: &Points<T>,
    queries: &Points<T>,
    r: f64,
    most: usize,
    loops: bool,
) -> Result<EdgeList> {
    check(r)?;
    let limit = T::of(r * r);
    neighbours(points, queries, loops, |tree, query, scratch, found| {
        let mut keep = Within { limit, left: most, found };
        if most > 0 {
            tree.search(query, &mut scratch.distances, &mut keep);
        }
    })
}

struct Within<'a, T> {
    limit: T,
    left: usize,
    found: &'a mut Vec<u32>,
}

impl<T: Coordinate> Keep<T> for Within<'_, T> {
    fn limit(&self) -> T {
        self.limit
    }

    fn add(&mut self, _: T, point: u32) -> bool {
        self.found.push(point);
        self.left -= 1;
        self.left > 0
    }
}

/// The graph that joins each point with the points of its cloud that are nearer than a radius.
///
/// Without self loops one more than `max_num_neighbors` is looked for and the point itself then left out. As in the
/// peer, a point that is not among those that were met first therefore keeps one neighbour more.
///
/// # Errors
/// [`Error::Argument`] for a negative radius.
///
/// # Reference
/// `torch_cluster.radius_graph` (`torch_geometric.nn.radius_graph`) on the CPU, the order of edges included.
///
/// # Example
///
/// ```
/// use oncograph_graph::geometry::{Points, RadiusGraphConfig, radius_graph};
///
/// // Voxel centres in millimetres: two 3 mm apart, one far away.
/// let points = Points::new(&[0f32, 0.0, 0.0, 0.0, 3.0, 0.0, 40.0, 0.0, 0.0], 3)?;
/// let edges = radius_graph(&points, &RadiusGraphConfig::new(5.0))?;
/// assert_eq!((edges.sources, edges.targets), (vec![1, 0], vec![0, 1]));
/// # Ok::<(), oncograph_graph::Error>(())
/// ```
pub fn radius_graph<T: Coordinate>(points: &Points<T>, config: &RadiusGraphConfig) -> Result<EdgeList> {
    let most = config.max_num_neighbors.saturating_add(usize::from(!config.self_loops));
    Ok(edges(points, points, config.r, most, config.self_loops)?.directed(config.flow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_radius_is_strict_and_clouds_are_apart() {
        let points = Points::new(&[0f64, 1.0, 3.0, 3.5], 1).unwrap().batch(&[0, 0, 0, 1]).unwrap();
        let edges = radius_graph(&points, &RadiusGraphConfig::new(2.0)).unwrap();
        assert_eq!((edges.sources, edges.targets), (vec![1, 0], vec![0, 1]));
        let with_loops = RadiusGraphConfig::new(1.5).self_loops(true).flow(Flow::TargetToSource);
        let edges = radius_graph(&points, &with_loops).unwrap();
        assert_eq!((edges.sources, edges.targets), (vec![0, 0, 1, 1, 2, 3], vec![0, 1, 0, 1, 2, 3]));
        assert!(radius_graph(&points, &RadiusGraphConfig::new(-1.0)).is_err());
        assert!(radius_graph(&points, &RadiusGraphConfig::new(f64::NAN)).is_err());
    }

    #[test]
    fn a_limit_keeps_the_first_met() {
        let points = Points::new(&[0f32, 0.1, 0.2, 0.3], 1).unwrap();
        let edges = radius_graph(&points, &RadiusGraphConfig::new(1.0).max_num_neighbors(2)).unwrap();
        // The last point is not among the first three met, so three are left to it.
        assert_eq!(edges.targets, [0, 0, 1, 1, 2, 2, 3, 3, 3]);
        assert_eq!(edges.sources, [1, 2, 0, 2, 0, 1, 0, 1, 2]);
        let none = radius(&points, &points, 1.0, 0).unwrap();
        assert_eq!(none, EdgeList::default());
    }
}
