//! The command line.

use clap::{Parser, ValueEnum};
use oncograph_datasets::omics::{OmicsCollection, SampleTypes};
use oncograph_omics::{NodeInput, OmicsPreset};
use oncograph_study::cli::StudyArgs;
use std::path::PathBuf;

/// The options that have an effect beside the one that trains no run.
pub const MODES: [(&str, &[&str]); 2] = [
    ("predict", &["bundle", "run", "device", "precision"]),
    ("write_cohort", &["data", "cohort", "idh", "sample_types", "patients", "seed"]),
];

/// Predict survival, response and toxicity from several molecular tables and what is known of how their columns belong
/// together, with the hierarchical multi-modal graph network.
///
/// Without --data a phantom cohort is generated: nothing in it was measured on anybody. Folds are trained side by side, as
/// many as the processor has cores or the environment variable RAYON_NUM_THREADS sets; results have the same bits
/// either way. For research only, not a medical device.
#[derive(Debug, Parser)]
#[command(name = "multimodal_oncology", version)]
pub struct Args {
    #[command(flatten)]
    pub study: StudyArgs,
    /// A cohort folder: tables, and cohort.json, which describes them (the README has an example); or the folder of the public
    /// tables, networks and gene sets that --cohort names. Default: a phantom cohort
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub data: Option<PathBuf>,
    /// Which of the public cohorts in --data, where it has no cohort.json [default: gbmlgg]
    #[arg(long, value_enum, requires = "data")]
    pub cohort: Option<CohortArg>,
    /// Table of Ceccarelli et al. 2016 with IDH status, for the side task of gbmlgg [default:
    /// DIR/../glioma/tcga_lgg_gbm_subtype_ceccarelli2016.csv, if it is there]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub idh: Option<PathBuf>,
    /// Types of TCGA's samples that count, the preferred one first: 01 primary tumour, 02 recurrent, 06 metastasis, 11 normal
    /// tissue [default: 01]
    #[arg(long, value_name = "CODES", requires = "data")]
    pub sample_types: Option<SampleTypes>,
    /// Train nothing: write the cohort as a cohort folder, to look at or to change
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub write_cohort: Option<PathBuf>,
    /// Choices that the article leaves open: `literal` reads it as closely as it runs, `fixed` is the recommended reading
    /// at the published widths, `quick` is `fixed`, narrow and short [default: quick]
    #[arg(long, value_enum)]
    pub preset: Option<PresetArg>,
    /// Epochs at most [default: quick 50, else 100]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Patients per step [default: quick 64, else 32]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Epochs without a better validation loss after which training ends [default: quick 20, else 15]
    #[arg(long)]
    pub patience: Option<usize>,
    /// Learning rate [default: quick 3e-3, else 1e-4]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// How a node's value becomes its vector, M-01 [default: named for the phantom cohort, diag for tables and in literal]
    #[arg(long, value_enum)]
    pub node_input: Option<NodeInputArg>,
    /// Patients of the phantom cohort [default: 800]
    #[arg(long, conflicts_with = "data")]
    pub patients: Option<usize>,
    /// Besides the graph network and the statistical baselines, train only the model of this name in the tables; may be
    /// given several times [default: all]
    #[arg(long = "model", value_name = "NAME")]
    pub models: Vec<String>,
    /// Also train the ablations: without graph layers, fusion, contrast, and one model per task
    #[arg(long)]
    pub ablate: bool,
    /// Also train across centres without pooling their patients, by FedAvg and FedProx, and on each centre alone. TCGA's
    /// centres are the tissue source sites of its barcodes
    #[arg(long)]
    pub federate: bool,
    /// Hold out one centre at a time instead of folds
    #[arg(long, conflicts_with_all = ["folds", "repeats"])]
    pub leave_centre_out: bool,
    /// Whose clinical report is written [default: the first patient's]
    #[arg(long, value_name = "ID")]
    pub patient: Option<String>,
    /// Train nothing: predict for new patients, each from JSON (`id`, `covariates`, `tables`, `images`) or CSV (`table,name,value`), or
    /// for all of a cohort folder, and write the clinical reports to OUT/predictions
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub predict: Vec<PathBuf>,
    /// The bundle that --predict reads [default: that of --run]
    #[arg(long, value_name = "DIR", requires = "predict", conflicts_with = "run")]
    pub bundle: Option<PathBuf>,
    /// The run whose bundle --predict reads [default: the newest]
    #[arg(long, value_name = "RUN", requires = "predict")]
    pub run: Option<PathBuf>,
}

/// A cohort of `--data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CohortArg {
    /// TCGA-BRCA: mRNA, miRNA, protein; subtype and survival.
    Brca,
    /// TCGA GBM and LGG: protein; survival, response, IDH status.
    Gbmlgg,
    /// Acetaminophen in rats: expression; toxicity.
    Rat,
}

impl From<CohortArg> for OmicsCollection {
    fn from(cohort: CohortArg) -> Self {
        match cohort {
            CohortArg::Brca => OmicsCollection::Brca,
            CohortArg::Gbmlgg => OmicsCollection::Gbmlgg,
            CohortArg::Rat => OmicsCollection::Rat,
        }
    }
}

/// M-01 for nodes with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NodeInputArg {
    /// A vector of each node's own times its value.
    Diag,
    /// A line that all nodes of a type share, and a small one of each node's own.
    Named,
}

impl From<NodeInputArg> for NodeInput {
    fn from(input: NodeInputArg) -> Self {
        match input {
            NodeInputArg::Diag => NodeInput::Diag,
            NodeInputArg::Named => NodeInput::Named,
        }
    }
}

/// M-01 to M-28 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// The literal reading of the article.
    Literal,
    /// The recommended reading.
    Fixed,
    /// `fixed`, narrow and short.
    Quick,
}

impl From<PresetArg> for OmicsPreset {
    fn from(preset: PresetArg) -> Self {
        match preset {
            PresetArg::Literal => OmicsPreset::Literal,
            PresetArg::Fixed => OmicsPreset::Fixed,
            PresetArg::Quick => OmicsPreset::Quick,
        }
    }
}
