//! Every setting of a run, as it is written into the run's folder.

use crate::cli::Args;
use crate::clinical::ClinicalConfig;
use crate::images_config::ImagesConfig;
use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "task")]
pub enum RunConfig {
    /// The population graph on a clinical table.
    Clinical(Box<ClinicalConfig>),
    /// Tumour image, tumour surface and brain network.
    Images(Box<ImagesConfig>),
}

impl RunConfig {
    /// The settings that the command line asks for.
    pub fn from_args(args: &Args) -> anyhow::Result<Self> {
        if let Some(path) = &args.config {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            return serde_json::from_slice(&text).with_context(|| path.display().to_string());
        }
        let seed = args.seed.unwrap_or(1);
        let Some(table) = args.clinical.clone() else {
            return Ok(RunConfig::Images(Box::new(ImagesConfig::from_args(args)?)));
        };
        Ok(RunConfig::Clinical(Box::new(ClinicalConfig::new(
            table,
            seed,
            args.folds.unwrap_or(5),
            args.repeats.unwrap_or(5),
        ))))
    }
}
