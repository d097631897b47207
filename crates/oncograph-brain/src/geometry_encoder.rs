use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use oncograph_gnn::{
    Adjacency, Aggregation, AttentionalAggregation, AttentionalAggregationConfig, MessagePassing, NnConv,
    NnConvConfig, SequentialConfig,
};
use oncograph_graph::Graph;
use oncograph_graph::geometry::{FpsConfig, Points, RadiusGraphConfig, fps, knn, radius_graph};
use oncograph_nn::portable::rows_at;
use oncograph_nn::segment::gather_reduce_weighted;
use oncograph_nn::{Linear, Module, linear, relu};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the edge between two points of a surface carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeInput {
    /// Their distance, 1 number: does not change when the tumour is turned.
    #[default]
    Distance,
    /// The offset from target to source, 3 numbers.
    Offset,
}

/// Configuration of [`GeometryEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GeometryEncoderConfig {
    /// Widths of the levels.
    pub channels: Vec<usize>,
    /// What edges carry.
    pub edge_input: EdgeInput,
    /// Hidden widths of the network that reads edges; 16, none is a linear map (G-07).
    pub edge_hidden: Vec<usize>,
    /// How messages are gathered; their mean (G-07).
    pub aggr: Aggregation,
    /// The radius of the first level, in the unit of the coordinates (G-06).
    pub radius: f64,
    /// By what the radius grows from level to level; 2 (G-06).
    pub radius_factor: f64,
    /// Neighbours of a point at most; 32 (G-06).
    pub max_neighbours: usize,
    /// The share of points that a level keeps; a half (G-06).
    pub ratio: f64,
    /// Whether points are sampled behind the last level, too; true.
    pub sample_last: bool,
    /// Widths of the dense layers.
    pub dense: Vec<usize>,
}

impl Default for GeometryEncoderConfig {
    /// The published widths, for points scaled to the unit sphere.
    fn default() -> Self {
        GeometryEncoderConfig {
            channels: vec![32, 64, 64, 128, 128],
            edge_input: EdgeInput::Distance,
            edge_hidden: vec![16],
            aggr: Aggregation::Mean,
            radius: 0.2,
            radius_factor: 2.0,
            max_neighbours: 32,
            ratio: 0.5,
            sample_last: true,
            dense: vec![256, 128, 32],
        }
    }
}

impl GeometryEncoderConfig {
    /// Sets the widths of the levels.
    pub fn channels(mut self, channels: impl Into<Vec<usize>>) -> Self {
        self.channels = channels.into();
        self
    }

    /// Sets what edges carry and the hidden widths of the network that reads them.
    pub fn edges(mut self, input: EdgeInput, hidden: impl Into<Vec<usize>>) -> Self {
        (self.edge_input, self.edge_hidden) = (input, hidden.into());
        self
    }

    /// Sets how messages are gathered.
    pub fn aggr(mut self, aggr: Aggregation) -> Self {
        self.aggr = aggr;
        self
    }

    /// Sets the first radius, by what it grows, and how many neighbours a point has at most.
    pub fn radius(mut self, radius: f64, factor: f64, max_neighbours: usize) -> Self {
        (self.radius, self.radius_factor, self.max_neighbours) = (radius, factor, max_neighbours);
        self
    }

    /// Sets the share of points that a level keeps, and whether the last one keeps all.
    pub fn ratio(mut self, ratio: f64, sample_last: bool) -> Self {
        (self.ratio, self.sample_last) = (ratio, sample_last);
        self
    }

    /// Sets the widths of the dense layers.
    pub fn dense(mut self, dense: impl Into<Vec<usize>>) -> Self {
        self.dense = dense.into();
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "GeometryEncoder";
        for (field, widths) in [("channels", &self.channels), ("dense", &self.dense)] {
            if widths.is_empty() || widths.contains(&0) {
                let got = format!("{widths:?}");
                return Err(Error::config(NAME, field, "one or more numbers above 0", got));
            }
        }
        for (field, value) in [("radius", self.radius), ("radius_factor", self.radius_factor)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::config(NAME, field, "above 0", value));
            }
        }
        if !(self.ratio > 0.0 && self.ratio <= 1.0) {
            return Err(Error::config(NAME, "ratio", "above 0 and at most 1", self.ratio));
        }
        if self.max_neighbours == 0 {
            return Err(Error::config(NAME, "max_neighbours", "at least 1", 0));
        }
        Ok(())
    }

    /// Makes the encoder.
    ///
    /// # Errors
    /// As [`GeometryEncoderConfig::validate`], or an error of a layer.
    pub fn build(&self, vb: VarBuilder) -> Result<GeometryEncoder> {
        self.validate()?;
        let edge = match self.edge_input {
            EdgeInput::Distance => 1,
            EdgeInput::Offset => 3,
        };
        let widths: Vec<usize> = std::iter::once(3).chain(self.channels.iter().copied()).collect();
        let conv = |(i, w): (usize, &[usize])| {
            let conv = NnConvConfig::new(w[0], w[1], edge).hidden(self.edge_hidden.clone());
            Ok(conv.aggr(self.aggr.clone()).build(vb.pp("convs").pp(i))?)
        };
        let convs = widths.windows(2).enumerate().map(conv).collect::<Result<_>>()?;
        let last = widths.last().copied().unwrap_or(3);
        let gate = AttentionalAggregationConfig::new(SequentialConfig::new([last, 1]));
        let widths: Vec<usize> = std::iter::once(last).chain(self.dense.iter().copied()).collect();
        let layer = |(i, w): (usize, &[usize])| Ok(linear(w[0], w[1], vb.pp("fc").pp(2 * i))?);
        let dense = widths.windows(2).enumerate().map(layer).collect::<Result<_>>()?;
        Ok(GeometryEncoder {
            config: self.clone(),
            convs,
            pool: gate.build(vb.pp("pool"))?,
            dense,
            device: vb.device().clone(),
        })
    }
}

/// The output of [`GeometryEncoder`] for a batch of surfaces.
#[derive(Debug, Clone)]
pub struct GeometryOutput {
    /// u^P \[surfaces, last dense width\].
    pub embedding: Tensor,
    /// a^P for every point of the input \[points\]: the weights of the points that are left after the last level, which
    /// sum to 1 per surface, brought back to all points by the inverse distance to the three nearest (G-08).
    pub attention: Tensor,
}

/// The encoder of the tumour surface, f^P: per level a graph of neighbours within a radius, a convolution whose weights
/// depend on the edge, ReLU, and farthest point sampling; then pooling by attention and dense layers with ReLU between.
///
/// Parameters: `convs.{i}` as PyTorch Geometric's `NNConv`, `pool.gate_nn.0`, `fc.{2j}` the dense layers.
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_brain::GeometryEncoderConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let config = GeometryEncoderConfig::default().channels([8, 8]).dense([4]).radius(0.6, 2.0, 8);
/// let encoder = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let corners = [[0f32, 0., 0.], [1., 0., 0.], [0., 1., 0.], [0., 0., 1.], [0.5, 0.5, 0.], [0.5, 0., 0.5]];
/// let output = encoder.forward(&Tensor::new(&corners, &Device::Cpu)?, &[0; 6])?;
/// assert_eq!((output.embedding.dims(), output.attention.dims()), (&[1, 4][..], &[6][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct GeometryEncoder {
    config: GeometryEncoderConfig,
    convs: Vec<NnConv>,
    pool: AttentionalAggregation,
    dense: Vec<Linear>,
    device: Device,
}

impl GeometryEncoder {
    /// The configuration that the encoder was built from.
    pub fn config(&self) -> &GeometryEncoderConfig {
        &self.config
    }

    /// u^P and a^P.
    ///
    /// # Shapes
    /// `positions` \[points, 3\], best in host memory, where neighbours are searched and from where they are copied to the
    /// encoder's device; `surface_of_point` per point the number of its surface, ascending from 0
    ///
    /// # Errors
    /// An error if the lengths differ, the numbers descend, or a coordinate is not finite.
    pub fn forward(&self, positions: &Tensor, surface_of_point: &[u32]) -> Result<GeometryOutput> {
        let c = &self.config;
        let surfaces = surface_of_point.last().map_or(0, |s| *s as usize + 1);
        let all = host(positions)?;
        let positions = positions.to_device(&self.device)?;
        let (mut at, mut values) = (positions.clone(), all.clone());
        let mut batch = surface_of_point.to_vec();
        let (mut x, mut radius) = (positions.clone(), c.radius);
        for (i, conv) in self.convs.iter().enumerate() {
            let (graph, attributes) = self.level(&at, &values, &batch, radius)?;
            x = relu(&conv.forward_bipartite(&x, &x, &graph, Some(&attributes))?)?;
            if !c.sample_last && i + 1 == self.convs.len() {
                break;
            }
            let kept = fps(&Points::new(&values, 3)?.batch(&batch)?, &FpsConfig::new(c.ratio), None)?;
            (x, at) = (rows_at(&x, &kept)?, rows_at(&at, &kept)?);
            let row = |&p: &u32| values[3 * p as usize..3 * p as usize + 3].to_vec();
            values = kept.iter().flat_map(row).collect();
            batch = kept.iter().map(|&p| batch[p as usize]).collect();
            radius *= c.radius_factor;
        }
        let unjoined = Arc::new(Adjacency::new(batch.len(), batch.len(), &[], &[])?);
        let (pooled, gate) =
            self.pool.forward_with_gate(&x, &Graph::new(unjoined, None, &batch, surfaces)?)?;
        let mut embedding = pooled;
        for (i, layer) in self.dense.iter().enumerate() {
            embedding = layer.forward(&embedding)?;
            if i + 1 < self.dense.len() {
                embedding = relu(&embedding)?;
            }
        }
        let attention = spread(&gate, (&values, &batch), (&all, surface_of_point))?;
        Ok(GeometryOutput { embedding, attention })
    }

    /// The edges of a level and what they carry \[edges, 1 or 3\].
    fn level(
        &self,
        at: &Tensor,
        values: &[f32],
        batch: &[u32],
        radius: f64,
    ) -> Result<(Arc<Adjacency>, Tensor)> {
        let config = RadiusGraphConfig::new(radius).max_num_neighbors(self.config.max_neighbours);
        let edges = radius_graph(&Points::new(values, 3)?.batch(batch)?, &config)?;
        let offset = (rows_at(at, &edges.sources)? - rows_at(at, &edges.targets)?)?;
        let attributes = match self.config.edge_input {
            EdgeInput::Offset => offset,
            // The root of 0, the distance of repeated points, has no finite gradient.
            EdgeInput::Distance => (offset.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?,
        };
        Ok((Arc::new(Adjacency::new(batch.len(), batch.len(), &edges.sources, &edges.targets)?), attributes))
    }
}

/// Values of points left \[left, 1\] to all points \[points\], by the inverse distance to the three nearest left.
fn spread(gate: &Tensor, left: (&[f32], &[u32]), all: (&[f32], &[u32])) -> Result<Tensor> {
    let (left_count, count) = (left.1.len(), all.1.len());
    let near = knn(&Points::new(left.0, 3)?.batch(left.1)?, &Points::new(all.0, 3)?.batch(all.1)?, 3)?;
    let distance = |(&s, &t): (&u32, &u32)| {
        let pair = left.0[3 * s as usize..][..3].iter().zip(&all.0[3 * t as usize..][..3]);
        pair.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    let inverse: Vec<f64> =
        near.sources.iter().zip(&near.targets).map(|e| 1.0 / distance(e).max(1e-9)).collect();
    let mut total = vec![0f64; count];
    near.targets.iter().zip(&inverse).for_each(|(&t, w)| total[t as usize] += w);
    let weights: Vec<f64> = near.targets.iter().zip(&inverse).map(|(&t, w)| w / total[t as usize]).collect();
    let weights =
        Tensor::from_vec(weights, (near.targets.len(), 1), gate.device())?.to_dtype(gate.dtype())?;
    let adjacency = Arc::new(Adjacency::new(left_count, count, &near.sources, &near.targets)?);
    Ok(gather_reduce_weighted(gate, &weights, &adjacency)?.flatten_all()?)
}

/// Coordinates in host memory, for the searches.
fn host(positions: &Tensor) -> Result<Vec<f32>> {
    Ok(positions.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::{assert_gradient_coverage, device};
    use oncograph_nn::{ParamStore, Seed};
    use rand::Rng;

    fn cloud(count: usize, seed: u64) -> Tensor {
        let mut rng = Seed::new(seed).rng();
        let values: Vec<f32> = (0..3 * count).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, (count, 3), &device()).unwrap()
    }

    /// Section 4: with a linear map of edges 92,864 + 70,048 + 129.
    #[test]
    fn parameter_counts_equal_the_specification() {
        let count = |hidden: &[usize], prefix: &str| -> usize {
            let store = ParamStore::new(Seed::new(0));
            let config = GeometryEncoderConfig::default().edges(EdgeInput::Distance, hidden);
            config.build(store.var_builder(DType::F32, &device())).unwrap();
            let those = store.trainable().into_iter().filter(|(n, _)| n.starts_with(prefix));
            those.map(|(_, v)| v.elem_count()).sum()
        };
        assert_eq!(count(&[], "convs."), 92_864);
        assert_eq!(count(&[], "fc."), 70_048);
        assert_eq!(count(&[], "pool."), 129);
        // G-07: some 555 thousand weights with one hidden layer of 16.
        assert_eq!(count(&[16], "convs.") / 1000, 555);
    }

    /// Attention sums to the number of surfaces before it is spread, stays between the smallest and largest weight, and
    /// a surface does not depend on its neighbours in the batch.
    #[test]
    fn surfaces_of_a_batch_do_not_mix() {
        let store = ParamStore::new(Seed::new(3));
        let config = GeometryEncoderConfig::default().channels([6, 5]).dense([4]).radius(0.7, 1.5, 8);
        let encoder = config.build(store.var_builder(DType::F32, &device())).unwrap();
        let (a, b) = (cloud(40, 1), cloud(33, 2));
        let both = Tensor::cat(&[&a, &b], 0).unwrap();
        let batch: Vec<u32> = [vec![0; 40], vec![1; 33]].concat();
        let joint = encoder.forward(&both, &batch).unwrap();
        let alone = encoder.forward(&a, &[0; 40]).unwrap();
        let gap = |x: &Tensor, y: &Tensor| {
            (x - y).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
        };
        assert!(gap(&joint.embedding.narrow(0, 0, 1).unwrap(), &alone.embedding) < 1e-6);
        assert!(gap(&joint.attention.narrow(0, 0, 40).unwrap(), &alone.attention) < 1e-6);
        let weights = alone.attention.to_vec1::<f32>().unwrap();
        assert!(weights.iter().all(|w| *w > 0.0 && *w < 1.0), "{weights:?}");
        // Points that are left keep their own weight: ten of forty after two levels, which sum to 1.
        let mut sorted = weights.clone();
        sorted.sort_by(f32::total_cmp);
        assert!(sorted[39] <= 1.0 && weights.iter().sum::<f32>() > 1.0);
    }

    #[test]
    fn every_parameter_and_the_attention_get_gradients() {
        let store = ParamStore::new(Seed::new(3));
        let config = GeometryEncoderConfig::default().channels([6, 5]).dense([4, 2]).radius(0.7, 1.5, 8);
        let encoder = config.build(store.var_builder(DType::F32, &device())).unwrap();
        let output = encoder.forward(&cloud(30, 4), &[0; 30]).unwrap();
        let loss = (output.embedding.sqr().unwrap().sum_all().unwrap()
            + output.attention.sqr().unwrap().sum_all().unwrap())
        .unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let error = GeometryEncoderConfig::default().ratio(0.0, true).validate().unwrap_err().to_string();
        assert_eq!(error, "GeometryEncoder: ratio must be above 0 and at most 1, got 0");
        assert!(GeometryEncoderConfig::default().radius(f64::NAN, 2.0, 8).validate().is_err());
    }
}
