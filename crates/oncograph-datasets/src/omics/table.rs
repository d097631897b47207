use super::parquet_table::ParquetTable;
use crate::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
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
}

impl OmicsTable {
    /// Reads a CSV file, gzipped if its name ends in `.gz`, or a Parquet file if it ends in `.parquet`.
    ///
    /// # Errors
    /// As [`for_each_row`], [`Error::DuplicatePatient`] for a row that is there twice, and [`Error::AtFile`] for a table
    /// without rows.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (mut ids, mut values) = (vec![], vec![]);
        let mut seen = HashMap::new();
        let features = for_each_row(path, |row, id, cells| {
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
        Ok(OmicsTable { ids, features, values })
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

    /// The table with identifiers rewritten, and of rows that become the same the first one: TCGA's samples to patients
    /// through the first 12 letters, primary tumours first where the file is sorted.
    pub fn rename(self, name: impl Fn(&str) -> String) -> Self {
        let width = self.features.len();
        let mut seen = std::collections::HashSet::new();
        let (mut ids, mut values) = (vec![], vec![]);
        for (i, id) in self.ids.iter().enumerate() {
            let id = name(id);
            if seen.insert(id.clone()) {
                ids.push(id);
                values.extend_from_slice(&self.values[i * width..(i + 1) * width]);
            }
        }
        OmicsTable { ids, features: self.features, values }
    }
}

/// The readable bytes of a file, unpacked if its name ends in `.gz`.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    Ok(if packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// A reader of delimited text, and the error that names the file.
pub(super) fn delimited(path: &Path, delimiter: u8) -> Result<csv::Reader<Box<dyn Read>>> {
    Ok(csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .flexible(false)
        .from_reader(open(path)?))
}

pub(super) fn bad(path: &Path, error: csv::Error) -> Error {
    let text = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::io("read", path, source),
        _ => Error::format(path, "CSV", text),
    }
}

/// Whether a file is taken for Parquet: by its name, as `.gz` is.
pub(super) fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
}

/// The file of a table that is published as `name` (`.csv` or `.csv.gz`): that one, or a `.parquet` of the same name.
pub(super) fn table_file(root: &Path, name: &str) -> Result<PathBuf> {
    let stem = name.trim_end_matches(".gz").trim_end_matches(".csv");
    let (text, binary) = (root.join(name), root.join(format!("{stem}.parquet")));
    match (text.exists(), binary.exists()) {
        (true, true) => {
            Err(Error::at(root, format!("{name} and {stem}.parquet are both there: which is meant?")))
        }
        (false, true) => Ok(binary),
        _ => Ok(text),
    }
}

/// Walks a table row by row: CSV, which needs the memory of one row, or Parquet (`.parquet`), which needs 4 bytes for each
/// cell of one of the file's row groups and the text of one column. The answer are the names of the features. `row` is
/// called with the row's number, the header being row 1, its identifier and its values.
///
/// Parquet needs the feature `parquet`. Of it, flat tables of integers, floats and text are read, uncompressed or with
/// Snappy, gzip or LZ4. The identifiers are the column that pandas notes as index, else the first one.
///
/// # Errors
/// [`Error::AtFile`] for a file that cannot be read or is damaged, a Parquet column of another type, or a Parquet file
/// where the feature `parquet` is off; [`Error::Cell`] for what is no number or a row without identifier; errors of `row`.
pub fn for_each_row(
    path: impl AsRef<Path>,
    mut row: impl FnMut(usize, &str, &[f32]) -> Result<()>,
) -> Result<Vec<String>> {
    let path = path.as_ref();
    let mut named = |name: &str, line: usize, id: &str, cells: &[f32]| {
        if id.is_empty() {
            return Err(Error::cell(path, line, name, "an identifier", ""));
        }
        row(line, id, cells)
    };
    if is_parquet(path) {
        let table = ParquetTable::open(path)?;
        let name = table.header()[0].clone();
        table.for_each_row(|line, id, cells| named(&name, line, id, cells))?;
        return Ok(table.header()[1..].to_vec());
    }
    let mut reader = delimited(path, b',')?;
    let header = reader.headers().map_err(|e| bad(path, e))?;
    let name = header.get(0).unwrap_or_default().to_owned();
    let features: Vec<String> = header.iter().skip(1).map(str::to_owned).collect();
    let mut record = csv::StringRecord::new();
    let mut cells = vec![0f32; features.len()];
    while reader.read_record(&mut record).map_err(|e| bad(path, e))? {
        let line = record.position().map_or(0, |p| p.line() as usize);
        for (column, (value, text)) in cells.iter_mut().zip(record.iter().skip(1)).enumerate() {
            *value = match text {
                "" | "NA" | "NaN" | "nan" => f32::NAN,
                // Through f64, as Parquet's doubles and pandas', so that both give the same bits.
                text => text
                    .parse()
                    .ok()
                    .map(|v: f64| v as f32)
                    .filter(|v| v.is_finite())
                    .ok_or_else(|| Error::cell(path, line, &features[column], "a number", text))?,
            };
        }
        named(&name, line, record.get(0).unwrap_or_default(), &cells)?;
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn plain_and_packed_tables_are_the_same_and_bad_cells_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("a.csv"), dir.path().join("a.csv.gz"));
        let text = "patient,TP53,EGFR\nA,1.5,\nB,NA,-2\n";
        std::fs::write(&plain, text).unwrap();
        let mut gz =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap();
        let (a, b) = (OmicsTable::read(&plain).unwrap(), OmicsTable::read(&packed).unwrap());
        assert_eq!(a.ids, b.ids);
        assert_eq!((a.row(0)[0], a.row(1)[1]), (1.5, -2.0));
        assert!(a.row(0)[1].is_nan() && a.row(1)[0].is_nan());
        assert_eq!(a.aligned(&["B".into(), "C".into()])[1], None);
        std::fs::write(&plain, "patient,TP53\nA,high\n").unwrap();
        let error = OmicsTable::read(&plain).unwrap_err().to_string();
        assert!(error.ends_with("a.csv: row 2, column `TP53`: expected a number, got \"high\""), "{error}");
        std::fs::write(&plain, "patient,TP53\nA,1\nA,2\n").unwrap();
        assert!(
            OmicsTable::read(&plain)
                .unwrap_err()
                .to_string()
                .contains("patient A is in row 2 and again in row 3")
        );
        std::fs::write(&plain, "patient,TP53\nA,1,2\n").unwrap();
        let error = OmicsTable::read(&plain).unwrap_err().to_string();
        assert!(error.contains("a.csv: not a readable CSV file"), "{error}");
        std::fs::write(&plain, "patient,TP53\n").unwrap();
        let error = OmicsTable::read(&plain).unwrap_err().to_string();
        assert!(error.ends_with("a.csv: the table has no rows"), "{error}");
    }
}
