//! `--paper-audit`: which class sizes the published tables are possible with, by integer search (section 9).

use oncograph::report::{Cell, ReportTable};

/// A published row: AUC, accuracy, sensitivity, specificity.
pub struct Printed {
    pub table: u8,
    pub row: &'static str,
    pub auc: f64,
    pub accuracy: f64,
    pub sensitivity: f64,
    pub specificity: f64,
}

const fn printed(table: u8, row: &'static str, n: [f64; 4]) -> Printed {
    Printed { table, row, auc: n[0], accuracy: n[1], sensitivity: n[2], specificity: n[3] }
}

/// The rows of tables 2 to 4 of arXiv 2203.10852.
pub const ROWS: [Printed; 21] = [
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

/// Counts that a row's three shares may have been made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub true_positives: usize,
    pub true_negatives: usize,
}

/// Whether a share of a count prints as a number of three digits, rounded either way.
fn prints_as(count: usize, of: usize, printed: f64) -> bool {
    (count as f64 / of as f64 - printed).abs() < 0.001 - 1e-9
}

/// The counts of a row with these class sizes, if there are any.
pub fn counts(row: &Printed, positives: usize, negatives: usize) -> Option<Counts> {
    let near = |share: f64, n: usize| {
        let middle = (share * n as f64).round() as usize;
        (middle.saturating_sub(1)..=(middle + 1).min(n)).filter(move |c| prints_as(*c, n, share))
    };
    let pairs = near(row.sensitivity, positives)
        .flat_map(|p| near(row.specificity, negatives).map(move |n| (p, n)).collect::<Vec<_>>());
    let mut fitting = pairs.filter(|(p, n)| prints_as(p + n, positives + negatives, row.accuracy));
    fitting.next().map(|(true_positives, true_negatives)| Counts { true_positives, true_negatives })
}

/// Class sizes by how many rows they fit, the best first; both classes of at least 10, 100 to 130 patients in all.
pub fn search() -> Vec<(usize, usize, usize)> {
    let mut found = vec![];
    for total in 100..=130usize {
        for positives in 10..=total - 10 {
            let fits = ROWS.iter().filter(|r| counts(r, positives, total - positives).is_some()).count();
            found.push((fits, positives, total - positives));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    found
}

pub fn run() {
    let found = search();
    let best = found[0];
    let sizes = found.iter().take(5).fold(
        ReportTable::new(
            "Class sizes by the published rows that they fit",
            ["Positive", "Negative", "All", "Rows of 21"],
        ),
        |table, (fits, p, n)| table.row([p, n, &(p + n), fits].map(|v| Cell::count(*v))),
    );
    println!("{}", sizes.to_text());
    let header = ["Table", "Row", "AUC", "ACC", "SEN", "SPE", "True positives", "True negatives"];
    let caption = format!("Every row with {} positives and {} negatives", best.1, best.2);
    let rows = ROWS.iter().fold(ReportTable::new(caption, header), |table, r| {
        let counts = counts(r, best.1, best.2);
        let why = "does not close";
        table.row([
            Cell::count(usize::from(r.table)),
            Cell::text(r.row),
            Cell::number(r.auc, 3),
            Cell::number(r.accuracy, 3),
            Cell::number(r.sensitivity, 3),
            Cell::number(r.specificity, 3),
            counts.map_or_else(|| Cell::missing(why), |c| Cell::count(c.true_positives)),
            counts.map_or_else(|| Cell::missing(why), |c| Cell::count(c.true_negatives)),
        ])
    });
    println!("{}", rows.to_text());
    println!(
        "{} of the {} test patients are \"positive\", yet about 74 % of the cohort are wild types: the printed sensitivity is \
         recall of wild types. The text counts 117 test patients, the rows {}.",
        best.1,
        best.1 + best.2,
        best.1 + best.2
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_of_class_sizes_fits_seventeen_rows() {
        let found = search();
        assert_eq!(found[0], (17, 84, 32));
        assert!(found[1].0 < 17, "{:?}", &found[..3]);
        let best = &ROWS[2];
        assert_eq!(counts(best, 84, 32), Some(Counts { true_positives: 77, true_negatives: 28 }));
        let open: Vec<&str> = ROWS.iter().filter(|r| counts(r, 84, 32).is_none()).map(|r| r.row).collect();
        assert_eq!(open, ["u^T ; r(u^B)", "f^P", "f^I+f^B", "f^B+f^P+L"]);
    }
}
