//! Checks for layers: finite differences, gradient coverage, and the contract of every module.

#[cfg(feature = "cuda")]
mod budget;
mod contract;
mod devices;

#[cfg(feature = "cuda")]
pub use budget::{StepCost, check_budget};
pub use contract::check_module;
pub use devices::check_devices;

use crate::{DeviceSpec, Error, ParamStore, Result};
use candle_core::{DType, Device, Tensor, Var};

/// The device of tests that do not depend on it: the first GPU with the feature `cuda`, else the CPU.
///
/// # Panics
/// If the GPU cannot be opened.
#[allow(clippy::expect_used)] // helpers of tests are tests
pub fn device() -> Device {
    let spec = if cfg!(feature = "cuda") { DeviceSpec::Cuda(0) } else { DeviceSpec::Cpu };
    spec.open().expect("the device of the tests")
}

/// The CPU, and with the feature `cuda` the first GPU.
///
/// # Panics
/// As [`device`].
pub fn devices() -> Vec<Device> {
    let gpu = cfg!(feature = "cuda").then(device);
    [Device::Cpu].into_iter().chain(gpu).collect()
}

/// Compares the gradients of `sum(f(inputs) * c)` with central finite differences, in f64.
///
/// `c` is a fixed pattern of unequal weights, so that an error cannot cancel in a plain sum. `inputs` must be f64;
/// `eps` is the step and `tol` the largest accepted `|difference| / max(1, |numeric|)`.
///
/// # Errors
/// [`Error::Shape`] names the input, the element and both values of the worst mismatch, or an input without a
/// gradient; an error of `f`.
pub fn check_gradients(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    eps: f64,
    tol: f64,
) -> Result<()> {
    let vars = inputs.iter().map(|x| Ok(Var::from_tensor(&x.copy()?)?)).collect::<Result<Vec<_>>>()?;
    let as_tensors = |vars: &[Var]| vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>();
    let loss_of = |inputs: &[Tensor]| -> Result<Tensor> {
        let y = f(inputs)?.flatten_all()?;
        let weights: Vec<f64> = (0..y.elem_count()).map(|i| ((i * 7 + 3) % 11) as f64 / 5.0 - 0.9).collect();
        Ok((&y * Tensor::from_vec(weights, y.shape(), y.device())?)?.sum_all()?)
    };
    let grads = loss_of(&as_tensors(&vars))?.backward()?;
    for (k, var) in vars.iter().enumerate() {
        let Some(grad) = grads.get(var) else {
            return Err(Error::shape("check_gradients", format!("a gradient for input {k}"), "none"));
        };
        let analytic = grad.flatten_all()?.to_vec1::<f64>()?;
        let base = var.flatten_all()?.to_vec1::<f64>()?;
        for i in 0..base.len() {
            let at = |delta: f64| -> Result<f64> {
                let mut values = base.clone();
                values[i] += delta;
                let mut shifted = as_tensors(&vars).iter().map(Tensor::detach).collect::<Vec<_>>();
                shifted[k] = Tensor::from_vec(values, var.shape(), var.device())?;
                Ok(loss_of(&shifted)?.to_scalar::<f64>()?)
            };
            let numeric = (at(eps)? - at(-eps)?) / (2.0 * eps);
            // A NaN compares as not close.
            let close = (analytic[i] - numeric).abs() <= tol * numeric.abs().max(1.0);
            if !close {
                let expected = format!("gradient {numeric} of input {k} at {i}");
                return Err(Error::shape("check_gradients", expected, analytic[i]));
            }
        }
    }
    Ok(())
}

/// That every trainable parameter of `store` receives a finite gradient from `loss` that is not all zero.
///
/// # Errors
/// [`Error::StateMismatch`] with the parameters without gradient (`missing`), with a gradient of zeros
/// (`unexpected`) or with one that is not finite (`misshaped`).
pub fn assert_gradient_coverage(store: &ParamStore, loss: &Tensor) -> Result<()> {
    let grads = store.backward(loss)?;
    let (mut missing, mut zero, mut infinite) = (Vec::new(), Vec::new(), Vec::new());
    for (name, _) in store.trainable() {
        let Some(grad) = grads.get(&name) else {
            missing.push(name);
            continue;
        };
        let values = grad.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        if !values.iter().all(|v| v.is_finite()) {
            infinite.push(name);
        } else if values.iter().all(|v| *v == 0.0) {
            zero.push(name);
        }
    }
    if missing.is_empty() && zero.is_empty() && infinite.is_empty() {
        return Ok(());
    }
    Err(Error::StateMismatch { missing, unexpected: zero, misshaped: infinite })
}

/// Numbers without structure in \[-1, 1), the same in every run, on [`device`]: test input that needs no generator.
///
/// # Errors
/// An error of candle.
pub fn pattern(shape: &[usize], salt: u64) -> Result<Tensor> {
    Ok(cpu_pattern(shape, salt)?.to_device(&device())?)
}

/// [`pattern`] on the CPU, for tests of what exists there alone.
///
/// # Errors
/// An error of candle.
pub fn cpu_pattern(shape: &[usize], salt: u64) -> Result<Tensor> {
    use rand::Rng;
    let mut rng = crate::Seed::new(salt).stream("pattern").rng();
    let n = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}
