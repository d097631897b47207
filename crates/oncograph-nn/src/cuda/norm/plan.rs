//! How the sums over groups of elements are shared out among threads: by the shape alone.
#![allow(unsafe_code)]

use crate::cuda::divide::Divider;
use crate::cuda::launch::{Function, Real, config, function, result};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, LaunchConfig};
use candle_core::{CudaDevice, Result};
use oncograph_kernels::NORM;

/// Elements in one part of a group that is cut, and of the rows of a column.
const PART: usize = 8192;
const ROWS: usize = 1024;
/// Groups of at most so many elements are left to a warp, and of so many to one block.
const WARP: usize = 512;
const BLOCK: usize = 4096;

/// A tensor seen as \[outer, groups, inner\]: its element `i` belongs to group `i / inner % groups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grouping {
    pub(crate) outer: usize,
    pub(crate) groups: usize,
    pub(crate) inner: usize,
}

impl Grouping {
    pub(crate) fn count(&self) -> usize {
        self.outer * self.groups * self.inner
    }

    /// Elements of a group.
    pub(crate) fn size(&self) -> usize {
        self.outer * self.inner
    }

    /// Offsets of elements are 32 bits in these kernels.
    pub(super) fn check(&self, op: &str) -> Result<()> {
        // A part may reach beyond the last element.
        if u32::try_from(self.count() + PART).is_err() {
            candle_core::bail!("{op}: expected fewer than 2^32 elements, got {self:?}");
        }
        Ok(())
    }
}

/// `Groups` of `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Groups {
    pub(super) groups: u32,
    inner: u32,
    size: u32,
    part: u32,
    parts: u32,
    by_inner: Divider,
}

// SAFETY: numbers in the order of the fields of the structure that the kernels declare.
unsafe impl DeviceRepr for Groups {}

/// How the sums of a shape are shared out.
pub(super) struct Plan {
    pub(super) groups: Groups,
    /// For one kernel, or the first of two.
    pub(super) grid: LaunchConfig,
    pub(super) columns: bool,
    /// Sums per group that the second kernel adds.
    pub(super) left: usize,
}

impl Plan {
    pub(super) fn new(s: Grouping) -> Self {
        let size = s.size();
        // Rows of less than a warp would be read with gaps.
        let columns = size > BLOCK && s.inner < 32 && s.outer > 1;
        let one = size <= BLOCK && !columns;
        let part = if columns { ROWS } else { PART };
        let parts = match (one, columns) {
            (true, _) => 1,
            (_, true) => s.outer.div_ceil(ROWS),
            _ => size.div_ceil(PART),
        };
        let groups = Groups {
            groups: s.groups as u32,
            inner: s.inner as u32,
            size: if columns { s.outer } else { size } as u32,
            part: if one { size } else { part } as u32,
            parts: parts as u32,
            by_inner: Divider::new(s.inner),
        };
        let teams = s.groups * parts;
        let grid = match columns {
            true => LaunchConfig {
                grid_dim: ((s.groups * s.inner).div_ceil(32) as u32, parts as u32, 1),
                block_dim: (32, 8, 1),
                shared_mem_bytes: 0,
            },
            false if size <= WARP => config(teams.div_ceil(8) as u32, (32, 8)),
            false => config(teams as u32, (256, 1)),
        };
        let left = if one { 0 } else { parts * if columns { s.inner } else { 1 } };
        Plan { groups, grid, columns, left }
    }

    /// The kernel of this name, or that for columns.
    pub(super) fn function<T: Real>(&self, device: &CudaDevice, name: &str) -> Result<Function> {
        let name = if self.columns { format!("{name}_columns") } else { name.to_string() };
        function::<T>(device, &NORM, &name)
    }

    /// Room for what the first kernel leaves to the second, of `fields` numbers each.
    pub(super) fn room(
        &self,
        device: &CudaDevice,
        op: &str,
        fields: usize,
    ) -> Result<Option<CudaSlice<f64>>> {
        let count = self.groups.groups as usize * self.left * fields;
        (count > 0).then(|| result::<f64>(device, op, count)).transpose()
    }

    /// A warp for each group.
    pub(super) fn finish(&self) -> LaunchConfig {
        config(self.groups.groups.div_ceil(8), (32, 8))
    }
}
