//! Which rows a training step sees.

use crate::{Error, Result};
use oncograph_nn::Seed;
use rand::seq::SliceRandom;

/// Rows as numbers of a tensor.
pub(crate) fn row_numbers(rows: &[usize]) -> Vec<u32> {
    rows.iter().map(|&row| row as u32).collect()
}

/// Rows in the order of an epoch, cut into batches. A last batch below `least` rows is joined to the one before.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    rows: Vec<u32>,
    batch: usize,
    least: usize,
    seed: Seed,
}

impl Batches {
    pub fn new(op: &'static str, rows: Vec<u32>, batch: usize, least: usize, seed: Seed) -> Result<Self> {
        if rows.len() < least.max(1) {
            return Err(Error::input(op, format!("{} rows to train on", least.max(1)), rows.len()));
        }
        if batch < least.max(1) {
            return Err(Error::config(op, "batch", format!("at least {}", least.max(1)), batch));
        }
        Ok(Batches { rows, batch, least, seed })
    }

    pub fn steps(&self) -> usize {
        let (whole, rest) = (self.rows.len() / self.batch, self.rows.len() % self.batch);
        (whole + usize::from(rest >= self.least.max(1))).max(1)
    }

    /// The rows of a step; an epoch has each once.
    pub fn at(&self, epoch: usize, step: usize) -> Vec<u32> {
        let mut order = self.rows.clone();
        order.shuffle(&mut self.seed.stream("order").at(epoch as u64).rng());
        let end = if step + 1 == self.steps() { order.len() } else { (step + 1) * self.batch };
        order[step * self.batch..end].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_seen_once_and_no_batch_is_too_small() {
        for (rows, batch, least, steps) in [(10, 4, 1, 3), (9, 4, 2, 2), (3, 4, 2, 1), (8, 4, 2, 2)] {
            let batches = Batches::new("test", (0..rows).collect(), batch, least, Seed::new(1)).unwrap();
            assert_eq!(batches.steps(), steps);
            let mut all: Vec<u32> = (0..steps).flat_map(|s| batches.at(2, s)).collect();
            assert!((0..steps).all(|s| batches.at(2, s).len() >= least));
            assert_ne!(batches.at(0, 0), batches.at(1, 0));
            all.sort_unstable();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
        }
        assert!(Batches::new("test", vec![1], 4, 2, Seed::new(1)).is_err());
        assert!(Batches::new("test", vec![1, 2], 1, 2, Seed::new(1)).is_err());
    }
}
