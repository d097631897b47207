//! A metric of one model in one repetition, ready to be read on any resample: where it can, as sums over rows or over pairs
//! of rows, so that a resample costs no sorting.

use super::Metric;
use super::times::SlopeRow;
use crate::Target;
use crate::results::Held;

/// How often each row of a cohort was drawn.
pub(super) struct Draw<'a> {
    /// The drawn rows, some of them several times.
    pub rows: &'a [usize],
    /// Of each row of the cohort how often it is in `rows`.
    pub counts: Vec<f64>,
}

impl<'a> Draw<'a> {
    pub(super) fn new(rows: &'a [usize], all: usize) -> Self {
        let mut counts = vec![0.0; all];
        rows.iter().for_each(|&r| counts[r] += 1.0);
        Draw { rows, counts }
    }
}

/// A metric to be read on draws.
pub(super) enum Ready<'a> {
    Mean(RowMean),
    Pairs(PairShare),
    Slope(Vec<SlopeRow>),
    /// Of classes and labels: computed anew on each draw.
    Anew {
        metric: Metric,
        target: &'a Target,
        held: &'a [Option<Held>],
        threshold: f64,
    },
}

impl Ready<'_> {
    /// Its value on some rows; `None` where it is not defined.
    pub(super) fn of(&self, draw: &Draw<'_>) -> Option<f64> {
        match self {
            Ready::Mean(mean) => mean.of(draw),
            Ready::Pairs(share) => share.of(draw),
            Ready::Slope(rows) => SlopeRow::slope(rows, draw),
            Ready::Anew { metric, target, held, threshold } => {
                metric.of_probabilities_of(target, held, draw.rows, *threshold)
            }
        }
    }
}

/// The mean of a value over rows.
#[derive(Debug)]
pub(super) struct RowMean(pub Vec<(usize, f64)>);

impl RowMean {
    pub(super) fn of(&self, draw: &Draw<'_>) -> Option<f64> {
        let (mut sum, mut n) = (0.0, 0.0);
        for (row, value) in &self.0 {
            sum += draw.counts[*row] * value;
            n += draw.counts[*row];
        }
        (n > 0.0).then(|| sum / n)
    }
}

/// The weighted share of pairs in the right order, ties as halves.
#[derive(Debug, Default)]
pub(super) struct PairShare {
    cases: Vec<Case>,
    /// The other row of each pair, and 1, one half or 0.
    others: Vec<(usize, f64)>,
}

#[derive(Debug)]
struct Case {
    row: usize,
    weight: f64,
    others: std::ops::Range<usize>,
}

impl PairShare {
    /// Adds the pairs of a row that should have the higher risk.
    pub(super) fn add(&mut self, row: usize, weight: f64, others: impl Iterator<Item = (usize, f64)>) {
        let start = self.others.len();
        self.others.extend(others);
        self.cases.push(Case { row, weight, others: start..self.others.len() });
    }

    pub(super) fn of(&self, draw: &Draw<'_>) -> Option<f64> {
        let (mut right, mut pairs) = (0.0, 0.0);
        for case in &self.cases {
            let counted = draw.counts[case.row] * case.weight;
            if counted == 0.0 {
                continue;
            }
            let (mut own_right, mut own) = (0.0, 0.0);
            for (other, order) in &self.others[case.others.clone()] {
                own += draw.counts[*other];
                own_right += draw.counts[*other] * order;
            }
            right += counted * own_right;
            pairs += counted * own;
        }
        (pairs > 0.0).then(|| right / pairs)
    }
}
