use oncograph_core::Argument;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What the values of a covariate are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CovariateKind {
    /// A number, for example an age in years.
    Number,
    /// One of several levels without an order: a column of zeros and ones for each.
    Category,
    /// One of several levels from the least to the most: 1 for the first, 2 for the second.
    Ordered,
}

/// A value of a covariate as people write it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CovariateValue {
    /// A number.
    Number(f64),
    /// A level by its name.
    Text(String),
}

impl CovariateValue {
    fn text(&self) -> Cow<'_, str> {
        match self {
            CovariateValue::Number(value) => value.to_string().into(),
            CovariateValue::Text(text) => text.into(),
        }
    }
}

impl From<f64> for CovariateValue {
    fn from(value: f64) -> Self {
        CovariateValue::Number(value)
    }
}

impl From<&str> for CovariateValue {
    fn from(text: &str) -> Self {
        CovariateValue::Text(text.into())
    }
}

/// A covariate of a patient, and how it becomes the numbers of a table.
///
/// # Example
/// ```
/// use oncograph_datasets::omics::{CovariateKind, OmicsCovariate};
///
/// let sex = OmicsCovariate::new("sex", CovariateKind::Category).levels(["F", "M"]).mask(true);
/// assert_eq!(sex.columns(), ["sex = F", "sex = M", "sex is missing"]);
/// assert_eq!(sex.encode(Some(&"M".into()))?, [Some(0.0), Some(1.0), Some(0.0)]);
/// assert_eq!(sex.encode(None)?, [None, None, Some(1.0)]);
/// assert!(sex.encode(Some(&"m".into())).is_err());
/// # Ok::<(), oncograph_core::Argument>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OmicsCovariate {
    /// Its name, in a cohort folder that of its column.
    pub name: String,
    /// What its values are.
    pub kind: CovariateKind,
    /// The names of its levels, of an ordered one from the least to the most; none of a number.
    #[serde(default)]
    pub levels: Vec<String>,
    /// Whether a further column is 1 where the value is missing and else 0; true in a cohort folder.
    #[serde(default = "yes")]
    pub mask: bool,
}

fn yes() -> bool {
    true
}

impl OmicsCovariate {
    /// A covariate without levels and without a mask.
    pub fn new(name: impl Into<String>, kind: CovariateKind) -> Self {
        OmicsCovariate { name: name.into(), kind, levels: vec![], mask: false }
    }

    /// Numbers of these names, without masks.
    pub fn numbers<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        names.into_iter().map(|name| Self::new(name, CovariateKind::Number)).collect()
    }

    /// Sets the levels.
    pub fn levels<S: Into<String>>(mut self, levels: impl IntoIterator<Item = S>) -> Self {
        self.levels = levels.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether there is a mask.
    pub fn mask(mut self, mask: bool) -> Self {
        self.mask = mask;
        self
    }

    /// Checks that a number has no levels and anything else at least two, each once.
    ///
    /// # Errors
    /// [`Argument`] with the covariate's name.
    pub fn validate(&self) -> Result<(), Argument> {
        let mut distinct = self.levels.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let (fits, expected) = match self.kind {
            CovariateKind::Number => (self.levels.is_empty(), "none: it is a number"),
            _ => (self.levels.len() >= 2 && distinct.len() == self.levels.len(), "two or more, each once"),
        };
        match fits && !self.name.trim().is_empty() {
            true => Ok(()),
            false => {
                let field = format!("levels of {:?}", self.name);
                Err(Argument::new("covariates", field, expected, self.levels.join(", ")))
            }
        }
    }

    /// The names of its columns in a table.
    pub fn columns(&self) -> Vec<String> {
        let mut names = match self.kind {
            CovariateKind::Category => self.levels.iter().map(|l| format!("{} = {l}", self.name)).collect(),
            _ => vec![self.name.clone()],
        };
        if self.mask {
            names.push(format!("{} is missing", self.name));
        }
        names
    }

    /// The cells of its columns; `None` for what is to be imputed.
    ///
    /// # Errors
    /// [`Argument`] for a text in place of a number, and a level that there is not.
    pub fn encode(&self, value: Option<&CovariateValue>) -> Result<Vec<Option<f64>>, Argument> {
        let refused = |expected: String, got: &CovariateValue| {
            Argument::new("covariates", self.name.clone(), expected, got.text())
        };
        let level = |value: &CovariateValue| match self.levels.iter().position(|l| *l == value.text()) {
            Some(at) => Ok(at),
            None => Err(refused(format!("one of {}", self.levels.join(", ")), value)),
        };
        let mut cells = match (self.kind, value) {
            (CovariateKind::Number | CovariateKind::Ordered, None) => vec![None],
            (CovariateKind::Category, None) => vec![None; self.levels.len()],
            (CovariateKind::Number, Some(CovariateValue::Number(v))) if v.is_finite() => vec![Some(*v)],
            (CovariateKind::Number, Some(other)) => return Err(refused("a finite number".into(), other)),
            (CovariateKind::Ordered, Some(value)) => vec![Some((level(value)? + 1) as f64)],
            (CovariateKind::Category, Some(value)) => {
                let at = level(value)?;
                (0..self.levels.len()).map(|l| Some(f64::from(u8::from(l == at)))).collect()
            }
        };
        if self.mask {
            cells.push(Some(f64::from(u8::from(value.is_none()))));
        }
        Ok(cells)
    }

    /// The value that [`OmicsCovariate::encode`] made `cells` of; `None` where it is missing.
    pub fn decode(&self, cells: &[Option<f64>]) -> Option<CovariateValue> {
        let level = |at: usize| self.levels.get(at).map(|l| CovariateValue::Text(l.clone()));
        match self.kind {
            CovariateKind::Number => cells.first().copied().flatten().map(CovariateValue::Number),
            CovariateKind::Ordered => level((cells.first().copied().flatten()? as usize).checked_sub(1)?),
            CovariateKind::Category => {
                level(cells.iter().take(self.levels.len()).position(|c| *c == Some(1.0))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_what_is_none_is_refused() {
        let stage = OmicsCovariate::new("stage", CovariateKind::Ordered).levels(["1", "2", "3"]);
        let sex = OmicsCovariate::new("sex", CovariateKind::Category).levels(["F", "M"]).mask(true);
        let age = OmicsCovariate::new("age", CovariateKind::Number).mask(true);
        for (covariate, value) in
            [(&stage, "3".into()), (&sex, "F".into()), (&age, CovariateValue::Number(61.5))]
        {
            covariate.validate().unwrap();
            for value in [Some(value), None] {
                let cells = covariate.encode(value.as_ref()).unwrap();
                assert_eq!((cells.len(), covariate.decode(&cells)), (covariate.columns().len(), value));
            }
        }
        // A workbook has the number 2 where a text file has the text.
        assert_eq!(stage.encode(Some(&2.0.into())).unwrap(), [Some(2.0)]);
        let error = |c: &OmicsCovariate, v: CovariateValue| c.encode(Some(&v)).unwrap_err().to_string();
        assert_eq!(error(&sex, "male".into()), "covariates: sex must be one of F, M, got male");
        assert_eq!(error(&age, "old".into()), "covariates: age must be a finite number, got old");
        assert!(OmicsCovariate::new("sex", CovariateKind::Category).levels(["F", "F"]).validate().is_err());
        assert!(age.levels(["1"]).validate().is_err());
    }
}
