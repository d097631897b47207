//! The tables of the paper, and which class sizes they are possible with, by integer search (section 9).

/// A published row: AUC, accuracy, sensitivity, specificity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedRow {
    /// The table.
    pub table: u8,
    /// What the row is called.
    pub row: &'static str,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Accuracy.
    pub accuracy: f64,
    /// What is printed as sensitivity.
    pub sensitivity: f64,
    /// What is printed as specificity.
    pub specificity: f64,
}

const fn printed(table: u8, row: &'static str, n: [f64; 4]) -> PublishedRow {
    PublishedRow { table, row, auc: n[0], accuracy: n[1], sensitivity: n[2], specificity: n[3] }
}

/// The rows of tables 2 to 4 of Wei et al. 2023 (arXiv 2203.10852).
pub const PUBLISHED: [PublishedRow; 21] = [
    printed(2, "u^T ; r(u^B)", [0.939, 0.879, 0.894, 0.812]),
    printed(2, "u^B ; r(u^T)", [0.914, 0.836, 0.833, 0.843]),
    printed(2, "<u^T,u^B> ; r(u^B)", [0.962, 0.905, 0.917, 0.875]),
    printed(2, "<> ; r(u^T)", [0.940, 0.862, 0.857, 0.875]),
    printed(2, "<> ; r(<>)", [0.888, 0.862, 0.905, 0.750]),
    printed(3, "ResNet 3D", [0.907, 0.810, 0.809, 0.813]),
    printed(3, "DenseNet 3D", [0.938, 0.853, 0.857, 0.844]),
    printed(3, "multi-modal + MLP", [0.936, 0.862, 0.893, 0.781]),
    printed(3, "multi-modal + SVM", [0.932, 0.871, 0.893, 0.813]),
    printed(3, "multi-modal + GNN", [0.962, 0.905, 0.917, 0.875]),
    printed(4, "f^I", [0.877, 0.802, 0.810, 0.781]),
    printed(4, "f^P", [0.858, 0.813, 0.809, 0.812]),
    printed(4, "f^B", [0.869, 0.810, 0.821, 0.781]),
    printed(4, "f^I+f^P", [0.874, 0.828, 0.833, 0.812]),
    printed(4, "f^B+f^P", [0.871, 0.819, 0.833, 0.781]),
    printed(4, "f^I+f^B", [0.876, 0.836, 0.860, 0.750]),
    printed(4, "f^I+f^P+L", [0.929, 0.853, 0.893, 0.750]),
    printed(4, "f^B+f^P+L", [0.887, 0.836, 0.869, 0.688]),
    printed(4, "f^I+f^B+L", [0.894, 0.845, 0.833, 0.875]),
    printed(4, "no attention", [0.924, 0.853, 0.869, 0.813]),
    printed(4, "no L_multi", [0.910, 0.836, 0.833, 0.844]),
];

/// PublishedCounts that a row's three shares may have been made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedCounts {
    /// Of the positive class.
    pub true_positives: usize,
    /// Of the negative class.
    pub true_negatives: usize,
}

/// Whether a share of a count prints as a number of three digits, rounded either way.
fn prints_as(count: usize, total: usize, printed: f64) -> bool {
    (count as f64 / total as f64 - printed).abs() < 0.001 - 1e-9
}

/// The counts of a row with these class sizes, if there are any.
pub fn published_counts(row: &PublishedRow, positives: usize, negatives: usize) -> Option<PublishedCounts> {
    let near = |share: f64, n: usize| {
        let middle = (share * n as f64).round() as usize;
        (middle.saturating_sub(1)..=(middle + 1).min(n)).filter(move |c| prints_as(*c, n, share))
    };
    let pairs = near(row.sensitivity, positives)
        .flat_map(|p| near(row.specificity, negatives).map(move |n| (p, n)).collect::<Vec<_>>());
    let mut fitting = pairs.filter(|(p, n)| prints_as(p + n, positives + negatives, row.accuracy));
    fitting.next().map(|(true_positives, true_negatives)| PublishedCounts { true_positives, true_negatives })
}

/// Class sizes by how many rows they fit, the best first; both classes of at least 10, 100 to 130 patients in all.
pub fn published_class_sizes() -> Vec<(usize, usize, usize)> {
    let mut found = vec![];
    for total in 100..=130usize {
        for positives in 10..=total - 10 {
            let fits = PUBLISHED
                .iter()
                .filter(|r| published_counts(r, positives, total - positives).is_some())
                .count();
            found.push((fits, positives, total - positives));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_of_class_sizes_fits_seventeen_rows() {
        let found = published_class_sizes();
        assert_eq!(found[0], (17, 84, 32));
        assert!(found[1].0 < 17, "{:?}", &found[..3]);
        let best = &PUBLISHED[2];
        assert_eq!(
            published_counts(best, 84, 32),
            Some(PublishedCounts { true_positives: 77, true_negatives: 28 })
        );
        let open: Vec<&str> =
            PUBLISHED.iter().filter(|r| published_counts(r, 84, 32).is_none()).map(|r| r.row).collect();
        assert_eq!(open, ["u^T ; r(u^B)", "f^P", "f^I+f^B", "f^B+f^P+L"]);
    }
}
