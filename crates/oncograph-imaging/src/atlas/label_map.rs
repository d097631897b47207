use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::nifti;
use crate::resample::{Interpolation, ResampleOptions, resample};
use crate::volume::Volume;
use std::collections::BTreeMap;
use std::path::Path;

/// A volume of region numbers and the regions' names; 0 is no region.
///
/// # Example
/// ```
/// use oncograph_imaging::atlas::LabelMap;
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([4, 1, 1], [2.0; 3], [0.0; 3])?;
/// let volume = Volume::new(grid, Frame::described("standard head"), vec![0_i16, 2, 2, 7])?;
/// let map = LabelMap::new(volume, [(2, "left".to_string()), (7, "right".to_string())])?;
/// assert_eq!(map.voxels(2), [1, 2]);
/// assert_eq!(map.centroid(2), Some([3.0, 0.0, 0.0]));
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LabelMap {
    volume: Volume<i16>,
    names: BTreeMap<i16, String>,
}

impl LabelMap {
    /// A map whose regions are those that are named.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name of region 0 or below, or without a voxel, or for a region without a name.
    pub fn new(volume: Volume<i16>, names: impl IntoIterator<Item = (i16, String)>) -> Result<Self> {
        let names: BTreeMap<i16, String> = names.into_iter().collect();
        let refuse =
            |expected: &'static str, got: String| Err(Error::argument("LabelMap", "names", expected, got));
        let mut seen = BTreeMap::new();
        for label in volume.as_slice().iter().filter(|l| **l != 0) {
            *seen.entry(*label).or_insert(0_usize) += 1;
        }
        if let Some(label) = seen.keys().find(|l| !names.contains_key(*l)) {
            return refuse("one for each region of the volume", format!("none for {label}"));
        }
        if let Some((label, name)) = names.iter().find(|(l, _)| **l <= 0 || !seen.contains_key(*l)) {
            return refuse("those of regions with voxels, from 1", format!("{label} {name}"));
        }
        Ok(Self { volume, names })
    }

    /// Reads a volume and a text with a number and a name on each line; what follows the name is ignored, and so are names
    /// without a voxel.
    ///
    /// # Errors
    /// An unreadable file; [`Error::AtFile`] for a line that is not a number and a name, with its number;
    /// [`Error::Argument`] as [`LabelMap::new`].
    pub fn read(volume: impl AsRef<Path>, names: impl AsRef<Path>) -> Result<Self> {
        let path = names.as_ref();
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let volume: Volume<i16> = nifti::read(volume)?;
        let mut present = vec![false; 1 << 15];
        volume.as_slice().iter().filter(|l| **l > 0).for_each(|l| present[*l as usize] = true);
        let mut found = BTreeMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let (Some(Ok(label)), Some(name)) = (words.next().map(str::parse::<i16>), words.next()) else {
                let detail = format!("line {}: expected a number and a name, got {line:?}", i + 1);
                return Err(Error::format(path, "list of regions", detail));
            };
            if label > 0 && present[label as usize] {
                found.insert(label, name.to_string());
            }
        }
        Self::new(volume, found)
    }

    /// The map of some of its regions; the voxels of the others become 0.
    pub fn keep(&self, wanted: impl Fn(i16) -> bool) -> Self {
        let volume = self.volume.map(|l| if wanted(l) { l } else { 0 });
        let names = self.names.iter().filter(|(l, _)| wanted(**l)).map(|(l, n)| (*l, n.clone())).collect();
        Self { volume, names }
    }

    /// The map on another grid, each voxel that of the nearest one.
    ///
    /// # Errors
    /// [`Error::Geometry`] names a region that has no voxel there.
    pub fn onto(&self, grid: &Grid) -> Result<Self> {
        let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
        let volume = resample(&self.volume, grid, &nearest)?;
        let lost = self.names.iter().find(|(l, _)| !volume.as_slice().contains(l));
        if let Some((label, name)) = lost {
            let detail = format!("region {label} ({name}) has no voxel on the grid");
            return Err(Error::Geometry { operation: "LabelMap::onto", detail });
        }
        Ok(Self { volume, names: self.names.clone() })
    }

    /// The region of each voxel.
    pub fn volume(&self) -> &Volume<i16> {
        &self.volume
    }

    /// The regions in the order of their numbers.
    pub fn regions(&self) -> impl Iterator<Item = (i16, &str)> {
        self.names.iter().map(|(l, n)| (*l, n.as_str()))
    }

    /// The voxels of a region, in the order of the volume.
    pub fn voxels(&self, label: i16) -> Vec<u32> {
        let all = self.volume.as_slice().iter().enumerate();
        all.filter(|(_, l)| **l == label).map(|(i, _)| i as u32).collect()
    }

    /// The mean position of a region's voxels \[mm\].
    pub fn centroid(&self, label: i16) -> Option<[f64; 3]> {
        let voxels = self.voxels(label);
        let grid = self.volume.grid();
        let mut sum = [0.0; 3];
        for v in &voxels {
            let at = grid.index_of(*v as usize);
            (0..3).for_each(|a| sum[a] += at[a] as f64);
        }
        let count = voxels.len() as f64;
        (!voxels.is_empty()).then(|| grid.index_to_world(sum.map(|s| s / count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    fn volume(labels: Vec<i16>) -> Volume<i16> {
        let grid = Grid::axis_aligned([labels.len(), 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        Volume::new(grid, Frame::default(), labels).unwrap()
    }

    #[test]
    fn names_and_voxels_belong_together() {
        let name = |l: i16| (l, format!("r{l}"));
        let error = LabelMap::new(volume(vec![0, 1, 2]), [name(1)]).unwrap_err().to_string();
        assert_eq!(error, "LabelMap: names must be one for each region of the volume, got none for 2");
        assert!(LabelMap::new(volume(vec![0, 1]), [name(1), name(3)]).is_err());
        assert!(LabelMap::new(volume(vec![0, -1]), [name(-1)]).is_err());
        let map = LabelMap::new(volume(vec![0, 1, 2, 2]), [name(1), name(2)]).unwrap();
        let one = map.keep(|l| l == 2);
        assert_eq!((one.volume().as_slice(), one.regions().count()), (&[0, 0, 2, 2][..], 1));
        let coarse = map.volume().grid().with_spacing([4.0, 1.0, 1.0]).unwrap();
        let error = map.onto(&coarse).unwrap_err().to_string();
        assert!(error.contains("has no voxel on the grid"), "{error}");
        assert_eq!(map.onto(map.volume().grid()).unwrap(), map);
    }

    #[test]
    fn lists_of_names_are_read_and_bad_lines_named() {
        let folder = tempfile::tempdir().unwrap();
        let (map, list) = (folder.path().join("map.nii"), folder.path().join("map.txt"));
        nifti::write(&map, &volume(vec![0, 1, 2])).unwrap();
        std::fs::write(&list, "0\tUnclassified\n1 Precentral_L 2001\n2\tGenu_(left)\n9 absent\n").unwrap();
        let read = LabelMap::read(&map, &list).unwrap();
        assert_eq!(read.regions().collect::<Vec<_>>(), [(1, "Precentral_L"), (2, "Genu_(left)")]);
        std::fs::write(&list, "1 a\nb 2\n").unwrap();
        let error = LabelMap::read(&map, &list).unwrap_err().to_string();
        assert!(error.ends_with("line 2: expected a number and a name, got \"b 2\""), "{error}");
    }
}
