//! Sixteen numbers at a time: AVX-512 registers where the processor has them, arrays that the compiler vectorises
//! elsewhere.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Channels of one block: the numbers of one AVX-512 register.
pub(crate) const LANES: usize = 16;

/// Sixteen f32.
pub(super) trait Lanes: Copy {
    /// Registers that one value takes, about.
    const REGISTERS: usize;
    /// The same number sixteen times.
    fn splat(value: f32) -> Self;
    /// # Safety
    /// `from` must be valid for reading sixteen numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// `to` must be valid for writing sixteen numbers.
    unsafe fn store(self, to: *mut f32);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    /// `self * factor + plus`.
    fn mul_add(self, factor: Self, plus: Self) -> Self;
    /// 0 where negative; NaN stays NaN.
    fn positive_part(self) -> Self;
}

/// An array; `FUSED` where the processor multiplies and adds in one instruction.
#[derive(Clone, Copy)]
pub(super) struct Wide<const FUSED: bool>([f32; LANES]);

impl<const FUSED: bool> Lanes for Wide<FUSED> {
    const REGISTERS: usize = if FUSED { 2 } else { 4 };

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Wide([value; LANES])
    }

    // SAFETY: the pointer is good for sixteen numbers, as the trait requires.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; the read needs no alignment beyond that of f32.
        Wide(unsafe { from.cast::<[f32; LANES]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Wide(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Wide(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, plus: Self) -> Self {
        Wide(std::array::from_fn(|i| match FUSED {
            true => self.0[i].mul_add(factor.0[i], plus.0[i]),
            false => self.0[i] * factor.0[i] + plus.0[i],
        }))
    }

    #[inline(always)]
    fn positive_part(self) -> Self {
        Wide(self.0.map(|v| if v < 0.0 { 0.0 } else { v }))
    }
}

/// An AVX-512 register. Made and used only inside functions with that target feature.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

// SAFETY of the blocks below: `Zmm` is used only below functions that enable AVX-512, which are called only where
// `Isa::detect` found it; memory is the caller's promise.
#[cfg(target_arch = "x86_64")]
impl Lanes for Zmm {
    const REGISTERS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above the impl.
        Zmm(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above the impl.
        Zmm(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above the impl.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Zmm(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Zmm(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, plus: Self) -> Self {
        // SAFETY: see above the impl.
        Zmm(unsafe { _mm512_fmadd_ps(self.0, factor.0, plus.0) })
    }

    #[inline(always)]
    fn positive_part(self) -> Self {
        // The second operand is the result where one of the two is NaN.
        // SAFETY: see above the impl.
        Zmm(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
    }
}

/// The instructions that a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor of the target has.
    Portable,
}

impl Isa {
    /// The best that this processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Isa::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    }

    /// All that this processor has, for tests.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut all = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                all.push(Isa::Avx512);
            }
        }
        all
    }
}

/// Defines `$name`, which calls the generic `$generic::<V>` compiled for the instructions that its first argument
/// names.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $name:ident = $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        // SAFETY: called by `$name` only, whose caller has found the feature on this processor.
        pub(super) unsafe fn $name(isa: crate::conv3d::winograd::lanes::Isa, $($arg: $ty),*) {
            use crate::conv3d::winograd::lanes::{Isa, Wide};
            // SAFETY: called by `$name` only, whose caller has found the feature on this processor.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: the caller's promises are handed on; the feature is on in this function.
                unsafe { $generic::<crate::conv3d::winograd::lanes::Zmm>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $generic::<Wide<true>>($($arg),*) }
            }
            // SAFETY: the caller's promises are handed on; `isa` names what the processor was found to have.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2($($arg),*),
                    Isa::Portable => $generic::<Wide<false>>($($arg),*),
                }
            }
        }
    };
}
pub(super) use for_each_isa;
