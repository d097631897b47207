//! The command line, and the settings that it makes of a preset.

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Parser};
use oncograph_datasets::crlm::{FeatureSet, LoadOptions, PhantomSignals};
use oncograph_imaging::dicom::SeriesOptions;
use oncograph_imaging::seg::DecodeOptions;
use oncograph_spatiotemporal::{
    Architecture, CrlmSource, GnnKind, HeldOut, PaperTable, StgConfig, StgPreset, StgSystem, StgSystemConfig,
    nested_stg,
};
use oncograph_study::Nested;
use oncograph_study::cli::{StudyArgs, patched, read_config};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The program, as its runs are called.
pub const NAME: &str = "stg_crlm";

/// The options that have an effect beside the one that trains no run.
pub const MODES: [(&str, &[&str]); 1] = [(
    "predict",
    &[
        "ct",
        "seg",
        "row",
        "data",
        "clinical",
        "bundle",
        "run",
        "leave_out_faulty",
        "device",
        "precision",
        "series_uid",
        "spacing_tolerance",
        "acquisition",
        "select",
        "skip_unreadable",
        "resample_seg",
        "padding",
    ],
)];

/// Predict recurrence and survival after resection of colorectal liver metastases from one pre-operative CT, its
/// segmentation and a clinical row, with the spatio-temporal graph network STG.
///
/// Without --data a phantom cohort is generated: nothing in it was measured on a person. Threads: all, or as many as
/// the environment variable RAYON_NUM_THREADS sets; results have the same bits either way. For research only, not
/// a medical device.
#[derive(Debug, Parser)]
#[command(name = NAME, version)]
#[command(group(ArgGroup::new("patients_to_predict").args(["ct", "row", "data"]).multiple(true)))]
pub struct Args {
    #[command(flatten)]
    pub study: StudyArgs,
    /// Folder of a cohort: the TCIA collection as downloaded, ROOT/<id>/ct.nii.gz with one mask per structure, or
    /// the clinical workbook alone (image nodes are absent then). Default: a phantom cohort
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub data: Option<PathBuf>,
    /// Clinical table, if it is not in the folder of --data [.xlsx or .csv]
    // A conflict of its own: what --data conflicts with would else lift the requirement.
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with_all = ["ct", "row"])]
    pub clinical: Option<PathBuf>,
    /// Choices that the paper leaves open: `paper` reads it literally, `clinical` is what we would run, `quick` is
    /// `clinical` with small images and few epochs. Default: quick for the phantom, clinical for --data
    #[arg(long, value_parser = choice::<StgPreset>(&["paper", "clinical", "quick"]))]
    pub preset: Option<StgPreset>,
    /// Epochs at most [default: quick 40, paper and clinical 500]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Learning rate [default: paper 5e-6, clinical 1e-4, quick 1e-3]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Patients of the phantom cohort [default: 200]
    #[arg(long, conflicts_with = "data")]
    pub patients: Option<usize>,
    /// What the outcomes of the phantom cohort depend on, of shape, density, texture, covariates and interaction, separated by
    /// commas [default: all but interaction]
    #[arg(long, value_name = "GROUPS", value_delimiter = ',', conflicts_with = "data")]
    pub signals: Option<Vec<String>>,
    /// Slices and in-plane voxels of the encoder's input [default: quick 12 40, else 40 128]
    #[arg(long, num_args = 2, value_names = ["SLICES", "VOXELS"])]
    pub size: Option<Vec<usize>>,
    /// Which network: all steps in one graph, or space beside time
    #[arg(long, value_parser = choice::<Architecture>(&["full", "decoupled"]))]
    pub architecture: Option<Architecture>,
    /// Which graph layer; `sage-closed` is GraphSAGE as the paper's equation reads
    #[arg(long, value_parser = choice::<GnnKind>(&["sage", "sage-closed", "gcn", "gat"]))]
    pub gnn: Option<GnnKind>,
    /// Clinical covariates: everything after the operation, in `all`, leaks the outcome
    #[arg(long, value_parser = choice::<FeatureSet>(&["all", "preop-only", "curated"]))]
    pub features: Option<FeatureSet>,
    /// Weights of the r3d_18 backbone [.pth or .safetensors]. Default: random, drawn from the seed
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Leave out the image nodes even where there are images
    #[arg(long)]
    pub no_images: bool,
    /// Write the image features of the cohort to a file, from which --features-in trains without any image
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = ["no_images", "table", "predict"])]
    pub features_out: Option<PathBuf>,
    /// Take the image features from a file of --features-out instead of images; of --data the table is enough. The encoder, the
    /// preprocessing and the seed must be those that the file was made with
    #[arg(long, value_name = "FILE.safetensors", requires = "data",
          conflicts_with_all = ["no_images", "table", "predict", "features_out"])]
    pub features_in: Option<PathBuf>,
    /// Treat an empty mask as a missing structure instead of an error
    #[arg(long)]
    pub empty_as_missing: bool,
    #[command(flatten)]
    pub images: ImageArgs,
    /// Hold out a fifth of the patients once, as the paper does, instead of everybody in turn: 40 patients give an interval of
    /// 0.15 to either side of an accuracy
    #[arg(long, conflicts_with_all = ["folds", "repeats"])]
    pub single_split: bool,
    /// Leave out patients whose images cannot be used, and list them, instead of ending with the list; with --predict
    /// those who cannot be predicted
    #[arg(long)]
    pub leave_out_faulty: bool,
    /// Also train on outcomes that were given to other patients: such a model ranks by chance
    #[arg(long, conflicts_with = "table")]
    pub permutation_control: bool,
    /// Another configuration, which may be given several times: a JSON merge patch over the settings of the run (config.json). In
    /// each fold the best on 3 inner folds of its training patients is trained, the unpatched settings being one of them
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["table", "params", "paper_audit"])]
    pub candidate: Vec<PathBuf>,
    /// Predict with a bundle instead of training: one patient of --ct and --row, or every patient of --data, who need no
    /// outcomes. Models without image nodes need --row or --data alone
    #[arg(long, requires = "patients_to_predict")]
    pub predict: bool,
    /// Folder of the patient's CT series, or of ct.nii.gz with one mask per structure
    #[arg(long, value_name = "DIR", requires = "predict", conflicts_with = "data")]
    pub ct: Option<PathBuf>,
    /// The patient's DICOM SEG object, for a CT series
    #[arg(long, value_name = "FILE", requires = "ct")]
    pub seg: Option<PathBuf>,
    /// The bundle that predicts, wherever it is. Default: that of the newest run in --out
    #[arg(long, value_name = "DIR", requires = "predict")]
    pub bundle: Option<PathBuf>,
    /// The run whose bundle predicts
    #[arg(long, value_name = "RUN", requires = "predict", conflicts_with = "bundle")]
    pub run: Option<PathBuf>,
    /// Table and identifier of the patient's clinical row; without them all covariates count as missing
    #[arg(long, num_args = 2, value_names = ["FILE", "ID"], requires = "predict", conflicts_with = "data")]
    pub row: Option<Vec<String>>,
    /// Print the parameters of the network, group by group, and end
    #[arg(long)]
    pub params: bool,
    /// Run the rows of a table of the paper on the same folds, beside what it states: 2 graph convolutions, 3 image
    /// backbones, 4 ways to join modalities, 5 one module after the other. Three repetitions unless --repeats says otherwise
    #[arg(long, value_name = "N", value_parser = paper_table, conflicts_with_all = ["predict", "features_in", "features_out"])]
    pub table: Option<PaperTable>,
    /// Print what the paper's numbers allow by themselves and, with --data, what a constant reaches, and end
    #[arg(long)]
    pub paper_audit: bool,
}

/// How images that are not as they should be are read; the default is strict.
#[derive(Debug, Default, Clone, PartialEq, clap::Args)]
pub struct ImageArgs {
    /// Which series of --ct, if its folder holds several (SeriesInstanceUID)
    #[arg(long, value_name = "UID", requires = "ct")]
    pub series_uid: Option<String>,
    /// Largest deviation of a CT slice from its even place, as a fraction of the slice spacing [default: 0.01]
    #[arg(long, value_name = "FRACTION")]
    pub spacing_tolerance: Option<f64>,
    /// Which acquisition of a CT series that has several (AcquisitionNumber)
    #[arg(long, value_name = "N")]
    pub acquisition: Option<i64>,
    /// Which images of a series that holds several volumes, by a DICOM attribute: EchoNumbers=2, ImageType=ORIGINAL, Plane=axial;
    /// may be given several times
    #[arg(long, value_name = "KEYWORD=VALUE", value_parser = selection)]
    pub select: Vec<(String, String)>,
    /// Leave out DICOM files that cannot be read, and list them in the report, instead of an error
    #[arg(long)]
    pub skip_unreadable: bool,
    /// Bring a segmentation on another grid than the CT onto it by nearest neighbour, with a line in the report
    #[arg(long)]
    pub resample_seg: bool,
    /// Give voxels outside of the image (PixelPaddingValue) this value [HU]. Default: as they are stored
    #[arg(long, value_name = "HU", allow_hyphen_values = true)]
    pub padding: Option<f32>,
}

impl ImageArgs {
    /// What to let pass when images are loaded.
    pub fn load_options(&self) -> LoadOptions {
        let chosen = self.acquisition.map(|n| ("AcquisitionNumber".to_owned(), n.to_string()));
        let mut series = SeriesOptions::new().skip_unreadable(self.skip_unreadable);
        for (keyword, value) in self.select.iter().cloned().chain(chosen) {
            series = series.select(keyword, value);
        }
        if let Some(uid) = &self.series_uid {
            series = series.series_uid(uid);
        }
        if let Some(fraction) = self.spacing_tolerance {
            series = series.spacing_tolerance(fraction);
        }
        if let Some(value) = self.padding {
            series = series.padding(value);
        }
        LoadOptions::new().series(series).segmentation(DecodeOptions::new().resample(self.resample_seg))
    }
}

/// An attribute and the value that images must have.
fn selection(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(keyword, value)| (keyword.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "KEYWORD=VALUE, e.g. EchoNumbers=2".into())
}

/// A table of the paper by its number.
fn paper_table(number: &str) -> Result<PaperTable, String> {
    let found = PaperTable::ALL.into_iter().find(|table| table.number().to_string() == number);
    found.ok_or_else(|| "2, 3, 4 or 5".into())
}

/// One of some names, as the type is named in files.
fn choice<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names)
        .try_map(|name| serde_json::from_value::<T>(serde_json::Value::String(name.replace('-', "_"))))
}

/// Repetitions of a table of the paper: its rows differ by less than two runs of one of them.
const TABLE_REPEATS: usize = 3;

/// Inner folds on which candidates are compared.
const INNER_FOLDS: usize = 3;

/// A named change of the settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The stem of its file.
    pub name: String,
    /// A JSON merge patch over the settings of the run.
    pub patch: serde_json::Value,
}

impl Candidate {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let at = || path.display().to_string();
        let patch = serde_json::from_slice(&std::fs::read(path).with_context(at)?).with_context(at)?;
        let name = path.file_stem().with_context(at)?.to_string_lossy().into_owned();
        Ok(Candidate { name, patch })
    }
}

/// A whole run, as it is written into the run's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The version that began the run.
    pub version: String,
    /// Where the images and the table come from.
    pub source: CrlmSource,
    /// The seed of every random draw.
    pub seed: u64,
    /// Where tensors live.
    pub device: String,
    /// Whether a model is also trained on outcomes that were given to other patients.
    #[serde(default)]
    pub permutation_control: bool,
    /// The table of the paper whose rows are run; none for the system by itself.
    #[serde(default)]
    pub table: Option<PaperTable>,
    /// The file that the image features are taken from; none for images.
    #[serde(default)]
    pub features_in: Option<PathBuf>,
    /// The configurations that are tried beside this one within the training patients of each fold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Everything else.
    #[serde(flatten)]
    pub system: StgSystemConfig,
}

impl RunConfig {
    /// The settings given on the command line.
    pub fn from_args(args: &Args) -> anyhow::Result<Self> {
        if let Some(path) = &args.study.config {
            let config: RunConfig = read_config(NAME, path)?;
            config.system.validate()?;
            config.nested()?;
            return Ok(config);
        }
        let seed = args.study.seed.unwrap_or(1);
        let source = match &args.data {
            Some(root) => CrlmSource::Folder { root: root.clone(), clinical: args.clinical.clone() },
            None => {
                let signals =
                    args.signals.as_ref().map(PhantomSignals::only).transpose()?.unwrap_or_default();
                CrlmSource::phantom(args.patients.unwrap_or(200), seed).signals(signals)
            }
        };
        let config = RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            source,
            seed,
            device: args.study.device.clone(),
            permutation_control: args.permutation_control,
            table: args.table,
            features_in: args.features_in.clone(),
            candidates: args.candidate.iter().map(|path| Candidate::read(path)).collect::<Result<_, _>>()?,
            system: system(args),
        };
        config.system.validate()?;
        config.nested()?;
        Ok(config)
    }

    /// The system, with its configuration chosen within each fold where there are candidates.
    pub fn nested(&self) -> anyhow::Result<Nested<StgSystem>> {
        let other = |candidate: &Candidate| {
            let system = patched(&self.system, &candidate.patch);
            Ok((candidate.name.clone(), system.with_context(|| format!("candidate {}", candidate.name))?))
        };
        let others = self.candidates.iter().map(other).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(nested_stg(&self.system, &others, INNER_FOLDS)?)
    }

    /// In words, how the configuration is chosen.
    pub fn chosen_words(&self) -> Option<String> {
        (!self.candidates.is_empty()).then(|| {
            let candidates = self.candidates.len() + 1;
            format!("the best of {candidates} on {INNER_FOLDS} inner folds of each fold's training patients")
        })
    }

    /// How many patients are generated; none for a folder.
    pub fn phantom_patients(&self) -> u64 {
        match &self.source {
            CrlmSource::Phantom(phantom) => phantom.patients as u64,
            CrlmSource::Folder { .. } => 0,
        }
    }

    /// The network with as many covariates as the features have columns.
    pub fn network(&self) -> StgConfig {
        let mut model = self.system.model.clone();
        model.clinical = self.system.features.columns().len();
        model
    }
}

/// The preset with what the command line changes.
fn system(args: &Args) -> StgSystemConfig {
    let by_data = if args.data.is_some() { StgPreset::Clinical } else { StgPreset::Quick };
    let architecture = args.architecture.unwrap_or(Architecture::Decoupled);
    let preset = StgSystemConfig::with_architecture(args.preset.unwrap_or(by_data), architecture);
    let usual = if args.table.is_some() { TABLE_REPEATS } else { preset.repeats };
    let (folds, repeats) = (args.study.folds.unwrap_or(preset.folds), args.study.repeats.unwrap_or(usual));
    let model = preset.model.clone().gnn(args.gnn.unwrap_or(preset.model.gnn));
    let mut system = preset
        .cross_validation(folds, repeats)
        .model(model)
        .images(!args.no_images)
        .features(args.features.unwrap_or_default())
        .load(args.images.load_options().empty_as_missing(args.empty_as_missing))
        .leave_out_faulty(args.leave_out_faulty)
        .held_out(if args.single_split { HeldOut::Single } else { HeldOut::CrossValidation })
        .precision(args.study.precision);
    if let Some(epochs) = args.epochs {
        system = system.epochs(epochs);
    }
    if let Some(rate) = args.learning_rate {
        system = system.learning_rate(rate);
    }
    if let Some([slices, voxels]) = args.size.as_deref() {
        system = system.size(*slices, *voxels);
    }
    match &args.weights {
        Some(path) => system.encoder_weights(path),
        None => system,
    }
}
