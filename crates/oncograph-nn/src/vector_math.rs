//! Elementary functions in a form that loops can be vectorised over.
//!
//! None of them uses a fused multiply-add or the C library, so their bits are the same on every processor and every
//! system.

use crate::segment::{Kernel, vectorized};

/// The exponential of a number that is not positive; below -87 it may be 0. Relative error below 3e-7.
#[inline(always)]
pub(crate) fn exp_negative(x: f32) -> f32 {
    // exp(x) = 2^n exp(r) with n the integer next to x / ln 2; adding 1.5 * 2^23 leaves n in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Comparisons with a NaN fail, so that it comes through.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * scale
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp_negative(-x.abs());
    let above = if x < 0.0 { e } else { 1.0 };
    above / (1.0 + e)
}

/// The hyperbolic tangent; near 0 the polynomial of Cephes (Moshier 1989), which keeps the relative error small there.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let e = exp_negative(-2.0 * x.abs());
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    for c in [2.063_909e-2, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = p * z + c;
    }
    let near = p * z * x + x;
    if x.abs() < 0.625 { near } else { far }
}

struct Sigmoid<'a>(&'a mut [f32]);

impl Kernel for Sigmoid<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.iter_mut().for_each(|v| *v = sigmoid(*v));
    }
}

struct Tanh<'a>(&'a mut [f32]);

impl Kernel for Tanh<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.iter_mut().for_each(|v| *v = tanh(*v));
    }
}

/// Replaces every value by its logistic function.
pub(crate) fn sigmoid_all(values: &mut [f32]) {
    vectorized(Sigmoid(values));
}

/// Replaces every value by its hyperbolic tangent.
pub(crate) fn tanh_all(values: &mut [f32]) {
    vectorized(Tanh(values));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everywhere(from: f32, to: f32) -> impl Iterator<Item = f32> {
        std::iter::successors(Some(from), |x| Some(x + 0.0137)).take_while(move |x| *x <= to)
    }

    #[test]
    fn the_exponential_is_exact_to_rounding() {
        for x in everywhere(-86.0, 0.0) {
            approx::assert_relative_eq!(exp_negative(x), f64::from(x).exp() as f32, max_relative = 3e-7);
        }
        assert_eq!(exp_negative(0.0), 1.0);
        assert!(exp_negative(f32::NEG_INFINITY) < 2e-38 && exp_negative(f32::NAN).is_nan());
    }

    #[test]
    fn the_sigmoid_and_the_tangent_are_exact_to_rounding() {
        for x in everywhere(-40.0, 40.0).chain(everywhere(-0.7, 0.7).map(|x| x * 1e-3)) {
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            approx::assert_relative_eq!(sigmoid(x), exact as f32, max_relative = 6e-7);
            approx::assert_relative_eq!(tanh(x), f64::from(x).tanh() as f32, max_relative = 3e-7);
        }
        assert_eq!((tanh(0.0), sigmoid(0.0)), (0.0, 0.5));
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY) < 2e-38), (1.0, true));
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn the_vectorised_loops_give_the_bits_of_the_scalar_functions() {
        let values: Vec<f32> = everywhere(-9.0, 9.0).collect();
        let (mut s, mut t) = (values.clone(), values.clone());
        sigmoid_all(&mut s);
        tanh_all(&mut t);
        for (i, &x) in values.iter().enumerate() {
            assert_eq!((s[i].to_bits(), t[i].to_bits()), (sigmoid(x).to_bits(), tanh(x).to_bits()));
        }
    }
}
