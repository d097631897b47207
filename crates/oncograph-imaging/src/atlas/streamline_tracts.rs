use super::{LabelMap, Tract, TractAtlas};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::streamlines::Streamlines;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const OP: &str = "streamline_tracts";

/// How [`streamline_tracts`] makes tracts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StreamlineOptions {
    /// How far from its end a streamline may have the region that it ends in \[mm\]: 4, as in MRtrix's `tck2connectome`.
    pub reach: f64,
    /// Streamlines that a pair of regions needs to have a tract; 3.
    pub fewest: usize,
}

impl Default for StreamlineOptions {
    fn default() -> Self {
        StreamlineOptions { reach: 4.0, fewest: 3 }
    }
}

impl StreamlineOptions {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how far a region may be \[mm\].
    pub fn reach(mut self, reach: f64) -> Self {
        self.reach = reach;
        self
    }

    /// Sets how many streamlines a tract needs.
    pub fn fewest(mut self, fewest: usize) -> Self {
        self.fewest = fewest;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is out of its range.
    pub fn validate(&self) -> Result<()> {
        if !(self.reach >= 0.0 && self.reach.is_finite()) {
            return Err(Error::argument(OP, "reach", "at least 0", self.reach));
        }
        match self.fewest {
            0 => Err(Error::argument(OP, "fewest", "at least 1", 0)),
            _ => Ok(()),
        }
    }
}

/// Tracts between pairs of regions, and the streamlines that made none.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamlineTracts {
    /// The tracts; the weight of each is the number of its streamlines.
    pub atlas: TractAtlas,
    /// Streamlines without a region at one of their ends, or at both.
    pub unassigned: usize,
    /// Streamlines that begin and end in one region.
    pub within: usize,
    /// Streamlines between regions that too few join.
    pub few: usize,
}

impl StreamlineTracts {
    /// What became of the streamlines that made no tract, in words; `None` if there are none.
    pub fn note(&self) -> Option<String> {
        (self.unassigned + self.within + self.few > 0).then(|| {
            format!(
                "streamlines that are in no tract: {} without a region at each end, {} within one region, {} between regions that \
                 too few join",
                self.unassigned, self.within, self.few
            )
        })
    }
}

/// A step along a streamline in voxels: what is crossed for less may be missed.
const STEP: f64 = 0.1;

/// Tracts on `grid` from streamlines in the space of `regions`, which may lie on another grid.
///
/// A streamline joins the regions at its first and last point: that of the voxel, else that of the nearest labelled voxel whose centre is
/// within [`StreamlineOptions::reach`]. The voxels of a tract are those that the streamlines of its pair cross, found by
/// steps of a tenth of a voxel, each with its number of streamlines divided by the largest one of the tract. Where streamlines leave the
/// grid, their voxels are left out.
///
/// # Errors
/// [`Error::Argument`] for options out of range; [`Error::Geometry`] if no pair has enough streamlines, if two points of a
/// streamline are further apart than the grid is wide, or if a tract has no voxel on the grid.
pub fn streamline_tracts(
    regions: &LabelMap,
    streamlines: &Streamlines,
    grid: &Grid,
    options: &StreamlineOptions,
    source: impl Into<String>,
) -> Result<StreamlineTracts> {
    options.validate()?;
    let nearest = Nearest::new(regions, options.reach);
    let numbers: Vec<usize> = (0..streamlines.len()).collect();
    let ends: Vec<Option<[i16; 2]>> = numbers.par_iter().map(|i| nearest.ends(streamlines.get(*i))).collect();
    let mut of_pair: BTreeMap<[i16; 2], Vec<usize>> = BTreeMap::new();
    let (mut unassigned, mut within, mut few) = (0, 0, 0);
    for (number, ends) in ends.iter().enumerate() {
        match ends {
            None => unassigned += 1,
            Some([a, b]) if a == b => within += 1,
            Some([a, b]) => of_pair.entry([*a.min(b), *a.max(b)]).or_default().push(number),
        }
    }
    of_pair.retain(|_, members| {
        let enough = members.len() >= options.fewest;
        few += if enough { 0 } else { members.len() };
        enough
    });
    if of_pair.is_empty() {
        let detail = format!(
            "no two regions are joined by {} of {} streamlines: {unassigned} have no region at each end (are they in the space of the \
             regions?), {within} are within one region",
            options.fewest,
            streamlines.len()
        );
        return Err(Error::geometry(OP, detail));
    }
    let tracts = of_pair
        .par_iter()
        .map(|(ends, members)| tract(*ends, members, streamlines, grid))
        .collect::<Result<Vec<_>>>()?;
    let source = format!("{} of streamlines of {}", tracts.len(), source.into());
    Ok(StreamlineTracts {
        atlas: TractAtlas::new(grid.clone(), tracts, source, false)?,
        unassigned,
        within,
        few,
    })
}

/// The labelled voxels near a place.
struct Nearest<'a> {
    regions: &'a LabelMap,
    reach: f64,
    /// Voxels along each axis that `reach` may span.
    span: [f64; 3],
}

impl<'a> Nearest<'a> {
    fn new(regions: &'a LabelMap, reach: f64) -> Self {
        // A voxel moves along the axes of the world by a column of the inverse: the rows bound it, sheared or not.
        let inverse = regions.volume().grid().inverse();
        let span = [0, 1, 2].map(|axis| {
            let row = (0..3).map(|k| inverse[(axis, k)].powi(2)).sum::<f64>().sqrt();
            reach * row + 1.0
        });
        Nearest { regions, reach, span }
    }

    /// The regions at both ends.
    fn ends(&self, line: &[[f32; 3]]) -> Option<[i16; 2]> {
        let [first, last] = [line.first()?, line.last()?];
        Some([self.at(first.map(f64::from))?, self.at(last.map(f64::from))?])
    }

    fn at(&self, world: [f64; 3]) -> Option<i16> {
        let volume = self.regions.volume();
        let (grid, labels) = (volume.grid(), volume.as_slice());
        let own = grid.voxel_at(world).and_then(|voxel| grid.offset(voxel)).map(|offset| labels[offset]);
        if let Some(label) = own.filter(|label| *label > 0) {
            return Some(label);
        }
        let index = grid.world_to_index(world);
        let range = |axis: usize| {
            let (at, span, last) = (index[axis], self.span[axis], grid.shape()[axis] as f64 - 1.0);
            // Cast from a float: below 0 and beyond the grid it is saturated.
            (at - span).clamp(0.0, last) as usize..=(at + span).clamp(0.0, last) as usize
        };
        let mut best: Option<(f64, i16)> = None;
        for k in range(2) {
            for j in range(1) {
                for i in range(0) {
                    let Some(label) = grid.offset([i, j, k]).map(|o| labels[o]).filter(|l| *l > 0) else {
                        continue;
                    };
                    let centre = grid.index_to_world([i, j, k].map(|v| v as f64));
                    let distance = (0..3).map(|a| (centre[a] - world[a]).powi(2)).sum::<f64>().sqrt();
                    if distance <= self.reach && best.is_none_or(|(nearest, _)| distance < nearest) {
                        best = Some((distance, label));
                    }
                }
            }
        }
        best.map(|(_, label)| label)
    }
}

fn tract(ends: [i16; 2], members: &[usize], streamlines: &Streamlines, grid: &Grid) -> Result<Tract> {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for number in members {
        for voxel in crossed(streamlines.get(*number), grid).map_err(|step| {
            let detail = format!(
                "streamline {number} has two points {step:.0} voxels apart, more than the grid is wide"
            );
            Error::geometry(OP, detail)
        })? {
            *counts.entry(voxel).or_default() += 1;
        }
    }
    let Some(most) = counts.values().max().copied() else {
        return Err(Error::geometry(OP, format!("the tract between {ends:?} has no voxel on the grid")));
    };
    let voxels = counts.into_iter().map(|(voxel, count)| (voxel, count as f32 / most as f32)).collect();
    Ok(Tract { ends: Some(ends), weight: Some(members.len() as f32), voxels })
}

/// The voxels that a streamline crosses, each once; the error is a step in voxels that is too long.
fn crossed(line: &[[f32; 3]], grid: &Grid) -> std::result::Result<BTreeSet<u32>, f64> {
    let widest = grid.shape().map(|n| n as f64).into_iter().sum::<f64>();
    let mut all = BTreeSet::new();
    let mut add = |index: [f64; 3]| {
        let at = index.map(|v| (v + 0.5).floor());
        let inside = at.iter().zip(grid.shape()).all(|(v, n)| *v >= 0.0 && *v < n as f64);
        if inside && let Some(offset) = grid.offset(at.map(|v| v as usize)) {
            all.insert(offset as u32);
        }
    };
    let indices: Vec<[f64; 3]> = line.iter().map(|p| grid.world_to_index(p.map(f64::from))).collect();
    indices.first().into_iter().for_each(|index| add(*index));
    for pair in indices.windows(2) {
        let [from, to] = [pair[0], pair[1]];
        let length = (0..3).map(|a| (to[a] - from[a]).powi(2)).sum::<f64>().sqrt();
        if length > widest {
            return Err(length);
        }
        let steps = (length / STEP).ceil().max(1.0) as usize;
        for step in 1..=steps {
            let share = step as f64 / steps as f64;
            add(std::array::from_fn(|a| from[a] + share * (to[a] - from[a])));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Volume};

    /// Regions 2 and 5 at the ends of a row of ten voxels of 2 mm, 7 above its middle.
    fn regions() -> LabelMap {
        let grid = Grid::axis_aligned([10, 4, 1], [2.0; 3], [0.0; 3]).unwrap();
        let labels = Volume::from_fn(grid, Frame::default(), |[x, y, _]| match (x, y) {
            (0, 0) => 5_i16,
            (9, 0) => 2,
            (5, 3) => 7,
            _ => 0,
        });
        LabelMap::new(labels, [2, 5, 7].map(|l| (l, format!("r{l}")))).unwrap()
    }

    fn made(lines: Vec<Vec<[f32; 3]>>, options: &StreamlineOptions) -> Result<StreamlineTracts> {
        let regions = regions();
        streamline_tracts(&regions, &Streamlines::new(lines)?, regions.volume().grid(), options, "t.tck")
    }

    #[test]
    fn pairs_get_the_voxels_that_their_streamlines_cross() {
        let straight = vec![[0.0, 0.0, 0.0], [18.0, 0.0, 0.0]];
        // Ends one voxel beside the regions, the other way round, over the second row.
        let bent = vec![[16.0, 0.0, 0.0], [10.0, 2.0, 0.0], [2.0, 0.0, 0.0]];
        let up = vec![[0.0, 0.0, 0.0], [10.0, 6.0, 0.0]];
        let nowhere = vec![[0.0, 0.0, 0.0], [8.0, 2.0, 0.0]];
        let around = vec![[0.0, 0.0, 0.0], [4.0, 4.0, 0.0], [0.5, 0.5, 0.0]];
        let lines = vec![straight.clone(), bent, up, nowhere, around, vec![], straight];
        let options = StreamlineOptions::new().reach(2.0).fewest(2);
        let found = made(lines.clone(), &options).unwrap();
        assert_eq!((found.unassigned, found.within, found.few), (2, 1, 1));
        assert!(
            found.note().unwrap().contains("2 without a region at each end, 1 within one region, 1 between")
        );
        let [tract] = found.atlas.tracts() else { panic!("{:?}", found.atlas) };
        assert_eq!((tract.ends, tract.weight), (Some([2, 5]), Some(3.0)));
        let of_row =
            |row: u32| tract.voxels.iter().filter(|v| v.0 / 10 == row).map(|v| v.1).collect::<Vec<_>>();
        assert_eq!(of_row(0).len(), 10);
        // Three streamlines where the bent one is on the first row, two elsewhere; it is alone on the second.
        assert!(of_row(0).iter().all(|p| *p == 1.0 || *p == 2.0 / 3.0) && of_row(0)[1] == 1.0);
        assert!(!of_row(1).is_empty() && of_row(1).iter().all(|p| *p == 1.0 / 3.0));
        assert!(!found.atlas.is_generated());
        assert_eq!(found.atlas.source(), "1 of streamlines of t.tck");
        // The diagonal is found voxel by voxel.
        let all = made(lines, &options.fewest(1)).unwrap();
        let diagonal: Vec<u32> = all.atlas.tracts()[1].voxels.iter().map(|v| v.0).collect();
        assert_eq!((all.atlas.tracts()[1].ends, all.few), (Some([5, 7]), 0));
        assert_eq!(diagonal, [0, 1, 11, 12, 23, 24, 34, 35]);
    }

    #[test]
    fn the_nearest_region_within_reach_counts() {
        let line = |x: f32| vec![vec![[x, 0.0, 0.0], [18.0, 0.0, 0.0]]];
        let options = StreamlineOptions::new().fewest(1);
        assert!(made(line(3.9), &options).is_ok());
        let error = made(line(4.1), &options).unwrap_err().to_string();
        assert!(
            error.contains("no two regions are joined by 1 of 1 streamlines: 1 have no region"),
            "{error}"
        );
        // Beside the grid, too; what leaves it has no voxels there.
        let outside = made(line(-3.5), &options).unwrap();
        assert_eq!(outside.atlas.tracts()[0].voxels.len(), 10);
        let nearest = Nearest::new(&regions(), 20.0).at([11.0, 3.0, 0.0]);
        assert_eq!(nearest, Some(7));
    }

    #[test]
    fn bad_options_and_steps_are_named() {
        let far = vec![vec![[0.0; 3], [-1e30, 0.0, 0.0], [18.0, 0.0, 0.0]]];
        let options = StreamlineOptions::new().fewest(1);
        let error = made(far, &options).unwrap_err().to_string();
        assert!(error.contains("streamline 0 has two points") && error.contains("voxels apart"), "{error}");
        for (options, part) in [
            (options.fewest(0), "fewest must be at least 1, got 0"),
            (options.reach(f64::NAN), "reach must be at least 0, got NaN"),
        ] {
            assert!(made(vec![], &options).unwrap_err().to_string().contains(part));
        }
    }
}
