//! Loops compiled for the vector units that the processor has.
#![allow(unsafe_code)]

use super::kernel::Real;

/// A loop over memory. `run` must be `#[inline(always)]`, as everything that it calls in a loop, so that it is compiled
/// for each of the processors of [`vectorized`].
pub(crate) trait Kernel {
    /// `FMA` is true where fused multiply-add is one instruction.
    fn run<const FMA: bool>(self);
}

/// Runs a kernel with AVX-512, AVX2 or what the target has at least.
pub(crate) fn vectorized(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if fma && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the processor has the features, as was just checked.
            return unsafe { x86::avx512(kernel) };
        }
        if fma {
            // SAFETY: as above.
            return unsafe { x86::avx2(kernel) };
        }
    }
    kernel.run::<{ cfg!(target_arch = "aarch64") }>();
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Kernel;

    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    pub(super) fn avx512(kernel: impl Kernel) {
        kernel.run::<true>();
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(kernel: impl Kernel) {
        kernel.run::<true>();
    }
}

/// `a * b + c`.
#[inline(always)]
pub(super) fn madd<const FMA: bool, T: Real>(a: T, b: T, c: T) -> T {
    if FMA { a.fused(b, c) } else { a * b + c }
}

/// Asks for the `width` values from `at` on, which are needed soon; without effect where there are none.
#[inline(always)]
pub(super) fn prefetch<T>(data: &[T], at: usize, width: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = 64 / size_of::<T>();
        let mut offset = 0;
        while offset < width {
            // SAFETY: a prefetch never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().wrapping_add(at + offset).cast()) };
            offset += line;
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, at, width);
}

/// A vector that threads write at disjoint places, such as one row per edge in the order of the edge list.
pub(super) struct Scattered<T> {
    at: *mut T,
    len: usize,
}

// SAFETY: only `row` reaches the memory, and its callers promise not to share a row.
unsafe impl<T: Send> Send for Scattered<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Scattered<T> {}

impl<T: Real> Scattered<T> {
    /// Borrows the vector until the end of `run`.
    pub(super) fn over(values: &mut [T], run: impl FnOnce(&Scattered<T>)) {
        run(&Scattered { at: values.as_mut_ptr(), len: values.len() });
    }

    /// The `width` values of one row, or none out of range.
    ///
    /// # Safety
    /// No other reference to the row may exist while this one does.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn row(&self, row: usize, width: usize) -> &mut [T] {
        if (row + 1) * width > self.len {
            return &mut [];
        }
        // SAFETY: the row lies inside the vector, and the caller promises that it is not shared.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(row * width), width) }
    }
}
