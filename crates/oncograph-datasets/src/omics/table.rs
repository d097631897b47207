use super::features::{FeatureNames, refuse_gene};
use crate::tables::{Cell, ParquetTable, Sheet, TableFile, TextTable};
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A table with one row per sample and one number per feature; NaN where a cell is empty or `NA`.
#[derive(Debug, Clone, PartialEq)]
pub struct OmicsTable {
    /// The first column: who a row is of.
    pub ids: Vec<String>,
    /// The other columns' names.
    pub features: Vec<String>,
    /// Row after row.
    pub values: Vec<f32>,
    /// Remarks on how the file was read, to be shown beside results.
    pub notes: Vec<String>,
}

/// How a table is laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OmicsTableOptions {
    /// The column of the identifiers, of a transposed table that of the features; `None` for the first.
    pub id: Option<String>,
    /// Whether features are in the rows and samples in the columns.
    pub transposed: bool,
    /// Columns that hold something else than values.
    pub leave_out: Vec<String>,
}

impl OmicsTableOptions {
    /// Samples in the rows, their identifiers first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the column of the identifiers.
    pub fn id(mut self, column: impl Into<String>) -> Self {
        self.id = Some(column.into());
        self
    }

    /// Sets whether samples are in the columns.
    pub fn transposed(mut self, transposed: bool) -> Self {
        self.transposed = transposed;
        self
    }

    /// Sets the columns that hold something else than values.
    pub fn leave_out<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.leave_out = columns.into_iter().map(Into::into).collect();
        self
    }
}

impl OmicsTable {
    /// Reads a table that may be laid out in another way.
    ///
    /// # Errors
    /// As [`OmicsTable::read`], and [`Error::MissingColumn`] for a column of the options that the table lacks.
    pub fn read_with(path: impl AsRef<Path>, options: &OmicsTableOptions) -> Result<Self> {
        match options.transposed {
            true => Self::read_transposed(path.as_ref(), options),
            false => Self::read_rows(path.as_ref(), options),
        }
    }

    /// Reads a table of samples in rows: CSV, TSV, semicolons with decimal commas, a workbook of Excel or Parquet (feature
    /// `parquet`), plain or gzip.
    ///
    /// # Errors
    /// As [`for_each_row`], [`Error::DuplicatePatient`] for a row that is there twice, and [`Error::AtFile`] for a table
    /// without rows.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_rows(path.as_ref(), &OmicsTableOptions::default())
    }

    fn read_rows(path: &Path, options: &OmicsTableOptions) -> Result<Self> {
        let (mut ids, mut values) = (vec![], vec![]);
        let mut seen = HashMap::new();
        let columns = for_each_row_of(path, options, &mut |row, id, cells| {
            if let Some(first) = seen.insert(id.to_string(), row) {
                return Err(Error::DuplicatePatient {
                    path: path.into(),
                    sheet: None,
                    id: id.into(),
                    first,
                    second: row,
                });
            }
            ids.push(id.to_string());
            values.extend_from_slice(cells);
            Ok(())
        })?;
        if ids.is_empty() {
            return Err(Error::empty_table(path, None));
        }
        Ok(OmicsTable { ids, features: columns.features, values, notes: columns.notes })
    }

    fn read_transposed(path: &Path, options: &OmicsTableOptions) -> Result<Self> {
        let table = TableFile::open(path)?;
        let places = places(path, &table, options)?;
        let header: Vec<String> = places.iter().map(|p| table.header()[*p].clone()).collect();
        let samples = FeatureNames::of_samples(path, table.sheet_name(), &header)?;
        let (mut names, mut columns) = (vec!["patient".to_string()], vec![]);
        let mut seen = HashMap::new();
        let notes = walk(path, table, &samples, &places, &mut |row, name, cells| {
            if let Some(first) = seen.insert(name.to_string(), row) {
                return Err(Error::at(
                    path,
                    format!("the feature {name} is in row {first} and again in row {row}"),
                ));
            }
            names.push(name.to_string());
            columns.push(cells.to_vec());
            Ok(())
        })?;
        if columns.is_empty() {
            return Err(Error::empty_table(path, None));
        }
        let features = FeatureNames::new(path, None, &names)?;
        let cells =
            (0..samples.features.len()).flat_map(|sample| columns.iter().map(move |c: &Vec<f32>| c[sample]));
        Ok(OmicsTable {
            values: cells.collect(),
            ids: samples.features,
            features: features.features,
            notes: [notes, features.notes].concat(),
        })
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The values of one sample.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.features.len()..(i + 1) * self.features.len()]
    }

    /// The rows as given: row `i` is that of `wanted[i]`, or `None` where the table lacks it.
    pub fn aligned(&self, wanted: &[String]) -> Vec<Option<Vec<f32>>> {
        let place: HashMap<&str, usize> =
            self.ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
        wanted.iter().map(|id| place.get(id.as_str()).map(|i| self.row(*i).to_vec())).collect()
    }
}

/// The columns of a table that was walked through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OmicsColumns {
    /// Names of the features, without versions of identifiers.
    pub features: Vec<String>,
    /// Remarks on how the file was read, to be shown beside results.
    pub notes: Vec<String>,
}

/// The file of a table that is published as `name` (`.csv` or `.csv.gz`): that one, or one of the same name in another
/// format.
pub(crate) fn table_file(root: &Path, name: &str) -> Result<PathBuf> {
    let stem = name.trim_end_matches(".gz").trim_end_matches(".csv");
    let text = ["", ".csv.gz", ".csv", ".tsv.gz", ".tsv"].map(|e| match e {
        "" => root.join(name),
        e => root.join(format!("{stem}{e}")),
    });
    let text = text.into_iter().find(|path| path.exists());
    let others = ["parquet", "xlsx"].map(|e| root.join(format!("{stem}.{e}")));
    let there: Vec<PathBuf> =
        text.into_iter().chain(others.into_iter().filter(|path| path.exists())).collect();
    match there.as_slice() {
        [] => Ok(root.join(name)),
        [one] => Ok(one.clone()),
        [one, other, ..] => {
            let name = |path: &PathBuf| crate::tables::file_name(path);
            let detail = format!("{} and {} are both there: which is meant?", name(one), name(other));
            Err(Error::at(root, detail))
        }
    }
}

/// Whether a text stands for a missing value: the words that pandas takes for one.
pub(super) fn is_missing(text: &str) -> bool {
    matches!(
        text,
        "" | "NA"
            | "N/A"
            | "n/a"
            | "NaN"
            | "nan"
            | "-NaN"
            | "-nan"
            | "null"
            | "NULL"
            | "None"
            | "<NA>"
            | "#N/A"
            | "#NA"
            | "#N/A N/A"
            | "1.#IND"
            | "-1.#IND"
            | "1.#QNAN"
            | "-1.#QNAN"
    )
}

/// Walks a table row by row, with the memory of one row of a text file; of a workbook with that of the sheet, and of Parquet
/// with 4 bytes for each cell of one of the file's row groups and the text of one column. `row` is called with the row's
/// number, the header being row 1, its identifier and its values; blank rows are passed over.
///
/// Files are known by their content: CSV, TSV, semicolons with decimal commas, workbooks of Excel, of which the first visible
/// sheet is read, and Parquet with the feature `parquet`, each plain or gzip. Of Parquet, flat tables of integers, floats and
/// text are read; the identifiers are the column that pandas notes as index, else the first one. Missing are empty cells and
/// the words that pandas takes for it, `NA` and `NaN` among them. Versions of Ensembl's and RefSeq's identifiers are cut.
///
/// # Errors
/// [`Error::AtFile`] for a file that cannot be read or is damaged, a table of no feature, without a header, with samples in its
/// columns or with names that a spreadsheet program made dates of, a Parquet column of another type, or a Parquet file where
/// the feature is off; [`Error::DuplicateColumn`]; [`Error::RaggedRow`]; [`Error::Cell`] for what is no number or a row
/// without identifier; errors of `row`.
pub fn for_each_row(
    path: impl AsRef<Path>,
    mut row: impl FnMut(usize, &str, &[f32]) -> Result<()>,
) -> Result<OmicsColumns> {
    for_each_row_of(path.as_ref(), &OmicsTableOptions::default(), &mut row)
}

/// As [`for_each_row`], of a table with samples in its rows.
pub(super) fn for_each_row_of(
    path: &Path,
    options: &OmicsTableOptions,
    row: Each<'_>,
) -> Result<OmicsColumns> {
    let table = TableFile::open(path)?;
    let places = places(path, &table, options)?;
    let header: Vec<String> = places.iter().map(|p| table.header()[*p].clone()).collect();
    let names = FeatureNames::new(path, table.sheet_name(), &header)?;
    let mut first = true;
    let mut each = |line: usize, id: &str, cells: &[f32]| {
        if std::mem::take(&mut first) {
            refuse_gene(path, id)?;
        }
        row(line, id, cells)
    };
    let notes = walk(path, table, &names, &places, &mut each)?;
    Ok(OmicsColumns { features: names.features, notes: [notes, names.notes].concat() })
}

/// What is called with each row: its number, its identifier and its values.
pub(super) type Each<'f> = &'f mut dyn FnMut(usize, &str, &[f32]) -> Result<()>;

/// Where the columns are that are read, that of the identifiers first.
fn places(path: &Path, table: &TableFile, options: &OmicsTableOptions) -> Result<Vec<usize>> {
    let header = table.header();
    let place = |column: &String| {
        let mut found = (0..header.len()).filter(|c| header[*c] == *column);
        match (found.next(), found.next()) {
            (Some(first), None) => Ok(first),
            (Some(first), Some(second)) => {
                Err(Error::duplicate_column(path, table.sheet_name(), header, first, second))
            }
            (None, _) => Err(Error::MissingColumn {
                path: path.into(),
                sheet: table.sheet_name().map(str::to_owned),
                column: column.clone(),
                found: header.to_vec(),
            }),
        }
    };
    let id = options.id.as_ref().map_or(Ok(0), place)?;
    let without = options.leave_out.iter().map(place).collect::<Result<Vec<_>>>()?;
    let values = (0..header.len()).filter(|c| *c != id && !without.contains(c));
    Ok(std::iter::once(id).filter(|_| !header.is_empty()).chain(values).collect())
}

/// The rows of a table of any kind, with the values in the order of `places`.
fn walk(
    path: &Path,
    table: TableFile,
    names: &FeatureNames,
    places: &[usize],
    each: Each<'_>,
) -> Result<Vec<String>> {
    match table {
        TableFile::Text(table) => text_rows(path, table, names, places, each),
        TableFile::Sheet(sheet) => sheet_rows(sheet, names, places, each),
        TableFile::Parquet(table) => match places.iter().copied().eq(0..table.header().len()) {
            true => parquet_rows(path, &table, names, each),
            // Columns that are left out may hold anything.
            false => sheet_rows(table.into_sheet()?, names, places, each),
        },
    }
}

fn text_rows(
    path: &Path,
    mut table: TextTable,
    names: &FeatureNames,
    places: &[usize],
    each: Each<'_>,
) -> Result<Vec<String>> {
    let mut cells = vec![0f32; names.features.len()];
    let decimal = table.decimal();
    while let Some(line) = table.next_row()? {
        for (column, value) in cells.iter_mut().enumerate() {
            let text = table.cell(places[column + 1]);
            *value = match &*text {
                text if is_missing(text) => f32::NAN,
                // Through f64, as Parquet's doubles and pandas', so that both give the same bits.
                text => decimal.parse(text).map(|v| v as f32).filter(|v| v.is_finite()).ok_or_else(|| {
                    Error::cell(path, line, names.original(column), decimal.expected(text), text)
                })?,
            };
        }
        let unnamed = places[cells.len() + 1..].iter().find(|c| !table.cell(**c).is_empty());
        if let Some(column) = unnamed {
            return Err(names.unnamed(path, *column, line));
        }
        let id = table.cell(places[0]);
        if id.is_empty() {
            return Err(Error::cell(path, line, &names.id, "an identifier", ""));
        }
        each(line, &id, &cells)?;
    }
    Ok(table.into_parts().2)
}

fn sheet_rows(sheet: Sheet, names: &FeatureNames, places: &[usize], each: Each<'_>) -> Result<Vec<String>> {
    // What a column's place is among those that are read; one beyond the header has no name.
    let mut order = vec![None; sheet.header.len()];
    places.iter().enumerate().for_each(|(k, column)| order[*column] = Some(k));
    for row in sheet.rows() {
        let mut cells = vec![f32::NAN; names.features.len()];
        for (column, cell) in row.filled() {
            let at = match order.get(column) {
                Some(None | Some(0)) => continue,
                Some(Some(at)) if *at <= cells.len() => *at,
                _ => return Err(names.unnamed(&sheet.path, column, row.number)),
            };
            cells[at - 1] = match cell {
                Cell::Text(text) | Cell::Other(text) if is_missing(text) => f32::NAN,
                _ => match row.number(column)?.map(|v| v as f32) {
                    Some(value) if !value.is_finite() => return Err(row.refuse(column, "a number")),
                    value => value.unwrap_or(f32::NAN),
                },
            };
        }
        each(row.number, &row.identifier(places[0])?, &cells)?;
    }
    Ok(sheet.notes)
}

fn parquet_rows(
    path: &Path,
    table: &ParquetTable,
    names: &FeatureNames,
    each: Each<'_>,
) -> Result<Vec<String>> {
    table.for_each_row(|line, id, cells| match id {
        "" if cells.iter().all(|v| v.is_nan()) => Ok(()),
        "" => Err(Error::cell(path, line, &names.id, "an identifier", "")),
        id => each(line, id, &cells[..names.features.len()]),
    })?;
    Ok(vec![])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::testing::{Put, gzip, write_text, write_workbook};

    fn read(name: &str, content: impl AsRef<[u8]>) -> Result<OmicsTable> {
        let dir = tempfile::tempdir().unwrap();
        OmicsTable::read(write_text(dir.path(), name, content))
    }

    fn bits(table: &OmicsTable) -> Vec<u32> {
        table.values.iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn one_table_in_every_format_is_the_same() {
        let text = "patient,TP53,EGFR\nA,1.5,\nB,NA,-2\n";
        let expected = read("a.csv", text).unwrap();
        assert_eq!((expected.ids.join(" "), expected.features.join(" ")), ("A B".into(), "TP53 EGFR".into()));
        assert_eq!((expected.row(0)[0], expected.row(1)[1]), (1.5, -2.0));
        assert!(expected.row(0)[1].is_nan() && expected.row(1)[0].is_nan() && expected.notes.is_empty());
        assert_eq!(expected.aligned(&["B".into(), "C".into()])[1], None);
        for (name, content) in [
            ("a.csv.gz", gzip(text)),
            ("a.tsv", text.replace(',', "\t").into()),
            ("a.csv", text.replace(',', "\t").into()),
            ("a.csv", text.replace(',', ";").replace('.', ",").into()),
            ("a.csv", text.replace('\n', "\r").into()),
            ("a.csv", format!("{text},,\n,,\n").into()),
            ("a.csv", text.replace('\n', ",,\n").into()),
            ("a.csv", text.replace("patient,", "").into()),
        ] {
            let table = read(name, &content).unwrap_or_else(|e| panic!("{name}, {content:?}: {e}"));
            assert_eq!((&table.ids, &table.features), (&expected.ids, &expected.features), "{content:?}");
            assert_eq!(bits(&table), bits(&expected), "{content:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let book = |cell: Put<'static>| {
            let rows = vec![
                vec![Put::Text("patient"), Put::Text("TP53"), Put::Text("EGFR")],
                vec![Put::Text("A"), Put::Number(1.5), Put::Nothing],
                vec![Put::Text("B"), cell, Put::Number(-2.0)],
            ];
            OmicsTable::read(write_workbook(&dir.path().join("a.xlsx"), &[("genes", true, rows)]))
        };
        for missing in [Put::Nothing, Put::Text("NA"), Put::Error("#N/A")] {
            assert_eq!(bits(&book(missing).unwrap()), bits(&expected));
        }
        for (cell, part) in [
            (Put::Formatted(0.5, 2), "percent"),
            (Put::Formatted(45780.0, 1), "date"),
            (Put::Formula("A1", None), "formula"),
            (Put::Error("#DIV/0!"), "#DIV/0!"),
        ] {
            let error = book(cell).unwrap_err().to_string();
            assert!(error.contains("sheet `genes`: row 3, column `TP53`") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, parts) in [
            ("patient,TP53\nA,high\n", &["a.csv: row 2, column `TP53`: expected a number, got \"high\""][..]),
            ("patient,TP53\nA,inf\n", &["row 2, column `TP53`: expected a number, got \"inf\""]),
            ("patient,TP53\nA,1\nA,2\n", &["patient A is in row 2 and again in row 3"]),
            ("patient,TP53\nA,1,2\nB,1\n", &["a.csv: line 2 has 3 cells, the header 2"]),
            ("patient,TP53\n", &["a.csv: the table has no rows"]),
            ("patient,TP53\n,1\n", &["row 2, column `patient`: expected an identifier, got \"\""]),
            ("patient,TP53,\nA,1,\nB,2,3\n", &["column 3 has no name, but a value in row 3"]),
            ("patient\nA\n", &["there is no feature"]),
            ("S1 1.5 2\nS2 1 2\n", &["there is no feature", "commas, tabs or semicolons"]),
            ("S1,1.5,-2\nS2,1,2\n", &["the header is missing"]),
            (",S1,S2\nENSG00000141510.17,1,2\n", &["the first row is of ENSG00000141510.17", "Transpose"]),
            ("s,ENSG00000141510.17\nA,high\n", &["column `ENSG00000141510.17`"]),
        ] {
            let error = read("a.csv", text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error} lacks {parts:?}");
        }
    }

    #[test]
    fn a_table_may_be_transposed_and_have_other_columns() {
        let expected = read("a.csv", "patient,TP53,EGFR\nA,1.5,\nB,NA,-2\n").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let with = |content: &str, options: &OmicsTableOptions| {
            OmicsTable::read_with(write_text(dir.path(), "a.tsv", content), options)
        };
        let turned = OmicsTableOptions::new().transposed(true).leave_out(["about"]);
        let table = with("gene\tabout\tA\tB\nTP53\tp53\t1.5\tNA\nEGFR\tErbB1\t\t-2\n", &turned).unwrap();
        assert_eq!((&table.ids, &table.features), (&expected.ids, &expected.features));
        assert_eq!(bits(&table), bits(&expected));
        let keyed = OmicsTableOptions::new().id("who").leave_out(["plate"]);
        let table = with("plate\tTP53\twho\tEGFR\nx\t1.5\tA\t\ny\t\tB\t-2\n", &keyed).unwrap();
        assert_eq!((&table.ids, &table.features), (&expected.ids, &expected.features));
        assert_eq!(bits(&table), bits(&expected));
        for (content, options, part) in [
            ("gene\tA\tB\nTP53\t1\t2\nTP53\t1\t2\n", turned.clone(), "no column `about`"),
            (
                "gene\tA\tB\nTP53\t1\t2\nTP53\t1\t2\n",
                turned.leave_out([""; 0]),
                "TP53 is in row 2 and again in row 3",
            ),
            ("gene\tA\tA\nTP53\t1\t2\n", OmicsTableOptions::new().transposed(true), "`A` is there twice"),
            ("plate\tTP53\tEGFR\nx\t1.5\t2\n", keyed, "no column `who`"),
        ] {
            let error = with(content, &options).unwrap_err().to_string();
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }

    #[test]
    fn a_published_table_may_have_been_unpacked_or_converted() {
        let dir = tempfile::tempdir().unwrap();
        let file = || table_file(dir.path(), "t.csv.gz").map(|p| p.file_name().unwrap().to_owned());
        assert_eq!(file().unwrap(), "t.csv.gz");
        for name in ["t.tsv", "t.csv", "t.csv.gz"] {
            write_text(dir.path(), name, "");
            assert_eq!(file().unwrap(), name);
        }
        write_text(dir.path(), "t.xlsx", "");
        assert!(file().unwrap_err().to_string().contains("t.csv.gz and t.xlsx are both there"));
    }
}
