//! Graph layers one after the other.

use crate::config::{EdgeMode, GnnKind};
use crate::{Result, StgConfig};
use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use oncograph_gnn::{
    Adjacency, EdgeFill, GatConfig, GcnConfig, MessagePassing, Reduce, SageConfig, SageConv,
};
use oncograph_graph::Graph;
use oncograph_nn::segment::gather_reduce;
use oncograph_nn::{Dropout, Mode, relu};
use std::sync::Arc;

/// One graph layer of any kind; edge attributes are used only where configured.
enum Conv {
    Sage(SageConv),
    Other { layer: Box<dyn MessagePassing>, attributes: bool },
}

impl Conv {
    fn new(config: &StgConfig, input: usize, out: usize, vb: VarBuilder) -> Result<Self> {
        let attributes = if config.edge_mode == EdgeMode::Message { 3 } else { 0 };
        Ok(match config.gnn {
            GnnKind::Sage => Conv::Sage(SageConfig::new(input, out).edge_attributes(attributes).build(vb)?),
            GnnKind::SageClosed => {
                Conv::Sage(SageConfig::new(input, out).closed(true).edge_attributes(attributes).build(vb)?)
            }
            GnnKind::Gcn => {
                Conv::Other { layer: Box::new(GcnConfig::new(input, out).build(vb)?), attributes: false }
            }
            GnnKind::Gat => {
                let gat = GatConfig::new(input, out).edge_attributes(attributes, EdgeFill::Mean);
                Conv::Other { layer: Box::new(gat.build(vb)?), attributes: attributes > 0 }
            }
        })
    }

    fn forward(&self, x: &Tensor, graph: &Graph) -> Result<Tensor> {
        Ok(match self {
            Conv::Sage(sage) => sage.forward(x, graph)?,
            Conv::Other { layer, attributes } => {
                let attributes = if *attributes { graph.edge_attributes() } else { None };
                layer.forward_bipartite(x, x, graph.adjacency(), attributes)?
            }
        })
    }

    /// `[x_i ; context_s]` for every step: \[nodes, F\], \[steps, K\] -> \[steps * nodes, out\].
    fn over_steps(&self, x: &Tensor, context: &Tensor, graph: &Graph) -> Result<Tensor> {
        let (steps, shared) = context.dims2()?;
        if let Conv::Sage(sage) = self {
            return Ok(sage.forward_with_context(x, context, graph)?.flatten(0, 1)?);
        }
        let (nodes, width) = x.dims2()?;
        let x = x.unsqueeze(0)?.broadcast_as((steps, nodes, width))?;
        let context = context.unsqueeze(1)?.broadcast_as((steps, nodes, shared))?;
        let all = Tensor::cat(&[x, context], D::Minus1)?.reshape((steps * nodes, width + shared))?;
        self.forward(&all, &graph.unroll(steps, false)?)
    }
}

/// Layers one after the other, ReLU and dropout after each (S-09), the ReLU of the last one optional.
pub(crate) struct Stack {
    layers: Vec<Conv>,
    last_linear: bool,
    dropout: Dropout,
}

impl Stack {
    /// Layers `{prefix}1`, `{prefix}2` ... from `input` to `hidden` features.
    pub(crate) fn new(
        config: &StgConfig,
        prefix: &str,
        depth: usize,
        input: usize,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let layer = |i: usize| {
            let width = if i == 0 { input } else { config.hidden };
            Conv::new(config, width, config.hidden, vb.pp(format!("{prefix}{}", i + 1)))
        };
        let layers = (0..depth).map(layer).collect::<Result<_>>()?;
        Ok(Stack { layers, last_linear: config.last_linear, dropout: Dropout::new(config.dropout)? })
    }

    fn activate(&self, x: Tensor, layer: usize, mode: Mode) -> Result<Tensor> {
        let x = if self.last_linear && layer + 1 == self.layers.len() { x } else { relu(&x)? };
        Ok(self.dropout.forward(&x, mode.at(layer as u64))?)
    }

    /// The layers from `from` on; only the mean over the nodes of each segment, if there are segments.
    fn rest(
        &self,
        mut x: Tensor,
        from: usize,
        graph: &Graph,
        (segments, mode): (Segments, Mode),
    ) -> Result<Tensor> {
        let dropped = mode.is_train() && self.dropout.p() > 0.0;
        for (i, layer) in self.layers.iter().enumerate().skip(from) {
            let last = i + 1 == self.layers.len();
            if let (Some(segments), Conv::Sage(sage)) = (segments, layer)
                && last
                && self.last_linear
                && !dropped
            {
                return Ok(sage.forward_pooled(&x, graph, segments)?);
            }
            x = self.activate(layer.forward(&x, graph)?, i, mode)?;
        }
        match segments {
            Some(segments) => Ok(gather_reduce(&x, segments, Reduce::Mean)?),
            None => Ok(x),
        }
    }

    /// \[nodes, F\] -> \[nodes or segments, hidden\]
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        graph: &Graph,
        segments: Segments,
        mode: Mode,
    ) -> Result<Tensor> {
        self.rest(x.clone(), 0, graph, (segments, mode))
    }

    /// \[nodes, F\], \[steps, K\] -> \[steps * nodes or segments, hidden\], each step on a separate graph.
    pub(crate) fn over_steps(
        &self,
        x: &Tensor,
        context: &Tensor,
        graph: &Graph,
        segments: Segments,
        mode: Mode,
    ) -> Result<Tensor> {
        let first = self.activate(self.layers[0].over_steps(x, context, graph)?, 0, mode)?;
        self.rest(first, 1, &graph.unroll(context.dim(0)?, false)?, (segments, mode))
    }
}

/// From the nodes to what they are averaged by, where only the averages are needed: a linear layer and a mean commute,
/// so that a last layer without activation needs no row per node.
pub(crate) type Segments<'a> = Option<&'a Arc<Adjacency>>;

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use oncograph_nn::{ParamStore, Seed};

    /// The share of zeros behind each layer, and the values of evaluation scaled in the others (S-09).
    #[test]
    fn every_layer_drops_the_configured_share() {
        const HIDDEN: usize = 4000;
        let config = StgConfig::decoupled(1).hidden(HIDDEN).last_linear(true).dropout(0.25);
        let config = config.edge_mode(EdgeMode::Ignore);
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F32, &Device::Cpu);
        let one = Stack::new(&config, "p", 1, 2, &vb).unwrap();
        let graph = Graph::from_edges(3, &[0, 1], &[2, 2]).unwrap();
        let x = Tensor::new(&[[1f32, 2.0], [-1.0, 0.5], [0.3, 0.4]], &Device::Cpu).unwrap();
        let run = |mode: Mode, pooled: bool| {
            let segments = pooled.then_some(graph.membership());
            let y = one.forward(&x, &graph, segments, mode).unwrap();
            y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let mode = Mode::Train(Seed::new(7));
        let (plain, dropped) = (run(Mode::Eval, false), run(mode, false));
        let zeros = dropped.iter().filter(|v| **v == 0.0).count() as f64 / dropped.len() as f64;
        // Four standard errors.
        assert!((zeros - 0.25).abs() < 4.0 * (0.1875 / dropped.len() as f64).sqrt(), "{zeros}");
        for (d, p) in dropped.iter().zip(&plain).filter(|(d, _)| **d != 0.0) {
            approx::assert_relative_eq!(*d, p / 0.75, max_relative = 1e-5);
        }
        // Nodes are averaged behind it, with the values that are left.
        let pooled = run(mode, true);
        let mean = |c: usize| (0..3).map(|n| dropped[n * HIDDEN + c]).sum::<f32>() / 3.0;
        for (c, value) in pooled.iter().enumerate() {
            approx::assert_relative_eq!(*value, mean(c), epsilon = 1e-5);
        }
    }
}
