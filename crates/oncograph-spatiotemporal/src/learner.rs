use crate::assemble::{Assemble, Images, Source};
use crate::config::{RiskSet, ViewContrast};
use crate::features::{NODES as IMAGES, PYRAMID_LEVELS};
use crate::patient::patient_rows;
use crate::step_losses::{KnownRisks, infonce, task_loss, value};
use crate::{Error, NodeIdentity, Result, Stg, StgOutput, TimeScale, TrainingConfig, patient_schema};
use candle_core::{DType, Device, Tensor};
use oncograph_core::{FollowUp, Split};
use oncograph_graph::{Graph, HeteroBatch, HeteroGraph, Schema};
use oncograph_losses::{cosine_alignment, temporal_consistency};
use oncograph_nn::Seed;
use oncograph_train::{Learner, StepLoss, Validation};
use rand::seq::SliceRandom;
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
        let (x, graph) = self.assemble(model, graphs, None)?;
        model.forward(&x, &graph)
    }

    /// The standard deviation of each covariate over some patients.
    fn deviations(&self, patients: &[usize]) -> Result<Vec<f32>> {
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
    fn assemble(
        &self,
        model: &Stg,
        graphs: &[&HeteroGraph],
        noise: Option<Noise<'_>>,
    ) -> Result<(Tensor, Graph)> {
        let batch = HeteroBatch::new(graphs, &self.device)?.with_table("clinical", &self.clinical)?;
        let (graph, positions) = batch.to_homogeneous()?;
        let mut clinical = batch.features("clinical")?.clone();
        let seed = noise.map_or(Seed::new(0), |noise| noise.seed);
        if let (Some(noise), true) = (&noise, model.config().nodes.has_clinical()) {
            clinical = (clinical + noise.of_covariates(&self.device)?)?;
        }
        let clinical = model.nodes().clinical(&clinical)?;
        let mut nodes = vec![Source::Clinical(0); graph.node_count()];
        for (name, positions) in ["anatomy", "ct"].into_iter().zip(&positions) {
            let graph_of = batch.graph_of_node(name)?;
            for ((&at, &row), g) in positions.iter().zip(batch.rows(name)?).zip(graph_of) {
                let sigma = noise.map_or(0.0, |noise| noise.sigma[g as usize] as f32);
                nodes[at as usize] = Source::Image { row, sigma };
            }
        }
        for (row, &at) in positions[2].iter().enumerate() {
            nodes[at as usize] = Source::Clinical(row as u32);
        }
        let width = clinical.dim(1)?;
        let one_hot = model.config().node_type == NodeIdentity::OneHot;
        let op = Assemble {
            table: self.images.clone(),
            width,
            one_hot,
            nodes,
            seed: seed.stream("images"),
            #[cfg(feature = "cuda")]
            on_device: oncograph_nn::cuda::OnDevice::default(),
        };
        let x = model.nodes().pooling()?.apply_op2(&clinical, op)?;
        Ok((x, graph))
    }
}

/// Gaussian noise on the features of a batch of graphs.
#[derive(Clone, Copy)]
struct Noise<'a> {
    seed: Seed,
    /// Its deviation in each graph, in units of a feature's own.
    sigma: &'a [f64],
    /// That of each covariate; image features are scaled to 1.
    units: &'a [f32],
}

impl Noise<'_> {
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

/// What a [`StgLearner`] learns from: patients in one order.
#[derive(Debug, Clone, Copy)]
pub struct StgData<'a> {
    /// The values of the nodes.
    pub table: &'a NodeTable,
    /// The graph of each patient.
    pub graphs: &'a [HeteroGraph],
    /// The recurrence and the survival of each patient.
    pub outcomes: &'a [[FollowUp; 2]],
}

/// The training of one [`Stg`] on one split: its losses, augmented graphs and contrastive views.
#[derive(Debug)]
pub struct StgLearner<'a> {
    model: &'a Stg,
    table: &'a NodeTable,
    graphs: &'a [HeteroGraph],
    outcomes: &'a [[FollowUp; 2]],
    train: Vec<usize>,
    validation: Vec<usize>,
    scales: [TimeScale; 2],
    /// The deviation of each covariate over the training patients.
    units: Vec<f32>,
    config: TrainingConfig,
    seed: Seed,
    /// The epoch, and both tasks' log risks of the training patients when it began.
    known: Option<(usize, [KnownRisks; 2])>,
}

impl<'a> StgLearner<'a> {
    /// A learner over the training patients of `split`, scored on its validation patients; its test patients are not
    /// read. Time scales are fitted on the training patients.
    ///
    /// # Errors
    /// [`Error::Input`] if lengths differ, a split is empty or names a patient that is not there;
    /// [`Error::Argument`] for a batch or an expansion of 0.
    pub fn new(
        model: &'a Stg,
        data: StgData<'a>,
        split: &Split,
        config: TrainingConfig,
        seed: Seed,
    ) -> Result<Self> {
        let StgData { table, graphs, outcomes } = data;
        let (train, validation) = (&split.train, &split.validation);
        let n = table.patients();
        if graphs.len() != n || outcomes.len() != n {
            return Err(Error::input(
                "patients",
                n,
                format!("{} graphs, {} outcomes", graphs.len(), outcomes.len()),
            ));
        }
        for (what, split) in [("training split", train), ("validation split", validation)] {
            if split.is_empty() || split.iter().any(|&i| i >= n) {
                let got = format!("{} of them, up to {:?}", split.len(), split.iter().max());
                return Err(Error::input(what, format!("patients below {n}"), got));
            }
        }
        for (field, value) in [("batch", config.batch), ("augment.expansion", config.augment.expansion)] {
            if value == 0 {
                return Err(Error::config("TrainingConfig", field, "at least 1", 0));
            }
        }
        let loss = model.config().survival_loss;
        if config.loss.risk_set == RiskSet::Training && loss.log_risk().is_none() {
            let expected = "batch, unless the loss is cox or mse_cox";
            return Err(Error::config("TrainingConfig", "loss.risk_set", expected, format!("{loss:?}")));
        }
        let years = |task: usize| train.iter().map(|&i| outcomes[i][task].in_years()).collect::<Vec<_>>();
        let scales = [TimeScale::fit(&years(0))?, TimeScale::fit(&years(1))?];
        let (train, validation) = (train.clone(), validation.clone());
        let units = table.deviations(&train)?;
        Ok(StgLearner {
            model,
            table,
            graphs,
            outcomes,
            train,
            validation,
            scales,
            units,
            config,
            seed,
            known: None,
        })
    }

    /// The scales of recurrence and survival times.
    pub fn scales(&self) -> [TimeScale; 2] {
        self.scales
    }

    /// The model's output for some patients, without augmentation.
    ///
    /// # Errors
    /// An error of the model.
    pub fn output(&self, patients: &[usize]) -> Result<StgOutput> {
        let graphs: Vec<&HeteroGraph> = patients.iter().map(|&i| &self.graphs[i]).collect();
        self.output_of(&graphs)
    }

    /// The model's output for given graphs over the table, for example with nodes removed.
    ///
    /// # Errors
    /// An error of the model.
    pub fn output_of(&self, graphs: &[&HeteroGraph]) -> Result<StgOutput> {
        self.table.output(self.model, graphs)
    }

    /// The (patient, copy) pairs of an epoch, in the order in which they are shown.
    fn order(&self, epoch: usize) -> Vec<(usize, usize)> {
        let copies = 0..self.config.augment.expansion;
        let mut order: Vec<_> =
            self.train.iter().flat_map(|&i| copies.clone().map(move |copy| (i, copy))).collect();
        order.shuffle(&mut self.seed.stream("order").at(epoch as u64).rng());
        order
    }

    /// The log risks of all training patients, where risk sets hold them: once per epoch, so that a run that goes on from
    /// the end of an epoch has the same.
    fn keep_risks(&mut self, epoch: usize) -> Result<()> {
        let wanted = self.config.loss.risk_set == RiskSet::Training;
        let Some(column) = self.model.config().survival_loss.log_risk().filter(|_| wanted) else {
            return Ok(());
        };
        if self.known.as_ref().is_some_and(|known| known.0 == epoch) {
            return Ok(());
        }
        let output = self.output(&self.train)?;
        let of = |task: usize, head: &Tensor| -> Result<KnownRisks> {
            let column = head.narrow(1, column, 1)?.to_dtype(DType::F64)?.flatten_all()?;
            let outcomes = || self.train.iter().map(|&i| self.outcomes[i][task]);
            Ok(KnownRisks {
                years: outcomes().map(|o| o.in_years()).collect(),
                events: outcomes().map(|o| o.event()).collect(),
                log_risks: column.to_vec1()?,
            })
        };
        self.known = Some((epoch, [of(0, &output.recurrence)?, of(1, &output.survival)?]));
        Ok(())
    }

    /// The losses of both heads; `known` are the patients at risk beside `patients`, who are among them.
    fn task_losses(
        &self,
        output: &StgOutput,
        patients: &[usize],
        known: Option<&[KnownRisks; 2]>,
    ) -> Result<[Tensor; 2]> {
        let place = |p: &usize| self.train.iter().position(|i| i == p).unwrap_or(usize::MAX);
        let places: Vec<usize> = known.map(|_| patients.iter().map(place).collect()).unwrap_or_default();
        let loss = |task: usize, head: &Tensor| {
            let outcomes: Vec<FollowUp> = patients.iter().map(|&i| self.outcomes[i][task]).collect();
            let known = known.map(|known| (&known[task], places.as_slice()));
            task_loss(self.model.config().survival_loss, head, &outcomes, &self.scales[task], known)
        };
        Ok([loss(0, &output.recurrence)?, loss(1, &output.survival)?])
    }

    fn step(&self, epoch: usize, step: usize) -> Result<StepLoss> {
        let seed = self.seed.stream("augment").at(epoch as u64).at(step as u64);
        let order = self.order(epoch);
        let batch = self.config.batch;
        let items = &order[step * batch..order.len().min((step + 1) * batch)];
        let augment = &self.config.augment;
        // The views themselves and, for the contrastive loss, one more augmented copy of each.
        let mut views = vec![];
        let mut sigma = vec![];
        for (k, &(patient, copy)) in items.iter().enumerate() {
            let graph = &self.graphs[patient];
            views.push(if copy == 0 {
                graph.clone()
            } else {
                augment.remove_nodes(graph, seed.at(2 * k as u64))?
            });
            sigma.push(if copy == 0 { 0.0 } else { augment.noise });
        }
        if self.config.loss.contrast.is_some() {
            for (k, &(patient, _)) in items.iter().enumerate() {
                views.push(augment.remove_nodes(&self.graphs[patient], seed.at(2 * k as u64 + 1))?);
                sigma.push(augment.noise);
            }
        }
        let views: Vec<&HeteroGraph> = views.iter().collect();
        let noise = Noise { seed: seed.stream("noise"), sigma: &sigma, units: &self.units };
        let (x, graph) = self.table.assemble(self.model, &views, Some(noise))?;
        let output = self.model.forward(&x, &graph)?;
        let first = |t: &Tensor| t.narrow(0, 0, items.len());
        let own = StgOutput {
            recurrence: first(&output.recurrence)?,
            survival: first(&output.survival)?,
            fused: first(&output.fused)?,
            states: first(&output.states)?,
        };
        let patients: Vec<usize> = items.iter().map(|i| i.0).collect();
        let known = self.known.as_ref().map(|(_, known)| known);
        let [recurrence, survival] = self.task_losses(&own, &patients, known)?;
        let temporal = match self.model.config().architecture.has_steps() {
            true => temporal_consistency(&own.states, self.config.loss.temporal)?,
            false => recurrence.zeros_like()?,
        };
        let contrast = match self.config.loss.contrast {
            None => temporal.zeros_like()?,
            Some(kind) => {
                let other = output.fused.narrow(0, items.len(), items.len())?;
                match kind {
                    ViewContrast::Align => cosine_alignment(&own.fused, &other)?,
                    ViewContrast::Infonce { temperature } => {
                        infonce(&own.fused, &other, temperature, &patients)?
                    }
                }
            }
        };
        let w = &self.config.loss.weights;
        let at = |s: &oncograph_losses::LinearSchedule| s.at(epoch, self.config.epochs);
        let loss = ((&recurrence * at(&w.alpha))? + (&survival * at(&w.beta))?)?;
        let loss = ((loss + (&contrast * at(&w.gamma))?)? + (&temporal * at(&w.delta))?)?;
        let parts = vec![
            ("recurrence", recurrence),
            ("survival", survival),
            ("contrast", contrast),
            ("temporal", temporal),
        ];
        Ok(StepLoss { loss, parts })
    }
}

impl Learner for StgLearner<'_> {
    fn steps(&self, _epoch: usize) -> usize {
        (self.train.len() * self.config.augment.expansion).div_ceil(self.config.batch)
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        self.keep_risks(epoch)?;
        Ok(self.step(epoch, step)?)
    }

    /// The two task losses with equal weights: the schedule moves weights, which must not look like progress.
    fn validate(&mut self, _epoch: usize) -> oncograph_train::Result<Validation> {
        let output = self.output(&self.validation)?;
        let [recurrence, survival] = self.task_losses(&output, &self.validation, None)?;
        let (recurrence, survival) = (value(&recurrence)?, value(&survival)?);
        let parts = vec![("recurrence", recurrence), ("survival", survival)];
        Ok(Validation { score: 0.5 * (recurrence + survival), parts })
    }
}
