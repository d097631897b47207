//! Pictures that only this system has: the brain network drawn on the brain, the graph of patients, and slices with the tumour.

use crate::attention::FLAT;
use crate::pipeline::{GliomaCohort, GliomaSubject, SEQUENCES};
use crate::{PopulationBank, Result};
use oncograph_datasets::glioma::BrainAtlas;
use oncograph_imaging::mesh::mask_surface;
use oncograph_imaging::{Frame, Mask, Volume, Voxel, percentile, reorient, window};
use oncograph_report::Figure;
use oncograph_report::chart::{histogram, population_graph};
use oncograph_report::connectome::{Connectome, Link, Region, Surface};
use oncograph_report::overlay::{OverlayMask, OverlaySlice, contact_sheet};
use oncograph_report::palette::OKABE_ITO;

/// Tracts that are drawn; all 2,309 would hide each other.
const SHOWN: usize = 60;
/// Scans whose registration is shown, and bars of the distribution of all.
const WORST: usize = 4;
const DICE_BINS: usize = 20;
/// Voxels by which masks are smoothed before their surface is drawn.
const SIGMA: f64 = 0.8;

/// The tracts of a patient by a weight per tract whose mean is 1, those that are farthest from it, within the brain and around the tumour.
///
/// # Errors
/// Another number of weights than tracts; a tumour without a surface.
pub fn glioma_connectome(
    atlas: &BrainAtlas,
    subject: &GliomaSubject,
    weights: &[f64],
    what: &str,
) -> Result<Connectome> {
    let regions = atlas.names.iter().zip(&atlas.centres).map(|(n, at)| Region::new(n.clone(), *at)).collect();
    let links = atlas.tracts.iter().zip(weights).filter(|(_, w)| **w != 0.0);
    let links = links.map(|(t, w)| Link { ends: t.pair.map(|r| r as usize), weight: *w }).collect();
    let network = Connectome::new(regions, links, what)?.source(atlas.source.clone());
    let mut network = network.neutral(1.0, FLAT).strongest(SHOWN);
    let brain: Vec<u8> = atlas.brain.iter().map(|b| u8::from(*b)).collect();
    let brain: Mask = Volume::new(atlas.grid.clone(), subject.tumour.frame().clone(), brain)?;
    network = network.surface(surface("brain", &brain, OKABE_ITO[0])?.glass());
    Ok(network.surface(surface("tumour", &subject.tumour, OKABE_ITO[1])?))
}

fn surface(name: &str, mask: &Mask, colour: [u8; 3]) -> Result<Surface> {
    let mesh = mask_surface(mask, SIGMA)?;
    Ok(Surface::new(name, &mesh.vertices, &mesh.triangles, colour)?)
}

/// The patients of the bank and new ones, which are hollow and have the colour of `mutants`, with the edges of the inductive
/// graph.
///
/// # Errors
/// Edge vectors of another width than the bank's.
pub fn population_figure(bank: &PopulationBank, links: &[Vec<f64>], mutants: &[bool]) -> Result<Figure> {
    let edges = bank.edges()?.and(&bank.graph.attach(&bank.links, links)?);
    let groups: Vec<usize> = bank.labels.iter().chain(mutants).map(|m| usize::from(*m)).collect();
    let known: Vec<bool> = (0..groups.len()).map(|i| i < bank.labels.len()).collect();
    // Both directions of an edge are one line.
    let ends = edges.sources.iter().zip(&edges.targets).zip(&edges.similarity);
    let mut pairs: Vec<(usize, usize, f64)> = ends
        .map(|((a, b), r)| ((*a).min(*b) as usize, (*a).max(*b) as usize, *r))
        .filter(|(a, b, r)| a != b && *r > 0.0)
        .collect();
    pairs.sort_by_key(|p| (p.0, p.1));
    pairs.dedup_by_key(|p| (p.0, p.1));
    let figure = population_graph(&groups, &GliomaCohort::CLASSES, &known, &pairs)?;
    Ok(figure.titled("The population graph"))
}

/// The slice with most tumour, all four sequences of each patient, as a radiologist sees it: anterior at the top, the patient's
/// right on the left.
///
/// # Errors
/// No patient, or a volume that cannot be drawn.
pub fn slices_figure(shown: &[&GliomaSubject]) -> Result<Figure> {
    let mut pictures = vec![];
    for subject in shown {
        let tumour = reorient(&subject.tumour, "LPS")?;
        let [x, y, z] = tumour.shape();
        let area =
            |k: usize| tumour.as_slice()[k * x * y..(k + 1) * x * y].iter().filter(|v| **v > 0).count();
        let k = (0..z).max_by_key(|&k| (area(k), std::cmp::Reverse(k))).unwrap_or(0);
        for (volume, name) in subject.volumes.iter().zip(SEQUENCES) {
            let title = format!("{}, {name}, slice {} of {z}", subject.id, k + 1);
            pictures.push((windowed(&reorient(volume, "LPS")?)?, tumour.clone(), k * x * y, (title, name)));
        }
    }
    let sheet = pictures.iter().map(|(volume, tumour, start, (title, name))| {
        let ([x, y, _], [dx, dy, _]) = (volume.shape(), volume.grid().spacing());
        let range = *start..start + x * y;
        let pixels = &tumour.as_slice()[range.clone()];
        let mask = OverlayMask { name: "tumour", pixels, colour: OKABE_ITO[1] };
        let slice = OverlaySlice::new(&volume.as_slice()[range], x, y).spacing([dx, dy]).mask(mask);
        slice.outlined().label(*name).sides('R', 'L').titled(title)
    });
    let figure = contact_sheet(&sheet.collect::<Vec<_>>(), SEQUENCES.len(), 2.0)?;
    Ok(figure
        .titled("The four sequences with the tumour mask; anterior is up, the patient's right on the left"))
}

impl GliomaCohort {
    /// How the Dice coefficients of the registrations are distributed, and the brains that lie worst on that of the atlas: T1 in
    /// three planes through its middle, with the border of the brain of the atlas.
    ///
    /// # Errors
    /// A cohort without patients, or a volume that cannot be drawn.
    pub fn registration_figures(&self) -> Result<[Figure; 2]> {
        let dice: Vec<f64> = self.subjects.iter().map(|s| s.overlap.after).collect();
        let spread = histogram(&dice, DICE_BINS, "Dice of the brain with that of the atlas")?;
        let border = border(&self.atlas);
        let mut pictures = vec![];
        for row in self.worst_registered().into_iter().take(WORST) {
            let subject = &self.subjects[row];
            let t1 = windowed(&subject.volumes[0])?;
            for axis in [2, 1, 0] {
                let title = format!("{}, Dice {:.3}", subject.id, subject.overlap.after);
                let sides = if axis == 0 { ['A', 'P'] } else { ['R', 'L'] };
                pictures.push((plane(&t1, axis), plane(&border, axis), sides, title));
            }
        }
        let sheet = pictures.iter().map(|((gray, [x, y], spacing), (border, ..), [left, right], title)| {
            let mask = OverlayMask { name: "border of the atlas", pixels: border, colour: OKABE_ITO[1] };
            let slice = OverlaySlice::new(gray, *x, *y).spacing(*spacing).mask(mask);
            slice.outlined().sides(*left, *right).titled(title)
        });
        let sheet = contact_sheet(&sheet.collect::<Vec<_>>(), 3, 2.0)?;
        let sheet = sheet.titled(
            "The brains that lie worst on that of the atlas, T1 in axial, coronal and sagittal planes",
        );
        Ok([spread.titled("Registration of all scans"), sheet])
    }
}

/// The slice through the middle of a volume whose axes point right, anterior and superior, across an axis: its values from the top,
/// how many there are along x and y, and their distances in mm. Anterior or superior is up, the patient's right on the left.
fn plane<T: Voxel>(volume: &Volume<T>, axis: usize) -> (Vec<T>, [usize; 2], [f64; 2]) {
    let (shape, spacing) = (volume.shape(), volume.grid().spacing());
    let (across, up) = match axis {
        0 => (1, 2),
        1 => (0, 2),
        _ => (0, 1),
    };
    let at = |i: usize, j: usize| {
        let mut index = shape.map(|n| n / 2);
        // The patient's right on the left; of a sagittal plane, anterior on the left.
        (index[across], index[up]) = (shape[across] - 1 - i, shape[up] - 1 - j);
        volume.as_slice()[index[0] + shape[0] * (index[1] + shape[1] * index[2])]
    };
    let values = (0..shape[up]).flat_map(|j| (0..shape[across]).map(move |i| (i, j)));
    (values.map(|(i, j)| at(i, j)).collect(), [shape[across], shape[up]], [spacing[across], spacing[up]])
}

/// The voxels of the brain of an atlas that have one outside of it beside them.
fn border(atlas: &BrainAtlas) -> Mask {
    let grid = &atlas.grid;
    let inside = |index: [Option<usize>; 3]| {
        let at = index[0].zip(index[1]).zip(index[2]).and_then(|((x, y), z)| grid.offset([x, y, z]));
        at.is_some_and(|offset| atlas.brain[offset])
    };
    Mask::from_fn(grid.clone(), Frame::described("atlas"), |index| {
        let neighbour = |axis: usize, step: isize| {
            inside(std::array::from_fn(|k| index[k].checked_add_signed(if k == axis { step } else { 0 })))
        };
        let within = inside(index.map(Some));
        u8::from(within && (0..3).any(|axis| !neighbour(axis, 1) || !neighbour(axis, -1)))
    })
}

/// Gray values from black, the background, to the brightest but for one voxel in two hundred of the head.
fn windowed(volume: &Volume<f32>) -> Result<Volume<f32>> {
    let head = volume.map(|v| u8::from(v != 0.0));
    let high = percentile(volume, 99.5, Some(&head))?;
    Ok(if high > 0.0 { window(volume, 0.0, high)? } else { volume.clone() })
}
