//! The command line.

use clap::{Parser, ValueEnum};
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
    /// Clinical table instead of images: UCSF-PDGM-metadata or table S1 of Ceccarelli 2016 [.csv]. Compares the
    /// population graph with logistic regression on the same folds
    #[arg(long, value_name = "FILE")]
    pub clinical: Option<PathBuf>,
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
