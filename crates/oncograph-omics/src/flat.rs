use crate::flops;
use crate::{
    Error, Heads, InterModality, Nodes, OmicsBatch, OmicsModel, OmicsNetConfig, OmicsOutput, Result,
    SharedGraphs,
};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
use oncograph_nn::{Mlp, MlpConfig, Mode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The baselines without a graph: an MLP per node type, and the network's fusion and heads.
///
/// With one modality it is the unimodal baseline; with several, the *attention fusion* of section 7. *Late fusion* is
/// the average of the outputs of unimodal models, which [`late_fusion`] takes. Rows per node are averaged per patient
/// first. Dropout between layers is the trunk's.
///
/// Parameters `encoders.{patient, node type}.*`, `inter.*`, `heads.*`.
#[derive(Debug, Clone)]
pub struct FlatNet {
    config: OmicsNetConfig,
    encoders: BTreeMap<String, Mlp>,
    inter: InterModality,
    heads: Heads,
}

impl FlatNet {
    /// The baseline with the sizes of `config`; every pooled node type of an active modality counts as a modality.
    ///
    /// # Errors
    /// As [`OmicsNetConfig::validate`], or an error of candle.
    pub fn new(config: &OmicsNetConfig, vb: VarBuilder) -> Result<Self> {
        config.validate()?;
        let h = config.hidden;
        let encoder = |name: &str, width: usize| -> Result<(String, Mlp)> {
            let mlp = MlpConfig::new([width, h, h]).dropout(config.trunk_dropout);
            Ok((name.to_string(), mlp.build(vb.pp("encoders").pp(name))?))
        };
        let mut encoders = BTreeMap::from([encoder("patient", config.patient)?]);
        for modality in config.active() {
            for name in &modality.pooled {
                let width = config.node_type(name).map_or(0, |t| t.features);
                encoders.extend([encoder(name, width)?]);
            }
        }
        Ok(FlatNet {
            encoders,
            inter: InterModality::new(config, vb.pp("inter"))?,
            heads: Heads::new(config, vb.pp("heads"))?,
            config: config.clone(),
        })
    }

    fn encode(&self, name: &str, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let Some(mlp) = self.encoders.get(name) else {
            return Err(Error::input("node type", "one of the baseline's", name));
        };
        Ok(mlp.forward(x, mode.stream(name))?)
    }

    /// One vector per patient of a node type \[patients, H\].
    fn vectors(&self, name: &str, batch: &OmicsBatch, mode: Mode) -> Result<Option<Tensor>> {
        Ok(match batch.nodes.get(name) {
            None => None,
            Some(Nodes::Values { values, .. }) => Some(self.encode(name, values, mode)?),
            Some(Nodes::Rows { features, patient, .. }) => {
                let membership = Arc::new(Adjacency::from_segments(patient, batch.len())?);
                let mean = gather_reduce(features, &membership, Reduce::Mean)?;
                Some(self.encode(name, &mean, mode)?)
            }
        })
    }
}

impl OmicsModel for FlatNet {
    fn config(&self) -> &OmicsNetConfig {
        &self.config
    }

    fn forward(&self, batch: &OmicsBatch, _: &SharedGraphs, mode: Mode) -> Result<OmicsOutput> {
        batch.validate(&self.config)?;
        let (b, h) = (batch.len(), self.config.hidden);
        let encoders = mode.stream("encoders");
        let patient = self.encode("patient", &batch.patient, encoders)?;
        let (mut tokens, mut present) = (vec![], vec![vec![]; b]);
        for modality in self.config.active() {
            let mut sum: Option<Tensor> = None;
            let mut any = vec![false; b];
            for name in &modality.pooled {
                let Some(vectors) = self.vectors(name, batch, encoders)? else { continue };
                let here = batch.present(name);
                let flags: Vec<f32> = here.iter().map(|p| f32::from(u8::from(*p))).collect();
                let flags = Tensor::from_vec(flags, (b, 1), vectors.device())?.to_dtype(vectors.dtype())?;
                let vectors = vectors.broadcast_mul(&flags)?;
                sum = Some(match sum {
                    Some(s) => (s + vectors)?,
                    None => vectors,
                });
                any.iter_mut().zip(&here).for_each(|(a, p)| *a |= p);
            }
            let zeros = || Tensor::zeros((b, h), patient.dtype(), patient.device());
            tokens.push(match sum {
                Some(s) => s,
                None => zeros()?,
            });
            present.iter_mut().zip(any).for_each(|(row, p)| row.push(p));
        }
        let fused =
            self.inter.forward(&patient, &Tensor::stack(&tokens, 1)?, &present, mode.stream("inter"))?;
        let tasks = self.heads.forward(&fused.z, mode.stream("heads"))?;
        Ok(OmicsOutput { z: fused.z, tasks, importance: fused.importance })
    }

    fn flops(&self, _: &SharedGraphs) -> u64 {
        flops::flat(&self.config)
    }
}

/// Late fusion: the mean of several models' outputs, element by element.
///
/// # Errors
/// [`Error::Input`] if there is no output or lengths differ.
pub fn late_fusion(outputs: &[&[f64]]) -> Result<Vec<f64>> {
    let Some(first) = outputs.first() else { return Err(Error::input("late fusion", "outputs", "none")) };
    if let Some(other) = outputs.iter().find(|o| o.len() != first.len()) {
        return Err(Error::input("late fusion", format!("{} values each", first.len()), other.len()));
    }
    let mean = |i: usize| outputs.iter().map(|o| o[i]).sum::<f64>() / outputs.len() as f64;
    Ok((0..first.len()).map(mean).collect())
}
