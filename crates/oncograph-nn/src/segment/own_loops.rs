use super::{Adjacency, RowSelection};
use std::sync::Arc;

/// Where the weights of edges come from once every self loop is replaced by one per node, which takes the weight of the
/// loop that was there last, as PyTorch Geometric's `add_remaining_self_loops` has it.
#[derive(Debug, Clone)]
pub struct OwnLoops {
    /// For each edge of [`Adjacency::self_loops`] the edge whose weight it takes, or the row behind all edges where its
    /// node had no loop.
    pub rows: Arc<RowSelection>,
    /// From each loop that another one overwrote to the loop that its node has; nothing where there is none.
    pub overwritten: Option<Arc<Adjacency>>,
}

impl OwnLoops {
    pub(super) fn new(adjacency: &Adjacency) -> Self {
        let loops = adjacency.self_loops();
        let edges = adjacency.edge_count();
        let mut own_loop = vec![edges as u32; loops.adjacency.edge_count() - loops.kept.len()];
        let (mut overwritten, mut at) = (vec![], vec![]);
        for &e in &loops.loops {
            let node = adjacency.targets()[e as usize];
            let old = std::mem::replace(&mut own_loop[node as usize], e);
            if (old as usize) < edges {
                overwritten.push(old);
                at.push(node + loops.kept.len() as u32);
            }
        }
        let rows = RowSelection::known(loops.kept.iter().chain(&own_loop).copied().collect(), edges + 1);
        let overwritten = (!overwritten.is_empty())
            .then(|| Arc::new(Adjacency::sorted(edges, loops.adjacency.edge_count(), overwritten, at)));
        OwnLoops { rows: Arc::new(rows), overwritten }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_loop_of_a_node_stays() {
        let a = Adjacency::new(3, 3, &[1, 0, 1, 1, 2], &[1, 1, 1, 0, 2]).unwrap();
        let own = a.own_loops();
        assert_eq!(own.rows.ids(), [1, 3, 5, 2, 4]);
        let overwritten = own.overwritten.as_ref().unwrap();
        assert_eq!((overwritten.sources(), overwritten.targets()), (&[0][..], &[3][..]));
        assert!(Adjacency::new(2, 2, &[0], &[1]).unwrap().own_loops().overwritten.is_none());
    }
}
