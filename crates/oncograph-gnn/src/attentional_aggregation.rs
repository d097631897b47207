use crate::{Error, Result, Sequential, SequentialConfig};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_graph::Graph;
use oncograph_nn::segment::{gather_reduce_weighted, segment_softmax};
use serde::{Deserialize, Serialize};

/// Configuration of an [`AttentionalAggregation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttentionalAggregationConfig {
    /// The network of the gate, from the features of a node to one number, or to one per feature of the result.
    pub gate_nn: SequentialConfig,
    /// The network that maps a node before it is summed; the node itself by default.
    pub nn: Option<SequentialConfig>,
}

impl AttentionalAggregationConfig {
    /// Nodes as they are, weighted by a gate.
    pub fn new(gate_nn: SequentialConfig) -> Self {
        AttentionalAggregationConfig { gate_nn, nn: None }
    }

    /// Sets the network that maps a node before it is summed.
    pub fn nn(mut self, nn: SequentialConfig) -> Self {
        self.nn = Some(nn);
        self
    }

    /// Checks that the gate fits the features that it weights.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        self.gate_nn.validate()?;
        let features = self.gate_nn.widths[0];
        let weighted = match &self.nn {
            None => features,
            Some(nn) => {
                nn.validate()?;
                if nn.widths[0] != features {
                    let expected = format!("{features}, as into the gate");
                    return Err(Error::config(
                        "AttentionalAggregation",
                        "nn.widths[0]",
                        expected,
                        nn.widths[0],
                    ));
                }
                nn.out()
            }
        };
        let gate = self.gate_nn.out();
        if gate != 1 && gate != weighted {
            let expected = format!("of 1 or {weighted} outputs");
            return Err(Error::config("AttentionalAggregation", "gate_nn", expected, gate));
        }
        Ok(())
    }

    /// Builds the layer with parameters from `vb`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid, or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<AttentionalAggregation> {
        self.validate()?;
        let gate_nn = self.gate_nn.build(vb.pp("gate_nn"))?;
        let nn = self.nn.as_ref().map(|nn| nn.build(vb.pp("nn"))).transpose()?;
        Ok(AttentionalAggregation { gate_nn, nn })
    }
}

/// One vector per graph, its nodes weighted by a learned gate: `r = sum_i softmax_i(gate(x_i)) nn(x_i)`, the softmax over
/// the nodes of the graph, for each number of the gate. An empty graph gives 0.
///
/// # Reference
/// Li et al., *Graph matching networks*, 2019, equation 3; parameters `gate_nn.{0,2,..}.{weight,bias}` and
/// `nn.{0,2,..}.{weight,bias}` of PyTorch Geometric's `AttentionalAggregation` (`GlobalAttention`). The gate reads the
/// nodes themselves, not what `nn` makes of them.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_gnn::{Adjacency, AttentionalAggregationConfig, SequentialConfig};
/// use oncograph_graph::Graph;
/// use oncograph_nn::{ParamStore, Seed};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(0));
/// let vb = store.var_builder(DType::F32, &Device::Cpu);
/// let pool = AttentionalAggregationConfig::new(SequentialConfig::new([8, 4, 1])).build(vb)?;
/// let graph = Graph::new(Arc::new(Adjacency::new(3, 3, &[], &[])?), None, &[0, 0, 1], 2)?;
/// let x = Tensor::ones((3, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(pool.forward(&x, &graph)?.dims(), [2, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AttentionalAggregation {
    gate_nn: Sequential,
    nn: Option<Sequential>,
}

impl AttentionalAggregation {
    /// Pools the nodes of each graph of a batch.
    ///
    /// # Shapes
    /// `x` \[nodes, F\] -> \[graphs, F\], or the width of `nn`
    ///
    /// # Errors
    /// An error of the layers below if `x` has not one row per node.
    pub fn forward(&self, x: &Tensor, graph: &Graph) -> Result<Tensor> {
        Ok(self.forward_with_gate(x, graph)?.0)
    }

    /// As [`AttentionalAggregation::forward`], with the weight of each node \[nodes, 1 or features\].
    ///
    /// # Errors
    /// As [`AttentionalAggregation::forward`].
    pub fn forward_with_gate(&self, x: &Tensor, graph: &Graph) -> Result<(Tensor, Tensor)> {
        let weight = segment_softmax(&self.gate_nn.forward(x)?, graph.membership())?;
        let mapped = match &self.nn {
            Some(nn) => nn.forward(x)?,
            None => x.clone(),
        };
        Ok((gather_reduce_weighted(&mapped, &weight, graph.membership())?, weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::segment::Adjacency;
    use oncograph_nn::testing::{assert_gradient_coverage, check_gradients, device, pattern};
    use oncograph_nn::{Activation, ParamStore, Seed};
    use std::sync::Arc;

    fn graph() -> Graph {
        // The second of three graphs is empty.
        let none = Arc::new(Adjacency::new(4, 4, &[], &[]).unwrap());
        Graph::new(none, None, &[0, 0, 0, 2], 3).unwrap()
    }

    #[test]
    fn weights_sum_to_one_and_gradients_are_right() {
        for gate in [1, 2] {
            let config = AttentionalAggregationConfig::new(SequentialConfig::new([3, 4, gate]))
                .nn(SequentialConfig::new([3, 2]).output_activation(Activation::Tanh));
            let store = ParamStore::new(Seed::new(1));
            let pool = config.build(store.var_builder(DType::F64, &device())).unwrap();
            let x = pattern(&[4, 3], 2).unwrap();
            let (y, weight) = pool.forward_with_gate(&x, &graph()).unwrap();
            let sums =
                gather_reduce_weighted(&weight.ones_like().unwrap(), &weight, graph().membership()).unwrap();
            let sums = sums.to_vec2::<f64>().unwrap();
            for (sum, expected) in sums.iter().zip([1.0, 0.0, 1.0]) {
                sum.iter().for_each(|s| approx::assert_relative_eq!(*s, expected, epsilon = 1e-12));
            }
            assert_eq!(y.to_vec2::<f64>().unwrap()[1], [0.0, 0.0]);
            let f = |x: &[Tensor]| Ok(pool.forward(&x[0], &graph()).unwrap());
            check_gradients(f, &[x], 1e-6, 1e-7).unwrap();
            assert_gradient_coverage(&store, &y.sqr().unwrap().sum_all().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_gate_that_does_not_fit_is_named() {
        let message = AttentionalAggregationConfig::new(SequentialConfig::new([3, 2])).validate();
        let message = message.unwrap_err().to_string();
        assert_eq!(message, "AttentionalAggregation: gate_nn must be of 1 or 3 outputs, got 2");
    }
}
