use crate::pipeline::{GliomaCohort, GliomaSubject, SEQUENCES};
use crate::{GliomaPredictor, Result};
use oncograph_imaging::Volume;
use oncograph_study::{Answer, JobResult, StudyResults};
use rayon::prelude::*;

/// What the rows of [`missing_sequences`] are called: all four, then each that is missing.
pub fn missing_rows() -> [String; 5] {
    let [t1, contrast, t2, flair] = SEQUENCES.map(|name| format!("without {name}"));
    ["all sequences".into(), t1, contrast, t2, flair]
}

/// The answers for the held-out patients of a study of one split when one of the four sequences is missing: a row of results for each
/// of [`missing_rows`], scored as any model is. Nothing is trained anew; a missing sequence is 0 everywhere, as outside of the
/// brain.
///
/// # Errors
/// An error of the networks.
pub fn missing_sequences(
    predictor: &GliomaPredictor,
    cohort: &GliomaCohort,
    results: &StudyResults,
) -> Result<StudyResults> {
    let mut jobs = vec![];
    for (k, model) in missing_rows().into_iter().enumerate() {
        let Some(split) = results.splits().first() else { continue };
        let answer = |&row: &usize| {
            let subject = without(&cohort.subjects[row], k.checked_sub(1));
            let p = predictor.predict_placed(subject)?.probability;
            Ok(Answer::Probabilities(vec![1.0 - p, p]))
        };
        let test = &split.split.test;
        let answers = test.par_iter().map(answer).collect::<Result<Vec<_>>>()?;
        jobs.push(JobResult {
            model,
            repeat: split.repeat,
            fold: split.fold,
            test: test.clone(),
            answers: [(GliomaCohort::TASK.to_string(), answers)].into(),
            unfitted: Default::default(),
            extras: serde_json::Value::Null,
            history: vec![],
            best_epoch: 0,
            parameters: 0,
        });
    }
    Ok(results.with_only(jobs))
}

fn without(subject: &GliomaSubject, sequence: Option<usize>) -> GliomaSubject {
    let mut subject = subject.clone();
    if let Some(volume) = sequence.and_then(|k| subject.volumes.get_mut(k)) {
        *volume = Volume::filled(volume.grid().clone(), volume.frame().clone(), 0.0);
    }
    subject
}
