//! The transposed convolution as differentiable operations of candle.

use super::super::config::Geometry;
use super::super::op::{ChannelSums, add_channels};
use super::super::{Algorithm, im2col, plain};
use super::{ConvTranspose3dConfig, OP};
use crate::Precision;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::element::{Element, with_element};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};

#[derive(Debug, Clone, Copy)]
pub(super) struct Transposed {
    pub config: ConvTranspose3dConfig,
    pub algorithm: Algorithm,
    /// Of the gradients, too.
    pub precision: Precision,
}

type Operand<'a> = (&'a CpuStorage, &'a Layout);

impl Transposed {
    fn run(
        &self,
        (x, x_l): Operand,
        (w, w_l): Operand,
        bias: Option<Operand>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let g = self.config.geometry(x_l.dims(), w_l.dims())?;
        let (channels, [d, h, w_out]) = (g.groups * g.ci, g.input);
        with_element!(OP, x.dtype(), T => {
            let precision = self.precision;
            let (x, w) = (precision.operand(T::values(x, x_l)?), precision.operand(T::values(w, w_l)?));
            let y = match self.algorithm {
                Algorithm::Plain => plain::input_gradient(&g, &w, &x),
                _ => im2col::input_gradient(&g, &w, &x),
            };
            let mut y = precision.result(y);
            if let Some((bias, layout)) = bias {
                add_channels(&mut y, &T::values(bias, layout)?, g.in_pixels());
            }
            Ok((T::to_cpu_storage_owned(y), Shape::from((g.batch, channels, d, h, w_out))))
        })
    }

    #[cfg(feature = "cuda")]
    fn run_on_cuda(
        &self,
        x: cuda::launch::Operand,
        w: cuda::launch::Operand,
        bias: Option<cuda::launch::Operand>,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let g = self.config.geometry(x.1.dims(), w.1.dims())?;
        let (channels, [d, h, width]) = (g.groups * g.ci, g.input);
        let y = cuda::conv3d::input_gradient(&g, self.precision, w, x, bias)?;
        Ok((y, Shape::from((g.batch, channels, d, h, width))))
    }

    /// The gradients of input and weight, each only if it is needed.
    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let g = self.config.geometry(x.dims(), weight.dims())?;
        let gradient = |part| Gradient {
            g,
            algorithm: self.algorithm,
            precision: self.precision,
            part,
            shape: Shape::from(match part {
                Part::Input => x.dims(),
                Part::Weight => weight.dims(),
            }),
        };
        let dx = x.track_op().then(|| dy.apply_op2_no_bwd(weight, &gradient(Part::Input))).transpose()?;
        let dw = weight.track_op().then(|| dy.apply_op2_no_bwd(x, &gradient(Part::Weight))).transpose()?;
        Ok((dx, dw))
    }
}

impl CustomOp2 for Transposed {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        w: &CpuStorage,
        w_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run((x, x_l), (w, w_l), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_l: &Layout,
        w: &CudaStorage,
        w_l: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.run_on_cuda((x, x_l), (w, w_l), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.gradients(x, weight, dy)
    }
}

impl CustomOp3 for Transposed {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        w: &CpuStorage,
        w_l: &Layout,
        b: &CpuStorage,
        b_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
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
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.run_on_cuda((x, x_l), (w, w_l), Some((b, b_l)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.gradients(x, weight, dy)?;
        let db = bias.track_op().then(|| dy.apply_op1_no_bwd(&ChannelSums)).transpose()?;
        Ok((dx, dw, db))
    }
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Input,
    Weight,
}

/// Of `dy` and the weight (for the input), or of `dy` and the input (for the weight): the forward pass and the weight
/// gradient of the convolution that was transposed.
struct Gradient {
    g: Geometry,
    algorithm: Algorithm,
    precision: Precision,
    part: Part,
    shape: Shape,
}

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "conv_transpose3d_gradient"
    }

    fn cpu_fwd(
        &self,
        dy: &CpuStorage,
        dy_l: &Layout,
        other: &CpuStorage,
        other_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let plain = self.algorithm == Algorithm::Plain;
        with_element!(OP, dy.dtype(), T => {
            let operand = |storage, layout| Ok::<_, candle_core::Error>(self.precision.operand(T::values(storage, layout)?));
            let (dy, other) = (operand(dy, dy_l)?, operand(other, other_l)?);
            let gradient = match (self.part, plain) {
                (Part::Input, true) => plain::forward(&self.g, &dy, &other, None),
                (Part::Input, false) => im2col::forward(&self.g, &dy, &other, None),
                (Part::Weight, true) => plain::weight_gradient(&self.g, &dy, &other),
                (Part::Weight, false) => im2col::weight_gradient(&self.g, &dy, &other),
            };
            Ok((T::to_cpu_storage_owned(self.precision.result(gradient)), self.shape.clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        dy: &CudaStorage,
        dy_l: &Layout,
        other: &CudaStorage,
        other_l: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let (precision, dy, other) = (self.precision, (dy, dy_l), (other, other_l));
        let gradient = match self.part {
            Part::Input => cuda::conv3d::forward(&self.g, precision, dy, other, None)?,
            Part::Weight => cuda::conv3d::weight_gradient(&self.g, precision, dy, other)?,
        };
        Ok((gradient, self.shape.clone()))
    }
}
