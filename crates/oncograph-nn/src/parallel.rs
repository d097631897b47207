//! Vectors that threads fill part by part, without zeroing them first in one piece.
#![allow(unsafe_code)]

use candle_core::WithDType;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Elements of a block of an elementwise kernel: it fits into a second-level cache beside its operands.
pub(crate) const BLOCK: usize = 1 << 15;

/// `len` values that begin as zeros; `fill(first, values)` finishes blocks of [`BLOCK`].
pub(crate) fn build<T: WithDType>(len: usize, fill: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    build_rows(len, 1, BLOCK, fill)
}

/// `len` zeros.
pub(crate) fn zeros<T: WithDType>(len: usize) -> Vec<T> {
    build(len, |_, _| {})
}

/// `rows` rows of `width` values; `fill(first row, values)` finishes blocks of `block` rows that begin as zeros.
///
/// Blocks never share a sum, so the bits do not depend on how rayon hands them out. Each block is zeroed by the thread
/// that fills it, while it is in its cache.
pub(crate) fn build_rows<T: WithDType>(
    rows: usize,
    width: usize,
    block: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Vec<T> {
    build_rows_and_sums(rows, width, block, 0, |first, values, _| fill(first, values)).0
}

/// As [`build_rows`], with sums of `len` values that blocks add to: each has its own, and they are added in the order
/// of the blocks.
pub(crate) fn build_rows_and_sums<T: WithDType>(
    rows: usize,
    width: usize,
    block: usize,
    len: usize,
    fill: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) -> (Vec<T>, Vec<T>) {
    // No rows may come as blocks of none.
    let block = block.max(1);
    let total = rows * width;
    let mut out = Vec::<T>::with_capacity(total);
    let blocks = rows.div_ceil(block);
    let mut sums = vec![T::zero(); blocks * len];
    let room = &mut out.spare_capacity_mut()[..total];
    let mut parts: Vec<&mut [MaybeUninit<T>]> = match width {
        0 => (0..blocks).map(|_| Default::default()).collect(),
        _ => room.chunks_mut(block * width).collect(),
    };
    let mut partial: Vec<&mut [T]> = match len {
        0 => (0..blocks).map(|_| Default::default()).collect(),
        _ => sums.chunks_mut(len).collect(),
    };
    let run = |(b, (part, sum)): (usize, (&mut &mut [MaybeUninit<T>], &mut &mut [T]))| {
        part.iter_mut().for_each(|v| {
            v.write(T::zero());
        });
        // SAFETY: every element was just written.
        let part = unsafe { &mut *(std::ptr::from_mut::<[MaybeUninit<T>]>(part) as *mut [T]) };
        fill(b * block, part, sum);
    };
    match blocks {
        0 | 1 => parts.iter_mut().zip(&mut partial).enumerate().for_each(run),
        _ => parts.par_iter_mut().zip(&mut partial).enumerate().for_each(run),
    }
    // SAFETY: the parts cover the first `total` elements and each wrote all of its own.
    unsafe { out.set_len(total) };
    let mut sum = vec![T::zero(); len];
    for part in partial {
        sum.iter_mut().zip(part).for_each(|(s, &mut v)| *s += v);
    }
    (out, sum)
}
