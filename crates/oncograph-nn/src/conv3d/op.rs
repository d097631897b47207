//! The convolution as differentiable operations of candle.

use super::config::Geometry;
use super::{Algorithm, Conv3dConfig, im2col, plain, winograd};
use crate::Precision;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::element::{Element, with_element};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// The forward pass with (`CustomOp3`) or without (`CustomOp2`) bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    pub config: Conv3dConfig,
    pub algorithm: Algorithm,
    /// Of the gradients, too.
    pub precision: Precision,
}

type Operand<'a> = (&'a CpuStorage, &'a Layout);

impl Convolution {
    fn run(
        &self,
        (x, x_l): Operand,
        (w, w_l): Operand,
        bias: Option<Operand>,
    ) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(x_l.dims(), w_l.dims(), &self.config)?;
        with_element!("conv3d", x.dtype(), T => {
            let precision = self.precision;
            let (x, w) = (precision.operand(T::values(x, x_l)?), precision.operand(T::values(w, w_l)?));
            let bias = bias.map(|(b, l)| T::values(b, l)).transpose()?;
            // What is rounded is the sum of the products.
            let (within, behind) = if precision.rounds(T::DTYPE) { (None, bias) } else { (bias, None) };
            let within = within.as_deref();
            let tile = self.tile(&g, T::DTYPE);
            let y = match (self.algorithm, tile.zip(T::as_floats(&x)).zip(T::as_floats(&w))) {
                (Algorithm::Plain, _) => plain::forward(&g, &x, &w, within),
                (_, Some(((m, x), w))) => {
                    T::from_floats(winograd::forward(&g, m, x, w, within.and_then(T::as_floats)))
                }
                _ => im2col::forward(&g, &x, &w, within),
            };
            let mut y = precision.result(y);
            if let Some(bias) = behind {
                add_channels(&mut y, &bias, g.out_pixels());
            }
            Ok((T::to_cpu_storage_owned(y), Shape::from(g.out_shape())))
        })
    }

    #[cfg(feature = "cuda")]
    fn run_on_cuda(
        &self,
        x: cuda::launch::Operand,
        w: cuda::launch::Operand,
        bias: Option<cuda::launch::Operand>,
    ) -> Result<(CudaStorage, Shape)> {
        let g = Geometry::new(x.1.dims(), w.1.dims(), &self.config)?;
        Ok((cuda::conv3d::forward(&g, self.precision, x, w, bias)?, Shape::from(g.out_shape())))
    }

    /// As [`Algorithm::tile`]; what is rounded to bf16 is summed as exactly as f32 allows, unless tiles are asked for.
    fn tile(&self, g: &Geometry, dtype: DType) -> Option<usize> {
        let by_choice = self.algorithm != Algorithm::Auto || !self.precision.rounds(dtype);
        if by_choice { self.algorithm.tile(g, dtype) } else { None }
    }

    /// The gradients of input and weight, each only if it is needed.
    pub(super) fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if let Some(both) = self.both_gradients(x, weight, dy)? {
            return Ok(both);
        }
        let input = InputGradient { of: *self, shape: x.dims().to_vec() };
        let of_weight = WeightGradient { of: *self, shape: weight.dims().to_vec() };
        let dx = x.track_op().then(|| dy.apply_op2_no_bwd(weight, &input)).transpose()?;
        let dw = weight.track_op().then(|| x.apply_op2_no_bwd(dy, &of_weight)).transpose()?;
        Ok((dx, dw))
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "conv3d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        w: &CpuStorage,
        w_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_l), (w, w_l), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_l: &Layout,
        w: &CudaStorage,
        w_l: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.run_on_cuda((x, x_l), (w, w_l), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.gradients(x, weight, dy)
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "conv3d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        w: &CpuStorage,
        w_l: &Layout,
        b: &CpuStorage,
        b_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_l), (w, w_l), Some((b, b_l)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_l: &Layout,
        w: &CudaStorage,
        w_l: &Layout,
        b: &CudaStorage,
        b_l: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.run_on_cuda((x, x_l), (w, w_l), Some((b, b_l)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.gradients(x, weight, dy)?;
        let db = bias.track_op().then(|| dy.apply_op1_no_bwd(&ChannelSums)).transpose()?;
        Ok((dx, dw, db))
    }
}

impl Convolution {
    /// Both gradients at once, where both are needed and Winograd's kernels apply to both.
    fn both_gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<Option<(Option<Tensor>, Option<Tensor>)>> {
        let g = Geometry::new(x.dims(), weight.dims(), &self.config)?;
        let wanted = x.device().is_cpu()
            && x.dtype() == DType::F32
            && x.track_op()
            && weight.track_op()
            && !self.precision.rounds(x.dtype())
            && winograd::same_size(&g);
        let Some(m) = self.algorithm.tile(&g, x.dtype()).filter(|_| wanted) else { return Ok(None) };
        let (dx, dw) = winograd::with_values(x, |x| {
            winograd::with_values(weight, |w| {
                winograd::with_values(dy, |dy| winograd::gradients(&g, m, x, w, dy))
            })
        })???;
        let device = x.device();
        Ok(Some((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dw, weight.shape(), device)?),
        )))
    }
}

/// Of `dy` and the weight.
struct InputGradient {
    of: Convolution,
    shape: Vec<usize>,
}

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "conv3d_input_gradient"
    }

    fn cpu_fwd(
        &self,
        dy: &CpuStorage,
        dy_l: &Layout,
        w: &CpuStorage,
        w_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(&self.shape, w_l.dims(), &self.of.config)?;
        with_element!("conv3d", dy.dtype(), T => {
            let precision = self.of.precision;
            let (dy, w) = (precision.operand(T::values(dy, dy_l)?), precision.operand(T::values(w, w_l)?));
            // With less padding the way back would need more than 1.
            let tile = self.of.tile(&g, T::DTYPE).filter(|_| winograd::same_size(&g));
            let dx = match (self.of.algorithm, tile.zip(T::as_floats(&w)).zip(T::as_floats(&dy))) {
                (Algorithm::Plain, _) => plain::input_gradient(&g, &w, &dy),
                (_, Some(((m, w), dy))) => T::from_floats(winograd::input_gradient(&g, m, w, dy)),
                _ => im2col::input_gradient(&g, &w, &dy),
            };
            Ok((T::to_cpu_storage_owned(precision.result(dx)), Shape::from(self.shape.clone())))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        dy: &CudaStorage,
        dy_l: &Layout,
        w: &CudaStorage,
        w_l: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let g = Geometry::new(&self.shape, w_l.dims(), &self.of.config)?;
        let dx = cuda::conv3d::input_gradient(&g, self.of.precision, (w, w_l), (dy, dy_l), None)?;
        Ok((dx, Shape::from(self.shape.clone())))
    }
}

/// Of the input and `dy`.
struct WeightGradient {
    of: Convolution,
    shape: Vec<usize>,
}

impl CustomOp2 for WeightGradient {
    fn name(&self) -> &'static str {
        "conv3d_weight_gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        dy: &CpuStorage,
        dy_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(x_l.dims(), &self.shape, &self.of.config)?;
        with_element!("conv3d", x.dtype(), T => {
            let precision = self.of.precision;
            let (x, dy) = (precision.operand(T::values(x, x_l)?), precision.operand(T::values(dy, dy_l)?));
            let tile = self.of.tile(&g, T::DTYPE);
            let dw = match (self.of.algorithm, tile.zip(T::as_floats(&x)).zip(T::as_floats(&dy))) {
                (Algorithm::Plain, _) => plain::weight_gradient(&g, &x, &dy),
                (_, Some(((m, x), dy))) => T::from_floats(winograd::weight_gradient(&g, m, x, dy)),
                _ => im2col::weight_gradient(&g, &x, &dy),
            };
            Ok((T::to_cpu_storage_owned(precision.result(dw)), Shape::from(self.shape.clone())))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_l: &Layout,
        dy: &CudaStorage,
        dy_l: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let g = Geometry::new(x_l.dims(), &self.shape, &self.of.config)?;
        let dw = cuda::conv3d::weight_gradient(&g, self.of.precision, (x, x_l), (dy, dy_l))?;
        Ok((dw, Shape::from(self.shape.clone())))
    }
}

/// Adds to each channel of `y` \[batch, channels, voxels\] its element of `bias`.
pub(super) fn add_channels<T: Element>(y: &mut [T], bias: &[T], voxels: usize) {
    for (i, part) in y.chunks_mut(voxels.max(1)).enumerate() {
        part.iter_mut().for_each(|v| *v += bias[i % bias.len()]);
    }
}

/// The sum over batch and volume of each channel, in f64: the gradient of the bias.
pub(super) struct ChannelSums;

impl CustomOp1 for ChannelSums {
    fn name(&self) -> &'static str {
        "conv3d_bias_gradient"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, d, h, w) = layout.shape().dims5()?;
        let pixels = d * h * w;
        with_element!("conv3d", dy.dtype(), T => {
            let dy = T::values(dy, layout)?;
            let row = |c: usize| (0..batch).flat_map(move |n| (n * channels + c) * pixels..(n * channels + c + 1) * pixels);
            let sum = |c| T::from_f64(row(c).map(|i| dy[i].to_f64()).sum());
            let sums: Vec<T> = (0..channels).into_par_iter().map(sum).collect();
            Ok((T::to_cpu_storage_owned(sums), Shape::from(channels)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, dy: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::conv3d::channel_sums(dy, layout)
    }
}
