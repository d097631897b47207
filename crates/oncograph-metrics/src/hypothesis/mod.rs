//! Tests of hypotheses and corrections for testing many of them.

mod contingency;
mod correction;
mod permutation;
mod rank_tests;
mod welch;

pub use contingency::{
    Alternative, ChiSquared, chi_squared_independence, fisher_exact, hypergeometric_enrichment,
};
pub use correction::{Correction, adjust_p_values};
pub use permutation::{PermutationTest, permutation_test};
pub use rank_tests::{kruskal_wallis, mann_whitney, mann_whitney_with, wilcoxon, wilcoxon_with};
pub use welch::{welch_t, welch_t_with};

use serde::{Deserialize, Serialize};

/// A test statistic and its two-sided p-value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TestResult {
    /// The statistic that the function documents.
    pub statistic: f64,
    /// p-value.
    pub p_value: f64,
}

/// Options of the tests of two samples; each test reads those that apply to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct TestOptions {
    /// The direction of the deviation that counts. Default both.
    pub alternative: Alternative,
    /// Correct the normal approximation of a discrete statistic by one half. Default yes.
    pub continuity: bool,
    /// Pool the variances of a t-test. Default no (Welch).
    pub equal_variances: bool,
}

impl Default for TestOptions {
    fn default() -> Self {
        Self { alternative: Alternative::TwoSided, continuity: true, equal_variances: false }
    }
}

impl TestOptions {
    /// Two-sided, corrected for continuity, variances not pooled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the direction of the deviation that counts.
    pub fn alternative(mut self, alternative: Alternative) -> Self {
        self.alternative = alternative;
        self
    }

    /// Sets the correction for continuity.
    pub fn continuity(mut self, on: bool) -> Self {
        self.continuity = on;
        self
    }

    /// Sets whether the variances of a t-test are pooled.
    pub fn equal_variances(mut self, on: bool) -> Self {
        self.equal_variances = on;
        self
    }
}
