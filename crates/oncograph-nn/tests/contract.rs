//! The contract of every module of this crate: see `module_contract!`.

use oncograph_nn::conv3d::{
    Conv3dConfig, Conv3dLayerConfig, ConvTranspose3dConfig, ConvTranspose3dLayerConfig, PaddingMode,
};
use oncograph_nn::lstm::LstmConfig;
use oncograph_nn::norm::{BatchNormConfig, GroupNormConfig, InstanceNormConfig, LayerNormConfig};
use oncograph_nn::transformer::{TransformerEncoderConfig, TransformerEncoderLayerConfig};
use oncograph_nn::{Activation, AttentionMasks, MlpConfig, Mode, MultiheadAttentionConfig, module_contract};

fn encoder_layer() -> TransformerEncoderLayerConfig {
    TransformerEncoderLayerConfig::new(4, 2).dim_feedforward(5)
}

module_contract! {
    conv3d: Conv3dLayerConfig::new(2, 3, [3, 2, 3])
        .conv(Conv3dConfig::new().stride([2, 1, 1]).padding([1, 0, 1])), |m, x| m.forward(&x[0]), [[2, 2, 4, 3, 5]];
    conv3d_groups: Conv3dLayerConfig::new(4, 2, [1, 3, 3]).bias(false)
        .conv(Conv3dConfig::new().groups(2).dilation([1, 2, 1])), |m, x| m.forward(&x[0]), [[1, 4, 2, 6, 4]];
    conv3d_reflect: Conv3dLayerConfig::new(1, 2, [3; 3]).same_padding(true)
        .padding_mode(PaddingMode::Reflect), |m, x| m.forward(&x[0]), [[1, 1, 3, 4, 3]];
    conv_transpose3d: ConvTranspose3dLayerConfig::new(2, 3, [2, 3, 2])
        .conv(ConvTranspose3dConfig::new().stride([2, 1, 2])), |m, x| m.forward(&x[0]), [[1, 2, 2, 3, 2]];
    batch_norm: BatchNormConfig::new(3), |m, x| m.forward(&x[0], true), [[4, 3, 2, 2, 2]];
    batch_norm_evaluating: BatchNormConfig::new(3).momentum(None), |m, x| m.forward(&x[0], false), [[4, 3, 2]];
    layer_norm: LayerNormConfig::new(5), |m, x| m.forward(&x[0]), [[3, 2, 5]];
    group_norm: GroupNormConfig::new(2, 4), |m, x| m.forward(&x[0]), [[2, 4, 3]];
    instance_norm: InstanceNormConfig::new(3).affine(true), |m, x| m.forward(&x[0]), [[2, 3, 2, 2, 2]];
    mlp: MlpConfig::new([3, 6, 4, 2]).layer_norm(true).activation(Activation::Tanh),
        |m, x| m.forward(&x[0], Mode::Eval), [[5, 3]];
    lstm: LstmConfig::new(3, 4), |m, x| m.forward(&x[0]).map(|y| y.output), [[2, 5, 3]];
    lstm_both_ways: LstmConfig::new(3, 2).num_layers(2).bidirectional(true).proj_size(1),
        |m, x| m.forward_with(&x[0], None, Some(&[4, 2])).map(|y| y.output), [[2, 4, 3]];
    attention: MultiheadAttentionConfig::new(4, 2),
        |m, x| m.forward(&x[0], &x[0], &x[0], &AttentionMasks::none(), Mode::Eval).map(|y| y.output), [[2, 3, 4]];
    attention_across: MultiheadAttentionConfig::new(4, 2).kdim(3).vdim(5).add_bias_kv(true),
        |m, x| m.forward(&x[0], &x[1], &x[2], &AttentionMasks::none(), Mode::Eval).map(|y| y.output),
        [[2, 3, 4], [2, 2, 3], [2, 2, 5]];
    encoder_layer_norms_behind: encoder_layer(),
        |m, x| m.forward(&x[0], &AttentionMasks::none(), Mode::Eval), [[2, 3, 4]];
    encoder_layer_norms_first: encoder_layer().norm_first(true).activation(Activation::Tanh),
        |m, x| m.forward(&x[0], &AttentionMasks::none().causal(true), Mode::Eval), [[2, 3, 4]];
    encoder: TransformerEncoderConfig::new(encoder_layer(), 2).norm(true),
        |m, x| m.forward(&x[0], &AttentionMasks::none(), Mode::Eval), [[2, 3, 4]];
}
