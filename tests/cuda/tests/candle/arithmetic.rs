//! Products, sums, elementwise functions, casts.

use super::{Case, Expect, wave};
use candle_core::{D, DType, Tensor};

pub(super) const CASES: &[Case] = &[
    Case::same("product, transposed right side", |d| wave(&[3, 4], d)?.matmul(&wave(&[5, 4], d)?.t()?)),
    Case::same("product, transposed left side", |d| wave(&[4, 3], d)?.t()?.matmul(&wave(&[4, 5], d)?)),
    Case::same("product, batch with a transposed side", |d| {
        wave(&[2, 3, 4], d)?.matmul(&wave(&[2, 5, 4], d)?.transpose(1, 2)?)
    }),
    Case::trap("product, narrowed right side", Expect::Fails("contiguous"), |d| {
        wave(&[2, 3], d)?.matmul(&wave(&[3, 6], d)?.narrow(1, 1, 4)?)
    }),
    Case::trap("product, narrowed left side", Expect::Fails("contiguous"), |d| {
        wave(&[2, 6], d)?.narrow(1, 1, 3)?.matmul(&wave(&[3, 4], d)?)
    }),
    Case::same("product, broadcast left side", |d| {
        wave(&[2, 3], d)?.broadcast_left(5)?.matmul(&wave(&[5, 3, 4], d)?)
    }),
    Case::trap("product, heads split without copy", Expect::FailsOnBoth, |d| {
        let x = wave(&[2, 5, 3, 4], d)?.transpose(1, 2)?;
        x.matmul(&x.transpose(2, 3)?)
    }),
    Case::trap("product, rank 5", Expect::FailsOnBoth, |d| {
        wave(&[2, 2, 2, 3, 4], d)?.matmul(&wave(&[2, 2, 2, 4, 3], d)?)
    }),
    Case::trap("max with NaN", Expect::Wrong, |d| {
        Tensor::new(&[[1f32, f32::NAN, 2.], [f32::NAN, 0., -1.]], d)?.max(1)
    }),
    Case::same("relu of NaN", |d| Tensor::new(&[1f32, f32::NAN, -2.], d)?.relu()),
    Case::trap("maximum with NaN", Expect::Wrong, |d| {
        Tensor::new(&[1f32, f32::NAN, -2.], d)?.maximum(&Tensor::new(&[f32::NAN, 0f32, 0.], d)?)
    }),
    Case::trap("clamp of NaN", Expect::Wrong, |d| {
        Tensor::new(&[1f32, f32::NAN, -2.], d)?.clamp(-1f32, 0.5f32)
    }),
    Case::same("gelu_erf", |d| wave(&[9], d)?.gelu_erf()),
    Case::same("elu", |d| wave(&[9], d)?.elu(1.0)),
    Case::same("powf", |d| wave(&[9], d)?.abs()?.powf(1.7)),
    Case::same("log_sum_exp", |d| wave(&[3, 9], d)?.log_sum_exp(1)),
    Case::same("var", |d| wave(&[3, 9], d)?.var(1)),
    Case::same("sum over the middle", |d| wave(&[3, 70, 5], d)?.sum(1)),
    Case::same("sum of 100000", |d| wave(&[100000], d)?.sum_all()),
    Case::same("argmax", |d| wave(&[3, 90], d)?.argmax(1)?.to_dtype(DType::F32)),
    Case::same("softmax_last_dim", |d| candle_nn::ops::softmax_last_dim(&wave(&[3, 90], d)?)),
    Case::same("softmax", |d| candle_nn::ops::softmax(&wave(&[3, 90], d)?, D::Minus1)),
    Case::same("sigmoid", |d| candle_nn::ops::sigmoid(&wave(&[3, 90], d)?)),
    Case::same("cast f32 -> i64 of negatives", |d| {
        (wave(&[9], d)? * 5.0)?.to_dtype(DType::I64)?.to_dtype(DType::F32)
    }),
    Case::trap("cast f32 -> i32", Expect::Fails("CUDA_ERROR_NOT_FOUND"), |d| {
        (wave(&[9], d)? * 5.0)?.to_dtype(DType::I32)?.to_dtype(DType::F32)
    }),
    // Numbers of two generators: their moments, to one digit.
    Case::same("randn, variance of an odd count", |d| {
        (Tensor::randn(0f32, 1f32, 100_001, d)?.sqr()?.mean_all()? * 10.0)?.round()
    }),
    Case::same("rand, mean", |d| (Tensor::rand(0f32, 1f32, 100_000, d)?.mean_all()? * 10.0)?.round()),
    Case::same("i64 sum", |d| Tensor::new(&[[1i64, 2], [3, 4]], d)?.sum(1)?.to_dtype(DType::F32)),
    Case::same("u32 + u32", |d| {
        (Tensor::new(&[1u32, 2], d)? + Tensor::new(&[3u32, 4], d)?)?.to_dtype(DType::F32)
    }),
    Case::same("u8 sum", |d| Tensor::ones(300, DType::U8, d)?.sum_all()?.to_dtype(DType::F32)),
    Case::same("rank-5 batch norm by hand", |d| {
        let x = wave(&[2, 3, 2, 2, 2], d)?;
        x.broadcast_sub(&x.mean_keepdim((0, 2, 3, 4))?)?.permute((0, 2, 1, 3, 4))?.contiguous()
    }),
    Case::same("f64 product", |d| {
        wave(&[4, 4], d)?
            .to_dtype(DType::F64)?
            .matmul(&wave(&[4, 4], d)?.to_dtype(DType::F64)?)?
            .to_dtype(DType::F32)
    }),
];
