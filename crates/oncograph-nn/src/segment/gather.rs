//! The loop under every sum over neighbours.

use super::Csr;
use super::kernel::Real;
use super::simd::{Kernel, madd, prefetch};

/// What happens to the row itself in the sum over its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// It counts as often as there are self loops.
    Kept,
    /// It counts once more.
    Added,
    /// It counts once, however many self loops there are.
    Replaced,
}

/// Which rows are summed: those in `columns` from `offsets[i]` to `offsets[i + 1]`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub offsets: &'a [usize],
    pub columns: &'a [u32],
}

impl<'a> Rows<'a> {
    /// The other ends of the edges.
    pub(super) fn ends(csr: &'a Csr) -> Self {
        Rows { offsets: csr.offsets(), columns: csr.all_columns() }
    }

    /// The edges themselves, by their position in the edge list.
    pub(super) fn edges(csr: &'a Csr) -> Self {
        Rows { offsets: csr.offsets(), columns: csr.all_edges() }
    }
}

/// `out_i = r_i sum_j q_j x_j` over the columns `j` of `count` rows from `first` on; scales that are absent are 1.
pub(super) struct Sum<'a, T> {
    pub x: &'a [T],
    pub width: usize,
    pub rows: Rows<'a>,
    pub first: usize,
    pub count: usize,
    pub of_row: Option<&'a [T]>,
    pub of_column: Option<&'a [T]>,
    pub own: Own,
    pub out: &'a mut [T],
}

/// How many edges ahead features are fetched.
pub(super) const AHEAD: usize = 8;

impl<T: Real> Kernel for Sum<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let width = self.width;
        let Rows { offsets, columns } = self.rows;
        for i in 0..self.count {
            let row = self.first + i;
            let (from, to) = (offsets[row], offsets[row + 1]);
            for at in from..to {
                if let Some(&c) = columns.get(at + AHEAD) {
                    prefetch(self.x, c as usize * width, width);
                }
            }
            let edges = &columns[from..to];
            let mut at = 0;
            while at + 64 <= width {
                self.columns::<FMA, 64>(i, edges, at);
                at += 64;
            }
            while at + 16 <= width {
                self.columns::<FMA, 16>(i, edges, at);
                at += 16;
            }
            while at + 4 <= width {
                self.columns::<FMA, 4>(i, edges, at);
                at += 4;
            }
            while at < width {
                self.columns::<FMA, 1>(i, edges, at);
                at += 1;
            }
        }
    }
}

impl<T: Real> Sum<'_, T> {
    /// `N` features of one row, held in registers.
    #[inline(always)]
    fn columns<const FMA: bool, const N: usize>(&mut self, i: usize, edges: &[u32], at: usize) {
        let row = self.first + i;
        let mut sum = [T::zero(); N];
        match self.of_column {
            None => {
                for &c in edges {
                    if self.own != Own::Replaced || c as usize != row {
                        let Some(x) = self.features::<N>(c as usize, at) else { continue };
                        for k in 0..N {
                            sum[k] += x[k];
                        }
                    }
                }
            }
            Some(q) => {
                for &c in edges {
                    if self.own != Own::Replaced || c as usize != row {
                        let Some(x) = self.features::<N>(c as usize, at) else { continue };
                        let q = q[c as usize];
                        for k in 0..N {
                            sum[k] = madd::<FMA, T>(x[k], q, sum[k]);
                        }
                    }
                }
            }
        }
        if self.own != Own::Kept
            && let Some(x) = self.features::<N>(row, at)
        {
            let q = self.of_column.map_or(T::one(), |q| q[row]);
            for k in 0..N {
                sum[k] = madd::<FMA, T>(x[k], q, sum[k]);
            }
        }
        let r = self.of_row.map_or(T::one(), |r| r[row]);
        if let Some(out) = self.out[i * self.width + at..].first_chunk_mut::<N>() {
            for k in 0..N {
                out[k] = sum[k] * r;
            }
        }
    }

    #[inline(always)]
    fn features<const N: usize>(&self, row: usize, at: usize) -> Option<&[T; N]> {
        self.x[row * self.width + at..].first_chunk::<N>()
    }
}

/// `y += w x`.
#[inline(always)]
pub(super) fn add_scaled<const FMA: bool, T: Real>(y: &mut [T], x: &[T], w: T) {
    let n = y.len().min(x.len());
    let (y, x) = (&mut y[..n], &x[..n]);
    let mut at = 0;
    while at + 16 <= n {
        if let (Some(y), Some(x)) = (y[at..].first_chunk_mut::<16>(), x[at..].first_chunk::<16>()) {
            for k in 0..16 {
                y[k] = madd::<FMA, T>(x[k], w, y[k]);
            }
        }
        at += 16;
    }
    if at + 8 <= n {
        if let (Some(y), Some(x)) = (y[at..].first_chunk_mut::<8>(), x[at..].first_chunk::<8>()) {
            for k in 0..8 {
                y[k] = madd::<FMA, T>(x[k], w, y[k]);
            }
        }
        at += 8;
    }
    while at < n {
        y[at] = madd::<FMA, T>(x[at], w, y[at]);
        at += 1;
    }
}

/// `sum_k x_k y_k`, eight sums side by side.
#[inline(always)]
pub(super) fn dot<const FMA: bool, T: Real>(x: &[T], y: &[T]) -> T {
    let n = y.len().min(x.len());
    let (y, x) = (&y[..n], &x[..n]);
    let mut lanes = [T::zero(); 8];
    let mut at = 0;
    while at + 8 <= n {
        if let (Some(y), Some(x)) = (y[at..].first_chunk::<8>(), x[at..].first_chunk::<8>()) {
            for k in 0..8 {
                lanes[k] = madd::<FMA, T>(x[k], y[k], lanes[k]);
            }
        }
        at += 8;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let mut sum = ((a + e) + (b + f)) + ((c + g) + (d + h));
    while at < n {
        sum = madd::<FMA, T>(x[at], y[at], sum);
        at += 1;
    }
    sum
}
