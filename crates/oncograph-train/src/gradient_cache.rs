use crate::fit::scalar;
use crate::precision::buffers;
use crate::{Result, StepGradients};
use candle_core::{Tensor, Var};
use oncograph_nn::{Gradients, ParamStore};

/// What a loss over a whole batch is, with the parts that it is made of.
pub type BatchLoss = (Tensor, Vec<(&'static str, Tensor)>);

/// The gradients of a loss that compares all items of a batch, as a contrastive one does, with the activations of one
/// micro-batch in memory at a time.
///
/// `forward(m)` gives what the loss needs of the `m`-th of `count` micro-batches, one row per item; `loss` takes the rows
/// of all. Each micro-batch is computed twice: once for its rows, once, when the gradient of the loss with respect to
/// these is known, for its parameters. The gradients are those of the whole batch, if an item's row does not depend on
/// the other items of its micro-batch; batch norm in training does depend on them, with the statistics of each
/// micro-batch. Its running values are updated once.
///
/// # Errors
/// An error of `forward` or `loss`.
///
/// # Example
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::{ParamStore, Seed, linear, Module};
/// use oncograph_train::cached_gradients;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let layer = linear(2, 1, store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 9.0]], &Device::Cpu)?;
/// let loss = |rows: &Tensor| Ok((rows.sqr()?.mean_all()?, vec![]));
/// let step = cached_gradients(&store, 2, |m| Ok(layer.forward(&x.narrow(0, 2 * m, 2)?)?), loss)?;
/// let whole = store.backward(&layer.forward(&x)?.sqr()?.mean_all()?)?;
/// let of = |g: &oncograph_nn::Gradients| g.get("weight").map(|g| g.to_vec2::<f32>()).transpose();
/// let (a, b) = (of(&step.gradients)?.ok_or("none")?, of(&whole)?.ok_or("none")?);
/// assert!((a[0][0] - b[0][0]).abs() < 1e-4);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Gao et al., *Scaling deep contrastive learning batch size under memory limited setup*, 2021.
pub fn cached_gradients(
    store: &ParamStore,
    count: usize,
    mut forward: impl FnMut(usize) -> Result<Tensor>,
    loss: impl FnOnce(&Tensor) -> Result<BatchLoss>,
) -> Result<StepGradients> {
    let before = buffers(store)?;
    let mut rows = Vec::with_capacity(count);
    for part in 0..count {
        rows.push(forward(part)?.detach());
    }
    // The second pass updates the running values of batch norms again.
    for (var, value) in before {
        var.set(&value)?;
    }
    let all = Var::from_tensor(&Tensor::cat(&rows, 0)?)?;
    let (value, named) = loss(&all)?;
    let parts: Vec<_> = named.into_iter().map(|(name, part)| (name, part.detach())).collect();
    let gradient = value.backward()?.get(&all).map(Tensor::detach);
    let value = scalar(&value)?;
    let mut gradients = Gradients::default();
    let Some(gradient) = gradient else { return Ok(StepGradients { loss: value, gradients, parts }) };
    let mut start = 0;
    for (at, detached) in rows.iter().enumerate() {
        let rows = detached.dim(0)?;
        let of_part = gradient.narrow(0, start, rows)?;
        start += rows;
        gradients.add(&store.backward(&(forward(at)? * of_part)?.sum_all()?)?)?;
    }
    Ok(StepGradients { loss: value, gradients, parts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use oncograph_nn::norm::BatchNormConfig;
    use oncograph_nn::{Activation, Linear, MlpConfig, Mode, Module, Seed, linear, testing};

    /// Every row against all others.
    fn contrast(rows: &Tensor) -> Result<BatchLoss> {
        let logits = rows.matmul(&rows.t()?)?;
        let value = logits.log_sum_exp(1)?.mean_all()?;
        Ok((value.clone(), vec![("contrast", value)]))
    }

    fn largest_gap(a: &Gradients, b: &Gradients) -> f64 {
        assert_eq!(a.len(), b.len());
        let gap = |(name, g): (&str, &Tensor)| {
            let other = b.get(name).unwrap();
            (g - other).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
        };
        a.iter().map(gap).fold(0.0, f64::max)
    }

    #[test]
    fn micro_batches_have_the_gradients_of_the_whole() {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &Device::Cpu);
        let mlp = MlpConfig::new([3, 5, 4]).activation(Activation::Tanh).build(vb).unwrap();
        let x = testing::pattern(&[10, 3], 2).unwrap();
        let run = |x: &Tensor| Ok(mlp.forward(x, Mode::Eval)?);
        let whole = store.backward(&contrast(&run(&x).unwrap()).unwrap().0).unwrap();
        // Parts need not be equally long.
        let part = |m: usize| run(&x.narrow(0, 4 * m, if m == 2 { 2 } else { 4 })?);
        let cached = cached_gradients(&store, 3, part, contrast).unwrap();
        assert!(cached.parts[0].0 == "contrast" && scalar(&cached.parts[0].1).unwrap() == cached.loss);
        assert!(largest_gap(&cached.gradients, &whole) < 1e-14);
        // The test can fail: the parts alone have other gradients.
        let alone = cached_gradients(&store, 1, |_| part(0), contrast).unwrap();
        assert!(largest_gap(&alone.gradients, &whole) > 1e-3);
    }

    #[test]
    fn running_values_are_updated_once() {
        let setup = || {
            let store = ParamStore::new(Seed::new(1));
            let vb = store.var_builder(DType::F64, &Device::Cpu);
            let layer: Linear = linear(3, 4, vb.pp("lin")).unwrap();
            (BatchNormConfig::new(4).build(vb.pp("norm")).unwrap(), layer, store)
        };
        let x = testing::pattern(&[6, 3], 2).unwrap();
        let (norm, layer, store) = setup();
        let forward = |_| Ok(norm.forward(&layer.forward(&x)?, true)?);
        cached_gradients(&store, 1, forward, contrast).unwrap();
        let (norm, layer, plain) = setup();
        norm.forward(&layer.forward(&x).unwrap(), true).unwrap();
        let running_mean = |s: &ParamStore| s.get("norm.running_mean").unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(running_mean(&store), running_mean(&plain));
    }
}
