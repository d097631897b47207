//! Smoothing, derivatives and rank filters, with scipy's semantics.
//!
//! Borders are those of [`Border`]: what lies beyond the edge is the constant (`Fill`, `Constant`, `GridConstant`),
//! the edge voxel (`Nearest`), the mirrored volume (`Mirror`, `Reflect`) or the volume again (`Wrap`, `GridWrap`).
//! scipy's default is `Reflect`.

mod gaussian;
mod gradient;
mod rank;
mod susan;
mod uniform;

pub use gaussian::{GaussianOptions, gaussian};
pub use gradient::gradient_magnitude;
pub use rank::{median, rank};
pub use susan::susan;
pub use uniform::{correlate, uniform};

use crate::lines::{LANES, LineKernel};
use crate::resample::Border;
use crate::voxel::Voxel;

/// The sample behind index `i` of an axis of `n` samples, or `None` for the constant.
fn extended(i: i64, n: usize, border: Border) -> Option<usize> {
    let size = n as i64;
    if (0..size).contains(&i) {
        return Some(i as usize);
    }
    let fold = |period: i64, shift: i64| {
        let i = i.rem_euclid(period.max(1));
        (if i < size { i } else { period - i - shift }) as usize
    };
    match border {
        Border::Fill(_) | Border::Constant(_) | Border::GridConstant(_) => None,
        Border::Nearest => Some(i.clamp(0, size - 1) as usize),
        Border::Mirror => Some(fold(2 * size - 2, 0)),
        Border::Reflect => Some(fold(2 * size, 1)),
        Border::Wrap | Border::GridWrap => Some(i.rem_euclid(size) as usize),
    }
}

/// The weighted sum of samples `i - before ..` of each line.
struct Correlation<'a> {
    n: usize,
    before: usize,
    weights: &'a [f64],
    border: Border,
}

impl<S: Voxel> LineKernel<S, f64> for Correlation<'_> {
    type Scratch = Vec<f64>;

    fn outputs(&self) -> usize {
        self.n
    }

    fn run(
        &self,
        lanes: usize,
        buffer: &mut Vec<f64>,
        read: impl Fn(usize, usize) -> S,
        mut write: impl FnMut(usize, usize, f64),
    ) {
        let padded = self.n + self.weights.len() - 1;
        buffer.clear();
        buffer.resize(padded * LANES, 0.0);
        for (i, row) in buffer.chunks_exact_mut(LANES).enumerate() {
            match extended(i as i64 - self.before as i64, self.n, self.border) {
                Some(i) => {
                    row.iter_mut().enumerate().take(lanes).for_each(|(lane, v)| *v = read(i, lane).to_f64())
                }
                None => row.fill(self.border.outside_value()),
            }
        }
        for i in 0..self.n {
            let mut sum = [0.0; LANES];
            for (row, weight) in buffer[i * LANES..].chunks_exact(LANES).zip(self.weights) {
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += weight * v);
            }
            sum.iter().enumerate().take(lanes).for_each(|(lane, v)| write(i, lane, *v));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_go_on_as_scipy_says() {
        let at = |border| (-4..7).map(|i| extended(i, 3, border)).collect::<Vec<_>>();
        let some = |v: [usize; 11]| v.map(Some).to_vec();
        assert_eq!(at(Border::Reflect), some([2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]));
        assert_eq!(at(Border::Mirror), some([0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]));
        assert_eq!(at(Border::Nearest), some([0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]));
        assert_eq!(at(Border::Wrap), some([2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]));
        assert_eq!(extended(-1, 3, Border::Constant(1.0)), None);
        assert_eq!(extended(5, 1, Border::Mirror), Some(0));
    }
}
