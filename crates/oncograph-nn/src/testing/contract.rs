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

/// One test per configuration of a module, with the checks of [`check_module`], on every one of [`devices`](fn@super::devices).
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
/// parameters in f64 are those of finite differences, on another device than the CPU those of the CPU, as is the output,
/// all of it on `device`; and it can be sent to and shared with another thread.
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
    let make = |device: &Device, seed: u64| -> Outcome<(ParamStore, M)> {
        let store = ParamStore::new(Seed::new(seed));
        let module = build(&read, store.var_builder(DType::F64, device)).map_err(text)?;
        Ok((store, module))
    };
    let inputs = |device: &Device| -> Outcome<Vec<Tensor>> {
        (0u64..).zip(shapes).map(|(salt, shape)| pattern_on(device, shape, salt)).collect()
    };
    let here = inputs(device)?;
    let run = |module: &M| forward(module, &here).map_err(text);
    let (store, module) = make(device, 1)?;
    weights(&store, &run(&module)?, |seed| make(device, seed), run)?;
    let forward_text = |module: &M, inputs: &[Tensor]| forward(module, inputs).map_err(text);
    let checked = Checked::new(store, &here)?;
    let gradients = checked.gradients(|x| forward_text(&module, x))?;
    gradients.are_there(constant)?;
    if device.is_cpu() {
        return checked.differences(&gradients, |x| forward_text(&module, x));
    }
    let (store, module) = make(&Device::Cpu, 1)?;
    let on_cpu = Checked::new(store, &inputs(&Device::Cpu)?)?;
    gradients.equal(&on_cpu.gradients(|x| forward_text(&module, x))?)
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

/// A module's parameters, away from the start, where a weight of 0 would hide another's gradient, and its inputs.
struct Checked {
    store: ParamStore,
    inputs: Vec<Var>,
}

/// The output, and the gradient of each parameter and input of a weighted sum of it.
struct Gradients {
    output: Vec<f64>,
    named: Vec<(String, Vec<f64>)>,
}

impl Checked {
    fn new(store: ParamStore, inputs: &[Tensor]) -> Outcome<Self> {
        store.restore(&shifted(&store)?).map_err(text)?;
        Ok(Checked {
            store,
            inputs: inputs.iter().map(Var::from_tensor).collect::<Result<_, _>>().map_err(text)?,
        })
    }

    /// Parameters and inputs by name.
    fn variables(&self) -> Vec<(String, Var)> {
        let inputs = self.inputs.iter().enumerate().map(|(i, v)| (format!("input {i}"), v.clone()));
        self.store.trainable().into_iter().chain(inputs).collect()
    }

    /// The output and its sum with unequal weights.
    fn loss(&self, forward: impl Fn(&[Tensor]) -> Outcome<Tensor>) -> Outcome<(Tensor, Tensor)> {
        let inputs: Vec<Tensor> = self.inputs.iter().map(|v| v.as_tensor().clone()).collect();
        let y = forward(&inputs)?;
        let unequal = pattern_on(y.device(), y.dims(), 77)?;
        let loss = (&y * unequal).and_then(|y| y.sum_all()).map_err(text)?;
        Ok((y, loss))
    }

    fn gradients(&self, forward: impl Fn(&[Tensor]) -> Outcome<Tensor>) -> Outcome<Gradients> {
        let (y, loss) = self.loss(forward)?;
        let grads = loss.backward().map_err(text)?;
        let mut named = vec![];
        for (name, var) in self.variables() {
            let Some(gradient) = grads.get(&var) else {
                return Err(format!("{name} receives no gradient"));
            };
            named.push((name, numbers(gradient)?));
        }
        Ok(Gradients { output: numbers(&y)?, named })
    }

    /// Compares some elements of each gradient with central differences.
    fn differences(
        &self,
        gradients: &Gradients,
        forward: impl Fn(&[Tensor]) -> Outcome<Tensor>,
    ) -> Outcome<()> {
        const STEP: f64 = 1e-6;
        let loss = || self.loss(&forward)?.1.to_scalar::<f64>().map_err(text);
        for ((name, var), (_, gradient)) in self.variables().iter().zip(&gradients.named) {
            let old = var.as_tensor().copy().map_err(text)?;
            let flat = numbers(&old)?;
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
            var.set(&old).map_err(text)?;
        }
        Ok(())
    }
}

impl Gradients {
    /// That each is finite, and zero where it is so by the mathematics and nowhere else.
    fn are_there(&self, constant: &[&str]) -> Outcome<()> {
        for (name, gradient) in &self.named {
            let largest = gradient.iter().fold(0f64, |m, g| m.max(g.abs()));
            let zero = constant.contains(&name.as_str());
            // What is zero by the mathematics is so up to rounding.
            if !largest.is_finite() || (largest < 1e-9) != zero {
                return Err(format!("{name} receives a gradient of at most {largest:e}"));
            }
        }
        Ok(())
    }

    /// That output and gradients are those of the CPU, up to the order of sums.
    fn equal(&self, cpu: &Gradients) -> Outcome<()> {
        let outputs = std::iter::once(("the output", &self.output, &cpu.output));
        let gradients = self.named.iter().zip(&cpu.named).map(|((name, a), (_, b))| (name.as_str(), a, b));
        for (name, here, there) in outputs.chain(gradients) {
            let scale = there.iter().fold(1f64, |m, v| m.max(v.abs()));
            let apart = here.iter().zip(there).position(|(a, b)| (a - b).abs() > 1e-9 * scale);
            if let Some(i) = apart {
                return Err(format!("{name} at {i}: {}, on the CPU {}", here[i], there[i]));
            }
        }
        Ok(())
    }
}

fn numbers(t: &Tensor) -> Outcome<Vec<f64>> {
    t.flatten_all().and_then(|t| t.to_vec1::<f64>()).map_err(text)
}
