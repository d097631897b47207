use super::Surface;
use crate::error::{Error, Result, check_not_empty, check_values};
use crate::palette::Rgb;

/// What a coordinate may be: anything further away is no head.
pub(super) const MILLIMETRES: &str = "a number of mm between -10000 and 10000";

pub(super) fn in_reach(coordinate: f64) -> bool {
    coordinate.abs() <= 1e4
}

/// A region of the brain.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Its centre in mm: x to the right, y to the front, z to the head.
    pub position: [f64; 3],
}

impl Region {
    /// A region.
    pub fn new(name: impl Into<String>, position: [f64; 3]) -> Self {
        Self { name: name.into(), position }
    }
}

/// A connection of two regions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// The numbers of its regions.
    pub ends: [usize; 2],
    /// How strong it is; below 0 it is drawn in another colour.
    pub weight: f64,
}

/// Regions, their connections and surfaces around them.
///
/// # Example
/// ```
/// use oncograph_report::connectome::{Connectome, Link, Region};
///
/// let regions = vec![Region::new("left", [-30.0, 0.0, 10.0]), Region::new("right", [30.0, 5.0, 12.0])];
/// let links = vec![Link { ends: [0, 1], weight: 0.8 }];
/// let network = Connectome::new(regions, links, "attention")?.source("generated tracts");
/// assert!(network.figure()?.caption().contains("generated tracts"));
/// let folder = tempfile::tempdir().unwrap();
/// network.write_view(folder.path().join("brain.html"), "One patient", None)?;
/// # Ok::<(), oncograph_report::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Connectome {
    pub(super) regions: Vec<Region>,
    /// From the weakest to the strongest.
    pub(super) links: Vec<Link>,
    /// How many there were before the weakest were left out.
    pub(super) all: usize,
    pub(super) weight: String,
    pub(super) source: String,
    pub(super) surfaces: Vec<Surface>,
    /// The weight that means nothing.
    pub(super) neutral: f64,
    /// The distance from it that has the full colour at the earliest.
    least: f64,
}

impl Connectome {
    /// A network; `weight` names what the weights of the links are.
    ///
    /// # Errors
    /// No region; a position beyond 10 m or a weight that is not finite; a link to a region that is not there.
    pub fn new(regions: Vec<Region>, mut links: Vec<Link>, weight: impl Into<String>) -> Result<Self> {
        const OP: &str = "Connectome";
        check_not_empty(OP, "regions", regions.len(), "at least one region")?;
        for region in &regions {
            check_values(OP, "position", &region.position, MILLIMETRES, in_reach)?;
        }
        let weights: Vec<f64> = links.iter().map(|l| l.weight).collect();
        check_values(OP, "weight", &weights, "a finite number", f64::is_finite)?;
        if let Some(link) = links.iter().find(|l| l.ends.iter().any(|e| *e >= regions.len())) {
            let got = format!("{:?} of {} regions", link.ends, regions.len());
            return Err(Error::argument(OP, "ends", "numbers of regions", got));
        }
        // Equally strong links stay in the order given.
        links.sort_by(|a, b| a.weight.abs().total_cmp(&b.weight.abs()));
        let all = links.len();
        Ok(Self {
            regions,
            links,
            all,
            weight: weight.into(),
            source: String::new(),
            surfaces: vec![],
            neutral: 0.0,
            least: 0.0,
        })
    }

    /// Sets where the links come from, for every caption; an atlas that was generated must be called so here.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Sets the weight that means nothing, from which width and colour are measured (0 unless set), and how far from it the full
    /// colour is at the earliest: without that, weights that hardly differ would fill the whole range of colours.
    pub fn neutral(mut self, weight: f64, least: f64) -> Self {
        (self.neutral, self.least) = (weight, least);
        let strength = |l: &Link| (l.weight - weight).abs();
        self.links.sort_by(|a, b| strength(a).total_cmp(&strength(b)));
        self
    }

    /// Keeps the `count` links whose weights are farthest from the neutral one.
    pub fn strongest(mut self, count: usize) -> Self {
        self.links.drain(..self.links.len().saturating_sub(count));
        self
    }

    /// Adds a surface, such as that of the brain or the tumour.
    pub fn surface(mut self, surface: Surface) -> Self {
        self.surfaces.push(surface);
        self
    }

    /// How far a link is from the neutral weight, with its sign.
    pub(super) fn strength(&self, link: &Link) -> f64 {
        link.weight - self.neutral
    }

    /// The distance from the neutral weight that has the full colour; 1 where all are neutral.
    pub(super) fn largest(&self) -> f64 {
        let largest = self.links.iter().map(|l| self.strength(l).abs()).fold(self.least, f64::max);
        if largest > 0.0 { largest } else { 1.0 }
    }

    /// Which regions have a link that is shown.
    pub(super) fn linked(&self) -> Vec<bool> {
        let mut linked = vec![false; self.regions.len()];
        self.links.iter().flat_map(|l| l.ends).for_each(|e| linked[e] = true);
        linked
    }
}

/// The colour of a link: stronger ones are darker, those below 0 blue.
pub(super) fn link_colour(weight: f64, largest: f64) -> Rgb {
    const PALE: [f64; 3] = [214.0, 214.0, 214.0];
    let full = if weight < 0.0 { [0.0, 114.0, 178.0] } else { [213.0, 94.0, 0.0] };
    let share = (weight.abs() / largest).clamp(0.0, 1.0);
    std::array::from_fn(|k| (PALE[k] + (full[k] - PALE[k]) * (0.25 + 0.75 * share)).round() as u8)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Four regions; links of weight 3, -2 and 1.
    pub(crate) fn example() -> Connectome {
        let at = |i: usize| {
            Region::new(format!("r{i}"), [i as f64 * 20.0 - 30.0, (i * i) as f64 * 5.0, 10.0 * i as f64])
        };
        let link = |a, b, weight| Link { ends: [a, b], weight };
        let links = vec![link(0, 1, 3.0), link(1, 2, -2.0), link(2, 3, 1.0)];
        Connectome::new((0..4).map(at).collect(), links, "attention").unwrap()
    }

    #[test]
    fn the_strongest_links_are_kept_by_absolute_weight() {
        let kept = example().strongest(2);
        assert_eq!(kept.links.iter().map(|l| l.weight).collect::<Vec<_>>(), [-2.0, 3.0]);
        assert_eq!((kept.all, kept.linked()), (3, vec![true, true, true, false]));
        assert_eq!(example().strongest(9).links.len(), 3);
    }

    #[test]
    fn bad_networks_are_refused() {
        let region = || vec![Region::new("a", [0.0; 3])];
        let refuse = |regions, links| Connectome::new(regions, links, "w").unwrap_err().to_string();
        assert!(refuse(vec![], vec![]).contains("regions must be at least one region, got none"));
        assert!(
            refuse(vec![Region::new("a", [0.0, f64::NAN, 0.0])], vec![])
                .contains("position[1] must be a number of mm")
        );
        let bad = refuse(region(), vec![Link { ends: [0, 1], weight: 1.0 }]);
        assert!(bad.contains("[0, 1] of 1 regions"), "{bad}");
        assert!(
            refuse(region(), vec![Link { ends: [0, 0], weight: f64::NAN }])
                .contains("weight[0] must be a finite number, got NaN")
        );
    }

    #[test]
    fn colours_tell_sign_and_strength() {
        assert_eq!(link_colour(2.0, 2.0), [213, 94, 0]);
        assert_eq!(link_colour(-2.0, 2.0), [0, 114, 178]);
        assert!(link_colour(0.5, 2.0)[1] > link_colour(1.5, 2.0)[1]);
    }
}
