//! Interpolation.

use candle_core::{Device, Tensor};
use oncograph_nn::testing::{check_devices, pattern};
use oncograph_nn::{InterpolateConfig, InterpolateMode, Result, interpolate};

fn configs(axes: usize) -> Vec<InterpolateConfig> {
    use InterpolateMode::*;
    let to = |size: [usize; 3]| InterpolateConfig::to_size(&size[..axes]);
    let by = |factor: f64| InterpolateConfig::by_factor(&[factor]);
    vec![
        to([5, 2, 9]),
        to([5, 2, 9]).mode(NearestExact),
        to([5, 2, 9]).mode(Linear),
        to([1, 8, 3]).mode(Linear).align_corners(true),
        to([3, 7, 2]).mode(Area),
        by(0.7).mode(Linear),
        by(1.9).mode(Linear).recompute_scale_factor(true),
        by(2.3),
    ]
}

#[test]
fn every_mode_along_one_two_and_three_axes() -> Result<()> {
    for shape in [&[2, 3, 4][..], &[1, 2, 3, 5], &[2, 2, 3, 4, 5], &[0, 2, 4], &[1, 1, 2, 2, 2]] {
        let x = [pattern(shape, 1)?];
        for config in configs(shape.len() - 2) {
            check_devices(&x, |x| interpolate(&x[0], &config))?;
        }
    }
    Ok(())
}

#[test]
fn large_strided_and_with_nan() -> Result<()> {
    let linear = InterpolateConfig::to_size(&[20, 31, 40]).mode(InterpolateMode::Linear);
    check_devices(&[pattern(&[1, 2, 9, 10, 11], 1)?], |x| interpolate(&x[0], &linear))?;
    check_devices(&[pattern(&[7, 2, 5, 4, 3], 1)?], |x| interpolate(&x[0].transpose(0, 2)?, &linear))?;
    let mut values: Vec<f64> = (0..7).map(f64::from).collect();
    values[3] = f64::NAN;
    let x = Tensor::from_vec(values, (1, 1, 7), &Device::Cpu)?;
    let linear = InterpolateConfig::to_size(&[13]).mode(InterpolateMode::Linear).align_corners(true);
    check_devices(&[x], |x| interpolate(&x[0], &linear))
}
