use crate::{Nodes, OmicsBatch, Result, SharedGraphs};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_losses::{info_nce, info_nce_symmetric};
use oncograph_nn::{Mlp, MlpConfig, Mode, Seed};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// Contrast between a patient and a changed view of it (M-16 to M-18); negatives are the batch's other patients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContrastConfig {
    /// The weight of the loss beside those of the tasks; 0.1.
    pub weight: f64,
    /// 0.1.
    pub temperature: f64,
    /// Width of the projection's layers; 128.
    pub width: usize,
    /// From both sides; true (M-18).
    pub symmetric: bool,
    /// The probability that an edge of the view is dropped; 0.1. One draw per step, which all patients share, as they
    /// share the graph.
    pub drop_edges: f64,
    /// Standard deviation of the noise on z-scored features; 0.1.
    pub noise: f64,
    /// The probability that the view of a patient loses a node type, if another is left; 0.
    pub drop_modality: f64,
    /// Epochs that train on the contrast alone before the tasks join; 0 is joint training (M-19).
    pub pretrain: usize,
}

impl Default for ContrastConfig {
    fn default() -> Self {
        ContrastConfig {
            weight: 0.1,
            temperature: 0.1,
            width: 128,
            symmetric: true,
            drop_edges: 0.1,
            noise: 0.1,
            drop_modality: 0.0,
            pretrain: 0,
        }
    }
}

impl ContrastConfig {
    /// The view of a batch and of its graphs.
    ///
    /// # Errors
    /// An error of candle.
    pub fn view(
        &self,
        batch: &OmicsBatch,
        graphs: &SharedGraphs,
        seed: Seed,
    ) -> Result<(OmicsBatch, SharedGraphs)> {
        let mut view = batch.clone();
        view.patient = self.noisy(&batch.patient, seed.stream("patient"))?;
        for (name, nodes) in view.nodes.iter_mut() {
            let seed = seed.stream("nodes").stream(name);
            match nodes {
                Nodes::Values { values, .. } => *values = self.noisy(values, seed)?,
                Nodes::Rows { features, edges, .. } => {
                    *features = self.noisy(features, seed.stream("features"))?;
                    let mut rng = seed.stream("edges").rng();
                    edges.retain(|_| !rng.random_bool(self.drop_edges.clamp(0.0, 1.0)));
                }
            }
        }
        self.drop_modalities(&mut view, seed.stream("modalities"));
        Ok((view, graphs.drop_edges(self.drop_edges, seed.stream("graph"))))
    }

    fn drop_modalities(&self, view: &mut OmicsBatch, seed: Seed) {
        if self.drop_modality <= 0.0 {
            return;
        }
        let mut left: Vec<usize> = vec![0; view.len()];
        for nodes in view.nodes.values() {
            if let Nodes::Values { present, .. } = nodes {
                left.iter_mut().zip(present).for_each(|(n, p)| *n += usize::from(*p));
            }
        }
        for (name, nodes) in view.nodes.iter_mut() {
            let mut rng = seed.stream(name).rng();
            if let Nodes::Values { present, .. } = nodes {
                for (p, left) in present.iter_mut().zip(&mut left) {
                    if rng.random_bool(self.drop_modality.clamp(0.0, 1.0)) && *p && *left > 1 {
                        *p = false;
                        *left -= 1;
                    }
                }
            }
        }
    }

    fn noisy(&self, x: &Tensor, seed: Seed) -> Result<Tensor> {
        let mut rng = seed.rng();
        let draw = |_| self.noise as f32 * Distribution::<f32>::sample(&StandardNormal, &mut rng);
        let noise: Vec<f32> = (0..x.elem_count()).map(draw).collect();
        Ok((x + Tensor::from_vec(noise, x.shape(), x.device())?.to_dtype(x.dtype())?)?)
    }
}

/// The projection that contrasts are made on: `z -> width -> ReLU -> width`, parameters `projection.*`.
#[derive(Debug, Clone)]
pub struct Contrast {
    config: ContrastConfig,
    projection: Mlp,
}

impl Contrast {
    /// The projection of vectors of `hidden` features.
    ///
    /// # Errors
    /// An error of candle.
    pub fn new(config: &ContrastConfig, hidden: usize, vb: VarBuilder) -> Result<Self> {
        let projection = MlpConfig::new([hidden, config.width, config.width]).build(vb.pp("projection"))?;
        Ok(Contrast { config: config.clone(), projection })
    }

    /// The configuration.
    pub fn config(&self) -> &ContrastConfig {
        &self.config
    }

    /// The loss between the fused vectors of patients and of their views.
    ///
    /// # Shapes
    /// \[patients, H\], \[patients, H\] -> scalar
    ///
    /// # Errors
    /// [`crate::Error::Nn`] for vectors of another width, for example logits (defect 8).
    pub fn loss(&self, z: &Tensor, view: &Tensor) -> Result<Tensor> {
        let (a, b) = (self.projection.forward(z, Mode::Eval)?, self.projection.forward(view, Mode::Eval)?);
        let loss = if self.config.symmetric { info_nce_symmetric } else { info_nce };
        Ok(loss(&a, &b, self.config.temperature)?)
    }
}
