//! Quotients by a number that the host knows, for `divide.cuh`.
#![allow(unsafe_code)]

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;

/// A divisor as a factor and a shift.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divider {
    divisor: u32,
    magic: u32,
    shift: u32,
}

// SAFETY: numbers side by side, as the kernels declare them.
unsafe impl DeviceRepr for Divider {}

impl Divider {
    /// For a divisor of 0, which no element asks for, that of 1.
    pub(crate) fn new(divisor: usize) -> Self {
        let divisor = (divisor as u32).max(1);
        let shift = u32::BITS - (divisor - 1).leading_zeros();
        let above = (1u64 << shift) - u64::from(divisor);
        let magic = ((above << 32) / u64::from(divisor) + 1) as u32;
        Divider { divisor, magic, shift }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_at_every_border() {
        for d in [1u32, 2, 3, 5, 7, 64, 641, 65_535, 65_537, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, u32::MAX]
        {
            let Divider { magic, shift, .. } = Divider::new(d as usize);
            for n in
                [0, 1, d - 1, d, d.saturating_add(1), 12_345_678, 3 * (u32::MAX / 4), u32::MAX - 1, u32::MAX]
            {
                let product = (u64::from(n) * u64::from(magic)) >> 32;
                assert_eq!(((product + u64::from(n)) >> shift) as u32, n / d, "{n} / {d}");
            }
        }
    }
}
