use crate::attribution::{Attributions, AveragePatient, attributions};
use crate::missing::{MissingInput, missing_inputs};
use crate::trained::{build, head_values};
use crate::trajectory::{StepRisks, step_risks};
use crate::{
    CtFeatures, Result, STG_TASKS, StgCohort, StgData, StgLearner, StgPipeline, StgSystemConfig, TrainedStg,
};
use oncograph_core::{Seed, Split};
use oncograph_study::{Answers, Fitted, Job, System};
use oncograph_train::{FitConfig, FitOutcome};
use serde::{Deserialize, Serialize};

/// The features of a node where there are no images to give their number.
const WITHOUT_IMAGES: usize = 64;

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
        let average = AveragePatient::of(&network, &inputs, train)?;
        let model = TrainedStg { pipeline, network, store, scales, training, training_outputs, device };
        Ok((FittedStg { model, average, seed }, outcome))
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
    average: AveragePatient,
    seed: Seed,
}

/// What a model leaves for the report beside its answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StgExtras {
    /// Its predictions for the held-out patients when a part of the inputs is missing; empty without image nodes.
    pub missing: Vec<MissingInput>,
    /// What their inputs contribute to their risks.
    pub attributions: Attributions,
    /// Their risks by task, patient and step; empty for a network without a risk per step.
    pub step_risks: StepRisks,
}

impl FittedStg {
    /// The model alone.
    pub fn model(&self) -> &TrainedStg {
        &self.model
    }

    fn images<'a>(&self, data: &'a StgCohort, rows: &[usize]) -> Result<Option<Vec<&'a CtFeatures>>> {
        self.model.pipeline.has_images().then(|| data.images_of(rows)).transpose()
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
        let images = self.images(data, rows)?;
        let clinical = data.clinical().select(rows);
        let inputs = self.model.pipeline.apply(&clinical, images.as_deref(), &self.model.device)?;
        let extras = StgExtras {
            missing: missing_inputs(&self.model, (&clinical, images.as_deref()), rows, self.seed)?,
            attributions: attributions(&self.model, &inputs, &self.average)?,
            step_risks: step_risks(&self.model, &inputs)?,
        };
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
