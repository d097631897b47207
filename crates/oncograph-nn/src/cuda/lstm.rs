//! The recurrence of an LSTM: a product of cuBLAS and a kernel of `lstm.cu` per step.
#![allow(unsafe_code)]

use super::gemm::{Matrix, gemm};
use super::launch::{Operand, Packed, Real, address, function, per_element, result, storage};
use super::lists::OnDevice;
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape};
use oncograph_kernels::LSTM;
use std::sync::Arc;

/// How many steps each sequence has, in the memory of each device that it was used on; nothing where all have all steps.
#[derive(Debug, Default)]
pub(crate) struct Lengths(OnDevice<CudaSlice<u32>>);

impl Lengths {
    fn get(&self, device: &CudaDevice, lengths: Option<&[usize]>) -> Result<Option<Arc<CudaSlice<u32>>>> {
        let Some(lengths) = lengths else { return Ok(None) };
        let copy = || device.clone_htod(&lengths.iter().map(|l| *l as u32).collect::<Vec<_>>());
        self.0.get(device, copy).map(Some)
    }
}

/// One call: its sizes, and the order of its steps.
#[derive(Clone)]
pub(crate) struct Steps {
    time: usize,
    batch: usize,
    hidden: usize,
    reverse: bool,
    lengths: Option<Arc<CudaSlice<u32>>>,
}

impl Steps {
    /// Of gates \[time, batch, 4 hidden\].
    pub(crate) fn new(
        device: &CudaDevice,
        gates: &Layout,
        reverse: bool,
        (lengths, on_device): (Option<&[usize]>, &Lengths),
    ) -> Result<Self> {
        let (time, batch, h4) = gates.shape().dims3()?;
        Ok(Steps { time, batch, hidden: h4 / 4, reverse, lengths: on_device.get(device, lengths)? })
    }

    /// Each step, and the one before it or -1.
    fn order(&self) -> Vec<(usize, i32)> {
        let time = self.time;
        let step = |k: usize| if self.reverse { time - 1 - k } else { k };
        (0..time).map(|k| (step(k), if k == 0 { -1 } else { step(k - 1) as i32 })).collect()
    }

    fn cells(&self) -> usize {
        self.batch * self.hidden
    }
}

/// `gates` \[time, batch, 4 hidden\], `weight` \[4 hidden, hidden\] and `state` \[2, batch, hidden\] give the states \[time, 2,
/// batch, hidden\].
pub(crate) fn forward(
    steps: &Steps,
    gates: Operand,
    weight: Operand,
    state: Operand,
) -> Result<(CudaStorage, Shape)> {
    let device = gates.0.device();
    let (cells, width) = (steps.cells(), 4 * steps.hidden);
    let shape = Shape::from((steps.time, 2, steps.batch, steps.hidden));
    with_real!("lstm", gates.0.dtype(), T => {
        let mut states = result::<T>(device, "lstm", shape.elem_count())?;
        if cells > 0 {
            let operands = [gates, weight, state].map(|(s, l)| Packed::new(s, l));
            let [gates, weight, state] = operands;
            let (gates, weight, state) = (gates?, weight?, state?);
            let (gates, weight, state) = (gates.view::<T>()?, weight.view::<T>()?, state.view::<T>()?);
            let lengths = address(device, steps.lengths.as_deref());
            let (batch, hidden) = (steps.batch as u32, steps.hidden as u32);
            let mut products = result::<T>(device, "lstm", steps.batch * width)?;
            let step = function::<T>(device, &LSTM, "lstm_step")?;
            for (t, last) in steps.order() {
                let before = match last {
                    -1 => state.slice(..cells),
                    last => states.slice(last as usize * 2 * cells..).slice(..cells),
                };
                product(device, steps.batch, (before, &weight), &mut products)?;
                let t = t as i32;
                // SAFETY: as the kernel declares them; `t` and `last` are steps of the states.
                unsafe {
                    launch!(step, per_element(cells), &gates, &products, &state, &mut states, &lengths, &t, &last, &batch, &hidden)
                }?;
            }
        }
        Ok((storage(states, device), shape))
    })
}

/// `out` = `h` \[rows, hidden\] `weight`^T.
fn product<T: Real>(
    device: &CudaDevice,
    rows: usize,
    (h, weight): (CudaView<'_, T>, &CudaView<'_, T>),
    out: &mut CudaSlice<T>,
) -> Result<()> {
    let hidden = h.len() / rows;
    let (h, weight) = (Matrix::rows(h, hidden), Matrix::rows(weight.slice(..), hidden).t());
    gemm(device, [&h, &weight], (&mut out.slice_mut(..), 4 * hidden), (rows, 4 * hidden, hidden), 0.0)
}

/// The gradients of gates, weight and first state, from the operands of [`forward`], its result and that one's gradient.
pub(crate) fn backward(
    steps: &Steps,
    [gates, weight, state, states, grad]: [Operand; 5],
) -> Result<[(CudaStorage, Shape); 3]> {
    let device = gates.0.device();
    let [of_gates, of_weight, of_state] = [gates, weight, state].map(|(_, layout)| layout.shape().clone());
    with_real!("lstm", gates.0.dtype(), T => {
        let [gates, weight, state, states, grad] = [gates, weight, state, states, grad].map(|(s, l)| Packed::new(s, l));
        let (gates, weight, state, states, grad) = (gates?, weight?, state?, states?, grad?);
        let views = [gates.view::<T>()?, weight.view()?, state.view()?, states.view()?, grad.view()?];
        let [dgates, dweight, dstate] = gradients(device, steps, views)?;
        Ok([(dgates, of_gates), (dweight, of_weight), (dstate, of_state)].map(|(d, shape)| (storage(d, device), shape)))
    })
}

fn gradients<T: Real>(
    device: &CudaDevice,
    steps: &Steps,
    [gates, weight, state, states, grad]: [CudaView<'_, T>; 5],
) -> Result<[CudaSlice<T>; 3]> {
    let (cells, hidden, rows) = (steps.cells(), steps.hidden, steps.time * steps.batch);
    let width = 4 * hidden;
    let mut dz = result::<T>(device, "lstm", rows * width)?;
    let mut dweight = result::<T>(device, "lstm", width * hidden)?;
    // Of the first state: hidden before cell, as the state; what the last step gets from behind it is 0.
    let mut dstate = device.alloc_zeros::<T>(2 * cells)?;
    if cells == 0 {
        return Ok([dz, device.alloc_zeros::<T>(width * hidden)?, dstate]);
    }
    let before = hidden_before(device, steps, &state, &states)?;
    let mut products = result::<T>(device, "lstm", rows * width)?;
    product(device, rows, (before.slice(..), &weight), &mut products)?;
    let lengths = address(device, steps.lengths.as_deref());
    let step = function::<T>(device, &LSTM, "lstm_step_backward")?;
    let (batch_size, hidden_size) = (steps.batch as u32, hidden as u32);
    for (t, last) in steps.order().into_iter().rev() {
        let part = t * steps.batch * width..(t + 1) * steps.batch * width;
        let (mut dh, mut dc) = dstate.split_at_mut(cells);
        let (now, t) = (products.slice(part.clone()), t as i32);
        // SAFETY: as the kernel declares them; `t` and `last` are steps of the states.
        unsafe {
            launch!(
                step,
                per_element(cells),
                &gates,
                &now,
                &state,
                &states,
                &grad,
                &lengths,
                &mut dz,
                &mut dh,
                &mut dc,
                &t,
                &last,
                &batch_size,
                &hidden_size
            )
        }?;
        // A sequence that does not run has zero `dz` here and keeps its `dh`.
        let factors = [&Matrix::rows(dz.slice(part), width), &Matrix::rows(weight.slice(..), hidden)];
        gemm(device, factors, (&mut dh, hidden), (steps.batch, hidden, width), 1.0)?;
    }
    let factors = [&Matrix::rows(dz.slice(..), width).t(), &Matrix::rows(before.slice(..), hidden)];
    gemm(device, factors, (&mut dweight.slice_mut(..), hidden), (width, hidden, rows), 0.0)?;
    Ok([dz, dweight, dstate])
}

/// The hidden state that each step starts from, \[time, batch, hidden\].
fn hidden_before<T: Real>(
    device: &CudaDevice,
    steps: &Steps,
    state: &CudaView<'_, T>,
    states: &CudaView<'_, T>,
) -> Result<CudaSlice<T>> {
    let count = steps.time * steps.cells();
    let mut before = result::<T>(device, "lstm", count)?;
    let function = function::<T>(device, &LSTM, "lstm_hidden_before")?;
    let (time, cells, reverse) = (steps.time as u32, steps.cells() as u32, u32::from(steps.reverse));
    // SAFETY: as the kernel declares them.
    unsafe { launch!(function, per_element(count), state, states, &mut before, &time, &cells, &reverse) }?;
    Ok(before)
}
