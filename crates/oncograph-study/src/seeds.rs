use crate::{Metric, Scores};
use oncograph_report::{Cell, ReportTable};

/// The spread of a metric over runs that differ in their seed, and so in their split, starting weights and order of batches.
///
/// Each run holds out other patients, so that there is no resampling that pairs them: what is shown is the runs themselves, their
/// mean and their standard deviation. Two rows whose means differ by less than that are not told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedSpread {
    /// The model.
    pub model: String,
    /// The metric of each run, in the order of the runs; `None` where it has no value.
    pub runs: Vec<Option<f64>>,
    /// How far the reference model is ahead in each run; `None` where one of the two has no value.
    pub ahead: Vec<Option<f64>>,
}

impl SeedSpread {
    /// One for each model of the first run, in its order.
    pub fn of(runs: &[Scores], task: &str, metric: Metric) -> Vec<Self> {
        let value = |scores: &Scores, model: &str| scores.row(model, task)?.metric(metric).map(|e| e.value);
        let spread = |model: &str| SeedSpread {
            model: model.to_string(),
            runs: runs.iter().map(|scores| value(scores, model)).collect(),
            ahead: runs
                .iter()
                .map(|scores| Some(value(scores, &scores.reference)? - value(scores, model)?))
                .collect(),
        };
        runs.first().into_iter().flat_map(|first| first.of_task(task)).map(|row| spread(&row.model)).collect()
    }

    /// Mean and standard deviation (n - 1) of the runs with a value; no deviation of fewer than two.
    pub fn mean_and_deviation(values: &[Option<f64>]) -> Option<(f64, Option<f64>)> {
        let values: Vec<f64> = values.iter().flatten().copied().collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        (n > 0.0).then(|| (mean, (n > 1.0).then(|| (square / (n - 1.0)).sqrt())))
    }
}

/// A table of [`SeedSpread`]: the models of the first run, a column for each run, mean and standard deviation, and the mean
/// and standard deviation of the reference model's lead.
pub fn seed_table(
    caption: impl Into<String>,
    runs: &[(u64, Scores)],
    task: &str,
    metric: Metric,
) -> ReportTable {
    let scores: Vec<Scores> = runs.iter().map(|run| run.1.clone()).collect();
    let reference = scores.first().map(|s| s.reference.clone()).unwrap_or_default();
    let header = std::iter::once("Model".to_string())
        .chain(runs.iter().map(|(seed, _)| format!("Seed {seed}")))
        .chain(["Mean (SD)".to_string(), format!("{reference} ahead by, mean (SD)")]);
    let number =
        |value: &Option<f64>| value.map_or_else(|| Cell::missing("undefined"), |v| Cell::number(v, 3));
    let summary = |values: &[Option<f64>]| match SeedSpread::mean_and_deviation(values) {
        Some((mean, Some(deviation))) => Cell::text(format!("{mean:.3} ({deviation:.3})")),
        Some((mean, None)) => Cell::number(mean, 3),
        None => Cell::missing("undefined"),
    };
    let table = ReportTable::new(caption, header);
    let table = SeedSpread::of(&scores, task, metric).iter().fold(table, |table, spread| {
        let ahead = if spread.model == reference { Cell::dash() } else { summary(&spread.ahead) };
        let cells = std::iter::once(Cell::text(spread.model.clone())).chain(spread.runs.iter().map(number));
        table.row(cells.chain([summary(&spread.runs), ahead]))
    });
    table.note(format!(
        "{} on the held-out patients of each seed, who are others each time. SD: standard deviation over the seeds. Rows whose \
         means differ by less than that are not told apart.",
        metric.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Nearest, Toy};
    use crate::{Constant, ScoreOptions, Study};
    use oncograph_core::Seed;
    use oncograph_train::RunDir;

    #[test]
    fn runs_are_side_by_side_with_mean_and_deviation() {
        let toy = Toy::new(80);
        let run = |seed: u64| {
            let folder = tempfile::tempdir().unwrap();
            let run = RunDir::create(folder.path()).unwrap();
            let study = Study::new(&toy, &run).seed(Seed::new(seed)).model("nearest", &Nearest);
            let results = study.baseline(Constant).run().unwrap();
            (seed, results.score(&toy, &ScoreOptions::default().replicates(50)).unwrap())
        };
        let runs = [run(1), run(2), run(3)];
        let value = |k: usize| runs[k].1.row("nearest", "survival").unwrap().first().unwrap().value;
        let scores: Vec<Scores> = runs.iter().map(|r| r.1.clone()).collect();
        let spread = &SeedSpread::of(&scores, "survival", Metric::CIndex)[1];
        assert_eq!(spread.model, "constant");
        assert_eq!(spread.ahead[2], Some(value(2) - 0.5));
        let (mean, deviation) = SeedSpread::mean_and_deviation(&[Some(1.0), None, Some(4.0)]).unwrap();
        assert_eq!((mean, deviation), (2.5, Some(4.5f64.sqrt())));
        assert_eq!(SeedSpread::mean_and_deviation(&[Some(1.0)]), Some((1.0, None)));
        assert_eq!(SeedSpread::mean_and_deviation(&[None]), None);
        let text = seed_table("c", &runs, "survival", Metric::CIndex).to_text();
        assert!(text.contains("Seed 3") && text.contains("0.500 (0.000)"), "{text}");
        assert!(text.contains(&format!("{:.3}", value(0))), "{text}");
    }
}
