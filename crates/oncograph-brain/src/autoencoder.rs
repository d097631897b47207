use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use oncograph_gnn::{Sequential, SequentialConfig};
use oncograph_train::{Learner, StepLoss, Validation};
use serde::{Deserialize, Serialize};

use crate::batches::Batches;

/// Configuration of [`Autoencoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AutoencoderConfig {
    /// Widths of the encoder, input first; the decoder has them in reverse.
    pub widths: Vec<usize>,
}

impl Default for AutoencoderConfig {
    /// The published network of a region: 4000 values to 16.
    fn default() -> Self {
        AutoencoderConfig { widths: vec![4000, 2048, 1024, 512, 128, 32, 16] }
    }
}

impl AutoencoderConfig {
    /// Sets the widths.
    pub fn widths(mut self, widths: impl Into<Vec<usize>>) -> Self {
        self.widths = widths.into();
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] for fewer than two widths, or one of 0.
    pub fn validate(&self) -> Result<()> {
        if self.widths.len() < 2 || self.widths.contains(&0) {
            let got = format!("{:?}", self.widths);
            return Err(Error::config("Autoencoder", "widths", "two or more numbers above 0", got));
        }
        Ok(())
    }

    /// Makes the autoencoder.
    ///
    /// # Errors
    /// As [`AutoencoderConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<Autoencoder> {
        self.validate()?;
        let back: Vec<usize> = self.widths.iter().rev().copied().collect();
        Ok(Autoencoder {
            encoder: SequentialConfig::new(self.widths.clone()).build(vb.pp("encoder"))?,
            decoder: SequentialConfig::new(back).build(vb.pp("decoder"))?,
        })
    }
}

/// The autoencoder of the voxels of a brain region: linear layers with ReLU between, the bottleneck and the output
/// linear (G-22). Its bottleneck is the region's attribute v^N.
///
/// Parameters: `encoder.{2i}`, `decoder.{2i}`.
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852.
///
/// # Example
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_brain::AutoencoderConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let model = AutoencoderConfig::default().widths([40, 8, 4]).build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let regions = Tensor::ones((90, 40), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.encode(&regions)?.dims(), [90, 4]);
/// assert_eq!(model.forward(&regions)?.dims(), [90, 40]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Autoencoder {
    encoder: Sequential,
    decoder: Sequential,
}

impl Autoencoder {
    /// v^N.
    ///
    /// # Shapes
    /// \[regions, first width\] -> \[regions, last width\]
    ///
    /// # Errors
    /// An error if the shape does not fit.
    pub fn encode(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.encoder.forward(x)?)
    }

    /// The reconstruction.
    ///
    /// # Shapes
    /// \[regions, first width\] -> the same
    ///
    /// # Errors
    /// An error if the shape does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.decoder.forward(&self.encode(x)?)?)
    }
}

/// The training of an [`Autoencoder`]: mean squared error of the reconstruction, in batches of regions.
#[derive(Debug)]
pub struct AutoencoderLearner<'a> {
    model: &'a Autoencoder,
    regions: Tensor,
    batches: Batches,
    validation: Vec<u32>,
    seen: (f64, usize),
}

impl<'a> AutoencoderLearner<'a> {
    /// A learner over `regions` \[rows, voxels\]; rows `validation` are scored, and all others trained on. Without any
    /// the score is the mean training loss of the epoch (G-24).
    ///
    /// # Errors
    /// [`Error::Input`] if there are no rows to train on.
    pub fn new(
        model: &'a Autoencoder,
        regions: Tensor,
        validation: &[u32],
        batch: usize,
        seed: oncograph_nn::Seed,
    ) -> Result<Self> {
        let train = (0..regions.dim(0)? as u32).filter(|r| !validation.contains(r)).collect();
        let batches = Batches::new("AutoencoderLearner", train, batch, 1, seed)?;
        Ok(AutoencoderLearner { model, regions, batches, validation: validation.to_vec(), seen: (0.0, 0) })
    }

    fn loss(&self, rows: &[u32]) -> Result<Tensor> {
        let index = Tensor::from_slice(rows, rows.len(), self.regions.device())?;
        let x = self.regions.index_select(&index, 0)?;
        Ok((self.model.forward(&x)? - x)?.sqr()?.mean_all()?)
    }
}

impl Learner for AutoencoderLearner<'_> {
    fn steps(&self, _epoch: usize) -> usize {
        self.batches.steps()
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        if step == 0 {
            self.seen = (0.0, 0);
        }
        let loss = self.loss(&self.batches.at(epoch, step))?;
        let value: f64 = loss.to_dtype(DType::F64)?.to_scalar()?;
        self.seen = (self.seen.0 + value, self.seen.1 + 1);
        Ok(StepLoss { loss, parts: vec![] })
    }

    fn validate(&mut self, _epoch: usize) -> oncograph_train::Result<Validation> {
        let score = match self.validation.is_empty() {
            true => self.seen.0 / self.seen.1.max(1) as f64,
            false => self.loss(&self.validation)?.to_dtype(DType::F64)?.to_scalar()?,
        };
        Ok(Validation { score, parts: vec![] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use oncograph_nn::optim::AdamConfig;
    use oncograph_nn::{ParamStore, Seed, testing};
    use oncograph_train::{FitConfig, OptimizerConfig, StopFlag, fit};

    /// Section 3.
    #[test]
    fn parameter_counts_equal_the_specification() {
        let store = ParamStore::new(Seed::new(0));
        AutoencoderConfig::default().build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        assert_eq!(store.parameter_count(), 21_778_672);
        let encoder = store.trainable().into_iter().filter(|(n, _)| n.starts_with("encoder."));
        assert_eq!(encoder.map(|(_, v)| v.elem_count()).sum::<usize>(), 10_887_344);
    }

    #[test]
    fn learns_to_reconstruct() {
        let store = ParamStore::new(Seed::new(2));
        let config = AutoencoderConfig::default().widths([12, 8, 2]);
        let model = config.build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        // Two numbers make each row.
        let rows: Vec<f32> = (0..30)
            .flat_map(|i| {
                let (a, b) = ((i as f32).sin(), (i as f32 * 0.4).cos());
                (0..12).map(move |k| a * (k as f32 / 6.0 - 1.0) + b * if k % 2 == 0 { 1.0 } else { -1.0 })
            })
            .collect();
        let rows = Tensor::from_vec(rows, (30, 12), &Device::Cpu).unwrap();
        testing::assert_gradient_coverage(
            &store,
            &model.forward(&rows).unwrap().sqr().unwrap().sum_all().unwrap(),
        )
        .unwrap();
        let mut learner = AutoencoderLearner::new(&model, rows, &[3, 9], 7, Seed::new(1)).unwrap();
        assert_eq!(learner.steps(0), 4);
        let config = FitConfig::new(120, OptimizerConfig::Adam(AdamConfig::new(0.01)));
        let outcome = fit(&mut learner, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
        let best = outcome.history[outcome.best_epoch].score;
        assert!(best < 0.3 * outcome.history[0].score, "{} {best}", outcome.history[0].score);
    }

    #[test]
    fn a_single_width_is_refused() {
        let error = AutoencoderConfig::default().widths([4]).validate().unwrap_err().to_string();
        assert_eq!(error, "Autoencoder: widths must be two or more numbers above 0, got [4]");
    }
}
