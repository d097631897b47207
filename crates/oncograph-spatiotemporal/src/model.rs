use crate::config::{Architecture, SurvivalLoss, TaskWeighting, TemporalInput, Unify};
use crate::stack::Stack;
use crate::{Error, NodeInputs, Result, StgConfig};
use candle_core::{D, Tensor};
use candle_nn::{Init, VarBuilder};
use oncograph_gnn::{Adjacency, Reduce, global_pool};
use oncograph_graph::Graph;
use oncograph_losses::survival_curve;
use oncograph_nn::lstm::{Lstm, LstmConfig};
use oncograph_nn::{Linear, Mode, Module, linear, relu};
use std::sync::Arc;

/// The network's output for a batch of patients.
#[derive(Debug, Clone)]
pub struct StgOutput {
    /// \[patients, outputs of the recurrence head\]; see [`SurvivalLoss`].
    pub recurrence: Tensor,
    /// \[patients, outputs of the survival head\].
    pub survival: Tensor,
    /// The vector that the heads see, which views of one patient should share \[patients, width\].
    pub fused: Tensor,
    /// The state of each patient's graph at each step \[patients, steps, width\]; one step where there is no time.
    pub states: Tensor,
}

impl StgOutput {
    /// Of the first `patients` alone.
    pub(crate) fn first(&self, patients: usize) -> Result<Self> {
        let first = |t: &Tensor| t.narrow(0, 0, patients);
        Ok(StgOutput {
            recurrence: first(&self.recurrence)?,
            survival: first(&self.survival)?,
            fused: first(&self.fused)?,
            states: first(&self.states)?,
        })
    }
}

/// From the copy of each node at each step, `step * nodes + node`, to its graph at that step, `graph * steps + step`.
fn graphs_at_steps(graph: &Graph, steps: usize) -> Result<Arc<Adjacency>> {
    let graphs = graph.membership().targets();
    let at = (0..steps as u32).flat_map(|step| graphs.iter().map(move |g| g * steps as u32 + step));
    Ok(Arc::new(Adjacency::from_segments(&at.collect::<Vec<_>>(), steps * graph.graph_count())?))
}

/// The ways to join space and time.
enum Core {
    Full { reconstruction: Stack, unified: Stack },
    Decoupled { spatial: Stack, reconstruction: Option<Stack>, lstm: Lstm },
    Static { spatial: Stack },
    Flat { hidden: Linear },
}

/// The spatio-temporal graph network, of any architecture.
///
/// Parameters: `time.weight` the embedding of steps, where there are any; full `s1`-`s3` the layers of the reconstruction, `u1`, `u2` those
/// of the unified graph; decoupled `p1`, `p2` the spatial branch, `s1`-`s3` with `recon3`, `lstm.*`; static `p1`,
/// `p2`; flat `hidden`; heads `rec`, `surv`; `task.log_variance` \[2\] with [`TaskWeighting::Uncertainty`], which belongs to the loss; and those of
/// [`NodeInputs`].
///
/// # Reference
/// Zhu et al., *STG: Spatiotemporal Graph Neural Network with Fusion and Spatiotemporal Decoupling Learning for
/// Prognostic Prediction of Colorectal Cancer Liver Metastasis*, 2025, arXiv 2505.03123.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_graph::HeteroBatch;
/// use oncograph_nn::{ParamStore, Seed};
/// use oncograph_spatiotemporal::{PatientNodes, Stg, StgConfig, patient_graph, patient_schema};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let nodes = PatientNodes { images: Some(vec![0.1; 48]), centroids: [[0.5; 3]; 5], clinical: vec![0.1; 8] };
/// let patient = patient_graph(&Arc::new(patient_schema(8, 8)), &nodes)?;
/// let (graph, _) = HeteroBatch::new(&[&patient], &Device::Cpu)?.to_homogeneous()?;
/// let store = ParamStore::new(Seed::new(1));
/// let config = StgConfig::decoupled(8).features(8).hidden(6).lstm_hidden(4);
/// let model = Stg::new(&config, store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::ones((7, 8), DType::F32, &Device::Cpu)?;
/// let output = model.forward(&x, &graph)?;
/// assert_eq!((output.recurrence.dims(), output.states.dims()), (&[1, 1][..], &[1, 12, 8][..]));
/// # Ok(())
/// # }
/// ```
pub struct Stg {
    config: StgConfig,
    nodes: NodeInputs,
    time: Option<Tensor>,
    core: Core,
    recurrence: Linear,
    survival: Linear,
    log_variance: Option<Tensor>,
}

impl std::fmt::Debug for Stg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stg").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Stg {
    /// The network with parameters from `vb`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if the configuration is not valid, or an error of candle.
    pub fn new(config: &StgConfig, vb: VarBuilder) -> Result<Self> {
        config.validate()?;
        let c = config;
        let normal = Init::Randn { mean: 0.0, stdev: 1.0 };
        let embedding = || vb.pp("time").get_with_hints((c.steps, c.time_dim), "weight", normal);
        let time = c.architecture.has_steps().then(embedding).transpose()?;
        let node = c.node_width() + c.node_type.width();
        let (core, width) = match c.architecture {
            Architecture::Full => {
                let joined = if c.unify == Unify::Concat { c.steps * c.hidden } else { c.hidden };
                let reconstruction = Stack::new(c, "s", 3, node + c.time_dim, &vb)?;
                let unified = Stack::new(c, "u", 2, joined, &vb)?;
                (Core::Full { reconstruction, unified }, c.hidden)
            }
            Architecture::Decoupled => {
                let shared = c.temporal_input == TemporalInput::Share2;
                let input = node + if shared { c.time_dim } else { 0 };
                let spatial = Stack::new(c, "p", 2, input, &vb)?;
                let reconstruction = (c.temporal_input == TemporalInput::Recon3)
                    .then(|| Stack::new(c, "s", 3, node + c.time_dim, &vb))
                    .transpose()?;
                let step = if c.temporal_input == TemporalInput::Timecat { c.time_dim } else { 0 };
                let lstm = LstmConfig::new(c.hidden + step, c.lstm_hidden).bidirectional(true);
                let lstm = lstm.build(vb.pp("lstm"))?;
                (Core::Decoupled { spatial, reconstruction, lstm }, c.hidden + 2 * c.lstm_hidden)
            }
            Architecture::Static => (Core::Static { spatial: Stack::new(c, "p", 2, node, &vb)? }, c.hidden),
            Architecture::Flat => {
                let width = node * if c.nodes.has_clinical() { 2 } else { 1 };
                (Core::Flat { hidden: linear(width, c.hidden, vb.pp("hidden"))? }, c.hidden)
            }
        };
        let out = c.survival_loss.width(c.steps);
        let log_variance = (c.weighting == TaskWeighting::Uncertainty)
            .then(|| vb.pp("task").get_with_hints(2, "log_variance", Init::Const(0.0)))
            .transpose()?;
        Ok(Stg {
            nodes: NodeInputs::new(c, vb.pp("nodes"))?,
            recurrence: linear(width, out, vb.pp("rec"))?,
            survival: linear(width + usize::from(c.cascade), out, vb.pp("surv"))?,
            config: c.clone(),
            time,
            core,
            log_variance,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &StgConfig {
        &self.config
    }

    /// What turns inputs into node features.
    pub fn nodes(&self) -> &NodeInputs {
        &self.nodes
    }

    /// The learned log variances of recurrence and survival \[2\], which weigh their losses (S-21).
    pub fn log_variance(&self) -> Option<&Tensor> {
        self.log_variance.as_ref()
    }

    /// Predictions for a batch of patient graphs, without dropout.
    ///
    /// # Shapes
    /// `x` \[nodes, d\], with [`NodeIdentity::width`](crate::NodeIdentity::width) more columns where features encode which
    /// node it is
    ///
    /// # Errors
    /// An error if a shape does not fit.
    pub fn forward(&self, x: &Tensor, graph: &Graph) -> Result<StgOutput> {
        self.forward_in(x, graph, Mode::Eval)
    }

    /// As [`Stg::forward`], in training with the dropout that the mode's seed draws (S-09).
    ///
    /// # Errors
    /// As [`Stg::forward`].
    pub fn forward_in(&self, x: &Tensor, graph: &Graph, mode: Mode) -> Result<StgOutput> {
        let (fused, states) = match &self.core {
            Core::Full { reconstruction, unified } => self.full(x, graph, (reconstruction, unified), mode)?,
            Core::Decoupled { spatial, reconstruction, lstm } => {
                self.decoupled(x, graph, (spatial, reconstruction.as_ref(), lstm), mode)?
            }
            Core::Static { spatial } => {
                let fused = spatial.forward(x, graph, Some(graph.membership()), mode.stream("p"))?;
                (fused.clone(), fused.unsqueeze(1)?)
            }
            Core::Flat { hidden } => {
                // Every patient has the same nodes, in the same order.
                let fused = relu(&hidden.forward(&x.reshape((graph.graph_count(), ()))?)?)?;
                (fused.clone(), fused.unsqueeze(1)?)
            }
        };
        let (recurrence, survival) = self.heads(&fused)?;
        Ok(StgOutput { recurrence, survival, fused, states })
    }

    /// The risks of recurrence and death at each step, the larger, the sooner: what the heads make of the state of one step
    /// in place of the mean over all steps.
    ///
    /// # Shapes
    /// \[patients, steps, 2\]
    ///
    /// # Errors
    /// [`Error::Argument`] for a full model whose steps are joined by [`Unify::Concat`]: the heads see no state of a step.
    pub fn step_risks(&self, output: &StgOutput) -> Result<Tensor> {
        if !self.config.has_step_risks() {
            return Err(Error::config(
                "Stg",
                "unify",
                "stack or stack_chained for a risk per step",
                "concat",
            ));
        }
        let (b, t, width) = output.states.dims3()?;
        let space = output.fused.dim(1)? - width;
        let mut fused = output.states.flatten(0, 1)?;
        if space > 0 {
            let each = output.fused.narrow(1, 0, space)?.unsqueeze(1)?.broadcast_as((b, t, space))?;
            fused = Tensor::cat(&[&each.contiguous()?.flatten(0, 1)?, &fused], 1)?;
        }
        let (recurrence, survival) = self.heads(&fused)?;
        let risks = Tensor::cat(&[self.risk(&recurrence)?, self.risk(&survival)?], 1)?;
        Ok(risks.reshape((b, t, 2))?)
    }

    /// The risks of recurrence and death that predictions rank by \[patients, 2\], with their gradients.
    pub(crate) fn risks(&self, output: &StgOutput) -> Result<Tensor> {
        let risks = Tensor::cat(&[self.risk(&output.recurrence)?, self.risk(&output.survival)?], 1)?;
        Ok(match self.config.survival_loss {
            // Predictions rank by the sum of the curve, the heads see its mean.
            SurvivalLoss::DiscreteHazard => (risks * self.config.steps as f64)?,
            _ => risks,
        })
    }

    /// What both heads give for fused vectors.
    fn heads(&self, fused: &Tensor) -> Result<(Tensor, Tensor)> {
        let recurrence = self.recurrence.forward(fused)?;
        let survival = if self.config.cascade {
            let mut known = self.scalar(&recurrence)?;
            if self.config.detach_cascade {
                known = known.detach();
            }
            self.survival.forward(&Tensor::cat(&[fused, &known], 1)?)?
        } else {
            self.survival.forward(fused)?
        };
        Ok((recurrence, survival))
    }

    fn full(
        &self,
        x: &Tensor,
        graph: &Graph,
        (steps, unified): (&Stack, &Stack),
        mode: Mode,
    ) -> Result<(Tensor, Tensor)> {
        let (t, n, b) = (self.config.steps, graph.node_count(), graph.graph_count());
        let h = steps.over_steps(x, self.time()?, graph, None, mode.stream("s"))?;
        let mode = mode.stream("u");
        if self.config.unify == Unify::Concat {
            let states = self.pool_steps(&h.reshape((t, n, self.config.hidden))?.transpose(0, 1)?, graph)?;
            let wide = h.reshape((t, n, self.config.hidden))?.transpose(0, 1)?.flatten(1, 2)?.contiguous()?;
            return Ok((unified.forward(&wide, graph, Some(graph.membership()), mode)?, states));
        }
        let joint = graph.unroll(t, self.config.unify == Unify::StackChained)?;
        let states = unified.forward(&h, &joint, Some(&graphs_at_steps(graph, t)?), mode)?;
        let states = states.reshape((b, t, self.config.hidden))?;
        // Every step has the same nodes, so the mean over all nodes is the mean over steps of the step means.
        Ok((states.mean(1)?, states))
    }

    fn decoupled(
        &self,
        x: &Tensor,
        graph: &Graph,
        (spatial, reconstruction, lstm): (&Stack, Option<&Stack>, &Lstm),
        mode: Mode,
    ) -> Result<(Tensor, Tensor)> {
        let (p, s) = (mode.stream("p"), mode.stream("s"));
        let (t, n, b) = (self.config.steps, graph.node_count(), graph.graph_count());
        let embedded = self.time()?;
        let by_step = |h: Tensor| h.reshape((t, n, self.config.hidden));
        let pooled = |space: &Tensor| global_pool(space, graph, Reduce::Mean);
        // What the LSTM sees: [graphs, steps, F] if nodes are pooled before it, else [nodes, steps, F].
        let seen = |sequence: Tensor| match self.config.pool_first {
            true => self.pool_steps(&sequence, graph),
            false => Ok(sequence),
        };
        let (space, sequence) = match (self.config.temporal_input, reconstruction) {
            (TemporalInput::Share2, _) => {
                // Step 0 of the joint run is the static graph, whose context is zero.
                let context = Tensor::cat(&[&embedded.narrow(0, 0, 1)?.zeros_like()?, embedded], 0)?;
                let all = spatial.over_steps(x, &context, graph, None, p)?;
                let space = all.narrow(0, 0, n)?.contiguous()?;
                (pooled(&space)?, seen(by_step(all.narrow(0, n, t * n)?)?.transpose(0, 1)?)?)
            }
            (_, Some(stack)) => {
                let sequence = if self.config.pool_first {
                    let steps = graphs_at_steps(graph, t)?;
                    let means = stack.over_steps(x, embedded, graph, Some(&steps), s)?;
                    means.reshape((b, t, self.config.hidden))?
                } else {
                    by_step(stack.over_steps(x, embedded, graph, None, s)?)?.transpose(0, 1)?
                };
                (spatial.forward(x, graph, Some(graph.membership()), p)?, sequence)
            }
            (_, None) => {
                let space = spatial.forward(x, graph, None, p)?;
                let pooled = pooled(&space)?;
                // What is the same at every step can be averaged before it is repeated.
                let rows = if self.config.pool_first { &pooled } else { &space };
                let count = rows.dim(0)?;
                let repeated = rows.unsqueeze(1)?.broadcast_as((count, t, self.config.hidden))?;
                let time = embedded.unsqueeze(0)?.broadcast_as((count, t, self.config.time_dim))?;
                let sequence = Tensor::cat(&[repeated, time], D::Minus1)?;
                (pooled, sequence)
            }
        };
        let output = lstm.forward(&sequence.contiguous()?)?.output;
        let states = if self.config.pool_first { output } else { self.pool_steps(&output, graph)? };
        // The mean over time and over nodes commute.
        Ok((Tensor::cat(&[&space, &states.mean(1)?], 1)?, states))
    }

    fn time(&self) -> Result<&Tensor> {
        Ok(self.time.as_ref().ok_or_else(|| candle_core::Error::Msg("there are no steps".into()))?)
    }

    /// \[nodes, steps, F\] -> \[graphs, steps, F\], the mean over the nodes of a graph.
    fn pool_steps(&self, x: &Tensor, graph: &Graph) -> Result<Tensor> {
        let (_, steps, width) = x.dims3()?;
        let flat = x.contiguous()?.flatten(1, 2)?;
        let pooled = global_pool(&flat, graph, Reduce::Mean)?;
        Ok(pooled.reshape((graph.graph_count(), steps, width))?)
    }

    /// What ranks patients, from a head's outputs: the larger, the sooner.
    fn risk(&self, head: &Tensor) -> Result<Tensor> {
        match self.config.survival_loss.log_risk() {
            Some(column) => Ok(head.narrow(1, column, 1)?),
            None => Ok(self.scalar(head)?.neg()?),
        }
    }

    /// One number per patient from a head's outputs: what the next head of the cascade sees.
    fn scalar(&self, head: &Tensor) -> Result<Tensor> {
        Ok(match self.config.survival_loss {
            // The mean of the curve is the restricted mean time over the horizon.
            SurvivalLoss::DiscreteHazard => survival_curve(head)?.mean_keepdim(1)?,
            _ => head.narrow(1, 0, 1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EdgeMode;
    use candle_core::{DType, Device};
    use oncograph_nn::{ParamStore, Seed};

    /// Section 11 counts neither the backbones nor the clinical layer; the mixture of pyramid levels belongs to
    /// the backbone.
    fn count(config: &StgConfig) -> usize {
        let store = ParamStore::new(Seed::new(0));
        Stg::new(config, store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        store
            .trainable()
            .iter()
            .filter(|(n, _)| !n.starts_with("nodes.") && !n.starts_with("task."))
            .map(|(_, v)| v.elem_count())
            .sum()
    }

    /// Section 11: the parameter formulas and the table, exactly.
    #[test]
    fn parameter_counts_equal_section_11() {
        let full = |h: usize| StgConfig::full(22).hidden(h).edge_mode(EdgeMode::Ignore);
        for (h, stack, concat) in
            [(64, 559_186, 649_298), (128, 1_183_762, 1_544_210), (256, 2_629_522, 4_071_314)]
        {
            assert_eq!(8 * h * h + 8223 * h + 146, stack);
            assert_eq!(count(&full(h)), stack);
            assert_eq!(count(&full(h).unify(Unify::Concat)), concat);
        }
        assert_eq!(count(&full(512)), 6_307_474);
        assert_eq!(count(&full(512).unify(Unify::Concat)), 12_074_642);
        assert_eq!(count(&full(1024)), 16_809_106);
        assert_eq!(count(&full(1024).unify(Unify::Concat)), 39_877_778);
        let decoupled = |h: usize, k: usize| {
            StgConfig::decoupled(22).hidden(h).lstm_hidden(k).edge_mode(EdgeMode::Ignore)
        };
        for (h, k, n) in
            [(64, 32, 561_171), (128, 128, 1_358_995), (256, 128, 2_637_459), (256, 256, 3_307_667)]
        {
            assert_eq!(2 * h * h + 8194 * h + 144 + 8 * k * (h + k + 14) + 2 * h + 4 * k + 3, n);
            assert_eq!(count(&decoupled(h, k)), n);
        }
        // What belongs to the loss is not counted.
        let learned = decoupled(64, 32).weighting(TaskWeighting::Uncertainty);
        assert_eq!(count(&learned), 561_171);
        let share2 = decoupled(128, 128).temporal(TemporalInput::Share2, false);
        let ratio = |config: &StgConfig| (1e4 * count(config) as f64 / 6_307_474.0).round() / 100.0;
        assert_eq!(ratio(&share2), 21.40);
        assert_eq!(ratio(&decoupled(128, 128)), 21.55);
    }
}
