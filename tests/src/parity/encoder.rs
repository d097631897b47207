//! `oncograph-encoder` against torchvision and MONAI: every stage, all gradients and the buffers.

use super::{Operation, Outcome};
use crate::fixture::Fixture;
use candle_core::{DType, Device, Tensor, Var};
use libtest_mimic::Failed;
use oncograph_encoder::{MonaiResNetConfig, Pyramid, ShortcutType, VideoResNet, VideoResNetConfig};
use oncograph_nn::pool::adaptive_avg_pool3d;
use oncograph_nn::{ParamStore, Seed};

/// The operations of this crate.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "r3d18",
        reference: "torchvision.models.video.r3d_18",
        items: &["oncograph_encoder::VideoResNetConfig::r3d_18", "oncograph_encoder::VideoResNet"],
        run: |f| encoder(f, VideoResNetConfig::r3d_18),
    },
    Operation {
        name: "r2plus1d18",
        reference: "torchvision.models.video.r2plus1d_18",
        items: &["oncograph_encoder::VideoResNetConfig::r2plus1d_18", "oncograph_encoder::VideoResNet"],
        run: |f| encoder(f, VideoResNetConfig::r2plus1d_18),
    },
    Operation {
        name: "monai_resnet10",
        reference: "monai.networks.nets.resnet10",
        items: &["oncograph_encoder::MonaiResNet"],
        run: |f| monai(f, 10),
    },
    Operation {
        name: "monai_resnet18",
        reference: "monai.networks.nets.resnet18",
        items: &["oncograph_encoder::MonaiResNet"],
        run: |f| monai(f, 18),
    },
    Operation {
        name: "monai_resnet34",
        reference: "monai.networks.nets.resnet34",
        items: &["oncograph_encoder::MonaiResNet"],
        run: |f| monai(f, 34),
    },
    Operation {
        name: "monai_resnet50",
        reference: "monai.networks.nets.resnet50",
        items: &["oncograph_encoder::MonaiResNet"],
        run: |f| monai(f, 50),
    },
];

/// The model of a case with its own, not yet the case's, weights.
pub fn build(f: &Fixture, base: fn(usize) -> VideoResNetConfig) -> Result<(ParamStore, VideoResNet), Failed> {
    let store = ParamStore::new(Seed::new(0));
    let config =
        base(f.usize("in_ch")?).base_width(f.usize("base_planes")?).classes(Some(f.usize("classes")?));
    if let Some(layers) = f.option("layers").as_array() {
        let layers = serde_json::Value::Array(layers.clone());
        let model = config.blocks(serde_json::from_value(layers)?);
        return Ok((store.clone(), model.build(store.var_builder(DType::F32, &Device::Cpu))?));
    }
    let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
    Ok((store, model))
}

fn encoder(f: &Fixture, base: fn(usize) -> VideoResNetConfig) -> Outcome {
    let (store, model) = build(f, base)?;
    // Strict: the names must be exactly torchvision's.
    store.restore(&f.with_prefix("param."))?;
    let (x, train) = (f.var("in.x")?, f.bool("train", false));
    stages(f, &store, &model.pyramid(&x, train)?, &x)?;
    if !train {
        f.check("out.logits", &model.forward(&x, false)?)?;
        folded(f, &model.folded()?.forward_features(&x)?)?;
    }
    Ok(())
}

fn monai(f: &Fixture, depth: usize) -> Outcome {
    // MONAI cuts the gradient of shortcut A off; what it then gets is stored for information.
    f.informative("grad_monai_asis.");
    f.informative("grad.monai_asis.");
    let widths = match f.option("block_inplanes") {
        serde_json::Value::Null => [1, 2, 4, 8].map(|m| m * f.usize("base").unwrap_or(64)),
        given => serde_json::from_value(given.clone())?,
    };
    let shortcut: ShortcutType = serde_json::from_value(f.text("shortcut_type", "B").into())?;
    let classes = f.has("param.fc.bias").then(|| f.tensor("param.fc.bias")).transpose()?;
    let config = MonaiResNetConfig::resnet(depth, f.usize("in_ch")?)?
        .block_inplanes(widths)
        .conv1_t_size(f.triple("conv1_t_size", 7)?)
        .conv1_t_stride(f.triple("conv1_t_stride", 1)?)
        .no_max_pool(f.bool("no_max_pool", false))
        .shortcut_type(shortcut)
        .widen_factor(f.number("widen_factor", 1.0))
        .num_classes(classes.map(|bias| bias.elem_count()))
        .bias_downsample(f.bool("bias_downsample", true));
    let store = ParamStore::new(Seed::new(0));
    let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
    f.described_by_shapes(&["classes", "num_classes", "feed_forward"]);
    store.restore(&f.with_prefix("param."))?;
    let (x, train) = (f.var("in.x")?, f.bool("train", false));
    stages(f, &store, &model.pyramid(&x, train)?, &x)?;
    if !train {
        if f.has("out.logits") {
            f.check("out.logits", &model.forward(&x, false)?)?;
        }
        folded(f, &model.folded()?.forward_features(&x)?)?;
    }
    Ok(())
}

/// The outputs of every stage that the case has, all gradients and the buffers.
fn stages(f: &Fixture, store: &ParamStore, pyramid: &Pyramid, x: &Var) -> Outcome {
    let mean = |t: &Tensor| t.flatten_from(2)?.mean(2);
    let last = &pyramid.layers[3];
    let pooled = |cells: usize| -> Result<Tensor, Failed> {
        Ok(adaptive_avg_pool3d(last, [cells; 3])?.flatten_from(1)?)
    };
    let mut outputs = vec![
        ("stem", mean(&pyramid.stem)?),
        ("layer1_mean", mean(&pyramid.layers[0])?),
        ("layer2_mean", mean(&pyramid.layers[1])?),
        ("layer3_mean", mean(&pyramid.layers[2])?),
        ("layer4_mean", mean(last)?),
        ("layer4", last.clone()),
        ("pool1", pooled(1)?),
        ("pool2", pooled(2)?),
        ("pool4", pooled(4)?),
    ];
    if let (Some(weight), Some(bias)) = (store.get("fc.weight"), store.get("fc.bias")) {
        outputs.push(("logits", pooled(1)?.matmul(&weight.t()?)?.broadcast_add(&bias)?));
    }
    outputs.retain(|(name, _)| f.has(&format!("out.{name}")));
    let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (*n, t)).collect();
    f.check_all(&outputs, &[("x", x)], store)?;
    check_gradient_norms(f, store, &f.loss(&outputs)?)?;
    f.check_buffers(store)
}

/// The norm of every parameter's gradient, stored or not, against the peer's in float64.
fn check_gradient_norms(f: &Fixture, store: &ParamStore, loss: &Tensor) -> Outcome {
    let gradients = store.backward(loss)?;
    for (name, _) in store.trainable() {
        let path = format!("grad_l2norm_and_sum_float64/{name}");
        let expected = f.scalars(&path)?[0];
        let grad = gradients.get(&name).ok_or_else(|| format!("no gradient of {name}"))?;
        let got = grad.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        f.compare(&format!("scalars/{path}"), &[got], &[expected], |e| 1e-4 * e.max(1e-3));
    }
    Ok(())
}

fn folded(f: &Fixture, got: &Tensor) -> Outcome {
    let expected = f.tensor("out.layer4")?;
    let largest = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    let gap = (got - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    if gap <= 1e-5 * largest {
        return Ok(());
    }
    Err(format!("{}: the folded model is off by {gap} of {largest}", f.name).into())
}
