use crate::presets::EmbeddingVector;
use crate::{GliomaNet, Result, Tumour, TumourBatch};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// The embeddings of patients, one row each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GliomaEmbeddings {
    /// u^T: those of image and surface, where there are such encoders.
    pub tumour: Vec<Vec<f64>>,
    /// u^B, empty without the encoder of networks.
    pub network: Vec<Vec<f64>>,
    /// The logit of the network's own classifier.
    pub logit: Vec<Option<f64>>,
}

impl GliomaEmbeddings {
    /// The embeddings of some patients, each by itself.
    ///
    /// # Errors
    /// An error of the network.
    pub fn new(net: &GliomaNet, tumours: &[Tumour], device: &Device) -> Result<Self> {
        let mut all = GliomaEmbeddings { tumour: vec![], network: vec![], logit: vec![] };
        for tumour in tumours {
            let output = net.forward(&TumourBatch::new(&[tumour], None, device)?, false)?;
            let row = |t: Option<Tensor>| -> Result<Vec<f64>> {
                Ok(match t {
                    Some(t) => t.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?,
                    None => vec![],
                })
            };
            all.tumour.push(row(output.tumour()?)?);
            all.network.push(row(output.network.clone())?);
            all.logit.push(row(output.logit)?.first().copied());
        }
        Ok(all)
    }

    /// The rows of one vector.
    pub fn rows(&self, vector: EmbeddingVector) -> Vec<Vec<f64>> {
        match vector {
            EmbeddingVector::Tumour => self.tumour.clone(),
            EmbeddingVector::Network => self.network.clone(),
            EmbeddingVector::Both => {
                self.tumour.iter().zip(&self.network).map(|(t, b)| [t.clone(), b.clone()].concat()).collect()
            }
        }
    }
}
