use super::rows::{Extra, Row};
use crate::error::{Error, Result};
use crate::patients::PatientGroups;
use crate::tables::{Sheet, Wanted};
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
    /// A table of one's own: `id` and `idh`, and where there are such `site`, `age`, `sex` and further covariates.
    Plain,
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
    /// Besides, every further column of a plain table: whether one of them leaks the label, only its owner knows.
    All,
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
    /// What the patient's images are called in other collections: `BraTS21 ID` of UCSF-PDGM.
    #[serde(default)]
    pub other_names: Vec<String>,
    /// Values of [`GliomaTable::extra`].
    #[serde(default)]
    pub extra: Vec<Option<f64>>,
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
    /// Further covariates of a plain table: columns of numbers by their names, and of words one for each word.
    #[serde(default)]
    pub extra: Vec<String>,
    /// Remarks on how the file was read, to be shown beside results.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl GliomaTable {
    /// Reads a table of any kind, told apart by its columns.
    ///
    /// Rows of UCSF-PDGM that agree in every column but those of names are of one patient, as are the follow-ups of one name; a
    /// remark in [`GliomaTable::notes`] names the former.
    ///
    /// # Errors
    /// Names file, row and column: columns of no kind, a code that is not known, a number that is none, a patient with two
    /// rows, no rows at all.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let known = |header: &[String]| kind(header).is_some();
        let what = "the columns of UCSF-PDGM (`ID`, `IDH`, `Age at MRI`), of Ceccarelli 2016 (`patient`, `IDH.status`) or of a \
                    table of one's own (`id`, `idh`)";
        let table = Sheet::read_where(path.as_ref(), &Wanted::new(what, &known))?;
        let Some(kind) = kind(&table.header) else {
            let detail = format!("none has {what}; found: {}", table.header.join(", "));
            return Err(Error::at(path.as_ref(), detail));
        };
        let (extra, mut notes) = match kind {
            GliomaTableKind::Plain => Extra::of(&table)?,
            _ => (Extra::default(), vec![]),
        };
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let (mut patients, mut lives) = (Vec::with_capacity(table.rows.len()), vec![]);
        for row in table.rows().map(Row) {
            let patient = match kind {
                GliomaTableKind::UcsfPdgm => row.ucsf()?,
                GliomaTableKind::Ceccarelli2016 => row.ceccarelli()?,
                GliomaTableKind::Plain => row.plain(&extra)?,
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
        notes.splice(0..0, table.notes);
        notes.extend(same_patients(&mut patients, &lives, |i| table.rows[i].0));
        Ok(GliomaTable { path: table.path, kind, patients, extra: extra.names(), notes })
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
        if matches!(set, GliomaFeatures::Pathology | GliomaFeatures::All) {
            columns.push(("grade".into(), Box::new(|p: &GliomaRecord| p.grade.map(f64::from))));
            columns.push(("mgmt_methylated".into(), Box::new(move |p: &GliomaRecord| flag(p.mgmt))));
            let kinds: BTreeSet<&str> = self.patients.iter().filter_map(|p| p.histology.as_deref()).collect();
            for kind in kinds {
                let is = move |p: &GliomaRecord| flag(p.histology.as_deref().map(|h| h == kind));
                columns.push((format!("histology_{kind}"), Box::new(is)));
            }
        }
        if set == GliomaFeatures::All {
            for (i, name) in self.extra.iter().enumerate() {
                columns.push((
                    name.clone(),
                    Box::new(move |p: &GliomaRecord| p.extra.get(i).copied().flatten()),
                ));
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

/// Which table has these columns.
fn kind(header: &[String]) -> Option<GliomaTableKind> {
    let has = |column: &str| header.iter().any(|h| h == column);
    let own = |column: &str| header.iter().any(|h| h.eq_ignore_ascii_case(column));
    // `ID` and `IDH` alone may as well be those of a table of one's own, whose age is called otherwise.
    let of_ucsf = ["Age at MRI", "WHO CNS Grade", "BraTS21 ID"].into_iter().any(has);
    match () {
        () if has("patient") && has("IDH.status") => Some(GliomaTableKind::Ceccarelli2016),
        () if has("ID") && has("IDH") && of_ucsf => Some(GliomaTableKind::UcsfPdgm),
        () if own("id") && own("idh") => Some(GliomaTableKind::Plain),
        () => None,
    }
}

#[cfg(test)]
mod tests;
