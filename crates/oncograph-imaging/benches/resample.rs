//! Times of what a cohort spends its preprocessing on, at the size of an abdominal CT.

#![allow(clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use oncograph_imaging::morphology::{Edge, close};
use oncograph_imaging::{
    ClaheOptions, Frame, Grid, Interpolation, ResampleOptions, Volume, clahe, nifti, resample,
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

criterion_group!(benches, volumes);
criterion_main!(benches);
