use crate::{AugmentConfig, Error, Result, StgConfig, TimeScale};
use oncograph_core::FollowUp;
use oncograph_losses::{TaskWeights, TemporalKind};
use serde::{Deserialize, Serialize};

/// Who is at risk in the partial likelihood of a training step (S-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskSet {
    /// The patients of the batch.
    #[default]
    Batch,
    /// All training patients. The log risks of those outside of the batch are constants of the step: they are computed once
    /// per epoch, before its first step, without augmentation.
    Training,
}

/// How the steps of a patient are compared (S-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeLoss {
    /// `relu(h_t - h_{t+1})` of states: decreases only, as the paper's equation is written.
    #[default]
    Literal,
    /// `|h_t - h_{t+1}|` of states: any change.
    Abs,
    /// `(h_t - h_{t+1})^2` of states: any change, what the paper's text describes.
    L2,
    /// `relu(r_t - r_{t+1})` of the risks of both tasks at each step ([`Stg::step_risks`](crate::Stg::step_risks)): the risk must
    /// not fall with the years.
    MonotoneRisk,
}

impl TimeLoss {
    /// How neighbouring steps are compared.
    pub(crate) fn kind(self) -> TemporalKind {
        match self {
            TimeLoss::Literal | TimeLoss::MonotoneRisk => TemporalKind::Literal,
            TimeLoss::Abs => TemporalKind::Abs,
            TimeLoss::L2 => TemporalKind::L2,
        }
    }
}

/// What times are in where a loss compares them (S-19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetUnit {
    /// The range of the training times, censored ones included, becomes 0 to 1.
    #[default]
    MinMax,
    /// Years.
    Years,
}

impl TargetUnit {
    /// The scales of recurrence and survival, from the times of the training patients.
    pub(crate) fn scales(self, outcomes: &[[FollowUp; 2]], train: &[usize]) -> Result<[TimeScale; 2]> {
        let of = |task: usize| match self {
            TargetUnit::MinMax => {
                TimeScale::fit(&train.iter().map(|&i| outcomes[i][task].in_years()).collect::<Vec<_>>())
            }
            TargetUnit::Years => Ok(TimeScale::in_years()),
        };
        Ok([of(0)?, of(1)?])
    }
}

/// How a graph and its augmented copy are compared, or the two kinds of data in it (S-22).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ViewContrast {
    /// `1 - cos`: views should agree.
    Align,
    /// InfoNCE with the other patients of the batch as negatives.
    Infonce {
        /// The temperature.
        temperature: f64,
    },
    /// InfoNCE between the mean of a patient's image nodes and its clinical node, the mean of both directions, with the other
    /// patients of the batch as negatives. Before the graph layers: behind them each node holds messages of the other
    /// kind, and agreement costs nothing. Without one of both kinds it is 0.
    CrossModal {
        /// The temperature.
        temperature: f64,
    },
}

impl ViewContrast {
    /// Whether each graph needs an augmented copy beside it.
    pub(crate) fn needs_copies(self) -> bool {
        !matches!(self, ViewContrast::CrossModal { .. })
    }
}

/// The losses and their weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LossConfig {
    /// Weights of the four losses over the epochs (S-21).
    pub weights: TaskWeights,
    /// How neighbouring steps are compared (S-20).
    pub temporal: TimeLoss,
    /// How views or kinds of data are compared; `None` leaves the contrastive loss out (S-22).
    pub contrast: Option<ViewContrast>,
    /// Who is at risk where the loss is a partial likelihood (S-16); validation patients are at risk among themselves.
    #[serde(default)]
    pub risk_set: RiskSet,
}

impl Default for LossConfig {
    /// The preset `paper`.
    fn default() -> Self {
        LossConfig {
            weights: TaskWeights::default(),
            temporal: TimeLoss::Literal,
            contrast: Some(ViewContrast::Infonce { temperature: 0.2 }),
            risk_set: RiskSet::Batch,
        }
    }
}

impl LossConfig {
    /// Checks that a network gives what these losses take.
    pub(crate) fn fits(&self, model: &StgConfig) -> Result<()> {
        let loss = model.survival_loss;
        if self.risk_set == RiskSet::Training && loss.log_risk().is_none() {
            let expected = "batch, unless the loss is cox or mse_cox";
            return Err(Error::config("TrainingConfig", "loss.risk_set", expected, format!("{loss:?}")));
        }
        if self.temporal == TimeLoss::MonotoneRisk && !model.has_step_risks() {
            let expected = "literal, abs or l2, where unify = concat leaves no risk per step";
            return Err(Error::config("TrainingConfig", "loss.temporal", expected, "monotone_risk"));
        }
        Ok(())
    }

    /// Sets the weights and how they move.
    pub fn weights(mut self, weights: TaskWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Sets how changes over time are penalised.
    pub fn temporal(mut self, temporal: TimeLoss) -> Self {
        self.temporal = temporal;
        self
    }

    /// Sets how views are compared.
    pub fn contrast(mut self, contrast: Option<ViewContrast>) -> Self {
        self.contrast = contrast;
        self
    }

    /// Sets who is at risk in a partial likelihood.
    pub fn risk_set(mut self, risk_set: RiskSet) -> Self {
        self.risk_set = risk_set;
        self
    }
}

/// How the network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainingConfig {
    /// The losses.
    pub loss: LossConfig,
    /// How a patient's graph is varied (S-23).
    pub augment: AugmentConfig,
    /// Graphs per step.
    pub batch: usize,
    /// The epochs over which loss weights move; they stay where they arrive. Training goes on at least so long.
    pub epochs: usize,
    /// What times are in where a loss compares them (S-19).
    #[serde(default)]
    pub time_unit: TargetUnit,
}

impl TrainingConfig {
    /// The preset `paper`: batches of 64 over `epochs` epochs.
    pub fn new(epochs: usize) -> Self {
        TrainingConfig {
            loss: LossConfig::default(),
            augment: AugmentConfig::default(),
            batch: 64,
            epochs,
            time_unit: TargetUnit::MinMax,
        }
    }

    /// Sets the graphs per step.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Sets the losses.
    pub fn loss(mut self, loss: LossConfig) -> Self {
        self.loss = loss;
        self
    }

    /// Sets what times are in where a loss compares them.
    pub fn time_unit(mut self, unit: TargetUnit) -> Self {
        self.time_unit = unit;
        self
    }

    /// Sets the augmentation.
    pub fn augment(mut self, augment: AugmentConfig) -> Self {
        self.augment = augment;
        self
    }
}
