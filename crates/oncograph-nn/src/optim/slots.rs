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

/// The per-parameter state of an optimizer, by parameter name.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(BTreeMap<String, Slot>);

impl Slots {
    pub(super) fn step<R: Rule>(&mut self, rule: &R, store: &ParamStore, grads: &Gradients) -> Result<()> {
        let updates: Vec<_> = store
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
        for (name, var, grad) in updates {
            self.update(rule, name, &var, &grad)?;
        }
        Ok(())
    }

    fn update<R: Rule>(&mut self, rule: &R, name: String, var: &Var, grad: &Tensor) -> Result<()> {
        let count = rule.moments().len();
        let slot = self.0.entry(name).or_insert(Slot { step: 0, moments: Vec::new() });
        while slot.moments.len() < count {
            slot.moments.push(Moment::zeros_like(var)?);
        }
        for moment in &mut slot.moments {
            moment.fit(var)?;
        }
        slot.step += 1;
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
