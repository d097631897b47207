use crate::Result;
use candle_core::{DType, Device, Shape, Tensor};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// A moment of one parameter: plain memory for the fused CPU path, memory of a CUDA device for its kernels, a tensor
/// elsewhere.
#[derive(Debug, Clone)]
pub(super) enum Moment {
    F32(Vec<f32>, Shape),
    F64(Vec<f64>, Shape),
    /// Changed in place, unless a clone of the optimizer holds it, too.
    #[cfg(feature = "cuda")]
    Device(Arc<Tensor>),
    Other(Tensor),
}

impl Moment {
    pub(super) fn zeros_like(param: &Tensor) -> Result<Self> {
        let n = param.elem_count();
        Ok(match (param.device().is_cpu(), param.dtype()) {
            (true, DType::F32) => Moment::F32(vec![0.0; n], param.shape().clone()),
            (true, DType::F64) => Moment::F64(vec![0.0; n], param.shape().clone()),
            #[cfg(feature = "cuda")]
            _ if crate::cuda::optim::takes(param) => Moment::Device(Arc::new(param.zeros_like()?.detach())),
            _ => Moment::Other(param.zeros_like()?.detach()),
        })
    }

    pub(super) fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let shape = tensor.shape().clone();
        Ok(match (tensor.device().is_cpu(), tensor.dtype()) {
            (true, DType::F32) => Moment::F32(tensor.flatten_all()?.to_vec1()?, shape),
            (true, DType::F64) => Moment::F64(tensor.flatten_all()?.to_vec1()?, shape),
            // The tensor of the caller must not change with the moment.
            #[cfg(feature = "cuda")]
            _ if crate::cuda::optim::takes(tensor) => Moment::Device(Arc::new(tensor.copy()?.detach())),
            _ => Moment::Other(tensor.clone()),
        })
    }

    pub(super) fn to_tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Moment::F32(values, shape) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            Moment::F64(values, shape) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            #[cfg(feature = "cuda")]
            Moment::Device(tensor) => tensor.copy()?,
            Moment::Other(tensor) => tensor.clone(),
        })
    }

    /// Brings a moment that was loaded from a file to the type and device of its parameter.
    pub(super) fn fit(&mut self, param: &Tensor) -> Result<()> {
        let fits = match self {
            Moment::F32(..) => param.device().is_cpu() && param.dtype() == DType::F32,
            Moment::F64(..) => param.device().is_cpu() && param.dtype() == DType::F64,
            #[cfg(feature = "cuda")]
            Moment::Device(t) => t.device().same_device(param.device()) && t.dtype() == param.dtype(),
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
            #[cfg(feature = "cuda")]
            Moment::Device(tensor) => tensor.shape(),
            Moment::Other(tensor) => tensor.shape(),
        }
    }

    /// Sees to it that no clone holds the memory of a device that is about to change.
    #[cfg(feature = "cuda")]
    pub(super) fn make_own(&mut self) -> Result<()> {
        if let Moment::Device(tensor) = self
            && Arc::get_mut(tensor).is_none()
        {
            *tensor = Arc::new(tensor.copy()?);
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    pub(super) fn on_device(&self) -> Option<&Tensor> {
        if let Moment::Device(tensor) = self { Some(tensor) } else { None }
    }

    pub(super) fn as_f32(&mut self) -> Option<&mut [f32]> {
        if let Moment::F32(values, _) = self { Some(values) } else { None }
    }

    pub(super) fn as_f64(&mut self) -> Option<&mut [f64]> {
        if let Moment::F64(values, _) = self { Some(values) } else { None }
    }
}
