use crate::{Error, Gradients, Result, Seed};
use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::init::{Init, NormalOrUniform};
use candle_nn::var_builder::{SimpleBackend, VarBuilder};
use oncograph_core::write_file;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The named parameters and buffers of a model, drawn from a [`Seed`].
///
/// candle's `VarMap` draws from a generator that cannot be seeded. Here each parameter is drawn from a separate random
/// stream, named after it, so that its first value depends on the seed, its name and its shape alone. Names are kept in
/// order, so that sums over parameters are the same in every run.
///
/// Batch-norm statistics (`running_mean`, `running_var`) are buffers: saved, but neither trainable nor counted.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let w = store.var_builder(DType::F32, &Device::Cpu).get(2, "w")?;
/// let gradients = store.backward(&w.sqr()?.sum_all()?)?;
/// assert_eq!(gradients.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ParamStore {
    seed: Seed,
    vars: Arc<Mutex<BTreeMap<String, Var>>>,
}

impl std::fmt::Debug for ParamStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParamStore").field("seed", &self.seed).field("names", &self.names()).finish()
    }
}

impl ParamStore {
    /// An empty store; parameters are created when a constructor requests them from [`ParamStore::var_builder`].
    pub fn new(seed: Seed) -> Self {
        ParamStore { seed, vars: Arc::default() }
    }

    /// The builder to hand to constructors.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// Every name, buffers included, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// One parameter or buffer.
    pub fn get(&self, name: &str) -> Option<Var> {
        self.lock().get(name).cloned()
    }

    /// The trainable parameters by name, in order.
    pub fn trainable(&self) -> Vec<(String, Var)> {
        self.lock().iter().filter(|(n, _)| !is_buffer(n)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// How many numbers are trained: the count that papers report.
    pub fn parameter_count(&self) -> usize {
        self.trainable().iter().map(|(_, v)| v.elem_count()).sum()
    }

    /// The gradients of a scalar `loss`; its graph is not kept alive by them.
    ///
    /// # Errors
    /// If `loss` is not a scalar, or an error of candle.
    pub fn backward(&self, loss: &Tensor) -> Result<Gradients> {
        if loss.elem_count() != 1 {
            return Err(Error::shape("backward", "a scalar loss", loss.dims()));
        }
        let mut all = loss.backward()?;
        let found = self.trainable().into_iter().filter_map(|(n, v)| all.remove(&v).map(|g| (n, g.detach())));
        Ok(Gradients(found.collect()))
    }

    /// A deep copy of every value by name, for example to come back to the best epoch.
    ///
    /// # Errors
    /// An error of candle.
    pub fn snapshot(&self) -> Result<HashMap<String, Tensor>> {
        self.lock().iter().map(|(n, v)| Ok((n.clone(), v.as_tensor().copy()?.detach()))).collect()
    }

    /// Puts back values by name; names and shapes must be exactly those of the store.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] names every missing, unexpected and mis-shaped entry; nothing is changed then.
    pub fn restore(&self, state: &HashMap<String, Tensor>) -> Result<()> {
        let vars = self.lock();
        let missing: Vec<_> = vars.keys().filter(|n| !state.contains_key(*n)).cloned().collect();
        let mut unexpected: Vec<_> = state.keys().filter(|n| !vars.contains_key(*n)).cloned().collect();
        unexpected.sort();
        let fits = |n: &String, v: &Var| state.get(n).is_none_or(|t| t.dims() == v.dims());
        let misshaped: Vec<_> = vars
            .iter()
            .filter(|(n, v)| !fits(n, v))
            .map(|(n, v)| format!("{n}: {:?}, {:?}", v.dims(), state[n].dims()))
            .collect();
        if !(missing.is_empty() && unexpected.is_empty() && misshaped.is_empty()) {
            return Err(Error::StateMismatch { missing, unexpected, misshaped });
        }
        for (name, var) in vars.iter() {
            var.set(&state[name].to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        Ok(())
    }

    /// Writes all values as safetensors, the file whole or not at all.
    ///
    /// # Errors
    /// [`Error::AtFile`] with the path; the old file, if any, is untouched then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save_tensors(&self.snapshot()?, path)
    }

    /// Reads what [`ParamStore::save`] wrote into the parameters that exist.
    ///
    /// # Errors
    /// As [`ParamStore::restore`], or an error of candle for an unreadable file.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        self.restore(&candle_core::safetensors::load(path.as_ref(), &Device::Cpu)?)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        // The map is never left half-changed, so a panic elsewhere does not spoil it.
        self.vars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes named tensors as safetensors, the file whole or not at all ([`write_file`]).
///
/// # Errors
/// [`Error::AtFile`] with the path.
pub fn save_tensors(tensors: &HashMap<String, Tensor>, path: impl AsRef<Path>) -> Result<()> {
    let bytes = safetensors::serialize(tensors, None).map_err(candle_core::Error::wrap)?;
    write_file(path, &bytes)?;
    Ok(())
}

fn is_buffer(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("running_mean" | "running_var" | "num_batches_tracked"))
}

impl SimpleBackend for ParamStore {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut vars = self.lock();
        if let Some(var) = vars.get(name) {
            if var.shape() != &shape {
                return Err(Error::shape("ParamStore", format!("{name} {shape:?}"), var.dims()).into());
            }
            return Ok(var.as_tensor().clone());
        }
        let value = draw(&shape, init, self.seed.stream("init").stream(name))?;
        let var = Var::from_tensor(&value.to_dtype(dtype)?.to_device(device)?)?;
        Ok(vars.entry(name.to_string()).or_insert(var).as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        match self.get(name) {
            Some(var) => Ok(var.as_tensor().clone()),
            None => candle_core::bail!("no parameter is called {name}"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}

/// `init` drawn from the stream `seed` in f64, so that an f32 and an f64 model start alike.
fn draw(shape: &Shape, init: Init, seed: Seed) -> candle_core::Result<Tensor> {
    let mut rng = seed.rng();
    let n = shape.elem_count();
    let mut normal = |mean: f64, std: f64| -> Vec<f64> {
        (0..n).map(|_| mean + std * Distribution::<f64>::sample(&StandardNormal, &mut rng)).collect()
    };
    let values: Vec<f64> = match init {
        Init::Const(c) => vec![c; n],
        Init::Randn { mean, stdev } => normal(mean, stdev),
        Init::Uniform { lo, up } => uniform(n, lo, up, seed),
        Init::Kaiming { dist, fan, non_linearity } => {
            let std = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => normal(0.0, std),
                NormalOrUniform::Uniform => uniform(n, -std * 3f64.sqrt(), std * 3f64.sqrt(), seed),
            }
        }
    };
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn uniform(n: usize, lo: f64, up: f64, seed: Seed) -> Vec<f64> {
    let mut rng = seed.rng();
    (0..n).map(|_| lo + (up - lo) * rng.random::<f64>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    fn store_with(names: &[&str], seed: u64) -> ParamStore {
        let store = ParamStore::new(Seed::new(seed));
        let vb = store.var_builder(DType::F32, &device());
        let init = Init::Uniform { lo: -0.5, up: 0.5 };
        for name in names {
            vb.get_with_hints((3, 2), name, init).unwrap();
        }
        store
    }

    fn values(store: &ParamStore, name: &str) -> Vec<f32> {
        store.get(name).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn values_depend_on_seed_and_name_but_not_on_order() {
        let (a, b) = (store_with(&["x", "y"], 1), store_with(&["y", "x"], 1));
        assert_eq!(values(&a, "x"), values(&b, "x"));
        assert_ne!(values(&a, "x"), values(&a, "y"));
        assert_ne!(values(&a, "x"), values(&store_with(&["x"], 2), "x"));
        assert!(values(&a, "x").iter().all(|v| v.abs() <= 0.5));
    }

    #[test]
    fn buffers_are_neither_trained_nor_counted() {
        let store = store_with(&["bn.weight", "bn.running_mean", "bn.running_var"], 1);
        assert_eq!(store.trainable().len(), 1);
        assert_eq!(store.parameter_count(), 6);
        assert_eq!(store.names().len(), 3);
    }

    #[test]
    fn save_and_load_give_the_same_bits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let (a, b) = (store_with(&["x", "y"], 1), store_with(&["x", "y"], 2));
        a.save(&path).unwrap();
        b.load(&path).unwrap();
        assert_eq!(values(&a, "y"), values(&b, "y"));
    }

    #[test]
    fn restore_names_what_does_not_fit_and_changes_nothing() {
        let a = store_with(&["x", "y"], 1);
        let before = values(&a, "x");
        let mut state = a.snapshot().unwrap();
        state.remove("y");
        state.insert("z".into(), Tensor::zeros(1, DType::F32, &device()).unwrap());
        state.insert("x".into(), Tensor::zeros((2, 3), DType::F32, &device()).unwrap());
        let message = a.restore(&state).unwrap_err().to_string();
        assert_eq!(
            message,
            r#"state does not fit: missing ["y"], unexpected ["z"], wrong shape ["x: [3, 2], [2, 3]"]"#
        );
        assert_eq!(values(&a, "x"), before);
    }

    #[test]
    fn a_snapshot_does_not_follow_the_variable() {
        let a = store_with(&["x"], 1);
        let snapshot = a.snapshot().unwrap();
        let before = values(&a, "x");
        a.get("x").unwrap().set(&Tensor::zeros((3, 2), DType::F32, &device()).unwrap()).unwrap();
        a.restore(&snapshot).unwrap();
        assert_eq!(values(&a, "x"), before);
    }

    #[test]
    fn gradients_are_detached_and_clipped() {
        let a = store_with(&["x", "unused"], 1);
        let x = a.get("x").unwrap();
        let mut g = a.backward(&(x.as_tensor() * 3.0).unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(g.iter().map(|(n, _)| n).collect::<Vec<_>>(), ["x"]);
        assert!(!g.get("x").unwrap().track_op());
        let norm = g.clip_norm(1.0).unwrap();
        approx::assert_relative_eq!(norm, (6.0 * 9.0f64).sqrt(), epsilon = 1e-12);
        approx::assert_relative_eq!(g.global_norm().unwrap(), 1.0, epsilon = 1e-6);
        assert!(a.backward(x.as_tensor()).is_err());
    }
}
