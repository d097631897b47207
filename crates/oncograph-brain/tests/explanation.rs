//! What an explanation says is held to what was planted.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::Device;
use oncograph_brain::{Encoders, GliomaConfig, GliomaPreset, GliomaSource, GliomaStages};
use oncograph_datasets::glioma::GliomaPhantomConfig;
use oncograph_train::StopFlag;

/// Where spread along the tracts that the tumour meets is all that depends on the genotype, those are the tracts that the masks keep.
#[test]
fn masks_find_the_tracts_that_were_planted() {
    let root = tempfile::tempdir().unwrap();
    let mut phantom = GliomaPhantomConfig::new(60, 1).signals(0.0, 0.0, 3.0);
    (phantom.unlabelled, phantom.shape, phantom.regions, phantom.tracts) = (4, [16, 18, 16], 12, 40);
    let mut config = GliomaConfig::preset(GliomaPreset::Quick, GliomaSource::Phantom(phantom), 1);
    let network = Encoders { image: false, surface: true, network: true };
    config.model = config.model.encoders(network);
    config.explain.patients = 12;
    let cohort = config.source.open(root.path(), &StopFlag::new(), &|_| ()).unwrap();
    let split = config.split_of(&cohort).unwrap();
    let explained = |config: &GliomaConfig| {
        let cache = root.path().join("cache");
        let stages = GliomaStages::new(config, &cache, &Device::Cpu, &StopFlag::new()).unwrap();
        stages.explain(&cohort, &split).unwrap()
    };
    let found = explained(&config);
    let (own, overlap) = (found.met_ranking().unwrap(), found.patients[0].stability.as_ref().unwrap());
    eprintln!("AUROC {own}, {overlap:?}");
    assert!(own > 0.7, "{own}");
    assert!(overlap.top_overlap > 2.0 * overlap.chance, "{overlap:?}");
    assert!(found.patients.iter().all(|p| p.tracts.iter().any(|mask| *mask > 0.5)));
    // It can fail: after two steps masks are still where they were drawn.
    config.explain.steps = 2;
    let early = explained(&config);
    eprintln!("AUROC {}", early.met_ranking().unwrap());
    assert!(early.met_ranking().unwrap() < own - 0.1);
}
