//! What the risks depend on, and how they go over the years.

use crate::cli::RunConfig;
use crate::names::{self, endpoint};
use oncograph_report::chart::{Bar, bars};
use oncograph_report::{Cell, ReportTable, Section};
use oncograph_spatiotemporal::{
    AttributionSummary, InputImportance, STG_TASKS, StgCohort, SurvivalLoss, attribution_summary,
    risk_by_step,
};
use oncograph_study::{StudyResults, predicted_survival};

/// Inputs that are shown.
const SHOWN: usize = 15;

/// What the main model's held-out risks depend on.
pub fn attributions(
    section: &mut Section,
    config: &RunConfig,
    results: &StudyResults,
    main: &str,
) -> anyhow::Result<()> {
    section.paragraph(format!(
        "Integrated gradients of the held-out risks of {}, from the average training patient to each patient, summed over the \
         features of an input. The average patient has the training patients' mean of every input, which is 0 for z-scores, and \
         of each structure the mean features of those who have it; a structure that a patient lacks is missing on both sides and \
         contributes nothing. Attributions show what the network used, not what causes the outcome: inputs that go together share \
         what they have in common in no particular way. The unit is that of the risk: {}.",
        names::model(main),
        unit(config.system.model.survival_loss)
    ));
    let mut found = vec![];
    for task in STG_TASKS {
        if let Some(summary) = attribution_summary(results, main, task)? {
            found.push((task, summary));
        }
    }
    section.columns(|s| {
        for (task, summary) in &found {
            let shown = summary.inputs.iter().take(SHOWN);
            let bar = |i: &InputImportance| {
                Bar::new(names::input(&i.input, i.kind), i.value).interval(i.range[0], i.range[1])
            };
            let bars = bars(&shown.map(bar).collect::<Vec<_>>(), "Mean absolute attribution");
            let title = format!("{}: what the risk depends on", endpoint(task));
            s.figure_or_reason("Attributions", bars.map(|f| f.titled(title)));
        }
        for (task, summary) in &found {
            s.table(table(task, summary));
        }
    });
    Ok(())
}

/// The unit of a risk.
fn unit(loss: SurvivalLoss) -> &'static str {
    match loss {
        SurvivalLoss::DiscreteHazard => "years of expected time without the event, within the horizon",
        SurvivalLoss::Cox | SurvivalLoss::MseCox => "the logarithm of a hazard",
        _ => "time in the unit that it is trained in",
    }
}

fn table(task: &str, summary: &AttributionSummary) -> ReportTable {
    let header = ["Input", "Kind", "Mean absolute attribution", "Share"];
    let caption = format!("{}: the {SHOWN} inputs that move the risk most", endpoint(task));
    let percent = |share: f64| Cell::text(format!("{:.0} %", 100.0 * share));
    let shown = summary.inputs.iter().take(SHOWN);
    let table = shown.fold(ReportTable::new(caption, header), |table, i| {
        table.row([
            Cell::text(names::input(&i.input, i.kind)),
            Cell::text(names::kind(i.kind)),
            Cell::interval(i.value, i.range[0], i.range[1], 3),
            percent(i.share),
        ])
    });
    let kinds = summary.kinds.iter().map(|k| {
        let [low, high] = k.range.map(|v| 100.0 * v);
        format!("{} {:.0} % ({low:.0} to {high:.0})", names::kinds(k.kind), 100.0 * k.share)
    });
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let jobs = summary.jobs;
    let stability = match &summary.stability {
        Some(s) => format!(
            " Of the rankings of two networks Kendall's tau is {:.2} on average, and {:.0} % of their first inputs are the same \
             ({:.0} % by chance).",
            s.kendall,
            100.0 * s.top_overlap,
            100.0 * s.chance
        ),
        None => String::new(),
    };
    table.note(format!(
        "In parentheses the least and the largest of {jobs} networks, one per fold and repetition. Of the sum over all inputs: \
         {kinds}.{stability} The sums of attributions miss the differences in risk by {:.1} % on average.",
        100.0 * summary.error
    ))
}

/// The predicted curves of one task, and the risks by step where the network has them.
pub fn trajectories(
    section: &mut Section,
    (results, cohort): (&StudyResults, &StgCohort),
    main: &str,
    task: &str,
) {
    let name = names::model(main);
    section.figure_or_reason(
        "Predicted and observed curves",
        predicted_survival(results, cohort, main, task).map(|f| {
            f.titled(format!("Predicted and observed curves by tertile of the held-out risk of {name}"))
        }),
    );
    if let Some(figure) = risk_by_step(results, cohort, main, task).transpose() {
        let title = format!("Risk at each step by tertile of the held-out risk of {name}");
        section.figure_or_reason("Risk by step", figure.map(|f| f.titled(title)));
    }
}

/// What the steps of a trajectory are.
pub const STEPS: &str = "Predicted curves are what both heads make of a patient's whole sequence. A step is a position of the network \
    with an embedding of its own, called a year; its risk is what the heads make of the state of that step alone. No loss compares a \
    step with what had happened by then: the risks of single steps are no forecasts for those years.";
