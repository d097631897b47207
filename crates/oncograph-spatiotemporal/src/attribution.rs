//! What each input contributes to the risk of a patient, relative to the average training patient.

use crate::batch_nodes::Nodes;
use crate::features::NODES as IMAGES;
use crate::intensities::intensity_columns;
use crate::{ANATOMY, MASK_NUMBERS, Result, Stg, StgInputs, TrainedStg};
use candle_core::{DType, Tensor};
use oncograph_datasets::scaler::MissingFlags;
use oncograph_explain::{IntegratedGradientsConfig, integrated_gradients};
use oncograph_graph::HeteroGraph;
use oncograph_nn::portable::rows_at;
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Points of the path between the average patient and a patient at which the gradient is taken.
const POINTS: usize = 16;

/// What an input of the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// A column of the clinical table, with the flag of its missing values.
    Covariate,
    /// One of the [`MASK_NUMBERS`], which join the covariates.
    MaskNumber,
    /// The mean or the deviation in HU of a structure's voxels, which join them, too.
    Intensity,
    /// All features of an image node.
    Image,
}

/// What the inputs of a job's held-out patients contribute to their risks: integrated gradients from the average training
/// patient to the patient, summed over the features of each input.
///
/// The contributions to a patient's risk sum to its difference from the risk of the average patient in the same graph. Which
/// nodes that graph has, and where structures lie in the scan, is on both sides and has no contribution.
///
/// # Reference
/// Sundararajan, Taly and Yan, *Axiomatic attribution for deep networks*, ICML 2017.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributions {
    /// The inputs: covariates by column, then nodes.
    pub inputs: Vec<(String, InputKind)>,
    /// By task, patient and input, in the unit of the task's risk; `None` for a node that the patient's graph lacks.
    pub values: [Vec<Vec<Option<f64>>>; 2],
    /// By task and patient what the sum of the contributions is above the difference of the risks: the error of the integral
    /// over 16 points.
    pub remainder: [Vec<f64>; 2],
}

/// The mean of each input over the training patients: of covariates, and of the features of each image node over those who have
/// it. It is 0 where inputs are z-scores, and not where they are scaled otherwise or are flags.
#[derive(Debug)]
pub(crate) struct AveragePatient {
    /// \[1, covariates\]
    covariates: Tensor,
    /// \[6, width\]
    images: Tensor,
}

impl AveragePatient {
    pub(crate) fn of(network: &Stg, inputs: &StgInputs, train: &[usize]) -> Result<Self> {
        let graphs: Vec<&HeteroGraph> = train.iter().map(|&p| &inputs.graphs[p]).collect();
        let Nodes { x, kinds, .. } = inputs.table.assemble(network, &graphs, None)?;
        let images = (0..).zip(&kinds).filter(|(_, kind)| (**kind as usize) < IMAGES);
        let (nodes, owners): (Vec<u32>, Vec<u32>) = images.map(|(node, &kind)| (node, kind)).unzip();
        let of_kind = Arc::new(Adjacency::new(kinds.len(), IMAGES, &nodes, &owners)?);
        // Features are an affine map of the inputs of a node, so that those of the mean are the mean of theirs.
        let x = x.narrow(1, 0, network.config().node_width())?.contiguous()?.detach();
        let rows: Vec<u32> = train.iter().map(|&p| p as u32).collect();
        Ok(AveragePatient {
            covariates: rows_at(inputs.table.covariates(), &rows)?.mean_keepdim(0)?,
            images: gather_reduce(&x, &of_kind, Reduce::Mean)?,
        })
    }
}

/// The attributions of both risks for all patients of `inputs`.
pub(crate) fn attributions(
    model: &TrainedStg,
    inputs: &StgInputs,
    average: &AveragePatient,
) -> Result<Attributions> {
    let names = model.pipeline.covariate_names();
    attributions_of(&model.network, inputs, average, (&names, POINTS))
}

fn attributions_of(
    network: &Stg,
    inputs: &StgInputs,
    average: &AveragePatient,
    (names, points): (&[String], usize),
) -> Result<Attributions> {
    let packed = Packed::new(network, inputs)?;
    let (x, baseline) = (packed.rows(inputs)?, packed.baseline(average)?);
    let columns = Columns::new(names, &packed);
    let config = IntegratedGradientsConfig::new().n_steps(points);
    let patients = packed.there.len();
    let mut found = Attributions { inputs: columns.inputs.clone(), ..Attributions::default() };
    for task in 0..2 {
        let targets = vec![task; patients];
        let shares = integrated_gradients(&x, &targets, Some(&baseline), &config, |x| Ok(packed.risks(x)?))?;
        let rows = shares.attributions.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        found.values[task] =
            rows.iter().zip(&packed.there).map(|(row, there)| columns.sums(row, there)).collect();
        found.remainder[task] = shares.delta;
    }
    Ok(found)
}

/// Which columns of a patient's numbers are which input.
struct Columns {
    inputs: Vec<(String, InputKind)>,
    /// Of each covariate column the input that it belongs to.
    covariates: Vec<usize>,
    /// Features of an image node; 0 without any.
    width: usize,
}

impl Columns {
    fn new(names: &[String], packed: &Packed<'_>) -> Self {
        let intensities = intensity_columns();
        let kind = |name: &String| {
            if MASK_NUMBERS.contains(&name.as_str()) {
                InputKind::MaskNumber
            } else if intensities.contains(name) {
                InputKind::Intensity
            } else {
                InputKind::Covariate
            }
        };
        let (mut inputs, mut covariates): (Vec<(String, InputKind)>, Vec<usize>) = (vec![], vec![]);
        for name in &names[..packed.covariates] {
            // A flag stands behind the column that it belongs to.
            let flagged = inputs.iter().position(|(own, _)| MissingFlags::column(own) == *name);
            covariates.push(flagged.unwrap_or(inputs.len()));
            if flagged.is_none() {
                inputs.push((name.clone(), kind(name)));
            }
        }
        if packed.images {
            let nodes = ANATOMY.into_iter().chain(["CT"]);
            inputs.extend(nodes.map(|name| (name.to_string(), InputKind::Image)));
        }
        let width = if packed.images { packed.width } else { 0 };
        Columns { inputs, covariates, width }
    }

    /// The contributions of a patient, input by input.
    fn sums(&self, row: &[f64], there: &[bool; IMAGES]) -> Vec<Option<f64>> {
        let (covariates, images) = row.split_at(self.covariates.len());
        let nodes = if self.width > 0 { IMAGES } else { 0 };
        let mut sums = vec![Some(0.0); self.inputs.len() - nodes];
        for (value, &input) in covariates.iter().zip(&self.covariates) {
            sums[input] = sums[input].map(|sum| sum + value);
        }
        let of_node = |node: usize| images[node * self.width..][..self.width].iter().sum();
        sums.extend((0..nodes).map(|node| there[node].then(|| of_node(node))));
        sums
    }
}

/// A batch as one row of numbers per patient, of which risks are a function: the covariates, then the features of six image
/// nodes, zeros for a node that is not there.
struct Packed<'a> {
    network: &'a Stg,
    nodes: Nodes,
    /// For each node of the graph its place among the image nodes, six per patient, and the clinical nodes behind them.
    order: Vec<u32>,
    /// Which image nodes each patient has.
    there: Vec<[bool; IMAGES]>,
    /// For each place among the image nodes the node of the graph, or one more than the last.
    places: Vec<u32>,
    /// 0 where there is no clinical node.
    covariates: usize,
    images: bool,
    width: usize,
}

impl<'a> Packed<'a> {
    fn new(network: &'a Stg, inputs: &StgInputs) -> Result<Self> {
        let graphs: Vec<&HeteroGraph> = inputs.graphs.iter().collect();
        let nodes = inputs.table.assemble(network, &graphs, None)?;
        let (patients, count) = (graphs.len(), nodes.kinds.len());
        let images = inputs.table.has_images();
        let clinical = if images { patients * IMAGES } else { 0 };
        let mut there = vec![[false; IMAGES]; patients];
        let mut places = vec![count as u32; patients * IMAGES];
        let mut order = vec![];
        for (node, (&kind, &patient)) in
            nodes.kinds.iter().zip(nodes.graph.membership().targets()).enumerate()
        {
            let (kind, patient) = (kind as usize, patient as usize);
            if kind == IMAGES {
                order.push((clinical + patient) as u32);
                continue;
            }
            there[patient][kind] = true;
            places[patient * IMAGES + kind] = node as u32;
            order.push((patient * IMAGES + kind) as u32);
        }
        let covariates = match network.config().nodes.has_clinical() {
            true => inputs.table.covariates().dim(1)?,
            false => 0,
        };
        let width = network.config().node_width();
        Ok(Packed { network, nodes, order, there, places, covariates, images, width })
    }

    /// The patients themselves.
    fn rows(&self, inputs: &StgInputs) -> Result<Tensor> {
        let x = self.nodes.x.narrow(1, 0, self.width)?.contiguous()?.detach();
        self.joined(inputs.table.covariates(), &x, &self.places)
    }

    /// The average patient in the graph of each.
    fn baseline(&self, average: &AveragePatient) -> Result<Tensor> {
        let patients = self.there.len();
        let covariates = average.covariates.broadcast_as((patients, average.covariates.dim(1)?))?;
        let place = |(node, there): (usize, &bool)| if *there { node as u32 } else { IMAGES as u32 };
        let places: Vec<u32> = self.there.iter().flat_map(|t| t.iter().enumerate().map(place)).collect();
        self.joined(&covariates, &average.images, &places)
    }

    /// Covariates beside the features of `nodes` at six places per patient; a place behind the last node has zeros.
    fn joined(&self, covariates: &Tensor, nodes: &Tensor, places: &[u32]) -> Result<Tensor> {
        let mut parts = vec![];
        if self.covariates > 0 {
            parts.push(covariates.contiguous()?);
        }
        if self.images {
            let nothing = Tensor::zeros((1, self.width), nodes.dtype(), nodes.device())?;
            let all = rows_at(&Tensor::cat(&[nodes, &nothing], 0)?, places)?;
            parts.push(all.reshape((self.there.len(), IMAGES * self.width))?);
        }
        Ok(Tensor::cat(&parts, 1)?)
    }

    /// The risks of recurrence and death \[patients, 2\] of rows of numbers.
    fn risks(&self, rows: &Tensor) -> Result<Tensor> {
        let (mut parts, patients) = (vec![], self.there.len());
        if self.images {
            let images = rows.narrow(1, self.covariates, IMAGES * self.width)?.contiguous()?;
            parts.push(images.reshape((patients * IMAGES, self.width))?);
        }
        if self.covariates > 0 {
            let covariates = rows.narrow(1, 0, self.covariates)?.contiguous()?;
            parts.push(self.network.nodes().clinical(&covariates)?);
        }
        let mut x = rows_at(&Tensor::cat(&parts, 0)?, &self.order)?;
        let columns = self.nodes.x.dim(1)?;
        if columns > self.width {
            let identity = self.nodes.x.narrow(1, self.width, columns - self.width)?.detach();
            x = Tensor::cat(&[&x, &identity], 1)?;
        }
        let output = self.network.forward(&x.contiguous()?, &self.nodes.graph)?;
        self.network.risks(&output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Architecture, SurvivalLoss};
    use crate::{CtNode, NodeIdentity, NodeSubset, NodeTable, StgConfig};
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed};

    const PATIENTS: usize = 6;
    const FEATURES: usize = 8;
    const COVARIATES: usize = 3;
    /// The third is missing in the training of the fourth.
    const NAMES: [&str; COVARIATES] = ["age", "tumour_count", "age_missing"];

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| 0.3 + (i as f32 * k).sin()).collect()
    }

    /// Patients of whom the third has no tumour, and the values behind them.
    fn inputs(images: Option<Vec<f32>>, clinical: Vec<f32>, nodes: NodeSubset) -> StgInputs {
        let table = NodeTable::new(images, FEATURES, clinical, COVARIATES, &device()).unwrap();
        let graph = |p: usize| {
            let graph = table.graph(p, [[0.1 * p as f32, 0.5, 0.3]; 5]).unwrap();
            if !table.has_images() {
                return graph;
            }
            let there = [true, true, true, true, p != 2];
            nodes.of(&graph.retain_nodes("anatomy", &there).unwrap()).unwrap()
        };
        StgInputs { graphs: (0..PATIENTS).map(graph).collect(), table }
    }

    fn network(config: &StgConfig) -> (ParamStore, Stg) {
        let store = ParamStore::new(Seed::new(3));
        let config = config.clone().features(FEATURES).hidden(6).lstm_hidden(4);
        let network = Stg::new(&config, store.var_builder(DType::F32, &device())).unwrap();
        (store, network)
    }

    fn risks(network: &Stg, inputs: &StgInputs) -> Vec<Vec<f32>> {
        let graphs: Vec<&HeteroGraph> = inputs.graphs.iter().collect();
        let output = inputs.table.output(network, &graphs).unwrap();
        network.risks(&output).unwrap().to_vec2().unwrap()
    }

    /// Everybody with the mean of each input over the training patients who have it.
    fn averaged(
        values: &[f32],
        train: &[usize],
        width: usize,
        lacks: &dyn Fn(usize, usize) -> bool,
    ) -> Vec<f32> {
        let mean = |at: usize| {
            let has: Vec<f32> =
                train.iter().filter(|&&p| !lacks(p, at)).map(|&p| values[p * width + at]).collect();
            has.iter().sum::<f32>() / has.len() as f32
        };
        (0..width).map(mean).collect::<Vec<_>>().repeat(values.len() / width)
    }

    fn check(config: StgConfig, levels: Option<usize>) {
        let (_, network) = network(&config);
        let own = levels.map(|levels| wave(PATIENTS * 6 * levels * FEATURES, 0.7));
        let clinical = wave(PATIENTS * COVARIATES, 1.3);
        let train = [0, 2, 3, 4];
        let all = inputs(own.clone(), clinical.clone(), config.nodes);
        let average = AveragePatient::of(&network, &all, &train).unwrap();
        let names = NAMES.map(String::from);
        let found = attributions_of(&network, &all, &average, (&names, 400)).unwrap();
        // The same network on patients who are the average.
        let node = levels.unwrap_or(0) * FEATURES;
        let no_tumour = |p: usize, at: usize| p == 2 && at / node.max(1) == 4;
        let images = own.map(|values| averaged(&values, &train, 6 * node, &no_tumour));
        let same = inputs(images, averaged(&clinical, &train, COVARIATES, &|_, _| false), config.nodes);
        let (risks, average) = (risks(&network, &all), risks(&network, &same));
        for task in 0..2 {
            for patient in 0..PATIENTS {
                let sum: f64 = found.values[task][patient].iter().flatten().sum();
                let difference = f64::from(risks[patient][task] - average[patient][task]);
                let error = (sum - difference).abs();
                assert!(error < 5e-3 * difference.abs().max(0.05), "{config:?}: {sum} {difference}");
                approx::assert_abs_diff_eq!(sum - difference, found.remainder[task][patient], epsilon = 1e-5);
                assert!(difference != 0.0);
            }
        }
        if levels.is_some() && config.nodes.has_anatomy() {
            let tumour = found.inputs.iter().position(|(name, _)| name == "tumour").unwrap();
            let of = |p: usize| found.values[1][p][tumour];
            assert!(of(2).is_none() && of(1).is_some_and(|v| v != 0.0));
        }
    }

    #[test]
    fn contributions_sum_to_the_difference_from_the_average_patient() {
        let base = || StgConfig::decoupled(COVARIATES).time(4, 2);
        check(base().survival_loss(SurvivalLoss::DiscreteHazard), Some(3));
        check(base().survival_loss(SurvivalLoss::Cox).node_type(NodeIdentity::OneHot), Some(3));
        check(base().survival_loss(SurvivalLoss::MseCox).node_type(NodeIdentity::Embedding), Some(3));
        check(base().image_nodes(1, Some(5)), Some(1));
        check(base().ct_node(CtNode::Gap), Some(3));
        check(base(), None);
        check(StgConfig::full(COVARIATES).time(4, 2), Some(3));
        check(base().architecture(Architecture::Static).nodes(NodeSubset::Images), Some(3));
        check(base().architecture(Architecture::Flat).nodes(NodeSubset::CtAndClinical), Some(3));
    }

    /// What the network does not read contributes nothing, and a flag belongs to its column.
    #[test]
    fn columns_without_weight_contribute_nothing() {
        let (store, network) = network(&StgConfig::decoupled(COVARIATES).time(4, 2));
        let weight = store.get("nodes.clinical.weight").unwrap();
        let all = inputs(None, wave(PATIENTS * COVARIATES, 1.3), NodeSubset::All);
        let of = |read: [f32; COVARIATES]| {
            let mask = Tensor::new(&[read], &device()).unwrap();
            let kept = weight.as_tensor().ones_like().unwrap().broadcast_mul(&mask).unwrap();
            weight.set(&kept).unwrap();
            let average = AveragePatient::of(&network, &all, &[0, 1, 2]).unwrap();
            attributions_of(&network, &all, &average, (&NAMES.map(String::from), POINTS)).unwrap()
        };
        let inputs =
            [("age".to_string(), InputKind::Covariate), ("tumour_count".to_string(), InputKind::MaskNumber)];
        let number = of([0.0, 1.0, 0.0]);
        assert_eq!(number.inputs, inputs);
        assert!(number.values[0].iter().all(|v| v[0] == Some(0.0) && v[1] != Some(0.0)));
        let flag = of([0.0, 0.0, 1.0]);
        assert!(flag.values[0].iter().all(|v| v[0] != Some(0.0) && v[1] == Some(0.0)));
    }
}
