#[cfg(feature = "cuda")]
use crate::cuda::elementwise;
use crate::element::{Element, with_element};
use crate::parallel::build;
use crate::{Error, Result, portable};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// The elementwise functions that layers can be configured with.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`; see [`relu`].
    #[default]
    Relu,
    /// `x` where positive, else the slope times `x`.
    LeakyRelu(f64),
    /// `x` where positive, else `a (exp(x) - 1)`.
    Elu(f64),
    /// `x Phi(x)` with the normal distribution function, as PyTorch's default.
    Gelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Applies the function.
    ///
    /// # Errors
    /// An error of candle.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Activation::Identity => x.clone(),
            Activation::Relu => relu(x)?,
            Activation::LeakyRelu(slope) => portable::leaky_relu(x, *slope)?,
            Activation::Elu(alpha) => x.elu(*alpha)?,
            Activation::Gelu => x.gelu_erf()?,
            Activation::Sigmoid => candle_nn::ops::sigmoid(x)?,
            Activation::Tanh => x.tanh()?,
        })
    }
}

impl candle_nn::Module for Activation {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Activation::forward(self, x)?)
    }
}

/// `max(x, 0)` with gradient 0 at 0.
///
/// candle's own `relu` has gradient 1 at 0, which differs from PyTorch wherever a unit is exactly 0, for example
/// behind a zero-initialised layer or another relu.
///
/// # Errors
/// An error of candle.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_metal() && matches!(x.dtype(), DType::F32 | DType::F64) {
        return Ok(x.apply_op1(Relu)?);
    }
    portable::relu(x)
}

/// `max(a + b, 0)`, the end of a residual block, with [`relu`]'s gradient.
///
/// # Errors
/// An error of candle, for example for tensors of different shapes.
pub fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let same = a.dims() == b.dims() && a.dtype() == b.dtype();
    if same && !a.device().is_metal() && matches!(a.dtype(), DType::F32 | DType::F64) {
        return Ok(a.apply_op2(b, AddRelu)?);
    }
    relu(&(a + b)?)
}

/// `exp(x_i) / sum_j exp(x_j)` along `dim`.
///
/// candle's `softmax_last_dim` has no gradient at all; this one has.
///
/// # Errors
/// An error of candle, for example for a dimension that `x` does not have.
pub fn softmax<D: candle_core::shape::Dim>(x: &Tensor, dim: D) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "softmax")?;
    #[cfg(feature = "cuda")]
    if dim + 1 == x.rank()
        && let Some(y) = crate::rows::softmax(x)
    {
        return y;
    }
    Ok(candle_nn::ops::softmax(x, dim)?)
}

/// `x_i - log sum_j exp(x_j)` along `dim`.
///
/// # Errors
/// An error of candle, for example for a dimension that `x` does not have.
pub fn log_softmax<D: candle_core::shape::Dim>(x: &Tensor, dim: D) -> Result<Tensor> {
    Ok(candle_nn::ops::log_softmax(x, dim)?)
}

/// PyTorch's `nn.Linear`: `x W^T + b` with `weight` \[out, in\] and `bias` \[out\], both drawn from
/// `U(-1/sqrt(in), 1/sqrt(in))`.
///
/// The layer is candle's; candle's own constructor draws the weight from a normal distribution.
///
/// # Errors
/// [`Error::Argument`] for an `in_dim` of 0, or an error of candle.
pub fn linear(in_dim: usize, out_dim: usize, vb: candle_nn::VarBuilder) -> Result<candle_nn::Linear> {
    let weight = linear_weight(in_dim, out_dim, &vb)?;
    let bound = 1.0 / (in_dim as f64).sqrt();
    let bias = vb.get_with_hints(out_dim, "bias", candle_nn::Init::Uniform { lo: -bound, up: bound })?;
    Ok(candle_nn::Linear::new(weight, Some(bias)))
}

/// [`linear`] without a bias.
///
/// # Errors
/// As [`linear`].
pub fn linear_no_bias(in_dim: usize, out_dim: usize, vb: candle_nn::VarBuilder) -> Result<candle_nn::Linear> {
    Ok(candle_nn::Linear::new(linear_weight(in_dim, out_dim, &vb)?, None))
}

fn linear_weight(in_dim: usize, out_dim: usize, vb: &candle_nn::VarBuilder) -> Result<Tensor> {
    if in_dim == 0 {
        return Err(Error::config("linear", "in_dim", "at least 1", in_dim));
    }
    let bound = 1.0 / (in_dim as f64).sqrt();
    let init = candle_nn::Init::Uniform { lo: -bound, up: bound };
    Ok(vb.get_with_hints((out_dim, in_dim), "weight", init)?)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        with_element!("relu", candle_core::backend::BackendStorage::dtype(x), T => {
            let x = T::values(x, layout)?;
            let y = build(x.len(), |first, y: &mut [T]| {
                // `!(x <= 0)` lets a NaN through, which `max` would hide.
                y.iter_mut().zip(&x[first..]).for_each(|(y, x)| *y = if *x <= T::ZERO { T::ZERO } else { *x });
            });
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        elementwise::unary("relu", (x, layout))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(dy.contiguous()?.apply_op2_no_bwd(y, &ReluGradient)?))
    }
}

struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add_relu"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_l: &Layout,
        b: &CpuStorage,
        b_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        with_element!("add_relu", candle_core::backend::BackendStorage::dtype(a), T => {
            let (a, b) = (T::values(a, a_l)?, T::values(b, b_l)?);
            let y = build(a.len(), |first, y: &mut [T]| {
                for ((y, a), b) in y.iter_mut().zip(&a[first..]).zip(&b[first..]) {
                    let sum = *a + *b;
                    *y = if sum <= T::ZERO { T::ZERO } else { sum };
                }
            });
            Ok((T::to_cpu_storage_owned(y), a_l.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_l: &Layout,
        b: &CudaStorage,
        b_l: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        elementwise::binary("add_relu", (a, a_l), (b, b_l))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = dy.contiguous()?.apply_op2_no_bwd(y, &ReluGradient)?;
        Ok((a.track_op().then(|| dx.clone()), b.track_op().then_some(dx)))
    }
}

struct ReluGradient;

impl CustomOp2 for ReluGradient {
    fn name(&self) -> &'static str {
        "relu_backward"
    }

    fn cpu_fwd(
        &self,
        dy: &CpuStorage,
        dy_l: &Layout,
        y: &CpuStorage,
        y_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        with_element!("relu", candle_core::backend::BackendStorage::dtype(dy), T => {
            let (dy, y) = (T::values(dy, dy_l)?, T::values(y, y_l)?);
            let dx = build(y.len(), |first, dx: &mut [T]| {
                for ((dx, dy), y) in dx.iter_mut().zip(&dy[first..]).zip(&y[first..]) {
                    *dx = if *y <= T::ZERO { T::ZERO } else { *dy };
                }
            });
            Ok((T::to_cpu_storage_owned(dx), dy_l.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        dy: &CudaStorage,
        dy_l: &Layout,
        y: &CudaStorage,
        y_l: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        elementwise::binary("relu_backward", (dy, dy_l), (y, y_l))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, device};
    use candle_core::Var;

    #[test]
    fn relu_has_no_gradient_at_zero() {
        let x = Var::new(&[-1f32, 0.0, 2.0], &device()).unwrap();
        let y = relu(&x).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), [0.0, 0.0, 2.0]);
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec1::<f32>().unwrap(), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_end_of_a_residual_block_equals_its_parts() {
        let tensors = [[3usize, 7], [3, 7]].map(|s| crate::testing::pattern(&s, s[0] as u64).unwrap());
        let b = (&tensors[1] * -1.3).unwrap();
        let exact = relu(&(&tensors[0] + &b).unwrap()).unwrap();
        let got = add_relu(&tensors[0], &b).unwrap();
        assert_eq!(got.to_vec2::<f64>().unwrap(), exact.to_vec2::<f64>().unwrap());
        check_gradients(|t| add_relu(&t[0], &t[1]), &[tensors[0].clone(), b], 1e-6, 1e-8).unwrap();
        let row = Tensor::new(&[1f64], &device()).unwrap();
        assert!(add_relu(&tensors[0], &row).is_err());
    }

    #[test]
    fn relu_handles_strides_and_nan() {
        let x = Tensor::new(&[[1f64, -2.0], [f64::NAN, 4.0]], &device()).unwrap().t().unwrap();
        let y = relu(&x).unwrap().to_vec2::<f64>().unwrap();
        assert!(y[0][0] == 1.0 && y[0][1].is_nan() && y[1] == [0.0, 4.0]);
    }

    #[test]
    fn softmax_has_a_gradient_on_contiguous_input() {
        // candle's `softmax_last_dim` returns no gradient here, without an error.
        let x = Tensor::new(&[[0.3f64, -1.0, 2.0], [0.0, 0.1, 0.2]], &device()).unwrap();
        let w = Tensor::new(&[[1.0f64, 2.0, -1.0], [0.5, 0.0, 3.0]], &device()).unwrap();
        let soft = |x: &[Tensor]| Ok((softmax(&x[0], 1)? * &w)?);
        check_gradients(soft, std::slice::from_ref(&x), 1e-6, 1e-8).unwrap();
        let log = |x: &[Tensor]| Ok((log_softmax(&x[0], 1)? * &w)?);
        check_gradients(log, &[x], 1e-6, 1e-8).unwrap();
    }

    #[test]
    fn every_activation_has_the_right_gradient() {
        let x = Tensor::new(&[-1.5f64, -0.2, 0.3, 2.0], &device()).unwrap();
        use Activation::*;
        for act in [Identity, Relu, LeakyRelu(0.2), Elu(1.0), Sigmoid, Tanh] {
            check_gradients(|x| act.forward(&x[0]), std::slice::from_ref(&x), 1e-6, 1e-8).unwrap();
        }
        check_gradients(|x| Gelu.forward(&x[0]), &[x], 1e-6, 1e-5).unwrap();
    }
}
