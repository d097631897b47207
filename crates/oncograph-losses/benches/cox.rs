//! The partial likelihood of 100 000 subjects with its gradient.
#![allow(missing_docs, clippy::unwrap_used)]

use candle_core::{Device, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use oncograph_losses::{Ties, cox};
use std::hint::black_box;

fn benchmark(criterion: &mut Criterion) {
    let n = 100_000;
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    let (mut risk, mut time, mut event) = (vec![], vec![], vec![]);
    for _ in 0..n {
        let r = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let (death, censoring) = (-uniform().ln() * 5.0 * (-0.6 * r).exp(), 12.0 * uniform());
        risk.push(r);
        event.push(death <= censoring);
        // Times in days: many ties.
        time.push((death.min(censoring) * 30.0).round() / 30.0);
    }
    let wide = Var::new(&risk[..], &Device::Cpu).unwrap();
    let single = Var::from_tensor(&wide.to_dtype(candle_core::DType::F32).unwrap()).unwrap();
    for (name, eta) in [("f32", &single), ("f64", &wide)] {
        for ties in [Ties::Breslow, Ties::Efron] {
            criterion.bench_function(&format!("cox_{ties:?}_1e5_{name}_and_gradient"), |b| {
                b.iter(|| cox(black_box(eta), &time, &event, ties).unwrap().backward().unwrap());
            });
        }
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
