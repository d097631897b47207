//! Tensors without elements.

use super::{Case, Expect, REFUSED, var, wave};
use candle_core::{DType, Device, Error, Result, Tensor};

/// No rows of three columns.
fn nothing(d: &Device) -> Result<Tensor> {
    Tensor::zeros((0, 3), DType::F32, d)
}

pub(super) const CASES: &[Case] = &[
    Case::same("empty: x + x", |d| {
        let x = nothing(d)?;
        &x + &x
    }),
    Case::same("empty: exp", |d| nothing(d)?.exp()),
    Case::same("empty: affine", |d| nothing(d)? * 2.0),
    Case::same("empty: sum over rows", |d| nothing(d)?.sum(0)),
    Case::trap("empty: sum over columns", Expect::Fails("panic"), |d| nothing(d)?.sum(1)),
    Case::same("empty: product with 0 rows", |d| nothing(d)?.matmul(&wave(&[3, 2], d)?)),
    Case::same("empty: product over 0", |d| Tensor::zeros((2, 0), DType::F32, d)?.matmul(&nothing(d)?)),
    Case::same("empty: cat with nothing", |d| Tensor::cat(&[wave(&[2, 3], d)?, nothing(d)?], 0)),
    Case::trap("empty: index_select of none", REFUSED, |d| {
        wave(&[4, 3], d)?.index_select(&Tensor::from_slice(&[] as &[u32], 0, d)?, 0)
    }),
    Case::same("empty: index_add of none", |d| {
        wave(&[4, 3], d)?.index_add(&Tensor::from_slice(&[] as &[u32], 0, d)?, &nothing(d)?, 0)
    }),
    Case::trap("empty: ones", REFUSED, |d| Tensor::ones((0, 3), DType::F32, d)),
    Case::trap("empty: to_dtype", REFUSED, |d| nothing(d)?.to_dtype(DType::F64)?.to_dtype(DType::F32)),
    Case::trap("empty: where", REFUSED, |d| {
        let x = nothing(d)?;
        x.gt(0.0)?.where_cond(&x, &x)
    }),
    Case::same("empty: broadcast_add", |d| nothing(d)?.broadcast_add(&wave(&[3], d)?)),
    Case::same("empty: gradient of a weight", |d| {
        let w = var(&[3, 2], d)?;
        nothing(d)?
            .matmul(&w)?
            .sum_all()?
            .backward()?
            .get(&w)
            .cloned()
            .ok_or_else(|| Error::Msg("no gradient".into()))
    }),
];
