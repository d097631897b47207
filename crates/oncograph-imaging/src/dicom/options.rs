//! What is read of a folder.

use super::frames::DISCRIMINATORS;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which images are read and how even their slices must be. The default is strict: what is unclear is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SeriesOptions {
    /// SeriesInstanceUID; needed only where there are several.
    pub series_uid: Option<String>,
    /// Largest deviation of a slice from its even place, as a fraction of the slice spacing. Default 0.01.
    pub spacing_tolerance: f64,
    /// The values that images must have, by keyword, where a series holds several volumes; see
    /// [`select`](Self::select).
    pub select: BTreeMap<String, String>,
    /// Leave out files that cannot be read instead of failing; [`Series::notes`](super::Series::notes) names them.
    pub skip_unreadable: bool,
    /// The value that pixels outside of the image (PixelPaddingValue) get; `None` leaves them as they are stored.
    pub padding: Option<f32>,
}

impl Default for SeriesOptions {
    fn default() -> Self {
        Self {
            series_uid: None,
            spacing_tolerance: 0.01,
            select: BTreeMap::new(),
            skip_unreadable: false,
            padding: None,
        }
    }
}

impl SeriesOptions {
    /// The only series, slices even to 1 %.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses a series.
    pub fn series_uid(mut self, uid: impl Into<String>) -> Self {
        self.series_uid = Some(uid.into());
        self
    }

    /// Sets the tolerated deviation as a fraction of the spacing.
    pub fn spacing_tolerance(mut self, fraction: f64) -> Self {
        self.spacing_tolerance = fraction;
        self
    }

    /// Reads only images with this value of an attribute, named by its keyword: `AcquisitionNumber`, `EchoNumbers`,
    /// `EchoTime`, `TemporalPositionIdentifier`, `DiffusionBValue`, `ImageType` (values with `\` between them, or one of
    /// them), `ConvolutionKernel`, `TriggerTime`, `AcquisitionTime`, or `Plane` (`axial`, `coronal`, `sagittal`). Several narrow the choice down.
    pub fn select(mut self, keyword: impl Into<String>, value: impl ToString) -> Self {
        self.select.insert(keyword.into(), value.to_string());
        self
    }

    /// Reads only one acquisition of the series (AcquisitionNumber).
    pub fn acquisition(self, number: i64) -> Self {
        self.select("AcquisitionNumber", number)
    }

    /// Reads only one echo of the series (EchoNumbers).
    pub fn echo(self, number: i64) -> Self {
        self.select("EchoNumbers", number)
    }

    /// Sets [`skip_unreadable`](Self::skip_unreadable).
    pub fn skip_unreadable(mut self, skip: bool) -> Self {
        self.skip_unreadable = skip;
        self
    }

    /// Sets [`padding`](Self::padding), e.g. -1024 for a CT.
    pub fn padding(mut self, value: f32) -> Self {
        self.padding = Some(value);
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A tolerance outside 0 to 0.5, a keyword that [`select`](Self::select) does not know, or a padding that is not finite.
    pub fn validate(&self) -> Result<()> {
        let refuse = |argument: &'static str, expected: String, got: String| {
            Err(Error::argument("dicom::read_series", argument, expected, got))
        };
        if !(0.0..=0.5).contains(&self.spacing_tolerance) {
            return refuse("spacing_tolerance", "0 to 0.5".into(), self.spacing_tolerance.to_string());
        }
        if let Some(unknown) = self.select.keys().find(|k| !DISCRIMINATORS.contains(&k.as_str())) {
            return refuse("select", format!("one of {}", DISCRIMINATORS.join(", ")), unknown.clone());
        }
        if self.padding.is_some_and(|value| !value.is_finite()) {
            return refuse("padding", "a finite number".into(), format!("{:?}", self.padding));
        }
        Ok(())
    }
}
