//! A variant's network on what a split's training patients say, before training.

use crate::cohort::{Cohort, Prepared};
use crate::config::RunConfig;
use crate::variants::Variant;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use oncograph::nn::{ParamStore, Seed};
use oncograph::omics::{
    Ablate, Contrast, FlatNet, MultiTaskLoss, MultimodalConfig, OmicsLearner, OmicsModel, SharedGraphs,
};

/// A model with everything that it is trained with.
pub struct Network {
    pub prepared: Prepared,
    pub shape: MultimodalConfig,
    pub graphs: SharedGraphs,
    pub store: ParamStore,
    pub model: Box<dyn OmicsModel>,
    weights: MultiTaskLoss,
    contrast: Option<Contrast>,
    seed: Seed,
}

impl Network {
    /// The network of a variant, with scalers and selections fitted on `train`; `name` is that of its stream of random
    /// numbers.
    pub fn new(
        config: &RunConfig,
        cohort: &Cohort,
        variant: &Variant,
        train: &[usize],
        name: &str,
    ) -> anyhow::Result<Self> {
        let prepared = Prepared::fit(config, cohort, train)?;
        let seed = Seed::new(config.seed).stream(name);
        let (mut shape, mut graphs) = (prepared.model.clone(), prepared.graphs.clone());
        match variant {
            Variant::Shuffled => graphs = prepared.shuffled(seed.stream("edges")),
            Variant::Unimodal(m) => shape = shape.only(&[m])?,
            Variant::NoIntra => shape = shape.ablate(Ablate { intra: true, inter: false }),
            Variant::NoInter => shape = shape.ablate(Ablate { intra: false, inter: true }),
            Variant::Single(task) => shape.tasks.retain(|t| t.name == *task),
            _ => {}
        }
        let store = ParamStore::new(seed.stream("network"));
        let vb = store.var_builder(DType::F32, &Device::Cpu);
        let flat = matches!(variant, Variant::Attention | Variant::Unimodal(_));
        let model: Box<dyn OmicsModel> = match flat {
            true => Box::new(FlatNet::new(&shape, vb.clone())?),
            false => Box::new(shape.build(vb.clone())?),
        };
        let weights = MultiTaskLoss::new(config.weighting.clone(), &shape, vb.clone())?;
        let contrast = match &config.contrast {
            Some(c) if !flat && *variant != Variant::NoContrast => Some(Contrast::new(c, shape.hidden, vb)?),
            _ => None,
        };
        Ok(Network { prepared, shape, graphs, store, model, weights, contrast, seed })
    }

    /// The model as it is now, with parameters that take no gradient: what inputs are explained by.
    pub fn frozen(&self) -> anyhow::Result<Box<dyn OmicsModel>> {
        let vb = VarBuilder::from_tensors(self.store.snapshot()?, DType::F32, &Device::Cpu);
        Ok(Box::new(self.shape.build(vb)?))
    }

    /// What trains it on some patients and stops on others.
    pub fn learner<'a>(
        &'a self,
        config: &RunConfig,
        cohort: &'a Cohort,
        (train, validation): (&[usize], &[usize]),
    ) -> anyhow::Result<OmicsLearner<'a>> {
        Ok(OmicsLearner::new(
            self.model.as_ref(),
            &self.prepared.source,
            &self.graphs,
            &cohort.targets,
            &self.weights,
            self.contrast.as_ref(),
            (train, validation),
            config.batch,
            self.seed,
        )?)
    }
}
