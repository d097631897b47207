use crate::{Error, ParamStore, Result};
use candle_core::Tensor;
#[cfg(feature = "cuda")]
use candle_core::Var;
use std::collections::{BTreeMap, HashMap};

/// An exponential moving average of the parameters: `a = decay * a + (1 - decay) * p` after each step.
///
/// The first update takes the parameters as they are. Buffers, such as running statistics, are copied, not averaged.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::optim::Ema;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// store.var_builder(DType::F32, &Device::Cpu).get(1, "w")?;
/// let w = store.get("w").ok_or("no w")?;
/// let mut ema = Ema::new(0.9)?;
/// for value in [1f32, 2.0] {
///     w.set(&Tensor::new(&[value], &Device::Cpu)?)?; // in place of an optimizer's step
///     ema.update(&store)?;
/// }
/// store.restore(&ema.state()?)?; // evaluate with the average
/// assert!((w.to_vec1::<f32>()?[0] - 1.1).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`.
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    averages: BTreeMap<String, Tensor>,
}

impl Ema {
    /// An average without parameters yet.
    ///
    /// # Errors
    /// [`Error::Argument`] for a decay outside \[0, 1\].
    pub fn new(decay: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Error::config("Ema", "decay", "in [0, 1]", decay));
        }
        Ok(Ema { decay, averages: BTreeMap::new() })
    }

    /// Takes in the parameters of `store`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a parameter that has changed its shape, or an error of candle.
    pub fn update(&mut self, store: &ParamStore) -> Result<()> {
        let trainable: BTreeMap<String, _> = store.trainable().into_iter().collect();
        #[cfg(feature = "cuda")]
        if self.update_on_device(store, &trainable)? {
            return Ok(());
        }
        for (name, value) in store.snapshot()? {
            let next = match self.averages.get(&name) {
                Some(old) if trainable.contains_key(&name) => {
                    if old.dims() != value.dims() {
                        return Err(Error::shape("Ema", format!("{name} {:?}", old.dims()), value.dims()));
                    }
                    ((old * self.decay)? + (value * (1.0 - self.decay))?)?
                }
                _ => value,
            };
            self.averages.insert(name, next);
        }
        Ok(())
    }

    /// By a kernel over many parameters; false where they are not all of one CUDA device.
    #[cfg(feature = "cuda")]
    fn update_on_device(&mut self, store: &ParamStore, trainable: &BTreeMap<String, Var>) -> Result<bool> {
        use crate::cuda::optim::{map, takes};
        let Some(device) = trainable.values().next().map(|var| var.device().clone()) else {
            return Ok(false);
        };
        if !trainable.values().all(|var| takes(var) && var.device().same_device(&device)) {
            return Ok(false);
        }
        let mut next = BTreeMap::new();
        let (mut names, mut values, mut old) = (vec![], vec![], vec![]);
        for name in store.names() {
            let Some(var) = store.get(&name) else { continue };
            match self.averages.get(&name).filter(|_| trainable.contains_key(&name)) {
                Some(average) if average.dims() != var.dims() => {
                    return Err(Error::shape("Ema", format!("{name} {:?}", average.dims()), var.dims()));
                }
                Some(average) => {
                    old.push(average.to_device(&device)?.to_dtype(var.dtype())?);
                    values.push(var.as_detached_tensor());
                    names.push(name);
                }
                None => {
                    next.insert(name, var.copy()?.detach());
                }
            }
        }
        next.extend(names.into_iter().zip(map("average", self.decay, &values, &old)?));
        self.averages.extend(next);
        Ok(true)
    }

    /// The averages by name, for [`ParamStore::restore`] or to be saved.
    ///
    /// # Errors
    /// An error of candle.
    pub fn state(&self) -> Result<HashMap<String, Tensor>> {
        self.averages.iter().map(|(name, value)| Ok((name.clone(), value.copy()?))).collect()
    }

    /// Continues from what [`Ema::state`] returned.
    pub fn load_state(&mut self, state: HashMap<String, Tensor>) {
        self.averages = state.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::testing::device;
    use candle_core::DType;

    #[test]
    fn parameters_are_averaged_and_buffers_copied() {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &device());
        vb.get(1, "w").unwrap();
        vb.get(1, "running_mean").unwrap();
        let mut ema = Ema::new(0.75).unwrap();
        for value in [4.0, 8.0, 0.0] {
            for name in ["w", "running_mean"] {
                store.get(name).unwrap().set(&Tensor::new(&[value], &device()).unwrap()).unwrap();
            }
            ema.update(&store).unwrap();
        }
        let state = ema.state().unwrap();
        // 4, then 3/4 4 + 1/4 8 = 5, then 3/4 5 = 3.75.
        assert_eq!(state["w"].to_vec1::<f64>().unwrap(), [3.75]);
        assert_eq!(state["running_mean"].to_vec1::<f64>().unwrap(), [0.0]);
        let mut resumed = Ema::new(0.75).unwrap();
        resumed.load_state(state);
        ema.update(&store).unwrap();
        resumed.update(&store).unwrap();
        assert_eq!(
            resumed.state().unwrap()["w"].to_vec1::<f64>().unwrap(),
            ema.state().unwrap()["w"].to_vec1::<f64>().unwrap()
        );
        assert!(Ema::new(1.5).is_err());
    }
}
