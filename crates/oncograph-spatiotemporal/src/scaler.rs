use crate::components::NodeComponents;
use crate::features::{NODES, PYRAMID_LEVELS};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What is done to image features, each number of each node on its own (S-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureNorm {
    /// The z-score over training patients.
    #[default]
    ZScore,
    /// The z-score of `ln(1 + v / m)`, `m` the training mean of `v`: activations are 0 or more and grow with the
    /// volume of what a mask holds, which spans orders of magnitude.
    LogZScore,
}

/// [`FeatureNorm`] as fitted on training patients, and after it, optionally, the principal components of each node.
///
/// A feature that does not vary in training becomes 0.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageScaler {
    /// What values are divided by before the logarithm; empty without one.
    unit: Vec<f32>,
    mean: Vec<f32>,
    inverse: Vec<f32>,
    components: Option<NodeComponents>,
}

impl ImageScaler {
    /// Fits on the patients `train` of `values`, which holds `width` numbers per patient.
    ///
    /// # Errors
    /// [`Error::Input`] if `values` is not whole patients or `train` is empty or out of range.
    pub fn fit(values: &[f32], width: usize, train: &[usize], norm: FeatureNorm) -> Result<Self> {
        let patients = patients(values, width)?;
        if train.is_empty() || train.iter().any(|&p| p >= patients) {
            return Err(Error::input(
                "training patients",
                format!("some below {patients}"),
                format!("{train:?}"),
            ));
        }
        let n = train.len() as f64;
        let mean_of = |rows: &[Vec<f32>]| {
            let mut mean = vec![0f64; width];
            rows.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v) / n));
            mean
        };
        let mut rows: Vec<Vec<f32>> =
            train.iter().map(|&p| values[p * width..(p + 1) * width].to_vec()).collect();
        let mut unit = vec![];
        if norm == FeatureNorm::LogZScore {
            unit = mean_of(&rows).into_iter().map(|m| m as f32).collect();
            rows.iter_mut()
                .for_each(|row| row.iter_mut().zip(&unit).for_each(|(v, &u)| *v = compress(*v, u)));
        }
        let mean = mean_of(&rows);
        let mut variance = vec![0f64; width];
        let add = |row: &Vec<f32>| {
            let terms = variance.iter_mut().zip(row).zip(&mean);
            terms.for_each(|((s, &v), m)| *s += (f64::from(v) - m).powi(2) / n);
        };
        rows.iter().for_each(add);
        // A deviation at the rounding of the values themselves is no variation.
        let invert = |(v, m): (&f64, &f64)| {
            let deviation = v.sqrt();
            if deviation > 1e-6 * m.abs().max(1e-12) { (1.0 / deviation) as f32 } else { 0.0 }
        };
        let inverse = variance.iter().zip(&mean).map(invert).collect();
        Ok(ImageScaler {
            unit,
            mean: mean.into_iter().map(|m| m as f32).collect(),
            inverse,
            components: None,
        })
    }

    /// Adds the `count` leading principal components of each of the six image nodes, fitted on the scaled `values` of
    /// the patients `train`: a node's features become `6 count` numbers, its own scores at its own place.
    ///
    /// A few dozen patients cannot fit thousands of features, and nodes that share weights
    /// do not cancel where each has its own features. Scores are divided by the deviation of the node's first.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `count` is between 1 and the number of training patients less one; otherwise as for
    /// [`ImageScaler::transform`].
    pub fn with_components(mut self, values: &[f32], train: &[usize], count: usize) -> Result<Self> {
        let features = self.features();
        let scaled = self.transform(values)?;
        self.components = Some(NodeComponents::fit(&scaled, features, train, count)?);
        Ok(self)
    }

    /// The inputs of the network, patients x 6 nodes x 3 levels x [`ImageScaler::features`].
    ///
    /// # Errors
    /// [`Error::Input`] if `values` is not whole patients of the fitted width.
    pub fn transform(&self, values: &[f32]) -> Result<Vec<f32>> {
        let width = self.mean.len();
        patients(values, width)?;
        let scale = |row: &[f32]| -> Vec<f32> {
            let unit = |at: usize| self.unit.get(at).copied();
            let value = |(at, &v): (usize, &f32)| unit(at).map_or(v, |u| compress(v, u));
            let values = row.iter().enumerate().map(value);
            values.zip(&self.mean).zip(&self.inverse).map(|((v, m), i)| (v - m) * i).collect()
        };
        let scaled: Vec<f32> = values.chunks(width).flat_map(scale).collect();
        Ok(match &self.components {
            Some(components) => components.transform(&scaled),
            None => scaled,
        })
    }

    /// Numbers that each level of each node has after [`ImageScaler::transform`].
    pub fn features(&self) -> usize {
        match &self.components {
            Some(components) => NODES * components.count(),
            None => self.mean.len() / (NODES * PYRAMID_LEVELS),
        }
    }

    /// Units of the logarithm (empty without one), means, inverse deviations and axes of the components (empty
    /// without them), to be saved.
    pub fn parts(&self) -> [&[f32]; 4] {
        let axes = self.components.as_ref().map_or(&[][..], |c| &c.axes);
        [&self.unit, &self.mean, &self.inverse, axes]
    }

    /// From what [`ImageScaler::parts`] gave.
    ///
    /// # Errors
    /// [`Error::Input`] if the lengths differ.
    pub fn from_parts([unit, mean, inverse, axes]: [Vec<f32>; 4]) -> Result<Self> {
        let whole = unit.is_empty() || unit.len() == mean.len();
        if mean.len() != inverse.len() || mean.is_empty() || !whole {
            return Err(Error::input("image scaler", format!("{} deviations", mean.len()), inverse.len()));
        }
        let d = mean.len() / (NODES * PYRAMID_LEVELS);
        if !axes.is_empty() && (d == 0 || !axes.len().is_multiple_of(NODES * d)) {
            return Err(Error::input("image scaler", format!("six nodes' axes of {d} numbers"), axes.len()));
        }
        let components = (!axes.is_empty()).then_some(NodeComponents { axes, d });
        Ok(ImageScaler { unit, mean, inverse, components })
    }
}

fn compress(value: f32, unit: f32) -> f32 {
    if unit > 0.0 { (value / unit).max(0.0).ln_1p() } else { 0.0 }
}

fn patients(values: &[f32], width: usize) -> Result<usize> {
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Error::input("image features", format!("rows of {width}"), values.len()));
    }
    Ok(values.len() / width)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 14: train-only fitting.
    #[test]
    fn held_out_patients_do_not_touch_the_fit() {
        for norm in [FeatureNorm::ZScore, FeatureNorm::LogZScore] {
            let mut values = vec![1.0, 5.0, 3.0, 5.0, 99.0, 7.0];
            let fit = |values: &[f32], train: &[usize]| ImageScaler::fit(values, 2, train, norm).unwrap();
            let fitted = fit(&values, &[0, 1]);
            values[4..].copy_from_slice(&[1e9, 1e-9]);
            assert_eq!(fit(&values, &[0, 1]), fitted);
            assert_ne!(fit(&values, &[0, 2]), fitted);
            let z = fitted.transform(&[1.0, 5.0, 3.0, 5.0]).unwrap();
            for (got, expected) in z.iter().zip([-1.0, 0.0, 1.0, 0.0]) {
                assert!((got - expected).abs() < 1e-6, "{norm:?}: {z:?}");
            }
            let parts = fitted.parts().map(<[f32]>::to_vec);
            assert_eq!(ImageScaler::from_parts(parts).unwrap(), fitted);
            assert!(ImageScaler::fit(&values, 4, &[0], norm).is_err());
        }
    }

    #[test]
    fn components_change_the_width_and_are_saved() {
        let values: Vec<f32> = (0..4 * 36).map(|i| ((i * i * 7) % 31) as f32).collect();
        let scaler = ImageScaler::fit(&values, 36, &[0, 1, 2], FeatureNorm::ZScore).unwrap();
        assert_eq!(scaler.features(), 2);
        let scaler = scaler.with_components(&values, &[0, 1, 2], 1).unwrap();
        assert_eq!((scaler.features(), scaler.transform(&values).unwrap().len()), (6, 4 * 18 * 6));
        let parts = scaler.parts().map(<[f32]>::to_vec);
        assert_eq!(ImageScaler::from_parts(parts.clone()).unwrap(), scaler);
        let [unit, mean, inverse, axes] = parts;
        assert!(ImageScaler::from_parts([unit, mean, inverse, axes[1..].to_vec()]).is_err());
    }

    #[test]
    fn the_logarithm_tames_large_values() {
        let values = [1.0, 2.0, 3.0, 1000.0];
        let largest_scaled =
            |norm| ImageScaler::fit(&values, 1, &[0, 1, 2], norm).unwrap().transform(&values).unwrap()[3];
        assert!(largest_scaled(FeatureNorm::ZScore) > 1000.0);
        assert!(largest_scaled(FeatureNorm::LogZScore) < 30.0);
    }
}
