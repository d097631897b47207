//! Optimizers, averages and gradients over many parameters.

use candle_core::{DType, Device, Tensor};
use candle_nn::Init;
use oncograph_nn::optim::{
    Adam, AdamConfig, AdamW, AdamWConfig, Ema, Optimizer, RmsProp, RmsPropConfig, Sgd, SgdConfig,
};
use oncograph_nn::testing::{device, pattern};
use oncograph_nn::{Gradients, ParamStore, Result, Seed};
use std::collections::BTreeMap;

fn every_optimizer() -> Result<Vec<Box<dyn Optimizer>>> {
    Ok(vec![
        Box::new(AdamW::new(AdamWConfig::new(0.05))?),
        Box::new(AdamW::new(AdamWConfig::new(0.05).amsgrad(true))?),
        Box::new(Adam::new(AdamConfig::new(0.05).weight_decay(0.1))?),
        Box::new(Sgd::new(SgdConfig::new(0.02).weight_decay(0.1))?),
        Box::new(Sgd::new(SgdConfig::new(0.02).momentum(0.9).dampening(0.2))?),
        Box::new(Sgd::new(SgdConfig::new(0.02).momentum(0.9).nesterov(true).maximize(true))?),
        Box::new(RmsProp::new(RmsPropConfig::new(0.01).momentum(0.5).centered(true))?),
        Box::new(RmsProp::new(RmsPropConfig::new(0.01).weight_decay(0.1))?),
    ])
}

/// More parameters than a launch takes, of none, one and many elements.
fn parameters(dtype: DType, device: &Device) -> Result<ParamStore> {
    let store = ParamStore::new(Seed::new(3));
    let vb = store.var_builder(dtype, device);
    let init = Init::Uniform { lo: -1.0, up: 1.0 };
    for i in 0..70 {
        vb.get_with_hints(i % 5, &format!("p{i}"), init)?;
    }
    for (name, size) in [("block", 4096), ("more", 4097), ("blocks", 9000)] {
        vb.get_with_hints(size, name, init)?;
    }
    vb.get_with_hints((3, 7), "matrix", init)?;
    Ok(store)
}

/// A gradient for all but every ninth parameter, not the same ones in each step, and one with strides.
fn gradients(store: &ParamStore, step: usize) -> Result<Gradients> {
    let mut all = vec![];
    for (i, (name, var)) in store.trainable().into_iter().enumerate() {
        if !(i + step).is_multiple_of(9) {
            let dims: Vec<usize> = var.dims().iter().rev().copied().collect();
            let values = pattern(&dims, (i + 100 * step) as u64)?.to_device(&Device::Cpu)?;
            let values = if dims.len() == 2 { values.t()? } else { values };
            all.push((name, values.to_dtype(var.dtype())?.to_device(var.device())?));
        }
    }
    Ok(all.into_iter().collect())
}

type Numbers = BTreeMap<String, Vec<f64>>;

fn numbers<'a>(tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) -> Result<Numbers> {
    let one = |(name, x): (&String, &Tensor)| -> Result<_> {
        let x = x.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F64)?;
        Ok((name.clone(), x.to_vec1()?))
    };
    tensors.into_iter().map(one).collect()
}

fn close(cpu: &Numbers, gpu: &Numbers, bound: f64, what: &str) {
    assert!(cpu.keys().eq(gpu.keys()), "{what}");
    for (name, a) in cpu {
        assert_eq!(a.len(), gpu[name].len(), "{what} {name}");
        for (a, b) in a.iter().zip(&gpu[name]) {
            let same = (a - b).abs() <= bound * a.abs().max(1.0) || a.is_nan() && b.is_nan();
            assert!(same, "{what} {name}: {a} {b}");
        }
    }
}

/// Parameters and state after some steps, of which the last are those of an optimizer that was loaded.
fn trained(which: usize, dtype: DType, device: &Device) -> Result<(Numbers, Numbers)> {
    let (mut optimizer, mut resumed) = (every_optimizer()?.remove(which), every_optimizer()?.remove(which));
    let store = parameters(dtype, device)?;
    for step in 0..3 {
        optimizer.step(&store, &gradients(&store, step)?)?;
    }
    let state = optimizer.state()?;
    let before = numbers(&state)?;
    resumed.load_state(&state)?;
    resumed.step(&store, &gradients(&store, 3)?)?;
    // Neither the state nor the first optimizer has changed with the second.
    assert_eq!(numbers(&state)?, before);
    assert_eq!(numbers(&optimizer.state()?)?, before);
    Ok((numbers(&store.snapshot()?)?, numbers(&resumed.state()?)?))
}

#[test]
fn steps_of_every_optimizer() -> Result<()> {
    for which in 0..every_optimizer()?.len() {
        for (dtype, bound) in [(DType::F32, 2e-6), (DType::F64, 1e-13)] {
            let cpu = trained(which, dtype, &Device::Cpu)?;
            let gpu = trained(which, dtype, &device())?;
            close(&cpu.0, &gpu.0, bound, &format!("parameters of {which}"));
            close(&cpu.1, &gpu.1, bound, &format!("state of {which}"));
            assert_eq!(trained(which, dtype, &device())?, gpu);
        }
    }
    Ok(())
}

#[test]
fn averages() -> Result<()> {
    for (dtype, bound) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
        let run = |device: &Device| -> Result<Numbers> {
            let store = parameters(dtype, device)?;
            store.var_builder(dtype, device).get_with_hints(3, "running_mean", Init::Const(1.0))?;
            let mut ema = Ema::new(0.7)?;
            for step in 0..3 {
                ema.update(&store)?;
                for (name, gradient) in gradients(&store, step)?.iter() {
                    let var = store.get(name).expect("a parameter");
                    if var.elem_count() == 0 {
                        continue; // `Var::set` of nothing fails on a device
                    }
                    var.set(&(var.as_tensor() + gradient)?)?;
                }
            }
            ema.update(&store)?;
            numbers(&ema.state()?)
        };
        close(&run(&Device::Cpu)?, &run(&device())?, bound, "averages");
    }
    Ok(())
}

#[test]
fn norms_and_clipping() -> Result<()> {
    for (dtype, bound) in [(DType::F32, 1e-6), (DType::F64, 1e-13)] {
        let [cpu, gpu] = [Device::Cpu, device()].map(|device| gradients(&parameters(dtype, &device)?, 1));
        let (cpu, gpu) = (cpu?, gpu?);
        for order in [2.0, 1.0, 3.0, -1.0, 0.0, f64::INFINITY, f64::NEG_INFINITY] {
            let (a, b) = (cpu.norm(order)?, gpu.norm(order)?);
            assert!((a - b).abs() <= 1e-12 * a.abs(), "order {order}: {a} {b}");
            assert_eq!(gpu.norm(order)?.to_bits(), b.to_bits());
        }
        let clipped = |gradients: &Gradients, limit: f64| -> Result<Numbers> {
            let mut g = gradients.clone();
            g.clip_norm(limit)?;
            g.clip_value(limit * 0.01)?;
            let g = g.negated()?;
            numbers(g.iter().map(|(n, x)| (n.to_string(), x.clone())).collect::<BTreeMap<_, _>>().iter())
        };
        for limit in [3.0, 1e6] {
            close(&clipped(&cpu, limit)?, &clipped(&gpu, limit)?, bound, "clipped gradients");
        }
    }
    Ok(())
}

#[test]
fn a_nan_is_seen_and_stays() -> Result<()> {
    for order in [2.0, 1.0, f64::INFINITY, f64::NEG_INFINITY] {
        let with_nan = Tensor::new(&[1.0, f64::NAN, 2.0], &device())?;
        let plain = Tensor::new(&[1f32, 3.0], &device())?;
        let mut both: Gradients =
            [("a".to_string(), with_nan), ("b".to_string(), plain)].into_iter().collect();
        assert!(both.norm(order)?.is_nan());
        both.clip_value(1.5)?;
        let a = both.get("a").expect("a gradient").to_vec1::<f64>()?;
        assert!(a[0] == 1.0 && a[1].is_nan() && a[2] == 1.5);
        assert_eq!(both.get("b").expect("a gradient").to_vec1::<f32>()?, [1.0, 1.5]);
    }
    let nothing: Gradients =
        [("a".to_string(), Tensor::zeros((0, 2), DType::F32, &device())?)].into_iter().collect();
    assert_eq!((nothing.norm(2.0)?, nothing.norm(f64::NEG_INFINITY)?), (0.0, f64::INFINITY));
    Ok(())
}
