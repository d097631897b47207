//! Centres that train together without pooling their patients, and each alone.

use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::network::Network;
use oncograph::omics::{FederationConfig, OmicsLearner, Site, federate, traffic};
use oncograph::train::{EpochRecord, FitOutcome, StopFlag};
use std::path::Path;

/// Patients that a centre has at least; smaller ones train as one.
const LEAST: usize = 40;

/// FedProx' `mu`, one of the values that its authors try.
pub const MU: f64 = 0.01;

/// The centre of each patient, by its place in the names: the largest first, those below [`LEAST`] patients together.
///
/// # Errors
/// If there are not two centres.
pub fn centres(cohort: &Cohort) -> anyhow::Result<(Vec<String>, Vec<usize>)> {
    let mut counts: Vec<(String, usize)> = vec![];
    for centre in &cohort.centres {
        match counts.iter_mut().find(|(name, _)| name == centre) {
            Some((_, n)) => *n += 1,
            None => counts.push((centre.clone(), 1)),
        }
    }
    counts.retain(|(_, n)| *n >= LEAST);
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut names: Vec<String> = counts.into_iter().map(|c| c.0).collect();
    let place = |c: &String| names.iter().position(|n| n == c).unwrap_or(names.len());
    let of: Vec<usize> = cohort.centres.iter().map(place).collect();
    if of.contains(&names.len()) {
        names.push("others".into());
    }
    anyhow::ensure!(
        names.len() > 1,
        "{}: expected patients of two centres with {LEAST} patients or more, got {}",
        cohort.name,
        if cohort.centres.is_empty() { "no centre" } else { "one" }
    );
    Ok((names, of))
}

/// Those of some patients that are of a centre.
pub fn of_centre(cohort: &Cohort, name: &str, patients: &[usize]) -> anyhow::Result<Vec<usize>> {
    let (names, of) = centres(cohort)?;
    Ok(patients.iter().copied().filter(|p| names[of[*p]] == name).collect())
}

/// Trains over all centres that have patients in both parts of the split, and says how many bytes were sent.
///
/// Columns, medians and scales are those of all centres' training patients, which counts, sums and sketches would give
/// without moving a patient; parameters are all that the federation itself moves.
pub fn train(
    config: &RunConfig,
    cohort: &Cohort,
    network: &Network,
    (train, validation): (&[usize], &[usize]),
    mu: f64,
    (folder, stop): (&Path, &StopFlag),
    on_round: impl FnMut(&EpochRecord),
) -> anyhow::Result<(FitOutcome, usize)> {
    let mut learners: Vec<(String, usize, OmicsLearner)> = vec![];
    for name in centres(cohort)?.0 {
        let own = (of_centre(cohort, &name, train)?, of_centre(cohort, &name, validation)?);
        if !own.0.is_empty() && !own.1.is_empty() {
            learners.push((name, own.0.len(), network.learner(config, cohort, (&own.0, &own.1))?));
        }
    }
    let mut sites: Vec<Site> = learners
        .iter_mut()
        .map(|(name, patients, learner)| Site { name: name.clone(), patients: *patients, learner })
        .collect();
    let fit = &config.fit;
    let mut options = FederationConfig::new(fit.epochs, fit.optimizer.clone()).proximal(mu);
    (options.clip_norm, options.early_stop) = (fit.clip_norm, fit.early_stop);
    std::fs::create_dir_all(folder)?;
    let outcome = federate(&mut sites, &network.store, &options, folder, stop, on_round)?;
    let sent = traffic(&network.store, sites.len())? * outcome.history.len();
    Ok((outcome, sent))
}
