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
pub use rank_tests::{kruskal_wallis, mann_whitney, wilcoxon};
pub use welch::welch_t;

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
