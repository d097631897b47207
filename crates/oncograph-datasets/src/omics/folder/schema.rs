use super::super::OmicsCovariate;
use crate::{Error, Result};
use oncograph_core::{AtFile, TimeUnit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The file of a cohort folder that describes the others.
pub const COHORT_FILE: &str = "cohort.json";

/// Names that tables cannot have: the network uses them for something else.
const RESERVED: [&str; 2] = ["patient", "image"];

/// `cohort.json` of a cohort folder. Files are named from the folder; each may be CSV, TSV, a workbook of Excel or Parquet (feature
/// `parquet`), plain or gzip. Only `name`, `patients` and a covariate have to be there.
///
/// - `patients`: the table with one row for each patient, and the column of their identifiers; the first column if `id` is
///   left out, here as in every other table.
/// - `covariates`: columns of that table. A `number`; a `category`, which becomes a column of zeros and ones for each level;
///   `ordered` levels from the least to the most, which become 1, 2 and so on. A missing value is imputed and marked
///   in a further column, unless `mask` is false.
/// - `tables`: by name a table of measured values, one row for each patient, or, `transposed`, one column. `log1p` is for counts.
///   `leave_out` names columns that hold something else than values. `gene` and `protein` share a graph; any other name is a
///   modality of its own.
/// - `images`: vectors that an encoder made of images, any number of rows for each patient, in the order of slices; `centroid`
///   names the two or three columns of their places.
/// - `edges`: pairs of names of columns of two tables; with a `score`, those of at least `least`, 0.7 if it is left out.
/// - `gene_sets`: by name a GMT file. `antibodies`: where the proteins were measured by antibodies, the genes of each.
/// - `outcomes`: columns of the table of patients, or of `table`. `survival` has a time in `days`, `months` or `years` and an
///   event; `classes` and `events` are further tasks. Events are 1 or 0, yes or no, true or false, dead or alive.
///   What is empty is unknown.
/// - `centre` and `cancer_type`: columns of the table of patients.
///
/// # Example
/// ```
/// use oncograph_datasets::omics::CohortSchema;
///
/// let text = r#"{
///   "name": "lung cancer of two hospitals",
///   "patients": {"file": "patients.csv", "id": "patient"},
///   "covariates": [
///     {"name": "age", "kind": "number"},
///     {"name": "sex", "kind": "category", "levels": ["F", "M"]},
///     {"name": "stage", "kind": "ordered", "levels": ["I", "II", "III", "IV"]}
///   ],
///   "tables": {
///     "gene": {"file": "expression.tsv", "transposed": true, "log1p": true},
///     "protein": {"file": "proteins.parquet"},
///     "lab": {"file": "labs.csv", "id": "patient", "leave_out": ["drawn_on"]}
///   },
///   "images": {"file": "slices.csv", "centroid": ["x", "y", "z"]},
///   "edges": [
///     {"from": "gene", "to": "gene", "file": "string.tsv", "columns": ["a", "b"], "score": "score", "least": 0.7},
///     {"from": "gene", "to": "protein", "file": "codes_for.tsv", "columns": ["gene", "protein"]}
///   ],
///   "gene_sets": {"Reactome": "reactome.gmt"},
///   "outcomes": {
///     "survival": {"time": "days", "unit": "days", "event": "dead"},
///     "classes": [{"task": "response", "column": "response", "names": ["none", "partial", "complete"]}],
///     "events": {"neutropenia": "tox_1", "mucositis": "tox_2"}
///   },
///   "centre": "hospital",
///   "cancer_type": "histology"
/// }"#;
/// let schema: CohortSchema = serde_json::from_str(text)?;
/// schema.validate()?;
/// assert!(schema.covariates[1].mask && !schema.tables["protein"].log1p);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortSchema {
    /// What the cohort is called in reports.
    pub name: String,
    /// Whether the patients were generated; false.
    #[serde(default)]
    pub phantom: bool,
    /// The table of patients.
    pub patients: PatientTable,
    /// Its columns that the patient node has; at least one.
    pub covariates: Vec<OmicsCovariate>,
    /// Tables of measured values by name.
    #[serde(default)]
    pub tables: BTreeMap<String, ValueTable>,
    /// Vectors of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageTable>,
    /// Pairs of columns that belong together.
    #[serde(default)]
    pub edges: Vec<EdgeTable>,
    /// A table with columns `antibody` and `genes`, several of these with spaces, commas or semicolons between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub antibodies: Option<String>,
    /// GMT files by the name of the source.
    #[serde(default)]
    pub gene_sets: BTreeMap<String, String>,
    /// What is to be predicted.
    #[serde(default)]
    pub outcomes: OutcomeColumns,
    /// The column of where a patient was treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub centre: Option<String>,
    /// The column of the type of cancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancer_type: Option<String>,
    /// What has to be said of the cohort beside every result.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// A table with one row for each patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatientTable {
    /// Its file.
    pub file: String,
    /// The column of the identifiers; the first if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A table of measured values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueTable {
    /// Its file.
    pub file: String,
    /// The column of the patients, of a transposed table that of the features; the first if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether features are in the rows and patients in the columns.
    #[serde(default)]
    pub transposed: bool,
    /// Whether the values are counts, which are replaced by ln(1 + x).
    #[serde(default)]
    pub log1p: bool,
    /// Columns that hold something else than values.
    #[serde(default)]
    pub leave_out: Vec<String>,
}

/// A table with vectors of images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTable {
    /// Its file.
    pub file: String,
    /// The column of the patients; the first if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The two or three columns of where a slice or a region is; none where that is not known.
    #[serde(default)]
    pub centroid: Vec<String>,
    /// Columns that hold something else than values.
    #[serde(default)]
    pub leave_out: Vec<String>,
}

/// A table of pairs of columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeTable {
    /// The table of the first columns.
    pub from: String,
    /// The table of the second ones.
    pub to: String,
    /// Its file.
    pub file: String,
    /// The columns of the names.
    pub columns: [String; 2],
    /// The column of a score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// The least score of a pair that counts.
    #[serde(default = "least")]
    pub least: f64,
}

fn least() -> f64 {
    0.7
}

/// The columns of outcomes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeColumns {
    /// The table that they are in; that of the patients if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<PatientTable>,
    /// The time to an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survival: Option<SurvivalColumns>,
    /// Tasks of which one class is true.
    #[serde(default)]
    pub classes: Vec<ClassColumn>,
    /// Adverse events, which may come together, with their columns.
    #[serde(default)]
    pub events: BTreeMap<String, String>,
}

/// The columns of a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurvivalColumns {
    /// The column of the time.
    pub time: String,
    /// Its unit.
    pub unit: TimeUnit,
    /// The column that tells whether the event was seen then.
    pub event: String,
}

/// A task of which one class is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassColumn {
    /// The name of the task.
    pub task: String,
    /// Its column.
    pub column: String,
    /// The classes in the order in which they are counted; at least two.
    pub names: Vec<String>,
}

impl CohortSchema {
    /// Reads the description of a folder.
    ///
    /// # Errors
    /// [`Error::AtFile`] for what is no such description, with the line of it.
    pub fn read(root: impl AsRef<Path>) -> Result<Self> {
        let path = root.as_ref().join(COHORT_FILE);
        let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let schema: CohortSchema = serde_json::from_slice(&bytes).map_err(|e| AtFile::new(&path, e))?;
        match schema.validate() {
            Err(Error::Argument(e)) => Err(AtFile::new(&path, e).into()),
            other => other.map(|()| schema),
        }
    }

    /// Checks names and levels, and that edges join tables that there are.
    ///
    /// # Errors
    /// [`Error::Argument`] with the first entry that does not fit.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "CohortSchema";
        if self.covariates.is_empty() {
            return Err(Error::argument(
                OP,
                "covariates",
                "at least one, of which the patient node is made",
                0,
            ));
        }
        self.covariates.iter().try_for_each(OmicsCovariate::validate)?;
        let plain = |name: &String| !name.trim().is_empty() && !name.contains(['.', '/', '\\']);
        let bad = self.tables.keys().find(|n| !plain(n) || RESERVED.contains(&n.as_str()));
        if let Some(name) = bad {
            let expected = format!("names without dots and slashes, other than {}", RESERVED.join(" and "));
            return Err(Error::argument(OP, "tables", expected, format!("{name:?}")));
        }
        // Antibodies are joined through genes, measured or not.
        let known =
            |name: &str| self.tables.contains_key(name) || (self.antibodies.is_some() && name == "gene");
        if let Some(name) = self.edges.iter().flat_map(|e| [&e.from, &e.to]).find(|n| !known(n)) {
            let tables: Vec<&str> = self.tables.keys().map(String::as_str).collect();
            return Err(Error::argument(
                OP,
                "edges",
                format!("between tables of {}", tables.join(", ")),
                name,
            ));
        }
        let mut tasks = BTreeSet::from(["survival", "toxicity"]);
        for class in &self.outcomes.classes {
            let distinct: BTreeSet<&String> = class.names.iter().collect();
            if !plain(&class.task) || !tasks.insert(&class.task) {
                let expected = "names without dots, each once, other than survival and toxicity";
                return Err(Error::argument(OP, "outcomes.classes", expected, &class.task));
            }
            if distinct.len() < 2 || distinct.len() < class.names.len() {
                let got = class.names.join(", ");
                return Err(Error::argument(OP, "outcomes.classes.names", "two or more, each once", got));
            }
        }
        if let Some(images) = self.images.as_ref().filter(|i| !matches!(i.centroid.len(), 0 | 2 | 3)) {
            return Err(Error::argument(
                OP,
                "images.centroid",
                "two or three columns",
                images.centroid.len(),
            ));
        }
        Ok(())
    }
}
