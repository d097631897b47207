use oncograph_report::Cell;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// An estimate and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate on all rows.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// The interval; `None` where every resample gave the same number, as for a model that is right or wrong on every patient of
    /// a small test set: that is no certainty.
    pub fn interval(&self) -> Option<(f64, f64)> {
        (self.low < self.high).then_some((self.low, self.high))
    }

    /// On which side of a value the interval lies; `None` where the value is in it or there is none.
    pub fn side_of(&self, value: f64) -> Option<Ordering> {
        match self.interval()? {
            (low, _) if low > value => Some(Ordering::Greater),
            (_, high) if high < value => Some(Ordering::Less),
            _ => None,
        }
    }

    /// The cell of a table: without an interval where there is none.
    pub fn cell(&self, digits: usize) -> Cell {
        match self.interval() {
            Some((low, high)) => Cell::interval(self.value, low, high, digits),
            None => Cell::number(self.value, digits),
        }
    }
}

/// With three digits.
impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.interval() {
            Some((low, high)) => write!(f, "{:.3} ({low:.3} to {high:.3})", self.value),
            None => write!(f, "{:.3} (no interval)", self.value),
        }
    }
}
