//! Which world a volume's positions refer to.

use serde::{Deserialize, Serialize};

/// The coordinate system that a volume's millimetres refer to.
///
/// Two DICOM objects can be overlaid only when they share the frame of reference; files without one (NIfTI)
/// carry a free description.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// DICOM FrameOfReferenceUID, if the source had one.
    pub uid: Option<String>,
    /// What the space is, e.g. `scanner`, `MNI152`.
    pub description: String,
}

impl Frame {
    /// The frame of a DICOM object.
    pub fn from_uid(uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), description: "scanner".to_owned() }
    }

    /// A space known by its name only.
    pub fn described(description: impl Into<String>) -> Self {
        Self { uid: None, description: description.into() }
    }

    /// False only where both frames have a UID and the UIDs differ.
    pub fn may_equal(&self, other: &Self) -> bool {
        match (&self.uid, &other.uid) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_different_uids_exclude_each_other() {
        let (a, b) = (Frame::from_uid("1.2"), Frame::from_uid("1.3"));
        assert!(!a.may_equal(&b));
        assert!(a.may_equal(&a) && a.may_equal(&Frame::described("MNI152")));
    }
}
