use super::{check_rows, check_width};
use crate::error::{Error, Result};
use oncograph_core::Table;
use serde::{Deserialize, Serialize};

/// Fills gaps with the training median of the column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MedianImputer {
    /// Training median of each column (mean of the middle two for an even count).
    pub median: Vec<f64>,
    /// Whether the column had gaps in the training rows.
    pub had_missing: Vec<bool>,
}

impl MedianImputer {
    /// Learns the medians from the given rows.
    ///
    /// # Errors
    /// No rows, a row beyond the table, or a column without any value in these rows (named).
    pub fn fit(table: &Table, rows: &[usize]) -> Result<Self> {
        check_rows("MedianImputer::fit", table.len(), rows)?;
        let rows: Vec<&[Option<f64>]> = rows.iter().map(|&r| table.row(r)).collect();
        Self::fit_rows(table.columns(), &rows)
    }

    /// [`MedianImputer::fit`] on rows that are each as wide as `columns`.
    pub(super) fn fit_rows<R: AsRef<[Option<f64>]>>(columns: &[String], rows: &[R]) -> Result<Self> {
        const OP: &str = "MedianImputer::fit";
        let mut fitted = Self { median: Vec::new(), had_missing: Vec::new() };
        for (column, name) in columns.iter().enumerate() {
            let mut values: Vec<f64> = rows.iter().filter_map(|r| r.as_ref()[column]).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            let median = match values.len() {
                0 => {
                    let got = format!("none in column `{name}`");
                    return Err(Error::argument(OP, "rows", "at least one value in every column", got));
                }
                n if n % 2 == 1 => values[middle],
                _ => 0.5 * (values[middle - 1] + values[middle]),
            };
            fitted.median.push(median);
            fitted.had_missing.push(values.len() < rows.len());
        }
        Ok(fitted)
    }

    /// All rows with their gaps filled.
    ///
    /// # Errors
    /// A table of another width than fitted.
    pub fn transform(&self, table: &Table) -> Result<Vec<Vec<f64>>> {
        table.rows().map(|row| self.fill(row)).collect()
    }

    /// A row with its gaps filled.
    pub(super) fn fill(&self, row: &[Option<f64>]) -> Result<Vec<f64>> {
        check_width("MedianImputer::transform", row.len(), self.median.len())?;
        Ok(row.iter().zip(&self.median).map(|(v, m)| v.unwrap_or(*m)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_hand_and_columns_without_values() {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let rows = vec![
            vec![Some(1.0), Some(4.0)],
            vec![Some(9.0), None],
            vec![Some(2.0), Some(8.0)],
            vec![None, None],
        ];
        let table = Table::numbered(names, rows).unwrap();
        let fitted = MedianImputer::fit(&table, &[0, 1, 2]).unwrap();
        assert_eq!((fitted.median.clone(), fitted.had_missing.clone()), (vec![2.0, 6.0], vec![false, true]));
        assert_eq!(fitted.transform(&table).unwrap()[3], [2.0, 6.0]);
        let error = MedianImputer::fit(&table, &[1, 3]).unwrap_err().to_string();
        assert!(error.contains("column `b`"), "{error}");
        assert!(MedianImputer::fit(&table, &[4]).is_err());
    }
}
