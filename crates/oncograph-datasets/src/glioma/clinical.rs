use super::rows::{Extra, Row};
use crate::error::{Error, Result};
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
    /// The metadata of UCSF-PDGM: 501 patients.
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
    /// Its patients, in the order of the file.
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
        let mut patients = Vec::with_capacity(table.rows.len());
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
        }
        if patients.is_empty() {
            return Err(table.empty());
        }
        notes.splice(0..0, table.notes);
        Ok(GliomaTable { path: table.path, kind, patients, extra: extra.names(), notes })
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
mod tests {
    use super::*;
    use crate::tables::testing::{Put, gzip, write_text, write_workbook};

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
        assert!(message("a,b\n1,2\n").contains("none has the columns of UCSF-PDGM"));
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

    #[test]
    fn tables_in_other_formats_are_the_same() {
        let text = format!("{UCSF}A,M,50.5,4,positive,wildtype\nB,F,40,2,negative,mutated (NOS)\n");
        let expected = read(&text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("t.tsv", text.replace(',', "\t").into_bytes()),
            ("t.csv", text.replace(',', ";").replace("50.5", "50,5").into_bytes()),
            ("t.csv.gz", gzip(&text)),
            ("t.csv", format!("{text},,,,,\n").replace('\n', "\r").into_bytes()),
        ] {
            let found = GliomaTable::read(write_text(folder.path(), name, content)).unwrap();
            assert_eq!(found.patients, expected.patients, "{name}");
        }
        let names = UCSF.trim().split(',').map(Put::Text);
        let row = |id, age| {
            let rest = [Put::Text("M"), age, Put::Number(4.0), Put::Text("positive"), Put::Text("wildtype")];
            std::iter::once(Put::Text(id)).chain(rest).collect()
        };
        let book = |age| {
            let sheets = [
                ("legend", true, vec![vec![Put::Text("x")]]),
                ("old", false, vec![names.clone().collect()]),
                ("data", true, vec![names.clone().collect(), row("A", Put::Number(50.5)), row("B", age)]),
            ];
            GliomaTable::read(write_workbook(&folder.path().join("t.xlsx"), &sheets))
        };
        let found = book(Put::Nothing).unwrap();
        assert_eq!((&found.patients[0], found.patients[1].age), (&expected.patients[0], None));
        assert!(found.notes[0].contains("hidden sheets are passed over: `old`"), "{:?}", found.notes);
        for (age, part) in [
            (Put::Formatted(20000.0, 1), "the date 1954-10-03"),
            (Put::Formatted(0.5, 2), "percent"),
            (Put::Formula("A1", None), "a formula"),
        ] {
            let error = book(age).unwrap_err().to_string();
            assert!(
                error.contains("sheet `data`: row 3, column `Age at MRI`") && error.contains(part),
                "{error}"
            );
        }
        let twice = read("ID,IDH,IDH\nA,wildtype,IDH1 p.R132H\n").unwrap_err().to_string();
        assert!(twice.contains("column `IDH` is there twice, as columns 2 and 3"), "{twice}");
    }

    #[test]
    fn a_table_of_ones_own_is_read_with_its_covariates() {
        let text = "id,idh,site,age,sex,volume,laterality\nA,1,Rome,40,F,12.5,left\nB,0,Rome,,m,,right\n\
                    C,wild-type,Oslo,61,male,3,left\nD,,Oslo,50,F,4,\nE,Mutant,Oslo,50,F,4,left\n";
        let table = read(text).unwrap();
        assert_eq!(table.kind, GliomaTableKind::Plain);
        let idh: Vec<Option<bool>> = table.patients.iter().map(|p| p.idh).collect();
        assert_eq!(idh, [Some(true), Some(false), Some(false), None, Some(true)]);
        assert_eq!((table.patients[1].male, table.patients[1].site.as_deref()), (Some(true), Some("Rome")));
        assert_eq!(table.extra, ["volume", "laterality_left", "laterality_right"]);
        let all = table.features(GliomaFeatures::All).unwrap();
        assert_eq!(all.columns(), ["age", "male", "volume", "laterality_left", "laterality_right"]);
        assert_eq!(all.row(1), [None, Some(1.0), None, Some(0.0), Some(1.0)]);
        assert_eq!(all.row(3), [Some(50.0), Some(0.0), Some(4.0), None, None]);
        // Further columns are seen only where they are asked for.
        assert_eq!(table.features(GliomaFeatures::Pathology).unwrap().columns(), ["age", "male"]);

        // In capital letters it is no table of UCSF's, whose age has another name.
        let capital = read(&text.replacen("id,idh,site,age,sex", "ID,IDH,Site,Age,Sex", 1)).unwrap();
        assert_eq!(capital.patients, table.patients);
        let message = |text: &str| read(text).unwrap_err().to_string();
        let bad = message("id,idh,age\nA,2,40\n");
        assert!(bad.contains("row 2, column `idh`") && bad.ends_with("got \"2\""), "{bad}");
        assert!(message("id,idh,age\nA,1,old\n").contains("column `age`"));
        assert!(message("id,idh,sex\nA,1,1\n").contains("expected M or F"));
        // A column with another word for every patient is no covariate.
        let names: String = (0..30).map(|i| format!("P{i},1,n{i}\n")).collect();
        let table = read(&format!("id,idh,name\n{names}")).unwrap();
        assert_eq!((table.extra.len(), table.notes.len()), (0, 1), "{:?}", table.notes);
    }

    #[test]
    fn ucsf_names_the_images_of_brats_2021() {
        let table =
            read("ID,Age at MRI,IDH,BraTS21 ID\nA,66,wildtype,BraTS2021_00097\nB,60,wildtype,\n").unwrap();
        assert_eq!(table.patients[0].other_names, ["BraTS2021_00097"]);
        assert!(table.patients[1].other_names.is_empty());
    }
}
