use crate::features::PYRAMID_LEVELS;
use crate::{NodeIdentity, Result, StgConfig};
use candle_core::{D, Tensor};
use candle_nn::{Init, VarBuilder};
use oncograph_nn::{Linear, Module, linear, softmax};

/// The nodes of a patient.
const KINDS: usize = 7;

/// What turns the inputs of one patient into node features of one width: the mixture of pyramid levels of image
/// nodes (S-01) and the linear map of clinical covariates, both trained with the network.
///
/// Parameters `pooling` \[3\], `clinical.weight` \[d, covariates\], `clinical.bias` \[d\] where there are clinical nodes; `identity` \[7, 8\] with
/// [`NodeIdentity::Embedding`].
#[derive(Debug, Clone)]
pub struct NodeInputs {
    pooling: Tensor,
    clinical: Option<Linear>,
    features: usize,
    identity: Option<Tensor>,
    /// What makes the learned features of a node as long as its d others.
    length: f64,
}

impl NodeInputs {
    /// With parameters from `vb`.
    ///
    /// # Errors
    /// An error of candle.
    pub fn new(config: &StgConfig, vb: VarBuilder) -> Result<Self> {
        let pooling = vb.get_with_hints(PYRAMID_LEVELS, "pooling", Init::Const(0.0))?;
        let width = config.node_type.width();
        let normal = Init::Randn { mean: 0.0, stdev: 1.0 };
        let identity = (config.node_type == NodeIdentity::Embedding)
            .then(|| vb.get_with_hints((KINDS, width), "identity", normal))
            .transpose()?;
        let features = config.features;
        let clinical = || linear(config.clinical, features, vb.pp("clinical"));
        let clinical = config.nodes.has_clinical().then(clinical).transpose()?;
        let length = (config.features as f64 / width.max(1) as f64).sqrt();
        Ok(NodeInputs { pooling, clinical, features, identity, length })
    }

    /// The weights of the pyramid levels, which add up to 1 \[3\].
    ///
    /// # Errors
    /// An error of candle.
    pub fn pooling(&self) -> Result<Tensor> {
        Ok(softmax(&self.pooling, D::Minus1)?)
    }

    /// Features of clinical nodes.
    ///
    /// # Shapes
    /// \[rows, covariates\] -> \[rows, d\], without a row where there are no such nodes
    ///
    /// # Errors
    /// An error of candle.
    pub fn clinical(&self, covariates: &Tensor) -> Result<Tensor> {
        Ok(match &self.clinical {
            Some(layer) => layer.forward(covariates)?,
            None => Tensor::zeros((0, self.features), covariates.dtype(), covariates.device())?,
        })
    }

    /// Node features with the learned ones beside them that encode which node it is, where there are such.
    ///
    /// # Shapes
    /// \[nodes, d\], `kinds` one of 0 to 6 per node -> \[nodes, d + 8\], or as it was
    ///
    /// # Errors
    /// An error of candle.
    pub fn with_identity(&self, x: &Tensor, kinds: &[u32]) -> Result<Tensor> {
        let Some(identity) = &self.identity else { return Ok(x.clone()) };
        let own = identity.index_select(&Tensor::new(kinds, x.device())?, 0)?;
        Ok(Tensor::cat(&[x, &(own * self.length)?], 1)?)
    }
}
