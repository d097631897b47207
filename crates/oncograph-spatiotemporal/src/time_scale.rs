use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Times as the losses see them: between 0 and 1 by the range of the training split, or in years (decision S-19).
///
/// # Example
///
/// ```
/// use oncograph_spatiotemporal::TimeScale;
///
/// let scale = TimeScale::fit(&[1.0, 5.0, 3.0])?;
/// assert_eq!(scale.normalize(3.0), 0.5);
/// assert_eq!(scale.years(0.5), 3.0);
/// # Ok::<(), oncograph_spatiotemporal::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeScale {
    min: f64,
    max: f64,
}

impl TimeScale {
    /// The range of the training times.
    ///
    /// # Errors
    /// [`Error::Input`] if there are fewer than two different times.
    pub fn fit(years: &[f64]) -> Result<Self> {
        let min = years.iter().copied().fold(f64::INFINITY, f64::min);
        let max = years.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !(min.is_finite() && max.is_finite() && max > min) {
            return Err(Error::input(
                "training times",
                "at least two different ones",
                format!("{min} to {max}"),
            ));
        }
        Ok(TimeScale { min, max })
    }

    /// Times that stay in years.
    pub fn in_years() -> Self {
        TimeScale { min: 0.0, max: 1.0 }
    }

    /// Years to the scale.
    pub fn normalize(&self, years: f64) -> f64 {
        (years - self.min) / (self.max - self.min)
    }

    /// From the scale to years.
    pub fn years(&self, normalized: f64) -> f64 {
        self.min + normalized * (self.max - self.min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_has_no_range() {
        assert!(TimeScale::fit(&[2.0, 2.0]).is_err());
        assert!(TimeScale::fit(&[]).is_err());
        assert!(TimeScale::fit(&[1.0, f64::NAN, 2.0]).is_ok());
    }
}
