//! Normalisation, its gradients and its running statistics.

use candle_core::{DType, Device, Tensor};
use oncograph_nn::norm::{BatchNormConfig, GroupNormConfig, InstanceNormConfig, LayerNormConfig};
use oncograph_nn::testing::{check_devices, device, pattern};
use oncograph_nn::{ParamStore, Result, Seed};

/// A store of these values, in the type and on the device of `x`, for a layer to be built on.
fn store_of(x: &Tensor, values: &[(&str, &Tensor)]) -> candle_nn::VarBuilder<'static> {
    let values = values.iter().map(|(name, value)| (name.to_string(), (*value).clone())).collect();
    candle_nn::VarBuilder::from_tensors(values, x.dtype(), x.device())
}

/// Input, weight and bias.
fn inputs(shape: &[usize], weights: usize) -> Result<[Tensor; 3]> {
    Ok([((pattern(shape, 1)? * 3.0)? + 2.0)?, pattern(&[weights], 2)?, pattern(&[weights], 3)?])
}

/// Shapes of batch norm: one value aside of another, less than a warp, one warp, a block, parts of volumes, and parts of
/// columns with and without a volume.
const BATCHES: [&[usize]; 9] = [
    &[2, 1],
    &[3, 7],
    &[4, 3, 5, 1, 2],
    &[2, 2, 17, 16],
    &[3, 2, 37, 41],
    &[2, 3, 6000],
    &[5001, 37],
    &[1100, 3, 2, 3],
    &[1, 1, 2],
];

#[test]
fn batches_in_training() -> Result<()> {
    for shape in BATCHES {
        let channels = shape[1];
        check_devices(&inputs(shape, channels)?, |t| {
            let vb = store_of(&t[0], &[("weight", &t[1]), ("bias", &t[2])]);
            BatchNormConfig::new(channels).track_running_stats(false).build(vb)?.forward(&t[0], true)
        })?;
        check_devices(&inputs(shape, 1)?[..1], |t| {
            let config = BatchNormConfig::new(channels).track_running_stats(false).affine(false);
            config.build(store_of(&t[0], &[]))?.forward(&t[0], true)
        })?;
    }
    Ok(())
}

#[test]
fn evaluation_takes_the_running_statistics() -> Result<()> {
    for shape in [&[0, 3][..], &[1, 3], &[5, 3, 7], &[2, 2, 41, 60], &[4500, 5]] {
        let channels = shape[1];
        let [x, w, b] = inputs(shape, channels)?;
        let mean = pattern(&[channels], 4)?;
        let var = (pattern(&[channels], 5)?.sqr()? + 0.1)?;
        check_devices(&[x, w, b, mean, var], |t| {
            let count = Tensor::new(3i64, t[0].device())?;
            let named = [("weight", &t[1]), ("bias", &t[2]), ("num_batches_tracked", &count)];
            let buffers = [t[3].detach(), t[4].detach()];
            let all = [&named[..], &[("running_mean", &buffers[0]), ("running_var", &buffers[1])]].concat();
            BatchNormConfig::new(channels).build(store_of(&t[0], &all))?.forward(&t[0], false)
        })?;
    }
    Ok(())
}

/// The buffers after three batches, and the output of each.
fn after_batches(
    dtype: DType,
    device: &Device,
    momentum: Option<f64>,
    shape: &[usize],
) -> Result<(Vec<Vec<f64>>, i64)> {
    let store = ParamStore::new(Seed::new(1));
    let norm = BatchNormConfig::new(shape[1]).momentum(momentum).build(store.var_builder(dtype, device))?;
    let numbers = |x: &Tensor| -> Result<Vec<f64>> {
        Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
    };
    let mut all = vec![];
    for batch in 0..3 {
        let x = (pattern(shape, batch)? * 2.0)?.to_dtype(dtype)?.to_device(device)?;
        all.push(numbers(&norm.forward(&x, true)?)?);
        for name in ["running_mean", "running_var"] {
            all.push(numbers(&store.snapshot()?[name])?);
        }
    }
    Ok((all, store.snapshot()?["num_batches_tracked"].to_scalar::<i64>()?))
}

#[test]
fn running_statistics_follow_the_batches() -> Result<()> {
    for (dtype, bound) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
        for momentum in [Some(0.3), None] {
            for shape in [&[2, 1][..], &[6, 40], &[3, 2, 5000], &[5000, 3]] {
                let (cpu, count) = after_batches(dtype, &Device::Cpu, momentum, shape)?;
                let (gpu, gpu_count) = after_batches(dtype, &device(), momentum, shape)?;
                assert_eq!((count, gpu_count), (3, 3));
                for (a, b) in cpu.iter().flatten().zip(gpu.iter().flatten()) {
                    assert!(
                        (a - b).abs() < bound * a.abs().max(1.0),
                        "{dtype:?} {momentum:?} {shape:?}: {a} {b}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn layers_of_any_width() -> Result<()> {
    for shape in [&[0, 4][..], &[1, 1], &[3, 7], &[2, 3, 64], &[9, 1000], &[2, 9001], &[4200, 5]] {
        let size = *shape.last().unwrap_or(&1);
        for bias in [true, false] {
            let named = if bias { 3 } else { 2 };
            check_devices(&inputs(shape, size)?[..named], |t| {
                let names = [("weight", &t[1]), ("bias", &t[named - 1])];
                let vb = store_of(&t[0], &names[..named - 1]);
                LayerNormConfig::new(size).bias(bias).build(vb)?.forward(&t[0])
            })?;
        }
        check_devices(&inputs(shape, size)?[..1], |t| {
            LayerNormConfig::new(size).affine(false).build(store_of(&t[0], &[]))?.forward(&t[0])
        })?;
    }
    // Rows that lie apart.
    check_devices(&inputs(&[6, 5], 6)?, |t| {
        let vb = store_of(&t[0], &[("weight", &t[1]), ("bias", &t[2])]);
        LayerNormConfig::new(6).build(vb)?.forward(&t[0].t()?)
    })
}

#[test]
fn groups_and_instances() -> Result<()> {
    for shape in [&[0, 4, 3][..], &[1, 4, 1], &[2, 4, 3, 5], &[3, 6, 41, 50]] {
        let channels = shape[1];
        check_devices(&inputs(shape, channels)?, |t| {
            let vb = store_of(&t[0], &[("weight", &t[1]), ("bias", &t[2])]);
            GroupNormConfig::new(2, channels).build(vb)?.forward(&t[0])
        })?;
        check_devices(&inputs(shape, channels)?, |t| {
            let vb = store_of(&t[0], &[("weight", &t[1]), ("bias", &t[2])]);
            InstanceNormConfig::new(channels).affine(true).build(vb)?.forward(&t[0])
        })?;
        check_devices(&inputs(shape, 1)?[..1], |t| {
            InstanceNormConfig::new(channels).build(store_of(&t[0], &[]))?.forward(&t[0])
        })?;
    }
    Ok(())
}

#[test]
fn a_convolution_a_norm_and_a_relu() -> Result<()> {
    use oncograph_nn::conv3d::Conv3dLayerConfig;
    let [x, w, b] = inputs(&[2, 2, 3, 4, 5], 3)?;
    let kernel = pattern(&[3, 2, 1, 1, 1], 6)?;
    for train in [true, false] {
        for relu in [true, false] {
            check_devices(&[x.clone(), kernel.clone(), w.clone(), b.clone()], |t| {
                let conv = store_of(&t[0], &[("weight", &t[1])]);
                let conv = Conv3dLayerConfig::new(2, 3, [1; 3]).bias(false).build(conv)?;
                let (zeros, ones) = (t[2].zeros_like()?.detach(), t[2].ones_like()?.detach());
                let count = Tensor::new(0i64, t[0].device())?;
                let named = [("weight", &t[2]), ("bias", &t[3]), ("num_batches_tracked", &count)];
                let all = [&named[..], &[("running_mean", &zeros), ("running_var", &ones)]].concat();
                let norm = BatchNormConfig::new(3).build(store_of(&t[0], &all))?;
                conv.forward_norm(&t[0], &norm, relu, train)
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_nan_stays_in_its_group() -> Result<()> {
    let mut values: Vec<f64> = (0..24).map(|i| f64::from(i % 5)).collect();
    values[7] = f64::NAN;
    let x = Tensor::from_vec(values, (4, 6), &Device::Cpu)?;
    check_devices(std::slice::from_ref(&x), |t| {
        let config = BatchNormConfig::new(6).track_running_stats(false).affine(false);
        config.build(store_of(&t[0], &[]))?.forward(&t[0], true)
    })?;
    check_devices(&[x], |t| LayerNormConfig::new(6).affine(false).build(store_of(&t[0], &[]))?.forward(&t[0]))
}

/// Nothing of this file goes by way of the host.
#[test]
#[cfg(feature = "cuda")]
fn no_norm_goes_by_way_of_the_host() -> Result<()> {
    let x = candle_core::Var::from_tensor(&pattern(&[4, 3], 1)?.to_device(&device())?)?;
    let norm =
        BatchNormConfig::new(3).build(ParamStore::new(Seed::new(1)).var_builder(DType::F64, &device()))?;
    norm.forward(&x, true)?.sum_all()?.backward()?;
    crate::none_by_host(&["moments", "standardize", "conv3d_norm"]);
    Ok(())
}
