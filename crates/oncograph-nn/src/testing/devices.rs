//! The same function on the CPU and on a GPU.

use super::device;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};

/// A result and the gradients of its weighted sum, as numbers.
type Answers = Vec<Vec<f64>>;

/// That `f` and its gradients are the same on [`device`] as on the CPU, in f32 and in f64, and have the same bits in a
/// second run.
///
/// `inputs` are of any type of numbers; a difference may be 1e-5 of the largest magnitude of the CPU's result (1e-11 in
/// f64) and twice what the CPU's element in f32 differs from that in f64, and a NaN must be in the same place. An input
/// without a gradient on the CPU must be without one on the device.
///
/// # Errors
/// [`Error::Shape`] names the result or the input, the element and both values; an error of `f`.
pub fn check_devices(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let gpu = device();
    let exact = answers(inputs, DType::F64, &Device::Cpu, &f)?;
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-11)] {
        let cpu = answers(inputs, dtype, &Device::Cpu, &f)?;
        let (first, second) = (answers(inputs, dtype, &gpu, &f)?, answers(inputs, dtype, &gpu, &f)?);
        for (k, (cpu, (first, second))) in cpu.iter().zip(first.iter().zip(&second)).enumerate() {
            let what = || match k {
                0 => format!("the result in {dtype:?}"),
                k => format!("the gradient of input {} in {dtype:?}", k - 1),
            };
            if cpu.len() != first.len() {
                let expected = format!("{} elements in {}", cpu.len(), what());
                return Err(Error::shape("check_devices", expected, first.len()));
            }
            let scale = cpu.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(1.0, f64::max);
            for (i, (a, b)) in cpu.iter().zip(first).enumerate() {
                let bound = tolerance * scale + 2.0 * (a - exact[k][i]).abs();
                let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound;
                if !same {
                    let expected = format!("{a} at {i} of {} as on the CPU", what());
                    return Err(Error::shape("check_devices", expected, b));
                }
            }
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            if bits(first) != bits(second) {
                let expected = format!("the same bits twice in {}", what());
                return Err(Error::shape("check_devices", expected, "others"));
            }
        }
    }
    Ok(())
}

/// The result of `f`, and the gradient for each input; nothing for one without.
fn answers(
    inputs: &[Tensor],
    dtype: DType,
    device: &Device,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Answers> {
    let on = |x: &Tensor| -> Result<Var> {
        let values = x.flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        Ok(Var::from_tensor(&values.to_dtype(dtype)?.reshape(x.shape())?.to_device(device)?)?)
    };
    let vars = inputs.iter().map(on).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&tensors)?;
    let mut all = vec![numbers(&y)?];
    if y.elem_count() == 0 {
        return Ok(all);
    }
    let weights: Vec<f64> = (0..y.elem_count()).map(|i| ((i * 7 + 3) % 11) as f64 / 5.0 - 0.9).collect();
    let weights =
        Tensor::from_vec(weights, y.shape(), &Device::Cpu)?.to_dtype(y.dtype())?.to_device(device)?;
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    for var in &vars {
        all.push(gradients.get(var).map(numbers).transpose()?.unwrap_or_default());
    }
    Ok(all)
}

fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}
