//! A system on a brain network of a connectome, from training to one new patient, whose network is stored and read again.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::Device;
use oncograph_brain::{
    GliomaCohort, GliomaConfig, GliomaPredictor, GliomaPreset, GliomaSource, GliomaStages, PatientSpace,
    PopulationHead, RegistrationConfig, StoredNetwork, names, write_glioma_bundle,
};
use oncograph_datasets::glioma::{
    ConnectomeFile, GliomaFiles, GliomaPhantomConfig, LabelConvention, TractSource, TumourLabel,
};
use oncograph_imaging::{Frame, Grid, Volume, nifti};
use oncograph_report::ModelCard;
use oncograph_study::Study;
use oncograph_train::{RunDir, StopFlag};
use std::path::Path;

const SPACING: f64 = 8.0;

/// Templates of a brain in eight regions, one for each octant.
fn templates(root: &Path) {
    let (templates, atlases) = (root.join("templates"), root.join("atlases"));
    std::fs::create_dir_all(&templates).unwrap();
    std::fs::create_dir_all(&atlases).unwrap();
    let shape = [14, 16, 14];
    let grid = Grid::axis_aligned(shape, [SPACING; 3], [-52.0, -60.0, -52.0]).unwrap();
    let inside = |i: [usize; 3]| {
        let at = |k: usize| (i[k] as f64 + 0.5) / shape[k] as f64 - 0.5;
        (0..3).map(|k| at(k).powi(2)).sum::<f64>() < 0.2
    };
    let of = |f: &dyn Fn([usize; 3]) -> u8| {
        let value = |i: [usize; 3]| if inside(i) { f(i) } else { 0 };
        Volume::from_fn(grid.clone(), Frame::described("head"), value)
    };
    let octant = |i: [usize; 3]| 1 + (0..3).map(|k| u8::from(i[k] >= shape[k] / 2) << k).sum::<u8>();
    let brain = of(&|i| 100 + (i[0] + 2 * i[1]) as u8);
    nifti::write(templates.join("MNI152_T1_2mm_brain.nii.gz"), &brain.cast::<f32>()).unwrap();
    nifti::write(templates.join("MNI152_T1_2mm_brain_mask.nii.gz"), &of(&|_| 1)).unwrap();
    nifti::write(templates.join("MNI_FA_template.nii.gz"), &of(&|_| 1).map(|v| 0.5 * f32::from(v))).unwrap();
    nifti::write(atlases.join("aal.nii.gz"), &of(&octant)).unwrap();
    let list: String = (1..=8).map(|l| format!("{l} Octant_{l}\n")).collect();
    std::fs::write(atlases.join("aal.nii.txt"), list).unwrap();
    // Octants that differ in one axis are joined.
    let weight = |a: u8, b: u8| if (a ^ b).count_ones() == 1 { 10 + a + b } else { 0 };
    let row = |a| (0..8).map(|b| weight(a, b).to_string()).collect::<Vec<_>>().join(",");
    std::fs::write(root.join("connectome.csv"), (0..8).map(|a| row(a) + "\n").collect::<String>()).unwrap();
}

#[test]
fn a_network_of_a_connectome_is_trained_predicted_and_stored() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    templates(root);
    let mut phantom = GliomaPhantomConfig::new(24, 1);
    (phantom.unlabelled, phantom.spacing, phantom.templates) = (2, SPACING, Some(root.into()));
    let connectome = ConnectomeFile { connectome: root.join("connectome.csv"), least: 12.0 };
    phantom.tract_maps = Some(TractSource::Connectome(connectome));
    let config = GliomaConfig::preset(GliomaPreset::Quick, GliomaSource::Phantom(phantom), 1).epochs(1);
    let cohort = config.source.open(root, &StopFlag::new(), &|_| ()).unwrap();
    // Twelve edges of the cube, without the one of weight 11.
    let weights: Vec<f32> = cohort.atlas.tracts.iter().filter_map(|t| t.weight).collect();
    assert_eq!((cohort.atlas.tracts.len(), weights.len(), cohort.atlas.names.len()), (11, 11, 8));
    assert!(weights.iter().all(|w| *w >= 12.0));

    let split = cohort.halves(config.split, config.seed).unwrap();
    let stages = GliomaStages::new(&config, &root.join("cache"), &Device::Cpu, &StopFlag::new()).unwrap();
    let run = RunDir::create(&root.join("runs")).unwrap();
    let head = PopulationHead::new(&stages).deployed();
    let study = Study::new(&cohort, &run).plan(GliomaCohort::plan(&split));
    let results = study.model(names::INDUCTIVE, &head).run().unwrap();
    let card = ModelCard::new("Glioma IDH", "A test");
    let bundle = write_glioma_bundle(&run, &stages, (&cohort, &split), &results.jobs()[0], &card).unwrap();

    // Every patient's network as a file.
    let networks = stages.networks(&cohort, &split).unwrap();
    let folder = run.file("networks");
    networks.write(&cohort, &folder).unwrap();
    let row = split.test[0];
    let id = &cohort.subjects[row].id;
    let path = folder.join(format!("{id}.safetensors"));
    let stored = StoredNetwork::read(&path).unwrap().made_from(networks.content()).unwrap();
    let tumour = &networks.tumours[row];
    assert_eq!((&stored.about.id, &stored.network), (id, tumour.network()));
    assert_eq!((&stored.points[..], &stored.incidence), (tumour.points(), tumour.incidence()));
    assert_eq!(stored.about.regions, cohort.atlas.names);
    assert_eq!(stored.to_safetensors().unwrap(), std::fs::read(&path).unwrap());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 26);

    // The bundle makes the same network of the same patient, and its own of another.
    let predictor = GliomaPredictor::open(&bundle, &Device::Cpu).unwrap();
    assert_eq!(predictor.atlas(), &cohort.atlas);
    let predict = |id: &str| {
        let images = GliomaFiles::find(cohort.folder.join(id), None).unwrap();
        let images = images.read(LabelConvention::Brats2020, TumourLabel::Core).unwrap();
        let registration = (&RegistrationConfig::default(), cohort.folder.as_path());
        predictor.predict(&images, PatientSpace::Standard, None, registration).unwrap()
    };
    let answer = predict(id);
    assert_eq!((&answer.network.network, &answer.network.points), (&stored.network, &stored.points));
    assert!(
        answer.report.notes.iter().any(|note| note.contains("connectome.csv")),
        "{:?}",
        answer.report.notes
    );
    answer.network.write(root.join("one.safetensors")).unwrap();
    assert_eq!(StoredNetwork::read(root.join("one.safetensors")).unwrap(), answer.network);
    let other = predict(&cohort.subjects[split.test[1]].id);
    assert_ne!(other.network.about.content, answer.network.about.content);
    assert!(other.network.made_from(&answer.network.about.content).is_err());
}
