//! The inner product of all kernels here: a few rows times up to four blocks of sixteen columns, with the sums in
//! registers.
#![allow(unsafe_code)]
// An index here names a row or column of a tile, in several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::lanes::{LANES, Lanes, for_each_isa};

/// Rows whose sums are held in registers at a time.
const ROWS: usize = 6;

/// `c[r, j] = sum_s sum_k a[s][r, k] b[s][k, j]` (+ bias, + addend, ReLU) for `rows` rows and `blocks` blocks of
/// sixteen columns.
///
/// Sums run over the parts `s` in order and `k` in order, in one accumulator: the bits of an element depend on
/// nothing but its own row and column.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// Element `(r, k)` of part `s` lies at `a + parts[s].0 + r * a_row + k * a_step`.
    pub a: *const f32,
    pub a_row: usize,
    pub a_step: usize,
    /// Row `k` of part `s` lies at `b + parts[s].1 + k * b_row`, its blocks side by side.
    pub b: *const f32,
    pub b_row: usize,
    /// The offsets of the parts in `a` and `b`.
    pub parts: &'a [(usize, usize)],
    /// How many `k` each part has.
    pub depth: usize,
    pub rows: usize,
    pub blocks: usize,
    /// Block `n` of row `r` lies at `c + r * c_row + n * c_block`.
    pub c: *mut f32,
    pub c_row: usize,
    pub c_block: usize,
    /// One number per column, or null.
    pub bias: *const f32,
    /// Laid out as `c`, or null; may be `c` itself.
    pub addend: *const f32,
    pub relu: bool,
}

/// Computes one tile of sums. Each size is a separate function for each instruction set: inlined together, the
/// compiler would keep the sums in memory.
trait Tile: Lanes {
    /// # Safety
    /// As for [`product`], with `row + R <= rows` and `block + N <= blocks`.
    unsafe fn tile<const N: usize, const R: usize>(p: &Product, row: usize, block: usize);
}

#[cfg(target_arch = "x86_64")]
impl Tile for super::lanes::Zmm {
    #[inline(always)]
    unsafe fn tile<const N: usize, const R: usize>(p: &Product, row: usize, block: usize) {
        #[target_feature(enable = "avx512f")]
        #[inline(never)]
        unsafe fn run<const N: usize, const R: usize>(p: &Product, row: usize, block: usize) {
            // SAFETY: the caller's promise.
            unsafe { tile::<super::lanes::Zmm, N, R>(p, row, block) }
        }
        // SAFETY: the caller's promise.
        unsafe { run::<N, R>(p, row, block) }
    }
}

impl<const FUSED: bool> Tile for super::lanes::Wide<FUSED> {
    #[inline(always)]
    unsafe fn tile<const N: usize, const R: usize>(p: &Product, row: usize, block: usize) {
        // SAFETY: the caller's promise.
        unsafe { tile::<Self, N, R>(p, row, block) }
    }
}

#[inline(always)]
unsafe fn tile<V: Lanes, const N: usize, const R: usize>(p: &Product, row: usize, block: usize) {
    let Product { a_step, b_row, depth, .. } = *p;
    // SAFETY: the caller of `product` promises every address that rows, blocks, parts and depth reach.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        for &(a_part, b_part) in p.parts {
            let a = p.a.add(a_part + row * p.a_row);
            let rows: [*const f32; R] = std::array::from_fn(|r| a.add(r * p.a_row));
            let mut b = p.b.add(b_part + block * LANES);
            let mut at = 0;
            for _ in 0..depth {
                let columns: [V; N] = std::array::from_fn(|n| V::load(b.add(n * LANES)));
                for r in 0..R {
                    let value = V::splat(*rows[r].add(at));
                    for n in 0..N {
                        sums[r][n] = value.mul_add(columns[n], sums[r][n]);
                    }
                }
                b = b.wrapping_add(b_row);
                at += a_step;
            }
        }
        for n in 0..N {
            let bias = match p.bias.is_null() {
                true => V::splat(0.0),
                false => V::load(p.bias.add((block + n) * LANES)),
            };
            for r in 0..R {
                let at = (row + r) * p.c_row + (block + n) * p.c_block;
                let mut value = sums[r][n];
                if !p.bias.is_null() {
                    value = value.add(bias);
                }
                if !p.addend.is_null() {
                    value = value.add(V::load(p.addend.add(at)));
                }
                if p.relu {
                    value = value.positive_part();
                }
                value.store(p.c.add(at));
            }
        }
    }
}

// SAFETY: called with a product whose pointers are valid for all of its counts.
#[inline(always)]
unsafe fn strip<V: Tile, const N: usize>(p: &Product, block: usize) {
    let mut row = 0;
    // SAFETY: rows `row..row + R` are below `p.rows`; the rest is the caller's promise.
    unsafe {
        while row + ROWS <= p.rows {
            V::tile::<N, ROWS>(p, row, block);
            row += ROWS;
        }
        match p.rows - row {
            5 => V::tile::<N, 5>(p, row, block),
            4 => V::tile::<N, 4>(p, row, block),
            3 => V::tile::<N, 3>(p, row, block),
            2 => V::tile::<N, 2>(p, row, block),
            1 => V::tile::<N, 1>(p, row, block),
            _ => {}
        }
    }
}

// SAFETY: called with a product whose pointers are valid for all of its counts.
#[inline(always)]
unsafe fn run<V: Tile>(p: &Product) {
    let mut block = 0;
    // An array of sixteen takes two or four registers: one block at a time there.
    let most = if V::REGISTERS == 1 { 4 } else { 1 };
    // SAFETY: blocks `block..block + N` are below `p.blocks`; the rest is the caller's promise.
    unsafe {
        while block < p.blocks {
            let n = (p.blocks - block).min(most);
            match n {
                4 => strip::<V, 4>(p, block),
                3 => strip::<V, 3>(p, block),
                2 => strip::<V, 2>(p, block),
                _ => strip::<V, 1>(p, block),
            }
            block += n;
        }
    }
}

for_each_isa! {
    /// Computes `p`.
    ///
    /// # Safety
    /// Every address that the fields of `p` reach must be valid, `c` for writing and by no other thread, and `isa`
    /// must be what the processor has.
    product = run(p: &Product)
}
