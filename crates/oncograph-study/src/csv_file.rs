use crate::Result;
use oncograph_core::write_file;
use std::path::Path;

/// Writes the file whole or not at all.
pub(crate) fn write_csv(writer: csv::Writer<Vec<u8>>, path: &Path) -> Result<()> {
    let bytes = writer.into_inner().map_err(|e| crate::Error::system(e.into_error()))?;
    Ok(write_file(path, &bytes)?)
}
