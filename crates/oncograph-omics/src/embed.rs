use crate::{NodeInput, NodeTypeConfig, Result};
use candle_core::{Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use oncograph_nn::linear;

/// The embedding of one type of nodes: a [`Linear`] of \[H, features\] (`weight`, `bias`).
///
/// Nodes with one value each would be rows of a diagonal matrix per patient; `W diag(x) + b` is computed from the values
/// alone, column `g` of the weight times `x_g` (M-01).
#[derive(Debug, Clone)]
pub struct NodeEmbedding {
    linear: Linear,
    input: NodeInput,
}

impl NodeEmbedding {
    /// The embedding of `node_type` to `hidden` features.
    ///
    /// # Errors
    /// An error of candle.
    pub fn new(node_type: &NodeTypeConfig, hidden: usize, vb: VarBuilder) -> Result<Self> {
        Ok(NodeEmbedding { linear: linear(node_type.features, hidden, vb)?, input: node_type.input })
    }

    /// Node by node, the samples side by side.
    ///
    /// # Shapes
    /// Values \[samples, nodes\] -> \[nodes, samples, H\]; rows \[nodes, features\] -> \[nodes, 1, H\]
    ///
    /// # Errors
    /// An error of candle for another shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.input == NodeInput::Rows {
            return Ok(self.linear.forward(x)?.unsqueeze(1)?);
        }
        let columns = self.linear.weight().t()?.contiguous()?.unsqueeze(1)?;
        let scaled = x.t()?.contiguous()?.unsqueeze(2)?.broadcast_mul(&columns)?;
        match self.linear.bias() {
            Some(bias) => Ok(scaled.broadcast_add(bias)?),
            None => Ok(scaled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use oncograph_nn::testing::pattern;
    use oncograph_nn::{ParamStore, Seed};

    #[test]
    fn values_equal_rows_of_a_diagonal_matrix() {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &Device::Cpu);
        let values = NodeEmbedding::new(&NodeTypeConfig::diag("gene", 3), 4, vb.clone()).unwrap();
        let rows = NodeEmbedding::new(&NodeTypeConfig::rows("gene", 3), 4, vb).unwrap();
        let x = pattern(&[2, 3], 1).unwrap();
        let all = values.forward(&x).unwrap();
        assert_eq!(all.dims(), [3, 2, 4]);
        for (s, sample) in x.to_vec2::<f64>().unwrap().into_iter().enumerate() {
            let mut dense = vec![0.0; 9];
            sample.iter().enumerate().for_each(|(g, v)| dense[4 * g] = *v);
            let dense = Tensor::from_vec(dense, (3, 3), &Device::Cpu).unwrap();
            let expected = rows.forward(&dense).unwrap();
            let difference =
                (all.narrow(1, s, 1).unwrap() - expected).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-15);
        }
    }
}
