use crate::{Error, Result};
use candle_core::Tensor;
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The attention of a tract that no tumour point crosses, where the mean is not defined (G-10).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoCross {
    /// 1: the tract stays as it is.
    #[default]
    One,
    /// 0: the tract's attributes vanish.
    Zero,
    /// A small number.
    Epsilon(f64),
}

impl NoCross {
    fn value(self) -> f64 {
        match self {
            NoCross::One => 1.0,
            NoCross::Zero => 0.0,
            NoCross::Epsilon(e) => e,
        }
    }
}

/// The sparse matrix A of one patient: which tumour points cross which tracts. It is made once, in atlas space, so that a
/// later rotation of the points does not change it (G-34).
///
/// # Example
/// ```
/// use oncograph_brain::Incidence;
///
/// // Point 0 crosses tracts 1 and 2, point 1 tract 2; nothing crosses tract 0.
/// let incidence = Incidence::new(3, &[vec![1, 2], vec![2]])?;
/// assert_eq!((incidence.points(), incidence.crossings_per_tract()), (2, vec![0, 1, 2]));
/// # Ok::<(), oncograph_brain::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidence {
    tracts: usize,
    points: usize,
    /// Pairs (point, tract), ascending.
    pairs: Vec<(u32, u32)>,
}

impl Incidence {
    /// From the tracts that each point crosses.
    ///
    /// # Errors
    /// [`Error::Input`] for a tract that is not there, or one twice at a point.
    pub fn new(tracts: usize, crossed: &[Vec<u32>]) -> Result<Self> {
        let mut pairs = Vec::with_capacity(crossed.iter().map(Vec::len).sum());
        for (point, of_point) in crossed.iter().enumerate() {
            let mut of_point = of_point.clone();
            of_point.sort_unstable();
            let twice = of_point.windows(2).any(|w| w[0] == w[1]);
            if twice || of_point.last().is_some_and(|t| *t as usize >= tracts) {
                let expected = format!("each tract below {tracts} once");
                return Err(Error::input("Incidence", expected, format!("{of_point:?} at point {point}")));
            }
            pairs.extend(of_point.into_iter().map(|t| (point as u32, t)));
        }
        Ok(Incidence { tracts, points: crossed.len(), pairs })
    }

    /// How many tracts there are.
    pub fn tracts(&self) -> usize {
        self.tracts
    }

    /// How many points there are.
    pub fn points(&self) -> usize {
        self.points
    }

    /// K of every tract.
    pub fn crossings_per_tract(&self) -> Vec<usize> {
        let mut counts = vec![0; self.tracts];
        self.pairs.iter().for_each(|(_, t)| counts[*t as usize] += 1);
        counts
    }

    /// The pairs (point, tract), ascending.
    pub fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }
}

/// The incidence of a batch of patients, one block each.
#[derive(Debug, Clone)]
pub struct BatchIncidence {
    adjacency: Arc<Adjacency>,
    /// 1 for the tracts that nothing crosses.
    uncrossed: Vec<f32>,
    /// From the tracts that something crosses to their patients.
    crossed: Arc<Adjacency>,
}

impl BatchIncidence {
    /// Joins patients.
    ///
    /// # Errors
    /// An error of the adjacency.
    pub fn new(patients: &[&Incidence]) -> Result<Self> {
        let (mut points, mut tracts) = (0, 0);
        let (mut sources, mut targets, mut uncrossed) = (vec![], vec![], vec![]);
        let (mut crossed, mut crossed_by) = (vec![], vec![]);
        for (number, patient) in patients.iter().enumerate() {
            for (point, tract) in &patient.pairs {
                sources.push(points + point);
                targets.push(tracts + tract);
            }
            let crossings = patient.crossings_per_tract();
            for tract in (0..patient.tracts as u32).filter(|t| crossings[*t as usize] > 0) {
                crossed.push(tracts + tract);
                crossed_by.push(number as u32);
            }
            uncrossed.extend(crossings.into_iter().map(|k| if k == 0 { 1.0 } else { 0.0 }));
            points += patient.points as u32;
            tracts += patient.tracts as u32;
        }
        let adjacency = Adjacency::new(points as usize, tracts as usize, &sources, &targets)?;
        let crossed = Adjacency::new(tracts as usize, patients.len(), &crossed, &crossed_by)?;
        Ok(BatchIncidence { adjacency: Arc::new(adjacency), uncrossed, crossed: Arc::new(crossed) })
    }

    /// The mean attributes of the tracts that each patient's surface crosses; 0 where it crosses none.
    ///
    /// # Shapes
    /// \[tracts, attributes\] -> \[patients, attributes\]
    ///
    /// # Errors
    /// An error if there are other tracts.
    pub fn mean_crossed(&self, attributes: &Tensor) -> Result<Tensor> {
        Ok(gather_reduce(attributes, &self.crossed, Reduce::Mean)?)
    }

    /// a^E = D^-1 A a^P, the mean attention of the points that cross a tract, with a gradient to every point.
    ///
    /// # Shapes
    /// a^P \[points\] -> \[tracts\]
    ///
    /// # Errors
    /// An error if there are other points.
    pub fn edge_attention(&self, points: &Tensor, no_cross: NoCross) -> Result<Tensor> {
        let mean = gather_reduce(&points.unsqueeze(1)?, &self.adjacency, Reduce::Mean)?.squeeze(1)?;
        let uncrossed = Tensor::from_slice(&self.uncrossed, self.uncrossed.len(), points.device())?;
        let rest = (uncrossed * no_cross.value())?.to_dtype(points.dtype())?;
        Ok((mean + rest)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::{check_gradients, device};

    fn patients() -> [Incidence; 2] {
        [Incidence::new(3, &[vec![1, 2], vec![2], vec![]]).unwrap(), Incidence::new(2, &[vec![0]]).unwrap()]
    }

    /// Section 13: by hand, and finite where nothing crosses (K = 0).
    #[test]
    fn the_mean_over_crossing_points_by_hand() {
        let [a, b] = patients();
        let batch = BatchIncidence::new(&[&a, &b]).unwrap();
        let points = Tensor::new(&[0.2f64, 0.6, 0.9, 0.5], &device()).unwrap();
        for (no_cross, value) in [(NoCross::One, 1.0), (NoCross::Zero, 0.0), (NoCross::Epsilon(1e-3), 1e-3)] {
            let found = batch.edge_attention(&points, no_cross).unwrap().to_vec1::<f64>().unwrap();
            let expected = [value, 0.2, 0.4, 0.5, value];
            found.iter().zip(expected).for_each(|(f, e)| approx::assert_abs_diff_eq!(*f, e, epsilon = 1e-9));
        }
    }

    #[test]
    fn crossed_tracts_are_averaged_by_patient() {
        let [a, b] = patients();
        let none = Incidence::new(2, &[vec![]]).unwrap();
        let batch = BatchIncidence::new(&[&a, &none, &b]).unwrap();
        let tracts =
            Tensor::new(&[[1.0f64], [2.0], [4.0], [8.0], [16.0], [32.0], [64.0]], &device()).unwrap();
        let found = batch.mean_crossed(&tracts).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        // The first crosses tracts 1 and 2 of three, the second neither of two, the third the first of two.
        assert_eq!(found, [3.0, 0.0, 32.0]);
    }

    #[test]
    fn gradients_reach_the_points() {
        let [a, b] = patients();
        let batch = BatchIncidence::new(&[&a, &b]).unwrap();
        let points = Tensor::new(&[0.2f64, 0.6, 0.9, 0.5], &device()).unwrap();
        let run = |t: &[Tensor]| -> oncograph_nn::Result<Tensor> {
            Ok(batch.edge_attention(&t[0], NoCross::One).map_err(candle_core::Error::wrap)?)
        };
        check_gradients(run, &[points], 1e-6, 1e-8).unwrap();
    }

    #[test]
    fn unknown_and_repeated_tracts_are_refused() {
        let error = Incidence::new(2, &[vec![0], vec![2]]).unwrap_err().to_string();
        assert_eq!(error, "Incidence: expected each tract below 2 once, got [2] at point 1");
        assert!(Incidence::new(2, &[vec![1, 1]]).is_err());
    }
}
