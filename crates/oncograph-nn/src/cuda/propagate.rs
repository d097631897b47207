//! Linear maps of rows, and sums over neighbours between them: products by cuBLAS, the rest by the kernels of
//! `propagate.cu`.
#![allow(unsafe_code)]

use super::launch::{NULL, Operand, Packed, Real, address, copied, function, per_element, result, storage};
use super::segment::{Walk, per_feature};
use super::tensors::{product, whole};
use crate::cuda::launch::{launch, with_real};
use crate::segment::{Adjacency, Neighbourhood};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, CudaStorage, Result, Shape};
use oncograph_kernels::PROPAGATE;

/// `y = x W^T + base`, or `relu(y)`; `onto` gives the row of the base for each row, which is else the only one.
pub(crate) fn row_linear(
    op: &str,
    [x, weight, base]: [Operand; 3],
    onto: Option<&Adjacency>,
    relu: bool,
) -> Result<(CudaStorage, Shape)> {
    let shape = Shape::from((x.1.shape().dims2()?.0, weight.1.shape().dims2()?.0));
    let mut y = product(x, (weight.0, &weight.1.transpose(0, 1)?))?;
    add_base(op, (&mut y, &shape), (None, Some(base)), onto, relu)?;
    Ok((y, shape))
}

/// `y += plus + base`, both if there are any, then ReLU.
fn add_base(
    op: &str,
    (y, shape): (&mut CudaStorage, &Shape),
    (plus, base): (Option<&CudaStorage>, Option<Operand>),
    onto: Option<&Adjacency>,
    relu: bool,
) -> Result<()> {
    let (rows, width) = shape.dims2()?;
    if rows * width == 0 {
        return Ok(());
    }
    let device = y.device().clone();
    let device = &device;
    let onto = onto.map(|onto| onto.ends_on(device)).transpose()?;
    let base_rows = address(device, onto.as_ref().map(|ends| &ends.targets));
    with_real!(op, y.dtype(), T => {
        let plus = address(device, plus.map(CudaStorage::as_cuda_slice::<T>).transpose()?);
        let base = base.map(|(base, layout)| Packed::new(base, layout)).transpose()?;
        let base = base.as_ref().map(Packed::view::<T>).transpose()?;
        let y = y.as_cuda_slice_mut::<T>()?;
        let (grid, rows, width, relu) = (per_element(rows * width), rows as u32, width as u32, u32::from(relu));
        let add = function::<T>(device, &PROPAGATE, "add_base")?;
        match &base {
            // SAFETY: as the kernel declares them; base_rows is null or below the rows of the base, which callers check.
            Some(base) => unsafe { launch!(add, grid, y, &plus, base, &base_rows, &rows, &width, &relu) },
            // SAFETY: as above, without a base.
            None => unsafe { launch!(add, grid, y, &plus, &NULL, &NULL, &rows, &width, &relu) },
        }
    })
}

/// `y = A x W^T (+ x W_r^T) (+ b)` with the parameters `[W | W_r | b]`; the sum is taken on the narrower side of `W`.
pub(crate) fn propagate(
    op: &str,
    (x, parameters): (Operand, Operand),
    adjacency: &Adjacency,
    neighbourhood: Neighbourhood,
    (root, bias): (bool, bool),
) -> Result<(CudaStorage, Shape)> {
    let features = x.1.shape().dims2()?.1;
    let (out, columns) = parameters.1.shape().dims2()?;
    let shape = Shape::from((adjacency.target_count(), out));
    let part = |from: usize, len: usize| copied((parameters.0, &parameters.1.narrow(1, from, len)?));
    let map = whole((out, features)).transpose(0, 1)?;
    let weight = part(0, features)?;
    let sum = |x: Operand| neighbour_sum(op, x, adjacency, neighbourhood, false);
    let mut y = if out < features {
        let mapped = product(x, (&weight, &map))?;
        sum((&mapped, &whole((adjacency.source_count(), out))))?.0
    } else {
        let (sums, of_sums) = sum(x)?;
        product((&sums, &whole(of_sums)), (&weight, &map))?
    };
    let of_root = if root { Some(product(x, (&part(features, features)?, &map))?) } else { None };
    let base = if bias { Some(part(columns - 1, 1)?) } else { None };
    if root || bias {
        let layout = whole(out);
        add_base(op, (&mut y, &shape), (of_root.as_ref(), base.as_ref().map(|b| (b, &layout))), None, false)?;
    }
    Ok((y, shape))
}

/// `A x`, or with `reverse` its gradient.
pub(crate) fn neighbour_sum(
    op: &str,
    (x, layout): Operand,
    adjacency: &Adjacency,
    neighbourhood: Neighbourhood,
    reverse: bool,
) -> Result<(CudaStorage, Shape)> {
    let csr = if reverse { adjacency.by_source() } else { adjacency.by_target() };
    let (device, rows, width) = (x.device(), csr.rows(), layout.shape().dims2()?.1);
    with_real!(op, x.dtype(), T => {
        let mut y = result::<T>(device, op, rows * width)?;
        if rows * width > 0 {
            let lists = csr.on_device(device)?;
            let (of_target, both) = scales::<T>(op, device, adjacency, neighbourhood)?;
            let of_target = address(device, of_target.as_ref());
            let of_source = if both { of_target } else { NULL };
            let (of_row, of_column) = if reverse { (of_source, of_target) } else { (of_target, of_source) };
            let x = Packed::new(x, layout)?;
            let x = x.view::<T>()?;
            let walk = Walk::new(&lists, rows, device);
            let (grid, own) = (per_feature(walk.count, width as u32), own(neighbourhood));
            let mut sums = result::<T>(device, op, if walk.whole { 0 } else { walk.count as usize * width })?;
            let out = if walk.whole { &mut y } else { &mut sums };
            let (rows, width, elements) = (rows as u32, width as u32, rows * width);
            let sum = function::<T>(device, &PROPAGATE, "neighbour_sum")?;
            // SAFETY: as the kernel declares them; scales are null or of one node each, and a row is a column where
            // it counts itself.
            unsafe { launch!(sum, grid, &x, walk.offsets, &walk.rows, &lists.columns, &of_row, &of_column, out, &walk.count, &width, &own) }?;
            if let Some(parts) = &lists.parts {
                let add = function::<T>(device, &PROPAGATE, "neighbour_sum_of_parts")?;
                let grid = per_element(elements);
                // SAFETY: as above; row r has the parts from of_row[r] on.
                unsafe { launch!(add, grid, &sums, &parts.of_row, &x, &of_row, &of_column, &mut y, &rows, &width, &own) }?;
            }
        }
        Ok((storage(y, device), Shape::from((rows, width))))
    })
}

/// As the kernel names it.
fn own(neighbourhood: Neighbourhood) -> u32 {
    match neighbourhood {
        Neighbourhood::ClosedMean => 1,
        Neighbourhood::SymmetricWithLoops => 2,
        _ => 0,
    }
}

/// What scales each target, and whether sources are scaled by the same.
fn scales<T: Real>(
    op: &str,
    device: &CudaDevice,
    adjacency: &Adjacency,
    neighbourhood: Neighbourhood,
) -> Result<(Option<CudaSlice<T>>, bool)> {
    let (scale, both) = match neighbourhood {
        Neighbourhood::Sum => return Ok((None, false)),
        Neighbourhood::Mean => (0u32, false),
        Neighbourhood::ClosedMean => (1, false),
        Neighbourhood::Symmetric => (2, true),
        Neighbourhood::SymmetricWithLoops => (3, true),
    };
    let rows = adjacency.target_count();
    let mut scales = result::<T>(device, op, rows)?;
    if rows > 0 {
        let lists = adjacency.by_target().on_device(device)?;
        let loops = if scale == 3 { Some(adjacency.loop_counts_on(device)?) } else { None };
        let loops = address(device, loops.as_deref());
        let of_degrees = function::<T>(device, &PROPAGATE, "degree_scales")?;
        // SAFETY: as the kernel declares them; loops are null or of one node each.
        unsafe {
            launch!(
                of_degrees,
                per_element(rows),
                &lists.offsets,
                &loops,
                &mut scales,
                &(rows as u32),
                &scale
            )
        }?;
    }
    Ok((Some(scales), both))
}
