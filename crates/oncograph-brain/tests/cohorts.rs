//! Cohorts in the layouts of BraTS, UCSF-PDGM and TCIA, made up of small volumes, from files to patients on the standard brain.
//! Programs that stand in for elastix move nothing: the images are on the grid of the template already.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use oncograph_brain::{
    GliomaCohort, GliomaFilesConfig, GliomaSource, IntensityConfig, IntensityReference, PatientSpace,
    Placement, RegistrationConfig, RegistrationTool, SusanConfig, place_on_atlas,
};
use oncograph_datasets::glioma::{
    ConnectomeFile, GliomaFiles, LabelConvention, StandardBrain, StreamlineFile, TractMaps, TractMasks,
    TractSource, TumourLabel,
};
use oncograph_imaging::{Frame, Grid, Mask, Volume, nifti};
use oncograph_train::StopFlag;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const SHAPE: [usize; 3] = [24, 28, 24];
const SPACING: f64 = 6.0;

fn grid() -> Grid {
    Grid::axis_aligned(SHAPE, [SPACING; 3], [-69.0, -81.0, -69.0]).unwrap()
}

/// The distance from the centre, 1 on the surface of the brain.
fn radius(index: [usize; 3]) -> f64 {
    (0..3).map(|k| ((index[k] as f64 + 0.5) / SHAPE[k] as f64 - 0.5).powi(2)).sum::<f64>().sqrt() / 0.42
}

fn volume(of: impl Fn([usize; 3]) -> f32) -> Volume<f32> {
    let values: Vec<f32> = (0..SHAPE.iter().product::<usize>())
        .map(|o| of([o % SHAPE[0], o / SHAPE[0] % SHAPE[1], o / (SHAPE[0] * SHAPE[1])]))
        .collect();
    Volume::new(grid(), Frame::described("head"), values).unwrap()
}

/// A brain whose contrast differs from left to right, so that a mirrored one correlates less.
fn brain(contrast: f32) -> Volume<f32> {
    volume(|i| if radius(i) < 1.0 { 100.0 + contrast * (i[0] as f32 + 2.0 * i[1] as f32) } else { 0.0 })
}

/// Labels in shells around a point within the brain: core, enhancing rim, oedema.
fn tumour([core, enhancing, oedema]: [u8; 3]) -> Mask {
    Mask::from_fn(grid(), Frame::described("head"), |i| {
        match i.iter().zip([10, 14, 12]).map(|(v, c)| v.abs_diff(c)).max() {
            Some(0..2) => core,
            Some(2) => enhancing,
            Some(3..5) => oedema,
            _ => 0,
        }
    })
}

/// The standard brain, two regions and the FA of a group.
fn templates(root: &Path) -> StandardBrain {
    let at = |name: &str| root.join("standard").join(name);
    for folder in ["templates", "atlases"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    let t1 = brain(1.0);
    nifti::write(at("templates/MNI152_T1_2mm_brain.nii.gz"), &t1).unwrap();
    nifti::write(at("templates/MNI152_T1_2mm_brain_mask.nii.gz"), &t1.map(|v| u8::from(v > 0.0))).unwrap();
    nifti::write(at("templates/MNI_FA_template.nii.gz"), &t1.map(|v| if v > 0.0 { 0.5f32 } else { 0.0 }))
        .unwrap();
    let labels = volume(|i| match (radius(i) < 0.8, i[0]) {
        (true, 0..10) => 1.0,
        (true, 14..) => 2.0,
        _ => 0.0,
    });
    nifti::write(at("atlases/aal.nii.gz"), &labels.map(|v| v as u8)).unwrap();
    std::fs::write(at("atlases/aal.nii.txt"), "1 Left\n2 Right\n").unwrap();
    StandardBrain { folder: root.join("standard"), spacing: SPACING, tracts: 1, tract_maps: None }
}

/// Programs in place of elastix and transformix, which count how often the first is called.
fn programs(root: &Path) -> PathBuf {
    let folder = root.join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let elastix = format!(
        "[ \"$1\" = --version ] && echo 'stand-in for elastix' && exit\n\
         echo x >> '{}'\n\
         [ -e '{}' ] && echo 'no overlap' && exit 1\n\
         echo '(A 1)' > TransformParameters.0.txt; cp TransformParameters.0.txt TransformParameters.1.txt",
        root.join("calls").display(),
        root.join("broken").display()
    );
    for (name, script) in [("elastix", elastix.as_str()), ("transformix", "cp input.nii.gz result.nii.gz")] {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn calls(root: &Path) -> usize {
    std::fs::read_to_string(root.join("calls")).map_or(0, |text| text.lines().count())
}

/// Writes a scan: what its names begin with, the endings of the sequences and of the mask, and the labels.
fn write_scan(start: &Path, endings: [&str; 5], labels: [u8; 3]) {
    std::fs::create_dir_all(start.parent().unwrap()).unwrap();
    let file = |ending: &str| PathBuf::from(format!("{}{ending}.nii.gz", start.display()));
    for (i, ending) in endings[..4].iter().enumerate() {
        nifti::write(file(ending), &brain(1.0 + i as f32)).unwrap();
    }
    nifti::write(file(endings[4]), &tumour(labels)).unwrap();
}

const BRATS: [&str; 5] = ["_t1", "_t1ce", "_t2", "_flair", "_seg"];
const BRATS_2023: [&str; 5] = ["-t1n", "-t1c", "-t2w", "-t2f", "-seg"];
const TCGA: [&str; 5] = ["_t1", "_t1Gd", "_t2", "_flair", "_GlistrBoost_ManuallyCorrected"];
const UCSF: [&str; 5] = ["_T1_bias", "_T1c_bias", "_T2_bias", "_FLAIR_bias", "_tumor_segmentation"];

/// Patients of each genotype that a cohort needs.
const EACH: usize = 15;

struct Made {
    root: tempfile::TempDir,
    config: GliomaFilesConfig,
}

impl Made {
    /// An empty folder for scans, with a table of IDH status.
    fn new(labels: LabelConvention, table: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let idh = root.path().join("idh.csv");
        std::fs::write(&idh, table).unwrap();
        std::fs::create_dir(root.path().join("scans")).unwrap();
        let programs = Some(programs(root.path()));
        let config = GliomaFilesConfig {
            folder: root.path().join("scans"),
            labels,
            tumour: TumourLabel::Core,
            segmentation: None,
            idh,
            names: vec![],
            standard: templates(root.path()),
            space: PatientSpace::Native,
            registration: RegistrationConfig { tool: RegistrationTool::Elastix, programs },
            intensities: IntensityConfig::default(),
            strict: false,
            trust_labels: false,
        };
        Made { root, config }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.config.folder.join(path)
    }

    fn open(&self) -> Result<GliomaCohort, String> {
        let source = GliomaSource::Files(self.config.clone());
        source.open(&self.root.path().join("runs"), &StopFlag::new(), &|_| ()).map_err(|e| e.to_string())
    }
}

/// Streamlines between the two regions of the templates, as TCK, one of which ends between them.
fn write_streamlines(path: &Path) {
    let lines = [[-45.0_f32, 45.0], [45.0, -45.0], [-39.0, 39.0], [-45.0, -3.0]];
    let mut bytes = b"mrtrix tracks\ndatatype: Float32LE\ncount: 4\nfile: . 58\nEND\n".to_vec();
    let mut put = |point: [f32; 3]| bytes.extend(point.iter().flat_map(|v| v.to_le_bytes()));
    for [from, to] in lines {
        put([from, 3.0, 3.0]);
        put([to, 3.0, 3.0]);
        put([f32::NAN; 3]);
    }
    put([f32::INFINITY; 3]);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn tracts_come_from_a_connectome_streamlines_or_masks() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let generated = templates(root.path());
    let with = |source| StandardBrain { tract_maps: Some(source), ..generated.clone() };
    let base = generated.atlas().unwrap();
    assert_eq!((base.tracts.len(), base.tracts[0].weight), (1, None));

    std::fs::write(at("c.csv"), ",Right,Left\nRight,4,12.5\nLeft,12.5,0\n").unwrap();
    let connectome = |least| TractSource::Connectome(ConnectomeFile { connectome: at("c.csv"), least });
    let (atlas, notes) = with(connectome(0.0)).atlas_noted().unwrap();
    assert_eq!((atlas.tracts[0].weight, atlas.tracts[0].pair), (Some(12.5), [0, 1]));
    // A matrix knows no ways: those are the generated ones.
    assert_eq!(atlas.tracts[0].voxels, base.tracts[0].voxels);
    assert!(
        atlas.source.contains("generated: geodesic paths between the 1 pairs of regions that"),
        "{}",
        atlas.source
    );
    assert!(notes[0].contains("1 weights of regions with themselves"), "{notes:?}");
    let error = with(connectome(20.0)).atlas().unwrap_err().to_string();
    assert!(error.contains("c.csv: no two regions are joined by a weight of 20 or more"), "{error}");

    write_streamlines(&at("t.tck"));
    let file = StreamlineFile::new(at("t.tck"));
    let (atlas, notes) = with(TractSource::Streamlines(file.clone())).atlas_noted().unwrap();
    let tract = &atlas.tracts[0];
    assert_eq!((atlas.tracts.len(), tract.weight), (1, Some(3.0)));
    // A straight line of voxels, all of which three streamlines cross but those at the ends.
    let row = |voxel: u32| atlas.grid.index_of(voxel as usize);
    assert!(tract.voxels.iter().all(|v| row(v.0)[1..] == row(tract.voxels[0].0)[1..]), "{tract:?}");
    assert!(tract.voxels[0].1 < 1.0 && tract.voxels[5].1 == 1.0, "{tract:?}");
    assert!(
        notes[0].contains("1 without a region at each end") && !atlas.source.contains("generated"),
        "{notes:?}"
    );
    let few = with(TractSource::Streamlines(StreamlineFile { fewest: 4, ..file }));
    let error = few.atlas().unwrap_err().to_string();
    assert!(error.contains("no two regions are joined by 4 of 4 streamlines"), "{error}");

    // A bar from region to region, and one within the left of them.
    let bars = volume(|i| match (i[0], i[1], i[2]) {
        (8..=15, 14, 12) => 1.0,
        (5..=8, 10, 12) => 2.0,
        _ => 0.0,
    });
    nifti::write(at("masks.nii.gz"), &bars.map(|v| v as u8)).unwrap();
    std::fs::write(at("masks.txt"), "0 none\n1 bar\n2 within\n").unwrap();
    let masks = TractMasks::new(at("masks.nii.gz"), at("masks.txt"));
    let (atlas, notes) = with(TractSource::Masks(masks)).atlas_noted().unwrap();
    assert_eq!((atlas.tracts.len(), atlas.tracts[0].pair, atlas.tracts[0].voxels.len()), (1, [0, 1], 8));
    assert!(notes[0].ends_with("left out: within: both of its ends touch Left most"), "{notes:?}");

    // The settings of older runs name maps, and are still read.
    let old = r#"{"maps": "m.nii", "ends": "e.txt", "threshold": 0.5}"#;
    let old: TractSource = serde_json::from_str(old).unwrap();
    assert_eq!(
        old,
        TractSource::Maps(TractMaps { maps: "m.nii".into(), ends: "e.txt".into(), threshold: 0.5 })
    );
    let text = serde_json::to_string(&connectome(2.0)).unwrap();
    assert_eq!(serde_json::from_str::<TractSource>(&text).unwrap(), connectome(2.0));
}

/// Thirty scans of BraTS 2023 with a table of their own.
fn plain() -> Made {
    let rows = (0..2 * EACH).map(|i| format!("BraTS-GLI-{i:05},{},Rome,{},F\n", i % 2, 40 + i));
    let made =
        Made::new(LabelConvention::Brats2023, &format!("id,idh,site,age,sex\n{}", rows.collect::<String>()));
    for i in 0..2 * EACH {
        let id = format!("BraTS-GLI-{i:05}-000");
        write_scan(&made.at(&format!("{id}/{id}")), BRATS_2023, [1, 3, 2]);
    }
    made
}

#[test]
fn cohorts_of_tcia_ucsf_and_brats_come_to_the_standard_brain() {
    let row = |i: usize| {
        format!("UCSF-PDGM-{i:03},F,50,{},BraTS2021_{i:05}\n", ["wildtype", "IDH1 p.R132H"][i % 2])
    };
    let rows: String = (0..2 * EACH).map(row).collect();
    let table = format!("ID,Sex,Age at MRI,IDH,BraTS21 ID\n{rows}TCGA-02-0006,M,61,wildtype,\n");
    let made = Made::new(LabelConvention::Brats2020, &table);
    for i in 0..2 * EACH {
        // One third each: UCSF's own images, those of BraTS 2021, and those of BraTS 2020 by a table of names.
        let (start, endings) = match i % 3 {
            0 => (format!("ucsf/UCSF-PDGM-{i:04}_nifti/UCSF-PDGM-{i:04}"), UCSF),
            1 => (format!("2021/set/BraTS2021_{i:05}/BraTS2021_{i:05}"), BRATS),
            _ => (format!("2020/BraTS20_Training_{i:03}/BraTS20_Training_{i:03}"), BRATS),
        };
        write_scan(&made.at(&start), endings, [1, 4, 2]);
    }
    write_scan(&made.at("ucsf/UCSF-PDGM-0003_FU003d_nifti/UCSF-PDGM-0003_FU003d"), UCSF, [1, 4, 2]);
    write_scan(&made.at("tcga/TCGA-02-0006/TCGA-02-0006_1996.08.23"), TCGA, [1, 4, 2]);
    let names = (0..2 * EACH).map(|i| format!("BraTS20_Training_{i:03},BraTS2021_{i:05}\n"));
    let names = format!("BraTS_2020_subject_ID,BraTS2021 ID\n{}", names.collect::<String>());
    std::fs::write(made.at("name_mapping.csv"), names).unwrap();

    let cohort = made.open().unwrap();
    assert_eq!(cohort.subjects.len(), 2 * EACH + 2);
    assert!(cohort.unlabelled().is_empty() && cohort.left_out.is_empty(), "{:?}", cohort.left_out);
    for (row, subject) in cohort.subjects.iter().enumerate() {
        let number: String = subject.id.chars().rev().take_while(char::is_ascii_digit).collect();
        let number: usize = number.chars().rev().collect::<String>().parse().unwrap_or(3);
        let expected = !subject.id.starts_with("TCGA") && number % 2 == 1;
        assert_eq!(cohort.idh(row), Some(expected), "{}", subject.id);
        assert_eq!(subject.tumour.count(), 5usize.pow(3), "{}", subject.id);
        assert!(subject.flags.is_empty(), "{:?}", subject.flags);
        assert!(
            subject.overlap.after > 0.95 && subject.overlap.correlation.unwrap() > 0.95,
            "{}",
            subject.overlap
        );
    }
    // What is kept are transforms: no image besides the patients on the standard brain.
    let patients = made.root.path().join("runs/cache/glioma_idh/patients");
    let mut folders = vec![patients];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.to_string_lossy().contains(".nii"), "{}", path.display());
            folders.extend(path.is_dir().then_some(path));
        }
    }
    // The page's table and pictures of the registration.
    let table = cohort.registration_table();
    assert!(table.len() == 20 && table.caption().contains("worst 20 of 32"), "{}", table.caption());
    assert!(cohort.registration_figures().unwrap()[1].png().is_some());
}

#[test]
fn a_bad_scan_is_listed_before_any_registration_and_ends_a_strict_run() {
    let made = plain();
    // More than are needed, each with another fault; the good ones stay enough.
    for i in 40..44 {
        let id = format!("BraTS-GLI-{i:05}-000");
        write_scan(&made.at(&format!("{id}/{id}")), BRATS_2023, [1, 3, 2]);
    }
    let file = |i: usize, ending: &str| {
        made.at(&format!("BraTS-GLI-{i:05}-000/BraTS-GLI-{i:05}-000{ending}.nii.gz"))
    };
    std::fs::remove_file(file(40, "-t2f")).unwrap();
    std::fs::write(file(41, "-t1c"), "no image").unwrap();
    nifti::write(file(42, "-seg"), &tumour([1, 4, 2])).unwrap();
    // A head: far more than the brain is not blank.
    nifti::write(file(43, "-t1n"), &volume(|i| if radius(i) < 1.15 { 50.0 } else { 0.0 })).unwrap();
    std::fs::write(made.root.path().join("broken"), "").unwrap();
    let mut strict = Made { root: tempfile::tempdir().unwrap(), config: made.config.clone() };
    strict.config.strict = true;
    let error = strict.open().unwrap_err();
    assert!(
        error.starts_with("4 of 34 scans cannot be used, without `strict` they are left out: "),
        "{error}"
    );
    let expected = [
        "missing: FLAIR (BraTS-GLI-00040-000-t2f.nii.gz)",
        "BraTS-GLI-00041-000-t1c.nii.gz",
        "label 4 does not exist under brats2023",
        "expected a brain without skull",
    ];
    for part in expected {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert_eq!(calls(made.root.path()), 0);
    std::fs::remove_file(made.root.path().join("broken")).unwrap();
    let cohort = made.open().unwrap();
    assert_eq!((cohort.subjects.len(), cohort.left_out.len()), (30, 4));
    assert!(
        cohort.notes.iter().any(|n| n == "4 of 34 scans cannot be used and are left out"),
        "{:?}",
        cohort.notes
    );
    assert_eq!(cohort.left_out_table().unwrap().len(), 4);
    assert_eq!(calls(made.root.path()), 30);
}

#[test]
fn a_registration_that_is_there_is_not_made_again() {
    let mut made = plain();
    let first = made.open().unwrap();
    assert_eq!(calls(made.root.path()), 30);
    let again = made.open().unwrap();
    assert_eq!(calls(made.root.path()), 30);
    assert_eq!(first.subjects[7].volumes[3].as_slice(), again.subjects[7].volumes[3].as_slice());
    // Another part of the tumour, or another mask, is brought over by the same transform.
    made.config.tumour = TumourLabel::Whole;
    let whole = made.open().unwrap();
    assert_eq!(calls(made.root.path()), 30);
    assert_eq!(whole.subjects[0].tumour.count(), 9usize.pow(3));
    // Another T1 is registered anew.
    nifti::write(made.at("BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz"), &brain(1.5)).unwrap();
    made.open().unwrap();
    assert_eq!(calls(made.root.path()), 31);
}

#[test]
fn a_brain_that_does_not_lie_on_the_atlas_is_left_out() {
    let made = plain();
    let add = |i: usize, t1: &Volume<f32>| {
        let id = format!("BraTS-GLI-{i:05}-000");
        write_scan(&made.at(&format!("{id}/{id}")), BRATS_2023, [1, 3, 2]);
        nifti::write(made.at(&format!("{id}/{id}-t1n.nii.gz")), t1).unwrap();
    };
    add(50, &volume(|i| if i[0] < 9 && radius(i) < 1.0 { 100.0 } else { 0.0 }));
    // The right place and the wrong way round: masks alone do not tell.
    add(51, &volume(|i| if radius(i) < 1.0 { 300.0 - i[0] as f32 - 2.0 * i[1] as f32 } else { 0.0 }));
    let cohort = made.open().unwrap();
    assert_eq!(cohort.subjects.len(), 30);
    let [overlap, turned] = &cohort.left_out[..] else { panic!("{:?}", cohort.left_out) };
    assert!(
        overlap.contains("BraTS-GLI-00050-000") && overlap.contains("overlap with a Dice of 0."),
        "{overlap}"
    );
    assert!(
        turned.contains("BraTS-GLI-00051-000") && turned.contains("correlates with that of the standard"),
        "{turned}"
    );
}

#[test]
fn labels_of_another_convention_are_refused_for_all_unless_they_are_trusted() {
    let mut made = plain();
    made.config.labels = LabelConvention::Decathlon;
    let error = made.open().unwrap_err();
    assert!(error.contains("in 30 of 30 patients the labels speak against it"), "{error}");
    assert!(
        error.contains("brats2023 (0, 1, 2, 3) fits 30 of 30") && error.contains("trust_labels"),
        "{error}"
    );
    made.config.labels = LabelConvention::Brats2020;
    let error = made.open().unwrap_err();
    assert!(error.contains("label 3 does not exist under brats2020"), "{error}");
    assert_eq!(calls(made.root.path()), 0);
    (made.config.labels, made.config.trust_labels) = (LabelConvention::Decathlon, true);
    let cohort = made.open().unwrap();
    assert!(cohort.subjects[0].flags[0].contains("do the numbers follow another convention?"));
}

#[test]
fn standardised_images_are_named_and_their_brain_is_found() {
    let made = plain();
    // The background of z-scores over the whole volume is not 0.
    let scores = brain(1.0).map(|v| if v > 0.0 { (v - 130.0) / 20.0 } else { -6.5 });
    for ending in &BRATS_2023[..4] {
        nifti::write(made.at(&format!("BraTS-GLI-00000-000/BraTS-GLI-00000-000{ending}.nii.gz")), &scores)
            .unwrap();
    }
    let cohort = made.open().unwrap();
    let subject = &cohort.subjects[0];
    assert!(
        subject.flags[0].starts_with("negative values within the brain, as of images that were standardised")
    );
    assert!(subject.flags[0].contains("FLAIR") && subject.overlap.after > 0.95, "{}", subject.overlap);
    assert_eq!(subject.volumes[0].as_slice()[0], 0.0);
    // Noise around the head is no blank background.
    let id = "BraTS-GLI-00001-000";
    let files = GliomaFiles::find(made.at(id), None).unwrap();
    let noise = volume(|i| if radius(i) < 1.0 { 100.0 } else { ((7 * i[0] + 3 * i[1] + i[2]) % 5) as f32 });
    nifti::write(&files.sequences[2], &noise).unwrap();
    let raw = files.read(LabelConvention::Brats2023, TumourLabel::Core).unwrap();
    let error = place_on_atlas(raw, &cohort.atlas, Placement::Standard(None), &IntensityConfig::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("T2 with different values in its corners"), "{error}");
}

#[test]
fn histograms_are_those_of_the_reference_which_is_no_patient() {
    let mut made = plain();
    let id = "BraTS-GLI-00060-000";
    write_scan(&made.at(&format!("{id}/{id}")), BRATS_2023, [1, 3, 2]);
    let twice = brain(1.0).map(|v| 2.0 * v);
    for ending in &BRATS_2023[..4] {
        nifti::write(made.at(&format!("{id}/{id}{ending}.nii.gz")), &twice).unwrap();
    }
    let files = GliomaFiles::find(made.at(id), None).unwrap();
    let scan = files.read(LabelConvention::Brats2023, TumourLabel::Core).unwrap();
    made.config.intensities.reference = Some(IntensityReference::new(scan).unwrap());
    made.config.space = PatientSpace::Standard;
    let cohort = made.open().unwrap();
    assert_eq!(cohort.subjects.len(), 30);
    assert!(cohort.left_out[0].starts_with("BraTS-GLI-00060-000: the other scans get the histograms"));
    let mean = |v: &Volume<f32>| v.as_slice().iter().sum::<f32>();
    for volume in &cohort.subjects[3].volumes {
        assert!((mean(volume) / mean(&twice) - 1.0).abs() < 0.01, "{} {}", mean(volume), mean(&twice));
    }
    // Another preparation is another entry of the cache.
    let susan = Some(SusanConfig { sigma: SPACING, ..SusanConfig::default() });
    made.config.intensities = IntensityConfig { susan, reference: None };
    let smooth = made.open().unwrap();
    assert_eq!((smooth.subjects.len(), smooth.left_out.len()), (31, 0));
    let (volume, before) = (&smooth.subjects[3].volumes[0], &cohort.subjects[3].volumes[0]);
    assert!((mean(volume) / mean(&brain(1.0)) - 1.0).abs() < 0.01 && volume.as_slice() != before.as_slice());
}
