use crate::error::{Error, Result};
use crate::patients::{PatientGroups, patient_of_scan};
use crate::tables::{self, Sheet, Wanted};
use oncograph_core::Table;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The tables of patients with IDH status that are known by their columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GliomaTableKind {
    /// The metadata of UCSF-PDGM: 501 rows of 495 patients.
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

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GliomaRecord {
    /// The identifier.
    pub id: String,
    /// The patient: rows of one patient share it. That of the first of their rows.
    pub patient: String,
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
    /// Its rows, in the order of the file: one for each patient or, where the file has several of some, for each scan.
    pub patients: Vec<GliomaRecord>,
    /// Remarks on how the file was read, to be shown beside results.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl GliomaTable {
    /// Reads a table of either kind, told apart by its columns.
    ///
    /// Rows of UCSF-PDGM that agree in every column but those of names are of one patient, as are the follow-ups of one name; a
    /// remark in [`GliomaTable::notes`] names the former.
    ///
    /// # Errors
    /// Names file, row and column: columns of neither table, a code that is not known, a number that is none, a patient
    /// with two rows, no rows at all.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let has =
            |header: &[String], columns: [&str; 2]| columns.iter().all(|c| header.iter().any(|h| h == c));
        let known = |header: &[String]| has(header, UCSF) || has(header, CECCARELLI);
        let what = "the columns of UCSF-PDGM (`ID`, `IDH`) or of Ceccarelli 2016 (`patient`, `IDH.status`)";
        let table = Sheet::read_where(path.as_ref(), &Wanted::new(what, &known))?;
        let kind = if has(&table.header, CECCARELLI) {
            GliomaTableKind::Ceccarelli2016
        } else if has(&table.header, UCSF) {
            GliomaTableKind::UcsfPdgm
        } else {
            let detail = format!(
                "neither UCSF-PDGM (columns `ID`, `IDH`) nor Ceccarelli 2016 (`patient`, `IDH.status`); found: {}",
                table.header.join(", ")
            );
            return Err(Error::at(path.as_ref(), detail));
        };
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let (mut patients, mut lives) = (Vec::with_capacity(table.rows.len()), vec![]);
        for row in table.rows().map(Row) {
            let patient = match kind {
                GliomaTableKind::UcsfPdgm => row.ucsf()?,
                GliomaTableKind::Ceccarelli2016 => row.ceccarelli()?,
            };
            if let Some(first) = seen.insert(patient.id.clone(), row.0.number) {
                return Err(table.duplicate_patient(&patient.id, first, row.0.number));
            }
            patients.push(patient);
            lives.push(if kind == GliomaTableKind::UcsfPdgm { row.life()? } else { None });
        }
        if patients.is_empty() {
            return Err(table.empty());
        }
        let mut notes = table.notes;
        notes.extend(same_patients(&mut patients, &lives, |i| table.rows[i].0));
        Ok(GliomaTable { path: table.path, kind, patients, notes })
    }

    /// Of each row, which patient it is of.
    pub fn groups(&self) -> PatientGroups {
        PatientGroups::by(self.patients.iter().map(|p| &p.patient))
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

/// Gives rows whose patients lived the same lives one patient, and a remark that names them; `number` is that of a row.
fn same_patients(
    rows: &mut [GliomaRecord],
    lives: &[Option<Vec<String>>],
    number: impl Fn(usize) -> usize,
) -> Option<String> {
    let mut first: BTreeMap<&Vec<String>, usize> = BTreeMap::new();
    let mut pairs = vec![];
    for (i, life) in lives.iter().enumerate() {
        let Some(life) = life else { continue };
        let one = *first.entry(life).or_insert(i);
        if rows[one].patient != rows[i].patient {
            pairs.push(format!("{} = {} (rows {} and {})", rows[one].id, rows[i].id, number(one), number(i)));
            rows[i].patient = rows[one].patient.clone();
        }
    }
    let patients: BTreeSet<&str> = rows.iter().map(|r| r.patient.as_str()).collect();
    (!pairs.is_empty()).then(|| {
        format!(
            "Rows that agree in every column but those of names, the last day of follow-up among them, count as one patient: \
             {}; {} patients in {} rows",
            pairs.join(", "),
            patients.len(),
            rows.len()
        )
    })
}

/// The columns that each table is known by.
const UCSF: [&str; 2] = ["ID", "IDH"];
const CECCARELLI: [&str; 2] = ["patient", "IDH.status"];

struct Row<'a>(tables::Row<'a>);

impl Row<'_> {
    /// The text of a column that must be there; empty and `NA` are missing.
    fn text(&self, column: &str) -> Result<Option<String>> {
        self.at(self.0.sheet.require(column)?)
    }

    /// As [`Row::text`], of a column that may be absent.
    fn optional(&self, column: &str) -> Result<Option<String>> {
        self.0.sheet.place(column)?.map_or(Ok(None), |place| self.at(place))
    }

    fn at(&self, place: usize) -> Result<Option<String>> {
        let text = self.0.text(place)?;
        Ok((!matches!(&*text, "" | "NA" | "NaN")).then(|| text.into_owned()))
    }

    fn id(&self, column: &str) -> Result<String> {
        let place = self.0.sheet.require(column)?;
        match self.at(place)? {
            Some(_) => Ok(self.0.identifier(place)?.into_owned()),
            None => Err(self.0.refuse(place, "an identifier")),
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
            None => Err(self.0.refuse(self.0.sheet.require(column)?, expected)),
        }
    }

    fn number(
        &self,
        column: &str,
        expected: &str,
        allowed: std::ops::RangeInclusive<f64>,
    ) -> Result<Option<f64>> {
        if self.optional(column)?.is_none() {
            return Ok(None);
        }
        let place = self.0.sheet.require(column)?;
        match self.0.number(place) {
            Ok(Some(value)) if allowed.contains(&value) => Ok(Some(value)),
            _ => Err(self.0.refuse(place, expected)),
        }
    }

    /// All cells but names, of a patient who was followed to a day: nobody else shares them. `None` where no such day is known.
    fn life(&self) -> Result<Option<Vec<String>>> {
        if self.optional("OS")?.is_none() || self.optional("Age at MRI")?.is_none() {
            return Ok(None);
        }
        let names = |column: &String| column == "ID" || column.starts_with("BraTS");
        let header = self.0.sheet.header.iter().enumerate().filter(|(_, column)| !names(column));
        // A cell that no text can be made of, as a formula in a column that nobody asked for, is as good as empty.
        Ok(Some(header.map(|(place, _)| self.at(place).ok().flatten().unwrap_or_default()).collect()))
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
        let mgmt = self.optional("MGMT status")?.filter(|t| t != "indeterminate");
        let known = "wildtype, mutated (...) or a variant as IDH1 p.R132H";
        let sign = |text: &str| match text {
            "positive" => Some(true),
            "negative" => Some(false),
            _ => None,
        };
        let id = self.id("ID")?;
        Ok(GliomaRecord {
            patient: patient_of_scan(&id).into(),
            id,
            idh: self.coded("IDH", self.text("IDH")?.as_deref(), known, idh)?,
            age: self.number("Age at MRI", "an age in years", 0.0..=120.0)?,
            male: self.coded("Sex", self.optional("Sex")?.as_deref(), "M or F", sex)?,
            grade: self.coded(
                "WHO CNS Grade",
                self.optional("WHO CNS Grade")?.as_deref(),
                "1 to 4",
                grade,
            )?,
            karnofsky: None,
            histology: None,
            mgmt: self.coded("MGMT status", mgmt.as_deref(), "positive, negative or indeterminate", sign)?,
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
        let id = self.id("patient")?;
        Ok(GliomaRecord {
            patient: patient_of_scan(&id).into(),
            id,
            idh: self.coded("IDH.status", self.text("IDH.status")?.as_deref(), "Mutant or WT", idh)?,
            age: self.number(age, "an age in years", 0.0..=120.0)?,
            male: self.coded("Gender", self.optional("Gender")?.as_deref(), "male or female", sex)?,
            grade: self.coded("Grade", self.optional("Grade")?.as_deref(), "G2, G3 or G4", grade)?,
            karnofsky: self.number("Karnofsky.Performance.Score", "0 to 100", 0.0..=100.0)?,
            histology: self.optional("Histology")?,
            mgmt: self.coded(
                mgmt,
                self.optional(mgmt)?.as_deref(),
                "Methylated or Unmethylated",
                methylated,
            )?,
            site: self.optional("Tissue.source.site")?,
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
mod tests;
