//! ReLU and what is fused with it.

use candle_core::{Device, Tensor};
use oncograph_nn::testing::{check_devices, pattern};
use oncograph_nn::{add_relu, relu};

/// Nothing, one element, less than a block, more than one, more than a grid takes at once.
const SHAPES: [&[usize]; 5] = [&[0, 3], &[1], &[3, 7, 5], &[1025], &[300, 257]];

#[test]
fn relu_of_any_size() {
    for shape in SHAPES {
        check_devices(&[pattern(shape, 1).unwrap()], |x| relu(&x[0])).unwrap();
        let pair = [pattern(shape, 1).unwrap(), pattern(shape, 2).unwrap()];
        check_devices(&pair, |x| add_relu(&x[0], &x[1])).unwrap();
    }
}

#[test]
fn relu_of_parts_and_transposes() {
    let x = [pattern(&[7, 9], 1).unwrap(), pattern(&[9, 7], 2).unwrap()];
    check_devices(&x, |x| relu(&x[0].narrow(1, 2, 5)?)).unwrap();
    check_devices(&x, |x| add_relu(&x[0].t()?, &x[1])).unwrap();
}

#[test]
fn a_nan_goes_through_and_so_does_its_gradient() {
    let values = [f64::NAN, -1.0, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0];
    let x = [Tensor::new(&values, &Device::Cpu).unwrap(), pattern(&[7], 1).unwrap()];
    check_devices(&x, |x| relu(&x[0])).unwrap();
    check_devices(&x, |x| add_relu(&x[0], &x[1])).unwrap();
}
