//! Tail probabilities, all from `statrs`.

use statrs::function::{beta::beta_reg, erf::erfc_inv, gamma::gamma_ur};
use std::f64::consts::{PI, SQRT_2};

/// P(|Z| ≥ |z|) of a standard normal, through χ² with one degree of freedom.
///
/// The error function of `statrs` is only good to about 5e-11; its incomplete gamma function is to 1e-14.
pub(crate) fn normal_two_sided(z: f64) -> f64 {
    chi_squared_tail(z * z, 1.0)
}

/// Φ(z).
pub(crate) fn normal_cdf(z: f64) -> f64 {
    let tail = 0.5 * normal_two_sided(z);
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// Φ⁻¹(p) for p in (0, 1).
pub(crate) fn normal_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let z = -SQRT_2 * erfc_inv(2.0 * p);
    // One Newton step brings the inverse to the accuracy of the distribution function.
    let density = (-z * z / 2.0).exp() / (2.0 * PI).sqrt();
    if density > 0.0 { z - (normal_cdf(z) - p) / density } else { z }
}

/// The z with P(|Z| < z) = level.
pub(crate) fn critical(level: f64) -> f64 {
    -normal_quantile((1.0 - level) / 2.0)
}

/// P(χ²(df) ≥ x).
pub(crate) fn chi_squared_tail(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_ur(df / 2.0, x / 2.0) }
}

/// P(|T(df)| ≥ |t|).
pub(crate) fn student_two_sided(t: f64, df: f64) -> f64 {
    if t.is_infinite() { 0.0 } else { beta_reg(df / 2.0, 0.5, df / (df + t * t)) }
}

/// The two-sided p of a correlation under t with n − 2 degrees of freedom.
pub(crate) fn correlation_p(r: f64, n: usize) -> f64 {
    let unexplained = (1.0 - r) * (1.0 + r);
    if unexplained <= 0.0 { 0.0 } else { beta_reg((n as f64 - 2.0) / 2.0, 0.5, unexplained) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn tails_match_tables() {
        assert_relative_eq!(normal_two_sided(1.959963984540054), 0.05, max_relative = 1e-13);
        assert_relative_eq!(critical(0.95), 1.959963984540054, max_relative = 1e-13);
        assert_relative_eq!(normal_quantile(0.975), 1.959963984540054, max_relative = 1e-13);
        assert_relative_eq!(normal_cdf(-1.0), 0.15865525393145707, max_relative = 1e-13);
        // With two degrees of freedom the tail of χ² is exp(−x/2); with one, t is Cauchy.
        assert_relative_eq!(chi_squared_tail(3.0, 2.0), (-1.5f64).exp(), max_relative = 1e-13);
        assert_relative_eq!(student_two_sided(1.0, 1.0), 0.5, max_relative = 1e-12);
    }
}
