//! The command line.

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Predict recurrence and survival after resection of colorectal liver metastases from one pre-operative CT, its
/// segmentation and a clinical row, with the spatio-temporal graph network STG.
///
/// Without --data a phantom cohort is generated: nothing in it was measured on a person. Threads: all, or as many as
/// the environment variable RAYON_NUM_THREADS says; results have the same bits either way. For research only, not
/// a medical device.
#[derive(Debug, Parser)]
#[command(name = "stg_crlm", version)]
pub struct Args {
    /// Folder of a cohort: the TCIA collection as downloaded, ROOT/<id>/ct.nii.gz with one mask per structure, or
    /// the clinical workbook alone (image nodes are absent then). Default: a phantom cohort
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Clinical table, if it is not in the folder of --data [.xlsx or .csv]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub clinical: Option<PathBuf>,
    /// Choices that the paper leaves open: `paper` reads it literally, `clinical` is what we would run, `quick` is
    /// `clinical` with small images and few epochs. Default: quick for the phantom, clinical for --data
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Where runs, the feature cache and the phantom cohort are written
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Go on with a run that was stopped: its folder, or the newest if none is given
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with_all = ["data", "predict", "config"])]
    pub resume: Option<Option<PathBuf>>,
    /// Take every setting from the config.json of a run
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seed of every random draw [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Device: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Folds of the cross-validation [default: 5]
    #[arg(long)]
    pub folds: Option<usize>,
    /// Repetitions of the cross-validation [default: quick 1, paper 1, clinical 5]
    #[arg(long)]
    pub repeats: Option<usize>,
    /// Epochs at most [default: quick 40, paper and clinical 500]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Learning rate [default: paper 5e-6, clinical 1e-4, quick 1e-3]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Patients of the phantom cohort [default: 200]
    #[arg(long)]
    pub patients: Option<usize>,
    /// Slices and in-plane voxels of the encoder's input [default: quick 12 40, else 40 128]
    #[arg(long, num_args = 2, value_names = ["SLICES", "VOXELS"])]
    pub size: Option<Vec<usize>>,
    /// Which network
    #[arg(long, value_enum)]
    pub architecture: Option<ArchitectureArg>,
    /// Which graph layer
    #[arg(long, value_enum)]
    pub gnn: Option<GnnArg>,
    /// Clinical covariates: everything after the operation leaks the outcome
    #[arg(long, value_enum)]
    pub features: Option<FeaturesArg>,
    /// Weights of the r3d_18 backbone [.pth or .safetensors]. Default: random, drawn from the seed
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Leave out the image nodes even where there are images
    #[arg(long)]
    pub no_images: bool,
    /// Treat an empty mask as a missing structure instead of an error
    #[arg(long)]
    pub empty_as_missing: bool,
    /// Predict one patient with the models of a run instead of training; needs --ct and --seg
    #[arg(long, requires = "ct", requires = "seg")]
    pub predict: bool,
    /// Folder of the patient's CT series
    #[arg(long, value_name = "DIR")]
    pub ct: Option<PathBuf>,
    /// The patient's DICOM SEG object
    #[arg(long, value_name = "FILE")]
    pub seg: Option<PathBuf>,
    /// The run whose models predict. Default: the newest in --out
    #[arg(long, value_name = "RUN", requires = "predict")]
    pub run: Option<PathBuf>,
    /// Table and identifier of the patient's clinical row; without them all covariates count as missing
    #[arg(long, num_args = 2, value_names = ["FILE", "ID"], requires = "predict")]
    pub row: Option<Vec<String>>,
    /// Print the parameters of the network, group by group, and end
    #[arg(long)]
    pub params: bool,
}

/// S-01 to S-30 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The literal reading of the paper.
    Paper,
    /// What a clinical user should run.
    Clinical,
    /// `clinical`, small and short.
    Quick,
}

/// S-12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArchitectureArg {
    /// All steps in one graph.
    Full,
    /// Space beside time.
    Decoupled,
}

/// The convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GnnArg {
    /// GraphSAGE.
    Sage,
    /// GraphSAGE as the paper's equation reads.
    SageClosed,
    /// Graph convolution.
    Gcn,
    /// Graph attention.
    Gat,
}

/// S-15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FeaturesArg {
    /// Every covariate, post-operative ones too: they leak.
    All,
    /// Those known before the operation.
    PreopOnly,
    /// A hand-picked few.
    Curated,
}
