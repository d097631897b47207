//! Errors of continuous predictions, time-adjacent accuracy and correlation.

mod correlation;
mod errors;
mod time_adjacent;

pub use correlation::{Correlation, kendall, kendall_with, pearson, pearson_with, spearman, spearman_with};
pub use errors::{mean_absolute_error, mean_squared_error, r_squared};
pub use time_adjacent::{TaaMode, TimeAdjacentAccuracy, time_adjacent_accuracy};
