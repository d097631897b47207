//! STG with its configuration chosen within the training patients of each fold.

use crate::{Error, Result, StgSystem, StgSystemConfig};
use oncograph_study::Nested;
use serde_json::Value;

/// What the settings of a run are called among the candidates.
pub const AS_CONFIGURED: &str = "as configured";

/// What candidates may differ in. The rest is of the cohort, its images and the study, which are the same for all of them.
const FREE: [&str; 8] =
    ["model", "training", "fit", "refit", "image_scaling", "mask_numbers", "intensities", "clinical_scaling"];
/// Parts of these that they have in common nevertheless: the networks of all folds are one bundle, which averages their risks and
/// curves, and numbers are of one precision in a run.
const COMMON: [(&str, &str); 5] = [
    ("model", "survival_loss"),
    ("model", "steps"),
    ("model", "horizon"),
    ("training", "time_unit"),
    ("fit", "precision"),
];

/// The system with the settings `base` ([`AS_CONFIGURED`]) or, where `others` are given, the best of all of them on `folds` inner
/// folds of a fold's training patients.
///
/// # Errors
/// [`Error::Argument`] for settings that are not valid, change nothing or differ in what all candidates have in common, and for a
/// name that occurs twice.
pub fn nested_stg(
    base: &StgSystemConfig,
    others: &[(String, StgSystemConfig)],
    folds: usize,
) -> Result<Nested<StgSystem>> {
    for (name, other) in others {
        let refused = |expected: String, got: &str| {
            Error::config("nested_stg", format!("candidate {name}"), expected, got)
        };
        if other == base {
            return Err(refused("a setting that differs from the run's".into(), "none"));
        }
        if let Some(setting) = differs_in_common(base, other)? {
            let free = FREE.join(", ");
            let but = COMMON.map(|(part, field)| format!("{part}.{field}")).join(", ");
            return Err(refused(format!("a change of {free} alone, and not of {but}"), &setting));
        }
        other.validate()?;
    }
    let all = std::iter::once((AS_CONFIGURED.to_string(), base.clone())).chain(others.iter().cloned());
    let systems = all.map(|(name, config)| (name, StgSystem::new(config)));
    Ok(Nested::new(systems.collect(), folds)?.inner(base.validation))
}

/// The first setting that all candidates have in common, and `other` has not.
fn differs_in_common(base: &StgSystemConfig, other: &StgSystemConfig) -> Result<Option<String>> {
    let value = |config| serde_json::to_value(config).map_err(oncograph_study::Error::system);
    let (base, other): (Value, Value) = (value(base)?, value(other)?);
    let whole = base.as_object().into_iter().flatten().map(|(key, _)| key);
    let whole = whole.filter(|key| !FREE.contains(&key.as_str()));
    let mut whole = whole.filter(|key| base[key.as_str()] != other[key.as_str()]).cloned();
    let mut parts = COMMON.iter().filter(|(part, field)| base[part][field] != other[part][field]);
    Ok(whole.next().or_else(|| parts.next().map(|(part, field)| format!("{part}.{field}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backbone, CtEncoderConfig, StgPreset, SurvivalLoss};

    #[test]
    fn candidates_share_what_is_done_once_for_all() {
        let base = StgSystemConfig::new(StgPreset::Quick);
        let of = |other: StgSystemConfig| nested_stg(&base, &[("other".into(), other)], 3);
        let error = |other: StgSystemConfig| of(other).unwrap_err().to_string();
        let fine = of(base.clone().learning_rate(0.5)).unwrap();
        assert_eq!(fine.names().collect::<Vec<_>>(), [AS_CONFIGURED, "other"]);
        let mut changed = base.clone();
        changed.mask_numbers = false;
        changed.model.hidden = 7;
        assert!(of(changed).is_ok());
        assert!(error(base.clone()).contains("none"));
        assert!(
            error(base.clone().encoder(CtEncoderConfig::new(4).backbone(Backbone::SelfBuilt)))
                .contains("encoder")
        );
        assert!(error(base.clone().cross_validation(7, 1)).contains("folds"));
        let mut cox = base.clone();
        cox.model = cox.model.survival_loss(SurvivalLoss::Cox);
        assert!(error(cox).contains("got model.survival_loss"));
        let mut broken = base.clone();
        broken.model.hidden = 0;
        assert!(error(broken).contains("hidden"));
        let twice =
            [("a", 0.1), ("a", 0.2)].map(|(name, rate)| (name.into(), base.clone().learning_rate(rate)));
        assert!(nested_stg(&base, &twice, 3).is_err());
        assert_eq!(nested_stg(&base, &[], 3).unwrap().names().count(), 1);
    }
}
