//! `(x - mean) / sqrt(var + eps) * weight + bias` over groups of a tensor, fused on the CPU.

use crate::Result;
use crate::element::{Element, with_element};
use crate::parallel::build;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

/// How many elements a task should have at least.
const MIN_TASK: usize = 1 << 14;

/// Mean and biased variance per group, in f64.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub mean: Vec<f64>,
    pub var: Vec<f64>,
}

impl Moments {
    /// Of `x` \[outer, groups, inner\] over the first and last dimension, summed in a fixed order.
    pub(super) fn of(x: &Tensor) -> Result<Self> {
        let (outer, groups, inner) = x.dims3()?;
        if !(x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)) {
            let wide = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
            let x = x.to_dtype(wide)?.transpose(0, 1)?.reshape((groups, outer * inner))?;
            let mean = x.mean_keepdim(1)?;
            let var = x.broadcast_sub(&mean)?.sqr()?.mean(1)?;
            let to_vec =
                |t: Tensor| -> Result<Vec<f64>> { Ok(t.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?) };
            return Ok(Moments { mean: to_vec(mean)?, var: to_vec(var)? });
        }
        // The operation's output carries both, since a custom operation returns one tensor.
        let both = x.apply_op1_no_bwd(&MomentsOp)?.to_vec2::<f64>()?;
        let [mean, var] = <[Vec<f64>; 2]>::try_from(both).unwrap_or_default();
        Ok(Moments { mean, var })
    }
}

struct MomentsOp;

impl CustomOp1 for MomentsOp {
    fn name(&self) -> &'static str {
        "moments"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (outer, groups, inner) = layout.shape().dims3()?;
        with_element!("moments", x.dtype(), T => {
            let x = T::values(x, layout)?;
            let n = (outer * inner) as f64;
            let rows = |g: usize| (0..outer).map(move |o| (o * groups + g) * inner);
            let moments: Vec<(f64, f64)> = (0..groups)
                .into_par_iter()
                .with_min_len((MIN_TASK / (outer * inner).max(1)).max(1))
                .map(|g| {
                    let sum: f64 = rows(g).map(|r| sum_by(&x[r..r + inner], |v| v)).sum();
                    let mean = sum / n;
                    let squares: f64 =
                        rows(g).map(|r| sum_by(&x[r..r + inner], |v| (v - mean) * (v - mean))).sum();
                    (mean, squares / n)
                })
                .collect();
            let flat = moments.iter().map(|m| m.0).chain(moments.iter().map(|m| m.1)).collect();
            Ok((CpuStorage::F64(flat), Shape::from((2, groups))))
        })
    }

    // Not reached: a device has a path of its own.
    crate::cuda_on_host!(CustomOp1);
}

/// A sum over a row in eight interleaved parts: fast, and always in the same order.
fn sum_by<T: Element>(row: &[T], f: impl Fn(f64) -> f64) -> f64 {
    let mut parts = [0.0; 8];
    let chunks = row.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|v| f(v.to_f64())).sum();
    for chunk in chunks {
        for (part, v) in parts.iter_mut().zip(chunk) {
            *part += f(v.to_f64());
        }
    }
    parts.iter().sum::<f64>() + rest
}

/// Of a row, the sums of `dy` and of `dy (x - mean)`, as [`sum_by`].
fn gradient_sums<T: Element>(x: &[T], dy: &[T], mean: f64) -> (f64, f64) {
    let mut parts = [[0.0; 8]; 2];
    let (x, dy) = (x.chunks_exact(8), dy.chunks_exact(8));
    let mut rest = [0.0; 2];
    for (x, dy) in x.remainder().iter().zip(dy.remainder()) {
        rest[0] += dy.to_f64();
        rest[1] += dy.to_f64() * (x.to_f64() - mean);
    }
    for (x, dy) in x.zip(dy) {
        for k in 0..8 {
            let d = dy[k].to_f64();
            parts[0][k] += d;
            parts[1][k] += d * (x[k].to_f64() - mean);
        }
    }
    (parts[0].iter().sum::<f64>() + rest[0], parts[1].iter().sum::<f64>() + rest[1])
}

/// Calls `f(row, index of its first value, values)` for the part of each row of `inner` values that a block from
/// `first` on holds.
pub(crate) fn for_each_row<T>(
    first: usize,
    block: &mut [T],
    inner: usize,
    mut f: impl FnMut(usize, usize, &mut [T]),
) {
    let (mut at, mut rest) = (first, block);
    while !rest.is_empty() {
        let count = (inner - at % inner).min(rest.len());
        let (part, behind) = rest.split_at_mut(count);
        f(at / inner, at, part);
        (at, rest) = (at + count, behind);
    }
}

/// Standardizes `x` \[outer, groups, inner\] by `moments`, then scales and shifts per group.
///
/// With `through_moments` the gradient takes into account that the moments were computed from `x`.
pub(super) fn standardize(
    x: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    moments: Moments,
    eps: f64,
    through_moments: bool,
) -> Result<Tensor> {
    let groups = x.dim(1)?;
    if !(x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)) {
        return composed(x, affine, &moments, eps, through_moments);
    }
    let op = Standardize {
        inv_std: moments.var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect(),
        moments,
        through_moments,
    };
    Ok(match affine {
        Some((weight, bias)) => x.apply_op3(weight, bias, op)?,
        None => {
            let one = Tensor::ones(groups, x.dtype(), x.device())?;
            x.apply_op3(&one, &one.zeros_like()?, op)?
        }
    })
}

/// The same with tensor operations, for devices without the fused kernel and for half floats.
fn composed(
    x: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    moments: &Moments,
    eps: f64,
    through_moments: bool,
) -> Result<Tensor> {
    let (groups, dtype) = (x.dim(1)?, x.dtype());
    let wide = if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype };
    let x = x.to_dtype(wide)?;
    let (mean, var) = if through_moments {
        let mean = x.mean_keepdim((0, 2))?;
        let var = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2))?;
        (mean, var)
    } else {
        let load = |v: &[f64]| Tensor::from_slice(v, (1, groups, 1), x.device())?.to_dtype(wide);
        (load(&moments.mean)?, load(&moments.var)?)
    };
    let y = x.broadcast_sub(&mean)?.broadcast_div(&(var + eps)?.sqrt()?)?.to_dtype(dtype)?;
    Ok(match affine {
        Some((weight, bias)) => {
            let shape = (1, groups, 1);
            y.broadcast_mul(&weight.reshape(shape)?)?.broadcast_add(&bias.reshape(shape)?)?
        }
        None => y,
    })
}

#[derive(Clone)]
struct Standardize {
    moments: Moments,
    inv_std: Vec<f64>,
    through_moments: bool,
}

impl CustomOp3 for Standardize {
    fn name(&self) -> &'static str {
        "standardize"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        weight: &CpuStorage,
        weight_l: &Layout,
        bias: &CpuStorage,
        bias_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, groups, inner) = x_l.shape().dims3()?;
        with_element!("standardize", x.dtype(), T => {
            let (x, w, b) = (T::values(x, x_l)?, T::values(weight, weight_l)?, T::values(bias, bias_l)?);
            let y = build(x.len(), |first, y: &mut [T]| {
                for_each_row(first, y, inner, |row, at, y| {
                    let g = row % groups;
                    let (mean, inv) = (T::from_f64(self.moments.mean[g]), T::from_f64(self.inv_std[g]));
                    let (w, b) = (w[g], b[g]);
                    y.iter_mut().zip(&x[at..]).for_each(|(y, x)| *y = (*x - mean) * inv * w + b);
                });
            });
            Ok((T::to_cpu_storage_owned(y), x_l.shape().clone()))
        })
    }

    // Not reached: a device has a path of its own.
    crate::cuda_on_host!(CustomOp3);

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x, dy) = (x.detach(), dy.detach());
        let sums = x.apply_op2_no_bwd(&dy, &GradientSums(self))?;
        let row = |i| sums.get(i)?.to_dtype(weight.dtype());
        let op = InputGradient { of: self.clone(), sums: sums.to_vec2::<f64>()? };
        let dx = x.apply_op3_no_bwd(&weight.detach(), &dy, &op)?;
        Ok((
            Some(dx),
            weight.track_op().then(|| row(1)).transpose()?,
            bias.track_op().then(|| row(0)).transpose()?,
        ))
    }
}

/// \[2, groups\]: the sums of `dy` and of `dy * standardized x`, in f64.
struct GradientSums<'a>(&'a Standardize);

impl candle_core::CustomOp2 for GradientSums<'_> {
    fn name(&self) -> &'static str {
        "standardize_backward_sums"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        dy: &CpuStorage,
        dy_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (outer, groups, inner) = x_l.shape().dims3()?;
        with_element!("standardize", x.dtype(), T => {
            let (x, dy) = (T::values(x, x_l)?, T::values(dy, dy_l)?);
            let sums: Vec<(f64, f64)> = (0..groups)
                .into_par_iter()
                .with_min_len((MIN_TASK / (outer * inner).max(1)).max(1))
                .map(|g| {
                    let (mean, inv) = (self.0.moments.mean[g], self.0.inv_std[g]);
                    let (mut plain, mut product) = (0.0, 0.0);
                    for o in 0..outer {
                        let r = (o * groups + g) * inner;
                        let sums = gradient_sums(&x[r..r + inner], &dy[r..r + inner], mean);
                        (plain, product) = (plain + sums.0, product + sums.1);
                    }
                    (plain, product * inv)
                })
                .collect();
            let flat = sums.iter().map(|s| s.0).chain(sums.iter().map(|s| s.1)).collect();
            Ok((CpuStorage::F64(flat), Shape::from((2, groups))))
        })
    }

    // Not reached: a device has a path of its own.
    crate::cuda_on_host!(CustomOp2);
}

struct InputGradient {
    of: Standardize,
    sums: Vec<Vec<f64>>,
}

impl CustomOp3 for InputGradient {
    fn name(&self) -> &'static str {
        "standardize_backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        weight: &CpuStorage,
        weight_l: &Layout,
        dy: &CpuStorage,
        dy_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (outer, groups, inner) = x_l.shape().dims3()?;
        with_element!("standardize", x.dtype(), T => {
            let (x, w, dy) = (T::values(x, x_l)?, T::values(weight, weight_l)?, T::values(dy, dy_l)?);
            let share = if self.of.through_moments { 1.0 / (outer * inner) as f64 } else { 0.0 };
            let dx = build(x.len(), |first, dx: &mut [T]| {
                for_each_row(first, dx, inner, |row, at, dx| {
                    let g = row % groups;
                    let inv = self.of.inv_std[g];
                    let scale = T::from_f64(w[g].to_f64() * inv);
                    let mean = T::from_f64(self.of.moments.mean[g]);
                    let level = T::from_f64(self.sums[0][g] * share);
                    let slope = T::from_f64(self.sums[1][g] * share * inv);
                    for ((dx, x), dy) in dx.iter_mut().zip(&x[at..]).zip(&dy[at..]) {
                        *dx = scale * (*dy - level - (*x - mean) * slope);
                    }
                });
            });
            Ok((T::to_cpu_storage_owned(dx), x_l.shape().clone()))
        })
    }

    // Not reached: a device has a path of its own.
    crate::cuda_on_host!(CustomOp3);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, pattern};

    #[test]
    fn the_fused_kernel_equals_the_composed_one() {
        let x = (pattern(&[3, 4, 11], 1).unwrap() * 3.0).unwrap();
        let (w, b) = (pattern(&[4], 2).unwrap(), pattern(&[4], 3).unwrap());
        for through in [true, false] {
            let m = Moments::of(&x).unwrap();
            let fused = standardize(&x, Some((&w, &b)), m.clone(), 1e-5, through).unwrap();
            let plain = composed(&x, Some((&w, &b)), &m, 1e-5, through).unwrap();
            let gap = (fused - plain).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(gap < 1e-12, "{gap}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let inputs = [pattern(&[2, 3, 5], 1).unwrap(), pattern(&[3], 2).unwrap(), pattern(&[3], 3).unwrap()];
        let fixed = Moments { mean: vec![0.1, -0.2, 0.0], var: vec![0.5, 1.0, 2.0] };
        check_gradients(
            |t| standardize(&t[0], Some((&t[1], &t[2])), Moments::of(&t[0])?, 1e-5, true),
            &inputs,
            1e-6,
            1e-7,
        )
        .unwrap();
        check_gradients(
            |t| standardize(&t[0], Some((&t[1], &t[2])), fixed.clone(), 1e-5, false),
            &inputs,
            1e-6,
            1e-7,
        )
        .unwrap();
    }
}
