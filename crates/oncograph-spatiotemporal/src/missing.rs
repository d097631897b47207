//! What a model predicts for its held-out patients when a part of their inputs is missing.

use crate::{
    ANATOMY, AugmentConfig, CtFeatures, Error, NodeSubset, Result, STG_TASKS, StgExtras, TimePrediction,
    TrainedStg,
};
use oncograph_core::{Seed, Table};
use oncograph_graph::HeteroGraph;
use oncograph_study::{Answer, Answers, JobResult, StudyResults};
use serde::{Deserialize, Serialize};

/// The shares of anatomical nodes that are removed at random.
const SHARES: [f64; 5] = [0.1, 0.2, 0.3, 0.4, 0.5];
/// Random draws of each share.
const DRAWS: usize = 5;

/// The risk and the years that were predicted for a patient.
type Predicted = (f64, f64);

/// Predictions of both tasks for the held-out patients of a job, with a part of the inputs missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MissingInput {
    /// What is missing.
    pub what: String,
    /// Which random draw of it.
    pub draw: usize,
    /// By task and patient.
    pub predicted: [Vec<Predicted>; 2],
}

/// All that a model is asked with: shares of anatomical nodes, in several draws; each node; each kind of input, of which
/// covariates are those of the table and numbers of the images are what was measured in them without a network. Nothing for a
/// model that is given some of the nodes only.
pub(crate) fn missing_inputs(
    model: &TrainedStg,
    (clinical, images): (&Table, Option<&[&CtFeatures]>),
    rows: &[usize],
    seed: Seed,
) -> Result<Vec<MissingInput>> {
    let Some(images) = images.filter(|_| model.network().config().nodes == NodeSubset::All) else {
        return Ok(vec![]);
    };
    let inputs = model.pipeline.apply(clinical, Some(images), &model.device)?;
    let mut all = vec![];
    let mut ask = |what: String, draw: usize, inputs: &crate::StgInputs, graphs: Vec<HeteroGraph>| {
        let predicted = model.predict_graphs(inputs, &graphs.iter().collect::<Vec<_>>())?;
        let numbers = |p: TimePrediction| (p.risk, p.years);
        all.push(MissingInput {
            what,
            draw,
            predicted: predicted.map(|task| task.into_iter().map(numbers).collect()),
        });
        Ok::<_, Error>(())
    };
    for share in SHARES {
        let augment = AugmentConfig::default().strength(share, 0.0);
        for draw in 0..DRAWS {
            let seed = seed.stream("missing nodes").at((share * 100.0) as u64).at(draw as u64);
            let views = inputs.graphs.iter().zip(rows);
            let views = views.map(|(graph, &row)| augment.remove_nodes(graph, seed.at(row as u64)));
            ask(share_name(share), draw, &inputs, views.collect::<Result<_>>()?)?;
        }
    }
    let without = |keep: &dyn Fn(&CtFeatures, &HeteroGraph) -> Result<HeteroGraph>| {
        images.iter().zip(&inputs.graphs).map(|(patient, graph)| keep(patient, graph)).collect::<Result<_>>()
    };
    for (node, name) in ANATOMY.iter().enumerate() {
        let graphs = without(&|patient, graph| {
            // Nodes are those of the structures that the patient has.
            let there = (0..ANATOMY.len()).filter(|n| !patient.empty[*n]);
            Ok(graph.retain_nodes("anatomy", &there.map(|n| n != node).collect::<Vec<_>>())?)
        })?;
        ask(format!("without {name}"), 0, &inputs, graphs)?;
    }
    let no_ct = without(&|_, graph| Ok(graph.retain_nodes("ct", &[false])?))?;
    ask("without CT".into(), 0, &inputs, no_ct)?;
    let no_images = without(&|_, graph| {
        let none = vec![false; graph.nodes("anatomy")?.count];
        Ok(graph.retain_nodes("anatomy", &none)?.retain_nodes("ct", &[false])?)
    })?;
    ask("without image nodes".into(), 0, &inputs, no_images.clone())?;
    // Numbers of the images are covariates: images are missing where these are unknown, too.
    let unmeasured: Vec<CtFeatures> = images
        .iter()
        .map(|p| CtFeatures { numbers: [None; 4], intensities: [None; 5], ..(*p).clone() })
        .collect();
    let unmeasured: Vec<&CtFeatures> = unmeasured.iter().collect();
    let unmeasured = model.pipeline.apply(clinical, Some(&unmeasured), &model.device)?;
    ask("without image numbers".into(), 0, &unmeasured, unmeasured.graphs.clone())?;
    ask("without images".into(), 0, &unmeasured, no_images)?;
    let unknown = vec![vec![None; clinical.columns().len()]; clinical.len()];
    let unknown = Table::numbered(clinical.columns().to_vec(), unknown)?;
    let average = model.pipeline.apply(&unknown, Some(images), &model.device)?;
    let graphs = average.graphs.clone();
    ask("without covariates".into(), 0, &average, graphs)?;
    Ok(all)
}

fn share_name(share: f64) -> String {
    format!("{:.0} % missing", 100.0 * share)
}

/// Results of a model with 0 to 50 % of the anatomical nodes missing, each share a model of its own, draws as repetitions; no
/// job for a model without image nodes.
///
/// # Errors
/// Results that are not those of an [`crate::StgSystem`].
pub fn missing_nodes(results: &StudyResults, model: &str) -> Result<StudyResults> {
    let mut all: Vec<JobResult> = vec![];
    for job in results.of_model(model) {
        let missing = extras(job)?.missing;
        if missing.is_empty() {
            continue;
        }
        for draw in 0..DRAWS {
            let at = |name: String, answers: Answers| JobResult {
                model: name,
                repeat: job.repeat * DRAWS + draw,
                answers,
                ..job.clone()
            };
            all.push(at("none missing".into(), job.answers.clone()));
            for share in SHARES.map(share_name) {
                let found = missing.iter().filter(|m| m.what == share && m.draw == draw);
                all.extend(found.map(|m| at(share.clone(), answers(m))));
            }
        }
    }
    Ok(results.redrawn(DRAWS, in_order(all, "none missing")))
}

/// Results of a model with each node and each kind of input missing, each of these a model of its own beside the whole; no job
/// for a model without image nodes. How far the whole ranks above such a row is what the input is worth to the model.
///
/// # Errors
/// Results that are not those of an [`crate::StgSystem`].
pub fn occlusions(results: &StudyResults, model: &str) -> Result<StudyResults> {
    let mut all: Vec<JobResult> = vec![];
    for job in results.of_model(model) {
        let missing = extras(job)?.missing;
        let named = missing.iter().filter(|m| m.what.starts_with("without "));
        let occluded: Vec<JobResult> =
            named.map(|m| JobResult { model: m.what.clone(), answers: answers(m), ..job.clone() }).collect();
        if !occluded.is_empty() {
            all.push(JobResult { model: "all inputs".into(), ..job.clone() });
        }
        all.extend(occluded);
    }
    Ok(results.with_only(in_order(all, "all inputs")))
}

/// The jobs model by model, each where it first appears; what is compared with comes first.
fn in_order(mut jobs: Vec<JobResult>, first: &str) -> Vec<JobResult> {
    let mut names: Vec<String> = vec![first.into()];
    for job in &jobs {
        if !names.contains(&job.model) {
            names.push(job.model.clone());
        }
    }
    jobs.sort_by_key(|job| names.iter().position(|name| *name == job.model));
    jobs
}

/// What a model left beside its answers.
pub(crate) fn extras(job: &JobResult) -> Result<StgExtras> {
    serde_json::from_value(job.extras.clone()).map_err(|e| Error::from(oncograph_study::Error::system(e)))
}

fn answers(missing: &MissingInput) -> Answers {
    let task = |predicted: &Vec<Predicted>| {
        let answer =
            |&(risk, years): &Predicted| Answer::Survival { risk, years: Some(years), survival: None };
        predicted.iter().map(answer).collect()
    };
    STG_TASKS.iter().map(|name| name.to_string()).zip(missing.predicted.iter().map(task)).collect()
}
