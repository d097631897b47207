//! The command line.

use clap::{Parser, ValueEnum};
use oncograph::datasets::glioma::LabelConvention;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Predict the IDH genotype of glioma from four MRI sequences and a tumour mask: tumour image, tumour surface and brain
/// network are learned together, and a graph of patients gives the answer.
///
/// Without --data a phantom cohort is generated: nothing in it was measured on a person. Threads: all, or as many as the
/// environment variable RAYON_NUM_THREADS says; results have the same bits either way. For research only, not a medical
/// device.
#[derive(Debug, Parser)]
#[command(name = "glioma_idh", version)]
pub struct Args {
    /// A cohort of images: a folder for each patient with T1, contrast T1, T2, FLAIR and a segmentation on one grid, without
    /// skull, named as in BraTS, TCGA or UCSF-PDGM, and with fractional anisotropy where there is some. Patients of BraTS
    /// find their names in TCGA by DIR/name_mapping.csv
    #[arg(
        long,
        value_name = "DIR",
        requires = "labels",
        requires = "idh",
        requires = "templates",
        conflicts_with = "clinical"
    )]
    pub data: Option<PathBuf>,
    /// IDH status, age and sex of --data: UCSF-PDGM-metadata or table S1 of Ceccarelli 2016 [.csv]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub idh: Option<PathBuf>,
    /// What the names of the segmentations of --data end in [default: seg, then tumor_segmentation]
    #[arg(long, value_name = "ENDING", requires = "data")]
    pub segmentation: Option<String>,
    /// The images of --data or --predict are on the standard brain (MNI152) already: none is registered
    #[arg(long)]
    pub registered: bool,
    /// Clinical table instead of images: UCSF-PDGM-metadata or table S1 of Ceccarelli 2016 [.csv]. Compares the
    /// population graph with logistic regression on the same folds
    #[arg(long, value_name = "FILE")]
    pub clinical: Option<PathBuf>,
    /// Choices that the paper leaves open: `paper` reads it literally, `robust` is what we would run, `quick` is `robust`,
    /// small and short [default: quick]
    #[arg(long, value_enum, conflicts_with = "clinical")]
    pub preset: Option<Preset>,
    /// Patients with a label in the phantom cohort [default: 240]
    #[arg(long, conflicts_with_all = ["clinical", "data"])]
    pub patients: Option<usize>,
    /// Folder with templates/ and atlases/ (MNI152 brain and mask at 2 mm, FA template, AAL labels): the phantom's heads get
    /// their regions, and tracts generated between them. Needed by --data, and to predict patients
    #[arg(long, value_name = "DIR", conflicts_with = "clinical")]
    pub templates: Option<PathBuf>,
    /// A probabilistic atlas of tracts on the standard brain in place of generated ones: a volume of four dimensions, one tract
    /// after the other [.nii, .nii.gz]
    #[arg(long, value_name = "FILE", requires = "templates", requires = "tract_ends")]
    pub tracts: Option<PathBuf>,
    /// The numbers of the two AAL regions that each volume of --tracts joins, one line per tract [.txt]
    #[arg(long, value_name = "FILE", requires = "tracts")]
    pub tract_ends: Option<PathBuf>,
    /// Predict one patient with the models of a run instead of training: a folder with T1, contrast T1, T2 and FLAIR on one
    /// grid, without skull. Needs --mask, --labels and an installed elastix
    #[arg(long, value_name = "DIR", requires = "mask", requires = "labels", conflicts_with_all = ["clinical", "resume"])]
    pub predict: Option<PathBuf>,
    /// The patient's segmentation [.nii, .nii.gz]
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// What the numbers of --mask and of the segmentations of --data mean
    #[arg(long, value_enum)]
    pub labels: Option<Labels>,
    /// The run whose models predict. Default: the newest in --out
    #[arg(long, value_name = "RUN", requires = "predict")]
    pub run: Option<PathBuf>,
    /// Epochs of every stage [default: that of the preset]
    #[arg(long, conflicts_with = "clinical")]
    pub epochs: Option<usize>,
    /// The last stage to run: 1 and 2 regions and tracts, 3 the multi-modal model, 4 the population graph
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4), conflicts_with = "clinical")]
    pub stage: Option<u8>,
    /// Also train what a table of the paper compares: 2 node and edge vectors (always made), 3 image networks, 4 encoders,
    /// losses and attention
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=4), conflicts_with = "clinical")]
    pub table: Option<u8>,
    /// Also train the model with one decision changed at a time
    #[arg(long, conflicts_with = "clinical")]
    pub ablate: bool,
    /// Phantoms in which tumour shape, texture or spread along tracts alone depends on the genotype: print which encoders
    /// find it, and end
    #[arg(long, conflicts_with_all = ["clinical", "resume", "templates", "data"])]
    pub planted: bool,
    /// Print which class sizes the paper's tables are possible with, and end
    #[arg(long)]
    pub paper_audit: bool,
    /// Device: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Where runs, caches and the phantom cohort are written
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Go on with a run that was stopped: its folder, or the newest if none is given
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Take every setting from the config.json of a run
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seed of every random draw [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folds of the cross-validation of --clinical [default: 5]
    #[arg(long)]
    pub folds: Option<usize>,
    /// Repetitions of the cross-validation of --clinical [default: 5]
    #[arg(long)]
    pub repeats: Option<usize>,
}

/// What the numbers of a segmentation mean. There is no default: the same number is another tissue in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Labels {
    /// 1 necrotic or not enhancing, 2 oedema, 4 enhancing (BraTS up to 2020 and 2021, TCGA, UCSF-PDGM).
    Brats2020,
    /// 1 necrotic or not enhancing, 2 oedema, 3 enhancing (BraTS from 2023).
    Brats2023,
}

impl From<Labels> for LabelConvention {
    fn from(labels: Labels) -> Self {
        match labels {
            Labels::Brats2020 => LabelConvention::Brats2020,
            Labels::Brats2023 => LabelConvention::Brats2023,
        }
    }
}

/// G-01 to G-37 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The literal reading of the paper, at its sizes.
    Paper,
    /// What we would run: momentum, an inner split, shifted node attention.
    Robust,
    /// `robust`, small and short.
    Quick,
}
