use crate::{Error, OmicsNetConfig, Result, TaskKind};
use candle_core::{D, Tensor};
use candle_nn::{Init, VarBuilder};
use oncograph_losses::{
    BinaryCrossEntropyOptions, CrossEntropyOptions, Reduction, Ties, binary_cross_entropy, cox,
    cross_entropy, discrete_hazard, mse,
};
use oncograph_study::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The loss of one task on the patients whose label is known, with times in years; `None` if there is none, or no event among times
/// that are compared with each other (M-15).
///
/// # Shapes
/// `output` \[patients, width\]; `patients` are the positions of its rows in `target`
///
/// # Errors
/// [`Error::Input`] for a target of another kind; an error of the loss.
pub fn task_loss(
    kind: TaskKind,
    output: &Tensor,
    target: &Target,
    patients: &[usize],
) -> Result<Option<Tensor>> {
    let known: Vec<u32> =
        (0..patients.len()).filter(|&r| target.known(patients[r])).map(|r| r as u32).collect();
    if known.is_empty() {
        return Ok(None);
    }
    let rows = output.index_select(&Tensor::from_slice(&known, known.len(), output.device())?, 0)?;
    let labelled = known.iter().map(|&r| patients[r as usize]);
    match (kind, target) {
        (TaskKind::Classes(_), Target::Classes { classes: v, .. }) => {
            let classes: Vec<i64> = labelled.filter_map(|p| v[p]).map(|c| c as i64).collect();
            Ok(Some(cross_entropy(&rows, &classes, &CrossEntropyOptions::new())?))
        }
        (TaskKind::Labels(n), Target::Labels { labels: v, .. }) => {
            let (mut labels, mut mask) = (vec![], vec![]);
            for label in labelled.flat_map(|p| v[p].iter()) {
                labels.push(f64::from(u8::from(*label == Some(true))));
                mask.push(f64::from(u8::from(label.is_some())));
            }
            let count: f64 = mask.iter().sum();
            let tensor =
                |v: Vec<f64>| Tensor::from_vec(v, (known.len(), n), rows.device())?.to_dtype(rows.dtype());
            let options = BinaryCrossEntropyOptions::new().weight(tensor(mask)?).reduction(Reduction::Sum);
            Ok(Some((binary_cross_entropy(&rows, &tensor(labels)?, &options)? / count)?))
        }
        (kind, Target::Survival(v)) if kind.is_survival() => {
            let (time, event): (Vec<f64>, Vec<bool>) =
                labelled.filter_map(|p| v[p]).map(|f| (f.in_years(), f.event())).unzip();
            match kind {
                TaskKind::SurvivalMse => Ok(Some(mse(&rows, &time, &vec![1.0; time.len()])?)),
                TaskKind::SurvivalDiscrete(_) => Ok(Some(discrete_hazard(&rows, &time, &event)?)),
                _ if !event.contains(&true) => Ok(None),
                _ => Ok(Some(cox(&rows, &time, &event, Ties::Breslow)?)),
            }
        }
        (kind, _) => Err(Error::input("target", format!("one for {kind:?}"), "another kind")),
    }
}

/// The risk that a survival output stands for, larger where an event is expected earlier (M-20): of a predicted time
/// its negative, of hazards the expected number of bins that are not lived through.
///
/// # Errors
/// An error of candle for another shape.
pub fn risk(kind: TaskKind, output: &Tensor) -> Result<Vec<f64>> {
    let output = output.detach().to_dtype(candle_core::DType::F64)?;
    Ok(match kind {
        TaskKind::SurvivalMse => output.flatten_all()?.neg()?.to_vec1()?,
        TaskKind::SurvivalDiscrete(_) => {
            oncograph_losses::survival_curve(&output)?.sum(D::Minus1)?.neg()?.to_vec1()?
        }
        _ => output.flatten_all()?.to_vec1()?,
    })
}

/// How losses of several tasks become one (M-14, `task_weight`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// `sum_i softmax(w)_i L_i` over the tasks of the batch. The article's choice: its gradient drives the weight to the
    /// smallest loss.
    Softmax,
    /// `sum_i exp(-s_i) L_i + s_i` with learned `s_i` (Kendall et al. 2018).
    Uncertainty,
    /// `sum_i w_i L_i`; 1 for a task that is not named.
    Fixed(BTreeMap<String, f64>),
}

/// The weights of the tasks, by name; learned ones are parameters `task_weights.{task}`, 0 at the start.
#[derive(Debug, Clone)]
pub struct MultiTaskLoss {
    weighting: Weighting,
    learned: BTreeMap<String, Tensor>,
}

impl MultiTaskLoss {
    /// Weights for the tasks of `config`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a fixed weight below 0 or of a task that is not there.
    pub fn new(weighting: Weighting, config: &OmicsNetConfig, vb: VarBuilder) -> Result<Self> {
        let mut learned = BTreeMap::new();
        match &weighting {
            Weighting::Fixed(weights) => {
                for (name, w) in weights {
                    let known = config.tasks.iter().any(|t| t.name == *name);
                    if !known || !w.is_finite() || *w < 0.0 {
                        return Err(Error::config(
                            "MultiTaskLoss",
                            "task_weight",
                            "0 or more, of a task",
                            format!("{name}: {w}"),
                        ));
                    }
                }
            }
            _ => {
                for task in &config.tasks {
                    let w = vb.pp("task_weights").get_with_hints(1, &task.name, Init::Const(0.0))?;
                    learned.insert(task.name.clone(), w);
                }
            }
        }
        Ok(MultiTaskLoss { weighting, learned })
    }

    /// The joint loss of the tasks that the batch has; the others have no share in it (defect 9).
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown task or no task at all.
    pub fn combine(&self, losses: &[(&str, Tensor)]) -> Result<Tensor> {
        let weight = |name: &str| {
            self.learned.get(name).ok_or_else(|| Error::input("task", "one of the configuration", name))
        };
        let scalar = |loss: &Tensor| loss.reshape(1);
        let terms: Vec<Tensor> = match &self.weighting {
            Weighting::Fixed(weights) => losses
                .iter()
                .map(|(name, loss)| Ok((scalar(loss)? * weights.get(*name).copied().unwrap_or(1.0))?))
                .collect::<Result<_>>()?,
            Weighting::Uncertainty => losses
                .iter()
                .map(|(name, loss)| {
                    let s = weight(name)?;
                    Ok(((s.neg()?.exp()?.to_dtype(loss.dtype())? * scalar(loss)?)?
                        + s.to_dtype(loss.dtype())?)?)
                })
                .collect::<Result<_>>()?,
            Weighting::Softmax => {
                let all = losses.iter().map(|(name, _)| weight(name)).collect::<Result<Vec<_>>>()?;
                if all.is_empty() {
                    vec![]
                } else {
                    let shares = oncograph_nn::softmax(&Tensor::cat(&all, 0)?, 0)?;
                    let term = |(i, (_, loss)): (usize, &(&str, Tensor))| {
                        Ok((shares.narrow(0, i, 1)?.to_dtype(loss.dtype())? * scalar(loss)?)?)
                    };
                    losses.iter().enumerate().map(term).collect::<Result<_>>()?
                }
            }
        };
        if terms.is_empty() {
            return Err(Error::input("losses", "at least one", "none"));
        }
        Ok(Tensor::cat(&terms, 0)?.sum_all()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_core::FollowUp;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed};

    fn scalar(v: f64) -> Tensor {
        Tensor::new(v, &device()).unwrap()
    }

    fn weights(weighting: Weighting) -> (ParamStore, MultiTaskLoss) {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &device());
        let loss = MultiTaskLoss::new(weighting, &OmicsNetConfig::fixed(), vb).unwrap();
        (store, loss)
    }

    #[test]
    fn defect_9_weights_go_by_name_and_an_absent_task_has_no_share() {
        let (store, softmax) = weights(Weighting::Softmax);
        let at = |name: &str, v: f64| {
            store.get(name).unwrap().set(&Tensor::new(&[v], &device()).unwrap()).unwrap();
        };
        at("task_weights.toxicity", 2f64.ln());
        let value = |l: &[(&str, Tensor)]| softmax.combine(l).unwrap().to_scalar::<f64>().unwrap();
        // Without survival, toxicity keeps its own weight, and the shares sum to 1: (1 * 3 + 2 * 6) / 3.
        approx::assert_relative_eq!(
            value(&[("response", scalar(3.0)), ("toxicity", scalar(6.0))]),
            5.0,
            epsilon = 1e-12
        );
        approx::assert_relative_eq!(
            value(&[("toxicity", scalar(6.0)), ("response", scalar(3.0))]),
            5.0,
            epsilon = 1e-12
        );
        let error = softmax.combine(&[("grade", scalar(1.0))]).unwrap_err().to_string();
        assert_eq!(error, "task: expected one of the configuration, got grade");
        assert!(softmax.combine(&[]).is_err());
    }

    #[test]
    fn uncertainty_and_fixed_weights() {
        let (store, uncertainty) = weights(Weighting::Uncertainty);
        store
            .get("task_weights.survival")
            .unwrap()
            .set(&Tensor::new(&[2f64.ln()], &device()).unwrap())
            .unwrap();
        let both = [("survival", scalar(4.0)), ("response", scalar(1.0))];
        let value = uncertainty.combine(&both).unwrap().to_scalar::<f64>().unwrap();
        approx::assert_relative_eq!(value, 2.0 + 2f64.ln() + 1.0, epsilon = 1e-12);
        let (_, fixed) = weights(Weighting::Fixed(BTreeMap::from([("survival".into(), 0.5)])));
        assert_eq!(fixed.combine(&both).unwrap().to_scalar::<f64>().unwrap(), 3.0);
    }

    #[test]
    fn missing_labels_are_masked_and_a_batch_without_events_has_no_survival_term() {
        let x = Tensor::new(&[[0.0f64], [9.0], [0.0]], &device()).unwrap();
        let years = |time: f64, event: bool| FollowUp::years(time, event).ok();
        let target = Target::Survival(vec![years(1.0, true), None, years(2.0, false)]);
        let loss = task_loss(TaskKind::SurvivalCox, &x, &target, &[0, 1, 2]).unwrap().unwrap();
        approx::assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), 2f64.ln(), epsilon = 1e-12);
        assert!(task_loss(TaskKind::SurvivalCox, &x, &target, &[1, 2, 2]).unwrap().is_none());
        assert!(task_loss(TaskKind::SurvivalCox, &x, &target, &[1, 1, 1]).unwrap().is_none());
        let logits = Tensor::new(&[[0.0f64, 50.0]], &device()).unwrap();
        let names = ["liver", "skin"].map(String::from).to_vec();
        let labels = Target::Labels { names, labels: vec![vec![Some(true), None]] };
        let loss = task_loss(TaskKind::Labels(2), &logits, &labels, &[0]).unwrap().unwrap();
        approx::assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), 2f64.ln(), epsilon = 1e-12);
        assert!(task_loss(TaskKind::Classes(2), &logits, &labels, &[0]).is_err());
    }

    #[test]
    fn a_longer_predicted_time_is_a_lower_risk() {
        let x = Tensor::new(&[[1.0f64], [2.0]], &device()).unwrap();
        assert_eq!(risk(TaskKind::SurvivalMse, &x).unwrap(), [-1.0, -2.0]);
        assert_eq!(risk(TaskKind::SurvivalCox, &x).unwrap(), [1.0, 2.0]);
        let hazards = Tensor::new(&[[5.0f64, 5.0], [-5.0, -5.0]], &device()).unwrap();
        let r = risk(TaskKind::SurvivalDiscrete(2), &hazards).unwrap();
        assert!(r[0] > r[1]);
    }
}
