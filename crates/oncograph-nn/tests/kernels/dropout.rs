//! Dropout: the mask of the CPU, bit for bit.

use candle_core::{DType, Device, Tensor};
use oncograph_nn::testing::{check_devices, device, pattern};
use oncograph_nn::{Dropout, Mode, Result, Seed};

/// Around the 16 numbers of a block of the generator, the 64 that it buffers, and the 2,048 of a block of threads.
const COUNTS: [usize; 14] = [0, 1, 15, 16, 17, 63, 64, 65, 255, 2047, 2048, 2049, 4097, 100_000];

fn bits(x: &Tensor) -> Result<Vec<u64>> {
    let x = x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(x.flatten_all()?.to_vec1::<f64>()?.into_iter().map(f64::to_bits).collect())
}

#[test]
fn the_mask_of_the_cpu() -> Result<()> {
    for (i, count) in COUNTS.into_iter().enumerate() {
        for (dtype, p) in [(DType::F32, 0.5), (DType::F64, 0.1), (DType::F32, 1.0), (DType::F64, 0.37)] {
            let mode = Mode::Train(Seed::new(7).at(i as u64));
            let x: Vec<f64> = (0..count).map(|i| i as f64 / 7.0 - 3.0).collect();
            let x = Tensor::from_vec(x, count, &Device::Cpu)?.to_dtype(dtype)?;
            let layer = Dropout::new(p)?;
            let cpu = layer.forward(&x, mode)?;
            assert_eq!(bits(&layer.forward(&x.to_device(&device())?, mode)?)?, bits(&cpu)?, "{count} {p}");
        }
    }
    Ok(())
}

#[test]
fn gradients_go_through_the_mask() -> Result<()> {
    let mode = Mode::Train(Seed::new(3));
    let layer = Dropout::new(0.3)?;
    for shape in [&[0, 4][..], &[5, 7], &[3, 17, 41]] {
        check_devices(&[pattern(shape, 1)?], |x| layer.forward(&x[0], mode))?;
    }
    check_devices(&[pattern(&[5, 7], 1)?], |x| layer.forward(&x[0].t()?, mode))?;
    let x = [Tensor::new(&[f64::NAN, f64::INFINITY, -1.0, f64::NAN, 2.0, f64::INFINITY], &Device::Cpu)?];
    check_devices(&x, |x| layer.forward(&x[0], mode))
}
