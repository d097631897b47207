//! The recurrence as one differentiable CPU operation.
//!
//! Sequences are independent of each other, so tasks are fixed blocks of sequences. The backward pass works the
//! gates out again from the saved states, one product for all steps, instead of keeping them.

use crate::Result;
use crate::element::{Element, with_element};
use crate::gemm::{Mat, matmul};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Storage, Tensor};
use rayon::prelude::*;

/// Sequences per task.
const BLOCK: usize = 16;

/// As `composed::run`, for f32 and f64 on the CPU.
pub(super) fn run(
    gates: &Tensor,
    weight: &Tensor,
    state: &Tensor,
    lengths: Option<&[usize]>,
    reverse: bool,
) -> Result<Tensor> {
    let op = Recurrence { lengths: lengths.map(<[usize]>::to_vec), reverse };
    Ok(gates.apply_op3(weight, state, op)?)
}

struct Recurrence {
    lengths: Option<Vec<usize>>,
    reverse: bool,
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
        let starts = (0..batch).step_by(BLOCK);
        starts.map(|first| Block { time, batch, hidden, first, count: BLOCK.min(batch - first) }).collect()
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
        let (h4, cells) = (4 * k.hidden, k.count * k.hidden);
        let mut h = k.part(state, 0, k.hidden).to_vec();
        let mut c = k.part(state, 1, k.hidden).to_vec();
        let mut states = vec![T::ZERO; k.time * 2 * cells];
        let mut z = vec![T::ZERO; k.count * h4];
        for t in self.order(k.time) {
            z.copy_from_slice(k.part(gates, t, h4));
            let shape = (k.count, k.hidden, h4);
            matmul(shape, Mat::rows(&h, k.hidden), Mat::rows(weight, k.hidden).t(), &mut z, true);
            for b in (0..k.count).filter(|b| self.runs(k.first + b, t)) {
                let z = &z[b * h4..(b + 1) * h4];
                for j in 0..k.hidden {
                    let (i, f, g, o) = activate(z, j, k.hidden);
                    let at = b * k.hidden + j;
                    c[at] = f * c[at] + i * g;
                    h[at] = o * c[at].tanh();
                }
            }
            states[t * 2 * cells..][..cells].copy_from_slice(&h);
            states[(t * 2 + 1) * cells..][..cells].copy_from_slice(&c);
        }
        states
    }

    /// The gradients of a block: of the gates \[time, count, 4 hidden\] and of the first state \[2, count, hidden\].
    fn backward_block<T: Element>(&self, k: Block, saved: &Saved<T>) -> (Vec<T>, Vec<T>) {
        let (h4, cells) = (4 * k.hidden, k.count * k.hidden);
        let (mut dh, mut dc) = (vec![T::ZERO; cells], vec![T::ZERO; cells]);
        let mut dz = vec![T::ZERO; k.time * k.count * h4];
        let mut z = vec![T::ZERO; k.count * h4];
        let order = self.order(k.time);
        for (step, &t) in order.iter().enumerate().rev() {
            let before = |which| match step {
                0 => k.part(saved.state, which, k.hidden),
                _ => k.part(saved.states, order[step - 1] * 2 + which, k.hidden),
            };
            let (h_before, c_before) = (before(0), before(1));
            let c_now = k.part(saved.states, t * 2 + 1, k.hidden);
            add(&mut dh, k.part(saved.grad, t * 2, k.hidden));
            add(&mut dc, k.part(saved.grad, t * 2 + 1, k.hidden));
            z.copy_from_slice(k.part(saved.gates, t, h4));
            let shape = (k.count, k.hidden, h4);
            let weight = Mat::rows(saved.weight, k.hidden);
            matmul(shape, Mat::rows(h_before, k.hidden), weight.t(), &mut z, true);
            let dz = &mut dz[t * k.count * h4..][..k.count * h4];
            for b in (0..k.count).filter(|b| self.runs(k.first + b, t)) {
                let (z, dz) = (&z[b * h4..(b + 1) * h4], &mut dz[b * h4..(b + 1) * h4]);
                for j in 0..k.hidden {
                    let (i, f, g, o) = activate(z, j, k.hidden);
                    let at = b * k.hidden + j;
                    let tanh_c = c_now[at].tanh();
                    let dc_now = dc[at] + dh[at] * o * (T::ONE - tanh_c * tanh_c);
                    dz[j] = dc_now * g * i * (T::ONE - i);
                    dz[k.hidden + j] = dc_now * c_before[at] * f * (T::ONE - f);
                    dz[2 * k.hidden + j] = dc_now * i * (T::ONE - g * g);
                    dz[3 * k.hidden + j] = dh[at] * tanh_c * o * (T::ONE - o);
                    dc[at] = dc_now * f;
                    // The state before reaches this step's through the gates only.
                    dh[at] = T::ZERO;
                }
            }
            // A sequence that does not run has zero `dz` here and keeps its `dh`.
            matmul((k.count, h4, k.hidden), Mat::rows(dz, h4), weight, &mut dh, true);
        }
        dh.extend(dc);
        (dz, dh)
    }

    fn backward<T: Element>(&self, tensors: [&Tensor; 5]) -> candle_core::Result<[Tensor; 3]> {
        let [gates, weight, state, states, grad] = tensors;
        let (time, batch, h4) = gates.dims3()?;
        let hidden = h4 / 4;
        let (gates_v, weight_v, state_v, states_v, grad_v) =
            (copy::<T>(gates)?, copy::<T>(weight)?, copy::<T>(state)?, copy::<T>(states)?, copy::<T>(grad)?);
        let saved =
            Saved { gates: &gates_v, weight: &weight_v, state: &state_v, states: &states_v, grad: &grad_v };
        let blocks = Block::all(time, batch, hidden);
        let parts: Vec<_> = blocks.par_iter().map(|k| self.backward_block(*k, &saved)).collect();
        let mut dz = vec![T::ZERO; time * batch * h4];
        let mut dstate = vec![T::ZERO; 2 * batch * hidden];
        for (k, (part, first)) in blocks.iter().zip(&parts) {
            scatter(*k, part, &mut dz, time, h4);
            scatter(*k, first, &mut dstate, 2, hidden);
        }
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
        let h4 = 4 * hidden;
        let order = self.order(time);
        let mut dweight = vec![T::ZERO; h4 * hidden];
        for (step, &t) in order.iter().enumerate() {
            let before = match step {
                0 => &saved.state[..batch * hidden],
                _ => &saved.states[order[step - 1] * 2 * batch * hidden..][..batch * hidden],
            };
            let dz = Mat::rows(&dz[t * batch * h4..][..batch * h4], h4);
            matmul((h4, batch, hidden), dz.t(), Mat::rows(before, hidden), &mut dweight, true);
        }
        dweight
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

/// The four gates of unit `j` from their sums before the activation.
fn activate<T: Element>(z: &[T], j: usize, hidden: usize) -> (T, T, T, T) {
    let sigmoid = |v: T| T::ONE / (T::ONE + (-v).exp());
    (sigmoid(z[j]), sigmoid(z[hidden + j]), z[2 * hidden + j].tanh(), sigmoid(z[3 * hidden + j]))
}

fn add<T: Element>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(a, b)| *a += *b);
}

/// Puts a block's `part` \[steps, count, width\] into the whole \[steps, batch, width\].
fn scatter<T: Element>(k: Block, part: &[T], whole: &mut [T], steps: usize, width: usize) {
    let len = k.count * width;
    for s in 0..steps {
        let start = (s * k.batch + k.first) * width;
        whole[start..start + len].copy_from_slice(&part[s * len..(s + 1) * len]);
    }
}

fn copy<T: Element>(tensor: &Tensor) -> candle_core::Result<Vec<T>> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(T::values(storage, layout)?.into_owned()),
        _ => Err(crate::Error::NoKernel { op: "Lstm", device: "this" }.into()),
    }
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
            let mut states = vec![T::ZERO; time * 2 * batch * hidden];
            for (k, part) in blocks.iter().zip(&parts) {
                scatter(*k, part, &mut states, 2 * time, hidden);
            }
            Ok((T::to_cpu_storage_owned(states), Shape::from((time, 2, batch, hidden))))
        })
    }

    fn bwd(
        &self,
        gates: &Tensor,
        weight: &Tensor,
        state: &Tensor,
        states: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dgates, dweight, dstate] = with_element!("Lstm", gates.dtype(), T => {
            self.backward::<T>([gates, weight, state, states, grad])
        })?;
        Ok((Some(dgates), Some(dweight), Some(dstate)))
    }
}
