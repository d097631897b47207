//! What each covariate and each node's value adds to an output: integrated gradients from the mean patient.

use crate::pipeline::PATIENT;
use crate::{
    BatchSource, Error, MemoryCohort, Nodes, OmicsBatch, OmicsModel, Result, SharedGraphs, TaskConfig,
    TaskKind,
};
use candle_core::{DType, Tensor};
use oncograph_explain::{IntegratedGradientsConfig, integrated_gradients};
use oncograph_nn::Mode;

/// Points of the path.
const STEPS: usize = 32;

/// The attributions of some patients.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attributed {
    /// The covariates, under `patient`, and tables, with how many values they have, in the order of the columns.
    pub layout: Vec<(String, usize)>,
    /// Values in standard deviations from the training patients' mean, a row per patient.
    pub values: Vec<Vec<f64>>,
    /// What each value adds to the output, a row per patient.
    pub shares: Vec<Vec<f64>>,
}

/// Integrated gradients of a task's output: of a log risk, of the predicted class's logit or of the likeliest event's, with
/// respect to the tensor of values (defect 10). The path begins where every covariate and every value is the training patients' mean;
/// vectors of images stay as they are.
pub(crate) fn attributed(
    (model, graphs): (&dyn OmicsModel, &SharedGraphs),
    source: &MemoryCohort,
    rows: &[usize],
    task: &TaskConfig,
) -> Result<Attributed> {
    let batch = source.batch(rows)?;
    let mut layout = vec![(PATIENT.to_string(), batch.patient.dim(1)?)];
    let mut parts = vec![batch.patient.clone()];
    for (name, nodes) in &batch.nodes {
        if let (Nodes::Values { values, .. }, Some(_)) = (nodes, model.config().node_type(name)) {
            layout.push((name.clone(), values.dim(1)?));
            parts.push(values.clone());
        }
    }
    let x = Tensor::cat(&parts, 1)?;
    let output = |x: &Tensor| -> Result<Tensor> {
        let batch = with_values(&batch, &layout, x)?;
        let mut out = model.forward(&batch, graphs, Mode::Eval)?;
        let Some(y) = out.tasks.remove(&task.name) else {
            return Err(Error::input("task", "one of the model's", &task.name));
        };
        Ok(match task.kind {
            TaskKind::SurvivalMse => y.neg()?,
            kind if kind.is_survival() => y.sum_keepdim(1)?,
            _ => y,
        })
    };
    let target: Vec<usize> = output(&x)?.argmax(1)?.to_vec1::<u32>()?.iter().map(|c| *c as usize).collect();
    let options = IntegratedGradientsConfig::new().n_steps(STEPS);
    let found = integrated_gradients(&x, &target, None, &options, |x| Ok(output(x)?))?;
    let rows = |t: &Tensor| -> Result<Vec<Vec<f64>>> { Ok(t.to_dtype(DType::F64)?.to_vec2()?) };
    Ok(Attributed { layout, values: rows(&x)?, shares: rows(&found.attributions)? })
}

/// The batch with other values, side by side in `x`.
fn with_values(batch: &OmicsBatch, layout: &[(String, usize)], x: &Tensor) -> Result<OmicsBatch> {
    let mut batch = batch.clone();
    let mut at = 0;
    for (name, width) in layout {
        if name == PATIENT {
            batch.patient = x.narrow(1, at, *width)?.contiguous()?;
        } else if let Some(Nodes::Values { values, .. }) = batch.nodes.get_mut(name) {
            *values = x.narrow(1, at, *width)?.contiguous()?;
        }
        at += width;
    }
    Ok(batch)
}
