use super::{OwnLoops, RowSelection};
#[cfg(feature = "cuda")]
use crate::cuda::lists::{CsrLists, EdgeLists, LoopLists, OnDevice, copy};
use crate::{Error, Result, portable};
use candle_core::Tensor;
#[cfg(feature = "cuda")]
use candle_core::{CudaDevice, cuda_backend::cudarc::driver::CudaSlice};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Compressed sparse rows: for each row the other ends of its edges, in the order of the edge list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    edges: Vec<u32>,
    #[cfg(feature = "cuda")]
    on_device: OnDevice<CsrLists>,
}

impl Csr {
    /// Sorts edges by `rows`, keeping the order of edges within a row (a counting sort, linear in the edges).
    pub(crate) fn sort(row_count: usize, rows: &[u32], columns: &[u32]) -> Self {
        let mut offsets = vec![0; row_count + 1];
        for &r in rows {
            offsets[r as usize + 1] += 1;
        }
        for r in 0..row_count {
            offsets[r + 1] += offsets[r];
        }
        let mut next = offsets.clone();
        let mut sorted = Csr {
            offsets,
            columns: vec![0; rows.len()],
            edges: vec![0; rows.len()],
            #[cfg(feature = "cuda")]
            on_device: OnDevice::default(),
        };
        for (edge, (&r, &c)) in rows.iter().zip(columns).enumerate() {
            let at = next[r as usize];
            next[r as usize] += 1;
            sorted.columns[at] = c;
            sorted.edges[at] = edge as u32;
        }
        sorted
    }

    /// Where the edges of each row begin in [`Csr::all_columns`], and their end.
    pub(crate) fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The other ends of all edges, row after row.
    pub(crate) fn all_columns(&self) -> &[u32] {
        &self.columns
    }

    /// The positions in the edge list of all edges, row after row.
    pub(crate) fn all_edges(&self) -> &[u32] {
        &self.edges
    }

    /// The lists in the memory of `device`, copied there on first use.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_device(&self, device: &CudaDevice) -> candle_core::Result<Arc<CsrLists>> {
        self.on_device.get(device, || CsrLists::new(self, device))
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many edges end in `row`.
    pub fn degree(&self, row: usize) -> usize {
        self.offsets[row + 1] - self.offsets[row]
    }

    /// The other ends of the edges of `row`.
    pub fn columns(&self, row: usize) -> &[u32] {
        &self.columns[self.offsets[row]..self.offsets[row + 1]]
    }

    /// The positions in the edge list of the edges of `row`.
    pub fn edges(&self, row: usize) -> &[u32] {
        &self.edges[self.offsets[row]..self.offsets[row + 1]]
    }
}

/// The edges of a relation from `sources` to `targets` nodes, by target for the forward pass and by source for
/// the backward pass. Built once per graph in time linear in nodes and edges.
///
/// # Example
///
/// ```
/// use oncograph_nn::segment::Adjacency;
///
/// // 0 -> 2, 1 -> 2, 2 -> 0
/// let adjacency = Adjacency::new(3, 3, &[0, 1, 2], &[2, 2, 0])?;
/// assert_eq!(adjacency.in_degrees(), [1, 0, 2]);
/// assert_eq!(adjacency.by_target().columns(2), [0, 1]);
/// # Ok::<(), oncograph_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjacency {
    by_target: Csr,
    by_source: Csr,
    sources: Vec<u32>,
    targets: Vec<u32>,
    derived: Derived,
}

/// What is derived from the edges and worth keeping, computed on first use.
#[derive(Debug, Clone, Default)]
struct Derived {
    self_loops: OnceLock<Arc<SelfLoops>>,
    loop_counts: OnceLock<Vec<u32>>,
    edges_to_targets: OnceLock<Arc<Adjacency>>,
    shared: OnceLock<Option<Arc<SharedNeighbourhoods>>>,
    source_rows: OnceLock<Arc<RowSelection>>,
    target_rows: OnceLock<Arc<RowSelection>>,
    padded_rows: OnceLock<Arc<RowSelection>>,
    kept_rows: OnceLock<Arc<RowSelection>>,
    own_loops: OnceLock<OwnLoops>,
    #[cfg(feature = "cuda")]
    ends: OnDevice<EdgeLists>,
    #[cfg(feature = "cuda")]
    loop_rows: OnDevice<LoopLists>,
    #[cfg(feature = "cuda")]
    loop_counts_on: OnDevice<CudaSlice<u32>>,
}

// Equal edges have equal derivatives, made or not.
impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

/// An edge list without its self loops and with one loop per node at the end, as PyTorch Geometric orders them.
/// Between two sets of nodes a loop is an edge between nodes of the same position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfLoops {
    /// The edges.
    pub adjacency: Arc<Adjacency>,
    /// The old position of each edge that was kept, in order.
    pub kept: Vec<u32>,
    /// The old position of each self loop, in order.
    pub loops: Vec<u32>,
}

/// Edges of which many targets have the same sources, as where every node of one kind is joined to every node of
/// another: what is summed over neighbours is the same for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedNeighbourhoods {
    /// From the sources to each list of sources that occurs, once.
    pub distinct: Arc<Adjacency>,
    /// From each target to its list.
    pub of_target: Arc<Adjacency>,
}

impl Adjacency {
    /// Sorts the edges `sources[e] -> targets[e]`. Duplicate edges and self loops are kept.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lists differ in length, or an index is out of range (the edge is named).
    pub fn new(source_count: usize, target_count: usize, sources: &[u32], targets: &[u32]) -> Result<Self> {
        const OP: &str = "Adjacency";
        if sources.len() != targets.len() {
            let lengths = (sources.len(), targets.len());
            return Err(Error::shape(OP, "as many sources as targets", lengths));
        }
        for (count, nodes, side) in [(source_count, sources, "sources"), (target_count, targets, "targets")] {
            if let Some(edge) = nodes.iter().position(|&n| n as usize >= count) {
                let expected = format!("{side} below {count}");
                return Err(Error::shape(OP, expected, format_args!("{} in edge {edge}", nodes[edge])));
            }
        }
        Ok(Self::sorted(source_count, target_count, sources.to_vec(), targets.to_vec()))
    }

    /// [`Adjacency::new`] for indices that are known to be in range.
    pub(super) fn sorted(
        source_count: usize,
        target_count: usize,
        sources: Vec<u32>,
        targets: Vec<u32>,
    ) -> Self {
        let (by_target, by_source) = rayon::join(
            || Csr::sort(target_count, &targets, &sources),
            || Csr::sort(source_count, &sources, &targets),
        );
        Adjacency { by_target, by_source, sources, targets, derived: Derived::default() }
    }

    /// The relation from each item to its segment: `segments[i]` is the target of item `i`.
    ///
    /// Reducing along it is pooling: a batch of graphs pools its nodes with `segments` = graph of each node.
    ///
    /// # Errors
    /// [`Error::Shape`] if a segment is `count` or more.
    pub fn from_segments(segments: &[u32], count: usize) -> Result<Self> {
        let items: Vec<u32> = (0..segments.len() as u32).collect();
        Adjacency::new(segments.len(), count, &items, segments)
    }

    /// Both ends of each edge in the memory of `device`, copied there on first use.
    #[cfg(feature = "cuda")]
    pub(crate) fn ends_on(&self, device: &CudaDevice) -> candle_core::Result<Arc<EdgeLists>> {
        self.derived.ends.get(device, || EdgeLists::new(self, device))
    }

    /// What [`with_loop_rows`](super::with_loop_rows) needs in the memory of `device`, copied there on first use.
    #[cfg(feature = "cuda")]
    pub(crate) fn loop_rows_on(&self, device: &CudaDevice) -> candle_core::Result<Arc<LoopLists>> {
        self.derived.loop_rows.get(device, || LoopLists::new(self, device))
    }

    /// The number of edges from each node to the node of the same position, in the memory of `device`.
    #[cfg(feature = "cuda")]
    pub(crate) fn loop_counts_on(&self, device: &CudaDevice) -> candle_core::Result<Arc<CudaSlice<u32>>> {
        self.derived.loop_counts_on.get(device, || copy(device, self.loop_counts()))
    }

    /// How many nodes edges can start from.
    pub fn source_count(&self) -> usize {
        self.by_source.rows()
    }

    /// How many nodes edges can end in.
    pub fn target_count(&self) -> usize {
        self.by_target.rows()
    }

    /// How many edges there are.
    pub fn edge_count(&self) -> usize {
        self.sources.len()
    }

    /// The source of each edge, in the order of the edge list.
    pub fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// The target of each edge, in the order of the edge list.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// Edges sorted by target.
    pub fn by_target(&self) -> &Csr {
        &self.by_target
    }

    /// Edges sorted by source.
    pub fn by_source(&self) -> &Csr {
        &self.by_source
    }

    /// The edges with every self loop replaced by one per node. Made once and kept.
    pub fn self_loops(&self) -> &Arc<SelfLoops> {
        self.derived.self_loops.get_or_init(|| {
            let (n_sources, n_targets) = (self.source_count(), self.target_count());
            let n = n_sources.min(n_targets) as u32;
            let (mut sources, mut targets, mut kept, mut loops) = (vec![], vec![], vec![], vec![]);
            for (e, (&s, &t)) in self.sources.iter().zip(&self.targets).enumerate() {
                if s == t {
                    loops.push(e as u32);
                } else {
                    sources.push(s);
                    targets.push(t);
                    kept.push(e as u32);
                }
            }
            sources.extend(0..n);
            targets.extend(0..n);
            let adjacency = Arc::new(Self::sorted(n_sources, n_targets, sources, targets));
            Arc::new(SelfLoops { adjacency, kept, loops })
        })
    }

    /// How many edges lead from each node to the node of the same position. Made once and kept.
    pub(super) fn loop_counts(&self) -> &[u32] {
        self.derived.loop_counts.get_or_init(|| {
            let mut counts = vec![0; self.target_count()];
            for (&s, &t) in self.sources.iter().zip(&self.targets) {
                counts[t as usize] += u32::from(s == t);
            }
            counts
        })
    }

    /// The relation from each edge to its target; reducing along it reduces values of edges. Made once and kept.
    pub fn edges_to_targets(&self) -> &Arc<Adjacency> {
        self.derived.edges_to_targets.get_or_init(|| {
            let edges = (0..self.edge_count() as u32).collect();
            Arc::new(Self::sorted(self.edge_count(), self.target_count(), edges, self.targets.clone()))
        })
    }

    /// The rows of the sources of all edges: \[sources, ..\] -> \[edges, ..\].
    ///
    /// # Errors
    /// As [`RowSelection::of`].
    pub fn of_sources(&self, x: &Tensor) -> Result<Tensor> {
        of_ends(&self.derived.source_rows, x, (&self.sources, self.source_count()))
    }

    /// The rows of the targets of all edges: \[targets, ..\] -> \[edges, ..\].
    ///
    /// # Errors
    /// As [`RowSelection::of`].
    pub fn of_targets(&self, x: &Tensor) -> Result<Tensor> {
        of_ends(&self.derived.target_rows, x, (&self.targets, self.target_count()))
    }

    /// The rows of the edges that are no self loops: \[edges, ..\] -> \[edges that are kept, ..\].
    ///
    /// # Errors
    /// As [`RowSelection::of`].
    pub fn of_kept(&self, x: &Tensor) -> Result<Tensor> {
        of_ends(&self.derived.kept_rows, x, (&self.self_loops().kept, self.edge_count()))
    }

    /// Where the weights of [`Adjacency::self_loops`] come from. Made once and kept.
    pub fn own_loops(&self) -> &OwnLoops {
        self.derived.own_loops.get_or_init(|| OwnLoops::new(self))
    }

    /// Of each target the sources in the order of the edge list, then the row behind all sources: \[largest in-degree,
    /// targets\]. Made once and kept.
    pub fn padded_rows(&self) -> &Arc<RowSelection> {
        self.derived.padded_rows.get_or_init(|| {
            let (targets, pad) = (self.target_count(), self.source_count());
            let steps = (0..targets).map(|t| self.by_target.degree(t)).max().unwrap_or(0);
            let at =
                |step: usize, t: usize| self.by_target.columns(t).get(step).copied().unwrap_or(pad as u32);
            let ids = (0..steps).flat_map(|step| (0..targets).map(move |t| at(step, t))).collect();
            Arc::new(RowSelection::known(ids, pad + 1))
        })
    }

    /// The edges by lists of sources, if there are at most half as many lists as targets. Made once and kept.
    ///
    /// Targets share a list if they have the same sources in the same order, so that a sum over it has the same bits.
    pub fn shared_neighbourhoods(&self) -> Option<&Arc<SharedNeighbourhoods>> {
        /// Targets after which lists that hardly repeat are given up, so that a large graph costs no more than these.
        const PROBE: usize = 1024;
        let find = || {
            let count = self.target_count();
            let mut lists = HashMap::new();
            let (mut sources, mut targets) = (vec![], vec![]);
            let mut of_target = Vec::with_capacity(count);
            for target in 0..count {
                let columns = self.by_target.columns(target);
                let next = lists.len() as u32;
                let list = *lists.entry(columns).or_insert(next);
                if list == next {
                    sources.extend_from_slice(columns);
                    targets.resize(sources.len(), list);
                }
                of_target.push(list);
                let seen = if target == PROBE { target } else { count };
                if 2 * lists.len() > seen {
                    return None;
                }
            }
            let distinct = Arc::new(Self::sorted(self.source_count(), lists.len(), sources, targets));
            let items = (0..count as u32).collect();
            let of_target = Arc::new(Self::sorted(count, lists.len(), items, of_target));
            Some(Arc::new(SharedNeighbourhoods { distinct, of_target }))
        };
        self.derived.shared.get_or_init(find).as_ref()
    }

    /// How many edges end in each target.
    pub fn in_degrees(&self) -> Vec<usize> {
        (0..self.target_count()).map(|t| self.by_target.degree(t)).collect()
    }
}

/// The rows of `x` in a list of the graph; only a device keeps it once more.
fn of_ends(kept: &OnceLock<Arc<RowSelection>>, x: &Tensor, (ends, rows): (&[u32], usize)) -> Result<Tensor> {
    if !x.device().is_cuda() {
        return portable::rows_at(x, ends);
    }
    kept.get_or_init(|| Arc::new(RowSelection::known(ends.to_vec(), rows))).of(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_edges_and_order_are_kept() {
        let a = Adjacency::new(2, 3, &[1, 0, 1, 1], &[2, 2, 0, 2]).unwrap();
        assert_eq!(a.by_target().columns(2), [1, 0, 1]);
        assert_eq!(a.by_target().edges(2), [0, 1, 3]);
        assert_eq!(a.by_source().columns(1), [2, 0, 2]);
        assert_eq!(a.in_degrees(), [1, 0, 3]);
    }

    #[test]
    fn a_bad_index_is_named() {
        let message = Adjacency::new(2, 2, &[0, 5], &[0, 1]).unwrap_err().to_string();
        assert_eq!(message, "Adjacency: expected sources below 2, got 5 in edge 1");
        assert!(Adjacency::new(2, 2, &[0], &[]).is_err());
    }

    #[test]
    fn between_two_sets_of_nodes_a_loop_joins_equal_positions() {
        let a = Adjacency::new(2, 3, &[0, 1, 1], &[2, 1, 0]).unwrap();
        let loops = a.self_loops();
        assert_eq!(loops.adjacency.sources(), [0, 1, 0, 1]);
        assert_eq!(loops.adjacency.targets(), [2, 0, 0, 1]);
        assert_eq!((&loops.kept[..], &loops.loops[..]), (&[0, 2][..], &[1][..]));
        assert_eq!(a.loop_counts(), [0, 1, 0]);
    }

    #[test]
    fn equal_lists_of_sources_are_found() {
        // Targets 0, 2 and 4 have sources 1, 0; 1 and 5 have 0, 1; 3 has none.
        let (sources, targets) = ([1, 0, 1, 0, 1, 0, 0, 1, 0, 1], [0, 0, 2, 2, 4, 4, 1, 1, 5, 5]);
        let a = Adjacency::new(2, 6, &sources, &targets).unwrap();
        let shared = a.shared_neighbourhoods().unwrap();
        assert_eq!(shared.of_target.targets(), [0, 1, 0, 2, 0, 1]);
        assert_eq!(
            (shared.distinct.sources(), shared.distinct.targets()),
            (&[1, 0, 0, 1][..], &[0, 0, 1, 1][..])
        );
        assert_eq!(shared.distinct.target_count(), 3);
        for target in 0..6 {
            let list = shared.of_target.targets()[target] as usize;
            assert_eq!(shared.distinct.by_target().columns(list), a.by_target().columns(target));
        }
        // Four lists of six targets are too many, and so are many at the beginning of a large graph.
        assert!(
            Adjacency::new(4, 6, &[0, 1, 2, 3], &[0, 1, 2, 3]).unwrap().shared_neighbourhoods().is_none()
        );
        let own: Vec<u32> = (0..1000).collect();
        assert!(Adjacency::new(1000, 9000, &own, &own).unwrap().shared_neighbourhoods().is_none());
        assert!(Adjacency::new(0, 0, &[], &[]).unwrap().shared_neighbourhoods().is_some());
    }

    #[test]
    fn no_edges_is_a_graph() {
        let a = Adjacency::new(0, 2, &[], &[]).unwrap();
        assert_eq!((a.source_count(), a.target_count(), a.edge_count()), (0, 2, 0));
    }
}
