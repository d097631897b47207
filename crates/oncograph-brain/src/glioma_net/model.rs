use super::{EdgeGate, GliomaNetConfig, NodeAttention, NodeHead};
use crate::{GeometryEncoder, ImageEncoder, NetworkEncoder, Result, TumourBatch};
use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use oncograph_gnn::{Sequential, SequentialConfig};
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce, segment_softmax};
use std::sync::Arc;

impl GliomaNetConfig {
    /// Makes the model.
    ///
    /// # Errors
    /// As [`GliomaNetConfig::validate`], or an error of an encoder.
    pub fn build(&self, vb: VarBuilder) -> Result<GliomaNet> {
        self.validate()?;
        let e = &self.encoders;
        let width = |dense: &[usize]| dense.last().copied().unwrap_or(0);
        let projection = |on: bool, input: usize, name: &str| -> Result<Option<Sequential>> {
            if !on {
                return Ok(None);
            }
            let widths: Vec<usize> = std::iter::once(input).chain(self.projection.iter().copied()).collect();
            Ok(Some(SequentialConfig::new(widths).build(vb.pp(name))?))
        };
        let contrastive = self.contrastive.is_some();
        let tumour = self.tumour_features();
        // The tumour as a whole is compared in the loss only if there are three views.
        let in_loss = contrastive && e.count() == 3;
        let region = self.network.channels.last().copied().unwrap_or(0);
        let last = self.projection.last().copied().unwrap_or(0);
        let hidden: &[usize] = match self.node_head {
            NodeHead::Mlp => &self.node_projection,
            NodeHead::Linear => &[],
        };
        let widths = |first: usize, hidden: &[usize], last: usize| -> Vec<usize> {
            std::iter::once(first).chain(hidden.iter().copied()).chain([last]).collect()
        };
        let node_projection = match self.node_attention {
            true => Some(SequentialConfig::new(widths(region, hidden, last)).build(vb.pp("g_n"))?),
            false => None,
        };
        let own = self.node_attention && !self.share_tumour_head;
        let classifier = match self.classification > 0.0 {
            true => {
                let widths = widths(self.features(), &self.classifier, 1);
                Some(SequentialConfig::new(widths).build(vb.pp("classifier"))?)
            }
            false => None,
        };
        let alone = |on: bool, input: usize, name: &str| -> Result<Option<Sequential>> {
            let on = on && self.unimodal > 0.0;
            Ok(on.then(|| SequentialConfig::new([input, 1]).build(vb.pp(name))).transpose()?)
        };
        Ok(GliomaNet {
            image: e.image.then(|| self.image.build(vb.pp("image"))).transpose()?,
            geometry: e.surface.then(|| self.geometry.build(vb.pp("geometry"))).transpose()?,
            network: e.network.then(|| self.network.build(vb.pp("network"))).transpose()?,
            image_projection: projection(contrastive && e.image, width(&self.image.dense), "g_i")?,
            surface_projection: projection(contrastive && e.surface, width(&self.geometry.dense), "g_p")?,
            network_projection: projection(contrastive && e.network, width(&self.network.dense), "g_b")?,
            tumour_projection: projection(
                in_loss || (self.node_attention && self.share_tumour_head),
                tumour,
                "g_t",
            )?,
            tumour_of_nodes: projection(own, tumour, "g_t_node")?,
            node_projection,
            classifier,
            unimodal: [
                alone(e.image, width(&self.image.dense), "classifier_i")?,
                alone(e.surface, width(&self.geometry.dense), "classifier_p")?,
                alone(e.network, width(&self.network.dense), "classifier_b")?,
            ],
            config: self.clone(),
        })
    }
}

/// The output of [`GliomaNet`] for a batch of patients.
#[derive(Debug, Clone)]
pub struct GliomaNetOutput {
    /// u^I \[patients, features\].
    pub image: Option<Tensor>,
    /// u^P \[patients, features\].
    pub surface: Option<Tensor>,
    /// u^B \[patients, features\].
    pub network: Option<Tensor>,
    /// a^P \[points\], scaled as configured.
    pub point_attention: Option<Tensor>,
    /// a^E \[tracts\].
    pub tract_attention: Option<Tensor>,
    /// a^N \[regions\].
    pub region_attention: Option<Tensor>,
    /// z^I, z^P, z^B and z^T, for those views that are in the loss.
    pub projections: [Option<Tensor>; 4],
    /// The logit of a mutation \[patients\].
    pub logit: Option<Tensor>,
    /// The logits from u^I, u^P and u^B alone \[patients\], where they are in the loss.
    pub unimodal: [Option<Tensor>; 3],
}

impl GliomaNetOutput {
    /// u^T = ⟨u^I, u^P⟩ (G-26) \[patients, features\].
    ///
    /// # Errors
    /// An error of candle.
    pub fn tumour(&self) -> Result<Option<Tensor>> {
        join(&[&self.image, &self.surface])
    }

    /// ⟨u^I, u^P, u^B⟩ of the encoders that there are \[patients, features\].
    ///
    /// # Errors
    /// An error of candle.
    pub fn embedding(&self) -> Result<Option<Tensor>> {
        join(&[&self.image, &self.surface, &self.network])
    }
}

fn join(parts: &[&Option<Tensor>]) -> Result<Option<Tensor>> {
    let parts: Vec<&Tensor> = parts.iter().filter_map(|p| p.as_ref()).collect();
    Ok(if parts.is_empty() { None } else { Some(Tensor::cat(&parts, 1)?) })
}

/// Tumour image, tumour surface and brain network, learned together, with hierarchical attention: the points of the surface
/// weigh the tracts that they cross, and the tumour weighs the regions of the network.
///
/// Parameters: `image`, `geometry` and `network` as in the encoders; projections `g_i`, `g_p`, `g_b`, `g_t`, `g_n`;
/// `classifier`; `classifier_i`, `classifier_p` and `classifier_b` on one embedding each.
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852.
///
/// # Example
/// ```
/// use candle_core::{DType, Device};
/// use oncograph_brain::{
///     BrainNetwork, GeometryEncoderConfig, ImageEncoderConfig, Incidence, GliomaNetConfig, NetworkEncoderConfig,
///     Tumour, TumourBatch, TumourImage,
/// };
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let corners = vec![[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 7.0], [4.0, 4.0, 0.0]];
/// let incidence = Incidence::new(1, &[vec![0], vec![], vec![0], vec![], vec![]])?;
/// let network = BrainNetwork::new(vec![[0, 1]], 2, vec![0.1, 0.2, 0.3, 0.4], vec![1.0, 2.0])?;
/// let patient = Tumour::new(TumourImage::new(&[0.5; 512], [1, 8, 8, 8])?, corners, incidence, network)?;
/// let config = GliomaNetConfig::default().parts(
///     ImageEncoderConfig::default().input(1, [8; 3]).channels([4, 4]).dense([6]),
///     GeometryEncoderConfig::default().channels([4, 4]).dense([6]).radius(1.0, 2.0, 8),
///     NetworkEncoderConfig::default().input(2, 2).channels([4, 4]).dense([6]),
/// );
/// let store = ParamStore::new(Seed::new(1));
/// let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let batch = TumourBatch::new(&[&patient], None, &Device::Cpu)?;
/// let output = model.forward(&batch, false)?;
/// assert_eq!(output.embedding()?.ok_or("nothing")?.dims(), [1, 18]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct GliomaNet {
    config: GliomaNetConfig,
    image: Option<ImageEncoder>,
    geometry: Option<GeometryEncoder>,
    network: Option<NetworkEncoder>,
    image_projection: Option<Sequential>,
    surface_projection: Option<Sequential>,
    network_projection: Option<Sequential>,
    tumour_projection: Option<Sequential>,
    tumour_of_nodes: Option<Sequential>,
    node_projection: Option<Sequential>,
    classifier: Option<Sequential>,
    unimodal: [Option<Sequential>; 3],
}

/// The attention that a network is embedded with.
struct Attended {
    embedding: Tensor,
    tracts: Option<Tensor>,
    regions: Option<Tensor>,
}

impl GliomaNet {
    /// The configuration that the model was built from.
    pub fn config(&self) -> &GliomaNetConfig {
        &self.config
    }

    /// f^I, if there is one.
    pub fn image_encoder(&self) -> Option<&ImageEncoder> {
        self.image.as_ref()
    }

    /// f^B, if there is one.
    pub fn network_encoder(&self) -> Option<&NetworkEncoder> {
        self.network.as_ref()
    }

    /// All embeddings, attentions and projections of a batch; with `train`, batch norm uses the batch.
    ///
    /// # Errors
    /// An error if a shape does not fit.
    pub fn forward(&self, batch: &TumourBatch, train: bool) -> Result<GliomaNetOutput> {
        let image = self.image.as_ref().map(|f| f.forward(&batch.image, train)).transpose()?;
        self.after_image(batch, image)
    }

    /// [`GliomaNet::forward`] from u^I on, for instance from a feature map whose gradient is needed.
    ///
    /// # Errors
    /// An error if a shape does not fit.
    pub fn after_image(&self, batch: &TumourBatch, image: Option<Tensor>) -> Result<GliomaNetOutput> {
        self.with_messages(batch, image, None)
    }

    /// [`GliomaNet::after_image`] with attributes of regions and a factor for the messages along every tract, for
    /// instance the masks of an explanation.
    ///
    /// # Shapes
    /// `regions` \[all regions, width\], `factors` \[all tracts\]
    ///
    /// # Errors
    /// An error if a shape does not fit.
    pub fn masked(
        &self,
        batch: &TumourBatch,
        image: Option<Tensor>,
        regions: &Tensor,
        factors: &Tensor,
    ) -> Result<GliomaNetOutput> {
        self.with_messages(batch, image, Some((regions, factors)))
    }

    fn with_messages(
        &self,
        batch: &TumourBatch,
        image: Option<Tensor>,
        masks: Option<(&Tensor, &Tensor)>,
    ) -> Result<GliomaNetOutput> {
        let geometry = match &self.geometry {
            Some(f) => Some(f.forward(&batch.points, &batch.patient_of_point)?),
            None => None,
        };
        let point_attention = match &geometry {
            Some(g) if self.config.scale_attention => Some(mean_of_one(&g.attention, batch)?),
            Some(g) => Some(g.attention.clone()),
            None => None,
        };
        let surface = geometry.map(|g| g.embedding);
        let tumour = join(&[&image, &surface])?;
        let project = |g: &Option<Sequential>, u: &Option<Tensor>| -> Result<Option<Tensor>> {
            match (g, u) {
                (Some(g), Some(u)) => Ok(Some(g.forward(u)?)),
                _ => Ok(None),
            }
        };
        let projected_tumour = project(&self.tumour_projection, &tumour)?;
        let (mut network, mut tract_attention, mut region_attention) = (None, None, None);
        if let Some(f) = &self.network {
            let of_nodes = match &self.tumour_of_nodes {
                Some(_) => project(&self.tumour_of_nodes, &tumour)?,
                None => projected_tumour.clone(),
            };
            let attended = self.attend(f, batch, point_attention.as_ref(), of_nodes, masks)?;
            (network, tract_attention) = (Some(attended.embedding), attended.tracts);
            region_attention = attended.regions;
        }
        let in_loss = self.config.contrastive.is_some() && self.config.encoders.count() == 3;
        let projections = [
            project(&self.image_projection, &image)?,
            project(&self.surface_projection, &surface)?,
            project(&self.network_projection, &network)?,
            projected_tumour.filter(|_| in_loss),
        ];
        let alone = |g: &Option<Sequential>, u: &Option<Tensor>| -> Result<Option<Tensor>> {
            project(g, u)?.map(|logit| Ok(logit.squeeze(1)?)).transpose()
        };
        let [of_image, of_surface, of_network] = &self.unimodal;
        let unimodal = [alone(of_image, &image)?, alone(of_surface, &surface)?, alone(of_network, &network)?];
        let logit = match (&self.classifier, join(&[&image, &surface, &network])?) {
            (Some(g), Some(u)) => Some(g.forward(&u)?.squeeze(1)?),
            _ => None,
        };
        Ok(GliomaNetOutput {
            image,
            surface,
            network,
            point_attention,
            tract_attention,
            region_attention,
            projections,
            logit,
            unimodal,
        })
    }

    /// Section 5: attention over tracts, embedding, attention over regions, u^B.
    fn attend(
        &self,
        f: &NetworkEncoder,
        batch: &TumourBatch,
        points: Option<&Tensor>,
        tumour: Option<Tensor>,
        masks: Option<(&Tensor, &Tensor)>,
    ) -> Result<Attended> {
        let c = &self.config;
        let tracts = match points {
            Some(points) if c.edge_attention => Some(batch.incidence.edge_attention(points, c.no_cross)?),
            _ => None,
        };
        let attributes = match &tracts {
            Some(a) => batch.network.tracts.broadcast_mul(&a.unsqueeze(1)?)?,
            None => batch.network.tracts.clone(),
        };
        let graph = batch.network.graph(&attributes)?;
        let gate = tracts.as_ref().filter(|_| c.edge_gate == EdgeGate::Messages);
        let factors = match (gate, masks) {
            (Some(a), Some((_, m))) => Some((a * m)?),
            (Some(a), None) => Some(a.clone()),
            (None, Some((_, m))) => Some(m.clone()),
            (None, None) => None,
        };
        let regions = masks.map_or(&batch.network.regions, |m| m.0);
        let mut embeddings = match factors {
            // Both directions of a tract.
            Some(one) => f.embed_masked(regions, &graph, &Tensor::cat(&[&one, &one], 0)?)?,
            None => f.embed(regions, &graph)?,
        };
        let mut weights = None;
        if let (Some(g), Some(tumour)) = (&self.node_projection, tumour) {
            let a = self.region_weights(&g.forward(&embeddings)?, &tumour, batch)?;
            embeddings = embeddings.broadcast_mul(&a.unsqueeze(1)?)?;
            weights = Some(a);
        }
        let pooled = match c.network.pool_tracts {
            true => {
                let seen = masks.map(|m| attributes.broadcast_mul(&m.1.unsqueeze(1)?)).transpose()?;
                Some(batch.incidence.mean_crossed(seen.as_ref().unwrap_or(&attributes))?)
            }
            false => None,
        };
        let embedding = f.head(&embeddings, &graph, pooled.as_ref())?;
        Ok(Attended { embedding, tracts, regions: weights })
    }

    /// a^N: the cosine of each region with its patient's tumour, as the configuration weighs it.
    fn region_weights(&self, regions: &Tensor, tumour: &Tensor, batch: &TumourBatch) -> Result<Tensor> {
        let of_region = batch.network.patient_of_region();
        let index = Tensor::from_slice(of_region, of_region.len(), regions.device())?;
        let tumour = tumour.index_select(&index, 0)?;
        let dot = |a: &Tensor, b: &Tensor| a.mul(b)?.sum(D::Minus1);
        // As torch's cosine similarity, with its bound under the root.
        let norms = ((dot(regions, regions)? * dot(&tumour, &tumour)?)? + 1e-16)?.sqrt()?;
        let cosine = dot(regions, &tumour)?.div(&norms)?;
        Ok(match self.config.node_weight {
            NodeAttention::Raw => cosine,
            NodeAttention::Shifted => ((cosine + 1.0)? * 0.5)?,
            NodeAttention::Softmax => {
                let of_patient = Arc::new(Adjacency::from_segments(of_region, batch.patients())?);
                let counts: Vec<f32> =
                    of_region.iter().map(|p| of_patient.in_degrees()[*p as usize] as f32).collect();
                let counts = Tensor::from_vec(counts, of_region.len(), regions.device())?;
                let share = segment_softmax(&cosine.unsqueeze(1)?, &of_patient)?.squeeze(1)?;
                (share * counts.to_dtype(regions.dtype())?)?
            }
        })
    }
}

/// Attention with a mean of 1 over the points of each surface (G-09).
fn mean_of_one(attention: &Tensor, batch: &TumourBatch) -> Result<Tensor> {
    let of_point = &batch.patient_of_point;
    let patients = Arc::new(Adjacency::from_segments(of_point, batch.patients())?);
    let mean = gather_reduce(&attention.unsqueeze(1)?, &patients, Reduce::Mean)?.squeeze(1)?;
    let index = Tensor::from_slice(of_point, of_point.len(), attention.device())?;
    Ok((attention / mean.index_select(&index, 0)?)?)
}
