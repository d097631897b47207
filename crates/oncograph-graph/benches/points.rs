//! Farthest point sampling and graphs of neighbours of 100 000 points.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use oncograph_graph::geometry::{
    FpsConfig, KnnGraphConfig, Points, RadiusGraphConfig, fps, knn_graph, radius_graph,
};
use std::hint::black_box;

fn benchmark(criterion: &mut Criterion) {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let cube: Vec<f32> = (0..300_000).map(|_| uniform()).collect();
    let normal: Vec<f32> = (0..300_000).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect();
    let (cube, normal) = (Points::new(&cube, 3).unwrap(), Points::new(&normal, 3).unwrap());
    let mut group = criterion.benchmark_group("100k points");
    group.sample_size(10);
    let few = FpsConfig::new(1024.0 / 100_000.0);
    group.bench_function("fps to 1024", |b| b.iter(|| fps(black_box(&normal), &few, None).unwrap()));
    let nearest = KnnGraphConfig::new(16);
    group.bench_function("knn 16", |b| b.iter(|| knn_graph(black_box(&cube), &nearest).unwrap()));
    let near = RadiusGraphConfig::new(0.03);
    group.bench_function("radius 0.03", |b| b.iter(|| radius_graph(black_box(&cube), &near).unwrap()));
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
