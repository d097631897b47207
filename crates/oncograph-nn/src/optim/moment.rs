use crate::Result;
use candle_core::{DType, Device, Shape, Tensor};

/// A moment of one parameter: plain memory for the fused CPU path, a tensor elsewhere.
#[derive(Debug, Clone)]
pub(super) enum Moment {
    F32(Vec<f32>, Shape),
    F64(Vec<f64>, Shape),
    Other(Tensor),
}

impl Moment {
    pub(super) fn zeros_like(param: &Tensor) -> Result<Self> {
        let n = param.elem_count();
        Ok(match (param.device().is_cpu(), param.dtype()) {
            (true, DType::F32) => Moment::F32(vec![0.0; n], param.shape().clone()),
            (true, DType::F64) => Moment::F64(vec![0.0; n], param.shape().clone()),
            _ => Moment::Other(param.zeros_like()?.detach()),
        })
    }

    pub(super) fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let shape = tensor.shape().clone();
        Ok(match (tensor.device().is_cpu(), tensor.dtype()) {
            (true, DType::F32) => Moment::F32(tensor.flatten_all()?.to_vec1()?, shape),
            (true, DType::F64) => Moment::F64(tensor.flatten_all()?.to_vec1()?, shape),
            _ => Moment::Other(tensor.clone()),
        })
    }

    pub(super) fn to_tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Moment::F32(values, shape) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            Moment::F64(values, shape) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            Moment::Other(tensor) => tensor.clone(),
        })
    }

    /// Brings a moment that was loaded from a file to the type and device of its parameter.
    pub(super) fn fit(&mut self, param: &Tensor) -> Result<()> {
        let fits = match self {
            Moment::F32(..) => param.device().is_cpu() && param.dtype() == DType::F32,
            Moment::F64(..) => param.device().is_cpu() && param.dtype() == DType::F64,
            Moment::Other(t) => t.device().same_device(param.device()) && t.dtype() == param.dtype(),
        };
        if !fits {
            *self =
                Moment::from_tensor(&self.to_tensor()?.to_dtype(param.dtype())?.to_device(param.device())?)?;
        }
        Ok(())
    }

    pub(super) fn shape(&self) -> &Shape {
        match self {
            Moment::F32(_, shape) | Moment::F64(_, shape) => shape,
            Moment::Other(tensor) => tensor.shape(),
        }
    }

    pub(super) fn as_f32(&mut self) -> Option<&mut [f32]> {
        if let Moment::F32(values, _) = self { Some(values) } else { None }
    }

    pub(super) fn as_f64(&mut self) -> Option<&mut [f64]> {
        if let Moment::F64(values, _) = self { Some(values) } else { None }
    }
}
