use super::{check_column, check_width, columns_of};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Min–max scaling of each column: `(x - min) / (max - min)`, 0 for a constant column.
///
/// Values outside the fitted range fall outside [0, 1]; they are not clipped, so that the inverse is exact.
///
/// # Example
/// ```
/// use oncograph_datasets::scaler::MinMax;
///
/// let years = [1.0, 3.0, 11.0].map(|y| vec![y]);
/// let scaler = MinMax::fit(&years, &[0, 2])?;
/// assert_eq!(scaler.scale(0, 6.0)?, 0.5);
/// assert_eq!(scaler.unscale(0, 0.5)?, 6.0);
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MinMax {
    /// Smallest training value of each column.
    pub min: Vec<f64>,
    /// Largest training value of each column.
    pub max: Vec<f64>,
}

impl MinMax {
    /// Learns the ranges from the given rows.
    ///
    /// # Errors
    /// No rows, a row beyond the data, rows of different width, or values that are not finite.
    pub fn fit(data: &[Vec<f64>], rows: &[usize]) -> Result<Self> {
        let columns = columns_of("MinMax::fit", data, rows)?;
        let reduce = |start: f64, f: fn(f64, f64) -> f64| -> Vec<f64> {
            columns.iter().map(|c| c.iter().copied().fold(start, f)).collect()
        };
        Ok(Self { min: reduce(f64::INFINITY, f64::min), max: reduce(f64::NEG_INFINITY, f64::max) })
    }

    /// One value of one column, scaled.
    ///
    /// # Errors
    /// A column that was not fitted.
    pub fn scale(&self, column: usize, value: f64) -> Result<f64> {
        check_column("MinMax::scale", column, self.min.len())?;
        let range = self.max[column] - self.min[column];
        Ok(if range > 0.0 { (value - self.min[column]) / range } else { 0.0 })
    }

    /// The value that scales to `scaled`; for a constant column its only value.
    ///
    /// # Errors
    /// A column that was not fitted.
    pub fn unscale(&self, column: usize, scaled: f64) -> Result<f64> {
        check_column("MinMax::unscale", column, self.min.len())?;
        Ok(self.min[column] + scaled * (self.max[column] - self.min[column]))
    }

    /// All rows scaled.
    ///
    /// # Errors
    /// Rows of another width than fitted.
    pub fn transform(&self, data: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        self.apply("MinMax::transform", data, Self::scale)
    }

    /// All rows back in their own unit.
    ///
    /// # Errors
    /// Rows of another width than fitted.
    pub fn inverse_transform(&self, data: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        self.apply("MinMax::inverse_transform", data, Self::unscale)
    }

    fn apply(
        &self,
        operation: &'static str,
        data: &[Vec<f64>],
        f: fn(&Self, usize, f64) -> Result<f64>,
    ) -> Result<Vec<Vec<f64>>> {
        let row = |row: &Vec<f64>| {
            check_width(operation, row.len(), self.min.len())?;
            row.iter().enumerate().map(|(c, &v)| f(self, c, v)).collect()
        };
        data.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_from_the_given_rows_and_constants_become_zero() {
        let data = vec![vec![2.0, 5.0], vec![4.0, 5.0], vec![100.0, -7.0]];
        let scaler = MinMax::fit(&data, &[0, 1]).unwrap();
        assert_eq!((scaler.min.clone(), scaler.max.clone()), (vec![2.0, 5.0], vec![4.0, 5.0]));
        let scaled = scaler.transform(&data).unwrap();
        assert_eq!(scaled, [[0.0, 0.0], [1.0, 0.0], [49.0, 0.0]]);
        assert_eq!(scaler.inverse_transform(&scaled[..2]).unwrap(), data[..2]);
    }

    #[test]
    fn bad_input_is_an_error() {
        let data = vec![vec![1.0], vec![f64::NAN], vec![1.0, 2.0]];
        assert!(MinMax::fit(&data, &[]).is_err());
        assert!(MinMax::fit(&data, &[3]).is_err());
        assert!(MinMax::fit(&data, &[0, 1]).unwrap_err().to_string().contains("row 1"));
        assert!(MinMax::fit(&data, &[0, 2]).is_err());
        let scaler = MinMax::fit(&data, &[0]).unwrap();
        assert!(scaler.transform(&data).is_err());
        assert!(scaler.scale(1, 0.0).is_err() && scaler.unscale(1, 0.0).is_err());
    }
}
