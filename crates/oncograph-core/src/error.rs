use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// A call or a setting whose value is not one of those allowed.
///
/// The error enums of the other crates embed it, so that the same mistake reads the same everywhere.
///
/// # Example
/// ```
/// use oncograph_core::Argument;
///
/// let error = Argument::new("Conv3dConfig", "groups", "a divisor of 6", 4);
/// assert_eq!(error.to_string(), "Conv3dConfig: groups must be a divisor of 6, got 4");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {argument} must be {expected}, got {got}")]
pub struct Argument {
    /// The function or configuration.
    pub op: &'static str,
    /// The argument or field.
    pub argument: Cow<'static, str>,
    /// The values that are allowed.
    pub expected: String,
    /// The value that was given.
    pub got: String,
}

impl Argument {
    /// An error from anything that prints.
    pub fn new(
        op: &'static str,
        argument: impl Into<Cow<'static, str>>,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Argument { op, argument: argument.into(), expected: expected.to_string(), got: got.to_string() }
    }
}

/// A file or folder that could not be read, written or understood, with the place in it and the cause.
///
/// # Example
/// ```
/// use oncograph_core::AtFile;
///
/// let error = AtFile::new("cohort.csv", "expected a number, got \"old\"").at("row 7, column `age`");
/// assert_eq!(error.to_string(), "cohort.csv, row 7, column `age`: expected a number, got \"old\"");
/// let full = AtFile::new("run/metrics.csv", std::io::Error::other("disk full")).during("write");
/// assert_eq!(full.to_string(), "write run/metrics.csv: disk full");
/// ```
#[derive(Debug)]
pub struct AtFile {
    /// What was attempted, for example `write`; empty if the path is enough.
    pub operation: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Where in it, for example a row and a column; empty for the file as a whole.
    pub place: String,
    /// What is wrong.
    pub cause: Box<dyn Error + Send + Sync>,
}

impl AtFile {
    /// An error about a file as a whole.
    pub fn new(path: impl AsRef<Path>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        AtFile { operation: "", path: path.as_ref().to_owned(), place: String::new(), cause: cause.into() }
    }

    /// Sets the place in the file.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }

    /// Sets what was attempted.
    pub fn during(mut self, operation: &'static str) -> Self {
        self.operation = operation;
        self
    }

    /// Whether the file or folder does not exist.
    pub fn is_not_found(&self) -> bool {
        let io = self.cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    }
}

impl fmt::Display for AtFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.is_empty() {
            write!(f, "{} ", self.operation)?;
        }
        write!(f, "{}", self.path.display())?;
        if !self.place.is_empty() {
            write!(f, ", {}", self.place)?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl Error for AtFile {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause: &(dyn Error + 'static) = &*self.cause;
        Some(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_file_is_told_from_a_damaged_one() {
        let absent = std::fs::read("no such file").unwrap_err();
        assert!(AtFile::new("no such file", absent).is_not_found());
        assert!(!AtFile::new("a.json", "not JSON").is_not_found());
    }

    #[test]
    fn the_cause_is_the_source() {
        let error = AtFile::new("a", std::io::Error::other("disk full"));
        assert_eq!(error.source().unwrap().to_string(), "disk full");
    }
}
