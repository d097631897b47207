//! Reductions over the edges of a graph, by the kernels of `segment.cu`.
#![allow(unsafe_code)]

use super::launch::{NULL, Packed, address, function, per_element, per_row, result, storage};
use super::lists::CsrLists;
use crate::segment::Csr;
use crate::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::{CudaStorage, Layout, Result, Shape};
use oncograph_kernels::SEGMENT;
use std::sync::Arc;

/// The sum over the edges of each row of `csr`, times 1 / edges of the row in `of_row`, and each term times 1 / edges of its
/// column in `of_column`.
pub(crate) fn gather_sum(
    op: &str,
    (x, layout): (&CudaStorage, &Layout),
    csr: &Csr,
    (of_row, of_column): (Option<&Csr>, Option<&Csr>),
) -> Result<(CudaStorage, Shape)> {
    let (rows, width) = (csr.rows(), layout.shape().dims2()?.1);
    let (device, count, shape) = (x.device(), rows * width, Shape::from((rows, width)));
    with_real!(op, x.dtype(), T => {
        let mut y = result::<T>(device, op, count)?;
        if count > 0 {
            let x = Packed::new(x, layout)?;
            let (x, lists) = (x.view::<T>()?, csr.on_device(device)?);
            let [of_row, of_column] = [of_row, of_column].map(|csr| csr.map(|csr| csr.on_device(device)).transpose());
            let (of_row, of_column) = (of_row?, of_column?);
            let offsets = |lists: &Option<Arc<CsrLists>>| address(device, lists.as_ref().map(|lists| &lists.offsets));
            let (of_row, of_column) = (offsets(&of_row), offsets(&of_column));
            let (width, rows) = (width as u32, rows as u32);
            let sum = function::<T>(device, &SEGMENT, "gather_sum")?;
            match &lists.parts {
                None => {
                    let grid = per_row(rows, width);
                    // SAFETY: as the kernel declares them; columns are below the rows of x, which callers check.
                    unsafe { launch!(sum, grid, &x, &lists.offsets, &lists.columns, &of_row, &of_column, &mut y, &rows, &width) }?;
                }
                Some(parts) => {
                    let mut sums = result::<T>(device, op, parts.count as usize * width as usize)?;
                    let grid = per_row(parts.count, width);
                    // SAFETY: as above, with parts for rows.
                    unsafe { launch!(sum, grid, &x, &parts.offsets, &lists.columns, &NULL, &of_column, &mut sums, &parts.count, &width) }?;
                    let add = function::<T>(device, &SEGMENT, "add_parts")?;
                    // SAFETY: as the kernel declares them; row r has the parts from of_row[r] on.
                    unsafe { launch!(add, per_element(count), &sums, &parts.of_row, &of_row, &mut y, &rows, &width) }?;
                }
            }
        }
        Ok((storage(y, device), shape))
    })
}
