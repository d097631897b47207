//! A survival tree: splits by the log-rank statistic, Nelson-Aalen estimates in its leaves.

use oncograph_core::FollowUp;
use rand::Rng;
use rand::seq::SliceRandom;

/// When a node is split, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TreeOptions {
    /// A node with fewer rows is a leaf.
    pub split: usize,
    /// Rows of a leaf at least.
    pub leaf: usize,
    /// Columns that are tried at a node, not counting those that are constant in it.
    pub columns: usize,
}

/// Covariates and outcomes that trees grow on.
pub(super) struct TreeRows<'a> {
    x: &'a [Vec<f64>],
    /// Distinct times of events, ascending, in years.
    pub times: Vec<f64>,
    /// Of each row, how many of `times` it was at risk at.
    reach: Vec<usize>,
    event: Vec<bool>,
}

impl<'a> TreeRows<'a> {
    pub(super) fn new(x: &'a [Vec<f64>], known: &[FollowUp]) -> Self {
        let of_events = known.iter().filter(|f| f.event()).map(|f| f.in_years());
        let mut times: Vec<f64> = of_events.collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let reach = known.iter().map(|f| times.partition_point(|t| *t <= f.in_years())).collect();
        TreeRows { x, times, reach, event: known.iter().map(|f| f.event()).collect() }
    }
}

enum Node {
    Split {
        column: usize,
        threshold: f64,
        left: usize,
        right: usize,
    },
    /// The cumulative hazard at each time of an event.
    Leaf(Vec<f64>),
}

/// A grown tree.
pub(super) struct SurvivalTree(Vec<Node>);

impl SurvivalTree {
    /// Grows a tree; `weight` is how often each row was drawn, and a row that was drawn several times is one row of a leaf.
    pub(super) fn grow(
        rows: &TreeRows<'_>,
        weight: Vec<f64>,
        options: TreeOptions,
        rng: &mut impl Rng,
    ) -> Self {
        let members = (0..weight.len()).filter(|&r| weight[r] > 0.0).collect();
        let mut tree = SurvivalTree(vec![]);
        Grower { rows, weight, options, rng }.node(members, &mut tree.0);
        tree
    }

    /// The cumulative hazard of a row at each time of an event.
    pub(super) fn hazard(&self, row: &[f64]) -> &[f64] {
        let mut at = 0;
        loop {
            match &self.0[at] {
                Node::Leaf(hazard) => return hazard,
                Node::Split { column, threshold, left, right } => {
                    at = if row[*column] <= *threshold { *left } else { *right };
                }
            }
        }
    }
}

struct Grower<'a, R> {
    rows: &'a TreeRows<'a>,
    weight: Vec<f64>,
    options: TreeOptions,
    rng: &'a mut R,
}

struct Split {
    statistic: f64,
    column: usize,
    threshold: f64,
}

impl<R: Rng> Grower<'_, R> {
    /// Adds the node of some rows and all below it; its position.
    fn node(&mut self, members: Vec<usize>, nodes: &mut Vec<Node>) -> usize {
        let place = nodes.len();
        let table = LifeTable::of(self.rows, &self.weight, &members);
        let Some(split) = self.best_split(&members, &table) else {
            nodes.push(Node::Leaf(table.hazard(self.rows.times.len())));
            return place;
        };
        let Split { column, threshold, .. } = split;
        let (low, high) = members.into_iter().partition(|&r| self.rows.x[r][column] <= threshold);
        nodes.push(Node::Split { column, threshold, left: 0, right: 0 });
        let (left, right) = (self.node(low, nodes), self.node(high, nodes));
        nodes[place] = Node::Split { column, threshold, left, right };
        place
    }

    fn best_split(&mut self, members: &[usize], table: &LifeTable) -> Option<Split> {
        if members.len() < self.options.split || members.len() < 2 * self.options.leaf {
            return None;
        }
        let mut columns: Vec<usize> = (0..self.rows.x[members[0]].len()).collect();
        columns.shuffle(self.rng);
        let (mut best, mut tried): (Option<Split>, usize) = (None, 0);
        for column in columns {
            if tried == self.options.columns {
                break;
            }
            let value = |r: usize| self.rows.x[r][column];
            let mut sorted = members.to_vec();
            sorted.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
            if value(sorted[0]) == value(sorted[sorted.len() - 1]) {
                continue;
            }
            tried += 1;
            let found = self.best_threshold(column, &sorted, table);
            if let Some(found) = found.filter(|f| best.as_ref().is_none_or(|b| f.statistic > b.statistic)) {
                best = Some(found);
            }
        }
        best
    }

    /// The threshold of one column, by whose values `sorted` is sorted, at which the log-rank statistic is largest.
    fn best_threshold(&self, column: usize, sorted: &[usize], table: &LifeTable) -> Option<Split> {
        let mut left = LifeTable {
            risk: vec![0.0; table.risk.len()],
            events: vec![0.0; table.risk.len()],
            ..table.clone()
        };
        let mut best: Option<Split> = None;
        for at in 1..=sorted.len() - self.options.leaf {
            left.add(self.rows, &self.weight, sorted[at - 1]);
            let (below, above) = (self.rows.x[sorted[at - 1]][column], self.rows.x[sorted[at]][column]);
            if at < self.options.leaf || below == above {
                continue;
            }
            let Some(statistic) = left.log_rank(table) else { continue };
            if best.as_ref().is_none_or(|b| statistic > b.statistic) {
                // Halves first: the sum of two large values may overflow.
                best = Some(Split { statistic, column, threshold: below / 2.0 + above / 2.0 });
            }
        }
        best
    }
}

/// Who was at risk and who had the event, at each time at which a row of the node had one.
#[derive(Clone)]
struct LifeTable {
    /// Positions among all times of events.
    at: Vec<usize>,
    risk: Vec<f64>,
    events: Vec<f64>,
}

impl LifeTable {
    fn of(rows: &TreeRows<'_>, weight: &[f64], members: &[usize]) -> Self {
        let mut at: Vec<usize> =
            members.iter().filter(|&&r| rows.event[r]).map(|&r| rows.reach[r] - 1).collect();
        at.sort_unstable();
        at.dedup();
        let zeros = vec![0.0; at.len()];
        let mut table = LifeTable { at, risk: zeros.clone(), events: zeros };
        members.iter().for_each(|&r| table.add(rows, weight, r));
        table
    }

    fn add(&mut self, rows: &TreeRows<'_>, weight: &[f64], row: usize) {
        let reached = self.at.partition_point(|&k| k < rows.reach[row]);
        self.risk[..reached].iter_mut().for_each(|n| *n += weight[row]);
        if rows.event[row] {
            self.events[reached - 1] += weight[row];
        }
    }

    /// The two-sided log-rank statistic of these rows, a part of those of `all`, against the others; `None` if its variance
    /// is 0.
    fn log_rank(&self, all: &LifeTable) -> Option<f64> {
        let (mut excess, mut variance) = (0.0, 0.0);
        for k in 0..self.risk.len() {
            let (n, d) = (all.risk[k], all.events[k]);
            let share = self.risk[k] / n;
            excess += self.events[k] - d * share;
            if n > 1.0 {
                variance += share * (1.0 - share) * (n - d) / (n - 1.0) * d;
            }
        }
        (variance > 0.0).then(|| excess.abs() / variance.sqrt())
    }

    /// The Nelson-Aalen estimate at all of `times` times.
    fn hazard(&self, times: usize) -> Vec<f64> {
        let mut hazard = vec![0.0; times];
        for ((&at, n), d) in self.at.iter().zip(&self.risk).zip(&self.events) {
            hazard[at] = d / n;
        }
        let mut sum = 0.0;
        hazard.iter_mut().for_each(|h| {
            sum += *h;
            *h = sum;
        });
        hazard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_core::Seed;

    /// Covariates, years and whether the event was seen.
    const ROWS: [([f64; 3], f64, bool); 40] = [
        ([2.5, 2.5, 0.0], 1.1875, false),
        ([-1.75, -3.625, -1.0], 1.3125, true),
        ([-0.75, -3.625, -4.0], 3.875, true),
        ([4.0, 1.25, -2.0], 0.25, true),
        ([-0.5, 3.75, 3.0], 6.8125, false),
        ([2.75, -0.875, 0.0], 1.4375, true),
        ([1.375, -3.5, 0.0], 1.25, true),
        ([-1.875, 3.0, -4.0], 4.9375, false),
        ([1.375, 3.0, -2.0], 1.75, true),
        ([3.125, 3.0, -4.0], 0.0625, true),
        ([1.625, -4.0, 0.0], 0.125, true),
        ([-0.5, -2.375, -1.0], 0.625, true),
        ([2.5, -1.5, -3.0], 0.5625, true),
        ([1.625, -0.375, 2.0], 0.375, true),
        ([-2.125, -1.5, 2.0], 0.5, true),
        ([0.0, 0.0, -2.0], 3.0625, true),
        ([-3.875, 3.5, -3.0], 3.375, false),
        ([2.75, -1.0, 4.0], 0.875, true),
        ([-0.75, 3.5, 0.0], 3.0625, false),
        ([-2.125, 1.875, 1.0], 1.375, false),
        ([1.5, -0.25, -2.0], 1.125, false),
        ([1.125, -3.125, 2.0], 1.0, true),
        ([1.125, -1.0, 2.0], 3.0, true),
        ([-2.5, -0.875, 2.0], 2.3125, false),
        ([-1.0, 1.75, 1.0], 4.1875, true),
        ([3.5, 3.875, 2.0], 1.75, true),
        ([2.5, -2.75, 2.0], 0.5, true),
        ([2.75, -0.75, 0.0], 1.4375, true),
        ([-0.125, 3.625, -2.0], 4.6875, true),
        ([-0.75, -4.0, -1.0], 2.5625, true),
        ([1.0, 3.5, 3.0], 4.25, true),
        ([-1.375, 3.875, -2.0], 4.625, false),
        ([2.625, -2.75, -1.0], 0.3125, true),
        ([-3.375, 2.875, 3.0], 4.9375, false),
        ([-2.875, 0.25, -2.0], 8.375, false),
        ([-0.125, 0.375, -3.0], 0.25, true),
        ([2.875, -1.75, 0.0], 0.0625, true),
        ([-3.5, -4.0, -2.0], 3.0, false),
        ([-1.25, 3.375, 3.0], 2.5625, false),
        ([-0.125, -0.375, 1.0], 3.5625, false),
    ];

    /// Splits, hazards and risks of `sksurv.tree.SurvivalTree(max_features=None)`, scikit-survival 0.28.0.
    #[test]
    fn a_tree_on_all_columns_is_that_of_scikit_survival() {
        let x: Vec<Vec<f64>> = ROWS.iter().map(|r| r.0.to_vec()).collect();
        let known: Vec<FollowUp> = ROWS.iter().map(|r| FollowUp::years(r.1, r.2).unwrap()).collect();
        let rows = TreeRows::new(&x, &known);
        let options = TreeOptions { split: 6, leaf: 3, columns: 3 };
        let tree = SurvivalTree::grow(&rows, vec![1.0; ROWS.len()], options, &mut Seed::new(1).rng());
        let splits: Vec<Option<(usize, f64)>> = tree
            .0
            .iter()
            .map(|node| match node {
                Node::Split { column, threshold, .. } => Some((*column, *threshold)),
                Node::Leaf(_) => None,
            })
            .collect();
        let leaf = None;
        let expected = [
            Some((0, 1.5625)),
            Some((1, -0.9375)),
            Some((1, -3.5625)),
            leaf,
            leaf,
            Some((0, -0.3125)),
            Some((1, 1.8125)),
            leaf,
            leaf,
            Some((0, -0.0625)),
            leaf,
            leaf,
            Some((1, -1.625)),
            leaf,
            Some((2, -1.0)),
            leaf,
            Some((1, -0.5625)),
            leaf,
            leaf,
        ];
        assert_eq!(splits, expected);
        assert_eq!((rows.times.len(), rows.times[2], rows.times[20]), (21, 0.25, 4.6875));
        let asked = [
            ([-2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5], 1.5),
            ([0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 11.0 / 6.0], 43.0 / 6.0),
            ([3.0, -1.0, -2.0], [5.0 / 6.0, 5.0 / 6.0, 11.0 / 6.0, 11.0 / 6.0], 31.5),
            ([1.0, 3.0, 3.0], [0.0, 0.0, 0.0, 11.0 / 6.0], 43.0 / 6.0),
            ([-3.5, -3.5, -3.0], [0.0, 0.2, 77.0 / 60.0, 137.0 / 60.0], 22.2),
        ];
        for (row, expected, risk) in asked {
            let hazard = tree.hazard(&row);
            for (k, expected) in [2, 5, 10, 20].into_iter().zip(expected) {
                assert!((hazard[k] - expected).abs() < 1e-12, "{row:?} at {k}: {}", hazard[k]);
            }
            assert!((hazard.iter().sum::<f64>() - risk).abs() < 1e-12);
        }
    }

    #[test]
    fn rows_drawn_twice_count_twice_at_risk_and_once_in_a_leaf() {
        let x: Vec<Vec<f64>> = (0..6).map(|i| vec![f64::from(i)]).collect();
        let known: Vec<FollowUp> = (1..=6).map(|y| FollowUp::years(f64::from(y), true).unwrap()).collect();
        let rows = TreeRows::new(&x, &known);
        let options = TreeOptions { split: 6, leaf: 3, columns: 1 };
        let grow =
            |weight: [f64; 6]| SurvivalTree::grow(&rows, weight.to_vec(), options, &mut Seed::new(1).rng());
        // Five rows are fewer than six, however often they were drawn.
        assert_eq!(grow([2.0, 1.0, 1.0, 1.0, 1.0, 0.0]).0.len(), 1);
        let tree = grow([2.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(tree.0.len(), 3);
        assert_eq!(tree.hazard(&[0.0])[..3], [0.5, 1.0, 2.0]);
        assert_eq!(tree.hazard(&[5.0])[2..], [0.0, 1.0 / 3.0, 1.0 / 3.0 + 0.5, 1.0 / 3.0 + 1.5]);
    }
}
