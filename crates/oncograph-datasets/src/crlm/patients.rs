//! Opening a folder of patients whose outcomes nobody knows yet.

use super::clinical_reader::is_plain;
use super::cohort::{Layout, find_images, find_table, no_table, take_images};
use super::covariates::CovariateTable;
use super::load::{ImageFiles, SubjectFiles};
use super::phantom::MARKER;
use crate::error::Result;
use std::path::{Path, PathBuf};

/// New patients on disk: whoever has a row in the table of covariates, images, or both.
///
/// # Example
/// ```no_run
/// use oncograph_datasets::crlm::CrlmPatients;
///
/// let patients = CrlmPatients::open("new_patients")?;
/// let with_images = patients.subjects.iter().filter(|s| s.images.is_some()).count();
/// println!("{} patients, {with_images} with images", patients.subjects.len());
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CrlmPatients {
    /// The folder.
    pub root: PathBuf,
    /// Its layout.
    pub layout: Layout,
    /// The covariates; `None` where the folder has images alone.
    pub table: Option<CovariateTable>,
    /// The patients: those of the table in its order, then those with images alone, by identifier.
    pub subjects: Vec<SubjectFiles>,
    /// True where the folder was written by [`write_phantom`](super::write_phantom): reports must state it.
    pub phantom: bool,
}

impl CrlmPatients {
    /// Opens a folder in any layout that [`CrlmCohort::open`](super::CrlmCohort::open) knows, with a table as
    /// [`CovariateTable::read`] takes it, or with images alone; then subjects must lie in the folder itself.
    ///
    /// # Errors
    /// A folder with neither a table nor images, several tables, both layouts at once, no subject in common between images and
    /// table, and what [`CovariateTable::read`] reports.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let table = find_table(root)?;
        Self::new(root, table.as_deref())
    }

    /// Opens a folder of images with a table from elsewhere.
    ///
    /// # Errors
    /// As [`CrlmPatients::open`].
    pub fn open_with(root: impl AsRef<Path>, table: impl AsRef<Path>) -> Result<Self> {
        Self::new(root.as_ref(), Some(table.as_ref()))
    }

    fn new(root: &Path, table: Option<&Path>) -> Result<Self> {
        let table = table.map(CovariateTable::read).transpose()?;
        let ids = table.as_ref().map(CovariateTable::ids).unwrap_or_default();
        let (layout, mut files) = find_images(root, &ids)?;
        let mut subjects = match &table {
            Some(table) => take_images(root, &table.path, &ids, &mut files)?,
            None if files.is_empty() => return Err(no_table(root)?),
            None => vec![],
        };
        subjects.extend(files.into_iter().map(|(id, images)| match is_plain(&id) {
            true => SubjectFiles { id, images: Some(images) },
            // An error of this patient when it is loaded: the others have no part in it.
            false => {
                let cause = "an identifier must be of letters, digits, spaces and -_.".into();
                SubjectFiles { id, images: Some(ImageFiles::Unclear { path: root.to_owned(), cause }) }
            }
        }));
        let phantom = root.join(MARKER).is_file();
        Ok(Self { root: root.to_owned(), layout, table, subjects, phantom })
    }
}

#[cfg(test)]
mod tests {
    use super::super::phantom::{PhantomConfig, write_phantom};
    use super::super::{CrlmCohort, LoadOptions};
    use super::*;

    #[test]
    fn patients_are_those_of_the_table_and_those_with_images_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let config = PhantomConfig::new(3, 5).matrix(32).slice_spacing(7.0, 7.5);
        write_phantom(root, &config, |_, _| ()).unwrap();
        let cohort = CrlmCohort::open(root).unwrap();
        let patients = CrlmPatients::open(root).unwrap();
        assert_eq!((&patients.subjects, patients.layout), (&cohort.subjects, cohort.layout));
        assert!(patients.phantom);
        // No column of an outcome, no row of the first patient, no images of the last.
        let ids = ["PHANTOM-0002", "PHANTOM-0003"];
        std::fs::write(root.join("clinical.csv"), format!("Patient-ID,age\n{},61\n{},62\n", ids[0], ids[1]))
            .unwrap();
        std::fs::remove_dir_all(root.join(ids[1])).unwrap();
        let patients = CrlmPatients::open(root).unwrap();
        let found: Vec<(&str, bool)> =
            patients.subjects.iter().map(|s| (s.id.as_str(), s.images.is_some())).collect();
        assert_eq!(found, [(ids[0], true), (ids[1], false), ("PHANTOM-0001", true)]);
        // Images alone; the table of the true factors has identifiers as well.
        for table in ["clinical.csv", "truth.csv"] {
            std::fs::remove_file(root.join(table)).unwrap();
        }
        std::fs::rename(root.join(ids[0]), root.join("odd, name")).unwrap();
        let patients = CrlmPatients::open(root).unwrap();
        assert!(patients.table.is_none() && patients.subjects.len() == 2);
        assert!(patients.subjects[0].load(&LoadOptions::new()).is_ok());
        let error = patients.subjects[1].load(&LoadOptions::new()).unwrap_err().to_string();
        assert!(error.contains("odd, name") && error.contains("letters, digits"), "{error}");
        // Neither.
        for id in ["PHANTOM-0001", "odd, name"] {
            std::fs::remove_dir_all(root.join(id)).unwrap();
        }
        let error = CrlmPatients::open(root).unwrap_err().to_string();
        assert!(error.contains("no clinical table") && error.contains("phantom.json"), "{error}");
    }
}
