use crate::batch::index;
use crate::{FusionTokens, ModalityConfig, OmicsNetConfig, Result, TokenNorm};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use oncograph_nn::norm::{BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig};
use oncograph_nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderLayerConfig,
};
use oncograph_nn::{AttentionMasks, Mlp, MlpConfig, Mode, MultiheadAttention, MultiheadAttentionConfig};

/// What a patient takes of its modalities.
#[derive(Debug, Clone)]
pub struct Fused {
    /// \[patients, H\]
    pub z: Tensor,
    /// How much of each modality the patient's query takes, averaged over heads \[patients, modalities\]: absent ones
    /// have 0, the others sum to 1 (M-09, M-21). A patient without any has zeros. `None` without attention.
    pub importance: Option<Tensor>,
}

/// The fusion of modalities: attention from the patient to the modalities that it has, and a transformer.
///
/// Parameters `attention.*` and `fusion.layers.{i}.*`; without them (ablation) `mlp.*`. With a norm of the modalities'
/// vectors (M-27) `norms.{modality}.*`.
#[derive(Debug, Clone)]
pub struct InterModality {
    /// One per modality; none without norms.
    norms: Vec<Norm>,
    parts: Parts,
    tokens: FusionTokens,
    residual: bool,
}

#[derive(Debug, Clone)]
enum Norm {
    Layer(LayerNorm),
    Batch(BatchNorm),
}

#[derive(Debug, Clone)]
enum Parts {
    Attention { attention: MultiheadAttention, fusion: TransformerEncoder },
    Concatenated(Mlp),
}

impl InterModality {
    /// The fusion that `config` describes.
    ///
    /// # Errors
    /// An error of the configuration or of candle.
    pub fn new(config: &OmicsNetConfig, vb: VarBuilder) -> Result<Self> {
        let h = config.hidden;
        let parts = if config.ablate.inter {
            // One flag per modality distinguishes an absent one from a vector of zeros.
            let width = h + config.active().count() * (h + 1);
            let mlp = MlpConfig::new([width, h, h]).dropout(config.fusion_dropout);
            Parts::Concatenated(mlp.build(vb.pp("mlp"))?)
        } else {
            let attention = MultiheadAttentionConfig::new(h, config.heads).dropout(config.fusion_dropout);
            let layer = TransformerEncoderLayerConfig::new(h, config.heads)
                .dim_feedforward(config.feed_forward)
                .dropout(config.fusion_dropout);
            Parts::Attention {
                attention: attention.build(vb.pp("attention"))?,
                fusion: TransformerEncoderConfig::new(layer, config.fusion_layers).build(vb.pp("fusion"))?,
            }
        };
        let norm = |m: &ModalityConfig| -> Result<Option<Norm>> {
            let vb = vb.pp("norms").pp(&m.name);
            Ok(match config.token_norm {
                TokenNorm::None => None,
                TokenNorm::Layer => Some(Norm::Layer(LayerNormConfig::new(h).build(vb)?)),
                TokenNorm::Batch => Some(Norm::Batch(BatchNormConfig::new(h).build(vb)?)),
            })
        };
        let norms = config.active().filter_map(|m| norm(m).transpose()).collect::<Result<_>>()?;
        Ok(InterModality { norms, parts, tokens: config.fusion_tokens, residual: config.patient_residual })
    }

    fn normed(&self, tokens: &Tensor, present: &[Vec<bool>], train: bool) -> Result<Tensor> {
        if self.norms.is_empty() {
            return Ok(tokens.clone());
        }
        let one = |(k, norm): (usize, &Norm)| -> Result<Tensor> {
            let x = tokens.narrow(1, k, 1)?.squeeze(1)?.contiguous()?;
            let y = match norm {
                Norm::Layer(norm) => norm.forward(&x)?,
                // Statistics are of patients that have the modality; of fewer than two there are none.
                Norm::Batch(norm) => {
                    let here: Vec<u32> =
                        (0..present.len() as u32).filter(|p| present[*p as usize][k]).collect();
                    if train && here.len() > 1 && here.len() < present.len() {
                        let rows = index(&here, x.device())?;
                        let normed = norm.forward(&x.index_select(&rows, 0)?, true)?;
                        x.zeros_like()?.index_add(&rows, &normed, 0)?
                    } else {
                        norm.forward(&x, train && here.len() > 1)?
                    }
                }
            };
            Ok(y.unsqueeze(1)?)
        };
        Ok(Tensor::cat(&self.norms.iter().enumerate().map(one).collect::<Result<Vec<_>>>()?, 1)?)
    }

    /// # Shapes
    /// `patient` \[B, H\], `tokens` \[B, M, H\] with anything finite where a modality is absent, `present` B rows of M
    ///
    /// # Errors
    /// An error of candle for shapes that do not fit.
    pub fn forward(
        &self,
        patient: &Tensor,
        tokens: &Tensor,
        present: &[Vec<bool>],
        mode: Mode,
    ) -> Result<Fused> {
        let (b, m, h) = tokens.dims3()?;
        let device = tokens.device();
        let flags: Vec<f32> = present.iter().flatten().map(|p| f32::from(u8::from(*p))).collect();
        let flags = Tensor::from_vec(flags, (b, m), device)?.to_dtype(tokens.dtype())?;
        let tokens = self.normed(tokens, present, mode.is_train())?.broadcast_mul(&flags.unsqueeze(2)?)?;
        let (attention, fusion) = match &self.parts {
            Parts::Concatenated(mlp) => {
                let all = Tensor::cat(&[patient, &tokens.reshape((b, m * h))?, &flags], 1)?;
                return Ok(Fused { z: mlp.forward(&all, mode.stream("mlp"))?, importance: None });
            }
            Parts::Attention { attention, fusion } => (attention, fusion),
        };
        // A softmax over nothing is NaN: a patient without any modality looks at zeros, and its answer is masked.
        let any: Vec<bool> = present.iter().map(|row| row.contains(&true)).collect();
        let hidden = |row: &[bool], any: bool| row.iter().map(|p| u8::from(any && !p)).collect::<Vec<_>>();
        let keys: Vec<u8> = present.iter().zip(&any).flat_map(|(row, any)| hidden(row, *any)).collect();
        let keys = Tensor::from_vec(keys, (b, m), device)?;
        let any: Vec<f32> = any.iter().map(|a| f32::from(u8::from(*a))).collect();
        let any = Tensor::from_vec(any, (b, 1), device)?.to_dtype(tokens.dtype())?;
        let query = patient.unsqueeze(1)?;
        let masks = AttentionMasks::none().key_padding(Some(&keys));
        let gathered = attention.forward(&query, &tokens, &tokens, &masks, mode.stream("attention"))?;
        let importance = gathered.average_weights()?.squeeze(1)?.broadcast_mul(&any)?;
        let mut fused = gathered.output.squeeze(1)?.broadcast_mul(&any)?;
        if self.residual {
            fused = (fused + patient)?;
        }
        let fused = fused.unsqueeze(1)?;
        let z = match self.tokens {
            FusionTokens::Single => fusion.forward(&fused, &AttentionMasks::none(), mode.stream("fusion"))?,
            FusionTokens::Set => {
                let first = Tensor::zeros((b, 1), DType::U8, device)?;
                let absent = flags.eq(&flags.zeros_like()?)?;
                let padding = Tensor::cat(&[&first, &absent], 1)?;
                let masks = AttentionMasks::none().key_padding(Some(&padding));
                let all = Tensor::cat(&[&fused, &tokens], 1)?;
                fusion.forward(&all, &masks, mode.stream("fusion"))?.narrow(1, 0, 1)?
            }
        };
        // The first of several tokens is a part of a larger matrix, which cuBLAS does not take as a factor.
        Ok(Fused { z: z.squeeze(1)?.contiguous()?, importance: Some(importance) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeTypeConfig, TaskConfig, TaskKind};
    use oncograph_nn::testing::{device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    /// z of four patients, the last of whom lacks the first modality.
    fn z(norm: TokenNorm, tokens: &Tensor) -> Tensor {
        let config = OmicsNetConfig::new(
            1,
            vec![NodeTypeConfig::diag("gene", 2), NodeTypeConfig::diag("lab", 2)],
            vec![ModalityConfig::new("genomics", ["gene"]), ModalityConfig::new("clinical", ["lab"])],
            vec![TaskConfig::new("survival", TaskKind::SurvivalCox)],
        )
        .quick()
        .hidden(8)
        .dropout(0.0, 0.0)
        .token_norm(norm);
        let store = ParamStore::new(Seed::new(3));
        let inter = InterModality::new(&config, store.var_builder(DType::F64, &device())).unwrap();
        let present = [vec![true; 2], vec![true; 2], vec![true; 2], vec![false, true]];
        let patient = pattern(&[4, 8], 1).unwrap();
        inter.forward(&patient, tokens, &present, Mode::Train(Seed::new(1))).unwrap().z
    }

    fn difference(norm: TokenNorm, a: &Tensor, b: &Tensor) -> f64 {
        let d = (z(norm, a) - z(norm, b)).unwrap().abs().unwrap().max_all().unwrap();
        d.to_scalar::<f64>().unwrap()
    }

    #[test]
    fn a_norm_of_the_vectors_takes_off_their_scale_or_the_patients_common_part() {
        let tokens = pattern(&[4, 2, 8], 2).unwrap();
        let scaled = ((&tokens * 7.0).unwrap() + 2.0).unwrap();
        assert!(difference(TokenNorm::None, &tokens, &scaled) > 0.1);
        assert!(difference(TokenNorm::Layer, &tokens, &scaled) < 1e-3);
        let constant = pattern(&[1, 2, 8], 3).unwrap();
        let moved = tokens.broadcast_add(&(constant * 9.0).unwrap()).unwrap();
        assert!(difference(TokenNorm::Layer, &tokens, &moved) > 0.1);
        assert!(difference(TokenNorm::Batch, &tokens, &moved) < 1e-9);
    }

    #[test]
    fn batch_statistics_are_of_patients_that_have_the_modality() {
        let tokens = pattern(&[4, 2, 8], 2).unwrap();
        let absent = tokens.narrow(0, 3, 1).unwrap().narrow(1, 0, 1).unwrap();
        let other = tokens.slice_assign(&[3..4, 0..1, 0..8], &(absent + 1e3).unwrap()).unwrap();
        assert_eq!(difference(TokenNorm::Batch, &tokens, &other), 0.0);
        let here = tokens.narrow(0, 2, 1).unwrap().narrow(1, 0, 1).unwrap();
        let other = tokens.slice_assign(&[2..3, 0..1, 0..8], &(here + 1e3).unwrap()).unwrap();
        assert!(difference(TokenNorm::Batch, &tokens, &other) > 0.1);
    }
}
