use crate::{FusionTokens, MultimodalConfig, Result};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
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
/// Parameters `attention.*` and `fusion.layers.{i}.*`; without them (ablation) `mlp.*`.
#[derive(Debug, Clone)]
pub struct InterModality {
    parts: Parts,
    tokens: FusionTokens,
    residual: bool,
}

#[derive(Debug, Clone)]
enum Parts {
    Attention { attention: MultiheadAttention, fusion: TransformerEncoder },
    Concatenated(Mlp),
}

impl InterModality {
    /// The fusion that `config` asks for.
    ///
    /// # Errors
    /// An error of the configuration or of candle.
    pub fn new(config: &MultimodalConfig, vb: VarBuilder) -> Result<Self> {
        let h = config.hidden;
        let parts = if config.ablate.inter {
            // One flag per modality tells an absent one from a vector of zeros.
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
        Ok(InterModality { parts, tokens: config.fusion_tokens, residual: config.patient_residual })
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
        let tokens = tokens.broadcast_mul(&flags.unsqueeze(2)?)?;
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
        Ok(Fused { z: z.squeeze(1)?, importance: Some(importance) })
    }
}
