use crate::{Result, complete_edges, consecutive_edges};
use oncograph_graph::geometry::{KnnGraphConfig, Points, knn_graph};
use serde::{Deserialize, Serialize};

/// Which parts of a patient's images are joined: `spatial_adjacent` (M-04).
///
/// # Example
/// ```
/// use oncograph_omics::SpatialEdges;
///
/// let places = [0.0, 1.0, 9.0].map(|z| Some([0.0, 0.0, z]));
/// assert_eq!(SpatialEdges::Nearest(1).of(&places)?, [(0, 1), (1, 0), (1, 2), (2, 1)]);
/// assert_eq!(SpatialEdges::Consecutive.of(&[None; 2])?, [(0, 1), (1, 0)]);
/// # Ok::<(), oncograph_omics::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpatialEdges {
    /// Each part and this many nearest others, in both directions; all with each other where a place is not known.
    Nearest(usize),
    /// Each slice and the next one.
    Consecutive,
    /// All with each other.
    Complete,
}

impl Default for SpatialEdges {
    fn default() -> Self {
        SpatialEdges::Nearest(6)
    }
}

impl SpatialEdges {
    /// The edges among the parts of one patient, ascending, given where each is.
    ///
    /// # Errors
    /// Nearest of none, or a place that is not finite.
    pub fn of(self, centroids: &[Option<[f64; 3]>]) -> Result<Vec<(u32, u32)>> {
        let owner = vec![0; centroids.len()];
        let known: Option<Vec<f64>> =
            centroids.iter().copied().collect::<Option<Vec<_>>>().map(|c| c.concat());
        let mut edges = match (self, known) {
            (SpatialEdges::Consecutive, _) => consecutive_edges(&owner),
            (SpatialEdges::Nearest(k), Some(places)) => {
                let near = knn_graph(&Points::new(&places, 3)?, &KnnGraphConfig::new(k))?;
                let pairs = near.sources.iter().copied().zip(near.targets.iter().copied());
                pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
            }
            _ => complete_edges(&owner),
        };
        edges.sort_unstable();
        edges.dedup();
        Ok(edges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_nearest_of_a_row_are_three_on_either_side_and_unknown_places_join_all() {
        let places: Vec<_> = (0..20).map(|i| Some([f64::from(i), 0.0, 0.0])).collect();
        let edges = SpatialEdges::default().of(&places).unwrap();
        let of = |p: u32| edges.iter().filter(|e| e.0 == p).map(|e| e.1).collect::<Vec<_>>();
        assert_eq!(of(10), [7, 8, 9, 11, 12, 13]);
        // Those of the end are among the neighbours of their own neighbours.
        assert_eq!(of(0), [1, 2, 3, 4, 5, 6]);
        assert!(edges.iter().all(|(a, b)| edges.contains(&(*b, *a)) && a != b));
        let some = [Some([0.0; 3]), None, Some([1.0; 3])];
        assert_eq!(SpatialEdges::default().of(&some).unwrap(), complete_edges(&[0; 3]));
        assert!(SpatialEdges::default().of(&[]).unwrap().is_empty());
        assert!(SpatialEdges::Nearest(0).of(&places).is_err());
    }
}
