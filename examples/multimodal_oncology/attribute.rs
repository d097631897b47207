//! What each node's value adds to an output: integrated gradients from the mean patient.

use crate::network::Network;
use candle_core::{DType, Tensor};
use oncograph::explain::{IntegratedGradientsConfig, integrated_gradients};
use oncograph::nn::Mode;
use oncograph::omics::{BatchSource, Nodes, OmicsBatch, TaskKind};
use std::collections::BTreeMap;

/// Points of the path; 32 in the specification.
const STEPS: usize = 32;

/// The attributions of some patients.
pub struct Attributed {
    /// Node types and how many values they have, in the order of the columns.
    pub layout: Vec<(String, usize)>,
    /// Values in standard deviations from the training patients' mean, a row per patient.
    pub values: Vec<Vec<f64>>,
    /// What each value adds to the output, a row per patient.
    pub shares: Vec<Vec<f64>>,
}

/// By node type and name, the mean magnitude of what the values of some patients add to the first task's output.
pub fn mean_shares(
    network: &Network,
    patients: &[usize],
    batch: usize,
) -> anyhow::Result<BTreeMap<String, Vec<(String, f64)>>> {
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for chunk in patients.chunks(batch) {
        let of = attributed(network, chunk)?;
        for row in &of.shares {
            let mut at = 0;
            for (name, width) in &of.layout {
                let sum = sums.entry(name.clone()).or_insert_with(|| vec![0.0; *width]);
                let own = &row[at..at + width];
                sum.iter_mut().zip(own).for_each(|(s, v)| *s += v.abs() / patients.len() as f64);
                at += width;
            }
        }
    }
    let named = |(t, sums): (String, Vec<f64>)| {
        let names = network.prepared.scalers.get(&t).map(|s| s.features.clone()).unwrap_or_default();
        (t, names.into_iter().zip(sums).collect())
    };
    Ok(sums.into_iter().map(named).collect())
}

/// Integrated gradients of the first task's output: of a log risk, of the predicted class's logit or of the likeliest
/// event's, asked of the tensor of values (defect 10). The path begins where every value is the training patients' mean.
pub fn attributed(network: &Network, patients: &[usize]) -> anyhow::Result<Attributed> {
    let model = network.frozen()?;
    let batch = network.prepared.source.batch(patients)?;
    let (mut layout, mut parts) = (vec![], vec![]);
    for (name, nodes) in &batch.nodes {
        if let (Nodes::Values { values, .. }, Some(_)) = (nodes, model.config().node_type(name)) {
            layout.push((name.clone(), values.dim(1)?));
            parts.push(values.clone());
        }
    }
    let x = Tensor::cat(&parts, 1)?;
    let task = &model.config().tasks[0];
    let output = |x: &Tensor| -> anyhow::Result<Tensor> {
        let batch = with_values(&batch, &layout, x)?;
        let mut out = model.forward(&batch, &network.graphs, Mode::Eval)?;
        let Some(y) = out.tasks.remove(&task.name) else { anyhow::bail!("{}: no output", task.name) };
        Ok(match task.kind {
            TaskKind::SurvivalMse => y.neg()?,
            kind if kind.is_survival() => y.sum_keepdim(1)?,
            _ => y,
        })
    };
    let target: Vec<usize> = output(&x)?.argmax(1)?.to_vec1::<u32>()?.iter().map(|c| *c as usize).collect();
    let options = IntegratedGradientsConfig::new().n_steps(STEPS);
    let found = integrated_gradients(&x, &target, None, &options, |x| Ok(output(x)?))?;
    let rows = |t: &Tensor| -> anyhow::Result<Vec<Vec<f64>>> { Ok(t.to_dtype(DType::F64)?.to_vec2()?) };
    Ok(Attributed { layout, values: rows(&x)?, shares: rows(&found.attributions)? })
}

/// The batch with other values, side by side in `x`.
fn with_values(batch: &OmicsBatch, layout: &[(String, usize)], x: &Tensor) -> anyhow::Result<OmicsBatch> {
    let mut batch = batch.clone();
    let mut at = 0;
    for (name, width) in layout {
        if let Some(Nodes::Values { values, .. }) = batch.nodes.get_mut(name) {
            *values = x.narrow(1, at, *width)?.contiguous()?;
        }
        at += width;
    }
    Ok(batch)
}
