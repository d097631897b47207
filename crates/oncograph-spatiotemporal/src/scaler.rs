use crate::components::NodeComponents;
use crate::features::{NODES, PYRAMID_LEVELS};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

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
    /// Nothing: features as the encoder gives them. Noise of an augmented graph is in their units then, and there are no
    /// components, which are those of centred features.
    None,
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
    /// Vectors of a node that the network mixes.
    levels: usize,
}

impl ImageScaler {
    /// Fits on the patients `train` of `values`, patients x 6 nodes x levels x d, of which there are three unless
    /// [`ImageScaler::with_levels`] tells another number, each node on those who have it by
    /// `there`.
    ///
    /// # Errors
    /// [`Error::Input`] if `values` is not whole patients or `train` is empty or out of range.
    pub fn fit(values: &[f32], there: &[[bool; NODES]], train: &[usize], norm: FeatureNorm) -> Result<Self> {
        let patients = there.len();
        let width = values.len() / patients.max(1);
        if width == 0 || values.len() != patients * width {
            return Err(Error::input("image features", format!("{patients} patients"), values.len()));
        }
        if train.is_empty() || train.iter().any(|&p| p >= patients) {
            return Err(Error::input(
                "training patients",
                format!("some below {patients}"),
                format!("{train:?}"),
            ));
        }
        if norm == FeatureNorm::None {
            return Ok(ImageScaler {
                unit: vec![],
                mean: vec![0.0; width],
                inverse: vec![1.0; width],
                components: None,
                levels: PYRAMID_LEVELS,
            });
        }
        // What each node is fitted on.
        let patients =
            std::array::from_fn(|node| train.iter().copied().filter(|&p| there[p][node]).collect());
        let means = |values: &[f32], of: &(dyn Fn(usize, f64) -> f64 + Sync)| {
            node_means(values, width, &patients, of)
        };
        let unit: Vec<f32> = match norm {
            FeatureNorm::LogZScore => means(values, &|_, v| v).into_iter().map(|m| m as f32).collect(),
            _ => vec![],
        };
        let scaled = compressed(values, &unit);
        let mean = means(&scaled, &|_, v| v);
        let variance = means(&scaled, &|at, v| (v - mean[at]).powi(2));
        // A deviation at the rounding of the values themselves is no variation.
        let invert = |(v, m): (&f64, &f64)| {
            let deviation = v.sqrt();
            if deviation > 1e-6 * m.abs().max(1e-12) { (1.0 / deviation) as f32 } else { 0.0 }
        };
        let inverse = variance.iter().zip(&mean).map(invert).collect();
        let mean = mean.iter().map(|m| *m as f32).collect();
        Ok(ImageScaler { unit, mean, inverse, components: None, levels: PYRAMID_LEVELS })
    }

    /// Sets how many vectors a node has that the network mixes, before any components (S-01).
    ///
    /// # Errors
    /// [`Error::Input`] if what was fitted is not whole vectors.
    pub fn with_levels(mut self, levels: usize) -> Result<Self> {
        if levels == 0 || !self.mean.len().is_multiple_of(NODES * levels) {
            return Err(Error::input("image features", format!("6 x {levels} x d"), self.mean.len()));
        }
        self.levels = levels;
        Ok(self)
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
    pub fn with_components(
        mut self,
        values: &[f32],
        there: &[[bool; NODES]],
        train: &[usize],
        count: usize,
    ) -> Result<Self> {
        let features = self.features();
        let scaled = self.transform(values)?;
        let shape = (self.levels, features);
        self.components = Some(NodeComponents::fit(&scaled, shape, (there, train), count)?);
        Ok(self)
    }

    /// The inputs of the network, patients x 6 nodes x levels x [`ImageScaler::features`].
    ///
    /// # Errors
    /// [`Error::Input`] if `values` is not whole patients of the fitted width.
    pub fn transform(&self, values: &[f32]) -> Result<Vec<f32>> {
        let width = self.mean.len();
        patients(values, width)?;
        let mut scaled = compressed(values, &self.unit).into_owned();
        scaled.par_chunks_mut(width).for_each(|row| {
            let fitted = self.mean.iter().zip(&self.inverse);
            row.iter_mut().zip(fitted).for_each(|(v, (m, i))| *v = (*v - m) * i);
        });
        Ok(match &self.components {
            Some(components) => components.transform(&scaled),
            None => scaled,
        })
    }

    /// Numbers that each level of each node has after [`ImageScaler::transform`].
    pub fn features(&self) -> usize {
        match &self.components {
            Some(components) => NODES * components.count(),
            None => self.mean.len() / (NODES * self.levels),
        }
    }

    /// Units of the logarithm (empty without one), means, inverse deviations and axes of the components (empty
    /// without them), to be saved.
    pub fn parts(&self) -> [&[f32]; 4] {
        let axes = self.components.as_ref().map_or(&[][..], |c| &c.axes);
        [&self.unit, &self.mean, &self.inverse, axes]
    }

    /// From what [`ImageScaler::parts`] gave, of nodes with so many vectors.
    ///
    /// # Errors
    /// [`Error::Input`] if the lengths differ.
    pub fn from_parts([unit, mean, inverse, axes]: [Vec<f32>; 4], levels: usize) -> Result<Self> {
        let whole = unit.is_empty() || unit.len() == mean.len();
        if mean.len() != inverse.len() || mean.is_empty() || !whole {
            return Err(Error::input("image scaler", format!("{} deviations", mean.len()), inverse.len()));
        }
        let d = mean.len() / (NODES * levels.max(1));
        if !axes.is_empty() && (d == 0 || !axes.len().is_multiple_of(NODES * d)) {
            return Err(Error::input("image scaler", format!("six nodes' axes of {d} numbers"), axes.len()));
        }
        let components = (!axes.is_empty()).then_some(NodeComponents { axes, levels, d });
        Ok(ImageScaler { unit, mean, inverse, components, levels })
    }
}

/// The mean of what `of` makes of a column's values, over those patients who have the column's node.
fn node_means(
    values: &[f32],
    width: usize,
    patients: &[Vec<usize>; NODES],
    of: impl Fn(usize, f64) -> f64 + Sync,
) -> Vec<f64> {
    let start = |node: usize| (node * width).div_ceil(NODES);
    let of_node = |node: usize| {
        let columns = start(node)..start(node + 1);
        let mut sums = vec![0.0; columns.len()];
        // Patient by patient, as the values lie in memory.
        for &p in &patients[node] {
            let own = values[p * width..][columns.clone()].iter().zip(columns.clone());
            sums.iter_mut().zip(own).for_each(|(sum, (&v, at))| *sum += of(at, f64::from(v)));
        }
        let n = patients[node].len().max(1) as f64;
        sums.into_iter().map(move |sum| sum / n)
    };
    (0..NODES).into_par_iter().flat_map_iter(of_node).collect()
}

/// Rows of values as `ln(1 + v / unit)`, or as they are without units.
fn compressed<'a>(values: &'a [f32], unit: &[f32]) -> Cow<'a, [f32]> {
    if unit.is_empty() {
        return values.into();
    }
    let compress = |(&v, &unit): (&f32, &f32)| if unit > 0.0 { (v / unit).max(0.0).ln_1p() } else { 0.0 };
    values
        .par_chunks(unit.len())
        .flat_map_iter(|row| row.iter().zip(unit).map(compress))
        .collect::<Vec<_>>()
        .into()
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
            let there = [[true; NODES]; 3];
            let fit =
                |values: &[f32], train: &[usize]| ImageScaler::fit(values, &there, train, norm).unwrap();
            let fitted = fit(&values, &[0, 1]);
            values[4..].copy_from_slice(&[1e9, 1e-9]);
            assert_eq!(fit(&values, &[0, 1]), fitted);
            assert_ne!(fit(&values, &[0, 2]), fitted);
            let z = fitted.transform(&[1.0, 5.0, 3.0, 5.0]).unwrap();
            for (got, expected) in z.iter().zip([-1.0, 0.0, 1.0, 0.0]) {
                assert!((got - expected).abs() < 1e-6, "{norm:?}: {z:?}");
            }
            let parts = fitted.parts().map(<[f32]>::to_vec);
            assert_eq!(ImageScaler::from_parts(parts, PYRAMID_LEVELS).unwrap(), fitted);
            assert!(ImageScaler::fit(&values, &[[true; NODES]; 4], &[0], norm).is_err());
            assert!(ImageScaler::fit(&values, &there, &[3], norm).is_err());
        }
    }

    #[test]
    fn components_change_the_width_and_are_saved() {
        let values: Vec<f32> = (0..4 * 36).map(|i| ((i * i * 7) % 31) as f32).collect();
        let there = [[true; NODES]; 4];
        let scaler = ImageScaler::fit(&values, &there, &[0, 1, 2], FeatureNorm::ZScore).unwrap();
        assert_eq!(scaler.features(), 2);
        let scaler = scaler.with_components(&values, &there, &[0, 1, 2], 1).unwrap();
        assert_eq!((scaler.features(), scaler.transform(&values).unwrap().len()), (6, 4 * 18 * 6));
        let parts = scaler.parts().map(<[f32]>::to_vec);
        assert_eq!(ImageScaler::from_parts(parts.clone(), PYRAMID_LEVELS).unwrap(), scaler);
        let [unit, mean, inverse, axes] = parts;
        assert!(ImageScaler::from_parts([unit, mean, inverse, axes[1..].to_vec()], PYRAMID_LEVELS).is_err());
    }

    /// Zeros that stand for a structure that is not there are no values of it.
    #[test]
    fn a_node_is_fitted_on_those_who_have_it() {
        let mut values: Vec<f32> = (0..5 * 36).map(|i| ((i * i * 7) % 31) as f32).collect();
        let mut there = [[true; NODES]; 5];
        there[1][4] = false;
        let fit = |values: &[f32]| {
            let fitted = ImageScaler::fit(values, &there, &[0, 1, 2, 3], FeatureNorm::LogZScore).unwrap();
            fitted.with_components(values, &there, &[0, 1, 2, 3], 2).unwrap()
        };
        let fitted = fit(&values);
        values[36 + 4 * 6..36 + 5 * 6].fill(0.0);
        assert_eq!(fit(&values), fitted);
        values[36 + 3 * 6] += 1.0;
        assert_ne!(fit(&values), fitted);
        // One patient alone cannot show how a node varies.
        let mut alone = [[false; NODES]; 5];
        alone[0] = [true; NODES];
        let one = ImageScaler::fit(&values, &alone, &[0, 1], FeatureNorm::ZScore).unwrap();
        assert!(one.transform(&values).unwrap().iter().all(|v| *v == 0.0));
    }

    #[test]
    fn features_can_stay_as_they_are() {
        let values = [1.0, 5.0, 3.0, 5.0];
        let scaler = ImageScaler::fit(&values, &[[true; NODES]; 2], &[0], FeatureNorm::None).unwrap();
        assert_eq!(scaler.transform(&values).unwrap(), values);
        assert_eq!(
            ImageScaler::from_parts(scaler.parts().map(<[f32]>::to_vec), PYRAMID_LEVELS).unwrap(),
            scaler
        );
    }

    /// Nodes of one vector have three times the features in as many numbers (S-01).
    #[test]
    fn a_node_can_have_one_vector() {
        let values: Vec<f32> = (0..4 * 36).map(|i| ((i * i * 7) % 31) as f32).collect();
        let there = [[true; NODES]; 4];
        let fit = || ImageScaler::fit(&values, &there, &[0, 1, 2], FeatureNorm::ZScore).unwrap();
        let one = fit().with_levels(1).unwrap();
        assert_eq!((fit().features(), one.features()), (2, 6));
        assert_eq!(one.transform(&values).unwrap(), fit().transform(&values).unwrap());
        let one = one.with_components(&values, &there, &[0, 1, 2], 2).unwrap();
        assert_eq!((one.features(), one.transform(&values).unwrap().len()), (12, 4 * 6 * 12));
        let parts = one.parts().map(<[f32]>::to_vec);
        assert_eq!(ImageScaler::from_parts(parts, 1).unwrap(), one);
        assert!(fit().with_levels(4).is_err() && fit().with_levels(0).is_err());
    }

    #[test]
    fn the_logarithm_tames_large_values() {
        let values = [1.0, 2.0, 3.0, 1000.0];
        let there = [[true; NODES]; 4];
        let largest_scaled = |norm| {
            ImageScaler::fit(&values, &there, &[0, 1, 2], norm).unwrap().transform(&values).unwrap()[3]
        };
        assert!(largest_scaled(FeatureNorm::ZScore) > 1000.0);
        assert!(largest_scaled(FeatureNorm::LogZScore) < 30.0);
    }
}
