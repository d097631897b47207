//! What every module with parameters must do, whatever it computes.

use super::pattern;
use crate::{ParamStore, Seed};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::{Debug, Display};

type Outcome<T> = Result<T, String>;

/// Elements of a tensor whose gradient is compared with finite differences: all of a small one.
const PROBES: usize = 6;

/// One test per configuration of a module, with the checks of [`check_module`], on every one of [`devices`](super::devices).
///
/// `forward` sees the module as `$model` and f64 inputs of the given shapes, which are on the device, as `$x`. Behind `constant` stand the
/// parameters whose gradient is zero by the mathematics, as a bias in front of a norm.
///
/// ```
/// use oncograph_nn::{MlpConfig, Mode};
///
/// oncograph_nn::module_contract! {
///     mlp: MlpConfig::new([3, 4, 2]), |m, x| m.forward(&x[0], Mode::Eval), [[5, 3]];
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! module_contract {
    ($($name:ident: $config:expr, |$model:ident, $x:ident| $forward:expr, [$($shape:expr),*]
       $(, constant [$($zero:expr),*])?;)*) => {$(
        #[test]
        fn $name() {
            for device in $crate::testing::devices() {
                let checked = $crate::testing::check_module(
                    &$config,
                    |config, vb| config.build(vb),
                    |$model, $x| $forward,
                    &[$(&$shape),*],
                    &[$($($zero),*)?],
                    &device,
                );
                if let Err(cause) = checked {
                    panic!("on {:?}: {cause}", device.location());
                }
            }
        }
    )*};
}

/// What a module promises: its configuration survives JSON; one seed gives the same bits and another seed others; its
/// weights survive a file; every parameter has a finite gradient that is not all zero; the gradients of inputs and
/// parameters are those of finite differences in f64, all of it on `device`; and it can be sent to and shared with another thread.
///
/// # Errors
/// The first promise that is not kept, with the parameter or input and both values.
pub fn check_module<C, M, E: Display, F: Display>(
    config: &C,
    build: impl Fn(&C, VarBuilder<'static>) -> Result<M, E>,
    forward: impl Fn(&M, &[Tensor]) -> Result<Tensor, F>,
    shapes: &[&[usize]],
    constant: &[&str],
    device: &Device,
) -> Outcome<()>
where
    C: Serialize + DeserializeOwned + PartialEq + Debug,
    M: Send + Sync,
{
    let json = serde_json::to_string(config).map_err(text)?;
    let read: C = serde_json::from_str(&json).map_err(text)?;
    if read != *config {
        return Err(format!("the configuration came back from JSON as {read:?}, not {config:?}"));
    }
    let inputs = (0u64..).zip(shapes).map(|(salt, shape)| pattern_on(device, shape, salt));
    let inputs = inputs.collect::<Outcome<Vec<_>>>()?;
    let make = |seed: u64| -> Outcome<(ParamStore, M)> {
        let store = ParamStore::new(Seed::new(seed));
        let module = build(&read, store.var_builder(DType::F64, device)).map_err(text)?;
        Ok((store, module))
    };
    let run = |module: &M| forward(module, &inputs).map_err(text);
    let (store, module) = make(1)?;
    weights(&store, &run(&module)?, make, run)?;
    gradients(&store, |inputs| forward(&module, inputs).map_err(text), &inputs, constant)
}

fn pattern_on(device: &Device, shape: &[usize], salt: u64) -> Outcome<Tensor> {
    pattern(shape, salt).and_then(|t| Ok(t.to_device(device)?)).map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Every number of a tensor, as bits.
fn bits(t: &Tensor) -> Outcome<Vec<u64>> {
    let values = t.flatten_all().and_then(|t| t.to_vec1::<f64>()).map_err(text)?;
    if values.iter().any(|v| !v.is_finite()) {
        return Err("the output is not finite".into());
    }
    Ok(values.iter().map(|v| v.to_bits()).collect())
}

/// Seeds, and the way through a file. Weights are shifted first, so that those of a start at 0 or 1 count, too.
fn weights<M>(
    store: &ParamStore,
    first: &Tensor,
    make: impl Fn(u64) -> Outcome<(ParamStore, M)>,
    run: impl Fn(&M) -> Outcome<Tensor>,
) -> Outcome<()> {
    let first = bits(first)?;
    if bits(&run(&make(1)?.1)?)? != first {
        return Err("the same seed gave another output".into());
    }
    let (other, other_module) = make(2)?;
    let drawn = store.trainable().into_iter().any(|(name, var)| {
        let other = other.get(&name).map(|v| v.as_tensor().to_string());
        other.is_some_and(|other| other != var.as_tensor().to_string())
    });
    if drawn && bits(&run(&other_module)?)? == first {
        return Err("another seed gave other weights and the same output".into());
    }
    let folder = tempfile::tempdir().map_err(text)?;
    let path = folder.path().join("weights.safetensors");
    let moved = shifted(store)?;
    let (source, source_module) = make(1)?;
    source.restore(&moved).and_then(|()| source.save(&path)).map_err(text)?;
    other.load(&path).map_err(text)?;
    if bits(&run(&other_module)?)? != bits(&run(&source_module)?)? {
        return Err("weights that went through a file give another output".into());
    }
    Ok(())
}

fn shifted(store: &ParamStore) -> Outcome<HashMap<String, Tensor>> {
    let mut state = store.snapshot().map_err(text)?;
    for (salt, (name, var)) in (100u64..).zip(store.trainable()) {
        let noise = pattern_on(var.device(), var.dims(), salt)?;
        let moved = noise.affine(0.1, 0.0).and_then(|n| n + var.as_tensor()).map_err(text)?;
        state.insert(name, moved);
    }
    Ok(state)
}

fn gradients(
    store: &ParamStore,
    forward: impl Fn(&[Tensor]) -> Outcome<Tensor>,
    inputs: &[Tensor],
    constant: &[&str],
) -> Outcome<()> {
    // Away from the start, where a weight of 0 would hide another's gradient.
    store.restore(&shifted(store)?).map_err(text)?;
    let inputs: Vec<Var> = inputs.iter().map(Var::from_tensor).collect::<Result<_, _>>().map_err(text)?;
    let loss = || -> Outcome<Tensor> {
        let tensors: Vec<Tensor> = inputs.iter().map(|v| v.as_tensor().clone()).collect();
        let y = forward(&tensors)?;
        let unequal = pattern_on(y.device(), y.dims(), 77)?;
        (y * unequal).and_then(|y| y.sum_all()).map_err(text)
    };
    let grads = loss()?.backward().map_err(text)?;
    let named = inputs.iter().enumerate().map(|(i, v)| (format!("input {i}"), v.clone()));
    for (name, var) in store.trainable().into_iter().chain(named) {
        let Some(gradient) = grads.get(&var) else {
            return Err(format!("{name} receives no gradient"));
        };
        let gradient = gradient.flatten_all().and_then(|g| g.to_vec1::<f64>()).map_err(text)?;
        let largest = gradient.iter().fold(0f64, |m, g| m.max(g.abs()));
        let zero = constant.contains(&name.as_str());
        // What is zero by the mathematics is so up to rounding.
        if !largest.is_finite() || (largest < 1e-9) != zero {
            return Err(format!("{name} receives a gradient of at most {largest:e}"));
        }
        differences(&name, &var, &gradient, || loss()?.to_scalar::<f64>().map_err(text))?;
    }
    Ok(())
}

/// Compares some elements of a gradient with central differences.
fn differences(name: &str, var: &Var, gradient: &[f64], loss: impl Fn() -> Outcome<f64>) -> Outcome<()> {
    const STEP: f64 = 1e-6;
    let old = var.as_tensor().copy().map_err(text)?;
    let flat = old.flatten_all().and_then(|t| t.to_vec1::<f64>()).map_err(text)?;
    let stride = flat.len().div_ceil(PROBES).max(1);
    for i in (0..flat.len()).step_by(stride) {
        let at = |h: f64| -> Outcome<f64> {
            let mut moved = flat.clone();
            moved[i] += h;
            let moved = Tensor::from_vec(moved, old.dims(), old.device()).map_err(text)?;
            var.set(&moved).map_err(text)?;
            loss()
        };
        let numeric = (at(STEP)? - at(-STEP)?) / (2.0 * STEP);
        let close = (gradient[i] - numeric).abs() <= 1e-6 * numeric.abs().max(1.0);
        if !close {
            return Err(format!("{name} at {i}: gradient {}, by differences {numeric}", gradient[i]));
        }
    }
    var.set(&old).map_err(text)
}
