use crate::csv_table::CsvTable;
use crate::error::{Error, Result};
use oncograph_core::Table;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The tables of patients with IDH status that are known by their columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GliomaTableKind {
    /// The metadata of UCSF-PDGM: 501 patients.
    UcsfPdgm,
    /// TCGA LGG and GBM, Ceccarelli et al. 2016, table S1: 1,122 patients, 995 of them with IDH status.
    Ceccarelli2016,
}

/// Which covariates a model may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GliomaFeatures {
    /// Age and sex: the baseline of every IDH model.
    AgeSex,
    /// What is known before any tissue is seen: age, sex and, where the table has it, the Karnofsky score.
    #[default]
    PreOperative,
    /// Besides, what the pathologist sees: grade, histology and the MGMT promoter. In UCSF-PDGM the grade is that of the
    /// WHO classification of 2021, of which IDH is a part: there it **leaks** the label.
    Pathology,
}

/// One patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GliomaRecord {
    /// The identifier.
    pub id: String,
    /// Whether IDH1 or IDH2 is mutated; `None` where it was not tested.
    pub idh: Option<bool>,
    /// Age in years.
    pub age: Option<f64>,
    /// Whether the patient is male.
    pub male: Option<bool>,
    /// WHO grade, 2 to 4.
    pub grade: Option<u8>,
    /// Karnofsky performance score, 0 to 100.
    pub karnofsky: Option<f64>,
    /// Histology, in the table's words; never a diagnosis that names IDH.
    pub histology: Option<String>,
    /// Whether the MGMT promoter is methylated.
    pub mgmt: Option<bool>,
    /// Where the patient was treated.
    pub site: Option<String>,
}

/// Clinical rows of patients with glioma.
///
/// # Example
/// ```
/// use oncograph_datasets::glioma::{GliomaFeatures, GliomaTable};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("table.csv");
/// # std::fs::write(&path, "ID,Sex,Age at MRI,WHO CNS Grade,MGMT status,IDH\nA,F,40,2,positive,IDH1 p.R132H\n")?;
/// let table = GliomaTable::read(&path)?;
/// assert_eq!(table.patients[0].idh, Some(true));
/// let features = table.features(GliomaFeatures::AgeSex)?;
/// assert_eq!(features.columns(), ["age", "male"]);
/// assert_eq!(features.row(0), [Some(40.0), Some(0.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Reference
/// Calabrese et al. 2022 (UCSF-PDGM, doi 10.7937/tcia.bdgf-8v37); Ceccarelli et al. 2016
/// (doi 10.1016/j.cell.2015.12.028).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GliomaTable {
    /// The file.
    pub path: PathBuf,
    /// Which table it is.
    pub kind: GliomaTableKind,
    /// Its patients, in the order of the file.
    pub patients: Vec<GliomaRecord>,
}

impl GliomaTable {
    /// Reads a table of either kind, told apart by its columns.
    ///
    /// # Errors
    /// Names file, row and column: columns of neither table, a code that is not known, a number that is none, a patient
    /// with two rows, no rows at all.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let table = CsvTable::read(path.as_ref())?;
        let kind = if table.place("IDH.status").is_some() && table.place("patient").is_some() {
            GliomaTableKind::Ceccarelli2016
        } else if table.place("IDH").is_some() && table.place("ID").is_some() {
            GliomaTableKind::UcsfPdgm
        } else {
            let detail = format!(
                "neither UCSF-PDGM (columns `ID`, `IDH`) nor Ceccarelli 2016 (`patient`, `IDH.status`); found: {}",
                table.header.join(", ")
            );
            return Err(Error::at(path.as_ref(), detail));
        };
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut patients = Vec::with_capacity(table.rows.len());
        for (number, cells) in &table.rows {
            let row = Row { table: &table, number: *number, cells };
            let patient = match kind {
                GliomaTableKind::UcsfPdgm => row.ucsf()?,
                GliomaTableKind::Ceccarelli2016 => row.ceccarelli()?,
            };
            if let Some(first) = seen.insert(patient.id.clone(), *number) {
                let (path, id) = (table.path.clone(), patient.id);
                return Err(Error::DuplicatePatient { path, sheet: None, id, first, second: *number });
            }
            patients.push(patient);
        }
        if patients.is_empty() {
            return Err(Error::empty_table(&table.path, None));
        }
        Ok(GliomaTable { path: table.path, kind, patients })
    }

    /// The table without the patients whose IDH status is not known.
    pub fn with_idh(mut self) -> Self {
        self.patients.retain(|p| p.idh.is_some());
        self
    }

    /// The row of a patient.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.patients.iter().position(|p| p.id == id)
    }

    /// The covariates of a set, without those that no patient of the table has; histologies one column each.
    ///
    /// # Errors
    /// [`Error::Argument`] if two patients have one identifier or a value is not finite; a table that was read has
    /// neither.
    pub fn features(&self, set: GliomaFeatures) -> Result<Table> {
        type Get<'a> = Box<dyn Fn(&GliomaRecord) -> Option<f64> + 'a>;
        let flag = |value: Option<bool>| value.map(|v| f64::from(u8::from(v)));
        let mut columns: Vec<(String, Get)> = vec![
            ("age".into(), Box::new(|p: &GliomaRecord| p.age)),
            ("male".into(), Box::new(move |p: &GliomaRecord| flag(p.male))),
        ];
        if set != GliomaFeatures::AgeSex {
            columns.push(("karnofsky".into(), Box::new(|p: &GliomaRecord| p.karnofsky)));
        }
        if set == GliomaFeatures::Pathology {
            columns.push(("grade".into(), Box::new(|p: &GliomaRecord| p.grade.map(f64::from))));
            columns.push(("mgmt_methylated".into(), Box::new(move |p: &GliomaRecord| flag(p.mgmt))));
            let kinds: BTreeSet<&str> = self.patients.iter().filter_map(|p| p.histology.as_deref()).collect();
            for kind in kinds {
                let is = move |p: &GliomaRecord| flag(p.histology.as_deref().map(|h| h == kind));
                columns.push((format!("histology_{kind}"), Box::new(is)));
            }
        }
        columns.retain(|(_, get)| self.patients.iter().any(|p| get(p).is_some()));
        let ids = self.patients.iter().map(|p| p.id.clone()).collect();
        let names = columns.iter().map(|(name, _)| name.clone()).collect();
        let rows = self.patients.iter().map(|p| columns.iter().map(|(_, get)| get(p)).collect()).collect();
        Ok(Table::new(ids, names, rows)?)
    }
}

struct Row<'a> {
    table: &'a CsvTable,
    number: usize,
    cells: &'a [String],
}

impl Row<'_> {
    /// The text of a column that must be there; empty and `NA` are missing.
    fn text(&self, column: &str) -> Result<Option<&str>> {
        let place = self.table.require(column)?;
        let text = self.cells.get(place).map_or("", String::as_str);
        Ok((!matches!(text, "" | "NA" | "NaN")).then_some(text))
    }

    /// As [`Row::text`], of a column that may be absent.
    fn optional(&self, column: &str) -> Result<Option<&str>> {
        if self.table.place(column).is_some() { self.text(column) } else { Ok(None) }
    }

    fn id(&self, column: &str) -> Result<String> {
        match self.text(column)? {
            Some(id) => Ok(id.to_owned()),
            None => self.table.refuse(self.number, self.table.require(column)?, "an identifier", ""),
        }
    }

    fn coded<T>(
        &self,
        column: &str,
        text: Option<&str>,
        expected: &str,
        code: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = text else { return Ok(None) };
        match code(text) {
            Some(value) => Ok(Some(value)),
            None => self.table.refuse(self.number, self.table.require(column)?, expected, text),
        }
    }

    fn number(
        &self,
        column: &str,
        expected: &str,
        allowed: std::ops::RangeInclusive<f64>,
    ) -> Result<Option<f64>> {
        let parse = |text: &str| text.parse().ok().filter(|v| allowed.contains(v));
        self.coded(column, self.optional(column)?, expected, parse)
    }

    fn ucsf(&self) -> Result<GliomaRecord> {
        // "wildtype", "mutated (NOS)", "IDH1 p.R132H", "IDH1 p.Arg132His", "IDH2 p.Arg172Trp" ...
        let idh = |text: &str| match text.to_ascii_lowercase() {
            t if t == "wildtype" || t == "wild-type" || t == "wt" => Some(false),
            t if t.starts_with("mutated") || t.starts_with("idh1 p.") || t.starts_with("idh2 p.") => {
                Some(true)
            }
            _ => None,
        };
        // An indeterminate result counts as missing.
        let mgmt = self.optional("MGMT status")?.filter(|t| *t != "indeterminate");
        let known = "wildtype, mutated (...) or a variant as IDH1 p.R132H";
        let sign = |text: &str| match text {
            "positive" => Some(true),
            "negative" => Some(false),
            _ => None,
        };
        Ok(GliomaRecord {
            id: self.id("ID")?,
            idh: self.coded("IDH", self.text("IDH")?, known, idh)?,
            age: self.number("Age at MRI", "an age in years", 0.0..=120.0)?,
            male: self.coded("Sex", self.optional("Sex")?, "M or F", sex)?,
            grade: self.coded("WHO CNS Grade", self.optional("WHO CNS Grade")?, "1 to 4", grade)?,
            karnofsky: None,
            histology: None,
            mgmt: self.coded("MGMT status", mgmt, "positive, negative or indeterminate", sign)?,
            site: Some("UCSF".into()),
        })
    }

    fn ceccarelli(&self) -> Result<GliomaRecord> {
        let idh = |text: &str| match text {
            "Mutant" => Some(true),
            "WT" => Some(false),
            _ => None,
        };
        let methylated = |text: &str| match text {
            "Methylated" => Some(true),
            "Unmethylated" => Some(false),
            _ => None,
        };
        let (mgmt, age) = ("MGMT.promoter.status", "Age..years.at.diagnosis.");
        Ok(GliomaRecord {
            id: self.id("patient")?,
            idh: self.coded("IDH.status", self.text("IDH.status")?, "Mutant or WT", idh)?,
            age: self.number(age, "an age in years", 0.0..=120.0)?,
            male: self.coded("Gender", self.optional("Gender")?, "male or female", sex)?,
            grade: self.coded("Grade", self.optional("Grade")?, "G2, G3 or G4", grade)?,
            karnofsky: self.number("Karnofsky.Performance.Score", "0 to 100", 0.0..=100.0)?,
            histology: self.optional("Histology")?.map(str::to_owned),
            mgmt: self.coded(mgmt, self.optional(mgmt)?, "Methylated or Unmethylated", methylated)?,
            site: self.optional("Tissue.source.site")?.map(str::to_owned),
        })
    }
}

fn sex(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "m" | "male" => Some(true),
        "f" | "female" => Some(false),
        _ => None,
    }
}

fn grade(text: &str) -> Option<u8> {
    text.trim_start_matches('G').parse().ok().filter(|g| (1..=4).contains(g))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GliomaTable> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        GliomaTable::read(&path)
    }

    const UCSF: &str = "ID,Sex,Age at MRI,WHO CNS Grade,MGMT status,IDH\n";

    #[test]
    fn every_spelling_of_idh_is_known() {
        let spellings = [
            ("wildtype", false),
            ("mutated (NOS)", true),
            ("IDH1 p.R132H", true),
            ("IDH1 p.Arg132His", true),
            ("IDH2 p.R172K", true),
            ("IDH2 p.Arg172Trp", true),
        ];
        let rows = spellings.iter().enumerate().map(|(i, (s, _))| format!("P{i},M,50,4,indeterminate,{s}\n"));
        let table = read(&(UCSF.to_string() + &rows.collect::<String>())).unwrap();
        for (patient, (spelling, mutant)) in table.patients.iter().zip(spellings) {
            assert_eq!(patient.idh, Some(mutant), "{spelling}");
            assert_eq!(patient.mgmt, None);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        let bad = message(&format!("{UCSF}A,M,50,4,positive,maybe\n"));
        assert!(bad.contains("row 2, column `IDH`") && bad.ends_with("got \"maybe\""), "{bad}");
        assert!(message(&format!("{UCSF}A,M,-5,4,positive,wildtype\n")).contains("column `Age at MRI`"));
        assert!(message(&format!("{UCSF}A,M,5,4,,wildtype\nA,M,5,4,,wildtype\n")).contains("again in row 3"));
        assert!(message(UCSF).contains("no rows"));
        assert!(message("a,b\n1,2\n").contains("neither UCSF-PDGM"));
    }

    #[test]
    fn ceccarelli_keeps_untested_patients_until_they_are_dropped() {
        let header = "patient,Tissue.source.site,Histology,Grade,Age..years.at.diagnosis.,Gender,\
                      Karnofsky.Performance.Score,IDH.status,MGMT.promoter.status\n";
        let rows = "A,Duke,astrocytoma,G2,31,female,90,Mutant,Unmethylated\n\
                    B,Duke,glioblastoma,G4,61,male,,WT,\nC,UCSF,,,,,,,\n";
        let table = read(&format!("{header}{rows}")).unwrap();
        assert_eq!((table.kind, table.patients.len()), (GliomaTableKind::Ceccarelli2016, 3));
        let table = table.with_idh();
        assert_eq!(table.patients.len(), 2);
        let features = table.features(GliomaFeatures::Pathology).unwrap();
        let names = [
            "age",
            "male",
            "karnofsky",
            "grade",
            "mgmt_methylated",
            "histology_astrocytoma",
            "histology_glioblastoma",
        ];
        assert_eq!(features.columns(), names);
        assert_eq!(features.row(1), [Some(61.0), Some(1.0), None, Some(4.0), None, Some(0.0), Some(1.0)]);
        assert_eq!(table.position("B"), Some(1));
    }
}
