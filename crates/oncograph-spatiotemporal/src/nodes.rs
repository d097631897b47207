use crate::encoder_config::{CELLS, CtNode};
use crate::features::PYRAMID_LEVELS;
use crate::{NodeIdentity, Result, StgConfig};
use candle_core::{D, Tensor};
use candle_nn::{Init, VarBuilder};
use oncograph_nn::portable::rows_at;
use oncograph_nn::{Linear, Module, linear, softmax};

/// The nodes of a patient.
pub(crate) const KINDS: usize = 7;

/// What turns the inputs of one patient into node features of one width: the mixture of pyramid levels of image
/// nodes or their linear map (S-01), that of the CT node (S-04), and that of clinical covariates, all trained with the network.
///
/// Parameters `pooling` \[3\] where image nodes have three vectors, `image.*` \[width, d\] with an image projection, `ct.*`
/// \[width, d / 8\] with [`CtNode::Gap`], `clinical.weight` \[width, covariates\], `clinical.bias` \[width\] where there are
/// clinical nodes; `identity` \[7, 8\] with [`NodeIdentity::Embedding`].
#[derive(Debug, Clone)]
pub struct NodeInputs {
    pooling: Option<Tensor>,
    image: Option<Linear>,
    ct: Option<Linear>,
    clinical: Option<Linear>,
    width: usize,
    identity: Option<Tensor>,
    /// The weight of a node's only vector.
    one: Tensor,
    /// What makes the features that encode a node as long as its others.
    length: f64,
}

impl NodeInputs {
    /// With parameters from `vb`.
    ///
    /// # Errors
    /// An error of candle.
    pub fn new(config: &StgConfig, vb: VarBuilder) -> Result<Self> {
        let (d, width, own) = (config.features, config.node_width(), config.node_type.width());
        let pooling = (config.levels == PYRAMID_LEVELS)
            .then(|| vb.get_with_hints(PYRAMID_LEVELS, "pooling", Init::Const(0.0)))
            .transpose()?;
        let image = config.image_projection.map(|width| linear(d, width, vb.pp("image"))).transpose()?;
        let ct =
            (config.ct_node == CtNode::Gap).then(|| linear(d / CELLS, width, vb.pp("ct"))).transpose()?;
        let normal = Init::Randn { mean: 0.0, stdev: 1.0 };
        let identity = (config.node_type == NodeIdentity::Embedding)
            .then(|| vb.get_with_hints((KINDS, own), "identity", normal))
            .transpose()?;
        let clinical = || linear(config.clinical, width, vb.pp("clinical"));
        let clinical = config.nodes.has_clinical().then(clinical).transpose()?;
        let length = (width as f64 / own.max(1) as f64).sqrt();
        let one = Tensor::ones(1, vb.dtype(), vb.device())?;
        Ok(NodeInputs { pooling, image, ct, clinical, width, identity, one, length })
    }

    /// The weights of the vectors of an image node, which add up to 1 \[3 or 1\].
    ///
    /// # Errors
    /// An error of candle.
    pub fn pooling(&self) -> Result<Tensor> {
        match &self.pooling {
            Some(pooling) => Ok(softmax(pooling, D::Minus1)?),
            None => Ok(self.one.clone()),
        }
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

    /// Features of image nodes that have one vector.
    ///
    /// # Shapes
    /// \[rows, features\] -> \[rows, d\]
    ///
    /// # Errors
    /// An error of candle.
    pub fn image(&self, vectors: &Tensor) -> Result<Tensor> {
        match &self.image {
            Some(image) => Ok(image.forward(vectors)?),
            None => Ok(vectors.clone()),
        }
    }

    /// Features of CT nodes from the means of their channels; `None` where they are pooled as other image nodes (S-04).
    ///
    /// # Shapes
    /// \[rows, channels\] -> \[rows, d\]
    ///
    /// # Errors
    /// An error of candle.
    pub fn ct(&self, means: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.ct.as_ref().map(|ct| ct.forward(means)).transpose()?)
    }

    pub(crate) fn has_ct(&self) -> bool {
        self.ct.is_some()
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
        let own = rows_at(identity, kinds)?;
        Ok(Tensor::cat(&[x, &(own * self.length)?], 1)?)
    }
}
