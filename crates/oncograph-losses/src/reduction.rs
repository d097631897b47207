use crate::{Error, Result};
use candle_core::{Device, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// How the losses of single values become one, as in torch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their mean (weighted where the loss has class weights).
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// One loss per value.
    None,
}

impl Reduction {
    /// Reduces plain losses, all of one weight.
    pub(crate) fn apply(self, losses: Tensor) -> Result<Tensor> {
        Ok(match self {
            Reduction::Mean => losses.mean_all()?,
            Reduction::Sum => losses.sum_all()?,
            Reduction::None => losses,
        })
    }
}

/// Values that are not learnt, beside `like`: cast on the host, so that a device gets one copy and launches nothing.
pub(crate) fn constant(values: Vec<f64>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    let values = Tensor::from_vec(values, shape.into(), &Device::Cpu)?;
    Ok(values.to_dtype(like.dtype())?.to_device(like.device())?)
}

/// Both tensors have one shape with at least one value.
pub(crate) fn same_shape(loss: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() == b.dims() && a.elem_count() > 0 {
        return Ok(());
    }
    Err(Error::input(loss, "two tensors of one shape", (a.dims(), b.dims())))
}
