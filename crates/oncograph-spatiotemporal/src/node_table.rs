use crate::assemble::{Assemble, Images, Source};
use crate::config::EdgeDirection;
use crate::features::{NODES as IMAGES, PYRAMID_LEVELS};
use crate::patient::patient_rows;
use crate::{ANATOMY, Error, NodeIdentity, Result, Stg, StgOutput, patient_schema};
use candle_core::{Device, Tensor};
use oncograph_graph::{Graph, HeteroBatch, HeteroGraph, Schema};
use oncograph_nn::Seed;
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// The inputs of every patient on a device, so that a batch copies row numbers of small graphs and never features.
///
/// The nodes of the graphs that go with it are rows of this table ([`oncograph_graph::NodeStore::Rows`]).
#[derive(Debug, Clone)]
pub struct NodeTable {
    /// The schema of the graphs over this table.
    schema: Arc<Schema>,
    /// \[patients * 6, 3, features\]; empty without images.
    images: Arc<Images>,
    clinical: Tensor,
    device: Device,
}

impl NodeTable {
    /// From the pyramid vectors of six nodes per patient and the clinical covariates, patient by patient.
    ///
    /// # Shapes
    /// `images` patients x 6 x 3 x `features`; `clinical` patients x `covariates`
    ///
    /// # Errors
    /// [`Error::Input`] if a length does not fit.
    pub fn new(
        images: Option<Vec<f32>>,
        features: usize,
        clinical: Vec<f32>,
        covariates: usize,
        device: &Device,
    ) -> Result<Self> {
        let patients = clinical.len() / covariates.max(1);
        if clinical.len() != patients * covariates || patients == 0 {
            return Err(Error::input("clinical table", format!("rows of {covariates}"), clinical.len()));
        }
        if let Some(values) = &images {
            let expected = patients * IMAGES * PYRAMID_LEVELS * features;
            if values.len() != expected {
                return Err(Error::input("image features", format!("{expected} values"), values.len()));
            }
        }
        let schema = Arc::new(patient_schema(PYRAMID_LEVELS * features, covariates));
        let images = Arc::new(Images::from(images.unwrap_or_default()));
        let clinical = Tensor::from_vec(clinical, (patients, covariates), device)?;
        Ok(NodeTable { schema, images, clinical, device: device.clone() })
    }

    /// How many patients there are.
    pub fn patients(&self) -> usize {
        self.clinical.dims()[0]
    }

    /// Whether there are image nodes.
    pub fn has_images(&self) -> bool {
        !self.images.values.is_empty()
    }

    /// The graph of `patient` over this table.
    ///
    /// # Errors
    /// An error of the graph.
    pub fn graph(&self, patient: usize, centroids: [[f32; 3]; 5]) -> Result<HeteroGraph> {
        let first_image = self.has_images().then(|| (patient * IMAGES) as u32);
        patient_rows(&self.schema, first_image, patient as u32, centroids)
    }

    /// A model's output for graphs over this table, without augmentation.
    ///
    /// # Errors
    /// An error of the model.
    pub fn output(&self, model: &Stg, graphs: &[&HeteroGraph]) -> Result<StgOutput> {
        let nodes = self.assemble(model, graphs, None)?;
        model.forward(&nodes.x, &nodes.graph)
    }

    /// The standard deviation of each covariate over some patients.
    pub(crate) fn deviations(&self, patients: &[usize]) -> Result<Vec<f32>> {
        let rows = self.clinical.to_vec2::<f32>()?;
        let n = patients.len().max(1) as f64;
        let of_column = |c: usize| {
            let column = || patients.iter().map(|&p| f64::from(rows[p][c]));
            let mean = column().sum::<f64>() / n;
            (column().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt() as f32
        };
        Ok((0..self.clinical.dim(1)?).map(of_column).collect())
    }

    /// The joint graph of a batch and its node features.
    ///
    /// # Errors
    /// An error of candle.
    pub(crate) fn assemble(
        &self,
        model: &Stg,
        graphs: &[&HeteroGraph],
        variation: Option<Variation<'_>>,
    ) -> Result<Nodes> {
        let batch = HeteroBatch::new(graphs, &self.device)?.with_table("clinical", &self.clinical)?;
        let (graph, positions) = batch.to_homogeneous()?;
        let mut clinical = batch.features("clinical")?.clone();
        let seed = variation.as_ref().map_or(Seed::new(0), |v| v.seed);
        if let (Some(variation), true) = (&variation, model.config().nodes.has_clinical()) {
            clinical = (clinical + variation.of_covariates(&self.device)?)?;
        }
        let clinical = model.nodes().clinical(&clinical)?;
        let mut nodes = vec![Source::Clinical(0); graph.node_count()];
        let mut blank = vec![];
        for (name, positions) in ["anatomy", "ct"].into_iter().zip(&positions) {
            let graph_of = batch.graph_of_node(name)?;
            for ((&at, &row), g) in positions.iter().zip(batch.rows(name)?).zip(graph_of) {
                let sigma = variation.as_ref().map_or(0.0, |v| v.sigma[g as usize] as f32);
                nodes[at as usize] = Source::Image { row, sigma };
                if variation.as_ref().is_some_and(|v| v.is_zeroed(g as usize, row as usize % IMAGES)) {
                    blank.push(at as usize);
                }
            }
        }
        for (row, &at) in positions[2].iter().enumerate() {
            nodes[at as usize] = Source::Clinical(row as u32);
        }
        let kinds: Vec<u32> = nodes.iter().map(Source::kind).collect();
        let op = Assemble {
            table: self.images.clone(),
            width: clinical.dim(1)?,
            one_hot: model.config().node_type == NodeIdentity::OneHot,
            nodes,
            seed: seed.stream("images"),
            #[cfg(feature = "cuda")]
            on_device: oncograph_nn::cuda::OnDevice::default(),
        };
        let width = op.width;
        let x = model.nodes().pooling()?.apply_op2(&clinical, op)?;
        let x = model.nodes().with_identity(&without(x, &blank, width)?, &kinds)?;
        Ok(Nodes { x, graph: directed(graph, &kinds, model.config().edges)?, kinds })
    }
}

/// The node features of a batch, in which the first `width` numbers of some nodes are 0.
fn without(x: Tensor, blank: &[usize], width: usize) -> Result<Tensor> {
    if blank.is_empty() {
        return Ok(x);
    }
    let (nodes, columns) = x.dims2()?;
    let mut keep = vec![1f32; nodes];
    blank.iter().for_each(|&at| keep[at] = 0.0);
    let keep = Tensor::from_vec(keep, (nodes, 1), x.device())?;
    let features = x.narrow(1, 0, width)?.broadcast_mul(&keep)?;
    if columns == width {
        return Ok(features);
    }
    Ok(Tensor::cat(&[&features, &x.narrow(1, width, columns - width)?], 1)?)
}

/// The graph with the edges of one direction alone (S-06).
fn directed(graph: Graph, kinds: &[u32], edges: EdgeDirection) -> Result<Graph> {
    let is_anatomy = |node: u32| (kinds[node as usize] as usize) < ANATOMY.len();
    let adjacency = graph.adjacency();
    let keep = |edge: &usize| match edges {
        EdgeDirection::Both => true,
        EdgeDirection::FromAnatomy => is_anatomy(adjacency.sources()[*edge]),
        EdgeDirection::ToAnatomy => is_anatomy(adjacency.targets()[*edge]),
    };
    if edges == EdgeDirection::Both {
        return Ok(graph);
    }
    let kept: Vec<usize> = (0..adjacency.edge_count()).filter(keep).collect();
    let ends = |of: &[u32]| kept.iter().map(|&edge| of[edge]).collect::<Vec<u32>>();
    let n = graph.node_count();
    let other = Adjacency::new(n, n, &ends(adjacency.sources()), &ends(adjacency.targets()))?;
    let rows: Vec<u32> = kept.iter().map(|&edge| edge as u32).collect();
    let attributes = match graph.edge_attributes() {
        Some(all) => Some(all.index_select(&Tensor::new(rows, all.device())?, 0)?),
        None => None,
    };
    Ok(Graph::new(Arc::new(other), attributes, graph.membership().targets(), graph.graph_count())?)
}

/// The nodes of a batch as the network takes them.
pub(crate) struct Nodes {
    /// \[nodes, d\], and what encodes which node it is.
    pub x: Tensor,
    pub graph: Graph,
    /// Which of the seven nodes each is: 0 to 4 anatomical, 5 the CT, 6 clinical.
    pub kinds: Vec<u32>,
}

impl Nodes {
    /// The mean of each patient's image nodes, and its clinical node, \[patients, `width`\] each.
    pub(crate) fn modalities(&self, width: usize) -> Result<[Tensor; 2]> {
        let (x, patients) = (self.x.narrow(1, 0, width)?.contiguous()?, self.graph.membership().targets());
        let mean = |of: &dyn Fn(u32) -> bool| -> Result<Tensor> {
            let (mut nodes, mut owners) = (vec![], vec![]);
            for ((node, &kind), &patient) in (0..).zip(&self.kinds).zip(patients) {
                if of(kind) {
                    nodes.push(node);
                    owners.push(patient);
                }
            }
            let joined = Adjacency::new(patients.len(), self.graph.graph_count(), &nodes, &owners)?;
            Ok(gather_reduce(&x, &Arc::new(joined), Reduce::Mean)?)
        };
        let clinical = IMAGES as u32;
        Ok([mean(&|kind| kind < clinical)?, mean(&|kind| kind == clinical)?])
    }
}

/// What varies the features of a batch of graphs.
pub(crate) struct Variation<'a> {
    pub seed: Seed,
    /// The deviation of Gaussian noise in each graph, in units of a feature's own.
    pub sigma: &'a [f64],
    /// Which anatomical nodes of each graph have zeros in place of their features.
    pub zeroed: Vec<[bool; 5]>,
    /// The deviation of each covariate; image features are scaled to 1.
    pub units: &'a [f32],
}

impl Variation<'_> {
    fn is_zeroed(&self, graph: usize, node: usize) -> bool {
        self.zeroed[graph].get(node).is_some_and(|zeroed| *zeroed)
    }

    /// Of the covariates of each graph.
    fn of_covariates(&self, device: &Device) -> Result<Tensor> {
        let seed = self.seed.stream("clinical");
        let of_graph = |(graph, &sigma): (usize, &f64)| {
            let mut rng = seed.at(graph as u64).rng();
            let draw =
                |unit: &f32| sigma as f32 * unit * Distribution::<f32>::sample(&StandardNormal, &mut rng);
            self.units.iter().map(draw).collect::<Vec<f32>>()
        };
        let values: Vec<f32> = self.sigma.iter().enumerate().flat_map(of_graph).collect();
        Ok(Tensor::from_vec(values, (self.sigma.len(), self.units.len()), device)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StgConfig;
    use candle_core::DType;
    use oncograph_nn::ParamStore;

    fn table() -> NodeTable {
        let images = (0..2 * 6 * 3 * 2).map(|i| (i as f32 * 0.7).sin()).collect();
        NodeTable::new(Some(images), 2, vec![0.5, -1.0], 1, &Device::Cpu).unwrap()
    }

    fn model(config: StgConfig) -> Stg {
        let store = ParamStore::new(Seed::new(1));
        Stg::new(&config.features(2).hidden(3).lstm_hidden(2), store.var_builder(DType::F32, &Device::Cpu))
            .unwrap()
    }

    fn rows(x: &Tensor) -> Vec<Vec<f32>> {
        x.to_vec2().unwrap()
    }

    #[test]
    fn zeroed_nodes_keep_their_edges_and_what_encodes_them() {
        let table = table();
        let graphs = [0, 1].map(|p| table.graph(p, [[0.5; 3]; 5]).unwrap());
        let graphs = graphs.iter().collect::<Vec<_>>();
        for identity in [NodeIdentity::None, NodeIdentity::OneHot, NodeIdentity::Embedding] {
            let model = model(StgConfig::decoupled(1).node_type(identity));
            let whole = table.assemble(&model, &graphs, None).unwrap();
            let zeroed = vec![[false, true, false, false, false], [false; 5]];
            let variation = Variation { seed: Seed::new(3), sigma: &[0.0; 2], zeroed, units: &[1.0] };
            let varied = table.assemble(&model, &graphs, Some(variation)).unwrap();
            assert_eq!(varied.graph.adjacency().edge_count(), 40);
            let mut expected = rows(&whole.x);
            expected[1][..2].fill(0.0);
            assert_eq!(rows(&varied.x), expected);
        }
    }

    #[test]
    fn one_way_graphs_keep_the_edges_of_their_way_and_their_attributes() {
        let table = table();
        let centroids = [0.1, 0.2, 0.3, 0.4, 0.5].map(|v| [v; 3]);
        let graph = table.graph(0, centroids).unwrap();
        let edges = |edges: EdgeDirection| {
            let nodes =
                table.assemble(&model(StgConfig::decoupled(1).edges(edges)), &[&graph], None).unwrap();
            let adjacency = nodes.graph.adjacency();
            let attributes = rows(nodes.graph.edge_attributes().unwrap());
            let ends = adjacency.sources().iter().zip(adjacency.targets());
            ends.zip(attributes).map(|((s, t), a)| (*s, *t, a)).collect::<Vec<_>>()
        };
        let (all, from) = (edges(EdgeDirection::Both), edges(EdgeDirection::FromAnatomy));
        let to = edges(EdgeDirection::ToAnatomy);
        assert_eq!((all.len(), from.len(), to.len()), (20, 10, 10));
        let of = |keep: &dyn Fn(u32, u32) -> bool| {
            all.iter().filter(|(s, t, _)| keep(*s, *t)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(from, of(&|s, t| s < 5 && t >= 5));
        assert_eq!(to, of(&|s, t| s >= 5 && t < 5));
    }

    #[test]
    fn modalities_are_the_mean_of_six_nodes_and_the_seventh() {
        let table = table();
        let graphs = [0, 1].map(|p| table.graph(p, [[0.5; 3]; 5]).unwrap());
        let less = graphs[1].retain_nodes("anatomy", &[true, false, false, true, true]).unwrap();
        let model = model(StgConfig::decoupled(1).node_type(NodeIdentity::OneHot));
        let nodes = table.assemble(&model, &[&graphs[0], &less], None).unwrap();
        let x = rows(&nodes.x);
        let [images, clinical] = nodes.modalities(2).unwrap().map(|t| rows(&t));
        for (patient, (first, count)) in [(0, 6), (7, 4)].into_iter().enumerate() {
            for column in 0..2 {
                let mean = (first..first + count).map(|n| x[n][column]).sum::<f32>() / count as f32;
                approx::assert_relative_eq!(images[patient][column], mean, epsilon = 1e-6);
                assert_eq!(clinical[patient][column], x[first + count][column]);
            }
        }
    }
}
