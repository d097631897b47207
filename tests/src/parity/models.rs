//! The systems' networks against the same networks written with PyTorch Geometric.

use super::{Operation, Outcome};
use crate::fixture::Fixture;
use candle_core::{DType, Device, Tensor};
use libtest_mimic::Failed;
use oncograph_brain::{ImageEncoderConfig, NetworkEncoderConfig};
use oncograph_graph::Graph;
use oncograph_nn::segment::Adjacency;
use oncograph_nn::{Activation, ParamStore, Seed};
use oncograph_spatiotemporal::{EdgeMode, Stg, StgConfig, TemporalInput};
use std::sync::Arc;

/// The operations of the systems' crates.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "stg_decoupled",
        reference: "the same model in torch_geometric",
        items: &["oncograph_spatiotemporal::Stg", "oncograph_spatiotemporal::StgConfig::decoupled"],
        run: stg_decoupled,
    },
    Operation {
        name: "stg_unified",
        reference: "the same model in torch_geometric",
        items: &["oncograph_spatiotemporal::Stg", "oncograph_spatiotemporal::StgConfig::full"],
        run: stg_unified,
    },
    Operation {
        name: "glioma_image",
        reference: "the same model in torch",
        items: &["oncograph_brain::ImageEncoder"],
        run: glioma_image,
    },
    Operation {
        name: "glioma_brainnet",
        reference: "the same model in torch_geometric",
        items: &["oncograph_brain::NetworkEncoder"],
        run: glioma_network,
    },
];

/// The batch of a case as one graph.
fn graph(f: &Fixture) -> Result<Graph, Failed> {
    let ends = f.tensor("in.edge_index")?.to_dtype(DType::U32)?.to_vec2::<u32>()?;
    let of_node = f.tensor("in.batch")?.to_dtype(DType::U32)?.to_vec1::<u32>()?;
    let graphs = of_node.iter().max().map_or(0, |g| *g as usize + 1);
    let adjacency = Adjacency::new(of_node.len(), of_node.len(), &ends[0], &ends[1])?;
    let attributes = if f.has("in.edge_attr") { Some(f.tensor("in.edge_attr")?.clone()) } else { None };
    Ok(Graph::new(Arc::new(adjacency), attributes, &of_node, graphs)?)
}

/// What the peer's models have in common: edges without attributes, no ReLU after the last layer of a stack, a cascade.
fn common(f: &Fixture, base: StgConfig) -> Result<StgConfig, Failed> {
    f.described_by_shapes(&["B"]);
    let base = base.features(f.usize("d")?).hidden(f.usize("hidden")?);
    let base = base.time(f.usize("T")?, f.usize("time_dim")?);
    Ok(base.edge_mode(EdgeMode::Ignore).last_linear(true).cascade(true, false))
}

fn stg_decoupled(f: &Fixture) -> Outcome {
    let lstm = f.tensor("param.lstm.weight_hh_l0")?.dim(1)?;
    let config = common(f, StgConfig::decoupled(1).lstm_hidden(lstm))?;
    stg(f, &config.temporal(TemporalInput::Recon3, true), 2 * lstm)
}

fn stg_unified(f: &Fixture) -> Outcome {
    stg(f, &common(f, StgConfig::full(1))?, 0)
}

/// The peer's heads see the `temporal` columns first, ours the spatial ones (section 5).
fn stg(f: &Fixture, config: &StgConfig, temporal: usize) -> Outcome {
    let store = ParamStore::new(Seed::new(0));
    let model = Stg::new(config, store.var_builder(DType::F32, &Device::Cpu))?;
    let mut state = store.snapshot()?;
    state.retain(|name, _| name.starts_with("nodes."));
    for (name, value) in f.with_prefix("param.") {
        let head = name == "rec.weight" || name == "surv.weight";
        state.insert(name, if head { swap(&value, temporal, config.hidden)? } else { value });
    }
    store.restore(&state)?;
    let x = f.var("in.x")?;
    let output = model.forward(&x, &graph(f)?)?;
    let outputs = [("rec", &output.recurrence), ("surv", &output.survival)];
    for (name, value) in outputs {
        f.check(&format!("out.{name}"), value)?;
    }
    let loss = f.loss(&outputs)?;
    let grads = loss.backward()?;
    f.check("grad.in.x", grads.get(&x).ok_or("no gradient of x")?)?;
    for name in f.with_prefix("grad.param.").keys() {
        let parameter = store.get(name).ok_or_else(|| format!("no parameter {name}"))?;
        let grad = grads.get(&parameter).ok_or_else(|| format!("no gradient of {name}"))?;
        let head = name == "rec.weight" || name == "surv.weight";
        let grad = if head { swap(grad, config.hidden, temporal)? } else { grad.clone() };
        f.check(&format!("grad.param.{name}"), &grad)?;
    }
    Ok(())
}

/// The first `a` columns and the `b` after them change places.
fn swap(matrix: &Tensor, a: usize, b: usize) -> Result<Tensor, Failed> {
    let rest = matrix.narrow(1, a + b, matrix.dim(1)? - a - b)?;
    Ok(Tensor::cat(&[matrix.narrow(1, a, b)?, matrix.narrow(1, 0, a)?, rest], 1)?)
}

fn glioma_image(f: &Fixture) -> Outcome {
    let list =
        |key: &str| -> Result<Vec<usize>, Failed> { Ok(serde_json::from_value(f.option(key).clone())?) };
    let channels = f.tensor("in.x")?.dim(1)?;
    let config = ImageEncoderConfig::default().input(channels, [f.usize("size")?; 3]);
    let store = ParamStore::new(Seed::new(0));
    let config = config.channels(list("ch")?).dense(list("fc")?);
    let encoder = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    f.check_all(&[("y", &encoder.forward(&x, false)?)], &[("x", &x)], &store)
}

fn glioma_network(f: &Fixture) -> Outcome {
    f.described_by_shapes(&["nodes", "E"]);
    let channels: Vec<usize> = serde_json::from_value(f.option("ch").clone())?;
    let (nodes, edges) = (f.tensor("in.x")?.dim(1)?, f.tensor("in.edge_attr")?.dim(1)?);
    let config = NetworkEncoderConfig::default().input(nodes, edges).channels(channels);
    let config = config.activation(Activation::Relu, true).heads(f.usize("heads")?);
    let config = config.dense([f.tensor("param.fc.weight")?.dim(0)?]);
    let store = ParamStore::new(Seed::new(0));
    // The peer's only dense layer is `fc`, ours the first of several.
    let vb = store.var_builder(DType::F32, &Device::Cpu).rename_f(|name| match name.strip_prefix("fc.0.") {
        Some(rest) => format!("fc.{rest}"),
        None => name.to_string(),
    });
    let encoder = config.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let (x, attributes) = (f.var("in.x")?, f.var("in.edge_attr")?);
    let plain = graph(f)?;
    let of_node = plain.membership().targets();
    let graph = Graph::new(
        plain.adjacency().clone(),
        Some(attributes.as_tensor().clone()),
        of_node,
        plain.graph_count(),
    )?;
    let y = encoder.forward(&x, &graph)?;
    f.check_all(&[("y", &y)], &[("x", &x), ("edge_attr", &attributes)], &store)
}
