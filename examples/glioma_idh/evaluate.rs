//! The numbers of a classifier of IDH: every metric with its interval, and the trivial baselines beside it.

use oncograph::metrics::{
    Binning, BootstrapConfig, Confusion, IntervalMethod, average_precision, bootstrap, brier_loss,
    calibration_slope, delong_interval, delong_test, expected_calibration_error,
};
use oncograph::nn::Seed;
use oncograph::report::{Cell, ReportTable};
use serde::{Deserialize, Serialize};

/// What a model says of patients: the probability of a mutation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    pub model: String,
    pub probability: Vec<f64>,
    /// The probability from which a patient is called mutant (G-32).
    pub threshold: f64,
}

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    pub fn cell(&self) -> Cell {
        Cell::interval(self.value, self.low, self.high, 3)
    }
}

/// One model's numbers over some patients; the positive class is the mutation (G-01).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub model: String,
    pub patients: usize,
    pub mutants: usize,
    /// With DeLong's interval; `None` for a constant, whose AUC is 0.5 by definition.
    pub auc: Option<Estimate>,
    pub auprc: Option<Estimate>,
    pub accuracy: Estimate,
    /// Recall of mutants: what the paper prints as specificity.
    pub sensitivity: Option<f64>,
    /// Recall of wild types: what the paper prints as sensitivity.
    pub specificity: Option<f64>,
    pub brier: Estimate,
    pub calibration_error: Option<f64>,
    pub calibration_slope: Option<f64>,
    /// DeLong's two-sided p against the reference model.
    pub p_against: Option<f64>,
}

/// A number of labels and probabilities; none where it is not defined.
type Statistic<'a> = dyn Fn(&[bool], &[f64]) -> Option<f64> + Sync + 'a;

/// The row of one model; `reference` is what its AUC is tested against.
pub fn row(scores: &Scores, labels: &[bool], reference: Option<&Scores>, seed: Seed) -> anyhow::Result<Row> {
    let p = &scores.probability;
    let constant = p.windows(2).all(|w| w[0] == w[1]);
    let confusion = Confusion::at(labels, p, scores.threshold)?;
    let interval = |stream: &str, statistic: &Statistic<'_>| {
        let options = BootstrapConfig::new().replicates(1000).method(IntervalMethod::Percentile);
        let of = |rows: &[usize]| {
            let labels: Vec<bool> = rows.iter().map(|&i| labels[i]).collect();
            statistic(&labels, &rows.iter().map(|&i| p[i]).collect::<Vec<_>>())
        };
        let found = bootstrap(labels.len(), &options, &mut seed.stream(stream).rng(), of)?;
        anyhow::Ok(Estimate { value: found.estimate, low: found.lower, high: found.upper })
    };
    let auc = (!constant).then(|| delong_interval(labels, p, 0.95)).transpose()?;
    let accuracy = |l: &[bool], p: &[f64]| {
        let right = l.iter().zip(p).filter(|(l, p)| (**p >= scores.threshold) == **l).count();
        Some(right as f64 / l.len() as f64)
    };
    let tested = match reference {
        // Equal scores, for example on equal covariates, have no difference to test.
        Some(other) if !constant && other.probability != scores.probability => {
            Some(delong_test(labels, p, &other.probability)?.p_value)
        }
        _ => None,
    };
    Ok(Row {
        model: scores.model.clone(),
        patients: labels.len(),
        mutants: labels.iter().filter(|l| **l).count(),
        auc: auc.map(|a| Estimate { value: a.auc, low: a.lower, high: a.upper }),
        auprc: (!constant).then(|| interval("auprc", &|l, p| average_precision(l, p).ok())).transpose()?,
        accuracy: interval("accuracy", &accuracy)?,
        sensitivity: confusion.sensitivity(),
        specificity: confusion.specificity(),
        brier: interval("brier", &|l, p| brier_loss(l, p).ok())?,
        calibration_error: expected_calibration_error(labels, p, 10).ok(),
        calibration_slope: calibration_slope(labels, &inside(p)).ok().map(|c| c.slope),
        p_against: tested,
    })
}

/// Probabilities strictly between 0 and 1, as a logit needs them.
fn inside(p: &[f64]) -> Vec<f64> {
    p.iter().map(|p| p.clamp(1e-9, 1.0 - 1e-9)).collect()
}

/// Points of the calibration plot of a model.
pub fn calibration(scores: &Scores, labels: &[bool]) -> anyhow::Result<oncograph::report::Figure> {
    let bins = oncograph::metrics::calibration_curve(labels, &scores.probability, 10, Binning::Quantile)?;
    let points: Vec<_> = bins.iter().map(Into::into).collect();
    Ok(oncograph::report::chart::calibration(&points, "probability of an IDH mutation")?
        .titled(&scores.model))
}

/// The table of rows; constants are emphasised.
pub fn table(caption: impl Into<String>, rows: &[Row], reference: Option<&str>) -> ReportTable {
    let mut header: Vec<String> =
        ["Model", "AUC", "AUPRC", "Accuracy", "Sensitivity", "Specificity", "Brier", "ECE"]
            .map(String::from)
            .to_vec();
    if let Some(reference) = reference {
        header.push(format!("p against {reference}"));
    }
    let cells = |r: &Row| {
        let mut cells = vec![
            Cell::text(r.model.clone()),
            r.auc.as_ref().map_or_else(|| Cell::missing("0.5 by definition"), Estimate::cell),
            r.auprc.as_ref().map_or_else(|| Cell::missing("prevalence"), Estimate::cell),
            r.accuracy.cell(),
            Cell::number_or(r.sensitivity, 3, "no mutant"),
            Cell::number_or(r.specificity, 3, "no wild type"),
            r.brier.cell(),
            Cell::number_or(r.calibration_error, 3, "undefined"),
        ];
        if reference.is_some() {
            let why = if r.auc.is_some() { "same scores" } else { "no ranking" };
            cells.push(r.p_against.map_or_else(|| Cell::missing(why), Cell::p_value));
        }
        cells
    };
    let table = rows.iter().fold(ReportTable::new(caption, header), |table, row| {
        if row.auc.is_none() { table.emphasised_row(cells(row)) } else { table.row(cells(row)) }
    });
    table.note(
        "Positive class: IDH mutation. AUC with DeLong's interval, the others 95 % bootstrap intervals. Sensitivity is \
         recall of mutants; the paper's tables print recall of wild types under that name.",
    )
}

/// `metrics.csv`: one line per model.
pub fn metrics_csv(title: &str, rows: &[Row]) -> String {
    let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let ends =
        |e: &Option<Estimate>| e.map_or_else(|| ",,".into(), |e| format!("{},{},{}", e.value, e.low, e.high));
    let mut csv = String::new();
    for r in rows {
        csv += &format!(
            "\"{title}\",\"{}\",{},{},{},{},{},{},{},{},{},{},{}\n",
            r.model,
            r.patients,
            r.mutants,
            ends(&r.auc),
            ends(&r.auprc),
            r.accuracy.value,
            cell(r.sensitivity),
            cell(r.specificity),
            r.brier.value,
            cell(r.calibration_error),
            cell(r.calibration_slope),
            cell(r.p_against),
        );
    }
    csv
}

/// The header of [`metrics_csv`].
pub const METRICS_HEADER: &str = "data,model,patients,mutants,auc,auc_low,auc_high,auprc,auprc_low,auprc_high,accuracy,\
     sensitivity,specificity,brier,ece,calibration_slope,p_delong\n";

pub fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
