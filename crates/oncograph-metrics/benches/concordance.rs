//! Harrell's C-index, IPCW C-index and Cox likelihood on 100 000 subjects.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use oncograph_metrics::{Survival, Ties, concordance, concordance_ipcw, cox_log_likelihood};
use rand::Rng;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::hint::black_box;

fn cohort(n: usize) -> (Vec<f64>, Vec<bool>, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (mut time, mut event, mut risk) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..n {
        let r: f64 = rng.random_range(-2.0..2.0);
        let death = -rng.random_range(1e-9f64..1.0).ln() * 5.0 * (-0.6 * r).exp();
        let censoring = rng.random_range(0.0..12.0);
        risk.push(r);
        event.push(death <= censoring);
        time.push(death.min(censoring));
    }
    (time, event, risk)
}

fn benchmark(c: &mut Criterion) {
    let (time, event, risk) = cohort(100_000);
    // Times rounded to days: many ties.
    let days: Vec<f64> = time.iter().map(|t| (t * 30.0).round() / 30.0).collect();
    for (name, time) in [("untied", &time), ("days", &days)] {
        let Ok(survival) = Survival::new(time, &event) else { continue };
        let tau = survival.last_time() * 0.9;
        c.bench_function(&format!("concordance_1e5_{name}"), |b| {
            b.iter(|| concordance(black_box(&survival), &risk));
        });
        c.bench_function(&format!("concordance_ipcw_1e5_{name}"), |b| {
            b.iter(|| concordance_ipcw(black_box(&survival), &survival, &risk, Some(tau)));
        });
        c.bench_function(&format!("cox_log_likelihood_efron_1e5_{name}"), |b| {
            b.iter(|| cox_log_likelihood(black_box(&survival), &risk, Ties::Efron));
        });
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
