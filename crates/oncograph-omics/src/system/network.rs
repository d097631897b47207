use crate::trained::TaskModel;
use crate::{
    Ablate, Contrast, FlatNet, MemoryCohort, MultiTaskLoss, OmicsData, OmicsLearner, OmicsModel,
    OmicsNetConfig, OmicsPipeline, OmicsStudyCohort, OmicsSystemConfig, OmicsVariant, Result, SharedGraphs,
};
use candle_core::{DType, Device};
use oncograph_core::Split;
use oncograph_nn::{ParamStore, Seed};
use oncograph_study::{Cohort, Target};
use oncograph_train::Parameters;
use std::collections::BTreeMap;

/// A variant's network with everything that it is trained with.
pub(super) struct Network {
    pub pipeline: OmicsPipeline,
    pub shape: OmicsNetConfig,
    pub store: ParamStore,
    source: MemoryCohort,
    targets: BTreeMap<String, Target>,
    graphs: SharedGraphs,
    model: Box<dyn OmicsModel>,
    weights: MultiTaskLoss,
    contrast: Option<Contrast>,
    flat: bool,
    batch: usize,
    /// The type of cancer of each patient, where steps are balanced over types.
    groups: Option<Vec<usize>>,
    seed: Seed,
}

impl Network {
    /// The network of a variant with its pipeline fitted on `train`; `only` keeps one of the tasks.
    pub fn new(
        (config, variant): (&OmicsSystemConfig, &OmicsVariant),
        cohort: &OmicsStudyCohort,
        train: &[usize],
        only: Option<&str>,
        (seed, device): (Seed, &Device),
    ) -> Result<Self> {
        let pipeline = OmicsPipeline::fit(cohort, config, train)?;
        let (mut shape, mut graphs) = (pipeline.net().clone(), pipeline.graphs()?);
        match variant {
            OmicsVariant::ShuffledEdges => graphs = graphs.shuffle_edges(seed.stream("edges")),
            OmicsVariant::Unimodal(m) => shape = shape.only(&[m])?,
            OmicsVariant::WithoutIntra => shape = shape.ablate(Ablate { intra: true, inter: false }),
            OmicsVariant::WithoutInter => shape = shape.ablate(Ablate { intra: false, inter: true }),
            _ => {}
        }
        if let Some(only) = only {
            shape.tasks.retain(|t| t.name == only);
        }
        let store = ParamStore::new(seed.stream("network"));
        let vb = store.var_builder(DType::F32, device);
        let flat = variant.is_flat();
        let model: Box<dyn OmicsModel> = match flat {
            true => Box::new(FlatNet::new(&shape, vb.clone())?),
            false => Box::new(shape.build(vb.clone())?),
        };
        let weights = MultiTaskLoss::new(config.weighting.clone(), &shape, vb.clone())?;
        let contrast = match &config.contrast {
            Some(c) if !flat && *variant != OmicsVariant::WithoutContrast => {
                Some(Contrast::new(c, shape.hidden, vb)?)
            }
            _ => None,
        };
        Ok(Network {
            source: pipeline.cohort(&cohort.dataset().cohort, device)?,
            targets: cohort.tasks().iter().map(|t| (t.name.clone(), t.target.clone())).collect(),
            batch: config.batch,
            groups: cohort.cancer_types().filter(|_| config.balance),
            pipeline,
            shape,
            store,
            graphs,
            model,
            weights,
            contrast,
            flat,
            seed,
        })
    }

    /// What trains it on the training patients of a split and is scored on its validation patients.
    pub fn learner(&self, split: &Split) -> Result<OmicsLearner<'_>> {
        let data = OmicsData { source: &self.source, graphs: &self.graphs, targets: &self.targets };
        let learner =
            OmicsLearner::new(self.model.as_ref(), data, &self.weights, split, self.batch, self.seed)?;
        let learner = match &self.groups {
            Some(groups) => learner.groups(split.train.iter().map(|p| groups[*p]).collect())?,
            None => learner,
        };
        Ok(match &self.contrast {
            Some(contrast) => learner.contrast(contrast),
            None => learner,
        })
    }

    /// The models that answer its tasks: each with the parameters of the epoch that was best for it, or with those that
    /// training left.
    pub fn answering(&self, best: &BTreeMap<String, Parameters>, device: &Device) -> Result<Vec<TaskModel>> {
        let left = self.store.snapshot()?;
        let model = |task: &crate::TaskConfig| {
            let parameters = best.get(&task.name).unwrap_or(&left).clone();
            let shape = (&self.shape, self.flat);
            TaskModel::new(task.clone(), shape, self.graphs.clone(), parameters, device)
        };
        self.shape.tasks.iter().map(model).collect()
    }
}
