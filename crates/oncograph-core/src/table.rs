use crate::Argument;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Named columns of numbers with gaps; every row has an identifier, as a rule a patient's.
///
/// # Example
/// ```
/// use oncograph_core::Table;
///
/// let rows = vec![vec![Some(61.0), None], vec![Some(70.0), Some(3.2)]];
/// let table = Table::new(vec!["p1".into(), "p2".into()], vec!["age".into(), "cea".into()], rows)?;
/// assert_eq!(table.row(0), [Some(61.0), None]);
/// assert_eq!(table.position("p2"), Some(1));
/// assert_eq!(table.select(&[1]).ids(), ["p2"]);
/// # Ok::<(), oncograph_core::Argument>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Table {
    ids: Vec<String>,
    columns: Vec<String>,
    /// Row after row.
    values: Vec<Option<f64>>,
}

/// [`Table`] as a file has it, before the checks.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Table", deny_unknown_fields)]
struct Fields {
    ids: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<Option<f64>>>,
}

impl TryFrom<Fields> for Table {
    type Error = Argument;

    fn try_from(fields: Fields) -> Result<Self, Argument> {
        Table::new(fields.ids, fields.columns, fields.rows)
    }
}

impl From<Table> for Fields {
    fn from(table: Table) -> Self {
        let rows = table.rows().map(<[Option<f64>]>::to_vec).collect();
        Fields { ids: table.ids, columns: table.columns, rows }
    }
}

impl Table {
    /// A table from its rows; `None` where a value is missing.
    ///
    /// # Errors
    /// An identifier or a column that is there twice, a row of another width, a number of rows that is not that of
    /// identifiers, or a value that is not finite.
    pub fn new(
        ids: Vec<String>,
        columns: Vec<String>,
        rows: Vec<Vec<Option<f64>>>,
    ) -> Result<Self, Argument> {
        unique("ids", &ids)?;
        unique("columns", &columns)?;
        if rows.len() != ids.len() {
            return Err(Argument::new(
                "Table",
                "rows",
                format!("one for each of {} ids", ids.len()),
                rows.len(),
            ));
        }
        let mut values = Vec::with_capacity(ids.len() * columns.len());
        for (id, row) in ids.iter().zip(rows) {
            if row.len() != columns.len() {
                let expected = format!("{} values wide in row {id}", columns.len());
                return Err(Argument::new("Table", "rows", expected, row.len()));
            }
            if let Some(c) = row.iter().position(|v| v.is_some_and(|v| !v.is_finite())) {
                let got = format!("{:?} in row {id}, column {}", row[c], columns[c]);
                return Err(Argument::new("Table", "rows", "finite or missing", got));
            }
            values.extend(row);
        }
        Ok(Table { ids, columns, values })
    }

    /// A table whose rows have no names: they are called `1`, `2` and so on.
    ///
    /// # Errors
    /// As [`Table::new`].
    pub fn numbered(columns: Vec<String>, rows: Vec<Vec<Option<f64>>>) -> Result<Self, Argument> {
        Table::new((1..=rows.len()).map(|i| i.to_string()).collect(), columns, rows)
    }

    /// The identifiers, in order.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// A row by its position.
    ///
    /// # Panics
    /// If there is no such row, as indexing a slice does.
    pub fn row(&self, row: usize) -> &[Option<f64>] {
        &self.values[row * self.width()..(row + 1) * self.width()]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Option<f64>]> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// The position of an identifier.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|i| i == id)
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    /// One value by identifier and column; `None` if it is missing or there is no such row or column.
    pub fn get(&self, id: &str, column: &str) -> Option<f64> {
        self.row(self.position(id)?)[self.column(column)?]
    }

    /// Some rows, in the order given.
    ///
    /// # Panics
    /// If a row is not there, as indexing a slice does, or twice in `rows`.
    pub fn select(&self, rows: &[usize]) -> Table {
        let distinct: HashSet<&usize> = rows.iter().collect();
        assert_eq!(distinct.len(), rows.len(), "a row is selected twice");
        Table {
            ids: rows.iter().map(|&r| self.ids[r].clone()).collect(),
            columns: self.columns.clone(),
            values: rows.iter().flat_map(|&r| self.row(r)).copied().collect(),
        }
    }
}

fn unique(what: &'static str, names: &[String]) -> Result<(), Argument> {
    let mut seen = HashSet::new();
    match names.iter().find(|n| !seen.insert(n.as_str())) {
        Some(twice) => {
            Err(Argument::new("Table", what, "different from each other", format!("{twice} twice")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = |ids: &[&str], columns: &[&str], rows| {
            Table::new(names(ids), names(columns), rows).unwrap_err().to_string()
        };
        assert!(text(&["a", "a"], &["x"], vec![vec![None]; 2]).contains("ids"));
        assert!(text(&["a"], &["x", "x"], vec![vec![None; 2]]).contains("x twice"));
        assert!(text(&["a"], &["x"], vec![]).contains("one for each of 1 ids, got 0"));
        assert!(text(&["a", "b"], &["x"], vec![vec![None], vec![]]).contains("row b"));
        assert!(text(&["a"], &["x"], vec![vec![Some(f64::NAN)]]).contains("row a, column x"));
    }

    #[test]
    fn a_file_brings_the_same_table() {
        let rows = vec![vec![Some(0.1 + 0.2), None], vec![None, Some(-1.0)]];
        let table = Table::numbered(names(&["x", "y"]), rows).unwrap();
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
        assert!(serde_json::from_str::<Table>(&json.replace("\"y\"", "\"x\"")).is_err());
        assert_eq!(table.select(&[1, 0]).row(0), [None, Some(-1.0)]);
        assert_eq!(
            (table.len(), table.width(), table.get("1", "y"), table.get("2", "y")),
            (2, 2, None, Some(-1.0))
        );
    }

    #[test]
    fn a_table_without_columns_has_rows() {
        let table = Table::numbered(vec![], vec![vec![]; 3]).unwrap();
        assert_eq!((table.len(), table.rows().len()), (3, 3));
    }
}
