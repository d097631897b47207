use crate::{Error, Result};
use candle_core::Tensor;
use oncograph_nn::pool::adaptive_avg_pool3d;

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
    Cells::of(map, None)?.pyramid()
}

/// The cells that a feature map is averaged in.
pub(crate) struct Cells<'a> {
    map: &'a Tensor,
    /// The share of each voxel of the map that counts, \[1, 1, D, H, W\].
    share: Option<Tensor>,
}

impl<'a> Cells<'a> {
    /// Those of a whole map, or of what a mask \[1, 1, ..\] on any grid of the same extent leaves of it (S-03): a cell's mean is
    /// weighed by the share of each voxel that the mask fills, and 0 where it fills none.
    pub(crate) fn of(map: &'a Tensor, mask: Option<&Tensor>) -> Result<Self> {
        let Ok((_, _, d, h, w)) = map.dims5() else {
            return Err(Error::input("feature map", "[batch, C, D, H, W]", format!("{:?}", map.dims())));
        };
        let share = mask.map(|mask| adaptive_avg_pool3d(mask, [d, h, w])).transpose()?;
        Ok(Cells { map, share })
    }

    /// \[batch, C, cells, cells, cells\]
    fn pool(&self, cells: usize) -> Result<Tensor> {
        let Some(share) = &self.share else { return Ok(adaptive_avg_pool3d(self.map, [cells; 3])?) };
        let values = adaptive_avg_pool3d(&self.map.broadcast_mul(share)?, [cells; 3])?;
        // Where nothing is filled, the values are 0.
        let filled = (adaptive_avg_pool3d(share, [cells; 3])? + 1e-12)?;
        Ok(values.broadcast_div(&filled)?)
    }

    /// The three levels, each brought to 2 x 2 x 2 cells: \[batch, 3, 8 C\].
    pub(crate) fn pyramid(&self) -> Result<Tensor> {
        let (batch, channels, ..) = self.map.dims5()?;
        let whole = self.pool(1)?.broadcast_as((batch, channels, 2, 2, 2))?;
        let octants = self.pool(2)?;
        // [.., 2, 2, 2, 2, 2, 2] would need rank 8: one axis at a time instead.
        let mut fine = self.pool(4)?;
        for axis in 2..5 {
            let mut split = fine.dims().to_vec();
            split[axis] = 2;
            split.insert(axis + 1, 2);
            fine = fine.reshape(split)?.max(axis + 1)?;
        }
        let flat = |t: &Tensor| t.contiguous()?.reshape((batch, 8 * channels));
        Ok(Tensor::stack(&[flat(&whole)?, flat(&octants)?, flat(&fine)?], 1)?)
    }

    /// The second level alone: \[batch, 8 C\].
    pub(crate) fn octants(&self) -> Result<Tensor> {
        Ok(self.pool(2)?.flatten_from(1)?)
    }

    /// All cells side by side, the mean over the volume first: \[batch, 73 C\].
    pub(crate) fn concatenated(&self) -> Result<Tensor> {
        let levels = [1, 2, 4].map(|cells| Ok(self.pool(cells)?.flatten_from(1)?));
        Ok(Tensor::cat(&levels.into_iter().collect::<Result<Vec<_>>>()?, 1)?)
    }
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

    #[test]
    fn the_other_poolings_by_hand() {
        let map = Tensor::arange(0f32, 128.0, &Device::Cpu).unwrap().reshape((1, 2, 4, 4, 4)).unwrap();
        let cells = Cells::of(&map, None).unwrap();
        let pyramid = image_features(&map).unwrap();
        let second = pyramid.narrow(1, 1, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(cells.octants().unwrap().to_vec2::<f32>().unwrap()[0], second);
        let all = cells.concatenated().unwrap().to_vec2::<f32>().unwrap().remove(0);
        assert_eq!(all.len(), 2 * 73);
        assert_eq!(all[..2], [31.5, 95.5]);
        assert_eq!(all[2..18], second);
        assert_eq!(all[18..], map.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }

    /// A mask of twice the resolution that fills voxel 5 by a half and voxel 42 whole (S-03).
    #[test]
    fn cells_of_a_mask_are_weighed_by_its_share() {
        let map = Tensor::arange(0f32, 64.0, &Device::Cpu).unwrap().reshape((1, 1, 4, 4, 4)).unwrap();
        let mut mask = vec![0f32; 512];
        let mut fill = |voxel: usize, planes: usize| {
            let [z, y, x] = [voxel / 16, voxel / 4 % 4, voxel % 4];
            for i in 0..4 * planes {
                let [dz, dy, dx] = [i / 4, i / 2 % 2, i % 2];
                mask[(2 * z + dz) * 64 + (2 * y + dy) * 8 + 2 * x + dx] = 1.0;
            }
        };
        fill(5, 1);
        fill(42, 2);
        let mask = Tensor::from_vec(mask, (1, 1, 8, 8, 8), &Device::Cpu).unwrap();
        let f = Cells::of(&map, Some(&mask)).unwrap().pyramid().unwrap().to_vec3::<f32>().unwrap().remove(0);
        for v in &f[0] {
            approx::assert_relative_eq!(*v, (0.5 * 5.0 + 42.0) / 1.5, max_relative = 1e-5);
        }
        let octants = [5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 42.0];
        for level in &f[1..] {
            for (got, expected) in level.iter().zip(octants) {
                approx::assert_relative_eq!(*got, expected, max_relative = 1e-5);
            }
        }
    }
}
