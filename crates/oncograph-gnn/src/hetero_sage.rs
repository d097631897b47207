use crate::heteroconv::{HeteroAggregation, HeteroConv, HeteroConvConfig, NodeFeatures};
use crate::{Error, Result, SageConfig};
use candle_nn::VarBuilder;
use oncograph_graph::{HeteroBatch, Schema};
use oncograph_nn::Activation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Configuration of a [`HeteroSage`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeteroSageConfig {
    /// The node types with their features, and the edge types.
    pub schema: Schema,
    /// The width behind each layer; the last one is that of the output.
    pub widths: Vec<usize>,
    /// How the results of edge types with one target type become one; their sum by default.
    pub aggr: HeteroAggregation,
    /// The options of every convolution; its widths are not used.
    pub conv: SageConfig,
    /// The function between the layers; ReLU.
    pub activation: Activation,
}

impl HeteroSageConfig {
    /// Layers of mean aggregation, of these widths, with ReLU between.
    pub fn new(schema: Schema, widths: impl Into<Vec<usize>>) -> Self {
        HeteroSageConfig {
            schema,
            widths: widths.into(),
            aggr: HeteroAggregation::Sum,
            conv: SageConfig::new(1, 1),
            activation: Activation::Relu,
        }
    }

    /// Sets how results of edge types become one.
    pub fn aggr(mut self, aggr: HeteroAggregation) -> Self {
        self.aggr = aggr;
        self
    }

    /// Sets the options of every convolution; its widths are not used.
    pub fn conv(mut self, conv: SageConfig) -> Self {
        self.conv = conv;
        self
    }

    /// Sets the function between the layers.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Checks that there are layers, and that their results have the width of one.
    ///
    /// # Errors
    /// [`Error::Argument`], or an error of the schema.
    pub fn validate(&self) -> Result<()> {
        self.schema.validate()?;
        if self.widths.is_empty() {
            return Err(Error::config("HeteroSage", "widths", "one or more", "none"));
        }
        if matches!(self.aggr, HeteroAggregation::Cat | HeteroAggregation::Stack) {
            let got = format!("{:?}", self.aggr);
            return Err(Error::config("HeteroSage", "aggr", "one that keeps the width", got));
        }
        Ok(())
    }

    /// Builds the network; the parameters of an edge type in layer `i`, from 1, are below
    /// `c{i}.{source}__{relation}__{target}`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid or a layer is left without edges, or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<HeteroSage> {
        self.validate()?;
        let nodes = self.schema.node_types().iter();
        let mut known: BTreeMap<&str, usize> = nodes.map(|n| (n.name.as_str(), n.features)).collect();
        let mut layers = Vec::with_capacity(self.widths.len());
        for (i, &out) in self.widths.iter().enumerate() {
            let mut config = HeteroConvConfig::new().aggr(self.aggr);
            let mut reached = BTreeMap::new();
            for edge in self.schema.edge_types() {
                let (source, target) = (edge.source.as_str(), edge.target.as_str());
                if let (Some(&in_source), Some(&in_target)) = (known.get(source), known.get(target)) {
                    let conv = SageConfig { in_source, in_target, out, ..self.conv.clone() };
                    config = config.conv((source, &edge.relation, target), conv);
                    reached.insert(target, out);
                }
            }
            let vb = vb.pp(format!("c{}", i + 1));
            let name = |part: &str| part.replace([' ', '-', ':'], "_");
            layers.push(config.build_named(|(s, r, t)| vb.pp(name(&format!("{s}__{r}__{t}"))))?);
            known = reached;
        }
        Ok(HeteroSage { layers, activation: self.activation })
    }
}

/// GraphSAGE on a graph with types: in every layer one [`SageConv`](crate::SageConv) per edge type, the results of edge
/// types with one target type aggregated, and an activation between the layers.
///
/// A type of node in which no edge type ends has features for the first layer only, and edge types that start or end in
/// it are left out behind it.
///
/// # Reference
/// PyTorch Geometric's `to_hetero` on a stack of `SAGEConv` named `c1`, `c2`, .. with ReLU between.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use oncograph_gnn::HeteroSageConfig;
/// use oncograph_graph::{HeteroBatch, HeteroGraph, Schema};
/// use oncograph_nn::{ParamStore, Seed};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let schema = Schema::new().node("organ", 2).node("clinical", 1);
/// let schema = schema.edge("clinical", "describes", "organ", 0).edge("organ", "of", "clinical", 0);
/// let store = ParamStore::new(Seed::new(0));
/// let network = HeteroSageConfig::new(schema.clone(), [16, 4]);
/// let network = network.build(store.var_builder(DType::F32, &Device::Cpu))?;
///
/// let graph = HeteroGraph::builder(Arc::new(schema))
///     .nodes("organ", 2, vec![0.5, -1.0, 0.0, 2.0])
///     .nodes("clinical", 1, vec![0.2])
///     .edges(("clinical", "describes", "organ"), vec![0, 0], vec![0, 1], vec![])
///     .edges(("organ", "of", "clinical"), vec![0, 1], vec![0, 0], vec![])
///     .build()?;
/// let batch = HeteroBatch::new(&[&graph], &Device::Cpu)?;
/// let y = network.forward(&batch.feature_map()?, &batch)?;
/// assert_eq!((y["organ"].dims(), y["clinical"].dims()), (&[2, 4][..], &[1, 4][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HeteroSage {
    layers: Vec<HeteroConv>,
    activation: Activation,
}

impl HeteroSage {
    /// New features of the node types in which edges end.
    ///
    /// # Errors
    /// As [`HeteroConv::forward`].
    pub fn forward(&self, features: &NodeFeatures, batch: &HeteroBatch) -> Result<NodeFeatures> {
        let mut features = features.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            features = layer.forward(&features, batch)?;
            if i + 1 < self.layers.len() {
                for x in features.values_mut() {
                    *x = self.activation.forward(x)?;
                }
            }
        }
        Ok(features)
    }
}
