//! `oncograph-imaging` against scipy and scikit-image: histograms, morphology and surfaces.

use super::imaging::{along_axes, mask, volume};
use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use libtest_mimic::Failed;
use oncograph_imaging::mesh::{Ambiguity, MarchingCubesOptions, Mesh, SurfaceDirection, marching_cubes};
use oncograph_imaging::morphology::{self as m, BinaryMorphologyOptions, Connectivity};
use oncograph_imaging::{
    ClaheNdOptions, Frame, Grid, Mask, MatchOptions, Volume, clahe_nd, equalize_histogram,
};
use oncograph_imaging::{match_histogram, match_quantiles, percentile, rescale_intensity};

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "histogram_matching",
        reference: "skimage.exposure.match_histograms, SimpleITK.HistogramMatching",
        items: &["oncograph_imaging::match_histogram", "oncograph_imaging::match_quantiles"],
        run: histogram_matching,
    },
    Operation {
        name: "clahe3d",
        reference: "skimage.exposure.equalize_adapthist, equalize_hist, rescale_intensity",
        items: &[
            "oncograph_imaging::clahe_nd",
            "oncograph_imaging::equalize_histogram",
            "oncograph_imaging::rescale_intensity",
        ],
        run: clahe3d,
    },
    Operation {
        name: "morphology",
        reference: "scipy.ndimage.binary_dilation and its kin, label, binary_fill_holes, distance_transform_edt",
        items: &[
            "oncograph_imaging::morphology::binary_dilate",
            "oncograph_imaging::morphology::binary_erode",
            "oncograph_imaging::morphology::binary_open",
            "oncograph_imaging::morphology::binary_close",
            "oncograph_imaging::morphology::components",
            "oncograph_imaging::morphology::fill_holes",
            "oncograph_imaging::morphology::distance_transform",
        ],
        run: morphology,
    },
    Operation {
        name: "marching_cubes",
        reference: "skimage.measure.marching_cubes, mesh_surface_area",
        items: &["oncograph_imaging::mesh::marching_cubes", "oncograph_imaging::mesh::Mesh"],
        run: surface,
    },
];

fn histogram_matching(f: &Fixture) -> Outcome {
    let (source, reference) = (volume(f, "in.source")?, volume(f, "in.reference")?);
    for name in f.with_prefix("out.").keys() {
        let full = format!("out.{name}");
        let words: Vec<&str> = name.split('_').collect();
        match words[..] {
            ["skimage", "float"] => {
                let out = match_histogram(&source, None, &reference, None)?;
                f.close_to_scale(&full, out.as_slice(), 1e-6)?;
            }
            ["skimage", "u8"] => {
                let (a, b) = (mask(f, "in.source_u8")?, mask(f, "in.reference_u8")?);
                f.close(&full, match_histogram(&a, None, &b, None)?.as_slice())?;
            }
            ["sitk", levels, points, threshold] => {
                let number = |word: &str| word[1..].parse().map_err(|_| unsupported(name));
                let options = MatchOptions::new()
                    .levels(number(levels)?)
                    .match_points(number(points)?)
                    .threshold_at_mean(threshold == "mean");
                let out = match_quantiles(&source, &reference, &options)?;
                f.close_to_scale(&full, out.as_slice(), 1e-6)?;
            }
            _ => return Err(unsupported(name)),
        }
    }
    Ok(())
}

fn clahe3d(f: &Fixture) -> Outcome {
    let x = volume(f, "in.x")?;
    let bins = f.number("nbins", 256.0) as usize;
    let mut options = ClaheNdOptions::new().bins(bins);
    if let Some(kernel) = along_axes(f.option("kernel_size")) {
        options = options.kernel(kernel.map(|k| k as usize));
    }
    let limit = f.number("clip_limit", 0.01);
    for name in f.with_prefix("out.").keys() {
        let out = match name.as_str() {
            "default" => clahe_nd(&x.cast(), &ClaheNdOptions::new())?.cast(),
            "clip0" => clahe_nd(&x.cast(), &options.clone().clip_limit(0.0))?.cast(),
            name if name.starts_with("kernel_clip") => {
                clahe_nd(&x.cast(), &options.clone().clip_limit(limit))?.cast()
            }
            "equalize_hist" => equalize_histogram(&x, bins, None)?,
            "rescale_pct" => {
                let range = (percentile(&x, 2.0, None)?, percentile(&x, 98.0, None)?);
                rescale_intensity(&x, range, (0.0, 1.0))?
            }
            other => return Err(unsupported(other)),
        };
        f.close_to_scale(&format!("out.{name}"), out.as_slice(), 1e-6)?;
    }
    Ok(())
}

/// The neighbours that a word such as `c26` names.
fn connectivity(word: &str) -> Result<Connectivity, Failed> {
    let count = word.trim_start_matches('c').parse().unwrap_or(0);
    Connectivity::of_neighbours(count).map_err(|_| unsupported(word))
}

fn morphology(f: &Fixture) -> Outcome {
    let x = mask(f, "in.mask")?;
    for name in f.with_prefix("out.").keys() {
        let full = format!("out.{name}");
        let words: Vec<&str> = name.split('_').collect();
        match words[..] {
            ["edt"] => {
                let sampling = along_axes(f.option("edt_sampling")).unwrap_or([1.0; 3]);
                f.close_to_scale(&full, m::distance_transform(&x, sampling)?.as_slice(), 1e-6)?;
            }
            ["label", c] => {
                let found = m::components(&x, connectivity(c)?)?;
                f.close(&full, found.volume.cast::<f64>().as_slice())?;
                if f.scalars(&format!("n_labels_{c}")).is_ok() {
                    f.close_scalar(&format!("n_labels_{c}"), found.len() as f64)?;
                }
                if f.scalars(&format!("sizes_{c}")).is_ok() {
                    let sizes: Vec<f64> = found.sizes.iter().map(|s| *s as f64).collect();
                    f.close_scalars(&format!("sizes_{c}"), &sizes)?;
                }
            }
            ["fill", "holes", ref rest @ ..] => {
                let near = rest.first().map_or(Ok(Connectivity::Faces), |c| connectivity(c))?;
                f.close(&full, m::fill_holes(&x, near)?.cast::<f64>().as_slice())?;
            }
            [operation, c, ref rest @ ..] => {
                let mut options = BinaryMorphologyOptions::new(connectivity(c)?);
                for word in rest {
                    options = match word.strip_prefix("it").map(str::parse) {
                        Some(Ok(times)) => options.iterations(Some(times)),
                        _ if *word == "border1" => options.border(true),
                        _ => return Err(unsupported(name)),
                    };
                }
                let run: fn(&Mask, &BinaryMorphologyOptions) -> oncograph_imaging::Result<Mask> =
                    match operation {
                        "dilation" => m::binary_dilate,
                        "erosion" => m::binary_erode,
                        "opening" => m::binary_open,
                        "closing" => m::binary_close,
                        _ => return Err(unsupported(name)),
                    };
                f.close(&full, run(&x, &options)?.cast::<f64>().as_slice())?;
            }
            _ => return Err(unsupported(name)),
        }
    }
    Ok(())
}

fn surface(f: &Fixture) -> Outcome {
    let name = if f.has("in.x") { "in.x" } else { "in.mask" };
    let spacing = along_axes(f.option("spacing")).unwrap_or([1.0; 3]);
    let x = volume(f, name)?;
    let grid = Grid::axis_aligned(x.shape(), spacing, [0.0; 3])?;
    let x = Volume::new(grid, Frame::default(), x.into_parts().2)?;
    let mut options = MarchingCubesOptions::default().step(f.number("step_size", 1.0) as usize);
    options.level = f.option("level").as_f64();
    options.drop_degenerate = !f.bool("allow_degenerate", true);
    options = match f.text("gradient_direction", "descent") {
        "descent" => options,
        "ascent" => options.direction(SurfaceDirection::Ascent),
        other => return Err(unsupported(format_args!("gradient_direction={other}"))),
    };
    let apart = options.clone().ambiguity(Ambiguity::Apart);
    options = match f.text("method", "lewiner") {
        "lewiner" => options,
        "lorensen" => apart.clone(),
        other => return Err(unsupported(format_args!("method={other}"))),
    };
    let mesh = marching_cubes(&x, &options)?;
    same_vertices(f, &mesh, spacing)?;
    let within = |path: &str, got: f64, tolerance: f64| -> Outcome {
        if let Ok(expected) = f.scalars(path) {
            f.compare(&format!("scalars/{path}"), &[got], &expected, |e| tolerance * e.abs());
        }
        Ok(())
    };
    // How a polygon is cut is ours, and so is the test of a cell's interior, which the peer makes along one axis: where
    // it sees a tunnel and we two sheets, or the other way round, four triangles and one handle are between us.
    let faces = f.tensor("out.faces")?.dims()[0] as f64;
    f.compare("out.faces", &[mesh.triangles.len() as f64], &[faces], |_| 5e-3 * faces);
    let handles = (mesh.triangles.len() as f64 - faces).abs() / 2.0;
    if let Ok(expected) = f.scalars("euler") {
        f.compare("scalars/euler", &[mesh.euler_characteristic() as f64], &expected, |_| handles);
    }
    within("area", mesh.area(), 5e-3)?;
    within("volume", mesh.volume(), 5e-3)?;
    within("n_verts", mesh.vertices.len() as f64, 0.0)?;
    within("n_faces", mesh.triangles.len() as f64, 5e-3)?;
    within("closed", f64::from(u8::from(mesh.is_closed())), 0.0)?;
    if f.scalars("lorensen_area").is_ok() {
        let classic = marching_cubes(&x, &apart)?;
        within("lorensen_area", classic.area(), 5e-3)?;
        within("lorensen_n_verts", classic.vertices.len() as f64, 0.0)?;
        within("lorensen_n_faces", classic.triangles.len() as f64, 0.0)?;
    }
    Ok(())
}

/// Compares the sets of vertices, and the normals at them by their direction.
fn same_vertices(f: &Fixture, mesh: &Mesh, spacing: [f64; 3]) -> Outcome {
    let reference: Vec<[f64; 3]> =
        f.values("out.verts")?.chunks_exact(3).map(|v| [v[2], v[1], v[0]]).collect();
    let distance = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt();
    let nearest = |v: &[f64; 3], others: &[[f64; 3]]| {
        let all = others.iter().map(|o| distance(v, o)).enumerate();
        all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::INFINITY))
    };
    let scale = reference.iter().flatten().fold(1.0_f64, |m, v| m.max(v.abs()));
    let matched: Vec<(usize, f64)> = reference.iter().map(|v| nearest(v, &mesh.vertices)).collect();
    let mut gaps: Vec<f64> = matched.iter().map(|m| m.1).collect();
    gaps.extend(mesh.vertices.iter().map(|v| nearest(v, &reference).1));
    f.compare("out.verts", &gaps, &vec![0.0; gaps.len()], |_| 1e-5 * scale);
    if f.has("out.normals") {
        let normals = f.values("out.normals")?;
        let pairs = normals.chunks_exact(3).zip(&matched);
        let cosine = |(n, m): (&[f64], &(usize, f64))| {
            // The peer's normals belong to voxels of size 1.
            let own: [f64; 3] = std::array::from_fn(|a| mesh.normals[m.0][a] * spacing[a]);
            let length = own.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            let own = own.map(|v| v / length);
            n[2] * own[0] + n[1] * own[1] + n[0] * own[2]
        };
        let mean = pairs.map(cosine).sum::<f64>() / matched.len().max(1) as f64;
        // The peer takes the gradient within single cells, ours is central.
        f.compare("out.normals", &[mean], &[1.0], |_| 0.1);
    }
    Ok(())
}
