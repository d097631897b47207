//! Inference and a training step of `r3d_18` at the size of a brain scan.
#![allow(missing_docs)]

use candle_core::{DType, Device};
use criterion::{Criterion, criterion_group, criterion_main};
use oncograph_encoder::VideoResNetConfig;
use oncograph_nn::testing::pattern;
use oncograph_nn::{ParamStore, Seed};
use std::hint::black_box;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn bench(c: &mut Criterion) -> Outcome {
    let store = ParamStore::new(Seed::new(1));
    let model = VideoResNetConfig::r3d_18(1).build(store.var_builder(DType::F32, &Device::Cpu))?;
    let scans = |batch: usize| pattern(&[batch, 1, 40, 128, 128], 1)?.to_dtype(DType::F32);
    let mut group = c.benchmark_group("r3d_18 40x128x128");
    group.sample_size(10);
    let folded = model.folded()?;
    for batch in [1, 6] {
        let x = scans(batch)?;
        group.bench_function(format!("folded, batch {batch}"), |b| {
            b.iter(|| black_box(folded.forward_pooled(black_box(&x), [1; 3])));
        });
    }
    let x = scans(2)?;
    group.bench_function("training step without optimizer, batch 2", |b| {
        b.iter(|| -> Result<_, Box<dyn std::error::Error>> {
            let loss = model.forward_pooled(black_box(&x), [1; 3], true)?.sqr()?.sum_all()?;
            Ok(black_box(store.backward(&loss)?))
        });
    });
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
