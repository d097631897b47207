//! Trains on a generated cohort of the article's size that is read from disk batch by batch, and says what it took.
//!
//! `cargo run --release --example omics_scale -- [PATIENTS] [GENES] [PROTEINS] [EDGES] [BATCH] [STEPS]`; without
//! arguments 2847 20000 8000 100000 8 20. **Phantom data.**

use candle_core::{DType, Device, Tensor};
use oncograph_datasets::omics::{OmicsPhantomConfig, RowStore, RowStoreWriter};
use oncograph_nn::optim::AdamWConfig;
use oncograph_nn::{ParamStore, Seed};
use oncograph_omics::*;
use oncograph_study::Target;
use oncograph_train::{Learner, OptimizerConfig};
use rand::Rng;
use std::collections::BTreeMap;
use std::time::Instant;

/// Rows of genes, proteins and 150 clinical values per patient, on disk.
struct Stored {
    rows: RowStore,
    sizes: [usize; 4],
    present: Vec<bool>,
}

impl BatchSource for Stored {
    fn batch(&self, patients: &[usize]) -> Result<OmicsBatch> {
        let all = self.rows.rows(patients).map_err(Error::source)?;
        let b = patients.len();
        let all = Tensor::from_vec(all, (b, self.rows.width()), &Device::Cpu)?;
        let mut at = 0;
        let mut part = |n: usize| {
            at += n;
            all.narrow(1, at - n, n)?.contiguous()
        };
        let [p, l, g, q] = self.sizes;
        let proteins_here = patients.iter().map(|i| self.present[*i]).collect();
        Ok(OmicsBatch::new(part(p)?)
            .with_values("lab", part(l)?, vec![true; b])
            .with_values("gene", part(g)?, vec![true; b])
            .with_values("protein", part(q)?, proteins_here))
    }
}

fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines().find_map(|l| l.strip_prefix(field)).map_or("unknown".into(), |v| v.trim().into())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let given: Vec<usize> =
        std::env::args().skip(1).map(|a| a.parse()).collect::<std::result::Result<_, _>>()?;
    let argument = |i: usize, default: usize| given.get(i).copied().unwrap_or(default);
    let (patients, genes, proteins) = (argument(0, 2847), argument(1, 20_000), argument(2, 8_000));
    let (edges, batch, steps) = (argument(3, 100_000), argument(4, 8), argument(5, 20));
    let phantom = OmicsPhantomConfig::new(patients, 1).sizes(genes, proteins, 100);
    let (folder, start) = (tempfile::tempdir()?, Instant::now());
    let mut writer = RowStoreWriter::create(folder.path().join("cohort.rows"), 50 + 100 + genes + proteins)?;
    let (mut times, mut present) = (vec![], vec![]);
    for p in 0..patients {
        let patient = phantom.patient(p)?;
        // 50 demographic values, of which the phantom knows two.
        let mut row = vec![0f32; 50];
        row[0] = ((patient.age - 60.0) / 10.0) as f32;
        row[1] = f32::from(u8::from(patient.sex));
        row.extend(&patient.labs);
        row.extend(&patient.genes);
        row.extend(patient.proteins.clone().unwrap_or_else(|| vec![0.0; proteins]));
        writer.push(&row)?;
        times.push(Some(patient.survival));
        present.push(patient.proteins.is_some());
    }
    let source = Stored { rows: writer.finish()?, sizes: [50, 100, genes, proteins], present };
    println!(
        "cohort on disk: {:.1} s, {} MB",
        start.elapsed().as_secs_f64(),
        source.rows.width() * patients * 4 / 1_000_000
    );

    let config = OmicsNetConfig::new(
        50,
        vec![
            NodeTypeConfig::diag("gene", genes),
            NodeTypeConfig::diag("protein", proteins),
            NodeTypeConfig::diag("lab", 100),
        ],
        vec![
            ModalityConfig::new("genomics", ["gene", "protein"]).pooled(["gene"]),
            ModalityConfig::new("proteomics", ["protein"]),
            ModalityConfig::new("clinical", ["lab"]),
        ],
        vec![TaskConfig::new("survival", TaskKind::SurvivalCox)],
    )
    .quick();
    let mut rng = Seed::new(1).stream("edges").rng();
    let mut random = |n: usize, a: usize, b: usize| -> Vec<(u32, u32)> {
        (0..n).map(|_| (rng.random_range(0..a as u32), rng.random_range(0..b as u32))).collect()
    };
    let graphs = SharedGraphs::new(
        &config,
        &[
            TypedEdges::new("gene", "gene", random(edges * 6 / 10, genes, genes)),
            TypedEdges::new("gene", "protein", random(edges / 10, genes, proteins)),
            TypedEdges::new("protein", "protein", random(edges * 3 / 10, proteins, proteins)),
        ],
    )?;
    let store = ParamStore::new(Seed::new(1));
    let vb = store.var_builder(DType::F32, &Device::Cpu);
    let net = config.build(vb.clone())?;
    let weights = MultiTaskLoss::new(Weighting::Fixed(BTreeMap::new()), &config, vb)?;
    let targets = BTreeMap::from([("survival".to_string(), Target::Survival(times))]);
    let train: Vec<usize> = (0..patients).collect();
    let split = (&train[..], &train[..batch.min(patients)]);
    let mut learner =
        OmicsLearner::new(&net, &source, &graphs, &targets, &weights, None, split, batch, Seed::new(2))?;
    let mut optimizer = OptimizerConfig::AdamW(AdamWConfig::new(1e-3)).build()?;
    println!(
        "{} parameters, {} edges; before training {}",
        store.parameter_count(),
        graphs.edge_count("genomics"),
        status("VmRSS:")
    );
    let all = learner.steps(0);
    let (start, mut losses) = (Instant::now(), vec![]);
    for step in 0..steps.min(all) {
        let loss = learner.train_step(0, step)?.loss;
        losses.push(loss.to_scalar::<f32>()?);
        let gradients = store.backward(&loss)?;
        drop(loss);
        optimizer.step(&store, &gradients)?;
    }
    let each = start.elapsed().as_secs_f64() / losses.len() as f64;
    println!(
        "{} of {all} steps of {batch} patients: {each:.2} s each, an epoch {:.0} s; peak {}; loss {:.3} to {:.3}",
        losses.len(),
        each * all as f64,
        status("VmHWM:"),
        losses[0],
        losses[losses.len() - 1]
    );
    Ok(())
}
