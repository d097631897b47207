use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What a code means to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coded {
    /// The code system, `http://loinc.org` for observations.
    pub system: String,
    /// The code.
    pub code: String,
    /// The feature that it is the value of.
    pub feature: String,
    /// The unit of that feature in UCUM; `None` for what has none: a condition or a medication, which is 1 where it is there.
    #[serde(default)]
    pub unit: Option<String>,
}

/// The codes that a model reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeMap(pub Vec<Coded>);

impl CodeMap {
    /// Reads a list of [`Coded`] in JSON.
    ///
    /// # Errors
    /// [`Error::Document`] for other text, or a code with two meanings.
    pub fn from_json(text: &str) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let map: Self = serde_json::from_str(text).map_err(|e| Error::document("code map", "JSON", e))?;
        for (i, a) in map.0.iter().enumerate() {
            if map.0[..i].iter().any(|b| a.system == b.system && a.code == b.code) {
                return Err(Error::document(
                    "code map",
                    format!("{}|{}", a.system, a.code),
                    "stands there twice",
                ));
            }
        }
        Ok(map)
    }

    /// The first of some codings that is known.
    pub(super) fn of(&self, codings: &[(String, String)]) -> Option<&Coded> {
        codings
            .iter()
            .find_map(|(system, code)| self.0.iter().find(|c| c.system == *system && c.code == *code))
    }
}
