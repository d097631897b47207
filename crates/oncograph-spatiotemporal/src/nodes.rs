use crate::features::PYRAMID_LEVELS;
use crate::{Result, StgConfig};
use candle_core::{D, Tensor};
use candle_nn::{Init, VarBuilder};
use oncograph_nn::{Linear, Module, linear, softmax};

/// What turns the inputs of one patient into node features of one width: the mixture of pyramid levels of image
/// nodes (S-01) and the linear map of clinical covariates, both trained with the network.
///
/// Parameters `pooling` \[3\], `clinical.weight` \[d, covariates\], `clinical.bias` \[d\]; the latter two only where there are
/// clinical nodes.
#[derive(Debug, Clone)]
pub struct NodeInputs {
    pooling: Tensor,
    clinical: Option<Linear>,
    width: usize,
}

impl NodeInputs {
    /// With parameters from `vb`.
    ///
    /// # Errors
    /// An error of candle.
    pub fn new(config: &StgConfig, vb: VarBuilder) -> Result<Self> {
        let pooling = vb.get_with_hints(PYRAMID_LEVELS, "pooling", Init::Const(0.0))?;
        let width = config.features;
        let clinical = || linear(config.clinical, width, vb.pp("clinical"));
        let clinical = config.nodes.has_clinical().then(clinical).transpose()?;
        Ok(NodeInputs { pooling, clinical, width })
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
            None => Tensor::zeros((0, self.width), covariates.dtype(), covariates.device())?,
        })
    }
}
