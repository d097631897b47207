//! A made-up network on a made-up head, flat and to turn, and a made-up graph of patients.
//!
//! `cargo run -p oncograph-report --example connectome [FOLDER]` writes `report.html` and `brain.html` there.

use oncograph_report::chart::population_graph;
use oncograph_report::connectome::{Connectome, Link, Region, Surface};
use oncograph_report::{Banner, Error, Report};
use std::f64::consts::PI;
use std::path::PathBuf;

/// Numbers between 0 and 1 that look random and are the same in every run.
fn noise(index: usize) -> f64 {
    (12.9898 * (index as f64 + 1.0)).sin().abs() * 43758.5453 % 1.0
}

/// Vertices and triangles of an ellipsoid of 2n by n quadrangles.
fn ellipsoid(n: u32, centre: [f64; 3], radii: [f64; 3]) -> (Vec<[f64; 3]>, Vec<[u32; 3]>) {
    let at = |i: u32, j: u32| {
        let (theta, phi) = (PI * f64::from(i) / f64::from(n), PI * f64::from(j) / f64::from(n));
        let unit = [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()];
        std::array::from_fn(|k| centre[k] + radii[k] * unit[k])
    };
    let vertices = (0..=n).flat_map(|i| (0..2 * n).map(move |j| at(i, j))).collect();
    let index = |i: u32, j: u32| i * 2 * n + j % (2 * n);
    let faces = (0..n).flat_map(|i| {
        (0..2 * n).flat_map(move |j| {
            let [a, b, c, d] = [index(i, j), index(i + 1, j), index(i + 1, j + 1), index(i, j + 1)];
            [[a, b, c], [a, c, d]]
        })
    });
    (vertices, faces.collect())
}

fn network() -> Result<Connectome, Error> {
    let region = |i: usize| {
        // 45 on the left, their mirror images on the right.
        let (k, side) = (i / 2, if i.is_multiple_of(2) { -1.0 } else { 1.0 });
        let (height, turn) = (1.0 - 2.0 * (k as f64 + 0.5) / 45.0, 2.4 * k as f64);
        let round = (1.0 - height * height).sqrt();
        let position = [
            side * (6.0 + 50.0 * round * turn.cos().abs()),
            68.0 * round * turn.sin() - 18.0,
            48.0 * height + 12.0,
        ];
        Region::new(format!("region {} {}", k + 1, if side < 0.0 { "left" } else { "right" }), position)
    };
    let regions: Vec<Region> = (0..90).map(region).collect();
    let links = (0..90).flat_map(|a| (0..a).map(move |b| (a, b)));
    let links = links.filter(|(a, b)| noise(91 * a + b) < 0.5);
    let links = links.map(|(a, b)| Link { ends: [a, b], weight: 4.0 * noise(97 * b + a).powi(6) - 0.4 });
    let (brain, brain_faces) = ellipsoid(40, [0.0, -18.0, 12.0], [66.0, 86.0, 64.0]);
    let (tumour, tumour_faces) = ellipsoid(16, [26.0, 10.0, 24.0], [16.0, 20.0, 14.0]);
    Ok(Connectome::new(regions, links.collect(), "attention")?
        .source("made-up tracts")
        .strongest(120)
        .surface(Surface::new("brain", &brain, &brain_faces, [120, 130, 140])?.glass())
        .surface(Surface::new("tumour", &tumour, &tumour_faces, [204, 121, 167])?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let network = network()?;
    let phantom = Banner::Phantom("Everything here is made up. No patient was involved.".into());
    let groups: Vec<usize> = (0..80).map(|i| usize::from(noise(i) < 0.3)).collect();
    let known: Vec<bool> = (0..80).map(|i| i < 60).collect();
    let pairs = (0..80).flat_map(|a| (0..a).map(move |b| (a, b)));
    let joined =
        |&(a, b): &(usize, usize)| noise(311 * a + b) < if groups[a] == groups[b] { 0.12 } else { 0.02 };
    let edges: Vec<_> = pairs.filter(joined).map(|(a, b)| (a, b, 0.5 + noise(a + b) / 2.0)).collect();
    Report::new("Brain network and patients")
        .banner(phantom.clone())
        .try_section("Brain network", |s| {
            s.figure(network.figure()?.titled("Strongest tracts"));
            s.paragraph("brain.html in the same folder shows the network to turn.");
            Ok::<(), Error>(())
        })?
        .try_section("Patients", |s| {
            let graph = population_graph(&groups, &["wild type", "mutant"], &known, &edges)?;
            s.figure(graph.titled("Population graph"));
            Ok::<(), Error>(())
        })?
        .write(folder.join("report.html"))?;
    network.write_view(folder.join("brain.html"), "Brain network", Some(&phantom))?;
    println!("report: {}", folder.join("report.html").display());
    println!("view: {}", folder.join("brain.html").display());
    Ok(())
}
