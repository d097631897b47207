use super::encoder::VERSION;
use crate::{CtEncoderConfig, MapPooling, PreprocessConfig, Result, StgSystemConfig};
use oncograph_core::{AtFile, Seed};
use oncograph_datasets::crlm::LoadOptions;
use oncograph_nn::Precision;
use serde::{Deserialize, Serialize};
use std::path::Path;

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

/// The BLAKE3 hash of a file of weights.
pub(super) fn hash_of_weights(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| AtFile::new(path, e))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

impl EncoderSettings {
    /// Those of [`CtEncoder::new`] in the precision of this thread.
    pub fn new(config: &StgSystemConfig, seed: Seed) -> Result<Self> {
        let weights = config.encoder.weights.as_deref().map(hash_of_weights).transpose()?;
        Ok(Self::of((&config.encoder, &config.preprocess, &config.load), weights, seed))
    }

    /// As [`EncoderSettings::new`], where the hash of the weights is known.
    pub fn of(
        (encoder, preprocess, load): (&CtEncoderConfig, &PreprocessConfig, &LoadOptions),
        weights: Option<String>,
        seed: Seed,
    ) -> Self {
        let drawn = encoder.weights.is_none() || encoder.pooling == MapPooling::ConcatRp;
        EncoderSettings {
            version: VERSION.into(),
            preprocess: preprocess.clone(),
            load: load.clone(),
            weights,
            encoder: CtEncoderConfig { weights: None, ..encoder.clone() },
            seed: drawn.then_some(seed),
            precision: Precision::current(),
        }
    }

    /// The levels of each node, and the numbers of each level.
    pub fn shape(&self) -> [usize; 2] {
        let pooling = self.encoder.pooling;
        [pooling.levels(), pooling.features(self.encoder.channels())]
    }
}
