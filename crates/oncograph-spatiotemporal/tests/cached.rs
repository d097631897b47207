//! What the features of a patient's images are cached by.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::{DType, Device};
use oncograph_core::Seed;
use oncograph_datasets::crlm::{CrlmCohort, ImageFiles, LoadOptions, PhantomConfig};
use oncograph_encoder::VideoResNetConfig;
use oncograph_imaging::{Volume, nifti};
use oncograph_nn::ParamStore;
use oncograph_spatiotemporal::{CrlmSource, CtEncoder, CtFeatures, MapPooling, StgPreset, StgSystemConfig};
use std::path::{Path, PathBuf};

/// One generated patient, and the cache of features beside.
struct Cached {
    folder: tempfile::TempDir,
    files: CrlmCohort,
}

impl Cached {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let phantom = PhantomConfig::new(1, 3).matrix(32).slice_spacing(7.0, 7.5);
        let source = CrlmSource::Phantom(phantom);
        let files = source.open(&folder.path().join("cohort"), 1, |_| ()).unwrap();
        Cached { folder, files }
    }

    fn image(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("cohort/PHANTOM-0001/{name}.nii.gz"))
    }

    fn encode(&self, edit: &dyn Fn(StgSystemConfig) -> StgSystemConfig, seed: u64) -> CtFeatures {
        self.try_encode(edit, seed).unwrap()
    }

    fn try_encode(
        &self,
        edit: &dyn Fn(StgSystemConfig) -> StgSystemConfig,
        seed: u64,
    ) -> oncograph_spatiotemporal::Result<CtFeatures> {
        let config = StgSystemConfig::new(StgPreset::Quick).size(4, 16).encoder_width(4);
        let encoder = CtEncoder::new(&edit(config), Seed::new(seed), &Device::Cpu).unwrap();
        let mut subject = self.files.subjects[0].clone();
        subject.images = ImageFiles::nifti_in(self.folder.path().join("cohort/PHANTOM-0001")).unwrap();
        encoder.cached(&self.folder.path().join("cache")).unwrap().subject(&subject)
    }

    fn entries(&self) -> usize {
        let folders = std::fs::read_dir(self.folder.path().join("cache")).unwrap();
        folders.map(|folder| folder.unwrap().path().read_dir().unwrap().count()).sum()
    }
}

fn save_weights(path: &Path, seed: u64) {
    let store = ParamStore::new(Seed::new(seed));
    let network = VideoResNetConfig::r3d_18(1).base_width(4);
    network.build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
    store.save(path).unwrap();
}

/// Every input, changed one at a time, is another entry of the cache; the same again is none.
#[test]
fn cached_features_are_those_of_their_inputs() {
    let cached = Cached::new();
    let same = |config| config;
    let first = cached.encode(&same, 5);
    assert_eq!((cached.encode(&same, 5), cached.entries()), (first, 1));
    let weights = cached.folder.path().join("w.safetensors");
    save_weights(&weights, 1);
    let by_weights = |mut config: StgSystemConfig| {
        config.encoder.weights = Some(weights.clone());
        config
    };
    let mut known = 1;
    let mut new = |what: &str, edit: &dyn Fn(StgSystemConfig) -> StgSystemConfig, seed| {
        cached.encode(edit, seed);
        known += 1;
        assert_eq!(cached.entries(), known, "{what}");
    };
    new("seed", &same, 6);
    new("preprocessing", &|c| c.size(4, 20), 5);
    new("width", &|c| c.encoder_width(8), 5);
    new("pooling", &|c| c.pooling(MapPooling::Pool2), 5);
    new("how images are read", &|c| c.load(LoadOptions::new().empty_as_missing(true)), 5);
    new("weights", &by_weights, 5);
    save_weights(&weights, 2);
    new("other weights in the same file", &by_weights, 5);
    let ct: Volume<f32> = nifti::read(cached.image("ct")).unwrap();
    nifti::write(cached.image("ct"), &ct.map(|v| v + 1.0)).unwrap();
    new("a voxel", &same, 5);
    std::fs::remove_file(cached.image("portal")).unwrap();
    new("a mask less", &same, 5);
    // The same bytes as another structure.
    std::fs::rename(cached.image("hepatic"), cached.image("portal")).unwrap();
    new("what a mask is of", &same, 5);
    // A mask under a name that is none is refused as it is without a cache.
    std::fs::rename(cached.image("portal"), cached.image("portal_new")).unwrap();
    let error = cached.try_encode(&same, 5).unwrap_err().to_string();
    assert!(error.contains("unknown label `portal_new.nii.gz`"), "{error}");
}
