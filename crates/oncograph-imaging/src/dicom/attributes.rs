//! Attributes of a data set, with errors that name the file and the attribute.

use crate::error::{Error, Result};
use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use std::path::Path;

/// A data set (or an item of a sequence) and the file that it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub set: &'a InMemDicomObject,
    pub path: &'a Path,
}

impl<'a> Attributes<'a> {
    pub fn new(set: &'a InMemDicomObject, path: &'a Path) -> Self {
        Self { set, path }
    }

    /// The error for an attribute that must be there.
    pub fn missing(&self, tag: Tag) -> Error {
        Error::missing_attribute(self.path, &name_of(tag))
    }

    pub fn element(&self, tag: Tag) -> Option<&'a InMemElement> {
        self.set.get(tag)
    }

    /// The text without padding; `None` where absent or empty.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let text = self.element(tag)?.to_str().ok()?;
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The values of a text without padding; none where absent.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        let Some(values) = self.element(tag).and_then(|e| e.to_multi_str().ok()) else { return vec![] };
        let padding = |c: char| c.is_whitespace() || c == '\0';
        values.iter().map(|v| v.trim_matches(padding).to_owned()).filter(|v| !v.is_empty()).collect()
    }

    pub fn required_text(&self, tag: Tag) -> Result<String> {
        self.text(tag).ok_or_else(|| self.missing(tag))
    }

    /// `N` finite numbers; `None` where absent or empty, an error where there are others.
    pub fn floats<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>> {
        let Some(element) = self.element(tag) else { return Ok(None) };
        if element.to_bytes().is_ok_and(|b| b.is_empty()) {
            return Ok(None);
        }
        let values = element.to_multi_float64().ok().and_then(|v| <[f64; N]>::try_from(v).ok());
        match values {
            Some(values) if values.iter().all(|v| v.is_finite()) => Ok(Some(values)),
            _ => Err(Error::format(
                self.path,
                "DICOM",
                format!("{} does not hold {N} numbers: {:?}", name_of(tag), self.text(tag)),
            )),
        }
    }

    pub fn required_floats<const N: usize>(&self, tag: Tag) -> Result<[f64; N]> {
        self.floats(tag)?.ok_or_else(|| self.missing(tag))
    }

    pub fn integer(&self, tag: Tag) -> Option<i64> {
        self.element(tag)?.to_int().ok()
    }

    pub fn required_size(&self, tag: Tag) -> Result<usize> {
        let value = self.integer(tag).ok_or_else(|| self.missing(tag))?;
        usize::try_from(value)
            .ok()
            .filter(|v| *v > 0)
            .ok_or_else(|| Error::format(self.path, "DICOM", format!("{} is {value}", name_of(tag))))
    }

    /// The items of a sequence; none where it is absent.
    pub fn items(&self, tag: Tag) -> impl Iterator<Item = Attributes<'a>> + use<'a> {
        let path = self.path;
        let items = self.element(tag).and_then(|e| e.value().items()).unwrap_or_default();
        items.iter().map(move |set| Attributes { set, path })
    }

    pub fn first_item(&self, tag: Tag) -> Option<Attributes<'a>> {
        self.items(tag).next()
    }
}

/// Keyword and number, e.g. `ImagePositionPatient (0020,0032)`.
pub(crate) fn name_of(tag: Tag) -> String {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) => format!("{} {tag}", entry.alias()),
        None => tag.to_string(),
    }
}

/// An error's text with that of its causes: the DICOM crates put the useful part into the cause.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
