//! What a reader may do about a prediction, by rules that are written down: for research only.

use oncograph_deploy::{ClinicalReport, Prediction};

/// The name and version of the rules; another wording or threshold is another version.
pub const OMICS_RULES: &str = "oncograph-omics-rules/1";

/// A share of the reference patients above which a risk is high, and one below which it is low.
const THIRDS: (f64, f64) = (2.0 / 3.0, 1.0 / 3.0);
/// The probability from which an event counts as likely.
const LIKELY: f64 = 0.5;
/// The entropy from which a class counts as undecided.
const UNDECIDED: f64 = 0.9;
/// The share of values that has to be there.
const ENOUGH: f64 = 0.5;

/// The rules that apply to a report, a sentence each, with the rule's number.
pub(super) fn apply(report: &ClinicalReport) -> Vec<String> {
    let mut found: Vec<String> = report.predictions.iter().filter_map(of_prediction).collect();
    let sparse: Vec<&str> = report
        .data
        .iter()
        .filter(|d| d.observed > 0 && (d.observed as f64) < ENOUGH * d.columns as f64)
        .map(|d| d.table.as_str())
        .collect();
    if !sparse.is_empty() {
        let tables = sparse.join(", ");
        found.push(format!(
            "(6) less than half of the values of {tables} are there: measure them before reading on."
        ));
    }
    found.into_iter().map(|text| format!("{OMICS_RULES}, for research only: {text}")).collect()
}

fn of_prediction(prediction: &Prediction) -> Option<String> {
    let task = prediction.task();
    match prediction {
        Prediction::Survival { percentile, .. } if *percentile >= THIRDS.0 => {
            Some(format!("(1) {task}: in the third of the highest risk; compare with the clinical stage."))
        }
        Prediction::Survival { percentile, .. } if *percentile < THIRDS.1 => Some(format!(
            "(2) {task}: in the third of the lowest risk; no reason to do less than the guideline."
        )),
        Prediction::Survival { .. } => None,
        Prediction::Classes { .. } if prediction.entropy().is_some_and(|e| e >= UNDECIDED) => {
            Some(format!("(3) {task}: undecided among its outcomes; do not read the likeliest as an answer."))
        }
        Prediction::Classes { .. } => None,
        Prediction::Events { events, .. } => {
            let likely: Vec<&str> =
                events.iter().filter(|e| e.probability >= LIKELY).map(|e| e.name.as_str()).collect();
            let names = likely.join(", ");
            (!likely.is_empty()).then(|| {
                format!("(4) {task}: {names} more likely than not; a study would look for early signs.")
            })
        }
        Prediction::NotLearnt { .. } => {
            Some(format!("(5) {task}: there is no prediction; nothing follows from its absence either."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_deploy::{ModelIdentity, Probability};

    #[test]
    fn each_rule_has_its_case() {
        let model = ModelIdentity { name: "net".into(), version: "1".into(), hash: String::new() };
        let survival = |percentile| Prediction::Survival {
            task: "survival".into(),
            risk: 0.0,
            percentile,
            survival: vec![],
        };
        let chance = |name: &str, probability| Probability { name: name.into(), probability };
        let even = vec![chance("none", 0.5), chance("complete", 0.5)];
        let sure = vec![chance("none", 0.95), chance("complete", 0.05)];
        let classes = |classes| Prediction::Classes { task: "response".into(), classes };
        let events = vec![chance("nausea", 0.6), chance("fever", 0.4)];
        let reason = "chance".to_string();
        for (prediction, number) in [
            (survival(0.7), Some("(1)")),
            (survival(0.2), Some("(2)")),
            (survival(0.5), None),
            (classes(even), Some("(3)")),
            (classes(sure), None),
            (Prediction::Events { task: "toxicity".into(), events }, Some("(4) toxicity: nausea more")),
            (Prediction::NotLearnt { task: "idh".into(), reason }, Some("(5)")),
        ] {
            let report = ClinicalReport::new("P", model.clone()).prediction(prediction);
            let found = apply(&report);
            assert_eq!(found.len(), usize::from(number.is_some()), "{found:?}");
            assert!(
                number.is_none_or(|n| found[0].contains(n) && found[0].starts_with(OMICS_RULES)),
                "{found:?}"
            );
        }
        let report =
            ClinicalReport::new("P", model).data("gene", 10, 4).data("lab", 10, 0).data("protein", 2, 1);
        let found = apply(&report);
        assert!(
            found.len() == 1 && found[0].contains("(6) less than half of the values of gene are"),
            "{found:?}"
        );
    }
}
