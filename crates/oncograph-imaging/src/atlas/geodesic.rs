use super::{LabelMap, Tract, TractAtlas};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::volume::{Mask, Volume};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const OP: &str = "geodesic_tracts";

/// How [`geodesic_tracts`] makes tracts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct GeodesicOptions {
    /// How many: those with the cheapest paths. 2309, the number of the published atlas.
    pub tracts: usize,
    /// Added to the conductance of a voxel before its inverse becomes the cost, so that grey matter can be crossed; 0.05.
    pub floor: f32,
    /// Standard deviation of the probability around a path \[mm\]; 2.
    pub sigma: f64,
    /// Voxels less probable than this are left out; 0.05.
    pub least: f32,
}

impl Default for GeodesicOptions {
    fn default() -> Self {
        GeodesicOptions { tracts: 2309, floor: 0.05, sigma: 2.0, least: 0.05 }
    }
}

impl GeodesicOptions {
    /// The default options with `tracts` tracts.
    pub fn new(tracts: usize) -> Self {
        GeodesicOptions { tracts, ..Self::default() }
    }

    /// Sets the floor of the conductance.
    pub fn floor(mut self, floor: f32) -> Self {
        self.floor = floor;
        self
    }

    /// Sets the width of a tract \[mm\].
    pub fn sigma(mut self, sigma: f64) -> Self {
        self.sigma = sigma;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let refuse = |argument, expected, got: String| Err(Error::argument(OP, argument, expected, got));
        if self.tracts == 0 {
            return refuse("tracts", "at least 1", "0".into());
        }
        for (argument, value) in [("floor", f64::from(self.floor)), ("sigma", self.sigma)] {
            if value.is_nan() || value <= 0.0 {
                return refuse(argument, "above 0", value.to_string());
            }
        }
        if !(self.least > 0.0 && self.least < 1.0) {
            return refuse("least", "above 0 and below 1", self.least.to_string());
        }
        Ok(())
    }
}

/// Tracts between regions without tractography: the cheapest paths through a map of white matter.
///
/// A step between neighbouring voxels (26) costs its length times the mean of `1 / (floor + conductance)` of the two,
/// and voxels outside `brain` cannot be crossed. For each pair of regions the path is that of Dijkstra's algorithm from
/// all voxels of one to the nearest of the other; the pairs with the cheapest paths are kept, and a voxel at distance d
/// from a path has the probability exp(-d^2 / 2 sigma^2).
///
/// The result is *generated*: it shows where fibres could run most directly, not where they were observed to run.
/// `conductance` is a map such as a template's fractional anisotropy.
///
/// # Errors
/// [`Error::Argument`] for a conductance below 0 or options out of range; [`Error::Geometry`] if fewer pairs are joined
/// by the brain than tracts are requested; an error if the volumes lie on different grids.
///
/// # Reference
/// The published system uses an atlas of 2,309 tracts that is not public (decision G-36). Ends of tracts are pairs
/// `[a, b]` with a < b in the order of the numbers.
pub fn geodesic_tracts(
    regions: &LabelMap,
    conductance: &Volume<f32>,
    brain: &Mask,
    options: &GeodesicOptions,
) -> Result<TractAtlas> {
    let map = Map::new(OP, regions, conductance, brain, options)?;
    let labels: Vec<i16> = regions.regions().map(|(label, _)| label).collect();
    // (cost, pair, voxels of the path)
    let paths: Vec<Vec<Path>> =
        labels.par_iter().enumerate().map(|(i, label)| map.paths(*label, &labels[i + 1..])).collect();
    let mut paths: Vec<Path> = paths.into_iter().flatten().collect();
    paths.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.ends.cmp(&b.ends)));
    if paths.len() < options.tracts {
        let detail =
            format!("{} tracts requested of {} pairs that the brain joins", options.tracts, paths.len());
        return Err(Error::geometry(OP, detail));
    }
    paths.truncate(options.tracts);
    paths.sort_by_key(|p| p.ends);
    let tube = tube(regions.volume(), options);
    let widen =
        |path: &Path| Tract { ends: Some(path.ends), weight: None, voxels: map.widen(&path.voxels, &tube) };
    let tracts = paths.par_iter().map(widen).collect();
    let source = format!("generated: {} geodesic paths between {} regions", options.tracts, labels.len());
    TractAtlas::new(regions.volume().grid().clone(), tracts, source, true)
}

/// Offsets to neighbouring voxels and their length \[mm\].
pub(super) fn steps(volume: &Volume<i16>) -> Vec<([i64; 3], f32)> {
    let spacing = volume.grid().spacing();
    let mut all = vec![];
    for k in 0..27_i64 {
        let step = [k % 3 - 1, k / 3 % 3 - 1, k / 9 - 1];
        let length = (0..3).map(|a| (step[a] as f64 * spacing[a]).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            all.push((step, length as f32));
        }
    }
    all
}

/// The offsets around a path and their probability, the most probable first.
pub(super) fn tube(volume: &Volume<i16>, options: &GeodesicOptions) -> Vec<([i64; 3], f32)> {
    let spacing = volume.grid().spacing();
    let reach = options.sigma * (-2.0 * f64::from(options.least).ln()).sqrt();
    let n = spacing.map(|s| (reach / s).floor() as i64);
    let mut all = vec![];
    for z in -n[2]..=n[2] {
        for y in -n[1]..=n[1] {
            for x in -n[0]..=n[0] {
                let step = [x, y, z];
                let d2 = (0..3).map(|a| (step[a] as f64 * spacing[a]).powi(2)).sum::<f64>();
                let p = (-d2 / (2.0 * options.sigma.powi(2))).exp() as f32;
                if p >= options.least {
                    all.push((step, p));
                }
            }
        }
    }
    all
}

pub(super) struct Path {
    cost: f32,
    pub ends: [i16; 2],
    pub voxels: Vec<u32>,
}

/// The voxel a step away, if the grid has it.
pub(super) fn neighbour(grid: &Grid, at: usize, step: [i64; 3]) -> Option<usize> {
    let (index, shape) = (grid.index_of(at), grid.shape());
    let mut moved = [0; 3];
    for a in 0..3 {
        let i = index[a] as i64 + step[a];
        moved[a] = usize::try_from(i).ok().filter(|i| *i < shape[a])?;
    }
    grid.offset(moved)
}

/// What paths run through.
pub(super) struct Map<'a> {
    cost: Vec<f32>,
    regions: &'a LabelMap,
    steps: Vec<([i64; 3], f32)>,
}

impl<'a> Map<'a> {
    /// Checks the options and that everything lies on one grid.
    pub fn new(
        operation: &'static str,
        regions: &'a LabelMap,
        conductance: &Volume<f32>,
        brain: &Mask,
        options: &GeodesicOptions,
    ) -> Result<Self> {
        options.validate()?;
        conductance.require_same_space(operation, brain)?;
        if !conductance.grid().approx_eq(regions.volume().grid(), 1e-3) {
            return Err(Error::geometry(operation, "regions and conductance lie on different grids"));
        }
        conductance.require_finite(operation)?;
        if let Some(low) = conductance.as_slice().iter().find(|c| **c < 0.0) {
            return Err(Error::argument(operation, "conductance", "at least 0", low));
        }
        let cost = |(c, b): (&f32, &u8)| if *b != 0 { 1.0 / (options.floor + c) } else { f32::INFINITY };
        let cost = conductance.as_slice().iter().zip(brain.as_slice()).map(cost).collect();
        Ok(Map { cost, regions, steps: steps(regions.volume()) })
    }

    fn neighbour(&self, at: usize, step: [i64; 3]) -> Option<usize> {
        neighbour(self.regions.volume().grid(), at, step)
    }

    /// The cheapest path from a region to each of the others that the brain joins with it.
    pub fn paths(&self, from: i16, to: &[i16]) -> Vec<Path> {
        const NOWHERE: u32 = u32::MAX;
        let mut distance = vec![f32::INFINITY; self.cost.len()];
        let mut before = vec![NOWHERE; self.cost.len()];
        // Costs are not negative, so that their bits sort as they do.
        let mut open = BinaryHeap::new();
        for start in self.regions.voxels(from) {
            if self.cost[start as usize].is_finite() {
                distance[start as usize] = 0.0;
                open.push(Reverse((0_u32, start)));
            }
        }
        let labels = self.regions.volume().as_slice();
        let mut ends: Vec<Option<u32>> = vec![None; to.len()];
        let mut missing = to.len();
        while let Some(Reverse((bits, at))) = open.pop() {
            let here = at as usize;
            if f32::from_bits(bits) > distance[here] {
                continue;
            }
            // The first voxel of a region that is settled is its nearest one.
            if let Some(found) = to.iter().position(|l| *l == labels[here])
                && ends[found].is_none()
            {
                ends[found] = Some(at);
                missing -= 1;
                if missing == 0 {
                    break;
                }
            }
            for (step, length) in &self.steps {
                let Some(next) = self.neighbour(here, *step) else { continue };
                let further = distance[here] + length * 0.5 * (self.cost[here] + self.cost[next]);
                if further < distance[next] {
                    (distance[next], before[next]) = (further, at);
                    open.push(Reverse((further.to_bits(), next as u32)));
                }
            }
        }
        let back = |(label, end): (&i16, &Option<u32>)| {
            let mut at = (*end)?;
            let (cost, mut voxels) = (distance[at as usize], vec![at]);
            while before[at as usize] != NOWHERE {
                at = before[at as usize];
                voxels.push(at);
            }
            Some(Path { cost, ends: [from, *label], voxels })
        };
        to.iter().zip(&ends).filter_map(back).collect()
    }

    /// The voxels around a path in order, each with its largest probability, within the brain.
    pub fn widen(&self, path: &[u32], tube: &[([i64; 3], f32)]) -> Vec<(u32, f32)> {
        let mut all = vec![];
        for at in path {
            for (step, p) in tube {
                if let Some(next) = self.neighbour(*at as usize, *step)
                    && self.cost[next].is_finite()
                {
                    all.push((next as u32, *p));
                }
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        all.dedup_by_key(|v| v.0);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    /// Three regions in a plane of 9 x 7 voxels: 1 on the left, 2 on the right, 3 above the middle; a bright road runs from
    /// 1 to 2 along the lower rim, and a wall with a gap at the rim stands between them.
    fn plane() -> (LabelMap, Volume<f32>, Mask) {
        let grid = Grid::axis_aligned([9, 7, 1], [1.0; 3], [0.0; 3]).unwrap();
        let frame = Frame::default();
        let at = |f: fn([usize; 3]) -> i16| Volume::from_fn(grid.clone(), frame.clone(), f);
        let labels = at(|[x, y, _]| match (x, y) {
            (0, 3) => 1,
            (8, 3) => 2,
            (4, 6) => 3,
            _ => 0,
        });
        let names = (1..=3).map(|l| (l, format!("r{l}")));
        let road = at(|[_, y, _]| i16::from(y == 0)).map(f32::from);
        let brain = at(|[x, y, _]| i16::from(x != 4 || y == 0 || y == 6)).map(|v| v as u8);
        (LabelMap::new(labels, names).unwrap(), road, brain)
    }

    #[test]
    fn paths_take_the_road_and_the_gap_and_the_cheapest_pairs_stay() {
        let (labels, road, brain) = plane();
        let options = GeodesicOptions::new(3).sigma(0.2);
        let atlas = geodesic_tracts(&labels, &road, &brain, &options).unwrap();
        let ends: Vec<_> = atlas.tracts().iter().map(|t| t.ends.unwrap()).collect();
        assert_eq!(ends, [[1, 2], [1, 3], [2, 3]]);
        // From 1 down to the road, along it and up to 2; so narrow a tract is the path itself.
        let of_road = |t: &Tract| t.voxels.iter().filter(|(v, _)| *v < 9).count();
        assert!(of_road(&atlas.tracts()[0]) >= 3, "{:?}", atlas.tracts()[0]);
        assert_eq!(of_road(&atlas.tracts()[1]), 0);
        assert!(atlas.tracts()[0].voxels.iter().all(|(_, p)| *p == 1.0));
        // 1 to 3 and 2 to 3 mirror each other; the dearest pair goes first.
        let two = geodesic_tracts(&labels, &road, &brain, &GeodesicOptions::new(2)).unwrap();
        assert_eq!(two.tracts().len(), 2);
        assert!(two.is_generated() && two.source().starts_with("generated: 2 geodesic paths"));
        let wide = two.tracts()[0].voxels.iter().map(|(_, p)| *p).fold(1.0, f32::min);
        assert!((0.05..0.9).contains(&wide), "{wide}");
    }

    #[test]
    fn more_tracts_than_pairs_and_bad_maps_are_errors() {
        let (labels, road, brain) = plane();
        let error =
            geodesic_tracts(&labels, &road, &brain, &GeodesicOptions::new(4)).unwrap_err().to_string();
        assert_eq!(error, "geodesic_tracts: 4 tracts requested of 3 pairs that the brain joins");
        let negative = road.map(|v| v - 0.5);
        assert!(geodesic_tracts(&labels, &negative, &brain, &GeodesicOptions::new(2)).is_err());
        let error = geodesic_tracts(&labels, &road, &brain, &GeodesicOptions::new(2).floor(0.0)).unwrap_err();
        assert_eq!(error.to_string(), "geodesic_tracts: floor must be above 0, got 0");
    }
}
