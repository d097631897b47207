use crate::{
    ANATOMY, CtEncoderConfig, Error, PatientMasks, PreparedImages, PreprocessConfig, Result, StgSystemConfig,
    image_features, preprocess,
};
use candle_core::{DType, Device, Tensor};
use oncograph_core::{Argument, AtFile, Seed};
use oncograph_datasets::cache::{CacheKey, FeatureCache, Features};
use oncograph_datasets::crlm::{CrlmImages, ImageFiles, LoadOptions, Structure, SubjectFiles};
use oncograph_encoder::{Checkpoint, FoldedVideoResNet, VideoResNetConfig};
use oncograph_nn::{ParamStore, Precision};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Changes with every change to what is computed here.
const VERSION: &str = "stg_crlm image features 2";

/// The features of one patient's image nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct CtFeatures {
    /// \[6 nodes, 3 levels, d\], node by node.
    pub values: Vec<f32>,
    /// The centroid of each anatomical node, each coordinate in \[0, 1\] of the encoder's input.
    pub centroids: [[f32; 3]; 5],
    /// Anatomical structures that are missing or outside the block: they are no nodes, and their values are all zeros.
    pub empty: [bool; 5],
    /// The share of each structure's volume that lies on the block; `None` where it was not segmented.
    pub kept: [Option<f32>; 5],
    /// The [`MASK_NUMBERS`](crate::MASK_NUMBERS).
    pub numbers: [Option<f64>; 4],
}

/// Two frozen backbones, one for masked organs and one for the CT node (S-04), with the preprocessing before them.
#[derive(Debug)]
pub struct CtEncoder {
    organs: FoldedVideoResNet,
    ct: FoldedVideoResNet,
    cache: Option<FeatureCache>,
    config: CtEncoderConfig,
    load: LoadOptions,
    preprocess: PreprocessConfig,
    seed: Seed,
    device: Device,
    features: usize,
}

impl CtEncoder {
    /// The encoder of a system: from the checkpoint of its configuration, else with weights drawn from `seed`.
    ///
    /// # Errors
    /// A checkpoint that cannot be read or does not fit.
    pub fn new(config: &StgSystemConfig, seed: Seed, device: &Device) -> Result<Self> {
        let weights = config.encoder.weights.as_deref().map(read_weights).transpose()?;
        CtEncoder::with_weights(config, weights.as_ref(), seed, device)
    }

    /// As [`CtEncoder::new`], with weights that are in memory.
    pub(crate) fn with_weights(
        config: &StgSystemConfig,
        weights: Option<&Checkpoint>,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        let network = VideoResNetConfig::r3d_18(1).base_width(config.encoder.base_width);
        let build = |name: &str| -> Result<FoldedVideoResNet> {
            let store = ParamStore::new(seed.stream("encoder").stream(name));
            let built = network.build(store.var_builder(DType::F32, device))?;
            if let Some(weights) = weights {
                weights.load_strict(&store).map_err(|e| match &config.encoder.weights {
                    Some(path) => Error::from(AtFile::new(path, e)),
                    None => e.into(),
                })?;
            }
            Ok(built.folded()?)
        };
        let organs = build("organs")?;
        // With the same weights both are one, in memory as well.
        let ct = if weights.is_some() { organs.clone() } else { build("ct")? };
        Ok(CtEncoder {
            organs,
            ct,
            cache: None,
            config: config.encoder.clone(),
            load: config.load.clone(),
            preprocess: config.preprocess.clone(),
            seed,
            device: device.clone(),
            features: 8 * network.feature_channels(),
        })
    }

    /// Keeps features in a folder, from which they are taken when the same files are seen with the same settings.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn cached(mut self, folder: &Path) -> Result<Self> {
        self.cache = Some(FeatureCache::open(folder)?);
        Ok(self)
    }

    /// Sets what to let pass when images are loaded.
    pub fn load_options(mut self, load: LoadOptions) -> Self {
        self.load = load;
        self
    }

    /// Numbers that each level of each node has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The features of a subject's images, from the cache if its files and settings were seen before.
    ///
    /// # Errors
    /// Files that are damaged, contradict each other or show no liver.
    pub fn subject(&self, subject: &SubjectFiles) -> Result<CtFeatures> {
        let Some(cache) = &self.cache else { return self.images(&self.prepare(subject)?) };
        let mut inputs = files(subject)?;
        inputs.extend(self.config.weights.clone());
        let key = (&self.preprocess, &self.load, self.config.base_width, self.seed);
        let key = match Precision::current() {
            // As before there were others.
            Precision::F32 => CacheKey::new(&inputs, &key, VERSION)?,
            precision => CacheKey::new(&inputs, &(key, precision), VERSION)?,
        };
        if let Ok(Some(stored)) = cache.get(&key)
            && let Some(features) = from_stored(&stored)
        {
            return Ok(features);
        }
        let features = self.images(&self.prepare(subject)?)?;
        cache.put(&key, &to_stored(&features, self.features)?)?;
        Ok(features)
    }

    /// A subject's images as the backbones take them.
    ///
    /// # Errors
    /// As [`prepare_images`].
    pub fn prepare(&self, subject: &SubjectFiles) -> Result<PreparedImages> {
        prepare_images(subject, &self.load, &self.preprocess)
    }

    /// The features of images that are in memory.
    ///
    /// # Errors
    /// An error of candle.
    pub fn images(&self, prepared: &PreparedImages) -> Result<CtFeatures> {
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
        let PreparedImages { centroids, empty, kept, numbers, .. } = *prepared;
        // As the cache keeps them.
        let numbers = numbers.map(|n| n.map(|n| f64::from(n as f32)));
        Ok(CtFeatures { values, centroids, empty, kept, numbers })
    }
}

/// Loads a subject's images and brings them into the encoder's frame.
///
/// # Errors
/// As [`SubjectFiles::load`] and [`preprocess`], with the subject.
pub fn prepare_images(
    subject: &SubjectFiles,
    load: &LoadOptions,
    config: &PreprocessConfig,
) -> Result<PreparedImages> {
    let images = subject.load(load)?;
    preprocess(&images.ct, &masks(&images), config)
        .map_err(|e| Error::Subject { subject: subject.id.clone(), source: Box::new(e) })
}

/// The weights of the backbone from a checkpoint of the video network, as the one-channel backbone takes them.
pub(crate) fn read_weights(path: &Path) -> Result<Checkpoint> {
    let read = || Checkpoint::read(path)?.without("fc.").fold_stem("stem.0.weight", 1);
    read().map_err(|e| match e {
        e @ oncograph_encoder::Error::AtFile(_) => e.into(),
        e => AtFile::new(path, e).into(),
    })
}

/// The parameters of a checkpoint by name.
pub(crate) fn weight_tensors(checkpoint: &Checkpoint) -> HashMap<String, Tensor> {
    let tensor = |name: &str| Some((name.to_string(), checkpoint.get(name)?.clone()));
    checkpoint.names().into_iter().filter_map(tensor).collect()
}

/// The masks as the network names them.
fn masks(images: &CrlmImages) -> PatientMasks {
    let mask = |s: Structure| images.masks.get(&s).cloned();
    PatientMasks {
        liver: mask(Structure::Liver),
        remnant: mask(Structure::LiverRemnant),
        hepatic: mask(Structure::HepaticVeins),
        portal: mask(Structure::PortalVeins),
        tumour: images.tumors().next().is_some().then(|| images.tumor_union()),
    }
}

/// The files that a subject's features depend on, in a fixed order.
fn files(subject: &SubjectFiles) -> Result<Vec<PathBuf>> {
    match &subject.images {
        Some(ImageFiles::Nifti { ct, masks, .. }) => {
            Ok(std::iter::once(ct.clone()).chain(masks.values().cloned()).collect())
        }
        Some(ImageFiles::Dicom { ct, seg, .. }) => {
            let entries = std::fs::read_dir(ct).map_err(|e| AtFile::new(ct, e))?;
            let paths = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>();
            let mut slices = paths.map_err(|e| AtFile::new(ct, e))?;
            slices.retain(|path| path.is_file());
            slices.sort();
            Ok(slices.into_iter().chain(seg.clone()).collect())
        }
        _ => Err(Argument::new("CtEncoder", "subject", "one with images", &subject.id).into()),
    }
}

/// What stands in a file for the share of a structure that was not segmented.
const NOT_SEGMENTED: f32 = -1.0;

fn to_stored(features: &CtFeatures, width: usize) -> Result<Features> {
    let empty = features.empty.iter().map(|&e| f32::from(u8::from(e))).collect();
    Ok(Features::new()
        .array("features", &[6, 3, width], features.values.clone())?
        .array("centroids", &[5, 3], features.centroids.as_flattened().to_vec())?
        .array("empty", &[5], empty)?
        .array("kept", &[5], features.kept.map(|kept| kept.unwrap_or(NOT_SEGMENTED)).to_vec())?
        .array("numbers", &[4], features.numbers.map(|n| n.map_or(NOT_SEGMENTED, |n| n as f32)).to_vec())?
        .text("nodes", ANATOMY.join(", ")))
}

fn from_stored(stored: &Features) -> Option<CtFeatures> {
    let array = |name: &str| stored.arrays.get(name).map(|a| a.data.clone());
    let (centroids, empty) = (array("centroids")?, array("empty")?);
    let kept: [f32; 5] = array("kept")?.try_into().ok()?;
    let numbers: [f32; 4] = array("numbers")?.try_into().ok()?;
    let mut features = CtFeatures {
        values: array("features")?,
        centroids: [[0.0; 3]; 5],
        empty: [false; 5],
        kept: kept.map(|kept| (kept != NOT_SEGMENTED).then_some(kept)),
        numbers: numbers.map(|n| (n != NOT_SEGMENTED).then_some(f64::from(n))),
    };
    features.centroids.as_flattened_mut().copy_from_slice(centroids.get(..15)?);
    features.empty.iter_mut().zip(&empty).for_each(|(e, v)| *e = *v != 0.0);
    Some(features)
}
