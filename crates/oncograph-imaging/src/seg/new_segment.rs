//! What is written: segments, their codes, and who made them.

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
}
