//! The edges of a graph in the memory of a device: copied there once.

use crate::segment::{Adjacency, Csr};
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// How many edges of a row are added by one thread, at most.
const PART: usize = 4096;

/// What is kept in the memory of each device that it was used on.
#[derive(Debug)]
pub struct OnDevice<T>(Mutex<Vec<(DeviceId, Arc<T>)>>);

impl<T> OnDevice<T> {
    /// That of `device`, made on first use.
    ///
    /// # Errors
    /// That of `make`.
    pub fn get(&self, device: &CudaDevice, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = all.iter().find(|(id, _)| *id == device.id()) {
            return Ok(found.clone());
        }
        let made = Arc::new(make()?);
        all.push((device.id(), made.clone()));
        Ok(made)
    }
}

impl<T> Default for OnDevice<T> {
    fn default() -> Self {
        OnDevice(Mutex::default())
    }
}

/// A clone keeps the copies, too.
impl<T> Clone for OnDevice<T> {
    fn clone(&self) -> Self {
        OnDevice(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// Copies say nothing about what is copied.
impl<T> PartialEq for OnDevice<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for OnDevice<T> {}

/// Compressed sparse rows in the memory of a device.
#[derive(Debug)]
pub(crate) struct CsrLists {
    /// Where the edges of each row begin, and their end.
    pub(crate) offsets: CudaSlice<u32>,
    /// The other end of each edge.
    pub(crate) columns: CudaSlice<u32>,
    /// The position of each edge in the edge list.
    pub(crate) edges: CudaSlice<u32>,
    /// Where a row has more edges than one thread should add.
    pub(crate) parts: Option<Parts>,
}

/// Rows in parts of at most [`PART`] edges.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Where the edges of each part begin, and their end.
    pub(crate) offsets: CudaSlice<u32>,
    /// Where the parts of each row begin, and their end.
    pub(crate) of_row: CudaSlice<u32>,
    /// The row of each part.
    pub(crate) rows: CudaSlice<u32>,
    /// How many there are.
    pub(crate) count: u32,
}

impl CsrLists {
    pub(crate) fn new(csr: &Csr, device: &CudaDevice) -> Result<Self> {
        let offsets: Vec<u32> = csr.offsets().iter().map(|o| *o as u32).collect();
        let cut = csr.offsets().windows(2).any(|row| row[1] - row[0] > PART);
        Ok(CsrLists {
            offsets: copy(device, &offsets)?,
            columns: copy(device, csr.all_columns())?,
            edges: copy(device, csr.all_edges())?,
            parts: cut.then(|| Parts::new(&offsets, device)).transpose()?,
        })
    }
}

impl Parts {
    fn new(offsets: &[u32], device: &CudaDevice) -> Result<Self> {
        let (parts, of_row) = cut(offsets);
        let rows = (0..).zip(of_row.windows(2)).flat_map(|(row, part)| (part[0]..part[1]).map(move |_| row));
        Ok(Parts {
            count: parts.len() as u32 - 1,
            rows: copy(device, &rows.collect::<Vec<_>>())?,
            offsets: copy(device, &parts)?,
            of_row: copy(device, &of_row)?,
        })
    }
}

/// Both ends of each edge, in the order of the edge list.
#[derive(Debug)]
pub(crate) struct EdgeLists {
    pub(crate) sources: CudaSlice<u32>,
    pub(crate) targets: CudaSlice<u32>,
}

impl EdgeLists {
    pub(crate) fn new(adjacency: &Adjacency, device: &CudaDevice) -> Result<Self> {
        Ok(EdgeLists {
            sources: copy(device, adjacency.sources())?,
            targets: copy(device, adjacency.targets())?,
        })
    }
}

/// The place of no edge.
const NOWHERE: u32 = u32::MAX;

/// How rows of edges get into the order of [`Adjacency::self_loops`].
#[derive(Debug)]
pub(crate) struct LoopLists {
    /// The position of each edge that is kept.
    pub(crate) kept: CudaSlice<u32>,
    /// The place of each edge among those that are kept.
    pub(crate) places: CudaSlice<u32>,
    /// The edges that are kept, by the nodes that have a loop: the positions are columns.
    pub(crate) by_node: CsrLists,
}

impl LoopLists {
    pub(crate) fn new(adjacency: &Adjacency, device: &CudaDevice) -> Result<Self> {
        let loops = adjacency.self_loops();
        let nodes = loops.adjacency.edge_count() - loops.kept.len();
        let mut places = vec![NOWHERE; adjacency.edge_count()];
        (0..).zip(&loops.kept).for_each(|(place, e)| places[*e as usize] = place);
        let target = |e: u32| adjacency.targets()[e as usize];
        let edges: Vec<u32> = loops.kept.iter().copied().filter(|e| (target(*e) as usize) < nodes).collect();
        let targets: Vec<u32> = edges.iter().map(|e| target(*e)).collect();
        let by_node = Adjacency::new(adjacency.edge_count(), nodes, &edges, &targets)?;
        Ok(LoopLists {
            kept: copy(device, &loops.kept)?,
            places: copy(device, &places)?,
            by_node: CsrLists::new(by_node.by_target(), device)?,
        })
    }
}

/// Where parts of at most [`PART`] edges begin, and which is the first of each row; the end of both behind.
fn cut(offsets: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let (mut parts, mut of_row) = (vec![], vec![]);
    for row in offsets.windows(2) {
        of_row.push(parts.len() as u32);
        parts.extend((row[0]..row[1]).step_by(PART));
    }
    of_row.push(parts.len() as u32);
    parts.extend(offsets.last());
    (parts, of_row)
}

/// Numbers in the memory of the device. Of none, one that nobody reads: drivers refuse to allocate nothing.
pub(crate) fn copy(device: &CudaDevice, values: &[u32]) -> Result<CudaSlice<u32>> {
    device.clone_htod(if values.is_empty() { &[0][..] } else { values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_row_is_cut_and_an_empty_one_has_no_part() {
        let (parts, of_row) = cut(&[0, 3, 3, 3 + 2 * PART as u32 + 1]);
        assert_eq!(parts, [0, 3, 3 + PART as u32, 3 + 2 * PART as u32, 4 + 2 * PART as u32]);
        assert_eq!(of_row, [0, 1, 1, 4]);
    }
}
