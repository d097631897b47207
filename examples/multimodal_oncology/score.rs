//! The metrics of one repetition of the cross-validation.

use oncograph::core::{FollowUp, TimeUnit};
use oncograph::metrics::{
    Average, MulticlassConfusion, Survival, average_precision, concordance, roc_auc, roc_auc_one_vs_rest,
};
use oncograph::omics::{Target, TaskKind};
use std::collections::BTreeMap;

/// A model's output for a patient, and the fold that it was held out in.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub fold: usize,
    pub output: Vec<f64>,
}

/// A metric's name and value; `None` where it has none.
pub type Metric = (&'static str, Option<f64>);

/// The metrics of a task on some patients, the main one first; names are the same for every model.
pub fn metrics(kind: TaskKind, target: &Target, held: &[Option<Held>], patients: &[usize]) -> Vec<Metric> {
    let known = || patients.iter().copied().filter_map(|p| Some((p, held[p].as_ref()?)));
    match (kind, target) {
        (_, Target::Survival(v)) => {
            let rows = known().filter_map(|(p, h)| Some((h.fold, v[p]?, *h.output.first()?)));
            vec![("C-index", concordance_within_folds(rows))]
        }
        (TaskKind::Classes(n), Target::Class(v)) => {
            let (mut truth, mut probability) = (vec![], vec![]);
            for (p, held) in known() {
                if let Some(c) = v[p] {
                    truth.push(c);
                    let sum: f64 = held.output.iter().sum();
                    probability.extend(held.output.iter().map(|o| o / sum));
                }
            }
            classes(&truth, &probability, n)
        }
        (TaskKind::Labels(n), Target::Labels(v)) => {
            let rows: Vec<(usize, &Held)> = known().collect();
            let mean = |f: fn(&[bool], &[f64]) -> Option<f64>| {
                let of = |l: usize| {
                    let pairs = rows.iter().filter_map(|(p, h)| Some((v[*p][l]?, h.output[l])));
                    let (label, score): (Vec<bool>, Vec<f64>) = pairs.unzip();
                    f(&label, &score)
                };
                let all: Option<Vec<f64>> = (0..n).map(of).collect();
                all.map(|a| a.iter().sum::<f64>() / n as f64)
            };
            vec![
                ("macro AUROC", mean(|l, s| roc_auc(l, s).ok())),
                ("macro AUPRC", mean(|l, s| average_precision(l, s).ok())),
            ]
        }
        _ => vec![],
    }
}

fn classes(truth: &[usize], probability: &[f64], n: usize) -> Vec<Metric> {
    let confusion = MulticlassConfusion::from_probability(truth, probability, n).ok();
    let auc = if n == 2 {
        let (label, score): (Vec<bool>, Vec<f64>) =
            truth.iter().enumerate().map(|(i, c)| (*c == 1, probability[2 * i + 1])).unzip();
        roc_auc(&label, &score).ok()
    } else {
        roc_auc_one_vs_rest(truth, probability, n, Average::Macro).ok()
    };
    vec![
        ("AUROC", auc),
        ("balanced accuracy", confusion.as_ref().map(MulticlassConfusion::balanced_accuracy)),
        ("accuracy", confusion.as_ref().map(MulticlassConfusion::accuracy)),
        ("macro F1", confusion.as_ref().and_then(|c| c.f1(Average::Macro))),
    ]
}

/// The share of pairs in the right order among the comparable pairs of patients of one fold: log risks of two folds'
/// models have no common zero.
fn concordance_within_folds(rows: impl Iterator<Item = (usize, FollowUp, f64)>) -> Option<f64> {
    let mut folds: BTreeMap<usize, (Vec<FollowUp>, Vec<f64>)> = BTreeMap::new();
    for (fold, outcome, risk) in rows {
        let of = folds.entry(fold).or_default();
        of.0.push(outcome);
        of.1.push(risk);
    }
    let (mut right, mut pairs) = (0.0, 0.0);
    for (outcomes, risk) in folds.into_values() {
        let counted = Survival::of(&outcomes, TimeUnit::Years).and_then(|s| concordance(&s, &risk));
        // A fold without a comparable pair has nothing to say.
        let Ok(c) = counted else { continue };
        right += c.concordant as f64 + 0.5 * c.tied_risk as f64;
        pairs += (c.concordant + c.discordant + c.tied_risk) as f64;
    }
    (pairs > 0.0).then(|| right / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn risks_of_two_folds_are_not_compared() {
        let target = Target::Survival([1.0, 2.0, 3.0, 4.0].map(|t| FollowUp::years(t, true).ok()).to_vec());
        let held = |fold: usize, risk: f64| Some(Held { fold, output: vec![risk] });
        // Right in each fold; the second fold's risks lie far above the first's.
        let all = [held(0, 2.0), held(0, 1.0), held(1, 12.0), held(1, 11.0)];
        let c = |all: &[Option<Held>]| metrics(TaskKind::SurvivalCox, &target, all, &[0, 1, 2, 3])[0].1;
        assert_eq!(c(&all), Some(1.0));
        let wrong = [held(0, 1.0), held(0, 2.0), held(1, 12.0), held(1, 11.0)];
        assert_eq!(c(&wrong), Some(0.5));
        let alone = [held(0, 1.0), held(1, 2.0), held(2, 12.0), None];
        assert_eq!(c(&alone), None);
    }
}
