//! `oncograph-imaging` against nibabel, scipy, SimpleITK, highdicom and real files.

use libtest_mimic::{Failed, Trial};
use oncograph_imaging::dicom::{SeriesOptions, read_series};
use oncograph_imaging::morphology::{self, Edge};
use oncograph_imaging::{Border, Frame, Grid, Interpolation, Mask, ResampleOptions, Volume};
use oncograph_imaging::{nifti, reorient, resample, resize, seg};
use oncograph_tests::trial;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

type Outcome = Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let fixture = |name: &str, needs: &[&str], run: fn(&Path, &Case) -> Outcome| {
        let file = format!("fixtures/{name}.safetensors");
        let needs: Vec<&str> = needs.iter().copied().chain([file.as_str()]).collect();
        let name = name.to_owned();
        trial(&format!("imaging::{name}"), &needs, move |root| run(root, &Case::read(root, &name)?))
    };
    vec![
        fixture("io_nifti", &["fixtures/io"], io_nifti),
        fixture("io_dicom", &["fixtures/io/ct"], io_dicom),
        fixture(
            "io_dicom_seg",
            &["fixtures/io/ct", "fixtures/io/seg.dcm", "fixtures/io_dicom.json"],
            io_dicom_seg,
        ),
        fixture("zoom", &[], zoom),
        fixture("zoom_downsample", &[], zoom_downsample),
        fixture("affine_transform", &[], affine_transform),
        fixture("sitk_resample", &[], sitk_resample),
        fixture("morphology", &[], binary_morphology),
        fixture("filters", &[], grey_morphology),
        trial("imaging::crlm_ct", &["data/crlm/ct_dicom", "data/crlm/ct_dicom_labels.nii.gz"], crlm_ct),
        trial("imaging::crlm_seg", &["data/crlm/dicom_seg"], crlm_seg),
    ]
}

/// One case: its tensors as `f64` and its configuration.
struct Case {
    bytes: Vec<u8>,
    config: Value,
}

impl Case {
    fn read(root: &Path, name: &str) -> Result<Self, Failed> {
        let json = std::fs::read_to_string(root.join(format!("fixtures/{name}.json")))?;
        let config = serde_json::from_str::<Value>(&json)?["config"].clone();
        Ok(Self { bytes: std::fs::read(root.join(format!("fixtures/{name}.safetensors")))?, config })
    }

    fn names(&self) -> Result<Vec<String>, Failed> {
        Ok(SafeTensors::deserialize(&self.bytes)?.names().into_iter().map(|n| n.to_string()).collect())
    }

    /// Values in row-major order and the shape.
    fn tensor(&self, name: &str) -> Result<(Vec<f64>, Vec<usize>), Failed> {
        let tensors = SafeTensors::deserialize(&self.bytes)?;
        let view = tensors.tensor(name)?;
        let bytes = view.data();
        macro_rules! numbers {
            ($t:ty) => {
                bytes
                    .as_chunks::<{ size_of::<$t>() }>()
                    .0
                    .iter()
                    .map(|b| <$t>::from_le_bytes(*b) as f64)
                    .collect()
            };
        }
        let values = match view.dtype() {
            Dtype::U8 => numbers!(u8),
            Dtype::I16 => numbers!(i16),
            Dtype::I32 => numbers!(i32),
            Dtype::F32 => numbers!(f32),
            Dtype::F64 => numbers!(f64),
            other => return Err(format!("{name} is {other:?}").into()),
        };
        Ok((values, view.shape().to_vec()))
    }

    /// A tensor `[a, b, c]` as a volume on unit voxels whose x axis is the last one.
    fn volume(&self, name: &str) -> Result<Volume<f64>, Failed> {
        let (values, shape) = self.tensor(name)?;
        let grid = Grid::axis_aligned([shape[2], shape[1], shape[0]], [1.0; 3], [0.0; 3])?;
        Ok(Volume::new(grid, Frame::default(), values)?)
    }

    fn mask(&self, name: &str) -> Result<Mask, Failed> {
        Ok(self.volume(name)?.cast())
    }

    fn numbers<const N: usize>(&self, key: &str) -> Result<[f64; N], Failed> {
        let list = self.config[key].as_array().ok_or(format!("config has no {key}"))?;
        let values: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        values.try_into().map_err(|_| format!("{key} does not hold {N} numbers").into())
    }
}

/// Largest difference, relative to the largest reference value.
fn compare(what: &str, ours: &[f64], reference: &[f64], tolerance: f64) -> Outcome {
    if ours.len() != reference.len() {
        return Err(format!("{what}: {} values, expected {}", ours.len(), reference.len()).into());
    }
    let scale = reference.iter().fold(0.0_f64, |m, v| m.max(v.abs())).max(f64::MIN_POSITIVE);
    let worst = ours.iter().zip(reference).enumerate().map(|(i, (a, b))| ((a - b).abs() / scale, i));
    let (worst, at) = worst.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0));
    if worst.is_nan() || worst > tolerance {
        let (a, b) = (ours[at], reference[at]);
        return Err(format!("{what}: relative difference {worst:e} at {at} ({a} against {b})").into());
    }
    Ok(())
}

/// Values of a volume in the order of an array `[i, j, k]` with k fastest (nibabel's).
fn ijk_order(volume: &Volume<f64>) -> Vec<f64> {
    let [nx, ny, nz] = volume.shape();
    let index = (0..nx).flat_map(|i| (0..ny).flat_map(move |j| (0..nz).map(move |k| [i, j, k])));
    index.filter_map(|i| volume.get(i)).collect()
}

fn affine_rows(grid: &Grid) -> Vec<f64> {
    grid.affine().transpose().iter().copied().collect()
}

fn io_nifti(root: &Path, case: &Case) -> Outcome {
    let files = case.config.as_object().ok_or("config is no object")?;
    for (name, file) in files {
        let path = root.join("fixtures").join(file["file"].as_str().ok_or("no file")?);
        let strict = nifti::ReadOptions::new();
        if case.tensor(&format!("out.{name}"))?.1.len() == 4 {
            let (reference, shape) = case.tensor(&format!("out.{name}"))?;
            if nifti::read::<f64>(&path).is_ok() {
                return Err(format!("{name}: four dimensions were read as three").into());
            }
            let frames = nifti::read_4d::<f64>(&path, &strict)?;
            for (t, frame) in frames.iter().enumerate() {
                let own: Vec<f64> = reference.iter().skip(t).step_by(shape[3]).copied().collect();
                compare(name, &ijk_order(frame), &own, 1e-12)?;
            }
            continue;
        }
        let placed = file["sform_code"] != 0 || file["qform_code"] != 0;
        if !placed && nifti::read::<f64>(&path).is_ok() {
            return Err(format!("{name}: a file without geometry was accepted").into());
        }
        let volume: Volume<f64> = nifti::read_with(&path, &strict.clone().allow_pixdim_geometry(!placed))?;
        compare(name, &ijk_order(&volume), &case.tensor(&format!("out.{name}"))?.0, 1e-7)?;
        compare(name, &affine_rows(volume.grid()), &case.tensor(&format!("affine.{name}"))?.0, 1e-6)?;
        if file["axcodes"] != volume.grid().orientation() {
            return Err(format!("{name}: orientation {}", volume.grid().orientation()).into());
        }
        let canonical = reorient(&volume, "RAS")?;
        compare(name, &ijk_order(&canonical), &case.tensor(&format!("canon.{name}"))?.0, 1e-7)?;
        compare(
            name,
            &affine_rows(canonical.grid()),
            &case.tensor(&format!("canon_affine.{name}"))?.0,
            1e-6,
        )?;

        let folder = tempfile::tempdir()?;
        let copy = folder.path().join("copy.nii.gz");
        nifti::write(&copy, &volume)?;
        let again: Volume<f64> = nifti::read(&copy)?;
        if again.as_slice() != volume.as_slice() || !again.grid().approx_eq(volume.grid(), 1e-4) {
            return Err(format!("{name}: not the same after writing and reading").into());
        }
    }
    Ok(())
}

fn io_dicom(root: &Path, case: &Case) -> Outcome {
    let dir = case.config["dir"].as_str().ok_or("no dir")?;
    let series = read_series(root.join("fixtures").join(dir), &SeriesOptions::new())?;
    let hu = series.volume.cast::<f64>();
    compare("HU", hu.as_slice(), &case.tensor("out.volume_hu_sitk")?.0, 1e-7)?;
    let (spacing, origin) = (case.numbers::<3>("spacing_xyz")?, case.numbers::<3>("origin")?);
    compare("spacing", &hu.grid().spacing(), &spacing, 1e-9)?;
    compare("origin", &hu.grid().origin(), &[-origin[0], -origin[1], origin[2]], 1e-9)?;
    if case.config["series"] != series.series_uid {
        return Err("another series".into());
    }
    Ok(())
}

fn io_dicom_seg(root: &Path, case: &Case) -> Outcome {
    let series = read_series(root.join("fixtures/io/ct"), &SeriesOptions::new())?;
    let file = case.config["file"].as_str().ok_or("no file")?;
    let object = seg::read(root.join("fixtures").join(file))?;
    let (labels, _) = case.tensor("out.label")?;
    let decoded = object.decode_onto(series.volume.grid(), series.volume.frame())?;
    let names = case.config["segments"].as_array().ok_or("no segments")?;
    if decoded.len() != names.len() || object.referenced_series != [series.series_uid.clone()] {
        return Err(format!("{} segments of series {:?}", decoded.len(), object.referenced_series).into());
    }
    let mut masks = Vec::new();
    for (found, name) in decoded.into_iter().zip(names) {
        if *name != found.segment.label || found.resampled || found.outside != 0 {
            return Err(format!("segment {:?} instead of {name}", found.segment).into());
        }
        let number = f64::from(found.segment.number);
        let own: Vec<u8> = labels.iter().map(|l| u8::from(*l == number)).collect();
        if found.mask().as_slice() != own {
            return Err(format!("{name}: another mask").into());
        }
        let code = || seg::Code::new("10200004", "SCT", "Liver");
        masks.push((
            seg::NewSegment::new(found.segment.label.clone(), seg::Code::organ(), code()),
            found.mask(),
        ));
    }
    // Our own object holds the same masks.
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("seg.dcm");
    seg::write(&copy, &series, &masks, &seg::WriteOptions::new())?;
    let again = seg::read(&copy)?.decode_onto(series.volume.grid(), series.volume.frame())?;
    if again.iter().zip(&masks).any(|(a, b)| a.mask() != b.1) {
        return Err("not the same after writing and reading".into());
    }
    Ok(())
}

/// A target grid of scipy's `zoom`: corner aligned, or with `grid` covering the same extent.
fn zoomed(source: &Grid, shape: [usize; 3], grid: bool) -> Result<Grid, Failed> {
    if grid {
        return Ok(source.resized(shape)?);
    }
    let step =
        |a: usize| if shape[a] > 1 { (source.shape()[a] - 1) as f64 / (shape[a] - 1) as f64 } else { 1.0 };
    Ok(Grid::axis_aligned(shape, std::array::from_fn(step), [0.0; 3])?)
}

fn interpolation(order: &str) -> Interpolation {
    match order {
        "0" => Interpolation::Nearest,
        "1" => Interpolation::Linear,
        _ => Interpolation::Cubic,
    }
}

/// scipy's modes that the crate offers.
fn border(mode: &str, value: f64) -> Option<Border> {
    match mode {
        "constant" => Some(Border::Constant(value)),
        "nearest" => Some(Border::Nearest),
        "mirror" => Some(Border::Mirror),
        "reflect" => Some(Border::Reflect),
        _ => None,
    }
}

fn zoom(_: &Path, case: &Case) -> Outcome {
    let volume = case.volume("in.x")?;
    let mut compared = 0;
    for name in case.names()? {
        // out.o3_mirror_grid and the like.
        let Some(parts) = name.strip_prefix("out.o") else { continue };
        let parts: Vec<&str> = parts.split('_').collect();
        let [order, mode, alignment] = parts[..] else { continue };
        let value = case.config["cval"].as_f64().unwrap_or(0.0);
        let Some(border) = border(mode, value) else { continue };
        let (reference, shape) = case.tensor(&name)?;
        let target = zoomed(volume.grid(), [shape[2], shape[1], shape[0]], alignment == "grid")?;
        let out = resample(&volume, &target, &ResampleOptions::new(interpolation(order)).border(border))?;
        let mut ours = out.as_slice().to_vec();
        if mode == "constant" && alignment == "corner" {
            // scipy may put the very last sample outside by a rounding error of its own; ours never does.
            let edge = |o: usize| (0..3).any(|a| out.grid().index_of(o)[a] + 1 == out.shape()[a]);
            ours.iter_mut().enumerate().filter(|(o, _)| edge(*o)).for_each(|(o, v)| *v = reference[o]);
        }
        let tolerance = if mode == "nearest" && order == "3" { 1e-6 } else { 2e-7 };
        compare(&name, &ours, &reference, tolerance)?;
        compared += 1;
        if mode == "nearest" && alignment == "grid" {
            let again = resize(&volume, out.shape(), interpolation(order))?;
            compare("resize", again.as_slice(), out.as_slice(), 1e-12)?;
        }
    }
    if compared < 10 { Err(format!("only {compared} outputs compared").into()) } else { Ok(()) }
}

fn zoom_downsample(_: &Path, case: &Case) -> Outcome {
    let volume = case.volume("in.x")?;
    let (reference, shape) = case.tensor("out.float64")?;
    let target = zoomed(volume.grid(), [shape[2], shape[1], shape[0]], false)?;
    let options = ResampleOptions::new(Interpolation::Cubic).border(Border::Constant(0.0));
    compare("float64", resample(&volume, &target, &options)?.as_slice(), &reference, 1e-12)?;
    let integers = resample(&volume.cast::<i16>(), &target, &options)?.cast::<f64>();
    compare("int16", integers.as_slice(), &case.tensor("out.int16")?.0, 0.0)
}

/// scipy's index map (array axes) as a target grid over the unit grid of the source.
fn affine_transform(_: &Path, case: &Case) -> Outcome {
    let volume = case.volume("in.x")?;
    let (m, _) = case.tensor("in.matrix")?;
    let (offset, _) = case.tensor("in.offset")?;
    let mut affine = *volume.grid().affine();
    for r in 0..3 {
        for c in 0..3 {
            affine[(2 - r, 2 - c)] = m[3 * r + c];
        }
        affine[(2 - r, 3)] = offset[r];
    }
    let target = Grid::new(volume.shape(), affine)?;
    let value = case.config["cval"].as_f64().ok_or("no cval")?;
    for order in ["0", "1", "3"] {
        let options = ResampleOptions::new(interpolation(order)).border(Border::Constant(value));
        let out = resample(&volume, &target, &options)?;
        compare(order, out.as_slice(), &case.tensor(&format!("out.affine_o{order}"))?.0, 1e-12)?;
    }
    // Single points, also far outside: a grid of one voxel at each.
    let (coords, shape) = case.tensor("in.coords")?;
    for name in case.names()? {
        let Some(parts) = name.strip_prefix("out.map_o") else { continue };
        let (order, mode) = parts.split_once('_').ok_or("unexpected name")?;
        let Some(border) = border(mode, value) else { continue };
        let options = ResampleOptions::new(interpolation(order)).border(border);
        let mut ours = Vec::new();
        for p in 0..shape[1] {
            let at = [coords[2 * shape[1] + p], coords[shape[1] + p], coords[p]];
            let point = Grid::axis_aligned([1, 1, 1], [1.0; 3], at)?;
            ours.extend_from_slice(resample(&volume, &point, &options)?.as_slice());
        }
        compare(&name, &ours, &case.tensor(&name)?.0, if mode == "nearest" { 1e-6 } else { 1e-10 })?;
    }
    Ok(())
}

fn sitk_resample(_: &Path, case: &Case) -> Outcome {
    let (values, shape) = case.tensor("in.x")?;
    let direction = case.numbers::<9>("direction")?;
    // Both grids are given in the same world, so its name does not matter.
    let grid = |spacing: [f64; 3], shape: [usize; 3]| -> Result<Grid, Failed> {
        let origin = case.numbers::<3>("origin_xyz")?;
        let unit = Grid::axis_aligned(shape, spacing, origin)?;
        let mut affine = *unit.affine();
        for r in 0..3 {
            for c in 0..3 {
                affine[(r, c)] = direction[3 * r + c] * spacing[c];
            }
        }
        Ok(Grid::new(shape, affine)?)
    };
    let source = grid(case.numbers("spacing_xyz")?, [shape[2], shape[1], shape[0]])?;
    let size = case.numbers::<3>("new_size_xyz")?.map(|v| v as usize);
    let target = grid(case.numbers("new_spacing")?, size)?;
    let volume = Volume::new(source, Frame::default(), values)?;
    let outside = case.config["default"].as_f64().ok_or("no default")?;
    let pairs = [
        ("out.nearest", Interpolation::Nearest, 0.0),
        ("out.linear", Interpolation::Linear, 1e-6),
        ("out.bspline3", Interpolation::Cubic, 1e-6),
    ];
    for (name, interpolation, tolerance) in pairs {
        let out = resample(&volume, &target, &ResampleOptions::new(interpolation).outside(outside))?;
        compare(name, out.as_slice(), &case.tensor(name)?.0, tolerance)?;
    }
    Ok(())
}

fn binary_morphology(_: &Path, case: &Case) -> Outcome {
    let mask = case.mask("in.mask")?;
    let one = [1; 3];
    let pairs = [
        ("dilation_c26", morphology::dilate(&mask, one)?),
        ("erosion_c26", morphology::erode(&mask, one, Edge::Background)?),
        ("erosion_c26_border1", morphology::erode(&mask, one, Edge::Ignore)?),
        ("opening_c26", morphology::open(&mask, one, Edge::Background)?),
        ("closing_c26", morphology::close(&mask, one, Edge::Background)?),
        ("closing_c26_it2", morphology::close(&mask, [2; 3], Edge::Background)?),
    ];
    for (name, ours) in pairs {
        if ours.as_slice() != case.mask(&format!("out.{name}"))?.as_slice() {
            return Err(format!("{name} differs").into());
        }
    }
    Ok(())
}

fn grey_morphology(_: &Path, case: &Case) -> Outcome {
    let volume = case.volume("in.x")?;
    let closed = morphology::close(&volume, [1; 3], Edge::Ignore)?;
    compare("grey_closing_3", closed.as_slice(), &case.tensor("out.grey_closing_3")?.0, 0.0)?;
    let opened = morphology::open(&volume, [1; 3], Edge::Ignore)?;
    compare("grey_opening_3", opened.as_slice(), &case.tensor("out.grey_opening_3")?.0, 0.0)
}

/// The DICOM series (LPS, JPEG 2000, files out of order) and the NIfTI label map (RAS) are the same place.
fn crlm_ct(root: &Path) -> Outcome {
    let series = read_series(root.join("data/crlm/ct_dicom"), &SeriesOptions::new())?;
    let labels: Mask = nifti::read(root.join("data/crlm/ct_dicom_labels.nii.gz"))?;
    let ct = reorient(&series.volume, &labels.grid().orientation())?;
    if !ct.grid().approx_eq(labels.grid(), 1e-2) {
        return Err(format!("{:?} against {:?}", ct.grid(), labels.grid()).into());
    }
    // Contrast-enhanced liver lies near 100 HU; another slice order or a second rescale would not.
    let liver = labels.label(5);
    let inside =
        ct.as_slice().iter().zip(liver.as_slice()).filter(|(_, m)| **m != 0).map(|(v, _)| f64::from(*v));
    let (sum, count) = inside.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    let mean = sum / count;
    if !(80.0..140.0).contains(&mean) {
        return Err(format!("mean liver value {mean} HU over {count} voxels").into());
    }
    Ok(())
}

/// dcmqi's own expected mask, and a SEG with overlapping segments that covers other slices.
fn crlm_seg(root: &Path) -> Outcome {
    let folder = root.join("data/crlm/dicom_seg");
    let series = read_series(&folder, &SeriesOptions::new())?;
    let (grid, frame) = (series.volume.grid(), series.volume.frame());
    let liver = &seg::read(folder.join("liver.dcm"))?.decode_onto(grid, frame)?[0];
    let (nrrd, expected) = read_nrrd(&folder.join("liver_seg.nrrd"))?;
    if !nrrd.approx_eq(grid, 1e-3) {
        return Err(format!("{nrrd:?} against {grid:?}").into());
    }
    if liver.mask().as_slice() != expected || liver.resampled || liver.outside != 0 || liver.is_empty() {
        return Err(format!("{} voxels of liver", liver.mask().count()).into());
    }
    let object = seg::read(folder.join("partial_overlaps.dcm"))?;
    let decoded = object.decode_onto(grid, frame)?;
    let shared = |a: usize, b: usize| {
        let (a, b) = (decoded[a].mask(), decoded[b].mask());
        a.as_slice().iter().zip(b.as_slice()).filter(|(a, b)| **a != 0 && **b != 0).count()
    };
    let overlaps: usize = (0..5).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| shared(a, b)).sum();
    if decoded.len() != 5 || decoded.iter().any(|d| d.is_empty() || d.resampled) || overlaps == 0 {
        return Err(format!("{} segments, {overlaps} shared voxels", decoded.len()).into());
    }
    Ok(())
}

/// The grid and values of a gzip NRRD of shorts in LPS space.
fn read_nrrd(path: &Path) -> Result<(Grid, Vec<u8>), Failed> {
    let bytes = std::fs::read(path)?;
    let end = bytes.windows(2).position(|w| w == b"\n\n").ok_or("no end of the header")?;
    let header = std::str::from_utf8(&bytes[..end])?;
    let field = |name: &str| {
        let line = header.lines().find_map(|l| l.strip_prefix(name)).ok_or(format!("no {name}"))?;
        let clean = line.replace(['(', ')', ','], " ");
        let numbers: Vec<f64> = clean.split_whitespace().filter_map(|v| v.parse().ok()).collect();
        Ok::<_, Failed>(numbers)
    };
    let (sizes, axes, origin) = (field("sizes:")?, field("space directions:")?, field("space origin:")?);
    let shape = std::array::from_fn(|a| sizes[a] as usize);
    let mut affine = *Grid::axis_aligned(shape, [1.0; 3], [0.0; 3])?.affine();
    for r in 0..3 {
        let sign = if r < 2 { -1.0 } else { 1.0 };
        for c in 0..3 {
            affine[(r, c)] = sign * axes[3 * c + r];
        }
        affine[(r, 3)] = sign * origin[r];
    }
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(&bytes[end + 2..]).read_to_end(&mut raw)?;
    let values = raw.as_chunks::<2>().0.iter().map(|w| u8::from(i16::from_le_bytes(*w) != 0)).collect();
    Ok((Grid::new(shape, affine)?, values))
}
