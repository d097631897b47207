//! A convolution, the batch norm behind it and a ReLU as one operation of the graph, for training on the CPU.
//!
//! Of the three outputs two are kept for the gradient instead of all, the ReLU and the norm share their passes over
//! memory, and candle, which adds every gradient to zeros, has one operation to do so for instead of three.

use super::op::{ChannelSums, Convolution};
use super::{Algorithm, Conv3d, conv3d};
use crate::element::{Element, with_element, with_values};
use crate::norm::{BatchNorm, Moments, for_each_row};
use crate::parallel::build;
use crate::{Precision, Result};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

impl Conv3d {
    /// `norm(conv(x))`, or the positive part of it with `relu`.
    ///
    /// Equal to the layers one after the other. In training on the CPU it is one operation, which keeps less memory
    /// for the gradient and passes over it less often.
    ///
    /// # Shapes
    /// As [`Conv3d::forward`].
    ///
    /// # Errors
    /// As [`Conv3d::forward`] and [`BatchNorm::forward`].
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use oncograph_nn::conv3d::Conv3dLayerConfig;
    /// use oncograph_nn::norm::BatchNormConfig;
    /// use oncograph_nn::{ParamStore, Seed};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = ParamStore::new(Seed::new(1));
    /// let vb = store.var_builder(DType::F32, &Device::Cpu);
    /// let conv = Conv3dLayerConfig::new(1, 4, [3; 3]).build(vb.pp("conv"))?;
    /// let norm = BatchNormConfig::new(4).build(vb.pp("norm"))?;
    /// let x = Tensor::randn(0f32, 1.0, (2, 1, 5, 6, 7), &Device::Cpu)?;
    /// assert_eq!(conv.forward_norm(&x, &norm, true, true)?.dims(), [2, 4, 3, 4, 5]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn forward_norm(&self, x: &Tensor, norm: &BatchNorm, relu: bool, train: bool) -> Result<Tensor> {
        let one = train && x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64);
        let (Some((weight, bias)), true) = (norm.affine(), one && self.margins.is_none()) else {
            return norm.forward_then(&self.forward(x)?, train, relu);
        };
        let convolved = conv3d(&x.detach(), &self.weight.detach(), None, &self.conv)?;
        let mut rows = vec![weight.clone(), bias.clone()];
        // Subtracting the batch's mean cancels the bias; only the running mean contains it.
        let shift = self
            .bias
            .as_ref()
            .map(|b| b.to_dtype(DType::F64).and_then(|b| b.to_vec1::<f64>()))
            .transpose()?;
        rows.extend(self.bias.clone());
        let moments = norm.learn(&convolved, shift.as_deref())?;
        let op = ConvNorm {
            conv: Convolution {
                config: self.conv,
                algorithm: Algorithm::Auto,
                precision: Precision::current(),
            },
            inv_std: moments.var.iter().map(|v| 1.0 / (v + norm.eps()).sqrt()).collect(),
            convolved,
            moments,
            relu,
        };
        Ok(x.apply_op3(&self.weight, &Tensor::stack(&rows, 0)?, op)?)
    }
}

struct ConvNorm {
    conv: Convolution,
    /// Without the bias.
    convolved: Tensor,
    moments: Moments,
    inv_std: Vec<f64>,
    relu: bool,
}

impl ConvNorm {
    /// Channels, and the voxels of one volume.
    fn sizes(&self) -> candle_core::Result<(usize, usize)> {
        let (_, channels, d, h, w) = self.convolved.dims5()?;
        Ok((channels, d * h * w))
    }

    fn forward<T: Element>(&self, convolved: &[T], affine: &[T]) -> candle_core::Result<Vec<T>> {
        let (channels, inner) = self.sizes()?;
        Ok(build(convolved.len(), |first, y: &mut [T]| {
            for_each_row(first, y, inner, |row, at, y| {
                let c = row % channels;
                let (mean, inv) = (T::from_f64(self.moments.mean[c]), T::from_f64(self.inv_std[c]));
                let (w, b) = (affine[c], affine[channels + c]);
                let values = y.iter_mut().zip(&convolved[at..]);
                match self.relu {
                    // As `relu`: a NaN stays one.
                    true => values.for_each(|(y, x)| {
                        let v = (*x - mean) * inv * w + b;
                        *y = if v <= T::ZERO { T::ZERO } else { v };
                    }),
                    false => values.for_each(|(y, x)| *y = (*x - mean) * inv * w + b),
                }
            });
        }))
    }

    /// Per channel, the sums over batch and volume of the gradient behind the norm and of that times the
    /// standardized values, in f64 and in a fixed order.
    fn sums<T: Element>(&self, x: &[T], y: &[T], dy: &[T]) -> candle_core::Result<Vec<(f64, f64)>> {
        let (channels, inner) = self.sizes()?;
        let batch = x.len() / (channels * inner).max(1);
        let channel_sums = |c: usize| {
            let mut sums = (0.0, 0.0);
            for n in 0..batch {
                let row = (n * channels + c) * inner..(n * channels + c + 1) * inner;
                let (x, y, dy) = (&x[row.clone()], &y[row.clone()], &dy[row]);
                let part = self.row_sums(x, y, dy, self.moments.mean[c]);
                sums = (sums.0 + part.0, sums.1 + part.1);
            }
            (sums.0, sums.1 * self.inv_std[c])
        };
        Ok((0..channels).into_par_iter().map(channel_sums).collect())
    }

    fn row_sums<T: Element>(&self, x: &[T], y: &[T], dy: &[T], mean: f64) -> (f64, f64) {
        const PARTS: usize = 8;
        let mut parts = [[0.0; PARTS]; 2];
        let mut at = 0;
        while at < x.len() {
            let count = PARTS.min(x.len() - at);
            let (x, y, dy) = (&x[at..at + count], &y[at..at + count], &dy[at..at + count]);
            for k in 0..count {
                let d = if self.relu && y[k] <= T::ZERO { 0.0 } else { dy[k].to_f64() };
                parts[0][k] += d;
                parts[1][k] += d * (x[k].to_f64() - mean);
            }
            at += count;
        }
        (parts[0].iter().sum(), parts[1].iter().sum())
    }

    /// The gradient behind the convolution.
    fn backward<T: Element>(
        &self,
        (x, y, dy): (&[T], &[T], &[T]),
        weight: &[T],
        sums: &[(f64, f64)],
    ) -> candle_core::Result<Vec<T>> {
        let (channels, inner) = self.sizes()?;
        let share = channels as f64 / x.len().max(1) as f64;
        Ok(build(x.len(), |first, dx: &mut [T]| {
            for_each_row(first, dx, inner, |row, at, dx| {
                let c = row % channels;
                let inv = self.inv_std[c];
                let scale = T::from_f64(weight[c].to_f64() * inv);
                let mean = T::from_f64(self.moments.mean[c]);
                let (level, slope) = (T::from_f64(sums[c].0 * share), T::from_f64(sums[c].1 * share * inv));
                for (((dx, x), y), dy) in dx.iter_mut().zip(&x[at..]).zip(&y[at..]).zip(&dy[at..]) {
                    let d = if self.relu && *y <= T::ZERO { T::ZERO } else { *dy };
                    *dx = scale * (d - level - (*x - mean) * slope);
                }
            });
        }))
    }
}

impl CustomOp3 for ConvNorm {
    fn name(&self) -> &'static str {
        "conv3d_norm"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        affine: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        with_element!("conv3d_norm", self.convolved.dtype(), T => {
            let affine = T::values(affine, layout)?;
            let y = with_values::<T, _>(&self.convolved, |x| self.forward(x, &affine))??;
            Ok((T::to_cpu_storage_owned(y), self.convolved.shape().clone()))
        })
    }

    // Not reached: a device has a path of its own.
    crate::cuda_on_host!(CustomOp3);

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (device, dy) = (x.device(), dy.contiguous()?);
        let scale = affine.get(0)?.contiguous()?;
        let (gradient, sums) = with_element!("conv3d_norm", x.dtype(), T => {
            with_values::<T, _>(&self.convolved, |x| {
                with_values::<T, _>(y, |y| with_values::<T, _>(&dy, |dy| {
                    let sums = self.sums(x, y, dy)?;
                    let dx = with_values::<T, _>(&scale, |w| self.backward((x, y, dy), w, &sums))??;
                    let dx = Tensor::from_vec(dx, self.convolved.shape(), device)?;
                    Ok::<_, candle_core::Error>((dx, sums))
                }))
            }).flatten().flatten().flatten()
        })?;
        let (dx, dw) = self.conv.gradients(x, weight, &gradient)?;
        let rows: Vec<f64> = sums.iter().map(|s| s.1).chain(sums.iter().map(|s| s.0)).collect();
        let rows = Tensor::from_vec(rows, (2, sums.len()), device)?.to_dtype(affine.dtype())?;
        // 0 but for rounding, which is PyTorch's answer too.
        let of_bias = match affine.dim(0)? {
            3 => vec![rows, gradient.apply_op1_no_bwd(&ChannelSums)?.unsqueeze(0)?],
            _ => vec![rows],
        };
        Ok((dx, dw, Some(Tensor::cat(&of_bias, 0)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv3d::{Conv3dConfig, Conv3dLayerConfig};
    use crate::norm::BatchNormConfig;
    use crate::testing::{device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::Var;

    fn close(a: &Tensor, b: &Tensor, bound: f64, what: &str) {
        let gap = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_dtype(DType::F64).unwrap();
        let gap = gap.to_scalar::<f64>().unwrap();
        assert!(gap < bound, "{what}: {gap}");
    }

    /// Output, gradients and running statistics against the layers one after the other.
    fn check(dtype: DType, (ci, co): (usize, usize), stride: usize, bias: bool, relu: bool, bound: f64) {
        let what = format!("{dtype:?} {ci}->{co} stride {stride} bias {bias} relu {relu}");
        let run = |one: bool| {
            let store = ParamStore::new(Seed::new(3));
            let vb = store.var_builder(dtype, &device());
            let config = Conv3dConfig::new().padding([1; 3]).stride([stride; 3]);
            let conv = Conv3dLayerConfig::new(ci, co, [3; 3]).conv(config).bias(bias);
            let conv = conv.build(vb.pp("conv")).unwrap();
            let norm = BatchNormConfig::new(co).build(vb.pp("norm")).unwrap();
            for (name, salt) in [("norm.weight", 7), ("norm.bias", 8)] {
                store
                    .get(name)
                    .unwrap()
                    .set(&pattern(&[co], salt).unwrap().to_dtype(dtype).unwrap())
                    .unwrap();
            }
            let x =
                Var::from_tensor(&pattern(&[3, ci, 5, 6, 7], 1).unwrap().to_dtype(dtype).unwrap()).unwrap();
            let y = match (one, relu) {
                (true, _) => conv.forward_norm(&x, &norm, relu, true).unwrap(),
                (false, false) => norm.forward(&conv.forward(&x).unwrap(), true).unwrap(),
                (false, true) => {
                    crate::relu(&norm.forward(&conv.forward(&x).unwrap(), true).unwrap()).unwrap()
                }
            };
            let cotangent = pattern(y.dims(), 4).unwrap().to_dtype(dtype).unwrap();
            let grads = (&y * cotangent).unwrap().sum_all().unwrap().backward().unwrap();
            let mut all = vec![("y".to_string(), y), ("x".to_string(), grads.get(&x).unwrap().clone())];
            for (name, var) in store.trainable() {
                all.push((name, grads.get(&var).unwrap().clone()));
            }
            for name in ["norm.running_mean", "norm.running_var"] {
                all.push((name.into(), store.get(name).unwrap().as_tensor().clone()));
            }
            all
        };
        for ((name, a), (_, b)) in run(true).iter().zip(&run(false)) {
            close(a, b, bound, &format!("{what}, {name}"));
        }
    }

    #[test]
    fn one_operation_equals_three() {
        for relu in [false, true] {
            for bias in [false, true] {
                check(DType::F64, (2, 3), 1, bias, relu, 1e-11);
                check(DType::F64, (3, 2), 2, bias, relu, 1e-11);
                check(DType::F32, (17, 20), 1, bias, relu, 2e-3);
            }
        }
    }

    #[test]
    fn evaluation_and_other_paddings_take_the_layers() {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F32, &device());
        let conv = Conv3dLayerConfig::new(1, 2, [3; 3]).build(vb.pp("conv")).unwrap();
        let norm = BatchNormConfig::new(2).build(vb.pp("norm")).unwrap();
        let x = pattern(&[1, 1, 4, 4, 4], 1).unwrap().to_dtype(DType::F32).unwrap();
        let exact = crate::relu(&norm.forward(&conv.forward(&x).unwrap(), false).unwrap()).unwrap();
        close(&conv.forward_norm(&x, &norm, true, false).unwrap(), &exact, 1e-9, "evaluation");
        let plain = BatchNormConfig::new(2).affine(false).build(vb.pp("plain")).unwrap();
        let exact = plain.forward(&conv.forward(&x).unwrap(), true).unwrap();
        close(&conv.forward_norm(&x, &plain, false, true).unwrap(), &exact, 1e-9, "no weights");
        let one = pattern(&[1, 1, 3, 3, 3], 1).unwrap().to_dtype(DType::F32).unwrap();
        assert!(conv.forward_norm(&one, &norm, true, true).is_err(), "one value per channel has no variance");
    }
}
