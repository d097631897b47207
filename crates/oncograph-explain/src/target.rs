//! The score that is explained, and its gradient.

use crate::{Error, ModelResult, Result};
use candle_core::{Tensor, Var};

/// The sum over the samples of each one's output `target[sample]`.
pub(crate) fn score(op: &'static str, outputs: &Tensor, target: &[usize]) -> Result<Tensor> {
    let (samples, classes) = match outputs.dims() {
        [samples, classes] => (*samples, *classes),
        other => return Err(Error::input(op, "model outputs [samples, classes]", other)),
    };
    if target.len() != samples || target.iter().any(|t| *t >= classes) {
        let expected = format!("{samples} targets below {classes}");
        return Err(Error::input(op, expected, target));
    }
    let index: Vec<u32> = target.iter().map(|t| *t as u32).collect();
    let index = Tensor::from_vec(index, (samples, 1), outputs.device())?;
    Ok(outputs.contiguous()?.gather(&index, 1)?.sum_all()?)
}

/// The gradient of the score with respect to the model's input `x`.
pub(crate) fn gradient(
    op: &'static str,
    x: &Tensor,
    target: &[usize],
    model: &impl Fn(&Tensor) -> ModelResult,
) -> Result<Tensor> {
    let x = Var::from_tensor(&x.detach().contiguous()?)?;
    let outputs = model(&x).map_err(Error::Model)?;
    let grads = score(op, &outputs, target)?.backward()?;
    let grad = grads.get(&x).ok_or(Error::NoGradient { op, what: "the input" })?;
    Ok(grad.detach())
}
