use crate::error::{Error, Result};
use crate::tables::Sheet;
use oncograph_imaging::atlas::{Connections, LabelMap};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How far apart the two halves of a matrix may be, as a share of the larger number: what rounding leaves.
const SYMMETRIC: f64 = 1e-3;

/// A connectome: how many streamlines join each pair of regions, or another weight.
///
/// Read from a table with a row and a column for each region: the matrix alone, with names above, at the left, or both. Names are those of
/// an atlas or the numbers of its regions.
///
/// # Example
/// ```
/// use oncograph_datasets::glioma::ConnectomeMatrix;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("connectome.csv");
/// # std::fs::write(&path, ",left,right\nleft,0,12\nright,12,0\n")?;
/// let connectome = ConnectomeMatrix::read(&path)?;
/// assert_eq!((connectome.len(), connectome.weight(0, 1)), (2, 12.0));
/// assert_eq!(connectome.names(), Some(&["left".to_string(), "right".to_string()][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectomeMatrix {
    path: PathBuf,
    names: Option<Vec<String>>,
    count: usize,
    /// Row by row, the diagonal 0.
    weights: Vec<f64>,
    notes: Vec<String>,
}

impl ConnectomeMatrix {
    /// Reads a matrix from a table of any kind: CSV, TSV, a workbook, or Parquet.
    ///
    /// The diagonal does not count, and a half of the matrix that is all 0 is filled by the other; both leave a note, as does what is
    /// odd in the file.
    ///
    /// # Errors
    /// Names file, row and column: a table that is not square, a name that is there twice or differs between row and column, a cell
    /// that is no number, one that is below 0 or not finite, one that differs from its mirror.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let mut sheet = Sheet::read(path.as_ref())?;
        let notes = std::mem::take(&mut sheet.notes);
        let matrix = Matrix::of(&sheet)?;
        matrix.check_names()?;
        let mut connectome = ConnectomeMatrix {
            path: sheet.path.clone(),
            count: matrix.count,
            weights: matrix.weights()?,
            names: matrix.names.clone(),
            notes,
        };
        connectome.clear_diagonal();
        connectome.fill_half();
        connectome.check_halves(&matrix)?;
        Ok(connectome)
    }

    /// How many regions it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The names or numbers of the regions, if the file has any.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// The weight between two regions by their places, 0 beyond the matrix.
    pub fn weight(&self, a: usize, b: usize) -> f64 {
        let at = (a < self.count && b < self.count).then_some(a * self.count + b);
        at.and_then(|at| self.weights.get(at)).copied().unwrap_or(0.0)
    }

    /// Remarks on how the file was read, to be shown beside results.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The pairs of those regions of an atlas that `kept` has whose weight is above 0 and at least `least`, with notes on what
    /// is left out. A matrix without names has the regions of `kept` in the order of their numbers, or all of `atlas`.
    ///
    /// # Errors
    /// [`Error::AtFile`] for a name that the atlas does not have, two names of one region, another number of regions without names, and
    /// no such pair.
    pub fn connections(
        &self,
        atlas: &LabelMap,
        kept: &LabelMap,
        least: f64,
    ) -> Result<(Connections, Vec<String>)> {
        let labels = self.labels(atlas, kept)?;
        let used: BTreeSet<i16> = kept.regions().map(|(label, _)| label).collect();
        let mut notes = self.notes.clone();
        let name = |label: &i16| atlas.regions().find(|(l, _)| l == label).map_or("", |(_, name)| name);
        let others: Vec<&str> = labels.iter().filter(|label| !used.contains(label)).map(name).collect();
        if let Some(first) = others.first() {
            notes.push(format!(
                "{}: {} regions that are not used are left out ({first}, ...)",
                self.file(),
                others.len()
            ));
        }
        let (mut pairs, mut joined) = (vec![], 0);
        for (i, a) in labels.iter().enumerate().filter(|(_, label)| used.contains(label)) {
            for (j, b) in labels.iter().enumerate().take(i).filter(|(_, label)| used.contains(label)) {
                let weight = self.weight(i, j);
                joined += usize::from(weight > 0.0);
                if weight > 0.0 && weight >= least {
                    pairs.push(([*a, *b], weight as f32));
                }
            }
        }
        if pairs.is_empty() {
            let detail = format!(
                "no two regions are joined by a weight of {least} or more, {joined} pairs by a smaller one"
            );
            return Err(Error::at(&self.path, detail));
        }
        if pairs.len() < joined {
            notes.push(format!(
                "{}: {} of {joined} pairs are below {least} and left out",
                self.file(),
                joined - pairs.len()
            ));
        }
        Ok((Connections::new(pairs, self.path.display().to_string())?, notes))
    }

    fn file(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The number of each region in the atlas.
    fn labels(&self, atlas: &LabelMap, kept: &LabelMap) -> Result<Vec<i16>> {
        let refuse = |detail: String| Err(Error::at(&self.path, detail));
        let (all, used) = (atlas.regions().count(), kept.regions().count());
        let Some(names) = &self.names else {
            let in_order = |map: &LabelMap| map.regions().map(|(label, _)| label).collect();
            return match self.count {
                n if n == used => Ok(in_order(kept)),
                n if n == all => Ok(in_order(atlas)),
                n => refuse(format!(
                    "{n} regions without names, where the atlas has {used} (with those that are not used {all}): name them"
                )),
            };
        };
        let numbers: Option<Vec<i16>> = names.iter().map(|name| name.parse().ok()).collect();
        let mut labels: Vec<i16> = vec![];
        for (place, name) in names.iter().enumerate() {
            let found = match &numbers {
                Some(numbers) => atlas.regions().find(|(label, _)| *label == numbers[place]),
                None => atlas.regions().find(|(_, known)| known.eq_ignore_ascii_case(name)),
            };
            let Some((label, known)) = found else {
                let some: Vec<&str> = atlas.regions().take(4).map(|(_, name)| name).collect();
                return refuse(format!(
                    "{name} is no region of the atlas, which has {}, ...",
                    some.join(", ")
                ));
            };
            if let Some(first) = labels.iter().position(|l| *l == label) {
                return refuse(format!("{} and {name} are both region {known}", names[first]));
            }
            labels.push(label);
        }
        Ok(labels)
    }

    fn clear_diagonal(&mut self) {
        let diagonal = (0..self.count).map(|i| i * (self.count + 1));
        let filled = diagonal.clone().filter(|at| self.weights[*at] != 0.0).count();
        diagonal.for_each(|at| self.weights[at] = 0.0);
        if filled > 0 {
            self.notes.push(format!(
                "{}: {filled} weights of regions with themselves are passed over",
                self.file()
            ));
        }
    }

    /// The pairs (row, column) above the diagonal.
    fn above(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.count;
        (0..count).flat_map(move |i| (i + 1..count).map(move |j| (i, j)))
    }

    /// Fills a half that is all 0 where the other is not.
    fn fill_half(&mut self) {
        let filled = |of: &dyn Fn(usize, usize) -> f64| self.above().any(|(i, j)| of(i, j) != 0.0);
        let halves = [filled(&|i, j| self.weight(i, j)), filled(&|i, j| self.weight(j, i))];
        if halves[0] == halves[1] {
            return;
        }
        for (i, j) in self.above() {
            let sum = self.weight(i, j) + self.weight(j, i);
            (self.weights[i * self.count + j], self.weights[j * self.count + i]) = (sum, sum);
        }
        self.notes.push(format!("{}: one half of the matrix is 0 and filled by the other", self.file()));
    }

    /// Whether the matrix is symmetric; small differences are evened out.
    fn check_halves(&mut self, matrix: &Matrix<'_>) -> Result<()> {
        for (i, j) in self.above() {
            let (a, b) = (self.weight(i, j), self.weight(j, i));
            if (a - b).abs() > SYMMETRIC * a.max(b) {
                let expected = format!("{a}, as in row {}, column `{}`", matrix.row(i), matrix.column(j));
                return Err(matrix.refuse(j, i, &expected, &b.to_string()));
            }
            let mean = 0.5 * (a + b);
            (self.weights[i * self.count + j], self.weights[j * self.count + i]) = (mean, mean);
        }
        Ok(())
    }
}

/// Where in a table the matrix is. The reader of tables takes the first line for a header, which of a matrix alone is its first row.
struct Matrix<'a> {
    sheet: &'a Sheet,
    count: usize,
    /// Whether the header is a row of weights.
    header_row: bool,
    /// Whether the first column holds names.
    name_column: bool,
    names: Option<Vec<String>>,
}

impl<'a> Matrix<'a> {
    fn of(sheet: &'a Sheet) -> Result<Self> {
        let (columns, rows) = (sheet.header.len(), sheet.rows.len());
        let number = |name: &String| sheet.decimal.parse(name).is_some();
        let first_numbers = sheet.header.iter().skip(1).all(number);
        let corner = sheet.header.first().is_some_and(number);
        let (header_row, name_column) = match () {
            () if rows == columns && columns > 1 => (false, false),
            () if rows + 1 == columns && columns > 1 => (corner && first_numbers, !(corner && first_numbers)),
            () if rows + 2 == columns && first_numbers && !corner => (true, true),
            () => {
                let hint =
                    if columns == 1 { "; cells are separated by commas, tabs or semicolons" } else { "" };
                let detail =
                    format!("no matrix of regions: {rows} rows below the first, of {columns} cells{hint}");
                return Err(Error::at(&sheet.path, detail));
            }
        };
        let count = columns - usize::from(name_column);
        let mut matrix = Matrix { sheet, count, header_row, name_column, names: None };
        matrix.names = match (header_row, name_column) {
            (false, _) => Some(sheet.header[columns - count..].to_vec()),
            (true, true) => Some((0..count).map(|row| matrix.name(row)).collect::<Result<_>>()?),
            (true, false) => None,
        };
        Ok(matrix)
    }

    /// The name at the left of a row.
    fn name(&self, row: usize) -> Result<String> {
        match self.below(row) {
            None => Ok(self.sheet.header[0].clone()),
            Some(below) => match self.sheet.rows().nth(below) {
                Some(row) => Ok(row.identifier(0)?.into_owned()),
                None => Ok(String::new()),
            },
        }
    }

    /// A row of the matrix as a row below the header; `None` where it is the header itself.
    fn below(&self, row: usize) -> Option<usize> {
        row.checked_sub(usize::from(self.header_row))
    }

    /// The number of a row of the matrix in the file.
    fn row(&self, row: usize) -> usize {
        self.below(row).map_or(1, |below| self.sheet.rows[below].0)
    }

    fn column(&self, column: usize) -> String {
        match &self.names {
            Some(names) if !names[column].is_empty() => names[column].clone(),
            _ => format!("number {}", column + 1 + usize::from(self.name_column)),
        }
    }

    fn refuse(&self, row: usize, column: usize, expected: &str, got: &str) -> Error {
        Error::Cell {
            path: self.sheet.path.clone(),
            sheet: self.sheet.name.clone(),
            row: self.row(row),
            column: self.column(column).into(),
            expected: expected.into(),
            got: got.into(),
        }
    }

    /// Whether every region has a name of its own, the same above and at the left.
    fn check_names(&self) -> Result<()> {
        let Some(names) = &self.names else { return Ok(()) };
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, name) in names.iter().enumerate() {
            if name.is_empty() {
                let detail = format!("region {} of {} has no name", place + 1, self.count);
                return Err(Error::at(&self.sheet.path, detail));
            }
            if let Some(first) = seen.insert(name, place) {
                let detail =
                    format!("region {name} is there twice, as number {} and {}", first + 1, place + 1);
                return Err(Error::at(&self.sheet.path, detail));
            }
            if self.name_column && !self.header_row {
                let left = self.name(place)?;
                if left != *name {
                    let detail =
                        format!("row {} is region {left} where the column is {name}", self.row(place));
                    return Err(Error::at(&self.sheet.path, detail));
                }
            }
        }
        Ok(())
    }

    /// The numbers, row by row.
    fn weights(&self) -> Result<Vec<f64>> {
        let first = usize::from(self.name_column);
        let mut weights = Vec::with_capacity(self.count * self.count);
        let mut add = |row: usize, column: usize, value: Option<f64>, text: &str| match value {
            Some(value) if value >= 0.0 && value.is_finite() => {
                weights.push(value);
                Ok(())
            }
            _ => Err(self.refuse(row, column, "a weight from 0 on", text)),
        };
        if self.header_row {
            for (column, text) in self.sheet.header[first..].iter().enumerate() {
                add(0, column, self.sheet.decimal.parse(text), text)?;
            }
        }
        for (below, row) in self.sheet.rows().enumerate() {
            for column in 0..self.count {
                let place = below + usize::from(self.header_row);
                let text = row.text(first + column)?;
                // What is no number is refused by the matrix's own name of the column, as anything else.
                let value = row.number(first + column).ok().flatten();
                add(place, column, value, &text)?;
            }
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::testing::{Put, write_text, write_workbook};
    use oncograph_imaging::{Frame, Grid, Volume};

    fn read(text: &str) -> std::result::Result<ConnectomeMatrix, String> {
        let folder = tempfile::tempdir().unwrap();
        ConnectomeMatrix::read(write_text(folder.path(), "c.csv", text)).map_err(|e| e.to_string())
    }

    /// Regions 1, 2 and 4 of a row, and 9, which is not used.
    fn atlas() -> (LabelMap, LabelMap) {
        let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::new(grid, Frame::default(), vec![1_i16, 2, 4, 9]).unwrap();
        let names = [(1, "A".into()), (2, "B".into()), (4, "C".into()), (9, "Vermis".into())];
        let all = LabelMap::new(volume, names).unwrap();
        let kept = all.keep(|label| label < 9);
        (all, kept)
    }

    #[test]
    fn every_layout_is_the_same_matrix() {
        for text in [
            "0,3,0\n3,0,2.5\n0,2.5,0\n",
            "a,b,c\n0,3,0\n3,0,2.5\n0,2.5,0\n",
            ",a,b,c\na,0,3,0\nb,3,0,2.5\nc,0,2.5,0\n",
            "region\ta\tb\tc\na\t0\t3\t0\nb\t3\t0\t2.5\nc\t0\t2.5\t0\n",
            "a,b,c\na,0,3,0\nb,3,0,2.5\nc,0,2.5,0\n",
            "a,0,3,0\nb,3,0,2.5\nc,0,2.5,0\n",
            "a;b;c\n0;3;0\n3;0;2,5\n0;2,5;0\n",
        ] {
            let found = read(text).unwrap();
            assert_eq!(found.weights, [0.0, 3.0, 0.0, 3.0, 0.0, 2.5, 0.0, 2.5, 0.0], "{text}");
            let named = text.contains('a');
            assert_eq!(found.names().map(<[_]>::len), named.then_some(3), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.xlsx");
        let (text, number) = (Put::Text, Put::Number);
        let rows = vec![
            vec![Put::Nothing, text("a"), text("b")],
            vec![text("a"), number(1.0), number(7.0)],
            vec![text("b"), number(7.0), number(0.0)],
        ];
        write_workbook(&path, &[("s", true, rows)]);
        let found = ConnectomeMatrix::read(&path).unwrap();
        assert_eq!((found.weight(1, 0), found.weight(0, 0), found.weight(2, 0)), (7.0, 0.0, 0.0));
        assert_eq!(found.notes(), ["c.xlsx: 1 weights of regions with themselves are passed over"]);
    }

    #[test]
    fn halves_are_evened_out_or_refused() {
        let half = read("0,3,1\n0,0,2\n0,0,0\n").unwrap();
        assert_eq!(half.weights, [0.0, 3.0, 1.0, 3.0, 0.0, 2.0, 1.0, 2.0, 0.0]);
        assert!(half.notes()[0].contains("one half of the matrix is 0"));
        assert!((read("0,1.0002\n1,0\n").unwrap().weight(1, 0) - 1.0001).abs() < 1e-9);
        let error = read("a,b\n0,3\n4,0\n").unwrap_err();
        assert!(
            error.ends_with("row 3, column `a`: expected 3, as in row 2, column `b`, got \"4\""),
            "{error}"
        );
    }

    #[test]
    fn bad_matrices_are_named_by_place() {
        for (text, part) in [
            ("a,b\n0,-3\n-3,0\n", "row 2, column `b`: expected a weight from 0 on, got \"-3\""),
            ("0,NaN\nNaN,0\n", "row 1, column `number 2`: expected a weight from 0 on, got \"NaN\""),
            ("0,3\ninf,0\n", "row 2, column `number 1`"),
            (",a,b\na,0,x\nb,1,0\n", "row 2, column `b`: expected a weight from 0 on, got \"x\""),
            ("a,b\n0,\n3,0\n", "row 2, column `b`: expected a weight from 0 on, got \"\""),
            ("a,b,a\n0,1,1\n1,0,1\n1,1,0\n", "region a is there twice, as number 1 and 3"),
            (",a,b\nb,0,1\na,1,0\n", "row 2 is region b where the column is a"),
            ("a,\n0,1\n1,0\n", "region 2 of 2 has no name"),
            (
                "a,b,c\n0,1,2\n1,0,3\n1,2,3\n4,5,6\n",
                "no matrix of regions: 4 rows below the first, of 3 cells",
            ),
            ("0 1\n1 0\n", "cells are separated by commas, tabs or semicolons"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn regions_are_found_by_names_numbers_and_order() {
        let (all, kept) = atlas();
        let pairs = |text: &str, least: f64| {
            let (found, notes) =
                read(text).unwrap().connections(&all, &kept, least).map_err(|e| e.to_string())?;
            Ok::<_, String>((found.pairs().to_vec(), notes))
        };
        let three = "0,3,0\n3,0,2.5\n0,2.5,0\n";
        let expected = [([1, 2], 3.0), ([2, 4], 2.5)];
        for text in [
            three.to_owned(),
            format!("a,B,c\n{three}"),
            format!("1,2,4\n{three}"),
            // The other way round, and with a region that is not used.
            "C,B,A\n0,2.5,0\n2.5,0,3\n0,3,0\n".into(),
            "A,B,C,vermis\n0,3,0,9\n3,0,2.5,9\n0,2.5,0,9\n9,9,9,0\n".into(),
            "0,3,0,9\n3,0,2.5,9\n0,2.5,0,9\n9,9,9,0\n".into(),
        ] {
            let (found, notes) = pairs(&text, 0.0).unwrap();
            assert_eq!(found, expected, "{text}");
            assert_eq!(notes.len(), usize::from(text.contains('9')), "{notes:?}");
        }
        let (found, notes) = pairs(three, 2.6).unwrap();
        assert_eq!(
            (found, &notes[..]),
            (expected[..1].to_vec(), &["c.csv: 1 of 2 pairs are below 2.6 and left out".to_owned()][..])
        );
        for (text, least, part) in [
            (three, 4.0, "no two regions are joined by a weight of 4 or more, 2 pairs by a smaller one"),
            (
                "0,1\n1,0\n",
                0.0,
                "2 regions without names, where the atlas has 3 (with those that are not used 4)",
            ),
            ("A,D\n0,1\n1,0\n", 0.0, "D is no region of the atlas, which has A, B, C, Vermis"),
            ("1,3\n0,1\n1,0\n", 0.0, "3 is no region of the atlas"),
            ("A,a\n0,1\n1,0\n", 0.0, "A and a are both region A"),
        ] {
            let error = pairs(text, least).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
