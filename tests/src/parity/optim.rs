//! Optimizers, schedules and clipping of `oncograph-nn` against PyTorch: trajectories.

use super::nn::list;
use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::{DType, Device, Tensor};
use libtest_mimic::Failed;
use oncograph_nn::optim::*;
use oncograph_nn::scheduler::*;
use oncograph_nn::{Gradients, ParamStore, Seed};
use serde_json::Value;

/// The operations of training.
pub const OPERATIONS: &[Operation] = &[
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
    Operation {
        name: "clip_ema",
        reference: "torch.nn.utils.clip_grad_norm_",
        items: &["oncograph_nn::Gradients::clip_norm_of_order"],
        run: clip,
    },
];

fn clip(f: &Fixture) -> Outcome {
    let mut gradients: Gradients = f.with_prefix("in.").into_iter().collect();
    let order = match f.option("norm_type") {
        Value::String(word) => word.parse::<f64>()?,
        other => other.as_f64().unwrap_or(2.0),
    };
    f.described_by_shapes(&["error_if_nonfinite", "foreach"]);
    let limit = f.option("clip_value").as_f64();
    match (f.option("max_norm").as_f64(), limit) {
        (Some(max_norm), _) => {
            let norm = gradients.clip_norm_of_order(max_norm, order)?;
            // The peer's norm is summed in float32.
            let expected = f.scalars("total_norm")?;
            f.compare("scalars/total_norm", &[norm], &expected, |e| 1e-6 * e.abs());
        }
        (None, Some(limit)) => gradients.clip_value(limit)?,
        (None, None) => return Err("neither max_norm nor clip_value".into()),
    }
    for (name, gradient) in gradients.iter() {
        f.check(&format!("out.{name}"), gradient)?;
    }
    Ok(())
}

/// The options of one optimizer; unknown ones are refused.
struct Options<'a> {
    given: &'a Value,
    read: std::cell::RefCell<Vec<&'static str>>,
}

impl Options<'_> {
    fn value(&self, key: &'static str) -> &Value {
        self.read.borrow_mut().push(key);
        &self.given[key]
    }

    fn number(&self, key: &'static str, default: f64) -> f64 {
        self.value(key).as_f64().unwrap_or(default)
    }

    fn switch(&self, key: &'static str) -> bool {
        self.value(key).as_bool().unwrap_or(false)
    }

    fn betas(&self) -> Result<(f64, f64), Failed> {
        match self.value("betas") {
            Value::Null => Ok((0.9, 0.999)),
            betas => Ok(serde_json::from_value(betas.clone())?),
        }
    }

    /// Options that change how the peer computes, not what.
    fn unread(&self) -> Option<&String> {
        const HOW: [&str; 4] = ["foreach", "fused", "capturable", "differentiable"];
        let keys = self.given.as_object()?.keys();
        keys.into_iter().find(|k| !self.read.borrow().contains(&k.as_str()) && !HOW.contains(&k.as_str()))
    }
}

fn optimizer(name: &str, options: &Value) -> Result<Box<dyn Optimizer>, Failed> {
    let o = Options { given: options, read: Default::default() };
    let (eps, climb) = (o.number("eps", 1e-8), o.switch("maximize"));
    let kind = name.split('_').next().unwrap_or(name);
    let optimizer: Box<dyn Optimizer> = match kind {
        // Adam with decoupled decay is AdamW.
        "adam" | "adamw" if kind == "adamw" || o.switch("decoupled_weight_decay") => {
            let (betas, decay) = (o.betas()?, if kind == "adamw" { 0.01 } else { 0.0 });
            let config = AdamWConfig::new(o.number("lr", 1e-3)).betas(betas.0, betas.1).eps(eps);
            let config = config.amsgrad(o.switch("amsgrad")).maximize(climb);
            Box::new(AdamW::new(config.weight_decay(o.number("weight_decay", decay)))?)
        }
        "adam" => {
            let betas = o.betas()?;
            let config = AdamConfig::new(o.number("lr", 1e-3)).betas(betas.0, betas.1).eps(eps);
            let config = config.amsgrad(o.switch("amsgrad")).maximize(climb);
            Box::new(Adam::new(config.weight_decay(o.number("weight_decay", 0.0)))?)
        }
        "rmsprop" => {
            let config = RmsPropConfig::new(o.number("lr", 1e-2)).alpha(o.number("alpha", 0.99)).eps(eps);
            let config = config.centered(o.switch("centered")).momentum(o.number("momentum", 0.0));
            let config = config.maximize(climb).weight_decay(o.number("weight_decay", 0.0));
            Box::new(RmsProp::new(config)?)
        }
        "sgd" => {
            let config = SgdConfig::new(o.number("lr", 1e-3)).momentum(o.number("momentum", 0.0));
            let config = config.nesterov(o.switch("nesterov")).dampening(o.number("dampening", 0.0));
            let config = config.maximize(climb).weight_decay(o.number("weight_decay", 0.0));
            Box::new(Sgd::new(config)?)
        }
        other => return Err(unsupported(format!("optimizer {other}"))),
    };
    match o.unread() {
        Some(key) => Err(unsupported(format!("option {key} of {name}"))),
        None => Ok(optimizer),
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

/// The options of a schedule: those of the case, or else those that the cases of this operation have in common.
fn scheduler(kind: &str, base: f64, given: &Value) -> Result<Box<dyn Scheduler>, Failed> {
    let o = Options { given, read: Default::default() };
    let base = o.number("base_lr", base);
    let count = |key, default: u64| o.value(key).as_u64().unwrap_or(default);
    let schedule: Box<dyn Scheduler> = match kind {
        "cosine" => Box::new(CosineAnnealingLr::new(base, count("T_max", 20), o.number("eta_min", 1e-3))?),
        "step" => Box::new(StepLr::new(base, count("step_size", 7), o.number("gamma", 0.3))?),
        "multistep" => {
            let milestones = match o.value("milestones") {
                Value::Null => vec![5, 9, 20],
                milestones => list(milestones)?,
            };
            Box::new(MultiStepLr::new(base, &milestones, o.number("gamma", 0.2))?)
        }
        "exp" => Box::new(ExponentialLr::new(base, o.number("gamma", 0.9))?),
        "warm_restarts" => {
            let (first, factor) = (count("T_0", 6), count("T_mult", 2));
            Box::new(CosineAnnealingWarmRestarts::new(base, first, factor, o.number("eta_min", 0.0))?)
        }
        "onecycle" => {
            let config = OneCycleConfig::new(o.number("max_lr", 0.3), count("total_steps", 30));
            let config = config.rise(o.number("pct_start", 0.3)).div_factor(o.number("div_factor", 25.0));
            let config = config.final_div_factor(o.number("final_div_factor", 1e4));
            let config = config.three_phase(o.switch("three_phase"));
            let linear = o.value("anneal_strategy").as_str() == Some("linear");
            Box::new(OneCycleLr::new(config.linear(linear))?)
        }
        "linear" => {
            let (start, end) = (o.number("start_factor", 0.1), o.number("end_factor", 1.0));
            Box::new(LinearLr::new(base, start, end, count("total_iters", 8))?)
        }
        other => return Err(unsupported(format!("schedule {other}"))),
    };
    match o.unread() {
        Some(key) => Err(unsupported(format!("option {key} of {kind}"))),
        None => Ok(schedule),
    }
}

fn plateau(f: &Fixture, name: &str, base: f64) -> Outcome {
    const KNOWN: [&str; 9] =
        ["mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps", "base_lr"];
    let options = &f.options()[name];
    if let Some(key) =
        options.as_object().into_iter().flatten().map(|(k, _)| k).find(|k| !KNOWN.contains(&k.as_str()))
    {
        return Err(unsupported(format!("option {key} of {name}")));
    }
    // The options are PyTorch's names, which are ours too.
    let config: PlateauConfig =
        if options.is_null() { PlateauConfig::new() } else { serde_json::from_value(options.clone())? };
    let mut schedule = ReduceLrOnPlateau::new(options["base_lr"].as_f64().unwrap_or(base), config)?;
    let metric = f.values("in.metric")?;
    let steps: Vec<(f64, i64)> =
        metric.iter().map(|m| (schedule.step(*m), schedule.num_bad() as i64)).collect();
    let (rates, bad): (Vec<f64>, Vec<i64>) = steps.into_iter().unzip();
    f.check(&format!("out.{name}.lr"), &Tensor::new(rates, &Device::Cpu)?)?;
    f.check(&format!("out.{name}.num_bad"), &Tensor::new(bad, &Device::Cpu)?)
}

fn schedulers(f: &Fixture) -> Outcome {
    let base = f.options()["base_lr"].as_f64().unwrap_or(0.1);
    for output in f.with_prefix("out.").keys() {
        let Some(name) = output.strip_suffix(".lr") else { continue };
        if name.starts_with("plateau") {
            plateau(f, name, base)?;
            continue;
        }
        let kinds = ["cosine", "step", "multistep", "exp", "warm_restarts", "onecycle", "linear"];
        let kind = kinds.into_iter().find(|k| name == *k || name.starts_with(&format!("{k}_")));
        let mut schedule = scheduler(kind.unwrap_or(name), base, &f.options()[name])?;
        let key = format!("out.{output}");
        let mut rates = vec![schedule.learning_rate()];
        rates.extend((1..f.tensor(&key)?.elem_count()).map(|_| schedule.step()));
        f.check(&key, &Tensor::new(rates, &Device::Cpu)?)?;
    }
    Ok(())
}
