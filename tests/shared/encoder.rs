//! `oncograph-encoder` against torchvision: every stage, all gradients, the buffers and the checkpoint files.

use candle_core::{DType, Device, Tensor};
use libtest_mimic::{Failed, Trial};
use oncograph_encoder::{Checkpoint, VideoResNet, VideoResNetConfig};
use oncograph_nn::pool::adaptive_avg_pool3d;
use oncograph_nn::{ParamStore, Seed};
use oncograph_tests::fixture::{Fixture, trials_of};
use oncograph_tests::trial;
use std::path::Path;

type Outcome = Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let mut trials = trials_of("r3d18_", |f| encoder(f, VideoResNetConfig::r3d_18));
    trials.extend(trials_of("r2plus1d18_", |f| encoder(f, VideoResNetConfig::r2plus1d_18)));
    for file in ["r3d18_small_eval.pth", "r3d18_small_eval.dataparallel.pth.tar"] {
        let path = format!("fixtures/{file}");
        let run = move |root: &Path| checkpoint(root, file);
        trials.push(trial(&format!("checkpoint {file}"), &[&path], run));
    }
    let partial = "fixtures/r3d18_small_eval.legacy_partial.pth";
    trials.push(trial("checkpoint of the old format", &[partial], move |root| old_format(root, partial)));
    trials
}

fn build(f: &Fixture, base: fn(usize) -> VideoResNetConfig) -> Result<(ParamStore, VideoResNet), Failed> {
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
    for name in f.with_prefix("after.").keys() {
        f.check(&format!("after.{name}"), store.get(name).ok_or("no buffer")?.as_tensor())?;
    }
    if !train {
        f.check("out.logits", &model.forward(&x, false)?)?;
        folded(f, &model, &x)?;
    }
    Ok(())
}

/// The norm of every parameter's gradient, stored or not, against the peer's in float64.
fn check_gradient_norms(f: &Fixture, store: &ParamStore, loss: &Tensor) -> Outcome {
    let gradients = store.backward(loss)?;
    let expected = f.scalars["grad_l2norm_and_sum_float64"].as_object().ok_or("no gradient norms")?;
    for (name, value) in expected {
        let norm = value[0].as_f64().ok_or("not a number")?;
        let grad = gradients.get(name).ok_or_else(|| format!("no gradient of {name}"))?;
        let got = grad.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        let close = (got - norm).abs() <= 1e-4 * norm.max(1e-3);
        if !close {
            return Err(format!("{}: gradient norm of {name} is {got}, expected {norm}", f.name).into());
        }
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

fn checkpoint(root: &Path, file: &str) -> Outcome {
    let name = file.split('.').next().unwrap_or(file);
    let f = Fixture::load(root, name)?;
    let (store, model) = build(&f, VideoResNetConfig::r3d_18)?;
    let checkpoint = Checkpoint::read(root.join("fixtures").join(file))?;
    checkpoint.load_strict(&store)?;
    f.check("out.logits", &model.forward(f.tensor("in.x")?, false)?)
}

/// A file of the format before PyTorch 1.6 that holds a part of the case's weights.
fn old_format(root: &Path, file: &str) -> Outcome {
    let f = Fixture::load(root, "r3d18_small_eval")?;
    let (store, _) = build(&f, VideoResNetConfig::r3d_18)?;
    let checkpoint = Checkpoint::read(root.join(file))?;
    let report = checkpoint.load_into(&store)?;
    if report.loaded.is_empty() || !report.unexpected.is_empty() || !report.misshaped.is_empty() {
        return Err(format!("{report:?}").into());
    }
    for name in &report.loaded {
        f.check(&format!("param.{name}"), store.get(name).ok_or("no parameter")?.as_tensor())?;
    }
    Ok(())
}
