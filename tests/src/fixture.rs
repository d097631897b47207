//! Cases of the peers' numbers: a JSON file with the options and tolerances, a safetensors file with the tensors.
//!
//! A case holds inputs (`in.*`), the peer's parameters (`param.*`), outputs (`out.*`), the cotangents of the outputs
//! (`cot.*`: the loss is the sum of `<out.k, cot.k>`), gradients (`grad.in.*`, `grad.param.*`) and buffers after the
//! call (`after.*`). A result is accepted within `8 max(tol, 1e-6 max|reference|)`, where `tol` is the peer's own
//! difference between float32 and float64.

use crate::{shared_root, trial};
use candle_core::{DType, Device, Tensor, Var};
use libtest_mimic::{Failed, Trial};
use oncograph_nn::ParamStore;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// One case.
#[derive(Debug)]
pub struct Fixture {
    /// The name of its files.
    pub name: String,
    /// Every option that the case needs.
    pub config: Value,
    /// Single numbers.
    pub scalars: Value,
    tolerances: HashMap<String, f64>,
    tensors: HashMap<String, Tensor>,
}

/// A trial for each case in the fixture folder whose name begins with `prefix`.
///
/// Without the folder there is one trial, ignored.
pub fn trials_of(prefix: &'static str, run: fn(&Fixture) -> Result<(), Failed>) -> Vec<Trial> {
    let mut names: Vec<String> = std::fs::read_dir(shared_root().join("fixtures"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".safetensors").map(String::from))
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    if names.is_empty() {
        return vec![trial(&format!("fixture {prefix}"), &[&format!("fixtures/{prefix}")], |_| Ok(()))];
    }
    let of =
        |name: String| trial(&format!("fixture {name}"), &[], move |root| run(&Fixture::load(root, &name)?));
    names.into_iter().map(of).collect()
}

impl Fixture {
    /// Reads `fixtures/<name>.json` and `.safetensors` below `root`.
    pub fn load(root: &Path, name: &str) -> Result<Self, Failed> {
        let path = root.join("fixtures").join(name);
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path.with_extension("json"))?)?;
        let tolerances = json["tol"].as_object().into_iter().flatten();
        Ok(Fixture {
            name: name.into(),
            config: json["config"].clone(),
            scalars: json["scalars"].clone(),
            tolerances: tolerances.filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect(),
            tensors: candle_core::safetensors::load(path.with_extension("safetensors"), &Device::Cpu)?,
        })
    }

    /// One tensor by its full name, such as `in.x`.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, Failed> {
        self.tensors.get(name).ok_or_else(|| format!("{} has no tensor {name}", self.name).into())
    }

    /// One tensor as a variable, so that it receives a gradient.
    pub fn var(&self, name: &str) -> Result<Var, Failed> {
        Ok(Var::from_tensor(self.tensor(name)?)?)
    }

    /// Whether the case has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensors whose names begin with `prefix`, without it.
    pub fn with_prefix(&self, prefix: &str) -> HashMap<String, Tensor> {
        let found =
            self.tensors.iter().filter_map(|(k, t)| Some((k.strip_prefix(prefix)?.to_string(), t.clone())));
        found.collect()
    }

    /// An integer option.
    pub fn usize(&self, key: &str) -> Result<usize, Failed> {
        let value = self.config[key].as_u64().ok_or_else(|| format!("{}: no integer {key}", self.name))?;
        Ok(value as usize)
    }

    /// An option that is a number or three of them.
    pub fn triple(&self, key: &str, default: usize) -> Result<[usize; 3], Failed> {
        match &self.config[key] {
            Value::Null => Ok([default; 3]),
            Value::Number(n) => Ok([n.as_u64().ok_or("not an integer")? as usize; 3]),
            other => Ok(serde_json::from_value(other.clone())?),
        }
    }

    /// A switch; `default` where the case does not name it.
    pub fn bool(&self, key: &str, default: bool) -> bool {
        self.config[key].as_bool().unwrap_or(default)
    }

    /// The sum of `<out.k, cot.k>` over the given outputs.
    pub fn loss(&self, outputs: &[(&str, &Tensor)]) -> Result<Tensor, Failed> {
        let mut loss: Option<Tensor> = None;
        for (name, output) in outputs {
            let part = (*output * self.tensor(&format!("cot.{name}"))?)?.sum_all()?;
            loss = Some(match loss {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        loss.ok_or_else(|| "no outputs".into())
    }

    /// Compares `got` with the tensor `name`.
    pub fn check(&self, name: &str, got: &Tensor) -> Result<(), Failed> {
        let expected = self.tensor(name)?;
        if expected.dims() != got.dims() {
            let (a, b) = (expected.dims(), got.dims());
            return Err(format!("{} {name}: shape {a:?} expected, got {b:?}", self.name).into());
        }
        let values = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
        let (expected, got) = (values(expected)?, values(got)?);
        let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
        let tolerance = 8.0 * self.tolerances.get(name).copied().unwrap_or(0.0).max(1e-6 * largest);
        for (i, (e, g)) in expected.iter().zip(&got).enumerate() {
            // A NaN on either side must not pass.
            if (e - g).abs() <= tolerance {
                continue;
            }
            return Err(
                format!("{} {name}[{i}]: {e} expected within {tolerance:.3e}, got {g}", self.name).into()
            );
        }
        Ok(())
    }

    /// Compares every output, then every stored gradient of inputs and parameters.
    pub fn check_all(
        &self,
        outputs: &[(&str, &Tensor)],
        inputs: &[(&str, &Var)],
        params: &ParamStore,
    ) -> Result<(), Failed> {
        for (name, output) in outputs {
            self.check(&format!("out.{name}"), output)?;
        }
        let grads = self.loss(outputs)?.backward()?;
        for (name, var) in inputs {
            let grad = grads.get(var).ok_or_else(|| format!("{}: no gradient of {name}", self.name))?;
            self.check(&format!("grad.in.{name}"), grad)?;
        }
        for name in self.with_prefix("grad.param.").keys() {
            let var = params.get(name).ok_or_else(|| format!("{}: no parameter {name}", self.name))?;
            let grad = grads.get(&var).ok_or_else(|| format!("{}: no gradient of {name}", self.name))?;
            self.check(&format!("grad.param.{name}"), grad)?;
        }
        Ok(())
    }
}
