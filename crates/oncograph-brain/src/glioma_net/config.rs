use crate::{Error, GeometryEncoderConfig, ImageEncoderConfig, NetworkEncoderConfig, NoCross, Result};
use oncograph_losses::BiLevelConfig;
use serde::{Deserialize, Serialize};

/// Which of the three encoders a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoders {
    /// f^I.
    pub image: bool,
    /// f^P.
    pub surface: bool,
    /// f^B.
    pub network: bool,
}

impl Encoders {
    /// All three.
    pub const ALL: Encoders = Encoders { image: true, surface: true, network: true };

    /// How many there are.
    pub fn count(&self) -> usize {
        [self.image, self.surface, self.network].iter().filter(|e| **e).count()
    }
}

/// What the attention of a tract does (G-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeGate {
    /// Scales the tract's attributes, which the logits of the graph attention see.
    #[default]
    Attributes,
    /// Scales the messages along the tract, too, so that 0 deletes it.
    Messages,
}

/// The projection of region embeddings for node attention (G-14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeHead {
    /// 256 -> 32 -> 64 -> 128 with ReLU between.
    #[default]
    Mlp,
    /// One linear layer.
    Linear,
}

/// How the cosine of a region and the tumour weighs the region (G-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeAttention {
    /// As it is; it may be negative.
    #[default]
    Raw,
    /// (1 + cos) / 2.
    Shifted,
    /// Softmax over the regions of a patient, times their number.
    Softmax,
}

/// Configuration of [`super::GliomaNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GliomaNetConfig {
    /// Which encoders there are.
    pub encoders: Encoders,
    /// f^I.
    pub image: ImageEncoderConfig,
    /// f^P.
    pub geometry: GeometryEncoderConfig,
    /// f^B.
    pub network: NetworkEncoderConfig,
    /// Whether the tumour surface weighs tracts.
    pub edge_attention: bool,
    /// Whether the tumour weighs regions.
    pub node_attention: bool,
    /// Whether a^P is scaled to a mean of 1 per surface; else it is used as it is (G-09).
    pub scale_attention: bool,
    /// The attention of a tract that no tumour point crosses (G-10).
    pub no_cross: NoCross,
    /// What the attention of a tract does (G-11).
    pub edge_gate: EdgeGate,
    /// The projection of region embeddings for node attention (G-14).
    pub node_head: NodeHead,
    /// Whether node attention shares the tumour's projection with the loss; else it has a separate one (G-15).
    pub share_tumour_head: bool,
    /// How the cosine of a region and the tumour weighs the region (G-16).
    pub node_weight: NodeAttention,
    /// Widths of the projections behind their input: g_I, g_P, g_B and g_T.
    pub projection: Vec<usize>,
    /// Widths of the hidden layers of g_N; its output is as wide as the projections.
    pub node_projection: Vec<usize>,
    /// Hidden widths of the classifier on all embeddings.
    pub classifier: Vec<usize>,
    /// The contrastive loss; `None` leaves it out.
    pub contrastive: Option<BiLevelConfig>,
    /// The weight of the cross entropy of the classifier beside the contrastive loss; 0 is the literal reading
    /// (G-23).
    pub classification: f64,
    /// The weight, within `classification`, of the cross entropies of linear classifiers on each embedding alone beside that
    /// of the classifier on all; 0, as published. Without them, the encoder that fits the training patients soonest leaves
    /// the others nothing to learn from (Wang et al., *What makes training multi-modal classification networks hard?*,
    /// CVPR 2020).
    #[serde(default)]
    pub unimodal: f64,
}

impl Default for GliomaNetConfig {
    /// The published sizes, with the cross entropy at weight 1.
    fn default() -> Self {
        GliomaNetConfig {
            encoders: Encoders::ALL,
            image: ImageEncoderConfig::default(),
            geometry: GeometryEncoderConfig::default(),
            network: NetworkEncoderConfig::default(),
            edge_attention: true,
            node_attention: true,
            scale_attention: true,
            no_cross: NoCross::One,
            edge_gate: EdgeGate::Attributes,
            node_head: NodeHead::Mlp,
            share_tumour_head: true,
            node_weight: NodeAttention::Raw,
            projection: vec![64, 128, 128],
            node_projection: vec![32, 64],
            classifier: vec![32],
            contrastive: Some(BiLevelConfig::default()),
            classification: 1.0,
            unimodal: 0.0,
        }
    }
}

impl GliomaNetConfig {
    /// Sets which encoders there are. Attention needs what it comes from: without the surface there is none over tracts,
    /// without image and surface none over regions.
    pub fn encoders(mut self, encoders: Encoders) -> Self {
        self.encoders = encoders;
        self.edge_attention &= encoders.surface && encoders.network;
        self.node_attention &= (encoders.image || encoders.surface) && encoders.network;
        if encoders.count() < 2 {
            self.contrastive = None;
            self.unimodal = 0.0;
        }
        self
    }

    /// Sets the three encoders' own configurations.
    pub fn parts(
        mut self,
        image: ImageEncoderConfig,
        geometry: GeometryEncoderConfig,
        network: NetworkEncoderConfig,
    ) -> Self {
        (self.image, self.geometry, self.network) = (image, geometry, network);
        self
    }

    /// Sets which attention there is.
    pub fn attention(mut self, edge: bool, node: bool) -> Self {
        (self.edge_attention, self.node_attention) = (edge, node);
        self
    }

    /// Sets whether a^P is scaled to a mean of 1, and the attention of tracts that nothing crosses.
    pub fn points_attention(mut self, scale: bool, no_cross: NoCross) -> Self {
        (self.scale_attention, self.no_cross) = (scale, no_cross);
        self
    }

    /// Sets what the attention of a tract does.
    pub fn edge_gate(mut self, gate: EdgeGate) -> Self {
        self.edge_gate = gate;
        self
    }

    /// Sets how regions are weighed: their projection, whether it is compared with the loss's projection of the tumour,
    /// and what is made of the cosine.
    pub fn node_weight(mut self, head: NodeHead, share_tumour_head: bool, weight: NodeAttention) -> Self {
        (self.node_head, self.share_tumour_head, self.node_weight) = (head, share_tumour_head, weight);
        self
    }

    /// Sets the widths of the projections and of the hidden layers of g_N.
    pub fn projections(mut self, projection: impl Into<Vec<usize>>, node: impl Into<Vec<usize>>) -> Self {
        (self.projection, self.node_projection) = (projection.into(), node.into());
        self
    }

    /// Sets the hidden widths of the classifier.
    pub fn classifier(mut self, hidden: impl Into<Vec<usize>>) -> Self {
        self.classifier = hidden.into();
        self
    }

    /// Sets the losses.
    pub fn losses(mut self, contrastive: Option<BiLevelConfig>, classification: f64) -> Self {
        (self.contrastive, self.classification) = (contrastive, classification);
        if classification == 0.0 {
            self.unimodal = 0.0;
        }
        self
    }

    /// Sets the weight of the cross entropies of the embeddings alone.
    pub fn unimodal(mut self, weight: f64) -> Self {
        self.unimodal = weight;
        self
    }

    /// Features of u^T: those of image and surface that there are.
    pub fn tumour_features(&self) -> usize {
        let last = |on: bool, widths: &[usize]| if on { widths.last().copied().unwrap_or(0) } else { 0 };
        last(self.encoders.image, &self.image.dense) + last(self.encoders.surface, &self.geometry.dense)
    }

    /// Features of all embeddings together; 96 with three encoders.
    pub fn features(&self) -> usize {
        let network = self.network.dense.last().copied().unwrap_or(0);
        self.tumour_features() + if self.encoders.network { network } else { 0 }
    }

    /// Whether every value is in its range and goes with the others.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "GliomaNet";
        let e = &self.encoders;
        if e.count() == 0 {
            return Err(Error::config(NAME, "encoders", "at least one", "none"));
        }
        if self.edge_attention && !(e.surface && e.network) {
            return Err(Error::config(NAME, "edge_attention", "off without surface and network", "on"));
        }
        if self.node_attention && !((e.image || e.surface) && e.network) {
            return Err(Error::config(NAME, "node_attention", "off without tumour and network", "on"));
        }
        for (field, widths) in [
            ("projection", &self.projection),
            ("node_projection", &self.node_projection),
            ("classifier", &self.classifier),
        ] {
            let optional = field != "projection";
            if widths.contains(&0) || (widths.is_empty() && !optional) {
                return Err(Error::config(NAME, field, "numbers above 0", format!("{widths:?}")));
            }
        }
        if let Some(contrastive) = &self.contrastive {
            contrastive.validate()?;
            if e.count() < 2 {
                return Err(Error::config(NAME, "contrastive", "none with one encoder", "a loss"));
            }
        }
        if !(self.classification >= 0.0 && self.classification.is_finite()) {
            return Err(Error::config(NAME, "classification", "at least 0", self.classification));
        }
        if !(self.unimodal >= 0.0 && self.unimodal.is_finite()) {
            return Err(Error::config(NAME, "unimodal", "at least 0", self.unimodal));
        }
        if self.unimodal > 0.0 && (e.count() < 2 || self.classification == 0.0) {
            let expected = "0 with one encoder or without classification";
            return Err(Error::config(NAME, "unimodal", expected, self.unimodal));
        }
        if self.contrastive.is_none() && self.classification == 0.0 {
            return Err(Error::config(NAME, "classification", "above 0 without a contrastive loss", 0));
        }
        Ok(())
    }
}
