use super::fused::{Rule, update_in_place};
use super::moment::Moment;
use crate::{Error, Gradients, ParamStore, Result};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, HashMap};

/// The learning rate's key in a saved state; parameter entries always have a `<moment>.` prefix.
const LEARNING_RATE: &str = "learning_rate";
const STEP: &str = "step";

#[derive(Debug, Clone)]
struct Slot {
    step: u64,
    moments: Vec<Moment>,
}

/// A parameter with its name and its gradient.
type Named = (String, Var, Tensor);

/// The per-parameter state of an optimizer, by parameter name.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(BTreeMap<String, Slot>);

impl Slots {
    pub(super) fn step<R: Rule>(&mut self, rule: &R, store: &ParamStore, grads: &Gradients) -> Result<()> {
        let updates: Vec<Named> = store
            .trainable()
            .into_iter()
            .filter_map(|(name, var)| grads.get(&name).map(|g| (name, var, g.clone())))
            .collect();
        for (name, var, grad) in &updates {
            let stored = self.0.get(name).and_then(|s| s.moments.iter().find(|m| m.shape() != var.shape()));
            let other = (var.dims() != grad.dims()).then(|| grad.shape()).or(stored.map(Moment::shape));
            if let Some(shape) = other {
                return Err(Error::shape(R::NAME, format!("{name} {:?}", var.dims()), shape.dims()));
            }
        }
        #[cfg(feature = "cuda")]
        let updates = self.update_on_device(rule, updates)?;
        for (name, var, grad) in updates {
            self.update(rule, name, &var, &grad)?;
        }
        Ok(())
    }

    /// Updates what the kernels of a CUDA device take, many parameters in one launch; returns the others.
    #[cfg(feature = "cuda")]
    fn update_on_device<R: Rule>(&mut self, rule: &R, updates: Vec<Named>) -> Result<Vec<Named>> {
        use crate::cuda::optim::{Update, takes, update};
        let Some(device) = updates.iter().map(|(_, var, _)| var.device()).find(|d| d.is_cuda()).cloned()
        else {
            return Ok(updates);
        };
        let fits = |var: &Var| takes(var) && var.device().same_device(&device) && var.is_contiguous();
        let (mut mine, others): (Vec<_>, Vec<_>) = updates.into_iter().partition(|(_, var, _)| fits(var));
        for (name, var, grad) in &mut mine {
            let slot = self.next(rule, name.clone(), var)?;
            slot.moments.iter_mut().try_for_each(Moment::make_own)?;
            *grad = grad.to_dtype(var.dtype())?;
        }
        let mut alike: BTreeMap<(u64, bool), Vec<Update>> = BTreeMap::new();
        for (name, var, grad) in &mine {
            let slot = &self.0[name];
            let moments = slot.moments.iter().filter_map(Moment::on_device).collect();
            let update = Update { param: var.as_tensor(), grad, moments };
            alike.entry((slot.step, var.dtype() == DType::F64)).or_default().push(update);
        }
        for ((step, _), updates) in &alike {
            let (kernel, numbers) = rule.kernel(*step);
            update(kernel, numbers, updates)?;
        }
        Ok(others)
    }

    /// The state of a parameter for its next step.
    fn next<R: Rule>(&mut self, rule: &R, name: String, var: &Var) -> Result<&mut Slot> {
        let count = rule.moments().len();
        let slot = self.0.entry(name).or_insert(Slot { step: 0, moments: Vec::new() });
        while slot.moments.len() < count {
            slot.moments.push(Moment::zeros_like(var)?);
        }
        for moment in &mut slot.moments {
            moment.fit(var)?;
        }
        slot.step += 1;
        Ok(slot)
    }

    fn update<R: Rule>(&mut self, rule: &R, name: String, var: &Var, grad: &Tensor) -> Result<()> {
        let slot = self.next(rule, name, var)?;
        let fused = var.device().is_cpu() && matches!(var.dtype(), DType::F32 | DType::F64);
        let grad = grad.to_dtype(var.dtype())?;
        if fused && var.is_contiguous() {
            update_in_place(rule, slot.step, var.as_tensor(), &grad, &mut slot.moments)?;
            return Ok(());
        }
        let mut moments = slot.moments.iter().map(Moment::to_tensor).collect::<Result<Vec<_>>>()?;
        let param = rule.update_tensor(slot.step, &var.as_detached_tensor(), &grad, &mut moments)?;
        var.set(&param)?;
        slot.moments = moments.iter().map(|t| Moment::from_tensor(&t.detach())).collect::<Result<_>>()?;
        Ok(())
    }

    pub(super) fn state<R: Rule>(&self, rule: &R, learning_rate: f64) -> Result<HashMap<String, Tensor>> {
        let mut state =
            HashMap::from([(LEARNING_RATE.to_string(), Tensor::new(learning_rate, &Device::Cpu)?)]);
        for (name, slot) in &self.0 {
            state.insert(format!("{STEP}.{name}"), Tensor::new(slot.step as i64, &Device::Cpu)?);
            for (moment, value) in rule.moments().iter().zip(&slot.moments) {
                state.insert(format!("{moment}.{name}"), value.to_tensor()?);
            }
        }
        Ok(state)
    }

    pub(super) fn from_state<R: Rule>(rule: &R, state: &HashMap<String, Tensor>) -> Result<(Self, f64)> {
        let moments = rule.moments();
        let names: Vec<&str> = state.keys().filter_map(|k| k.strip_prefix("step.")).collect();
        let mut expected: Vec<String> = vec![LEARNING_RATE.to_string()];
        for name in &names {
            expected.extend(std::iter::once(&STEP).chain(&moments).map(|m| format!("{m}.{name}")));
        }
        let mut missing: Vec<_> = expected.iter().filter(|k| !state.contains_key(*k)).cloned().collect();
        let mut unexpected: Vec<_> = state.keys().filter(|k| !expected.contains(k)).cloned().collect();
        if !(missing.is_empty() && unexpected.is_empty()) {
            missing.sort();
            unexpected.sort();
            return Err(Error::StateMismatch { missing, unexpected, misshaped: Vec::new() });
        }
        let mut slots = BTreeMap::new();
        for name in names {
            let step = state[&format!("{STEP}.{name}")].to_dtype(DType::I64)?.to_scalar::<i64>()?;
            let moments = moments.iter().map(|m| Moment::from_tensor(&state[&format!("{m}.{name}")]));
            let slot = Slot { step: step.max(0) as u64, moments: moments.collect::<Result<_>>()? };
            slots.insert(name.to_string(), slot);
        }
        Ok((Slots(slots), state[LEARNING_RATE].to_dtype(DType::F64)?.to_scalar::<f64>()?))
    }
}
