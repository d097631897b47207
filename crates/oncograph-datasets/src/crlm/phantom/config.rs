use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the outcomes of a phantom depend on, each group on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PhantomSignals {
    /// What a mask says: the tumours' volume and number, the remnant's share of the liver; on.
    pub shape: bool,
    /// How much darker than the liver the tumours are, which no mask says; on.
    pub density: bool,
    /// How uneven the tumours are, which no mask says; on.
    pub texture: bool,
    /// Clinical covariates; on.
    pub covariates: bool,
    /// The tumours' density where the primary was node-positive, and its opposite where it was not: an image and a covariate
    /// that only together say something; off.
    pub interaction: bool,
}

impl Default for PhantomSignals {
    fn default() -> Self {
        PhantomSignals { shape: true, density: true, texture: true, covariates: true, interaction: false }
    }
}

impl PhantomSignals {
    /// The names of the groups.
    pub const NAMES: [&str; 5] = ["shape", "density", "texture", "covariates", "interaction"];

    /// The named groups on, and no other.
    ///
    /// # Errors
    /// A name that no group has.
    pub fn only<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut on = [false; 5];
        for name in names {
            let name = name.as_ref();
            match Self::NAMES.iter().position(|known| *known == name) {
                Some(at) => on[at] = true,
                None => {
                    let expected = format!("among {}", Self::NAMES.join(", "));
                    return Err(Error::argument("PhantomSignals", "names", expected, name));
                }
            }
        }
        let [shape, density, texture, covariates, interaction] = on;
        Ok(PhantomSignals { shape, density, texture, covariates, interaction })
    }
}

/// What a phantom cohort looks like. Published ranges by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhantomConfig {
    /// Number of patients.
    pub patients: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// In-plane voxels along x and y; 256 by default (the real cohort has 512).
    pub matrix: usize,
    /// Range of the in-plane spacing in mm *for a matrix of 512*, so that it sets the field of view; 0.61 to 0.98.
    pub pixel_spacing: [f64; 2],
    /// Range of the slice spacing in mm; 0.8 to 7.5. More than half of the patients have 5 mm, if in range.
    pub slice_spacing: [f64; 2],
    /// Largest number of tumours; 8.
    pub max_tumors: u16,
    /// Mean noise (standard deviation, HU) of a 5 mm slice; 12.
    pub noise: f64,
    /// Vary voxel order (RAS, LAS, LPS) and tilt some scans by a few degrees; true.
    pub varied_orientation: bool,
    /// Factor on both log hazards: 0 makes outcomes independent of images and clinical values; 1.
    pub strength: f64,
    /// What the log hazards are made of; images and covariates are the same whatever it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signals: PhantomSignals,
}

/// Whether a file, and the key of a cohort, can be as they were before there was a choice.
fn is_default(signals: &PhantomSignals) -> bool {
    *signals == PhantomSignals::default()
}

impl PhantomConfig {
    /// The published ranges.
    pub fn new(patients: usize, seed: u64) -> Self {
        Self {
            patients,
            seed,
            matrix: 256,
            pixel_spacing: [0.61, 0.98],
            slice_spacing: [0.8, 7.5],
            max_tumors: 8,
            noise: 12.0,
            varied_orientation: true,
            strength: 1.0,
            signals: PhantomSignals::default(),
        }
    }

    /// Sets the in-plane matrix.
    pub fn matrix(mut self, matrix: usize) -> Self {
        self.matrix = matrix;
        self
    }

    /// Sets the range of the in-plane spacing at a matrix of 512, in mm.
    pub fn pixel_spacing(mut self, low: f64, high: f64) -> Self {
        self.pixel_spacing = [low, high];
        self
    }

    /// Sets the range of the slice spacing in mm.
    pub fn slice_spacing(mut self, low: f64, high: f64) -> Self {
        self.slice_spacing = [low, high];
        self
    }

    /// Sets the largest number of tumours.
    pub fn max_tumors(mut self, count: u16) -> Self {
        self.max_tumors = count;
        self
    }

    /// Sets the mean noise in HU.
    pub fn noise(mut self, sigma: f64) -> Self {
        self.noise = sigma;
        self
    }

    /// Sets whether voxel order and tilt vary.
    pub fn varied_orientation(mut self, varied: bool) -> Self {
        self.varied_orientation = varied;
        self
    }

    /// Sets the factor on the log hazards.
    pub fn strength(mut self, strength: f64) -> Self {
        self.strength = strength;
        self
    }

    /// Sets what the log hazards are made of.
    pub fn signals(mut self, signals: PhantomSignals) -> Self {
        self.signals = signals;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the field and its range.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "PhantomConfig";
        let range = |name, [low, high]: [f64; 2], least: f64, most: f64| match least <= low
            && low <= high
            && high <= most
        {
            true => Ok(()),
            false => Err(Error::argument(
                OP,
                name,
                format!("an increasing pair within {least} to {most} mm"),
                format!("{low} to {high}"),
            )),
        };
        range("pixel_spacing", self.pixel_spacing, 0.5, 1.2)?;
        range("slice_spacing", self.slice_spacing, 0.5, 15.0)?;
        if !(1..=9999).contains(&self.patients) {
            return Err(Error::argument(OP, "patients", "1 to 9999", self.patients));
        }
        if !(32..=1024).contains(&self.matrix) {
            return Err(Error::argument(OP, "matrix", "32 to 1024", self.matrix));
        }
        if !(1..=50).contains(&self.max_tumors) {
            return Err(Error::argument(OP, "max_tumors", "1 to 50", self.max_tumors));
        }
        if !(0.0..=100.0).contains(&self.noise) {
            return Err(Error::argument(OP, "noise", "0 to 100 HU", self.noise));
        }
        if !(0.0..=5.0).contains(&self.strength) {
            return Err(Error::argument(OP, "strength", "0 to 5", self.strength));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_signals_are_named() {
        let some = PhantomSignals::only(["shape", "covariates"]).unwrap();
        assert!(some.shape && some.covariates && !some.density && !some.texture && !some.interaction);
        let error = PhantomSignals::only(["form"]).unwrap_err().to_string();
        assert!(
            error.contains("shape, density, texture, covariates, interaction") && error.contains("form"),
            "{error}"
        );
        // Cohorts that were written before there was a choice keep their key.
        let text = serde_json::to_string(&PhantomConfig::new(3, 1)).unwrap();
        assert!(!text.contains("signals"), "{text}");
        assert!(serde_json::to_string(&PhantomConfig::new(3, 1).signals(some)).unwrap().contains("signals"));
    }

    #[test]
    fn bad_values_are_named() {
        assert!(PhantomConfig::new(3, 1).validate().is_ok());
        let bad = [
            (PhantomConfig::new(0, 1), "patients"),
            (PhantomConfig::new(3, 1).matrix(8), "matrix"),
            (PhantomConfig::new(3, 1).slice_spacing(5.0, 1.0), "slice_spacing"),
            (PhantomConfig::new(3, 1).pixel_spacing(0.0, 1.0), "pixel_spacing"),
            (PhantomConfig::new(3, 1).max_tumors(0), "max_tumors"),
            (PhantomConfig::new(3, 1).noise(f64::NAN), "noise"),
            (PhantomConfig::new(3, 1).strength(-1.0), "strength"),
        ];
        for (config, name) in bad {
            assert!(config.validate().unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
