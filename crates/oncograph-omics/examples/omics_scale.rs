//! Trains on a generated cohort of the article's size that is read from disk batch by batch, and prints the time and memory
//! that it took.
//!
//! `cargo run --release --example omics_scale -- [PATIENTS] [GENES] [PROTEINS] [EDGES] [BATCH] [STEPS]`; without
//! arguments 2847 20000 8000 100000 8 20. **Phantom data.**

use candle_core::{DType, Device, Tensor};
use oncograph_core::Split;
use oncograph_datasets::omics::{OmicsPhantomConfig, RowStore, RowStoreWriter};
use oncograph_nn::optim::AdamWConfig;
use oncograph_nn::{ParamStore, Seed};
use oncograph_omics::{
    BatchSource, Error, ModalityConfig, MultiTaskLoss, NodeTypeConfig, OmicsBatch, OmicsData, OmicsLearner,
    OmicsNetConfig, SharedGraphs, TaskConfig, TaskKind, TypedEdges, Weighting,
};
use oncograph_study::Target;
use oncograph_train::{Learner, OptimizerConfig};
use rand::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

/// Rows of genes, proteins and 150 clinical values per patient, on disk.
struct Stored {
    rows: RowStore,
    sizes: [usize; 4],
    present: Vec<bool>,
}

impl BatchSource for Stored {
    fn batch(&self, patients: &[usize]) -> oncograph_omics::Result<OmicsBatch> {
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

/// The sizes of a run, from the command line.
struct Sizes {
    patients: usize,
    genes: usize,
    proteins: usize,
    edges: usize,
    batch: usize,
    steps: usize,
}

impl Sizes {
    fn from_arguments() -> Result<Self, Failure> {
        let given: Vec<usize> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
        let argument = |i: usize, default: usize| given.get(i).copied().unwrap_or(default);
        Ok(Sizes {
            patients: argument(0, 2847),
            genes: argument(1, 20_000),
            proteins: argument(2, 8_000),
            edges: argument(3, 100_000),
            batch: argument(4, 8),
            steps: argument(5, 20),
        })
    }
}

/// A generated cohort on disk and the survival of its patients.
fn write_cohort(sizes: &Sizes, folder: &Path) -> Result<(Stored, Target), Failure> {
    let &Sizes { patients, genes, proteins, .. } = sizes;
    let phantom = OmicsPhantomConfig::new(patients, 1).sizes(genes, proteins, 100);
    let mut writer = RowStoreWriter::create(folder.join("cohort.rows"), 50 + 100 + genes + proteins)?;
    let (mut times, mut present) = (vec![], vec![]);
    for p in 0..patients {
        let patient = phantom.patient(p)?;
        // 50 demographic values, of which the phantom generates two.
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
    Ok((source, Target::Survival(times)))
}

/// The small network of the article on this many nodes.
fn network(sizes: &Sizes) -> OmicsNetConfig {
    let types = vec![
        NodeTypeConfig::diag("gene", sizes.genes),
        NodeTypeConfig::diag("protein", sizes.proteins),
        NodeTypeConfig::diag("lab", 100),
    ];
    let modalities = vec![
        ModalityConfig::new("genomics", ["gene", "protein"]).pooled(["gene"]),
        ModalityConfig::new("proteomics", ["protein"]),
        ModalityConfig::new("clinical", ["lab"]),
    ];
    OmicsNetConfig::new(50, types, modalities, vec![TaskConfig::new("survival", TaskKind::SurvivalCox)])
        .quick()
}

/// Edges at random.
fn random_graphs(sizes: &Sizes, config: &OmicsNetConfig) -> Result<SharedGraphs, Failure> {
    let &Sizes { genes, proteins, edges, .. } = sizes;
    let mut rng = Seed::new(1).stream("edges").rng();
    let mut random = |n: usize, a: usize, b: usize| -> Vec<(u32, u32)> {
        (0..n).map(|_| (rng.random_range(0..a as u32), rng.random_range(0..b as u32))).collect()
    };
    let edges = [
        TypedEdges::new("gene", "gene", random(edges * 6 / 10, genes, genes)),
        TypedEdges::new("gene", "protein", random(edges / 10, genes, proteins)),
        TypedEdges::new("protein", "protein", random(edges * 3 / 10, proteins, proteins)),
    ];
    Ok(SharedGraphs::new(config, &edges)?)
}

fn main() -> Result<(), Failure> {
    let sizes = Sizes::from_arguments()?;
    let (folder, start) = (tempfile::tempdir()?, Instant::now());
    let (source, target) = write_cohort(&sizes, folder.path())?;
    println!(
        "cohort on disk: {:.1} s, {} MB",
        start.elapsed().as_secs_f64(),
        source.rows.width() * sizes.patients * 4 / 1_000_000
    );
    let config = network(&sizes);
    let graphs = random_graphs(&sizes, &config)?;
    let store = ParamStore::new(Seed::new(1));
    let vb = store.var_builder(DType::F32, &Device::Cpu);
    let net = config.build(vb.clone())?;
    let weights = MultiTaskLoss::new(Weighting::Fixed(BTreeMap::new()), &config, vb)?;
    let targets = BTreeMap::from([("survival".to_string(), target)]);
    let train: Vec<usize> = (0..sizes.patients).collect();
    let validation = train[..sizes.batch.min(sizes.patients)].to_vec();
    let split = Split::new(train, validation, vec![]);
    let data = OmicsData { source: &source, graphs: &graphs, targets: &targets };
    let mut learner = OmicsLearner::new(&net, data, &weights, &split, sizes.batch, Seed::new(2))?;
    println!(
        "{} parameters, {} edges; before training {}",
        store.parameter_count(),
        graphs.edge_count("genomics"),
        status("VmRSS:")
    );
    train_some(&mut learner, &store, &sizes)
}

/// Some steps of an epoch, and what they took.
fn train_some(learner: &mut OmicsLearner<'_>, store: &ParamStore, sizes: &Sizes) -> Result<(), Failure> {
    let mut optimizer = OptimizerConfig::AdamW(AdamWConfig::new(1e-3)).build()?;
    let all = learner.steps(0);
    let (start, mut losses) = (Instant::now(), vec![]);
    for step in 0..sizes.steps.min(all) {
        let loss = learner.train_step(0, step)?.loss;
        losses.push(loss.to_scalar::<f32>()?);
        let gradients = store.backward(&loss)?;
        drop(loss);
        optimizer.step(store, &gradients)?;
    }
    let each = start.elapsed().as_secs_f64() / losses.len() as f64;
    println!(
        "{} of {all} steps of {} patients: {each:.2} s each, an epoch {:.0} s; peak {}; loss {:.3} to {:.3}",
        losses.len(),
        sizes.batch,
        each * all as f64,
        status("VmHWM:"),
        losses[0],
        losses[losses.len() - 1]
    );
    Ok(())
}
