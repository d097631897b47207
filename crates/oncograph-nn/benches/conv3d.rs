//! Speed of `conv3d` and of its gradients at the sizes of a 3D ResNet-18.
#![allow(missing_docs)]

use candle_core::{DType, Tensor, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oncograph_nn::conv3d::{Conv3dConfig, conv3d};
use oncograph_nn::testing::pattern;
use std::hint::black_box;

/// Name, channels in and out, stride, volume.
const CASES: [(&str, usize, usize, usize, [usize; 3]); 5] = [
    ("64-64 10x32x32", 64, 64, 1, [10, 32, 32]),
    ("64-64 20x64x64", 64, 64, 1, [20, 64, 64]),
    ("256-256 5x8x8", 256, 256, 1, [5, 8, 8]),
    ("512-512 3x4x4", 512, 512, 1, [3, 4, 4]),
    ("64-128 stride 2 20x64x64", 64, 128, 2, [20, 64, 64]),
];

fn input(shape: &[usize], salt: u64) -> candle_core::Result<Tensor> {
    pattern(shape, salt)?.to_dtype(DType::F32)
}

fn bench(c: &mut Criterion) -> candle_core::Result<()> {
    let mut group = c.benchmark_group("conv3d");
    group.sample_size(10);
    for (name, ci, co, stride, [d, h, w]) in CASES {
        let config = Conv3dConfig::new().padding([1; 3]).stride([stride; 3]);
        let x = input(&[1, ci, d, h, w], 1)?;
        let weight = input(&[co, ci, 3, 3, 3], 2)?;
        let y = conv3d(&x, &weight, None, &config)?;
        // Floating-point operations as "elements": criterion then prints them per second.
        group.throughput(Throughput::Elements((2 * y.elem_count() * ci * 27) as u64));
        group.bench_function(format!("forward {name}"), |b| {
            b.iter(|| black_box(conv3d(black_box(&x), &weight, None, &config)));
        });
        let (x_var, weight_var) = (Var::from_tensor(&x)?, Var::from_tensor(&weight)?);
        // The sum's own backward pass is small beside the convolution's.
        let of_input = conv3d(&x_var, &weight, None, &config)?.sum_all()?;
        group.bench_function(format!("input gradient {name}"), |b| b.iter(|| black_box(of_input.backward())));
        let of_weight = conv3d(&x, &weight_var, None, &config)?.sum_all()?;
        group.bench_function(format!("weight gradient {name}"), |b| {
            b.iter(|| black_box(of_weight.backward()))
        });
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    if let Err(error) = bench(c) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
