use crate::error::{Error, Result};
use crate::glioma::{GliomaRecord, GliomaTable};
use crate::patients::patient_of_scan;
use crate::tables::Sheet;
use std::collections::BTreeMap;
use std::path::Path;

/// What patients of BraTS are called in TCGA: the table `name_mapping.csv` of BraTS 2018 to 2020.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BratsNames(BTreeMap<String, String>);

/// The column of TCGA's names.
const TCGA: &str = "TCGA_TCIA_subject_ID";

impl BratsNames {
    /// Reads the table. Every other column that ends in `_subject_ID` holds names of one year's challenge.
    ///
    /// # Errors
    /// A file that cannot be read, or one without the column of TCGA's names or without any other.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let table = Sheet::read(path.as_ref())?;
        let tcga = table.require(TCGA)?;
        let known = |c: &usize| *c != tcga && table.header[*c].ends_with("_subject_ID");
        let years: Vec<usize> = (0..table.header.len()).filter(known).collect();
        if years.is_empty() {
            let detail = "no column such as `BraTS_2020_subject_ID`".to_owned();
            return Err(Error::at(path.as_ref(), detail));
        }
        let named = |text: &str| !matches!(text, "" | "NA");
        let mut names = BTreeMap::new();
        for row in table.rows() {
            let name = row.text(tcga)?;
            for year in years.iter().filter(|_| named(&name)) {
                let image = row.text(*year)?;
                if named(&image) {
                    names.insert(image.into_owned(), name.clone().into_owned());
                }
            }
        }
        Ok(BratsNames(names))
    }

    /// The name in TCGA.
    pub fn tcga(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}

impl GliomaTable {
    /// The row of the scan that is called `id`, else that of its patient ([`patient_of_scan`]).
    ///
    /// Zeros before the last number do not count: images of UCSF-PDGM have four digits where their table has three.
    pub fn of_images(&self, id: &str, names: &BratsNames) -> Option<&GliomaRecord> {
        let id = names.tcga(id).unwrap_or(id);
        let named = |id: &str| {
            let exact = self.position(id).map(|i| &self.patients[i]);
            exact.or_else(|| self.patients.iter().find(|p| without_zeros(&p.id) == without_zeros(id)))
        };
        named(id).or_else(|| named(patient_of_scan(id)))
    }

    /// The patient of the scan that is called `id`: that of its row, else by the scan's name.
    pub fn patient_of_images(&self, id: &str, names: &BratsNames) -> String {
        let by_name = patient_of_scan(names.tcga(id).unwrap_or(id));
        self.of_images(id, names).map_or(by_name, |row| &row.patient).to_owned()
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

    fn written(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn images_find_their_row_by_every_name() {
        let mapping = "Grade,BraTS_2019_subject_ID,TCGA_TCIA_subject_ID,BraTS_2020_subject_ID\n\
                       HGG,BraTS19_1,TCGA-02-0006,BraTS20_Training_001\nLGG,NA,NA,BraTS20_Training_002\n";
        let (_folder, path) = written("name_mapping.csv", mapping);
        let names = BratsNames::read(&path).unwrap();
        assert_eq!(names.tcga("BraTS19_1"), Some("TCGA-02-0006"));
        assert_eq!(names.tcga("BraTS20_Training_002"), None);
        let rows =
            "patient,IDH.status,Age..years.at.diagnosis.\nTCGA-02-0006,WT,61\nUCSF-PDGM-004,Mutant,40\n";
        let (_folder, path) = written("table.csv", rows);
        let table = GliomaTable::read(&path).unwrap();
        let idh = |id: &str| table.of_images(id, &names).map(|p| p.idh);
        assert_eq!(idh("BraTS20_Training_001"), Some(Some(false)));
        assert_eq!(idh("UCSF-PDGM-0004"), Some(Some(true)));
        assert_eq!(idh("UCSF-PDGM-0040"), None);
        // Follow-ups have the genotype of their patient, and are of one patient with the first scan.
        assert_eq!(idh("UCSF-PDGM-0004_FU001d"), Some(Some(true)));
        let patient = |id: &str| table.patient_of_images(id, &names);
        assert_eq!(patient("UCSF-PDGM-0004_FU001d"), patient("UCSF-PDGM-0004"));
        assert_eq!(patient("BraTS20_Training_001"), patient("TCGA-02-0006_1996.08.23"));
        assert_eq!(patient("BraTS-GLI-00005-101"), "BraTS-GLI-00005");
        assert_eq!(idh("BraTS20_Training_002"), None);
    }

    #[test]
    fn another_table_is_refused() {
        let (_folder, path) = written("a.csv", "a,b\n1,2\n");
        assert!(BratsNames::read(&path).unwrap_err().to_string().contains(TCGA));
        let (_folder, path) = written("b.csv", "TCGA_TCIA_subject_ID\nTCGA-02-0006\n");
        assert!(BratsNames::read(&path).unwrap_err().to_string().contains("BraTS_2020_subject_ID"));
    }
}
