use serde::{Deserialize, Serialize};
use std::fmt;

/// A labelled structure of the cohort's segmentations.
///
/// Masks overlap: the liver contains the remnant, the vessels and the tumours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Structure {
    /// The whole liver.
    Liver,
    /// The part of the liver that stays after the planned resection.
    LiverRemnant,
    /// The hepatic veins.
    HepaticVeins,
    /// The portal veins.
    PortalVeins,
    /// The k-th tumour, from 1.
    Tumor(u16),
}

impl Structure {
    /// The structures that a complete segmentation has: all four others and at least the first tumour.
    pub const EXPECTED: [Self; 5] =
        [Self::Liver, Self::LiverRemnant, Self::HepaticVeins, Self::PortalVeins, Self::Tumor(1)];

    /// The structure of a DICOM SegmentLabel (`Liver`, `Liver Remnant`, `Hepatic`, `Portal`, `Tumor_1` ...) or of
    /// a [file stem](Self::file_stem), without regard to case and to the choice of space, hyphen or underscore.
    ///
    /// # Example
    /// ```
    /// use oncograph_datasets::crlm::Structure;
    ///
    /// assert_eq!(Structure::from_label("Liver Remnant"), Some(Structure::LiverRemnant));
    /// assert_eq!(Structure::from_label("tumor_12"), Some(Structure::Tumor(12)));
    /// assert_eq!(Structure::from_label("Spleen"), None);
    /// ```
    pub fn from_label(label: &str) -> Option<Self> {
        let name = label.trim().to_ascii_lowercase().replace([' ', '-'], "_");
        match name.as_str() {
            "liver" => Some(Self::Liver),
            "liver_remnant" => Some(Self::LiverRemnant),
            "hepatic" => Some(Self::HepaticVeins),
            "portal" => Some(Self::PortalVeins),
            other => {
                let number =
                    other.strip_prefix("tumor_").filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
                number.parse().ok().filter(|k| *k > 0).map(Self::Tumor)
            }
        }
    }

    /// The label in the collection's DICOM SEG objects.
    pub fn label(self) -> String {
        match self {
            Self::Liver => "Liver".to_owned(),
            Self::LiverRemnant => "Liver Remnant".to_owned(),
            Self::HepaticVeins => "Hepatic".to_owned(),
            Self::PortalVeins => "Portal".to_owned(),
            Self::Tumor(k) => format!("Tumor_{k}"),
        }
    }

    /// The name of the mask file without `.nii.gz`, e.g. `liver_remnant`, `tumor_1`.
    pub fn file_stem(self) -> String {
        self.label().to_ascii_lowercase().replace(' ', "_")
    }

    /// True for a tumour.
    pub fn is_tumor(self) -> bool {
        matches!(self, Self::Tumor(_))
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

impl From<Structure> for String {
    fn from(structure: Structure) -> Self {
        structure.file_stem()
    }
}

impl TryFrom<String> for Structure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::from_label(&text).ok_or_else(|| format!("unknown structure `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_stems_round_trip() {
        for structure in Structure::EXPECTED.into_iter().chain([Structure::Tumor(17)]) {
            assert_eq!(Structure::from_label(&structure.label()), Some(structure));
            assert_eq!(Structure::from_label(&structure.file_stem()), Some(structure));
            let json = serde_json::to_string(&structure).unwrap();
            assert_eq!(serde_json::from_str::<Structure>(&json).unwrap(), structure);
        }
        for bad in ["", "Tumor", "tumor_0", "tumor_+1", "tumor_99999", "liver2"] {
            assert_eq!(Structure::from_label(bad), None, "{bad}");
        }
    }
}
