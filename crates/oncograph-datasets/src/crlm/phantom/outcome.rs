//! The generating model of the phantom's clinical values and outcomes.

use super::anatomy::{normal, uniform};
use super::config::PhantomSignals;
use crate::crlm::columns::{MISSING, OUTCOMES, POSTOPERATIVE, PREOPERATIVE};
use oncograph_core::Seed;
use rand::Rng;
use std::collections::BTreeMap;

/// The model in words, written into every phantom cohort.
pub(super) const FORMULA: &str = "\
Linear predictors (log hazard ratios), with strength s and standardised factors z:
  lp_recurrence = s * (0.60 z_volume + 0.40 z_count + 0.50 z_density + 0.40 z_texture - 0.35 z_remnant
                       + 0.20 z_cea + 0.15 z_node + 0.10 z_synchronous + 0.10 z_extrahepatic)
  lp_death      = s * (0.60 z_volume + 0.25 z_count + 0.50 z_density + 0.40 z_texture - 0.60 z_remnant
                       + 0.20 z_cea + 0.15 z_node + 0.15 z_age + 0.10 z_comorbidity)
  z_volume      = (ln(tumor_volume_ml) - 2.45) / 1.58     total volume of the tumour masks, ml
  z_count       = (ln(tumor_count) - 0.65) / 0.65       number of tumour masks
  z_density     = (tumor_hypodensity_hu - 45) / 13      HU by which tumours are darker than the liver
  z_texture     = (tumor_texture_hu - 12) / 6           standard deviation of the tumours' texture, HU
  z_remnant     = (remnant_fraction - 0.58) / 0.18      voxels of liver_remnant / voxels of liver
  z_cea         = (ln(cea) - 1.95) / 1.4                also where the table says -999
  z_node, z_synchronous, z_extrahepatic, z_comorbidity  (x - p) / sqrt(p (1 - p)), p = 0.35, 0.56, 0.09, 0.55
  z_age         = (age - 60) / 12
Groups that can be switched off: shape (z_volume, z_count, z_remnant), density, texture, covariates (the others). One more is
off unless it is asked for: interaction, + 0.50 z_interaction in both, z_interaction = z_density * z_node.
Times in months, U uniform on (0, 1), Weibull(k, scale, lp) = scale * exp(-lp / k) * (-ln U)^(1 / k):
  recurrence              R = 0.9 + Weibull(0.6, 55, lp_recurrence)
  death after recurrence  T = R + 2.9 + Weibull(1.2, 52, lp_death)
  death without it        T = 3.8 + Weibull(1.2, 500, 0.5 lp_death); applies where it comes before R
  censoring               C = min(uniform(68, 132), 3.8 + exponential with mean 1500)
Observed: overall survival min(T, C); recurrence min(R, T, C), so that it is the survival time where nothing recurs.
62 of 100 recurrences are in the liver; where there is none, the liver is followed as long as survival.";

/// A standardised factor, its weights for recurrence and death, and whether its group is on.
type Weight = (&'static str, f64, f64, fn(&PhantomSignals) -> bool);

const WEIGHTS: [Weight; 12] = [
    ("z_volume", 0.60, 0.60, |s| s.shape),
    ("z_count", 0.40, 0.25, |s| s.shape),
    ("z_density", 0.50, 0.50, |s| s.density),
    ("z_texture", 0.40, 0.40, |s| s.texture),
    ("z_remnant", -0.35, -0.60, |s| s.shape),
    ("z_cea", 0.20, 0.20, |s| s.covariates),
    ("z_node", 0.15, 0.15, |s| s.covariates),
    ("z_synchronous", 0.10, 0.0, |s| s.covariates),
    ("z_extrahepatic", 0.10, 0.0, |s| s.covariates),
    ("z_age", 0.0, 0.15, |s| s.covariates),
    ("z_comorbidity", 0.0, 0.10, |s| s.covariates),
    ("z_interaction", 0.50, 0.50, |s| s.interaction),
];

/// What the images of a patient turned out to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageFactors {
    pub tumor_volume_ml: f64,
    pub tumor_count: usize,
    pub remnant_fraction: f64,
    pub hypodensity: f64,
    pub texture: f64,
    pub liver_volume_ml: f64,
    pub largest_mm: f64,
    pub bilobar: bool,
    pub body_mass_index: f64,
}

/// A patient's clinical row and what it was made from.
pub(super) struct Generated {
    pub row: BTreeMap<String, f64>,
    pub factors: BTreeMap<String, f64>,
    pub lp_recurrence: f64,
    pub lp_death: f64,
}

pub(super) fn generate(
    image: &ImageFactors,
    (strength, signals): (f64, &PhantomSignals),
    seed: Seed,
) -> Generated {
    let rng = &mut seed.stream("clinical").rng();
    let (mut row, cea) = preoperative(image, rng);
    postoperative(&mut row, rng);
    let factors = factors(image, &row, cea);
    let sum = |death: bool| -> f64 {
        let on = WEIGHTS.iter().filter(|w| w.3(signals));
        strength * on.map(|w| if death { w.2 } else { w.1 } * factors[w.0]).sum::<f64>()
    };
    let (lp_recurrence, lp_death) = (sum(false), sum(true));
    outcomes(&mut row, lp_recurrence, lp_death, &mut seed.stream("outcome").rng());
    Generated { row, factors, lp_recurrence, lp_death }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn yes(rng: &mut impl Rng, probability: f64) -> f64 {
    f64::from(u8::from(rng.random::<f64>() < probability))
}

/// The pre-operative columns, and the true CEA.
fn preoperative(image: &ImageFactors, rng: &mut impl Rng) -> (BTreeMap<String, f64>, f64) {
    let cea = round(normal(rng, 1.95, 1.4).exp().clamp(0.15, 1100.0), 1).max(0.1);
    let node = yes(rng, 0.35);
    let synchronous = yes(rng, 0.56);
    let several = f64::from(u8::from(image.tumor_count > 1));
    // The record disagrees with the images in one patient of ten, and the size is the pathologist's.
    let multiple = if rng.random::<f64>() < 0.1 { 1.0 - several } else { several };
    let size = round((0.1 * image.largest_mm * normal(rng, 0.0, 0.5).exp()).clamp(0.3, 15.0), 1);
    let short_interval = if synchronous == 1.0 { 1.0 } else { yes(rng, 0.4) };
    let score =
        node + short_interval + multiple + f64::from(u8::from(cea > 200.0)) + f64::from(u8::from(size > 5.0));
    let unknown = rng.random::<f64>() < 0.147;
    let or_missing = |value: f64| if unknown { MISSING } else { value };
    let values = [
        round(normal(rng, 60.0, 12.0).clamp(25.0, 90.0), 0),
        1.0 + yes(rng, 0.41),
        yes(rng, 0.55),
        round(image.body_mass_index, 1),
        node,
        synchronous,
        multiple,
        or_missing(score),
        or_missing(f64::from(u8::from(score >= 3.0))),
        or_missing(cea),
        size,
        if rng.random::<f64>() < 0.1 { 0.0 } else { f64::from(u8::from(image.bilobar)) },
        yes(rng, 0.09),
        yes(rng, 0.62),
        yes(rng, if image.remnant_fraction < 0.4 { 0.2 } else { 0.09 }),
    ];
    (PREOPERATIVE.iter().map(|c| (*c).to_owned()).zip(values).collect(), cea)
}

fn postoperative(row: &mut BTreeMap<String, f64>, rng: &mut impl Rng) {
    let nash = if yes(rng, 0.36) == 1.0 { 1.0 + f64::from(rng.random_range(0..4_u8)) } else { 0.0 };
    let necrosis = round(0.6 * rng.random::<f64>(), 2);
    let fibrosis = round(0.4 * rng.random::<f64>().powi(2), 2);
    let mucin = if yes(rng, 0.12) == 1.0 { round(uniform(rng, 0.05, 0.5), 2) } else { 0.0 };
    let unknown = rng.random::<f64>() < 0.015;
    let or_missing = |value: f64| if unknown { MISSING } else { value };
    let values = [
        yes(rng, 0.35),
        yes(rng, 0.13),
        nash,
        f64::from(u8::from(nash > 0.0)),
        f64::from(u8::from(nash >= 4.0)),
        or_missing(round((necrosis + fibrosis + mucin).min(1.0), 2)),
        or_missing(necrosis),
        or_missing(fibrosis),
        or_missing(f64::from(u8::from(fibrosis >= 0.4))),
        or_missing(mucin),
    ];
    row.extend(POSTOPERATIVE.iter().map(|c| (*c).to_owned()).zip(values));
}

fn factors(image: &ImageFactors, row: &BTreeMap<String, f64>, cea: f64) -> BTreeMap<String, f64> {
    let binary = |column: &str, p: f64| (row[column] - p) / (p * (1.0 - p)).sqrt();
    let count = image.tumor_count as f64;
    let density = (image.hypodensity - 45.0) / 13.0;
    let node = binary("node_positive_primary", 0.35);
    [
        ("tumor_volume_ml", image.tumor_volume_ml),
        ("tumor_count", count),
        ("tumor_hypodensity_hu", image.hypodensity),
        ("tumor_texture_hu", image.texture),
        ("remnant_fraction", image.remnant_fraction),
        ("liver_volume_ml", image.liver_volume_ml),
        ("largest_tumor_mm", image.largest_mm),
        ("cea", cea),
        ("z_volume", (image.tumor_volume_ml.max(1e-3).ln() - 2.45) / 1.58),
        ("z_count", (count.max(1.0).ln() - 0.65) / 0.65),
        ("z_density", density),
        ("z_texture", (image.texture - 12.0) / 6.0),
        ("z_remnant", (image.remnant_fraction - 0.58) / 0.18),
        ("z_cea", (cea.ln() - 1.95) / 1.4),
        ("z_node", node),
        ("z_interaction", density * node),
        ("z_synchronous", binary("synchronous_crlm", 0.56)),
        ("z_extrahepatic", binary("extrahep_disease", 0.09)),
        ("z_age", (row["age"] - 60.0) / 12.0),
        ("z_comorbidity", binary("major_comorbidity", 0.55)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Draws the times; see [`FORMULA`].
fn outcomes(row: &mut BTreeMap<String, f64>, lp_recurrence: f64, lp_death: f64, rng: &mut impl Rng) {
    let mut unit = || 1.0 - rng.random::<f64>();
    let mut weibull = |k: f64, scale: f64, lp: f64| scale * (-lp / k).exp() * (-unit().ln()).powf(1.0 / k);
    let recurrence = 0.9 + weibull(0.6, 55.0, lp_recurrence);
    let after = recurrence + 2.9 + weibull(1.2, 52.0, lp_death);
    let without = 3.8 + weibull(1.2, 500.0, 0.5 * lp_death);
    let lost = 3.8 + weibull(1.0, 1500.0, 0.0);
    let censored = uniform(rng, 68.0, 132.0).min(lost);
    let in_liver = rng.random::<f64>() < 0.62;
    let death = if without < recurrence { without } else { after };
    let survival = death.min(censored);
    let died = death <= censored;
    let recurred = recurrence < survival;
    let disease_free = if recurred { recurrence } else { survival };
    let liver_recurred = recurred && in_liver;
    let liver_free = if liver_recurred { recurrence } else { survival };
    let flag = |b: bool| f64::from(u8::from(b));
    // Two decimals keep the order of the times, and equal times equal.
    let values = [
        round(survival, 2),
        flag(died),
        flag(recurred),
        round(disease_free, 2),
        flag(recurred || died),
        flag(liver_recurred),
        round(liver_free, 2),
        flag(liver_recurred || died),
    ];
    row.extend(OUTCOMES.iter().map(|c| (*c).to_owned()).zip(values));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(n: u64, strength: f64) -> Vec<Generated> {
        cohort_of(n, strength, PhantomSignals::default())
    }

    fn cohort_of(n: u64, strength: f64, signals: PhantomSignals) -> Vec<Generated> {
        let make = |i| {
            let seed = Seed::new(3).at(i);
            let rng = &mut seed.stream("test").rng();
            let image = ImageFactors {
                tumor_volume_ml: normal(rng, 2.45, 1.58).exp(),
                tumor_count: 1 + rng.random_range(0..4_usize),
                remnant_fraction: uniform(rng, 0.27, 0.9),
                hypodensity: uniform(rng, 22.0, 68.0),
                texture: uniform(rng, 2.0, 22.0),
                liver_volume_ml: 1500.0,
                largest_mm: normal(rng, 3.33, 0.55).exp(),
                bilobar: rng.random(),
                body_mass_index: 27.0,
            };
            generate(&image, (strength, &signals), seed)
        };
        (0..n).map(make).collect()
    }

    #[test]
    fn images_carry_most_of_the_signal_and_strength_scales_it() {
        let all = cohort(2000, 1.0);
        let variance = |f: &dyn Fn(&Generated) -> f64| {
            let values: Vec<f64> = all.iter().map(f).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
        };
        let image = ["z_volume", "z_count", "z_density", "z_texture", "z_remnant"];
        for death in [false, true] {
            let weight = |w: &Weight| if death { w.2 } else { w.1 };
            let part = |g: &Generated| -> f64 {
                let terms = WEIGHTS.iter().filter(|w| image.contains(&w.0));
                terms.map(|w| weight(w) * g.factors[w.0]).sum()
            };
            let total = |g: &Generated| if death { g.lp_death } else { g.lp_recurrence };
            assert!(variance(&part) > 0.85 * variance(&total), "{} {}", variance(&part), variance(&total));
        }
        assert!(cohort(50, 0.0).iter().all(|g| g.lp_death == 0.0 && g.lp_recurrence == 0.0));
        let double = cohort(3, 2.0);
        assert!((double[0].lp_death - 2.0 * all[0].lp_death).abs() < 1e-12);
    }

    #[test]
    fn a_group_that_is_off_has_no_part_in_the_outcome() {
        let all = cohort(200, 1.0);
        let of = |names: &[&str]| cohort_of(200, 1.0, PhantomSignals::only(names).unwrap());
        let (shape, rest) = (of(&["shape"]), of(&["density", "texture", "covariates"]));
        let interaction = of(&["interaction"]);
        for (at, g) in all.iter().enumerate() {
            assert!((shape[at].lp_death + rest[at].lp_death - g.lp_death).abs() < 1e-12);
            assert!((shape[at].lp_recurrence + rest[at].lp_recurrence - g.lp_recurrence).abs() < 1e-12);
            let expected = 0.5 * g.factors["z_density"] * g.factors["z_node"];
            assert!((interaction[at].lp_death - expected).abs() < 1e-12);
            assert_eq!(shape[at].row["age"], g.row["age"], "covariates stay");
        }
        assert!(of(&[]).iter().all(|g| g.lp_death == 0.0));
    }

    #[test]
    fn outcome_columns_never_contradict_each_other() {
        for g in cohort(3000, 1.5) {
            let v = |c: &str| g.row[c];
            assert!(v("months_to_DFS_progression") <= v("overall_survival_months"));
            if v("progression_or_recurrence") == 0.0 {
                assert_eq!(v("months_to_DFS_progression"), v("overall_survival_months"));
            }
            let either = v("progression_or_recurrence") == 1.0 || v("vital_status") == 1.0;
            assert_eq!(v("vital_status_DFS") == 1.0, either);
            assert!(v("progression_or_recurrence_liveronly") <= v("progression_or_recurrence"));
        }
    }
}
