use super::encoder_settings::EncoderSettings;
use super::feature_file::FeatureFile;
use super::inputs::fit_covariates;
use super::{CtEncoder, CtFeatures, STG_TASKS, prepare_images};
use crate::image_numbers::{image_number_columns, image_numbers, with_image_numbers};
use crate::intensities::implausible_liver;
use crate::{Error, MASK_NUMBERS, PreparedImages, Result, StgSystemConfig};
use oncograph_core::{Argument, FollowUp, Seed, Table};
use oncograph_datasets::cache::ContentHash;
use oncograph_datasets::crlm::{CrlmCohort, Endpoint, SubjectFiles};
use oncograph_datasets::scaler::Matrix;
use oncograph_study::{Cohort, DisturbInputs, PermuteOutcomes, Target, Task, side_by_side};
use oncograph_train::StopFlag;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The patients of a study: clinical covariates, outcomes and, where there are images, the features of their nodes.
///
/// A graph without its image nodes is another input, and patients are compared on one kind only: where images are used,
/// patients without them are left out, as reported in [`StgCohort::notes`].
#[derive(Debug, Clone)]
pub struct StgCohort {
    clinical: Table,
    outcomes: Vec<[FollowUp; 2]>,
    tasks: Vec<Task>,
    strata: Vec<usize>,
    with_images: bool,
    images: Option<Arc<Vec<CtFeatures>>>,
    subjects: Vec<SubjectFiles>,
    config: StgSystemConfig,
    phantom: bool,
    notes: Vec<String>,
}

impl StgCohort {
    /// The patients of a cohort that a system uses; their images, if it uses them, are not encoded yet.
    ///
    /// # Errors
    /// A covariate that the table does not have.
    pub fn new(cohort: &CrlmCohort, config: &StgSystemConfig) -> Result<Self> {
        let all = cohort.subjects.len();
        let found = cohort.subjects.iter().filter(|s| s.images.is_some()).count();
        let with_images = config.images && found > 0;
        let kept = |i: &usize| !with_images || cohort.subjects[*i].images.is_some();
        let keep: Vec<usize> = (0..all).filter(kept).collect();
        let mut notes = vec![];
        if !with_images {
            let why = if config.images { "the folder holds no images" } else { "--no-images was given" };
            notes.push(format!("Image nodes are absent ({why}): {all} patients, clinical covariates only."));
        } else if keep.len() < all {
            let without = cohort.subjects.iter().filter(|s| s.images.is_none()).map(|s| s.id.as_str());
            notes.push(format!(
                "{} of {all} patients have no images and are left out: {}.",
                all - keep.len(),
                listed(without)
            ));
        }
        if with_images && !cohort.without_clinical.is_empty() {
            let ids = cohort.without_clinical.iter().map(String::as_str);
            let n = cohort.without_clinical.len();
            notes.push(format!(
                "{n} patients with images have no row in the table and are left out: {}.",
                listed(ids)
            ));
        }
        Self::of(cohort, config, with_images, (&keep, notes))
    }

    /// The patients of a cohort whose image features are in a file that [`StgCohort::write_features`] wrote: no image is read, and
    /// the folder may hold the table alone. `seed` is that of the encoder of the run.
    ///
    /// # Errors
    /// A covariate that the table does not have; a file that is damaged, of another version, or made with another encoder,
    /// preprocessing or seed than those of `config`; [`Error::Patients`] with everybody of the table who is not in the file,
    /// unless the configuration leaves them out, which the [`StgCohort::notes`] then list; a configuration without images.
    pub fn with_features(
        cohort: &CrlmCohort,
        config: &StgSystemConfig,
        seed: Seed,
        path: &Path,
    ) -> Result<Self> {
        if !config.images {
            return Err(Error::config("StgCohort::with_features", "images", true, false));
        }
        let mut file = FeatureFile::read(path, &EncoderSettings::new(config, seed)?)?;
        let (mut keep, mut images, mut faults) = (vec![], vec![], vec![]);
        for (row, subject) in cohort.subjects.iter().enumerate() {
            match file.patients.remove(&subject.id) {
                Some(features) => {
                    keep.push(row);
                    images.push(features);
                }
                None => faults.push(format!("{}: no features in {}", subject.id, path.display())),
            }
        }
        let allowed = config.leave_out_faulty && !images.is_empty();
        let why = "their features are not in the file";
        let mut notes = left_out(faults, cohort.subjects.len(), allowed, why)?;
        if !file.patients.is_empty() {
            let (others, path) = (file.patients.len(), path.display());
            notes.push(format!("{others} patients of {path} are not in the table and are left out."));
        }
        let ids = keep.iter().map(|&row| cohort.subjects[row].id.as_str());
        notes.extend(remarks(ids.zip(&images)));
        let this = Self::of(cohort, config, true, (&keep, notes))?;
        Ok(StgCohort { images: Some(Arc::new(images)), phantom: this.phantom || file.phantom, ..this })
    }

    /// Writes the image features of all patients, made by the encoder of the configuration with this `seed`, to a `.safetensors`
    /// file: for each patient the values of the nodes, centroids, which structures are there and how much of each is kept, and
    /// mask numbers; as texts the identifiers and all that the features depend on.
    ///
    /// # Errors
    /// A cohort whose images are not encoded, or a file that cannot be written.
    pub fn write_features(&self, seed: Seed, path: &Path) -> Result<()> {
        let Some(images) = self.images() else {
            let expected = "one with images, after StgCohort::encode";
            return Err(Argument::new("StgCohort::write_features", "cohort", expected, "one without").into());
        };
        let settings = EncoderSettings::new(&self.config, seed)?;
        FeatureFile::write(path, &settings, self.phantom, (self.clinical.ids(), images))
    }

    /// Some of the patients, with remarks on the data.
    fn of(
        cohort: &CrlmCohort,
        config: &StgSystemConfig,
        with_images: bool,
        (keep, mut notes): (&[usize], Vec<String>),
    ) -> Result<Self> {
        notes.extend(cohort.clinical.notes.iter().cloned());
        notes.extend(
            cohort
                .clinical
                .audit()
                .iter()
                .map(|line| format!("Contradiction in the table, used as it stands: {line}")),
        );
        let ends = [config.endpoint, Endpoint::OverallSurvival].map(|e| cohort.clinical.outcomes(e));
        let outcomes: Vec<[FollowUp; 2]> = keep.iter().map(|&i| [ends[0][i], ends[1][i]]).collect();
        let strata = cohort.clinical.strata();
        Ok(StgCohort {
            clinical: cohort.clinical.features(config.features)?.select(keep),
            tasks: tasks(&outcomes),
            outcomes,
            strata: keep.iter().map(|&i| strata[i]).collect(),
            with_images,
            images: None,
            subjects: keep.iter().map(|&i| cohort.subjects[i].clone()).collect(),
            config: config.clone(),
            phantom: cohort.phantom,
            notes,
        })
    }

    /// Encodes the images of all patients by `workers` threads, one patient each at a time; `on_patient` is called
    /// after each. Without images there is nothing to do.
    ///
    /// # Errors
    /// [`Error::Patients`] with every patient whose images cannot be used, unless the configuration leaves them out, which the
    /// [`StgCohort::notes`] then list; a request to stop.
    pub fn encode(
        mut self,
        encoder: &CtEncoder,
        workers: usize,
        stop: &StopFlag,
        on_patient: impl Fn() + Sync,
    ) -> Result<Self> {
        if !self.with_images {
            return Ok(self);
        }
        self.notes.extend(encoder.notes());
        let one = |subject: &SubjectFiles| -> Result<CtFeatures> {
            if stop.is_requested() {
                return Err(oncograph_train::Error::Stopped.into());
            }
            let features = encoder.subject(subject)?;
            on_patient();
            Ok(features)
        };
        let all =
            side_by_side(&self.subjects, workers, |subject| Ok::<_, oncograph_study::Error>(one(subject)))?;
        let (mut keep, mut images, mut faults) = (vec![], vec![], vec![]);
        for (row, encoded) in all.into_iter().enumerate() {
            match encoded {
                Ok(features) => {
                    keep.push(row);
                    images.push(features);
                }
                Err(e) if e.is_stopped() => return Err(e),
                Err(e) => faults.push(e.to_string()),
            }
        }
        if !faults.is_empty() {
            let allowed = self.config.leave_out_faulty && !images.is_empty();
            let why = "their images cannot be used";
            self.notes.extend(left_out(faults, self.subjects.len(), allowed, why)?);
            self = self.select(&keep);
        }
        self.notes.extend(remarks(self.subjects.iter().map(|s| s.id.as_str()).zip(&images)));
        self.images = Some(Arc::new(images));
        Ok(self)
    }

    /// Some of the patients.
    fn select(self, rows: &[usize]) -> Self {
        let outcomes: Vec<[FollowUp; 2]> = rows.iter().map(|&i| self.outcomes[i]).collect();
        StgCohort {
            clinical: self.clinical.select(rows),
            tasks: tasks(&outcomes),
            outcomes,
            strata: rows.iter().map(|&i| self.strata[i]).collect(),
            subjects: rows.iter().map(|&i| self.subjects[i].clone()).collect(),
            ..self
        }
    }

    /// The same patients under another configuration of the network, the encoder or their training; images are to be encoded
    /// again.
    pub fn with_config(self, config: &StgSystemConfig) -> Self {
        StgCohort { images: None, config: config.clone(), ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &StgSystemConfig {
        &self.config
    }

    /// How many patients there are.
    pub fn len(&self) -> usize {
        self.clinical.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clinical.is_empty()
    }

    /// Whether the patients' graphs have image nodes.
    pub fn has_images(&self) -> bool {
        self.with_images
    }

    /// The clinical covariates, as they are in the table.
    pub fn clinical(&self) -> &Table {
        &self.clinical
    }

    /// Times to recurrence and death of each patient.
    pub fn outcomes(&self) -> &[[FollowUp; 2]] {
        &self.outcomes
    }

    /// The image features of each patient; `None` without images or before [`StgCohort::encode`].
    pub fn images(&self) -> Option<&[CtFeatures]> {
        self.images.as_ref().map(|i| i.as_slice())
    }

    /// Numbers of the images that no network made and a tenth of the patients or more have: those that baselines are given behind
    /// the clinical covariates. None without images.
    fn image_numbers(&self) -> Vec<String> {
        let images: Vec<_> = self.images().unwrap_or_default().iter().map(image_numbers).collect();
        let known = |at: usize| images.iter().filter(|numbers| numbers[at].is_some()).count();
        let enough = |at: usize| known(at) > 0 && 10 * known(at) >= images.len();
        image_number_columns().into_iter().enumerate().filter(|(at, _)| enough(*at)).map(|(_, c)| c).collect()
    }

    /// The columns of the [`MASK_NUMBERS`] that baselines are given: those that a tenth of the patients or more have.
    pub fn mask_numbers(&self) -> Vec<String> {
        self.image_numbers().into_iter().filter(|c| MASK_NUMBERS.contains(&c.as_str())).collect()
    }

    /// The columns of the structures' mean and deviation in HU, by the same rule.
    pub fn intensities(&self) -> Vec<String> {
        self.image_numbers().into_iter().filter(|c| !MASK_NUMBERS.contains(&c.as_str())).collect()
    }

    /// The image features of some patients.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there are none.
    pub(crate) fn images_of(&self, rows: &[usize]) -> Result<Vec<&CtFeatures>> {
        let Some(images) = self.images() else {
            let expected = "one with images, after StgCohort::encode";
            return Err(Argument::new("StgSystem", "cohort", expected, "one without").into());
        };
        Ok(rows.iter().map(|&i| &images[i]).collect())
    }

    /// The images of a patient as the encoder takes them.
    ///
    /// # Errors
    /// As [`prepare_images`].
    pub fn prepare(&self, row: usize) -> Result<PreparedImages> {
        prepare_images(&self.subjects[row], &self.config.load, &self.config.preprocess)
    }

    /// Whether the patients were generated.
    pub fn phantom(&self) -> bool {
        self.phantom
    }

    /// Remarks on the data that have to be shown in a report.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many patients had the event of each task.
    pub fn events(&self) -> [usize; 2] {
        [0, 1].map(|task| self.outcomes.iter().filter(|o| o[task].event()).count())
    }
}

/// The remarks of the readers on each patient's images, on intensities that no liver has, and on images that are there twice.
fn remarks<'a>(patients: impl Iterator<Item = (&'a str, &'a CtFeatures)>) -> Vec<String> {
    let (mut lines, mut seen) = (vec![], BTreeMap::<String, Vec<&str>>::new());
    for (id, images) in patients {
        let of_liver = implausible_liver(images.intensities[0]);
        lines.extend(images.notes.iter().cloned().chain(of_liver).map(|note| format!("{id}: {note}.")));
        seen.entry(ContentHash::new().floats(&images.values).hex()).or_default().push(id);
    }
    let twice = seen.into_values().filter(|ids| ids.len() > 1);
    lines.extend(twice.map(|ids| {
        format!(
            "{}: the same images; who is there twice may train and test at once.",
            listed(ids.into_iter())
        )
    }));
    lines
}

/// The first of some identifiers, and how many others there are.
fn listed<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let ids: Vec<&str> = ids.collect();
    match ids.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        None => ids.join(", "),
        Some(more) => format!("{} and {more} others", ids[..SHOWN].join(", ")),
    }
}

/// The remarks on patients who are left out, if that is allowed; without such patients there are none.
fn left_out(faults: Vec<String>, of: usize, allowed: bool, why: &str) -> Result<Vec<String>> {
    if faults.is_empty() {
        return Ok(faults);
    }
    if !allowed {
        return Err(Error::Patients { of, faults });
    }
    let first = format!("{} of {of} patients are left out, as {why}:", faults.len());
    Ok(std::iter::once(first).chain(faults).collect())
}

fn tasks(outcomes: &[[FollowUp; 2]]) -> Vec<Task> {
    let times = |task: usize| Target::Survival(outcomes.iter().map(|o| Some(o[task])).collect());
    STG_TASKS.iter().enumerate().map(|(task, name)| Task::new(*name, times(task))).collect()
}

impl Cohort for StgCohort {
    fn ids(&self) -> &[String] {
        self.clinical.ids()
    }

    fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    fn strata(&self) -> Vec<usize> {
        self.strata.clone()
    }

    fn design(&self, train: &[usize]) -> oncograph_study::Result<Matrix> {
        let columns = self.image_numbers();
        let measured = self.images().map(|images| {
            let images: Vec<&CtFeatures> = images.iter().collect();
            with_image_numbers(&self.clinical, &images, |name| columns.iter().any(|c| c == name))
        });
        let measured = measured.transpose()?;
        let all = measured.as_ref().unwrap_or(&self.clinical);
        Ok(fit_covariates(all, train, &self.config.clinical_scaling)?.transform(all)?)
    }

    fn fingerprint(&self) -> String {
        let columns = self.clinical.columns().iter();
        let hash = columns.fold(ContentHash::new(), |hash, column| hash.text(column));
        let hash = self.clinical.rows().fold(hash, ContentHash::optional_numbers);
        let images = self.images().unwrap_or_default().iter();
        let hash = images.fold(hash, |hash, patient| {
            let hash = hash.floats(&patient.values).floats(patient.centroids.as_flattened());
            hash.bytes(&patient.empty.map(u8::from)).optional_numbers(&image_numbers(patient))
        });
        hash.hex()
    }
}

/// Clinical covariates, mask numbers and intensities; the features of images stay.
impl DisturbInputs for StgCohort {
    fn disturbed(&self, rows: &[usize]) -> oncograph_study::Result<Self> {
        let other = |value: f64| 3.0 * value + 7.0;
        let mut values: Vec<Vec<Option<f64>>> = self.clinical.rows().map(<[_]>::to_vec).collect();
        let mut images = self.images.clone();
        for &row in rows {
            values[row].iter_mut().for_each(|v| *v = v.map(other));
        }
        if let Some(images) = images.as_mut().map(Arc::make_mut) {
            for &row in rows {
                images[row].numbers = images[row].numbers.map(|n| n.map(other));
                let other = |numbers: [f32; 2]| numbers.map(|v| 3.0 * v + 7.0);
                images[row].intensities = images[row].intensities.map(|numbers| numbers.map(other));
            }
        }
        let (ids, columns) = (self.clinical.ids().to_vec(), self.clinical.columns().to_vec());
        Ok(StgCohort { clinical: Table::new(ids, columns, values)?, images, ..self.clone() })
    }
}

impl PermuteOutcomes for StgCohort {
    fn permuted(&self, order: &[usize]) -> Self {
        let outcomes: Vec<[FollowUp; 2]> = order.iter().map(|&i| self.outcomes[i]).collect();
        StgCohort { tasks: tasks(&outcomes), outcomes, ..self.clone() }
    }
}
