use crate::{NodeInput, NodeTypeConfig, Result};
use candle_core::{Module, Tensor};
use candle_nn::{Init, Linear, VarBuilder};
use oncograph_nn::{linear, portable};

/// The embedding of one type of nodes.
///
/// - [`NodeInput::Diag`], [`NodeInput::Rows`]: a [`Linear`] of \[H, features\] (`weight`, `bias`). Nodes with one value
///   each would be rows of a diagonal matrix per patient; `W diag(x) + b` is computed from the values alone, column `g` of
///   the weight times `x_g` (M-01).
/// - [`NodeInput::Named`]: `x_g (w + w_g) + b + b_g`, with a [`Linear`] of \[H, 1\] that all nodes share (`value.weight`,
///   `value.bias`) and what each node has beside it (`slopes`, `names` \[features, H\]).
#[derive(Debug, Clone)]
pub struct NodeEmbedding {
    linear: Linear,
    /// Slopes and intercepts of each node.
    own: Option<(Tensor, Tensor)>,
    input: NodeInput,
}

impl NodeEmbedding {
    /// The embedding of `node_type` to `hidden` features.
    ///
    /// # Errors
    /// An error of candle.
    pub fn new(node_type: &NodeTypeConfig, hidden: usize, vb: VarBuilder) -> Result<Self> {
        let (nodes, input) = (node_type.features, node_type.input);
        if input != NodeInput::Named {
            return Ok(NodeEmbedding { linear: linear(nodes, hidden, vb)?, own: None, input });
        }
        let bound = 1.0 / (nodes as f64).sqrt();
        let own = |name| vb.get_with_hints((nodes, hidden), name, Init::Uniform { lo: -bound, up: bound });
        let own = Some((own("slopes")?, own("names")?));
        Ok(NodeEmbedding { linear: linear(1, hidden, vb.pp("value"))?, own, input })
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
        // Node by node `[x_g, 1] [slope; intercept]`: the gradients are matrix products then, not sums over samples, which
        // candle takes element by element.
        let (samples, nodes) = x.dims2()?;
        let mut slope = self.linear.weight().t()?.contiguous()?;
        let h = slope.dim(1)?;
        let mut intercept = match self.linear.bias() {
            Some(bias) => bias.reshape((1, h))?,
            None => slope.zeros_like()?.narrow(0, 0, 1)?,
        };
        if let Some((slopes, names)) = &self.own {
            (slope, intercept) = (slopes.broadcast_add(&slope)?, names.broadcast_add(&intercept)?);
        }
        let [slope, intercept] = [slope, intercept].map(|t| t.broadcast_as((nodes, h))?.unsqueeze(1));
        let map = Tensor::cat(&[slope?, intercept?], 1)?;
        let x = x.t()?.contiguous()?.unsqueeze(2)?;
        let ones = Tensor::ones((nodes, samples, 1), x.dtype(), x.device())?;
        Ok(portable::matmul(&Tensor::cat(&[x, ones], 2)?, &map)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::{device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    #[test]
    fn values_equal_rows_of_a_diagonal_matrix() {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &device());
        let values = NodeEmbedding::new(&NodeTypeConfig::diag("gene", 3), 4, vb.clone()).unwrap();
        let rows = NodeEmbedding::new(&NodeTypeConfig::rows("gene", 3), 4, vb).unwrap();
        let x = pattern(&[2, 3], 1).unwrap();
        let all = values.forward(&x).unwrap();
        assert_eq!(all.dims(), [3, 2, 4]);
        for (s, sample) in x.to_vec2::<f64>().unwrap().into_iter().enumerate() {
            let mut dense = vec![0.0; 9];
            sample.iter().enumerate().for_each(|(g, v)| dense[4 * g] = *v);
            let dense = Tensor::from_vec(dense, (3, 3), &device()).unwrap();
            let expected = rows.forward(&dense).unwrap();
            let difference =
                (all.narrow(1, s, 1).unwrap() - expected).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-15);
        }
    }
    #[test]
    fn named_nodes_share_a_line_and_have_one_of_their_own() {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &device());
        let layer = NodeEmbedding::new(&NodeTypeConfig::named("gene", 3), 4, vb).unwrap();
        let parameter = |name: &str| store.get(name).unwrap().as_tensor().clone();
        let x = pattern(&[2, 3], 1).unwrap();
        let all = layer.forward(&x).unwrap();
        for (s, row) in x.to_vec2::<f64>().unwrap().into_iter().enumerate() {
            for (g, value) in row.into_iter().enumerate() {
                let own = |name: &str| parameter(name).get(g).unwrap();
                let slope = (parameter("value.weight").squeeze(1).unwrap() + own("slopes")).unwrap();
                let expected = ((slope * value).unwrap() + parameter("value.bias")).unwrap() + own("names");
                let got = all.get(g).unwrap().get(s).unwrap();
                let difference = (got - expected.unwrap()).unwrap().abs().unwrap().max_all().unwrap();
                assert!(difference.to_scalar::<f64>().unwrap() < 1e-15);
            }
        }
    }
}
