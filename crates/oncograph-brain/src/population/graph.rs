use crate::{Error, Result};
use candle_core::{Device, Tensor};
use oncograph_graph::Graph;
use oncograph_nn::Seed;
use oncograph_nn::segment::Adjacency;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How alike two patients are (G-27).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Similarity {
    /// Cosine of the two vectors; 0 for a vector of zeros.
    #[default]
    Cosine,
    /// Pearson's correlation; 0 for a constant vector.
    Pearson,
    /// `exp(-gamma |a - b|^2)`: for a few clinical covariates, whose direction alone carries little information.
    Rbf {
        /// One over twice the squared width.
        gamma: f64,
    },
}

impl Similarity {
    /// The similarity of two vectors of one length.
    pub fn of(self, a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let cosine = |a: &[f64], b: &[f64]| {
            let norms = (dot(a, a) * dot(b, b)).sqrt();
            if norms > 0.0 { (dot(a, b) / norms).clamp(-1.0, 1.0) } else { 0.0 }
        };
        match self {
            Similarity::Cosine => cosine(a, b),
            Similarity::Pearson => {
                let centred = |v: &[f64]| {
                    let mean = v.iter().sum::<f64>() / v.len().max(1) as f64;
                    v.iter().map(|x| x - mean).collect::<Vec<_>>()
                };
                cosine(&centred(a), &centred(b))
            }
            Similarity::Rbf { gamma } => {
                (-gamma * a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>()).exp()
            }
        }
    }
}

/// Configuration of a population graph: which patients are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PopulationGraphConfig {
    /// How alike two patients are (G-27).
    pub similarity: Similarity,
    /// θ: patients are joined whose similarity is at least this; 0.5.
    pub threshold: f64,
    /// The strongest edges that a patient receives at most; `None`, as published, keeps all.
    pub max_neighbours: Option<usize>,
    /// The nearest patients that one without any edge is joined to; `None` leaves it with its self loop (G-27).
    pub fallback: Option<usize>,
}

impl Default for PopulationGraphConfig {
    /// As published: cosine of at least 0.5.
    fn default() -> Self {
        PopulationGraphConfig {
            similarity: Similarity::Cosine,
            threshold: 0.5,
            max_neighbours: None,
            fallback: None,
        }
    }
}

/// Edges between patients with their similarities.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PopulationEdges {
    /// Where each message comes from.
    pub sources: Vec<u32>,
    /// Where it goes to.
    pub targets: Vec<u32>,
    /// r of each edge.
    pub similarity: Vec<f64>,
}

impl PopulationGraphConfig {
    /// Sets the similarity.
    pub fn similarity(mut self, similarity: Similarity) -> Self {
        self.similarity = similarity;
        self
    }

    /// Sets the threshold.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets the largest number of edges that a patient receives.
    pub fn max_neighbours(mut self, count: Option<usize>) -> Self {
        self.max_neighbours = count;
        self
    }

    /// Sets the nearest patients that one without any edge is joined to.
    pub fn fallback(mut self, count: Option<usize>) -> Self {
        self.fallback = count;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "PopulationGraph";
        if !(-1.0..=1.0).contains(&self.threshold) {
            return Err(Error::config(NAME, "threshold", "in [-1, 1]", self.threshold));
        }
        if let Similarity::Rbf { gamma } = self.similarity
            && !(gamma > 0.0 && gamma.is_finite())
        {
            return Err(Error::config(NAME, "similarity.gamma", "above 0", gamma));
        }
        for (field, count) in [("max_neighbours", self.max_neighbours), ("fallback", self.fallback)] {
            if count == Some(0) {
                return Err(Error::config(NAME, field, "at least 1, or none", 0));
            }
        }
        Ok(())
    }

    /// The edges among patients; none from a patient to itself.
    ///
    /// # Errors
    /// [`Error::Argument`], or [`Error::Input`] for rows of several lengths or values that are not finite.
    pub fn edges(&self, rows: &[Vec<f64>]) -> Result<PopulationEdges> {
        check(self, rows, rows)?;
        let mut edges = PopulationEdges::default();
        for (i, row) in rows.iter().enumerate() {
            self.arriving(rows, Some(i), row, i as u32, &mut edges);
        }
        Ok(edges)
    }

    /// The edges from patients of a bank to new ones, whose numbers go on behind the bank's. Nothing leads from a new
    /// patient to the bank or to another new one, so that one does not change the prediction for another.
    ///
    /// # Errors
    /// As [`PopulationGraphConfig::edges`].
    pub fn attach(&self, bank: &[Vec<f64>], new: &[Vec<f64>]) -> Result<PopulationEdges> {
        check(self, bank, new)?;
        let mut edges = PopulationEdges::default();
        for (i, row) in new.iter().enumerate() {
            self.arriving(bank, None, row, (bank.len() + i) as u32, &mut edges);
        }
        Ok(edges)
    }

    /// Adds the edges that arrive at `target` from patients of `bank` other than `itself`.
    fn arriving(
        &self,
        bank: &[Vec<f64>],
        itself: Option<usize>,
        row: &[f64],
        target: u32,
        edges: &mut PopulationEdges,
    ) {
        let others = (0..bank.len()).filter(|j| Some(*j) != itself);
        let mut all: Vec<(u32, f64)> =
            others.map(|j| (j as u32, self.similarity.of(&bank[j], row))).collect();
        let strongest = |v: &mut Vec<(u32, f64)>, count: usize| {
            v.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            v.truncate(count);
            v.sort_by_key(|e| e.0);
        };
        let mut kept: Vec<(u32, f64)> = all.iter().copied().filter(|e| e.1 >= self.threshold).collect();
        if let Some(count) = self.max_neighbours {
            strongest(&mut kept, count);
        }
        if let (true, Some(count)) = (kept.is_empty(), self.fallback) {
            strongest(&mut all, count);
            kept = all;
        }
        for (source, similarity) in kept {
            edges.sources.push(source);
            edges.targets.push(target);
            edges.similarity.push(similarity);
        }
    }
}

fn check(config: &PopulationGraphConfig, bank: &[Vec<f64>], new: &[Vec<f64>]) -> Result<()> {
    config.validate()?;
    let width = bank.first().map_or(0, Vec::len);
    let bad = |row: &&Vec<f64>| row.len() != width || row.iter().any(|v| !v.is_finite());
    match bank.iter().chain(new).find(bad) {
        Some(row) => {
            let got = format!("{} values, {row:?}", row.len());
            Err(Error::input("PopulationGraph", format!("rows of {width} finite values"), got))
        }
        None => Ok(()),
    }
}

impl PopulationEdges {
    /// These edges and others.
    pub fn and(mut self, other: &PopulationEdges) -> Self {
        self.sources.extend(&other.sources);
        self.targets.extend(&other.targets);
        self.similarity.extend(&other.similarity);
        self
    }

    /// How many edges there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The control for the claim that the graph helps: as many edges into each patient, with the same similarities, from
    /// patients drawn at random among the first `sources`.
    pub fn shuffled(&self, sources: usize, seed: Seed) -> Self {
        let mut shuffled = self.clone();
        let mut start = 0;
        while start < self.len() {
            let target = self.targets[start];
            let count = self.targets[start..].iter().take_while(|t| **t == target).count();
            let mut others: Vec<u32> = (0..sources as u32).filter(|s| *s != target).collect();
            let mut rng = seed.at(u64::from(target)).rng();
            let (drawn, _) = others.partial_shuffle(&mut rng, count);
            shuffled.sources[start..start + drawn.len()].copy_from_slice(drawn);
            start += count;
        }
        shuffled
    }

    /// The graph of `nodes` patients with r as the attribute of each edge.
    ///
    /// # Errors
    /// An error for an edge to a patient that is not there.
    pub fn graph(&self, nodes: usize, device: &Device) -> Result<Graph> {
        let r: Vec<f32> = self.similarity.iter().map(|r| *r as f32).collect();
        let r = Tensor::from_vec(r, (self.len(), 1), device)?;
        let adjacency = Arc::new(Adjacency::new(nodes, nodes, &self.sources, &self.targets)?);
        Ok(Graph::new(adjacency, Some(r), &vec![0; nodes], 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<f64>> {
        vec![vec![1.0, 0.0], vec![1.0, 1.0], vec![0.0, 2.0], vec![-1.0, 0.1]]
    }

    #[test]
    fn edges_by_hand() {
        let edges = PopulationGraphConfig::default().edges(&rows()).unwrap();
        // 45 degrees between 0 and 1, 1 and 2; 2 and 3 are 84 degrees apart.
        assert_eq!(edges.sources, [1, 0, 2, 1]);
        assert_eq!(edges.targets, [0, 1, 1, 2]);
        edges.similarity.iter().for_each(|r| assert!((r - 0.5f64.sqrt()).abs() < 1e-12));
        let near = PopulationGraphConfig::default().fallback(Some(1)).edges(&rows()).unwrap();
        assert_eq!((near.sources[4], near.targets[4]), (2, 3));
        let one = PopulationGraphConfig::default().max_neighbours(Some(1)).edges(&rows()).unwrap();
        assert_eq!((one.sources, one.targets), (vec![1, 0, 1], vec![0, 1, 2]));
    }

    #[test]
    fn similarities_by_hand() {
        let (a, b) = ([1.0, 2.0, 3.0], [2.0, 4.0, 6.5]);
        assert!(Similarity::Pearson.of(&a, &b) > 0.99 && Similarity::Cosine.of(&[0.0; 3], &a) == 0.0);
        assert!((Similarity::Pearson.of(&a, &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        let rbf = Similarity::Rbf { gamma: 0.5 };
        assert!((rbf.of(&[0.0, 0.0], &[1.0, 1.0]) - (-1f64).exp()).abs() < 1e-12);
    }

    #[test]
    fn new_patients_only_receive() {
        let config = PopulationGraphConfig::default();
        let new = vec![vec![1.0, 0.2], vec![0.1, 1.0]];
        let both = config.attach(&rows(), &new).unwrap();
        assert!(both.sources.iter().all(|s| *s < 4) && both.targets.iter().all(|t| *t >= 4));
        let first = config.attach(&rows(), &new[..1]).unwrap();
        assert_eq!(both.sources[..first.len()], first.sources);
    }

    #[test]
    fn the_shuffled_control_keeps_degrees_and_similarities() {
        let rows: Vec<Vec<f64>> = (0..30).map(|i| vec![(i as f64).sin(), (i as f64 * 0.7).cos()]).collect();
        let edges = PopulationGraphConfig::default().edges(&rows).unwrap();
        let other = edges.shuffled(30, Seed::new(1));
        assert_eq!((&other.targets, &other.similarity), (&edges.targets, &edges.similarity));
        assert_ne!(other.sources, edges.sources);
        assert!(other.sources.iter().zip(&other.targets).all(|(s, t)| s != t));
        assert_eq!(other, edges.shuffled(30, Seed::new(1)));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let error = PopulationGraphConfig::default().threshold(2.0).edges(&rows()).unwrap_err().to_string();
        assert_eq!(error, "PopulationGraph: threshold must be in [-1, 1], got 2");
        let ragged = vec![vec![1.0], vec![1.0, 2.0]];
        let error = PopulationGraphConfig::default().edges(&ragged).unwrap_err().to_string();
        assert_eq!(error, "PopulationGraph: expected rows of 1 finite values, got 2 values, [1.0, 2.0]");
    }
}
