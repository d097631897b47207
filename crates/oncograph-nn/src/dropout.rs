use crate::{Error, Mode, Result};
#[cfg(feature = "cuda")]
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Shape};
use candle_core::{Device, Tensor};
use rand::RngCore;

/// Sets each element to 0 with probability `p` and scales the others by `1 / (1 - p)`; the identity in evaluation.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::{Dropout, Mode, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dropout = Dropout::new(0.5)?;
/// let x = Tensor::ones(4, DType::F32, &Device::Cpu)?;
/// let mode = Mode::Train(Seed::new(3));
/// let (a, b) = (dropout.forward(&x, mode)?, dropout.forward(&x, mode)?);
/// assert_eq!(a.to_vec1::<f32>()?, b.to_vec1::<f32>()?);
/// assert_eq!(dropout.forward(&x, Mode::Eval)?.to_vec1::<f32>()?, [1.0; 4]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.Dropout`; the mask comes from the seed of [`Mode::Train`], so it is the same on every device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// A layer that drops with probability `p`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a `p` outside \[0, 1\].
    pub fn new(p: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::config("Dropout", "p", "in [0, 1]", p));
        }
        Ok(Dropout { p })
    }

    /// The probability of dropping an element.
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Applies the mask that `mode`'s seed gives.
    ///
    /// # Shapes
    /// Any shape; the result has the same.
    ///
    /// # Errors
    /// An error of candle.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let Mode::Train(seed) = mode else { return Ok(x.clone()) };
        if self.p == 0.0 {
            return Ok(x.clone());
        }
        let mut rng = seed.rng();
        // 2^32 p, compared with 32 random bits: exact for p = 0.5 and to 2^-33 elsewhere.
        let threshold = (self.p * 2f64.powi(32)).round() as u64;
        let keep = if self.p < 1.0 { (1.0 / (1.0 - self.p)) as f32 } else { 0.0 };
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::F64) {
            return Ok(x.apply_op1(Drawn { seed: rng.get_seed(), threshold, keep })?);
        }
        let draw = |_| if u64::from(rng.next_u32()) < threshold { 0.0 } else { keep };
        let mask: Vec<f32> = (0..x.elem_count()).map(draw).collect();
        let mask =
            Tensor::from_vec(mask, x.shape(), &Device::Cpu)?.to_dtype(x.dtype())?.to_device(x.device())?;
        Ok((x * mask)?)
    }
}

/// The same on a CUDA device, where the mask is drawn by the kernel, and again for the gradient.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone, Copy)]
struct Drawn {
    seed: [u8; 32],
    threshold: u64,
    keep: f32,
}

#[cfg(feature = "cuda")]
impl CustomOp1 for Drawn {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU draws the mask before")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        crate::cuda::dropout::dropout((x, layout), self.seed, self.threshold, self.keep)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(dy.apply_op1_no_bwd(self)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::testing::device;
    #[cfg(not(feature = "cuda"))]
    use candle_core::DType;
    use candle_core::Var;

    #[test]
    fn the_share_dropped_and_the_mean_are_right() {
        let x = Tensor::ones(100_000, DType::F32, &device()).unwrap();
        let y = Dropout::new(0.2).unwrap().forward(&x, Mode::Train(Seed::new(5))).unwrap();
        let y = y.to_vec1::<f32>().unwrap();
        let dropped = y.iter().filter(|v| **v == 0.0).count() as f64 / 1e5;
        approx::assert_abs_diff_eq!(dropped, 0.2, epsilon = 0.005);
        assert!(y.iter().all(|v| *v == 0.0 || *v == 1.25));
    }

    #[test]
    fn streams_give_other_masks_and_the_gradient_is_the_mask() {
        let x = Var::ones(64, DType::F64, &device()).unwrap();
        let layer = Dropout::new(0.5).unwrap();
        let mode = Mode::Train(Seed::new(5));
        let y = layer.forward(&x, mode.stream("a")).unwrap();
        let other = layer.forward(&x, mode.stream("b")).unwrap();
        assert_ne!(y.to_vec1::<f64>().unwrap(), other.to_vec1::<f64>().unwrap());
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec1::<f64>().unwrap(), y.to_vec1::<f64>().unwrap());
    }

    #[test]
    fn one_drops_everything_and_more_is_refused() {
        let x = Tensor::ones(3, DType::F32, &device()).unwrap();
        let y = Dropout::new(1.0).unwrap().forward(&x, Mode::Train(Seed::new(1))).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), [0.0; 3]);
        assert!(Dropout::new(1.5).is_err() && Dropout::new(f64::NAN).is_err());
    }
}
