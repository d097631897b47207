use crate::{Error, GatConfig, Gatv2Config, GcnConfig, MessagePassing, NnConvConfig, Result, SageConfig};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_graph::HeteroBatch;
use oncograph_nn::portable::{maximum, minimum, to_dtype};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The features of nodes by their type, \[nodes, features\] each.
pub type NodeFeatures = BTreeMap<String, Tensor>;

/// An edge type: source, relation, target.
pub type EdgeKey = (String, String, String);

/// The configuration of any convolution of this crate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConvConfig {
    /// A [`crate::SageConv`].
    Sage(SageConfig),
    /// A [`crate::GcnConv`]; for edges within one type of node.
    Gcn(GcnConfig),
    /// A [`crate::GatConv`].
    Gat(GatConfig),
    /// A [`crate::Gatv2Conv`].
    Gatv2(Gatv2Config),
    /// An [`crate::NnConv`].
    Nn(NnConvConfig),
}

impl ConvConfig {
    /// Checks that the options fit together.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        match self {
            ConvConfig::Sage(c) => c.validate(),
            ConvConfig::Gcn(c) => c.validate(),
            ConvConfig::Gat(c) => c.validate(),
            ConvConfig::Gatv2(c) => c.validate(),
            ConvConfig::Nn(c) => c.validate(),
        }
    }

    /// Builds the layer with parameters from `vb`.
    ///
    /// # Errors
    /// As the `build` of the configuration.
    pub fn build(&self, vb: VarBuilder) -> Result<Arc<dyn MessagePassing>> {
        Ok(match self {
            ConvConfig::Sage(c) => Arc::new(c.build(vb)?),
            ConvConfig::Gcn(c) => Arc::new(c.build(vb)?),
            ConvConfig::Gat(c) => Arc::new(c.build(vb)?),
            ConvConfig::Gatv2(c) => Arc::new(c.build(vb)?),
            ConvConfig::Nn(c) => Arc::new(c.build(vb)?),
        })
    }
}

macro_rules! from_config {
    ($($kind:ident: $config:ident),*) => {$(
        impl From<$config> for ConvConfig {
            fn from(config: $config) -> Self {
                ConvConfig::$kind(config)
            }
        }
    )*};
}
from_config!(Sage: SageConfig, Gcn: GcnConfig, Gat: GatConfig, Gatv2: Gatv2Config, Nn: NnConvConfig);

/// How the results of several edge types that end in one type of node become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HeteroAggregation {
    /// Their sum.
    #[default]
    #[serde(alias = "add")]
    Sum,
    /// Their mean.
    Mean,
    /// Their largest value per feature; the first among equals receives the gradient.
    Max,
    /// Their smallest value per feature; the first among equals receives the gradient.
    Min,
    /// Their product per feature.
    Mul,
    /// One beside the other, \[nodes, types * F\].
    Cat,
    /// Stacked along a new dimension, \[nodes, types, F\]; the peer's `None`.
    Stack,
}

impl HeteroAggregation {
    /// One tensor from those of all edge types, in their order.
    ///
    /// # Errors
    /// An error of candle if there is none or the shapes differ.
    pub fn apply(&self, results: &[Tensor]) -> Result<Tensor> {
        let fold = |f: fn(&Tensor, &Tensor) -> Result<Tensor>| -> Result<Tensor> {
            let Some((first, rest)) = results.split_first() else {
                return Err(Error::input("HeteroAggregation", "at least one result", "none"));
            };
            rest.iter().try_fold(first.clone(), |acc, x| f(&acc, x))
        };
        Ok(match self {
            HeteroAggregation::Sum => fold(|a, b| Ok((a + b)?))?,
            HeteroAggregation::Mean => (fold(|a, b| Ok((a + b)?))? / results.len() as f64)?,
            HeteroAggregation::Mul => fold(|a, b| Ok((a * b)?))?,
            HeteroAggregation::Max => fold(|a, b| Ok(maximum(a, b)?))?,
            HeteroAggregation::Min => fold(|a, b| Ok(minimum(a, b)?))?,
            HeteroAggregation::Cat => Tensor::cat(results, 1)?,
            HeteroAggregation::Stack => Tensor::stack(results, 1)?,
        })
    }
}

/// Configuration of a [`HeteroConv`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeteroConvConfig {
    /// The convolution of each edge type.
    pub convs: Vec<(EdgeKey, ConvConfig)>,
    /// How the results of edge types with one target type become one; their sum by default.
    pub aggr: HeteroAggregation,
}

impl HeteroConvConfig {
    /// No convolutions, summed.
    pub fn new() -> Self {
        HeteroConvConfig::default()
    }

    /// Adds the convolution of an edge type.
    pub fn conv(mut self, edge: (&str, &str, &str), config: impl Into<ConvConfig>) -> Self {
        self.convs.push(((edge.0.into(), edge.1.into(), edge.2.into()), config.into()));
        self
    }

    /// Sets how results become one.
    pub fn aggr(mut self, aggr: HeteroAggregation) -> Self {
        self.aggr = aggr;
        self
    }

    /// Checks that there are convolutions, that each edge type has one and that their options fit together.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        if self.convs.is_empty() {
            return Err(Error::config("HeteroConv", "convs", "of one edge type or more", "none"));
        }
        for (i, (edge, conv)) in self.convs.iter().enumerate() {
            if self.convs[..i].iter().any(|(other, _)| other == edge) {
                let got = format!("{edge:?} again");
                return Err(Error::config("HeteroConv", "convs", "of each edge type once", got));
            }
            conv.validate()?;
        }
        Ok(())
    }

    /// Builds the layer; the parameters of an edge type are below `convs.<source___relation___target>`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid, or an error of a convolution.
    pub fn build(&self, vb: VarBuilder) -> Result<HeteroConv> {
        let vb = vb.pp("convs");
        // The peer's module names cannot hold a dot.
        self.build_named(|(s, r, t)| vb.pp(format!("<{s}___{r}___{t}>").replace('.', "#")))
    }

    pub(crate) fn build_named<'a>(&self, vb: impl Fn(&EdgeKey) -> VarBuilder<'a>) -> Result<HeteroConv> {
        self.validate()?;
        let build = |(edge, config): &(EdgeKey, ConvConfig)| -> Result<_> {
            Ok((edge.clone(), config.build(vb(edge))?))
        };
        Ok(HeteroConv { convs: self.convs.iter().map(build).collect::<Result<_>>()?, aggr: self.aggr })
    }
}

/// One convolution per edge type; what arrives at a type of node over several edge types is aggregated once more.
///
/// Every edge type has its own root weight, so a node counts itself once per edge type that ends in it. Node types in
/// which no edge type ends are not in the result.
///
/// # Reference
/// PyTorch Geometric's `HeteroConv`, parameters included.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use oncograph_gnn::{HeteroConvConfig, SageConfig};
/// use oncograph_graph::{HeteroBatch, HeteroGraph, Schema};
/// use oncograph_nn::{ParamStore, Seed};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(0));
/// let conv = HeteroConvConfig::new()
///     .conv(("gene", "codes", "protein"), SageConfig::bipartite(2, 1, 8))
///     .conv(("protein", "binds", "protein"), SageConfig::new(1, 8))
///     .build(store.var_builder(DType::F32, &Device::Cpu))?;
///
/// let schema = Schema::new().node("gene", 2).node("protein", 1);
/// let schema = schema.edge("gene", "codes", "protein", 0).edge("protein", "binds", "protein", 0);
/// let graph = HeteroGraph::builder(Arc::new(schema))
///     .nodes("gene", 1, vec![0.5, -1.0])
///     .nodes("protein", 2, vec![0.2, 0.7])
///     .edges(("gene", "codes", "protein"), vec![0], vec![1], vec![])
///     .edges(("protein", "binds", "protein"), vec![0, 1], vec![1, 0], vec![])
///     .build()?;
/// let batch = HeteroBatch::new(&[&graph], &Device::Cpu)?;
/// let y = conv.forward(&batch.feature_map()?, &batch)?;
/// assert_eq!(y["protein"].dims(), [2, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HeteroConv {
    convs: Vec<(EdgeKey, Arc<dyn MessagePassing>)>,
    aggr: HeteroAggregation,
}

impl std::fmt::Debug for HeteroConv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let edges: Vec<_> = self.convs.iter().map(|(edge, _)| edge).collect();
        f.debug_struct("HeteroConv").field("convs", &edges).field("aggr", &self.aggr).finish()
    }
}

impl HeteroConv {
    /// New features of the node types in which edges end; edges and their attributes are those of `batch`.
    ///
    /// # Errors
    /// [`Error::Input`] if a type of node has no features, [`Error::Graph`] for an edge type that the batch lacks, or an
    /// error of a convolution.
    pub fn forward(&self, features: &NodeFeatures, batch: &HeteroBatch) -> Result<NodeFeatures> {
        let mut results: BTreeMap<&str, Vec<Tensor>> = BTreeMap::new();
        let features_of = |ty: &str| {
            let known = features.keys().cloned().collect::<Vec<_>>().join(", ");
            features.get(ty).ok_or_else(|| Error::input("HeteroConv", format!("features of {ty}"), known))
        };
        for ((source, relation, target), conv) in &self.convs {
            let edge = (source.as_str(), relation.as_str(), target.as_str());
            let (from, to) = (features_of(source)?, features_of(target)?);
            let attributes = to_dtype(batch.edge_attributes(edge)?, from.dtype())?;
            let attributes = (attributes.dim(1)? > 0).then_some(attributes);
            let y = conv.forward_bipartite(from, to, batch.adjacency(edge)?, attributes.as_ref())?;
            results.entry(target).or_default().push(y);
        }
        results.into_iter().map(|(ty, all)| Ok((ty.to_string(), self.aggr.apply(&all)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::device;

    #[test]
    fn aggregations_by_hand() {
        let row = |v: [f64; 2]| Tensor::new(&[v], &device()).unwrap();
        let all = [row([1.0, -2.0]), row([3.0, -5.0])];
        let flat = |a: HeteroAggregation| -> Vec<f64> {
            a.apply(&all).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(flat(HeteroAggregation::Sum), [4.0, -7.0]);
        assert_eq!(flat(HeteroAggregation::Mean), [2.0, -3.5]);
        assert_eq!(flat(HeteroAggregation::Max), [3.0, -2.0]);
        assert_eq!(flat(HeteroAggregation::Min), [1.0, -5.0]);
        assert_eq!(flat(HeteroAggregation::Mul), [3.0, 10.0]);
        assert_eq!(flat(HeteroAggregation::Cat), [1.0, -2.0, 3.0, -5.0]);
        assert_eq!(HeteroAggregation::Stack.apply(&all).unwrap().dims(), [1, 2, 2]);
        assert!(HeteroAggregation::Sum.apply(&[]).is_err());
    }

    #[test]
    fn a_nan_is_not_hidden_by_a_maximum() {
        let row = |v: f64| Tensor::new(&[[v]], &device()).unwrap();
        for all in [[row(f64::NAN), row(1.0)], [row(1.0), row(f64::NAN)]] {
            for a in [HeteroAggregation::Max, HeteroAggregation::Min] {
                assert!(a.apply(&all).unwrap().to_vec2::<f64>().unwrap()[0][0].is_nan());
            }
        }
    }

    #[test]
    fn an_edge_type_has_one_convolution() {
        let config = HeteroConvConfig::new().conv(("a", "to", "b"), SageConfig::new(1, 1));
        assert!(config.validate().is_ok());
        let twice = config.conv(("a", "to", "b"), GcnConfig::new(1, 1));
        assert!(twice.validate().unwrap_err().to_string().contains("again"));
        assert!(HeteroConvConfig::new().validate().is_err());
    }
}
