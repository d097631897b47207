use super::dialect::Decimal;
use super::sheet::{Cell, Sheet};
use crate::{Error, Result};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const FORMAT: &str = "Parquet";

/// Cells of a byte of the file, and cells that need no reason: a column of one value is a few bytes whatever its length, so that
/// its length alone is not to be believed.
const CELLS: (u64, u64) = (100, 1 << 24);
/// The same of a table of typed cells, which take more memory.
const TYPED_CELLS: (u64, u64) = (10, 1 << 21);
/// Bytes of text of a byte of the file, and those that need no reason: a text may be there once and belong to every row.
const TEXT: (u64, u64) = (16, 1 << 26);

/// A flat table in a Parquet file, of which one row group is in memory at a time.
///
/// The identifiers are the index that pandas notes in the file, else the first column. Rows are numbered as in the same
/// table as CSV: the first is 2.
pub(crate) struct ParquetTable {
    path: PathBuf,
    reader: Box<dyn FileReader>,
    /// The length of the file.
    bytes: u64,
    /// Names, identifiers first.
    header: Vec<String>,
    /// Where the columns of `header` are in the file.
    places: Vec<usize>,
}

impl ParquetTable {
    pub fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io("read", path, e);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let reader =
            guarded(|| SerializedFileReader::new(file)).map_err(|e| Error::format(path, FORMAT, e))?;
        Self::new(path, Box::new(reader), length)
    }

    /// A table out of the bytes of a file.
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let (length, bytes) = (bytes.len() as u64, bytes::Bytes::from(bytes));
        let reader =
            guarded(|| SerializedFileReader::new(bytes)).map_err(|e| Error::format(path, FORMAT, e))?;
        Self::new(path, Box::new(reader), length)
    }

    fn new(path: &Path, reader: Box<dyn FileReader>, bytes: u64) -> Result<Self> {
        let schema = reader.metadata().file_metadata().schema_descr();
        let mut names = vec![];
        for column in schema.columns() {
            if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
                let detail = format!(
                    "column `{}` holds lists or records, not one value per row",
                    column.path().string()
                );
                return Err(Error::format(path, FORMAT, detail));
            }
            names.push(column.name().to_string());
        }
        if names.is_empty() {
            return Err(Error::format(path, FORMAT, "there is no column in it"));
        }
        let index = pandas_index(path, reader.as_ref(), &names)?.unwrap_or(0);
        let places: Vec<usize> =
            std::iter::once(index).chain((0..names.len()).filter(|c| *c != index)).collect();
        let header = places.iter().map(|c| names[*c].clone()).collect();
        let table = ParquetTable { path: path.into(), reader, bytes, header, places };
        table.refuse_beyond(CELLS)?;
        table.refuse_misplaced()?;
        Ok(table)
    }

    /// Refuses columns that lie outside of the file.
    fn refuse_misplaced(&self) -> Result<()> {
        for column in self.reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
            let (start, length) = (
                column.dictionary_page_offset().unwrap_or(column.data_page_offset()),
                column.compressed_size(),
            );
            let place = |n: i64| u64::try_from(n).ok();
            let end = place(start).and_then(|start| start.checked_add(place(length)?));
            if end.is_none_or(|end| end > self.bytes) || column.data_page_offset() < 0 {
                let name = column.column_path().string();
                let detail = format!(
                    "column `{name}` begins at byte {start} and has {length}, in a file of {}",
                    self.bytes
                );
                return Err(Error::format(&self.path, FORMAT, detail));
            }
        }
        Ok(())
    }

    /// Refuses more cells than the file can hold.
    fn refuse_beyond(&self, (per_byte, few): (u64, u64)) -> Result<()> {
        let (groups, columns) = (self.reader.metadata().row_groups(), self.header.len() as u64);
        let rows = groups.iter().map(|group| group.num_rows().max(0) as u64).fold(0, u64::saturating_add);
        if rows.saturating_mul(columns) <= self.bytes.saturating_mul(per_byte).saturating_add(few) {
            return Ok(());
        }
        let detail = format!("{rows} rows of {columns} columns are claimed in {} bytes", self.bytes);
        Err(Error::format(&self.path, FORMAT, detail))
    }

    /// Names of the columns, that of the identifiers first.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Calls `row` with the number of each row, its identifier and its values; NaN where one is missing.
    pub fn for_each_row(&self, mut row: impl FnMut(usize, &str, &[f32]) -> Result<()>) -> Result<()> {
        let width = self.header.len() - 1;
        for column in 1..=width {
            self.expect(column, is_number, "numbers")?;
        }
        self.expect(0, |d| is_text(d) || is_number(d), "identifiers")?;
        let mut first = 2;
        for g in 0..self.reader.num_row_groups() {
            let (group, rows) = self.group(g)?;
            let ids = self.texts(group.as_ref(), 0, rows)?;
            let mut values = vec![0f32; rows * width];
            for column in 1..=width {
                let cells = self.numbers(group.as_ref(), column, rows)?;
                for (i, number) in cells.into_iter().enumerate() {
                    let value = number.map_or(f32::NAN, |v| v as f32);
                    if value.is_infinite() {
                        let got = number.map_or(String::new(), |v| v.to_string());
                        return Err(Error::cell(
                            &self.path,
                            first + i,
                            &self.header[column],
                            "a number",
                            &got,
                        ));
                    }
                    values[i * width + column - 1] = value;
                }
            }
            for (i, id) in ids.iter().enumerate() {
                row(first + i, id, &values[i * width..(i + 1) * width])?;
            }
            first += rows;
        }
        Ok(())
    }

    /// All of the table; a column of dates, decimals or bytes has cells without a value.
    pub fn into_sheet(self) -> Result<Sheet> {
        self.refuse_beyond(TYPED_CELLS)?;
        let mut rows = vec![];
        for g in 0..self.reader.num_row_groups() {
            let (group, count) = self.group(g)?;
            let from = rows.len();
            rows.extend((0..count).map(|i| (from + i + 2, vec![])));
            for column in 0..self.header.len() {
                let cells = self.typed(group.as_ref(), column, count)?;
                for (row, cell) in rows[from..].iter_mut().zip(cells).filter(|(_, cell)| *cell != Cell::Empty)
                {
                    row.1.push((column as u32, cell));
                }
            }
        }
        rows.retain(|(_, cells)| !cells.is_empty());
        let decimal = Decimal::Point;
        Ok(Sheet { path: self.path, name: None, header: self.header, rows, decimal, notes: vec![] })
    }

    fn typed(&self, group: &dyn RowGroupReader, column: usize, rows: usize) -> Result<Vec<Cell>> {
        let d = self.column(column);
        if is_number(d) {
            let number = |v: Option<f64>| v.filter(|v| !v.is_nan()).map_or(Cell::Empty, Cell::Number);
            return Ok(self.numbers(group, column, rows)?.into_iter().map(number).collect());
        }
        if is_text(d) {
            return Ok(self.texts(group, column, rows)?.iter().map(|t| Cell::of_text(t)).collect());
        }
        if d.physical_type() == Type::BOOLEAN {
            return match guarded(|| group.get_column_reader(self.places[column]))
                .map_err(|e| self.damaged(column, e))?
            {
                ColumnReader::BoolColumnReader(r) => cells(r, d, rows, |v| *v),
                _ => Err(ParquetError::General("not a column of truth values".into())),
            }
            .map(|all| all.into_iter().map(|v| v.map_or(Cell::Empty, Cell::Truth)).collect())
            .map_err(|e| self.damaged(column, e));
        }
        let what = match d.logical_type_ref() {
            Some(LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::Time { .. }) => "a date",
            _ => "a value",
        };
        Ok(vec![Cell::Other(format!("{what} ({})", self.type_of(column))); rows])
    }

    fn group(&self, g: usize) -> Result<(Box<dyn RowGroupReader + '_>, usize)> {
        let group =
            guarded(|| self.reader.get_row_group(g)).map_err(|e| Error::format(&self.path, FORMAT, e))?;
        let rows = usize::try_from(group.metadata().num_rows())
            .map_err(|_| Error::format(&self.path, FORMAT, format!("row group {g} has a negative length")))?;
        Ok((group, rows))
    }

    fn column(&self, column: usize) -> &ColumnDescriptor {
        &self.reader.metadata().file_metadata().schema_descr().columns()[self.places[column]]
    }

    fn expect(&self, column: usize, fits: impl Fn(&ColumnDescriptor) -> bool, what: &str) -> Result<()> {
        if fits(self.column(column)) {
            return Ok(());
        }
        let detail =
            format!("column `{}`: expected {what}, got {}", self.header[column], self.type_of(column));
        Err(Error::format(&self.path, FORMAT, detail))
    }

    fn type_of(&self, column: usize) -> String {
        let found = self.column(column);
        let logical = found.logical_type_ref().map(|l| format!(" ({l:?})")).unwrap_or_default();
        format!("{}{logical}", found.physical_type())
    }

    fn damaged(&self, column: usize, error: ParquetError) -> Error {
        let mut detail = format!("column `{}`: {error}", self.header[column]);
        // A codec is compiled in or not; the others are those that pandas, polars and R write unless told otherwise.
        if detail.contains("Disabled feature") {
            detail += "; write the file with the compression snappy, zstd, gzip or lz4";
        }
        Error::format(&self.path, FORMAT, detail)
    }

    fn numbers(&self, group: &dyn RowGroupReader, column: usize, rows: usize) -> Result<Vec<Option<f64>>> {
        let bad = |e| self.damaged(column, e);
        match guarded(|| group.get_column_reader(self.places[column])).map_err(bad)? {
            ColumnReader::FloatColumnReader(r) => cells(r, self.column(column), rows, |v| f64::from(*v)),
            ColumnReader::DoubleColumnReader(r) => cells(r, self.column(column), rows, |v| *v),
            ColumnReader::Int32ColumnReader(r) => cells(r, self.column(column), rows, |v| f64::from(*v)),
            ColumnReader::Int64ColumnReader(r) => cells(r, self.column(column), rows, |v| *v as f64),
            _ => Err(ParquetError::General("not a column of numbers".into())),
        }
        .map_err(bad)
    }

    fn texts(&self, group: &dyn RowGroupReader, column: usize, rows: usize) -> Result<Vec<String>> {
        let bad = |e| self.damaged(column, e);
        let d = self.column(column);
        let all: Vec<Option<String>> = match guarded(|| group.get_column_reader(self.places[column]))
            .map_err(bad)?
        {
            // As CSV prints them: what has no value is empty.
            ColumnReader::FloatColumnReader(r) => cells(r, d, rows, |v| number_text(v.is_nan(), v)),
            ColumnReader::DoubleColumnReader(r) => cells(r, d, rows, |v| number_text(v.is_nan(), v)),
            ColumnReader::Int32ColumnReader(r) => cells(r, d, rows, ToString::to_string),
            ColumnReader::Int64ColumnReader(r) => cells(r, d, rows, ToString::to_string),
            ColumnReader::BoolColumnReader(r) => cells(r, d, rows, ToString::to_string),
            ColumnReader::ByteArrayColumnReader(r) => {
                let raw = cells(r, d, rows, Clone::clone).map_err(bad)?;
                let length: u64 = raw.iter().flatten().map(|text| text.len() as u64).sum();
                if length > self.bytes.saturating_mul(TEXT.0).saturating_add(TEXT.1) {
                    return Err(bad(ParquetError::General(format!("{length} bytes of text are claimed"))));
                }
                let text = |bytes: Option<ByteArray>| {
                    bytes.map(|bytes| String::from_utf8(bytes.data().to_vec())).transpose()
                };
                raw.into_iter()
                    .map(text)
                    .collect::<std::result::Result<_, _>>()
                    .map_err(|e| ParquetError::General(e.to_string()))
            }
            _ => Err(ParquetError::General("not a column of text".into())),
        }
        .map_err(bad)?;
        Ok(all.into_iter().map(|t| t.map(|t| t.trim().to_string()).unwrap_or_default()).collect())
    }
}

fn number_text(missing: bool, value: &impl ToString) -> String {
    if missing { String::new() } else { value.to_string() }
}

/// The one column that pandas notes as the table's index, if it is a column.
fn pandas_index(path: &Path, reader: &dyn FileReader, names: &[String]) -> Result<Option<usize>> {
    let notes = reader.metadata().file_metadata().key_value_metadata();
    let Some(note) = notes.into_iter().flatten().find(|kv| kv.key == "pandas") else { return Ok(None) };
    let text = note.value.as_deref().unwrap_or_default();
    let note: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| Error::format(path, FORMAT, format!("the note of pandas is no JSON: {e}")))?;
    // A range index has no column of values and is recorded as an object.
    let index: Vec<&str> =
        note["index_columns"].as_array().into_iter().flatten().filter_map(|v| v.as_str()).collect();
    match index[..] {
        [] => Ok(None),
        [name] => match names.iter().position(|n| n == name) {
            Some(place) => Ok(Some(place)),
            None => Err(Error::MissingColumn {
                path: path.into(),
                sheet: None,
                column: name.into(),
                found: names.to_vec(),
            }),
        },
        _ => {
            let detail =
                format!("its index are {} columns ({}), expected one", index.len(), index.join(", "));
            Err(Error::format(path, FORMAT, detail))
        }
    }
}

fn is_number(d: &ColumnDescriptor) -> bool {
    let plain = match d.logical_type_ref() {
        // Unknown: a column without any value, as pandas writes it.
        Some(logical) => matches!(logical, LogicalType::Integer { .. } | LogicalType::Unknown),
        None => !matches!(
            d.converted_type(),
            ConvertedType::DECIMAL
                | ConvertedType::DATE
                | ConvertedType::TIME_MILLIS
                | ConvertedType::TIME_MICROS
                | ConvertedType::TIMESTAMP_MILLIS
                | ConvertedType::TIMESTAMP_MICROS
        ),
    };
    plain && matches!(d.physical_type(), Type::FLOAT | Type::DOUBLE | Type::INT32 | Type::INT64)
}

fn is_text(d: &ColumnDescriptor) -> bool {
    let plain = match d.logical_type_ref() {
        Some(logical) => matches!(logical, LogicalType::String | LogicalType::Enum),
        None => {
            matches!(d.converted_type(), ConvertedType::NONE | ConvertedType::UTF8 | ConvertedType::ENUM)
        }
    };
    plain && d.physical_type() == Type::BYTE_ARRAY
}

/// What the Parquet crate reads. It panics on some damaged files, which must not take the process with them.
fn guarded<R>(read: impl FnOnce() -> parquet::errors::Result<R>) -> parquet::errors::Result<R> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("the file is damaged: its reader gave up".into())))
}

/// The cells of one column of a row group.
fn cells<T: DataType, V>(
    mut reader: ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    rows: usize,
    value: impl Fn(&T::T) -> V,
) -> parquet::errors::Result<Vec<Option<V>>> {
    let (mut levels, mut values, mut read) = (vec![], vec![], 0);
    while read < rows {
        let page = || reader.read_records(rows - read, Some(&mut levels), None, &mut values);
        let (records, _, _) = guarded(page)?;
        if records == 0 {
            return Err(ParquetError::EOF(format!("{read} of {rows} rows")));
        }
        read += records;
    }
    let highest = column.max_def_level();
    if highest == 0 {
        return Ok(values.iter().map(|v| Some(value(v))).collect());
    }
    let mut next = values.iter();
    Ok(levels.iter().map(|l| if *l == highest { next.next().map(&value) } else { None }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::omics::OmicsTable;
    use parquet::data_type::{ByteArrayType, DoubleType};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::process::Command;
    use std::sync::Arc;

    const SCHEMA: &str =
        "message m { optional double TP53; optional double EGFR; optional binary patient (UTF8); }";

    type Row = (&'static str, Option<f64>, Option<f64>);
    const ROWS: [Row; 5] = [
        ("A", Some(1.5), None),
        ("B", None, Some(-2.0)),
        ("C", Some(0.1), Some(1e-3)),
        ("D", Some(16_777_217.0), Some(-0.3333333333333333)),
        ("E", Some(7.0), Some(8.0)),
    ];

    /// What pandas writes of a table with `patient` as its index: the index comes last, and the metadata name it.
    fn write(path: &Path, rows: &[Row], group: usize, schema: &str) {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let note = KeyValue::new("pandas".into(), r#"{"index_columns": ["patient"]}"#.to_string());
        let options = WriterProperties::builder()
            .set_compression(parquet::basic::Compression::SNAPPY)
            .set_key_value_metadata(Some(vec![note]))
            .build();
        let mut writer =
            SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(options)).unwrap();
        for part in rows.chunks(group) {
            let mut out = writer.next_row_group().unwrap();
            for column in [part.iter().map(|r| r.1).collect::<Vec<_>>(), part.iter().map(|r| r.2).collect()] {
                let levels: Vec<i16> = column.iter().map(|v| i16::from(v.is_some())).collect();
                let values: Vec<f64> = column.into_iter().flatten().collect();
                let mut c = out.next_column().unwrap().unwrap();
                c.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
                c.close().unwrap();
            }
            let ids: Vec<ByteArray> = part.iter().map(|r| r.0.into()).collect();
            let mut c = out.next_column().unwrap().unwrap();
            c.typed::<ByteArrayType>().write_batch(&ids, Some(&vec![1; ids.len()]), None).unwrap();
            c.close().unwrap();
            out.close().unwrap();
        }
        writer.close().unwrap();
    }

    fn csv(path: &Path) {
        let cell = |v: Option<f64>| v.map_or(String::new(), |v| v.to_string());
        let lines = ROWS.map(|(id, a, b)| format!("{id},{},{}\n", cell(a), cell(b)));
        std::fs::write(path, format!("patient,TP53,EGFR\n{}", lines.concat())).unwrap();
    }

    fn same(a: &OmicsTable, b: &OmicsTable) {
        assert_eq!((&a.ids, &a.features), (&b.ids, &b.features));
        let bits = |t: &OmicsTable| t.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(a), bits(b));
    }

    #[test]
    fn the_same_table_as_csv_and_as_parquet_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (text, binary) = (dir.path().join("a.csv"), dir.path().join("a.parquet"));
        csv(&text);
        let expected = OmicsTable::read(&text).unwrap();
        for group in [1, 2, 5] {
            write(&binary, &ROWS, group, SCHEMA);
            same(&OmicsTable::read(&binary).unwrap(), &expected);
            let mut lines = vec![];
            let columns = crate::omics::for_each_row(&binary, |line, id, _| {
                lines.push((line, id.to_string()));
                Ok(())
            });
            assert_eq!(columns.unwrap().features, ["TP53", "EGFR"]);
            assert_eq!((lines.len(), &lines[4]), (5, &(6, "E".to_string())));
        }
    }

    #[test]
    fn a_table_of_text_reads_as_its_csv() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("a.parquet");
        assert!(crate::omics::table_file(dir.path(), "a.csv.gz").unwrap().ends_with("a.csv.gz"));
        write(&binary, &ROWS, 2, SCHEMA);
        let path = crate::omics::table_file(dir.path(), "a.csv.gz").unwrap();
        assert_eq!(path, binary);
        let table = ParquetTable::open(&path).unwrap();
        assert_eq!(table.header(), ["patient", "TP53", "EGFR"]);
        let sheet = table.into_sheet().unwrap();
        let rows: Vec<_> = sheet.rows().collect();
        assert_eq!(
            (rows[0].text(0).unwrap(), rows[0].number(1).unwrap(), rows[0].number(2).unwrap()),
            ("A".into(), Some(1.5), None)
        );
        assert_eq!((rows[3].number, rows[3].text(1).unwrap()), (5, "16777217".into()));
        csv(&dir.path().join("a.csv.gz"));
        let error = crate::omics::table_file(dir.path(), "a.csv.gz").unwrap_err().to_string();
        assert!(error.contains("a.csv.gz and a.parquet are both there"), "{error}");
    }

    #[test]
    fn the_files_of_pandas_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (text, binary) = (dir.path().join("a.csv"), dir.path().join("a.parquet"));
        csv(&text);
        let python = std::env::var("ONCOGRAPH_PYTHON").unwrap_or_else(|_| "python3".into());
        let expected = OmicsTable::read(&text).unwrap();
        for (index, options) in [
            ("'patient'", "compression='snappy'"),
            ("None", "compression='gzip', row_group_size=2"),
            ("'patient'", "compression='lz4', use_dictionary=False, data_page_version='2.0'"),
        ] {
            let script = format!(
                "import sys, pandas as p; p.read_csv(sys.argv[1], index_col={index}).to_parquet(sys.argv[2], {options})"
            );
            match Command::new(&python).arg("-c").arg(script).arg(&text).arg(&binary).output() {
                Ok(out) if out.status.success() => same(&OmicsTable::read(&binary).unwrap(), &expected),
                other => {
                    println!("skipped: pandas with pyarrow is not there ({python}): {other:?}");
                    return;
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let refused = |parts: &[&str]| {
            let error = OmicsTable::read(&path).unwrap_err().to_string();
            for part in parts.iter().chain(&["a.parquet"]) {
                assert!(error.contains(part), "{error} lacks {part}");
            }
        };
        refused(&["No such file"]);
        write(&path, &[("A", Some(1.0), None), ("A", None, None)], 1, SCHEMA);
        refused(&["patient A is in row 2 and again in row 3"]);
        write(&path, &[("A", Some(1.0), None), ("B", Some(f64::INFINITY), None)], 1, SCHEMA);
        refused(&["row 3, column `TP53`: expected a number, got \"inf\""]);
        write(&path, &[("A", Some(1.0), None), ("", Some(2.0), None)], 2, SCHEMA);
        refused(&["row 3, column `patient`: expected an identifier, got \"\""]);
        write(&path, &[], 1, SCHEMA);
        refused(&["the table has no rows"]);
        write(
            &path,
            &[],
            1,
            "message m { required int64 day (TIMESTAMP(MILLIS,true)); optional binary patient (UTF8); }",
        );
        refused(&["column `day`: expected numbers, got INT64 (Timestamp"]);
        write(
            &path,
            &[],
            1,
            "message m { optional double TP53; optional double EGFR; optional binary id (UTF8); }",
        );
        refused(&["no column `patient`; found: TP53, EGFR, id"]);
        write(&path, &[], 1, "message m { repeated double TP53; optional binary patient (UTF8); }");
        refused(&["column `TP53` holds lists or records"]);
    }

    #[test]
    fn more_cells_than_a_file_can_hold_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        // A text of a hundred thousand letters, which a dictionary holds once.
        let long: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
        let rows: Vec<Row> = (0..3_000).map(|_| (long, None, None)).collect();
        write(&path, &rows, 3_000, SCHEMA);
        let error = ParquetTable::open(&path).unwrap().into_sheet().err().unwrap().to_string();
        assert!(error.contains("300000000 bytes of text are claimed"), "{error}");
        write(&path, &ROWS, 5, SCHEMA);
        let mut table = ParquetTable::open(&path).unwrap();
        for (length, limit) in [(0, (100, 14)), (1, (10, 4)), (3, (4, 2))] {
            table.bytes = length;
            let error = table.refuse_beyond(limit).unwrap_err().to_string();
            assert!(error.contains(&format!("5 rows of 3 columns are claimed in {length} bytes")), "{error}");
            assert!(table.refuse_beyond((limit.0, limit.1 + 1)).is_ok());
        }
    }

    /// The lowest bit of a number in the footer is its sign: a column then begins before the file does.
    #[test]
    fn a_footer_with_one_wrong_bit_is_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&path, &ROWS, 2, SCHEMA);
        let bytes = std::fs::read(&path).unwrap();
        let mut errors = vec![];
        for at in bytes.len() / 4..bytes.len() {
            for bit in [1, 4, 128] {
                let mut damaged = bytes.clone();
                damaged[at] ^= bit;
                std::fs::write(&path, damaged).unwrap();
                errors.extend(OmicsTable::read(&path).err().map(|e| e.to_string()));
                ParquetTable::open(&path).and_then(ParquetTable::into_sheet).ok();
            }
        }
        assert!(errors.iter().any(|e| e.contains("begins at byte -")), "{errors:?}");
    }

    #[test]
    fn a_cut_file_is_refused_wherever_it_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&path, &ROWS, 2, SCHEMA);
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = OmicsTable::read(&path).unwrap_err().to_string();
            assert!(error.contains("a.parquet: not a readable Parquet"), "{length}: {error}");
        }
    }
}
