use crate::features::NODES;
use crate::{Error, Result};
use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

/// The leading principal components of each image node, which stand side by side: a node has its own features and
/// zeros in place of the others'.
///
/// A few dozen patients cannot fit thousands of features, and nodes that share weights cancel where one organ's growth
/// means the opposite of another's; this mends both. Each node's scores are divided by the training deviation of its
/// first component, so that later components weigh as little as they vary.
///
/// The components are those of the mean over pyramid levels, and every level is projected onto them: mixing levels
/// and projecting commute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeComponents {
    /// \[6, count, d\], divided by the deviation of the first component.
    pub axes: Vec<f32>,
    /// Vectors of a node.
    pub levels: usize,
    /// Features of a vector before the projection.
    pub d: usize,
}

impl NodeComponents {
    /// Fits on the patients `train` of scaled `values`, patients x 6 x `levels` x `d`, each node on those who have it by `there`.
    pub fn fit(
        values: &[f32],
        (levels, d): (usize, usize),
        (there, train): (&[[bool; NODES]], &[usize]),
        count: usize,
    ) -> Result<Self> {
        if count == 0 || count >= train.len() || count > d {
            let limit = d.min(train.len().saturating_sub(1));
            return Err(Error::config("NodeComponents", "count", format!("between 1 and {limit}"), count));
        }
        let patient = NODES * levels * d;
        let axes = (0..NODES).into_par_iter().flat_map_iter(|node| {
            let level_mean = |&p: &usize| {
                let vectors = &values[p * patient + node * levels * d..][..levels * d];
                let sum = |i: usize| vectors.iter().skip(i).step_by(d).map(|&v| f64::from(v)).sum::<f64>();
                (0..d).map(|i| sum(i) / levels as f64).collect::<Vec<f64>>()
            };
            let rows: Vec<Vec<f64>> = train.iter().filter(|&&p| there[p][node]).map(level_mean).collect();
            let mut axes = principal_axes(&rows, count.min(rows.len()));
            // A node that few patients have has fewer components.
            axes.resize(count * d, 0.0);
            axes
        });
        Ok(NodeComponents { axes: axes.collect(), levels, d })
    }

    /// Components per node.
    pub fn count(&self) -> usize {
        self.axes.len() / (NODES * self.d)
    }

    /// Patients x 6 x levels x `d` -> patients x 6 x levels x (6 `count`).
    pub fn transform(&self, values: &[f32]) -> Vec<f32> {
        let count = self.count();
        let project = |(row, vector): (usize, &[f32])| {
            let node = row / self.levels % NODES;
            let mut out = vec![0f32; NODES * count];
            let axes = self.axes[node * count * self.d..].chunks(self.d);
            for (score, axis) in out[node * count..][..count].iter_mut().zip(axes) {
                *score = vector.iter().zip(axis).map(|(v, a)| f64::from(v * a)).sum::<f64>() as f32;
            }
            out
        };
        values.par_chunks(self.d).enumerate().flat_map_iter(project).collect()
    }
}

/// The first `count` principal axes of centred rows, one after the other, divided by the deviation along the first;
/// zeros where the rows do not vary.
///
/// With far fewer rows than columns the eigenvectors of the rows' products give those of the columns'.
fn principal_axes(rows: &[Vec<f64>], count: usize) -> Vec<f32> {
    let (n, d) = (rows.len(), rows.first().map_or(0, Vec::len));
    if rows.is_empty() {
        // Nobody has the node.
        return vec![];
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut products = DMatrix::zeros(n, n);
    for i in 0..n {
        for j in 0..=i {
            let value = dot(&rows[i], &rows[j]);
            (products[(i, j)], products[(j, i)]) = (value, value);
        }
    }
    let eigen = SymmetricEigen::new(products);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let largest = order.first().map_or(0.0, |&i| eigen.eigenvalues[i]);
    let unit = (largest / n as f64).sqrt();
    let mut axes = Vec::with_capacity(count * d);
    for &at in order.iter().take(count) {
        let (value, weights) = (eigen.eigenvalues[at], eigen.eigenvectors.column(at));
        if value.is_nan() || value <= 1e-10 * largest {
            axes.resize(axes.len() + d, 0.0);
            continue;
        }
        let mut axis = vec![0f64; d];
        for (row, w) in rows.iter().zip(weights.iter()) {
            axis.iter_mut().zip(row).for_each(|(a, v)| *a += w * v);
        }
        // An eigenvector's sign is arbitrary: the loading that weighs most is positive.
        let heaviest = axis.iter().copied().fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
        let scale = heaviest.signum() / (value.sqrt() * unit);
        axes.extend(axis.iter().map(|a| (a * scale) as f32));
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::PYRAMID_LEVELS;

    /// Rows (t, 2t, s), t and s without correlation, t with variance 5: the scores along (1, 2, 0) have a deviation
    /// of 5, by which both axes are divided; there is no third.
    #[test]
    fn axes_of_a_plane() {
        let rows = [(-3.0, 0.1), (3.0, 0.1), (-1.0, -0.1), (1.0, -0.1)].map(|(t, s)| vec![t, 2.0 * t, s]);
        let axes = principal_axes(&rows, 3);
        let (one, two) = (0.2 / 5f32.sqrt(), 0.4 / 5f32.sqrt());
        for (got, expected) in axes.iter().zip([one, two, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0]) {
            assert!((got - expected).abs() < 1e-6, "{axes:?}");
        }
    }

    /// Where no training patient has a structure, whoever has it later has zeros.
    #[test]
    fn a_node_that_nobody_has_has_no_components() {
        let (d, values) = (3, vec![1.5; 4 * NODES * 3]);
        let mut there = [[true; NODES]; 4];
        there.iter_mut().take(3).for_each(|t| t[2] = false);
        let fitted = NodeComponents::fit(&values, (1, d), (&there, &[0, 1, 2]), 2).unwrap();
        assert_eq!(fitted.count(), 2);
        assert!(fitted.axes[2 * 2 * d..][..2 * d].iter().all(|a| *a == 0.0));
        assert!(fitted.transform(&values).iter().all(|v| v.is_finite()));
    }

    /// Mixing levels and projecting commute, held-out patients do not matter, and nodes do not see each other.
    #[test]
    fn each_node_has_features_of_its_own() {
        let (d, patients) = (5, 6);
        let values: Vec<f32> = (0..patients * NODES * PYRAMID_LEVELS * d)
            .map(|i| ((i * i * 7 + 3 * i) % 97) as f32 - 48.0)
            .collect();
        let train = [0, 1, 2, 3];
        let there = [[true; NODES]; 6];
        let fit = |values: &[f32], train: &[usize], count| {
            NodeComponents::fit(values, (PYRAMID_LEVELS, d), (&there, train), count)
        };
        let fitted = fit(&values, &train, 2).unwrap();
        let mut other = values.clone();
        other[4 * NODES * PYRAMID_LEVELS * d..].fill(1e9);
        assert_eq!(fit(&other, &train, 2).unwrap(), fitted);
        assert_ne!(fit(&values, &[0, 1, 2, 4], 2).unwrap(), fitted);
        let scores = fitted.transform(&values);
        assert_eq!(scores.len(), patients * NODES * PYRAMID_LEVELS * 12);
        for (row, scores) in scores.chunks(12).enumerate() {
            let node = row / PYRAMID_LEVELS % NODES;
            assert!(scores.iter().enumerate().all(|(i, v)| i / 2 == node || *v == 0.0), "{scores:?}");
        }
        for count in [0, 4] {
            let error = fit(&values, &train, count).unwrap_err().to_string();
            assert_eq!(error, format!("NodeComponents: count must be between 1 and 3, got {count}"));
        }
    }
}
