use crate::encoder_config::{CELLS, CtNode};
use crate::features::PYRAMID_LEVELS;
use crate::{Error, NodeSubset, Result};
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

/// Which of the twenty edges there are (S-06).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeDirection {
    /// All: between anatomical nodes and the CT and clinical nodes, in both directions.
    #[default]
    Both,
    /// Those from anatomical nodes to the CT and the clinical node, which do not reach the former.
    FromAnatomy,
    /// Those from the CT and the clinical node to anatomical nodes.
    ToAnatomy,
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
    /// Eight more features that are learned for each of the seven nodes, drawn from a normal distribution at the start, and as
    /// long as those of `OneHot`.
    Embedding,
}

impl NodeIdentity {
    /// Features that are added to a node's.
    pub fn width(self) -> usize {
        match self {
            NodeIdentity::None => 0,
            NodeIdentity::OneHot => 7,
            NodeIdentity::Embedding => 8,
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

/// What weighs the losses of recurrence and survival (S-21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskWeighting {
    /// `alpha` and `beta` of the training's configuration, constant or in a straight line.
    #[default]
    Scheduled,
    /// Two learned log variances, which take the place of `alpha` and `beta`. The contrastive and the temporal loss, which are
    /// no errors of an observation and can be 0, keep `gamma` and `delta`.
    Uncertainty,
}

/// The vectors of a node where they are three pyramid levels.
fn levels() -> usize {
    PYRAMID_LEVELS
}

/// The years after which there is no data (S-30).
fn horizon() -> usize {
    12
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
    pub nodes: NodeSubset,
    /// The convolution.
    pub gnn: GnnKind,
    /// Features of a vector of an image node, and of every node unless `image_projection` sets others, d; 4096 with the
    /// published backbone and pooling.
    pub features: usize,
    /// Vectors of an image node, which the network mixes by learned weights; 1 with other poolings than `grid2_weighted` (S-01).
    #[serde(default = "levels")]
    pub levels: usize,
    /// Features of every node, to which image nodes are brought by a learned linear map; none leaves them as they are (S-01).
    #[serde(default)]
    pub image_projection: Option<usize>,
    /// How the CT node's map becomes its features (S-04).
    #[serde(default)]
    pub ct_node: CtNode,
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
    /// Which edges there are (S-06); a [`NodeTable`](crate::NodeTable) leaves the others out.
    #[serde(default)]
    pub edges: EdgeDirection,
    /// Whether features encode which of the seven nodes it is (S-07).
    pub node_type: NodeIdentity,
    /// Whether the last layer of each stack has no ReLU (S-09).
    pub last_linear: bool,
    /// The probability that a value after a graph layer is dropped in training (S-09).
    #[serde(default)]
    pub dropout: f64,
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
    /// What weighs the losses of recurrence and survival (S-21).
    #[serde(default)]
    pub weighting: TaskWeighting,
    /// Predicted times are clamped to 0 and this many years, in predictions alone (S-30).
    #[serde(default = "horizon")]
    pub horizon: usize,
}

impl StgConfig {
    /// The headline model: decoupled, h = k = 128.
    pub fn decoupled(clinical: usize) -> Self {
        StgConfig {
            architecture: Architecture::Decoupled,
            nodes: NodeSubset::All,
            gnn: GnnKind::Sage,
            features: 4096,
            levels: levels(),
            image_projection: None,
            ct_node: CtNode::SamePooling,
            clinical,
            hidden: 128,
            lstm_hidden: 128,
            steps: 12,
            time_dim: 12,
            edge_mode: EdgeMode::Message,
            edges: EdgeDirection::Both,
            node_type: NodeIdentity::None,
            last_linear: false,
            dropout: 0.0,
            unify: Unify::StackChained,
            temporal_input: TemporalInput::Timecat,
            pool_first: false,
            cascade: true,
            detach_cascade: false,
            survival_loss: SurvivalLoss::Mse,
            weighting: TaskWeighting::Scheduled,
            horizon: horizon(),
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
    pub fn nodes(mut self, nodes: NodeSubset) -> Self {
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

    /// Sets the vectors of an image node, and the features that they are brought to.
    pub fn image_nodes(mut self, levels: usize, projection: Option<usize>) -> Self {
        (self.levels, self.image_projection) = (levels, projection);
        self
    }

    /// Sets how the CT node's map becomes its features.
    pub fn ct_node(mut self, ct_node: CtNode) -> Self {
        self.ct_node = ct_node;
        self
    }

    /// Features of every node before the graph layers, without those that encode which node it is.
    pub fn node_width(&self) -> usize {
        self.image_projection.unwrap_or(self.features)
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

    /// Sets which edges there are.
    pub fn edges(mut self, edges: EdgeDirection) -> Self {
        self.edges = edges;
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

    /// Sets the probability that a value after a graph layer is dropped in training.
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
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

    /// Sets what weighs the losses of recurrence and survival.
    pub fn weighting(mut self, weighting: TaskWeighting) -> Self {
        self.weighting = weighting;
        self
    }

    /// Sets the years to which predicted times are clamped.
    pub fn horizon(mut self, years: usize) -> Self {
        self.horizon = years;
        self
    }

    /// Whether the heads can be applied to the state of a step.
    pub(crate) fn has_step_risks(&self) -> bool {
        self.architecture != Architecture::Full || self.unify != Unify::Concat
    }

    /// Checks that every width is positive, the dropout a probability below 1, that there are two steps or more, and that what
    /// makes the features of image nodes goes together.
    ///
    /// # Errors
    /// [`Error::Argument`] with the field.
    pub fn validate(&self) -> Result<()> {
        let widths = [
            ("features", self.features),
            ("image_projection", self.image_projection.unwrap_or(1)),
            ("clinical", self.clinical),
            ("hidden", self.hidden),
            ("lstm_hidden", self.lstm_hidden),
            ("time_dim", self.time_dim),
            ("horizon", self.horizon),
        ];
        for (field, width) in widths {
            if width == 0 {
                return Err(Error::config("StgConfig", field, "at least 1", 0));
            }
        }
        if self.levels != 1 && (self.levels != PYRAMID_LEVELS || self.image_projection.is_some()) {
            let expected = "3, or 1, as it must be with an image_projection";
            return Err(Error::config("StgConfig", "levels", expected, self.levels));
        }
        if self.ct_node == CtNode::Gap && !self.features.is_multiple_of(CELLS) {
            let expected = "a multiple of 8 where the CT node is gap";
            return Err(Error::config("StgConfig", "features", expected, self.features));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config("StgConfig", "dropout", "at least 0 and below 1", self.dropout));
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
