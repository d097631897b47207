use super::windows::{Pool3dConfig, Window, Windows};
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::element::{Element, with_element};
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

/// The mean of each window, summed in f64.
///
/// # Shapes
/// `x` \[batch, channels, D, H, W\] gives \[batch, channels, D', H', W'\].
///
/// # Errors
/// [`crate::Error::Shape`] for another rank or a window larger than the padded volume,
/// [`crate::Error::Argument`] for a configuration out of range.
///
/// # Reference
/// `torch.nn.functional.avg_pool3d`.
pub fn avg_pool3d(x: &Tensor, config: &Pool3dConfig) -> Result<Tensor> {
    if config.dilation != [1; 3] {
        let got = format!("{:?}", config.dilation);
        return Err(Error::config("avg_pool3d", "dilation", "1", got));
    }
    pool(x, Windows::sliding("avg_pool3d", x.dims(), config)?)
}

/// The mean of each of `output` windows that share the volume; windows overlap where the sizes do not divide.
///
/// # Shapes
/// `x` \[batch, channels, D, H, W\] gives \[batch, channels, output..\].
///
/// # Errors
/// As [`avg_pool3d`], and for an empty dimension.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_nn::pool::adaptive_avg_pool3d;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::new(&[1f32, 2.0, 6.0], &Device::Cpu)?.reshape((1, 1, 1, 1, 3))?;
/// let y = adaptive_avg_pool3d(&x, [1, 1, 2])?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.5, 4.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.adaptive_avg_pool3d`.
pub fn adaptive_avg_pool3d(x: &Tensor, output: [usize; 3]) -> Result<Tensor> {
    pool(x, Windows::adaptive("adaptive_avg_pool3d", x.dims(), output)?)
}

fn pool(x: &Tensor, windows: Windows) -> Result<Tensor> {
    Ok(x.apply_op1(AvgPool(windows))?)
}

struct AvgPool(Windows);

fn count(windows: &Windows, window: [&Window; 3]) -> f64 {
    windows.divisor.unwrap_or_else(|| window.iter().map(|w| w.count).product()) as f64
}

impl CustomOp1 for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool3d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, channels, ..) = layout.shape().dims5()?;
        let [d, h, w] = self.0.output();
        with_element!("avg_pool3d", x.dtype(), T => {
            let x = T::values(x, layout)?;
            let mut y = vec![T::ZERO; batch * channels * self.0.out_pixels()];
            y.par_chunks_mut(self.0.out_pixels().max(1)).zip(x.par_chunks(self.0.in_pixels().max(1))).for_each(
                |(y, x)| {
                    for (y, window) in y.iter_mut().zip(self.0.each()) {
                        let sum: f64 = self.0.offsets(window).map(|i| x[i].to_f64()).sum();
                        *y = T::from_f64(sum / count(&self.0, window));
                    }
                },
            );
            Ok((T::to_cpu_storage_owned(y), Shape::from((batch, channels, d, h, w))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        cuda::pool::forward("avg_pool", (x, layout), &self.0)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(dy.apply_op1_no_bwd(&AvgPoolGradient(&self.0))?))
    }
}

struct AvgPoolGradient<'a>(&'a Windows);

impl CustomOp1 for AvgPoolGradient<'_> {
    fn name(&self) -> &'static str {
        "avg_pool3d_gradient"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, channels, ..) = layout.shape().dims5()?;
        let [d, h, w] = self.0.input;
        with_element!("avg_pool3d", dy.dtype(), T => {
            let dy = T::values(dy, layout)?;
            let mut dx = vec![T::ZERO; batch * channels * self.0.in_pixels()];
            dx.par_chunks_mut(self.0.in_pixels().max(1)).zip(dy.par_chunks(self.0.out_pixels().max(1))).for_each(
                |(dx, dy)| {
                    for (dy, window) in dy.iter().zip(self.0.each()) {
                        let share = T::from_f64(dy.to_f64() / count(self.0, window));
                        self.0.offsets(window).for_each(|i| dx[i] += share);
                    }
                },
            );
            Ok((T::to_cpu_storage_owned(dx), Shape::from((batch, channels, d, h, w))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, dy: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        cuda::pool::avg_gradient((dy, layout), self.0)
    }
}
