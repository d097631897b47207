use super::{check_column, check_width, columns_of};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Standardisation of each column: `(x - mean) / sd` with the population standard deviation (divisor n), 0 for a
/// constant column.
///
/// # Reference
/// scikit-learn's `StandardScaler` uses the same divisor; for a constant column it divides by 1, to the same effect
/// on the training rows, but lets other values through unscaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ZScore {
    /// Training mean of each column.
    pub mean: Vec<f64>,
    /// Training standard deviation of each column.
    pub sd: Vec<f64>,
}

impl ZScore {
    /// Learns mean and standard deviation from the given rows.
    ///
    /// # Errors
    /// No rows, a row beyond the data, rows of different width, or values that are not finite.
    pub fn fit(data: &[Vec<f64>], rows: &[usize]) -> Result<Self> {
        let columns = columns_of("ZScore::fit", data, rows)?;
        let n = rows.len() as f64;
        let mean: Vec<f64> = columns.iter().map(|c| c.iter().sum::<f64>() / n).collect();
        let sd = columns.iter().zip(&mean).map(|(c, m)| {
            // A sum of equal numbers need not be n times one of them: a constant column is found by comparison.
            let constant = c.iter().all(|v| *v == c[0]);
            if constant { 0.0 } else { (c.iter().map(|v| (v - m).powi(2)).sum::<f64>() / n).sqrt() }
        });
        let sd = sd.collect();
        Ok(Self { mean, sd })
    }

    /// One value of one column, standardised.
    ///
    /// # Errors
    /// A column that was not fitted.
    pub fn scale(&self, column: usize, value: f64) -> Result<f64> {
        check_column("ZScore::scale", column, self.mean.len())?;
        let sd = self.sd[column];
        Ok(if sd > 0.0 { (value - self.mean[column]) / sd } else { 0.0 })
    }

    /// The value that standardises to `scaled`.
    ///
    /// # Errors
    /// A column that was not fitted.
    pub fn unscale(&self, column: usize, scaled: f64) -> Result<f64> {
        check_column("ZScore::unscale", column, self.mean.len())?;
        Ok(self.mean[column] + scaled * self.sd[column])
    }

    /// All rows standardised.
    ///
    /// # Errors
    /// Rows of another width than fitted.
    pub fn transform(&self, data: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        self.apply("ZScore::transform", data, Self::scale)
    }

    /// All rows back in their own unit.
    ///
    /// # Errors
    /// Rows of another width than fitted.
    pub fn inverse_transform(&self, data: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        self.apply("ZScore::inverse_transform", data, Self::unscale)
    }

    fn apply(
        &self,
        operation: &'static str,
        data: &[Vec<f64>],
        f: fn(&Self, usize, f64) -> Result<f64>,
    ) -> Result<Vec<Vec<f64>>> {
        let row = |row: &Vec<f64>| {
            check_width(operation, row.len(), self.mean.len())?;
            row.iter().enumerate().map(|(c, &v)| f(self, c, v)).collect()
        };
        data.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn mean_and_sd_by_hand() {
        let data = vec![vec![1.0, 0.1], vec![3.0, 0.1], vec![9.0, 0.1], vec![5.0, 4.0]];
        let scaler = ZScore::fit(&data, &[0, 1, 3]).unwrap();
        assert_eq!(scaler.mean[0], 3.0);
        assert_relative_eq!(scaler.sd[0], (8.0_f64 / 3.0).sqrt());
        let constant = ZScore::fit(&data, &[0, 1, 2]).unwrap();
        assert_eq!(constant.sd[1], 0.0);
        assert_eq!(constant.transform(&data).unwrap()[3][1], 0.0);
        assert_relative_eq!(scaler.unscale(0, scaler.scale(0, 9.0).unwrap()).unwrap(), 9.0);
        assert!(ZScore::fit(&data, &[]).is_err());
    }
}
