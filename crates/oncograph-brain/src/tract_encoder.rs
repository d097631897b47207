use crate::batches::Batches;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use oncograph_gnn::{Sequential, SequentialConfig};
use oncograph_losses::{Denominator, cross_view};
use oncograph_nn::Seed;
use oncograph_train::{Learner, StepLoss, Validation};
use serde::{Deserialize, Serialize};

/// Configuration of [`TractEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TractEncoderConfig {
    /// Widths of the encoder of the MRI's voxels, input first.
    pub mri: Vec<usize>,
    /// Widths of the encoder of the fractional anisotropy's voxels.
    pub fa: Vec<usize>,
    /// Widths of the projection heads, input first (G-19).
    pub projection: Vec<usize>,
    /// Τ; 0.1 (G-19).
    pub temperature: f64,
    /// What stands under the fraction of the contrastive loss (G-18).
    pub denominator: Denominator,
    /// Whether one tract in two patients is no negative; false, as published (G-19).
    pub mask_same_tract: bool,
}

impl Default for TractEncoderConfig {
    /// The published networks: 4000 voxels of the MRI and 1000 of the FA to 16 values each.
    fn default() -> Self {
        TractEncoderConfig {
            mri: vec![4000, 2048, 1024, 512, 128, 32, 16],
            fa: vec![1000, 1024, 512, 128, 32, 16],
            projection: vec![16, 64, 128],
            temperature: 0.1,
            denominator: Denominator::ExcludePositive,
            mask_same_tract: false,
        }
    }
}

impl TractEncoderConfig {
    /// Sets the widths of both encoders and of the projections.
    pub fn widths(
        mut self,
        mri: impl Into<Vec<usize>>,
        fa: impl Into<Vec<usize>>,
        projection: impl Into<Vec<usize>>,
    ) -> Self {
        (self.mri, self.fa, self.projection) = (mri.into(), fa.into(), projection.into());
        self
    }

    /// Sets τ.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets the denominator.
    pub fn denominator(mut self, denominator: Denominator) -> Self {
        self.denominator = denominator;
        self
    }

    /// Sets whether one tract in two patients is no negative.
    pub fn mask_same_tract(mut self, mask: bool) -> Self {
        self.mask_same_tract = mask;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "TractEncoder";
        for (field, widths) in [("mri", &self.mri), ("fa", &self.fa), ("projection", &self.projection)] {
            if widths.len() < 2 || widths.contains(&0) {
                let got = format!("{widths:?}");
                return Err(Error::config(NAME, field, "two or more numbers above 0", got));
            }
        }
        for (field, widths) in [("mri", &self.mri), ("fa", &self.fa)] {
            if widths.last() != self.projection.first() {
                let expected = format!("widths that end with the projection's {:?}", self.projection.first());
                return Err(Error::config(NAME, field, expected, format!("{widths:?}")));
            }
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::config(NAME, "temperature", "above 0", self.temperature));
        }
        Ok(())
    }

    /// Makes both encoders with their projections.
    ///
    /// # Errors
    /// As [`TractEncoderConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<TractEncoder> {
        self.validate()?;
        let net = |widths: &[usize], name: &str| SequentialConfig::new(widths).build(vb.pp(name));
        Ok(TractEncoder {
            config: self.clone(),
            mri: net(&self.mri, "mri")?,
            fa: net(&self.fa, "fa")?,
            mri_projection: net(&self.projection, "g_mri")?,
            fa_projection: net(&self.projection, "g_fa")?,
        })
    }
}

/// The encoder of the voxels of a tract, learned without labels: its output for the anatomical MRI should match a tract
/// with its own fractional anisotropy rather than with that of other tracts. Only [`TractEncoder::encode`], the MRI's half,
/// is used afterwards: its output is the tract's attribute v^E, so that a new patient needs no diffusion MRI.
///
/// Parameters: `mri.{2i}`, `fa.{2i}`, `g_mri.{2i}`, `g_fa.{2i}`.
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852. The printed index of the positive is read as the tract's own.
///
/// # Example
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_brain::TractEncoderConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let config = TractEncoderConfig::default().widths([40, 16], [10, 16], [16, 8]);
/// let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let mri = Tensor::ones((5, 40), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.encode(&mri)?.dims(), [5, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TractEncoder {
    config: TractEncoderConfig,
    mri: Sequential,
    fa: Sequential,
    mri_projection: Sequential,
    fa_projection: Sequential,
}

impl TractEncoder {
    /// v^E.
    ///
    /// # Shapes
    /// \[tracts, voxels\] -> \[tracts, attributes\]
    ///
    /// # Errors
    /// An error if the shape does not fit.
    pub fn encode(&self, mri: &Tensor) -> Result<Tensor> {
        Ok(self.mri.forward(mri)?)
    }

    /// L_edge of a batch of tracts; `tract` numbers them, so that the same tract in two patients is recognised.
    ///
    /// # Shapes
    /// `mri` \[tracts, voxels\], `fa` \[tracts, voxels\] -> scalar
    ///
    /// # Errors
    /// As [`cross_view`].
    pub fn loss(&self, mri: &Tensor, fa: &Tensor, tract: &[usize]) -> Result<Tensor> {
        let z = self.mri_projection.forward(&self.encode(mri)?)?;
        let other = self.fa_projection.forward(&self.fa.forward(fa)?)?;
        let c = &self.config;
        let group = c.mask_same_tract.then_some(tract);
        Ok(cross_view(&z, &other, c.temperature, c.denominator, group)?)
    }
}

/// What a [`TractLearner`] learns from: a row for each tract of each patient.
#[derive(Debug, Clone)]
pub struct TractData {
    /// The voxels of the MRI \[rows, voxels\].
    pub mri: Tensor,
    /// The voxels of the fractional anisotropy \[rows, voxels\].
    pub fa: Tensor,
    /// The number of each row's tract.
    pub tract: Vec<usize>,
}

/// The training of a [`TractEncoder`] in batches of tracts.
#[derive(Debug)]
pub struct TractLearner<'a> {
    model: &'a TractEncoder,
    data: TractData,
    batches: Batches,
    validation: Vec<u32>,
    seen: (f64, usize),
}

impl<'a> TractLearner<'a> {
    /// A learner over rows: those of `validation` are scored, and all others trained on; without any the score is the
    /// mean training loss of the epoch (G-24).
    ///
    /// # Errors
    /// [`Error::Input`] if lengths differ or fewer than two rows are left to train on.
    pub fn new(
        model: &'a TractEncoder,
        data: TractData,
        validation: &[u32],
        batch: usize,
        seed: Seed,
    ) -> Result<Self> {
        const OP: &str = "TractLearner";
        let (rows, fa) = (data.mri.dim(0)?, data.fa.dim(0)?);
        if fa != rows || data.tract.len() != rows {
            let got = format!("{fa} of the FA and {} numbers", data.tract.len());
            return Err(Error::input(OP, format!("{rows} tracts"), got));
        }
        let train = (0..rows as u32).filter(|r| !validation.contains(r)).collect();
        let batches = Batches::new(OP, train, batch, 2, seed)?;
        Ok(TractLearner { model, data, batches, validation: validation.to_vec(), seen: (0.0, 0) })
    }

    fn loss(&self, rows: &[u32]) -> Result<Tensor> {
        let TractData { mri, fa, tract } = &self.data;
        let index = Tensor::from_slice(rows, rows.len(), mri.device())?;
        let tract: Vec<usize> = rows.iter().map(|r| tract[*r as usize]).collect();
        self.model.loss(&mri.index_select(&index, 0)?, &fa.index_select(&index, 0)?, &tract)
    }
}

impl Learner for TractLearner<'_> {
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
        let score = match self.validation.len() < 2 {
            true => self.seen.0 / self.seen.1.max(1) as f64,
            false => self.loss(&self.validation)?.to_dtype(DType::F64)?.to_scalar()?,
        };
        Ok(Validation { score, parts: vec![] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::optim::AdamConfig;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, testing};
    use oncograph_train::{FitConfig, OptimizerConfig, StopFlag, fit};

    /// Section 3.
    #[test]
    fn parameter_counts_equal_the_specification() {
        let store = ParamStore::new(Seed::new(0));
        TractEncoderConfig::default().build(store.var_builder(DType::F32, &device())).unwrap();
        let parameters = |prefix: &str| -> usize {
            let those = store.trainable().into_iter().filter(|(n, _)| n.starts_with(prefix));
            those.map(|(_, v)| v.elem_count()).sum()
        };
        assert_eq!(parameters("mri."), 10_887_344);
        assert_eq!(parameters("fa."), 1_620_144);
        assert_eq!(parameters("g_mri."), 16 * 64 + 64 + 64 * 128 + 128);
    }

    #[test]
    fn a_tract_is_found_by_its_anisotropy() {
        let store = ParamStore::new(Seed::new(2));
        let config = TractEncoderConfig::default().widths([8, 12, 4], [3, 12, 4], [4, 8]);
        let model = config.mask_same_tract(true).build(store.var_builder(DType::F32, &device())).unwrap();
        // The FA is a part of what the MRI shows; tracts repeat in "patients".
        let value = |i: usize, k: usize| ((i % 12 * 5 + k * 3) as f32 * 0.9).sin();
        let mri: Vec<f32> = (0..24).flat_map(|i| (0..8).map(move |k| value(i, k))).collect();
        let fa: Vec<f32> = (0..24).flat_map(|i| (0..3).map(move |k| value(i, k + 2))).collect();
        let mri = Tensor::from_vec(mri, (24, 8), &device()).unwrap();
        let fa = Tensor::from_vec(fa, (24, 3), &device()).unwrap();
        let tract: Vec<usize> = (0..24).map(|i| i % 12).collect();
        testing::assert_gradient_coverage(&store, &model.loss(&mri, &fa, &tract).unwrap()).unwrap();
        let mut learner =
            TractLearner::new(&model, TractData { mri, fa, tract }, &[], 12, Seed::new(1)).unwrap();
        let config = FitConfig::new(60, OptimizerConfig::Adam(AdamConfig::new(0.01)));
        let outcome = fit(&mut learner, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
        let last = outcome.history[outcome.best_epoch].score;
        // Without knowledge: the log of some ten negatives. Below 0, the own one is more alike than all others together.
        assert!(outcome.history[0].score > 1.0 && last < 0.0, "{} {last}", outcome.history[0].score);
    }

    #[test]
    fn widths_that_do_not_meet_are_refused() {
        let config = TractEncoderConfig::default().widths([8, 4], [3, 5], [4, 8]);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with("TractEncoder: fa must be widths that end with"), "{error}");
        assert!(TractEncoderConfig::default().temperature(0.0).validate().is_err());
    }
}
