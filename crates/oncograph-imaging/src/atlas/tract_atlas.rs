use super::LabelMap;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::nifti::{self, ReadOptions};
use crate::resample::{Interpolation, ResampleOptions, resample};
use crate::volume::Volume;
use std::path::Path;

/// A bundle of fibres.
#[derive(Debug, Clone, PartialEq)]
pub struct Tract {
    /// The numbers of the regions that it joins; `None` where the atlas does not record them.
    pub ends: Option<[i16; 2]>,
    /// How strongly it joins them, where the atlas was made from such numbers: streamlines, or the weight of a connectome.
    pub weight: Option<f32>,
    /// Its voxels in the order of the grid, with the probability that the tract is there; tracts overlap.
    pub voxels: Vec<(u32, f32)>,
}

/// Tracts on one grid, as sparse lists that may overlap.
///
/// # Example
/// ```
/// use oncograph_imaging::atlas::TractAtlas;
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([3, 1, 1], [1.0; 3], [0.0; 3])?;
/// let map = |values: [f32; 3]| Volume::new(grid.clone(), Frame::default(), values.to_vec());
/// let maps = [map([0.0, 0.5, 0.05])?, map([0.0, 0.2, 1.0])?];
/// let atlas = TractAtlas::from_probabilities(&maps, &[Some([1, 2]), None], 0.1, "by hand")?;
/// assert_eq!(atlas.tracts()[0].voxels, [(1, 0.5)]);
/// assert_eq!(atlas.tracts()[1].voxels, [(1, 0.2), (2, 1.0)]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TractAtlas {
    grid: Grid,
    tracts: Vec<Tract>,
    source: String,
    generated: bool,
}

impl TractAtlas {
    /// An atlas of tracts on `grid`; `source` describes where they come from, and `generated` whether they are the work of an
    /// algorithm rather than of tractography.
    ///
    /// # Errors
    /// [`Error::Argument`] names the tract that is empty, whose voxels are not in order or not on the grid, or whose
    /// probability is outside (0, 1].
    pub fn new(grid: Grid, tracts: Vec<Tract>, source: impl Into<String>, generated: bool) -> Result<Self> {
        for (i, tract) in tracts.iter().enumerate() {
            let in_order = tract.voxels.is_sorted_by(|a, b| a.0 < b.0);
            let inside = tract.voxels.last().is_some_and(|v| (v.0 as usize) < grid.len());
            let likely = tract.voxels.iter().all(|v| v.1 > 0.0 && v.1 <= 1.0);
            if !(in_order && inside && likely) {
                return Err(Error::argument(
                    "TractAtlas",
                    "voxels",
                    "some of the grid in its order, with probabilities in (0, 1]",
                    format!("tract {i}"),
                ));
            }
        }
        Ok(Self { grid, tracts, source: source.into(), generated })
    }

    /// The voxels of each map that reach `threshold`: a probabilistic atlas in four dimensions.
    ///
    /// # Errors
    /// [`Error::Size`] if maps and ends are not equally many or the maps lie on different grids; as [`TractAtlas::new`].
    pub fn from_probabilities(
        maps: &[Volume<f32>],
        ends: &[Option<[i16; 2]>],
        threshold: f32,
        source: impl Into<String>,
    ) -> Result<Self> {
        let grid = match maps.first() {
            Some(map) if maps.len() == ends.len() => map.grid().clone(),
            _ => {
                let (expected, got) = (format!("{} maps", ends.len().max(1)), maps.len().to_string());
                return Err(Error::Size { operation: "TractAtlas", expected, got });
            }
        };
        if let Some(i) = maps.iter().position(|m| !m.grid().approx_eq(&grid, 1e-4)) {
            let (expected, got) = ("maps on one grid".into(), format!("another one for map {i}"));
            return Err(Error::Size { operation: "TractAtlas", expected, got });
        }
        let tract = |(map, ends): (&Volume<f32>, &Option<[i16; 2]>)| Tract {
            ends: *ends,
            weight: None,
            voxels: likely(map, threshold),
        };
        let tracts = maps.iter().zip(ends).map(tract);
        Self::new(grid, tracts.collect(), source, false)
    }

    /// Each region of a label map of white matter as one tract, with probability 1.
    ///
    /// # Errors
    /// As [`TractAtlas::new`].
    pub fn from_labels(labels: &LabelMap, source: impl Into<String>) -> Result<Self> {
        let tract_of = |label| Tract {
            ends: None,
            weight: None,
            voxels: labels.voxels(label).into_iter().map(|v| (v, 1.0)).collect(),
        };
        let tracts = labels.regions().map(|(label, _)| tract_of(label)).collect();
        Self::new(labels.volume().grid().clone(), tracts, source, false)
    }

    /// Reads a probabilistic atlas: a volume of four dimensions with the probabilities of one tract after the other, and a
    /// text with the numbers of the two regions that each joins, one line per tract. The maps are interpolated on `grid`;
    /// voxels from `threshold` on belong to a tract.
    ///
    /// # Errors
    /// An unreadable file; [`Error::AtFile`] for a line that is not two numbers, for another number of lines than volumes,
    /// and for a probability outside 0 to 1, which percentages are; as [`TractAtlas::new`] for a tract without a voxel on
    /// the grid.
    pub fn read(maps: impl AsRef<Path>, ends: impl AsRef<Path>, threshold: f32, grid: &Grid) -> Result<Self> {
        let (path, of_ends) = (maps.as_ref(), ends.as_ref());
        let ends = read_ends(of_ends)?;
        let maps: Vec<Volume<f32>> = nifti::read_4d(path, &ReadOptions::new())?;
        if maps.len() != ends.len() {
            let detail = format!("{} lines for the {} volumes of {}", ends.len(), maps.len(), path.display());
            return Err(Error::format(of_ends, "ends of tracts", detail));
        }
        let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
        let mut tracts = Vec::with_capacity(maps.len());
        for (i, (map, ends)) in maps.into_iter().zip(ends).enumerate() {
            if let Some(p) = map.as_slice().iter().find(|p| !(0.0..=1.0).contains(*p)) {
                let detail = format!("volume {i}: {p} is no probability");
                return Err(Error::format(path, "probabilities of tracts", detail));
            }
            let voxels = likely(&resample(&map, grid, &linear)?, threshold);
            tracts.push(Tract { ends: Some(ends), weight: None, voxels });
        }
        Self::new(grid.clone(), tracts, path.display().to_string(), false)
    }

    /// The probabilities of each tract, as [`TractAtlas::read`] takes them.
    pub fn maps(&self) -> impl Iterator<Item = Volume<f32>> {
        self.tracts.iter().map(|tract| {
            let mut map = Volume::filled(self.grid.clone(), Frame::default(), 0.0_f32);
            for &(voxel, p) in &tract.voxels {
                map.as_mut_slice()[voxel as usize] = p;
            }
            map
        })
    }

    /// The grid of the voxels.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The tracts.
    pub fn tracts(&self) -> &[Tract] {
        &self.tracts
    }

    /// Where they come from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether an algorithm made them up: such an atlas must be called generated wherever it is shown.
    pub fn is_generated(&self) -> bool {
        self.generated
    }

    /// The tracts as numbers of `regions`, from 0, in the order of that list: pair and voxels.
    ///
    /// # Errors
    /// [`Error::Argument`] for a tract whose ends are not known or not in the list.
    pub fn between(&self, regions: &[i16]) -> Result<Vec<[u32; 2]>> {
        let place = |label: i16| regions.iter().position(|r| *r == label).map(|p| p as u32);
        let pair = |(i, tract): (usize, &Tract)| {
            let ends = tract.ends.and_then(|[a, b]| Some([place(a)?, place(b)?]));
            ends.ok_or_else(|| {
                Error::argument(
                    "TractAtlas::between",
                    "regions",
                    "all that tracts end in",
                    format!("tract {i} with ends {:?}", tract.ends),
                )
            })
        };
        self.tracts.iter().enumerate().map(pair).collect()
    }
}

/// The voxels of a map above 0 that reach `threshold`, in its order.
pub(super) fn likely(map: &Volume<f32>, threshold: f32) -> Vec<(u32, f32)> {
    let all = map.as_slice().iter().enumerate().map(|(voxel, p)| (voxel as u32, p.min(1.0)));
    all.filter(|(_, p)| *p > 0.0 && *p >= threshold).collect()
}

/// Two numbers of regions on each line that is not empty.
fn read_ends(path: &Path) -> Result<Vec<[i16; 2]>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(i, line): (usize, &str)| {
        let numbers: Vec<Option<i16>> = line.split_whitespace().map(|w| w.parse().ok()).collect();
        match numbers[..] {
            [Some(a), Some(b)] => Ok([a, b]),
            _ => {
                let detail = format!("line {}: expected two numbers of regions, got {line:?}", i + 1);
                Err(Error::format(path, "ends of tracts", detail))
            }
        }
    };
    lines.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lists_are_refused_by_number() {
        let grid = || Grid::axis_aligned([3, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let tract =
            |voxels: &[(u32, f32)]| Tract { ends: Some([1, 2]), weight: None, voxels: voxels.to_vec() };
        for bad in [&[][..], &[(1, 0.5), (0, 0.5)], &[(3, 0.5)], &[(1, 0.0)], &[(1, 1.5)]] {
            let error =
                TractAtlas::new(grid(), vec![tract(&[(0, 1.0)]), tract(bad)], "test", true).unwrap_err();
            assert!(error.to_string().ends_with("got tract 1"), "{error}");
        }
        let atlas = TractAtlas::new(grid(), vec![tract(&[(0, 1.0)])], "test", true).unwrap();
        assert_eq!(atlas.between(&[7, 2, 1]).unwrap(), [[2, 1]]);
        assert!(atlas.between(&[1]).is_err() && atlas.is_generated());
    }

    #[test]
    fn regions_of_white_matter_become_tracts() {
        let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::new(grid, Frame::default(), vec![5_i16, 0, 5, 3]).unwrap();
        let labels = LabelMap::new(volume, [(3, "c".into()), (5, "e".into())]).unwrap();
        let atlas = TractAtlas::from_labels(&labels, "labels").unwrap();
        assert_eq!(atlas.tracts()[0].voxels, [(3, 1.0)]);
        assert_eq!(atlas.tracts()[1].voxels, [(0, 1.0), (2, 1.0)]);
        assert!(atlas.between(&[3, 5]).is_err());
    }

    #[test]
    fn a_probabilistic_atlas_is_read_onto_another_grid() {
        let folder = tempfile::tempdir().unwrap();
        let (maps, ends) = (folder.path().join("maps.nii"), folder.path().join("ends.txt"));
        let coarse = Grid::axis_aligned([3, 1, 1], [2.0; 3], [0.0; 3]).unwrap();
        let fine = Grid::axis_aligned([5, 1, 1], [1.0, 2.0, 2.0], [0.0; 3]).unwrap();
        let volume = |v: [f32; 3]| Volume::new(coarse.clone(), Frame::default(), v.to_vec()).unwrap();
        let write = |second: f32| {
            let volumes = [volume([0.0, 0.5, 1.0]), volume([second, 0.0, 0.0])];
            nifti::write_4d(&maps, &volumes, &nifti::WriteOptions::new()).unwrap();
        };
        write(0.2);
        std::fs::write(&ends, "3 7\n\n2 1\n").unwrap();
        let atlas = TractAtlas::read(&maps, &ends, 0.15, &fine).unwrap();
        assert_eq!(atlas.tracts()[0].voxels, [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]);
        assert_eq!(atlas.tracts()[1], Tract { ends: Some([2, 1]), weight: None, voxels: vec![(0, 0.2)] });
        assert!(!atlas.is_generated());
        let again: Vec<f32> = atlas.maps().flat_map(|m| m.as_slice().to_vec()).collect();
        assert_eq!(again, [0.0, 0.25, 0.5, 0.75, 1.0, 0.2, 0.0, 0.0, 0.0, 0.0]);
        let message = |threshold| TractAtlas::read(&maps, &ends, threshold, &fine).unwrap_err().to_string();
        assert!(message(0.3).contains("tract 1"), "{}", message(0.3));
        std::fs::write(&ends, "3 7\n2 left\n").unwrap();
        assert!(message(0.1).contains("ends.txt") && message(0.1).contains("line 2"), "{}", message(0.1));
        std::fs::write(&ends, "3 7\n").unwrap();
        assert!(message(0.1).contains("1 lines for the 2 volumes"), "{}", message(0.1));
        std::fs::write(&ends, "3 7\n2 1\n").unwrap();
        write(20.0);
        assert!(message(0.1).contains("volume 1: 20 is no probability"), "{}", message(0.1));
    }
}
