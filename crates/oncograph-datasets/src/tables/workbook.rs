//! Tables in workbooks of Excel (`.xlsx`, `.xlsm`).

use super::Wanted;
use super::dialect::Decimal;
use super::sheet::{Cell, Sheet};
use super::text::file_name;
use crate::error::{Error, Result};
use calamine::{DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Style, Xlsx, XlsxError};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Cursor;
use std::path::Path;

type Book = Xlsx<Cursor<Vec<u8>>>;
/// Filled cells by row and column, counted from 0.
type Cells = BTreeMap<u32, BTreeMap<u32, Cell>>;

/// The first visible sheet whose header fits.
///
/// # Errors
/// [`Error::AtFile`] for another kind of file or a protected workbook, and [`Error::NoSheet`].
pub(super) fn read(path: &Path, bytes: Vec<u8>, wanted: &Wanted<'_>) -> Result<Sheet> {
    let old = bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]);
    let bad = |e: XlsxError| Error::format(path, "xlsx", e);
    let mut book: Book = Xlsx::new(Cursor::new(bytes)).map_err(|e| match e {
        XlsxError::Password => {
            Error::format(path, "xlsx", "it is protected by a password: save it without one")
        }
        _ if old => Error::format(path, "xlsx", "it is a workbook of Excel 97-2003 (.xls): save it as .xlsx"),
        e => Error::format(
            path,
            "xlsx",
            format!("{e}; workbooks are read as .xlsx, tables also as .csv or .tsv"),
        ),
    })?;
    let sheets = book.sheets_metadata().iter().filter(|s| s.typ == SheetType::WorkSheet);
    let (visible, hidden): (Vec<_>, Vec<_>) =
        sheets.cloned().partition(|s| s.visible == SheetVisible::Visible);
    let mut taken: Option<Sheet> = None;
    let mut others = vec![];
    for name in visible.iter().map(|s| &s.name) {
        let found = cells(&mut book, name).map_err(bad)?;
        if !wanted.fits(&header(&found)) {
            continue;
        }
        match &taken {
            None => taken = Some(sheet(path, name, found)),
            Some(_) => others.push(format!("`{name}`")),
        }
    }
    let mut passed = vec![];
    for name in hidden.iter().map(|s| &s.name) {
        if wanted.fits(&header(&cells(&mut book, name).map_err(bad)?)) {
            passed.push(format!("`{name}`"));
        }
    }
    let Some(mut taken) = taken else {
        return Err(Error::NoSheet {
            path: path.into(),
            wanted: wanted.what.into(),
            sheets: visible.into_iter().map(|s| s.name).collect(),
            hidden: passed,
        });
    };
    settle_percent(&mut taken);
    let (file, name) = (file_name(path), taken.name.clone().unwrap_or_default());
    if !others.is_empty() {
        let others = others.join(", ");
        taken.notes.push(format!(
            "{file}: sheet `{name}` is read, the first with {}, and not {others}",
            wanted.what
        ));
    }
    if !passed.is_empty() {
        let passed = passed.join(", ");
        taken.notes.push(format!("{file}: sheet `{name}` is read; hidden sheets are passed over: {passed}"));
    }
    Ok(taken)
}

/// The names in the first row that is not empty.
fn header(cells: &Cells) -> Vec<String> {
    let row = cells.first_key_value().map(|(_, row)| row);
    row.into_iter().flat_map(|row| row.values().map(name)).collect()
}

fn name(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::Date(text) => text.clone(),
        Cell::Number(value) => value.to_string(),
        Cell::Truth(value) => value.to_string(),
        _ => String::new(),
    }
}

/// Cells as a table: of its columns those that are filled anywhere, as a sheet may lie to the right of empty ones.
fn sheet(path: &Path, name_of_sheet: &str, mut cells: Cells) -> Sheet {
    let columns: BTreeSet<u32> = cells.values().flat_map(|row| row.keys().copied()).collect();
    let place: BTreeMap<u32, u32> = columns.into_iter().zip(0..).collect();
    let mut header = vec![String::new(); place.len()];
    if let Some((_, first)) = cells.pop_first() {
        first.iter().for_each(|(c, cell)| header[place[c] as usize] = name(cell));
    }
    let row = |(number, row): (u32, BTreeMap<u32, Cell>)| {
        (number as usize + 1, row.into_iter().map(|(c, cell)| (place[&c], cell)).collect())
    };
    Sheet {
        path: path.to_owned(),
        name: Some(name_of_sheet.to_owned()),
        header,
        rows: cells.into_iter().map(row).collect(),
        decimal: Decimal::Point,
        notes: vec![],
    }
}

/// Percentages are the numbers that are stored, 0.45 of 45 %, where all of a column are: whoever wrote it meant one thing. Beside
/// plain numbers above 0 they stay percentages, which are refused where a number is needed.
fn settle_percent(sheet: &mut Sheet) {
    let filled = || sheet.rows.iter().flat_map(|(_, cells)| cells);
    let plain = |cell: &Cell| match cell {
        Cell::Number(value) => *value > 0.0,
        Cell::Text(text) => text.parse().is_ok_and(|value: f64| value > 0.0),
        _ => false,
    };
    let columns = |fits: &dyn Fn(&Cell) -> bool| -> BTreeSet<u32> {
        filled().filter(|(_, cell)| fits(cell)).map(|(column, _)| *column).collect()
    };
    let (mut percent, plain) = (columns(&|cell| matches!(cell, Cell::Percent(_))), columns(&plain));
    percent.retain(|column| !plain.contains(column));
    for (column, cell) in sheet.rows.iter_mut().flat_map(|(_, cells)| cells) {
        match cell {
            Cell::Percent(value) if percent.contains(column) => *cell = Cell::Number(*value),
            _ => {}
        }
    }
    let names: Vec<&str> = percent.iter().map(|c| sheet.header[*c as usize].as_str()).collect();
    if !names.is_empty() {
        let (file, names) = (file_name(&sheet.path), names.join(", "));
        sheet
            .notes
            .push(format!("{file}: columns in a percent format are read as stored, 0.45 of 45 %: {names}"));
    }
}

/// The cells of a sheet. A formula whose value is not stored is filled, too.
fn cells(book: &mut Book, sheet: &str) -> Result<Cells, XlsxError> {
    let formulas: HashSet<(u32, u32)> = {
        let mut reader = book.worksheet_cells_reader(sheet)?;
        let mut found = HashSet::new();
        while let Some(record) = reader.next_cell_with_formula_metadata()? {
            if record.formula.is_some() {
                found.insert(record.pos);
            }
        }
        found
    };
    let mut reader = book.worksheet_cells_reader(sheet)?;
    let percent: Vec<bool> = reader.styles().iter().map(is_percent).collect();
    let mut cells = Cells::new();
    while let Some((cell, style)) = reader.next_cell_with_style_id()? {
        let (row, column) = cell.get_position();
        let value = match typed(cell.get_value(), percent.get(style).copied().unwrap_or(false)) {
            Cell::Empty if formulas.contains(&(row, column)) => Cell::Formula,
            Cell::Empty => continue,
            value => value,
        };
        cells.entry(row).or_default().insert(column, value);
    }
    Ok(cells)
}

fn typed(value: &DataRef<'_>, percent: bool) -> Cell {
    match value {
        DataRef::Empty => Cell::Empty,
        DataRef::String(text) => Cell::of_text(text),
        DataRef::SharedString(text) => Cell::of_text(text),
        DataRef::Int(value) if percent => Cell::Percent(*value as f64),
        DataRef::Float(value) if percent => Cell::Percent(*value),
        DataRef::Int(value) => Cell::Number(*value as f64),
        DataRef::Float(value) => Cell::Number(*value),
        DataRef::Bool(value) => Cell::Truth(*value),
        DataRef::DateTime(date) => Cell::Date(iso(date)),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Cell::Date(text.clone()),
        DataRef::Error(error) => Cell::Other(error.to_string()),
    }
}

/// A date, with the time of day if it is not midnight.
fn iso(date: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    match date.as_f64() {
        value if value.abs() < 1.0 || date.is_duration() => time,
        value if value.fract() == 0.0 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:04}-{month:02}-{day:02} {time}"),
    }
}

/// Whether a format shows numbers a hundred times larger: a percent sign that is not part of a quoted text.
fn is_percent(style: &Style) -> bool {
    let Some(format) = &style.number_format else { return false };
    let (mut quoted, mut literal) = (false, false);
    for c in format.format_code.chars() {
        match c {
            _ if literal => literal = false,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '\\' | '_' | '*' => literal = true,
            '%' => return true,
            _ => {}
        }
    }
    false
}
