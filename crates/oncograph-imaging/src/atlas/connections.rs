use super::geodesic::{Map, Path, tube};
use super::{GeodesicOptions, LabelMap, Tract, TractAtlas};
use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Which pairs of regions are joined, and how strongly: what tractography counted, without the way that fibres take.
///
/// # Example
/// ```
/// use oncograph_imaging::atlas::Connections;
///
/// let connections = Connections::new([([7, 2], 40.0), ([2, 3], 5.0)], "a connectome")?;
/// assert_eq!(connections.pairs(), [([2, 3], 5.0), ([2, 7], 40.0)]);
/// assert!(Connections::new([([2, 2], 1.0)], "a loop").is_err());
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Connections {
    pairs: Vec<([i16; 2], f32)>,
    source: String,
}

impl Connections {
    /// Pairs of numbers of regions with their weights; `source` describes where these come from.
    ///
    /// # Errors
    /// [`Error::Argument`] for no pair, a pair of one region, a pair that is there twice, and a weight that is not above 0 and
    /// finite.
    pub fn new(pairs: impl IntoIterator<Item = ([i16; 2], f32)>, source: impl Into<String>) -> Result<Self> {
        let refuse =
            |expected: &'static str, got: String| Err(Error::argument("Connections", "pairs", expected, got));
        let mut pairs: Vec<([i16; 2], f32)> =
            pairs.into_iter().map(|([a, b], weight)| ([a.min(b), a.max(b)], weight)).collect();
        pairs.sort_by_key(|pair| pair.0);
        if let Some((ends, _)) = pairs.iter().find(|([a, b], _)| a == b) {
            return refuse("of two regions each", format!("{ends:?}"));
        }
        if let Some((ends, weight)) = pairs.iter().find(|(_, w)| !(*w > 0.0 && w.is_finite())) {
            return refuse("of weights above 0", format!("{weight} between {ends:?}"));
        }
        if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
            return refuse("different", format!("{:?} twice", twice[0].0));
        }
        match pairs.is_empty() {
            true => refuse("one or more", "none".into()),
            false => Ok(Connections { pairs, source: source.into() }),
        }
    }

    /// The pairs in the order of their regions, the smaller number first.
    pub fn pairs(&self) -> &[([i16; 2], f32)] {
        &self.pairs
    }

    /// Where they come from.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Tracts between given pairs of regions: a matrix says what is joined, but not by which way, so that the way is that of
/// [`geodesic_tracts`](super::geodesic_tracts). Each tract keeps the weight of its pair. [`GeodesicOptions::tracts`] does not count.
///
/// The atlas is *generated* as far as its voxels go.
///
/// # Errors
/// [`Error::Argument`] for a region that the map does not have, a conductance below 0 or options out of range;
/// [`Error::Geometry`] names a pair that the brain does not join; an error if the volumes lie on different grids.
pub fn geodesic_tracts_between(
    regions: &LabelMap,
    conductance: &Volume<f32>,
    brain: &Mask,
    connections: &Connections,
    options: &GeodesicOptions,
) -> Result<TractAtlas> {
    const OP: &str = "geodesic_tracts_between";
    let map = Map::new(OP, regions, conductance, brain, options)?;
    let known: BTreeSet<i16> = regions.regions().map(|(label, _)| label).collect();
    let mut from: BTreeMap<i16, Vec<i16>> = BTreeMap::new();
    for ([a, b], _) in connections.pairs() {
        if let Some(unknown) = [a, b].into_iter().find(|label| !known.contains(label)) {
            return Err(Error::argument(OP, "connections", "between regions of the map", unknown));
        }
        from.entry(*a).or_default().push(*b);
    }
    let paths: Vec<Path> = from.par_iter().flat_map(|(a, others)| map.paths(*a, others)).collect();
    let paths: BTreeMap<[i16; 2], Path> = paths.into_iter().map(|path| (path.ends, path)).collect();
    let tube = tube(regions.volume(), options);
    let tract = |(ends, weight): &([i16; 2], f32)| {
        let name = |label| regions.regions().find(|(l, _)| *l == label).map_or("", |(_, name)| name);
        let apart = || {
            let [a, b] = ends.map(name);
            Error::geometry(
                OP,
                format!("{a} and {b} are joined by {} and not by the brain", connections.source()),
            )
        };
        let path = paths.get(ends).ok_or_else(apart)?;
        Ok(Tract { ends: Some(*ends), weight: Some(*weight), voxels: map.widen(&path.voxels, &tube) })
    };
    let tracts = connections.pairs().par_iter().map(tract).collect::<Result<Vec<_>>>()?;
    let source = format!(
        "generated: geodesic paths between the {} pairs of regions that {} joins",
        tracts.len(),
        connections.source()
    );
    TractAtlas::new(regions.volume().grid().clone(), tracts, source, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atlas::geodesic_tracts;
    use crate::{Frame, Grid};

    /// A row of nine voxels with a region at each end and one in the middle; beyond a gap of the brain a fourth.
    fn row() -> (LabelMap, Volume<f32>, Mask) {
        let grid = Grid::axis_aligned([12, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let at = |f: fn(usize) -> i16| Volume::from_fn(grid.clone(), Frame::default(), |[x, _, _]| f(x));
        let labels = at(|x| match x {
            0 => 1,
            4 => 2,
            8 => 3,
            11 => 4,
            _ => 0,
        });
        let names = [(1, "a".into()), (2, "b".into()), (3, "c".into()), (4, "d".into())];
        (
            LabelMap::new(labels, names).unwrap(),
            at(|_| 1).map(f32::from),
            at(|x| i16::from(x != 9)).map(|v| v as u8),
        )
    }

    #[test]
    fn the_pairs_of_a_connectome_get_the_geodesic_ways_and_keep_their_weights() {
        let (labels, road, brain) = row();
        let options = GeodesicOptions::new(3).sigma(0.2);
        let connections = Connections::new([([3, 1], 7.0), ([1, 2], 40.0)], "m.csv").unwrap();
        let atlas = geodesic_tracts_between(&labels, &road, &brain, &connections, &options).unwrap();
        let all = geodesic_tracts(&labels, &road, &brain, &options).unwrap();
        for (tract, weight, same) in [(0, 40.0, 0), (1, 7.0, 1)] {
            let (found, expected) = (&atlas.tracts()[tract], &all.tracts()[same]);
            assert_eq!((found.weight, found.ends), (Some(weight), expected.ends));
            assert_eq!((&found.voxels, expected.weight), (&expected.voxels, None));
        }
        assert!(atlas.is_generated());
        assert_eq!(
            atlas.source(),
            "generated: geodesic paths between the 2 pairs of regions that m.csv joins"
        );
    }

    #[test]
    fn pairs_that_cannot_be_joined_are_named() {
        let (labels, road, brain) = row();
        let options = GeodesicOptions::default();
        let error = |pairs: &[([i16; 2], f32)]| {
            let connections = Connections::new(pairs.iter().copied(), "m.csv").unwrap();
            geodesic_tracts_between(&labels, &road, &brain, &connections, &options).unwrap_err().to_string()
        };
        let apart = error(&[([1, 2], 1.0), ([1, 4], 1.0)]);
        assert_eq!(apart, "geodesic_tracts_between: a and d are joined by m.csv and not by the brain");
        assert!(error(&[([1, 9], 1.0)]).ends_with("must be between regions of the map, got 9"));
        for (bad, part) in [
            (vec![], "got none"),
            (vec![([1, 2], 1.0), ([2, 1], 2.0)], "[1, 2] twice"),
            (vec![([1, 2], f32::NAN)], "NaN between [1, 2]"),
            (vec![([1, 2], 0.0)], "0 between [1, 2]"),
        ] {
            let error = Connections::new(bad, "m.csv").unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
