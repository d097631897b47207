//! Anyone's cohort: a folder of tables, and `cohort.json`, which describes them.

mod read;
mod remarks;
mod schema;
mod write;

pub(super) use remarks::remarks;
pub use schema::{
    COHORT_FILE, ClassColumn, CohortSchema, EdgeTable, ImageTable, OutcomeColumns, PatientTable,
    SurvivalColumns, ValueTable,
};

use super::OmicsDataset;
use crate::Result;
use std::path::Path;

impl OmicsDataset {
    /// The cohort of a folder, as its `cohort.json` describes it: see [`CohortSchema`].
    ///
    /// Patients are those of the table of patients. Of each further table, the rows of others are counted with the reason for
    /// which they have no part ([`OmicsCohort::accounts`](super::OmicsCohort::accounts)); what is odd, but may be meant, is
    /// in the remarks.
    ///
    /// # Errors
    /// With file, row and column: a description that does not fit its files, a patient who is there twice, a cell that does not
    /// hold what its column should, such as a negative time or an age that is a date, and a table of whose rows none
    /// belongs to a patient.
    ///
    /// # Example
    /// ```
    /// use oncograph_datasets::omics::{OmicsDataset, OmicsPhantomConfig};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let root = folder.path().join("cohort");
    /// let phantom = OmicsDataset::phantom(&OmicsPhantomConfig::new(20, 1))?;
    /// phantom.write_folder(&root)?;
    /// let read = OmicsDataset::folder(&root)?;
    /// assert_eq!(read.cohort.ids(), phantom.cohort.ids());
    /// assert_eq!(read.cohort.tables, phantom.cohort.tables);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn folder(root: impl AsRef<Path>) -> Result<Self> {
        read::dataset(root.as_ref())
    }

    /// Writes the cohort as a folder that [`OmicsDataset::folder`] reads; `cohort.json` comes last.
    ///
    /// # Errors
    /// A folder that holds something already, and errors of writing.
    pub fn write_folder(&self, root: impl AsRef<Path>) -> Result<()> {
        write::dataset(self, root.as_ref())
    }
}

#[cfg(test)]
mod tests;
