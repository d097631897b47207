use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which columns are kept (M-02, `select`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All.
    All,
    /// Those with the largest variance in the training rows (after `log1p`), in the table's order.
    Variance(usize),
    /// Those named; names that the table lacks are left out.
    List(Vec<String>),
}

/// Configuration of an [`OmicsScaler`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OmicsScalerConfig {
    /// Which columns are kept (M-02).
    pub select: Selection,
    /// Whether values are replaced by ln(1 + x) first; for counts.
    pub log1p: bool,
}

impl OmicsScalerConfig {
    /// The `n` columns of the largest variance, as they are.
    pub fn new(n: usize) -> Self {
        OmicsScalerConfig { select: Selection::Variance(n), log1p: false }
    }

    /// Sets which columns are kept.
    pub fn select(mut self, select: Selection) -> Self {
        self.select = select;
        self
    }

    /// Sets whether ln(1 + x) is taken first.
    pub fn log1p(mut self, log1p: bool) -> Self {
        self.log1p = log1p;
        self
    }
}

/// Column selection, median imputation and z-scores, fitted on the training rows alone; saved with the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OmicsScaler {
    /// The names of the columns that are kept.
    pub features: Vec<String>,
    /// Their positions in the table.
    pub columns: Vec<usize>,
    log1p: bool,
    median: Vec<f32>,
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl OmicsScaler {
    /// Fits on the rows `train` of those that are there. A column without a training value, or with one value only, is
    /// not kept.
    ///
    /// # Errors
    /// [`Error::Argument`] if no training row or no column is left, or a value to take the logarithm of is below -1.
    pub fn fit(
        features: &[String],
        rows: &[Option<Vec<f32>>],
        train: &[usize],
        config: &OmicsScalerConfig,
    ) -> Result<Self> {
        const OP: &str = "OmicsScaler::fit";
        let seen: Vec<&Vec<f32>> = train.iter().filter_map(|&i| rows[i].as_ref()).collect();
        if seen.is_empty() {
            return Err(Error::argument(OP, "train", "with at least one row that is there", 0));
        }
        if config.log1p && seen.iter().any(|r| r.iter().any(|v| *v <= -1.0)) {
            return Err(Error::argument(OP, "log1p", "of values above -1", "a smaller one"));
        }
        let fitted: Vec<Option<[f64; 4]>> =
            (0..features.len()).map(|c| column(&seen, c, config.log1p)).collect();
        let mut columns: Vec<usize> = (0..features.len()).filter(|&c| fitted[c].is_some()).collect();
        match &config.select {
            Selection::All => {}
            Selection::List(names) => columns.retain(|&c| names.contains(&features[c])),
            Selection::Variance(n) => {
                let variance = |c: &usize| fitted[*c].map_or(0.0, |f| f[3]);
                columns.sort_by(|a, b| variance(b).total_cmp(&variance(a)).then(a.cmp(b)));
                columns.truncate(*n);
                columns.sort_unstable();
            }
        }
        if columns.is_empty() {
            return Err(Error::argument(OP, "features", "at least one with two training values", 0));
        }
        let statistic = |k: usize| columns.iter().map(|&c| fitted[c].map_or(0.0, |f| f[k]) as f32).collect();
        Ok(OmicsScaler {
            features: columns.iter().map(|&c| features[c].clone()).collect(),
            log1p: config.log1p,
            median: statistic(0),
            mean: statistic(1),
            inverse: statistic(2),
            columns,
        })
    }

    /// Whether its parts fit each other and rows of `width` values, for a scaler that comes from a file.
    pub fn fits(&self, width: usize) -> bool {
        let n = self.columns.len();
        let parts = [self.features.len(), self.median.len(), self.mean.len(), self.inverse.len()];
        parts.iter().all(|len| *len == n) && self.columns.iter().all(|c| *c < width)
    }

    /// z-scores of the kept columns; a missing value becomes the training median's.
    pub fn transform(&self, row: &[f32]) -> Vec<f32> {
        let one = |(k, &c): (usize, &usize)| {
            let v = row[c];
            let v = match (v.is_nan(), self.log1p) {
                (true, _) => self.median[k],
                (false, true) => v.max(-0.999_999).ln_1p(),
                (false, false) => v,
            };
            (v - self.mean[k]) * self.inverse[k]
        };
        self.columns.iter().enumerate().map(one).collect()
    }
}

/// Median, mean, 1 / standard deviation and variance of a column's observed values.
fn column(rows: &[&Vec<f32>], c: usize, log1p: bool) -> Option<[f64; 4]> {
    let observed = rows.iter().map(|r| f64::from(r[c])).filter(|v| !v.is_nan());
    let mut v: Vec<f64> = observed.map(|v| if log1p { v.ln_1p() } else { v }).collect();
    if v.len() < 2 {
        return None;
    }
    v.sort_by(f64::total_cmp);
    let n = v.len();
    let median = 0.5 * (v[(n - 1) / 2] + v[n / 2]);
    let mean = v.iter().sum::<f64>() / n as f64;
    let variance = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
    (variance > 1e-12).then(|| [median, mean, 1.0 / variance.sqrt(), variance])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Vec<String>, Vec<Option<Vec<f32>>>) {
        let names = ["a", "b", "constant", "c"].map(String::from).to_vec();
        let rows = vec![
            Some(vec![0.0, 0.0, 1.0, 10.0]),
            Some(vec![2.0, f32::NAN, 1.0, 30.0]),
            None,
            Some(vec![4.0, 1.0, 1.0, 20.0]),
            Some(vec![1e6, 1e6, 5.0, 0.0]),
        ];
        (names, rows)
    }

    #[test]
    fn the_training_rows_alone_decide() {
        let (names, mut rows) = table();
        let config = OmicsScalerConfig::new(2);
        let scaler = OmicsScaler::fit(&names, &rows, &[0, 1, 2, 3], &config).unwrap();
        assert_eq!(scaler.features, ["a", "c"]);
        let z = scaler.transform(&[2.0, 0.0, 0.0, f32::NAN]);
        assert_eq!(z, [0.0, 0.0]);
        assert!(scaler.fits(4) && !scaler.fits(3));
        rows[4] = None;
        assert_eq!(OmicsScaler::fit(&names, &rows, &[0, 1, 2, 3], &config).unwrap(), scaler);
        let all = OmicsScaler::fit(&names, &rows, &[0, 1, 3], &config.select(Selection::All)).unwrap();
        assert_eq!(all.features, ["a", "b", "c"]);
        assert!(OmicsScaler::fit(&names, &rows, &[2], &OmicsScalerConfig::new(2)).is_err());
    }
}
