use crate::trained::{build, head_values};
use crate::{
    AugmentConfig, CtFeatures, Error, Result, STG_TASKS, StgCohort, StgData, StgLearner, StgPipeline,
    StgSystemConfig, TrainedStg,
};
use oncograph_core::{Seed, Split};
use oncograph_study::{Answer, Answers, Cohort, Fitted, Job, JobResult, StudyResults, System};
use oncograph_train::{FitConfig, FitOutcome};
use serde::{Deserialize, Serialize};

/// The features of a node where there are no images to give their number.
const WITHOUT_IMAGES: usize = 64;

/// The shares of anatomical nodes that are removed for the robustness curve.
const DROP: [f64; 5] = [0.1, 0.2, 0.3, 0.4, 0.5];

/// STG as a system of a study: its pipeline, its network and its training.
///
/// # Example
/// ```
/// use oncograph_spatiotemporal::{StgPreset, StgSystem, StgSystemConfig};
///
/// let stg = StgSystem::new(StgSystemConfig::new(StgPreset::Quick));
/// let ablated = stg.without_images(); // the same but for the image nodes
/// # let _ = ablated;
/// ```
#[derive(Debug, Clone)]
pub struct StgSystem {
    config: StgSystemConfig,
    images: bool,
}

impl StgSystem {
    /// The system with all nodes.
    pub fn new(config: StgSystemConfig) -> Self {
        StgSystem { config, images: true }
    }

    /// The same system on the clinical node alone, which a cohort without images needs.
    pub fn without_images(&self) -> Self {
        StgSystem { config: self.config.clone(), images: false }
    }

    fn train(&self, data: &StgCohort, split: &Split, job: &mut Job<'_>) -> Result<FittedStg> {
        self.config.validate()?;
        let (chosen, outcome) = self.train_on(data, split, job, &self.config.fit)?;
        if !self.config.refit {
            return Ok(chosen);
        }
        let kept = outcome.history.iter().take(outcome.best_epoch + 1);
        let fit = self.config.fit.clone().replay(kept.map(|epoch| epoch.learning_rate).collect());
        let mut all = split.clone();
        all.train.extend(&split.validation);
        all.train.sort_unstable();
        let mut again = job.inner("refit");
        let (fitted, _) = self.train_on(data, &all, &mut again, &fit)?;
        std::fs::remove_file(again.file("checkpoint.safetensors")).ok();
        Ok(fitted)
    }

    /// Trained on the training patients of `split`, and watched on its validation patients.
    fn train_on(
        &self,
        data: &StgCohort,
        split: &Split,
        job: &mut Job<'_>,
        fit: &FitConfig,
    ) -> Result<(FittedStg, FitOutcome)> {
        let (seed, device) = (job.seed(), job.device().clone());
        let all: Vec<usize> = (0..data.len()).collect();
        let images = self.images.then(|| data.images_of(&all)).transpose()?;
        let images: Option<&[&CtFeatures]> = images.as_deref();
        let pipeline = StgPipeline::fit(data.clinical(), images, &split.train, &self.config)?;
        let inputs = pipeline.apply(data.clinical(), images, &device)?;
        let mut model = self.config.model.clone();
        model.clinical = pipeline.covariates();
        model.features = pipeline.features().unwrap_or(WITHOUT_IMAGES);
        let (store, network) = build(&model, seed, &device)?;
        let training = self.config.training.clone();
        let (train, outcomes) = (&split.train, data.outcomes());
        let learned = StgData { table: &inputs.table, graphs: &inputs.graphs, outcomes };
        let mut learner = StgLearner::new(&network, learned, split, training, seed)?;
        let (outcome, _) = job.train(&mut learner, &store, fit)?;
        let scales = learner.scales();
        let training_outputs = head_values(&learner.output(train)?)?;
        let training = train.iter().map(|&i| outcomes[i]).collect();
        let model = TrainedStg { pipeline, network, store, scales, training, training_outputs, device };
        Ok((FittedStg { model, seed }, outcome))
    }
}

impl System for StgSystem {
    type Data = StgCohort;
    type Fitted = FittedStg;

    fn fit(&self, data: &StgCohort, split: &Split, job: &mut Job<'_>) -> oncograph_study::Result<FittedStg> {
        Ok(self.train(data, split, job)?)
    }
}

/// A trained model in its study.
#[derive(Debug)]
pub struct FittedStg {
    model: TrainedStg,
    seed: Seed,
}

/// What a model leaves for the report beside its answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StgExtras {
    /// How it ranks the held-out patients when anatomical nodes are lost; empty without image nodes.
    pub node_drop: Vec<NodeDrop>,
}

/// Predictions with a share of anatomical nodes removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeDrop {
    /// The probability that a node is removed.
    pub share: f64,
    /// The survival risk of each held-out patient.
    pub survival_risk: Vec<f64>,
}

impl FittedStg {
    /// The model alone.
    pub fn model(&self) -> &TrainedStg {
        &self.model
    }

    fn images<'a>(&self, data: &'a StgCohort, rows: &[usize]) -> Result<Option<Vec<&'a CtFeatures>>> {
        self.model.pipeline.has_images().then(|| data.images_of(rows)).transpose()
    }

    fn node_drop(&self, data: &StgCohort, rows: &[usize]) -> Result<Vec<NodeDrop>> {
        let Some(images) = self.images(data, rows)? else { return Ok(vec![]) };
        let clinical = data.clinical().select(rows);
        let inputs = self.model.pipeline.apply(&clinical, Some(&images), &self.model.device)?;
        let one = |share: f64| {
            let augment = AugmentConfig::default().strength(share, 0.0);
            let seed = self.seed.stream("node drop").at((share * 100.0) as u64);
            let views = inputs.graphs.iter().zip(rows);
            let views = views.map(|(graph, &row)| augment.remove_nodes(graph, seed.at(row as u64)));
            let views = views.collect::<Result<Vec<_>>>()?;
            let [_, survival] = self.model.predict_graphs(&inputs, &views.iter().collect::<Vec<_>>())?;
            Ok(NodeDrop { share, survival_risk: survival.into_iter().map(|p| p.risk).collect() })
        };
        DROP.into_iter().map(one).collect()
    }
}

impl Fitted<StgCohort> for FittedStg {
    fn answer(&self, data: &StgCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        let images = self.images(data, rows)?;
        let predictions = self.model.predict(&data.clinical().select(rows), images.as_deref())?;
        let answers = predictions.map(|task| task.into_iter().map(Into::into).collect());
        Ok(STG_TASKS.iter().map(|name| name.to_string()).zip(answers).collect())
    }

    fn extras(&self, data: &StgCohort, rows: &[usize]) -> oncograph_study::Result<serde_json::Value> {
        let extras = StgExtras { node_drop: self.node_drop(data, rows)? };
        serde_json::to_value(extras).map_err(oncograph_study::Error::system)
    }

    fn files(&self) -> oncograph_study::Result<Vec<(String, Vec<u8>)>> {
        let (json, tensors) = self.model.to_bytes()?;
        Ok(vec![("json".into(), json), ("safetensors".into(), tensors)])
    }

    fn parameters(&self) -> usize {
        self.model.parameter_count()
    }
}

/// The survival C-index of a model with a growing share of anatomical nodes removed, from none on, scored by the rule of
/// the study; empty for a model without image nodes.
///
/// # Errors
/// Results that are not those of an [`StgSystem`].
pub fn node_drop_curve(results: &StudyResults, data: &StgCohort, model: &str) -> Result<Vec<(f64, f64)>> {
    let (name, task) = (STG_TASKS[1], &data.tasks()[1]);
    let mut curve: Vec<(f64, f64)> = results.main_metric(model, task).map(|c| (0.0, c)).into_iter().collect();
    for (step, &share) in DROP.iter().enumerate() {
        let mut jobs = vec![];
        for job in results.of_model(model) {
            let extras: StgExtras = serde_json::from_value(job.extras.clone())
                .map_err(|e| Error::from(oncograph_study::Error::system(e)))?;
            let Some(drop) = extras.node_drop.get(step) else { return Ok(vec![]) };
            let risks = drop.survival_risk.iter().map(|&r| Answer::risk(r)).collect();
            jobs.push(JobResult { answers: Answers::from([(name.to_string(), risks)]), ..job.clone() });
        }
        curve.extend(results.with_only(jobs).main_metric(model, task).map(|c| (share, c)));
    }
    Ok(curve)
}
