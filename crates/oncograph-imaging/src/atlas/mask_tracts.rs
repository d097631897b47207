use super::geodesic::{neighbour, steps};
use super::tract_atlas::likely;
use super::{LabelMap, Tract, TractAtlas};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::resample::{Interpolation, ResampleOptions, resample};
use crate::volume::Volume;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

const OP: &str = "mask_tracts";

/// How [`mask_tracts`] finds the ends of tracts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MaskTractOptions {
    /// The share of a tract's length that counts as one of its ends; 0.1.
    pub share: f64,
    /// How far from an end a region's voxels count as touched \[mm\]; 6.
    pub reach: f64,
    /// The share of a mask in a voxel of the grid from which the voxel belongs to the tract; 0.1.
    pub threshold: f32,
}

impl Default for MaskTractOptions {
    fn default() -> Self {
        MaskTractOptions { share: 0.1, reach: 6.0, threshold: 0.1 }
    }
}

impl MaskTractOptions {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the share of the length that counts as an end.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Sets how far regions may be \[mm\].
    pub fn reach(mut self, reach: f64) -> Self {
        self.reach = reach;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let refuse = |argument, expected, got: f64| Err(Error::argument(OP, argument, expected, got));
        if !(self.share > 0.0 && self.share <= 0.5) {
            return refuse("share", "above 0 and at most 0.5", self.share);
        }
        if !(self.reach > 0.0 && self.reach <= 50.0) {
            return refuse("reach", "above 0 and at most 50 mm", self.reach);
        }
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            return refuse("threshold", "above 0 and at most 1", self.threshold.into());
        }
        Ok(())
    }
}

/// Tracts with ends, and the masks that have none.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskTracts {
    /// The tracts, in the order of the masks' numbers.
    pub atlas: TractAtlas,
    /// The masks of which the ends are not known, each with the reason.
    pub left_out: Vec<String>,
}

/// Tracts on `grid` from an atlas of masks that does not record what they join, such as the white matter of JHU.
///
/// The two extremes of a mask are the voxels that are furthest apart along ways within it (of its largest piece, with steps to 26
/// neighbours: the voxel furthest from any, and the one furthest from that); its ends are what lies within
/// [`MaskTractOptions::share`] of that length of them. A tract joins the two regions of which most voxels lie within
/// [`MaskTractOptions::reach`] of either end. Masks and regions may lie on grids of their own; they lie in one space.
///
/// # Limits
/// This is a guess by place: a mask of the core of a bundle ends before the cortex, a wide one touches many regions of which one is taken, and
/// one that branches has two ends here. A mask is left out where both ends touch one region most, an end touches none, or two
/// regions equally, and where it has no voxel on the grid.
///
/// # Errors
/// [`Error::Argument`] for options out of range; [`Error::Geometry`] if every mask is left out.
pub fn mask_tracts(
    masks: &LabelMap,
    regions: &LabelMap,
    grid: &Grid,
    options: &MaskTractOptions,
    source: impl Into<String>,
) -> Result<MaskTracts> {
    options.validate()?;
    let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
    let around = resample(regions.volume(), masks.volume().grid(), &nearest)?;
    let found = Ends {
        masks,
        around: &around,
        steps: steps(masks.volume()),
        ball: ball(masks.volume(), options),
        options,
    };
    let labels: Vec<i16> = masks.regions().map(|(label, _)| label).collect();
    let one = |label: &i16| Ok((found.of(*label, regions), share_of(masks, *label, grid)?));
    let all = labels.par_iter().map(one).collect::<Result<Vec<_>>>()?;
    let (mut tracts, mut left_out) = (vec![], vec![]);
    for ((_, name), (ends, share)) in masks.regions().zip(all) {
        let voxels = likely(&share, options.threshold);
        match ends {
            Ok(_) if voxels.is_empty() => left_out.push(format!("{name}: it has no voxel on the grid")),
            Ok(ends) => tracts.push(Tract { ends: Some(ends), weight: None, voxels }),
            Err(why) => left_out.push(format!("{name}: {why}")),
        }
    }
    if tracts.is_empty() {
        return Err(Error::geometry(OP, format!("no mask has two ends: {}", left_out.join("; "))));
    }
    let source = format!("{} with ends by the regions that they touch: {}", tracts.len(), source.into());
    Ok(MaskTracts { atlas: TractAtlas::new(grid.clone(), tracts, source, false)?, left_out })
}

/// The share of a mask at the centre of each voxel of a grid.
fn share_of(masks: &LabelMap, label: i16, grid: &Grid) -> Result<Volume<f32>> {
    let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
    resample(&masks.volume().map(|l| if l == label { 1.0_f32 } else { 0.0 }), grid, &linear)
}

/// The offsets within reach.
fn ball(volume: &Volume<i16>, options: &MaskTractOptions) -> Vec<[i64; 3]> {
    let spacing = volume.grid().spacing();
    let n = spacing.map(|s| (options.reach / s).floor() as i64);
    let mut all = vec![];
    for z in -n[2]..=n[2] {
        for y in -n[1]..=n[1] {
            for x in -n[0]..=n[0] {
                let step = [x, y, z];
                let squared = (0..3).map(|a| (step[a] as f64 * spacing[a]).powi(2)).sum::<f64>();
                if squared <= options.reach.powi(2) {
                    all.push(step);
                }
            }
        }
    }
    all
}

struct Ends<'a> {
    masks: &'a LabelMap,
    /// Regions on the grid of the masks.
    around: &'a Volume<i16>,
    steps: Vec<([i64; 3], f32)>,
    ball: Vec<[i64; 3]>,
    options: &'a MaskTractOptions,
}

impl Ends<'_> {
    /// The regions at the ends of a mask, or why they are not known.
    fn of(&self, label: i16, regions: &LabelMap) -> std::result::Result<[i16; 2], String> {
        let name = |wanted| regions.regions().find(|(l, _)| *l == wanted).map_or("", |(_, name)| name);
        let [first, second] = self.extremes(label);
        let mut ends = [0; 2];
        for (end, voxels) in ends.iter_mut().zip([first, second]) {
            let mut touched = self.touched(&voxels);
            touched.sort_by_key(|(label, count)| (Reverse(*count), *label));
            *end = match touched[..] {
                [] => return Err(format!("no region within {} mm of one of its ends", self.options.reach)),
                [(a, most), (b, next), ..] if most == next => {
                    return Err(format!("one of its ends touches {} and {} alike", name(a), name(b)));
                }
                [(label, _), ..] => label,
            };
        }
        match ends {
            [a, b] if a == b => Err(format!("both of its ends touch {} most", name(a))),
            [a, b] => Ok([a.min(b), a.max(b)]),
        }
    }

    /// The voxels at the two extremes of a mask's largest piece.
    fn extremes(&self, label: i16) -> [Vec<u32>; 2] {
        let mut seen = BTreeSet::new();
        let mut largest: Vec<(u32, f32)> = vec![];
        for voxel in self.masks.voxels(label) {
            if !seen.contains(&voxel) {
                let piece = self.distances(label, voxel);
                seen.extend(piece.iter().map(|(voxel, _)| *voxel));
                if piece.len() > largest.len() {
                    largest = piece;
                }
            }
        }
        // The last of those that are equally far.
        let furthest =
            |of: &[(u32, f32)]| of.iter().max_by(|a, b| a.1.total_cmp(&b.1)).copied().unwrap_or((0, 0.0));
        let from_first = self.distances(label, furthest(&largest).0);
        let (second, length) = furthest(&from_first);
        let near = self.options.share as f32 * length;
        let within = |of: Vec<(u32, f32)>| {
            of.into_iter().filter(|(_, d)| *d <= near).map(|(voxel, _)| voxel).collect()
        };
        [within(from_first), within(self.distances(label, second))]
    }

    /// How far each voxel of a mask is from one of them along ways within the mask \[mm\], in the order of the voxels.
    fn distances(&self, label: i16, from: u32) -> Vec<(u32, f32)> {
        let volume = self.masks.volume();
        let mut known = BTreeMap::from([(from, 0.0_f32)]);
        // Distances are not negative, so that their bits sort as they do.
        let mut open = BinaryHeap::from([Reverse((0_u32, from))]);
        while let Some(Reverse((bits, at))) = open.pop() {
            let distance = f32::from_bits(bits);
            if known.get(&at).is_some_and(|shortest| distance > *shortest) {
                continue;
            }
            for (step, length) in &self.steps {
                let Some(next) = neighbour(volume.grid(), at as usize, *step) else { continue };
                let (further, next_voxel) = (distance + length, next as u32);
                let shorter = known.get(&next_voxel).is_none_or(|shortest| further < *shortest);
                if volume.as_slice()[next] == label && shorter {
                    known.insert(next_voxel, further);
                    open.push(Reverse((further.to_bits(), next_voxel)));
                }
            }
        }
        known.into_iter().collect()
    }

    /// How many voxels of each region lie within reach of some voxels.
    fn touched(&self, voxels: &[u32]) -> Vec<(i16, usize)> {
        let grid = self.around.grid();
        let near = voxels
            .iter()
            .flat_map(|v| self.ball.iter().filter_map(|step| neighbour(grid, *v as usize, *step)));
        let near: BTreeSet<usize> = near.collect();
        let mut counts: BTreeMap<i16, usize> = BTreeMap::new();
        for label in near.into_iter().map(|v| self.around.as_slice()[v]).filter(|label| *label > 0) {
            *counts.entry(label).or_default() += 1;
        }
        counts.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    fn map(shape: [usize; 3], of: impl Fn([usize; 3]) -> i16, names: &[(i16, &str)]) -> LabelMap {
        let grid = Grid::axis_aligned(shape, [1.0; 3], [0.0; 3]).unwrap();
        let names = names.iter().map(|(l, n)| (*l, (*n).to_string()));
        LabelMap::new(Volume::from_fn(grid, Frame::default(), of), names).unwrap()
    }

    const PLANE: [usize; 3] = [20, 12, 1];

    /// Two columns at the left, joined at the bottom: the ends of the U lie side by side. Pieces and bars beside it.
    fn masks() -> LabelMap {
        let of = |[x, y, _]: [usize; 3]| match (x, y) {
            (1 | 5, 2..=9) | (1..=5, 1) => 1,
            (12..=18, 1) | (12, 11) => 2,
            (9, 6) => 3,
            (16..=18, 5) => 4,
            _ => 0,
        };
        map(PLANE, of, &[(1, "hook"), (2, "bar"), (3, "point"), (4, "far")])
    }

    fn regions() -> LabelMap {
        let of = |[x, y, _]: [usize; 3]| match (x, y) {
            (0..=2, 10..) => 10,
            (4..=6, 10..) => 20,
            (3, 0) => 30,
            (9..=11, 0..=2) => 40,
            (19, 0..=1) => 50,
            (8, 6) => 60,
            _ => 0,
        };
        map(PLANE, of, &[(10, "a"), (20, "b"), (30, "c"), (40, "d"), (50, "e"), (60, "f")])
    }

    #[test]
    fn the_ends_are_at_the_extremes_along_the_mask() {
        let (masks, regions) = (masks(), regions());
        let options = MaskTractOptions::new().reach(1.5);
        let found = mask_tracts(&masks, &regions, masks.volume().grid(), &options, "masks.nii").unwrap();
        let tracts = found.atlas.tracts();
        // Along the hook, and not across it, where its ends are near to each other and its bend is far away; of a mask in two pieces
        // the larger one.
        assert_eq!(tracts.iter().map(|t| t.ends.unwrap()).collect::<Vec<_>>(), [[10, 20], [40, 50]]);
        assert_eq!(tracts[0].voxels.len(), masks.voxels(1).len());
        let left_out =
            ["point: both of its ends touch f most", "far: no region within 1.5 mm of one of its ends"];
        assert_eq!(found.left_out, left_out);
        assert_eq!(found.atlas.source(), "2 with ends by the regions that they touch: masks.nii");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let masks = map([9, 3, 1], |[x, y, _]| i16::from((2..7).contains(&x) && y == 1), &[(1, "bar")]);
        let of = |[x, y, _]: [usize; 3]| match (x, y) {
            (1, 0) => 1,
            (1, 2) => 2,
            (7, 1) => 3,
            _ => 0,
        };
        let regions = map([9, 3, 1], of, &[(1, "above"), (2, "below"), (3, "right")]);
        let error = |grid: &Grid, options: MaskTractOptions| {
            mask_tracts(&masks, &regions, grid, &options, "m").unwrap_err().to_string()
        };
        let options = MaskTractOptions::new().reach(1.5);
        let grid = masks.volume().grid();
        assert_eq!(
            error(grid, options),
            "mask_tracts: no mask has two ends: bar: one of its ends touches above and below alike"
        );
        assert!(error(grid, options.share(0.6)).contains("share must be above 0 and at most 0.5, got 0.6"));
        assert!(error(grid, options.reach(0.0)).contains("reach must be above 0"));
        let away = Grid::axis_aligned([2, 2, 2], [1.0; 3], [50.0; 3]).unwrap();
        let regions = regions.keep(|label| label != 2);
        let away = mask_tracts(&masks, &regions, &away, &options, "m").unwrap_err().to_string();
        assert!(away.ends_with("bar: it has no voxel on the grid"), "{away}");
    }
}
