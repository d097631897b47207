use crate::{Error, GatConv, GcnConv, MessagePassing, Result, SageConv};
use candle_core::Tensor;
use oncograph_nn::portable::ones;
use oncograph_nn::segment::{Adjacency, gather_reduce_weighted};
use std::sync::Arc;

/// A convolution whose messages can be weakened one by one, to find out which of them matter.
///
/// The factor of an edge multiplies the message itself; degrees, normalisation and a node's own term stay as
/// they are, and self loops that the layer adds keep the factor 1.
///
/// # Reference
/// The explain mode of PyTorch Geometric's `MessagePassing`.
pub trait MaskedMessagePassing: MessagePassing {
    /// As [`MessagePassing::forward_bipartite`], with the message of each edge multiplied by its factor.
    ///
    /// # Shapes
    /// `factors` \[edges\] in the order of the edge list; the rest as in [`MessagePassing::forward_bipartite`].
    ///
    /// # Errors
    /// As [`MessagePassing::forward_bipartite`], and [`Error::Input`] for a number of factors other than edges or an
    /// option of the layer under which messages cannot be masked.
    fn forward_masked(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
        factors: &Tensor,
    ) -> Result<Tensor>;
}

fn column(layer: &'static str, factors: &Tensor, edges: usize) -> Result<Tensor> {
    if factors.dims() != [edges] {
        return Err(Error::input(layer, format!("factors [{edges}]"), format!("{:?}", factors.dims())));
    }
    Ok(factors.unsqueeze(1)?)
}

/// The factors of the edges that are no loops, and 1 for the loops: those have been moved to the end.
fn with_loops_unmasked(mask: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
    let loops = adjacency.self_loops();
    let added = (loops.adjacency.edge_count() - loops.kept.len(), 1);
    Ok(Tensor::cat(&[adjacency.of_kept(mask)?, ones(added, mask.dtype(), mask.device())?], 0)?)
}

impl MaskedMessagePassing for GatConv {
    fn forward_masked(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
        factors: &Tensor,
    ) -> Result<Tensor> {
        let mask = column("GatConv", factors, adjacency.edge_count())?;
        let mask = if self.config().add_self_loops { with_loops_unmasked(&mask, adjacency)? } else { mask };
        let (mapped, attended, alpha) = self.attend(source, target, adjacency, edge_attributes)?;
        let weights = alpha.broadcast_mul(&mask)?;
        self.finished(gather_reduce_weighted(&mapped, &weights, &attended)?, target)
    }
}

impl MaskedMessagePassing for GcnConv {
    fn forward_masked(
        &self,
        source: &Tensor,
        _target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
        factors: &Tensor,
    ) -> Result<Tensor> {
        let mask = column("GcnConv", factors, adjacency.edge_count())?;
        let (with_loops, weights) = self.factors(source, adjacency, edge_attributes)?;
        let loops = self.config().add_self_loops && self.config().normalize;
        let mask = if loops { with_loops_unmasked(&mask, adjacency)? } else { mask };
        self.aggregate(source, &with_loops, &(weights * mask)?)
    }
}

impl MaskedMessagePassing for SageConv {
    fn forward_masked(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
        factors: &Tensor,
    ) -> Result<Tensor> {
        let c = self.config();
        if c.closed || c.project {
            let expected = "a layer that is neither closed nor projects";
            return Err(Error::input("SageConv", expected, format!("{c:?}")));
        }
        let mask = column("SageConv", factors, adjacency.edge_count())?;
        let messages = adjacency.of_sources(&source.contiguous()?)?.broadcast_mul(&mask)?;
        // The messages themselves are the sources of a relation with one edge each.
        let arriving = Adjacency::from_segments(adjacency.targets(), adjacency.target_count())?;
        self.forward_bipartite(&messages, target, &Arc::new(arriving), edge_attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aggregation, GatConfig, GcnConfig, SageConfig};
    use candle_core::DType;
    use oncograph_nn::testing::{check_gradients, device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    fn adjacency() -> Arc<Adjacency> {
        // A self loop at 1, a duplicate edge 0 -> 2, node 3 alone.
        Arc::new(Adjacency::new(4, 4, &[0, 0, 1, 1, 2], &[2, 2, 1, 2, 0]).unwrap())
    }

    fn layers() -> Vec<Box<dyn MaskedMessagePassing>> {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &device());
        let sage = |aggr: Aggregation, name: &str| -> Box<dyn MaskedMessagePassing> {
            Box::new(SageConfig::new(3, 2).aggr(aggr).normalize(true).build(vb.pp(name)).unwrap())
        };
        let gcn = |loops| -> Box<dyn MaskedMessagePassing> {
            Box::new(GcnConfig::new(3, 2).add_self_loops(loops).build(vb.pp("gcn")).unwrap())
        };
        vec![
            sage(Aggregation::Sum, "a"),
            sage(Aggregation::Mean, "a"),
            sage(Aggregation::Max, "a"),
            sage(Aggregation::Lstm, "lstm"),
            gcn(true),
            gcn(false),
            Box::new(GatConfig::new(3, 2).heads(2).build(vb.pp("gat")).unwrap()),
            Box::new(
                GatConfig::new(3, 2).add_self_loops(false).residual(true).build(vb.pp("plain")).unwrap(),
            ),
        ]
    }

    #[test]
    fn factors_of_one_change_nothing_and_gradients_flow() {
        let (x, a) = (pattern(&[4, 3], 1).unwrap(), adjacency());
        let ones = Tensor::ones(5, DType::F64, &device()).unwrap();
        for layer in layers() {
            let plain = layer.forward_bipartite(&x, &x, &a, None).unwrap();
            let masked = layer.forward_masked(&x, &x, &a, None, &ones).unwrap();
            let gap = (plain - masked).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(gap < 1e-14, "{gap}");
            let factors = pattern(&[5], 2).unwrap();
            let run = |t: &[Tensor]| -> oncograph_nn::Result<Tensor> {
                let y = layer.forward_masked(&t[0], &t[0], &a, None, &t[1]);
                Ok(y.map_err(candle_core::Error::wrap)?)
            };
            check_gradients(run, &[x.clone(), factors], 1e-6, 1e-6).unwrap();
            assert!(layer.forward_masked(&x, &x, &a, None, &x).is_err());
        }
    }

    #[test]
    fn a_factor_of_zero_silences_the_edge() {
        let (x, a) = (pattern(&[4, 3], 1).unwrap(), adjacency());
        let store = ParamStore::new(Seed::new(1));
        let conv = SageConfig::new(3, 2).aggr(Aggregation::Sum);
        let conv = conv.build(store.var_builder(DType::F64, &device())).unwrap();
        let factors = Tensor::new(&[1f64, 1.0, 1.0, 0.0, 1.0], &device()).unwrap();
        let masked = conv.forward_masked(&x, &x, &a, None, &factors).unwrap().to_vec2::<f64>().unwrap();
        let without = Arc::new(Adjacency::new(4, 4, &[0, 0, 1, 2], &[2, 2, 1, 0]).unwrap());
        let expected = conv.forward_bipartite(&x, &x, &without, None).unwrap().to_vec2::<f64>().unwrap();
        for (a, b) in masked.iter().flatten().zip(expected.iter().flatten()) {
            approx::assert_relative_eq!(*a, *b, epsilon = 1e-12);
        }
    }
}
