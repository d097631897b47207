use crate::{Error, Result};
use candle_core::Tensor;

/// Image nodes of a patient: five anatomical ones and the CT.
pub(crate) const NODES: usize = 6;

/// The levels that an image node's vectors come from: 1, 2 and 4 cells along each axis (S-01).
pub const PYRAMID_LEVELS: usize = 3;

/// The vectors of one image node from the last feature map of an encoder, one per pyramid level, each brought to
/// 2 x 2 x 2 cells: the mean over the volume repeated, the means of the octants, and the largest of the 4 x 4 x 4
/// means within each octant (averaging those would repeat the second level).
///
/// A learned mixture of the three is the node's feature; keeping them apart lets images be encoded once.
///
/// # Shapes
/// `map` \[batch, C, D, H, W\] -> \[batch, 3, 8 C\], channel by channel as PyTorch flattens
///
/// # Errors
/// [`Error::Input`] for another rank, or an error of pooling.
pub fn image_features(map: &Tensor) -> Result<Tensor> {
    let Ok((batch, channels, ..)) = map.dims5() else {
        return Err(Error::input("feature map", "[batch, C, D, H, W]", format!("{:?}", map.dims())));
    };
    let pool = |cells: usize| oncograph_nn::pool::adaptive_avg_pool3d(map, [cells; 3]);
    let whole = pool(1)?.broadcast_as((batch, channels, 2, 2, 2))?;
    let octants = pool(2)?;
    // [.., 2, 2, 2, 2, 2, 2] would need rank 8: one axis at a time instead.
    let mut fine = pool(4)?;
    for axis in 2..5 {
        let mut split = fine.dims().to_vec();
        split[axis] = 2;
        split.insert(axis + 1, 2);
        fine = fine.reshape(split)?.max(axis + 1)?;
    }
    let flat = |t: &Tensor| t.contiguous()?.reshape((batch, 8 * channels));
    Ok(Tensor::stack(&[flat(&whole)?, flat(&octants)?, flat(&fine)?], 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_levels_by_hand() {
        // One channel of 4 x 4 x 4 whose value is its linear index.
        let map = Tensor::arange(0f32, 64.0, &Device::Cpu).unwrap().reshape((1, 1, 4, 4, 4)).unwrap();
        let f = image_features(&map).unwrap().to_vec3::<f32>().unwrap();
        assert_eq!(f[0][0], [31.5; 8]);
        assert_eq!(f[0][1][0], (1 + 4 + 5 + 16 + 17 + 20 + 21) as f32 / 8.0);
        assert_eq!(f[0][2], [21.0, 23.0, 29.0, 31.0, 53.0, 55.0, 61.0, 63.0]);
        assert!(
            image_features(&Tensor::zeros((1, 2, 3), candle_core::DType::F32, &Device::Cpu).unwrap())
                .is_err()
        );
    }
}
