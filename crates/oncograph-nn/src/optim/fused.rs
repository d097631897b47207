use super::moment::Moment;
use crate::element::Element;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor};
use rayon::prelude::*;
use std::cell::RefCell;

/// How many elements one task updates: small enough to share, large enough to pay for the task.
const CHUNK: usize = 1 << 14;

/// An elementwise update rule with a number of moments per parameter.
pub(super) trait Rule: Sync {
    /// The optimizer's name in error messages.
    const NAME: &'static str;

    /// The names of the moments in use, as PyTorch's `state_dict` calls them.
    fn moments(&self) -> Vec<&'static str>;

    /// Updates one chunk; `step` counts from 1, `moments` come in the order of [`Rule::moments`].
    fn update<T: Element>(&self, step: u64, param: &mut [T], grad: &[T], moments: &mut [&mut [T]]);

    /// The kernel of CUDA devices with this formula, and the numbers that it takes.
    #[cfg(feature = "cuda")]
    fn kernel(&self, step: u64) -> (&'static str, [f64; 8]);

    /// The same formula with tensors, for devices without a fused kernel; returns the new parameter.
    fn update_tensor(
        &self,
        step: u64,
        param: &Tensor,
        grad: &Tensor,
        moments: &mut [Tensor],
    ) -> Result<Tensor>;
}

/// One fused in-place update of a parameter in CPU memory.
struct FusedUpdate<'a, R> {
    rule: &'a R,
    step: u64,
    // candle hands the operation over by shared reference, yet the moments change with the parameter.
    moments: RefCell<&'a mut [Moment]>,
}

/// Updates `param` in place; it must be contiguous f32 or f64 on the CPU, as `grad` and the moments.
pub(super) fn update_in_place<R: Rule>(
    rule: &R,
    step: u64,
    param: &Tensor,
    grad: &Tensor,
    moments: &mut [Moment],
) -> Result<()> {
    param.inplace_op2(grad, &FusedUpdate { rule, step, moments: RefCell::new(moments) })
}

impl<R: Rule> InplaceOp2 for FusedUpdate<'_, R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        param_l: &Layout,
        grad: &CpuStorage,
        grad_l: &Layout,
    ) -> Result<()> {
        let mut moments = self.moments.borrow_mut();
        match param {
            CpuStorage::F32(_) => {
                let moments: Vec<_> = moments.iter_mut().filter_map(Moment::as_f32).collect();
                self.run::<f32>(param, param_l, grad, grad_l, moments)
            }
            _ => {
                let moments: Vec<_> = moments.iter_mut().filter_map(Moment::as_f64).collect();
                self.run::<f64>(param, param_l, grad, grad_l, moments)
            }
        }
    }
}

/// A chunk of the parameter, its gradient and its moments.
type Task<'a, T> = (&'a mut [T], &'a [T], Vec<&'a mut [T]>);

impl<R: Rule> FusedUpdate<'_, R> {
    fn run<T: Element>(
        &self,
        param: &mut CpuStorage,
        param_l: &Layout,
        grad: &CpuStorage,
        grad_l: &Layout,
        mut moments: Vec<&mut [T]>,
    ) -> Result<()> {
        let grad = T::values(grad, grad_l)?;
        let (Some(data), Some((start, end))) = (T::slice_mut(param), param_l.contiguous_offsets()) else {
            return Err(crate::element::unsupported(R::NAME, T::DTYPE).into());
        };
        let data = &mut data[start..end];
        // Every element is computed on its own, so the way the work is cut cannot change a bit.
        let mut tasks: Vec<Task<T>> = data
            .chunks_mut(CHUNK)
            .zip(grad.chunks(CHUNK))
            .map(|(p, g)| (p, g, Vec::with_capacity(moments.len())))
            .collect();
        for moment in &mut moments {
            for (task, chunk) in tasks.iter_mut().zip(moment.chunks_mut(CHUNK)) {
                task.2.push(chunk);
            }
        }
        let (rule, step) = (self.rule, self.step);
        match tasks.as_mut_slice() {
            [(p, g, m)] => rule.update(step, p, g, m),
            many => many.par_iter_mut().for_each(|(p, g, m)| rule.update(step, p, g, m)),
        }
        Ok(())
    }
}
