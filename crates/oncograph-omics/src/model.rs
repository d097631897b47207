use crate::batch::index;
use crate::flops;
use crate::{
    Error, Heads, HeteroEdges, InterModality, IntraModality, ModalityConfig, NodeEmbedding, Nodes,
    OmicsBatch, OmicsNetConfig, Pooling, Result, SharedGraphs,
};
use candle_core::{Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use oncograph_gnn::{GatConfig, GatConv, MessagePassing};
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
use oncograph_nn::{Mode, linear, linear_no_bias, softmax};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A model's output for a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OmicsOutput {
    /// The fused vector \[patients, H\]; what the contrastive loss compares (M-16).
    pub z: Tensor,
    /// Per task \[patients, width\].
    pub tasks: BTreeMap<String, Tensor>,
    /// Per patient and modality, as [`crate::Fused::importance`]; `None` for a model without attention to modalities.
    pub importance: Option<Tensor>,
}

/// A model that learns from batches of omics: the network, or a baseline of it.
pub trait OmicsModel {
    /// What it was built from; for a baseline, what it shares with the network.
    fn config(&self) -> &OmicsNetConfig;

    /// The outputs for a batch; `graphs` is what its patients share.
    ///
    /// # Errors
    /// [`Error::Input`] for a batch of another shape.
    fn forward(&self, batch: &OmicsBatch, graphs: &SharedGraphs, mode: Mode) -> Result<OmicsOutput>;

    /// Floating point operations of the forward pass of one patient who has every node type, of images one vector: two for each
    /// product in a linear layer, in attention and in a message. Norms, activations and softmax are not counted.
    fn flops(&self, graphs: &SharedGraphs) -> u64;
}

/// The hierarchical network: embeddings, graph layers and pooling per modality, attention from the patient to its
/// modalities, and heads.
///
/// Parameters `embeddings.{patient, node type}`, `intra.{modality}`, `hetero.{modality}`, `gates.{modality}`, `inter`,
/// `heads`.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::{Mode, ParamStore, Seed};
/// use oncograph_omics::*;
///
/// # fn main() -> Result<()> {
/// let config = OmicsNetConfig::new(
///     2,
///     vec![NodeTypeConfig::diag("gene", 3), NodeTypeConfig::diag("lab", 2)],
///     vec![ModalityConfig::new("genomics", ["gene"]), ModalityConfig::new("clinical", ["lab"])],
///     vec![TaskConfig::new("survival", TaskKind::SurvivalCox)],
/// )
/// .quick();
/// let graphs = SharedGraphs::new(&config, &[TypedEdges::new("gene", "gene", vec![(0, 1)])])?;
/// let store = ParamStore::new(Seed::new(1));
/// let net = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let ones = |n: usize| Tensor::ones((2, n), DType::F32, &Device::Cpu);
/// // The second patient has no laboratory values.
/// let batch = OmicsBatch::new(ones(2)?)
///     .with_values("gene", ones(3)?, vec![true, true])
///     .with_values("lab", ones(2)?, vec![true, false]);
/// let out = net.forward(&batch, &graphs, Mode::Eval)?;
/// assert_eq!(out.tasks["survival"].dims(), [2, 1]);
/// assert_eq!(out.importance.unwrap().to_vec2::<f32>()?[1], [1.0, 0.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// The network of the article that the crate is after; with [`OmicsNetConfig::literal`] its listing as far as it can run.
#[derive(Debug, Clone)]
pub struct OmicsNet {
    config: OmicsNetConfig,
    patient: Linear,
    embeddings: BTreeMap<String, NodeEmbedding>,
    modalities: Vec<Modality>,
    inter: InterModality,
    heads: Heads,
}

#[derive(Debug, Clone)]
struct Modality {
    config: ModalityConfig,
    /// `None` where the graph layers are taken out.
    intra: Option<IntraModality>,
    gate: Option<Linear>,
    hetero: Option<GatConv>,
}

/// What all modalities of one forward pass read.
struct Pass<'a> {
    batch: &'a OmicsBatch,
    graphs: &'a SharedGraphs,
    /// The vector of each patient \[patients, H\].
    patient: &'a Tensor,
}

/// A modality's vectors for some patients of a batch.
struct Tokens {
    patients: Vec<u32>,
    /// \[patients, H\]
    vectors: Tensor,
}

impl OmicsNet {
    /// As [`OmicsNetConfig::build`].
    ///
    /// # Errors
    /// As [`OmicsNetConfig::validate`], or an error of candle.
    pub fn new(config: &OmicsNetConfig, vb: VarBuilder) -> Result<Self> {
        config.validate()?;
        let h = config.hidden;
        let embeddings = vb.pp("embeddings");
        let embedding = |t: &crate::NodeTypeConfig| {
            Ok((t.name.clone(), NodeEmbedding::new(t, h, embeddings.pp(&t.name))?))
        };
        let modality = |m: &ModalityConfig| -> Result<Modality> {
            let intra =
                (!config.ablate.intra).then(|| IntraModality::new(config, vb.pp("intra").pp(&m.name)));
            let gate = (config.pooling == Pooling::Attention)
                .then(|| linear_no_bias(h, 1, vb.pp("gates").pp(&m.name)));
            let joined = matches!(config.hetero_edges, HeteroEdges::Gat { .. });
            let gat = GatConfig::bipartite(h, h, h / config.heads).heads(config.heads);
            let hetero = joined.then(|| gat.build(vb.pp("hetero").pp(&m.name)));
            Ok(Modality {
                config: m.clone(),
                intra: intra.transpose()?,
                gate: gate.transpose()?,
                hetero: hetero.transpose()?,
            })
        };
        Ok(OmicsNet {
            patient: linear(config.patient, h, embeddings.pp("patient"))?,
            embeddings: config.node_types.iter().map(embedding).collect::<Result<_>>()?,
            modalities: config.modalities.iter().map(modality).collect::<Result<_>>()?,
            inter: InterModality::new(config, vb.pp("inter"))?,
            heads: Heads::new(config, vb.pp("heads"))?,
            config: config.clone(),
        })
    }

    fn embedding(&self, node_type: &str) -> Result<&NodeEmbedding> {
        self.embeddings
            .get(node_type)
            .ok_or_else(|| Error::input("node type", "one of the network's", node_type))
    }

    /// The vectors of one modality for those patients of the batch that have it.
    fn tokens(&self, modality: &Modality, pass: &Pass<'_>, mode: Mode) -> Result<Vec<Tokens>> {
        let batch = pass.batch;
        if let [one] = &modality.config.node_types[..]
            && let Some(Nodes::Rows { features, patient: owner, edges }) = batch.nodes.get(one)
        {
            return self.row_tokens(modality, one, (features, owner, edges), pass.patient, mode);
        }
        // Patients that have the same node types share a graph: nobody's absent nodes are filled in.
        let names = &modality.config.node_types;
        let flags: Vec<Vec<bool>> = names.iter().map(|n| batch.present(n)).collect();
        let mut groups: BTreeMap<Vec<bool>, Vec<u32>> = BTreeMap::new();
        for p in 0..batch.len() {
            let pattern: Vec<bool> = flags.iter().map(|f| f[p]).collect();
            let pooled = |(name, here): (&String, &bool)| *here && modality.config.pooled.contains(name);
            if names.iter().zip(&pattern).any(pooled) {
                groups.entry(pattern).or_default().push(p as u32);
            }
        }
        let group = |(pattern, patients): (Vec<bool>, Vec<u32>)| {
            self.value_tokens(modality, pass, (&pattern, patients), mode)
        };
        groups.into_iter().map(group).collect()
    }

    /// Patients with the same node types of named nodes, side by side on the one graph.
    fn value_tokens(
        &self,
        modality: &Modality,
        pass: &Pass<'_>,
        (pattern, patients): (&[bool], Vec<u32>),
        mode: Mode,
    ) -> Result<Tokens> {
        let Pass { batch, graphs, patient } = pass;
        let rows = index(&patients, batch.patient.device())?;
        let (mut parts, mut values, mut ranges) = (vec![], vec![], vec![]);
        let mut nodes = 0;
        for (name, _) in modality.config.node_types.iter().zip(pattern).filter(|(_, here)| **here) {
            let Some(Nodes::Values { values: all, .. }) = batch.nodes.get(name) else {
                return Err(Error::input(format!("nodes of type {name}"), "values", "rows"));
            };
            // All patients, in order, is the common case: no copy then.
            let own = if patients.len() == batch.len() { all.clone() } else { all.index_select(&rows, 0)? };
            let x = self.embedding(name)?.forward(&own)?;
            if modality.config.pooled.contains(name) {
                ranges.push((nodes, x.dim(0)?));
            }
            nodes += x.dim(0)?;
            parts.push(x);
            values.push(own);
        }
        let mut x = Tensor::cat(&parts, 0)?;
        if let Some(intra) = &modality.intra {
            x = intra.forward(&x, &graphs.of(&modality.config.name, pattern)?, mode)?;
        }
        let pooled = match &ranges[..] {
            [(0, n)] if *n == nodes => x.clone(),
            _ => {
                let part = |&(at, n): &(usize, usize)| Ok(x.narrow(0, at, n)?);
                let parts = ranges.iter().map(part).collect::<Result<Vec<_>>>()?;
                Tensor::cat(&parts, 0)?
            }
        };
        let mut vectors = match &modality.gate {
            None => (sum_nodes(&pooled)? / pooled.dim(0)? as f64)?,
            Some(gate) => {
                let weight = softmax(&gate.forward(&pooled)?, 0)?;
                sum_nodes(&pooled.broadcast_mul(&weight)?)?
            }
        };
        if let (Some(hetero), HeteroEdges::Gat { threshold }) = (&modality.hetero, self.config.hetero_edges) {
            let z = Tensor::cat(&values, 1)?.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>()?;
            let s = patients.len();
            let near = |(p, row): (usize, &Vec<f64>)| {
                let strong =
                    |(g, v): (usize, &f64)| (v.abs() >= threshold).then_some(((g * s + p) as u32, p as u32));
                row.iter().enumerate().filter_map(strong).collect::<Vec<_>>()
            };
            let edges: Vec<(u32, u32)> = z.iter().enumerate().flat_map(near).collect();
            let asking = patient.index_select(&rows, 0)?;
            let flat = x.reshape((nodes * s, self.config.hidden))?;
            vectors = (vectors + gathered(hetero, &flat, &asking, edges)?)?;
        }
        Ok(Tokens { patients, vectors })
    }

    /// Nodes with a vector each, any number per patient: one graph of disjoint parts.
    fn row_tokens(
        &self,
        modality: &Modality,
        name: &str,
        (features, owner, edges): (&Tensor, &[u32], &[(u32, u32)]),
        patient: &Tensor,
        mode: Mode,
    ) -> Result<Vec<Tokens>> {
        if owner.is_empty() {
            return Ok(vec![]);
        }
        let n = owner.len();
        let mut x = self.embedding(name)?.forward(features)?;
        if let Some(intra) = &modality.intra {
            let (sources, targets): (Vec<u32>, Vec<u32>) = edges.iter().copied().unzip();
            x = intra.forward(&x, &Arc::new(Adjacency::new(n, n, &sources, &targets)?), mode)?;
        }
        let x = x.squeeze(1)?;
        let mut patients = owner.to_vec();
        patients.dedup();
        let segment = |p: &u32| patients.partition_point(|q| q < p) as u32;
        let segments: Vec<u32> = owner.iter().map(segment).collect();
        let membership = Arc::new(Adjacency::from_segments(&segments, patients.len())?);
        let mut vectors = match &modality.gate {
            None => gather_reduce(&x, &membership, Reduce::Mean)?,
            Some(gate) => {
                let weight = oncograph_nn::segment::segment_softmax(&gate.forward(&x)?, &membership)?;
                gather_reduce(&x.broadcast_mul(&weight)?, &membership, Reduce::Sum)?
            }
        };
        if let Some(hetero) = &modality.hetero {
            let joined = segments.iter().enumerate().map(|(i, p)| (i as u32, *p)).collect();
            let asking = patient.index_select(&index(&patients, x.device())?, 0)?;
            vectors = (vectors + gathered(hetero, &x, &asking, joined)?)?;
        }
        Ok(vec![Tokens { patients, vectors }])
    }
}

/// \[nodes, samples, H\] -> \[samples, H\]. As a matrix product: candle sums over a first dimension element by element.
fn sum_nodes(x: &Tensor) -> Result<Tensor> {
    let (nodes, samples, h) = x.dims3()?;
    let ones = Tensor::ones((1, nodes), x.dtype(), x.device())?;
    Ok(ones.matmul(&x.reshape((nodes, samples * h))?)?.reshape((samples, h))?)
}

/// What each patient attends to among its nodes.
fn gathered(gat: &GatConv, nodes: &Tensor, patients: &Tensor, edges: Vec<(u32, u32)>) -> Result<Tensor> {
    let (sources, targets): (Vec<u32>, Vec<u32>) = edges.into_iter().unzip();
    let adjacency = Arc::new(Adjacency::new(nodes.dim(0)?, patients.dim(0)?, &sources, &targets)?);
    Ok(gat.forward_bipartite(nodes, patients, &adjacency, None)?)
}

impl OmicsModel for OmicsNet {
    fn config(&self) -> &OmicsNetConfig {
        &self.config
    }

    fn forward(&self, batch: &OmicsBatch, graphs: &SharedGraphs, mode: Mode) -> Result<OmicsOutput> {
        batch.validate(&self.config)?;
        let (b, h) = (batch.len(), self.config.hidden);
        let patient = self.patient.forward(&batch.patient)?;
        let active: Vec<&Modality> = self.modalities.iter().filter(|m| !m.config.idle).collect();
        let m = active.len();
        // Row 0 stands for what is absent; the rows of all groups follow.
        let mut rows = vec![Tensor::zeros((1, h), patient.dtype(), patient.device())?];
        let mut place = vec![0u32; b * m];
        let mut present = vec![vec![false; m]; b];
        let mut next = 1;
        let pass = Pass { batch, graphs, patient: &patient };
        for (k, modality) in active.iter().enumerate() {
            let mode = mode.stream("intra").stream(&modality.config.name);
            for tokens in self.tokens(modality, &pass, mode)? {
                for p in &tokens.patients {
                    place[*p as usize * m + k] = next;
                    present[*p as usize][k] = true;
                    next += 1;
                }
                rows.push(tokens.vectors);
            }
        }
        let tokens = Tensor::cat(&rows, 0)?.index_select(&index(&place, patient.device())?, 0)?;
        let tokens = tokens.reshape((b, m, h))?;
        let fused = self.inter.forward(&patient, &tokens, &present, mode.stream("inter"))?;
        let tasks = self.heads.forward(&fused.z, mode.stream("heads"))?;
        Ok(OmicsOutput { z: fused.z, tasks, importance: fused.importance })
    }

    fn flops(&self, graphs: &SharedGraphs) -> u64 {
        flops::network(&self.config, graphs)
    }
}
