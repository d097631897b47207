use super::BrainOverlap;
use crate::{Error, Result};
use oncograph_core::{Argument, Split, Table};
use oncograph_datasets::cache::ContentHash;
use oncograph_datasets::glioma::{BrainAtlas, ScanName};
use oncograph_datasets::patients::{PatientGroups, PatientRows};
use oncograph_datasets::scaler::{Matrix, PipelineConfig, ScalerKind, TabularPipeline};
use oncograph_imaging::{Mask, Volume};
use oncograph_nn::Seed;
use oncograph_study::{Cohort, FoldSplit, Plan, Target, Task};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The sequences, in the order of every array of four in this crate.
pub const SEQUENCES: [&str; 4] = ["T1", "contrast T1", "T2", "FLAIR"];

/// What results are broken down by, where it is known; no model is given any of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GliomaGroups {
    /// Where the patient was treated.
    pub site: Option<String>,
    /// WHO grade, 2 to 4.
    pub grade: Option<u8>,
    /// Whether a part of the tumour takes up contrast medium, by the segmentation.
    pub enhancing: Option<bool>,
}

/// One patient, or one scan of several, on the grid of the atlas.
#[derive(Debug, Clone)]
pub struct GliomaSubject {
    /// The identifier of the scan.
    pub id: String,
    /// Age in years.
    pub age: Option<f64>,
    /// Whether the patient is male.
    pub male: Option<bool>,
    /// What results are broken down by.
    pub groups: GliomaGroups,
    /// T1, contrast T1, T2, FLAIR.
    pub volumes: [Volume<f32>; 4],
    /// The tumour.
    pub tumour: Mask,
    /// Fractional anisotropy, which the encoder of tracts learns from.
    pub anisotropy: Option<Volume<f32>>,
    /// Remarks on this patient that have to be shown beside results.
    pub flags: Vec<String>,
    /// How well the brain lies on that of the atlas.
    pub overlap: BrainOverlap,
}

/// What a covariate of a subject is, where it is known.
type Covariate = fn(&GliomaSubject) -> Option<f64>;

/// A remark on each pair of scans with the same images.
fn equal_images(ids: &[String], contents: &[String]) -> Vec<String> {
    let (mut first, mut notes) = (BTreeMap::new(), vec![]);
    for (id, content) in ids.iter().zip(contents) {
        let one = *first.entry(content).or_insert(id);
        if one != id {
            notes.push(format!("{one} and {id} have the same images: they count as one patient"));
        }
    }
    notes
}

impl GliomaSubject {
    /// A hash of what the encoders see: the grids and voxels of all volumes, bit by bit.
    pub(crate) fn content(&self) -> Result<String> {
        let volume = |hash: ContentHash, v: &Volume<f32>| {
            let grid = (v.shape(), v.grid().affine().as_slice());
            Ok::<_, Error>(hash.json(&grid)?.floats(v.as_slice()))
        };
        let grid = (self.tumour.shape(), self.tumour.grid().affine().as_slice());
        let hash = ContentHash::new().json(&grid)?.bytes(self.tumour.as_slice());
        let hash = self.volumes.iter().try_fold(hash, volume)?;
        let hash = self.anisotropy.iter().try_fold(hash.json(&self.anisotropy.is_some())?, volume)?;
        Ok(hash.hex())
    }
}

/// Patients with the atlas that their regions and tracts come from. The task is `IDH`, classes `wild type` and `mutant`.
///
/// Scans of one patient, by their names ([`ScanName`]), by [`GliomaCohort::of_patients`] or because their images are equal, are
/// never on two sides of a split.
#[derive(Debug, Clone)]
pub struct GliomaCohort {
    /// Regions and tracts.
    pub atlas: BrainAtlas,
    /// The patients; those whose IDH status is unknown can train the encoders of regions and tracts.
    pub subjects: Vec<GliomaSubject>,
    /// Whether the patients were generated.
    pub phantom: bool,
    /// The folder with a folder for each patient; empty for a cohort that was not read from files.
    pub folder: PathBuf,
    /// Where the patients come from, in words.
    pub origin: String,
    /// Remarks on the whole cohort that have to be shown beside results.
    pub notes: Vec<String>,
    /// The scans of the folder that cannot be used, and why.
    pub left_out: Vec<String>,
    ids: Vec<String>,
    tasks: Vec<Task>,
    /// Which patient each scan is of.
    groups: PatientGroups,
    /// Changes whenever the content of an image or the atlas does.
    images: String,
}

impl GliomaCohort {
    /// The name of the task.
    pub const TASK: &'static str = "IDH";
    /// The classes.
    pub const CLASSES: [&'static str; 2] = ["wild type", "mutant"];

    /// A cohort of subjects with their IDH status.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of labels than subjects, or two subjects of one identifier.
    pub fn new(atlas: BrainAtlas, subjects: Vec<GliomaSubject>, idh: &[Option<bool>]) -> Result<Self> {
        if idh.len() != subjects.len() {
            let expected = format!("one for each of {} subjects", subjects.len());
            return Err(Argument::new("GliomaCohort", "idh", expected, idh.len()).into());
        }
        let ids: Vec<String> = subjects.iter().map(|s| s.id.clone()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let got = format!("{} twice", twice[0]);
            return Err(Argument::new("GliomaCohort", "ids", "one for each scan", got).into());
        }
        let contents = subjects.par_iter().map(GliomaSubject::content).collect::<Result<Vec<_>>>()?;
        let images = ContentHash::new().bytes(&atlas.to_safetensors()?).json(&contents)?.hex();
        let names = Self::CLASSES.map(String::from).to_vec();
        let classes = idh.iter().map(|m| m.map(usize::from)).collect();
        Ok(GliomaCohort {
            groups: PatientGroups::by(ids.iter().map(|id| ScanName::of(id).patient)).joined(&contents),
            notes: equal_images(&ids, &contents),
            ids,
            tasks: vec![Task::new(Self::TASK, Target::Classes { names, classes })],
            atlas,
            subjects,
            phantom: false,
            folder: PathBuf::new(),
            origin: String::new(),
            left_out: vec![],
            images,
        })
    }

    /// Scans with equal names are of one patient, too.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of names than scans.
    pub fn of_patients(mut self, names: &[String]) -> Result<Self> {
        if names.len() != self.ids.len() {
            let expected = format!("one for each of {} scans", self.ids.len());
            return Err(Argument::new("GliomaCohort", "names", expected, names.len()).into());
        }
        self.groups = self.groups.joined(names);
        Ok(self)
    }

    /// The patients who have any of some scans, each with those.
    pub fn patients(&self, rows: &[usize]) -> PatientRows {
        self.groups.among(rows)
    }

    /// Whether IDH is mutated in a row; `None` where it is not known.
    pub fn idh(&self, row: usize) -> Option<bool> {
        match &self.tasks[0].target {
            Target::Classes { classes, .. } => classes[row].map(|c| c == 1),
            _ => None,
        }
    }

    /// Whether each of some rows is a mutant; one whose status is not known is not called one.
    pub fn mutants(&self, rows: &[usize]) -> Vec<bool> {
        rows.iter().map(|&i| self.idh(i) == Some(true)).collect()
    }

    /// The identifiers of some rows.
    pub(crate) fn ids_of(&self, rows: &[usize]) -> Vec<&str> {
        rows.iter().map(|&i| self.ids[i].as_str()).collect()
    }

    /// Changes whenever the content of an image or the atlas does.
    pub(crate) fn images(&self) -> &str {
        &self.images
    }

    /// The rows without an IDH status.
    pub fn unlabelled(&self) -> Vec<usize> {
        (0..self.subjects.len()).filter(|&i| self.idh(i).is_none()).collect()
    }

    /// A number for each of some scans that scans of one patient share.
    pub(crate) fn numbers_of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|&row| self.groups.numbers()[row]).collect()
    }

    /// Those of some scans whose patients have none among others.
    pub(crate) fn apart_from(&self, rows: &[usize], others: &[usize]) -> Vec<usize> {
        let held: BTreeSet<usize> = self.numbers_of(others).into_iter().collect();
        let numbers = self.numbers_of(rows);
        rows.iter().zip(numbers).filter(|(_, number)| !held.contains(number)).map(|(row, _)| *row).collect()
    }

    /// Splits the labelled patients by shares into half A, which trains the encoders (`train`), half B, which trains the
    /// classifiers (`validation`), and the test patients, stratified by genotype; all scans of a patient go to one part.
    ///
    /// # Errors
    /// Shares that do not sum to 1, or too few patients of a genotype.
    pub fn halves(&self, shares: [f64; 3], seed: u64) -> Result<Split> {
        let labelled: Vec<usize> = (0..self.subjects.len()).filter(|&i| self.idh(i).is_some()).collect();
        self.split_of(&labelled, shares, seed)
    }

    fn split_of(&self, rows: &[usize], shares: [f64; 3], seed: u64) -> Result<Split> {
        let patients = self.patients(rows);
        let genotypes: Vec<usize> =
            (0..self.ids.len()).map(|i| usize::from(self.idh(i) == Some(true))).collect();
        let strata = patients.strata(&genotypes);
        let split = patients.split(&strata, shares, Seed::new(seed).stream("split"));
        split.map_err(|error| match error {
            oncograph_datasets::Error::Stratum { .. } => {
                let of = |class: usize| strata.iter().filter(|s| **s == class).count();
                let [wild_type, mutant] = Self::CLASSES;
                let expected = format!("enough of each genotype for every part of the split {shares:?}");
                let got =
                    format!("{} {mutant} and {} {wild_type} (--patients for generated ones)", of(1), of(0));
                Argument::new("GliomaCohort", "labelled patients", expected, got).into()
            }
            other => other.into(),
        })
    }

    /// As [`GliomaCohort::halves`], with all patients who have a scan from one site as the test patients: the shares of the two
    /// halves are those of the others. A second cohort in the folder, with a site of its own, is an external test.
    ///
    /// # Errors
    /// A site that no labelled patient is from, with those there are; otherwise as [`GliomaCohort::halves`].
    pub fn halves_beside(&self, site: &str, shares: [f64; 3], seed: u64) -> Result<Split> {
        let of = |row: &usize| self.subjects[*row].groups.site.as_deref();
        let labelled: Vec<usize> = (0..self.subjects.len()).filter(|&i| self.idh(i).is_some()).collect();
        let there: Vec<usize> = labelled.iter().copied().filter(|row| of(row) == Some(site)).collect();
        if there.is_empty() {
            let sites: BTreeSet<&str> = labelled.iter().filter_map(of).collect();
            let expected = match sites.is_empty() {
                true => "none: no patient has a site".into(),
                false => format!("one of {}", sites.into_iter().collect::<Vec<_>>().join(", ")),
            };
            return Err(Argument::new("GliomaCohort", "site", expected, site).into());
        }
        let others = self.apart_from(&labelled, &there);
        let test = labelled.into_iter().filter(|row| !others.contains(row)).collect();
        let [a, b, _] = shares;
        let halves = self.split_of(&others, [a / (a + b), b / (a + b), 0.0], seed)?;
        Ok(Split::new(halves.train, halves.validation, test))
    }

    /// A study's plan of one split.
    pub fn plan(split: &Split) -> Plan {
        Plan::Given(vec![FoldSplit { repeat: 0, fold: 0, split: split.clone() }])
    }
}

impl Cohort for GliomaCohort {
    fn ids(&self) -> &[String] {
        &self.ids
    }

    fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    fn groups(&self) -> Option<Vec<usize>> {
        Some(self.groups.numbers().to_vec())
    }

    /// Age and sex in standard deviations of the rows `train`; a gap gets their median, with a column that marks it where they
    /// have gaps, too. One that is known of none of them is left out.
    fn design(&self, train: &[usize]) -> oncograph_study::Result<Matrix> {
        let of: [(&str, Covariate); 2] =
            [("age", |s| s.age), ("male", |s| s.male.map(|m| f64::from(u8::from(m))))];
        let known = |get: Covariate| train.iter().any(|&i| get(&self.subjects[i]).is_some());
        let columns: Vec<_> = of.into_iter().filter(|(_, get)| known(*get)).collect();
        if columns.is_empty() {
            return Ok(Matrix { names: vec![], rows: vec![vec![]; self.subjects.len()] });
        }
        let rows = self.subjects.iter().map(|s| columns.iter().map(|(_, get)| get(s)).collect()).collect();
        let names = columns.iter().map(|(name, _)| name.to_string()).collect();
        let table = Table::new(self.ids.clone(), names, rows).map_err(Error::from)?;
        let config = PipelineConfig::new().scaler(ScalerKind::ZScore);
        Ok(TabularPipeline::fit(&table, train, &config)?.transform(&table)?)
    }

    fn fingerprint(&self) -> String {
        let covariates: Vec<_> = self.subjects.iter().map(|s| (s.age, s.male)).collect();
        format!("{} {covariates:?}", self.images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GliomaSource;
    use oncograph_datasets::glioma::GliomaPhantomConfig;
    use oncograph_train::StopFlag;

    /// Thirty generated patients, some of them under another name.
    fn cohort(rename: impl Fn(usize) -> Option<String>) -> GliomaCohort {
        let folder = tempfile::tempdir().unwrap();
        let mut phantom = GliomaPhantomConfig::new(30, 1);
        (phantom.unlabelled, phantom.shape, phantom.regions, phantom.tracts) = (2, [16, 18, 16], 10, 12);
        let source = GliomaSource::Phantom(phantom);
        let mut opened = source.open(folder.path(), &StopFlag::new(), &|_| ()).unwrap();
        for (i, subject) in opened.subjects.iter_mut().enumerate() {
            subject.id = rename(i).unwrap_or_else(|| subject.id.clone());
        }
        let idh: Vec<_> = (0..opened.subjects.len()).map(|i| opened.idh(i)).collect();
        GliomaCohort::new(opened.atlas.clone(), opened.subjects, &idh).unwrap()
    }

    #[test]
    fn scans_of_a_patient_are_on_one_side_of_every_split() {
        let named = cohort(|i| Some(format!("BraTS-GLI-{:05}-{:03}", i / 2, i % 2)));
        let idh: Vec<_> = (0..named.subjects.len()).map(|i| Some(i / 2 % 2 == 0)).collect();
        let cohort = GliomaCohort::new(named.atlas, named.subjects, &idh).unwrap();
        for seed in 0..5 {
            let split = cohort.halves([0.35, 0.35, 0.3], seed).unwrap();
            for part in [&split.train, &split.validation, &split.test] {
                assert!(part.iter().all(|i| part.contains(&(i ^ 1))), "{part:?}");
            }
        }
        assert_eq!(Cohort::groups(&cohort).unwrap()[2..6], [1, 1, 2, 2]);
    }

    #[test]
    fn equal_images_are_one_patient_and_are_named() {
        let plain = cohort(|_| None);
        let mut subjects = plain.subjects.clone();
        subjects[9].volumes = subjects[4].volumes.clone();
        subjects[9].tumour = subjects[4].tumour.clone();
        let idh: Vec<_> = (0..subjects.len()).map(|i| plain.idh(i)).collect();
        let copied = GliomaCohort::new(plain.atlas.clone(), subjects.clone(), &idh).unwrap();
        assert_eq!(
            (copied.patients(&[4, 9, 3]).members().len(), plain.patients(&[4, 9, 3]).members().len()),
            (2, 3)
        );
        assert!(copied.notes[0].contains("the same images") && plain.notes.is_empty(), "{:?}", copied.notes);
        let named: Vec<String> =
            (0..subjects.len()).map(|i| if i == 3 { "4".into() } else { i.to_string() }).collect();
        let all = copied.of_patients(&named).unwrap();
        assert_eq!(all.patients(&[4, 9, 3]).members().len(), 1);
        subjects[9].id = subjects[4].id.clone();
        let error = GliomaCohort::new(plain.atlas.clone(), subjects, &idh).unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
    }

    #[test]
    fn a_patient_without_age_or_sex_is_compared_all_the_same() {
        let mut cohort = cohort(|_| None);
        (cohort.subjects[5].age, cohort.subjects[6].male) = (None, None);
        let design = cohort.design(&[4, 5, 6, 7, 8]).unwrap();
        assert_eq!(design.names, ["age", "male", "age_missing", "male_missing"]);
        assert_eq!((design.rows[5][2], design.rows[6][3], design.rows[4][2]), (1.0, 1.0, 0.0));
        assert!(design.rows.iter().flatten().all(|v| v.is_finite()));
        cohort.subjects.iter_mut().for_each(|s| s.male = None);
        assert_eq!(cohort.design(&[4, 5, 6]).unwrap().names, ["age", "age_missing"]);
        cohort.subjects.iter_mut().for_each(|s| s.age = None);
        assert!(cohort.design(&[4, 5, 6]).unwrap().names.is_empty());
    }

    #[test]
    fn too_few_patients_of_a_genotype_are_counted() {
        let cohort = cohort(|_| None);
        let idh: Vec<_> = (0..32).map(|i| (i < 14).then_some(i < 2)).collect();
        let few = GliomaCohort::new(cohort.atlas.clone(), cohort.subjects.clone(), &idh).unwrap();
        let error = few.halves([0.35, 0.35, 0.3], 1).unwrap_err().to_string();
        assert!(
            error.contains("enough of each genotype") && error.contains("2 mutant and 12 wild type"),
            "{error}"
        );
    }
}
