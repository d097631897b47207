use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that a signal handler sets and a training loop reads.
///
/// # Example
///
/// ```
/// use oncograph_train::StopFlag;
///
/// let stop = StopFlag::new();
/// let handler = stop.clone();
/// handler.request();
/// assert!(stop.is_requested());
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        StopFlag::default()
    }

    /// Asks for a stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Ends what is not a training loop where a stop was requested.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it was.
    pub fn check(&self) -> Result<()> {
        if self.is_requested() { Err(Error::Stopped) } else { Ok(()) }
    }
}
