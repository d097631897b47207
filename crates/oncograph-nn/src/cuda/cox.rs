//! Cox's partial likelihood, by the kernel of `cox.cu`. The loss itself is in `oncograph-losses`, which may have no
//! `unsafe`.
#![allow(unsafe_code)]

use super::launch::{Packed, config, function, result, storage};
use super::lists::copy;
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape};
use oncograph_kernels::COX;

/// Risk sets in the memory of the host: patients from the longest time to the shortest.
#[derive(Debug, Clone, Copy)]
pub struct SortedPatients<'a> {
    /// The number of each.
    pub order: &'a [u32],
    /// The group of equal times of each.
    pub group: &'a [u32],
    /// Where each group begins, and the end.
    pub starts: &'a [u32],
    /// For an event how many of its group come before it, over their number; below 0 without an event.
    pub share: &'a [f64],
}

/// The same in the memory of a device.
#[derive(Debug)]
pub struct RiskLists {
    order: CudaSlice<u32>,
    group: CudaSlice<u32>,
    starts: CudaSlice<u32>,
    share: CudaSlice<f64>,
    patients: usize,
    groups: usize,
    events: usize,
}

impl RiskLists {
    /// Copies the lists.
    ///
    /// # Errors
    /// If they contradict each other, or an error of the driver.
    pub fn new(lists: SortedPatients, device: &CudaDevice) -> Result<Self> {
        let SortedPatients { order, group, starts, share } = lists;
        let (n, groups) = (order.len(), starts.len().saturating_sub(1));
        let fits = group.len() == n
            && share.len() == n
            && order.iter().all(|i| (*i as usize) < n)
            && group.iter().all(|g| (*g as usize) < groups)
            && starts.windows(2).all(|w| w[0] < w[1])
            && starts.last().is_none_or(|end| *end as usize == n);
        if !fits {
            candle_core::bail!("cox: lists of patients that contradict each other");
        }
        Ok(RiskLists {
            order: copy(device, order)?,
            group: copy(device, group)?,
            starts: copy(device, starts)?,
            share: device.clone_htod(if share.is_empty() { &[-1.0][..] } else { share })?,
            patients: n,
            groups,
            events: share.iter().filter(|s| **s >= 0.0).count(),
        })
    }
}

/// The loss and behind it its derivatives \[patients + 1\], from the log risks \[patients\]; `efron` for its way with ties.
///
/// # Errors
/// For another number of risks or type than f32 and f64, or an error of the driver.
pub fn cox(
    (eta, layout): (&CudaStorage, &Layout),
    lists: &RiskLists,
    efron: bool,
) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "cox";
    const THREADS: u32 = 512;
    let (device, n) = (eta.device(), lists.patients);
    if layout.shape().elem_count() != n {
        candle_core::bail!("{OP}: {n} patients, {} risks", layout.shape().elem_count());
    }
    with_real!(OP, eta.dtype(), T => {
        if lists.events == 0 {
            return Ok((storage(device.alloc_zeros::<T>(n + 1)?, device), Shape::from(n + 1)));
        }
        let mut out = result::<T>(device, OP, n + 1)?;
        let mut work = result::<f64>(device, OP, 2 * (n + lists.groups))?;
        let eta = Packed::new(eta, layout)?;
        let eta = eta.view::<T>()?;
        let run = function::<T>(device, &COX, "cox")?;
        let RiskLists { order, group, starts, share, .. } = lists;
        let (n, groups, events) = (n as u32, lists.groups as u32, lists.events as u32);
        // SAFETY: as the kernel declares them; `new` has seen that the lists fit.
        unsafe { launch!(run, config(1, (THREADS, 1)), &eta, order, group, starts, share, &mut out, &mut work, &n, &groups, &events, &u32::from(efron)) }?;
        Ok((storage(out, device), Shape::from(n as usize + 1)))
    })
}
