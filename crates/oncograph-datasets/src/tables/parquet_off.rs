//! What stands in for the reader of Parquet where the feature `parquet` is off: the same calls, and an error for every
//! file.

use super::sheet::Sheet;
use crate::{Error, Result};
use std::path::Path;

/// A Parquet file that cannot be opened, so that there is never a value of this type.
pub(crate) enum ParquetTable {}

impl ParquetTable {
    pub fn open(path: &Path) -> Result<Self> {
        let detail =
            "reading Parquet needs the feature `parquet` of oncograph-datasets, which is off in this build";
        Err(Error::at(path, detail))
    }

    pub fn of_bytes(path: &Path, _bytes: Vec<u8>) -> Result<Self> {
        Self::open(path)
    }

    pub fn header(&self) -> &[String] {
        match *self {}
    }

    pub fn for_each_row(&self, _row: impl FnMut(usize, &str, &[f32]) -> Result<()>) -> Result<()> {
        match *self {}
    }

    pub fn into_sheet(self) -> Result<Sheet> {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use crate::omics::OmicsTable;

    #[test]
    fn the_error_names_the_file_and_the_feature() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("genes.parquet");
        std::fs::write(&path, "PAR1").unwrap();
        let error = OmicsTable::read(&path).unwrap_err().to_string();
        assert!(error.contains("genes.parquet: ") && error.contains("feature `parquet`"), "{error}");
    }
}
