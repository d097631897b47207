//! The three transforms of Winograd's minimal filtering `F(m x m, 3 x 3)` for `m` = 2 and 4, sixteen channels at a
//! time: `Y = A^T [(G g G^T) * (B^T d B)] A`.
//!
//! The matrices are those of Lavin and Gray 2016 (points 0, 1, -1 and, for `m` = 4, 2 and -2).
#![allow(unsafe_code)]
// An index here names a row or column of a tile, in several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::lanes::{LANES, Lanes, for_each_isa};

/// `G` for `m` = 4, six rows.
pub(super) const G4: [[f64; 3]; 6] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// `G` for `m` = 2, four rows.
pub(super) const G2: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

/// `B^T d` along one axis; `M` + 2 numbers of the six are used.
#[inline(always)]
fn input_1d<V: Lanes, const M: usize>(d: [V; 6]) -> [V; 6] {
    if M == 2 {
        return [d[0].sub(d[2]), d[1].add(d[2]), d[2].sub(d[1]), d[1].sub(d[3]), d[4], d[5]];
    }
    let [p2, m2, p4, m4, m5] = [2.0, -2.0, 4.0, -4.0, -5.0].map(V::splat);
    let (a, b) = (d[2].mul_add(m4, d[4]), d[1].mul_add(m4, d[3]));
    let (c, e) = (d[4].sub(d[2]), d[3].sub(d[1]));
    [
        d[0].mul_add(p4, d[2].mul_add(m5, d[4])),
        a.add(b),
        a.sub(b),
        e.mul_add(p2, c),
        e.mul_add(m2, c),
        d[1].mul_add(p4, d[3].mul_add(m5, d[5])),
    ]
}

/// `A^T m` along one axis: `M` results of `M` + 2 numbers.
#[inline(always)]
fn output_1d<V: Lanes, const M: usize>(m: [V; 6]) -> [V; 4] {
    let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
    if M == 2 {
        return [m[0].add(sum), difference.sub(m[3]), sum, sum];
    }
    let (sum2, difference2) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(sum).add(sum2),
        difference2.mul_add(V::splat(2.0), difference),
        sum2.mul_add(V::splat(4.0), sum),
        difference2.mul_add(V::splat(8.0), difference).add(m[5]),
    ]
}

/// `A y` along one axis, the transpose of [`output_1d`]: `M` + 2 numbers of `M`.
#[inline(always)]
fn spread_1d<V: Lanes, const M: usize>(y: [V; 4]) -> [V; 6] {
    let zero = V::splat(0.0);
    if M == 2 {
        return [y[0], y[0].add(y[1]), y[0].sub(y[1]), zero.sub(y[1]), zero, zero];
    }
    let (even, odd) = (y[0].add(y[2]), y[1].add(y[3]));
    let even2 = y[2].mul_add(V::splat(4.0), y[0]);
    let odd2 = y[3].mul_add(V::splat(8.0), y[1].add(y[1]));
    [y[0], even.add(odd), even.sub(odd), even2.add(odd2), even2.sub(odd2), y[3]]
}

/// Where the tiles of one slab and channel block lie.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    /// `M`: 2 or 4.
    pub m: usize,
    /// Tiles along the width, to turn a number into row and column.
    pub across: usize,
    pub first: usize,
    pub end: usize,
    /// The first tile's corner in the volume and the numbers in a row of it.
    pub volume: *const f32,
    pub row: usize,
    /// Point `p` of the first tile lies at `points + p * point_stride`, tile `t` at `t * tile_stride` from there.
    pub points: *mut f32,
    pub point_stride: usize,
    pub tile_stride: usize,
    /// Rows and columns of the plane that may be read or written where a tile sticks out: of the volume's corner.
    pub height: usize,
    pub width: usize,
}

// SAFETY: called with tiles whose pointers are valid for all of their counts and strides.
#[inline(always)]
unsafe fn input<V: Lanes, const M: usize>(t: &Tiles) {
    let n = M + 2;
    // SAFETY: the caller promises a border wide enough for whole tiles and room for all points.
    unsafe {
        for tile in t.first..t.end {
            let corner = t.volume.add((tile / t.across * M * t.row) + tile % t.across * M * LANES);
            let mut rows = [[V::splat(0.0); 6]; 6];
            for y in 0..n {
                let mut d = [V::splat(0.0); 6];
                for x in 0..n {
                    d[x] = V::load(corner.add(y * t.row + x * LANES));
                }
                rows[y] = input_1d::<V, M>(d);
            }
            let to = t.points.add((tile - t.first) * t.tile_stride);
            for x in 0..n {
                let column = input_1d::<V, M>(std::array::from_fn(|y| rows[y][x]));
                for y in 0..n {
                    column[y].store(to.add((y * n + x) * t.point_stride));
                }
            }
        }
    }
}

/// `A y A^T` of the tiles of `dy`, with zeros beyond `height` and `width`.
// SAFETY: called with tiles whose pointers are valid for all of their counts and strides.
#[inline(always)]
unsafe fn spread<V: Lanes, const M: usize>(t: &Tiles) {
    let n = M + 2;
    // SAFETY: only elements within `height` and `width` are read; the caller promises room for all points.
    unsafe {
        for tile in t.first..t.end {
            let (y0, x0) = (tile / t.across * M, tile % t.across * M);
            let corner = t.volume.add(y0 * t.row + x0 * LANES);
            let mut rows = [[V::splat(0.0); 6]; 6];
            for y in 0..M.min(t.height - y0) {
                let mut d = [V::splat(0.0); 4];
                for x in 0..M.min(t.width - x0) {
                    d[x] = V::load(corner.add(y * t.row + x * LANES));
                }
                rows[y] = spread_1d::<V, M>(d);
            }
            let to = t.points.add((tile - t.first) * t.tile_stride);
            for x in 0..n {
                let column = spread_1d::<V, M>(std::array::from_fn(|y| rows[y][x]));
                for y in 0..n {
                    column[y].store(to.add((y * n + x) * t.point_stride));
                }
            }
        }
    }
}

/// What is added to the sums of one channel block before they are written.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// Sixteen numbers, or null.
    pub bias: *const f32,
    /// Laid out as the output, or null.
    pub residual: *const f32,
    pub relu: bool,
}

// SAFETY: called with tiles whose pointers are valid for all of their counts and strides.
#[inline(always)]
unsafe fn output<V: Lanes, const M: usize>(t: &Tiles, finish: &Finish) {
    let n = M + 2;
    // SAFETY: only elements within `height` and `width` are written; the caller promises all points, and that
    // nobody else touches this part of the volume.
    unsafe {
        let bias = if finish.bias.is_null() { V::splat(0.0) } else { V::load(finish.bias) };
        for tile in t.first..t.end {
            let from = t.points.add((tile - t.first) * t.tile_stride);
            let mut rows = [[V::splat(0.0); 4]; 6];
            for y in 0..n {
                let mut d = [V::splat(0.0); 6];
                for x in 0..n {
                    d[x] = V::load(from.add((y * n + x) * t.point_stride));
                }
                rows[y] = output_1d::<V, M>(d);
            }
            let (y0, x0) = (tile / t.across * M, tile % t.across * M);
            let corner = y0 * t.row + x0 * LANES;
            for x in 0..M.min(t.width - x0) {
                let column = output_1d::<V, M>(std::array::from_fn(|y| rows[y][x]));
                for y in 0..M.min(t.height - y0) {
                    let at = corner + y * t.row + x * LANES;
                    let mut value = column[y].add(bias);
                    if !finish.residual.is_null() {
                        value = value.add(V::load(finish.residual.add(at)));
                    }
                    if finish.relu {
                        value = value.positive_part();
                    }
                    value.store(t.volume.cast_mut().add(at));
                }
            }
        }
    }
}

// SAFETY: called with tiles whose pointers are valid for all of their counts and strides.
#[inline(always)]
unsafe fn input_any<V: Lanes>(t: &Tiles) {
    // SAFETY: the caller's promise.
    unsafe { if t.m == 2 { input::<V, 2>(t) } else { input::<V, 4>(t) } }
}

#[inline(always)]
unsafe fn spread_any<V: Lanes>(t: &Tiles) {
    // SAFETY: the caller's promise.
    unsafe { if t.m == 2 { spread::<V, 2>(t) } else { spread::<V, 4>(t) } }
}

#[inline(always)]
unsafe fn output_any<V: Lanes>(t: &Tiles, finish: &Finish) {
    // SAFETY: the caller's promise.
    unsafe { if t.m == 2 { output::<V, 2>(t, finish) } else { output::<V, 4>(t, finish) } }
}

for_each_isa! {
    /// `B^T d B` of every tile.
    ///
    /// # Safety
    /// Whole tiles must be readable in the volume and all their points writable by this thread alone; `isa` must be
    /// what the processor has.
    transform_input = input_any(t: &Tiles)
}

for_each_isa! {
    /// `A y A^T` of every tile, for the gradient of the weight.
    ///
    /// # Safety
    /// As `transform_input`, except that nothing beyond `height` and `width` is read.
    transform_cotangent = spread_any(t: &Tiles)
}

for_each_isa! {
    /// `A^T m A` of every tile, written into the volume.
    ///
    /// # Safety
    /// All points must be readable, and the volume writable by this thread alone within `height` and `width`;
    /// `isa` must be what the processor has.
    transform_output = output_any(t: &Tiles, finish: &Finish)
}
