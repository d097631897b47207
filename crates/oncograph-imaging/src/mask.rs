//! Properties of a mask: its size, place and bounds.

use crate::grid::Grid;
use crate::volume::{Mask, Volume};

impl Volume<u8> {
    /// Number of foreground voxels (value other than 0).
    pub fn count(&self) -> usize {
        self.as_slice().iter().filter(|&&v| v != 0).count()
    }

    /// Volume of the foreground in mm³.
    pub fn foreground_volume(&self) -> f64 {
        self.count() as f64 * self.grid().voxel_volume()
    }

    /// Mean index of the foreground voxels, or `None` for an empty mask.
    ///
    /// Its world position is `mask.grid().index_to_world(centroid)`.
    pub fn centroid_index(&self) -> Option<[f64; 3]> {
        let mut sums = [0_u64; 3];
        let mut count = 0_u64;
        for (offset, _) in self.as_slice().iter().enumerate().filter(|(_, v)| **v != 0) {
            let index = self.grid().index_of(offset);
            (0..3).for_each(|a| sums[a] += index[a] as u64);
            count += 1;
        }
        (count > 0).then(|| sums.map(|s| s as f64 / count as f64))
    }

    /// First and last foreground index along each axis (both inclusive), or `None` for an empty mask.
    pub fn bounding_box(&self) -> Option<([usize; 3], [usize; 3])> {
        let mut bounds: Option<([usize; 3], [usize; 3])> = None;
        for (offset, _) in self.as_slice().iter().enumerate().filter(|(_, v)| **v != 0) {
            let index = self.grid().index_of(offset);
            let (low, high) = bounds.get_or_insert((index, index));
            for a in 0..3 {
                low[a] = low[a].min(index[a]);
                high[a] = high[a].max(index[a]);
            }
        }
        bounds
    }

    /// The mask of one label: 1 where this label map equals `label`, else 0.
    pub fn label(&self, label: u8) -> Mask {
        self.map(|v| u8::from(v == label))
    }
}

/// An empty mask on a grid.
impl From<&Grid> for Mask {
    fn from(grid: &Grid) -> Self {
        Self::filled(grid.clone(), crate::Frame::default(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_centroid_and_box() {
        let grid = Grid::axis_aligned([4, 4, 4], [1.0, 1.0, 2.0], [0.0; 3]).unwrap();
        let mut mask = Mask::from(&grid);
        assert_eq!((mask.count(), mask.centroid_index(), mask.bounding_box()), (0, None, None));
        mask.set([1, 2, 3], 1);
        mask.set([3, 2, 0], 7);
        assert_eq!(mask.count(), 2);
        assert_eq!(mask.foreground_volume(), 4.0);
        assert_eq!(mask.centroid_index(), Some([2.0, 2.0, 1.5]));
        assert_eq!(mask.bounding_box(), Some(([1, 2, 0], [3, 2, 3])));
        assert_eq!(mask.label(7).count(), 1);
    }
}
