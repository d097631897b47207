//! Normalisation on a CUDA device, by its kernels: nothing comes to the host.

use crate::Result;
pub(super) use crate::cuda::norm::{Grouping, Running};
use crate::cuda::norm::{Norm, Statistics, moments, use_running};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp3, DType, Layout, Result as CandleResult, Shape, Tensor,
};

/// Where mean and variance come from.
pub(super) enum Source<'a> {
    /// The input.
    Input,
    /// The input, towards which the running statistics are moved by this share, or to the mean over all batches.
    Learn(Running<'a>, Option<f64>),
    /// The running statistics.
    Running(Running<'a>),
}

/// Whether the kernels take `x` and the numbers of a layer: all on one CUDA device and of one type, f32 or f64.
pub(super) fn takes<'a>(x: &Tensor, others: impl IntoIterator<Item = &'a Tensor>) -> bool {
    let fits = |t: &Tensor| t.device().same_device(x.device()) && t.dtype() == x.dtype() && t.is_contiguous();
    x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::F64) && others.into_iter().all(fits)
}

/// A normalisation, and what follows it.
pub(super) struct Layer<'a> {
    pub(super) groups: Grouping,
    pub(super) weights: Grouping,
    /// Weight and bias, each of the groups of `weights`.
    pub(super) affine: Option<(&'a Tensor, &'a Tensor)>,
    pub(super) eps: f64,
    pub(super) relu: bool,
}

impl Layer<'_> {
    /// Of `x`, which [`takes`] holds for.
    pub(super) fn forward(&self, x: &Tensor, source: Source) -> Result<Tensor> {
        if x.elem_count() == 0 {
            return Ok(x.clone());
        }
        let through = !matches!(source, Source::Running(_));
        let statistics = match source {
            Source::Input => moments(x, self.groups, self.eps, None)?,
            Source::Learn(running, share) => moments(x, self.groups, self.eps, Some((running, share)))?,
            Source::Running(running) => use_running(running, self.eps)?,
        };
        let norm = Norm { groups: self.groups, weights: self.weights, through, relu: self.relu };
        let op = Normalise { norm, statistics };
        Ok(match self.affine {
            Some((weight, bias)) => x.apply_op3(weight, bias, op)?,
            None => x.apply_op1(op)?,
        })
    }
}

struct Normalise {
    norm: Norm,
    statistics: Statistics,
}

const NAME: &str = "normalise";

fn not_here() -> CandleResult<(CpuStorage, Shape)> {
    candle_core::bail!("{NAME} runs on a CUDA device only")
}

impl CustomOp1 for Normalise {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        not_here()
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        self.norm.forward((x, layout), &self.statistics, None)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(Some(self.norm.backward((x, y, dy), &self.statistics, None, false)?.x))
    }
}

impl CustomOp3 for Normalise {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        not_here()
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_l: &Layout,
        weight: &CudaStorage,
        weight_l: &Layout,
        bias: &CudaStorage,
        bias_l: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        self.norm.forward((x, x_l), &self.statistics, Some([(weight, weight_l), (bias, bias_l)]))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = weight.track_op() || bias.track_op();
        let all = self.norm.backward((x, y, dy), &self.statistics, Some(weight), wanted)?;
        let (of_weight, of_bias) = all.affine.unzip();
        Ok((Some(all.x), of_weight.filter(|_| weight.track_op()), of_bias.filter(|_| bias.track_op())))
    }
}
