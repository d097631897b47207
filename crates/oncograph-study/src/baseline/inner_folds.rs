//! How the penalty of a Cox model is chosen: by the cross-validated partial likelihood of Verweij and van Houwelingen,
//! *Cross-validation in survival analysis*, Statistics in Medicine 12, 1993.

use super::years_and_events;
use crate::Result;
use oncograph_core::{FollowUp, Seed};
use oncograph_datasets::splits::{merge_small_strata, stratified_k_fold};
use oncograph_metrics::{Survival, Ties, cox_log_likelihood};

/// The training rows of a Cox model.
pub(super) struct CoxRows {
    x: Vec<Vec<f64>>,
    years: Vec<f64>,
    events: Vec<bool>,
}

impl CoxRows {
    pub(super) fn new(x: Vec<Vec<f64>>, times: &[FollowUp]) -> Self {
        let (years, events) = years_and_events(times);
        CoxRows { x, years, events }
    }

    /// Covariates of each row.
    pub(super) fn width(&self) -> usize {
        self.x.first().map_or(0, Vec::len)
    }

    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.x.len()).collect()
    }

    /// Covariates row by row, times and events of some rows.
    pub(super) fn pick(&self, rows: &[usize]) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
        (
            rows.iter().flat_map(|&r| self.x[r].iter().copied()).collect(),
            rows.iter().map(|&r| self.years[r]).collect(),
            rows.iter().map(|&r| self.events[r]).collect(),
        )
    }

    /// The position of the penalty, of `penalties` from strong to weak, whose models lose least partial likelihood on the
    /// rows that they were not fitted on, the strongest of equals. `fit` gives, for a model on some rows with each penalty,
    /// the log risks of all rows.
    pub(super) fn best_penalty(
        &self,
        penalties: usize,
        ties: Ties,
        (folds, seed): (usize, Seed),
        fit: impl Fn(&[usize]) -> Result<Vec<Vec<f64>>>,
    ) -> Result<usize> {
        let strata: Vec<usize> = self.events.iter().map(|e| usize::from(*e)).collect();
        let all = self.all();
        let mut likelihood = vec![0.0; penalties];
        for fold in stratified_k_fold(&merge_small_strata(&strata, folds), folds, seed)? {
            for (sum, eta) in likelihood.iter_mut().zip(fit(&fold.train)?) {
                *sum += self.likelihood(&all, &eta, ties)? - self.likelihood(&fold.train, &eta, ties)?;
            }
        }
        Ok((0..penalties).rev().max_by(|&a, &b| likelihood[a].total_cmp(&likelihood[b])).unwrap_or(0))
    }

    fn likelihood(&self, rows: &[usize], eta: &[f64], ties: Ties) -> Result<f64> {
        let (_, years, events) = self.pick(rows);
        let eta: Vec<f64> = rows.iter().map(|&r| eta[r]).collect();
        Ok(cox_log_likelihood(&Survival::new(&years, &events)?, &eta, ties)?.log_likelihood)
    }
}
