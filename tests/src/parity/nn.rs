//! `oncograph-nn` against PyTorch: values, gradients, buffers, optimizer trajectories and schedules.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::{DType, Device, Tensor, Var};
use libtest_mimic::Failed;
use oncograph_nn::conv3d::{Conv3dConfig, Conv3dLayerConfig, PaddingMode};
use oncograph_nn::lstm::LstmConfig;
use oncograph_nn::norm::{BatchNormConfig, GroupNormConfig, InstanceNormConfig};
use oncograph_nn::optim::*;
use oncograph_nn::pool::*;
use oncograph_nn::scheduler::*;
use oncograph_nn::{ParamStore, Seed, VarBuilder};
use serde_json::Value;

/// The operations of this crate.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "conv3d",
        reference: "torch.nn.Conv3d",
        items: &["oncograph_nn::conv3d::Conv3d"],
        run: conv3d,
    },
    Operation {
        name: "max_pool3d",
        reference: "torch.nn.functional.max_pool3d",
        items: &["oncograph_nn::pool::max_pool3d"],
        run: |f| pool(f, max_pool3d),
    },
    Operation {
        name: "avg_pool3d",
        reference: "torch.nn.functional.avg_pool3d",
        items: &["oncograph_nn::pool::avg_pool3d"],
        run: |f| pool(f, avg_pool3d),
    },
    Operation {
        name: "adaptive_avg_pool3d",
        reference: "torch.nn.functional.adaptive_avg_pool3d",
        items: &["oncograph_nn::pool::adaptive_avg_pool3d"],
        run: |f| adaptive(f, adaptive_avg_pool3d),
    },
    Operation {
        name: "adaptive_max_pool3d",
        reference: "torch.nn.functional.adaptive_max_pool3d",
        items: &["oncograph_nn::pool::adaptive_max_pool3d"],
        run: |f| adaptive(f, adaptive_max_pool3d),
    },
    Operation {
        name: "batchnorm3d",
        reference: "torch.nn.BatchNorm3d",
        items: &["oncograph_nn::norm::BatchNorm"],
        run: batch_norm,
    },
    Operation {
        name: "batchnorm1d",
        reference: "torch.nn.BatchNorm1d",
        items: &["oncograph_nn::norm::BatchNorm"],
        run: batch_norm,
    },
    Operation {
        name: "groupnorm_instancenorm3d",
        reference: "torch.nn.GroupNorm, torch.nn.InstanceNorm3d",
        items: &["oncograph_nn::norm::GroupNorm", "oncograph_nn::norm::InstanceNorm"],
        run: group_and_instance_norm,
    },
    Operation { name: "lstm", reference: "torch.nn.LSTM", items: &["oncograph_nn::lstm::Lstm"], run: lstm },
    Operation {
        name: "optimizers",
        reference: "torch.optim.SGD, Adam, AdamW, RMSprop",
        items: &[
            "oncograph_nn::optim::Sgd",
            "oncograph_nn::optim::Adam",
            "oncograph_nn::optim::AdamW",
            "oncograph_nn::optim::RmsProp",
        ],
        run: optimizers,
    },
    Operation {
        name: "lr_schedulers",
        reference: "torch.optim.lr_scheduler",
        items: &[
            "oncograph_nn::scheduler::ReduceLrOnPlateau",
            "oncograph_nn::scheduler::CosineAnnealingLr",
            "oncograph_nn::scheduler::CosineAnnealingWarmRestarts",
            "oncograph_nn::scheduler::OneCycleLr",
            "oncograph_nn::scheduler::StepLr",
            "oncograph_nn::scheduler::MultiStepLr",
            "oncograph_nn::scheduler::ExponentialLr",
            "oncograph_nn::scheduler::LinearLr",
        ],
        run: schedulers,
    },
];

fn store() -> (ParamStore, VarBuilder<'static>) {
    let store = ParamStore::new(Seed::new(0));
    let vb = store.var_builder(DType::F32, &Device::Cpu);
    (store, vb)
}

fn conv3d(f: &Fixture) -> Outcome {
    let (store, vb) = store();
    let conv = Conv3dConfig::new()
        .stride(f.triple("stride", 1)?)
        .padding(f.triple("padding", 0)?)
        .dilation(f.triple("dilation", 1)?)
        .groups(f.number("groups", 1.0) as usize);
    let mode = match f.text("padding_mode", "zeros") {
        "replicate" => PaddingMode::Replicate,
        "zeros" => PaddingMode::Zeros,
        other => return Err(unsupported(format!("padding_mode={other}"))),
    };
    f.described_by_shapes(&["bias"]);
    let config = Conv3dLayerConfig::new(f.usize("cin")?, f.usize("cout")?, f.triple("kernel_size", 1)?);
    let config = config.conv(conv).padding_mode(mode).bias(f.has("param.bias"));
    let layer = config.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    f.check_all(&[("y", &layer.forward(&x)?)], &[("x", &x)], &store)
}

fn pool(f: &Fixture, run: fn(&Tensor, &Pool3dConfig) -> oncograph_nn::Result<Tensor>) -> Outcome {
    let kernel = f.triple("k", 1)?;
    let stride = if f.option("s").is_null() { kernel } else { f.triple("s", 1)? };
    let config = Pool3dConfig::new(kernel)
        .stride(stride)
        .padding(f.triple("p", 0)?)
        .ceil_mode(f.bool("ceil_mode", false))
        .count_include_pad(f.bool("count_include_pad", true));
    let x = f.var("in.x")?;
    f.check_all(&[("y", &run(&x, &config)?)], &[("x", &x)], &store().0)
}

fn adaptive(f: &Fixture, run: fn(&Tensor, [usize; 3]) -> oncograph_nn::Result<Tensor>) -> Outcome {
    let x = f.var("in.x")?;
    f.check_all(&[("y", &run(&x, f.triple("output_size", 1)?)?)], &[("x", &x)], &store().0)
}

fn batch_norm(f: &Fixture) -> Outcome {
    let (store, vb) = store();
    let mut config = BatchNormConfig::new(f.tensor("param.running_mean")?.elem_count());
    // A momentum of null is a choice (the cumulative mean), an absent one the default.
    let options = f.options();
    if let Some(momentum) = options.get("momentum") {
        config = config.momentum(momentum.as_f64());
    }
    if let Some(eps) = options["eps"].as_f64() {
        config = config.eps(eps);
    }
    let layer = config.affine(f.has("param.weight")).build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    let y = layer.forward(&x, f.bool("train", true))?;
    f.check_all(&[("y", &y)], &[("x", &x)], &store)?;
    f.check_buffers(&store)
}

fn group_and_instance_norm(f: &Fixture) -> Outcome {
    let (store, vb) = store();
    let channels = f.tensor("in.x")?.dims()[1];
    let groups = f.number("num_groups", 2.0) as usize;
    let group = GroupNormConfig::new(groups, channels).build(vb.pp("gn"))?;
    let instance = InstanceNormConfig::new(channels).affine(true).build(vb.pp("inn"))?;
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    f.check_all(&[("gn", &group.forward(&x)?), ("inn", &instance.forward(&x)?)], &[("x", &x)], &store)
}

fn lstm(f: &Fixture) -> Outcome {
    let (store, vb) = store();
    let layer = LstmConfig::new(f.usize("I")?, f.usize("H")?)
        .num_layers(f.number("num_layers", 1.0) as usize)
        .bidirectional(f.bool("bidirectional", false))
        .batch_first(f.bool("batch_first", false))
        .bias(f.has("param.bias_ih_l0"))
        .build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let lengths: Option<Vec<usize>> = serde_json::from_value(f.option("lengths").clone())?;
    f.described_by_shapes(&["B", "T", "bias"]);
    let x = f.var("in.x")?;
    let state = if f.has("in.h0") { Some((f.var("in.h0")?, f.var("in.c0")?)) } else { None };
    let given = state.as_ref().map(|(h, c)| (h.as_tensor(), c.as_tensor()));
    let out = layer.forward_with(&x, given, lengths.as_deref())?;
    let mut inputs: Vec<(&str, &Var)> = vec![("x", &x)];
    if let Some((h, c)) = &state {
        inputs.extend([("h0", h), ("c0", c)]);
    }
    f.check_all(&[("y", &out.output), ("hn", &out.hidden), ("cn", &out.cell)], &inputs, &store)
}

fn optimizer(name: &str, options: &Value) -> Result<Box<dyn Optimizer>, Failed> {
    let number = |key: &str, default: f64| options[key].as_f64().unwrap_or(default);
    let switch = |key: &str| options[key].as_bool().unwrap_or(false);
    let betas: (f64, f64) = match options.get("betas") {
        Some(betas) => serde_json::from_value(betas.clone())?,
        None => (0.9, 0.999),
    };
    let (lr, eps, decay) = (number("lr", 1e-3), number("eps", 1e-8), options["weight_decay"].as_f64());
    if name.starts_with("adamw") {
        let config = AdamWConfig::new(lr).betas(betas.0, betas.1).eps(eps).amsgrad(switch("amsgrad"));
        Ok(Box::new(AdamW::new(config.weight_decay(decay.unwrap_or(0.01)))?))
    } else if name.starts_with("adam") {
        let config = AdamConfig::new(lr).betas(betas.0, betas.1).eps(eps).amsgrad(switch("amsgrad"));
        Ok(Box::new(Adam::new(config.weight_decay(decay.unwrap_or(0.0)))?))
    } else if name.starts_with("rmsprop") {
        let config =
            RmsPropConfig::new(lr).alpha(number("alpha", 0.99)).eps(eps).centered(switch("centered"));
        let config = config.momentum(number("momentum", 0.0)).weight_decay(decay.unwrap_or(0.0));
        Ok(Box::new(RmsProp::new(config)?))
    } else if name.starts_with("sgd") {
        let config = SgdConfig::new(lr).momentum(number("momentum", 0.0)).nesterov(switch("nesterov"));
        let config = config.dampening(number("dampening", 0.0)).weight_decay(decay.unwrap_or(0.0));
        Ok(Box::new(Sgd::new(config)?))
    } else {
        Err(format!("optimizer {name}").into())
    }
}

fn optimizers(f: &Fixture) -> Outcome {
    let (x, y) = (f.tensor("in.X")?, f.tensor("in.y")?);
    for (name, options) in f.options().as_object().ok_or("no optimizers")? {
        let store = ParamStore::new(Seed::new(0));
        let vb = store.var_builder(DType::F64, &Device::Cpu);
        let (w, b) = (vb.get(f.tensor("in.w0")?.shape(), "w")?, vb.get(1, "b")?);
        store.get("w").ok_or("no w")?.set(f.tensor("in.w0")?)?;
        store.get("b").ok_or("no b")?.set(f.tensor("in.b0")?)?;
        let mut optimizer = optimizer(name, options)?;
        let steps = f.tensor(&format!("out.{name}.loss"))?.elem_count();
        let (mut losses, mut path) = (Vec::new(), Vec::new());
        for _ in 0..steps {
            let loss = (x.matmul(&w)?.broadcast_add(&b)? - y)?.sqr()?.mean_all()?;
            losses.push(loss.to_scalar::<f64>()?);
            optimizer.step(&store, &store.backward(&loss)?)?;
            path.push(Tensor::cat(&[w.flatten_all()?.copy()?, b.copy()?], 0)?.detach());
        }
        f.check(&format!("out.{name}.loss"), &Tensor::new(losses, &Device::Cpu)?)?;
        f.check(&format!("out.{name}.params"), &Tensor::stack(&path, 0)?)?;
    }
    Ok(())
}

fn schedulers(f: &Fixture) -> Outcome {
    let base = 0.1;
    let fixed: Vec<(&str, Box<dyn Scheduler>)> = vec![
        ("cosine", Box::new(CosineAnnealingLr::new(base, 20, 1e-3)?)),
        ("step", Box::new(StepLr::new(base, 7, 0.3)?)),
        ("multistep", Box::new(MultiStepLr::new(base, &[5, 9, 20], 0.2)?)),
        ("exp", Box::new(ExponentialLr::new(base, 0.9)?)),
        ("warm_restarts", Box::new(CosineAnnealingWarmRestarts::new(base, 6, 2, 0.0)?)),
        ("onecycle", Box::new(OneCycleLr::new(OneCycleConfig::new(0.3, 30))?)),
        ("linear", Box::new(LinearLr::new(base, 0.1, 1.0, 8)?)),
    ];
    for (name, mut schedule) in fixed {
        let key = format!("out.{name}.lr");
        let mut rates = vec![schedule.learning_rate()];
        rates.extend((1..f.tensor(&key)?.elem_count()).map(|_| schedule.step()));
        f.check(&key, &Tensor::new(rates, &Device::Cpu)?)?;
    }
    let metric = f.tensor("in.metric")?.to_vec1::<f64>()?;
    for (name, options) in f.options().as_object().ok_or("no schedules")? {
        // The options are PyTorch's names, which are ours too.
        let config: PlateauConfig = serde_json::from_value(options.clone())?;
        let mut schedule = ReduceLrOnPlateau::new(base, config)?;
        let steps: Vec<(f64, i64)> =
            metric.iter().map(|m| (schedule.step(*m), schedule.num_bad() as i64)).collect();
        let (rates, bad): (Vec<f64>, Vec<i64>) = steps.into_iter().unzip();
        f.check(&format!("out.{name}.lr"), &Tensor::new(rates, &Device::Cpu)?)?;
        f.check(&format!("out.{name}.num_bad"), &Tensor::new(bad, &Device::Cpu)?)?;
    }
    Ok(())
}
