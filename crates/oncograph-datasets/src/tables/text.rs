//! Tables in text files, row by row.

use super::dialect::{Decimal, Dialect};
use super::sheet::{Cell, Sheet};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::io::{BufRead, Cursor, Read};
use std::path::{Path, PathBuf};

/// Lines that are looked at before the first is read, and bytes if they are few.
const LOOK_LINES: usize = 200;
const LOOK_BYTES: usize = 1 << 16;

/// A table in a text file, of which one row is in memory at a time.
pub(crate) struct TextTable {
    path: PathBuf,
    reader: csv::Reader<Source>,
    dialect: Dialect,
    pub header: Vec<String>,
    record: csv::ByteRecord,
    blank: Blank,
    notes: Vec<String>,
    /// Whether a cell was found that is no UTF-8.
    western: bool,
    /// The line of the last row, if one of its cells has several.
    many_lines: Option<usize>,
}

/// Rows without any filled cell: those before another row are counted.
#[derive(Default)]
struct Blank {
    between: usize,
    last: usize,
}

impl TextTable {
    /// A table out of bytes that are unpacked.
    pub fn open(path: &Path, reader: Box<dyn BufRead>) -> Result<Self> {
        let io = |e| Error::io("read", path, e);
        let (source, encoding) = Source::new(path, reader)?;
        let dialect = Dialect::of(source.first_lines());
        let mut notes = dialect_note(path, dialect, encoding, source.carriage_returns);
        let reader = csv::ReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(source);
        let mut table = TextTable {
            path: path.into(),
            reader,
            dialect,
            header: vec![],
            record: csv::ByteRecord::new(),
            blank: Blank::default(),
            notes: vec![],
            western: false,
            many_lines: None,
        };
        let found = table.next_record().map_err(|e| match e {
            Problem::Io(e) => io(e),
            Problem::Other(text) => Error::format(path, "CSV", text),
        })?;
        let Some(line) = found else {
            return Err(Error::format(path, "CSV", "there is no header in it"));
        };
        table.blank = Blank::default();
        let names: Vec<String> = (0..table.record.len()).map(|c| table.cell(c).into_owned()).collect();
        table.header = if dialect.row_names { [vec![String::new()], names].concat() } else { names };
        table.note_encoding(line);
        if dialect.row_names {
            let file = file_name(path);
            notes.push(format!(
                "{file}: the header has one name fewer than rows have cells: the first column are names of rows"
            ));
        }
        notes.append(&mut table.notes);
        table.notes = notes;
        Ok(table)
    }

    pub fn decimal(&self) -> Decimal {
        self.dialect.decimal
    }

    /// Reads the next row that is not blank; the answer is its number.
    ///
    /// # Errors
    /// [`Error::RaggedRow`], and [`Error::AtFile`] for a quotation mark that is not closed and what cannot be read.
    pub fn next_row(&mut self) -> Result<Option<usize>> {
        let row = match self.next_record() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(Problem::Io(e)) => return Err(Error::io("read", &self.path, e)),
            Err(Problem::Other(text)) => return Err(Error::format(&self.path, "CSV", text)),
        };
        if self.record.len() != self.header.len() {
            return Err(Error::RaggedRow {
                path: self.path.clone(),
                line: row,
                cells: self.record.len(),
                header: self.header.len(),
                separator: self.dialect.delimiter_name(),
            });
        }
        self.note_encoding(row);
        Ok(Some(row))
    }

    /// A cell of the row that was read last, trimmed.
    pub fn cell(&self, column: usize) -> Cow<'_, str> {
        decoded(&self.record[column])
    }

    /// The rest of the table, in memory.
    pub fn into_sheet(mut self) -> Result<Sheet> {
        let mut rows = vec![];
        while let Some(number) = self.next_row()? {
            let cells = (0..self.record.len()).map(|c| (c as u32, Cell::of_text(&self.cell(c))));
            rows.push((number, cells.filter(|(_, cell)| *cell != Cell::Empty).collect()));
        }
        let decimal = self.decimal();
        let (path, header, notes) = self.into_parts();
        Ok(Sheet { path, name: None, header, rows, decimal, notes })
    }

    /// The file, the names of the columns and remarks, which are complete once all rows are read.
    pub fn into_parts(mut self) -> (PathBuf, Vec<String>, Vec<String>) {
        if self.blank.between > 0 {
            let file = file_name(&self.path);
            self.notes
                .push(format!("{file}: {} blank rows between others are passed over", self.blank.between));
        }
        (self.path, self.header, self.notes)
    }

    fn next_record(&mut self) -> std::result::Result<Option<usize>, Problem> {
        loop {
            let more = self.reader.read_byte_record(&mut self.record).map_err(|e| {
                let text = e.to_string();
                match e.into_kind() {
                    csv::ErrorKind::Io(e) => Problem::Io(e),
                    _ => Problem::Other(text),
                }
            })?;
            if !more {
                // The text behind an open quotation mark is one cell, in which whole rows would be lost.
                return match self.many_lines {
                    // Its line has no end, by which it would be counted.
                    Some(line) if self.reader.get_ref().quotes % 2 == 1 => Err(Problem::Other(format!(
                        "line {}: a quotation mark is opened and never closed",
                        line + 1
                    ))),
                    _ => Ok(None),
                };
            }
            // The record's own position is before blank lines that were passed over.
            let within = self.record.iter().flatten().filter(|b| **b == b'\n').count();
            let row = (self.reader.position().line() as usize).saturating_sub(within + 1);
            self.many_lines = (within > 0).then_some(row);
            if self.record.iter().all(|c| decoded(c).is_empty()) {
                self.blank.last += 1;
                continue;
            }
            self.blank.between += std::mem::take(&mut self.blank.last);
            return Ok(Some(row));
        }
    }

    /// Says of the first cell that is no UTF-8 how it was read.
    fn note_encoding(&mut self, line: usize) {
        if self.western || self.record.as_slice().is_ascii() {
            return;
        }
        if let Some(cell) = self.record.iter().find(|c| std::str::from_utf8(c).is_err()) {
            let (file, shown) = (file_name(&self.path), decoded(cell).chars().take(40).collect::<String>());
            self.notes.push(format!(
                "{file}: text that is not UTF-8 is read as Windows-1252, first in line {line}: {shown:?}"
            ));
            self.western = true;
        }
    }
}

enum Problem {
    Io(std::io::Error),
    Other(String),
}

/// A cell as text: UTF-8, else Windows-1252.
fn decoded(cell: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(cell) {
        Ok(text) => text.trim().into(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(cell).0.trim().to_owned().into(),
    }
}

/// A whole text file, unpacked where gzip packed it, with remarks on an encoding other than UTF-8.
///
/// # Errors
/// [`Error::AtFile`] for a file that cannot be read or is no text.
pub(crate) fn read_text(path: &Path) -> Result<(String, Vec<String>)> {
    let (mut source, encoding) = Source::new(path, super::unpacked(path)?.0)?;
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    let (text, encoding) = match String::from_utf8(bytes) {
        Ok(text) => (text, encoding),
        Err(e) => (
            encoding_rs::WINDOWS_1252.decode_without_bom_handling(e.as_bytes()).0.into_owned(),
            "windows-1252",
        ),
    };
    let plain = encoding == "UTF-8";
    let notes = if plain { vec![] } else { vec![format!("{}: read with {encoding}", file_name(path))] };
    Ok((text, notes))
}

/// What deserves a remark: everything but commas in `.csv` and tabs in `.tsv`, in UTF-8.
fn dialect_note(path: &Path, dialect: Dialect, encoding: &str, carriage_returns: bool) -> Vec<String> {
    let name = file_name(path).to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let tabs = [".tsv", ".tab", ".txt"].iter().any(|e| name.ends_with(e));
    let usual = if tabs { b'\t' } else { b',' };
    let mut parts = vec![];
    if dialect.delimiter != usual {
        parts.push(format!("cells separated by {}", dialect.delimiter_name()));
    }
    if dialect.decimal == Decimal::Comma {
        parts.push("decimal commas".into());
    }
    if encoding != "UTF-8" {
        parts.push(encoding.into());
    }
    if carriage_returns {
        parts.push("carriage returns at the ends of lines".into());
    }
    match parts.is_empty() {
        true => vec![],
        false => vec![format!("{}: read with {}", file_name(path), parts.join(", "))],
    }
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The bytes of a text in an encoding that contains ASCII, with line feeds at the ends of all lines.
struct Source {
    head: Cursor<Vec<u8>>,
    rest: Box<dyn BufRead>,
    /// Whether lines end in carriage returns alone.
    carriage_returns: bool,
    last: u8,
    ended: bool,
    /// Quotation marks so far.
    quotes: usize,
}

impl Source {
    /// Looks at the first lines; the answer names the encoding, too.
    fn new(path: &Path, mut rest: Box<dyn BufRead>) -> Result<(Self, &'static str)> {
        let io = |e| Error::io("read", path, e);
        let mut head = Vec::new();
        let (mut lines, mut ended) = (0, false);
        while !ended && (lines < LOOK_LINES || head.len() < LOOK_BYTES) {
            let part = rest.fill_buf().map_err(io)?;
            lines += part.iter().filter(|b| matches!(b, b'\n' | b'\r')).count();
            head.extend_from_slice(part);
            let read = part.len();
            ended = read == 0;
            rest.consume(read);
        }
        let encoding = match head.get(..2) {
            Some([0xff, 0xfe]) => Some(encoding_rs::UTF_16LE),
            Some([0xfe, 0xff]) => Some(encoding_rs::UTF_16BE),
            _ => None,
        };
        if let Some(encoding) = encoding {
            rest.read_to_end(&mut head).map_err(io)?;
            head = encoding.decode_with_bom_removal(&head).0.into_owned().into_bytes();
        } else if head.starts_with(b"\xef\xbb\xbf") {
            head.drain(..3);
        }
        if let Some(detail) = no_text(&head) {
            return Err(Error::format(path, "CSV", detail));
        }
        let carriage_returns = head.contains(&b'\r') && !head.contains(&b'\n');
        let head = Cursor::new(head);
        let name = encoding.map_or("UTF-8", encoding_rs::Encoding::name);
        Ok((Source { head, rest, carriage_returns, last: b'\n', ended: false, quotes: 0 }, name))
    }

    /// What was looked at, up to the last whole line unless it is all there is.
    fn first_lines(&self) -> &[u8] {
        let head = self.head.get_ref();
        match head.iter().rposition(|b| matches!(b, b'\n' | b'\r')) {
            Some(end) if head.len() >= LOOK_BYTES => &head[..=end],
            _ => head,
        }
    }
}

/// Why bytes are no text, if they are none.
fn no_text(head: &[u8]) -> Option<&'static str> {
    if head.contains(&0) {
        return Some("it holds zero bytes: no text, or UTF-16 without a byte order mark");
    }
    let xml = || head.trim_ascii_start().starts_with(b"<");
    oncograph_core::stand_in(head).or_else(|| {
        xml().then_some("it begins with `<`: XML, perhaps the answer of a server instead of the file")
    })
}

impl Read for Source {
    /// Line ends become line feeds, of which there is one at the end, too: then the lines of rows can be told.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let mut read = self.head.read(buffer)?;
            if read == 0 {
                read = self.rest.read(buffer)?;
            }
            if read == 0 {
                if self.ended || matches!(self.last, b'\n' | b'\r') || buffer.is_empty() {
                    return Ok(0);
                }
                (self.ended, buffer[0]) = (true, b'\n');
                return Ok(1);
            }
            let mut kept = 0;
            for i in 0..read {
                let byte = buffer[i];
                if byte == b'\n' && self.last == b'\r' {
                    self.last = b'\n';
                    continue;
                }
                self.quotes += usize::from(byte == b'"');
                buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                kept += 1;
                self.last = byte;
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}
