//! Convolutions and their transposes, by cuDNN where it is built in, and without it.

use candle_core::Tensor;
use oncograph_nn::Result;
use oncograph_nn::conv3d::{Conv3dConfig, ConvTranspose3dConfig, conv_transpose3d, conv3d};
use oncograph_nn::testing::{check_devices, pattern};

fn on_devices(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    check_devices(inputs, &f).unwrap();
    #[cfg(feature = "cuda")]
    oncograph_nn::cuda::without_cudnn(|| check_devices(inputs, &f).unwrap());
}

fn check(x: &[usize], w: &[usize], config: Conv3dConfig) {
    let inputs = [pattern(x, 1).unwrap(), pattern(w, 2).unwrap(), pattern(&w[..1], 3).unwrap()];
    on_devices(&inputs[..2], |t| conv3d(&t[0], &t[1], None, &config));
    on_devices(&inputs, |t| conv3d(&t[0], &t[1], Some(&t[2]), &config));
}

#[test]
fn strides_paddings_dilations_and_groups() {
    check(&[2, 3, 4, 5, 6], &[4, 3, 3, 3, 3], Conv3dConfig::new().padding([1; 3]));
    check(&[1, 2, 5, 7, 6], &[3, 2, 3, 2, 1], Conv3dConfig::new().stride([2, 1, 3]).padding([1, 0, 2]));
    check(&[2, 4, 5, 6, 7], &[6, 2, 2, 3, 2], Conv3dConfig::new().dilation([2, 1, 3]).groups(2));
    check(&[3, 4, 3, 1, 2], &[4, 1, 1, 1, 1], Conv3dConfig::new().groups(4));
    // A filter as large as its volume, and a volume of one voxel.
    check(&[1, 1, 3, 4, 2], &[2, 1, 3, 4, 2], Conv3dConfig::new());
    check(&[1, 2, 1, 1, 1], &[2, 2, 3, 3, 3], Conv3dConfig::new().padding([1; 3]));
}

#[test]
fn one_voxel_filters() {
    check(&[2, 5, 3, 4, 5], &[7, 5, 1, 1, 1], Conv3dConfig::new());
    check(&[2, 5, 3, 4, 5], &[7, 5, 1, 1, 1], Conv3dConfig::new().stride([2; 3]));
    check(&[2, 5, 3, 4, 5], &[7, 5, 1, 1, 1], Conv3dConfig::new().padding([1, 0, 0]));
}

#[test]
fn no_samples() {
    check(&[0, 2, 3, 3, 3], &[2, 2, 3, 3, 3], Conv3dConfig::new());
}

#[test]
fn operands_that_are_parts() {
    let config = Conv3dConfig::new();
    let inputs = [pattern(&[2, 6, 4, 4, 4], 1).unwrap(), pattern(&[3, 3, 2, 2, 2], 2).unwrap()];
    check_devices(&inputs, |t| conv3d(&t[0].narrow(1, 2, 3)?, &t[1].transpose(0, 1)?, None, &config))
        .unwrap();
}

#[test]
fn transposed() {
    let check = |x: &[usize], w: &[usize], config: ConvTranspose3dConfig| {
        let channels = w[1] * config.groups;
        let inputs = [pattern(x, 1).unwrap(), pattern(w, 2).unwrap(), pattern(&[channels], 3).unwrap()];
        on_devices(&inputs, |t| conv_transpose3d(&t[0], &t[1], Some(&t[2]), &config));
        on_devices(&inputs[..2], |t| conv_transpose3d(&t[0], &t[1], None, &config));
    };
    check(&[2, 3, 2, 3, 2], &[3, 2, 2, 3, 2], ConvTranspose3dConfig::new().stride([2, 1, 2]));
    let odd =
        ConvTranspose3dConfig::new().stride([2; 3]).padding([1, 0, 1]).output_padding([1, 0, 1]).groups(2);
    check(&[1, 4, 3, 2, 3], &[4, 3, 3, 2, 3], odd);
    // An output that the convolution back does not reach.
    let far = ConvTranspose3dConfig::new().dilation([3; 3]).output_padding([2, 1, 0]);
    check(&[2, 2, 2, 3, 2], &[2, 2, 2, 2, 2], far);
}
