//! Volumes of the size of an abdominal CT; `bench.py files` writes the files that are read.

use super::Bench;
use anyhow::Result;
use candle_core::{Device, Tensor};
use oncograph_imaging::dicom::{SeriesOptions, read_series};
use oncograph_imaging::mesh::{MarchingCubesOptions, marching_cubes};
use oncograph_imaging::morphology::{Edge, close};
use oncograph_imaging::{
    Frame, Grid, Interpolation, ResampleOptions, Volume, match_histogram, nifti, resample,
};

type Run = fn(&mut Bench) -> Result<()>;

pub(super) const CASES: &[(&str, Run)] = &[
    ("image/nifti_gz", read_nifti),
    ("image/dicom_series", read_dicom),
    ("image/resample_cubic", resample_cubic),
    ("image/resample_1e5", |b| halve(b, 46)),
    ("image/resample_1e6", |b| halve(b, 100)),
    ("image/resample_1e7", |b| halve(b, 215)),
    ("image/closing", closing),
    ("image/histogram_matching", histogram),
    ("image/marching_cubes", surface),
];

/// The file of both sides, 512 x 512 x 96.
const CT: &str = "ct.nii.gz";

fn keep(bench: &mut Bench, name: &str, volume: &Volume<f32>) -> Result<()> {
    // Voxels lie with the first axis fastest.
    let [i, j, k] = volume.grid().shape();
    bench.result(name, &Tensor::from_slice(volume.as_slice(), (k, j, i), &Device::Cpu)?);
    Ok(())
}

fn read_nifti(bench: &mut Bench) -> Result<()> {
    let path = bench.file(CT)?;
    let volume = bench.time(|| Ok(nifti::read::<i16>(&path)?))?;
    keep(bench, "volume", &volume.cast::<f32>())
}

fn read_dicom(bench: &mut Bench) -> Result<()> {
    let folder = bench.file("dicom")?;
    let options = SeriesOptions::new();
    let series = bench.time(|| Ok(read_series(&folder, &options)?))?;
    bench.result(
        "sum",
        &Tensor::new(&[series.volume.as_slice().iter().map(|v| f64::from(*v)).sum::<f64>()], &Device::Cpu)?,
    );
    Ok(())
}

fn resample_cubic(bench: &mut Bench) -> Result<()> {
    let ct = nifti::read::<f32>(bench.file(CT)?)?;
    let small = ct.grid().resized([128, 128, 40])?;
    let options = ResampleOptions::new(Interpolation::Cubic);
    let volume = bench.time(|| Ok(resample(&ct, &small, &options)?))?;
    keep(bench, "volume", &volume)
}

/// A cube to half its side.
fn halve(bench: &mut Bench, side: usize) -> Result<()> {
    let value = |[i, j, k]: [usize; 3]| ((i * 7 + j * 13 + k * 29) % 17) as f32;
    let cube = Volume::from_fn(Grid::axis_aligned([side; 3], [1.0; 3], [0.0; 3])?, Frame::default(), value);
    let half = cube.grid().resized([side / 2; 3])?;
    let options = ResampleOptions::new(Interpolation::Cubic);
    let volume = bench.time(|| Ok(resample(&cube, &half, &options)?))?;
    keep(bench, "volume", &volume)
}

fn closing(bench: &mut Bench) -> Result<()> {
    let mask = nifti::read::<u8>(bench.file("mask.nii.gz")?)?;
    let closed = bench.time(|| Ok(close(&mask, [1; 3], Edge::Background)?))?;
    keep(bench, "volume", &closed.cast::<f32>())
}

fn histogram(bench: &mut Bench) -> Result<()> {
    let ct = nifti::read::<f32>(bench.file(CT)?)?;
    let mut other = ct.map(|v| v * 1.3 + 20.0).as_slice().to_vec();
    other.rotate_left(1000);
    let reference = Volume::new(ct.grid().clone(), ct.frame().clone(), other)?;
    let volume = bench.time(|| Ok(match_histogram(&ct, None, &reference, None)?))?;
    keep(bench, "volume", &volume.cast::<f32>())
}

fn surface(bench: &mut Bench) -> Result<()> {
    let soft = nifti::read::<f32>(bench.file("soft.nii.gz")?)?;
    let options = MarchingCubesOptions::new(0.5);
    let mesh = bench.time(|| Ok(marching_cubes(&soft, &options)?))?;
    bench.result("area", &Tensor::new(&[mesh.area()], &Device::Cpu)?);
    Ok(())
}
