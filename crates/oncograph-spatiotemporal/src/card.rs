use crate::{STG_TASKS, StgCohort, StgSystemConfig};
use oncograph_report::{ModelCard, RESEARCH_ONLY};
use oncograph_study::Scores;

/// What a reader must know to judge a model of a study.
pub fn stg_model_card(
    config: &StgSystemConfig,
    cohort: &StgCohort,
    scores: &Scores,
    model: &str,
) -> ModelCard {
    let data = match cohort.phantom() {
        true => "Phantom cohort: generated images, covariates and outcomes.",
        false => "A cohort as found on disk.",
    };
    let performance = STG_TASKS.map(|task| match scores.row(model, task).and_then(|row| row.first()) {
        Some(estimate) => format!("{task}: C-index within folds {estimate}"),
        None => format!("{task}: none"),
    });
    let [recurrences, deaths] = cohort.events();
    let network = &config.model;
    ModelCard::new(
        "STG",
        format!("Research on prognosis after resection of colorectal liver metastases. {RESEARCH_ONLY}"),
    )
    .version(format!("oncograph {}", env!("CARGO_PKG_VERSION")))
    .data(data)
    .outcome("Time to recurrence or progression, and overall survival, in years from resection.")
    .predictors(format!("Covariates: {}.", cohort.clinical().columns().join(", ")))
    .sample_size(format!("{} patients, {recurrences} recurrences, {deaths} deaths", cohort.len()))
    .missing_data("Training median and a flag; a structure that is missing is no node of the graph.")
    .method(format!(
        "{:?} architecture, {:?}, hidden width {}, loss {:?}.",
        network.architecture, network.gnn, network.hidden, network.survival_loss
    ))
    .validation(format!("{}; no external data.", config.held_out_words()))
    .performance(performance.join("; "))
    .limitations(
        "Image features come from a frozen backbone, with random weights unless a checkpoint was given. No external \
         validation. A prediction is the mean over the models of all folds, which was not scored itself.",
    )
}
