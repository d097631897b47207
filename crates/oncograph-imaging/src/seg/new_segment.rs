//! What is written: segments, their codes, and who made them.

use crate::error::{Error, Result};

/// A coded concept: value, coding scheme, meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Code {
    /// CodeValue, e.g. `10200004`.
    pub value: String,
    /// CodingSchemeDesignator, e.g. `SCT`.
    pub scheme: String,
    /// CodeMeaning, e.g. `Liver`.
    pub meaning: String,
}

impl Code {
    /// A concept of any coding scheme.
    pub fn new(value: impl Into<String>, scheme: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { value: value.into(), scheme: scheme.into(), meaning: meaning.into() }
    }

    /// SNOMED CT: an organ.
    pub fn organ() -> Self {
        Self::new("91772007", "SCT", "Organ")
    }

    /// SNOMED CT: tissue.
    pub fn tissue() -> Self {
        Self::new("85756007", "SCT", "Tissue")
    }

    /// SNOMED CT: a morphologically abnormal structure, the category of lesions.
    pub fn abnormality() -> Self {
        Self::new("49755003", "SCT", "Morphologically Abnormal Structure")
    }
}

/// A segment to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NewSegment {
    /// SegmentLabel.
    pub label: String,
    /// Property category, e.g. organ.
    pub category: Code,
    /// Property type, e.g. liver.
    pub property: Code,
    /// Name of the algorithm, or `None` for a segment drawn by hand.
    pub algorithm: Option<String>,
}

impl NewSegment {
    /// A manual segment.
    pub fn new(label: impl Into<String>, category: Code, property: Code) -> Self {
        Self { label: label.into(), category, property, algorithm: None }
    }

    /// Names the algorithm that made the segment (SegmentAlgorithmType AUTOMATIC).
    pub fn algorithm(mut self, name: impl Into<String>) -> Self {
        self.algorithm = Some(name.into());
        self
    }
}

/// Who made the object and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WriteOptions {
    /// SeriesDescription and ContentDescription.
    pub description: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// ContentDate (`YYYYMMDD`) and ContentTime (`HHMMSS`); the study's own by default, so that the same input
    /// gives the same file.
    pub content_time: Option<(String, String)>,
    /// SeriesInstanceUID and SOPInstanceUID; derived from the content by default.
    pub uids: Option<(String, String)>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        let text = || "oncograph".to_owned();
        Self { description: "Segmentation".to_owned(), manufacturer: text(), content_time: None, uids: None }
    }
}

impl WriteOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the description.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Sets date (`YYYYMMDD`) and time (`HHMMSS`) of the content.
    pub fn content_time(mut self, date: impl Into<String>, time: impl Into<String>) -> Self {
        self.content_time = Some((date.into(), time.into()));
        self
    }

    /// Sets the SeriesInstanceUID and the SOPInstanceUID.
    pub fn uids(mut self, series: impl Into<String>, instance: impl Into<String>) -> Self {
        self.uids = Some((series.into(), instance.into()));
        self
    }
    /// Checks that date, time and UIDs are written as DICOM requires.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first that is not.
    pub fn validate(&self) -> Result<()> {
        let check = |argument: &'static str, value: &str, holds: fn(&str) -> bool, expected: &str| {
            if holds(value) {
                return Ok(());
            }
            Err(Error::argument("seg::write", argument, expected, format!("{value:?}")))
        };
        if let Some((date, time)) = &self.content_time {
            check("content date", date, is_date, "YYYYMMDD")?;
            check("content time", time, is_time, "HHMMSS, with or without a fraction")?;
        }
        if let Some((series, instance)) = &self.uids {
            check("series UID", series, is_uid, "numbers between dots, at most 64 characters")?;
            check("instance UID", instance, is_uid, "numbers between dots, at most 64 characters")?;
        }
        Ok(())
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && is_number(text)
}

fn is_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    whole.len() == 6 && is_number(whole) && fraction.len() <= 6 && is_number(fraction)
}

fn is_uid(text: &str) -> bool {
    text.len() <= 64 && text.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_time_and_uids_are_checked() {
        let options = WriteOptions::new;
        options().content_time("20260131", "235959.5").uids("1.2.3", "2.25.7").validate().unwrap();
        let error = |options: WriteOptions| options.validate().unwrap_err().to_string();
        let late = error(options().content_time("31.01.2026", "000000"));
        assert_eq!(late, "seg::write: content date must be YYYYMMDD, got \"31.01.2026\"");
        assert!(error(options().content_time("20260131", "12:00")).contains("content time"));
        assert!(error(options().uids("1..2", "1")).contains("series UID"));
        assert!(error(options().uids("1.2", "1".repeat(65))).contains("instance UID"));
    }
}
