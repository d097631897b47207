use super::average::average;
use super::proximal::Proximal;
use crate::{Error, Result};
use candle_core::DType;
use oncograph_nn::{ParamStore, Precision};
use oncograph_train::{
    EpochRecord, FitConfig, FitOutcome, Keep, Learner, OptimizerConfig, Parameters, Progress, StopFlag,
    TrainingCheckpoint, fit,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Configuration of [`federate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FederationConfig {
    /// Rounds at most.
    pub rounds: usize,
    /// Epochs of each site in a round; 1.
    pub local_epochs: usize,
    /// FedProx' `mu`; 0 is FedAvg.
    pub proximal: f64,
    /// The sites' optimizer. Its state stays with the site from round to round and is neither sent nor averaged.
    pub optimizer: OptimizerConfig,
    /// The largest norm of a step's gradients; `None` does not clip.
    pub clip_norm: Option<f64>,
    /// Rounds without a better score after which training ends; `None` makes them all.
    pub early_stop: Option<usize>,
    /// Which round's parameters are left in the store.
    pub keep: Keep,
    /// What the sites' products are computed in.
    #[serde(default)]
    pub precision: Precision,
}

impl FederationConfig {
    /// FedAvg over `rounds` rounds of one local epoch, without early stopping; the best round is kept.
    pub fn new(rounds: usize, optimizer: OptimizerConfig) -> Self {
        FederationConfig {
            rounds,
            local_epochs: 1,
            proximal: 0.0,
            optimizer,
            clip_norm: None,
            early_stop: None,
            keep: Keep::Best,
            precision: Precision::F32,
        }
    }

    /// Sets the epochs of each site in a round.
    pub fn local_epochs(mut self, epochs: usize) -> Self {
        self.local_epochs = epochs;
        self
    }

    /// Sets FedProx' `mu`.
    pub fn proximal(mut self, mu: f64) -> Self {
        self.proximal = mu;
        self
    }

    /// Clips the norm of the gradients.
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.clip_norm = Some(norm);
        self
    }

    /// Ends training after `patience` rounds without a better score.
    pub fn early_stop(mut self, patience: usize) -> Self {
        self.early_stop = Some(patience);
        self
    }

    /// Sets which round's parameters are kept.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Sets what the sites' products are computed in.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] with the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("rounds", self.rounds),
            ("local_epochs", self.local_epochs),
            ("early_stop", self.early_stop.unwrap_or(1)),
        ];
        if let Some((field, _)) = counts.iter().find(|c| c.1 == 0) {
            return Err(Error::config("FederationConfig", *field, "at least 1", 0));
        }
        if self.keep == Keep::BestOfEach {
            return Err(Error::config(
                "FederationConfig",
                "keep",
                "best or last: a federation has one score",
                "best_of_each",
            ));
        }
        if !(self.proximal >= 0.0 && self.proximal.is_finite()) {
            return Err(Error::config("FederationConfig", "proximal", "0 or more", self.proximal));
        }
        Ok(())
    }

    /// A site's training up to and including a round.
    fn site(&self, round: usize) -> FitConfig {
        let mut fit =
            FitConfig::new((round + 1) * self.local_epochs, self.optimizer.clone()).keep(Keep::Last);
        fit.clip_norm = self.clip_norm;
        fit.precision(self.precision)
    }
}

/// A site of a federation: its patients, and the learner that sees them.
pub struct Site<'a> {
    /// Its name, which is also that of its file.
    pub name: String,
    /// Its training patients, its weight in the average.
    pub patients: usize,
    /// What trains on them. All sites' learners are of the model whose parameters are in the store.
    pub learner: &'a mut dyn Learner,
}

/// Trains the parameters of `store` on several sites in turns, and leaves the best round's in it.
///
/// In each round every site starts from the global parameters, trains `local_epochs` epochs on its own patients, and the
/// server takes `w = sum_k (n_k / n) w_k` (M-22; integers, such as counts of batches seen, by the largest). A site that did
/// not change a parameter, for example the head of a task that none of its patients has a label of, has no weight in that
/// parameter's average. The score of a round is the mean of the sites' validation scores of the new global parameters, by
/// patients.
///
/// The state lies in `folder`, one file for the server and one per site; a federation that is killed at any moment and
/// started again ends with the same bits. With one site, training is that of [`oncograph_train::fit`], bit for bit.
///
/// The answer has one record per round: the sites' mean loss, and in `train_parts` by site `loss NAME` and `update NAME`,
/// the norm of its step away from the global parameters, in `validation_parts` `score NAME`.
///
/// Simulated on one machine: nothing is sent, encrypted or noised, and parameters may reveal information on patients.
///
/// # Errors
/// [`Error::Input`] without sites or patients, for names that are not plain or not unique, or for the files of another
/// federation; errors of training, also [`oncograph_train::Error::Stopped`], as [`Error::Train`].
///
/// # Reference
/// McMahan et al. 2017 (FedAvg); Li et al., *Federated optimization in heterogeneous networks*, 2020 (FedProx).
pub fn federate(
    sites: &mut [Site<'_>],
    store: &ParamStore,
    config: &FederationConfig,
    folder: &Path,
    stop: &StopFlag,
    mut on_round: impl FnMut(&EpochRecord),
) -> Result<FitOutcome> {
    config.validate()?;
    check(sites)?;
    let server = folder.join("server.safetensors");
    let mut progress = Progress::default();
    let (mut global, mut best) = (store.snapshot()?, store.snapshot()?);
    if let Some(saved) = TrainingCheckpoint::load(&server)? {
        (global, best, progress) = (saved.parameters, saved.best, saved.progress);
        store.restore(&global)?;
        progress.history.iter().for_each(&mut on_round);
    }
    let federation = Federation { store, config, folder, stop };
    while !finished(&progress, config) {
        let (parameters, record) = federation.round(sites, &global, progress.history.len())?;
        global = parameters;
        let better = progress.best_epoch.is_none_or(|b| record.score < progress.history[b].score);
        if better || config.keep == Keep::Last {
            progress.best_epoch = Some(record.epoch);
            best = global.clone();
        }
        on_round(&record);
        progress.history.push(record);
        let state = TrainingCheckpoint {
            parameters: global.clone(),
            best: best.clone(),
            best_of: BTreeMap::new(),
            optimizer: HashMap::new(),
            progress: progress.clone(),
        };
        state.save(&server)?;
    }
    store.restore(&best)?;
    Ok(FitOutcome {
        best_epoch: progress.best_epoch.unwrap_or(0),
        history: progress.history,
        best_of: BTreeMap::new(),
    })
}

/// The bytes that a round moves between the server and `sites` sites: the parameters there and back.
pub fn traffic(store: &ParamStore, sites: usize) -> Result<usize> {
    let bytes: usize = store.snapshot()?.values().map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum();
    Ok(2 * sites * bytes)
}

fn check(sites: &[Site<'_>]) -> Result<()> {
    if sites.is_empty() {
        return Err(Error::input("federate", "at least one site", 0));
    }
    for (i, site) in sites.iter().enumerate() {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        if site.name.is_empty() || !site.name.chars().all(plain) || site.name == "server" {
            return Err(Error::input("name of a site", "letters, digits, - and _, not server", &site.name));
        }
        if sites[..i].iter().any(|s| s.name == site.name) {
            return Err(Error::input("names of sites", "each once", &site.name));
        }
        if site.patients == 0 {
            return Err(Error::input(format!("patients of site {}", site.name), "at least 1", 0));
        }
    }
    Ok(())
}

fn finished(progress: &Progress, config: &FederationConfig) -> bool {
    let done = progress.history.len();
    let stalled = match (progress.best_epoch, config.early_stop) {
        (Some(best), Some(patience)) => done > best + patience,
        _ => false,
    };
    done >= config.rounds || stalled
}

/// What all rounds share.
struct Federation<'a> {
    store: &'a ParamStore,
    config: &'a FederationConfig,
    folder: &'a Path,
    stop: &'a StopFlag,
}

impl Federation<'_> {
    /// Trains the sites from the global parameters; returns the new ones, which the store holds too, and what is known of
    /// the round.
    fn round(
        &self,
        sites: &mut [Site<'_>],
        global: &Parameters,
        round: usize,
    ) -> Result<(Parameters, EpochRecord)> {
        let epochs = self.config.local_epochs;
        let patients: usize = sites.iter().map(|s| s.patients).sum();
        let (mut states, mut train_parts) = (vec![], BTreeMap::new());
        let (mut train_loss, mut learning_rate) = (0.0, 0.0);
        for site in sites.iter_mut() {
            let outcome = self.site(site, global, round)?;
            let own = &outcome.history[round * epochs..];
            let mean = own.iter().map(|e| e.train_loss).sum::<f64>() / own.len() as f64;
            train_loss += mean * site.patients as f64 / patients as f64;
            learning_rate = own.last().map_or(learning_rate, |e| e.learning_rate);
            let state = self.store.snapshot()?;
            train_parts.insert(format!("loss {}", site.name), mean);
            train_parts.insert(format!("update {}", site.name), distance(&state, global)?);
            states.push((state, site.patients));
        }
        let parameters = average(&states.iter().map(|(s, n)| (s, *n)).collect::<Vec<_>>(), Some(global))?;
        self.store.restore(&parameters)?;
        let (mut score, mut validation_parts) = (0.0, BTreeMap::new());
        for site in sites.iter_mut() {
            let own = site.learner.validate((round + 1) * epochs - 1)?.score;
            score += own * (site.patients as f64 / patients as f64);
            validation_parts.insert(format!("score {}", site.name), own);
        }
        let record = EpochRecord {
            epoch: round,
            train_loss,
            train_parts,
            score,
            validation_parts,
            scores: BTreeMap::new(),
            learning_rate,
        };
        Ok((parameters, record))
    }

    /// One site's part of a round; the store holds its parameters afterwards.
    ///
    /// The site's own checkpoint determines where it starts: at the round's first epoch it takes the global parameters and
    /// keeps its optimizer; within the round, after a kill, it resumes.
    fn site(&self, site: &mut Site<'_>, global: &Parameters, round: usize) -> Result<FitOutcome> {
        let config = self.config;
        let file = self.folder.join(format!("site-{}.safetensors", site.name));
        let begun = round * config.local_epochs;
        match TrainingCheckpoint::load(&file)? {
            None if round == 0 => self.store.restore(global)?,
            None => {
                return Err(Error::input(file.display().to_string(), format!("{begun} epochs"), "no file"));
            }
            Some(mut own) => {
                let done = own.progress.history.len();
                if done < begun || done > begun + config.local_epochs {
                    let expected = format!("{begun} to {} epochs", begun + config.local_epochs);
                    return Err(Error::input(file.display().to_string(), expected, done));
                }
                if done == begun {
                    own.parameters = global.clone();
                    own.best = global.clone();
                    own.save(&file)?;
                }
            }
        }
        let mut learner = Proximal { learner: site.learner, global, mu: config.proximal };
        Ok(fit(&mut learner, self.store, &config.site(round), Some(&file), self.stop, |_| ())?)
    }
}

fn distance(a: &Parameters, b: &Parameters) -> Result<f64> {
    let mut sum = 0.0;
    let mut names: Vec<&String> = a.keys().collect();
    names.sort();
    for name in names {
        let (x, y) = (a[name].to_dtype(DType::F64)?, b[name].to_dtype(DType::F64)?);
        if a[name].dtype().is_float() {
            sum += (x - y)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
        }
    }
    Ok(sum.sqrt())
}
