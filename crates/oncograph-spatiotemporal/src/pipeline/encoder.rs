use super::backbone::{Backbone, read_weights};
use super::encoder_settings::{EncoderSettings, hash_of_weights};
use crate::features::Cells;
use crate::random_projection::RandomProjection;
use crate::{
    ANATOMY, CtEncoderConfig, Error, MapPooling, PatientMasks, PreparedImages, PreprocessConfig, Result, Roi,
    StgSystemConfig, preprocess,
};
use candle_core::{Device, Tensor};
use oncograph_core::{Argument, AtFile, Seed};
use oncograph_datasets::cache::{CacheKey, FeatureCache, Features};
use oncograph_datasets::crlm::{CrlmImages, ImageFiles, LoadOptions, Structure, SubjectFiles};
use oncograph_encoder::Checkpoint;
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Changes with every change to what is computed here.
pub(super) const VERSION: &str = "stg_crlm image features 5";

/// The features of one patient's image nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct CtFeatures {
    /// \[6 nodes, levels, d\], node by node; [`MapPooling`] gives the levels and d.
    pub values: Vec<f32>,
    /// The centroid of each anatomical node, each coordinate in \[0, 1\] of the encoder's input.
    pub centroids: [[f32; 3]; 5],
    /// Anatomical structures that are missing or outside the block: they are no nodes, and their values are all zeros.
    pub empty: [bool; 5],
    /// The share of each structure's volume that lies on the block; `None` where it was not segmented.
    pub kept: [Option<f32>; 5],
    /// The [`MASK_NUMBERS`](crate::MASK_NUMBERS).
    pub numbers: [Option<f64>; 4],
    /// The mean and the standard deviation in HU of each structure's voxels, as they were scanned; `None` where it is missing.
    pub intensities: [Option<[f32; 2]>; 5],
    /// Remarks of the readers that have to be shown beside results.
    pub notes: Vec<String>,
}

/// Two frozen backbones, one for masked organs and one for the CT node (S-04), with the preprocessing before them.
#[derive(Debug)]
pub struct CtEncoder {
    organs: Backbone,
    /// `None` where it is the same network, in memory as well.
    ct: Option<Backbone>,
    projection: Option<RandomProjection>,
    /// The cache, and the hash of the weights that the key of every entry has.
    cache: Option<(FeatureCache, Option<String>)>,
    config: CtEncoderConfig,
    load: LoadOptions,
    preprocess: PreprocessConfig,
    seed: Seed,
    features: usize,
    notes: Vec<String>,
}

impl CtEncoder {
    /// The encoder of a system: from the checkpoint of its configuration, else with weights drawn from `seed`.
    ///
    /// # Errors
    /// A checkpoint that cannot be read or does not fit.
    pub fn new(config: &StgSystemConfig, seed: Seed, device: &Device) -> Result<Self> {
        let weights = config.encoder.weights.as_deref();
        let weights = weights.map(|path| read_weights(&config.encoder, path)).transpose()?;
        CtEncoder::with_weights(config, weights.as_ref(), seed, device)
    }

    /// As [`CtEncoder::new`], with weights that are in memory.
    pub(crate) fn with_weights(
        config: &StgSystemConfig,
        weights: Option<&Checkpoint>,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        let build =
            |name: &str| Backbone::new(&config.encoder, weights, seed.stream("encoder").stream(name), device);
        let organs = build("organs")?;
        // With the same weights both are one.
        let ct = if weights.is_some() { None } else { Some(build("ct")?) };
        let (channels, pooling) = (config.encoder.channels(), config.encoder.pooling);
        let projection = (pooling == MapPooling::ConcatRp)
            .then(|| RandomProjection::new(73 * channels, 8 * channels, seed.stream("projection")));
        Ok(CtEncoder {
            organs,
            ct,
            projection,
            cache: None,
            config: config.encoder.clone(),
            load: config.load.clone(),
            preprocess: config.preprocess.clone(),
            seed,
            features: pooling.features(channels),
            notes: weights.map(|w| w.notes().to_vec()).unwrap_or_default(),
        })
    }

    /// What of the checkpoint a reader of results should know: where in it the weights were, and what was left out.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        self.notes.iter().map(|note| format!("Image encoder: {note}."))
    }

    /// Keeps features in a folder, from which they are taken when the same files are seen with the same settings.
    ///
    /// # Errors
    /// A folder that cannot be made; weights that cannot be read.
    pub fn cached(mut self, folder: &Path) -> Result<Self> {
        let weights = self.config.weights.as_deref().map(hash_of_weights).transpose()?;
        self.cache = Some((FeatureCache::open(folder)?, weights));
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
        let Some((cache, weights)) = &self.cache else { return self.images(&self.prepare(subject)?) };
        let settings =
            EncoderSettings::of((&self.config, &self.preprocess, &self.load), weights.clone(), self.seed);
        let (inputs, roles) = files(subject)?;
        let key = CacheKey::new(&inputs, &(settings, roles), VERSION)?;
        if let Ok(Some(stored)) = cache.get(&key)
            && let Some(features) = from_arrays(&stored)
        {
            return Ok(features);
        }
        let features = self.images(&self.prepare(subject)?)?;
        cache.put(&key, &to_arrays(&features, self.config.pooling.levels(), self.features)?)?;
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
        let input = prepared.to_tensor(&Device::Cpu)?;
        let whole = || input.narrow(0, 5, 1);
        // One pass for all structures where masks are laid on its map.
        let shared = match self.config.roi {
            Roi::MaskInput => None,
            Roi::MaskPool => Some(self.organs.map(&whole()?)?),
        };
        let mut values = vec![];
        for node in 0..5 {
            if prepared.empty[node] {
                values.extend(std::iter::repeat_n(0.0, self.config.pooling.levels() * self.features));
                continue;
            }
            values.extend(match &shared {
                None => self.vectors(&Cells::of(&self.organs.map(&input.narrow(0, node, 1)?)?, None)?)?,
                Some(map) => {
                    let [x, y, z] = prepared.masks[node].shape();
                    let mask = prepared.masks[node].as_slice();
                    let mask = Tensor::from_slice(mask, (1, 1, z, y, x), &Device::Cpu)?;
                    self.vectors(&Cells::of(map, Some(&mask.to_device(map.device())?))?)?
                }
            });
        }
        let map = match (&self.ct, shared) {
            (None, Some(map)) => map,
            (ct, _) => ct.as_ref().unwrap_or(&self.organs).map(&whole()?)?,
        };
        values.extend(self.vectors(&Cells::of(&map, None)?)?);
        let PreparedImages { centroids, empty, kept, numbers, intensities, .. } = *prepared;
        // As the cache keeps them.
        let numbers = numbers.map(|n| n.map(|n| f64::from(n as f32)));
        let notes = prepared.notes.clone();
        Ok(CtFeatures { values, centroids, empty, kept, numbers, intensities, notes })
    }

    /// The vectors of a node from the cells of its map (S-01).
    fn vectors(&self, cells: &Cells<'_>) -> Result<Vec<f32>> {
        let vectors = match self.config.pooling {
            MapPooling::Grid2Weighted => cells.pyramid()?,
            MapPooling::Pool2 => cells.octants()?,
            MapPooling::ConcatProject | MapPooling::ConcatRp => cells.concatenated()?,
        };
        let values = vectors.flatten_all()?.to_vec1()?;
        Ok(match &self.projection {
            Some(projection) => projection.apply(&values),
            None => values,
        })
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
    let prepared = preprocess(&images.ct, &masks(&images), config)
        .map_err(|e| Error::Subject { subject: subject.id.clone(), source: Box::new(e) })?;
    Ok(PreparedImages { notes: images.notes, ..prepared })
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

/// What each file of a subject is, and what the readers know beside the files.
#[derive(Serialize)]
struct Roles<'a> {
    /// Structures or names, in the order of the files.
    files: Vec<String>,
    series: Option<&'a (String, usize)>,
    /// Names of files that cannot be read, with the cause.
    unreadable: Vec<(String, &'a str)>,
    /// Names of images of no structure: they are refused when they are loaded, unless that is switched off.
    unknown: Vec<String>,
}

/// The files that a subject's features depend on, in a fixed order, and what they are.
fn files(subject: &SubjectFiles) -> Result<(Vec<PathBuf>, Roles<'_>)> {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match &subject.images {
        Some(ImageFiles::Nifti { ct, masks, unknown }) => {
            let unknown = unknown.iter().map(name).collect();
            let names = std::iter::once("ct".into()).chain(masks.keys().map(|s| s.file_stem())).collect();
            let roles = Roles { files: names, series: None, unreadable: vec![], unknown };
            Ok((std::iter::once(ct).chain(masks.values()).cloned().collect(), roles))
        }
        Some(ImageFiles::Dicom { ct, seg, series, unreadable }) => {
            let entries = std::fs::read_dir(ct).map_err(|e| AtFile::new(ct, e))?;
            let paths = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>();
            let mut slices = paths.map_err(|e| AtFile::new(ct, e))?;
            slices.retain(|path| path.is_file());
            slices.sort();
            // Remarks of the readers name files.
            let names = slices.iter().map(name).chain(seg.is_some().then(|| "seg".into())).collect();
            let unreadable = unreadable.iter().map(|(path, why)| (name(path), why.as_str())).collect();
            let roles = Roles { files: names, series: series.as_ref(), unreadable, unknown: vec![] };
            Ok((slices.into_iter().chain(seg.clone()).collect(), roles))
        }
        Some(ImageFiles::Unclear { path, cause }) => {
            Err(AtFile::new(path, format!("{}: {cause}", subject.id)).into())
        }
        _ => Err(Argument::new("CtEncoder", "subject", "one with images", &subject.id).into()),
    }
}

/// The name of the text with the readers' remarks, a line each.
const NOTES: &str = "notes";

/// What stands in a file for the share, or for the deviation in HU, of a structure that was not segmented.
const NOT_SEGMENTED: f32 = -1.0;

pub(super) fn to_arrays(features: &CtFeatures, levels: usize, width: usize) -> Result<Features> {
    let empty = features.empty.iter().map(|&e| f32::from(u8::from(e))).collect();
    let intensities = features.intensities.map(|numbers| numbers.unwrap_or([0.0, NOT_SEGMENTED]));
    Ok(Features::new()
        .array("features", &[6, levels, width], features.values.clone())?
        .array("centroids", &[5, 3], features.centroids.as_flattened().to_vec())?
        .array("empty", &[5], empty)?
        .array("kept", &[5], features.kept.map(|kept| kept.unwrap_or(NOT_SEGMENTED)).to_vec())?
        .array("numbers", &[4], features.numbers.map(|n| n.map_or(NOT_SEGMENTED, |n| n as f32)).to_vec())?
        .array("intensities", &[5, 2], intensities.as_flattened().to_vec())?
        .text("nodes", ANATOMY.join(", "))
        .text(NOTES, features.notes.join("\n")))
}

pub(super) fn from_arrays(stored: &Features) -> Option<CtFeatures> {
    let array = |name: &str| stored.arrays.get(name).map(|a| a.data.clone());
    let (centroids, empty) = (array("centroids")?, array("empty")?);
    let kept: [f32; 5] = array("kept")?.try_into().ok()?;
    let numbers: [f32; 4] = array("numbers")?.try_into().ok()?;
    let mut intensities = [[0f32; 2]; 5];
    intensities.as_flattened_mut().copy_from_slice(array("intensities")?.get(..10)?);
    let mut features = CtFeatures {
        values: array("features")?,
        centroids: [[0.0; 3]; 5],
        empty: [false; 5],
        kept: kept.map(|kept| (kept != NOT_SEGMENTED).then_some(kept)),
        numbers: numbers.map(|n| (n != NOT_SEGMENTED).then_some(f64::from(n))),
        intensities: std::array::from_fn(|s| (intensities[s][1] >= 0.0).then_some(intensities[s])),
        notes: stored
            .metadata
            .get(NOTES)
            .map(|text| text.lines().map(str::to_owned).collect())
            .unwrap_or_default(),
    };
    features.centroids.as_flattened_mut().copy_from_slice(centroids.get(..15)?);
    features.empty.iter_mut().zip(&empty).for_each(|(e, v)| *e = *v != 0.0);
    Some(features)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backbone as Kind, StgPreset};
    use oncograph_imaging::{Frame, Grid, Volume};
    use oncograph_nn::testing::device;

    /// A patient with all structures but the hepatic veins.
    fn prepared(mask: impl Fn([usize; 3], usize) -> f32) -> PreparedImages {
        let grid = Grid::axis_aligned([40, 40, 8], [1.0; 3], [0.0; 3]).unwrap();
        let wave = |i: [usize; 3]| ((i[0] + 3 * i[1] + 7 * i[2]) as f32 * 0.37).sin().abs();
        let empty = [false, false, true, false, false];
        PreparedImages {
            ct: Volume::from_fn(grid.clone(), Frame::default(), wave),
            masks: std::array::from_fn(|node| {
                let share = |i| if empty[node] { 0.0 } else { mask(i, node) };
                Volume::from_fn(grid.clone(), Frame::default(), share)
            }),
            centroids: [[0.5; 3]; 5],
            empty,
            kept: [Some(1.0); 5],
            numbers: [None; 4],
            intensities: [None; 5],
            notes: vec![],
        }
    }

    fn encoder(edit: impl Fn(CtEncoderConfig) -> CtEncoderConfig, pooling: MapPooling) -> CtEncoder {
        let config = StgSystemConfig::new(StgPreset::Paper).encoder(edit(CtEncoderConfig::new(4)));
        let config = config.pooling(pooling);
        config.validate().unwrap();
        CtEncoder::new(&config, Seed::new(1), &device()).unwrap()
    }

    /// Every backbone gives every kind of vectors, of the stated width; no two the same (S-01, section 9).
    #[test]
    fn every_backbone_and_pooling_gives_vectors_of_its_width() {
        let images = prepared(|i, node| f32::from(u8::from(i[0] / 8 == node)));
        let backbones =
            [(Kind::R3d18, 32), (Kind::R2plus1d18, 32), (Kind::SelfBuilt, 2), (Kind::Medicalnet18, 32)];
        let poolings = [
            (MapPooling::Grid2Weighted, 3, 8),
            (MapPooling::Pool2, 1, 8),
            (MapPooling::ConcatProject, 1, 73),
            (MapPooling::ConcatRp, 1, 8),
        ];
        let mut all: Vec<Vec<f32>> = vec![];
        for (kind, channels) in backbones {
            for (pooling, levels, cells) in poolings {
                for roi in [Roi::MaskInput, Roi::MaskPool] {
                    let encoder = encoder(|c| c.backbone(kind).roi(roi), pooling);
                    assert_eq!(encoder.features(), cells * channels);
                    let features = encoder.images(&images).unwrap();
                    let node = levels * encoder.features();
                    assert_eq!(features.values.len(), 6 * node);
                    for (at, vectors) in features.values.chunks(node).enumerate() {
                        assert!(vectors.iter().all(|v| v.is_finite()));
                        assert_eq!(vectors.iter().all(|v| *v == 0.0), at == 2, "{kind:?} {pooling:?} {at}");
                    }
                    let stored = to_arrays(&features, levels, encoder.features()).unwrap();
                    assert_eq!(from_arrays(&stored).unwrap().values, features.values);
                    all.push(features.values);
                }
            }
        }
        let different = |i: usize| all[..i].iter().all(|other| *other != all[i]);
        assert!((0..all.len()).all(different));
    }

    /// A mask that fills everything leaves the whole map, and the map is computed once (S-03).
    #[test]
    fn a_mask_of_everything_is_the_whole_map() {
        let everything = prepared(|_, _| 1.0);
        let node = |roi: Roi, node: usize| {
            let encoder = encoder(|c| c.roi(roi), MapPooling::Grid2Weighted);
            let width = 3 * encoder.features();
            encoder.images(&everything).unwrap().values[node * width..][..width].to_vec()
        };
        for (a, b) in node(Roi::MaskPool, 0).iter().zip(node(Roi::MaskInput, 4)) {
            approx::assert_relative_eq!(*a, b, epsilon = 1e-5);
        }
        // The CT has its own random network either way.
        assert_eq!(node(Roi::MaskPool, 5), node(Roi::MaskInput, 5));
        assert_ne!(node(Roi::MaskPool, 5), node(Roi::MaskPool, 0));
    }
}
