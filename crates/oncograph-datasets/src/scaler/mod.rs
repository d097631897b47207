//! Imputation and scaling of tables, fitted on the training rows only.
//!
//! Tables with gaps are [`Table`](oncograph_core::Table)s; once filled they are rows of numbers. Every `fit` takes the
//! rows to learn from; the others are never looked at. The fitted state is plain data that serializes with serde, so
//! that it can travel with a model.

mod median_imputer;
mod min_max;
mod pipeline;
mod z_score;

pub use median_imputer::MedianImputer;
pub use min_max::MinMax;
pub use pipeline::{MissingFlags, PipelineConfig, ScalerKind, TabularPipeline};
pub use z_score::ZScore;

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A table of numbers without gaps: `rows[patient][column]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// Column names.
    pub names: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<f64>>,
}

impl Matrix {
    /// All values row after row as `f32`, for a tensor of shape (rows, columns).
    pub fn to_f32(&self) -> Vec<f32> {
        self.rows.iter().flatten().map(|v| *v as f32).collect()
    }
}

/// The columns of the chosen rows, each checked to be finite and of `width` (the first row's by default).
fn columns_of(operation: &'static str, data: &[Vec<f64>], rows: &[usize]) -> Result<Vec<Vec<f64>>> {
    let width = data.first().map_or(0, Vec::len);
    check_rows(operation, data.len(), rows)?;
    let mut columns = vec![Vec::with_capacity(rows.len()); width];
    for &row in rows {
        check_width(operation, data[row].len(), width)?;
        for (column, &value) in columns.iter_mut().zip(&data[row]) {
            if !value.is_finite() {
                return Err(Error::argument(operation, "data", "finite", format!("{value} in row {row}")));
            }
            column.push(value);
        }
    }
    Ok(columns)
}

fn check_rows(operation: &'static str, count: usize, rows: &[usize]) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::argument(operation, "rows", "at least one row", 0));
    }
    match rows.iter().find(|r| **r >= count) {
        Some(row) => Err(Error::argument(operation, "rows", format!("below {count}"), row)),
        None => Ok(()),
    }
}

fn check_width(operation: &'static str, got: usize, expected: usize) -> Result<()> {
    match got == expected {
        true => Ok(()),
        false => Err(Error::argument(operation, "columns", expected.to_string(), got)),
    }
}

fn check_column(operation: &'static str, column: usize, width: usize) -> Result<()> {
    match column < width {
        true => Ok(()),
        false => Err(Error::argument(operation, "column", format!("below {width}"), column)),
    }
}
