//! The heads on the shared stages, and what they are compared with, each as a system of a study: half A is `split.train`, half B
//! `split.validation`.

mod half_b;
mod image_network;
mod mlp;
mod population;
mod ridge;
mod svm;
mod variants;

pub use half_b::OnHalfB;
pub use image_network::{ImageNetwork, ImageNetworkKind};
pub use mlp::MlpHead;
pub use population::{PopulationHead, PopulationModel, PopulationReport};
pub use ridge::{Prevalence, RidgeLogistic};
pub use svm::SvmSystem;
pub use variants::{published_variants, switched_variants};

use crate::Result;
use crate::pipeline::GliomaCohort;
use crate::stages::GliomaStages;
use oncograph_core::Split;
use oncograph_datasets::scaler::ZScore;
use oncograph_nn::Seed;
use oncograph_study::{Answer, Answers};
use oncograph_train::{FitConfig, Keep};
use std::collections::HashMap;

/// One row of features for each patient.
type Rows = Vec<Vec<f64>>;

/// The names that tables call the heads by.
pub mod names {
    /// The population graph with new patients joined to half B.
    pub const INDUCTIVE: &str = "multi-modal + GNN, inductive";
    /// The population graph with the test patients in it.
    pub const TRANSDUCTIVE: &str = "multi-modal + GNN, transductive";
    /// The population graph whose edges lead from patients drawn at random.
    pub const SHUFFLED: &str = "multi-modal + GNN, shuffled edges";
    /// The population graph without edges.
    pub const NO_EDGES: &str = "multi-modal + GNN, no edges";
    /// The population graph whose node vectors have age and sex beside the embeddings.
    pub const WITH_AGE_AND_SEX: &str = "multi-modal, age, sex + GNN";
    /// A multi-layer perceptron on the embeddings.
    pub const MLP: &str = "multi-modal + MLP";
    /// A support vector machine on the embeddings.
    pub const SVM: &str = "multi-modal + SVM";
    /// Logistic regression on age and sex.
    pub const AGE_AND_SEX: &str = "age and sex";
    /// The share of mutants in half B for everybody.
    pub const PREVALENCE: &str = "prevalence";
}

/// Embeddings of half B, in standard deviations of half B where configured, and the scaler of them.
pub(crate) struct Scaled {
    pub bank: Rows,
    pub scaler: Option<ZScore>,
}

impl Scaled {
    /// Other rows in the same units.
    pub fn apply(&self, all: &[Vec<f64>], rows: &[usize]) -> Result<Rows> {
        let picked: Rows = rows.iter().map(|&i| all[i].clone()).collect();
        Ok(match &self.scaler {
            Some(scaler) => scaler.transform(&picked)?,
            None => picked,
        })
    }
}

impl GliomaStages<'_> {
    pub(crate) fn head_seed(&self, name: &str) -> Seed {
        self.seed().stream("heads").stream(name)
    }

    pub(crate) fn scaled(&self, all: &[Vec<f64>], half_b: &[usize]) -> Result<Scaled> {
        let scaler = match self.config().scale_embeddings {
            true => Some(ZScore::fit(all, half_b)?),
            false => None,
        };
        let mut scaled = Scaled { bank: vec![], scaler };
        scaled.bank = scaled.apply(all, half_b)?;
        Ok(scaled)
    }

    /// Half B, split again where the best epoch is kept, as places in it: who trains, and who decides. Patients are drawn.
    pub(crate) fn inner(&self, cohort: &GliomaCohort, half_b: &[usize], keep: Keep, name: &str) -> Split {
        if keep == Keep::Last {
            return Split::new((0..half_b.len()).collect(), vec![], vec![]);
        }
        let patients = cohort.patients(half_b);
        let n = patients.members().len();
        let held = (self.config().validation * n as f64).round() as usize;
        let parts = patients.draw(n - held, self.head_seed(name).stream("inner"));
        let places = |rows: &Vec<usize>| -> Vec<usize> {
            (0..half_b.len()).filter(|&place| rows.contains(&half_b[place])).collect()
        };
        let [train, validation] = [0, 1].map(|part| places(&parts[part]));
        Split::new(train, validation, vec![])
    }
}

/// The training of a head without checkpoints between its ends: it takes less time than they would take to reach the disk.
pub(crate) fn in_one_go(fit: &FitConfig) -> FitConfig {
    let mut fit = fit.clone();
    fit.checkpoint_every = fit.epochs.max(1);
    fit
}

/// Probabilities of a mutation as a study takes them.
fn answers(mutation: impl IntoIterator<Item = f64>) -> Answers {
    let answer = |p: f64| Answer::Probabilities(vec![1.0 - p, p]);
    Answers::from([(GliomaCohort::TASK.to_string(), mutation.into_iter().map(answer).collect())])
}

pub(crate) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Answers that were made when the model was fitted, because it has seen the rows or answers all at once.
struct Fixed(HashMap<usize, f64>);

impl Fixed {
    fn new(rows: &[usize], mutation: impl IntoIterator<Item = f64>) -> Self {
        Fixed(rows.iter().copied().zip(mutation).collect())
    }

    fn answer(&self, rows: &[usize]) -> oncograph_study::Result<Answers> {
        let one = |row: &usize| {
            let unknown = || crate::Error::input("a head", "rows that it was fitted with", row);
            self.0.get(row).copied().ok_or_else(unknown)
        };
        Ok(answers(rows.iter().map(one).collect::<Result<Vec<f64>>>()?))
    }
}
