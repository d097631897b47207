//! From a subject's images to the vectors of its graph's image nodes, once per subject and configuration.

use crate::cohort::masks;
use crate::config::{EncoderSettings, RunConfig};
use anyhow::{Context, anyhow};
use candle_core::{DType, Device};
use oncograph::datasets::cache::{CacheKey, FeatureCache, Features};
use oncograph::datasets::crlm::{ImageFiles, SubjectFiles};
use oncograph::encoder::{Checkpoint, FoldedVideoResNet, VideoResNetConfig};
use oncograph::nn::{ParamStore, Seed};
use oncograph::spatiotemporal::{ANATOMY, PreparedImages, image_features, preprocess};
use std::path::{Path, PathBuf};

/// Changes with every change to what is computed here.
const VERSION: &str = "stg_crlm image features 1";

/// The features of one patient's image nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientFeatures {
    /// \[6 nodes, 3 levels, d\], node by node.
    pub values: Vec<f32>,
    pub centroids: [[f32; 3]; 5],
    /// Anatomical nodes without a mask: their image is all zeros (S-03).
    pub empty: [bool; 5],
}

/// Two backbones, one for masked organs and one for the CT node (S-04), both frozen.
pub struct Encoder {
    organs: FoldedVideoResNet,
    ct: FoldedVideoResNet,
    cache: FeatureCache,
    weights: Option<PathBuf>,
    device: Device,
    pub features: usize,
    seed: u64,
}

impl Encoder {
    pub fn new(settings: &EncoderSettings, seed: u64, cache: &Path, device: &Device) -> anyhow::Result<Self> {
        let config = VideoResNetConfig::r3d_18(1).base_width(settings.base_width);
        let build = |name: &str| -> anyhow::Result<FoldedVideoResNet> {
            let store = ParamStore::new(Seed::new(seed).stream("encoder").stream(name));
            let network = config.build(store.var_builder(DType::F32, device))?;
            if let Some(path) = &settings.weights {
                let checkpoint = Checkpoint::read(path)?.without("fc.").fold_stem("stem.0.weight", 1)?;
                checkpoint.load_strict(&store).with_context(|| path.display().to_string())?;
            }
            Ok(network.folded()?)
        };
        let organs = build("organs")?;
        // With the same weights both are one, in memory as well.
        let ct = if settings.weights.is_some() { organs.clone() } else { build("ct")? };
        Ok(Encoder {
            organs,
            ct,
            cache: FeatureCache::open(cache)?,
            weights: settings.weights.clone(),
            device: device.clone(),
            features: 8 * config.feature_channels(),
            seed,
        })
    }

    /// The features of a subject of a cohort, from the cache if its files and settings were seen before.
    pub fn subject(&self, subject: &SubjectFiles, config: &RunConfig) -> anyhow::Result<PatientFeatures> {
        let mut inputs = files(subject)?;
        inputs.extend(self.weights.clone());
        let key = (&config.preprocess, &config.load, config.encoder.base_width, self.seed);
        let key = CacheKey::new(&inputs, &key, VERSION)?;
        if let Ok(Some(stored)) = self.cache.get(&key)
            && let Some(features) = from_stored(&stored)
        {
            return Ok(features);
        }
        let images = subject.load(&config.load)?;
        let prepared = preprocess(&images.ct, &masks(&images), &config.preprocess);
        let prepared = prepared.context(subject.id.clone())?;
        let features = self.images(&prepared).context(subject.id.clone())?;
        self.cache.put(&key, &to_stored(&features, self.features)?)?;
        Ok(features)
    }

    /// The features of images that are in memory.
    pub fn images(&self, prepared: &PreparedImages) -> anyhow::Result<PatientFeatures> {
        let input = prepared.to_tensor(&self.device)?;
        let mut values = vec![];
        for node in 0..6 {
            let backbone = if node < 5 { &self.organs } else { &self.ct };
            let one = input.narrow(0, node, 1)?;
            if node < 5 && prepared.empty[node] {
                values.extend(std::iter::repeat_n(0.0, 3 * self.features));
                continue;
            }
            let map = backbone.forward_features(&one)?;
            values.extend(image_features(&map)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(PatientFeatures { values, centroids: prepared.centroids, empty: prepared.empty })
    }
}

/// The files that a subject's features depend on, in a fixed order.
fn files(subject: &SubjectFiles) -> anyhow::Result<Vec<PathBuf>> {
    match &subject.images {
        Some(ImageFiles::Nifti { ct, masks, .. }) => {
            Ok(std::iter::once(ct.clone()).chain(masks.values().cloned()).collect())
        }
        Some(ImageFiles::Dicom { ct, seg, .. }) => {
            let entries = std::fs::read_dir(ct).with_context(|| ct.display().to_string())?;
            let mut slices = entries
                .map(|e| Ok(e.with_context(|| ct.display().to_string())?.path()))
                .collect::<anyhow::Result<Vec<_>>>()?;
            slices.retain(|path| path.is_file());
            slices.sort();
            Ok(slices.into_iter().chain(seg.clone()).collect())
        }
        _ => Err(anyhow!("{}: there are no images", subject.id)),
    }
}

fn to_stored(features: &PatientFeatures, width: usize) -> anyhow::Result<Features> {
    let empty = features.empty.iter().map(|&e| f32::from(u8::from(e))).collect();
    Ok(Features::new()
        .array("features", &[6, 3, width], features.values.clone())?
        .array("centroids", &[5, 3], features.centroids.as_flattened().to_vec())?
        .array("empty", &[5], empty)?
        .text("nodes", ANATOMY.join(", ")))
}

fn from_stored(stored: &Features) -> Option<PatientFeatures> {
    let of = |name: &str| stored.arrays.get(name).map(|a| a.data.clone());
    let (centroids, empty) = (of("centroids")?, of("empty")?);
    let mut features =
        PatientFeatures { values: of("features")?, centroids: [[0.0; 3]; 5], empty: [false; 5] };
    features.centroids.as_flattened_mut().copy_from_slice(centroids.get(..15)?);
    features.empty.iter_mut().zip(&empty).for_each(|(e, v)| *e = *v != 0.0);
    Some(features)
}
