//! Times of what a cohort spends its preprocessing on, at the size of an abdominal CT.

#![allow(clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use oncograph_imaging::dicom::{SeriesOptions, read_series};
use oncograph_imaging::filters::{GaussianOptions, gaussian};
use oncograph_imaging::mesh::{MarchingCubesOptions, marching_cubes};
use oncograph_imaging::morphology::{Edge, close};
use oncograph_imaging::{
    ClaheOptions, Frame, Grid, Interpolation, MatchOptions, ResampleOptions, Volume, clahe, match_histogram,
    match_quantiles, nifti, resample,
};
use std::hint::black_box;

fn ct() -> Volume<f32> {
    let grid = Grid::axis_aligned([512, 512, 96], [0.8, 0.8, 2.5], [0.0; 3]).unwrap();
    let mut state = 1_u64;
    Volume::from_fn(grid, Frame::default(), |[i, j, _]| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((i as f32 * 0.02).sin() + (j as f32 * 0.03).cos()) * 200.0 + (state >> 58) as f32
    })
}

fn volumes(criterion: &mut Criterion) {
    let ct = ct();
    let small = ct.grid().resized([128, 128, 40]).unwrap();
    let mut group = criterion.benchmark_group("512x512x96");
    group.sample_size(10);
    for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
        let options = ResampleOptions::new(interpolation);
        group.bench_function(format!("{interpolation:?} to 128x128x40"), |b| {
            b.iter(|| resample(black_box(&ct), &small, &options).unwrap());
        });
    }
    let mask = ct.map(|v| u8::from(v > 150.0));
    group.bench_function("closing of a mask", |b| {
        b.iter(|| close(black_box(&mask), [1; 3], Edge::Ignore).unwrap())
    });
    let unit = ct.map(|v| (v + 400.0) / 864.0);
    group.bench_function("CLAHE", |b| b.iter(|| clahe(black_box(&unit), &ClaheOptions::new()).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ct.nii.gz");
    let stored = ct.cast::<i16>();
    group
        .bench_function("write i16 .nii.gz", |b| b.iter(|| nifti::write(&path, black_box(&stored)).unwrap()));
    group.bench_function("read i16 .nii.gz as f32", |b| {
        b.iter(|| nifti::read::<f32>(black_box(&path)).unwrap())
    });
    group.finish();
}

/// Smooth shapes, as of segmented organs.
fn shapes() -> Volume<f64> {
    let grid = Grid::axis_aligned([256, 256, 96], [1.0; 3], [0.0; 3]).unwrap();
    let mut state = 1_u64;
    let noise = Volume::from_fn(grid, Frame::default(), |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    });
    gaussian(&noise, [4.0; 3], &GaussianOptions::new()).unwrap()
}

fn masks(criterion: &mut Criterion) {
    let mask = shapes().map(|v| u8::from(v > 0.003));
    let soft = gaussian(&mask, [1.5; 3], &GaussianOptions::new()).unwrap().map(|v| v as f32);
    let mut group = criterion.benchmark_group("256x256x96");
    group.sample_size(10);
    group
        .bench_function("closing", |b| b.iter(|| close(black_box(&mask), [1; 3], Edge::Background).unwrap()));
    let options = MarchingCubesOptions::new(0.5);
    group
        .bench_function("marching cubes", |b| b.iter(|| marching_cubes(black_box(&soft), &options).unwrap()));
    group.finish();
}

/// The volume and the DICOM folder that the environment names, as `ONCOGRAPH_BENCH_NIFTI` and `ONCOGRAPH_BENCH_DICOM`.
fn files(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("files");
    group.sample_size(10);
    if let Some(path) = std::env::var_os("ONCOGRAPH_BENCH_NIFTI") {
        group.bench_function("NIfTI as i16", |b| b.iter(|| nifti::read::<i16>(black_box(&path)).unwrap()));
        group.bench_function("NIfTI as f32", |b| b.iter(|| nifti::read::<f32>(black_box(&path)).unwrap()));
        let volume = nifti::read::<f32>(&path).unwrap();
        let mut brighter = volume.map(|v| v * 1.3 + 20.0).as_slice().to_vec();
        brighter.rotate_left(1000);
        let reference = Volume::new(volume.grid().clone(), volume.frame().clone(), brighter).unwrap();
        let matched = || match_histogram(black_box(&volume), None, &reference, None).unwrap();
        group.bench_function("histogram matching", |b| b.iter(matched));
        let options = MatchOptions::new().levels(1024).match_points(7);
        let matched = || match_quantiles(black_box(&volume), &reference, &options).unwrap();
        group.bench_function("quantile matching", |b| b.iter(matched));
        let small = volume.grid().resized([128, 128, 40]).unwrap();
        let cubic = ResampleOptions::new(Interpolation::Cubic);
        let resampled = || resample(black_box(&volume), &small, &cubic).unwrap();
        group.bench_function("cubic to 128x128x40", |b| b.iter(resampled));
    }
    if let Some(folder) = std::env::var_os("ONCOGRAPH_BENCH_DICOM") {
        let options = SeriesOptions::new();
        group.bench_function("DICOM series", |b| {
            b.iter(|| read_series(black_box(&folder), &options).unwrap())
        });
    }
    group.finish();
}

criterion_group!(benches, volumes, masks, files);
criterion_main!(benches);
