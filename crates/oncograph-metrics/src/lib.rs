//! Statistics for clinical prediction in f64: survival, classification, regression, calibration, bootstrap.
//!
//! Slices in, structs out; no tensors. Right-censored follow-up goes in as [`Survival`], which is checked once.
//! Where a statistic has no value the result is an [`Error`] or `None`, never a silent zero.
//! Randomness comes only from the generator that the caller passes, and results are the same bits for any number
//! of threads.
//!
//! ```
//! use oncograph_metrics::{Survival, concordance, KaplanMeier};
//! let months = [5.0, 12.0, 9.0, 20.0, 14.0];
//! let died = [true, false, true, true, false];
//! let follow_up = Survival::new(&months, &died)?;
//! let risk = [2.1, 0.3, 0.9, -0.4, 1.0];
//! println!("C-index {:.3}", concordance(&follow_up, &risk)?.index);
//! println!("median survival {:?} months", KaplanMeier::fit(&follow_up, 0.95)?.median());
//! # Ok::<(), oncograph_metrics::Error>(())
//! ```
//!
//! # Which peer each function equals
//!
//! Values agree to 1e-9 relative with the peers' functions below, on the cases of the parity tests.
//!
//! | family | function | equals |
//! |---|---|---|
//! | Survival | [`concordance`] | `sksurv.metrics.concordance_index_censored`, `lifelines.utils.concordance_index` |
//! |  | [`concordance_ipcw`] | `sksurv.metrics.concordance_index_ipcw` |
//! |  | [`KaplanMeier::fit`] | `sksurv.nonparametric.kaplan_meier_estimator(conf_type="log-log")` |
//! |  | [`KaplanMeier::fit_follow_up`] | `sksurv.nonparametric.kaplan_meier_estimator(reverse=True)` |
//! |  | [`CensoringDistribution`] | `sksurv.nonparametric.CensoringDistributionEstimator` |
//! |  | [`NelsonAalen`] | `sksurv.nonparametric.nelson_aalen_estimator` |
//! |  | [`log_rank`] | `sksurv.compare.compare_survival`, `lifelines.statistics.multivariate_logrank_test` |
//! |  | [`dynamic_auc`] | `sksurv.metrics.cumulative_dynamic_auc` |
//! |  | [`survival_decision_curve`] | `dcurves.dca` with a time |
//! |  | [`brier_score`] | `sksurv.metrics.brier_score`, `integrated_brier_score` |
//! |  | [`cox_log_likelihood`], [`CoxModel`] | `statsmodels.duration.hazard_regression.PHReg`, R `coxph` |
//! |  | [`restricted_mean`] | `lifelines.utils.restricted_mean_survival_time` |
//! | Regression | [`mean_squared_error`], [`mean_absolute_error`], [`r_squared`] | `sklearn.metrics.mean_squared_error`, `mean_absolute_error`, `r2_score` |
//! |  | [`pearson`], [`spearman`], [`kendall`] | `scipy.stats.pearsonr`, `spearmanr`, `kendalltau` |
//! | Classification | [`RocCurve`], [`roc_auc`] | `sklearn.metrics.roc_curve`, `roc_auc_score` |
//! |  | [`PrecisionRecallCurve`], [`average_precision`] | `sklearn.metrics.precision_recall_curve`, `average_precision_score` |
//! |  | [`Confusion`], [`MulticlassConfusion`] | `sklearn.metrics.confusion_matrix` and its scores |
//! |  | [`log_loss`], [`brier_loss`], [`multiclass_log_loss`] | `sklearn.metrics.log_loss`, `brier_score_loss` |
//! |  | [`roc_auc_one_vs_rest`], [`roc_auc_one_vs_one`] | `sklearn.metrics.roc_auc_score(multi_class="ovr" / "ovo")` |
//! |  | [`calibration_curve`] | `sklearn.calibration.calibration_curve` |
//! |  | [`delong_interval`], [`delong_test`] | R `pROC::ci.auc`, `pROC::roc.test` |
//! |  | [`LogisticRegression`] | `sklearn.linear_model.LogisticRegression` |
//! | Tests | [`mann_whitney`], [`wilcoxon`], [`kruskal_wallis`], [`welch_t`] | `scipy.stats.mannwhitneyu`, `wilcoxon`, `kruskal`, `ttest_ind` |
//! |  | [`fisher_exact`], [`chi_squared_independence`] | `scipy.stats.fisher_exact`, `chi2_contingency` |
//! |  | [`hypergeometric_enrichment`] | `scipy.stats.hypergeom.sf` |
//! |  | [`adjust_p_values`] | `statsmodels.stats.multitest.multipletests` |
//! | Segmentation | [`Overlap`], [`dice`], [`jaccard`] | `monai.metrics.compute_dice`, `compute_iou` |
//! |  | [`surface_distances`] | `monai.metrics.compute_hausdorff_distance`, `compute_average_surface_distance` |
//! | Resampling | [`bootstrap()`], [`permutation_test`] | `scipy.stats.bootstrap`, `permutation_test` (formulae; the draws differ) |
//!
//! Where a peer returns a default for an undefined score, these functions return `None` or an error; the docs of
//! each function state where it differs.

mod bootstrap;
mod check;
pub mod classification;
mod distribution;
mod error;
pub mod hypothesis;
mod rank;
pub mod regression;
pub mod segmentation;
pub mod survival;

pub use bootstrap::{
    BootstrapConfig, BootstrapDifference, BootstrapInterval, IntervalMethod, bootstrap, bootstrap_difference,
};
pub use classification::*;
pub use error::{Error, Result};
pub use hypothesis::*;
pub use regression::*;
pub use segmentation::*;
pub use survival::*;
