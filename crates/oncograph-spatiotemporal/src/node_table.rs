use crate::assemble::{Assemble, Images, Source};
use crate::batch_nodes::{Nodes, directed, without};
use crate::encoder_config::CELLS;
use crate::features::{NODES as IMAGES, PYRAMID_LEVELS};
use crate::nodes::KINDS;
use crate::patient::patient_rows;
use crate::{Error, NodeIdentity, Result, Stg, StgOutput, patient_schema};
use candle_core::{Device, Tensor};
use oncograph_graph::{HeteroBatch, HeteroGraph, Schema};
use oncograph_nn::Seed;
use oncograph_nn::portable::rows_at;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// The inputs of every patient on a device, so that a batch copies row numbers of small graphs and never features.
///
/// The nodes of the graphs that go with it are rows of this table ([`oncograph_graph::NodeStore::Rows`]).
#[derive(Debug, Clone)]
pub struct NodeTable {
    /// The schema of the graphs over this table.
    schema: Arc<Schema>,
    /// \[patients * 6, levels, features\]; empty without images.
    images: Arc<Images>,
    /// Vectors of an image node, and the length of each.
    levels: usize,
    features: usize,
    /// The same \[patients * 6, features\] on the device, where nodes have one vector.
    vectors: Option<Tensor>,
    clinical: Tensor,
    device: Device,
}

impl NodeTable {
    /// From the pyramid vectors of six nodes per patient and the clinical covariates, patient by patient.
    ///
    /// # Shapes
    /// `images` patients x 6 x levels x `features`, of three levels or one; `clinical` patients x `covariates`
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
        let one = patients * IMAGES * features;
        let mut levels = PYRAMID_LEVELS;
        if let Some(values) = &images {
            let expected = format!("{one} or {} values", PYRAMID_LEVELS * one);
            levels = values.len() / one.max(1);
            if ![1, PYRAMID_LEVELS].contains(&levels) || values.len() != levels * one {
                return Err(Error::input("image features", expected, values.len()));
            }
        }
        let schema = Arc::new(patient_schema(levels * features, covariates));
        let vectors = match &images {
            Some(values) if levels == 1 => {
                Some(Tensor::from_slice(values, (patients * IMAGES, features), device)?)
            }
            _ => None,
        };
        let images = Arc::new(Images::from(images.unwrap_or_default()));
        let clinical = Tensor::from_vec(clinical, (patients, covariates), device)?;
        Ok(NodeTable { schema, images, levels, features, vectors, clinical, device: device.clone() })
    }

    /// How many patients there are.
    pub fn patients(&self) -> usize {
        self.clinical.dims()[0]
    }

    /// Whether there are image nodes.
    pub fn has_images(&self) -> bool {
        !self.images.values.is_empty()
    }

    /// The covariates of the clinical nodes \[patients, covariates\].
    pub(crate) fn covariates(&self) -> &Tensor {
        &self.clinical
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
        let width = clinical.dim(1)?;
        let mut x = self.features_of(model, (&nodes, &clinical), seed.stream("images"))?;
        if model.nodes().has_ct() && self.has_images() {
            x = self.with_ct(model, x, &nodes, seed.stream("ct"))?;
        }
        let x = model.nodes().with_identity(&without(x, &blank, width)?, &kinds)?;
        Ok(Nodes { x, graph: directed(graph, &kinds, model.config().edges)?, kinds })
    }

    /// The node features of a batch.
    fn features_of(
        &self,
        model: &Stg,
        (nodes, clinical): (&[Source], &Tensor),
        seed: Seed,
    ) -> Result<Tensor> {
        if let Some(vectors) = &self.vectors {
            return self.of_one_vector(model, vectors, (nodes, clinical), seed);
        }
        let op = Assemble {
            table: self.images.clone(),
            width: clinical.dim(1)?,
            one_hot: model.config().node_type == NodeIdentity::OneHot,
            nodes: nodes.to_vec(),
            seed,
            #[cfg(feature = "cuda")]
            on_device: oncograph_nn::cuda::OnDevice::default(),
        };
        let mut weights = model.nodes().pooling()?;
        if weights.dims() != [PYRAMID_LEVELS] {
            // Without images there is nothing to weigh.
            weights = weights.broadcast_as(PYRAMID_LEVELS)?.contiguous()?;
        }
        Ok(weights.apply_op2(clinical, op)?)
    }

    /// The node features of a batch whose image nodes have one vector each, by operations on tensors: they may pass through
    /// a learned map, which the kernel of the pyramids does not know.
    fn of_one_vector(
        &self,
        model: &Stg,
        vectors: &Tensor,
        (nodes, clinical): (&[Source], &Tensor),
        seed: Seed,
    ) -> Result<Tensor> {
        let (mut rows, mut noise, mut noisy) = (vec![], vec![], false);
        for (at, source) in nodes.iter().enumerate() {
            if let Source::Image { row, sigma } = *source {
                rows.push(row);
                noisy |= sigma > 0.0;
                noise.extend(gaussian(seed.at(at as u64), sigma, self.features));
            }
        }
        let images = rows.len();
        let mut own = rows_at(vectors, &rows)?;
        if noisy {
            own = (own + Tensor::from_vec(noise, (images, self.features), &self.device)?)?;
        }
        let mut all = model.nodes().image(&own)?;
        if clinical.dim(0)? > 0 {
            all = Tensor::cat(&[&all, clinical], 0)?;
        }
        let mut next = 0..images as u32;
        let place = |source: &Source| match *source {
            Source::Image { .. } => next.next().unwrap_or_default(),
            Source::Clinical(row) => images as u32 + row,
        };
        let order: Vec<u32> = nodes.iter().map(place).collect();
        let x = rows_at(&all, &order)?;
        if model.config().node_type != NodeIdentity::OneHot {
            return Ok(x);
        }
        let length = (x.dim(1)? as f32).sqrt();
        let mut own = vec![0f32; KINDS * nodes.len()];
        nodes.iter().enumerate().for_each(|(at, node)| own[KINDS * at + node.kind() as usize] = length);
        Ok(Tensor::cat(&[&x, &Tensor::from_vec(own, (nodes.len(), KINDS), &self.device)?], 1)?)
    }

    /// The node features with those of CT nodes from the means of their channels (S-04).
    fn with_ct(&self, model: &Stg, x: Tensor, nodes: &[Source], seed: Seed) -> Result<Tensor> {
        let (count, columns) = x.dims2()?;
        let channels = self.features / CELLS;
        let (mut means, mut order, mut cts) = (vec![], vec![], 0);
        for (at, source) in nodes.iter().enumerate() {
            order.push(at as u32);
            let Source::Image { row, sigma } = *source else { continue };
            if source.kind() as usize != IMAGES - 1 {
                continue;
            }
            let vector = &self.images.values[row as usize * self.levels * self.features..][..self.features];
            // The first level is the mean of each channel, once per cell; of one level, the mean over the cells.
            let of_channel = |cells: &[f32]| cells.iter().sum::<f32>() / CELLS as f32;
            let noise = gaussian(seed.at(at as u64), sigma, channels);
            means.extend(vector.chunks(CELLS).map(of_channel).zip(noise).map(|(mean, noise)| mean + noise));
            order[at] = (count + cts) as u32;
            cts += 1;
        }
        let means = Tensor::from_vec(means, (cts, channels), &self.device)?;
        let Some(own) = model.nodes().ct(&means)? else { return Ok(x) };
        let width = own.dim(1)?;
        let all = Tensor::cat(&[&x.narrow(1, 0, width)?, &own], 0)?;
        let all = rows_at(&all, &order)?;
        if columns == width {
            return Ok(all);
        }
        Ok(Tensor::cat(&[&all, &x.narrow(1, width, columns - width)?], 1)?)
    }
}

/// Gaussian noise of a deviation.
fn gaussian(seed: Seed, sigma: f32, count: usize) -> Vec<f32> {
    let mut noise = vec![0.0; count];
    if sigma > 0.0 {
        let mut rng = seed.rng();
        noise.fill_with(|| sigma * Distribution::<f32>::sample(&StandardNormal, &mut rng));
    }
    noise
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
    use crate::{NodeSubset, StgConfig};
    use candle_core::DType;
    use oncograph_nn::ParamStore;
    use oncograph_nn::testing::device;

    fn table() -> NodeTable {
        let images = (0..2 * 6 * 3 * 2).map(|i| (i as f32 * 0.7).sin()).collect();
        NodeTable::new(Some(images), 2, vec![0.5, -1.0], 1, &device()).unwrap()
    }

    fn model(config: StgConfig) -> Stg {
        let store = ParamStore::new(Seed::new(1));
        Stg::new(&config.features(2).hidden(3).lstm_hidden(2), store.var_builder(DType::F32, &device()))
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

    /// One vector per node is a pyramid whose levels are all that vector, noise and what encodes nodes included (S-01).
    #[test]
    fn nodes_of_one_vector_are_those_of_equal_levels() {
        let vectors: Vec<f32> = (0..2 * 6 * 2).map(|i| (i as f32 * 0.7).sin()).collect();
        let pyramids: Vec<f32> = vectors.chunks(2).flat_map(|v| v.repeat(3)).collect();
        let new = |values| NodeTable::new(Some(values), 2, vec![0.5, -1.0], 1, &device()).unwrap();
        let (one, three) = (new(vectors), new(pyramids));
        for identity in [NodeIdentity::None, NodeIdentity::OneHot] {
            let x = |table: &NodeTable, levels: usize| {
                let model = model(StgConfig::decoupled(1).node_type(identity).image_nodes(levels, None));
                let graphs = [0, 1].map(|p| table.graph(p, [[0.5; 3]; 5]).unwrap());
                let less = graphs[0].retain_nodes("anatomy", &[true, false, false, true, true]).unwrap();
                let zeroed = vec![[false; 5]; 2];
                let variation = Variation { seed: Seed::new(3), sigma: &[0.0, 0.2], zeroed, units: &[1.0] };
                rows(&table.assemble(&model, &[&less, &graphs[1]], Some(variation)).unwrap().x)
            };
            for (a, b) in x(&one, 1).concat().iter().zip(x(&three, 3).concat()) {
                approx::assert_relative_eq!(*a, b, epsilon = 1e-6);
            }
        }
        // Without a clinical node.
        let model = model(StgConfig::decoupled(1).nodes(NodeSubset::Ct).image_nodes(1, None));
        let graph = NodeSubset::Ct.of(&one.graph(1, [[0.5; 3]; 5]).unwrap()).unwrap();
        let x = rows(&one.assemble(&model, &[&graph], None).unwrap().x);
        assert_eq!(x, [&one.images.values[22..24]]);
        assert!(NodeTable::new(Some(vec![0.0; 2 * 24]), 2, vec![0.5, -1.0], 1, &device()).is_err());
    }

    /// Image nodes, or the CT node alone, pass through a linear map that is trained (S-01, S-04).
    #[test]
    fn learned_maps_of_image_nodes_by_hand() {
        const D: usize = 16;
        let values: Vec<f32> = (0..6 * 3 * D).map(|i| (i as f32 * 0.7).sin()).collect();
        let store = |config: &StgConfig| {
            let store = ParamStore::new(Seed::new(1));
            let model = Stg::new(config, store.var_builder(DType::F32, &device())).unwrap();
            (store, model)
        };
        let by_hand = |store: &ParamStore, name: &str, v: &[f32]| -> Vec<f32> {
            let weight = store.get(&format!("nodes.{name}.weight")).unwrap().to_vec2::<f32>().unwrap();
            let bias = store.get(&format!("nodes.{name}.bias")).unwrap().to_vec1::<f32>().unwrap();
            let dot = |row: &Vec<f32>| row.iter().zip(v).map(|(w, v)| w * v).sum::<f32>();
            weight.iter().zip(bias).map(|(row, b)| dot(row) + b).collect()
        };
        let check = |store: &ParamStore, x: &Tensor, node: usize, expected: &[f32]| {
            for (got, expected) in rows(x)[node].iter().zip(expected) {
                approx::assert_relative_eq!(*got, *expected, epsilon = 1e-5);
            }
            let gradients = store.backward(&x.sqr().unwrap().sum_all().unwrap()).unwrap();
            let moved = |name: &str| {
                gradients
                    .get(name)
                    .is_some_and(|g| g.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0)
            };
            for (name, _) in store.trainable().iter().filter(|(name, _)| name.starts_with("nodes.")) {
                assert!(moved(name), "{name}");
            }
        };
        let small = StgConfig::decoupled(1).features(D).hidden(3).lstm_hidden(2);
        let table =
            |values: &[f32]| NodeTable::new(Some(values.to_vec()), D, vec![0.5], 1, &device()).unwrap();

        let config = small.clone().image_nodes(1, Some(5));
        let (parameters, model) = store(&config);
        let one = table(&values[..6 * D]);
        let graph = one.graph(0, [[0.5; 3]; 5]).unwrap();
        let nodes = one.assemble(&model, &[&graph], None).unwrap();
        assert_eq!(nodes.x.dims(), [7, 5]);
        check(&parameters, &nodes.x, 3, &by_hand(&parameters, "image", &values[3 * D..4 * D]));
        assert_eq!(one.output(&model, &[&graph]).unwrap().survival.dims(), [1, 1]);

        let (parameters, model) = store(&small.clone().ct_node(crate::CtNode::Gap));
        let three = table(&values);
        let graph = three.graph(0, [[0.5; 3]; 5]).unwrap();
        let nodes = three.assemble(&model, &[&graph], None).unwrap();
        let first_level = &values[5 * 3 * D..][..D];
        let means: Vec<f32> = first_level.chunks(8).map(|c| c.iter().sum::<f32>() / 8.0).collect();
        check(&parameters, &nodes.x, 5, &by_hand(&parameters, "ct", &means));
        let (_, plain) = store(&small);
        let others = three.assemble(&plain, &[&graph], None).unwrap();
        assert_eq!(rows(&nodes.x)[..5], rows(&others.x)[..5]);
    }
}
