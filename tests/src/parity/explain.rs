//! `oncograph-explain` against captum and PyTorch Geometric.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::{DType, Device, Tensor};
use libtest_mimic::Failed;
use oncograph_explain::{
    GnnExplainer, GnnExplainerCoefficients, GnnExplainerConfig, IntegratedGradientsConfig, Masks,
    ModelResult, NodeMaskType, grad_cam, integrated_gradients, saliency,
};
use oncograph_gnn::{
    Adjacency, Aggregation, GcnConfig, MaskedMessagePassing, Reduce, SageConfig, global_pool,
};
use oncograph_graph::Graph;
use oncograph_nn::conv3d::{Conv3d, Conv3dConfig};
use oncograph_nn::norm::BatchNormConfig;
use oncograph_nn::{
    InterpolateConfig, InterpolateMode, Module, ParamStore, Seed, VarBuilder, interpolate, linear, relu,
};
use std::sync::Arc;

/// The operations of this crate.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "gradcam3d",
        reference: "captum.attr.LayerGradCam, Saliency, IntegratedGradients",
        items: &[
            "oncograph_explain::grad_cam",
            "oncograph_explain::saliency",
            "oncograph_explain::integrated_gradients",
        ],
        run: grad_cams,
    },
    Operation {
        name: "gnnexplainer",
        reference: "torch_geometric.explain.GNNExplainer",
        items: &["oncograph_explain::GnnExplainer", "oncograph_gnn::MaskedMessagePassing"],
        run: gnn_explainer,
    },
];

/// The case's network, cut at either convolution: relu(b1(c1)), relu(c2), global mean, fc.
struct Network {
    convolutions: [Conv3d; 2],
    norm: oncograph_nn::norm::BatchNorm,
    fc: oncograph_nn::Linear,
}

impl Network {
    fn new(f: &Fixture) -> Result<Self, Failed> {
        let store = ParamStore::new(Seed::new(0));
        let vb = store.var_builder(DType::F32, &Device::Cpu);
        let tensor = |name: &str| f.tensor(name).cloned();
        let (classes, features) = tensor("param.fc.weight")?.dims2()?;
        let norm = BatchNormConfig::new(tensor("param.b1.weight")?.elem_count()).build(vb.pp("b1"))?;
        let fc = linear(features, classes, vb.pp("fc"))?;
        // The strides are not among the options: they follow from the sizes of the maps.
        let conv = |name: &str, input: &str| -> Result<Conv3d, Failed> {
            let weight = tensor(&format!("param.{name}.weight"))?;
            let (size, map) = (tensor(input)?, tensor(&format!("out.cam_{name}"))?);
            let sizes = |a: usize| (size.dims()[a + 2], map.dims()[a + 2], weight.dims()[a + 2]);
            let padding: [usize; 3] = std::array::from_fn(|a| sizes(a).2 / 2);
            let stride = (1..=size.dims()[2])
                .find(|s| (0..3).all(|a| (sizes(a).0 + 2 * padding[a] - sizes(a).2) / s + 1 == sizes(a).1));
            let stride = stride.ok_or("no stride gives the size of the map")?;
            let config = Conv3dConfig::new().stride([stride; 3]).padding(padding);
            Ok(Conv3d::from_tensors(weight, Some(tensor(&format!("param.{name}.bias"))?), config)?)
        };
        let convolutions = [conv("c1", "in.x")?, conv("c2", "out.cam_c1")?];
        let own = f.with_prefix("param.").into_iter().filter(|(k, _)| !k.starts_with('c'));
        store.restore(&own.collect())?;
        Ok(Network { convolutions, norm, fc })
    }

    /// The outputs from the map of a convolution on.
    fn head(&self, layer: usize, map: &Tensor) -> ModelResult {
        if layer == 0 {
            let map = relu(&self.norm.forward(map, false)?)?;
            return self.head(1, &self.convolutions[1].forward(&map)?);
        }
        Ok(self.fc.forward(&relu(map)?.flatten_from(2)?.mean(2)?)?)
    }

    fn map(&self, layer: usize, x: &Tensor) -> Result<Tensor, Failed> {
        let first = self.convolutions[0].forward(x)?;
        if layer == 0 {
            return Ok(first);
        }
        Ok(self.convolutions[1].forward(&relu(&self.norm.forward(&first, false)?)?)?)
    }
}

fn grad_cams(f: &Fixture) -> Outcome {
    let network = Network::new(f)?;
    let (x, target) = (f.tensor("in.x")?, f.indices("in.target")?);
    let model = |x: &Tensor| network.head(0, &network.convolutions[0].forward(x)?);
    f.check("out.logits", &model(x)?)?;
    let layers: Vec<String> = serde_json::from_value(f.option("layers").clone())?;
    for name in layers {
        let layer = match name.as_str() {
            "c1" => 0,
            "c2" => 1,
            other => return Err(unsupported(format!("layers={other}"))),
        };
        let map = network.map(layer, x)?;
        let head = |map: &Tensor| network.head(layer, map);
        let cam = grad_cam(&map, &target, false, head)?;
        f.check(&format!("out.cam_{name}"), &cam)?;
        let positive = grad_cam(&map, &target, true, head)?;
        f.check(&format!("out.cam_relu_{name}"), &positive)?;
        let size = InterpolateConfig::to_size(&x.dims()[2..]);
        f.check(&format!("out.up_nearest_{name}"), &interpolate(&positive, &size)?)?;
        let size = size.mode(InterpolateMode::Linear);
        f.check(&format!("out.up_trilinear_{name}"), &interpolate(&positive, &size)?)?;
    }
    f.check("out.saliency", &saliency(x, &target, model)?)?;
    for name in f.with_prefix("out.integrated_gradients_gausslegendre").keys() {
        let config = IntegratedGradientsConfig::new().n_steps(name.parse()?);
        let shares = integrated_gradients(x, &target, None, &config, model)?;
        f.check(&format!("out.integrated_gradients_gausslegendre{name}"), &shares.attributions)?;
    }
    Ok(())
}

/// One convolution of a case: SAGE where it has `lin_l`, else GCN.
fn layer(f: &Fixture, name: &str, vb: VarBuilder) -> Result<Box<dyn MaskedMessagePassing>, Failed> {
    let has = |part: &str| f.has(&format!("param.{name}.{part}"));
    let weight = if has("lin_l.weight") { "lin_l.weight" } else { "lin.weight" };
    let (out, features) = f.tensor(&format!("param.{name}.{weight}"))?.dims2()?;
    if has("lin_l.weight") {
        let aggr = f.text("aggr", "mean");
        let aggr: Aggregation =
            serde_json::from_value(aggr.into()).map_err(|_| unsupported(format!("aggr={aggr}")))?;
        let config = SageConfig::new(features, out).aggr(aggr).root_weight(has("lin_r.weight"));
        let config = config.bias(has("lin_l.bias")).normalize(f.bool("normalize", false));
        return Ok(Box::new(config.build(vb.pp(name))?));
    }
    let config = GcnConfig::new(features, out).add_self_loops(f.bool("add_self_loops", false));
    let config = config.normalize(f.bool("normalize", true)).bias(has("bias"));
    Ok(Box::new(config.improved(f.bool("improved", false)).build(vb.pp(name))?))
}

fn gnn_explainer(f: &Fixture) -> Outcome {
    let x = f.tensor("in.x")?;
    let edges: Vec<u32> = f.indices("in.edge_index")?.iter().map(|i| *i as u32).collect();
    let (sources, targets) = edges.split_at(edges.len() / 2);
    let nodes = x.dims()[0];
    let adjacency = Arc::new(Adjacency::new(nodes, nodes, sources, targets)?);
    let graph = Graph::new(adjacency.clone(), None, &vec![0; nodes], 1)?;
    let store = ParamStore::new(Seed::new(0));
    let vb = store.var_builder(DType::F32, &Device::Cpu);
    let layers = [layer(f, "c1", vb.clone())?, layer(f, "c2", vb)?];
    store.restore(&f.with_prefix("param."))?;
    let whole = f.text("level", "node") == "graph";
    let model = |x: &Tensor, factors: &Tensor| -> ModelResult {
        let hidden = relu(&layers[0].forward_masked(x, x, &adjacency, None, factors)?)?;
        let y = layers[1].forward_masked(&hidden, &hidden, &adjacency, None, factors)?;
        Ok(if whole { global_pool(&y, &graph, Reduce::Mean)? } else { y })
    };
    let kind = match f.option("node_mask_type") {
        serde_json::Value::Null => None,
        kind => Some(serde_json::from_value::<NodeMaskType>(kind.clone())?),
    };
    let coefficients: GnnExplainerCoefficients = match f.option("coeffs") {
        serde_json::Value::Null => GnnExplainerCoefficients::default(),
        given => serde_json::from_value(given.clone()).map_err(|e| unsupported(format!("coeffs: {e}")))?,
    };
    let config = GnnExplainerConfig::new()
        .epochs(f.number("epochs", 100.0) as usize)
        .lr(f.number("lr", 0.01))
        .node_mask_type(kind)
        .edge_mask(f.has("in.edge_mask0"))
        .coefficients(coefficients);
    f.described_by_shapes(&["edge_mask_type"]);
    let index: Option<Vec<usize>> = match f.option("index") {
        serde_json::Value::Null => None,
        serde_json::Value::Array(list) => Some(serde_json::from_value(list.clone().into())?),
        one => Some(vec![one.as_u64().ok_or("index")? as usize]),
    };
    let start = |name: &str| f.has(name).then(|| f.tensor(name).cloned()).transpose();
    let masks = Masks { node: start("in.node_mask0")?, edge: start("in.edge_mask0")? };
    let explainer = GnnExplainer::new(config)?;
    let found = explainer.explain_from(x, adjacency.edge_count(), index.as_deref(), masks, model)?;
    f.check("out.pred", &found.prediction)?;
    f.check("out.losses", &Tensor::new(found.losses, &Device::Cpu)?)?;
    for (name, masks) in [("mask", &found.masks), ("mask_raw", &found.raw), ("hard", &found.hard)] {
        for (what, mask) in [("node", &masks.node), ("edge", &masks.edge)] {
            if let Some(mask) = mask {
                f.check(&format!("out.{what}_{name}"), mask)?;
            }
        }
    }
    Ok(())
}
