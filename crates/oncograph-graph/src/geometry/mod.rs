//! Graphs from points: neighbours within a radius, nearest neighbours, farthest point sampling.
//!
//! Points are rows of coordinates in host memory, several clouds one after the other. The neighbours of a cloud are found
//! with a kd-tree, in O(n log n) for points in few dimensions; points of different clouds are never joined. Each query is
//! answered on its own, so results are the same with any number of threads. They equal those of `torch_cluster` on the
//! CPU, the order of edges and the choice under `max_num_neighbors` included: see [`radius_graph`].
//!
//! # Example
//!
//! ```
//! use oncograph_graph::geometry::{KnnGraphConfig, Points, knn_graph};
//!
//! // Two clouds on a line: 0, 1, 3 and 10, 11.
//! let points = Points::new(&[0f32, 1.0, 3.0, 10.0, 11.0], 1)?.batch(&[0, 0, 0, 1, 1])?;
//! let edges = knn_graph(&points, &KnnGraphConfig::new(1))?;
//! assert_eq!(edges.sources, [1, 0, 1, 4, 3]);
//! assert_eq!(edges.targets, [0, 1, 2, 3, 4]);
//! # Ok::<(), oncograph_graph::Error>(())
//! ```

mod fps;
mod kd_tree;
mod knn;
mod points;
mod radius;

pub use fps::{FpsConfig, fps};
pub use knn::{KnnGraphConfig, knn, knn_graph};
pub use points::{Coordinate, Points};
pub use radius::{RadiusGraphConfig, radius, radius_graph};

use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The direction of the edges of a graph of neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// From the neighbour to the point whose neighbours were asked for.
    #[default]
    SourceToTarget,
    /// From the point whose neighbours were asked for to the neighbour.
    TargetToSource,
}

/// Edges as positions of points.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgeList {
    /// Where each edge starts.
    pub sources: Vec<u32>,
    /// Where each edge ends.
    pub targets: Vec<u32>,
}

impl EdgeList {
    /// The edges without loops if `self_loops` is false, and turned round for [`Flow::TargetToSource`].
    fn directed(mut self, self_loops: bool, flow: Flow) -> Self {
        if !self_loops {
            let kept = self.sources.iter().zip(&self.targets).filter(|(s, t)| s != t);
            let (sources, targets) = kept.map(|(s, t)| (*s, *t)).unzip();
            self = EdgeList { sources, targets };
        }
        if flow == Flow::TargetToSource {
            std::mem::swap(&mut self.sources, &mut self.targets);
        }
        self
    }
}

/// The neighbours that `find(tree, query)` gives for every query in the cloud of the same number, query by query.
fn neighbours<T: Coordinate>(
    points: &Points<T>,
    queries: &Points<T>,
    find: impl Fn(&kd_tree::KdTree<T>, &[T]) -> Vec<u32> + Sync,
) -> Result<EdgeList> {
    if points.dim() != queries.dim() {
        return Err(Error::mismatch("queries", format!("{} coordinates", points.dim()), queries.dim()));
    }
    let mut edges = EdgeList::default();
    for (cloud, asking) in points.clouds().zip(queries.clouds()) {
        if cloud.is_empty() || asking.is_empty() {
            continue;
        }
        let start = cloud.start as u32;
        let tree = kd_tree::KdTree::new(points.rows(cloud), points.dim());
        let answer = |q: usize| find(&tree, queries.row(q));
        let found: Vec<Vec<u32>> = asking.clone().into_par_iter().with_min_len(32).map(answer).collect();
        for (query, found) in asking.zip(found) {
            edges.targets.extend(std::iter::repeat_n(query as u32, found.len()));
            edges.sources.extend(found.into_iter().map(|p| start + p));
        }
    }
    Ok(edges)
}
