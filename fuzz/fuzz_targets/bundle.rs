#![no_main]
//! Bundles of trained models: the list of files, and behind its hashes files that do not go with each other.
use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use oncograph_brain::GliomaPredictor;
use oncograph_deploy::{Bundle, BundleWriter};
use oncograph_fuzz::{empty_folder, parts, within_bounds};
use oncograph_omics::{OmicsPatient, OmicsPredictor};
use oncograph_spatiotemporal::StgPredictor;
use std::path::PathBuf;

/// The bundle of the parts of an input, of the system that is named before the first.
fn written(system: &str, parts: &[(String, &[u8])]) -> Option<PathBuf> {
    let path = empty_folder("bundle").join("model");
    let mut writer = BundleWriter::create(&path, system).ok()?;
    parts.iter().try_for_each(|(name, content)| writer.bytes(name, content)).ok()?;
    writer.finish().ok()?;
    Some(path)
}

fuzz_target!(|data: &[u8]| {
    let (system, parts) = parts(data);
    if parts.is_empty() {
        let folder = empty_folder("list");
        std::fs::write(folder.join("bundle.json"), data).expect("a temporary file");
        return within_bounds(data, || drop(Bundle::open(&folder)));
    }
    let Some(path) = written(&String::from_utf8_lossy(system), &parts) else { return };
    within_bounds(data, || {
        let Ok(bundle) = Bundle::open(&path) else { return };
        StgPredictor::open(&bundle, &Device::Cpu).ok();
        GliomaPredictor::open(&bundle, &Device::Cpu).ok();
        if let Ok(predictor) = OmicsPredictor::open(&bundle, &Device::Cpu) {
            predictor.predict(&OmicsPatient::default()).ok();
        }
    });
});
