use super::{Scaled, answers};
use crate::pipeline::GliomaCohort;
use crate::presets::EmbeddingVector::Both;
use crate::stages::{GliomaStages, TrainedGliomaNet};
use crate::{Result, SvmHead};
use oncograph_core::Split;
use oncograph_study::{Answers, Fitted, Job, System};
use std::sync::Arc;

/// A support vector machine on the embeddings, fitted on half B.
#[derive(Debug, Clone)]
pub struct SvmSystem<'s>(&'s GliomaStages<'s>);

impl<'s> SvmSystem<'s> {
    /// The head on the configured network.
    pub fn new(stages: &'s GliomaStages<'s>) -> Self {
        SvmSystem(stages)
    }

    fn train(&self, data: &GliomaCohort, split: &Split) -> Result<SvmFitted> {
        let config = self.0.config();
        let net = self.0.net(data, split, &config.model)?;
        let rows = self.0.scaled(&net.embeddings.rows(Both), &split.validation)?;
        let labels = data.mutants(&split.validation);
        let patients = data.numbers_of(&split.validation);
        let svm = config.svm.fit_by_patient(&rows.bank, &labels, &patients, self.0.head_seed("svm"))?;
        Ok(SvmFitted { net, rows, svm })
    }
}

impl System for SvmSystem<'_> {
    type Data = GliomaCohort;
    type Fitted = SvmFitted;

    fn fit(
        &self,
        data: &GliomaCohort,
        split: &Split,
        _job: &mut Job<'_>,
    ) -> oncograph_study::Result<SvmFitted> {
        Ok(self.train(data, split)?)
    }
}

/// A fitted [`SvmSystem`].
pub struct SvmFitted {
    net: Arc<TrainedGliomaNet>,
    rows: Scaled,
    svm: SvmHead,
}

impl Fitted<GliomaCohort> for SvmFitted {
    fn answer(&self, _data: &GliomaCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        let rows = self.rows.apply(&self.net.embeddings.rows(Both), rows)?;
        let all = rows.iter().map(|r| self.svm.probability(r)).collect::<Result<Vec<f64>>>()?;
        Ok(answers(all))
    }
}
