use super::*;
use crate::testing::{check_gradients, device, pattern};
use candle_core::{Tensor, Var};

fn configs() -> Vec<Pool3dConfig> {
    let c = Pool3dConfig::new;
    vec![
        c([2; 3]),
        c([3; 3]).stride([2; 3]).padding([1; 3]),
        c([3; 3]).stride([2; 3]).ceil_mode(true),
        c([2, 3, 1]).stride([1, 2, 2]).padding([1, 1, 0]).ceil_mode(true).count_include_pad(false),
        c([3; 3]).stride([1; 3]),
    ]
}

#[test]
fn gradients_match_finite_differences() {
    let x = [pattern(&[2, 2, 5, 4, 6], 1).unwrap()];
    for config in configs() {
        check_gradients(|x| max_pool3d(&x[0], &config), &x, 1e-6, 1e-8).unwrap();
        check_gradients(|x| avg_pool3d(&x[0], &config), &x, 1e-6, 1e-8).unwrap();
    }
    for output in [[1; 3], [2, 3, 4], [5, 4, 6], [7, 1, 8]] {
        check_gradients(|x| adaptive_avg_pool3d(&x[0], output), &x, 1e-6, 1e-8).unwrap();
        check_gradients(|x| adaptive_max_pool3d(&x[0], output), &x, 1e-6, 1e-8).unwrap();
    }
}

#[test]
fn the_first_of_equal_elements_gets_the_gradient() {
    let x = Var::zeros((1, 1, 1, 2, 2), candle_core::DType::F32, &device()).unwrap();
    let y = max_pool3d(&x, &Pool3dConfig::new([1, 2, 2])).unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    let dx = grads.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(dx, [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_nan_is_not_lost() {
    let x = Tensor::new(&[1f32, f32::NAN, 3.0, 4.0], &device()).unwrap().reshape((1, 1, 1, 2, 2)).unwrap();
    let y = max_pool3d(&x, &Pool3dConfig::new([1, 2, 2])).unwrap().flatten_all().unwrap();
    assert!(y.to_vec1::<f32>().unwrap()[0].is_nan());
}

#[test]
fn dilation_skips_elements_and_the_indices_say_which_was_taken() {
    let x = Tensor::new(&[5f64, 1.0, 4.0, 9.0, 2.0], &device()).unwrap().reshape((1, 1, 1, 1, 5)).unwrap();
    let config = Pool3dConfig::new([1, 1, 2]).stride([1; 3]).dilation([1, 1, 3]);
    let (y, at) = max_pool3d_with_indices(&x, &config).unwrap();
    assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [9.0, 2.0]);
    assert_eq!(at.flatten_all().unwrap().to_vec1::<i64>().unwrap(), [3, 4]);
    // Padded: windows at (-1, 1), (0, 2) .. (4, 6) of which the first sees element 1 and the last element 4 alone.
    let padded = Pool3dConfig::new([1, 1, 2]).stride([1; 3]).dilation([1, 1, 2]).padding([0, 0, 1]);
    let (y, at) = max_pool3d_with_indices(&x, &padded).unwrap();
    assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [1.0, 5.0, 9.0, 4.0, 9.0]);
    assert_eq!(at.flatten_all().unwrap().to_vec1::<i64>().unwrap(), [1, 0, 3, 2, 3]);
    let volume = [pattern(&[1, 2, 5, 6, 4], 2).unwrap()];
    let config = Pool3dConfig::new([2, 3, 2]).stride([1, 2, 1]).dilation([2, 1, 2]).padding([1, 1, 0]);
    check_gradients(|x| max_pool3d(&x[0], &config), &volume, 1e-6, 1e-8).unwrap();
    assert!(avg_pool3d(&volume[0], &config).is_err());
}

#[test]
fn a_given_divisor_replaces_the_count() {
    let x = Tensor::ones((1, 1, 1, 1, 4), candle_core::DType::F64, &device()).unwrap();
    let config = Pool3dConfig::new([1, 1, 2]).divisor_override(Some(5));
    let y = avg_pool3d(&x, &config).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(y, [0.4, 0.4]);
    check_gradients(|x| avg_pool3d(&x[0], &config), &[x], 1e-6, 1e-8).unwrap();
    assert!(config.divisor_override(Some(0)).validate().is_err());
}

#[test]
fn padding_counts_or_not() {
    let x = Tensor::ones((1, 1, 1, 1, 4), candle_core::DType::F64, &device()).unwrap();
    let config = Pool3dConfig::new([1, 1, 2]).padding([0, 0, 1]);
    let values =
        |c: &Pool3dConfig| avg_pool3d(&x, c).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(values(&config), [0.5, 1.0, 0.5]);
    assert_eq!(values(&config.count_include_pad(false)), [1.0; 3]);
}

#[test]
fn ceil_mode_drops_a_window_that_starts_in_the_right_padding() {
    let x = pattern(&[1, 1, 1, 1, 5], 1).unwrap();
    let config = Pool3dConfig::new([1, 1, 2]).stride([1, 1, 2]).padding([0, 0, 1]);
    // Windows start at -1, 1, 3 and 5; the last lies wholly in the padding.
    assert_eq!(max_pool3d(&x, &config.ceil_mode(true)).unwrap().dims(), [1, 1, 1, 1, 3]);
    let one = Pool3dConfig::new([1, 1, 2]).stride([1, 1, 3]);
    assert_eq!(max_pool3d(&x, &one.ceil_mode(true)).unwrap().dims(), [1, 1, 1, 1, 2]);
}

#[test]
fn what_does_not_fit_is_named() {
    let x = pattern(&[1, 1, 2, 2, 2], 1).unwrap();
    let message = |c: Pool3dConfig| max_pool3d(&x, &c).unwrap_err().to_string();
    assert!(message(Pool3dConfig::new([3; 3])).contains("at least 3 along dimension 2"));
    assert!(message(Pool3dConfig::new([2; 3]).padding([2; 3])).contains("at most half of the kernel"));
    assert!(adaptive_avg_pool3d(&x, [0, 1, 1]).is_err());
    assert!(avg_pool3d(&pattern(&[2, 2], 1).unwrap(), &Pool3dConfig::new([1; 3])).is_err());
}
