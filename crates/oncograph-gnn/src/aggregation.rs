use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use oncograph_nn::lstm::{Lstm, LstmConfig};
use oncograph_nn::portable::{above, ones, rows_at, where_else};
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce, segment_reduce, segment_softmax};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the messages that arrive at one node become one vector.
///
/// # Reference
/// PyTorch Geometric's `nn.aggr`, with its values where no message arrives: 0, but 1 for the product, and the state
/// after the padding for the LSTM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aggregation {
    /// Their sum.
    #[serde(alias = "add")]
    Sum,
    /// Their mean.
    #[default]
    Mean,
    /// Their largest value per feature; ties share the gradient evenly.
    Max,
    /// Their smallest value per feature; ties share the gradient evenly.
    Min,
    /// Their product per feature.
    Mul,
    /// Their biased variance per feature, `mean(x^2) - mean(x)^2`.
    Var,
    /// The root of the variance, 0 where the variance is 1e-5 or less.
    Std,
    /// Their median per feature, the lower one of two.
    Median,
    /// Their sum weighted by their own softmax per feature, at temperature 1.
    Softmax,
    /// The last state of an LSTM that reads them in the order of the edge list. As in the peer every node's list is
    /// padded with zeros to the largest in-degree and the padding is read too, so that a node's result depends on the
    /// largest degree of its batch.
    Lstm,
    /// Several of them side by side.
    Concat(Vec<Aggregation>),
}

impl From<Reduce> for Aggregation {
    fn from(reduce: Reduce) -> Self {
        match reduce {
            Reduce::Sum => Aggregation::Sum,
            Reduce::Mean => Aggregation::Mean,
            Reduce::Max => Aggregation::Max,
        }
    }
}

impl Aggregation {
    /// Features of the result for `features` per message.
    pub fn out_features(&self, features: usize) -> usize {
        match self {
            Aggregation::Concat(parts) => parts.iter().map(|p| p.out_features(features)).sum(),
            _ => features,
        }
    }

    /// Makes the aggregation for messages of `features` features; only the LSTM has parameters, below `lstm`, and a
    /// concatenation those of its parts, below `aggrs.{i}`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a concatenation of nothing, or an error of candle.
    pub fn build(&self, features: usize, vb: VarBuilder) -> Result<Aggregator> {
        let kind = match self {
            Aggregation::Lstm => Kind::Lstm(LstmConfig::new(features, features).build(vb.pp("lstm"))?),
            Aggregation::Concat(parts) if parts.is_empty() => {
                return Err(Error::config("Aggregation", "Concat", "of at least one part", "none"));
            }
            Aggregation::Concat(parts) => {
                let vb = vb.pp("aggrs");
                let build = |(i, p): (usize, &Aggregation)| p.build(features, vb.pp(i));
                Kind::Concat(parts.iter().enumerate().map(build).collect::<Result<_>>()?)
            }
            plain => Kind::Plain(plain.clone()),
        };
        Ok(Aggregator(kind))
    }

    /// Aggregates, at each target, the features of the sources of its edges.
    ///
    /// # Shapes
    /// `x` \[sources, F\] -> \[targets, F\], for a concatenation \[targets, parts * F\]
    ///
    /// # Errors
    /// [`Error::Input`] for the LSTM, which has parameters ([`Aggregation::build`]); an error of the segment
    /// operations if `x` has not one row per source.
    pub fn apply(&self, x: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        let mean = |x: &Tensor| gather_reduce(x, adjacency, Reduce::Mean);
        Ok(match self {
            Aggregation::Sum => gather_reduce(x, adjacency, Reduce::Sum)?,
            Aggregation::Mean => mean(x)?,
            Aggregation::Max => gather_reduce(x, adjacency, Reduce::Max)?,
            Aggregation::Min => gather_reduce(&x.neg()?, adjacency, Reduce::Max)?.neg()?,
            Aggregation::Mul => product(x, adjacency)?,
            Aggregation::Var => (mean(&x.sqr()?)? - mean(x)?.sqr()?)?,
            Aggregation::Std => {
                let var = Aggregation::Var.apply(x, adjacency)?;
                let spread = above(&var, 1e-5)?;
                // The branch that is not taken must not send an infinity back.
                let one = ones(var.shape(), var.dtype(), var.device())?;
                let root = where_else(&spread, &var, &one)?.sqrt()?;
                where_else(&spread, &root, &var.zeros_like()?)?
            }
            Aggregation::Median => median(x, adjacency)?,
            Aggregation::Softmax => {
                let messages = adjacency.of_sources(x)?;
                let weighted = (segment_softmax(&messages, adjacency)? * messages)?;
                segment_reduce(&weighted, adjacency, Reduce::Sum)?
            }
            Aggregation::Lstm => {
                return Err(Error::input("Aggregation", "one without parameters", "the LSTM"));
            }
            Aggregation::Concat(parts) => {
                let parts = parts.iter().map(|p| p.apply(x, adjacency)).collect::<Result<Vec<_>>>()?;
                Tensor::cat(&parts, 1)?
            }
        })
    }
}

/// An [`Aggregation`] with its parameters.
#[derive(Debug, Clone)]
pub struct Aggregator(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Plain(Aggregation),
    Lstm(Lstm),
    Concat(Vec<Aggregator>),
}

impl Aggregator {
    /// As [`Aggregation::apply`], the LSTM included.
    ///
    /// # Errors
    /// An error of the layers below if `x` has not one row per source and the features of the LSTM.
    pub fn forward(&self, x: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        match &self.0 {
            Kind::Plain(aggregation) => aggregation.apply(x, adjacency),
            Kind::Concat(parts) => {
                let parts = parts.iter().map(|p| p.forward(x, adjacency)).collect::<Result<Vec<_>>>()?;
                Ok(Tensor::cat(&parts, 1)?)
            }
            Kind::Lstm(lstm) => {
                let steps = largest_degree(adjacency);
                if steps == 0 {
                    let shape = (adjacency.target_count(), x.dim(1)?);
                    return Ok(Tensor::zeros(shape, x.dtype(), x.device())?);
                }
                let sequences = padded(x, adjacency, 0.0)?.transpose(0, 1)?.contiguous()?;
                let states = lstm.forward(&sequences)?.output;
                Ok(states.narrow(1, steps - 1, 1)?.squeeze(1)?.contiguous()?)
            }
        }
    }
}

fn largest_degree(adjacency: &Adjacency) -> usize {
    adjacency.in_degrees().into_iter().max().unwrap_or(0)
}

/// \[largest in-degree, targets, F\]: the messages of each target in the order of the edge list, then `fill`.
fn padded(x: &Tensor, adjacency: &Adjacency, fill: f64) -> Result<Tensor> {
    let (steps, targets) = (largest_degree(adjacency), adjacency.target_count());
    let last = Tensor::full(fill as f32, (1, x.dim(1)?), x.device())?.to_dtype(x.dtype())?;
    Ok(adjacency.padded_rows().of(&Tensor::cat(&[x, &last], 0)?)?.reshape((steps, targets, x.dim(1)?))?)
}

fn product(x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
    let shape = (adjacency.target_count(), x.dim(1)?);
    let mut out = ones(shape, x.dtype(), x.device())?;
    if largest_degree(adjacency) > 0 {
        let steps = padded(x, adjacency, 1.0)?;
        for step in 0..steps.dim(0)? {
            out = (out * steps.get(step)?)?;
        }
    }
    Ok(out)
}

/// Picks, per target and feature, the source that holds the lower median; the first in the edge list among equals.
fn median(x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
    let (width, targets) = (x.dim(1)?, adjacency.target_count());
    let columns = x.t()?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let nothing = (x.dim(0)? * width) as u32;
    let mut picked = Vec::with_capacity(targets * width);
    for target in 0..targets {
        let mut order = adjacency.by_target().columns(target).to_vec();
        for (feature, column) in columns.iter().enumerate() {
            order.sort_by(|&a, &b| column[a as usize].total_cmp(&column[b as usize]));
            let middle = order.get(order.len().saturating_sub(1) / 2);
            picked.push(middle.map_or(nothing, |&s| s * width as u32 + feature as u32));
        }
    }
    let zero = Tensor::zeros(1, x.dtype(), x.device())?;
    Ok(rows_at(&Tensor::cat(&[&x.flatten_all()?, &zero], 0)?, &picked)?.reshape((targets, width))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::{check_gradients, device, pattern};

    /// 0, 1, 2, 3 -> 0; 1, 3 -> 1; nothing -> 2.
    fn adjacency() -> Arc<Adjacency> {
        Arc::new(Adjacency::new(4, 3, &[0, 1, 2, 1, 3, 3], &[0, 0, 0, 1, 1, 0]).unwrap())
    }

    fn column(aggregation: Aggregation) -> Vec<f64> {
        let x = Tensor::new(&[[2f64], [5.], [-1.], [4.]], &device()).unwrap();
        aggregation.apply(&x, &adjacency()).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn by_hand() {
        use Aggregation::*;
        assert_eq!(column(Sum), [10.0, 9.0, 0.0]);
        assert_eq!(column(Min), [-1.0, 4.0, 0.0]);
        assert_eq!(column(Mul), [-40.0, 20.0, 1.0]);
        assert_eq!(column(Median), [2.0, 4.0, 0.0]);
        assert_eq!(column(Var), [46.0 / 4.0 - 6.25, 0.25, 0.0]);
        assert_eq!(column(Std), [5.25f64.sqrt(), 0.5, 0.0]);
        let soft = (5.0 * 1f64.exp() + 4.0) / (1f64.exp() + 1.0);
        approx::assert_relative_eq!(column(Softmax)[1], soft, epsilon = 1e-12);
        assert_eq!(column(Concat(vec![Sum, Min])), [10.0, -1.0, 9.0, 4.0, 0.0, 0.0]);
    }

    #[test]
    fn gradients() {
        use Aggregation::*;
        let x = pattern(&[4, 3], 1).unwrap();
        for aggregation in [Min, Mul, Var, Std, Median, Softmax, Concat(vec![Mean, Max])] {
            let f = |x: &[Tensor]| Ok(aggregation.apply(&x[0], &adjacency()).unwrap());
            check_gradients(f, std::slice::from_ref(&x), 1e-6, 1e-7).unwrap();
        }
    }

    #[test]
    fn the_peers_names_are_read() {
        let read = |s: &str| serde_json::from_str::<Aggregation>(s).unwrap();
        assert_eq!((read("\"add\""), read("\"lstm\"")), (Aggregation::Sum, Aggregation::Lstm));
    }
}
