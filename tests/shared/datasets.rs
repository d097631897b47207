//! `oncograph-datasets` on the released clinical workbook and on real CT and SEG objects.

use approx::assert_relative_eq;
use libtest_mimic::{Failed, Trial};
use oncograph_core::{Seed, TimeUnit};
use oncograph_datasets::crlm::{
    ClinicalTable, CrlmCohort, Endpoint, FeatureSet, ImageFiles, Layout, LoadOptions, PhantomConfig,
    Structure, write_phantom,
};
use oncograph_datasets::scaler::{PipelineConfig, TabularPipeline};
use oncograph_datasets::splits::{repeated_stratified_k_fold, stratified_split};
use oncograph_imaging::{Mask, dicom, nifti, resample, seg};
use oncograph_metrics::{
    Covariates, CoxConfig, CoxModel,
    survival::{KaplanMeier, Survival, concordance},
};
use std::fs;
use std::path::{Path, PathBuf};

type Outcome = Result<(), Failed>;

const WORKBOOK: &str = "data/crlm/clinical/Colorectal-Liver-Metastases-Clinical-data-April-2023.xlsx";
const TABLE: &str = "data/crlm/clinical/TCIA_n=197.csv";

/// The trials of this file.
pub fn trials() -> Vec<Trial> {
    type Run = fn(&Path) -> Outcome;
    let images: &[&str] = &["data/crlm/ct_dicom", "data/crlm/ct_dicom_labels.nii.gz"];
    let list: [(&str, &[&str], Run); 7] = [
        ("phantom_signal", &[], phantom_signal),
        ("published_counts", &[WORKBOOK], published_counts),
        ("workbook_equals_csv", &[WORKBOOK, TABLE], workbook_equals_csv),
        ("clinical_only", &[TABLE], clinical_only),
        ("splits_and_scaling", &[TABLE], splits_and_scaling),
        ("tcia_layout", images, tcia_layout),
        ("partial_overlaps", &["data/crlm/dicom_seg"], partial_overlaps),
    ];
    let trial = |(name, needs, run): (&str, &[&str], Run)| {
        oncograph_tests::trial(&format!("datasets::{name}"), needs, run)
    };
    list.into_iter().map(trial).collect()
}

fn median_months(table: &ClinicalTable, endpoint: Endpoint, invert: bool) -> Result<Option<f64>, Failed> {
    let survival = Survival::of(&table.outcomes(endpoint), TimeUnit::Months)?;
    let curve = if invert {
        KaplanMeier::fit_follow_up(&survival, 0.95)?
    } else {
        KaplanMeier::fit(&survival, 0.95)?
    };
    Ok(curve.median())
}

fn published_counts(root: &Path) -> Outcome {
    let table = ClinicalTable::read(root.join(WORKBOOK))?;
    assert_eq!(table.len(), 197);
    for (endpoint, events) in
        [(Endpoint::OverallSurvival, 107), (Endpoint::Recurrence, 131), (Endpoint::DiseaseFreeSurvival, 138)]
    {
        assert_eq!(table.outcomes(endpoint).iter().filter(|o| o.event()).count(), events, "{endpoint:?}");
    }
    assert_eq!(table.strata().iter().filter(|s| **s == 0).count(), 59);
    let features = table.columns(&["carcinoembryonic_antigen", "clinrisk_score"])?;
    assert_eq!(features.rows().filter(|r| r[0].is_none()).count(), 29);
    assert_eq!(features.rows().filter(|r| r[1].is_none()).count(), 29);
    let range = |endpoint| {
        let months: Vec<f64> = table.outcomes(endpoint).iter().map(|o| o.time_in(TimeUnit::Months)).collect();
        let bound = |f: fn(f64, f64) -> f64| months.iter().copied().fold(months[0], f);
        (bound(f64::min), bound(f64::max))
    };
    let (low, high) = range(Endpoint::OverallSurvival);
    assert!((low - 3.77).abs() < 0.01 && (high - 131.93).abs() < 0.01, "{low} {high}");
    let (low, high) = range(Endpoint::Recurrence);
    assert!((low - 0.93).abs() < 0.01 && (high - 131.63).abs() < 0.01, "{low} {high}");
    for (endpoint, invert, expected) in [
        (Endpoint::OverallSurvival, false, 76.0),
        (Endpoint::Recurrence, false, 22.3),
        (Endpoint::OverallSurvival, true, 102.4),
    ] {
        let median = median_months(&table, endpoint, invert)?.ok_or("no median")?;
        assert!((median - expected).abs() < 0.06, "{endpoint:?}: {median}, expected {expected}");
    }
    assert_eq!(table.audit(), Vec::<String>::new());
    assert!(table.patients.iter().any(|p| p.notes.contains("stomach")));
    Ok(())
}

fn workbook_equals_csv(root: &Path) -> Outcome {
    let (book, csv) = (ClinicalTable::read(root.join(WORKBOOK))?, ClinicalTable::read(root.join(TABLE))?);
    assert_eq!(book.ids(), csv.ids());
    let (a, b) = (book.features(FeatureSet::All)?, csv.features(FeatureSet::All)?);
    for (patient, (a, b)) in book.ids().iter().zip(a.rows().zip(b.rows())) {
        for (a, b) in a.iter().zip(b) {
            assert_eq!(a.is_some(), b.is_some(), "{patient}");
            assert_relative_eq!(a.unwrap_or(0.0), b.unwrap_or(0.0), max_relative = 1e-12);
        }
    }
    for (a, b) in book.patients.iter().zip(&csv.patients) {
        assert_eq!(a.notes, b.notes);
        for endpoint in [Endpoint::OverallSurvival, Endpoint::Recurrence, Endpoint::LiverDiseaseFreeSurvival]
        {
            let (a, b) = (a.outcome(endpoint), b.outcome(endpoint));
            assert_eq!((a.event(), a.unit()), (b.event(), TimeUnit::Months));
            assert_relative_eq!(a.time(), b.time_in(TimeUnit::Months), max_relative = 1e-12);
        }
    }
    Ok(())
}

fn clinical_only(root: &Path) -> Outcome {
    // The folder has the workbook, its export and the data dictionary: the workbook is the table.
    let cohort = CrlmCohort::open(root.join("data/crlm/clinical"))?;
    assert_eq!((cohort.layout, cohort.subjects.len()), (Layout::ClinicalOnly, 197));
    assert!(cohort.subjects.iter().all(|s| s.images.is_none()));
    assert!(cohort.clinical.path.ends_with(Path::new(WORKBOOK).file_name().ok_or("no name")?));
    let error = cohort.subjects[0].load(&LoadOptions::new()).err().ok_or("loaded")?.to_string();
    assert!(error.contains("CRLM-CT-1001") && error.contains("no images"), "{error}");
    Ok(())
}

fn splits_and_scaling(root: &Path) -> Outcome {
    let table = ClinicalTable::read(root.join(TABLE))?;
    let seed = Seed::new(1);
    let split = stratified_split(&table.strata(), [0.6, 0.2, 0.2], seed)?;
    assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (118, 39, 40));
    assert_eq!(repeated_stratified_k_fold(&table.strata(), 5, 5, seed)?.len(), 25);
    let features = table.features(FeatureSet::PreopOnly)?;
    let config = PipelineConfig::new().log1p(["carcinoembryonic_antigen"]);
    let scaled = TabularPipeline::fit(&features, &split.train, &config)?.transform(&features)?;
    assert_eq!(scaled.names.len(), 15 + 3, "{:?}", scaled.names);
    for &row in &split.train {
        assert!(scaled.rows[row].iter().all(|v| (0.0..=1.0).contains(v)));
    }
    Ok(())
}

/// A model of the clinical columns alone stays far behind the truth, and without signal nothing can be learned.
fn phantom_signal(_: &Path) -> Outcome {
    let concordances = |strength: f64| -> Result<(f64, f64), Failed> {
        let folder = tempfile::tempdir()?;
        let config = PhantomConfig::new(600, 8).matrix(32).slice_spacing(5.0, 7.5).strength(strength);
        let truth = write_phantom(folder.path(), &config, |_, _| ())?;
        let table = CrlmCohort::open(folder.path())?.clinical;
        let outcomes = table.outcomes(Endpoint::OverallSurvival);
        // Fitted on the first half, judged on the second.
        let train: Vec<usize> = (0..300).collect();
        let features = table.features(FeatureSet::PreopOnly)?;
        let scaled = TabularPipeline::fit(&features, &train, &PipelineConfig::new())?.transform(&features)?;
        let columns = scaled.names.len();
        let values: Vec<f64> = scaled.rows.into_iter().flatten().collect();
        let (first, second) = values.split_at(300 * columns);
        let covariates = Covariates::new(first, columns)?;
        let months = |outcomes| Survival::of(outcomes, TimeUnit::Months);
        let cox = CoxModel::fit(&months(&outcomes[..300])?, &covariates, &CoxConfig::new().ridge(1.0))?;
        let clinical = cox.linear_predictor(&Covariates::new(second, columns)?)?;
        let test = months(&outcomes[300..])?;
        let lp: Vec<f64> = truth.patients[300..].iter().map(|p| p.lp_death).collect();
        Ok((concordance(&test, &lp)?.index, concordance(&test, &clinical)?.index))
    };
    let (truth, clinical) = concordances(1.0)?;
    assert!(truth > 0.70 && clinical < truth - 0.08, "truth {truth}, clinical {clinical}");
    let (_, without) = concordances(0.0)?;
    assert!((without - 0.5).abs() < 0.07, "{without}");
    println!(
        "phantom_signal: C-index of the truth {truth:.3}, clinical columns alone {clinical:.3}, no signal {without:.3}"
    );
    Ok(())
}

/// A clinical table for the given identifiers, made from a phantom's.
fn table_for(folder: &Path, ids: &[&str]) -> Outcome {
    let phantom = tempfile::tempdir()?;
    write_phantom(phantom.path(), &PhantomConfig::new(ids.len(), 1).matrix(32), |_, _| ())?;
    let mut text = fs::read_to_string(phantom.path().join("clinical.csv"))?;
    for (i, id) in ids.iter().enumerate() {
        text = text.replace(&format!("PHANTOM-{:04}", i + 1), id);
    }
    Ok(fs::write(folder.join("clinical.csv"), text)?)
}

fn copy_all(from: &Path, to: &Path) -> Result<usize, Failed> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    for entry in &entries {
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(entries.len())
}

/// The real CT with a SEG made from its label map, in the folders of the original collection.
struct Collection {
    folder: tempfile::TempDir,
    study: PathBuf,
    seg: PathBuf,
    images: usize,
    series: dicom::Series,
    labels: oncograph_imaging::Volume<u8>,
}

impl Collection {
    const CT: &str = "101.000000-NA-84686";
    const SEG: &str = "100.000000-Segmentation-99942";

    fn make(root: &Path) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let study = folder.path().join("CRLM-CT-1001/09-07-1992-NA-CT ANGIO LIV WITH CH AND PEL-18678");
        let images = copy_all(&root.join("data/crlm/ct_dicom"), &study.join(Self::CT))?;
        let series = dicom::read_series(study.join(Self::CT), &dicom::SeriesOptions::new())?;
        let labels: oncograph_imaging::Volume<u8> =
            nifti::read(root.join("data/crlm/ct_dicom_labels.nii.gz"))?;
        let options = oncograph_imaging::ResampleOptions::label();
        let labels =
            resample(&labels, series.volume.grid(), &options)?.with_frame(series.volume.frame().clone());
        fs::create_dir_all(study.join(Self::SEG))?;
        let seg = study.join(Self::SEG).join("1-1.dcm");
        table_for(folder.path(), &["CRLM-CT-1001", "CRLM-CT-1002"])?;
        let made = Self { folder, study, seg, images, series, labels };
        made.segment(&[("Liver", 5), ("Hepatic", 63), ("Portal", 64), ("Tumor_1", 6)])?;
        Ok(made)
    }

    fn segment(&self, labels: &[(&str, u8)]) -> Outcome {
        let segment = |(name, label): &(&str, u8)| {
            let kind = (seg::Code::organ(), seg::Code::abnormality());
            (seg::NewSegment::new(*name, kind.0, kind.1), self.labels.label(*label))
        };
        let segments: Vec<(seg::NewSegment, Mask)> = labels.iter().map(segment).collect();
        Ok(seg::write(&self.seg, &self.series, &segments, &seg::WriteOptions::new())?)
    }

    fn metadata(&self, images: usize, separator: &str) -> Outcome {
        let study = self.study.file_name().ok_or("no name")?.to_string_lossy().into_owned();
        let place = |series| ["Colorectal-Liver-Metastases", "CRLM-CT-1001", &study, series].join(separator);
        let uid = &self.series.series_uid;
        let text = format!(
            "Series UID,Subject ID,Modality,Number of Images,File Location\n\
             {uid},CRLM-CT-1001,CT,{images},.{separator}{}\n1.2.3,CRLM-CT-1001,SEG,1,.{separator}{}\n",
            place(Self::CT),
            place(Self::SEG)
        );
        Ok(fs::write(self.folder.path().join("metadata.csv"), text)?)
    }

    fn load(&self, options: &LoadOptions) -> Result<oncograph_datasets::crlm::CrlmImages, String> {
        let cohort = CrlmCohort::open(self.folder.path()).map_err(|e| e.to_string())?;
        assert_eq!(cohort.layout, Layout::Tcia);
        assert!(cohort.subjects[1].images.is_none());
        cohort.subjects[0].load(options).map_err(|e| e.to_string())
    }

    fn fails(&self, parts: &[&str]) {
        let text = self.load(&LoadOptions::new()).err().unwrap_or_default();
        assert!(parts.iter().all(|p| text.contains(p)), "`{text}` lacks one of {parts:?}");
    }
}

fn tcia_layout(root: &Path) -> Outcome {
    let made = Collection::make(root)?;
    let check = |images: oncograph_datasets::crlm::CrlmImages| {
        assert_eq!(images.missing, [Structure::LiverRemnant]);
        assert_eq!(images.ct.shape(), made.series.volume.shape());
        for (structure, label) in
            [(Structure::Liver, 5), (Structure::HepaticVeins, 63), (Structure::Tumor(1), 6)]
        {
            assert_eq!(
                images.masks[&structure].as_slice(),
                made.labels.label(label).as_slice(),
                "{structure}"
            );
        }
        assert_eq!(images.tumor_union().count(), made.labels.label(6).count());
    };
    // By walking the folders, then as metadata.csv says: with both separators and the archive's own folder name.
    check(made.load(&LoadOptions::new())?);
    for separator in ["/", "\\"] {
        made.metadata(made.images, separator)?;
        check(made.load(&LoadOptions::new())?);
    }
    let cohort = CrlmCohort::open(made.folder.path())?;
    assert!(matches!(&cohort.subjects[0].images, Some(ImageFiles::Dicom { series: Some((_, 20)), .. })));
    made.metadata(made.images + 1, "/")?;
    made.fails(&["CRLM-CT-1001", "20 images", "lists 21"]);
    fs::remove_file(made.folder.path().join("metadata.csv"))?;
    made.segment(&[("Liver", 5), ("Spleen", 1)])?;
    made.fails(&["1-1.dcm", "unknown label `Spleen`"]);
    assert_eq!(made.load(&LoadOptions::new().skip_unknown_labels(true))?.masks.len(), 1);
    made.segment(&[("Liver", 5), ("liver", 6)])?;
    made.fails(&["1-1.dcm", "two segments"]);
    made.segment(&[("Liver", 5), ("Tumor_1", 250)])?;
    made.fails(&["1-1.dcm", "Tumor_1 has no voxels"]);
    let images = made.load(&LoadOptions::new().empty_as_missing(true))?;
    assert!(images.missing.contains(&Structure::Tumor(1)));
    let bytes = fs::read(&made.seg)?;
    fs::write(&made.seg, &bytes[..bytes.len() / 2])?;
    made.fails(&["CRLM-CT-1001", "1-1.dcm"]);
    // The SEG of another examination.
    fs::copy(root.join("data/crlm/dicom_seg/liver.dcm"), &made.seg)?;
    made.fails(&["1-1.dcm", "belongs to series"]);
    let second = made.study.join("102.000000-Segmentation-1");
    fs::create_dir_all(&second)?;
    fs::copy(&made.seg, second.join("1-1.dcm"))?;
    made.fails(&["CRLM-CT-1001", "several segmentations"]);
    Ok(())
}

fn partial_overlaps(root: &Path) -> Outcome {
    // A SEG that covers a part of its CT, and five segments that overlap; its labels are not the cohort's.
    let folder = tempfile::tempdir()?;
    let source = root.join("data/crlm/dicom_seg");
    let study = folder.path().join("Colorectal-Liver-Metastases/CRLM-CT-1007/study");
    for (file, series) in [("01.dcm", "ct"), ("02.dcm", "ct"), ("03.dcm", "ct"), ("liver.dcm", "seg")] {
        fs::create_dir_all(study.join(series))?;
        fs::copy(source.join(file), study.join(series).join(file))?;
    }
    table_for(folder.path(), &["CRLM-CT-1007"])?;
    let cohort = CrlmCohort::open(folder.path())?;
    let images = cohort.subjects[0].load(&LoadOptions::new())?;
    assert_eq!(images.masks.keys().collect::<Vec<_>>(), [&Structure::Liver]);
    assert_eq!(images.masks[&Structure::Liver].shape(), images.ct.shape());
    assert_eq!(images.missing.len(), 4);
    fs::remove_file(study.join("seg/liver.dcm"))?;
    fs::copy(source.join("partial_overlaps.dcm"), study.join("seg/overlaps.dcm"))?;
    let error = cohort_error(folder.path())?;
    assert!(error.contains("overlaps.dcm") && error.contains("unknown label"), "{error}");
    Ok(())
}

fn cohort_error(folder: &Path) -> Result<String, Failed> {
    let loaded = CrlmCohort::open(folder)?.subjects[0].load(&LoadOptions::new());
    Ok(loaded.err().ok_or("loaded")?.to_string())
}
