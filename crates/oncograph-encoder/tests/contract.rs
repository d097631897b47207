//! The contract of every encoder: see `module_contract!`.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use oncograph_encoder::{
    DenseNetConfig, MonaiResNetConfig, SelfBuiltCnnConfig, ShortcutType, VideoResNetConfig,
};
use oncograph_nn::module_contract;

fn narrow(config: VideoResNetConfig) -> VideoResNetConfig {
    config.base_width(2).blocks([1; 4]).classes(Some(3))
}

fn narrow_monai(depth: usize) -> MonaiResNetConfig {
    let config = MonaiResNetConfig::resnet(depth, 1).unwrap();
    config.block_inplanes([2, 2, 4, 4]).layers([1, 2, 1, 1]).num_classes(Some(2)).conv1_t_size([3; 3])
}

module_contract! {
    dense_net: DenseNetConfig::densenet121(2, 3).init_features(4).growth_rate(3).block_config([2, 1]),
        |m, x| m.forward(&x[0], false), [[2, 2, 16, 17, 18]];
    monai: narrow_monai(18).bias_downsample(false), |m, x| m.forward(&x[0], true), [[2, 1, 18, 17, 19]];
    monai_bottleneck: narrow_monai(50).no_max_pool(true).shortcut_type(ShortcutType::B),
        |m, x| m.forward(&x[0], true), [[2, 1, 9, 9, 10]],
        constant ["layer1.0.downsample.0.bias", "layer2.0.downsample.0.bias", "layer3.0.downsample.0.bias",
            "layer4.0.downsample.0.bias"];
    r3d: narrow(VideoResNetConfig::r3d_18(1)), |m, x| m.forward(&x[0], true), [[2, 1, 9, 18, 17]];
    r2plus1d: narrow(VideoResNetConfig::r2plus1d_18(2)), |m, x| m.forward(&x[0], true), [[2, 2, 9, 17, 18]];
    self_built: SelfBuiltCnnConfig::new(1).widths([2, 3]), |m, x| m.forward(&x[0]), [[2, 1, 8, 9, 10]];
}
