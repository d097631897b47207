//! What products are computed in: f32, TF32 or bf16 with sums in f32.

#[cfg(feature = "cuda")]
mod products;

use crate::element::Element;
use crate::{DeviceError, Error, Result};
use candle_core::{DType, Device};
use oncograph_core::Argument;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// What the products of 3D convolutions and of matrices of f32 are computed in, within [`with_precision`].
///
/// Parameters, activations, gradients, sums and the state of an optimizer are f32 in all of them, so that gradients need
/// no scaling. f64 stays as it is.
///
/// # Example
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{Conv3dConfig, conv3d};
/// use oncograph_nn::{Precision, with_precision};
///
/// # fn main() -> oncograph_nn::Result<()> {
/// let x = Tensor::full(1.003f32, (1, 1, 1, 1, 1), &Device::Cpu)?;
/// let y = with_precision("bf16".parse::<Precision>()?, || conv3d(&x, &x, None, &Conv3dConfig::new()))?;
/// // 8 bits of mantissa: both operands are rounded to 1.
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// f32, unless the program has allowed TF32 by candle's own switch.
    #[default]
    F32,
    /// Factors with 10 bits of mantissa, on a GPU; the CPU computes in f32.
    Tf32,
    /// Operands and results of 3D convolutions and of their gradients are rounded to bf16, the nearest, halves to the
    /// even one; products are summed in f32, biases are added in f32. Products of matrices are of TF32.
    Bf16,
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Runs `run` with products in `precision`.
///
/// A 3D convolution that this thread begins within `run` computes its gradients in the same precision, wherever these are
/// asked for. Products of matrices, and of those in an LSTM, follow candle's switch for TF32, which belongs to the process:
/// it is on as long as any thread is within a precision other than f32, for all threads, and is then set back. Threads that
/// `run` starts begin in f32.
pub fn with_precision<R>(precision: Precision, run: impl FnOnce() -> R) -> R {
    let _scope = Scope::enter(precision);
    run()
}

/// Sets the precision of the thread back when it is dropped.
struct Scope {
    before: Precision,
}

impl Scope {
    fn enter(precision: Precision) -> Self {
        Scope { before: change(precision) }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        change(self.before);
    }
}

/// Sets the precision of this thread and returns that before.
fn change(to: Precision) -> Precision {
    let before = CURRENT.replace(to);
    #[cfg(feature = "cuda")]
    products::change(!before.is_f32(), !to.is_f32());
    before
}

impl Precision {
    /// That of this thread.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Whether it is f32.
    pub fn is_f32(&self) -> bool {
        *self == Precision::F32
    }

    /// Whether the device computes in this precision: f32 on all, the others on GPUs of compute capability 8.0 or later.
    ///
    /// # Errors
    /// [`Error::Argument`] names the precision and what the device is.
    pub fn check_device(self, device: &Device) -> Result<()> {
        let refuse = |got: String| {
            let expected = "f32, or on a CUDA device of compute capability 8.0 or later";
            Err(Error::config("precision", self.to_string(), expected, got))
        };
        match device {
            _ if self.is_f32() => Ok(()),
            Device::Cpu => refuse("the CPU".into()),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                let context = device.cuda_stream().context().clone();
                let driver = |e| DeviceError::Driver(candle_core::Error::wrap(e));
                match context.compute_capability().map_err(driver)? {
                    (8.., _) => Ok(()),
                    (major, minor) => refuse(format!("one of {major}.{minor}")),
                }
            }
            _ => Err(DeviceError::NotBuilt.into()),
        }
    }

    /// Whether convolutions of this type round their operands.
    pub(crate) fn rounds(self, dtype: DType) -> bool {
        self == Precision::Bf16 && dtype == DType::F32
    }

    /// Values as an operand of a convolution on the CPU.
    pub(crate) fn operand<T: Element>(self, values: Cow<'_, [T]>) -> Cow<'_, [T]> {
        let rounded = if self.rounds(T::DTYPE) { T::as_floats(&values).map(rounded) } else { None };
        match rounded {
            Some(rounded) => Cow::Owned(T::from_floats(rounded)),
            None => values,
        }
    }

    /// Sums as the result of a convolution on the CPU.
    pub(crate) fn result<T: Element>(self, values: Vec<T>) -> Vec<T> {
        let rounded = if self.rounds(T::DTYPE) { T::as_floats(&values).map(rounded) } else { None };
        rounded.map_or(values, T::from_floats)
    }

    /// Whether products of f32 are to be of TF32 on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn tf32(self) -> bool {
        !self.is_f32() || products::allowed_by_the_program()
    }
}

fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|v| nearest_bf16(*v)).collect()
}

/// The nearest bf16, of two the even one, as f32; a NaN stays one.
fn nearest_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    if value.is_nan() {
        // Its upper bits may be those of an infinity.
        return f32::from_bits((bits & 0xffff_0000) | 0x0040_0000);
    }
    // No overflow: the largest bits are those of an infinity, whose lower half is 0.
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "tf32" => Ok(Precision::Tf32),
            "bf16" => Ok(Precision::Bf16),
            _ => Err(Argument::new("precision", "name", "f32, tf32 or bf16", text).into()),
        }
    }
}

impl Display for Precision {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Tensor;

    /// Every upper half with the lower halves around a tie.
    #[test]
    fn rounding_is_that_of_half_floats() {
        let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
        let values: Vec<f32> =
            (0..=u16::MAX).flat_map(|h| lower.map(|l| f32::from_bits(u32::from(h) << 16 | l))).collect();
        let wide = Tensor::from_slice(&values, values.len(), &Device::Cpu).unwrap();
        let halves = wide.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        for ((value, half), ours) in values.iter().zip(halves.to_vec1::<f32>().unwrap()).zip(rounded(&values))
        {
            assert_eq!(ours.to_bits(), half.to_bits(), "{value:e}");
        }
        assert_eq!(nearest_bf16(f32::MAX), f32::INFINITY);
    }

    #[test]
    fn names_are_read_and_written() {
        for (name, precision) in
            [("f32", Precision::F32), ("tf32", Precision::Tf32), ("bf16", Precision::Bf16)]
        {
            assert_eq!(name.parse::<Precision>().unwrap(), precision);
            assert_eq!(precision.to_string(), name);
            assert_eq!(serde_json::to_string(&precision).unwrap(), format!("\"{name}\""));
        }
        let error = "fp16".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "precision: name must be f32, tf32 or bf16, got fp16");
    }

    #[test]
    fn a_precision_is_of_its_thread_and_its_closure() {
        let inner = with_precision(Precision::Bf16, || {
            let other = std::thread::spawn(Precision::current).join().unwrap();
            let f32 = with_precision(Precision::F32, Precision::current);
            (other, f32, Precision::current())
        });
        assert_eq!(inner, (Precision::F32, Precision::F32, Precision::Bf16));
        let panicked = std::panic::catch_unwind(|| with_precision(Precision::Tf32, || panic!("inside")));
        assert!(panicked.is_err());
        assert_eq!(Precision::current(), Precision::F32);
    }

    #[test]
    fn the_cpu_has_f32_alone() {
        Precision::F32.check_device(&Device::Cpu).unwrap();
        let error = Precision::Bf16.check_device(&Device::Cpu).unwrap_err().to_string();
        assert_eq!(
            error,
            "precision: bf16 must be f32, or on a CUDA device of compute capability 8.0 or later, got the CPU"
        );
        #[cfg(feature = "cuda")]
        Precision::Bf16.check_device(&crate::testing::device()).unwrap();
    }
}
