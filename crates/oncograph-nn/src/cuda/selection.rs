//! Rows that are selected again and again, by the kernels of `segment.cu`.
#![allow(unsafe_code)]

use super::launch::{NULL, Operand, Packed, function, result, storage};
use super::lists::{CsrLists, copy};
use super::segment::{per_feature, sum_rows};
use crate::cuda::launch::{launch, with_real};
use crate::segment::Csr;
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, CudaStorage, Result, Shape};
use oncograph_kernels::SEGMENT;

/// The numbers of rows in the memory of a device, and for each row where it is selected.
#[derive(Debug)]
pub(crate) struct SelectionLists {
    ids: CudaSlice<u32>,
    count: usize,
    back: CsrLists,
    rows: usize,
}

impl SelectionLists {
    /// `ids` are below `rows`.
    pub(crate) fn new(ids: &[u32], rows: usize, device: &CudaDevice) -> Result<Self> {
        let places: Vec<u32> = (0..ids.len() as u32).collect();
        let back = CsrLists::new(&Csr::sort(rows, ids, &places), device)?;
        Ok(SelectionLists { ids: copy(device, ids)?, count: ids.len(), back, rows })
    }
}

/// The rows of `x` \[rows, width\].
pub(crate) fn select((x, layout): Operand, lists: &SelectionLists) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "row selection";
    let (device, (rows, width)) = (x.device(), layout.shape().dims2()?);
    if rows != lists.rows {
        candle_core::bail!("{OP}: {rows} rows, expected {}", lists.rows);
    }
    with_real!(OP, x.dtype(), T => {
        let mut y = result::<T>(device, OP, lists.count * width)?;
        if lists.count * width > 0 {
            let x = Packed::new(x, layout)?;
            let copy = function::<T>(device, &SEGMENT, "copy_rows")?;
            let (grid, count, width) = (per_feature(lists.count as u32, width as u32), lists.count as u32, width as u32);
            // SAFETY: as the kernel declares them; the numbers are below the rows of x.
            unsafe { launch!(copy, grid, &x.view::<T>()?, &lists.ids, &mut y, &count, &width) }?;
        }
        Ok((storage(y, device), Shape::from((lists.count, width))))
    })
}

/// The gradient of [`select`]: for each row the sum over the places where it is selected, in their order.
pub(crate) fn sum_selected((dy, layout): Operand, lists: &SelectionLists) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "row selection gradient";
    let (device, (count, width)) = (dy.device(), layout.shape().dims2()?);
    if count != lists.count {
        candle_core::bail!("{OP}: {count} rows, expected {}", lists.count);
    }
    with_real!(OP, dy.dtype(), T => {
        let dy = Packed::new(dy, layout)?;
        let dy = dy.view::<T>()?;
        let sum = function::<T>(device, &SEGMENT, "gather_sum")?;
        let dx = sum_rows::<T>(OP, device, &lists.back, (lists.rows, width), NULL, |walk, out| {
            let (grid, width) = (per_feature(walk.count, width as u32), width as u32);
            // SAFETY: as the kernel declares them; places are below the rows of dy.
            unsafe { launch!(sum, grid, &dy, walk.offsets, &lists.back.columns, &NULL, &NULL, out, &walk.count, &width) }
        })?;
        Ok((storage(dx, device), Shape::from((lists.rows, width))))
    })
}
