use crate::pipeline::{OmicsRows, OmicsScalers};
use crate::{ModalityConfig, OmicsSystemConfig, Result};
use oncograph_core::Argument;
use oncograph_datasets::cache::ContentHash;
use oncograph_datasets::omics::{OmicsDataset, OmicsOutcomes};
use oncograph_datasets::scaler::Matrix;
use oncograph_study::{Cohort, PermuteOutcomes, Target, Task};
use std::collections::{BTreeMap, BTreeSet};

/// Known patients of each class below which it is no task.
const LEAST_OF_CLASS: usize = 10;

/// The node type of vectors of images.
pub(crate) const IMAGES: &str = "image";

/// The tables whose modality has another name, in the order of modalities.
const NAMED: [(&str, &str); 3] = [("mirna", "mirna"), ("proteomics", "protein"), ("clinical", "lab")];

/// A cohort with its tasks, as a study takes it.
///
/// Survival and adverse events are tasks where they are known of a patient; classes are one where ten patients or more are known
/// of each.
///
/// # Example
/// ```
/// use oncograph_datasets::omics::{OmicsDataset, OmicsPhantomConfig};
/// use oncograph_omics::{OmicsStudyCohort, OmicsSystemConfig};
/// use oncograph_study::Cohort;
///
/// let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(80, 1))?;
/// let cohort = OmicsStudyCohort::new(dataset, &OmicsSystemConfig::quick())?;
/// let names: Vec<&str> = cohort.tasks().iter().map(|t| t.name.as_str()).collect();
/// assert_eq!(names, ["survival", "response", "toxicity"]);
/// # Ok::<(), oncograph_omics::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OmicsStudyCohort {
    dataset: OmicsDataset,
    tasks: Vec<Task>,
    strata: Vec<usize>,
    select: usize,
}

impl OmicsStudyCohort {
    /// The tasks of a dataset; of `config`, baselines are given as many columns per table as the network. What is known of too few
    /// patients to be a task is named in the dataset's remarks.
    ///
    /// # Errors
    /// A dataset without a known outcome.
    pub fn new(mut dataset: OmicsDataset, config: &OmicsSystemConfig) -> Result<Self> {
        let (tasks, left_out) = tasks(&dataset);
        dataset.cohort.notes.extend(left_out);
        if tasks.is_empty() {
            return Err(Argument::new("OmicsStudyCohort", "outcomes", "known of a patient", "none").into());
        }
        let strata = strata(&dataset);
        Ok(OmicsStudyCohort { strata, tasks, select: config.select, dataset })
    }

    /// Patients, tables, networks and gene sets.
    pub fn dataset(&self) -> &OmicsDataset {
        &self.dataset
    }

    /// A task by its name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|t| t.name == name)
    }

    /// A number for each patient's type of cancer; `None` where there is only one or none is known.
    pub(crate) fn cancer_types(&self) -> Option<Vec<usize>> {
        let (of, count) = numbered(&self.dataset.cancer_types);
        (count > 1).then_some(of)
    }

    /// Modalities and the tables that they are pooled from: genes with proteins in one graph, the others alone.
    pub fn modalities(&self) -> Vec<ModalityConfig> {
        let has = |t: &str| self.dataset.cohort.tables.contains_key(t);
        let mut modalities = vec![];
        if has("gene") {
            let joined: Vec<&str> = ["gene", "protein"].into_iter().filter(|t| has(t)).collect();
            modalities.push(ModalityConfig::new("genomics", joined).pooled(["gene"]));
        }
        modalities
            .extend(NAMED.into_iter().filter(|(_, t)| has(t)).map(|(m, t)| ModalityConfig::new(m, [t])));
        let known = |t: &str| t == "gene" || NAMED.iter().any(|(_, table)| *table == t);
        let others = self.dataset.cohort.tables.keys().filter(|t| !known(t));
        modalities.extend(others.map(|t| ModalityConfig::new(t, [t.as_str()])));
        if self.dataset.cohort.images.is_some() {
            modalities.push(ModalityConfig::new("imaging", [IMAGES]));
        }
        modalities
    }

    /// The names of the modalities, in the order of importances.
    pub fn modality_names(&self) -> Vec<String> {
        self.modalities().into_iter().map(|m| m.name).collect()
    }
}

/// The tasks, and a remark on each kind of outcome that is none.
fn tasks(dataset: &OmicsDataset) -> (Vec<Task>, Vec<String>) {
    let (cohort, outcomes) = (&dataset.cohort, &dataset.cohort.outcomes);
    let mut notes = vec![];
    let mut tasks =
        vec![Task::new("survival", Target::Survival(outcomes.iter().map(|o| o.survival).collect()))];
    for (task, names) in &cohort.classes {
        let classes: Vec<Option<usize>> = outcomes.iter().map(|o| o.classes.get(task).copied()).collect();
        let count = |class: usize| classes.iter().filter(|c| **c == Some(class)).count();
        let counts: Vec<usize> = (0..names.len()).map(count).collect();
        if counts.iter().all(|n| *n >= LEAST_OF_CLASS) {
            tasks.push(Task::new(task, Target::Classes { names: names.clone(), classes }));
        } else if counts.iter().any(|n| *n > 0) {
            let counts = names.iter().zip(&counts).map(|(name, n)| format!("{name} {n}"));
            let counts = counts.collect::<Vec<_>>().join(", ");
            notes.push(format!(
                "{task} is no task: known are {counts}, and each class needs {LEAST_OF_CLASS}"
            ));
        }
    }
    if !cohort.events.is_empty() {
        let labels = outcomes.iter().map(|o| o.toxicity.clone()).collect();
        tasks.push(Task::new("toxicity", Target::Labels { names: cohort.events.clone(), labels }));
    }
    let known = |t: &Task| (0..t.target.len()).any(|p| t.target.known(p));
    notes.extend(
        tasks
            .iter()
            .filter(|t| !known(t))
            .map(|t| format!("{} is no task: it is known of no patient", t.name)),
    );
    tasks.retain(known);
    (tasks, notes)
}

/// Type of cancer, event, class and first adverse event together.
fn strata(dataset: &OmicsDataset) -> Vec<usize> {
    let cohort = &dataset.cohort;
    let classes = cohort.classes.iter().map(|(_, names)| names.len() + 1).max().unwrap_or(0).max(8);
    let (types, _) = numbered(&dataset.cancer_types);
    let stratum = |(p, o): (usize, &OmicsOutcomes)| {
        let cancer = types.get(p).copied().unwrap_or(0);
        let event = o.survival.map_or(2, |s| usize::from(s.event()));
        let class =
            cohort.classes.iter().rev().find_map(|(task, _)| o.classes.get(task)).map_or(0, |c| c + 1);
        let toxic = o.toxicity.first().copied().flatten().map_or(0, |t| 1 + usize::from(t));
        ((cancer * 3 + event) * classes + class) * 3 + toxic
    };
    cohort.outcomes.iter().enumerate().map(stratum).collect()
}

/// The places of labels in the sorted list of them, and its length.
fn numbered(labels: &[String]) -> (Vec<usize>, usize) {
    let distinct: BTreeSet<&String> = labels.iter().collect();
    let place: BTreeMap<&String, usize> = distinct.iter().enumerate().map(|(i, l)| (*l, i)).collect();
    (labels.iter().map(|l| place[l]).collect(), distinct.len())
}

impl Cohort for OmicsStudyCohort {
    fn ids(&self) -> &[String] {
        self.dataset.cohort.ids()
    }

    fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Patient features followed by those of each table; of a table that a patient lacks, zeros.
    fn design(&self, train: &[usize]) -> oncograph_study::Result<Matrix> {
        let rows = OmicsRows::of_cohort(&self.dataset.cohort);
        let scalers = OmicsScalers::fit(&self.dataset.cohort, &rows, self.select, train)?;
        Ok(scalers.design(&rows))
    }

    fn strata(&self) -> Vec<usize> {
        self.strata.clone()
    }

    fn centres(&self) -> Option<&[String]> {
        Some(&self.dataset.centres)
    }

    fn fingerprint(&self) -> String {
        let OmicsDataset { cohort, networks, antibodies, centres, .. } = &self.dataset;
        let texts = |hash: ContentHash, all: &mut dyn Iterator<Item = &String>| {
            all.fold(hash, |hash, text| hash.text(text)).text("")
        };
        let mut hash = texts(ContentHash::new(), &mut cohort.covariates.columns().iter());
        for row in cohort.covariates.rows() {
            hash = hash.optional_numbers(row);
        }
        for (name, (columns, rows)) in &cohort.tables {
            hash = texts(hash.text(name), &mut columns.iter());
            for row in rows {
                hash = hash.bytes(&[u8::from(row.is_some())]).floats(row.as_deref().unwrap_or_default());
            }
        }
        for network in networks {
            let pairs = &mut network.pairs.iter().flat_map(|(a, b)| [a, b]);
            hash = texts(hash.text(&network.from).text(&network.to), pairs);
        }
        if let Some(antibodies) = antibodies {
            for (antibody, genes) in &antibodies.genes {
                hash = texts(hash.text(antibody), &mut genes.iter());
            }
            hash = texts(hash, &mut antibodies.pairs.iter().flat_map(|(a, b)| [a, b]));
        }
        let mut hash = texts(hash, &mut centres.iter());
        // Nothing is added for what a cohort does not have.
        if let Some(images) = &cohort.images {
            hash = texts(hash.text(IMAGES), &mut images.features.iter());
            for vector in images.patients.iter().flat_map(|own| own.iter()) {
                let place = vector.centroid.map(|c| c.map(Some)).unwrap_or_default();
                hash = hash.floats(&vector.values).optional_numbers(&place);
            }
            let counts: Vec<Option<f64>> = images.patients.iter().map(|own| Some(own.len() as f64)).collect();
            hash = hash.optional_numbers(&counts);
        }
        if !cohort.counts.is_empty() {
            hash = texts(hash.text("counts"), &mut cohort.counts.iter());
        }
        if !self.dataset.cancer_types.is_empty() {
            hash = texts(hash.text("cancer types"), &mut self.dataset.cancer_types.iter());
        }
        hash.hex()
    }
}

impl PermuteOutcomes for OmicsStudyCohort {
    fn permuted(&self, order: &[usize]) -> Self {
        let task = |t: &Task| Task::new(t.name.clone(), t.target.reordered(order));
        OmicsStudyCohort { tasks: self.tasks.iter().map(task).collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_datasets::omics::OmicsPhantomConfig;

    #[test]
    fn another_value_network_or_centre_is_another_cohort() {
        let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(8, 1)).unwrap();
        let print = |change: &dyn Fn(&mut OmicsDataset)| {
            let mut dataset = dataset.clone();
            change(&mut dataset);
            OmicsStudyCohort::new(dataset, &OmicsSystemConfig::quick()).unwrap().fingerprint()
        };
        let same = print(&|_| ());
        assert_eq!(same, print(&|_| ()));
        let value = |d: &mut OmicsDataset| {
            d.cohort.tables.get_mut("lab").unwrap().1[3].as_mut().unwrap()[0] += 1.0;
        };
        for change in [
            &value as &dyn Fn(&mut OmicsDataset),
            &|d| d.networks[0].pairs[0].0 = "G00099".into(),
            &|d| d.centres[0] = "B".into(),
            &|d| d.cohort.tables.get_mut("protein").unwrap().1[0] = None,
            &|d| d.cohort.tables.get_mut("gene").unwrap().0[0] = "G99999".into(),
            &|d| d.networks[0].to = "lab".into(),
            &|d| d.networks[1].pairs.truncate(1),
        ] {
            assert_ne!(same, print(change));
        }
    }

    #[test]
    fn a_rare_kind_of_response_is_no_task_and_nothing_known_is_an_error() {
        let mut dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(12, 1)).unwrap();
        let cohort = OmicsStudyCohort::new(dataset.clone(), &OmicsSystemConfig::quick()).unwrap();
        assert!(cohort.task("response").is_none() && cohort.task("survival").is_some());
        let notes = &cohort.dataset().cohort.notes;
        assert!(
            notes
                .iter()
                .any(|n| n.starts_with("response is no task: known are none") && n.ends_with("needs 10")),
            "{notes:?}"
        );
        assert_eq!(cohort.modality_names(), ["genomics", "proteomics", "clinical"]);
        dataset.cohort.outcomes.iter_mut().for_each(|o| *o = OmicsOutcomes::default());
        dataset.cohort.events.clear();
        assert!(OmicsStudyCohort::new(dataset, &OmicsSystemConfig::quick()).is_err());
    }
}
