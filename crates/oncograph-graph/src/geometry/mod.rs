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
    /// From the neighbour to the point whose neighbours were searched.
    #[default]
    SourceToTarget,
    /// From the point whose neighbours were searched to the neighbour.
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
    /// The edges, turned round for [`Flow::TargetToSource`].
    fn directed(mut self, flow: Flow) -> Self {
        if flow == Flow::TargetToSource {
            std::mem::swap(&mut self.sources, &mut self.targets);
        }
        self
    }
}

/// Queries per task.
const QUERIES: usize = 512;

/// Memory that a task uses for one query after the other.
struct Scratch<T> {
    distances: Vec<T>,
    pairs: Vec<(T, u32)>,
}

/// The neighbours that `find(tree, query, scratch, found)` appends to `found` for every query in the cloud of the same
/// number, query by query; without `loops`, those of the query's own number are left out.
fn neighbours<T: Coordinate>(
    points: &Points<T>,
    queries: &Points<T>,
    loops: bool,
    find: impl Fn(&kd_tree::KdTree<T>, &[T], &mut Scratch<T>, &mut Vec<u32>) + Sync,
) -> Result<EdgeList> {
    if points.dim() != queries.dim() {
        return Err(Error::mismatch("queries", format!("{} coordinates", points.dim()), queries.dim()));
    }
    let mut edges = EdgeList::default();
    for (cloud, asking) in points.clouds().zip(queries.clouds()) {
        if cloud.is_empty() || asking.is_empty() {
            continue;
        }
        let tree = kd_tree::KdTree::new(points.rows(cloud.clone()), points.dim());
        // One query after the other visits the same leaves if queries that are close follow each other.
        let same = std::ptr::eq(points.rows(cloud.clone()), queries.rows(asking.clone()));
        let order: Vec<u32> = if same { tree.order().to_vec() } else { (0..asking.len() as u32).collect() };
        let answer = |block: &[u32]| {
            let mut scratch = Scratch { distances: vec![], pairs: vec![] };
            let (mut found, mut ends) = (vec![], Vec::with_capacity(block.len()));
            for &q in block {
                let (query, before) = (asking.start + q as usize, found.len());
                find(&tree, queries.row(query), &mut scratch, &mut found);
                let mut kept = before;
                for i in before..found.len() {
                    let point = cloud.start as u32 + found[i];
                    found[kept] = point;
                    kept += usize::from(loops || point as usize != query);
                }
                found.truncate(kept);
                ends.push(kept);
            }
            (found, ends)
        };
        let blocks: Vec<(Vec<u32>, Vec<usize>)> = order.par_chunks(QUERIES).map(answer).collect();
        gather(&order, &blocks, asking.start as u32, &mut edges);
    }
    Ok(edges)
}

/// Appends what was found for queries in any order, in their own.
fn gather(order: &[u32], blocks: &[(Vec<u32>, Vec<usize>)], first: u32, edges: &mut EdgeList) {
    let mut of_query: Vec<&[u32]> = vec![&[]; order.len()];
    for (queries, (found, ends)) in order.chunks(QUERIES).zip(blocks) {
        let mut start = 0;
        for (&q, &end) in queries.iter().zip(ends) {
            of_query[q as usize] = &found[start..end];
            start = end;
        }
    }
    let total: usize = of_query.iter().map(|found| found.len()).sum();
    edges.sources.reserve(total);
    edges.targets.reserve(total);
    for (found, query) in of_query.into_iter().zip(first..) {
        edges.sources.extend_from_slice(found);
        edges.targets.extend(std::iter::repeat_n(query, found.len()));
    }
}
