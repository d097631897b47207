//! Comparing the CPU with CUDA, for tests on the stand-in (`xtask/cuda-sim`) and on hardware.

use candle_core::{DType, Device, Result, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The shape of a tensor and its elements in order.
pub type Values = (Vec<usize>, Vec<f64>);

/// What an operation gives on a device, or the first line of its error; a panic is an error, too.
///
/// # Errors
/// The first line of the error, or the panic's message.
pub fn values(
    device: &Device,
    run: impl Fn(&Device) -> Result<Tensor>,
) -> std::result::Result<Values, String> {
    let read = || -> Result<Values> {
        let y = run(device)?;
        Ok((y.dims().to_vec(), y.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?))
    };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(values)) => Ok(values),
        Ok(Err(error)) => Err(error.to_string().lines().next().unwrap_or_default().to_string()),
        Err(panic) => {
            let owned = panic.downcast_ref::<String>().map(String::as_str);
            let text = owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            Err(format!("panic: {text}"))
        }
    }
}

/// Where two results differ by more than `tolerance`, relative above 1; `None` if nowhere. NaN equals NaN.
pub fn difference(want: &Values, got: &Values, tolerance: f64) -> Option<String> {
    if want.0 != got.0 {
        return Some(format!("shape {:?}, expected {:?}", got.0, want.0));
    }
    let close = |a: f64, b: f64| (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(1.0);
    let at = (0..want.1.len()).find(|&i| !close(want.1[i], got.1[i]))?;
    Some(format!("element {at} is {}, expected {}", got.1[at], want.1[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found() {
        let want = (vec![2], vec![1.0, f64::NAN]);
        assert_eq!(difference(&want, &want, 0.0), None);
        let got = (vec![2], vec![1.5, f64::NAN]);
        assert_eq!(difference(&want, &got, 0.1).unwrap(), "element 0 is 1.5, expected 1");
        assert!(difference(&want, &(vec![2], vec![1.0, 0.0]), 0.1).is_some());
        assert!(difference(&want, &(vec![1, 2], want.1.clone()), 0.1).is_some());
    }

    #[test]
    fn errors_and_panics_are_texts() {
        let fails = values(&Device::Cpu, |d| Tensor::zeros(2, DType::F32, d)?.reshape(3));
        assert!(fails.unwrap_err().contains("shape"));
        assert_eq!(values(&Device::Cpu, |_| panic!("no")).unwrap_err(), "panic: no");
    }
}
