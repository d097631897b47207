use crate::augment::Drawn;
use crate::batch_nodes::Nodes;
use crate::config::SurvivalLoss;
use crate::node_table::Variation;
use crate::step_losses::{KnownRisks, infonce, task_loss, validation};
use crate::training::{RiskSet, TimeLoss, ViewContrast};
use crate::{Error, NodeTable, Result, Stg, StgOutput, TimeScale, TrainingConfig};
use candle_core::{DType, Tensor};
use oncograph_core::{FollowUp, Split};
use oncograph_graph::HeteroGraph;
use oncograph_losses::{LinearSchedule, cosine_alignment, temporal_consistency, uncertainty_weighted};
use oncograph_nn::{Mode, Seed};
use oncograph_train::{Learner, StepLoss, Validation};
use rand::seq::SliceRandom;

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
        config.loss.fits(model.config())?;
        let scales = config.time_unit.scales(outcomes, train)?;
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
        let views = self.views(items, seed)?;
        let graphs: Vec<&HeteroGraph> = views.drawn.iter().map(|view| &view.graph).collect();
        let variation = Variation {
            seed: seed.stream("noise"),
            sigma: &views.sigma,
            zeroed: views.drawn.iter().map(|view| view.zeroed).collect(),
            units: &self.units,
        };
        let nodes = self.table.assemble(self.model, &graphs, Some(variation))?;
        let mode = Mode::Train(seed.stream("dropout"));
        let output = self.model.forward_in(&nodes.x, &nodes.graph, mode)?;
        let own = output.first(items.len())?;
        let patients: Vec<usize> = items.iter().map(|i| i.0).collect();
        let known = self.known.as_ref().map(|(_, known)| known);
        let [recurrence, survival] = self.task_losses(&own, &patients, known)?;
        let temporal = match self.model.config().architecture.has_steps() {
            true => self.temporal(&own)?,
            false => recurrence.zeros_like()?,
        };
        let contrast = match self.config.loss.contrast {
            None => temporal.zeros_like()?,
            Some(kind) => self.contrast(kind, (&own, &output), &nodes, &patients)?,
        };
        let w = &self.config.loss.weights;
        let at = |s: &LinearSchedule| s.at(epoch, self.config.epochs);
        let loss = match self.model.log_variance() {
            None => ((&recurrence * at(&w.alpha))? + (&survival * at(&w.beta))?)?,
            Some(s) => uncertainty_weighted(&[&recurrence, &survival], s, self.squared_errors())?,
        };
        let loss = ((loss + (&contrast * at(&w.gamma))?)? + (&temporal * at(&w.delta))?)?;
        let parts = vec![
            ("recurrence", recurrence),
            ("survival", survival),
            ("contrast", contrast),
            ("temporal", temporal),
        ];
        Ok(StepLoss { loss, parts })
    }

    /// The graphs of a step's patients and, for a contrastive loss between views, one more augmented copy of each.
    fn views(&self, items: &[(usize, usize)], seed: Seed) -> Result<Views> {
        let augment = &self.config.augment;
        let mut views = Views { drawn: vec![], sigma: vec![] };
        for (k, &(patient, copy)) in items.iter().enumerate() {
            let (graph, seed) = (&self.graphs[patient], seed.at(2 * k as u64));
            let unchanged = augment.original && copy == 0;
            views.drawn.push(if unchanged { Drawn::unchanged(graph) } else { augment.draw(graph, seed)? });
            views.sigma.push(if unchanged { 0.0 } else { augment.noise });
        }
        if self.config.loss.contrast.is_some_and(ViewContrast::needs_copies) {
            for (k, &(patient, _)) in items.iter().enumerate() {
                views.drawn.push(augment.draw(&self.graphs[patient], seed.at(2 * k as u64 + 1))?);
                views.sigma.push(augment.noise);
            }
        }
        Ok(views)
    }

    /// The penalty on changes over time (S-20).
    fn temporal(&self, own: &StgOutput) -> Result<Tensor> {
        let kind = self.config.loss.temporal;
        let steps = match kind {
            TimeLoss::MonotoneRisk => self.model.step_risks(own)?,
            _ => own.states.clone(),
        };
        Ok(temporal_consistency(&steps, kind.kind())?)
    }

    /// The contrastive loss (S-22) of the step's own outputs, those of all views, and the nodes behind them.
    fn contrast(
        &self,
        kind: ViewContrast,
        (own, all): (&StgOutput, &StgOutput),
        nodes: &Nodes,
        patients: &[usize],
    ) -> Result<Tensor> {
        let other = || all.fused.narrow(0, patients.len(), patients.len());
        match kind {
            ViewContrast::Align => Ok(cosine_alignment(&own.fused, &other()?)?),
            ViewContrast::Infonce { temperature } => infonce(&own.fused, &other()?, temperature, patients),
            ViewContrast::CrossModal { .. } if !self.has_both_kinds() => Ok((own.fused.sum_all()? * 0.0)?),
            ViewContrast::CrossModal { temperature } => {
                let [images, clinical] = nodes.modalities(self.model.config().node_width())?;
                let one = |a: &Tensor, b: &Tensor| infonce(a, b, temperature, patients);
                Ok(((one(&images, &clinical)? + one(&clinical, &images)?)? * 0.5)?)
            }
        }
    }

    /// Whether there are image nodes and clinical ones.
    fn has_both_kinds(&self) -> bool {
        self.table.has_images() && self.model.config().nodes.has_clinical()
    }

    /// Whether the task losses are squared errors, as against negative log likelihoods.
    fn squared_errors(&self) -> bool {
        use SurvivalLoss::{Hinge, Mse, MseEvents};
        matches!(self.model.config().survival_loss, Mse | MseEvents | Hinge)
    }
}

/// The views of a step.
struct Views {
    drawn: Vec<Drawn>,
    /// The deviation of each view's noise.
    sigma: Vec<f64>,
}

impl Learner for StgLearner<'_> {
    fn steps(&self, _epoch: usize) -> usize {
        (self.train.len() * self.config.augment.expansion).div_ceil(self.config.batch)
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        self.keep_risks(epoch)?;
        Ok(self.step(epoch, step)?)
    }

    fn validate(&mut self, _epoch: usize) -> oncograph_train::Result<Validation> {
        let output = self.output(&self.validation)?;
        Ok(validation(&self.task_losses(&output, &self.validation, None)?)?)
    }
}
