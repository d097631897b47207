//! What the paper does to the values of images before anything else: histogram matching and smoothing that keeps edges.

use super::SEQUENCES;
use super::quality::blanked;
use crate::{Error, Result};
use oncograph_datasets::glioma::GliomaImages;
use oncograph_imaging::filters::susan;
use oncograph_imaging::{Frame, Grid, Mask, Volume, match_histogram, percentile};
use serde::{Deserialize, Serialize};

/// What is done to the values of the four sequences within the brain, in the order of the fields. By default nothing: the networks
/// see standard deviations of each patient's own brain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IntensityConfig {
    /// Histograms are matched to those of one scan.
    pub reference: Option<IntensityReference>,
    /// Noise is smoothed by SUSAN.
    pub susan: Option<SusanConfig>,
}

/// How SUSAN smooths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SusanConfig {
    /// Standard deviation in space \[mm\].
    pub sigma: f64,
    /// Differences up to this share of a sequence's range (percentiles 2 to 98 within the brain) are noise.
    pub brightness: f64,
}

impl Default for SusanConfig {
    fn default() -> Self {
        SusanConfig { sigma: 1.0, brightness: 0.1 }
    }
}

/// The histograms that others are matched to: those of one scan, which must be no patient of the cohort, since what a
/// test patient looks like must reach no other's image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntensityReference {
    /// Whose they are.
    pub id: String,
    /// Of each sequence the values at even shares of the brain's voxels, the least first.
    quantiles: Vec<Vec<f32>>,
}

/// Shares at which a reference keeps values.
const QUANTILES: usize = 1001;

impl IntensityReference {
    /// The histograms of a scan within its brain.
    ///
    /// # Errors
    /// Images whose surroundings are not blank, or without a brain.
    pub fn new(scan: GliomaImages) -> Result<Self> {
        let images = blanked(scan)?;
        let quantiles = images.sequences.iter().zip(SEQUENCES).map(|(volume, name)| {
            let mut values: Vec<f32> = volume.as_slice().iter().copied().filter(|v| *v != 0.0).collect();
            values.sort_by(f32::total_cmp);
            let last = values.len().checked_sub(1);
            let last = last.ok_or_else(|| {
                Error::input("IntensityReference", "a brain", format!("{name} without one"))
            })?;
            Ok((0..QUANTILES).map(|q| values[(q * last + QUANTILES / 2) / (QUANTILES - 1)]).collect())
        });
        Ok(IntensityReference { quantiles: quantiles.collect::<Result<_>>()?, id: images.id })
    }

    /// The values as a volume, of which the histogram is taken.
    fn volume(&self, sequence: usize) -> Result<Volume<f32>> {
        let values = self.quantiles.get(sequence).cloned().unwrap_or_default();
        let grid = Grid::axis_aligned([values.len(), 1, 1], [1.0; 3], [0.0; 3])?;
        Ok(Volume::new(grid, Frame::default(), values)?)
    }
}

impl IntensityConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] names the value that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let Some(SusanConfig { sigma, brightness }) = self.susan else { return Ok(()) };
        for (name, value) in [("sigma", sigma), ("brightness", brightness)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::config("SusanConfig", name, "above 0", value));
            }
        }
        Ok(())
    }

    /// The images whose background is 0 with other values within the brain.
    pub(super) fn applied(&self, mut images: GliomaImages) -> Result<GliomaImages> {
        for (k, volume) in images.sequences.iter_mut().enumerate() {
            let brain: Mask = volume.map(|v| u8::from(v != 0.0));
            if let Some(reference) = &self.reference {
                let matched = match_histogram(volume, Some(&brain), &reference.volume(k)?, None)?;
                *volume = matched.map(|v| v as f32);
            }
            if let Some(SusanConfig { sigma, brightness }) = self.susan {
                let [low, high] = [2.0, 98.0].map(|p| percentile(volume, p, Some(&brain)));
                let range = high? - low?;
                // A sequence without contrast has nothing to smooth.
                if range > 0.0 {
                    let smooth = susan(volume, sigma, brightness * range)?;
                    let values = smooth.as_slice().iter().zip(brain.as_slice());
                    let values = values.map(|(v, b)| if *b > 0 { *v as f32 } else { 0.0 }).collect();
                    *volume = Volume::new(volume.grid().clone(), volume.frame().clone(), values)?;
                }
            }
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(of: impl Fn(usize) -> f32) -> GliomaImages {
        let grid = Grid::axis_aligned([10, 10, 10], [1.0; 3], [0.0; 3]).unwrap();
        let inside = |i: usize| [i % 10, i / 10 % 10, i / 100].iter().all(|v| (2..8).contains(v));
        let values: Vec<f32> = (0..1000).map(|i| if inside(i) { of(i) } else { 0.0 }).collect();
        let volume = Volume::new(grid.clone(), Frame::default(), values).unwrap();
        GliomaImages {
            id: "R".into(),
            sequences: [(); 4].map(|()| volume.clone()),
            tumour: volume.map(|v| u8::from(v > 0.0)),
            anisotropy: None,
            flags: vec![],
        }
    }

    #[test]
    fn a_matched_scan_has_the_histogram_of_the_reference_and_its_own_order() {
        let reference = IntensityReference::new(images(|i| 50.0 + (7 * i % 100) as f32)).unwrap();
        let config = IntensityConfig { reference: Some(reference), susan: None };
        let text = serde_json::to_string(&config).unwrap();
        let config: IntensityConfig = serde_json::from_str(&text).unwrap();
        let scan = images(|i| 1000.0 + (i * i % 577) as f32);
        let matched = config.applied(scan.clone()).unwrap();
        let inside = |v: &Volume<f32>| v.as_slice().iter().copied().filter(|v| *v != 0.0).collect::<Vec<_>>();
        for (before, after) in scan.sequences.iter().zip(&matched.sequences) {
            let (before, after) = (inside(before), inside(after));
            assert_eq!(after.len(), 6_usize.pow(3));
            let mean = after.iter().sum::<f32>() / after.len() as f32;
            assert!((mean - 99.5).abs() < 3.0 && after.iter().all(|v| (50.0..=149.0).contains(v)), "{mean}");
            for (a, b) in before.iter().zip(&after) {
                assert!(before.iter().zip(&after).all(|(c, d)| c < a || d >= b), "the order changes");
            }
        }
    }

    #[test]
    fn smoothing_stays_within_the_brain_and_lowers_noise() {
        let noisy =
            images(|i| 100.0 + if i / 4 % 2 == 0 { 1.0 } else { -1.0 } + if i % 10 < 5 { 80.0 } else { 0.0 });
        let config = IntensityConfig { reference: None, susan: Some(SusanConfig::default()) };
        let smooth = config.applied(noisy.clone()).unwrap();
        let (before, after) = (&noisy.sequences[1], &smooth.sequences[1]);
        let deviation = |v: &Volume<f32>| -> f32 {
            let inside = v.as_slice().iter().filter(|v| **v != 0.0);
            inside.map(|v| (v - 100.0).abs().min((v - 180.0).abs())).sum()
        };
        assert!(deviation(after) < 0.8 * deviation(before), "{} {}", deviation(after), deviation(before));
        assert!(before.as_slice().iter().zip(after.as_slice()).all(|(a, b)| (*a == 0.0) == (*b == 0.0)));
        let bad =
            IntensityConfig { susan: Some(SusanConfig { sigma: 0.0, brightness: 0.1 }), reference: None };
        assert!(bad.validate().unwrap_err().to_string().contains("sigma"));
    }
}
