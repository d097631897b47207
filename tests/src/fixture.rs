//! Cases of the peers' numbers: a JSON file with the options and tolerances, a safetensors file with the tensors.
//!
//! A case holds inputs (`in.*`), the peer's parameters (`param.*`), outputs (`out.*`), the cotangents of the outputs
//! (`cot.*`: the loss is the sum of `<out.k, cot.k>`), gradients (`grad.*`), buffers after the call (`after.*`),
//! single numbers and options. A result is accepted within `8 max(tol, 1e-6 max|reference|)`, where `tol` is the
//! peer's own difference between float32 and float64; statistics within 1e-9, relative.
//!
//! A case keeps account of what was compared and which options were read: a tensor or number that nothing was compared
//! with, or an option that was not read, fails the case ([`Fixture::verdict`]).

use candle_core::{DType, Device, Tensor, Var};
use libtest_mimic::Failed;
use oncograph_nn::ParamStore;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// What statistics are held to, relative to the reference.
const STATISTIC: f64 = 1e-9;

/// One case.
#[derive(Debug)]
pub struct Fixture {
    /// The name of its files.
    pub name: String,
    folder: PathBuf,
    config: Value,
    scalars: Value,
    tolerances: HashMap<String, f64>,
    tensors: HashMap<String, Tensor>,
    account: RefCell<Account>,
}

/// What has been compared and read so far.
#[derive(Debug, Default)]
struct Account {
    compared: BTreeSet<String>,
    informative: Vec<String>,
    options: BTreeSet<String>,
    failures: Vec<String>,
    worst: Option<Comparison>,
}

/// The comparison that came closest to its tolerance, or exceeded it most.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The tensor or number.
    pub name: String,
    /// Its error as a multiple of the tolerance.
    pub ratio: f64,
}

/// How a case ended.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Everything was compared and agrees.
    Pass(Comparison),
    /// What disagrees or was left out.
    Fail(String),
    /// What the workspace cannot do.
    Unsupported(String),
}

const UNSUPPORTED: &str = "unsupported: ";

/// The error of an adapter that meets an option or operation that the workspace does not offer.
pub fn unsupported(why: impl std::fmt::Display) -> Failed {
    format!("{UNSUPPORTED}{why}").into()
}

impl Fixture {
    /// Reads `<name>.json` and `<name>.safetensors` in `folder`.
    pub fn load(folder: &Path, name: &str) -> Result<Self, Failed> {
        let json: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join(format!("{name}.json")))?)?;
        let tensors = folder.join(format!("{name}.safetensors"));
        let tolerances = json["tol"].as_object().into_iter().flatten();
        Ok(Fixture {
            name: name.into(),
            folder: folder.to_owned(),
            config: json["config"].clone(),
            scalars: json["scalars"].clone(),
            tolerances: tolerances.filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect(),
            tensors: candle_core::safetensors::load(tensors, &Device::Cpu)?,
            account: RefCell::default(),
        })
    }

    /// The folder that holds the case; paths in its options are relative to it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    // Tensors.

    /// One tensor by its full name, such as `in.x`.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, Failed> {
        self.tensors.get(name).ok_or_else(|| format!("there is no tensor {name}").into())
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

    /// The values of a tensor of any type, row by row.
    pub fn values(&self, name: &str) -> Result<Vec<f64>, Failed> {
        values(self.tensor(name)?)
    }

    /// A tensor of zeros and ones.
    pub fn flags(&self, name: &str) -> Result<Vec<bool>, Failed> {
        Ok(self.values(name)?.iter().map(|v| *v != 0.0).collect())
    }

    /// A tensor of indices.
    pub fn indices(&self, name: &str) -> Result<Vec<usize>, Failed> {
        Ok(self.values(name)?.iter().map(|v| *v as usize).collect())
    }

    // Options.

    /// An option; null where the case does not name it.
    pub fn option(&self, key: &str) -> &Value {
        self.account.borrow_mut().options.insert(key.to_string());
        &self.config[key]
    }

    /// All options, for cases whose keys are names.
    pub fn options(&self) -> &Value {
        let keys = self.config.as_object().into_iter().flatten().map(|(k, _)| k.clone());
        self.account.borrow_mut().options.extend(keys);
        &self.config
    }

    /// Declares options that only repeat the shapes of the tensors.
    pub fn described_by_shapes(&self, keys: &[&str]) {
        self.account.borrow_mut().options.extend(keys.iter().map(|k| k.to_string()));
    }

    /// An integer option.
    pub fn usize(&self, key: &str) -> Result<usize, Failed> {
        let value = self.option(key).as_u64().ok_or_else(|| format!("no integer {key}"))?;
        Ok(value as usize)
    }

    /// A number; `default` where the case does not name it.
    pub fn number(&self, key: &str, default: f64) -> f64 {
        self.option(key).as_f64().unwrap_or(default)
    }

    /// An option that is a number or three of them.
    pub fn triple(&self, key: &str, default: usize) -> Result<[usize; 3], Failed> {
        match self.option(key) {
            Value::Null => Ok([default; 3]),
            Value::Number(n) => Ok([n.as_u64().ok_or("not an integer")? as usize; 3]),
            other => Ok(serde_json::from_value(other.clone())?),
        }
    }

    /// A switch; `default` where the case does not name it.
    pub fn bool(&self, key: &str, default: bool) -> bool {
        self.option(key).as_bool().unwrap_or(default)
    }

    /// A word; `default` where the case does not name it.
    pub fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.option(key).as_str().unwrap_or(default)
    }

    // Comparisons.

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

    /// Compares `got` with the tensor `name`, within `8 max(tol, 1e-6 max|reference|)`.
    pub fn check(&self, name: &str, got: &Tensor) -> Result<(), Failed> {
        let expected = self.tensor(name)?;
        if expected.dims() != got.dims() {
            self.fail(name, format!("shape {:?} expected, got {:?}", expected.dims(), got.dims()));
            return Ok(());
        }
        let (expected, got) = (values(expected)?, values(got)?);
        let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
        let tolerance = 8.0 * self.tolerances.get(name).copied().unwrap_or(0.0).max(1e-6 * largest);
        self.compare(name, &got, &expected, |_| tolerance);
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
            // The peer stores no gradient of an input that does not take part.
            if !self.has(&format!("grad.in.{name}")) {
                continue;
            }
            self.check_gradient(&format!("grad.in.{name}"), grads.get(var))?;
        }
        for name in self.with_prefix("grad.param.").keys() {
            let var = params.get(name).ok_or_else(|| format!("no parameter {name}"))?;
            self.check_gradient(&format!("grad.param.{name}"), grads.get(&var))?;
        }
        Ok(())
    }

    /// A gradient that does not exist is zero, which the peer's is only where nothing depends on the variable, such as
    /// the weights of edges on a graph without edges.
    ///
    /// What is zero by the mathematics, such as that of a gate's last bias, is rounding on both sides: it is held to
    /// the size of the case's other gradients.
    fn check_gradient(&self, name: &str, got: Option<&Tensor>) -> Result<(), Failed> {
        let expected = self.tensor(name)?;
        let Some(got) = got else { return self.check(name, &expected.zeros_like()?) };
        let size =
            |t: &Tensor| -> Result<f64, Failed> { Ok(values(t)?.iter().fold(0f64, |m, v| m.max(v.abs()))) };
        let others = self.with_prefix("grad.").values().map(size).collect::<Result<Vec<_>, _>>()?;
        let floor = 1e-6 * others.into_iter().fold(0f64, f64::max);
        if size(expected)? < floor && got.dims() == expected.dims() {
            self.compare(name, &values(got)?, &values(expected)?, |_| 8.0 * floor);
            return Ok(());
        }
        self.check(name, got)
    }

    /// Compares the buffers after the call.
    pub fn check_buffers(&self, store: &ParamStore) -> Result<(), Failed> {
        for name in self.with_prefix("after.").keys() {
            let buffer = store.get(name).ok_or_else(|| format!("no buffer {name}"))?;
            self.check(&format!("after.{name}"), buffer.as_tensor())?;
        }
        Ok(())
    }

    /// Compares each value with the tensor `name` to 1e-9 of the value itself.
    pub fn close(&self, name: &str, got: &[f64]) -> Result<(), Failed> {
        let expected = self.values(name)?;
        self.compare(name, got, &expected, |e| STATISTIC * e.abs());
        Ok(())
    }

    /// Compares each value with the tensor `name` to `tolerance` times the largest reference value.
    pub fn close_to_scale(&self, name: &str, got: &[f64], tolerance: f64) -> Result<(), Failed> {
        let expected = self.values(name)?;
        let largest = expected.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        self.compare(name, got, &expected, |_| tolerance * largest);
        Ok(())
    }

    /// A single number, or a list of them, by its path, such as `breslow/loglik`.
    pub fn scalars(&self, path: &str) -> Result<Vec<f64>, Failed> {
        let value = self.scalars.pointer(&format!("/{path}"));
        numbers_of(value.ok_or_else(|| format!("there is no number {path}"))?)
            .ok_or_else(|| format!("{path} is not numeric").into())
    }

    /// Compares a single number to 1e-9 of itself.
    pub fn close_scalar(&self, path: &str, got: f64) -> Result<(), Failed> {
        self.close_scalars(path, &[got])
    }

    /// Compares a list of numbers, each to 1e-9 of itself.
    pub fn close_scalars(&self, path: &str, got: &[f64]) -> Result<(), Failed> {
        let expected = self.scalars(path)?;
        self.compare(&format!("scalars/{path}"), got, &expected, |e| STATISTIC * e.abs());
        Ok(())
    }

    /// Compares values that the adapter computed itself with others, within `tolerance(reference)`.
    pub fn compare(&self, name: &str, got: &[f64], expected: &[f64], tolerance: impl Fn(f64) -> f64) {
        self.accept(name);
        if got.len() != expected.len() {
            return self.fail(name, format!("{} values expected, got {}", expected.len(), got.len()));
        }
        let mut worst = (0.0, String::new());
        for (i, (e, g)) in expected.iter().zip(got).enumerate() {
            let (tolerance, error) = (tolerance(*e), (e - g).abs());
            // Both undefined, or the same infinity, agree; a NaN on one side gives an infinite ratio.
            let ratio = match error {
                _ if e == g || (e.is_nan() && g.is_nan()) => 0.0,
                error if error.is_nan() || tolerance == 0.0 => f64::INFINITY,
                error => error / tolerance,
            };
            if ratio > worst.0 {
                worst = (ratio, format!("[{i}]: {e:e} expected within {tolerance:.2e}, got {g:e}"));
            }
        }
        if worst.0 > 1.0 {
            self.fail(name, worst.1);
        }
        let account = &mut *self.account.borrow_mut();
        if account.worst.as_ref().is_none_or(|w| worst.0 >= w.ratio) {
            account.worst = Some(Comparison { name: name.into(), ratio: worst.0 });
        }
    }

    /// Notes that the tensor or number `name` has been compared by other means, such as a mesh by its vertex set.
    pub fn accept(&self, name: &str) {
        self.account.borrow_mut().compared.insert(name.to_string());
    }

    /// Notes a disagreement.
    pub fn fail(&self, name: &str, what: impl std::fmt::Display) {
        self.accept(name);
        self.account.borrow_mut().failures.push(format!("{name} {what}"));
    }

    /// Declares that what begins with `prefix` (`grad.monai_asis.`, `scalars/version`) is not to be equalled.
    pub fn informative(&self, prefix: &str) {
        self.account.borrow_mut().informative.push(prefix.to_string());
    }

    /// An error if something compared so far disagrees, for tests that use only a part of a case.
    pub fn agrees(&self) -> Result<(), Failed> {
        match self.account.borrow().failures.first() {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }

    /// The verdict, given how the adapter ended.
    pub fn verdict(&self, outcome: Result<(), Failed>) -> Verdict {
        let account = self.account.borrow();
        if let Err(failed) = outcome {
            let message = failed.message().unwrap_or("failed without a message").to_string();
            return match message.strip_prefix(UNSUPPORTED) {
                Some(why) => Verdict::Unsupported(why.to_string()),
                None => Verdict::Fail(message),
            };
        }
        if let Some(first) = account.failures.first() {
            let more = account.failures.len() - 1;
            let worst = account.worst.as_ref().filter(|w| w.ratio > 1.0);
            let worst = worst.and_then(|w| account.failures.iter().find(|f| f.starts_with(&w.name)));
            let also = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            return Verdict::Fail(format!("{}{also}", worst.unwrap_or(first)));
        }
        let ignored = |name: &String| account.informative.iter().any(|p| name.starts_with(p));
        let left: Vec<String> = self
            .references()
            .into_iter()
            .filter(|name| !account.compared.contains(name) && !ignored(name))
            .collect();
        if !left.is_empty() {
            return Verdict::Fail(format!("not compared: {}", left.join(", ")));
        }
        let options = self.config.as_object().into_iter().flatten().map(|(k, _)| k);
        let unread: Vec<&str> =
            options.filter(|k| !account.options.contains(*k)).map(String::as_str).collect();
        if !unread.is_empty() {
            return Verdict::Unsupported(format!("option {}", unread.join(", ")));
        }
        match &account.worst {
            Some(worst) => Verdict::Pass(worst.clone()),
            None => Verdict::Fail("nothing was compared".into()),
        }
    }

    /// The names of everything that has a reference.
    fn references(&self) -> Vec<String> {
        let expected = |name: &&String| ["out.", "grad.", "after."].iter().any(|p| name.starts_with(p));
        let mut names: Vec<String> = self.tensors.keys().filter(expected).cloned().collect();
        leaves(&self.scalars, "scalars", &mut names);
        names.sort();
        names
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>, Failed> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?)
}

/// A number, a truth value, an absent one (NaN, as the peers print it) or a flat list of them.
fn numbers_of(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Number(n) => Some(vec![n.as_f64()?]),
        Value::Bool(b) => Some(vec![f64::from(u8::from(*b))]),
        Value::Null => Some(vec![f64::NAN]),
        Value::Array(list) => {
            list.iter().map(numbers_of).collect::<Option<Vec<_>>>().map(|lists| lists.concat())
        }
        _ => None,
    }
}

fn leaves(value: &Value, path: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| leaves(v, &format!("{path}/{k}"), names)),
        Value::Null | Value::String(_) => {}
        _ => names.push(path.to_string()),
    }
}
