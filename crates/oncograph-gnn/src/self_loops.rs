use crate::{Aggregation, Error, Result};
use candle_core::Tensor;
use oncograph_nn::segment::Adjacency;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The attributes of the self loops that an attention layer adds (the peer's `fill_value`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EdgeFill {
    /// The mean of the attributes of the edges that arrive; 0 where none does.
    #[default]
    Mean,
    /// Their sum.
    #[serde(alias = "sum")]
    Add,
    /// Their smallest value; 0 where none arrives.
    Min,
    /// Their largest value; 0 where none arrives.
    Max,
    /// Their product; 1 where none arrives.
    Mul,
    /// One number for every attribute.
    Constant(f64),
    /// One number per attribute.
    Values(Vec<f64>),
}

impl EdgeFill {
    /// \[targets, attributes\] for edges of the given targets.
    fn rows(&self, attributes: &Tensor, targets: &[u32], count: usize) -> Result<Tensor> {
        let aggregation = match self {
            EdgeFill::Mean => Aggregation::Mean,
            EdgeFill::Add => Aggregation::Sum,
            EdgeFill::Min => Aggregation::Min,
            EdgeFill::Max => Aggregation::Max,
            EdgeFill::Mul => Aggregation::Mul,
            EdgeFill::Constant(c) => {
                let all = vec![*c; attributes.dim(1)?];
                return EdgeFill::Values(all).rows(attributes, targets, count);
            }
            EdgeFill::Values(values) => {
                let row = Tensor::from_slice(values, (1, values.len()), attributes.device())?;
                let row = row.to_dtype(attributes.dtype())?;
                return Ok(row.broadcast_as((count, attributes.dim(1)?))?.contiguous()?);
            }
        };
        aggregation.apply(attributes, &Arc::new(Adjacency::from_segments(targets, count)?))
    }
}

/// What an attention layer does with edges before it attends to them.
pub(crate) struct AttentionEdges<'a> {
    pub layer: &'static str,
    pub add_self_loops: bool,
    /// Whether loops between two sets of nodes were requested by name.
    pub bipartite: bool,
    /// Attributes per edge; 0 ignores them.
    pub attributes: usize,
    pub fill: &'a EdgeFill,
}

impl AttentionEdges<'_> {
    pub fn validate(&self) -> Result<()> {
        match self.fill {
            EdgeFill::Values(values) if self.attributes > 0 && values.len() != self.attributes => {
                let expected = format!("{} values, one per attribute", self.attributes);
                Err(Error::config(self.layer, "edge_fill", expected, values.len()))
            }
            _ => Ok(()),
        }
    }

    /// The edges that are attended to, and their attributes \[edges, attributes\].
    pub fn prepare(
        &self,
        adjacency: &Arc<Adjacency>,
        given: Option<&Tensor>,
    ) -> Result<(Arc<Adjacency>, Option<Tensor>)> {
        let attributes = match given {
            _ if self.attributes == 0 => None,
            Some(a) if a.elem_count() == adjacency.edge_count() * self.attributes => {
                Some(a.reshape((adjacency.edge_count(), self.attributes))?)
            }
            other => {
                let expected = format!("{} attributes per edge", self.attributes);
                let got = other.map_or("none".into(), |a| format!("{:?}", a.dims()));
                return Err(Error::input(self.layer, expected, got));
            }
        };
        if !self.add_self_loops {
            return Ok((adjacency.clone(), attributes));
        }
        if !self.bipartite && adjacency.source_count() != adjacency.target_count() {
            let got = format!("{} -> {}", adjacency.source_count(), adjacency.target_count());
            return Err(Error::input(self.layer, "one set of nodes with self loops", got));
        }
        let loops = adjacency.self_loops();
        let Some(attributes) = attributes else { return Ok((loops.adjacency.clone(), None)) };
        let kept_attributes = adjacency.of_kept(&attributes)?;
        let targets = &loops.adjacency.targets()[..loops.kept.len()];
        let fill = self.fill.rows(&kept_attributes, targets, adjacency.target_count())?;
        let fill = fill.narrow(0, 0, loops.adjacency.edge_count() - loops.kept.len())?;
        Ok((loops.adjacency.clone(), Some(Tensor::cat(&[kept_attributes, fill], 0)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::device;

    fn filled(fill: &EdgeFill) -> Vec<Vec<f64>> {
        // 1 -> 0 twice, 0 -> 0 and 0 -> 1; nothing but the loop reaches 2.
        let adjacency = Arc::new(Adjacency::new(3, 3, &[1, 0, 1, 0], &[0, 0, 0, 1]).unwrap());
        let attributes = Tensor::new(&[[1f64], [9.], [3.], [5.]], &device()).unwrap();
        let edges =
            AttentionEdges { layer: "test", add_self_loops: true, bipartite: false, attributes: 1, fill };
        edges.validate().unwrap();
        let (adjacency, attributes) = edges.prepare(&adjacency, Some(&attributes)).unwrap();
        assert_eq!(adjacency.sources(), [1, 1, 0, 0, 1, 2]);
        assert_eq!(adjacency.targets(), [0, 0, 1, 0, 1, 2]);
        attributes.unwrap().to_vec2().unwrap()
    }

    #[test]
    fn loops_are_filled() {
        let cases = [
            (EdgeFill::Mean, [2.0, 5.0, 0.0]),
            (EdgeFill::Add, [4.0, 5.0, 0.0]),
            (EdgeFill::Min, [1.0, 5.0, 0.0]),
            (EdgeFill::Max, [3.0, 5.0, 0.0]),
            (EdgeFill::Mul, [3.0, 5.0, 1.0]),
            (EdgeFill::Constant(0.5), [0.5; 3]),
            (EdgeFill::Values(vec![7.0]), [7.0; 3]),
        ];
        for (fill, loops) in cases {
            let expected: Vec<Vec<f64>> = [1.0, 3.0, 5.0].iter().chain(&loops).map(|v| vec![*v]).collect();
            assert_eq!(filled(&fill), expected, "{fill:?}");
        }
    }
}
