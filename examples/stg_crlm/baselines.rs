//! What the network is compared with, on the same folds and with the same scaling.

use oncograph_spatiotemporal::StgCohort;
use oncograph_study::{Constant, CoxLasso, CoxRidge, RidgeTime, RiskScore, Study, SurvivalForest};

/// The clinical covariates.
pub const COX: &str = "Cox, clinical covariates";
/// What a segmentation gives without a network.
const COX_MASKS: &str = "Cox, mask numbers";
/// Both.
const COX_BOTH: &str = "Cox, covariates and mask numbers";
/// All that can be known without a network.
const COX_INTENSITIES: &str = "Cox, covariates, mask numbers and intensities";
/// The clinical risk score of Fong et al., *Clinical score for predicting recurrence after hepatic resection for metastatic
/// colorectal cancer*, Annals of Surgery 230, 1999: a column of the workbook, which not every choice of covariates has.
const FONG: &str = "clinrisk_score";

fn has_score(cohort: &StgCohort) -> bool {
    cohort.clinical().columns().iter().any(|column| column == FONG)
}

/// How many [`beside`] adds.
pub fn count(cohort: &StgCohort) -> usize {
    let (masks, intensities) = (!cohort.mask_numbers().is_empty(), !cohort.intensities().is_empty());
    5 + usize::from(has_score(cohort)) + 2 * usize::from(masks) + usize::from(intensities)
}

/// The study with every baseline that the cohort allows; those without columns of their own have all of them.
pub fn beside<'a>(mut study: Study<'a, StgCohort>, cohort: &StgCohort) -> Study<'a, StgCohort> {
    let (clinical, masks) = (cohort.clinical().columns(), cohort.mask_numbers());
    let cox = |name: &str| CoxRidge::by_inner_folds().named(name);
    if has_score(cohort) {
        study = study.baseline(RiskScore::new("Fong score", FONG));
    }
    if !masks.is_empty() {
        let both = clinical.iter().chain(&masks).cloned();
        study = study.baseline(cox(COX_MASKS).columns(masks.clone())).baseline(cox(COX_BOTH).columns(both));
    }
    if !cohort.intensities().is_empty() {
        study = study.baseline(cox(COX_INTENSITIES));
    }
    study
        .baseline(cox(COX).columns(clinical.iter().cloned()))
        .baseline(CoxLasso::new().named("Cox, lasso"))
        .baseline(SurvivalForest::new())
        .baseline(RidgeTime::by_inner_folds())
        .baseline(Constant)
}
