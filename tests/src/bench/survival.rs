//! Statistics of 100 000 subjects.

use super::{Bench, random};
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use oncograph_losses::{RiskSets, Ties};
use oncograph_metrics::{Survival, concordance};

type Run = fn(&mut Bench) -> Result<()>;

pub(super) const CASES: &[(&str, Run)] = &[
    ("survival/concordance", concordance_index),
    ("survival/cox_f32", |b| cox(b, DType::F32)),
    ("survival/cox_f64", |b| cox(b, DType::F64)),
];

struct Cohort {
    time: Vec<f64>,
    event: Vec<bool>,
    risk: Vec<f64>,
}

/// Times in days, so with many ties.
fn cohort(bench: &mut Bench) -> Result<Cohort> {
    let n = 100_000;
    let draw = |salt| -> Result<Vec<f64>> {
        Ok(random(&[n], salt)?
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()?
            .iter()
            .map(|v| 0.5 + 0.5 * v)
            .collect())
    };
    let risk: Vec<f64> = draw(1)?.iter().map(|u| 4.0 * u - 2.0).collect();
    let (mut time, mut event) = (vec![], vec![]);
    for ((r, a), b) in risk.iter().zip(draw(2)?).zip(draw(3)?) {
        let (death, censoring) = (-(a + 1e-9).ln() * 5.0 * (-0.6 * r).exp(), 12.0 * b);
        event.push(death <= censoring);
        time.push((death.min(censoring) * 30.0).round() / 30.0);
    }
    let flags: Vec<f64> = event.iter().map(|e| f64::from(u8::from(*e))).collect();
    for (name, values) in [("time", &time), ("event", &flags), ("risk", &risk)] {
        bench.give(name, &Tensor::from_slice(values, n, &Device::Cpu)?);
    }
    Ok(Cohort { time, event, risk })
}

fn concordance_index(bench: &mut Bench) -> Result<()> {
    let c = cohort(bench)?;
    let survival = Survival::new(&c.time, &c.event)?;
    let found = bench.time(|| Ok(concordance(&survival, &c.risk)?))?;
    bench.result("c", &Tensor::new(&[found.index], &Device::Cpu)?);
    Ok(())
}

/// Both sides sort their subjects beforehand.
fn cox(bench: &mut Bench, dtype: DType) -> Result<()> {
    let c = cohort(bench)?;
    let eta = Var::from_tensor(&Tensor::new(c.risk.as_slice(), &Device::Cpu)?.to_dtype(dtype)?)?;
    let sets = RiskSets::new(&c.time, &c.event)?;
    let gradient = bench.time(|| {
        let loss = sets.cox(&eta, Ties::Breslow)?;
        loss.backward()?.get(&eta).cloned().context("no gradient")
    })?;
    bench.result("grad", &gradient);
    Ok(())
}
