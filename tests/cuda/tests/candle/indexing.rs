//! Rows and elements by index, sorting, padding.

use super::{Case, Expect, REFUSED, wave};
use candle_core::{DType, Tensor};

pub(super) const CASES: &[Case] = &[
    Case::same("index_select, strided ids", |d| {
        let ids = Tensor::new(&[[0u32, 3], [2, 1], [1, 0]], d)?.t()?.get(1)?;
        wave(&[4, 3], d)?.index_select(&ids, 0)
    }),
    Case::trap("index_select, ids column", Expect::Wrong, |d| {
        let ids = Tensor::new(&[[0u32, 3], [2, 1], [1, 0]], d)?.narrow(1, 1, 1)?.squeeze(1)?;
        wave(&[4, 3], d)?.index_select(&ids, 0)
    }),
    Case::trap("index_select, transposed source", Expect::FailsOnBoth, |d| {
        wave(&[3, 4], d)?.t()?.index_select(&Tensor::new(&[1u32, 2], d)?, 0)
    }),
    Case::trap("index_add, base at an offset", Expect::Fails("panic"), |d| {
        wave(&[5, 3], d)?.narrow(0, 2, 3)?.index_add(&Tensor::new(&[1u32, 2], d)?, &wave(&[2, 3], d)?, 0)
    }),
    Case::trap("index_add, transposed base", Expect::Fails("contiguous"), |d| {
        wave(&[3, 5], d)?.t()?.index_add(&Tensor::new(&[1u32, 2], d)?, &wave(&[2, 3], d)?, 0)
    }),
    Case::trap("gather, transposed ids", Expect::FailsOnBoth, |d| {
        wave(&[3, 4], d)?.gather(&Tensor::new(&[[0u32, 1, 2], [2, 3, 0]], d)?.t()?, 1)
    }),
    Case::same("scatter_add", |d| {
        wave(&[3, 4], d)?.scatter_add(
            &Tensor::new(&[[0u32, 1, 1, 3], [2, 3, 0, 0], [0, 0, 0, 0]], d)?,
            &wave(&[3, 4], d)?,
            1,
        )
    }),
    Case::same("sort of 1500", |d| wave(&[2, 1500], d)?.sort_last_dim(true).map(|s| s.0)),
    Case::trap("sort of 9000", REFUSED, |d| wave(&[1, 9000], d)?.sort_last_dim(true).map(|s| s.0)),
    Case::trap("argsort with ties", Expect::Wrong, |d| {
        Tensor::new(&[[1f32, 0., 1., 0., 1., 0.]], d)?.arg_sort_last_dim(true)?.to_dtype(DType::F32)
    }),
    Case::same("cumsum", |d| wave(&[3, 9], d)?.cumsum(1)),
    Case::same("flip", |d| wave(&[3, 9], d)?.flip(&[1])),
    Case::same("pad_with_zeros", |d| wave(&[3, 9], d)?.pad_with_zeros(1, 2, 1)),
    Case::same("pad_with_same", |d| wave(&[3, 9], d)?.pad_with_same(1, 2, 1)),
    Case::same("slice_assign", |d| {
        wave(&[4, 4], d)?.slice_assign(&[1..3, 0..2], &Tensor::ones((2, 2), DType::F32, d)?)
    }),
    Case::same("one_hot compare", |d| {
        Tensor::new(&[0u32, 2, 1], d)?
            .unsqueeze(1)?
            .broadcast_eq(&Tensor::arange(0u32, 3, d)?.unsqueeze(0)?)?
            .to_dtype(DType::F32)
    }),
];
