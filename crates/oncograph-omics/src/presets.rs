use crate::{
    ContrastConfig, Error, FusionTokens, HeadKind, HeteroEdges, ModalityConfig, NodeInput, NodeTypeConfig,
    OmicsNetConfig, Pooling, Result, SpatialEdges, TaskConfig, TaskKind, TokenNorm, Weighting,
};
use oncograph_nn::optim::AdamWConfig;
use oncograph_study::{Target, Task};
use oncograph_train::{FitConfig, Keep, OptimizerConfig};
use serde::{Deserialize, Serialize};

/// Widths and switches of an [`OmicsNetConfig`]; its node types, modalities and tasks come from the cohort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OmicsNetSettings {
    /// Width of all vectors.
    pub hidden: usize,
    /// Attention heads, of nodes and of modalities.
    pub heads: usize,
    /// Graph layers per modality.
    pub layers: usize,
    /// Dropout of attention weights between nodes.
    pub attention_dropout: f64,
    /// Transformer layers of the fusion.
    pub fusion_layers: usize,
    /// Width of their feed-forward part.
    pub feed_forward: usize,
    /// Dropout of the fusion.
    pub fusion_dropout: f64,
    /// Width of the layer before the heads.
    pub trunk: usize,
    /// Dropout before that layer; behind it, half of that.
    pub trunk_dropout: f64,
    /// How a node's value becomes its vector (M-01).
    pub node_input: NodeInput,
    /// The edges from a patient to its nodes (M-05).
    pub hetero_edges: HeteroEdges,
    /// How a modality's nodes become one vector (M-08).
    pub pooling: Pooling,
    /// What the fusion attends over (M-10).
    pub fusion_tokens: FusionTokens,
    /// Whether the patient's embedding is added to what its query gathers (M-11).
    pub patient_residual: bool,
    /// One head for all tasks or one for each (M-12).
    pub head: HeadKind,
    /// How a modality's vector is normalised before the fusion (M-27).
    pub token_norm: TokenNorm,
    /// Whether proteins join the genes' graph with `codes_for`; else self loops are their only edges there (M-06).
    pub union: bool,
    /// The false discovery rate below which a training correlation joins a gene and a laboratory value (M-04); `None` joins those
    /// that a file of the cohort joins.
    #[serde(default)]
    pub associated: Option<f64>,
    /// Which parts of a patient's images are joined (M-04).
    #[serde(default)]
    pub spatial: SpatialEdges,
}

impl OmicsNetSettings {
    /// The settings of a network, with values embedded by [`NodeInput::Diag`].
    fn of(net: &OmicsNetConfig, union: bool) -> Self {
        OmicsNetSettings {
            hidden: net.hidden,
            heads: net.heads,
            layers: net.layers,
            attention_dropout: net.attention_dropout,
            fusion_layers: net.fusion_layers,
            feed_forward: net.feed_forward,
            fusion_dropout: net.fusion_dropout,
            trunk: net.trunk,
            trunk_dropout: net.trunk_dropout,
            node_input: NodeInput::Diag,
            hetero_edges: net.hetero_edges,
            pooling: net.pooling,
            fusion_tokens: net.fusion_tokens,
            patient_residual: net.patient_residual,
            head: net.head,
            token_norm: net.token_norm,
            union,
            associated: None,
            spatial: SpatialEdges::default(),
        }
    }

    /// The network of given node types, modalities and tasks.
    pub(crate) fn net(
        &self,
        patient: usize,
        node_types: Vec<NodeTypeConfig>,
        modalities: Vec<ModalityConfig>,
        tasks: Vec<TaskConfig>,
    ) -> OmicsNetConfig {
        let mut net = OmicsNetConfig::new(patient, node_types, modalities, tasks)
            .hidden(self.hidden)
            .heads(self.heads)
            .layers(self.layers)
            .attention_dropout(self.attention_dropout)
            .fusion(self.fusion_layers, self.feed_forward)
            .dropout(self.fusion_dropout, self.trunk_dropout)
            .trunk(self.trunk)
            .hetero_edges(self.hetero_edges)
            .pooling(self.pooling)
            .fusion_tokens(self.fusion_tokens)
            .token_norm(self.token_norm);
        net.patient_residual = self.patient_residual;
        net.head = self.head;
        net
    }
}

/// Choices M-01 to M-28 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OmicsPreset {
    /// The article as closely as it runs: [`OmicsSystemConfig::literal`].
    Literal,
    /// The recommended reading at the published widths: [`OmicsSystemConfig::fixed`].
    Fixed,
    /// `fixed`, narrow and short: [`OmicsSystemConfig::quick`].
    Quick,
}

impl OmicsPreset {
    /// Its configuration.
    pub fn config(self) -> OmicsSystemConfig {
        match self {
            OmicsPreset::Literal => OmicsSystemConfig::literal(),
            OmicsPreset::Fixed => OmicsSystemConfig::fixed(),
            OmicsPreset::Quick => OmicsSystemConfig::quick(),
        }
    }

    /// Its configuration for the phantom cohort, on which nodes are embedded by [`NodeInput::Named`], chosen on validation
    /// losses there, and `quick` is half as wide.
    pub fn for_phantom(self) -> OmicsSystemConfig {
        let mut config = self.config();
        if self != OmicsPreset::Literal {
            config.net.node_input = NodeInput::Named;
        }
        if self == OmicsPreset::Quick {
            config.net.hidden = 16;
        }
        config
    }
}

/// Configuration of an [`crate::OmicsSystem`]: columns, network, losses and training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OmicsSystemConfig {
    /// Patients per step.
    pub batch: usize,
    /// Columns that are kept per table, by variance in the training rows (M-02).
    pub select: usize,
    /// The loss of times (M-13).
    pub survival: TaskKind,
    /// How the tasks' losses are weighted (M-14).
    pub weighting: Weighting,
    /// The contrast of views (M-16 to M-19); `None` trains without it.
    pub contrast: Option<ContrastConfig>,
    /// Whether types of cancer are spread evenly over the steps of an epoch, where the cohort has several (M-23).
    #[serde(default = "balanced")]
    pub balance: bool,
    /// The network.
    pub net: OmicsNetSettings,
    /// Epochs, optimizer and stopping.
    pub fit: FitConfig,
}

fn balanced() -> bool {
    true
}

impl OmicsSystemConfig {
    fn of(net: &OmicsNetConfig, epochs: usize, rate: f64, patience: usize) -> Self {
        OmicsSystemConfig {
            batch: 32,
            select: 1000,
            survival: TaskKind::SurvivalCox,
            weighting: Weighting::Uncertainty,
            contrast: Some(ContrastConfig::default()),
            balance: true,
            net: OmicsNetSettings::of(net, true),
            fit: FitConfig::new(epochs, OptimizerConfig::AdamW(AdamWConfig::new(rate).weight_decay(0.01)))
                .early_stop(patience)
                .keep(Keep::BestOfEach)
                .clip_norm(1.0),
        }
    }

    /// The article as closely as it runs: squared errors on times, whether observed or censored, losses weighted by a
    /// softmax, one head whose outputs are shared out among the tasks, no normalisation before the fusion, and proteins
    /// without edges in the genes' graph. Modalities and tasks are those of the cohort, not the four of the listing.
    pub fn literal() -> Self {
        let net = OmicsNetConfig::literal();
        OmicsSystemConfig {
            survival: TaskKind::SurvivalMse,
            weighting: Weighting::Softmax,
            net: OmicsNetSettings::of(&net, false),
            ..Self::of(&net, 100, 1e-4, 15)
        }
    }

    /// The recommended reading at the article's widths.
    pub fn fixed() -> Self {
        Self::of(&OmicsNetConfig::fixed(), 100, 1e-4, 15)
    }

    /// The recommended reading, narrow, with one graph layer, 300 columns per table, few epochs and no contrast, which is
    /// a second pass over every batch.
    pub fn quick() -> Self {
        OmicsSystemConfig {
            batch: 64,
            select: 300,
            contrast: None,
            ..Self::of(&OmicsNetConfig::fixed().quick().layers(1), 50, 3e-3, 20)
        }
    }

    /// Sets how many patients are in a step.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Sets how many columns are kept per table.
    pub fn select(mut self, columns: usize) -> Self {
        self.select = columns;
        self
    }

    /// Sets the training.
    pub fn fit(mut self, fit: FitConfig) -> Self {
        self.fit = fit;
        self
    }

    /// Sets the network's widths and switches.
    pub fn net(mut self, net: OmicsNetSettings) -> Self {
        self.net = net;
        self
    }

    /// Checks the ranges that do not depend on the cohort; those of the network are checked when it is built.
    ///
    /// # Errors
    /// [`Error::Argument`] with the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "OmicsSystemConfig";
        for (field, value) in [("batch", self.batch), ("select", self.select)] {
            if value == 0 {
                return Err(Error::config(OP, field, "at least 1", 0));
            }
        }
        for (field, share) in [
            ("net.attention_dropout", self.net.attention_dropout),
            ("net.fusion_dropout", self.net.fusion_dropout),
            ("net.trunk_dropout", self.net.trunk_dropout),
        ] {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::config(OP, field, "at least 0 and below 1", share));
            }
        }
        if let Some(fdr) = self.net.associated.filter(|fdr| !(*fdr > 0.0 && *fdr <= 1.0)) {
            return Err(Error::config(OP, "net.associated", "a rate above 0 and up to 1", fdr));
        }
        if self.net.spatial == SpatialEdges::Nearest(0) {
            return Err(Error::config(OP, "net.spatial", "at least one nearest", 0));
        }
        if !self.survival.is_survival() {
            let got = format!("{:?}", self.survival);
            return Err(Error::config(OP, "survival", "a loss of times", got));
        }
        Ok(self.fit.validate()?)
    }

    /// The tasks of a network for those of a cohort.
    pub(crate) fn tasks(&self, tasks: &[Task]) -> Vec<TaskConfig> {
        let kind = |target: &Target| match target {
            Target::Survival(_) => self.survival,
            Target::Classes { names, .. } => TaskKind::Classes(names.len()),
            Target::Labels { names, .. } => TaskKind::Labels(names.len()),
        };
        tasks.iter().map(|t| TaskConfig::new(&t.name, kind(&t.target))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_survive_their_file() {
        for preset in [OmicsPreset::Literal, OmicsPreset::Fixed, OmicsPreset::Quick] {
            for config in [preset.config(), preset.for_phantom()] {
                config.validate().unwrap();
                let text = serde_json::to_string(&config).unwrap();
                assert_eq!(serde_json::from_str::<OmicsSystemConfig>(&text).unwrap(), config);
            }
        }
        let error = OmicsSystemConfig::quick().batch(0).validate().unwrap_err().to_string();
        assert_eq!(error, "OmicsSystemConfig: batch must be at least 1, got 0");
        let mut config = OmicsSystemConfig::fixed();
        config.net.fusion_dropout = 1.0;
        assert!(config.validate().unwrap_err().to_string().contains("net.fusion_dropout must be at least 0"));
        let mut config = OmicsSystemConfig::fixed();
        config.survival = TaskKind::Classes(2);
        assert!(config.validate().unwrap_err().to_string().contains("a loss of times"));
    }
}
