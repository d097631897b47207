use super::network::Network;
use crate::variant::centres;
use crate::{FederationConfig, OmicsLearner, OmicsStudyCohort, Result, Site, federate, traffic};
use oncograph_core::{AtFile, Split};
use oncograph_study::Job;
use oncograph_train::FitConfig;

/// Those of some patients that are of a centre.
pub(super) fn of_centre(cohort: &OmicsStudyCohort, name: &str, patients: &[usize]) -> Result<Vec<usize>> {
    let centres = centres(cohort)?;
    Ok(patients.iter().copied().filter(|p| centres.names[centres.of[*p]] == name).collect())
}

/// Trains over all centres that have patients in both parts of the split, and returns how many bytes were sent.
///
/// Columns, medians and scales are those of all centres' training patients, which counts, sums and sketches would give
/// without moving a patient; parameters are all that the federation itself moves.
pub(super) fn train(
    network: &Network,
    cohort: &OmicsStudyCohort,
    split: &Split,
    fit: &FitConfig,
    mu: f64,
    job: &mut Job<'_>,
) -> Result<usize> {
    let mut learners: Vec<(String, usize, OmicsLearner<'_>)> = vec![];
    for name in centres(cohort)?.names {
        let [train, validation] =
            [&split.train, &split.validation].map(|rows| of_centre(cohort, &name, rows));
        let own = Split::new(train?, validation?, vec![]);
        if !own.train.is_empty() && !own.validation.is_empty() {
            learners.push((name, own.train.len(), network.learner(&own)?));
        }
    }
    let mut sites: Vec<Site<'_>> = learners
        .iter_mut()
        .map(|(name, patients, learner)| Site { name: name.clone(), patients: *patients, learner })
        .collect();
    let mut options =
        FederationConfig::new(fit.epochs, fit.optimizer.clone()).proximal(mu).precision(fit.precision);
    (options.clip_norm, options.early_stop) = (fit.clip_norm, fit.early_stop);
    let folder = job.file("sites");
    std::fs::create_dir_all(&folder).map_err(|e| AtFile::new(&folder, e).during("write"))?;
    let outcome =
        federate(&mut sites, &network.store, &options, &folder, job.stop(), |round| job.report(round))?;
    job.record(&outcome);
    std::fs::remove_dir_all(&folder).ok();
    Ok(traffic(&network.store, sites.len())? * outcome.history.len())
}
