//! What is done to each row of a matrix.

use candle_core::{DType, Tensor};
use oncograph_nn::testing::{check_devices, device, pattern};
use oncograph_nn::{log_sum_exp, softmax, unit_rows};

/// One element, a row, rows narrower and wider than a warp, many rows. Of nothing candle refuses a maximum.
const SHAPES: [&[usize]; 6] = [&[1], &[7], &[3, 31], &[2, 5, 33], &[4, 1027], &[1031, 3]];

#[test]
fn rows_of_any_width() {
    for shape in SHAPES {
        let x = [pattern(shape, 1).unwrap(), pattern(shape, 2).unwrap()];
        let last = shape.len() - 1;
        check_devices(&x, |x| Ok((softmax(&(&x[0] * 5.0)?, last)? * &x[1])?)).unwrap();
        check_devices(&x[..1], |x| unit_rows(&x[0], 1e-16)).unwrap();
        check_devices(&x[..1], |x| log_sum_exp(&(&x[0] * 5.0)?)).unwrap();
    }
}

#[test]
fn rows_of_parts_and_transposes() {
    let x = [pattern(&[9, 7], 1).unwrap()];
    check_devices(&x, |x| unit_rows(&x[0].t()?, 1e-16)).unwrap();
    check_devices(&x, |x| softmax(&x[0].narrow(1, 2, 4)?, 1)).unwrap();
    check_devices(&x, |x| log_sum_exp(&x[0].narrow(0, 3, 4)?.t()?)).unwrap();
}

#[test]
fn large_numbers_do_not_overflow_and_nan_stays_in_its_row() {
    for dtype in [DType::F32, DType::F64] {
        let x = [[1e4f64, -1e4, 9e3], [f64::NAN, 0.0, 1.0], [0.0, 0.0, 0.0]];
        let x = Tensor::new(&x, &device()).unwrap().to_dtype(dtype).unwrap();
        let rows = |y: Tensor| y.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
        let soft = rows(softmax(&x, 1).unwrap());
        assert_eq!(soft[0], [1.0, 0.0, 0.0]);
        assert!(soft[1].iter().all(|v| v.is_nan()));
        let sums = rows(log_sum_exp(&x).unwrap().unsqueeze(1).unwrap());
        assert!(sums[0][0] == 1e4 && sums[1][0].is_nan() && (sums[2][0] - 3f64.ln()).abs() < 1e-6);
        let unit = rows(unit_rows(&x, 1e-16).unwrap());
        assert!(unit[1].iter().all(|v| v.is_nan()) && unit[2] == [0.0; 3]);
    }
}
