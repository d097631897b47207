//! The columns of the clinical workbook: what each holds, and when it is known.

use serde::{Deserialize, Serialize};

/// Column with the patient's identifier.
pub const ID: &str = "Patient-ID";

/// Columns known before the operation, in the workbook's order.
///
/// | column | unit or codes |
/// |---|---|
/// | `age` | years |
/// | `sex` | 1 male, 2 female |
/// | `body_mass_index` | kg/m² |
/// | `clinrisk_score` | 0 to 5 |
/// | `carcinoembryonic_antigen` | ng/ml |
/// | `max_tumor_size` | cm |
/// | all others | 0 no, 1 yes |
pub const PREOPERATIVE: [&str; 15] = [
    "age",
    "sex",
    "major_comorbidity",
    "body_mass_index",
    "node_positive_primary",
    "synchronous_crlm",
    "multiple_metastases",
    "clinrisk_score",
    "clinrisk_stratified",
    "carcinoembryonic_antigen",
    "max_tumor_size",
    "bilobar_disease",
    "extrahep_disease",
    "chemo_before_liver_resection",
    "preoperative_pve",
];

/// Columns known only from the resected specimen: using them to predict before the operation is a leak.
pub const POSTOPERATIVE: [&str; 10] = [
    "steatosis_yesno",
    "presence_sinusoidal_dilata",
    "NASH_score",
    "NASH_yesno",
    "NASH_greater_4",
    "total_response_percent",
    "necrosis_percent",
    "fibrosis_percent",
    "fibrosis_greater_40_percent",
    "mucin_percent",
];

/// Outcome columns; the times are months.
pub const OUTCOMES: [&str; 8] = [
    "overall_survival_months",
    "vital_status",
    "progression_or_recurrence",
    "months_to_DFS_progression",
    "vital_status_DFS",
    "progression_or_recurrence_liveronly",
    "months_to_liver_DFS_progression",
    "vital_status_liver_DFS",
];

/// Column with the name of the scan, which is not read.
pub(super) const SCOUT: &str = "De-identify Scout Name";

/// Column with free text about the scan.
pub const NOTES: &str = "relevant_notes";

/// Months that nobody is followed: longer times are days.
pub(super) const LONGEST: f64 = 600.0;

/// The number that stands for "not available".
pub const MISSING: f64 = -999.0;

/// The covariates that a model may see (decision S-15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FeatureSet {
    /// [`PREOPERATIVE`] and [`POSTOPERATIVE`]: for comparison only, the latter are not known at prediction time.
    All,
    /// [`PREOPERATIVE`].
    #[default]
    PreopOnly,
    /// Pre-operative columns with an established prognostic role and no column computed from others: without the
    /// clinical risk score (a sum of five of the other facts) and without comorbidity, body mass and portal vein
    /// embolisation.
    Curated,
}

impl FeatureSet {
    /// The columns, in order.
    pub fn columns(self) -> Vec<&'static str> {
        const LEFT_OUT: [&str; 5] = [
            "major_comorbidity",
            "body_mass_index",
            "clinrisk_score",
            "clinrisk_stratified",
            "preoperative_pve",
        ];
        match self {
            Self::All => PREOPERATIVE.into_iter().chain(POSTOPERATIVE).collect(),
            Self::PreopOnly => PREOPERATIVE.to_vec(),
            Self::Curated => PREOPERATIVE.into_iter().filter(|c| !LEFT_OUT.contains(c)).collect(),
        }
    }
}

/// What a covariate's cells hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content {
    /// A number from 0 to that which nobody can exceed, and its unit: more is another unit or a slip.
    UpTo(f64, &'static str),
    /// One of these codes.
    Codes(&'static [f64]),
}

impl Content {
    pub(super) fn of(column: &str) -> Self {
        match column {
            "age" => Self::UpTo(120.0, "years"),
            "body_mass_index" => Self::UpTo(150.0, "kg/m²"),
            "carcinoembryonic_antigen" => Self::UpTo(1e6, "ng/ml"),
            "max_tumor_size" => Self::UpTo(50.0, "cm"),
            "NASH_score" => Self::UpTo(8.0, "points"),
            "total_response_percent" | "necrosis_percent" | "fibrosis_percent" | "mucin_percent" => {
                Self::UpTo(100.0, "percent")
            }
            "sex" => Self::Codes(&[1.0, 2.0]),
            "clinrisk_score" => Self::Codes(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            _ => Self::Codes(&[0.0, 1.0]),
        }
    }

    /// Why a number does not belong into the column, if so.
    pub(super) fn refuse(self, value: f64) -> Option<String> {
        match self {
            Self::UpTo(most, _) if (0.0..=most).contains(&value) => None,
            Self::UpTo(most, unit) => {
                Some(format!("a number from 0 to {most} ({unit}), or -999 for missing"))
            }
            Self::Codes(codes) if codes.contains(&value) => None,
            Self::Codes(codes) => {
                let list: Vec<String> = codes.iter().map(f64::to_string).collect();
                Some(format!("one of the codes {}, or -999 for missing", list.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_known_after_the_operation_is_in_the_default_sets() {
        for set in [FeatureSet::default(), FeatureSet::PreopOnly, FeatureSet::Curated] {
            let columns = set.columns();
            assert!(columns.iter().all(|c| !POSTOPERATIVE.contains(c) && !OUTCOMES.contains(c)), "{set:?}");
            assert!(columns.iter().all(|c| PREOPERATIVE.contains(c)));
        }
        assert_eq!(FeatureSet::All.columns().len(), 25);
        assert_eq!(FeatureSet::Curated.columns().len(), 10);
    }
}
