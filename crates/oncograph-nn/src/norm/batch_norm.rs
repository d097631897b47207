use super::standardize::{Moments, standardize};
use super::{affine, check_channels, check_eps};
use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`BatchNorm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchNormConfig {
    /// How many channels.
    pub channels: usize,
    /// Added to the variance; 1e-5.
    pub eps: f64,
    /// The weight of a new batch in the running statistics; `None` averages all batches alike; 0.1.
    pub momentum: Option<f64>,
    /// Whether the layer has `weight` and `bias` per channel; true.
    pub affine: bool,
    /// Whether the layer keeps running statistics; without them it takes the batch's in evaluation too; true.
    #[serde(default = "yes")]
    pub track_running_stats: bool,
}

fn yes() -> bool {
    true
}

impl BatchNormConfig {
    /// A layer for this number of channels.
    pub fn new(channels: usize) -> Self {
        BatchNormConfig { channels, eps: 1e-5, momentum: Some(0.1), affine: true, track_running_stats: true }
    }

    /// Sets the term that is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Sets the weight of a new batch; `None` averages all batches alike.
    pub fn momentum(mut self, momentum: Option<f64>) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets whether the layer has `weight` and `bias`.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Sets whether the layer keeps running statistics.
    pub fn track_running_stats(mut self, track_running_stats: bool) -> Self {
        self.track_running_stats = track_running_stats;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if self.channels == 0 {
            return Err(Error::config("BatchNorm", "channels", "at least 1", self.channels));
        }
        match self.momentum {
            Some(m) if !(0.0..=1.0).contains(&m) => {
                Err(Error::config("BatchNorm", "momentum", "in [0, 1]", m))
            }
            _ => check_eps("BatchNorm", self.eps),
        }
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// As [`BatchNormConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<BatchNorm> {
        self.validate()?;
        let running = self.track_running_stats.then(|| self.running(&vb)).transpose()?;
        Ok(BatchNorm { affine: affine(self.channels, self.affine, &vb)?, running, config: self.clone() })
    }

    fn running(&self, vb: &VarBuilder) -> Result<Running> {
        let buffer = |name, value| -> Result<Var> {
            Ok(Var::from_tensor(&vb.get_with_hints(self.channels, name, Init::Const(value))?)?)
        };
        let counter = "num_batches_tracked";
        let count = match vb.get_with_hints_dtype((), counter, Init::Const(0.0), DType::I64) {
            Ok(count) => count,
            // Checkpoints from before PyTorch 0.4.1 have no counter; they start at 0, as PyTorch loads them.
            Err(_) if !vb.contains_tensor(counter) => Tensor::zeros((), DType::I64, vb.device())?,
            Err(error) => return Err(error.into()),
        };
        Ok(Running {
            mean: buffer("running_mean", 0.0)?,
            var: buffer("running_var", 1.0)?,
            num_batches_tracked: Var::from_tensor(&count)?,
        })
    }
}

/// `(x - mean) / sqrt(var + eps) * weight + bias` per channel, for inputs of rank 2 to 5.
///
/// Training takes the batch's mean and biased variance and moves `running_mean` and `running_var` (with the
/// unbiased variance) towards them; evaluation takes the running ones.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::norm::BatchNormConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let norm = BatchNormConfig::new(1).build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::new(&[[1f32], [3.0]], &Device::Cpu)?;
/// norm.forward(&x, true)?;
/// let mean = store.get("running_mean").ok_or("no buffer")?.to_vec1::<f32>()?;
/// assert!((mean[0] - 0.2).abs() < 1e-6); // 0.9 * 0 + 0.1 * 2
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Ioffe and Szegedy 2015; `torch.nn.BatchNorm1d`, `2d`, `3d`.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    config: BatchNormConfig,
    affine: Option<(Tensor, Tensor)>,
    running: Option<Running>,
}

#[derive(Debug, Clone)]
struct Running {
    mean: Var,
    var: Var,
    num_batches_tracked: Var,
}

impl BatchNorm {
    /// Normalises every channel; `train` chooses the batch's statistics and updates the running ones.
    ///
    /// # Shapes
    /// `x` \[batch, channels, ..\] gives the same shape.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of channels, or if a training batch has a single value per channel,
    /// whose variance is unknown.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_then(x, train, false)
    }

    /// [`BatchNorm::forward`], or the positive part of it with `relu`.
    pub(crate) fn forward_then(&self, x: &Tensor, train: bool, relu: bool) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(y) = self.on_device(x, train, relu)? {
            return Ok(y);
        }
        let y = self.composed(x, train)?;
        if relu { crate::relu(&y) } else { Ok(y) }
    }

    /// By the kernels of a CUDA device; none where they do not take `x`.
    #[cfg(feature = "cuda")]
    fn on_device(&self, x: &Tensor, train: bool, relu: bool) -> Result<Option<Tensor>> {
        use super::on_device::{Grouping, Layer, Source, takes};
        let running = self.running.as_ref().map(Running::on_device);
        let numbers = running.iter().flat_map(|r| [r.mean, r.var]);
        if !takes(x, numbers.chain(self.affine().into_iter().flat_map(|(w, b)| [w, b]))) {
            return Ok(None);
        }
        self.check(x, train)?;
        let channels = self.config.channels;
        let (outer, size) = (x.dims()[0], x.elem_count() / channels);
        let groups = Grouping { outer, groups: channels, inner: size / outer.max(1) };
        let layer = Layer { groups, weights: groups, affine: self.affine(), eps: self.config.eps, relu };
        let source = match running {
            Some(running) if train => Source::Learn(running, self.config.momentum),
            Some(running) => Source::Running(running),
            None => Source::Input,
        };
        Ok(Some(layer.forward(x, source)?))
    }

    /// That `x` has the channels of the layer, and to train on more than one value of each.
    fn check(&self, x: &Tensor, train: bool) -> Result<()> {
        check_channels("BatchNorm", x, self.config.channels)?;
        if train && x.elem_count() / self.config.channels < 2 {
            let expected = "more than one value per channel in training";
            return Err(Error::shape("BatchNorm", expected, x.dims()));
        }
        Ok(())
    }

    fn composed(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let channels = self.config.channels;
        check_channels("BatchNorm", x, channels)?;
        let batch = x.dims()[0];
        let flat = x.reshape((batch, channels, x.elem_count() / (batch * channels).max(1)))?;
        let fixed = self.running.as_ref().filter(|_| !train);
        let moments = match fixed {
            Some(running) => Moments { mean: values(&running.mean)?, var: values(&running.var)? },
            None if train => self.learn(x, None)?,
            None => Moments::of(&flat)?,
        };
        Ok(standardize(&flat, self.affine(), moments, self.config.eps, fixed.is_none())?
            .reshape(x.shape())?)
    }

    /// The moments of a training batch, towards which the running ones are moved; those include a constant per channel that
    /// `x` lacks and `shift` gives.
    pub(crate) fn learn(&self, x: &Tensor, shift: Option<&[f64]>) -> Result<Moments> {
        let channels = self.config.channels;
        self.check(x, true)?;
        let count = x.elem_count() / channels;
        let batch = x.dims()[0];
        let moments = Moments::of(&x.reshape((batch, channels, count / batch))?)?;
        if let Some(running) = &self.running {
            let mut seen = moments.clone();
            seen.mean.iter_mut().zip(shift.unwrap_or(&[])).for_each(|(m, s)| *m += s);
            running.update(&seen, count, self.config.momentum)?;
        }
        Ok(moments)
    }

    /// `weight` and `bias`.
    pub(crate) fn affine(&self) -> Option<(&Tensor, &Tensor)> {
        self.affine.as_ref().map(|(w, b)| (w, b))
    }

    pub(crate) fn eps(&self) -> f64 {
        self.config.eps
    }

    /// The factor and offset per channel that evaluation amounts to: `y = factor * x + offset`.
    ///
    /// With them an inference pass can fold the layer into the convolution before it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a layer without running statistics, or an error of candle.
    pub fn factor_and_offset(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let Some(running) = &self.running else {
            return Err(Error::config("BatchNorm", "track_running_stats", "true to be folded", false));
        };
        let (mean, var) = (values(&running.mean)?, values(&running.var)?);
        let (weight, bias) = match &self.affine {
            Some((w, b)) => (values(w)?, values(b)?),
            None => (vec![1.0; mean.len()], vec![0.0; mean.len()]),
        };
        let factor: Vec<f64> =
            weight.iter().zip(&var).map(|(w, v)| w / (v + self.config.eps).sqrt()).collect();
        let offset = bias.iter().zip(&mean).zip(&factor).map(|((b, m), f)| b - m * f).collect();
        Ok((factor, offset))
    }
}

impl Running {
    #[cfg(feature = "cuda")]
    fn on_device(&self) -> super::on_device::Running<'_> {
        super::on_device::Running { mean: &self.mean, var: &self.var, batches: &self.num_batches_tracked }
    }

    fn update(&self, batch: &Moments, count: usize, momentum: Option<f64>) -> Result<()> {
        let seen = self.num_batches_tracked.to_scalar::<i64>()? + 1;
        self.num_batches_tracked.set(&Tensor::new(seen, self.num_batches_tracked.device())?)?;
        let share = momentum.unwrap_or(1.0 / seen as f64);
        let unbiased = count as f64 / (count as f64 - 1.0);
        let new_var: Vec<f64> = batch.var.iter().map(|v| v * unbiased).collect();
        for (running, new) in [(&self.mean, &batch.mean), (&self.var, &new_var)] {
            let old = values(running)?;
            let mixed: Vec<f64> = old.iter().zip(new).map(|(o, n)| (1.0 - share) * o + share * n).collect();
            let mixed = Tensor::from_vec(mixed, running.shape(), running.device())?;
            running.set(&mixed.to_dtype(running.dtype())?)?;
        }
        Ok(())
    }
}

impl candle_nn::ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        Ok(self.forward(x, train)?)
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient_coverage, check_gradients, device, pattern};
    use crate::{ParamStore, Seed};

    fn layer(store: &ParamStore) -> BatchNorm {
        BatchNormConfig::new(3).build(store.var_builder(DType::F64, &device())).unwrap()
    }

    #[test]
    fn gradients_at_every_rank() {
        let store = ParamStore::new(Seed::new(1));
        let norm = layer(&store);
        for shape in [&[4, 3][..], &[2, 3, 2], &[2, 3, 2, 2], &[2, 3, 2, 1, 2]] {
            let x = pattern(shape, 1).unwrap();
            for train in [true, false] {
                check_gradients(|x| norm.forward(&x[0], train), std::slice::from_ref(&x), 1e-6, 1e-6)
                    .unwrap();
            }
        }
    }

    #[test]
    fn weight_and_bias_get_gradients_and_buffers_do_not() {
        let store = ParamStore::new(Seed::new(1));
        let norm = layer(&store);
        let x = pattern(&[4, 3, 2], 1).unwrap();
        let y = norm.forward(&x, true).unwrap();
        let loss = (&y * pattern(&[4, 3, 2], 2).unwrap()).unwrap().sum_all().unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
        assert_eq!(store.trainable().len(), 2);
        assert_eq!(store.get("num_batches_tracked").unwrap().to_scalar::<i64>().unwrap(), 1);
    }

    #[test]
    fn evaluation_is_factor_times_x_plus_offset() {
        let store = ParamStore::new(Seed::new(1));
        let norm = layer(&store);
        let x = pattern(&[4, 3, 2], 1).unwrap();
        for _ in 0..3 {
            norm.forward(&x, true).unwrap();
        }
        let (factor, offset) = norm.factor_and_offset().unwrap();
        let y = norm.forward(&x, false).unwrap().to_vec3::<f64>().unwrap();
        let x = x.to_vec3::<f64>().unwrap();
        for c in 0..3 {
            approx::assert_relative_eq!(y[2][c][1], factor[c] * x[2][c][1] + offset[c], epsilon = 1e-12);
        }
    }

    #[test]
    fn without_running_statistics_every_batch_is_its_own() {
        let store = ParamStore::new(Seed::new(1));
        let config = BatchNormConfig::new(3).track_running_stats(false);
        let norm = config.build(store.var_builder(DType::F64, &device())).unwrap();
        assert_eq!(store.names(), ["bias", "weight"]);
        let x = pattern(&[4, 3, 2], 1).unwrap();
        let run = |train| norm.forward(&x, train).unwrap().to_vec3::<f64>().unwrap();
        assert_eq!(run(true), run(false));
        check_gradients(|x| norm.forward(&x[0], false), &[x], 1e-6, 1e-6).unwrap();
        assert!(norm.factor_and_offset().is_err());
    }

    #[test]
    fn a_single_value_per_channel_cannot_train() {
        let store = ParamStore::new(Seed::new(1));
        let error = layer(&store).forward(&pattern(&[1, 3, 1], 1).unwrap(), true).unwrap_err();
        assert!(error.to_string().contains("more than one value per channel"));
    }
}
