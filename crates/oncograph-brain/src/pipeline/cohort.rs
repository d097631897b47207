use super::BrainOverlap;
use crate::{Error, Result};
use oncograph_core::{Argument, Split};
use oncograph_datasets::cache::CacheKey;
use oncograph_datasets::glioma::BrainAtlas;
use oncograph_datasets::scaler::{Matrix, ZScore};
use oncograph_datasets::splits::stratified_split;
use oncograph_imaging::{Mask, Volume};
use oncograph_nn::Seed;
use oncograph_study::{Cohort, FoldSplit, Plan, Target, Task};
use std::path::{Path, PathBuf};

/// The sequences, in the order of every array of four in this crate.
pub const SEQUENCES: [&str; 4] = ["T1", "contrast T1", "T2", "FLAIR"];

/// One patient on the grid of the atlas.
#[derive(Debug, Clone)]
pub struct GliomaSubject {
    /// The identifier.
    pub id: String,
    /// Age in years.
    pub age: Option<f64>,
    /// Whether the patient is male.
    pub male: Option<bool>,
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

/// Patients with the atlas that their regions and tracts come from. The task is `IDH`, classes `wild type` and `mutant`.
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
    /// Changes whenever the content of an image or the atlas does.
    images: String,
}

impl GliomaCohort {
    /// The name of the task.
    pub const TASK: &'static str = "IDH";
    /// The classes.
    pub const CLASSES: [&'static str; 2] = ["wild type", "mutant"];

    /// A cohort of subjects with their IDH status; `images` is a hash of what the volumes were made from.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of labels than subjects.
    pub fn new(
        atlas: BrainAtlas,
        subjects: Vec<GliomaSubject>,
        idh: &[Option<bool>],
        images: &str,
    ) -> Result<Self> {
        if idh.len() != subjects.len() {
            let expected = format!("one for each of {} subjects", subjects.len());
            return Err(Argument::new("GliomaCohort", "idh", expected, idh.len()).into());
        }
        let none: [&Path; 0] = [];
        let atlas_bytes = atlas.to_safetensors()?;
        let images = CacheKey::new(&none, &(images, atlas_bytes), "glioma images")?.hex();
        let names = Self::CLASSES.map(String::from).to_vec();
        let classes = idh.iter().map(|m| m.map(usize::from)).collect();
        Ok(GliomaCohort {
            ids: subjects.iter().map(|s| s.id.clone()).collect(),
            tasks: vec![Task::new(Self::TASK, Target::Classes { names, classes })],
            atlas,
            subjects,
            phantom: false,
            folder: PathBuf::new(),
            origin: String::new(),
            notes: vec![],
            left_out: vec![],
            images,
        })
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

    /// Splits the labelled patients by shares into half A, which trains the encoders (`train`), half B, which trains the
    /// classifiers (`validation`), and the test patients, stratified by genotype.
    ///
    /// # Errors
    /// Shares that do not sum to 1, or too few patients of a genotype.
    pub fn halves(&self, shares: [f64; 3], seed: u64) -> Result<Split> {
        let labelled: Vec<usize> = (0..self.subjects.len()).filter(|&i| self.idh(i).is_some()).collect();
        let strata: Vec<usize> = labelled.iter().map(|&i| usize::from(self.idh(i) == Some(true))).collect();
        let split = stratified_split(&strata, shares, Seed::new(seed).stream("split"))?;
        let pick = |rows: Vec<usize>| rows.into_iter().map(|r| labelled[r]).collect::<Vec<_>>();
        Ok(Split::new(pick(split.train), pick(split.validation), pick(split.test)))
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

    /// Age and sex in standard deviations of the rows `train`. An unlabelled patient, who is neither fitted nor scored, may
    /// lack them and gets the mean; a labelled one is refused.
    fn design(&self, train: &[usize]) -> oncograph_study::Result<Matrix> {
        let row = |(i, s): (usize, &GliomaSubject)| match (s.age, s.male) {
            (Some(age), Some(male)) => Ok(Some(vec![age, f64::from(u8::from(male))])),
            _ if self.idh(i).is_none() && !train.contains(&i) => Ok(None),
            _ => Err(Error::input("age and sex", "both for every labelled patient", "one without")
                .of_patient(&s.id)),
        };
        let rows: Vec<Option<Vec<f64>>> = self.subjects.iter().enumerate().map(row).collect::<Result<_>>()?;
        let known: Vec<Vec<f64>> = train.iter().filter_map(|&i| rows[i].clone()).collect();
        let scaler = ZScore::fit(&known, &(0..known.len()).collect::<Vec<_>>())?;
        let scaled = |row: Option<Vec<f64>>| match row {
            Some(row) => Ok(scaler.transform(&[row])?.concat()),
            None => Ok(vec![0.0; 2]),
        };
        let rows = rows.into_iter().map(scaled).collect::<oncograph_study::Result<_>>()?;
        Ok(Matrix { names: vec!["age".into(), "male".into()], rows })
    }

    fn fingerprint(&self) -> String {
        let covariates: Vec<_> = self.subjects.iter().map(|s| (s.age, s.male)).collect();
        format!("{} {covariates:?}", self.images)
    }
}
