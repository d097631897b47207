use crate::{HeadKind, OmicsNetConfig, Result, TaskConfig};
use candle_core::{Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use oncograph_nn::norm::{LayerNorm, LayerNormConfig};
use oncograph_nn::{Dropout, Mode, linear, relu};
use std::collections::BTreeMap;

/// Outputs by task: `norm`, dropout, `trunk`, ReLU, dropout, then one layer per task (its name) or one for all
/// (`classifier`), whose outputs are shared out in the order of the tasks (M-12).
#[derive(Debug, Clone)]
pub struct Heads {
    norm: LayerNorm,
    before: Dropout,
    trunk: Linear,
    after: Dropout,
    tasks: Vec<TaskConfig>,
    heads: Vec<Linear>,
}

impl Heads {
    /// The heads of the tasks of `config`.
    ///
    /// # Errors
    /// An error of the configuration or of candle.
    pub fn new(config: &OmicsNetConfig, vb: VarBuilder) -> Result<Self> {
        let (h, t) = (config.hidden, config.trunk);
        let heads = match config.head {
            HeadKind::Joint => {
                let width = config.tasks.iter().map(|t| t.kind.width()).sum();
                vec![linear(t, width, vb.pp("classifier"))?]
            }
            HeadKind::MultiHead => {
                let head = |task: &TaskConfig| Ok(linear(t, task.kind.width(), vb.pp(&task.name))?);
                config.tasks.iter().map(head).collect::<Result<_>>()?
            }
        };
        Ok(Heads {
            norm: LayerNormConfig::new(h).build(vb.pp("norm"))?,
            before: Dropout::new(config.trunk_dropout)?,
            trunk: linear(h, t, vb.pp("trunk"))?,
            after: Dropout::new(config.trunk_dropout / 2.0)?,
            tasks: config.tasks.clone(),
            heads,
        })
    }

    /// # Shapes
    /// \[patients, H\] -> per task \[patients, width\]
    ///
    /// # Errors
    /// An error of candle for another shape.
    pub fn forward(&self, z: &Tensor, mode: Mode) -> Result<BTreeMap<String, Tensor>> {
        let x = self.before.forward(&self.norm.forward(z)?, mode.stream("before"))?;
        let x = self.after.forward(&relu(&self.trunk.forward(&x)?)?, mode.stream("after"))?;
        let mut outputs = BTreeMap::new();
        if let ([joint], true) = (&self.heads[..], self.tasks.len() > 1) {
            let all = joint.forward(&x)?;
            let mut at = 0;
            for task in &self.tasks {
                // Losses select rows, which candle does on contiguous tensors only.
                let own = all.narrow(1, at, task.kind.width())?.contiguous()?;
                outputs.insert(task.name.clone(), own);
                at += task.kind.width();
            }
        } else {
            for (task, head) in self.tasks.iter().zip(&self.heads) {
                outputs.insert(task.name.clone(), head.forward(&x)?);
            }
        }
        Ok(outputs)
    }
}
