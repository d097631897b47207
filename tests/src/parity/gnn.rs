//! `oncograph-gnn` against PyTorch Geometric: convolutions, pools and graphs with types.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::{DType, Device, Tensor, Var};
use libtest_mimic::Failed;
use oncograph_gnn::{
    Adjacency, Aggregation, AttentionalAggregationConfig, ConvConfig, EdgeFill, GatConfig, Gatv2Config,
    GcnConfig, HeteroAggregation, HeteroConvConfig, HeteroSageConfig, MessagePassing, NnConvConfig,
    NodeFeatures, Reduce, SageConfig, SequentialConfig, global_pool,
};
use oncograph_graph::{Graph, HeteroBatch, HeteroGraph, Schema};
use oncograph_nn::segment::segment_softmax;
use oncograph_nn::{Activation, ParamStore, Seed, VarBuilder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The operations of this crate.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "sage",
        reference: "torch_geometric.nn.SAGEConv",
        items: &["oncograph_gnn::SageConv", "oncograph_gnn::Aggregation"],
        run: sage,
    },
    Operation {
        name: "gcn",
        reference: "torch_geometric.nn.GCNConv",
        items: &["oncograph_gnn::GcnConv"],
        run: gcn,
    },
    Operation {
        name: "gat",
        reference: "torch_geometric.nn.GATConv",
        items: &["oncograph_gnn::GatConv"],
        run: gat,
    },
    Operation {
        name: "gatv2",
        reference: "torch_geometric.nn.GATv2Conv",
        items: &["oncograph_gnn::Gatv2Conv"],
        run: gatv2,
    },
    Operation {
        name: "nnconv",
        reference: "torch_geometric.nn.NNConv",
        items: &["oncograph_gnn::NnConv"],
        run: nnconv,
    },
    Operation {
        name: "heteroconv",
        reference: "torch_geometric.nn.HeteroConv",
        items: &["oncograph_gnn::HeteroConv"],
        run: heteroconv,
    },
    Operation {
        name: "to_hetero",
        reference: "torch_geometric.nn.to_hetero",
        items: &["oncograph_gnn::HeteroSage"],
        run: to_hetero,
    },
    Operation {
        name: "global_pools",
        reference: "torch_geometric.nn.global_add_pool, global_mean_pool, global_max_pool",
        items: &["oncograph_gnn::global_pool"],
        run: global_pools,
    },
    Operation {
        name: "attentional_aggregation",
        reference: "torch_geometric.nn.aggr.AttentionalAggregation",
        items: &["oncograph_gnn::AttentionalAggregation"],
        run: attentional_aggregation,
    },
    Operation {
        name: "segment_softmax",
        reference: "torch_geometric.utils.softmax",
        items: &["oncograph_nn::segment::segment_softmax"],
        run: softmax,
    },
];

/// A store in the type of the node features.
fn store(f: &Fixture) -> (ParamStore, VarBuilder<'static>) {
    let store = ParamStore::new(Seed::new(0));
    let double = f.with_prefix("in.x").values().any(|x| x.dtype() == DType::F64);
    let vb = store.var_builder(if double { DType::F64 } else { DType::F32 }, &Device::Cpu);
    (store, vb)
}

/// The node features: one set, or sources and targets.
struct Nodes {
    source: Var,
    target: Option<Var>,
}

impl Nodes {
    fn read(f: &Fixture) -> Result<Self, Failed> {
        f.described_by_shapes(&["N", "E", "in_", "in_channels", "out", "out_channels", "bias"]);
        Ok(match f.has("in.x") {
            true => Nodes { source: f.var("in.x")?, target: None },
            false => Nodes { source: f.var("in.x_src")?, target: Some(f.var("in.x_dst")?) },
        })
    }

    fn target(&self) -> &Var {
        self.target.as_ref().unwrap_or(&self.source)
    }

    fn widths(&self) -> Result<(usize, usize), Failed> {
        Ok((self.source.dim(1)?, self.target().dim(1)?))
    }

    fn inputs(&self) -> Vec<(&'static str, &Var)> {
        match &self.target {
            None => vec![("x", &self.source)],
            Some(target) => vec![("x_src", &self.source), ("x_dst", target)],
        }
    }

    /// The edges, from sources to targets whatever the flow.
    fn adjacency(&self, f: &Fixture) -> Result<Arc<Adjacency>, Failed> {
        let [mut sources, mut targets] = edge_list(f, "in.edge_index")?;
        if reversed(f)? {
            if self.target.is_some() {
                return Err(unsupported("flow=target_to_source between two sets of nodes"));
            }
            std::mem::swap(&mut sources, &mut targets);
        }
        let (n_sources, n_targets) = (self.source.dim(0)?, self.target().dim(0)?);
        Ok(Arc::new(Adjacency::new(n_sources, n_targets, &sources, &targets)?))
    }
}

fn reversed(f: &Fixture) -> Result<bool, Failed> {
    match f.text("flow", "source_to_target") {
        "source_to_target" => Ok(false),
        "target_to_source" => Ok(true),
        other => Err(unsupported(format!("flow={other}"))),
    }
}

fn edge_list(f: &Fixture, name: &str) -> Result<[Vec<u32>; 2], Failed> {
    let rows = f.tensor(name)?.to_dtype(DType::U32)?;
    Ok([rows.get(0)?.to_vec1()?, rows.get(1)?.to_vec1()?])
}

fn aggregation(f: &Fixture, key: &str, default: Aggregation) -> Result<Aggregation, Failed> {
    let read = |value: &Value| {
        serde_json::from_value(value.clone()).map_err(|_| unsupported(format!("{key}={value}")))
    };
    match f.option(key) {
        Value::Null => Ok(default),
        Value::Array(parts) => Ok(Aggregation::Concat(parts.iter().map(read).collect::<Result<_, _>>()?)),
        one => read(one),
    }
}

/// Attention dropout acts in training only, and then nothing can be compared.
fn no_dropout(f: &Fixture) -> Outcome {
    let (rate, train) = (f.number("dropout", 0.0), f.bool("train", false) || f.bool("training", false));
    if rate > 0.0 && train { Err(unsupported(format!("dropout={rate} in training"))) } else { Ok(()) }
}

fn sage_config(
    f: &Fixture,
    prefix: &str,
    widths: (usize, usize),
    aggr: Aggregation,
) -> Result<SageConfig, Failed> {
    let has = |name: &str| f.has(&format!("param.{prefix}{name}"));
    let out = f.tensor(&format!("param.{prefix}lin_l.weight"))?.dim(0)?;
    f.described_by_shapes(&["root_weight", "project", "bias"]);
    Ok(SageConfig::bipartite(widths.0, widths.1, out)
        .aggr(aggr)
        .root_weight(has("lin_r.weight"))
        .bias(has("lin_l.bias"))
        .project(has("lin.weight"))
        .normalize(f.bool("normalize", false)))
}

fn sage(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let nodes = Nodes::read(f)?;
    let aggr = aggregation(f, "aggr", Aggregation::Mean)?;
    let conv = sage_config(f, "", nodes.widths()?, aggr)?.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let y = conv.forward_bipartite(&nodes.source, nodes.target(), &nodes.adjacency(f)?, None)?;
    f.check_all(&[("y", &y)], &nodes.inputs(), &store)
}

fn gcn(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let nodes = Nodes::read(f)?;
    f.described_by_shapes(&["edge_weight", "cached"]);
    let conv = GcnConfig::new(nodes.widths()?.0, f.tensor("param.lin.weight")?.dim(0)?)
        .add_self_loops(f.bool("add_self_loops", true))
        .normalize(f.bool("normalize", true))
        .improved(f.bool("improved", false))
        .bias(f.has("param.bias"))
        .build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let weight = if f.has("in.edge_weight") { Some(f.var("in.edge_weight")?) } else { None };
    let given = weight.as_deref();
    let y = conv.forward_bipartite(&nodes.source, nodes.target(), &nodes.adjacency(f)?, given)?;
    let mut inputs = nodes.inputs();
    inputs.extend(weight.as_ref().map(|w| ("edge_weight", w)));
    f.check_all(&[("y", &y)], &inputs, &store)
}

fn edge_fill(f: &Fixture) -> Result<EdgeFill, Failed> {
    let value = f.option("fill_value");
    Ok(match value {
        Value::Null => EdgeFill::Mean,
        Value::Number(n) => EdgeFill::Constant(n.as_f64().ok_or("fill_value")?),
        Value::Array(_) => EdgeFill::Values(serde_json::from_value(value.clone())?),
        word => {
            serde_json::from_value(word.clone()).map_err(|_| unsupported(format!("fill_value={word}")))?
        }
    })
}

/// The edge attributes and how many there are per edge.
fn edge_attributes(f: &Fixture) -> Result<(Option<Var>, usize), Failed> {
    f.described_by_shapes(&["edge_attr", "edge_dim"]);
    if !f.has("in.edge_attr") {
        return Ok((None, 0));
    }
    let attributes = f.var("in.edge_attr")?;
    let count = if attributes.rank() == 1 { 1 } else { attributes.dim(1)? };
    Ok((Some(attributes), count))
}

/// Compares the output, and the attention where the case has it.
fn check_attention(
    f: &Fixture,
    nodes: &Nodes,
    attributes: Option<&Var>,
    store: &ParamStore,
    (y, adjacency, alpha): (Tensor, Arc<Adjacency>, Tensor),
) -> Outcome {
    let mut outputs = vec![("y", &y)];
    if f.has("cot.alpha") {
        outputs.push(("alpha", &alpha));
    } else if f.has("out.alpha") {
        f.check("out.alpha", &alpha)?;
    }
    if f.has("out.alpha_edge_index") {
        let mut rows = [adjacency.sources(), adjacency.targets()];
        if reversed(f)? {
            rows.reverse();
        }
        let rows = Tensor::from_vec(rows.concat(), (2, adjacency.edge_count()), &Device::Cpu)?;
        f.check("out.alpha_edge_index", &rows)?;
    }
    let mut inputs = nodes.inputs();
    inputs.extend(attributes.map(|a| ("edge_attr", a)));
    f.check_all(&outputs, &inputs, store)
}

fn gat_config(f: &Fixture, prefix: &str, widths: (usize, usize), edges: usize) -> Result<GatConfig, Failed> {
    let has = |name: &str| f.has(&format!("param.{prefix}{name}"));
    let (_, heads, out) = f.tensor(&format!("param.{prefix}att_src"))?.dims3()?;
    f.described_by_shapes(&["heads", "out_per_head", "residual", "bias"]);
    no_dropout(f)?;
    let config = match has("lin_src.weight") {
        true => GatConfig::bipartite(widths.0, widths.1, out),
        false => GatConfig::new(widths.0, out),
    };
    Ok(config
        .heads(heads)
        .concat(f.bool("concat", true))
        .negative_slope(f.number("negative_slope", 0.2))
        .add_self_loops(f.bool("add_self_loops", true))
        .edge_attributes(edges, edge_fill(f)?)
        .bias(has("bias"))
        .residual(has("res.weight")))
}

fn gat(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let nodes = Nodes::read(f)?;
    let (attributes, count) = edge_attributes(f)?;
    let conv = gat_config(f, "", nodes.widths()?, count)?.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let adjacency = nodes.adjacency(f)?;
    let given = attributes.as_deref();
    let out = conv.forward_with_attention(&nodes.source, nodes.target(), &adjacency, given)?;
    check_attention(f, &nodes, attributes.as_ref(), &store, out)
}

fn gatv2_config(
    f: &Fixture,
    prefix: &str,
    widths: (usize, usize),
    edges: usize,
) -> Result<Gatv2Config, Failed> {
    let has = |name: &str| f.has(&format!("param.{prefix}{name}"));
    let (_, heads, out) = f.tensor(&format!("param.{prefix}att"))?.dims3()?;
    f.described_by_shapes(&["heads", "out_per_head", "residual", "bias"]);
    no_dropout(f)?;
    let pair = f.option("in_").is_array() || f.has("in.x_src") || !prefix.is_empty();
    let config = match pair {
        true => Gatv2Config::bipartite(widths.0, widths.1, out),
        false => Gatv2Config::new(widths.0, out),
    };
    Ok(config
        .heads(heads)
        .concat(f.bool("concat", true))
        .negative_slope(f.number("negative_slope", 0.2))
        .add_self_loops(f.bool("add_self_loops", true))
        .edge_attributes(edges, edge_fill(f)?)
        .share_weights(f.bool("share_weights", false))
        .bias(has("bias"))
        .residual(has("res.weight")))
}

fn gatv2(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let nodes = Nodes::read(f)?;
    let (attributes, count) = edge_attributes(f)?;
    let config = gatv2_config(f, "", nodes.widths()?, count)?;
    let conv = config.build(vb)?;
    let mut params = f.with_prefix("param.");
    if config.share_weights {
        // The peer lists the one matrix under both names.
        params.retain(|name, _| !name.starts_with("lin_r."));
    }
    store.restore(&params)?;
    let adjacency = nodes.adjacency(f)?;
    let given = attributes.as_deref();
    let out = conv.forward_with_attention(&nodes.source, nodes.target(), &adjacency, given)?;
    check_attention(f, &nodes, attributes.as_ref(), &store, out)
}

/// The widths of the linear layers `prefix0`, `prefix2`, .. of a `nn.Sequential`, and the function between.
fn sequential(f: &Fixture, prefix: &str) -> Result<Option<SequentialConfig>, Failed> {
    let weight = |i: usize| f.tensor(&format!("param.{prefix}{}.weight", 2 * i));
    if !f.has(&format!("param.{prefix}0.weight")) {
        return Ok(None);
    }
    let mut widths = vec![weight(0)?.dim(1)?];
    for i in 0.. {
        let Ok(weight) = weight(i) else { break };
        widths.push(weight.dim(0)?);
    }
    let key = if f.option("act").is_null() { "activation" } else { "act" };
    let activation = match f.text(key, "relu") {
        "relu" => Activation::Relu,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "elu" => Activation::Elu(1.0),
        "gelu" => Activation::Gelu,
        "leaky_relu" => Activation::LeakyRelu(0.01),
        other => return Err(unsupported(format!("{key}={other}"))),
    };
    Ok(Some(SequentialConfig::new(widths).activation(activation)))
}

fn nnconv(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let nodes = Nodes::read(f)?;
    let (attributes, count) = edge_attributes(f)?;
    f.described_by_shapes(&["edge_mlp", "root_weight", "bias"]);
    let nn = sequential(f, "nn.")?.ok_or_else(|| unsupported("an edge network of another form"))?;
    let (in_source, in_target) = nodes.widths()?;
    let conv = NnConvConfig::bipartite(in_source, in_target, nn.out() / in_source, count)
        .hidden(&nn.widths[1..nn.widths.len() - 1])
        .activation(nn.activation)
        .aggr(aggregation(f, "aggr", Aggregation::Sum)?)
        .root_weight(f.has("param.lin.weight"))
        .bias(f.has("param.bias"))
        .build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let given = attributes.as_deref();
    let y = conv.forward_bipartite(&nodes.source, nodes.target(), &nodes.adjacency(f)?, given)?;
    let mut inputs = nodes.inputs();
    inputs.extend(attributes.as_ref().map(|a| ("edge_attr", a)));
    f.check_all(&[("y", &y)], &inputs, &store)
}

/// A graph with types: features `in.x_{type}`, edges `in.ei__{source}__{relation}__{target}`.
struct Typed {
    features: BTreeMap<String, Var>,
    edges: Vec<[String; 3]>,
    schema: Schema,
    batch: HeteroBatch,
}

impl Typed {
    fn read(f: &Fixture) -> Result<Self, Failed> {
        f.described_by_shapes(&["P", "dims", "nodes", "hidden", "out", "bias"]);
        let mut features = BTreeMap::new();
        for name in f.with_prefix("in.x_").into_keys() {
            let x = f.var(&format!("in.x_{name}"))?;
            features.insert(name, x);
        }
        let mut names: Vec<String> = match f.option("edge_types") {
            Value::Null => f.with_prefix("in.ei__").into_keys().collect(),
            given => serde_json::from_value(given.clone())?,
        };
        if f.option("edge_types").is_null() {
            names.sort();
        }
        let triple = |name: &String| -> Result<[String; 3], Failed> {
            let parts: Vec<String> = name.split("__").map(String::from).collect();
            parts.try_into().map_err(|_| format!("edge type {name}").into())
        };
        let edges = names.iter().map(triple).collect::<Result<Vec<_>, _>>()?;
        let mut schema = Schema::new();
        for (name, x) in &features {
            schema = schema.node(name, x.dim(1)?);
        }
        for [s, r, t] in &edges {
            schema = schema.edge(s, r, t, 0);
        }
        let mut graph = HeteroGraph::builder(Arc::new(schema.clone()));
        for (name, x) in &features {
            graph = graph.nodes(name, x.dim(0)?, x.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?);
        }
        for ([s, r, t], name) in edges.iter().zip(&names) {
            let [sources, targets] = edge_list(f, &format!("in.ei__{name}"))?;
            graph = graph.edges((s, r, t), sources, targets, vec![]);
        }
        let batch = HeteroBatch::new(&[&graph.build()?], &Device::Cpu)?;
        Ok(Typed { features, edges, schema, batch })
    }

    fn features(&self) -> NodeFeatures {
        self.features.iter().map(|(name, x)| (name.clone(), x.as_tensor().clone())).collect()
    }

    fn check(&self, f: &Fixture, got: &NodeFeatures, store: &ParamStore) -> Outcome {
        let outputs: Vec<(&str, &Tensor)> = got.iter().map(|(name, y)| (name.as_str(), y)).collect();
        let names: Vec<String> = self.features.keys().map(|name| format!("x_{name}")).collect();
        let inputs: Vec<(&str, &Var)> =
            names.iter().map(String::as_str).zip(self.features.values()).collect();
        f.check_all(&outputs, &inputs, store)
    }
}

fn hetero_aggregation(f: &Fixture, key: &str) -> Result<HeteroAggregation, Failed> {
    match f.option(key) {
        Value::Null => Ok(HeteroAggregation::Sum),
        Value::String(word) if word == "none" || word == "None" => Ok(HeteroAggregation::Stack),
        word => serde_json::from_value(word.clone()).map_err(|_| unsupported(format!("{key}={word}"))),
    }
}

fn heteroconv(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let typed = Typed::read(f)?;
    let mut config = HeteroConvConfig::new().aggr(hetero_aggregation(f, "hetero_aggr")?);
    for [s, r, t] in &typed.edges {
        let prefix = format!("convs.<{s}___{r}___{t}>.");
        let has = |name: &str| f.has(&format!("param.{prefix}{name}"));
        let widths = (typed.features[s].dim(1)?, typed.features[t].dim(1)?);
        let conv: ConvConfig = if has("att_src") {
            gat_config(f, &prefix, widths, 0)?.into()
        } else if has("att") {
            gatv2_config(f, &prefix, widths, 0)?.into()
        } else if has("lin_l.weight") {
            sage_config(f, &prefix, widths, aggregation(f, "aggr", Aggregation::Mean)?)?.into()
        } else {
            return Err(unsupported(format!("the convolution of {s}__{r}__{t}")));
        };
        config = config.conv((s, r, t), conv);
    }
    let conv = config.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    typed.check(f, &conv.forward(&typed.features(), &typed.batch)?, &store)
}

fn to_hetero(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let typed = Typed::read(f)?;
    let first = typed.edges.first().ok_or("no edge types")?.join("__");
    let mut widths = vec![];
    while let Ok(weight) = f.tensor(&format!("param.c{}.{first}.lin_l.weight", widths.len() + 1)) {
        widths.push(weight.dim(0)?);
    }
    let aggr = aggregation(f, "conv_aggr", Aggregation::Mean)?;
    let network = HeteroSageConfig::new(typed.schema.clone(), widths)
        .aggr(hetero_aggregation(f, "aggr")?)
        .conv(sage_config(f, &format!("c1.{first}."), (1, 1), aggr)?)
        .build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    typed.check(f, &network.forward(&typed.features(), &typed.batch)?, &store)
}

/// The graph of each row, from `in.batch`, `in.index` or the offsets `in.ptr`; all rows are one graph without them.
fn membership(f: &Fixture, rows: usize) -> Result<Graph, Failed> {
    f.described_by_shapes(&["sizes"]);
    let graph_of_row: Vec<usize> = if f.has("in.ptr") {
        let offsets = f.indices("in.ptr")?;
        offsets.windows(2).enumerate().flat_map(|(g, w)| vec![g; w[1] - w[0]]).collect()
    } else if let Some(name) = ["in.batch", "in.index"].into_iter().find(|n| f.has(n)) {
        f.indices(name)?
    } else {
        vec![0; rows]
    };
    let least = graph_of_row.iter().max().map_or(0, |g| g + 1);
    let count = ["num_graphs", "size", "num_nodes"].map(|key| f.number(key, 0.0) as usize);
    let graph_of_row: Vec<u32> = graph_of_row.into_iter().map(|g| g as u32).collect();
    let none = Arc::new(Adjacency::new(rows, rows, &[], &[])?);
    Ok(Graph::new(none, None, &graph_of_row, count.into_iter().fold(least, usize::max))?)
}

fn global_pools(f: &Fixture) -> Outcome {
    let x = f.var("in.x")?;
    let graph = membership(f, x.dim(0)?)?;
    let mut pooled = vec![];
    for name in f.with_prefix("out.").into_keys() {
        let reduce = match name.as_str() {
            "add" | "sum" => Reduce::Sum,
            "mean" => Reduce::Mean,
            "max" => Reduce::Max,
            other => return Err(unsupported(format!("pool {other}"))),
        };
        pooled.push((name, global_pool(&x, &graph, reduce)?));
    }
    let outputs: Vec<(&str, &Tensor)> = pooled.iter().map(|(name, y)| (name.as_str(), y)).collect();
    f.check_all(&outputs, &[("x", &x)], &store(f).0)
}

fn attentional_aggregation(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    f.described_by_shapes(&["gate", "nn"]);
    let gate = sequential(f, "gate_nn.")?.ok_or_else(|| unsupported("a gate of another form"))?;
    let mut config = AttentionalAggregationConfig::new(gate);
    if let Some(nn) = sequential(f, "nn.")? {
        // The cases' `nn` is a linear layer and a tanh.
        config = config.nn(nn.activation(Activation::Tanh).output_activation(Activation::Tanh));
    }
    let pool = config.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    let y = pool.forward(&x, &membership(f, x.dim(0)?)?)?;
    f.check_all(&[("y", &y)], &[("x", &x)], &store)
}

fn softmax(f: &Fixture) -> Outcome {
    if f.number("dim", 0.0) != 0.0 {
        return Err(unsupported(format!("dim={}", f.option("dim"))));
    }
    let x = f.var("in.x")?;
    let rows = x.dim(0)?;
    let graph = membership(f, rows)?;
    let y = segment_softmax(&x.reshape((rows, ()))?, graph.membership())?.reshape(x.shape())?;
    f.check_all(&[("y", &y)], &[("x", &x)], &store(f).0)
}
