//! `oncograph-encoder` against torchvision: every stage, all gradients and the buffers.

use super::{Operation, Outcome};
use crate::fixture::Fixture;
use candle_core::{DType, Device, Tensor};
use libtest_mimic::Failed;
use oncograph_encoder::{VideoResNet, VideoResNetConfig};
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
];

/// The model of a case with its own, not yet the case's, weights.
pub fn build(f: &Fixture, base: fn(usize) -> VideoResNetConfig) -> Result<(ParamStore, VideoResNet), Failed> {
    let store = ParamStore::new(Seed::new(0));
    let config =
        base(f.usize("in_ch")?).base_width(f.usize("base_planes")?).classes(Some(f.usize("classes")?));
    let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
    Ok((store, model))
}

fn encoder(f: &Fixture, base: fn(usize) -> VideoResNetConfig) -> Outcome {
    let (store, model) = build(f, base)?;
    // Strict: the names must be exactly torchvision's.
    store.restore(&f.with_prefix("param."))?;
    let (x, train) = (f.var("in.x")?, f.bool("train", false));
    let pyramid = model.pyramid(&x, train)?;
    let mean = |t: &Tensor| t.flatten_from(2)?.mean(2);
    let last = &pyramid.layers[3];
    let pooled = |cells: usize| -> Result<Tensor, Failed> {
        Ok(adaptive_avg_pool3d(last, [cells; 3])?.flatten_from(1)?)
    };
    let weight = store.get("fc.weight").ok_or("no fc")?;
    let bias = store.get("fc.bias").ok_or("no fc")?;
    let outputs = [
        ("stem", mean(&pyramid.stem)?),
        ("layer1_mean", mean(&pyramid.layers[0])?),
        ("layer2_mean", mean(&pyramid.layers[1])?),
        ("layer3_mean", mean(&pyramid.layers[2])?),
        ("layer4_mean", mean(last)?),
        ("layer4", last.clone()),
        ("pool1", pooled(1)?),
        ("pool2", pooled(2)?),
        ("pool4", pooled(4)?),
        ("logits", pooled(1)?.matmul(&weight.t()?)?.broadcast_add(&bias)?),
    ];
    let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (*n, t)).collect();
    f.check_all(&outputs, &[("x", &x)], &store)?;
    check_gradient_norms(f, &store, &f.loss(&outputs)?)?;
    f.check_buffers(&store)?;
    if !train {
        f.check("out.logits", &model.forward(&x, false)?)?;
        folded(f, &model, &x)?;
    }
    Ok(())
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

fn folded(f: &Fixture, model: &VideoResNet, x: &Tensor) -> Outcome {
    let got = model.folded()?.forward_features(x)?;
    let expected = f.tensor("out.layer4")?;
    let largest = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    let gap = (&got - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    if gap <= 1e-5 * largest {
        return Ok(());
    }
    Err(format!("{}: the folded model is off by {gap} of {largest}", f.name).into())
}
