use crate::Argument;
use serde::{Deserialize, Serialize};

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Days.
    Days,
    /// Months, twelve to a year.
    Months,
    /// Years of 365.25 days.
    Years,
}

impl TimeUnit {
    fn to_years(self, time: f64) -> f64 {
        match self {
            TimeUnit::Days => time / 365.25,
            TimeUnit::Months => time / 12.0,
            TimeUnit::Years => time,
        }
    }

    fn years_to(self, years: f64) -> f64 {
        match self {
            TimeUnit::Days => years * 365.25,
            TimeUnit::Months => years * 12.0,
            TimeUnit::Years => years,
        }
    }
}

/// A right-censored time: how long a patient was followed, in its unit, and whether the event happened then.
///
/// # Units
/// The time keeps the unit that it came in; [`FollowUp::time_in`] converts.
///
/// # Example
/// ```
/// use oncograph_core::{FollowUp, TimeUnit};
///
/// let censored = FollowUp::days(730.5, false)?;
/// assert_eq!(censored.in_years(), 2.0);
/// assert_eq!(censored.time_in(TimeUnit::Months), 24.0);
/// assert!(!censored.event());
/// assert!(FollowUp::years(-1.0, true).is_err());
/// # Ok::<(), oncograph_core::Argument>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct FollowUp {
    time: f64,
    unit: TimeUnit,
    event: bool,
}

/// [`FollowUp`] as a file has it, before the check.
#[derive(Serialize, Deserialize)]
#[serde(rename = "FollowUp", deny_unknown_fields)]
struct Fields {
    time: f64,
    unit: TimeUnit,
    event: bool,
}

impl TryFrom<Fields> for FollowUp {
    type Error = Argument;

    fn try_from(fields: Fields) -> Result<Self, Argument> {
        FollowUp::new(fields.time, fields.unit, fields.event)
    }
}

impl From<FollowUp> for Fields {
    fn from(f: FollowUp) -> Self {
        Fields { time: f.time, unit: f.unit, event: f.event }
    }
}

impl FollowUp {
    /// A time in `unit`; `event` is true where the event was seen then, false where the patient was last seen without it.
    ///
    /// # Errors
    /// A time that is negative, infinite or NaN. A time of 0 is allowed: registries hold patients who died on the day of
    /// entry.
    pub fn new(time: f64, unit: TimeUnit, event: bool) -> Result<Self, Argument> {
        if !(time.is_finite() && time >= 0.0) {
            return Err(Argument::new("FollowUp", "time", "finite and at least 0", time));
        }
        Ok(FollowUp { time, unit, event })
    }

    /// A time in days.
    ///
    /// # Errors
    /// As [`FollowUp::new`].
    pub fn days(time: f64, event: bool) -> Result<Self, Argument> {
        FollowUp::new(time, TimeUnit::Days, event)
    }

    /// A time in months.
    ///
    /// # Errors
    /// As [`FollowUp::new`].
    pub fn months(time: f64, event: bool) -> Result<Self, Argument> {
        FollowUp::new(time, TimeUnit::Months, event)
    }

    /// A time in years.
    ///
    /// # Errors
    /// As [`FollowUp::new`].
    pub fn years(time: f64, event: bool) -> Result<Self, Argument> {
        FollowUp::new(time, TimeUnit::Years, event)
    }

    /// The time in its own unit.
    pub fn time(self) -> f64 {
        self.time
    }

    /// The unit of [`FollowUp::time`].
    pub fn unit(self) -> TimeUnit {
        self.unit
    }

    /// Whether the event was seen.
    pub fn event(self) -> bool {
        self.event
    }

    /// The time in `unit`.
    pub fn time_in(self, unit: TimeUnit) -> f64 {
        if unit == self.unit { self.time } else { unit.years_to(self.unit.to_years(self.time)) }
    }

    /// The time in years.
    pub fn in_years(self) -> f64 {
        self.time_in(TimeUnit::Years)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_bits_in_its_own_unit() {
        let f = FollowUp::months(0.1 + 0.2, true).unwrap();
        assert_eq!(f.time_in(TimeUnit::Months).to_bits(), (0.1f64 + 0.2).to_bits());
        assert_eq!(f.in_years(), (0.1 + 0.2) / 12.0);
        assert_eq!(FollowUp::days(365.25, true).unwrap().time_in(TimeUnit::Months), 12.0);
    }

    #[test]
    fn a_file_cannot_bring_a_time_that_is_none() {
        let f = FollowUp::years(2.5, false).unwrap();
        let json = serde_json::to_string(&f).unwrap();
        assert_eq!(json, r#"{"time":2.5,"unit":"years","event":false}"#);
        assert_eq!(serde_json::from_str::<FollowUp>(&json).unwrap(), f);
        let bad = serde_json::from_str::<FollowUp>(&json.replace("2.5", "-2.5")).unwrap_err();
        assert!(bad.to_string().contains("FollowUp: time must be finite and at least 0, got -2.5"), "{bad}");
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            assert!(FollowUp::days(bad, true).is_err());
        }
    }
}
