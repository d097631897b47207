use super::OmicsCovariate;
use super::OmicsTable;
use super::barcode::patient_of;
use super::table::{is_missing, table_file};
use crate::tables::{Row, Sheet};
use crate::{Error, Result};
use oncograph_core::{FollowUp, Table};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// What is known of a patient's outcomes; `None` where it is not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OmicsOutcomes {
    /// The time from diagnosis to death.
    pub survival: Option<FollowUp>,
    /// A class by the name of its task, for example `subtype`.
    pub classes: BTreeMap<String, usize>,
    /// Yes/no labels of adverse events.
    pub toxicity: Vec<Option<bool>>,
}

/// Names of columns, and a row of values per patient that has any.
pub type NamedRows = (Vec<String>, Vec<Option<Vec<f32>>>);

/// A vector of a part of a patient's images, for example of a slice or of a tumour.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageVector {
    /// Its values, in the order of [`ImageVectors::features`].
    pub values: Vec<f32>,
    /// Where the part is, in mm as a rule; `None` where that is not known.
    pub centroid: Option<[f64; 3]>,
}

/// Vectors that an encoder made of images, any number per patient.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageVectors {
    /// Names of a vector's values.
    pub features: Vec<String>,
    /// The vectors of each patient, in the order of slices; none of one without images.
    pub patients: Vec<Vec<ImageVector>>,
}

/// How many rows of a table have a part in a cohort, and why the others have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableAccount {
    /// What the table holds.
    pub table: String,
    /// Its file.
    pub file: String,
    /// Rows, or, of images, patients.
    pub rows: usize,
    /// Of these, those that have a part.
    pub used: usize,
    /// Reasons for which others have none, with their identifiers.
    pub left_out: Vec<(String, Vec<String>)>,
}

/// Patients with molecular tables, a row of covariates and outcomes, in one order.
#[derive(Debug, Clone, Default)]
pub struct OmicsCohort {
    /// The covariates of the patient node, with a row for each patient.
    pub covariates: Table,
    /// What the columns of `covariates` were made of, in their order.
    pub coding: Vec<OmicsCovariate>,
    /// By node type: the names of its nodes, and a row per patient that has any.
    pub tables: BTreeMap<String, NamedRows>,
    /// The tables of counts, which are replaced by ln(1 + x) before they are scaled.
    pub counts: BTreeSet<String>,
    /// Vectors of images.
    pub images: Option<ImageVectors>,
    /// Outcomes.
    pub outcomes: Vec<OmicsOutcomes>,
    /// The tasks in [`OmicsOutcomes::classes`] with the names of their classes.
    pub classes: Vec<(String, Vec<String>)>,
    /// Names of the adverse events.
    pub events: Vec<String>,
    /// The rows of each table that have a part, where the reader counts them.
    pub accounts: Vec<TableAccount>,
    /// Remarks on the data that have to be shown beside results.
    pub notes: Vec<String>,
}

impl OmicsCohort {
    /// The patients' identifiers, in the order of all fields.
    pub fn ids(&self) -> &[String] {
        self.covariates.ids()
    }
}

/// The rows of a table by the patient in their first column, in any spelling of TCGA's barcodes.
///
/// # Errors
/// [`Error::DuplicatePatient`], and [`Error::Cell`] for a row without an identifier.
pub(super) fn by_id(sheet: &Sheet) -> Result<HashMap<String, Row<'_>>> {
    let mut rows: HashMap<String, Row<'_>> = HashMap::new();
    for row in sheet.rows() {
        let id = patient_of(&row.identifier(0)?);
        if let Some(first) = rows.insert(id.clone(), row) {
            return Err(sheet.duplicate_patient(&id, first.number, row.number));
        }
    }
    Ok(rows)
}

/// The number in a cell, to the precision of the tables; `None` where one of the words for a missing value stands.
///
/// # Errors
/// [`Error::Cell`].
pub(super) fn number(row: &Row<'_>, column: usize) -> Result<Option<f64>> {
    if row.text(column).is_ok_and(|text| is_missing(&text)) {
        return Ok(None);
    }
    match row.number(column)?.map(|v| v as f32) {
        Some(value) if !value.is_finite() => Err(row.refuse(column, "a number")),
        value => Ok(value.map(f64::from)),
    }
}

/// Acetaminophen in 64 rats: expression of 3,116 genes of the liver; toxicity is ALT or AST above three times the median
/// of the animals of the lowest dose, and bile acids above the same multiple of theirs.
///
/// `root` holds `rat_liver_toxicity_{gene,clinic,treatment}.csv.gz`. Covariate: hours since the dose; the dose itself is
/// left out, since it is what the genes are to stand for. The clinical chemistry gives the labels and is no input.
///
/// # Errors
/// Errors of the files and their columns.
pub fn rat(root: impl AsRef<Path>) -> Result<OmicsCohort> {
    let root = root.as_ref();
    let genes = OmicsTable::read(table_file(root, "rat_liver_toxicity_gene.csv.gz")?)?;
    let clinic = OmicsTable::read(table_file(root, "rat_liver_toxicity_clinic.csv.gz")?)?;
    let treatment = Sheet::read(&table_file(root, "rat_liver_toxicity_treatment.csv.gz")?)?;
    let (dose, hours, row_by_id) =
        (treatment.require("Dose.Group")?, treatment.require("Time.Group")?, by_id(&treatment)?);
    let treated = |column: usize| -> Result<Vec<Option<f64>>> {
        let of = |id: &String| row_by_id.get(id).map_or(Ok(None), |row| number(row, column));
        genes.ids.iter().map(of).collect()
    };
    let (dose, hours) = (treated(dose)?, treated(hours)?);
    let chemistry = clinic.aligned(&genes.ids);
    let events = [("ALT", "ALT.IU.L."), ("AST", "AST.IU.L."), ("bile acids", "TBA.umol.L.")];
    let mut toxicity = vec![vec![]; genes.len()];
    for (_, name) in events {
        let column = clinic.features.iter().position(|f| f == name).ok_or_else(|| Error::MissingColumn {
            path: root.join("rat_liver_toxicity_clinic.csv.gz"),
            sheet: None,
            column: name.into(),
            found: clinic.features.clone(),
        })?;
        let value = |i: usize| chemistry[i].as_ref().map(|r| r[column]).filter(|v| v.is_finite());
        let mut low: Vec<f32> =
            (0..genes.len()).filter(|&i| dose[i].is_some_and(|d| d <= 50.0)).filter_map(value).collect();
        low.sort_by(f32::total_cmp);
        let limit = low.get(low.len() / 2).map(|m| 3.0 * m);
        for (i, labels) in toxicity.iter_mut().enumerate() {
            labels.push(limit.zip(value(i)).map(|(limit, v)| v > limit));
        }
    }
    let patient = hours.into_iter().map(|hours| vec![hours]).collect();
    let outcomes =
        toxicity.into_iter().map(|toxicity| OmicsOutcomes { toxicity, ..OmicsOutcomes::default() }).collect();
    let rows = (0..genes.len()).map(|i| Some(genes.row(i).to_vec())).collect();
    let remark = "Rats, not people: the only real toxicity labels at hand. Four animals share each dose and hour, so that folds \
                  see the treatment groups of their held-out animals.";
    let notes = [vec![remark.into()], genes.notes, clinic.notes, treatment.notes].concat();
    Ok(OmicsCohort {
        covariates: Table::new(genes.ids, vec!["hours".into()], patient)?,
        coding: OmicsCovariate::numbers(["hours"]),
        tables: BTreeMap::from([("gene".to_string(), (genes.features, rows))]),
        outcomes,
        events: events.map(|(name, _)| name.to_string()).to_vec(),
        notes,
        ..OmicsCohort::default()
    })
}
