use super::{Matrix, MedianImputer, MinMax, ZScore};
use crate::error::{Error, Result};
use oncograph_core::Table;
use serde::{Deserialize, Serialize};

/// How the filled columns are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScalerKind {
    /// [`MinMax`].
    #[default]
    MinMax,
    /// [`ZScore`].
    ZScore,
    /// As they are.
    None,
}

/// Which columns get a companion that is 1 where the value was missing and 0 elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissingFlags {
    /// Those with gaps in the training rows: a flag that is always 0 in training cannot be learned.
    #[default]
    SeenInTraining,
    /// Every column.
    All,
    /// None.
    None,
}

impl MissingFlags {
    /// The name of the companion of a column.
    pub fn column(name: &str) -> String {
        format!("{name}_missing")
    }
}

/// What a [`TabularPipeline`] does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PipelineConfig {
    /// Scaling after imputation.
    pub scaler: ScalerKind,
    /// Missing-value flags.
    pub flags: MissingFlags,
    /// Columns replaced by `ln(1 + x)` before all else, e.g. tumour markers that span several powers of ten.
    pub log1p: Vec<String>,
}

impl PipelineConfig {
    /// Median imputation with flags, then min–max scaling.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the scaling.
    pub fn scaler(mut self, scaler: ScalerKind) -> Self {
        self.scaler = scaler;
        self
    }

    /// Sets which columns get a missing-value flag.
    pub fn flags(mut self, flags: MissingFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Sets the columns to be replaced by `ln(1 + x)`.
    pub fn log1p<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.log1p = columns.into_iter().map(Into::into).collect();
        self
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fitted {
    MinMax(MinMax),
    ZScore(ZScore),
    None,
}

/// `ln(1 + x)` of chosen columns, median imputation, scaling, missing-value flags: fitted on the training rows,
/// then applied to any.
///
/// Output columns are the input columns in order, without those of which no training row has a value (of what nobody has there
/// is nothing to learn), then a column `NAME_missing` for each flag (0 or 1, not scaled).
///
/// # Example
/// ```
/// use oncograph_core::Table;
/// use oncograph_datasets::scaler::{PipelineConfig, TabularPipeline};
///
/// let rows = vec![vec![Some(50.0), Some(4.0)], vec![Some(70.0), None], vec![Some(60.0), Some(8.0)]];
/// let table = Table::numbered(vec!["age".into(), "cea".into()], rows)?;
/// let pipeline = TabularPipeline::fit(&table, &[0, 1], &PipelineConfig::new())?;
/// let scaled = pipeline.transform(&table)?;
/// assert_eq!(scaled.names, ["age", "cea", "cea_missing"]);
/// assert_eq!(scaled.rows[1], [1.0, 0.0, 1.0]);
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TabularPipeline {
    names: Vec<String>,
    /// Which of `names` are output; all that follows is about these.
    kept: Vec<usize>,
    log1p: Vec<bool>,
    flagged: Vec<usize>,
    imputer: MedianImputer,
    scaler: Fitted,
}

impl TabularPipeline {
    /// Fits on the given rows; no other row has any influence.
    ///
    /// # Errors
    /// As [`MinMax::fit`]; no column with a value in these rows, a `log1p` column that is not in the table, or a value of -1
    /// or less in one.
    pub fn fit(table: &Table, rows: &[usize], config: &PipelineConfig) -> Result<Self> {
        const OP: &str = "TabularPipeline::fit";
        let names = table.columns();
        if let Some(absent) = config.log1p.iter().find(|c| !names.contains(c)) {
            let expected = format!("among {}", names.join(", "));
            return Err(Error::argument(OP, "log1p", expected, absent));
        }
        super::check_rows(OP, table.len(), rows)?;
        let known = |column: &usize| rows.iter().any(|&row| table.row(row)[*column].is_some());
        let kept: Vec<usize> = (0..names.len()).filter(known).collect();
        if kept.is_empty() && !names.is_empty() {
            return Err(Error::argument(OP, "rows", "some value", format!("none in {}", names.join(", "))));
        }
        let log1p: Vec<bool> = kept.iter().map(|&c| config.log1p.contains(&names[c])).collect();
        // Only the training rows are ever handed on.
        let train = rows.iter().map(|&r| logged(OP, table.row(r), (&kept, &log1p)));
        let train = train.collect::<Result<Vec<_>>>()?;
        let all: Vec<usize> = (0..rows.len()).collect();
        let kept_names: Vec<String> = kept.iter().map(|&c| names[c].clone()).collect();
        let imputer = MedianImputer::fit_rows(&kept_names, &train)?;
        let filled = train.iter().map(|row| imputer.fill(row)).collect::<Result<Vec<_>>>()?;
        let scaler = match config.scaler {
            ScalerKind::MinMax => Fitted::MinMax(MinMax::fit(&filled, &all)?),
            ScalerKind::ZScore => Fitted::ZScore(ZScore::fit(&filled, &all)?),
            ScalerKind::None => Fitted::None,
        };
        let flagged = (0..kept.len()).filter(|&c| match config.flags {
            MissingFlags::SeenInTraining => imputer.had_missing[c],
            MissingFlags::All => true,
            MissingFlags::None => false,
        });
        let flagged = flagged.collect();
        Ok(Self { names: names.to_vec(), kept, log1p, flagged, imputer, scaler })
    }

    /// Names of the output columns.
    pub fn output_names(&self) -> Vec<String> {
        let kept: Vec<&String> = self.kept.iter().map(|&c| &self.names[c]).collect();
        let flags = self.flagged.iter().map(|&c| MissingFlags::column(kept[c]));
        kept.iter().map(|name| (*name).clone()).chain(flags).collect()
    }

    /// All rows of a table with the columns that were fitted.
    ///
    /// # Errors
    /// Other columns than fitted, or a value of -1 or less in a `log1p` column.
    pub fn transform(&self, table: &Table) -> Result<Matrix> {
        const OP: &str = "TabularPipeline::transform";
        if table.columns() != self.names {
            return Err(Error::argument(OP, "columns", self.names.join(", "), table.columns().join(", ")));
        }
        let filled = |row| self.imputer.fill(&logged(OP, row, (&self.kept, &self.log1p))?);
        let filled = table.rows().map(filled).collect::<Result<Vec<_>>>()?;
        let mut rows = match &self.scaler {
            Fitted::MinMax(scaler) => scaler.transform(&filled)?,
            Fitted::ZScore(scaler) => scaler.transform(&filled)?,
            Fitted::None => filled,
        };
        for (row, source) in rows.iter_mut().zip(table.rows()) {
            row.extend(self.flagged.iter().map(|&c| f64::from(u8::from(source[self.kept[c]].is_none()))));
        }
        Ok(Matrix { names: self.output_names(), rows })
    }
}

/// The `kept` columns of a row, with the logarithm of those that have it.
fn logged(
    operation: &'static str,
    row: &[Option<f64>],
    (kept, log1p): (&[usize], &[bool]),
) -> Result<Vec<Option<f64>>> {
    let value = |(&column, &log): (&usize, &bool)| match &row[column] {
        Some(v) if log && *v <= -1.0 => Err(Error::argument(operation, "log1p", "greater than -1", v)),
        Some(v) if log => Ok(Some(v.ln_1p())),
        other => Ok(*other),
    };
    kept.iter().zip(log1p).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    const COLUMNS: [&str; 3] = ["age", "cea", "same"];

    fn rows() -> Vec<Vec<Option<f64>>> {
        vec![
            vec![Some(50.0), Some(4.0), Some(1.0)],
            vec![Some(70.0), None, Some(1.0)],
            vec![Some(60.0), Some(8.0), Some(1.0)],
            vec![Some(90.0), Some(1000.0), None],
        ]
    }

    fn table_of(columns: [&str; 3], rows: Vec<Vec<Option<f64>>>) -> Table {
        Table::numbered(columns.map(str::to_owned).to_vec(), rows).unwrap()
    }

    fn table() -> Table {
        table_of(COLUMNS, rows())
    }

    #[test]
    fn rows_that_are_not_in_training_have_no_influence() {
        let configs = [
            PipelineConfig::new().log1p(["cea"]),
            PipelineConfig::new().scaler(ScalerKind::ZScore),
            PipelineConfig::new().scaler(ScalerKind::None).flags(MissingFlags::All),
        ];
        for config in configs {
            let fitted = TabularPipeline::fit(&table(), &[0, 1, 2], &config).unwrap();
            // A value below -1 has no logarithm: in a training row of `cea` it would be an error.
            for change in [Some(-0.5), Some(1e9), Some(-1e9), None] {
                let mut changed = rows();
                changed[3] = vec![change; 3];
                let changed = table_of(COLUMNS, changed);
                assert_eq!(TabularPipeline::fit(&changed, &[0, 1, 2], &config).unwrap(), fitted);
            }
            // The check can fail: the same change in a training row does alter the state.
            let mut changed = rows();
            changed[2][0] = Some(1e9);
            let changed = table_of(COLUMNS, changed);
            assert_ne!(TabularPipeline::fit(&changed, &[0, 1, 2], &config).unwrap(), fitted);
        }
    }

    #[test]
    fn values_by_hand_and_serde_round_trip() {
        let config = PipelineConfig::new().log1p(["cea"]);
        let fitted = TabularPipeline::fit(&table(), &[0, 1, 2], &config).unwrap();
        let out = fitted.transform(&table()).unwrap();
        assert_eq!(out.names, ["age", "cea", "same", "cea_missing"]);
        let median = 0.5 * (5.0_f64.ln() + 9.0_f64.ln());
        let scaled = (median - 5.0_f64.ln()) / (9.0_f64.ln() - 5.0_f64.ln());
        assert_relative_eq!(out.rows[1][1], scaled, epsilon = 1e-12);
        assert_eq!((out.rows[1][3], out.rows[3][0], out.rows[3][2]), (1.0, 2.0, 0.0));
        let json = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<TabularPipeline>(&json).unwrap(), fitted);
        assert_eq!(out.to_f32().len(), 16);
    }

    #[test]
    fn columns_of_which_no_training_row_has_a_value_are_left_out() {
        let mut rows = rows();
        (rows[0][1], rows[2][1]) = (None, None);
        let table = table_of(COLUMNS, rows);
        let config = PipelineConfig::new().log1p(["cea"]).flags(MissingFlags::All);
        let fitted = TabularPipeline::fit(&table, &[0, 1, 2], &config).unwrap();
        let out = fitted.transform(&table).unwrap();
        // The row that has the value is treated as the others.
        assert_eq!(out.names, ["age", "same", "age_missing", "same_missing"]);
        assert_eq!(out.rows[3], [2.0, 0.0, 0.0, 1.0]);
        let empty = table_of(COLUMNS, vec![vec![None; 3]; 2]);
        let error = TabularPipeline::fit(&empty, &[0, 1], &PipelineConfig::new()).unwrap_err().to_string();
        assert!(error.contains("some value") && error.contains("age, cea, same"), "{error}");
    }

    #[test]
    fn other_columns_and_unknown_log_columns_are_errors() {
        let fitted = TabularPipeline::fit(&table(), &[0, 1, 2], &PipelineConfig::new()).unwrap();
        let other = table_of(["cea", "age", "same"], rows());
        assert!(fitted.transform(&other).is_err());
        let config = PipelineConfig::new().log1p(["weight"]);
        assert!(TabularPipeline::fit(&table(), &[0], &config).unwrap_err().to_string().contains("weight"));
    }
}
