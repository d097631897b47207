use crate::pipeline::OmicsRows;
use crate::pipeline::PATIENT;
use crate::{Error, Result};
use oncograph_core::{Argument, AtFile};
use oncograph_datasets::omics::{CovariateValue, ImageVector, OmicsCohort, OmicsCovariate};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Known names that an error suggests.
const NEAREST: usize = 3;

/// One patient's values by name, in the units of the training tables.
///
/// A value that is not there is imputed as in training; a table that is not there, or empty, is a missing modality.
///
/// # Example
/// ```
/// use oncograph_omics::OmicsPatient;
///
/// let text = r#"{"id": "P-1", "covariates": {"age": 61, "sex": "F"}, "tables": {"gene": {"G00001": 0.4}}}"#;
/// let patient: OmicsPatient = serde_json::from_str(text)?;
/// assert_eq!(patient.tables["gene"]["G00001"], 0.4);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OmicsPatient {
    /// The identifier.
    pub id: String,
    /// Values of the patient node, for example `age`: numbers, or the names of levels.
    #[serde(default)]
    pub covariates: BTreeMap<String, CovariateValue>,
    /// By table the values of its columns.
    #[serde(default)]
    pub tables: BTreeMap<String, BTreeMap<String, f64>>,
    /// Vectors of images, in the order of slices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<PatientImage>,
}

/// The vector that an encoder made of a part of a patient's images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatientImage {
    /// All values by name.
    pub values: BTreeMap<String, f64>,
    /// Where the part is, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub centroid: Option<[f64; 3]>,
}

impl OmicsPatient {
    /// Reads a patient from a file: JSON with the fields of this type, or, if its name ends in `.csv`, lines
    /// `table,name,value` with the table `patient` for covariates; the identifier is then the name of the file, and images
    /// are not in it.
    ///
    /// # Errors
    /// [`AtFile`] with the path, and in a CSV file with the line.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| AtFile::new(path, e).during("read"))?;
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            return Self::from_csv(path, &bytes);
        }
        Ok(serde_json::from_slice(&bytes).map_err(|e| AtFile::new(path, e))?)
    }

    fn from_csv(path: &Path, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Line {
            table: String,
            name: String,
            value: Option<CovariateValue>,
        }
        let id = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut patient = OmicsPatient { id, ..OmicsPatient::default() };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        for (i, line) in reader.deserialize::<Line>().enumerate() {
            let at = |cause: String| AtFile::new(path, cause).at(format!("line {}", i + 2));
            let line = line.map_err(|e| at(e.to_string()))?;
            let Some(value) = line.value else { continue };
            let there = match (line.table.as_str(), value) {
                (PATIENT, value) => patient.covariates.insert(line.name.clone(), value).is_some(),
                (table, CovariateValue::Number(value)) => {
                    patient.tables.entry(table.into()).or_default().insert(line.name.clone(), value).is_some()
                }
                (_, CovariateValue::Text(text)) => {
                    return Err(at(format!("{} is {text:?} and no number", line.name)).into());
                }
            };
            if there {
                return Err(at(format!("{} of {} is there twice", line.name, line.table)).into());
            }
        }
        Ok(patient)
    }

    /// A patient of a cohort.
    ///
    /// # Errors
    /// [`Error::Input`] for a row that is not there.
    pub fn of_cohort(cohort: &OmicsCohort, row: usize) -> Result<Self> {
        let Some(id) = cohort.ids().get(row) else {
            return Err(Error::input("row", format!("below {}", cohort.ids().len()), row));
        };
        let (mut covariates, mut from) = (BTreeMap::new(), 0);
        for covariate in &cohort.coding {
            let width = covariate.columns().len();
            let value = covariate.decode(&cohort.covariates.row(row)[from..from + width]);
            covariates.extend(value.map(|value| (covariate.name.clone(), value)));
            from += width;
        }
        let images = cohort.images.iter().flat_map(|images| {
            images.patients[row].iter().map(|vector| PatientImage {
                values: images
                    .features
                    .iter()
                    .cloned()
                    .zip(vector.values.iter().map(|v| f64::from(*v)))
                    .collect(),
                centroid: vector.centroid,
            })
        });
        let images = images.collect();
        let mut patient = OmicsPatient { id: id.clone(), covariates, tables: BTreeMap::new(), images };
        for (table, (columns, rows)) in &cohort.tables {
            let Some(values) = &rows[row] else { continue };
            let known = columns.iter().zip(values).filter(|(_, v)| v.is_finite());
            patient.tables.insert(table.clone(), known.map(|(n, v)| (n.clone(), f64::from(*v))).collect());
        }
        Ok(patient)
    }
}

/// The columns that a model was trained with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OmicsColumns {
    pub covariates: Vec<OmicsCovariate>,
    pub tables: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub images: Vec<String>,
}

impl OmicsColumns {
    pub fn of(cohort: &OmicsCohort) -> Self {
        OmicsColumns {
            covariates: cohort.coding.clone(),
            images: cohort.images.as_ref().map(|images| images.features.clone()).unwrap_or_default(),
            tables: cohort
                .tables
                .iter()
                .map(|(name, (columns, _))| (name.clone(), columns.clone()))
                .collect(),
        }
    }

    /// How many numbers the covariates become.
    pub fn width(&self) -> usize {
        self.covariates.iter().map(|c| c.columns().len()).sum()
    }

    /// The covariates as numbers, in the order of their columns.
    fn encoded(&self, patient: &OmicsPatient) -> Result<Vec<f32>> {
        let names: Vec<String> = self.covariates.iter().map(|c| c.name.clone()).collect();
        if let Some(name) = patient.covariates.keys().find(|name| !names.contains(name)) {
            return Err(unknown(name, "covariates", &names));
        }
        let mut cells = vec![];
        for covariate in &self.covariates {
            cells.extend(covariate.encode(patient.covariates.get(&covariate.name))?);
        }
        let number = |cell: Option<f64>| cell.map_or(f32::NAN, |v| v as f32);
        match cells.iter().flatten().find(|v| !(**v as f32).is_finite()) {
            Some(value) => Err(Argument::new("OmicsPatient", "covariates", "finite numbers", value).into()),
            None => Ok(cells.into_iter().map(number).collect()),
        }
    }

    /// The vectors of images, in which every value has to be there.
    fn vectors(&self, patient: &OmicsPatient) -> Result<Vec<ImageVector>> {
        let vector = |image: &PatientImage| {
            let values = ordered("images", &self.images, &image.values)?;
            if let Some(missing) = values.iter().position(|v| v.is_nan()) {
                let expected = format!("a value of each of {} names", self.images.len());
                let got = format!("none of {}", self.images[missing]);
                return Err(Argument::new("OmicsPatient", "images", expected, got).into());
            }
            Ok(ImageVector { values, centroid: image.centroid })
        };
        patient.images.iter().map(vector).collect()
    }

    /// The patient's values in the order of the columns.
    ///
    /// # Errors
    /// [`Argument`] for a table or a name that the model was not trained with, and a value that is not finite: a mistyped
    /// name would otherwise be a missing value without notice.
    pub fn rows(&self, patient: &OmicsPatient) -> Result<OmicsRows<'static>> {
        if patient.id.trim().is_empty() {
            return Err(Argument::new("OmicsPatient", "id", "an identifier", "nothing").into());
        }
        let mut tables = BTreeMap::new();
        for (table, values) in &patient.tables {
            let Some(columns) = self.tables.get(table) else {
                let names: Vec<&str> = self.tables.keys().map(String::as_str).collect();
                let expected = format!("some of {}", names.join(", "));
                return Err(Argument::new("OmicsPatient", "tables", expected, table).into());
            };
            if !values.is_empty() {
                let row = ordered(table, columns, values)?;
                tables.insert(table.clone(), Cow::Owned(vec![Some(row)]));
            }
        }
        let images = (!self.images.is_empty() || !patient.images.is_empty()).then(|| self.vectors(patient));
        Ok(OmicsRows {
            covariates: vec![self.encoded(patient)?],
            tables,
            images: images.transpose()?.map(|own| Cow::Owned(vec![own])),
        })
    }
}

/// Values in the order of columns, NaN where there is none.
fn ordered(table: &str, columns: &[String], values: &BTreeMap<String, f64>) -> Result<Vec<f32>> {
    for (name, value) in values {
        if !columns.contains(name) {
            return Err(unknown(name, table, columns));
        }
        // A number beyond single precision would be infinite in it.
        if !(*value as f32).is_finite() {
            let field = format!("{name} of {table}");
            return Err(Argument::new("OmicsPatient", field, "a finite number", value).into());
        }
    }
    Ok(columns.iter().map(|c| values.get(c).map_or(f32::NAN, |v| *v as f32)).collect())
}

/// The error for a name that the model was not trained with.
fn unknown(name: &str, table: &str, columns: &[String]) -> Error {
    let expected = format!("one of its {} columns, nearest {}", columns.len(), nearest(name, columns));
    Argument::new("OmicsPatient", format!("a name in {table}"), expected, name).into()
}

fn nearest(name: &str, columns: &[String]) -> String {
    let mut all: Vec<(f64, &String)> = columns.iter().map(|c| (strsim::jaro_winkler(name, c), c)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    all.iter().take(NEAREST).map(|(_, c)| c.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_datasets::omics::CovariateKind;

    #[test]
    fn a_csv_and_a_json_file_are_the_same_patient() {
        let dir = tempfile::tempdir().unwrap();
        let (csv, json) = (dir.path().join("P-1.csv"), dir.path().join("p.json"));
        std::fs::write(&csv, "table,name,value\npatient,age,61\npatient,sex,F\ngene,A,0.1\ngene,B,\n")
            .unwrap();
        let patient = OmicsPatient::read(&csv).unwrap();
        std::fs::write(&json, serde_json::to_string(&patient).unwrap()).unwrap();
        assert_eq!(OmicsPatient::read(&json).unwrap(), patient);
        assert_eq!((patient.id.as_str(), patient.tables["gene"].len()), ("P-1", 1));
        assert_eq!((&patient.covariates["age"], &patient.covariates["sex"]), (&61.0.into(), &"F".into()));
        std::fs::write(&csv, "table,name,value\ngene,A,0.1\ngene,A,0.2\n").unwrap();
        let error = OmicsPatient::read(&csv).unwrap_err().to_string();
        assert!(error.contains("line 3: A of gene is there twice"), "{error}");
        std::fs::write(&csv, "table,name,value\ngene,A,high\n").unwrap();
        assert!(OmicsPatient::read(&csv).unwrap_err().to_string().contains("line 2"));
        std::fs::write(&json, r#"{"id": "x", "gene": {}}"#).unwrap();
        assert!(OmicsPatient::read(&json).unwrap_err().to_string().contains("p.json"));
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let columns = OmicsColumns {
            covariates: vec![
                OmicsCovariate::new("age", CovariateKind::Number),
                OmicsCovariate::new("sex", CovariateKind::Category).levels(["F", "M"]).mask(true),
            ],
            tables: BTreeMap::from([(
                "gene".into(),
                ["EGFR", "TP53", "PTEN", "IDH1"].map(String::from).to_vec(),
            )]),
            images: vec!["v1".into(), "v2".into()],
        };
        let patient = |table: &str, name: &str, value: f64| OmicsPatient {
            id: "P".into(),
            tables: BTreeMap::from([(table.to_string(), BTreeMap::from([(name.to_string(), value)]))]),
            ..OmicsPatient::default()
        };
        let rows = columns.rows(&patient("gene", "TP53", 0.5)).unwrap();
        let gene = rows.tables["gene"][0].clone().unwrap();
        assert!(gene[0].is_nan() && gene[1] == 0.5 && rows.covariates[0][0].is_nan());
        assert_eq!(rows.covariates[0][3], 1.0);
        let mut other = patient("gene", "TP53", 0.5);
        other.covariates = BTreeMap::from([("sex".into(), "M".into()), ("age".into(), 61.0.into())]);
        let image = |names: &[&str]| PatientImage {
            values: names.iter().map(|n| (n.to_string(), 1.0)).collect(),
            centroid: None,
        };
        other.images = vec![image(&["v2", "v1"])];
        let rows = columns.rows(&other).unwrap();
        assert_eq!(rows.covariates[0], [61.0, 0.0, 1.0, 0.0]);
        assert_eq!(rows.images.unwrap()[0].len(), 1);
        other.images = vec![image(&["v1"])];
        let error = columns.rows(&other).unwrap_err().to_string();
        assert!(error.contains("images must be a value of each of 2 names, got none of v2"), "{error}");
        other.images.clear();
        for (name, value, part) in [
            ("sex", "m".into(), "one of F, M, got m"),
            ("agee", 3.0.into(), "nearest age"),
            ("age", "old".into(), "a finite number, got old"),
        ] {
            other.covariates = BTreeMap::from([(name.to_string(), value)]);
            let error = columns.rows(&other).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = columns.rows(&patient("gene", "TP35", 0.5)).unwrap_err().to_string();
        assert!(error.contains("a name in gene must be one of its 4 columns, nearest TP53"), "{error}");
        let error = columns.rows(&patient("genes", "TP53", 0.5)).unwrap_err().to_string();
        assert!(error.contains("tables must be some of gene, got genes"), "{error}");
        assert!(columns.rows(&patient("gene", "TP53", f64::INFINITY)).is_err());
        assert!(columns.rows(&OmicsPatient::default()).is_err());
    }
}
