//! The recurrence as one differentiable CPU operation.
//!
//! Sequences are independent of each other, so tasks are fixed blocks of sequences. The backward pass works the
//! gates out again from the saved states, one product for all steps, instead of keeping them.

use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda::{lstm, tensors::several};
use crate::element::{Element, on_cpu, with_element};
use crate::gemm::{Mat, matmul};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

/// Sequences per task: at least 16, since a product packs the weights anew for every task and step, at most 64, so that
/// there are tasks for every thread. A function of the batch alone, so that the bits do not depend on the threads.
fn block_len(batch: usize) -> usize {
    (batch / 8).clamp(16, 64)
}

/// As `composed::run`, for f32 and f64 on the CPU.
pub(super) fn run(
    gates: &Tensor,
    weight: &Tensor,
    state: &Tensor,
    lengths: Option<&[usize]>,
    reverse: bool,
) -> Result<Tensor> {
    let op = Recurrence {
        lengths: lengths.map(<[usize]>::to_vec),
        reverse,
        #[cfg(feature = "cuda")]
        on_device: lstm::Lengths::default(),
    };
    Ok(gates.apply_op3(weight, state, op)?)
}

struct Recurrence {
    lengths: Option<Vec<usize>>,
    reverse: bool,
    #[cfg(feature = "cuda")]
    on_device: lstm::Lengths,
}

/// The sizes of one call and the block of sequences `first..first + count` of a task.
#[derive(Clone, Copy)]
struct Block {
    time: usize,
    batch: usize,
    hidden: usize,
    first: usize,
    count: usize,
}

impl Block {
    fn all(time: usize, batch: usize, hidden: usize) -> Vec<Block> {
        let len = block_len(batch);
        let starts = (0..batch).step_by(len);
        starts.map(|first| Block { time, batch, hidden, first, count: len.min(batch - first) }).collect()
    }

    /// The block's part of step `t` of a tensor \[.., batch, width\].
    fn part<'a, T>(&self, data: &'a [T], t: usize, width: usize) -> &'a [T] {
        let start = (t * self.batch + self.first) * width;
        &data[start..start + self.count * width]
    }
}

impl Recurrence {
    fn order(&self, time: usize) -> Vec<usize> {
        if self.reverse { (0..time).rev().collect() } else { (0..time).collect() }
    }

    /// Whether sequence `b` has a step `t`.
    fn runs(&self, b: usize, t: usize) -> bool {
        self.lengths.as_ref().is_none_or(|l| t < l[b])
    }

    /// The states \[time, 2, count, hidden\] of a block.
    fn forward_block<T: Element>(&self, k: Block, gates: &[T], weight: &[T], state: &[T]) -> Vec<T> {
        let (h4, n, cells) = (4 * k.hidden, k.hidden, k.count * k.hidden);
        let mut h = k.part(state, 0, n).to_vec();
        let mut c = k.part(state, 1, n).to_vec();
        let mut states = vec![T::ZERO; k.time * 2 * cells];
        let mut z = vec![T::ZERO; k.count * h4];
        for t in self.order(k.time) {
            z.copy_from_slice(k.part(gates, t, h4));
            matmul((k.count, n, h4), Mat::rows(&h, n), Mat::rows(weight, n).t(), &mut z, true);
            for b in (0..k.count).filter(|b| self.runs(k.first + b, t)) {
                let z = &mut z[b * h4..(b + 1) * h4];
                activate(z, n);
                let (h, c) = (&mut h[b * n..(b + 1) * n], &mut c[b * n..(b + 1) * n]);
                let ([i, f, g], o) = quarters(z, n);
                for j in 0..n {
                    c[j] = f[j] * c[j] + i[j] * g[j];
                }
                h.copy_from_slice(c);
                T::tanh_all(h);
                h.iter_mut().zip(o).for_each(|(h, o)| *h *= *o);
            }
            states[t * 2 * cells..][..cells].copy_from_slice(&h);
            states[(t * 2 + 1) * cells..][..cells].copy_from_slice(&c);
        }
        states
    }

    /// The activated gates of a block at every step \[time, count, 4 hidden\], in one product.
    fn gates_again<T: Element>(&self, k: Block, saved: &Saved<T>) -> Vec<T> {
        let (h4, n) = (4 * k.hidden, k.hidden);
        let mut z = Vec::with_capacity(k.time * k.count * h4);
        (0..k.time).for_each(|t| z.extend_from_slice(k.part(saved.gates, t, h4)));
        let order = self.order(k.time);
        let mut h = vec![T::ZERO; k.time * k.count * n];
        for (step, &t) in order.iter().enumerate() {
            h[t * k.count * n..][..k.count * n].copy_from_slice(self.before(k, saved, &order, step, 0));
        }
        let rows = k.time * k.count;
        matmul((rows, n, h4), Mat::rows(&h, n), Mat::rows(saved.weight, n).t(), &mut z, true);
        z.chunks_mut(h4).for_each(|z| activate(z, n));
        z
    }

    /// The hidden (0) or cell (1) state of a block before the step `order[step]`.
    fn before<'a, T>(
        &self,
        k: Block,
        saved: &Saved<'a, T>,
        order: &[usize],
        step: usize,
        which: usize,
    ) -> &'a [T] {
        match step {
            0 => k.part(saved.state, which, k.hidden),
            _ => k.part(saved.states, order[step - 1] * 2 + which, k.hidden),
        }
    }

    /// The gradients of a block: of the gates \[time, count, 4 hidden\] and of the first state \[2, count, hidden\].
    fn backward_block<T: Element>(&self, k: Block, saved: &Saved<T>) -> (Vec<T>, Vec<T>) {
        let (h4, n, cells) = (4 * k.hidden, k.hidden, k.count * k.hidden);
        let (mut dh, mut dc) = (vec![T::ZERO; cells], vec![T::ZERO; cells]);
        let mut dz = vec![T::ZERO; k.time * k.count * h4];
        let gates = self.gates_again(k, saved);
        let mut tanh_c = vec![T::ZERO; n];
        let order = self.order(k.time);
        for (step, &t) in order.iter().enumerate().rev() {
            let c_before = self.before(k, saved, &order, step, 1);
            let c_now = k.part(saved.states, t * 2 + 1, n);
            add(&mut dh, k.part(saved.grad, t * 2, n));
            add(&mut dc, k.part(saved.grad, t * 2 + 1, n));
            let dz = &mut dz[t * k.count * h4..][..k.count * h4];
            for b in (0..k.count).filter(|b| self.runs(k.first + b, t)) {
                let row = b * n..(b + 1) * n;
                let (dh, dc, c_before) = (&mut dh[row.clone()], &mut dc[row.clone()], &c_before[row.clone()]);
                tanh_c.copy_from_slice(&c_now[row]);
                T::tanh_all(&mut tanh_c);
                let ([i, f, g], o) = quarters(&gates[(t * k.count + b) * h4..][..h4], n);
                let (dzi, rest) = dz[b * h4..(b + 1) * h4].split_at_mut(n);
                let (dzf, rest) = rest.split_at_mut(n);
                let (dzg, dzo) = rest.split_at_mut(n);
                for j in 0..n {
                    let dc_now = dc[j] + dh[j] * o[j] * (T::ONE - tanh_c[j] * tanh_c[j]);
                    dzi[j] = dc_now * g[j] * i[j] * (T::ONE - i[j]);
                    dzf[j] = dc_now * c_before[j] * f[j] * (T::ONE - f[j]);
                    dzg[j] = dc_now * i[j] * (T::ONE - g[j] * g[j]);
                    dzo[j] = dh[j] * tanh_c[j] * o[j] * (T::ONE - o[j]);
                    dc[j] = dc_now * f[j];
                    // The state before reaches this step's through the gates only.
                    dh[j] = T::ZERO;
                }
            }
            // A sequence that does not run has zero `dz` here and keeps its `dh`.
            matmul((k.count, h4, n), Mat::rows(dz, h4), Mat::rows(saved.weight, n), &mut dh, true);
        }
        dh.extend(dc);
        (dz, dh)
    }

    fn backward<T: Element>(&self, tensors: [&Tensor; 5]) -> candle_core::Result<[Tensor; 3]> {
        let [gates, weight, state, ..] = tensors;
        let (time, batch, h4) = gates.dims3()?;
        let hidden = h4 / 4;
        let held = tensors.map(Tensor::storage_and_layout);
        let storages =
            held.iter().map(|(storage, _)| on_cpu(storage)).collect::<candle_core::Result<Vec<_>>>()?;
        let values = storages.iter().zip(&held).map(|(storage, (_, layout))| T::values(storage, layout));
        let values = values.collect::<candle_core::Result<Vec<_>>>()?;
        let saved = Saved {
            gates: &values[0],
            weight: &values[1],
            state: &values[2],
            states: &values[3],
            grad: &values[4],
        };
        let blocks = Block::all(time, batch, hidden);
        let parts: Vec<_> = blocks.par_iter().map(|k| self.backward_block(*k, &saved)).collect();
        let (dz, dstate): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let dz = gather(&blocks, &dz, time, batch, h4);
        let dstate = gather(&blocks, &dstate, 2, batch, hidden);
        let dweight = self.weight_gradient(&dz, &saved, time, batch, hidden);
        Ok([
            Tensor::from_vec(dz, gates.shape(), gates.device())?,
            Tensor::from_vec(dweight, weight.shape(), weight.device())?,
            Tensor::from_vec(dstate, state.shape(), state.device())?,
        ])
    }

    /// The sum over steps and sequences of `dz^T h_before`, in the order of the steps.
    fn weight_gradient<T: Element>(
        &self,
        dz: &[T],
        saved: &Saved<T>,
        time: usize,
        batch: usize,
        hidden: usize,
    ) -> Vec<T> {
        // Rows of the weight per task; no sum is split.
        const ROWS: usize = 64;
        let h4 = 4 * hidden;
        let order = self.order(time);
        let mut dweight = vec![T::ZERO; h4 * hidden];
        dweight.par_chunks_mut(ROWS * hidden).enumerate().for_each(|(chunk, dweight)| {
            let (first, rows) = (chunk * ROWS, dweight.len() / hidden);
            for (step, &t) in order.iter().enumerate() {
                let before = match step {
                    0 => &saved.state[..batch * hidden],
                    _ => &saved.states[order[step - 1] * 2 * batch * hidden..][..batch * hidden],
                };
                let dz = Mat::rows(&dz[t * batch * h4 + first..], h4);
                matmul((rows, batch, hidden), dz.t(), Mat::rows(before, hidden), dweight, true);
            }
        });
        dweight
    }
}

#[cfg(feature = "cuda")]
impl Recurrence {
    fn steps(&self, gates: &CudaStorage, layout: &Layout) -> candle_core::Result<lstm::Steps> {
        lstm::Steps::new(gates.device(), layout, self.reverse, (self.lengths.as_deref(), &self.on_device))
    }

    /// The gradients of gates, weight and state, from those, the states and their gradient.
    fn cuda_bwd(&self, tensors: [&Tensor; 5]) -> candle_core::Result<[Tensor; 3]> {
        several(tensors, None, |operands, _| {
            lstm::backward(&self.steps(operands[0].0, operands[0].1)?, operands)
        })
    }
}

/// What the backward pass reads.
struct Saved<'a, T> {
    gates: &'a [T],
    weight: &'a [T],
    state: &'a [T],
    states: &'a [T],
    grad: &'a [T],
}

/// Turns the sums of one sequence's gates into the gates, in place.
fn activate<T: Element>(z: &mut [T], hidden: usize) {
    let (sigmoids, rest) = z.split_at_mut(2 * hidden);
    let (tanh, sigmoid) = rest.split_at_mut(hidden);
    T::sigmoid_all(sigmoids);
    T::tanh_all(tanh);
    T::sigmoid_all(sigmoid);
}

/// The gates i, f, g and o.
fn quarters<T>(z: &[T], n: usize) -> ([&[T]; 3], &[T]) {
    ([&z[..n], &z[n..2 * n], &z[2 * n..3 * n]], &z[3 * n..4 * n])
}

fn add<T: Element>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(a, b)| *a += *b);
}

/// The blocks' parts \[steps, count, width\] as one \[steps, batch, width\].
fn gather<T: Element>(
    blocks: &[Block],
    parts: &[Vec<T>],
    steps: usize,
    batch: usize,
    width: usize,
) -> Vec<T> {
    let mut whole = vec![T::ZERO; steps * batch * width];
    whole.par_chunks_mut((batch * width).max(1)).enumerate().for_each(|(s, whole)| {
        for (k, part) in blocks.iter().zip(parts) {
            let len = k.count * width;
            whole[k.first * width..][..len].copy_from_slice(&part[s * len..(s + 1) * len]);
        }
    });
    whole
}

impl CustomOp3 for Recurrence {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        gates: &CpuStorage,
        gates_l: &Layout,
        weight: &CpuStorage,
        weight_l: &Layout,
        state: &CpuStorage,
        state_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (time, batch, h4) = gates_l.shape().dims3()?;
        let hidden = h4 / 4;
        with_element!("Lstm", gates.dtype(), T => {
            let gates = T::values(gates, gates_l)?;
            let (weight, state) = (T::values(weight, weight_l)?, T::values(state, state_l)?);
            let blocks = Block::all(time, batch, hidden);
            let parts: Vec<_> =
                blocks.par_iter().map(|k| self.forward_block::<T>(*k, &gates, &weight, &state)).collect();
            let states = gather(&blocks, &parts, 2 * time, batch, hidden);
            Ok((T::to_cpu_storage_owned(states), Shape::from((time, 2, batch, hidden))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        gates: &CudaStorage,
        gates_l: &Layout,
        weight: &CudaStorage,
        weight_l: &Layout,
        state: &CudaStorage,
        state_l: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let steps = self.steps(gates, gates_l)?;
        lstm::forward(&steps, (gates, gates_l), (weight, weight_l), (state, state_l))
    }

    fn bwd(
        &self,
        gates: &Tensor,
        weight: &Tensor,
        state: &Tensor,
        states: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if gates.device().is_cuda() {
            let [dgates, dweight, dstate] = self.cuda_bwd([gates, weight, state, states, grad])?;
            return Ok((Some(dgates), Some(dweight), Some(dstate)));
        }
        let [dgates, dweight, dstate] = with_element!("Lstm", gates.dtype(), T => {
            self.backward::<T>([gates, weight, state, states, grad])
        })?;
        Ok((Some(dgates), Some(dweight), Some(dstate)))
    }
}
