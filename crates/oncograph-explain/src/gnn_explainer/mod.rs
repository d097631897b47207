//! Masks over nodes and edges that keep a graph network's prediction.

mod config;
mod learnt;

pub use config::{GnnExplainerCoefficients, GnnExplainerConfig, MaskReduction, NodeMaskType, Objective};

use crate::{Error, ModelResult, Result};
use candle_core::{D, DType, Tensor};
use learnt::Learnt;
use oncograph_nn::optim::{Adam, AdamConfig, Optimizer};
use oncograph_nn::{Activation, ParamStore, Seed, log_softmax};
use rand::Rng;
use rand_distr::StandardNormal;

const OP: &str = "GnnExplainer";

/// The names of the masks.
const NODE: &str = "node";
const EDGE: &str = "edge";

/// The masks before the sigmoid, as the optimizer starts from or leaves them.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    /// \[nodes, 1\], \[nodes, features\] or \[1, features\].
    pub node: Option<Tensor>,
    /// \[edges\].
    pub edge: Option<Tensor>,
}

/// What [`GnnExplainer`] found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// How much each entry matters, in \[0, 1\]; 0 where [`Explanation::hard`] is.
    pub masks: Masks,
    /// The masks before the sigmoid.
    pub raw: Masks,
    /// 1 (u8) for the entries with any influence on the explained prediction, else 0.
    pub hard: Masks,
    /// The loss of each epoch, before its step.
    pub losses: Vec<f64>,
    /// The outputs of the unmasked model.
    pub prediction: Tensor,
}

/// Finds the nodes, features and edges that a graph network's prediction rests on: masks that keep the prediction while
/// they are small and decided.
///
/// The model is a function of the node features \[nodes, features\] and of a factor per edge \[edges\] with which each
/// message along that edge is multiplied; the layers of `oncograph-gnn` take such factors as
/// `oncograph_gnn::MaskedMessagePassing`.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_explain::{GnnExplainer, GnnExplainerConfig};
/// use oncograph_nn::Seed;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Node 2 hears from node 0 (edge 0) and, ten times as loud, from node 1 (edge 1).
/// let x = Tensor::new(&[[1f32], [1.0], [0.0]], &Device::Cpu)?;
/// let model = |x: &Tensor, edge: &Tensor| {
///     let heard = ((x.get(0)? * edge.narrow(0, 0, 1)?)? + (x.get(1)? * edge.narrow(0, 1, 1)?)? * 10.0)?;
///     Ok(Tensor::cat(&[&heard, &heard.neg()?], 0)?.reshape((1, 2))?)
/// };
/// let explainer = GnnExplainer::new(GnnExplainerConfig::new().epochs(200).node_mask_type(None))?;
/// let found = explainer.explain(&x, 2, None, Seed::new(1), model)?;
/// let edges = found.masks.edge.ok_or("no edge mask")?.to_vec1::<f32>()?;
/// assert!(edges[1] > edges[0]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Ying et al. 2019; `torch_geometric.explain.GNNExplainer`. Where no entry of a mask has any influence PyTorch
/// Geometric returns NaN; here it is [`Error::EmptyHardMask`].
#[derive(Debug, Clone, PartialEq)]
pub struct GnnExplainer {
    config: GnnExplainerConfig,
}

impl GnnExplainer {
    /// An explainer.
    ///
    /// # Errors
    /// As [`GnnExplainerConfig::validate`].
    pub fn new(config: GnnExplainerConfig) -> Result<Self> {
        config.validate()?;
        Ok(GnnExplainer { config })
    }

    /// Explains the model's outputs in the rows `index` (all rows without), starting from random masks.
    ///
    /// # Shapes
    /// `x` \[nodes, features\]; the model's outputs have one row per node, or per graph.
    ///
    /// # Errors
    /// [`Error::Input`] for shapes or rows that do not fit, [`Error::NoGradient`] and [`Error::EmptyHardMask`] for a
    /// prediction that does not depend on what is masked, [`Error::Model`] for an error of the model.
    pub fn explain(
        &self,
        x: &Tensor,
        edges: usize,
        index: Option<&[usize]>,
        seed: Seed,
        model: impl Fn(&Tensor, &Tensor) -> ModelResult,
    ) -> Result<Explanation> {
        let masks = self.initial_masks(x, edges, seed)?;
        self.explain_from(x, edges, index, masks, model)
    }

    /// The random masks that [`GnnExplainer::explain`] starts from: nodes from `0.1 N(0, 1)`, edges from
    /// `sqrt(2) sqrt(2 / (2 nodes)) N(0, 1)`.
    ///
    /// # Errors
    /// [`Error::Input`] if `x` is not a matrix.
    pub fn initial_masks(&self, x: &Tensor, edges: usize, seed: Seed) -> Result<Masks> {
        let draw = |name: &str, shape: &[usize], std: f64| -> Result<Tensor> {
            let mut rng = seed.stream(name).rng();
            let n: usize = shape.iter().product();
            let values: Vec<f64> = (0..n).map(|_| std * rng.sample::<f64, _>(StandardNormal)).collect();
            Ok(Tensor::from_vec(values, shape, x.device())?.to_dtype(x.dtype())?)
        };
        let (nodes, _) = matrix(x)?;
        let node = self.node_shape(x)?.map(|shape| draw("node mask", &shape, 0.1)).transpose()?;
        let std = 2f64.sqrt() * (2.0 / (2 * nodes).max(1) as f64).sqrt();
        let edge = self.config.edge_mask.then(|| draw("edge mask", &[edges], std)).transpose()?;
        Ok(Masks { node, edge })
    }

    fn node_shape(&self, x: &Tensor) -> Result<Option<[usize; 2]>> {
        let (nodes, features) = matrix(x)?;
        Ok(self.config.node_mask_type.map(|kind| match kind {
            NodeMaskType::Object => [nodes, 1],
            NodeMaskType::Attributes => [nodes, features],
            NodeMaskType::CommonAttributes => [1, features],
        }))
    }

    /// [`GnnExplainer::explain`] from given masks.
    ///
    /// # Errors
    /// As [`GnnExplainer::explain`], and [`Error::Input`] for masks of another shape than configured.
    pub fn explain_from(
        &self,
        x: &Tensor,
        edges: usize,
        index: Option<&[usize]>,
        initial: Masks,
        model: impl Fn(&Tensor, &Tensor) -> ModelResult,
    ) -> Result<Explanation> {
        let x = x.detach();
        let ones = oncograph_nn::portable::ones(edges, x.dtype(), x.device())?;
        let prediction = model(&x, &ones).map_err(Error::Model)?.detach();
        let target = self.target(&rows(&prediction, index)?)?;
        let explained = Explained { x: &x, ones: &ones, index, target: &target };
        let store = ParamStore::new(Seed::new(0));
        let node = Learnt::new(NODE, initial.node, self.node_shape(&x)?.map(Vec::from), &store)?;
        let edge = Learnt::new(EDGE, initial.edge, self.config.edge_mask.then(|| vec![edges]), &store)?;
        let mut learnt: Vec<Learnt> = node.into_iter().chain(edge).collect();
        let mut adam = Adam::new(AdamConfig::new(self.config.lr))?;
        let mut losses = Vec::with_capacity(self.config.epochs);
        for epoch in 0..self.config.epochs {
            let loss = self.masked_loss(&explained, &learnt, &model)?;
            losses.push(loss.to_dtype(DType::F64)?.to_scalar::<f64>()?);
            let gradients = store.backward(&loss)?;
            for mask in &mut learnt {
                let what = if mask.what == NODE { "the node mask" } else { "the edge mask" };
                let gradient = gradients.get(mask.what).ok_or(Error::NoGradient { op: OP, what })?;
                if epoch == 0 {
                    mask.find_influence(gradient)?;
                }
            }
            adam.step(&store, &gradients)?;
        }
        let [masks, raw, hard] = std::array::from_fn(|_| Masks::default());
        let mut found = Explanation { masks, raw, hard, losses, prediction };
        learnt.into_iter().try_for_each(|mask| mask.finish(&mut found))?;
        Ok(found)
    }

    /// The loss of the model's outputs with both masks, and the masks' own.
    fn masked_loss(
        &self,
        explained: &Explained<'_>,
        learnt: &[Learnt],
        model: &impl Fn(&Tensor, &Tensor) -> ModelResult,
    ) -> Result<Tensor> {
        let &Explained { x, ones, index, target } = explained;
        let (mut masked, mut factors) = (x.clone(), ones.clone());
        for mask in learnt {
            let values = Activation::Sigmoid.forward(&mask.tensor)?;
            match mask.what {
                NODE => masked = x.broadcast_mul(&values)?,
                _ => factors = values,
            }
        }
        let outputs = model(&masked, &factors).map_err(Error::Model)?;
        let mut loss = self.loss(&rows(&outputs, index)?, target)?;
        for mask in learnt {
            if let Some(term) = self.regularisation(mask)? {
                loss = (loss + term)?;
            }
        }
        Ok(loss)
    }

    /// What the masked outputs are held to, from the unmasked ones.
    fn target(&self, outputs: &Tensor) -> Result<Tensor> {
        Ok(match self.config.objective {
            Objective::Multiclass => {
                if outputs.rank() != 2 {
                    return Err(Error::input(OP, "logits [rows, classes]", outputs.dims()));
                }
                outputs.argmax(D::Minus1)?.unsqueeze(1)?
            }
            Objective::Binary => outputs.gt(0.0)?.to_dtype(outputs.dtype())?,
            Objective::Regression => outputs.clone(),
        })
    }

    fn loss(&self, outputs: &Tensor, target: &Tensor) -> Result<Tensor> {
        Ok(match self.config.objective {
            Objective::Multiclass => log_softmax(outputs, D::Minus1)?.gather(target, 1)?.mean_all()?.neg()?,
            Objective::Binary => {
                // max(z, 0) - z t + log(1 + exp(-|z|)), which does not overflow.
                let rest = (outputs.abs()?.neg()?.exp()? + 1.0)?.log()?;
                ((oncograph_nn::relu(outputs)? - (outputs * target)?)? + rest)?.mean_all()?
            }
            Objective::Regression => (outputs - target)?.sqr()?.mean_all()?,
        })
    }

    /// Size and entropy of a mask's entries with influence; nothing in the first epoch, which finds them.
    fn regularisation(&self, mask: &Learnt) -> Result<Option<Tensor>> {
        let Some(places) = &mask.places else { return Ok(None) };
        let c = &self.config.coefficients;
        let (size, reduction, entropy) = match mask.what {
            EDGE => (c.edge_size, c.edge_reduction, c.edge_ent),
            _ => (c.node_feat_size, c.node_feat_reduction, c.node_feat_ent),
        };
        let m = Activation::Sigmoid.forward(&mask.tensor.flatten_all()?.index_select(places, 0)?)?;
        let rest = m.affine(-1.0, 1.0)?;
        let log = |t: &Tensor| (t + c.eps)?.log();
        let ent = ((&m * log(&m)?)? + (&rest * log(&rest)?)?)?.neg()?.mean_all()?;
        Ok(Some(((reduction.of(&m)? * size)? + (ent * entropy)?)?))
    }
}

/// What is masked and what the masked outputs are held to.
struct Explained<'a> {
    x: &'a Tensor,
    /// The factors of the edges without a mask.
    ones: &'a Tensor,
    index: Option<&'a [usize]>,
    target: &'a Tensor,
}

fn matrix(x: &Tensor) -> Result<(usize, usize)> {
    x.dims2().map_err(|_| Error::input(OP, "node features [nodes, features]", x.dims()))
}

/// The rows that are explained.
fn rows(outputs: &Tensor, index: Option<&[usize]>) -> Result<Tensor> {
    let Some(index) = index else { return Ok(outputs.clone()) };
    let count = outputs.dims().first().copied().unwrap_or(0);
    if index.is_empty() || index.iter().any(|i| *i >= count) {
        return Err(Error::input(OP, format!("rows below {count}"), index));
    }
    let index: Vec<u32> = index.iter().map(|i| *i as u32).collect();
    let count = index.len();
    Ok(outputs.contiguous()?.index_select(&Tensor::from_vec(index, count, outputs.device())?, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::{device, pattern};

    /// Node 0 hears node 1 (edge 0) and node 2 (edge 1); nodes 3 and 4 talk to each other only (edges 2, 3).
    fn model(x: &Tensor, edge: &Tensor) -> ModelResult {
        let factor = |e: usize| edge.narrow(0, e, 1);
        let heard =
            ((x.get(1)?.broadcast_mul(&factor(0)?)? * 3.0)? + x.get(2)?.broadcast_mul(&factor(1)?)?)?;
        let other = (x.get(3)?.broadcast_mul(&factor(2)?)? + x.get(4)?.broadcast_mul(&factor(3)?)?)?;
        Ok(Tensor::stack(&[&heard, &other], 0)?)
    }

    fn x() -> Tensor {
        Tensor::new(&[[0f64, 0.0], [1.0, 0.2], [0.9, 0.1], [0.4, 0.7], [0.3, 0.3]], &device()).unwrap()
    }

    #[test]
    fn what_has_no_influence_is_zero_and_the_loss_falls() {
        for kind in [NodeMaskType::Object, NodeMaskType::Attributes, NodeMaskType::CommonAttributes] {
            let config = GnnExplainerConfig::new().epochs(60).lr(0.1).node_mask_type(Some(kind));
            let explainer = GnnExplainer::new(config).unwrap();
            let found = explainer.explain(&x(), 4, Some(&[0]), Seed::new(3), model).unwrap();
            assert_eq!(found.hard.edge.as_ref().unwrap().to_vec1::<u8>().unwrap(), [1, 1, 0, 0]);
            let edge = found.masks.edge.as_ref().unwrap().to_vec1::<f64>().unwrap();
            assert!(edge[2..] == [0.0, 0.0] && edge[..2].iter().all(|m| *m > 0.0 && *m < 1.0));
            if kind == NodeMaskType::Object {
                let nodes = found.hard.node.as_ref().unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
                assert_eq!(nodes, [0, 1, 1, 0, 0]);
            }
            assert_eq!(found.losses.len(), 60);
            assert!(found.losses[59] < found.losses[1], "{:?}", found.losses);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_masks_and_edges_can_be_left_alone() {
        let config = GnnExplainerConfig::new().epochs(3).edge_mask(false);
        let explainer = GnnExplainer::new(config).unwrap();
        let run = |seed| {
            let found = explainer.explain(&x(), 4, None, Seed::new(seed), model).unwrap();
            assert!(found.masks.edge.is_none());
            found.masks.node.unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn other_objectives_have_their_own_targets() {
        for objective in [Objective::Binary, Objective::Regression] {
            let config = GnnExplainerConfig::new().epochs(40).lr(0.1).objective(objective);
            let explainer = GnnExplainer::new(config).unwrap();
            let found = explainer.explain(&x(), 4, Some(&[0, 1]), Seed::new(1), model).unwrap();
            assert!(found.losses.iter().all(|l| l.is_finite()) && found.losses[39] < found.losses[1]);
        }
    }

    #[test]
    fn what_cannot_be_explained_is_named() {
        let explainer = GnnExplainer::new(GnnExplainerConfig::new()).unwrap();
        // Units that are off let nothing through.
        let none = |x: &Tensor, edge: &Tensor| -> ModelResult {
            Ok(oncograph_nn::relu(&(x.broadcast_mul(&edge.narrow(0, 0, 1)?)? - 10.0)?)?)
        };
        let error = explainer.explain(&x(), 4, None, Seed::new(1), none).unwrap_err();
        assert!(matches!(error, Error::EmptyHardMask { what: "node" }), "{error}");
        let deaf = |_: &Tensor, _: &Tensor| -> ModelResult { Ok(pattern(&[1, 2], 1)?) };
        let error = explainer.explain(&x(), 4, None, Seed::new(1), deaf).unwrap_err();
        assert!(matches!(error, Error::NoGradient { .. }), "{error}");
        assert!(explainer.explain(&x(), 4, Some(&[2]), Seed::new(1), model).is_err());
        assert!(explainer.explain_from(&x(), 4, None, Masks::default(), model).is_err());
        assert!(GnnExplainer::new(GnnExplainerConfig::new().epochs(0)).is_err());
        assert!(GnnExplainer::new(GnnExplainerConfig::new().node_mask_type(None).edge_mask(false)).is_err());
    }
}
