use crate::{Error, OmicsNet, Result};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a node's feature becomes its embedding (M-01 `node_feature_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeInput {
    /// One value per named node: node `g` has its value at position `g` of an otherwise empty vector, so that its
    /// embedding is column `g` of the weight times the value, plus the bias. The vectors are never made.
    Diag,
    /// One value per named node, embedded by a line that all nodes of the type share plus one of the node's own, which
    /// begins small. Messages of neighbours then point the same way, so that an average over them reduces their noise.
    Named,
    /// A dense vector per node, and any number of nodes per patient, for example one per image slice.
    Rows,
}

/// A type of nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeTypeConfig {
    /// Its name, which graphs, batches and parameters use.
    pub name: String,
    /// [`NodeInput::Rows`]: how wide a node's vector is; else how many nodes there are.
    pub features: usize,
    /// What a node carries.
    pub input: NodeInput,
}

impl NodeTypeConfig {
    /// Named nodes with one value each, [`NodeInput::Diag`].
    pub fn diag(name: impl Into<String>, nodes: usize) -> Self {
        NodeTypeConfig { name: name.into(), features: nodes, input: NodeInput::Diag }
    }

    /// Named nodes with one value each, [`NodeInput::Named`].
    pub fn named(name: impl Into<String>, nodes: usize) -> Self {
        NodeTypeConfig { name: name.into(), features: nodes, input: NodeInput::Named }
    }

    /// Nodes with a vector each.
    pub fn rows(name: impl Into<String>, width: usize) -> Self {
        NodeTypeConfig { name: name.into(), features: width, input: NodeInput::Rows }
    }
}

/// A modality: node types that share a graph, and what is pooled of them (M-06, M-07).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModalityConfig {
    /// Its name.
    pub name: String,
    /// The node types of its graph, one after the other.
    pub node_types: Vec<String>,
    /// Those that its vector is pooled from; a patient without any of them lacks the modality.
    pub pooled: Vec<String>,
    /// Built, but never called, as the proteomics module of the article's listing (defect 4); false.
    pub idle: bool,
}

impl ModalityConfig {
    /// A modality pooled from all its node types.
    pub fn new<S: Into<String>>(name: impl Into<String>, node_types: impl IntoIterator<Item = S>) -> Self {
        let node_types: Vec<String> = node_types.into_iter().map(Into::into).collect();
        ModalityConfig { name: name.into(), pooled: node_types.clone(), node_types, idle: false }
    }

    /// Pools some of the node types only.
    pub fn pooled<S: Into<String>>(mut self, node_types: impl IntoIterator<Item = S>) -> Self {
        self.pooled = node_types.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether the module is built without being called.
    pub fn idle(mut self, idle: bool) -> Self {
        self.idle = idle;
        self
    }
}

/// What a task's head gives (M-12, M-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// A time, with squared errors, whether observed or censored (M-13 `mse`).
    SurvivalMse,
    /// A log risk (M-13 `cox`).
    SurvivalCox,
    /// Hazards of this many bins of one time unit (M-13 `discrete`).
    SurvivalDiscrete(usize),
    /// One of this many classes.
    Classes(usize),
    /// This many yes/no labels, each of which may be missing.
    Labels(usize),
}

impl TaskKind {
    /// Outputs of the head.
    pub fn width(self) -> usize {
        match self {
            TaskKind::SurvivalMse | TaskKind::SurvivalCox => 1,
            TaskKind::SurvivalDiscrete(n) | TaskKind::Classes(n) | TaskKind::Labels(n) => n,
        }
    }

    /// Whether the task is about times to an event.
    pub fn is_survival(self) -> bool {
        matches!(self, TaskKind::SurvivalMse | TaskKind::SurvivalCox | TaskKind::SurvivalDiscrete(_))
    }
}

/// A named task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskConfig {
    /// Its name: weights, losses and outputs are matched by it, never by position (defect 9).
    pub name: String,
    /// What its head gives.
    pub kind: TaskKind,
}

impl TaskConfig {
    /// A task.
    pub fn new(name: impl Into<String>, kind: TaskKind) -> Self {
        TaskConfig { name: name.into(), kind }
    }
}

/// How outputs of several tasks are made of the fused vector (M-12, `heads`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// One linear layer, whose outputs are shared out among the tasks in their order.
    Joint,
    /// A linear layer per task.
    MultiHead,
}

/// How the patient is joined to its nodes (M-05, `hetero_edges`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeteroEdges {
    /// The edges from the patient to its nodes are not used.
    Ignore,
    /// The patient attends to its nodes, and what it gathers is added to the modality's vector: of nodes with one value
    /// to those of at least this magnitude, of others to all.
    Gat {
        /// |z| of a node that is joined to the patient; 1.
        threshold: f64,
    },
}

/// How nodes become a modality's vector (M-08).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over a patient's nodes.
    Mean,
    /// A weighted mean, with a softmax over learned scores.
    Attention,
}

/// What the fusion attends over (M-10, `fusion_tokens`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusionTokens {
    /// The fused vector alone: self-attention over one token mixes nothing (defect 6).
    Single,
    /// The fused vector and those of the modalities; absent ones are masked.
    Set,
}

/// How each modality's vector is normalised before the fusion (M-27, `token_norm`).
///
/// A mean over many nodes differs little from patient to patient, about `1 / sqrt(nodes)` of a node's spread around a
/// constant, and the fusion learns slowly from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenNorm {
    /// As it is, the article's choice.
    #[default]
    None,
    /// Over its features, patient by patient.
    Layer,
    /// Each feature over the patients of the batch that have the modality, which takes the constant off; in evaluation
    /// with the running statistics.
    Batch,
}

/// Which part is taken out, to see what it is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ablate {
    /// No graph layers: a modality is the mean of its nodes' embeddings.
    pub intra: bool,
    /// No attention over modalities and no transformer: their vectors side by side go through an MLP.
    pub inter: bool,
}

/// Configuration of a [`OmicsNet`]. The doc comments name the decision (M-nn) that a field stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OmicsNetConfig {
    /// Features of the patient node.
    pub patient: usize,
    /// The types of nodes.
    pub node_types: Vec<NodeTypeConfig>,
    /// Which node types make up a modality (M-07, `modalities`).
    pub modalities: Vec<ModalityConfig>,
    /// The tasks.
    pub tasks: Vec<TaskConfig>,
    /// Width of all vectors; 256.
    pub hidden: usize,
    /// Attention heads, of nodes and of modalities; 8.
    pub heads: usize,
    /// Graph layers per modality; 3.
    pub layers: usize,
    /// Dropout of attention weights between nodes; 0.1.
    pub attention_dropout: f64,
    /// Transformer layers of the fusion; 3.
    pub fusion_layers: usize,
    /// Width of their feed-forward part; 2048.
    pub feed_forward: usize,
    /// Dropout of the fusion; 0.1.
    pub fusion_dropout: f64,
    /// Width of the layer before the heads; 128.
    pub trunk: usize,
    /// Dropout before that layer; 0.2. Behind it, half of that.
    pub trunk_dropout: f64,
    /// How the patient is joined to its nodes (M-05).
    pub hetero_edges: HeteroEdges,
    /// How nodes become a modality's vector (M-08).
    pub pooling: Pooling,
    /// What the fusion attends over (M-10).
    pub fusion_tokens: FusionTokens,
    /// Whether the patient's embedding is added to what its query gathers (M-11).
    pub patient_residual: bool,
    /// How outputs of several tasks are made of the fused vector (M-12).
    pub head: HeadKind,
    /// What is done to modality vectors before the fusion (M-27).
    #[serde(default)]
    pub token_norm: TokenNorm,
    /// The ablations.
    pub ablate: Ablate,
}

impl OmicsNetConfig {
    /// The recommended reading of the article, for node types, modalities and tasks of one's own.
    pub fn new(
        patient: usize,
        node_types: Vec<NodeTypeConfig>,
        modalities: Vec<ModalityConfig>,
        tasks: Vec<TaskConfig>,
    ) -> Self {
        OmicsNetConfig {
            patient,
            node_types,
            modalities,
            tasks,
            hidden: 256,
            heads: 8,
            layers: 3,
            attention_dropout: 0.1,
            fusion_layers: 3,
            feed_forward: 2048,
            fusion_dropout: 0.1,
            trunk: 128,
            trunk_dropout: 0.2,
            hetero_edges: HeteroEdges::Ignore,
            pooling: Pooling::Mean,
            fusion_tokens: FusionTokens::Single,
            patient_residual: true,
            head: HeadKind::MultiHead,
            token_norm: TokenNorm::Batch,
            ablate: Ablate::default(),
        }
    }

    /// The closest executable reading of the article's listing, at its sizes: 5,992,068 parameters.
    ///
    /// Genes and proteins share one graph and are pooled together; the proteomics module is built and never called; the
    /// four outputs of the one classifier are read as a time and three response classes.
    pub fn literal() -> Self {
        let mut config = Self::fixed();
        let proteomics = ModalityConfig::new("proteomics", ["protein"]).idle(true);
        config.modalities[0] = ModalityConfig::new("genomics", ["gene", "protein"]);
        config.modalities[1] = proteomics;
        config.tasks = vec![
            TaskConfig::new("survival", TaskKind::SurvivalMse),
            TaskConfig::new("response", TaskKind::Classes(3)),
        ];
        config.patient_residual = false;
        config.head = HeadKind::Joint;
        config.token_norm = TokenNorm::None;
        config
    }

    /// The recommended reading at the article's sizes.
    pub fn fixed() -> Self {
        let node_types = vec![
            NodeTypeConfig::diag("gene", 1000),
            NodeTypeConfig::diag("protein", 500),
            NodeTypeConfig::diag("clinical_feature", 100),
            NodeTypeConfig::rows("imaging_feature", 2048),
        ];
        let modalities = vec![
            ModalityConfig::new("genomics", ["gene", "protein"]).pooled(["gene"]),
            ModalityConfig::new("proteomics", ["protein"]),
            ModalityConfig::new("clinical", ["clinical_feature"]),
            ModalityConfig::new("imaging", ["imaging_feature"]),
        ];
        let tasks = vec![
            TaskConfig::new("survival", TaskKind::SurvivalCox),
            TaskConfig::new("response", TaskKind::Classes(3)),
            TaskConfig::new("toxicity", TaskKind::Labels(5)),
        ];
        Self::new(50, node_types, modalities, tasks)
    }

    /// Narrow and shallow, for hundreds of patients on a laptop: what the example's `quick` runs.
    pub fn quick(mut self) -> Self {
        self.hidden = 32;
        self.heads = 4;
        self.layers = 2;
        self.attention_dropout = 0.0;
        self.fusion_layers = 1;
        self.feed_forward = 64;
        self.fusion_tokens = FusionTokens::Set;
        self.trunk = 32;
        self
    }

    /// Sets the width of all vectors.
    pub fn hidden(mut self, hidden: usize) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets how many heads attend.
    pub fn heads(mut self, heads: usize) -> Self {
        self.heads = heads;
        self
    }

    /// Sets the graph layers per modality.
    pub fn layers(mut self, layers: usize) -> Self {
        self.layers = layers;
        self
    }

    /// Sets the dropout of attention between nodes.
    pub fn attention_dropout(mut self, p: f64) -> Self {
        self.attention_dropout = p;
        self
    }

    /// Sets the transformer layers of the fusion and the width of their feed-forward part.
    pub fn fusion(mut self, layers: usize, feed_forward: usize) -> Self {
        self.fusion_layers = layers;
        self.feed_forward = feed_forward;
        self
    }

    /// Sets the dropout of the fusion and before the trunk.
    pub fn dropout(mut self, fusion: f64, trunk: f64) -> Self {
        self.fusion_dropout = fusion;
        self.trunk_dropout = trunk;
        self
    }

    /// Sets the width of the layer before the heads.
    pub fn trunk(mut self, trunk: usize) -> Self {
        self.trunk = trunk;
        self
    }

    /// Sets M-05.
    pub fn hetero_edges(mut self, edges: HeteroEdges) -> Self {
        self.hetero_edges = edges;
        self
    }

    /// Sets M-08.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Sets M-10.
    pub fn fusion_tokens(mut self, tokens: FusionTokens) -> Self {
        self.fusion_tokens = tokens;
        self
    }

    /// Sets M-27.
    pub fn token_norm(mut self, norm: TokenNorm) -> Self {
        self.token_norm = norm;
        self
    }

    /// Sets the parts that are taken out.
    pub fn ablate(mut self, ablate: Ablate) -> Self {
        self.ablate = ablate;
        self
    }

    /// The node type of a name.
    pub fn node_type(&self, name: &str) -> Option<&NodeTypeConfig> {
        self.node_types.iter().find(|t| t.name == name)
    }

    /// The modalities that are called, in the order of importances.
    pub fn active(&self) -> impl Iterator<Item = &ModalityConfig> {
        self.modalities.iter().filter(|m| !m.idle)
    }

    /// Keeps some modalities only, and the node types that they use.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is not a modality.
    pub fn only(mut self, names: &[&str]) -> Result<Self> {
        let known: Vec<_> = self.modalities.iter().map(|m| m.name.clone()).collect();
        if let Some(unknown) = names.iter().find(|n| !known.iter().any(|k| k == **n)) {
            return Err(Error::config(
                "OmicsNetConfig",
                "modalities",
                format!("some of {}", known.join(", ")),
                unknown,
            ));
        }
        self.modalities.retain(|m| names.contains(&m.name.as_str()));
        let used: BTreeSet<_> = self.modalities.iter().flat_map(|m| m.node_types.clone()).collect();
        self.node_types.retain(|t| used.contains(&t.name));
        Ok(self)
    }

    /// Checks names, sizes and how they fit together.
    ///
    /// # Errors
    /// [`Error::Argument`] with the first field that does not fit.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in [
            ("patient", self.patient),
            ("layers", self.layers),
            ("fusion_layers", self.fusion_layers),
            ("feed_forward", self.feed_forward),
            ("trunk", self.trunk),
        ] {
            if value == 0 {
                return Err(Error::config("OmicsNetConfig", field, "at least 1", 0));
            }
        }
        if self.heads == 0 || self.hidden == 0 || !self.hidden.is_multiple_of(self.heads) {
            let expected = format!("a divisor of the hidden width {}", self.hidden);
            return Err(Error::config("OmicsNetConfig", "heads", expected, self.heads));
        }
        unique("node_types", self.node_types.iter().map(|t| &t.name))?;
        unique("modalities", self.modalities.iter().map(|m| &m.name))?;
        unique("tasks", self.tasks.iter().map(|t| &t.name))?;
        if let Some(empty) = self.node_types.iter().find(|t| t.features == 0) {
            return Err(Error::config(
                "OmicsNetConfig",
                format!("features of {}", empty.name),
                "at least 1",
                0,
            ));
        }
        if let Some(empty) = self.tasks.iter().find(|t| t.kind.width() == 0) {
            return Err(Error::config(
                "OmicsNetConfig",
                format!("task {}", empty.name),
                "at least one output",
                0,
            ));
        }
        if self.tasks.is_empty() || self.active().next().is_none() {
            return Err(Error::config(
                "OmicsNetConfig",
                "tasks and modalities",
                "at least one of each",
                "none",
            ));
        }
        self.modalities.iter().try_for_each(|m| self.validate_modality(m))
    }

    fn validate_modality(&self, modality: &ModalityConfig) -> Result<()> {
        let field = |what: &str| format!("{what} of modality {}", modality.name);
        let mut rows = 0;
        for name in &modality.node_types {
            match self.node_type(name) {
                None => {
                    return Err(Error::config(
                        "OmicsNetConfig",
                        field("node_types"),
                        "known node types",
                        name,
                    ));
                }
                Some(t) => rows += usize::from(t.input == NodeInput::Rows),
            }
        }
        if modality.node_types.is_empty() || (rows > 0 && modality.node_types.len() > 1) {
            let expected = "types with one value per node, or a single type with a vector per node";
            return Err(Error::config(
                "OmicsNetConfig",
                field("node_types"),
                expected,
                modality.node_types.join(", "),
            ));
        }
        let unknown = modality.pooled.iter().find(|p| !modality.node_types.contains(p));
        if modality.pooled.is_empty() || unknown.is_some() {
            let expected = format!("some of {}", modality.node_types.join(", "));
            return Err(Error::config(
                "OmicsNetConfig",
                field("pooled"),
                expected,
                modality.pooled.join(", "),
            ));
        }
        Ok(())
    }

    /// Builds the network with parameters from `vb`.
    ///
    /// # Errors
    /// As [`OmicsNetConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<OmicsNet> {
        OmicsNet::new(self, vb)
    }
}

fn unique<'a>(field: &'static str, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || name.contains('.') || !seen.insert(name) {
            return Err(Error::config(
                "OmicsNetConfig",
                field,
                "names without dots, each once",
                format!("{name:?}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |c: OmicsNetConfig| c.validate().unwrap_err().to_string();
        OmicsNetConfig::literal().validate().unwrap();
        assert_eq!(
            error(OmicsNetConfig::fixed().heads(7)),
            "OmicsNetConfig: heads must be a divisor of the hidden width 256, got 7"
        );
        let mut c = OmicsNetConfig::fixed();
        c.modalities[0].pooled = vec!["rna".into()];
        assert_eq!(
            error(c),
            "OmicsNetConfig: pooled of modality genomics must be some of gene, protein, got rna"
        );
        let mut c = OmicsNetConfig::fixed();
        c.modalities[2].node_types = vec!["labs".into()];
        assert_eq!(
            error(c),
            "OmicsNetConfig: node_types of modality clinical must be known node types, got labs"
        );
        let mut c = OmicsNetConfig::fixed();
        c.tasks[1].name = "survival".into();
        assert!(error(c).starts_with("OmicsNetConfig: tasks must be names without dots, each once"));
        let unknown = OmicsNetConfig::fixed().only(&["lab"]).unwrap_err().to_string();
        assert_eq!(
            unknown,
            "OmicsNetConfig: modalities must be some of genomics, proteomics, clinical, imaging, got lab"
        );
        let one = OmicsNetConfig::fixed().only(&["clinical"]).unwrap();
        assert_eq!((one.node_types.len(), one.modalities.len()), (1, 1));
    }

    #[test]
    fn a_configuration_survives_its_file() {
        let config = OmicsNetConfig::literal().hetero_edges(HeteroEdges::Gat { threshold: 1.0 });
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<OmicsNetConfig>(&text).unwrap(), config);
    }
}
