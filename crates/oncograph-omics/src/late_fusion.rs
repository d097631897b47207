use crate::{OmicsStudyCohort, OmicsVariant, Result, late_fusion};
use oncograph_study::{Answer, Answers, Cohort, JobResult, StudyResults, Task};

/// The average of the unimodal models' answers as results of a model called [`OmicsVariant::LATE_FUSION`], fold by fold;
/// nothing if one of the modalities was not trained alone, or if there is only one.
///
/// Risks are averaged in units of their spread over the held-out patients, since log risks of two models have no common
/// scale.
///
/// # Errors
/// Answers of different length.
pub fn late_fusion_jobs(results: &StudyResults, cohort: &OmicsStudyCohort) -> Result<Vec<JobResult>> {
    let names: Vec<String> =
        cohort.modality_names().into_iter().map(|m| OmicsVariant::Unimodal(m).name()).collect();
    if names.len() < 2 {
        return Ok(vec![]);
    }
    let mut fused = vec![];
    for split in results.splits() {
        let of_split =
            |j: &&JobResult| j.repeat == split.repeat && j.fold == split.fold && names.contains(&j.model);
        let parts: Vec<&JobResult> = results.jobs().iter().filter(of_split).collect();
        if parts.len() < names.len() {
            return Ok(vec![]);
        }
        let mut answers = Answers::new();
        for task in cohort.tasks() {
            answers.insert(task.name.clone(), mean(&parts, task)?);
        }
        fused.push(JobResult {
            model: OmicsVariant::LATE_FUSION.into(),
            repeat: split.repeat,
            fold: split.fold,
            test: split.split.test.clone(),
            answers,
            unfitted: Default::default(),
            extras: serde_json::Value::Null,
            history: vec![],
            best_epoch: 0,
            parameters: parts.iter().map(|j| j.parameters).sum(),
        });
    }
    Ok(fused)
}

/// The mean of several models' answers for a task.
fn mean(parts: &[&JobResult], task: &Task) -> Result<Vec<Answer>> {
    let of_task: Vec<&[Answer]> =
        parts.iter().filter_map(|j| j.answers.get(&task.name)).map(Vec::as_slice).collect();
    let risks: Vec<Vec<f64>> = of_task.iter().map(|answers| spread(answers)).collect();
    if !risks.iter().all(Vec::is_empty) {
        let mean = late_fusion(&risks.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        return Ok(mean.into_iter().map(Answer::risk).collect());
    }
    let rows: Vec<Vec<f64>> =
        of_task.iter().map(|answers| answers.iter().flat_map(probabilities).collect()).collect();
    let mean = late_fusion(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    let patients = of_task.first().map_or(0, |answers| answers.len());
    let width = (mean.len() / patients.max(1)).max(1);
    Ok(mean.chunks(width).map(|row| Answer::Probabilities(row.to_vec())).collect())
}

fn probabilities(answer: &Answer) -> Vec<f64> {
    match answer {
        Answer::Probabilities(p) => p.clone(),
        _ => vec![],
    }
}

/// Risks with mean 0 and standard deviation 1.
fn spread(answers: &[Answer]) -> Vec<f64> {
    let risk = |a: &Answer| match a {
        Answer::Survival { risk, .. } => Some(*risk),
        _ => None,
    };
    let v: Vec<f64> = answers.iter().filter_map(risk).collect();
    let mean = v.iter().sum::<f64>() / v.len() as f64;
    let sd = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64).sqrt().max(1e-9);
    v.iter().map(|x| (x - mean) / sd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn risks_are_compared_in_units_of_their_spread() {
        let spread_of = |risks: &[f64]| spread(&risks.iter().map(|r| Answer::risk(*r)).collect::<Vec<_>>());
        assert_eq!(spread_of(&[1.0, 3.0]), spread_of(&[100.0, 300.0]));
        assert_eq!(spread_of(&[1.0, 3.0]), [-1.0, 1.0]);
        assert!(spread(&[Answer::Probabilities(vec![0.5, 0.5])]).is_empty());
    }
}
