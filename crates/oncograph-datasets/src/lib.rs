//! Cohort readers, phantom cohorts, splits, scalers and the feature cache.
