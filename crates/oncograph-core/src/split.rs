use crate::Argument;
use serde::{Deserialize, Serialize};

/// Which rows are fitted on, which choose the model, and which are held out.
///
/// # Example
/// ```
/// use oncograph_core::Split;
///
/// let split = Split::new(vec![0, 2], vec![3], vec![1]);
/// split.check(4)?;
/// assert!(Split::new(vec![0], vec![], vec![0]).check(4).is_err());
/// # Ok::<(), oncograph_core::Argument>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to choose the model on, for example to stop training; may be empty.
    pub validation: Vec<usize>,
    /// Rows for the final number.
    pub test: Vec<usize>,
}

impl Split {
    /// A split into three lists of rows.
    pub fn new(train: Vec<usize>, validation: Vec<usize>, test: Vec<usize>) -> Self {
        Split { train, validation, test }
    }

    /// Checks that there is something to fit on, that all rows are below `rows`, and that no row has two roles.
    ///
    /// # Errors
    /// [`Argument`] names the list and the row.
    pub fn check(&self, rows: usize) -> Result<(), Argument> {
        if self.train.is_empty() {
            return Err(Argument::new("Split", "train", "at least one row", "none"));
        }
        let lists = [("train", &self.train), ("validation", &self.validation), ("test", &self.test)];
        let mut role = vec![None; rows];
        for (name, list) in lists {
            for &row in list {
                let Some(taken) = role.get_mut(row) else {
                    return Err(Argument::new("Split", name, format!("rows below {rows}"), row));
                };
                if let Some(other) = taken.replace(name) {
                    return Err(Argument::new(
                        "Split",
                        name,
                        "rows that no other list has",
                        format!("row {row}, which is in {other}"),
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_list_and_row() {
        let text = |s: Split| s.check(3).unwrap_err().to_string();
        assert!(text(Split::new(vec![0, 1], vec![1], vec![])).contains("validation"));
        assert!(text(Split::new(vec![0, 0], vec![], vec![])).contains("row 0, which is in train"));
        assert!(text(Split::new(vec![0], vec![], vec![3])).contains("rows below 3, got 3"));
        assert!(text(Split::default()).contains("at least one row"));
    }
}
