//! The one place that opens tables.
//!
//! | file | is known by | read by |
//! |---|---|---|
//! | CSV, TSV, semicolons with decimal commas; UTF-8, UTF-16 with a byte order mark, Windows-1252 | nothing else | [`TextTable`], row by row |
//! | a workbook of Excel | its content, or `.xlsx` or `.xlsm` | `workbook`, the visible sheet that fits |
//! | Parquet | its content, or `.parquet` | [`ParquetTable`], one row group at a time |
//!
//! Each of them may be packed by gzip. A [`Sheet`] is any of them in memory.

mod dialect;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "parquet_off.rs"]
mod parquet;
mod sheet;
mod text;
mod workbook;

pub(crate) use parquet::ParquetTable;
pub(crate) use sheet::{Cell, Row, Sheet, name_of_column};
pub(crate) use text::{TextTable, file_name, read_text};

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Which sheet of a workbook is wanted, by its header.
pub(crate) struct Wanted<'f> {
    /// What the sheet must have, for errors.
    pub what: &'f str,
    fits: &'f dyn Fn(&[String]) -> bool,
}

impl<'f> Wanted<'f> {
    pub fn new(what: &'f str, fits: &'f dyn Fn(&[String]) -> bool) -> Self {
        Wanted { what, fits }
    }

    /// Any sheet that is not empty.
    pub fn anything() -> Self {
        Wanted { what: "a filled cell", fits: &|header| !header.is_empty() }
    }

    fn fits(&self, header: &[String]) -> bool {
        (self.fits)(header)
    }
}

/// A table of which the header is read.
pub(crate) enum TableFile {
    Text(TextTable),
    Sheet(Sheet),
    Parquet(ParquetTable),
}

impl TableFile {
    /// Opens a table of any kind; of a workbook the first visible sheet that is not empty.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_where(path, &Wanted::anything())
    }

    /// Opens a table of any kind; of a workbook the first visible sheet with a header that fits.
    pub fn open_where(path: &Path, wanted: &Wanted<'_>) -> Result<Self> {
        let io = |e| Error::io("read", path, e);
        let (mut reader, packed) = unpacked(path)?;
        let start = reader.fill_buf().map_err(io)?;
        let named = |extension: &str| {
            let name = file_name(path).to_ascii_lowercase();
            name.strip_suffix(".gz").unwrap_or(&name).ends_with(extension)
        };
        let all = |mut reader: Box<dyn BufRead>| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(io)?;
            Ok::<_, Error>(bytes)
        };
        if named(".parquet") || start.starts_with(b"PAR1") {
            return match packed {
                true => ParquetTable::of_bytes(path, all(reader)?),
                false => ParquetTable::open(path),
            }
            .map(TableFile::Parquet);
        }
        let book = start.starts_with(b"PK") || start.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]);
        if book || named(".xlsx") || named(".xlsm") {
            return workbook::read(path, all(reader)?, wanted).map(TableFile::Sheet);
        }
        if let Some(tool) = packed_by_others(start) {
            return Err(Error::format(
                path,
                "table",
                format!("it is packed by {tool}: unpack it, or pack it by gzip"),
            ));
        }
        TextTable::open(path, reader).map(TableFile::Text)
    }

    /// The names of the columns.
    pub fn header(&self) -> &[String] {
        match self {
            TableFile::Text(table) => &table.header,
            TableFile::Sheet(sheet) => &sheet.header,
            TableFile::Parquet(table) => table.header(),
        }
    }

    /// The worksheet, of a workbook.
    pub fn sheet_name(&self) -> Option<&str> {
        match self {
            TableFile::Sheet(sheet) => sheet.name.as_deref(),
            _ => None,
        }
    }

    /// All of the table, in memory.
    pub fn into_sheet(self) -> Result<Sheet> {
        match self {
            TableFile::Text(table) => table.into_sheet(),
            TableFile::Sheet(sheet) => Ok(sheet),
            TableFile::Parquet(table) => table.into_sheet(),
        }
    }
}

/// The bytes of a file, unpacked where gzip packed them, and whether it did.
pub(crate) fn unpacked(path: &Path) -> Result<(Box<dyn BufRead>, bool)> {
    let io = |e| Error::io("read", path, e);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    Ok(match file.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]) {
        true => (Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))), true),
        false => (Box::new(file), false),
    })
}

fn packed_by_others(start: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 4] = [
        (&[0x28, 0xb5, 0x2f, 0xfd], "Zstandard"),
        (b"BZh", "bzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
        (&[b'7', b'z', 0xbc, 0xaf], "7-Zip"),
    ];
    known.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, tool)| tool)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
