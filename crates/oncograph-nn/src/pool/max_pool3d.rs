use super::windows::{Pool3dConfig, Window, Windows};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::element::{Element, with_element};
use crate::parallel::{BLOCK, build_rows};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};

/// The largest element of each window.
///
/// The gradient goes to the first of equal elements, as in PyTorch; a NaN in a window is its result.
///
/// # Shapes
/// `x` \[batch, channels, D, H, W\] gives \[batch, channels, D', H', W'\].
///
/// # Errors
/// [`crate::Error::Shape`] for another rank or a window larger than the padded volume,
/// [`crate::Error::Argument`] for a configuration out of range.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_nn::pool::{Pool3dConfig, max_pool3d};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::arange(0f32, 8.0, &Device::Cpu)?.reshape((1, 1, 2, 2, 2))?;
/// let y = max_pool3d(&x, &Pool3dConfig::new([2; 3]))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [7.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.max_pool3d`; a window that lies in the padding alone gives minus infinity, as there.
pub fn max_pool3d(x: &Tensor, config: &Pool3dConfig) -> Result<Tensor> {
    pool(x, Windows::sliding("max_pool3d", x.dims(), config)?)
}

/// The largest element of each of `output` windows that share the volume.
///
/// # Shapes
/// `x` \[batch, channels, D, H, W\] gives \[batch, channels, output..\].
///
/// # Errors
/// As [`max_pool3d`], and for an empty dimension.
///
/// # Reference
/// `torch.nn.functional.adaptive_max_pool3d`.
pub fn adaptive_max_pool3d(x: &Tensor, output: [usize; 3]) -> Result<Tensor> {
    pool(x, Windows::adaptive("adaptive_max_pool3d", x.dims(), output)?)
}

/// [`max_pool3d`] with the place of each largest element: its index in the volume, depth by depth (i64).
///
/// # Errors
/// As [`max_pool3d`].
///
/// # Reference
/// `torch.nn.functional.max_pool3d` with `return_indices`.
pub fn max_pool3d_with_indices(x: &Tensor, config: &Pool3dConfig) -> Result<(Tensor, Tensor)> {
    let windows = Windows::sliding("max_pool3d", x.dims(), config)?;
    Ok((pool(x, windows.clone())?, x.apply_op1_no_bwd(&Indices(windows))?))
}

/// [`adaptive_max_pool3d`] with the place of each largest element, as [`max_pool3d_with_indices`].
///
/// # Errors
/// As [`adaptive_max_pool3d`].
///
/// # Reference
/// `torch.nn.functional.adaptive_max_pool3d` with `return_indices`.
pub fn adaptive_max_pool3d_with_indices(x: &Tensor, output: [usize; 3]) -> Result<(Tensor, Tensor)> {
    let windows = Windows::adaptive("adaptive_max_pool3d", x.dims(), output)?;
    Ok((pool(x, windows.clone())?, x.apply_op1_no_bwd(&Indices(windows))?))
}

fn pool(x: &Tensor, windows: Windows) -> Result<Tensor> {
    Ok(x.apply_op1(MaxPool(windows))?)
}

#[derive(Clone)]
struct MaxPool(Windows);

/// Whether `a` takes the place of `b` as the largest element: a NaN always does.
#[inline(always)]
fn better<T: Element>(a: T, b: T) -> bool {
    a > b || a.partial_cmp(&a).is_none()
}

/// Where the first largest element of a window lies.
fn largest<T: Element>(windows: &Windows, [d, h, w]: [&Window; 3], x: &[T]) -> Option<usize> {
    let [_, height, width] = windows.input;
    let mut best: Option<(usize, T)> = None;
    for i in d.range.clone().step_by(d.step) {
        for j in h.range.clone().step_by(h.step) {
            let row = (i * height + j) * width;
            let mut at = row + w.range.start;
            while at < row + w.range.end {
                if best.is_none_or(|(_, b)| better(x[at], b)) {
                    best = Some((at, x[at]));
                }
                at += w.step;
            }
        }
    }
    best.map(|(at, _)| at)
}

/// The maxima of one row of windows: of the input rows that they share first, one beside the other in `widest`, then
/// of each window in that.
fn row_maxima<T: Element>(
    windows: &Windows,
    [z, y]: [usize; 2],
    x: &[T],
    widest: &mut [T],
    maxima: &mut [T],
) {
    let [_, height, width] = windows.input;
    let (d, h) = (&windows.axes[0][z], &windows.axes[1][y]);
    widest.fill(T::from_f64(f64::NEG_INFINITY));
    for i in d.range.clone().step_by(d.step) {
        for j in h.range.clone().step_by(h.step) {
            let row = &x[(i * height + j) * width..][..width];
            widest.iter_mut().zip(row).for_each(|(m, x)| *m = if better(*x, *m) { *x } else { *m });
        }
    }
    for (max, w) in maxima.iter_mut().zip(&windows.axes[2]) {
        *max = T::from_f64(f64::NEG_INFINITY);
        for m in widest[w.range.clone()].iter().step_by(w.step) {
            *max = if better(*m, *max) { *m } else { *max };
        }
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool3d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, channels, ..) = layout.shape().dims5()?;
        let [d, h, w] = self.0.output();
        with_element!("max_pool3d", x.dtype(), T => {
            let x = T::values(x, layout)?;
            let rows = batch * channels * d * h;
            let block = (BLOCK / w.max(1)).max(1);
            let y = build_rows(rows, w, block, |first, y: &mut [T]| {
                let mut widest = vec![T::ZERO; self.0.input[2]];
                for (i, y) in y.chunks_mut(w).enumerate() {
                    let (row, inner) = (first + i, self.0.in_pixels());
                    let x = &x[row / (d * h) * inner..][..inner];
                    row_maxima(&self.0, [row / h % d, row % h], x, &mut widest, y);
                }
            });
            Ok((T::to_cpu_storage_owned(y), Shape::from((batch, channels, d, h, w))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        cuda::pool::forward("max_pool", (x, layout), &self.0)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(x.apply_op2_no_bwd(dy, &MaxPoolGradient(&self.0))?))
    }
}

/// The places of the largest elements.
struct Indices(Windows);

impl CustomOp1 for Indices {
    fn name(&self) -> &'static str {
        "max_pool3d_indices"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, channels, ..) = layout.shape().dims5()?;
        let [d, h, w] = self.0.output();
        with_element!("max_pool3d", x.dtype(), T => {
            let x = T::values(x, layout)?;
            let volumes = x.chunks(self.0.in_pixels().max(1));
            let indices = volumes.flat_map(|x| {
                self.0.each().map(|window| largest(&self.0, window, x).map_or(-1, |i| i as i64))
            });
            Ok((CpuStorage::I64(indices.collect()), Shape::from((batch, channels, d, h, w))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        cuda::pool::max_indices((x, layout), &self.0)
    }
}

struct MaxPoolGradient<'a>(&'a Windows);

impl CustomOp2 for MaxPoolGradient<'_> {
    fn name(&self) -> &'static str {
        "max_pool3d_gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        dy: &CpuStorage,
        dy_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        with_element!("max_pool3d", x.dtype(), T => {
            let (x, dy) = (T::values(x, x_l)?, T::values(dy, dy_l)?);
            let (inner, outer) = (self.0.in_pixels().max(1), self.0.out_pixels().max(1));
            let volumes = x.len() / inner;
            let dx = build_rows(volumes, inner, 1, |n, dx: &mut [T]| {
                let (x, dy) = (&x[n * inner..][..inner], &dy[n * outer..][..outer]);
                for (dy, window) in dy.iter().zip(self.0.each()) {
                    if let Some(i) = largest(self.0, window, x) {
                        dx[i] += *dy;
                    }
                }
            });
            Ok((T::to_cpu_storage_owned(dx), x_l.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_l: &Layout,
        dy: &CudaStorage,
        dy_l: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        cuda::pool::max_gradient((x, x_l), (dy, dy_l), self.0)
    }
}
