#[cfg(feature = "cuda")]
use crate::cuda;
use crate::element::{Element, with_element};
use crate::pool::adaptive_avg_pool3d;
use crate::{Error, Result};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, DType};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
#[cfg(feature = "cuda")]
use std::sync::{Arc, Mutex, PoisonError};

/// How [`interpolate`] finds a value between the given ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum InterpolateMode {
    /// The element at `floor(i in / out)`.
    #[default]
    Nearest,
    /// The element whose cell holds the centre `(i + 1/2) in / out`.
    NearestExact,
    /// Linear along each axis: PyTorch's `linear`, `bilinear` and `trilinear`.
    #[serde(alias = "bilinear", alias = "trilinear")]
    Linear,
    /// The mean over the cell: adaptive average pooling.
    Area,
}

/// Configuration of [`interpolate`]; axes are those behind batch and channels, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InterpolateConfig {
    /// The size of the output; one number stands for every axis.
    pub size: Option<Vec<usize>>,
    /// The size of the output over that of the input; one number stands for every axis.
    pub scale_factor: Option<Vec<f64>>,
    /// How a value between the given ones is found; nearest.
    pub mode: InterpolateMode,
    /// Whether the first and last elements of input and output lie upon each other (linear only); false.
    pub align_corners: bool,
    /// Whether positions follow from the two sizes instead of the given factor; false.
    pub recompute_scale_factor: bool,
}

impl InterpolateConfig {
    /// To an output of this size.
    pub fn to_size(size: &[usize]) -> Self {
        InterpolateConfig {
            size: Some(size.to_vec()),
            scale_factor: None,
            mode: InterpolateMode::Nearest,
            align_corners: false,
            recompute_scale_factor: false,
        }
    }

    /// To an output of `floor(factor * size)`.
    pub fn by_factor(scale_factor: &[f64]) -> Self {
        InterpolateConfig { size: None, scale_factor: Some(scale_factor.to_vec()), ..Self::to_size(&[]) }
    }

    /// Sets how a value between the given ones is found.
    pub fn mode(mut self, mode: InterpolateMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether the corner elements lie upon each other.
    pub fn align_corners(mut self, align_corners: bool) -> Self {
        self.align_corners = align_corners;
        self
    }

    /// Sets whether positions follow from the two sizes instead of the factor.
    pub fn recompute_scale_factor(mut self, recompute_scale_factor: bool) -> Self {
        self.recompute_scale_factor = recompute_scale_factor;
        self
    }

    /// Whether the options fit together.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first that does not.
    pub fn validate(&self) -> Result<()> {
        match (&self.size, &self.scale_factor) {
            (Some(size), None) if size.contains(&0) => {
                return Err(Error::config(OP, "size", "at least 1", format!("{size:?}")));
            }
            (None, Some(factors)) if !factors.iter().all(|f| f.is_finite() && *f > 0.0) => {
                return Err(Error::config(OP, "scale_factor", "finite and above 0", format!("{factors:?}")));
            }
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err(Error::config(OP, "size", "given, or else the factor", "both or none")),
        }
        if self.align_corners && self.mode != InterpolateMode::Linear {
            return Err(Error::config(OP, "align_corners", "false unless linear", true));
        }
        if self.recompute_scale_factor && self.size.is_some() {
            return Err(Error::config(OP, "recompute_scale_factor", "false with a size", true));
        }
        Ok(())
    }

    /// Size and, where it decides the positions, factor of every axis of `input`.
    fn axes(&self, input: &[usize]) -> Result<Vec<(usize, Option<f64>)>> {
        let lengths = self.size.as_ref().map(Vec::len).or(self.scale_factor.as_ref().map(Vec::len));
        let n = lengths.unwrap_or(0);
        if n != 1 && n != input.len() {
            return Err(Error::shape(OP, format!("one size or factor, or {}", input.len()), n));
        }
        let at = |i: usize| if n == 1 { 0 } else { i };
        let axis = |(i, &len): (usize, &usize)| match (&self.size, &self.scale_factor) {
            (Some(size), _) => (size[at(i)], None),
            (None, Some(factors)) => {
                let factor = factors[at(i)];
                let size = (len as f64 * factor).floor() as usize;
                (size, (!self.recompute_scale_factor).then_some(factor))
            }
            (None, None) => (len, None),
        };
        let axes: Vec<_> = input.iter().enumerate().map(axis).collect();
        if axes.iter().any(|(size, _)| *size == 0) || input.contains(&0) {
            return Err(Error::shape(OP, "no empty dimension of input and output", input));
        }
        Ok(axes)
    }
}

const OP: &str = "interpolate";

/// Resizes the axes of `x` behind batch and channels.
///
/// # Shapes
/// `x` \[batch, channels, D, H, W\] (or with one or two axes) gives \[batch, channels, D', H', W'\].
///
/// # Errors
/// [`Error::Shape`] for another rank, an empty dimension, or a number of sizes that does not fit; [`Error::Argument`]
/// for options that exclude each other.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_nn::{InterpolateConfig, InterpolateMode, interpolate};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::new(&[[[0f32, 2.0, 4.0]]], &Device::Cpu)?;
/// let config = InterpolateConfig::to_size(&[5]).mode(InterpolateMode::Linear).align_corners(true);
/// assert_eq!(interpolate(&x, &config)?.to_vec3::<f32>()?, [[[0.0, 1.0, 2.0, 3.0, 4.0]]]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.interpolate` without cubic modes and antialiasing.
pub fn interpolate(x: &Tensor, config: &InterpolateConfig) -> Result<Tensor> {
    config.validate()?;
    if !(3..=5).contains(&x.rank()) {
        return Err(Error::shape(OP, "[batch, channels, one to three axes]", x.dims()));
    }
    let axes = config.axes(&x.dims()[2..])?;
    if config.mode == InterpolateMode::Area {
        return area(x, &axes.iter().map(|(size, _)| *size).collect::<Vec<_>>());
    }
    let mut y = x.clone();
    for (i, (size, factor)) in axes.into_iter().enumerate() {
        let input = x.dims()[i + 2];
        let op =
            AlongAxis { axis: i + 2, input, size, factor, mode: config.mode, align: config.align_corners };
        // PyTorch takes equal sizes as the identity even where the factor is not 1.
        if input != size || (factor.is_some() && config.mode != InterpolateMode::Linear) {
            y = y.apply_op1(op)?;
        }
    }
    Ok(y)
}

/// Adaptive average pooling with the absent axes added and removed again.
fn area(x: &Tensor, size: &[usize]) -> Result<Tensor> {
    let widened = |behind: &[usize]| {
        let mut dims = [1; 3];
        dims[3 - behind.len()..].copy_from_slice(behind);
        dims
    };
    let (batch, channels) = (x.dims()[0], x.dims()[1]);
    let [d, h, w] = widened(&x.dims()[2..]);
    let y = adaptive_avg_pool3d(&x.reshape((batch, channels, d, h, w))?, widened(size))?;
    Ok(y.reshape([&[batch, channels], size].concat())?)
}

/// Interpolation along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct AlongAxis {
    axis: usize,
    input: usize,
    size: usize,
    factor: Option<f64>,
    mode: InterpolateMode,
    align: bool,
}

/// An output element: `(1 - share) * x[first] + share * x[second]`.
struct Tap<T> {
    first: usize,
    second: usize,
    share: T,
}

impl AlongAxis {
    /// In the arithmetic of the tensor's type, so that a position at a border falls to PyTorch's side.
    fn taps<T: Element>(&self) -> Vec<Tap<T>> {
        let number = |v: usize| T::from_f64(v as f64);
        let (half, last) = (T::from_f64(0.5), self.input - 1);
        let scale = match self.factor {
            _ if self.align && self.size > 1 => number(self.input - 1) / number(self.size - 1),
            _ if self.align => T::ZERO,
            Some(factor) => T::from_f64(1.0 / factor),
            None => number(self.input) / number(self.size),
        };
        let floor = |v: T| v.to_f64().floor().max(0.0) as usize;
        let tap = |i: usize| match self.mode {
            InterpolateMode::Linear => {
                let place = match self.align {
                    true => scale * number(i),
                    false => (scale * (number(i) + half) - half).maximum(T::ZERO),
                };
                let first = floor(place).min(last);
                let share = (place - number(first)).maximum(T::ZERO);
                let share = if share > T::ONE { T::ONE } else { share };
                Tap { first, second: (first + 1).min(last), share }
            }
            mode => {
                let shift = if mode == InterpolateMode::NearestExact { half } else { T::ZERO };
                // PyTorch takes the floor in f32 for every type.
                let place = ((number(i) + shift) * scale).to_f64() as f32;
                let first = (place.floor().max(0.0) as usize).min(last);
                Tap { first, second: first, share: T::ZERO }
            }
        };
        (0..self.size).map(tap).collect()
    }

    /// The taps in the memory of the device of `x`, copied there once.
    #[cfg(feature = "cuda")]
    fn on_device(&self, x: &CudaStorage) -> candle_core::Result<Arc<cuda::interpolate::Taps>> {
        use candle_core::cuda_backend::DeviceId;
        type Kept = Vec<((DeviceId, DType, AlongAxis), Arc<cuda::interpolate::Taps>)>;
        static KEPT: Mutex<Kept> = Mutex::new(Vec::new());
        /// Networks have few sizes; where volumes differ in size, older ones give way.
        const MOST: usize = 256;
        let key = (x.device().id(), x.dtype(), AlongAxis { axis: 0, ..*self });
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, taps)) = kept.iter().find(|(of, _)| *of == key) {
            return Ok(taps.clone());
        }
        let taps: Vec<(u32, u32, f64)> = with_element!(OP, x.dtype(), T => {
            let tap = |t: Tap<T>| (t.first as u32, t.second as u32, t.share.to_f64());
            Ok::<_, candle_core::Error>(self.taps::<T>().into_iter().map(tap).collect())
        })?;
        let taps =
            Arc::new(cuda::interpolate::Taps::new(x.device(), &taps, self.input, x.dtype() == DType::F64)?);
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push((key, taps.clone()));
        Ok(taps)
    }

    /// The elements behind the axis, and the shape of the output.
    fn dims(&self, dims: &[usize]) -> (usize, Vec<usize>) {
        let mut out = dims.to_vec();
        out[self.axis] = self.size;
        (dims[self.axis + 1..].iter().product(), out)
    }
}

impl CustomOp1 for AlongAxis {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (inner, out) = self.dims(layout.dims());
        with_element!(OP, x.dtype(), T => {
            let (x, taps) = (T::values(x, layout)?, self.taps::<T>());
            let mut y = vec![T::ZERO; out.iter().product()];
            let parts = y.par_chunks_mut((self.size * inner).max(1)).zip(x.par_chunks((self.input * inner).max(1)));
            parts.for_each(|(y, x)| {
                for (y, tap) in y.chunks_mut(inner.max(1)).zip(&taps) {
                    let first = &x[tap.first * inner..][..inner];
                    if tap.share == T::ZERO {
                        y.copy_from_slice(first);
                        continue;
                    }
                    let (rest, second) = (T::ONE - tap.share, &x[tap.second * inner..][..inner]);
                    for ((y, a), b) in y.iter_mut().zip(first).zip(second) {
                        *y = rest * *a + tap.share * *b;
                    }
                }
            });
            Ok((T::to_cpu_storage_owned(y), Shape::from(out)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let (inner, out) = self.dims(layout.dims());
        let taps = self.on_device(x)?;
        let axis = cuda::interpolate::Axis { input: self.input, size: self.size, inner };
        cuda::interpolate::forward((x, layout), &taps, axis, out.into())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(dy.apply_op1_no_bwd(&Transposed(*self))?))
    }
}

/// The gradient: every output element gives its shares back.
struct Transposed(AlongAxis);

impl CustomOp1 for Transposed {
    fn name(&self) -> &'static str {
        "interpolate_gradient"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let forward = &self.0;
        let mut out = layout.dims().to_vec();
        out[forward.axis] = forward.input;
        let inner: usize = out[forward.axis + 1..].iter().product();
        with_element!(OP, dy.dtype(), T => {
            let (dy, taps) = (T::values(dy, layout)?, forward.taps::<T>());
            let mut dx = vec![T::ZERO; out.iter().product()];
            let dy = dy.par_chunks((forward.size * inner).max(1));
            let parts = dx.par_chunks_mut((forward.input * inner).max(1)).zip(dy);
            parts.for_each(|(dx, dy)| {
                for (dy, tap) in dy.chunks(inner.max(1)).zip(&taps) {
                    for (at, share) in [(tap.first, T::ONE - tap.share), (tap.second, tap.share)] {
                        let dx = &mut dx[at * inner..][..inner];
                        dx.iter_mut().zip(dy).for_each(|(to, from)| *to += share * *from);
                    }
                }
            });
            Ok((T::to_cpu_storage_owned(dx), Shape::from(out)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, dy: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let forward = &self.0;
        let mut out = layout.dims().to_vec();
        out[forward.axis] = forward.input;
        let inner = out[forward.axis + 1..].iter().product();
        let axis = cuda::interpolate::Axis { input: forward.input, size: forward.size, inner };
        cuda::interpolate::backward((dy, layout), &*forward.on_device(dy)?, axis, out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, device, pattern};

    fn line(values: &[f64], config: &InterpolateConfig) -> Vec<f64> {
        let x = Tensor::from_slice(values, (1, 1, values.len()), &device()).unwrap();
        interpolate(&x, config).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn by_hand() {
        use InterpolateMode::*;
        let x = [0.0, 10.0, 20.0, 30.0];
        let to = |n: usize, mode| line(&x, &InterpolateConfig::to_size(&[n]).mode(mode));
        assert_eq!(to(3, Nearest), [0.0, 10.0, 20.0]);
        assert_eq!(to(3, NearestExact), [0.0, 20.0, 30.0]);
        assert_eq!(to(2, Linear), [5.0, 25.0]);
        assert_eq!(to(8, Linear), [0.0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30.0]);
        assert_eq!(to(2, Area), [5.0, 25.0]);
        assert_eq!(to(1, Linear), [15.0]);
        let aligned = |n: usize| line(&x, &InterpolateConfig::to_size(&[n]).mode(Linear).align_corners(true));
        assert_eq!((aligned(1), aligned(2), aligned(7)[1]), (vec![0.0], vec![0.0, 30.0], 5.0));
    }

    #[test]
    fn a_factor_places_the_elements_unless_it_is_recomputed() {
        let by = |f: f64| InterpolateConfig::by_factor(&[f]).mode(InterpolateMode::Linear);
        let x = [0.0, 1.0, 2.0, 3.0];
        // 4 * 0.7 = 2.8 gives two elements: at 1/0.7 steps, or at 4/2 steps.
        let given = line(&x, &by(0.7));
        approx::assert_relative_eq!(given[1], 1.5 / 0.7 - 0.5, epsilon = 1e-12);
        assert_eq!(line(&x, &by(0.7).recompute_scale_factor(true)), [0.5, 2.5]);
    }

    #[test]
    fn gradients_match_finite_differences() {
        use InterpolateMode::*;
        for (mode, align) in
            [(Nearest, false), (NearestExact, false), (Linear, false), (Linear, true), (Area, false)]
        {
            for shape in [&[2, 2, 4][..], &[1, 2, 3, 4], &[1, 2, 3, 4, 2]] {
                let x = pattern(shape, 1).unwrap();
                let size = &[5, 2, 3][..shape.len() - 2];
                let config = InterpolateConfig::to_size(size).mode(mode).align_corners(align);
                check_gradients(|x| interpolate(&x[0], &config), &[x], 1e-3, 1e-8).unwrap();
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let x = pattern(&[1, 1, 2, 2, 2], 1).unwrap();
        let fails = |c: InterpolateConfig| interpolate(&x, &c).is_err();
        assert!(fails(InterpolateConfig::to_size(&[2, 2])));
        assert!(fails(InterpolateConfig::to_size(&[0])));
        assert!(fails(InterpolateConfig::by_factor(&[0.1])));
        assert!(fails(InterpolateConfig::by_factor(&[-1.0])));
        assert!(fails(InterpolateConfig::to_size(&[3]).align_corners(true)));
        assert!(interpolate(&pattern(&[2, 2], 1).unwrap(), &InterpolateConfig::to_size(&[3])).is_err());
    }
}
