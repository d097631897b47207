//! Operations on the rows of a matrix. On a CUDA device each is one kernel, and one for its gradient; on the CPU they are
//! candle's operations, of which a row takes half a dozen and its gradient twice as many.

use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda::{rows, tensors::on_device};
#[cfg(feature = "cuda")]
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result as CandleResult, Shape};
use candle_core::{D, Tensor};

/// `log sum_j exp(x_j)` along the last dimension, without overflow.
///
/// # Shapes
/// \[.., n\] -> \[..\]
///
/// # Errors
/// An error of candle, for example for a tensor without dimensions or without elements in its last one.
pub fn log_sum_exp(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if on_cuda(x) {
        return Ok(x.apply_op1(Rows::LogSumExp)?);
    }
    Ok(x.log_sum_exp(D::Minus1)?)
}

/// Rows scaled to unit length, `x / sqrt(sum x^2 + eps)` along the last dimension; with an `eps` above 0 a row of zeros stays
/// zero, with a finite gradient.
///
/// # Errors
/// An error of candle, for example for a tensor without dimensions.
pub fn unit_rows(x: &Tensor, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if on_cuda(x) {
        return Ok(x.apply_op1(Rows::Unit { eps })?);
    }
    let norm = (x.sqr()?.sum_keepdim(D::Minus1)? + eps)?.sqrt()?;
    Ok(x.broadcast_div(&norm)?)
}

/// The softmax along the last dimension, if a kernel takes it.
#[cfg(feature = "cuda")]
pub(crate) fn softmax(x: &Tensor) -> Option<Result<Tensor>> {
    on_cuda(x).then(|| Ok(x.apply_op1(Rows::Softmax)?))
}

/// Whether kernels take `x`. Of no element candle says what it says on the CPU.
#[cfg(feature = "cuda")]
fn on_cuda(x: &Tensor) -> bool {
    let known = matches!(x.dtype(), DType::F32 | DType::F64);
    known && x.device().is_cuda() && x.elem_count() > 0 && x.rank() > 0
}

#[cfg(feature = "cuda")]
#[derive(Debug, Clone, Copy)]
enum Rows {
    Softmax,
    LogSumExp,
    Unit { eps: f64 },
}

#[cfg(feature = "cuda")]
impl CustomOp1 for Rows {
    fn name(&self) -> &'static str {
        match self {
            Rows::Softmax => "softmax",
            Rows::LogSumExp => "log_sum_exp",
            Rows::Unit { .. } => "unit_rows",
        }
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        candle_core::bail!("{} by a kernel runs on a CUDA device only", self.name())
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        match *self {
            Rows::Softmax => rows::softmax((x, layout)),
            Rows::LogSumExp => rows::log_sum_exp((x, layout)),
            Rows::Unit { eps } => rows::unit_rows((x, layout), eps),
        }
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> CandleResult<Option<Tensor>> {
        let dx = match *self {
            Rows::Softmax => on_device([y, dy], |[y, dy]| rows::softmax_gradient(y, dy)),
            Rows::LogSumExp => on_device([x, y, dy], |[x, y, dy]| rows::log_sum_exp_gradient(x, y, dy)),
            Rows::Unit { eps } => on_device([x, dy], |[x, dy]| rows::unit_rows_gradient(x, dy, eps)),
        };
        dx.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, device, pattern};

    #[test]
    fn by_hand() {
        let x = Tensor::new(&[[3f64, 4.0], [0.0, 0.0], [1e3, -1e3]], &device()).unwrap();
        let unit = unit_rows(&x, 1e-16).unwrap().to_vec2::<f64>().unwrap();
        approx::assert_abs_diff_eq!(unit[0][..], [0.6, 0.8], epsilon = 1e-12);
        assert_eq!(unit[1], [0.0, 0.0]);
        let sums = log_sum_exp(&x).unwrap().to_vec1::<f64>().unwrap();
        approx::assert_abs_diff_eq!(sums[0], 4.0 + 1f64.exp().recip().ln_1p(), epsilon = 1e-12);
        approx::assert_abs_diff_eq!(sums[1], 2f64.ln(), epsilon = 1e-12);
        assert_eq!(sums[2], 1e3);
    }

    #[test]
    fn gradients_by_finite_differences() {
        let x = [pattern(&[3, 2, 5], 1).unwrap()];
        let weight = pattern(&[3, 2, 5], 2).unwrap();
        check_gradients(|x| Ok((unit_rows(&x[0], 1e-16)? * &weight)?), &x, 1e-6, 1e-8).unwrap();
        check_gradients(|x| Ok(log_sum_exp(&x[0])?.sqr()?), &x, 1e-6, 1e-8).unwrap();
    }
}
