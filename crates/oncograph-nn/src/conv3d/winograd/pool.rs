//! Max pooling of blocked volumes.

use super::lanes::LANES;
use super::spare::SpareVolumes;
use super::volume::BlockedVolume;
use crate::Result;
use crate::pool::{Pool3dConfig, Windows};
use rayon::prelude::*;

impl BlockedVolume {
    /// The largest value of each window, as [`max_pool3d`](crate::pool::max_pool3d) gives it, into memory of `spare`
    /// where a volume of the result's shape is there.
    ///
    /// # Shapes
    /// \[batch, channels, D, H, W\] -> \[batch, channels, D', H', W'\].
    ///
    /// # Errors
    /// As `max_pool3d`.
    pub fn max_pool(&self, config: &Pool3dConfig, spare: &SpareVolumes) -> Result<Self> {
        let [d, h, w] = self.size;
        let windows = Windows::sliding("max_pool3d", &[self.batch, self.channels, d, h, w], config)?;
        let mut out = spare.take(self.batch, self.channels, windows.output());
        let (plane, row, blocks) = (out.plane_stride(), out.row_stride(), self.blocks());
        let [planes, rows, columns] = &windows.axes;
        out.data.par_chunks_mut(plane.max(1)).enumerate().for_each(|(i, to)| {
            let (z, block, n) = (i % planes.len(), i / planes.len() % blocks, i / planes.len() / blocks);
            for (y, across) in rows.iter().enumerate() {
                for (x, along) in columns.iter().enumerate() {
                    let mut most = [f32::NEG_INFINITY; LANES];
                    for iz in planes[z].range.clone().step_by(planes[z].step) {
                        for iy in across.range.clone().step_by(across.step) {
                            let line = &self.data[self.plane(n, block, iz) + iy * self.row_stride()..];
                            for ix in along.range.clone().step_by(along.step) {
                                let values = &line[ix * LANES..(ix + 1) * LANES];
                                // A NaN is kept, as PyTorch does.
                                let larger = |m: f32, v: f32| if v > m || v.is_nan() { v } else { m };
                                most.iter_mut().zip(values).for_each(|(m, v)| *m = larger(*m, *v));
                            }
                        }
                    }
                    to[(y + 1) * row + (x + 1) * LANES..][..LANES].copy_from_slice(&most);
                }
            }
        });
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::max_pool3d;
    use crate::testing::pattern;
    use candle_core::DType;

    #[test]
    fn equals_the_plain_pool_bit_for_bit() {
        for (channels, config) in [
            (5, Pool3dConfig::new([3; 3]).stride([2; 3]).padding([1; 3])),
            (16, Pool3dConfig::new([2; 3])),
            (33, Pool3dConfig::new([1, 3, 2]).stride([1, 2, 3]).padding([0, 1, 1]).ceil_mode(true)),
            (3, Pool3dConfig::new([2; 3]).stride([1; 3]).dilation([2, 1, 3])),
        ] {
            let x = pattern(&[2, channels, 5, 7, 9], 1).unwrap().to_dtype(DType::F32).unwrap();
            let spare = SpareVolumes::default();
            for _ in 0..2 {
                let y = BlockedVolume::from_tensor(&x).unwrap().max_pool(&config, &spare).unwrap();
                let plain = max_pool3d(&x, &config).unwrap();
                assert_eq!(y.dims(), plain.dims5().unwrap());
                let values = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(values(&y.to_tensor().unwrap()), values(&plain));
                spare.put(y);
            }
        }
    }
}
