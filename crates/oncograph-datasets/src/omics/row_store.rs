use crate::{Error, Result};
use oncograph_core::WholeFile;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a store's file begins with; the width follows as 8 bytes.
const MAGIC: &[u8; 8] = b"ONCOROW1";
const HEADER: u64 = 16;

/// Rows of `f32` of one width in a file, of which a few are read at a time: a cohort that does not fit into memory.
///
/// # Example
/// ```
/// use oncograph_datasets::omics::RowStoreWriter;
///
/// # let folder = tempfile::tempdir()?;
/// let mut writer = RowStoreWriter::create(folder.path().join("genes.rows"), 2)?;
/// writer.push(&[1.0, 2.0])?;
/// writer.push(&[3.0, 4.0])?;
/// let store = writer.finish()?;
/// assert_eq!(store.rows(&[1, 0])?, [3.0, 4.0, 1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RowStore {
    path: PathBuf,
    file: Mutex<File>,
    width: usize,
    rows: usize,
}

impl RowStore {
    /// Opens what [`RowStoreWriter`] wrote.
    ///
    /// # Errors
    /// [`Error::AtFile`] for a file that cannot be read, another file or a cut one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |e| Error::io("read", path, e);
        let mut file = File::open(path).map_err(io)?;
        let mut header = [0u8; HEADER as usize];
        let length = file.metadata().map_err(io)?.len();
        let whole = length >= HEADER && file.read_exact(&mut header).is_ok() && header[..8] == *MAGIC;
        let mut width = [0u8; 8];
        width.copy_from_slice(&header[8..]);
        let width = u64::from_le_bytes(width);
        let body = length.saturating_sub(HEADER);
        if !whole || width == 0 || width > 1 << 32 || !body.is_multiple_of(4 * width) {
            return Err(Error::format(
                path,
                "row store",
                "its header or its length is not that of whole rows",
            ));
        }
        let rows = (body / (4 * width)) as usize;
        Ok(RowStore { path: path.into(), file: Mutex::new(file), width: width as usize, rows })
    }

    /// Values per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Some rows, one after the other in the requested order.
    ///
    /// # Errors
    /// [`Error::Argument`] for a row that is not there, or [`Error::AtFile`].
    pub fn rows(&self, which: &[usize]) -> Result<Vec<f32>> {
        let bytes = 4 * self.width;
        let mut all = vec![0u8; bytes * which.len()];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for (&row, out) in which.iter().zip(all.chunks_exact_mut(bytes)) {
            if row >= self.rows {
                return Err(Error::argument("RowStore::rows", "row", format!("below {}", self.rows), row));
            }
            let at = HEADER + (row * bytes) as u64;
            file.seek(SeekFrom::Start(at))
                .and_then(|_| file.read_exact(out))
                .map_err(|e| Error::io("read", &self.path, e))?;
        }
        let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Ok(all.chunks_exact(4).map(value).collect())
    }
}

/// Writes a [`RowStore`] row by row, under a temporary name until it is whole.
#[derive(Debug)]
pub struct RowStoreWriter {
    path: PathBuf,
    file: WholeFile,
    width: usize,
}

impl RowStoreWriter {
    /// A store of rows of `width` values at `path`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a width of 0, or [`Error::AtFile`].
    pub fn create(path: impl AsRef<Path>, width: usize) -> Result<Self> {
        let path = path.as_ref();
        if width == 0 {
            return Err(Error::argument("RowStoreWriter", "width", "at least 1", width));
        }
        let mut file = WholeFile::create(path)?;
        file.write_all(MAGIC)
            .and_then(|()| file.write_all(&(width as u64).to_le_bytes()))
            .map_err(|e| Error::io("write", path, e))?;
        Ok(RowStoreWriter { path: path.into(), file, width })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::Argument`] for another width, or [`Error::AtFile`].
    pub fn push(&mut self, row: &[f32]) -> Result<()> {
        if row.len() != self.width {
            return Err(Error::argument(
                "RowStoreWriter",
                "row",
                format!("of {} values", self.width),
                row.len(),
            ));
        }
        let bytes: Vec<u8> = row.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.file.write_all(&bytes).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Gives the file its name and opens it.
    ///
    /// # Errors
    /// [`Error::AtFile`].
    pub fn finish(self) -> Result<RowStore> {
        self.file.finish()?;
        RowStore::open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_file_and_a_row_beyond_it_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.rows");
        let mut writer = RowStoreWriter::create(&path, 3).unwrap();
        writer.push(&[1.0, 2.0, 3.0]).unwrap();
        assert!(writer.push(&[1.0]).is_err() && !path.exists());
        let store = writer.finish().unwrap();
        assert_eq!((store.len(), store.width()), (1, 3));
        let error = store.rows(&[1]).unwrap_err().to_string();
        assert_eq!(error, "RowStore::rows: row must be below 1, got 1");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(RowStore::open(&path).unwrap_err().to_string().contains("not a readable row store"));
    }
}
