use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// What stands beyond the border of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The nearest value of the volume.
    Replicate,
    /// The volume mirrored at its first and last value, which are not repeated.
    Reflect,
    /// The volume again, from its other side.
    Circular,
}

/// Adds `margins` (before, behind) to depth, height and width.
///
/// # Shapes
/// `x` \[batch, channels, D, H, W\].
///
/// # Errors
/// [`Error::Shape`] for another rank, or a margin that is too wide: more than the axis for `Circular`, all of it or
/// more for `Reflect`, any of an empty axis for `Replicate`.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_nn::conv3d::{PaddingMode, pad3d};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu)?.reshape((1, 1, 1, 1, 3))?;
/// let y = pad3d(&x, [(0, 0), (0, 0), (2, 1)], PaddingMode::Reflect)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.pad`.
pub fn pad3d(x: &Tensor, margins: [(usize, usize); 3], mode: PaddingMode) -> Result<Tensor> {
    if x.rank() != 5 {
        return Err(Error::shape("pad3d", "[batch, channels, D, H, W]", x.dims()));
    }
    let mut x = x.clone();
    for (axis, (before, behind)) in (2..).zip(margins) {
        if (before, behind) != (0, 0) {
            x = pad_axis(&x, axis, before, behind, mode)?;
        }
    }
    Ok(x)
}

fn pad_axis(x: &Tensor, axis: usize, before: usize, behind: usize, mode: PaddingMode) -> Result<Tensor> {
    let n = x.dims()[axis];
    let widest = match mode {
        PaddingMode::Zeros => return Ok(x.pad_with_zeros(axis, before, behind)?),
        PaddingMode::Replicate if n > 0 => return Ok(x.pad_with_same(axis, before, behind)?),
        PaddingMode::Replicate => 0,
        PaddingMode::Reflect => n.saturating_sub(1),
        PaddingMode::Circular => n,
    };
    if before.max(behind) > widest {
        let expected = format!("a {mode:?} margin of at most {widest} along dimension {axis}");
        return Err(Error::shape("pad3d", expected, (before, behind)));
    }
    // Both sides are parts of the volume, in order or mirrored.
    let part = |start: usize, len: usize| -> Result<Option<Tensor>> {
        if len == 0 {
            return Ok(None);
        }
        let part = x.narrow(axis, start, len)?;
        Ok(Some(if mode == PaddingMode::Reflect { part.contiguous()?.flip(&[axis])? } else { part }))
    };
    let (left, right) = match mode {
        PaddingMode::Reflect => (part(1, before)?, part(n - 1 - behind, behind)?),
        _ => (part(n - before, before)?, part(0, behind)?),
    };
    let parts: Vec<Tensor> = left.into_iter().chain([x.clone()]).chain(right).collect();
    Ok(Tensor::cat(&parts, axis)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv3d::{Conv3dConfig, Conv3dLayerConfig};
    use crate::testing::{check_gradients, device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::DType;

    #[test]
    fn by_hand_and_by_finite_differences() {
        let x = Tensor::new(&[1f64, 2.0, 3.0], &device()).unwrap().reshape((1, 1, 1, 1, 3)).unwrap();
        for (mode, expected) in [
            (PaddingMode::Zeros, [0.0, 0.0, 1.0, 2.0, 3.0, 0.0]),
            (PaddingMode::Replicate, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
            (PaddingMode::Reflect, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
            (PaddingMode::Circular, [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]),
        ] {
            let y = pad3d(&x, [(0, 0), (0, 0), (2, 1)], mode).unwrap();
            assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), expected, "{mode:?}");
            let x = pattern(&[2, 2, 3, 4, 3], 1).unwrap();
            check_gradients(|x| pad3d(&x[0], [(2, 1), (0, 3), (1, 0)], mode), &[x], 1e-3, 1e-8).unwrap();
        }
        assert!(pad3d(&x, [(0, 0), (0, 0), (3, 0)], PaddingMode::Reflect).is_err());
        assert!(pad3d(&x, [(0, 0), (0, 0), (3, 3)], PaddingMode::Circular).is_ok());
        assert!(pad3d(&x, [(0, 0), (0, 0), (0, 4)], PaddingMode::Circular).is_err());
    }

    #[test]
    fn same_padding_keeps_the_size_and_puts_the_odd_voxel_behind() {
        let store = ParamStore::new(Seed::new(1));
        let conv = Conv3dConfig::new().dilation([1, 2, 1]);
        let config = Conv3dLayerConfig::new(1, 1, [2, 3, 4]).conv(conv).same_padding(true).bias(false);
        let layer = config.build(store.var_builder(DType::F64, &device())).unwrap();
        let x = pattern(&[1, 1, 4, 5, 6], 1).unwrap();
        let y = layer.forward(&x).unwrap();
        assert_eq!(y.dims(), x.dims());
        // The first output along the depth sees depths 0 and 1, the last sees the last and padding.
        let padded = pad3d(&x, [(0, 1), (2, 2), (1, 2)], PaddingMode::Zeros).unwrap();
        let expected = crate::conv3d::conv3d(&padded, layer.weight(), None, &conv).unwrap();
        assert_eq!(
            y.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
            expected.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        );
        assert!(config.conv(conv.stride([2; 3])).validate().is_err());
    }
}
