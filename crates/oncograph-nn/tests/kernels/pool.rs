//! Pooling of volumes.

use candle_core::{Device, Tensor};
use oncograph_nn::Result;
use oncograph_nn::pool::{
    Pool3dConfig, adaptive_avg_pool3d, adaptive_max_pool3d, adaptive_max_pool3d_with_indices, avg_pool3d,
    max_pool3d, max_pool3d_with_indices,
};
use oncograph_nn::testing::{check_devices, device, pattern};

fn windows() -> Vec<Pool3dConfig> {
    let c = Pool3dConfig::new;
    vec![
        c([1; 3]).stride([2; 3]),
        c([2; 3]),
        c([3; 3]).stride([2; 3]).padding([1; 3]),
        c([3; 3]).stride([2; 3]).ceil_mode(true),
        c([2, 3, 1]).stride([1, 2, 2]).padding([1, 1, 0]).ceil_mode(true).count_include_pad(false),
        c([3, 4, 2]).stride([1; 3]).divisor_override(Some(5)),
        // Windows for a warp.
        c([5; 3]).stride([3, 1, 2]).padding([2; 3]),
    ]
}

const SHAPES: [[usize; 5]; 3] = [[0, 2, 5, 5, 6], [2, 3, 5, 6, 7], [1, 2, 9, 11, 35]];

#[test]
fn sliding_windows() -> Result<()> {
    for shape in SHAPES {
        let x = [pattern(&shape, 1)?];
        for config in windows() {
            check_devices(&x, |x| avg_pool3d(&x[0], &config))?;
            check_devices(&x, |x| max_pool3d(&x[0], &config))?;
        }
        for dilation in [[2, 1, 2], [1, 2, 1]] {
            let config = Pool3dConfig::new([2, 3, 2]).stride([1, 2, 1]).dilation(dilation).padding([1, 1, 0]);
            check_devices(&x, |x| max_pool3d(&x[0], &config))?;
        }
    }
    // One element, and a volume that lies turned.
    check_devices(&[pattern(&[1; 5], 1)?], |x| max_pool3d(&x[0], &Pool3dConfig::new([1; 3])))?;
    let turned = |x: &Tensor| x.permute((1, 0, 4, 2, 3));
    let x = [pattern(&[2, 3, 5, 6, 4], 1)?];
    check_devices(&x, |x| max_pool3d(&turned(&x[0])?, &Pool3dConfig::new([2; 3])))?;
    check_devices(&x, |x| avg_pool3d(&turned(&x[0])?, &Pool3dConfig::new([2; 3])))
}

#[test]
fn windows_that_share_a_volume() -> Result<()> {
    for shape in &SHAPES[1..] {
        let x = [pattern(shape, 1)?];
        for output in [[1; 3], [2, 3, 4], [5, 6, 7], [7, 1, 40]] {
            check_devices(&x, |x| adaptive_avg_pool3d(&x[0], output))?;
            check_devices(&x, |x| adaptive_max_pool3d(&x[0], output))?;
        }
    }
    Ok(())
}

#[test]
fn equal_elements_and_nan() -> Result<()> {
    let values: Vec<f64> = (0..2 * 6 * 6 * 6).map(|i| f64::from((i * 7) % 4)).collect();
    let mut with_nan = values.clone();
    [3, 4, 100, 431].iter().for_each(|i| with_nan[*i] = f64::NAN);
    let low = vec![f64::NEG_INFINITY; values.len()];
    for values in [values, with_nan, low] {
        let x = [Tensor::from_vec(values, (1, 2, 6, 6, 6), &Device::Cpu)?];
        for config in windows() {
            check_devices(&x, |x| max_pool3d(&x[0], &config))?;
        }
        for config in windows() {
            assert_eq!(places(&x[0], &config)?, places(&x[0].to_device(&device())?, &config)?);
        }
        check_devices(&x, |x| adaptive_max_pool3d(&x[0], [1; 3]))?;
    }
    Ok(())
}

#[test]
fn places_of_the_largest() -> Result<()> {
    let x = pattern(&[2, 3, 5, 6, 7], 1)?.to_device(&Device::Cpu)?;
    for config in windows() {
        assert_eq!(places(&x, &config)?, places(&x.to_device(&device())?, &config)?);
    }
    let run = |x: &Tensor| numbers(&adaptive_max_pool3d_with_indices(x, [1, 2, 1])?.1);
    assert_eq!(run(&x)?, run(&x.to_device(&device())?)?);
    Ok(())
}

fn places(x: &Tensor, config: &Pool3dConfig) -> Result<Vec<i64>> {
    numbers(&max_pool3d_with_indices(x, config)?.1)
}

fn numbers(places: &Tensor) -> Result<Vec<i64>> {
    Ok(places.flatten_all()?.to_vec1()?)
}

#[test]
#[cfg(feature = "cuda")]
fn no_pool_goes_by_way_of_the_host() -> Result<()> {
    let x = candle_core::Var::from_tensor(&pattern(&[1, 1, 2, 2, 2], 1)?.to_device(&device())?)?;
    let (max, _) = max_pool3d_with_indices(&x, &Pool3dConfig::new([2; 3]))?;
    (max + adaptive_avg_pool3d(&x, [1; 3])?)?.sum_all()?.backward()?;
    let config = oncograph_nn::InterpolateConfig::to_size(&[3; 3]);
    oncograph_nn::interpolate(&x, &config)?.sum_all()?.backward()?;
    crate::none_by_host(&["pool3d", "interpolate"]);
    Ok(())
}
