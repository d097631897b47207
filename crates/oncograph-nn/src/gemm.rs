//! A checked door to the `gemm` crate's matrix product, single-threaded: the callers parallelise over parts whose
//! borders do not depend on the number of threads, so that results are the same with any number.
#![allow(unsafe_code)]

use crate::element::Element;

/// A matrix in a slice: element `(i, j)` lies at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub data: &'a [T],
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Row-major with `cols` columns.
    pub(crate) fn rows(data: &'a [T], cols: usize) -> Self {
        Mat { data, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without moving data.
    pub(crate) fn t(self) -> Self {
        Mat { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0
            || cols == 0
            || (rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.data.len()
    }
}

/// `dst = lhs rhs`, or `dst += lhs rhs` with `accumulate`, for `lhs` \[m, k\], `rhs` \[k, n\] and a row-major
/// `dst` \[m, n\].
pub(crate) fn matmul<T: Element>(
    (m, k, n): (usize, usize, usize),
    lhs: Mat<T>,
    rhs: Mat<T>,
    dst: &mut [T],
    accumulate: bool,
) {
    assert!(dst.len() >= m * n, "matmul: the destination is too small");
    // SAFETY: `dst` is borrowed mutably and holds m rows of n elements, as was just checked.
    unsafe { matmul_into((m, k, n), lhs, rhs, dst.as_mut_ptr(), n, accumulate) }
}

/// [`matmul`] into memory whose rows are `row_stride` apart.
///
/// # Safety
/// `dst + i * row_stride + j` must be valid for reads and writes for all `i < m`, `j < n`, and no other thread may
/// touch those elements during the call.
pub(crate) unsafe fn matmul_into<T: Element>(
    (m, k, n): (usize, usize, usize),
    lhs: Mat<T>,
    rhs: Mat<T>,
    dst: *mut T,
    row_stride: usize,
    accumulate: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(lhs.holds(m, k) && rhs.holds(k, n), "matmul: an operand is too small");
    // SAFETY: both operands hold every element that the strides reach (checked above); the destination is the
    // caller's promise; the types agree.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            1,
            row_stride as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_transposes_and_accumulation() {
        let a = [1f64, 2.0, 3.0, 4.0, 5.0, 6.0]; // 2 x 3
        let b = [1f64, 0.0, 0.0, 1.0, 1.0, 1.0]; // 3 x 2
        let mut c = [10f64; 4];
        matmul((2, 3, 2), Mat::rows(&a, 3), Mat::rows(&b, 2), &mut c, false);
        assert_eq!(c, [4.0, 5.0, 10.0, 11.0]);
        matmul((2, 2, 2), Mat::rows(&a, 3), Mat::rows(&b, 2), &mut c, true);
        assert_eq!(c, [5.0, 7.0, 14.0, 16.0]);
        let mut d = [0f64; 9];
        matmul((3, 2, 3), Mat::rows(&a, 3).t(), Mat::rows(&a, 3), &mut d, false);
        assert_eq!(d[0..3], [17.0, 22.0, 27.0]);
        matmul((3, 0, 3), Mat::rows(&[], 0), Mat::rows(&[], 3), &mut d, false);
        assert_eq!(d, [0.0; 9]);
    }

    #[test]
    #[should_panic(expected = "operand is too small")]
    fn a_short_operand_is_caught_before_memory_is_touched() {
        let mut c = [0f32; 4];
        matmul((2, 3, 2), Mat::rows(&[0f32; 5], 3), Mat::rows(&[0f32; 6], 2), &mut c, false);
    }
}
