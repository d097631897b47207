//! Every setting of a run, as it is written into the run's folder.

use crate::cli::Args;
use crate::{NAME, Result};
use oncograph_core::{Argument, Seed};
use oncograph_datasets::omics::{
    COHORT_FILE, OmicsCollection, OmicsDataset, OmicsPhantomConfig, SampleTypes,
};
use oncograph_nn::optim::AdamWConfig;
use oncograph_omics::{
    LEAST_OF_CENTRE, OmicsPreset, OmicsStudyCohort, OmicsSystem, OmicsSystemConfig, OmicsVariant,
};
use oncograph_study::cli::read_config;
use oncograph_study::{Cohort, Plan};
use oncograph_train::OptimizerConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the tables come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A folder with a `cohort.json`.
    Cohort { root: PathBuf },
    /// A folder of the user's with a public cohort.
    Folder {
        root: PathBuf,
        cohort: OmicsCollection,
        idh: Option<PathBuf>,
        /// Which samples of TCGA's patients count.
        #[serde(default)]
        sample_types: SampleTypes,
    },
    /// Generated in memory.
    Phantom(OmicsPhantomConfig),
}

impl Source {
    /// The source given on the command line.
    ///
    /// # Errors
    /// An option that is for a public cohort beside a folder that describes itself.
    pub fn from_args(args: &Args) -> Result<Self> {
        let Some(root) = &args.data else {
            return Ok(Source::Phantom(phantom(args.patients.unwrap_or(800), args.study.seed.unwrap_or(1))));
        };
        let refuse = |option: &'static str, expected: &str, got: &str| {
            Err(Argument::new("multimodal_oncology", option, expected, got).into())
        };
        if root.join(COHORT_FILE).is_file() {
            let typed = [
                ("--cohort", args.cohort.is_some()),
                ("--idh", args.idh.is_some()),
                ("--sample-types", args.sample_types.is_some()),
            ];
            return match typed.iter().find(|(_, typed)| *typed) {
                Some((option, _)) => {
                    refuse(option, "left out: the cohort.json of --data describes the cohort", "a value")
                }
                None => Ok(Source::Cohort { root: root.clone() }),
            };
        }
        let cohort = args.cohort.map_or(OmicsCollection::Gbmlgg, OmicsCollection::from);
        if args.idh.is_some() && cohort != OmicsCollection::Gbmlgg {
            return refuse("--idh", "left out: only --cohort gbmlgg has that task", "a file");
        }
        let beside = root.join("../glioma/tcga_lgg_gbm_subtype_ceccarelli2016.csv");
        let idh = args.idh.clone().or_else(|| beside.is_file().then_some(beside));
        let sample_types = args.sample_types.clone().unwrap_or_default();
        Ok(Source::Folder { root: root.clone(), cohort, idh, sample_types })
    }

    /// The cohort.
    pub fn open(&self) -> Result<OmicsDataset> {
        Ok(match self {
            Source::Phantom(phantom) => OmicsDataset::phantom(phantom)?,
            Source::Cohort { root } => OmicsDataset::folder(root)?,
            Source::Folder { root, cohort, idh, sample_types } => {
                OmicsDataset::open_with(root, *cohort, idh.as_deref(), sample_types)?
            }
        })
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub version: String,
    pub preset: OmicsPreset,
    pub source: Source,
    pub seed: u64,
    /// Where tensors live.
    pub device: String,
    /// Folds, or centres that are held out one at a time (M-23).
    pub plan: Plan,
    /// The share of training patients on which training is stopped.
    pub validation: f64,
    pub system: OmicsSystemConfig,
    pub ablate: bool,
    pub federate: bool,
    /// Whose clinical report is written; none: the first patient's.
    pub patient: Option<String>,
    /// Names of the models that are trained besides the graph network; empty: all.
    pub models: Vec<String>,
}

impl Settings {
    /// The settings given on the command line.
    pub fn from_args(args: &Args) -> Result<Self> {
        if let Some(path) = &args.study.config {
            let settings: Settings = read_config(NAME, path)?;
            settings.system.validate()?;
            return Ok(settings);
        }
        let seed = args.study.seed.unwrap_or(1);
        let source = Source::from_args(args)?;
        let preset = args.preset.map_or(OmicsPreset::Quick, OmicsPreset::from);
        let folds = args.study.folds.unwrap_or(5);
        let system = system(args, preset);
        system.validate()?;
        Ok(Settings {
            version: env!("CARGO_PKG_VERSION").into(),
            preset,
            source,
            seed,
            device: args.study.device.clone(),
            plan: match args.leave_centre_out {
                true => Plan::LeaveOneCentreOut { least: LEAST_OF_CENTRE },
                false => Plan::CrossValidation { folds, repeats: args.study.repeats.unwrap_or(1) },
            },
            validation: 0.2,
            system,
            ablate: args.ablate,
            federate: args.federate,
            patient: args.patient.clone(),
            models: args.models.clone(),
        })
    }

    /// The cohort with its tasks.
    pub fn open(&self) -> Result<OmicsStudyCohort> {
        let dataset = self.source.open()?;
        Ok(OmicsStudyCohort::new(dataset, &self.system)?)
    }

    pub fn seed(&self) -> Seed {
        Seed::new(self.seed)
    }

    /// What the run trains, the graph network first.
    ///
    /// # Errors
    /// A federation without centres, or a model in `models` that there is not, with those that there are.
    pub fn systems(&self, cohort: &OmicsStudyCohort) -> Result<Vec<OmicsSystem>> {
        let mut groups = vec![OmicsVariant::comparison(cohort)];
        if self.ablate {
            groups.push(OmicsVariant::ablations());
        }
        if self.federate {
            groups.push(OmicsVariant::federations(cohort)?);
        }
        let names: Vec<String> = groups.iter().flatten().map(OmicsVariant::name).collect();
        if let Some(unknown) = self.models.iter().find(|m| !names.contains(m)) {
            let expected = format!("some of {}", names.join(", "));
            return Err(Argument::new("--model", "the name", expected, unknown).into());
        }
        let named = |v: &OmicsVariant| self.models.contains(&v.name());
        // What --ablate and --federate add was asked for, unless some of it is named.
        let all = groups.into_iter().enumerate().flat_map(|(g, group)| {
            let whole = self.models.is_empty() || (g > 0 && !group.iter().any(named));
            group.into_iter().filter(move |v| *v == OmicsVariant::Full || whole || named(v))
        });
        Ok(all.map(|v| OmicsSystem::new(self.system.clone()).variant(v)).collect())
    }

    /// The row of the patient whose clinical report is written: the one asked for now, else that of the settings.
    ///
    /// # Errors
    /// A patient that is not in the cohort.
    pub fn reported(&self, asked: Option<&String>, cohort: &OmicsStudyCohort) -> Result<usize> {
        let ids = cohort.ids();
        let Some(id) = asked.or(self.patient.as_ref()) else { return Ok(0) };
        let unknown = || Argument::new("--patient", "the id", format!("in the cohort, as {}", ids[0]), id);
        Ok(ids.iter().position(|i| i == id).ok_or_else(unknown)?)
    }
}

/// The preset with what the command line changes in it.
fn system(args: &Args, preset: OmicsPreset) -> OmicsSystemConfig {
    let mut system = match args.data {
        None => preset.for_phantom(),
        Some(_) => preset.config(),
    };
    if let Some(batch) = args.batch {
        system.batch = batch;
    }
    if let Some(input) = args.node_input {
        system.net.node_input = input.into();
    }
    if let Some(epochs) = args.epochs {
        system.fit.epochs = epochs;
    }
    if let Some(rate) = args.learning_rate {
        system.fit.optimizer = OptimizerConfig::AdamW(AdamWConfig::new(rate).weight_decay(0.01));
    }
    system.fit.precision = args.study.precision;
    if let Some(patience) = args.patience {
        system.fit = system.fit.early_stop(patience);
    }
    system
}

/// A cohort that trains in minutes; the interaction of two modalities is strong enough to be found in it.
fn phantom(patients: usize, seed: u64) -> OmicsPhantomConfig {
    OmicsPhantomConfig::new(patients, seed).sizes(45, 45, 6).strength(2.0).missing(0.1)
}
