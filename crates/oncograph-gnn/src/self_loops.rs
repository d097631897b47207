use crate::Result;
use oncograph_nn::segment::Adjacency;
use std::sync::Arc;

/// An edge list without its self loops and with one loop per node at the end, as PyTorch Geometric orders them.
pub(crate) struct WithLoops {
    pub adjacency: Arc<Adjacency>,
    /// The old position of each edge that was kept, in order.
    pub kept: Vec<u32>,
    /// Per node, the old position of its last self loop.
    pub old_loop: Vec<Option<u32>>,
}

pub(crate) fn replace_self_loops(adjacency: &Adjacency) -> Result<WithLoops> {
    let n = adjacency.target_count();
    let (mut sources, mut targets, mut kept) = (vec![], vec![], vec![]);
    let mut old_loop = vec![None; n];
    for (e, (&s, &t)) in adjacency.sources().iter().zip(adjacency.targets()).enumerate() {
        if s == t {
            old_loop[s as usize] = Some(e as u32);
        } else {
            sources.push(s);
            targets.push(t);
            kept.push(e as u32);
        }
    }
    sources.extend(0..n as u32);
    targets.extend(0..n as u32);
    Ok(WithLoops { adjacency: Arc::new(Adjacency::new(n, n, &sources, &targets)?), kept, old_loop })
}
