//! `oncograph-imaging` on real files; the peers' numbers are in the parity runner.

use libtest_mimic::{Failed, Trial};
use oncograph_imaging::dicom::{SeriesOptions, read_series};
use oncograph_imaging::{Grid, Mask, Volume, nifti, reorient, seg};
use oncograph_tests::trial;
use std::io::Read;
use std::path::Path;

type Outcome = Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("imaging::nifti_copies", &["fixtures/io"], nifti_copies),
        trial("imaging::seg_copy", &["fixtures/io/ct", "fixtures/io/seg.dcm"], seg_copy),
        trial("imaging::crlm_ct", &["data/crlm/ct_dicom", "data/crlm/ct_dicom_labels.nii.gz"], crlm_ct),
        trial("imaging::crlm_seg", &["data/crlm/dicom_seg"], crlm_seg),
    ]
}

/// Every NIfTI file of another writer is the same after writing and reading.
fn nifti_copies(root: &Path) -> Outcome {
    let folder = tempfile::tempdir()?;
    let options = nifti::ReadOptions::new().allow_pixdim_geometry(true).allow_nan(true);
    let mut copied = 0;
    for entry in std::fs::read_dir(root.join("fixtures/io"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".nii") && !name.ends_with(".nii.gz") {
            continue;
        }
        for (frame, volume) in nifti::read_4d::<f64>(&path, &options)?.into_iter().enumerate() {
            for ending in ["nii", "nii.gz"] {
                let copy = folder.path().join(format!("copy.{ending}"));
                nifti::write(&copy, &volume)?;
                let again: Volume<f64> = nifti::read_with(&copy, &options)?;
                let same =
                    again.as_slice().iter().zip(volume.as_slice()).all(|(a, b)| a.to_bits() == b.to_bits());
                if !same || !again.grid().approx_eq(volume.grid(), 1e-4) {
                    return Err(format!("{name}, frame {frame}: not the same as {ending}").into());
                }
                copied += 1;
            }
        }
    }
    if copied == 0 { Err("no NIfTI file".into()) } else { Ok(()) }
}

/// The masks of another writer's segmentation object are the same in one of our own.
fn seg_copy(root: &Path) -> Outcome {
    let series = read_series(root.join("fixtures/io/ct"), &SeriesOptions::new())?;
    let (grid, frame) = (series.volume.grid(), series.volume.frame());
    let decoded = seg::read(root.join("fixtures/io/seg.dcm"))?.decode_onto(grid, frame)?;
    let code = || seg::Code::new("10200004", "SCT", "Liver");
    let named = |label: &str| seg::NewSegment::new(label.to_owned(), seg::Code::organ(), code());
    let masks: Vec<_> = decoded.into_iter().map(|d| (named(&d.segment.label), d.mask())).collect();
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("seg.dcm");
    seg::write(&copy, &series, &masks, &seg::WriteOptions::new())?;
    let object = seg::read(&copy)?;
    let again = object.decode_onto(grid, frame)?;
    if object.referenced_series != [series.series_uid] || again.len() != masks.len() || masks.is_empty() {
        return Err(format!("{} segments of {:?}", again.len(), object.referenced_series).into());
    }
    for (again, (segment, mask)) in again.iter().zip(&masks) {
        if again.mask() != *mask || again.segment.label != segment.label {
            return Err(format!("{}: not the same after writing and reading", again.segment.label).into());
        }
    }
    Ok(())
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
