//! The brain network drawn on the brain, flat and to turn, and the graph of patients.

use crate::cohort::{Cohort, Subject};
use anyhow::Context;
use oncograph::brain::PopulationBank;
use oncograph::imaging::filters::{GaussianOptions, gaussian};
use oncograph::imaging::mesh::{MarchingCubesOptions, marching_cubes};
use oncograph::imaging::{Mask, Volume};
use oncograph::report::chart::population_graph;
use oncograph::report::connectome::{Connectome, Link, Region, Surface};
use oncograph::report::palette::OKABE_ITO;
use oncograph::report::{Banner, Figure};
use std::path::Path;

/// Tracts that are drawn; all 2,309 would hide each other.
const SHOWN: usize = 60;

/// The attention of every tract, 0 where no point of the surface crosses it: it has none of its own there.
pub fn crossed(attention: &[f32], crossings: &[usize]) -> Vec<f64> {
    let weight = |(a, n): (&f32, &usize)| if *n > 0 { f64::from(*a) } else { 0.0 };
    attention.iter().zip(crossings).map(weight).collect()
}

/// The tracts of a patient by a weight per tract, those that weigh most, within the brain and around the tumour.
pub fn connectome(
    cohort: &Cohort,
    subject: &Subject,
    weights: &[f64],
    what: &str,
) -> anyhow::Result<Connectome> {
    let atlas = &cohort.atlas;
    let regions = atlas.names.iter().zip(&atlas.centres).map(|(n, at)| Region::new(n.clone(), *at)).collect();
    let link = |(tract, weight): (&crate::cohort::Tract, &f64)| Link {
        ends: tract.pair.map(|r| r as usize),
        weight: *weight,
    };
    let links = atlas.tracts.iter().zip(weights).filter(|(_, w)| **w != 0.0).map(link).collect();
    let mut network = Connectome::new(regions, links, what)?.source(atlas.source.clone()).strongest(SHOWN);
    let brain: Vec<u8> = atlas.brain.iter().map(|b| u8::from(*b)).collect();
    let (grid, frame) = (subject.tumour.grid().clone(), subject.tumour.frame().clone());
    let brain: Mask = Volume::new(grid, frame, brain)?;
    network = network.surface(surface("brain", &brain, OKABE_ITO[0])?.glass());
    Ok(network.surface(surface("tumour", &subject.tumour, OKABE_ITO[1])?))
}

fn surface(name: &str, mask: &Mask, colour: [u8; 3]) -> anyhow::Result<Surface> {
    let smooth = gaussian(mask, [0.8; 3], &GaussianOptions::new())?;
    let peak = smooth.as_slice().iter().copied().fold(0.0f64, f64::max);
    let mesh =
        marching_cubes(&smooth, &MarchingCubesOptions::new(if peak > 0.5 { 0.5 } else { peak / 2.0 }))?;
    Ok(Surface::new(name, &mesh.vertices, &mesh.triangles, colour)?)
}

/// Writes the view to turn beside the report and gives the flat figure.
pub fn drawn(
    network: &Connectome,
    view: &Path,
    title: &str,
    banner: Option<&Banner>,
) -> anyhow::Result<Figure> {
    network.write_view(view, title, banner).with_context(|| view.display().to_string())?;
    let name = view.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(network.figure()?.titled(format!("{title}; to turn it, open {name} beside this report")))
}

/// The training patients of the population graph and the new ones, which are hollow, with the edges of the inductive graph.
pub fn population(bank: &PopulationBank, links: &[Vec<f64>], labels: &[bool]) -> anyhow::Result<Figure> {
    let edges = bank.edges()?.and(&bank.graph.attach(&bank.links, links)?);
    let groups: Vec<usize> = bank.labels.iter().chain(labels).map(|m| usize::from(*m)).collect();
    let known: Vec<bool> = (0..groups.len()).map(|i| i < bank.labels.len()).collect();
    // Both directions of an edge are one line.
    let mut pairs: Vec<(usize, usize, f64)> = edges
        .sources
        .iter()
        .zip(&edges.targets)
        .zip(&edges.similarity)
        .map(|((a, b), r)| ((*a).min(*b) as usize, (*a).max(*b) as usize, *r))
        .filter(|(a, b, r)| a != b && *r > 0.0)
        .collect();
    pairs.sort_by_key(|p| (p.0, p.1));
    pairs.dedup_by_key(|p| (p.0, p.1));
    let figure = population_graph(&groups, &["wild type", "mutant"], &known, &pairs)?;
    Ok(figure.titled("The population graph"))
}
