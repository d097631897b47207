use crate::{AugmentConfig, Error, Result};
use oncograph_graph::HeteroGraph;
use oncograph_losses::{TaskWeights, TemporalKind};
use serde::{Deserialize, Serialize};

/// How space and time are joined (S-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Every step's graph is rebuilt and all steps become one graph (section 4).
    Full,
    /// A spatial branch on the static graph beside a BiLSTM over the steps (section 5).
    Decoupled,
    /// The spatial branch alone: two layers on the graph, without time (row "+Fusion" of the paper's ablation).
    Static,
    /// No graph: the nodes' features side by side, and a hidden layer over them; for nodes that every patient has.
    Flat,
}

impl Architecture {
    /// Whether there are yearly steps.
    pub fn has_steps(self) -> bool {
        matches!(self, Architecture::Full | Architecture::Decoupled)
    }
}

/// Which of the seven nodes a patient's graph has, where there are images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeSet {
    /// All seven.
    #[default]
    All,
    /// Those of the images: anatomy and CT.
    Images,
    /// The CT and the clinical node, without anatomy and so without an edge.
    CtAndClinical,
    /// The CT node alone.
    Ct,
}

impl NodeSet {
    /// Whether the anatomical nodes are among them.
    pub fn has_anatomy(self) -> bool {
        matches!(self, NodeSet::All | NodeSet::Images)
    }

    /// Whether the clinical node is among them.
    pub fn has_clinical(self) -> bool {
        matches!(self, NodeSet::All | NodeSet::CtAndClinical)
    }

    /// A patient's graph with these nodes and the edges between them.
    ///
    /// # Errors
    /// A graph of another schema.
    pub fn of(self, graph: &HeteroGraph) -> Result<HeteroGraph> {
        let anatomy = vec![self.has_anatomy(); graph.nodes("anatomy")?.count];
        let clinical = vec![self.has_clinical(); graph.nodes("clinical")?.count];
        Ok(graph.retain_nodes("anatomy", &anatomy)?.retain_nodes("clinical", &clinical)?)
    }
}

/// The convolution, the same everywhere in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GnnKind {
    /// GraphSAGE with two matrices (S-08 `pyg`).
    Sage,
    /// GraphSAGE as the paper's equation reads: one matrix over the mean with the node itself (S-08 `closed_mean`).
    SageClosed,
    /// Symmetric normalisation with self loops; ignores edge attributes.
    Gcn,
    /// Attention with one head; edge attributes enter the logits.
    Gat,
}

/// What edge attributes do (S-06).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeMode {
    /// They are added to messages through a separate matrix.
    Message,
    /// Nothing, as in the stock layer.
    Ignore,
}

/// Whether features encode which of the seven nodes it is (S-07).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeIdentity {
    /// No: every node passes through the same weights, and organs can be told apart only by their content.
    None,
    /// Seven more features, `sqrt(d)` at the node's place and 0 elsewhere: as long as the z-scored features, so that
    /// they weigh from the start.
    OneHot,
}

impl NodeIdentity {
    /// Features that are added to a node's.
    pub fn width(self) -> usize {
        match self {
            NodeIdentity::None => 0,
            NodeIdentity::OneHot => 7,
        }
    }
}

/// How the steps of the full model become one graph (S-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unify {
    /// A copy of each node per step, joined to the copies one step before and after.
    StackChained,
    /// A copy of each node per step, without edges in time.
    Stack,
    /// One node whose features are those of all steps side by side.
    Concat,
}

/// What the BiLSTM of the decoupled model sees at step t (S-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemporalInput {
    /// The spatial branch's embedding and the step's embedding, side by side.
    Timecat,
    /// The spatial branch's two layers, shared, on features and the step's embedding; the static branch sees
    /// zeros in place of the latter.
    Share2,
    /// Three separate layers on features and the step's embedding.
    Recon3,
}

/// What is predicted and how it is scored (S-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurvivalLoss {
    /// A time; squared error, with censored patients as if observed (S-17 `as_observed`).
    Mse,
    /// A time; squared error of events only (S-17 `drop`).
    MseEvents,
    /// A time; censored patients only cost what a prediction falls short (S-17 `hinge`).
    Hinge,
    /// A log risk under proportional hazards; times come from Breslow's baseline.
    Cox,
    /// A time by squared error and, beside it, a log risk.
    MseCox,
    /// A hazard per yearly bin.
    DiscreteHazard,
}

impl SurvivalLoss {
    /// Outputs per task.
    pub fn width(self, bins: usize) -> usize {
        match self {
            SurvivalLoss::Mse | SurvivalLoss::MseEvents | SurvivalLoss::Hinge | SurvivalLoss::Cox => 1,
            SurvivalLoss::MseCox => 2,
            SurvivalLoss::DiscreteHazard => bins,
        }
    }

    /// The output that is a log risk under proportional hazards, if there is one.
    pub(crate) fn log_risk(self) -> Option<usize> {
        match self {
            SurvivalLoss::Cox => Some(0),
            SurvivalLoss::MseCox => Some(1),
            _ => None,
        }
    }
}

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

/// How a graph and its augmented copy are compared (S-22).
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
}

/// The network.
///
/// # Example
///
/// ```
/// use oncograph_spatiotemporal::StgConfig;
///
/// let config = StgConfig::decoupled(22).hidden(64).lstm_hidden(32);
/// config.validate()?;
/// # Ok::<(), oncograph_spatiotemporal::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StgConfig {
    /// How space and time are joined (S-12).
    pub architecture: Architecture,
    /// Which nodes a patient's graph has, where there are images.
    #[serde(default)]
    pub nodes: NodeSet,
    /// The convolution.
    pub gnn: GnnKind,
    /// Features of a node, d; 4096 with the published backbone.
    pub features: usize,
    /// Clinical covariates.
    pub clinical: usize,
    /// Width of every graph layer, h.
    pub hidden: usize,
    /// Width of each direction of the BiLSTM, k.
    pub lstm_hidden: usize,
    /// Yearly steps.
    pub steps: usize,
    /// Width of a step's embedding.
    pub time_dim: usize,
    /// What edge attributes do (S-06).
    pub edge_mode: EdgeMode,
    /// Whether features encode which of the seven nodes it is (S-07).
    pub node_type: NodeIdentity,
    /// Whether the last layer of each stack has no ReLU (S-09).
    pub last_linear: bool,
    /// How the steps of the full model become one graph (S-11).
    pub unify: Unify,
    /// What the BiLSTM of the decoupled model sees at step t (S-13).
    pub temporal_input: TemporalInput,
    /// Whether nodes are averaged before the BiLSTM instead of after it (S-13).
    pub pool_first: bool,
    /// Whether the survival head also sees the predicted recurrence.
    pub cascade: bool,
    /// Whether the gradient stops at that prediction (S-14).
    pub detach_cascade: bool,
    /// What is predicted and how it is scored (S-16, S-17).
    pub survival_loss: SurvivalLoss,
}

impl StgConfig {
    /// The headline model: decoupled, h = k = 128.
    pub fn decoupled(clinical: usize) -> Self {
        StgConfig {
            architecture: Architecture::Decoupled,
            nodes: NodeSet::All,
            gnn: GnnKind::Sage,
            features: 4096,
            clinical,
            hidden: 128,
            lstm_hidden: 128,
            steps: 12,
            time_dim: 12,
            edge_mode: EdgeMode::Message,
            node_type: NodeIdentity::None,
            last_linear: false,
            unify: Unify::StackChained,
            temporal_input: TemporalInput::Timecat,
            pool_first: false,
            cascade: true,
            detach_cascade: false,
            survival_loss: SurvivalLoss::Mse,
        }
    }

    /// The full model: h = 512, heads without a cascade.
    pub fn full(clinical: usize) -> Self {
        StgConfig {
            architecture: Architecture::Full,
            hidden: 512,
            cascade: false,
            ..StgConfig::decoupled(clinical)
        }
    }

    /// Sets how space and time are joined.
    pub fn architecture(mut self, architecture: Architecture) -> Self {
        self.architecture = architecture;
        self
    }

    /// Sets which nodes a patient's graph has.
    pub fn nodes(mut self, nodes: NodeSet) -> Self {
        self.nodes = nodes;
        self
    }

    /// Sets the convolution.
    pub fn gnn(mut self, gnn: GnnKind) -> Self {
        self.gnn = gnn;
        self
    }

    /// Sets the features of a node.
    pub fn features(mut self, features: usize) -> Self {
        self.features = features;
        self
    }

    /// Sets the width of graph layers.
    pub fn hidden(mut self, hidden: usize) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets the width of each direction of the BiLSTM.
    pub fn lstm_hidden(mut self, lstm_hidden: usize) -> Self {
        self.lstm_hidden = lstm_hidden;
        self
    }

    /// Sets the number of steps and the width of their embedding.
    pub fn time(mut self, steps: usize, dim: usize) -> Self {
        (self.steps, self.time_dim) = (steps, dim);
        self
    }

    /// Sets what edge attributes do.
    pub fn edge_mode(mut self, mode: EdgeMode) -> Self {
        self.edge_mode = mode;
        self
    }

    /// Sets whether features encode which node it is.
    pub fn node_type(mut self, node_type: NodeIdentity) -> Self {
        self.node_type = node_type;
        self
    }

    /// Sets whether the last layer of each stack has no ReLU.
    pub fn last_linear(mut self, last_linear: bool) -> Self {
        self.last_linear = last_linear;
        self
    }

    /// Sets how steps become one graph.
    pub fn unify(mut self, unify: Unify) -> Self {
        self.unify = unify;
        self
    }

    /// Sets what the BiLSTM sees, and whether nodes are averaged before it.
    pub fn temporal(mut self, input: TemporalInput, pool_first: bool) -> Self {
        (self.temporal_input, self.pool_first) = (input, pool_first);
        self
    }

    /// Sets whether the survival head sees the recurrence, and whether the gradient stops there.
    pub fn cascade(mut self, cascade: bool, detach: bool) -> Self {
        (self.cascade, self.detach_cascade) = (cascade, detach);
        self
    }

    /// Sets what is predicted.
    pub fn survival_loss(mut self, loss: SurvivalLoss) -> Self {
        self.survival_loss = loss;
        self
    }

    /// Checks that every width is positive and that there are two steps or more.
    ///
    /// # Errors
    /// [`Error::Argument`] with the field.
    pub fn validate(&self) -> Result<()> {
        let widths = [
            ("features", self.features),
            ("clinical", self.clinical),
            ("hidden", self.hidden),
            ("lstm_hidden", self.lstm_hidden),
            ("time_dim", self.time_dim),
        ];
        for (field, width) in widths {
            if width == 0 {
                return Err(Error::config("StgConfig", field, "at least 1", 0));
            }
        }
        if self.steps < 2 {
            return Err(Error::config("StgConfig", "steps", "at least 2", self.steps));
        }
        if self.architecture == Architecture::Flat && self.nodes.has_anatomy() {
            let expected =
                "ct or ct_and_clinical where the architecture is flat: a patient can lack any other";
            return Err(Error::config("StgConfig", "nodes", expected, format!("{:?}", self.nodes)));
        }
        Ok(())
    }
}

/// The losses and their weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LossConfig {
    /// Weights of the four losses over the epochs (S-21).
    pub weights: TaskWeights,
    /// How states of neighbouring steps are compared (S-20).
    pub temporal: TemporalKind,
    /// How a graph and its augmented copy are compared; `None` leaves the contrastive loss out (S-22).
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
            temporal: TemporalKind::Literal,
            contrast: Some(ViewContrast::Infonce { temperature: 0.2 }),
            risk_set: RiskSet::Batch,
        }
    }
}

impl LossConfig {
    /// Sets the weights and how they move.
    pub fn weights(mut self, weights: TaskWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Sets how changes over time are penalised.
    pub fn temporal(mut self, temporal: TemporalKind) -> Self {
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
}

impl TrainingConfig {
    /// The preset `paper`: batches of 64 over `epochs` epochs.
    pub fn new(epochs: usize) -> Self {
        TrainingConfig { loss: LossConfig::default(), augment: AugmentConfig::default(), batch: 64, epochs }
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

    /// Sets the augmentation.
    pub fn augment(mut self, augment: AugmentConfig) -> Self {
        self.augment = augment;
        self
    }
}
