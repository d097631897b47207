//! `oncograph-imaging` against scipy, scikit-image, SimpleITK, nibabel, pydicom and highdicom.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::DType;
use libtest_mimic::Failed;
use oncograph_imaging::dicom::{SeriesOptions, read_series};
use oncograph_imaging::{Border, Frame, Grid, Interpolation, Mask, ResampleOptions, Volume, ZoomOptions};
use oncograph_imaging::{
    affine_transform, filters, map_coordinates, nifti, reorient, resample, seg, spline_filter,
};
use serde_json::Value;

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "io_nifti",
        reference: "nibabel.load, nibabel.as_closest_canonical",
        items: &[
            "oncograph_imaging::nifti::read",
            "oncograph_imaging::nifti::read_4d",
            "oncograph_imaging::reorient",
        ],
        run: io_nifti,
    },
    Operation {
        name: "io_dicom",
        reference: "SimpleITK.ImageSeriesReader, pydicom.dcmread",
        items: &["oncograph_imaging::dicom::read_series"],
        run: io_dicom,
    },
    Operation {
        name: "io_dicom_seg",
        reference: "highdicom.seg.segread",
        items: &["oncograph_imaging::seg::read", "oncograph_imaging::seg::Segmentation::decode_onto"],
        run: io_dicom_seg,
    },
    Operation {
        name: "zoom",
        reference: "scipy.ndimage.zoom, spline_filter",
        items: &["oncograph_imaging::zoom", "oncograph_imaging::spline_filter"],
        run: zoom,
    },
    Operation {
        name: "affine_transform",
        reference: "scipy.ndimage.affine_transform, map_coordinates",
        items: &["oncograph_imaging::affine_transform", "oncograph_imaging::map_coordinates"],
        run: affine,
    },
    Operation {
        name: "sitk_resample",
        reference: "SimpleITK.Resample, GradientMagnitude",
        items: &["oncograph_imaging::resample", "oncograph_imaging::filters::gradient_magnitude"],
        run: sitk_resample,
    },
    Operation {
        name: "filters",
        reference: "scipy.ndimage.gaussian_filter, uniform_filter, median_filter, grey_opening, grey_closing",
        items: &[
            "oncograph_imaging::filters::gaussian",
            "oncograph_imaging::filters::uniform",
            "oncograph_imaging::filters::median",
            "oncograph_imaging::filters::rank",
        ],
        run: smoothing,
    },
];

/// A tensor `[a, b, c]` as a volume on unit voxels whose x axis is the last one.
pub(super) fn volume(f: &Fixture, name: &str) -> Result<Volume<f64>, Failed> {
    let [a, b, c] = f.tensor(name)?.dims()[..] else {
        return Err(format!("{name} is not three-dimensional").into());
    };
    let grid = Grid::axis_aligned([c, b, a], [1.0; 3], [0.0; 3])?;
    Ok(Volume::new(grid, Frame::default(), f.values(name)?)?)
}

pub(super) fn mask(f: &Fixture, name: &str) -> Result<Mask, Failed> {
    Ok(volume(f, name)?.cast())
}

/// An option that is a number or three of them, along array axes; x first.
pub(super) fn along_axes(value: &Value) -> Option<[f64; 3]> {
    match value {
        Value::Number(n) => Some([n.as_f64()?; 3]),
        Value::Array(list) => {
            let numbers: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
            <[f64; 3]>::try_from(numbers).ok().map(|[z, y, x]| [x, y, z])
        }
        _ => None,
    }
}

/// A list of numbers in its own order.
fn numbers<const N: usize>(value: &Value) -> Result<[f64; N], Failed> {
    let list = value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect::<Vec<_>>();
    list.try_into().map_err(|_| format!("{value} does not hold {N} numbers").into())
}

/// The border of a scipy mode.
fn border(mode: &str, value: f64) -> Result<Border, Failed> {
    Border::from_scipy(mode, value).map_err(|_| unsupported(format_args!("mode={mode}")))
}

fn spline(order: usize, mode: &str, value: f64) -> Result<ResampleOptions, Failed> {
    let kind = Interpolation::of_order(order).map_err(|_| unsupported(format_args!("order={order}")))?;
    Ok(ResampleOptions::new(kind).border(border(mode, value)?).exact_coordinates(true))
}

/// Values in the order of an array `[i, j, k]` with k fastest (nibabel's).
fn ijk_order(volume: &Volume<f64>) -> Vec<f64> {
    let [nx, ny, nz] = volume.shape();
    let index = (0..nx).flat_map(|i| (0..ny).flat_map(move |j| (0..nz).map(move |k| [i, j, k])));
    index.filter_map(|i| volume.get(i)).collect()
}

fn affine_rows(grid: &Grid) -> Vec<f64> {
    grid.affine().transpose().iter().copied().collect()
}

fn io_nifti(f: &Fixture) -> Outcome {
    for (name, file) in f.options().as_object().into_iter().flatten() {
        let path = f.folder().join(file["file"].as_str().ok_or("no file")?);
        let placed = file["sform_code"] != 0 || file["qform_code"] != 0;
        if !placed && nifti::read::<f64>(&path).is_ok() {
            f.fail(name, "a file without geometry was accepted");
        }
        let options = nifti::ReadOptions::new().allow_pixdim_geometry(!placed);
        let out = format!("out.{name}");
        let first = if let [.., frames] = f.tensor(&out)?.dims()[..]
            && f.tensor(&out)?.dims().len() == 4
        {
            let read = nifti::read_4d::<f64>(&path, &options)?;
            let each: Vec<Vec<f64>> = read.iter().map(ijk_order).collect();
            let count = each.first().map_or(0, Vec::len);
            let mixed: Vec<f64> = (0..count).flat_map(|i| each.iter().map(move |v| v[i])).collect();
            if read.len() != frames {
                f.fail(&out, format!("{} frames", read.len()));
            }
            f.close_to_scale(&out, &mixed, 1e-7)?;
            read.into_iter().next().ok_or("no frames")?
        } else {
            let read = nifti::read_with::<f64>(&path, &options)?;
            f.close_to_scale(&out, &ijk_order(&read), 1e-7)?;
            read
        };
        f.close_to_scale(&format!("affine.{name}"), &affine_rows(first.grid()), 1e-6)?;
        if file["axcodes"] != first.grid().orientation() {
            f.fail(name, format!("orientation {}", first.grid().orientation()));
        }
        if f.has(&format!("canon.{name}")) {
            let canonical = reorient(&first, "RAS")?;
            f.close_to_scale(&format!("canon.{name}"), &ijk_order(&canonical), 1e-7)?;
            f.close_to_scale(&format!("canon_affine.{name}"), &affine_rows(canonical.grid()), 1e-6)?;
        }
    }
    Ok(())
}

fn io_dicom(f: &Fixture) -> Outcome {
    let options = f.options();
    let dir = options["dir"].as_str().ok_or("no dir")?;
    let series = read_series(f.folder().join(dir), &SeriesOptions::new())?;
    let hu = series.volume.cast::<f64>();
    f.close_to_scale("out.volume_hu_sitk", hu.as_slice(), 1e-7)?;
    let (spacing, origin) = (numbers::<3>(&options["spacing_xyz"])?, numbers::<3>(&options["origin"])?);
    f.compare("spacing", &hu.grid().spacing(), &spacing, |s| 1e-9 * s);
    // SimpleITK's world is LPS, ours RAS.
    let ras = [-1.0, -1.0, 1.0];
    let at: [f64; 3] = std::array::from_fn(|a| ras[a] * origin[a]);
    f.compare("origin", &hu.grid().origin(), &at, |v| 1e-9 * v.abs().max(1.0));
    let direction = numbers::<9>(&options["direction"])?;
    let expected: Vec<f64> = (0..9).map(|i| ras[i / 3] * direction[i]).collect();
    let rows = hu.grid().direction().transpose();
    f.compare("direction", rows.as_slice(), &expected, |_| 1e-6);
    if options["series"] != series.series_uid {
        f.fail("series", &series.series_uid);
    }
    Ok(())
}

fn io_dicom_seg(f: &Fixture) -> Outcome {
    // The object's images are the series of the case `io_dicom` in the same folder.
    let image = Fixture::load(f.folder(), "io_dicom")?;
    let series = read_series(f.folder().join(image.text("dir", "io/ct")), &SeriesOptions::new())?;
    let object = seg::read(f.folder().join(f.text("file", "io/seg.dcm")))?;
    if object.referenced_series != [series.series_uid.clone()] {
        f.fail("out.label", format!("another series: {:?}", object.referenced_series));
    }
    let mut labels = series.volume.map(|_| 0_u8);
    let mut names = Vec::new();
    for found in object.decode_onto(series.volume.grid(), series.volume.frame())? {
        let number = found.segment.number as u8;
        let inside = found.mask();
        let pairs = labels.as_mut_slice().iter_mut().zip(inside.as_slice());
        pairs.filter(|(_, m)| **m != 0).for_each(|(l, _)| *l = number);
        names.push(found.segment.label.clone());
    }
    if *f.option("segments") != Value::from(names.clone()) {
        f.fail("out.label", format!("segments {names:?}"));
    }
    f.close("out.label", labels.cast::<f64>().as_slice())
}

fn zoom(f: &Fixture) -> Outcome {
    let x = volume(f, "in.x")?;
    let factor = along_axes(f.option("zoom")).ok_or("no zoom")?;
    let (value, mode) = (f.number("cval", 0.0), f.text("mode", "constant"));
    let order = f.number("order", 3.0) as usize;
    let (grid_mode, prefilter) = (f.bool("grid_mode", false), f.bool("prefilter", true));
    for (name, reference) in f.with_prefix("out.") {
        let full = format!("out.{name}");
        // spline_filter_o3_mirror; o3_mirror_grid; else everything is in the options.
        let words: Vec<&str> = name.split('_').collect();
        if let ["spline", "filter", order, mode] = words[..] {
            let order = order[1..].parse().map_err(|_| unsupported(&name))?;
            f.close_to_scale(&full, spline_filter(&x, &spline(order, mode, value)?)?.as_slice(), 1e-9)?;
            continue;
        }
        let (resampling, grid_mode) = match words[..] {
            [order, mode, alignment, ref rest @ ..] if order.starts_with('o') => {
                let order = order[1..].parse().map_err(|_| unsupported(&name))?;
                let filter = match rest {
                    [] => prefilter,
                    ["noprefilter"] => false,
                    _ => return Err(unsupported(&name)),
                };
                (spline(order, mode, value)?.prefilter(filter), alignment == "grid")
            }
            _ => (spline(order, mode, value)?.prefilter(prefilter), grid_mode),
        };
        let options = ZoomOptions::new(resampling).grid_mode(grid_mode);
        let out = match reference.dtype() {
            DType::I16 => oncograph_imaging::zoom(&x.cast::<i16>(), factor, &options)?.cast(),
            DType::I32 => oncograph_imaging::zoom(&x.cast::<i32>(), factor, &options)?.cast(),
            DType::U8 => oncograph_imaging::zoom(&x.cast::<u8>(), factor, &options)?.cast(),
            _ => oncograph_imaging::zoom(&x, factor, &options)?,
        };
        let [nx, ny, nz] = out.shape();
        if reference.dims() != [nz, ny, nx] {
            f.fail(&full, format!("shape {:?}", out.shape()));
        }
        f.close_to_scale(&full, out.as_slice(), 2e-7)?;
    }
    Ok(())
}

fn affine(f: &Fixture) -> Outcome {
    let x = volume(f, "in.x")?;
    let (value, default) = (f.number("cval", 0.0), f.text("mode", "constant"));
    let (m, o) = (f.values("in.matrix")?, f.values("in.offset")?);
    // scipy's axes are ours reversed.
    let matrix = nalgebra::Matrix3::from_fn(|r, c| m[3 * (2 - r) + 2 - c]);
    let offset = nalgebra::Vector3::from_fn(|r, _| o[2 - r]);
    let points: Vec<[f64; 3]> = if f.has("in.coords") {
        let (c, n) = (f.values("in.coords")?, f.tensor("in.coords")?.dims()[1]);
        (0..n).map(|p| [c[2 * n + p], c[n + p], c[p]]).collect()
    } else {
        Vec::new()
    };
    for (name, reference) in f.with_prefix("out.") {
        let words: Vec<&str> = name.split('_').collect();
        let (kind, order, mode) = match words[..] {
            [kind, order] => (kind, order, default),
            [kind, order, mode] => (kind, order, mode),
            _ => return Err(unsupported(&name)),
        };
        let order = order.trim_start_matches('o').parse().map_err(|_| unsupported(&name))?;
        let options = spline(order, mode, value)?.prefilter(f.bool("prefilter", true));
        let out = match (kind, reference.dims()) {
            ("map", _) => map_coordinates(&x, &points, &options)?,
            ("affine", [nz, ny, nx]) => {
                affine_transform(&x, matrix, offset, [*nx, *ny, *nz], &options)?.into_parts().2
            }
            _ => return Err(unsupported(&name)),
        };
        f.close_to_scale(&format!("out.{name}"), &out, 1e-9)?;
    }
    f.described_by_shapes(&["output_shape"]);
    Ok(())
}

fn sitk_resample(f: &Fixture) -> Outcome {
    // Source and target are given in one world, so its name does not matter.
    let (origin, direction) = (numbers::<3>(f.option("origin_xyz"))?, numbers::<9>(f.option("direction"))?);
    let direction = nalgebra::Matrix3::from_row_slice(&direction);
    let grid = |shape, spacing| Grid::from_spacing_origin_direction(shape, spacing, origin, direction);
    let [nz, ny, nx] = f.tensor("in.x")?.dims()[..] else { return Err("in.x is no volume".into()) };
    let source = grid([nx, ny, nz], numbers(f.option("spacing_xyz"))?)?;
    let size = numbers::<3>(f.option("new_size_xyz"))?.map(|v| v as usize);
    let target = grid(size, numbers(f.option("new_spacing"))?)?;
    let x = Volume::new(source, Frame::default(), f.values("in.x")?)?;
    let outside = f.number("default", 0.0);
    for name in f.with_prefix("out.").keys() {
        let kind = match name.as_str() {
            "nearest" => Interpolation::Nearest,
            "linear" => Interpolation::Linear,
            "bspline3" | "bspline" => Interpolation::Cubic,
            "gradient_magnitude" => {
                let out = filters::gradient_magnitude(&x)?;
                f.close_to_scale("out.gradient_magnitude", out.as_slice(), 1e-6)?;
                continue;
            }
            other => return Err(unsupported(other)),
        };
        let out = resample(&x, &target, &ResampleOptions::new(kind).outside(outside))?;
        f.close_to_scale(&format!("out.{name}"), out.as_slice(), 1e-6)?;
    }
    Ok(())
}

fn smoothing(f: &Fixture) -> Outcome {
    let x = volume(f, "in.x")?;
    let border = border(f.text("mode", "reflect"), f.number("cval", 0.0))?;
    let sigma = along_axes(f.option("gaussian_sigma"));
    let mut gaussian = filters::GaussianOptions::new().border(border).truncate(f.number("truncate", 4.0));
    if let Some(order) = along_axes(f.option("order")) {
        gaussian = gaussian.order(order.map(|o| o as usize));
    }
    for name in f.with_prefix("out.").keys() {
        let (kind, size) = name.rsplit_once('_').ok_or_else(|| unsupported(name))?;
        let size = size.trim_start_matches('s').parse::<f64>().map_err(|_| unsupported(name))?;
        let cube = [size as usize; 3];
        let last = cube.iter().product::<usize>().saturating_sub(1);
        let lowest = |v: &Volume<f64>| filters::rank(v, cube, 0, border);
        let highest = |v: &Volume<f64>| filters::rank(v, cube, last, border);
        let out = match kind {
            "gaussian" => filters::gaussian(&x, sigma.unwrap_or([size; 3]), &gaussian)?,
            "uniform" => filters::uniform(&x, cube, border)?,
            "median" => filters::median(&x, cube, border)?,
            "minimum" => lowest(&x)?,
            "maximum" => highest(&x)?,
            // The grey operations of scipy shift an even box, which these do not.
            _ if cube[0] % 2 == 0 => return Err(unsupported(name)),
            "grey_erosion" => lowest(&x)?,
            "grey_dilation" => highest(&x)?,
            "grey_opening" => highest(&lowest(&x)?)?,
            "grey_closing" => lowest(&highest(&x)?)?,
            _ => return Err(unsupported(name)),
        };
        f.close_to_scale(&format!("out.{name}"), out.as_slice(), 1e-9)?;
    }
    Ok(())
}
