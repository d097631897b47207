//! Training in a reduced precision: on a device that has it, and held to f32 on its first step.

use crate::{Error, FitConfig, Learner, Result};
use candle_core::{Tensor, Var};
use oncograph_nn::{ParamStore, Precision, with_precision};
use std::collections::BTreeSet;

/// A difference below which losses are alike, whatever their size.
const NOTHING: f64 = 1e-6;

/// Whether the device of the parameters has the precision.
pub(crate) fn check_device(store: &ParamStore, precision: Precision) -> Result<()> {
    match store.trainable().first() {
        Some((_, var)) => Ok(precision.check_device(var.device())?),
        None => Ok(()),
    }
}

/// The loss of a step in f32, of which nothing is kept; none where the step is computed in f32 anyway.
pub(crate) fn loss_in_f32(
    learner: &mut dyn Learner,
    store: &ParamStore,
    config: &FitConfig,
    (epoch, step): (usize, usize),
) -> Result<Option<f64>> {
    if config.precision.is_f32() {
        return Ok(None);
    }
    let before = buffers(store)?;
    let step = with_precision(Precision::F32, || learner.step_gradients(store, epoch, step))?;
    for (var, value) in before {
        var.set(&value)?;
    }
    Ok(Some(step.loss))
}

/// Whether a loss in the reduced precision is that in f32.
pub(crate) fn compare(config: &FitConfig, exact: f64, got: f64) -> Result<()> {
    let FitConfig { precision, precision_tolerance: tolerance, .. } = *config;
    if (got - exact).abs() <= tolerance * exact.abs() + NOTHING {
        return Ok(());
    }
    Err(Error::Imprecise { precision, got, exact, tolerance })
}

/// The values that are not trained, as running means of norms, with copies of them.
pub(crate) fn buffers(store: &ParamStore) -> Result<Vec<(Var, Tensor)>> {
    let trained: BTreeSet<String> = store.trainable().into_iter().map(|(n, _)| n).collect();
    let rest = store.names().into_iter().filter(|n| !trained.contains(n)).filter_map(|n| store.get(&n));
    rest.map(|var| Ok((var.clone(), var.as_tensor().copy()?.detach()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OptimizerConfig, StepLoss, StopFlag, Validation, fit};
    use candle_core::{DType, Device};
    use oncograph_nn::Seed;
    use oncograph_nn::norm::BatchNormConfig;
    use oncograph_nn::optim::SgdConfig;

    /// A loss that depends on the precision that it is computed in, behind a batch norm.
    struct Crooked(ParamStore, oncograph_nn::norm::BatchNorm);

    impl Crooked {
        fn new() -> Self {
            let store = ParamStore::new(Seed::new(1));
            let vb = store.var_builder(DType::F64, &Device::Cpu);
            let norm = BatchNormConfig::new(2).build(vb.pp("norm")).unwrap();
            Crooked(store, norm)
        }
    }

    impl Learner for Crooked {
        fn steps(&self, _: usize) -> usize {
            1
        }

        fn train_step(&mut self, _: usize, _: usize) -> Result<StepLoss> {
            let x = Tensor::new(&[[1f64, 2.0], [4.0, 3.0]], &Device::Cpu)?;
            let loss = self.1.forward(&x, true)?.sqr()?.mean_all()?;
            let factor = if Precision::current().is_f32() { 1.0 } else { 1.1 };
            Ok(StepLoss { loss: (loss * factor)?, parts: vec![] })
        }

        fn validate(&mut self, _: usize) -> Result<Validation> {
            Ok(Validation { score: 0.0, parts: vec![] })
        }
    }

    fn config(precision: Precision) -> FitConfig {
        FitConfig::new(1, OptimizerConfig::Sgd(SgdConfig::new(0.1))).precision(precision)
    }

    #[test]
    fn a_step_in_f32_leaves_no_trace() {
        let mut learner = Crooked::new();
        let store = learner.0.clone();
        let mean = |s: &ParamStore| s.get("norm.running_mean").unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(loss_in_f32(&mut learner, &store, &config(Precision::F32), (0, 0)).unwrap(), None);
        let config = config(Precision::Bf16);
        let exact = with_precision(Precision::Bf16, || loss_in_f32(&mut learner, &store, &config, (0, 0)));
        let exact = exact.unwrap().unwrap();
        assert_eq!(mean(&store), [0.0; 2]);
        let got = with_precision(Precision::Bf16, || learner.train_step(0, 0)).unwrap();
        assert_ne!(mean(&store), [0.0; 2]);
        let error = compare(&config, exact, got.loss.to_scalar().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("the first loss is 1.0999"), "{error}");
        assert!(
            error.contains(" in bf16 and 0.9999") && error.contains("further apart than 0.05"),
            "{error}"
        );
        compare(&config.clone().precision_tolerance(0.2), 1.0, 1.1).unwrap();
        assert!(compare(&config, f64::NAN, 1.0).is_err());
    }

    #[test]
    fn what_the_cpu_does_not_have_is_refused_before_the_first_epoch() {
        for precision in [Precision::Tf32, Precision::Bf16] {
            let mut learner = Crooked::new();
            let store = learner.0.clone();
            let error = fit(&mut learner, &store, &config(precision), None, &StopFlag::new(), |_| ());
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(&format!("precision: {precision} must be f32")), "{error}");
            assert!(error.ends_with("got the CPU"), "{error}");
        }
        let error = config(Precision::Bf16).precision_tolerance(f64::NAN).validate().unwrap_err().to_string();
        assert_eq!(error, "FitConfig: precision_tolerance must be positive, got NaN");
    }

    #[test]
    fn older_settings_are_of_f32() {
        let mut json = serde_json::to_value(config(Precision::Bf16)).unwrap();
        assert_eq!(json["precision"], "bf16");
        assert_eq!(serde_json::from_value::<FitConfig>(json.clone()).unwrap(), config(Precision::Bf16));
        let map = json.as_object_mut().unwrap();
        map.remove("precision");
        map.remove("precision_tolerance");
        assert_eq!(serde_json::from_value::<FitConfig>(json).unwrap(), config(Precision::F32));
    }
}
