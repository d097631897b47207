use super::{Scaled, answers, in_one_go, sigmoid};
use crate::pipeline::GliomaCohort;
use crate::presets::EmbeddingVector::Both;
use crate::stages::{GliomaStages, TrainedGliomaNet};
use crate::{BinaryLearner, BinaryTraining, GliomaNetConfig, Result, feature_matrix};
use candle_core::{DType, Device, Tensor};
use oncograph_core::Split;
use oncograph_nn::{Mlp, MlpConfig, Mode, ParamStore};
use oncograph_study::{Answers, Fitted, Job, System};
use std::sync::Arc;

/// A multi-layer perceptron on the embeddings of a multi-modal network, trained on half B.
#[derive(Debug, Clone)]
pub struct MlpHead<'s> {
    stages: &'s GliomaStages<'s>,
    stream: String,
    model: GliomaNetConfig,
}

impl<'s> MlpHead<'s> {
    /// The head on the configured network.
    pub fn new(stages: &'s GliomaStages<'s>) -> Self {
        MlpHead { stages, stream: "mlp".into(), model: stages.config().model.clone() }
    }

    /// Sets another network, which is trained on half A first; `name` is that of the stream of random numbers.
    pub fn network(mut self, name: impl Into<String>, model: GliomaNetConfig) -> Self {
        (self.stream, self.model) = (name.into(), model);
        self
    }

    fn train(&self, data: &GliomaCohort, split: &Split, job: &mut Job<'_>) -> Result<MlpFitted> {
        let (stages, config) = (self.stages, self.stages.config());
        let net = stages.net(data, split, &self.model)?;
        let rows = stages.scaled(&net.embeddings.rows(Both), &split.validation)?;
        let device = stages.device().clone();
        let seed = stages.head_seed(&self.stream);
        let store = ParamStore::new(seed);
        let width = rows.bank.first().map_or(0, Vec::len);
        let mlp = MlpConfig::new([width, config.mlp, 1]).build(store.var_builder(DType::F32, &device))?;
        let x = feature_matrix(&rows.bank, &device)?;
        let forward = |patients: &[u32], mode: Mode| -> Result<Tensor> {
            let index = Tensor::from_slice(patients, patients.len(), &device)?;
            Ok(mlp.forward(&x.index_select(&index, 0)?, mode)?.squeeze(1)?)
        };
        let inner = stages.inner(data, &split.validation, config.mlp_fit.keep, &self.stream);
        let labels: Vec<Option<bool>> = data.mutants(&split.validation).into_iter().map(Some).collect();
        let mut learner = BinaryLearner::new(forward, &labels, &inner, &BinaryTraining::new(), seed)?;
        job.train(&mut learner, &store, &in_one_go(&config.mlp_fit))?;
        drop(learner);
        Ok(MlpFitted { net, rows, mlp, parameters: store.parameter_count(), device })
    }
}

impl System for MlpHead<'_> {
    type Data = GliomaCohort;
    type Fitted = MlpFitted;

    fn fit(
        &self,
        data: &GliomaCohort,
        split: &Split,
        job: &mut Job<'_>,
    ) -> oncograph_study::Result<MlpFitted> {
        Ok(self.train(data, split, job)?)
    }
}

/// A trained [`MlpHead`].
pub struct MlpFitted {
    net: Arc<TrainedGliomaNet>,
    rows: Scaled,
    mlp: Mlp,
    parameters: usize,
    device: Device,
}

impl MlpFitted {
    fn probabilities(&self, rows: &[usize]) -> Result<Vec<f64>> {
        let x = feature_matrix(&self.rows.apply(&self.net.embeddings.rows(Both), rows)?, &self.device)?;
        let logits = self.mlp.forward(&x, Mode::Eval)?.squeeze(1)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        Ok(logits.into_iter().map(sigmoid).collect())
    }
}

impl Fitted<GliomaCohort> for MlpFitted {
    fn answer(&self, _data: &GliomaCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        Ok(answers(self.probabilities(rows)?))
    }

    fn parameters(&self) -> usize {
        self.parameters
    }
}
