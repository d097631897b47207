use super::encoder::VERSION;
use crate::{CtEncoderConfig, MapPooling, PreprocessConfig, Result, StgSystemConfig};
use oncograph_core::{AtFile, Seed};
use oncograph_datasets::crlm::LoadOptions;
use oncograph_nn::Precision;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// All that features depend on beside the images, as the key of the cache has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EncoderSettings {
    /// Changes with what is computed.
    pub version: String,
    preprocess: PreprocessConfig,
    load: LoadOptions,
    /// Without the place of the weights.
    encoder: CtEncoderConfig,
    /// The BLAKE3 hash of the file of the weights.
    weights: Option<String>,
    /// `None` where nothing is drawn.
    seed: Option<Seed>,
    precision: Precision,
}

impl EncoderSettings {
    /// Those of [`CtEncoder::new`] in the precision of this thread.
    pub fn new(config: &StgSystemConfig, seed: Seed) -> Result<Self> {
        let StgSystemConfig { encoder, preprocess, load, .. } = config;
        let hash = |path: &PathBuf| -> Result<String> {
            let bytes = std::fs::read(path).map_err(|e| AtFile::new(path, e))?;
            Ok(blake3::hash(&bytes).to_hex().to_string())
        };
        let drawn = encoder.weights.is_none() || encoder.pooling == MapPooling::ConcatRp;
        Ok(EncoderSettings {
            version: VERSION.into(),
            preprocess: preprocess.clone(),
            load: load.clone(),
            weights: encoder.weights.as_ref().map(hash).transpose()?,
            encoder: CtEncoderConfig { weights: None, ..encoder.clone() },
            seed: drawn.then_some(seed),
            precision: Precision::current(),
        })
    }

    /// The levels of each node, and the numbers of each level.
    pub fn shape(&self) -> [usize; 2] {
        let pooling = self.encoder.pooling;
        [pooling.levels(), pooling.features(self.encoder.channels())]
    }
}
