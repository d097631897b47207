use super::*;
use crate::testing::{Signed, Toy};
use crate::{Answer, Baseline, Inputs, Study, roc_curves};
use oncograph_report::Cell;
use oncograph_train::RunDir;
use std::cmp::Ordering;

/// Right about every class that is the sign of the covariate.
struct Oracle;

impl Baseline for Oracle {
    fn name(&self) -> String {
        "oracle".into()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let p = |&row: &usize| if inputs.design.rows[row][0] > 0.0 { 0.9 } else { 0.1 };
        let answer = |row| Answer::Probabilities(vec![1.0 - p(row), p(row)]);
        Ok((task.name == "response").then(|| inputs.test.iter().map(answer).collect()))
    }
}

/// Each patient with four equal scans: four times the rows, and no more certainty.
#[test]
fn scans_of_one_patient_do_not_make_an_interval_narrower() {
    let groups: Vec<usize> = (0..160).map(|i| i / 4).collect();
    let repeated = groups.iter().enumerate().fold(Toy::new(160), |toy, (to, g)| toy.repeated(4 * g, to));
    let width = |toy: &Toy| {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        let right = Signed(1.0);
        let results = Study::new(toy, &run).cross_validation(4, 1).model("right", &right).run().unwrap();
        let scores = results.score(toy, &ScoreOptions::default().replicates(400)).unwrap();
        let (low, high) = scores.row("right", "survival").unwrap().first().unwrap().interval().unwrap();
        high - low
    };
    let mut grouped = repeated.clone();
    grouped.groups = Some(groups);
    let (rows, patients) = (width(&repeated), width(&grouped));
    assert!(patients > 1.4 * rows, "{patients} {rows}");
}

#[test]
fn what_every_resample_agrees_on_has_no_interval() {
    let estimate = |low, high| Estimate { value: 1.0, low, high };
    assert_eq!(estimate(1.0, 1.0).to_string(), "1.000 (no interval)");
    assert_eq!(estimate(0.5, 1.0).to_string(), "1.000 (0.500 to 1.000)");
    assert_eq!(estimate(1.0, 1.0).cell(2), Cell::number(1.0, 2));
    let side = |low, high| estimate(low, high).side_of(0.6);
    assert_eq!([side(1.0, 1.0), side(0.5, 1.0)], [None; 2]);
    assert_eq!([side(0.7, 1.0), side(0.1, 0.2)], [Some(Ordering::Greater), Some(Ordering::Less)]);
}

/// A model that is always right: its curve and its table are made, without an interval.
#[test]
fn a_perfect_model_is_scored_and_drawn() {
    let (mut toy, folder) = (Toy::new(40), tempfile::tempdir().unwrap());
    toy.set_classes(|x| x > 0.0);
    let run = RunDir::create(folder.path()).unwrap();
    let results = Study::new(&toy, &run).cross_validation(4, 1).baseline(Oracle).run().unwrap();
    let scores = results.score(&toy, &ScoreOptions::default().replicates(100)).unwrap();
    let auroc = scores.row("oracle", "response").unwrap().metric(Metric::Auroc).unwrap();
    assert_eq!((auroc.value, auroc.interval()), (1.0, None));
    let figure = roc_curves(&results, &toy, &scores, &["oracle"], "response").unwrap();
    assert!(figure.alt().contains("AUC 1.00.") && !figure.alt().contains(" to "), "{}", figure.alt());
    let table = crate::ScoreTable::new("c").of(&scores, "response").to_text();
    assert!(table.contains("No interval") && !table.contains("1.000 to 1.000"), "{table}");
    scores.write_metrics(&run.file("metrics.csv")).unwrap();
    let csv = std::fs::read_to_string(run.file("metrics.csv")).unwrap();
    assert!(csv.lines().any(|l| l.contains("AUROC,1.0,,")), "{csv}");
}
