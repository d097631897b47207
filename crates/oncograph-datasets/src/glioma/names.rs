use super::ScanName;
use crate::error::{Error, Result};
use crate::glioma::{GliomaRecord, GliomaTable};
use crate::tables::{Sheet, Wanted};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// What one scan is called in several collections, from the tables that the challenges and TCIA publish.
///
/// | table | columns with names |
/// |---|---|
/// | `name_mapping.csv` of BraTS 2018 to 2020 | `BraTS_2020_subject_ID` and its like, `TCGA_TCIA_subject_ID` |
/// | `BraTS2021_MappingToTCIA.xlsx` | `BraTS2021 ID`, `PatientID on TCIA Radiology Portal` |
/// | `BraTS2023_2017_GLI_Mapping.xlsx` | `BraTS2023`, `BraTS2021`, ... `BraTS2017` |
///
/// Names are followed from table to table: an image of BraTS 2023 finds its row in UCSF's table by its name in BraTS 2021.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BratsNames {
    known: BTreeMap<String, BTreeSet<String>>,
    /// Who a scan is in each collection, and by which table.
    stated: BTreeMap<(String, String), Stated>,
}

/// A table, and the patients that it gives.
type Stated = (PathBuf, BTreeSet<String>);

/// Folders within that of a cohort that tables of names are looked for in.
const DEPTH: usize = 2;

/// The collection that a patient of TCIA's mapping is from; of UCSF-PDGM it has the number alone.
const COLLECTION: &str = "Data Collection";
const UCSF: &str = "UCSF-PDGM";

impl BratsNames {
    /// Reads a table of names.
    ///
    /// # Errors
    /// A file that cannot be read, or one with fewer than two columns of names.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let fits = |header: &[String]| header.iter().filter(|h| is_name_column(h)).count() > 1;
        let what = "two columns of names (such as `BraTS2021 ID` and `TCGA_TCIA_subject_ID`)";
        let table = Sheet::read_where(path.as_ref(), &Wanted::new(what, &fits))?;
        if !fits(&table.header) {
            let detail = format!("not {what}; found: {}", table.header.join(", "));
            return Err(Error::at(path.as_ref(), detail));
        }
        let columns: Vec<usize> =
            (0..table.header.len()).filter(|c| is_name_column(&table.header[*c])).collect();
        let collection = table.place_where(|name| name.starts_with(COLLECTION))?;
        let mut names = BratsNames::default();
        for row in table.rows() {
            let collection = collection.map(|c| row.text(c)).transpose()?.unwrap_or_default();
            let mut found = vec![];
            for column in &columns {
                let (text, header) = (row.text(*column)?, &table.header[*column]);
                if let Some(name) = full_name(&text, header, &collection) {
                    found.push((name, collection_of(header)));
                }
            }
            names.join(&table.path, &found);
        }
        Ok(names)
    }

    /// Reads every table of names in a folder and in the folders within it, two deep: those with `mapping` in their names. Hidden files
    /// and folders are passed over.
    ///
    /// # Errors
    /// As [`BratsNames::read`] and [`BratsNames::extend`], or a folder that cannot be read.
    pub fn in_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let mut paths = vec![];
        tables(folder.as_ref(), DEPTH, &mut paths)?;
        paths.sort();
        let mut names = BratsNames::default();
        for path in paths {
            names.extend(BratsNames::read(path)?)?;
        }
        Ok(names)
    }

    /// Adds the names of another table.
    ///
    /// # Errors
    /// [`Error::AtFile`] names a scan that is another patient there.
    pub fn extend(&mut self, other: Self) -> Result<()> {
        for ((name, collection), (path, patients)) in other.stated {
            match self.stated.entry((name, collection)) {
                Entry::Vacant(place) => {
                    place.insert((path, patients));
                }
                Entry::Occupied(mut place) => {
                    let (name, collection) = place.key();
                    let (first, known) = place.get();
                    if known.is_disjoint(&patients) {
                        let list = |of: &BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(", ");
                        let (here, there) = (list(&patients), list(known));
                        let detail =
                            format!("{name} is {here} of {collection}, and {there} in {}", first.display());
                        return Err(Error::at(&path, detail));
                    }
                    place.get_mut().1.extend(patients);
                }
            }
        }
        for (name, others) in other.known {
            self.known.entry(name).or_default().extend(others);
        }
        Ok(())
    }

    /// Adds the names of one scan, each with its collection.
    fn join(&mut self, path: &Path, names: &[(String, String)]) {
        for (name, own) in names {
            let others = names.iter().filter(|(other, _)| other != name);
            self.known.entry(name.clone()).or_default().extend(others.map(|(other, _)| other.clone()));
            // A patient has many scans, which tables may share among them; a scan is of one patient.
            if own == PATIENTS {
                continue;
            }
            for (other, collection) in names.iter().filter(|(_, collection)| collection != own) {
                let place = self.stated.entry((name.clone(), collection.clone()));
                let place = place.or_insert_with(|| (path.to_owned(), BTreeSet::new()));
                place.1.insert(ScanName::of(other).patient);
            }
        }
    }

    /// What a scan is called, itself first, then from table to table.
    pub fn all<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let (mut found, mut next) = (vec![id], VecDeque::from([id]));
        while let Some(name) = next.pop_front() {
            for other in self.known.get(name).into_iter().flatten().map(String::as_str) {
                if !found.contains(&other) {
                    found.push(other);
                    next.push_back(other);
                }
            }
        }
        found
    }
}

/// The collection of columns that hold patients.
const PATIENTS: &str = "TCIA";

/// The collection that the names of a column are of: `BraTS_2020_subject_ID`, `BraTS2020` and `BraTS20 ID` are of one.
fn collection_of(header: &str) -> String {
    let lower = header.trim().to_ascii_lowercase();
    let digits: String = lower.chars().filter(char::is_ascii_digit).collect();
    match (lower.starts_with("brats"), digits.get(digits.len().saturating_sub(2)..)) {
        (true, Some(year)) if !year.is_empty() => format!("BraTS 20{year}"),
        _ if lower.contains("tcia") => PATIENTS.into(),
        _ => header.trim().into(),
    }
}

/// The tables of names in a folder and those within it.
fn tables(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| Error::io("read", folder, source);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if name.starts_with(['.', '~']) {
            continue;
        }
        let table = [".csv", ".csv.gz", ".tsv", ".xlsx"].iter().any(|end| name.ends_with(end));
        if table && name.contains("mapping") && path.is_file() {
            into.push(path);
        } else if depth > 0 && path.is_dir() {
            tables(&path, depth - 1, into)?;
        }
    }
    Ok(())
}

/// Whether a column holds names of scans or patients.
fn is_name_column(header: &str) -> bool {
    let lower = header.trim().to_ascii_lowercase();
    let of_a_year = lower.strip_prefix("brats").is_some_and(|year| {
        let year = year.strip_suffix(" id").unwrap_or(year);
        [2, 4].contains(&year.len()) && year.bytes().all(|b| b.is_ascii_digit())
    });
    of_a_year || lower.ends_with("_subject_id") || lower.starts_with("patientid on tcia")
}

/// A name as images have it, or `None` for a cell without one. Cases of BraTS 2021 and patients of UCSF-PDGM may be numbers.
fn full_name(text: &str, header: &str, collection: &str) -> Option<String> {
    let text = text.trim();
    let none = ["", "na", "n/a", "nan", "none"].contains(&text.to_ascii_lowercase().as_str());
    if none || text.starts_with("new-not-previously") {
        return None;
    }
    let number = text.bytes().all(|b| b.is_ascii_digit());
    match number {
        true if header.trim().eq_ignore_ascii_case("BraTS2021 ID") => Some(format!("BraTS2021_{text:0>5}")),
        true if collection.trim() == UCSF => Some(format!("{UCSF}-{text:0>3}")),
        // A number alone would join patients of different collections.
        true => None,
        false => Some(text.to_owned()),
    }
}

impl GliomaTable {
    /// The row of the patient whose images are called `id`.
    ///
    /// Tried in turn for every name that `names` knows: the row of that name, a row with that name in another collection (`BraTS21
    /// ID` of UCSF-PDGM), and the row of the patient ([`ScanName`]). Zeros before the last number do not count: images of
    /// UCSF-PDGM have four digits where their table has three.
    pub fn of_images(&self, id: &str, names: &BratsNames) -> Option<&GliomaRecord> {
        let all = names.all(id);
        let exact = all.iter().find_map(|id| self.position(id));
        let other = || {
            all.iter().find_map(|id| self.patients.iter().position(|p| p.other_names.iter().any(|n| n == id)))
        };
        let patient = || {
            all.iter().find_map(|id| {
                let patient = ScanName::of(id).patient;
                self.patients.iter().position(|p| without_zeros(&p.id) == without_zeros(&patient))
            })
        };
        exact.or_else(other).or_else(patient).map(|i| &self.patients[i])
    }

    /// The patient of the scan that is called `id`: that of its row, else by its names, of which the first in the alphabet is taken.
    pub fn patient_of_images(&self, id: &str, names: &BratsNames) -> String {
        let by_name = || names.all(id).into_iter().map(|name| ScanName::of(name).patient).min();
        let by_row = self.of_images(id, names).map(|row| row.patient.clone());
        by_row.or_else(by_name).unwrap_or_else(|| id.to_owned())
    }
}

/// What stands before the last number, and that number without the zeros before it.
fn without_zeros(id: &str) -> (&str, &str) {
    let digits = id.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (start, number) = id.split_at(id.len() - digits);
    (start, number.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::testing::{Put, write_text, write_workbook};

    #[test]
    fn images_find_their_row_by_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let mapping = "Grade,BraTS_2019_subject_ID,TCGA_TCIA_subject_ID,BraTS_2020_subject_ID\n\
                       HGG,BraTS19_1,TCGA-02-0006,BraTS20_Training_001\nLGG,NA,NA,BraTS20_Training_002\n";
        let path = write_text(folder.path(), "name_mapping.csv", mapping);
        let names = BratsNames::read(&path).unwrap();
        assert_eq!(names.all("BraTS19_1"), ["BraTS19_1", "BraTS20_Training_001", "TCGA-02-0006"]);
        assert_eq!(names.all("BraTS20_Training_002"), ["BraTS20_Training_002"]);
        let rows =
            "patient,IDH.status,Age..years.at.diagnosis.\nTCGA-02-0006,WT,61\nUCSF-PDGM-004,Mutant,40\n";
        let table = GliomaTable::read(write_text(folder.path(), "table.csv", rows)).unwrap();
        let idh = |id: &str| table.of_images(id, &names).map(|p| p.idh);
        assert_eq!(idh("BraTS20_Training_001"), Some(Some(false)));
        assert_eq!(idh("TCGA-02-0006_1996.08.23"), Some(Some(false)));
        assert_eq!(idh("UCSF-PDGM-0004"), Some(Some(true)));
        assert_eq!(idh("UCSF-PDGM-0040"), None);
        assert_eq!(idh("BraTS20_Training_002"), None);
        // Follow-ups have the genotype of their patient, and are of one patient with the first scan.
        assert_eq!(idh("UCSF-PDGM-0004_FU001d"), Some(Some(true)));
        let patient = |id: &str| table.patient_of_images(id, &names);
        assert_eq!(patient("UCSF-PDGM-0004_FU001d"), patient("UCSF-PDGM-0004"));
        assert_eq!(patient("BraTS20_Training_001"), patient("TCGA-02-0006_1996.08.23"));
        assert_eq!(patient("BraTS-GLI-00005-101"), "BraTS-GLI-00005");
    }

    #[test]
    fn brats_2023_finds_the_row_of_ucsf_over_two_tables() {
        let folder = tempfile::tempdir().unwrap();
        let text = Put::Text;
        let of_2023 = vec![
            vec![
                text("BraTS2023"),
                text("BraTS2021"),
                text("BraTS2017"),
                text("Cohort Name (if publicly available)"),
            ],
            vec![text("BraTS-GLI-00097-000"), text("BraTS2021_00097"), Put::Nothing, text("UCSF-PDGM")],
            vec![text("BraTS-GLI-00102-000"), text("BraTS2021_00102"), Put::Nothing, Put::Nothing],
        ];
        write_workbook(&folder.path().join("BraTS2023_2017_GLI_Mapping.xlsx"), &[("s", true, of_2023)]);
        let to_tcia = vec![
            vec![
                text("Data Collection (as on TCIA+additional)"),
                text("Site ID"),
                text("PatientID on TCIA Radiology Portal"),
                text("BraTS2021 ID"),
            ],
            vec![text("UCSF-PDGM"), Put::Number(18.0), Put::Number(57.0), text("BraTS2021_00102")],
            vec![text("TCGA-GBM"), Put::Number(2.0), text("TCGA-02-0006"), text("00169")],
            vec![text("Collection 4"), Put::Number(4.0), Put::Number(57.0), text("BraTS2021_00200")],
            vec![
                text("UCSF-PDGM_Additional"),
                Put::Number(18.0),
                text("new-not-previously-in-TCIA"),
                text("BraTS2021_00300"),
            ],
            vec![
                text("CPTAC-GBM"),
                Put::Number(3.0),
                text("new-not-previously-in-TCIA"),
                text("BraTS2021_00301"),
            ],
        ];
        write_workbook(&folder.path().join("BraTS2021_MappingToTCIA.xlsx"), &[("s", true, to_tcia)]);
        let names = BratsNames::in_folder(folder.path()).unwrap();
        let rows = "ID,Sex,Age at MRI,IDH,BraTS21 ID\nUCSF-PDGM-004,M,66,IDH1 p.R132H,BraTS2021_00097\n\
                    UCSF-PDGM-057,F,50,wildtype,\nTCGA-02-0006,F,50,wildtype,\n";
        let table = GliomaTable::read(write_text(folder.path(), "ucsf.csv", rows)).unwrap();
        let found = |id: &str| table.of_images(id, &names).map(|p| p.id.as_str());
        assert_eq!(found("BraTS2021_00097"), Some("UCSF-PDGM-004"));
        assert_eq!(found("BraTS-GLI-00097-000"), Some("UCSF-PDGM-004"));
        assert_eq!(found("BraTS-GLI-00102-000"), Some("UCSF-PDGM-057"));
        assert_eq!(found("BraTS2021_00169"), Some("TCGA-02-0006"));
        // A number of another collection is no patient of UCSF's, and cases that are new have nothing in common.
        assert_eq!((found("BraTS2021_00200"), found("BraTS2021_00300")), (None, None));
        assert_eq!(names.all("BraTS2021_00300"), ["BraTS2021_00300"]);
    }

    #[test]
    fn follow_ups_have_the_row_of_their_own_or_of_the_patient() {
        let folder = tempfile::tempdir().unwrap();
        let rows = "ID,Sex,Age at MRI,IDH\nUCSF-PDGM-429,F,58,wildtype\nUCSF-PDGM-0433_FU007d,M,66,wildtype\n\
                    UCSF-PDGM-433,M,65,wildtype\n";
        let table = GliomaTable::read(write_text(folder.path(), "ucsf.csv", rows)).unwrap();
        let age = |id: &str| table.of_images(id, &BratsNames::default()).and_then(|p| p.age);
        assert_eq!(age("UCSF-PDGM-0429_FU003d"), Some(58.0));
        assert_eq!((age("UCSF-PDGM-0433_FU007d"), age("UCSF-PDGM-0433")), (Some(66.0), Some(65.0)));
    }

    #[test]
    fn tables_are_found_two_folders_deep_and_must_agree() {
        let root = tempfile::tempdir().unwrap();
        let put = |folder: &str, name: &str, text: &str| {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
            write_text(&root.path().join(folder), name, text);
        };
        let read = || BratsNames::in_folder(root.path()).map_err(|e| e.to_string());
        put(
            "MICCAI_2019/training",
            "name_mapping.csv",
            "BraTS_2019_subject_ID,TCGA_TCIA_subject_ID\nBraTS19_1,TCGA-02-0006\n",
        );
        put("MICCAI_2019/training/deep", "mapping.csv", "no,table\n");
        put("MICCAI_2019/.hidden", "mapping.csv", "no,table\n");
        let row = vec![Put::Text("BraTS19_1"), Put::Text("BraTS2021_00007")];
        let header = vec![Put::Text("BraTS2019"), Put::Text("BraTS2021")];
        write_workbook(&root.path().join("MICCAI_2019/My_Mapping.xlsx"), &[("s", true, vec![header, row])]);
        // A second time, with a date, and with another scan of the patient.
        let again = "BraTS_2019_subject_ID,TCGA_TCIA_subject_ID\nBraTS19_1,TCGA-02-0006_1996.08.23\nBraTS19_2,TCGA-02-0006\n";
        put("more", "mapping.tsv", &again.replace(',', "\t"));
        let names = read().unwrap();
        let found = ["BraTS19_1", "BraTS2021_00007", "TCGA-02-0006", "TCGA-02-0006_1996.08.23", "BraTS19_2"];
        assert_eq!(names.all("BraTS19_1"), found);
        // Another patient.
        put("more", "z_mapping.csv", "BraTS19 ID,PatientID on TCIA\nBraTS19_2,TCGA-02-0007\n");
        let error = read().unwrap_err();
        assert!(
            error.contains("z_mapping.csv: BraTS19_2 is TCGA-02-0007 of TCIA, and TCGA-02-0006 in"),
            "{error}"
        );
        assert!(error.ends_with("mapping.tsv"), "{error}");
        // Another scan of another year.
        put("more", "z_mapping.csv", "BraTS_2021_subject_ID,BraTS19 ID\nBraTS2021_00008,BraTS19_1\n");
        let error = read().unwrap_err();
        assert!(
            error.contains("BraTS19_1 is BraTS2021_00008 of BraTS 2021, and BraTS2021_00007 in"),
            "{error}"
        );
    }

    #[test]
    fn another_table_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = |name: &str, text: &str| {
            BratsNames::read(write_text(folder.path(), name, text)).unwrap_err().to_string()
        };
        let found = error("a.csv", "a,b\n1,2\n");
        assert!(found.contains("TCGA_TCIA_subject_ID") && found.ends_with("found: a, b"), "{found}");
        assert!(error("b.csv", "TCGA_TCIA_subject_ID\nTCGA-02-0006\n").contains("two columns of names"));
        // One of those in the folder, too.
        write_text(folder.path(), "my_mapping.csv", "a,b\n1,2\n");
        let found = BratsNames::in_folder(folder.path()).unwrap_err().to_string();
        assert!(found.contains("my_mapping.csv"), "{found}");
    }
}
