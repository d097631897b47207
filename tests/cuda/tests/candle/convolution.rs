//! Convolutions, pools, resizing.

use super::{Case, Expect, grad, var, wave};

/// candle's own kernel reads a kernel with strides wrongly, on the CPU and on CUDA alike; cuDNN reads it rightly.
const WITH_CUDNN: Expect = if cfg!(feature = "cudnn") { Expect::Wrong } else { Expect::Same };

pub(super) const CASES: &[Case] = &[
    Case::same("conv1d, contiguous kernel", |d| {
        wave(&[2, 3, 9], d)?.conv1d(&wave(&[4, 3, 3], d)?, 1, 1, 1, 1)
    }),
    Case::trap("conv1d, transposed kernel", WITH_CUDNN, |d| {
        wave(&[2, 3, 9], d)?.conv1d(&wave(&[3, 4, 3], d)?.transpose(0, 1)?, 1, 1, 1, 1)
    }),
    Case::trap("conv1d, gradient of kernel", WITH_CUDNN, |d| {
        let w = var(&[4, 3, 3], d)?;
        grad(wave(&[2, 3, 9], d)?.conv1d(&w, 1, 1, 1, 1)?, &w)
    }),
    Case::same("conv1d, gradient of input", |d| {
        let x = var(&[2, 3, 9], d)?;
        grad(x.conv1d(&wave(&[4, 3, 3], d)?, 1, 1, 1, 1)?, &x)
    }),
    Case::same("conv2d, gradient of kernel", |d| {
        let w = var(&[4, 3, 3, 3], d)?;
        grad(wave(&[2, 3, 9, 8], d)?.conv2d(&w, 1, 1, 1, 1)?, &w)
    }),
    Case::trap("conv2d, gradient of input, stride 2", Expect::FailsOnBoth, |d| {
        let x = var(&[2, 3, 9, 8], d)?;
        grad(x.conv2d(&wave(&[4, 3, 3, 3], d)?, 1, 2, 1, 1)?, &x)
    }),
    Case::same("conv_transpose2d, transposed kernel", |d| {
        wave(&[2, 3, 4, 5], d)?.conv_transpose2d(&wave(&[4, 3, 2, 2], d)?.transpose(0, 1)?, 0, 0, 2, 1)
    }),
    Case::same("upsample_nearest2d", |d| wave(&[1, 2, 3, 4], d)?.upsample_nearest2d(6, 9)),
    Case::same("avg_pool2d 3x2", |d| wave(&[1, 2, 7, 8], d)?.avg_pool2d((3, 2))),
    Case::same("max_pool2d 3x2", |d| wave(&[1, 2, 7, 8], d)?.max_pool2d((3, 2))),
];
