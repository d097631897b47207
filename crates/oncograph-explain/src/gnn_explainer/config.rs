use super::OP;
use crate::{Error, Result};
use candle_core::Tensor;
use oncograph_nn::optim::AdamConfig;
use serde::{Deserialize, Serialize};

/// What the entries of the node mask stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeMaskType {
    /// One entry per node \[nodes, 1\].
    #[default]
    Object,
    /// One entry per node and feature \[nodes, features\].
    Attributes,
    /// One entry per feature, common to all nodes \[1, features\].
    CommonAttributes,
}

/// How a mask's entries become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MaskReduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

impl MaskReduction {
    pub(super) fn of(self, m: &Tensor) -> Result<Tensor> {
        Ok(match self {
            MaskReduction::Sum => m.sum_all()?,
            MaskReduction::Mean => m.mean_all()?,
        })
    }
}

/// The weights of the regularisation, with PyTorch Geometric's names and defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct GnnExplainerCoefficients {
    /// Of the size of the edge mask; 0.005.
    pub edge_size: f64,
    /// How the size of the edge mask is measured; its sum.
    pub edge_reduction: MaskReduction,
    /// Of the size of the node mask; 1.
    pub node_feat_size: f64,
    /// How the size of the node mask is measured; its mean.
    pub node_feat_reduction: MaskReduction,
    /// Of the mean entropy of the edge mask; 1.
    pub edge_ent: f64,
    /// Of the mean entropy of the node mask; 0.1.
    pub node_feat_ent: f64,
    /// Added inside the logarithms of the entropy; 1e-15.
    #[serde(rename = "EPS", alias = "eps")]
    pub eps: f64,
}

impl Default for GnnExplainerCoefficients {
    fn default() -> Self {
        GnnExplainerCoefficients {
            edge_size: 0.005,
            edge_reduction: MaskReduction::Sum,
            node_feat_size: 1.0,
            node_feat_reduction: MaskReduction::Mean,
            edge_ent: 1.0,
            node_feat_ent: 0.1,
            eps: 1e-15,
        }
    }
}

/// What the model predicts, and thus what the masked prediction is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// Logits \[rows, classes\]: cross entropy with the class that the unmasked model chooses.
    #[default]
    Multiclass,
    /// Logits of single yes-or-no outputs: cross entropy with the unmasked model's choice.
    Binary,
    /// Numbers, such as a log hazard: squared distance from the unmasked model's.
    Regression,
}

/// Configuration of [`super::GnnExplainer`], with PyTorch Geometric's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GnnExplainerConfig {
    /// Steps of the optimizer; 100.
    pub epochs: usize,
    /// Its learning rate; 0.01.
    pub lr: f64,
    /// What the node mask stands for; `None` leaves nodes alone; one entry per node.
    pub node_mask_type: Option<NodeMaskType>,
    /// Whether edges are masked; true.
    pub edge_mask: bool,
    /// What the model predicts; logits of classes.
    pub objective: Objective,
    /// The weights of the regularisation.
    pub coefficients: GnnExplainerCoefficients,
}

impl Default for GnnExplainerConfig {
    fn default() -> Self {
        GnnExplainerConfig {
            epochs: 100,
            lr: 0.01,
            node_mask_type: Some(NodeMaskType::Object),
            edge_mask: true,
            objective: Objective::Multiclass,
            coefficients: GnnExplainerCoefficients::default(),
        }
    }
}

impl GnnExplainerConfig {
    /// A hundred steps on one entry per node and one per edge.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the steps of the optimizer.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the learning rate.
    pub fn lr(mut self, lr: f64) -> Self {
        self.lr = lr;
        self
    }

    /// Sets what the node mask stands for; `None` leaves nodes alone.
    pub fn node_mask_type(mut self, node_mask_type: Option<NodeMaskType>) -> Self {
        self.node_mask_type = node_mask_type;
        self
    }

    /// Sets whether edges are masked.
    pub fn edge_mask(mut self, edge_mask: bool) -> Self {
        self.edge_mask = edge_mask;
        self
    }

    /// Sets what the model predicts.
    pub fn objective(mut self, objective: Objective) -> Self {
        self.objective = objective;
        self
    }

    /// Sets the weights of the regularisation.
    pub fn coefficients(mut self, coefficients: GnnExplainerCoefficients) -> Self {
        self.coefficients = coefficients;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if self.epochs == 0 {
            return Err(Error::config(OP, "epochs", "at least 1", self.epochs));
        }
        if self.node_mask_type.is_none() && !self.edge_mask {
            return Err(Error::config(OP, "node_mask_type or edge_mask", "set", "neither"));
        }
        AdamConfig::new(self.lr).validate()?;
        Ok(())
    }
}
