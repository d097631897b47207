use crate::{Error, Result};
use oncograph_nn::Seed;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Configuration of [`prerank`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PrerankConfig {
    /// The exponent of a hit's score, `p` of the paper; 1. With 0 every hit counts the same.
    pub weight: f64,
    /// Permutations of the genes; 1000.
    pub permutations: usize,
    /// Sets with fewer ranked genes are left out; 15.
    pub least: usize,
    /// Sets with more ranked genes are left out; 500.
    pub most: usize,
}

impl Default for PrerankConfig {
    fn default() -> Self {
        PrerankConfig { weight: 1.0, permutations: 1000, least: 15, most: 500 }
    }
}

impl PrerankConfig {
    /// The paper's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the exponent of a hit's score.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the number of permutations.
    pub fn permutations(mut self, permutations: usize) -> Self {
        self.permutations = permutations;
        self
    }

    /// Sets how many ranked genes a set has at least and at most.
    pub fn sizes(mut self, least: usize, most: usize) -> Self {
        self.least = least;
        self.most = most;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] with the first value that is out of its range.
    pub fn validate(&self) -> Result<()> {
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            return Err(Error::config(OP, "weight", "0 or more", self.weight));
        }
        if self.permutations == 0 {
            return Err(Error::config(OP, "permutations", "at least 1", 0));
        }
        if self.least == 0 || self.least > self.most {
            return Err(Error::config(OP, "least", format!("from 1 to {}", self.most), self.least));
        }
        Ok(())
    }
}

/// One set of genes and where it lies in the ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedSet {
    /// The set's name.
    pub name: String,
    /// Its genes that are ranked.
    pub size: usize,
    /// The enrichment score: the running sum where it is farthest from 0, in [-1, 1].
    pub es: f64,
    /// The score over the mean of the permuted ones of its sign; `None` where no permutation has that sign.
    pub nes: Option<f64>,
    /// The share of the permuted scores of its sign that are as far from 0. 0 means less than 1 / their number.
    pub p_value: Option<f64>,
    /// The false discovery rate over all sets that were tested, at most 1.
    pub fdr: Option<f64>,
    /// The genes from the top to the peak, or from the bottom up to it where the score is negative.
    pub leading_edge: Vec<String>,
    /// Positions of the set's genes in [`Prerank::ranking`], ascending.
    pub hits: Vec<usize>,
}

/// The answer of [`prerank`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prerank {
    /// Genes and scores, best first; equal scores stay in the order in which they were given.
    pub ranking: Vec<(String, f64)>,
    /// The sets that were tested: by p-value, then by distance of the score from 0, then by name.
    pub sets: Vec<RankedSet>,
    /// The sets that were not, and why.
    pub left_out: Vec<(String, String)>,
    weight: f64,
}

impl Prerank {
    /// The running sum of a set after each gene of the ranking, for a plot.
    pub fn running_sum(&self, set: &RankedSet) -> Vec<f64> {
        running_sum(&weights(&self.ranking, self.weight), &set.hits)
    }
}

const OP: &str = "prerank";

/// Whether the genes of a set gather at one end of a ranking (gene set enrichment analysis on a ranked list).
///
/// Down the ranking, a gene of the set S adds `|r|^p / sum_{S} |r|^p`, another one takes away `1 / (N - |S|)`; the score
/// is the extreme of this sum, the lower one where both are as far from 0. Genes are permuted `permutations` times, all
/// sets together. Of the permuted scores of a set those of the same sign as its own give the p-value and, through their
/// mean, the normalised score; over all sets, the share of permuted normalised scores beyond a set's own, over the same
/// share of the observed ones, is its false discovery rate.
///
/// A set without a ranked gene, of a size out of range, with every ranked gene, or whose genes all have a score of 0 with a
/// weight above 0, is left out, with the reason. A gene that a set names twice counts once.
///
/// # Errors
/// [`Error::Input`] for settings out of range, fewer than two genes, a gene that is ranked twice (the function cannot decide
/// which of the two scores holds), or a score that is not finite.
///
/// # Example
/// ```
/// use oncograph_explain::{PrerankConfig, prerank};
/// use oncograph_nn::Seed;
///
/// let ranking: Vec<(String, f64)> = (0..40).map(|i| (format!("g{i}"), 20.0 - f64::from(i))).collect();
/// let sets = [("top", (0..5).map(|i| format!("g{i}")).collect())];
/// let found = prerank(&ranking, &sets, &PrerankConfig::new().sizes(3, 20), Seed::new(1))?;
/// assert_eq!(found.sets[0].es, 1.0);
/// assert_eq!(found.sets[0].leading_edge.len(), 5);
/// # Ok::<(), oncograph_explain::Error>(())
/// ```
///
/// # Reference
/// Subramanian et al., *Gene set enrichment analysis*, PNAS 2005; `gseapy.prerank`, whose ranking may hold a gene twice and
/// whose random numbers are others.
///
/// # Complexity
/// Genes + the sets' genes times their logarithm, for each permutation; one thread.
pub fn prerank<N: AsRef<str>>(
    ranking: &[(String, f64)],
    sets: &[(N, Vec<String>)],
    config: &PrerankConfig,
    seed: Seed,
) -> Result<Prerank> {
    config.validate()?;
    let mut ranking = ranking.to_vec();
    if let Some((gene, score)) = ranking.iter().find(|g| !g.1.is_finite()) {
        return Err(Error::input(OP, format!("a finite score of {gene}"), score));
    }
    ranking.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal));
    let mut place: HashMap<&str, usize> = HashMap::new();
    for (i, (gene, _)) in ranking.iter().enumerate() {
        if place.insert(gene, i).is_some() {
            return Err(Error::input(OP, "each gene once", gene));
        }
    }
    if ranking.len() < 2 {
        return Err(Error::input(OP, "two genes or more", ranking.len()));
    }
    let weights = weights(&ranking, config.weight);
    let (mut tested, mut left_out) = (vec![], vec![]);
    for (name, genes) in sets {
        let mut hits: Vec<usize> = genes.iter().filter_map(|g| place.get(g.as_str()).copied()).collect();
        hits.sort_unstable();
        hits.dedup();
        match reason(&hits, &weights, config) {
            Some(why) => left_out.push((name.as_ref().to_string(), why)),
            None => tested.push(observed(name.as_ref(), hits, &ranking, &weights)),
        }
    }
    let null = permuted(&tested, &weights, config.permutations, seed);
    significance(&mut tested, &null);
    tested.sort_by(|a, b| {
        let p = |s: &RankedSet| s.p_value.unwrap_or(f64::INFINITY);
        let far = |s: &RankedSet| s.nes.unwrap_or(s.es).abs();
        p(a).total_cmp(&p(b)).then(far(b).total_cmp(&far(a))).then_with(|| a.name.cmp(&b.name))
    });
    Ok(Prerank { ranking, sets: tested, left_out, weight: config.weight })
}

fn weights(ranking: &[(String, f64)], weight: f64) -> Vec<f64> {
    ranking.iter().map(|g| if weight == 0.0 { 1.0 } else { g.1.abs().powf(weight) }).collect()
}

fn reason(hits: &[usize], weights: &[f64], config: &PrerankConfig) -> Option<String> {
    if hits.len() < config.least || hits.len() > config.most {
        return Some(format!("{} ranked genes, not {} to {}", hits.len(), config.least, config.most));
    }
    if hits.len() == weights.len() {
        return Some("every ranked gene is in it".into());
    }
    (hits.iter().all(|h| weights[*h] == 0.0)).then(|| "all its genes have a score of 0".into())
}

fn running_sum(weights: &[f64], hits: &[usize]) -> Vec<f64> {
    let total: f64 = hits.iter().map(|h| weights[*h]).sum();
    let miss = 1.0 / (weights.len() - hits.len()) as f64;
    let (mut sum, mut next) = (0.0, hits.iter().peekable());
    let step = |(i, w): (usize, &f64)| {
        sum += if next.next_if_eq(&&i).is_some() { w / total } else { -miss };
        sum
    };
    weights.iter().enumerate().map(step).collect()
}

/// The first position of the largest value, or of the smallest.
fn extreme(sums: &[f64], sign: f64) -> usize {
    (1..sums.len()).fold(0, |best, i| if sign * sums[i] > sign * sums[best] { i } else { best })
}

fn observed(name: &str, hits: Vec<usize>, ranking: &[(String, f64)], weights: &[f64]) -> RankedSet {
    let sums = running_sum(weights, &hits);
    let (top, bottom) = (extreme(&sums, 1.0), extreme(&sums, -1.0));
    let es = if sums[top].abs() > sums[bottom].abs() { sums[top] } else { sums[bottom] };
    let gene = |h: &usize| ranking[*h].0.clone();
    let leading_edge = match es >= 0.0 {
        true => hits.iter().filter(|h| **h <= top).map(gene).collect(),
        false => hits.iter().rev().filter(|h| **h >= bottom).map(gene).collect(),
    };
    RankedSet {
        name: name.into(),
        size: hits.len(),
        es,
        nes: None,
        p_value: None,
        fdr: None,
        leading_edge,
        hits,
    }
}

/// The score of a set from its sorted positions alone: the sum is largest at a hit and smallest just before one, or at
/// the ends, where it is 0.
fn score(weights: &[f64], hits: &[usize]) -> f64 {
    let total: f64 = hits.iter().map(|h| weights[*h]).sum();
    if total == 0.0 {
        return 0.0;
    }
    let miss = 1.0 / (weights.len() - hits.len()) as f64;
    let (mut gained, mut top, mut bottom) = (0.0, 0f64, 0f64);
    for (seen, h) in hits.iter().enumerate() {
        let lost = (h - seen) as f64 * miss;
        bottom = bottom.min(gained / total - lost);
        gained += weights[*h];
        top = top.max(gained / total - lost);
    }
    if top > -bottom { top } else { bottom }
}

/// The scores of each set under permutations of the genes, which are the same for all sets.
fn permuted(sets: &[RankedSet], weights: &[f64], permutations: usize, seed: Seed) -> Vec<Vec<f64>> {
    let mut null = vec![Vec::with_capacity(permutations); sets.len()];
    let mut hits = vec![];
    for p in 0..permutations {
        let mut moved: Vec<usize> = (0..weights.len()).collect();
        moved.shuffle(&mut seed.stream("prerank").at(p as u64).rng());
        for (set, scores) in sets.iter().zip(&mut null) {
            hits.clear();
            hits.extend(set.hits.iter().map(|h| moved[*h]));
            hits.sort_unstable();
            scores.push(score(weights, &hits));
        }
    }
    null
}

fn significance(sets: &mut [RankedSet], null: &[Vec<f64>]) {
    // Normalised permuted scores, by sign.
    let (mut up, mut down) = (vec![], vec![]);
    for (set, scores) in sets.iter_mut().zip(null) {
        let (positive, negative): (Vec<f64>, Vec<f64>) = scores.iter().partition(|s| **s >= 0.0);
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (above, below) = (mean(&positive), mean(&negative).abs());
        let side = if set.es >= 0.0 { &positive } else { &negative };
        if !side.is_empty() && mean(side) != 0.0 {
            let beyond = side.iter().filter(|s| s.abs() >= set.es.abs()).count();
            set.p_value = Some(beyond as f64 / side.len() as f64);
            set.nes = Some(set.es / mean(side).abs());
        }
        up.extend(positive.iter().map(|s| s / above).filter(|s| s.is_finite()));
        down.extend(negative.iter().map(|s| -s / below).filter(|s| s.is_finite()));
    }
    let seen = |sign: f64| -> Vec<f64> {
        let of_sign = sets.iter().filter(|s| (s.es >= 0.0) == (sign > 0.0)).filter_map(|s| s.nes);
        sorted(of_sign.map(f64::abs).collect())
    };
    let observed = [seen(1.0), seen(-1.0)];
    let null = [sorted(up), sorted(down)];
    for set in sets {
        let Some(nes) = set.nes else { continue };
        let k = usize::from(set.es < 0.0);
        let beyond = |all: &[f64]| {
            (all.len() - all.partition_point(|v| *v < nes.abs())) as f64 / all.len().max(1) as f64
        };
        set.fdr = Some((beyond(&null[k]) / beyond(&observed[k])).min(1.0));
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.iter_mut().for_each(|v| *v = v.abs());
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(scores: &[f64]) -> Vec<(String, f64)> {
        scores.iter().enumerate().map(|(i, s)| (format!("g{i}"), *s)).collect()
    }

    fn set(ids: &[usize]) -> Vec<String> {
        ids.iter().map(|i| format!("g{i}")).collect()
    }

    fn small() -> PrerankConfig {
        PrerankConfig::new().sizes(2, 100).permutations(200)
    }

    #[test]
    fn a_case_by_hand() {
        // Down 4 3 2 1 -1: hits at 4 and 2 give 4/6 and 2/6, each of three misses takes 1/3.
        let found = prerank(
            &ranking(&[1.0, 4.0, -1.0, 3.0, 2.0]),
            &[("a", set(&[1, 4])), ("b", set(&[2, 0]))],
            &small(),
            Seed::new(1),
        )
        .unwrap();
        let names: Vec<&str> = found.ranking.iter().map(|g| g.0.as_str()).collect();
        assert_eq!(names, ["g1", "g3", "g4", "g0", "g2"]);
        let score_of = |name: &str| found.sets.iter().find(|s| s.name == name).unwrap();
        let third = 1.0 / 3.0;
        let expected = [2.0 * third, third, 2.0 * third, third, 0.0];
        for (got, e) in found.running_sum(score_of("a")).iter().zip(expected) {
            approx::assert_abs_diff_eq!(*got, e, epsilon = 1e-15);
        }
        // The first of two equal peaks counts, so that the edge is one gene.
        approx::assert_abs_diff_eq!(score_of("a").es, 2.0 * third, epsilon = 1e-15);
        assert_eq!(score_of("a").leading_edge, ["g1"]);
        approx::assert_abs_diff_eq!(score_of("b").es, -1.0, epsilon = 1e-15);
        assert_eq!(score_of("b").leading_edge, ["g2", "g0"]);
        // Without weight, hits count alike: +1/2 -1/3 +1/2.
        let flat =
            prerank(&found.ranking, &[("a", set(&[1, 4]))], &small().weight(0.0), Seed::new(1)).unwrap();
        approx::assert_abs_diff_eq!(flat.sets[0].es, 2.0 * third, epsilon = 1e-15);
        assert_eq!(flat.sets[0].leading_edge, ["g1", "g4"]);
    }

    #[test]
    fn the_short_score_is_the_extreme_of_the_sum() {
        let scores: Vec<f64> = (0..60).map(|i| f64::from((i * 37) % 23) - 11.0).collect();
        let r = prerank(&ranking(&scores), &[("a", set(&[0, 1]))], &small(), Seed::new(1)).unwrap().ranking;
        let w = weights(&r, 1.0);
        for seed in 0..200 {
            let mut all: Vec<usize> = (0..60).collect();
            all.shuffle(&mut Seed::new(seed).rng());
            let mut hits = all[..7].to_vec();
            hits.sort_unstable();
            let es = observed("", hits.clone(), &r, &w).es;
            approx::assert_abs_diff_eq!(score(&w, &hits), es, epsilon = 1e-12);
        }
    }

    #[test]
    fn significance_by_hand() {
        let set = |name: &str, es: f64| RankedSet {
            name: name.into(),
            size: 1,
            es,
            nes: None,
            p_value: None,
            fdr: None,
            leading_edge: vec![],
            hits: vec![],
        };
        let mut sets = [set("a", 0.75), set("b", -0.5), set("c", 0.5), set("one-sided", -0.5)];
        let null = [
            vec![0.25, 0.75, -0.25, -0.5],
            vec![0.125, 0.125, -0.25, -0.75, -0.5],
            vec![0.25, 0.75, 0.5, -0.125],
            vec![],
        ];
        significance(&mut sets, &null);
        // Means of 1/2 up, and of -1/2 down for b. Normalised, up: 1/2 3/2 | 1 1 | 1/2 3/2 1; down: 2/3 4/3 | 1/2 3/2 1 | 1.
        let rows = sets.map(|s| (s.nes, s.p_value, s.fdr));
        assert_eq!(rows[0], (Some(1.5), Some(0.5), Some(2.0 / 7.0 / 0.5)));
        assert_eq!(rows[1], (Some(-1.0), Some(2.0 / 3.0), Some(4.0 / 6.0)));
        assert_eq!(rows[2], (Some(1.0), Some(2.0 / 3.0), Some(5.0 / 7.0)));
        assert_eq!(rows[3], (None, None, None));
    }

    #[test]
    fn a_known_set_is_found_and_sets_at_random_are_not() {
        let scores: Vec<f64> = (0..400).map(|i| 2.0 - f64::from(i) / 100.0).collect();
        let mut sets = vec![("top".to_string(), set(&(0..40).step_by(2).collect::<Vec<_>>()))];
        sets.push(("bottom".into(), set(&(360..400).step_by(2).collect::<Vec<_>>())));
        for seed in 0..30 {
            let mut all: Vec<usize> = (0..400).collect();
            all.shuffle(&mut Seed::new(seed).rng());
            sets.push((format!("random {seed}"), set(&all[..20])));
        }
        let config = PrerankConfig::new().permutations(500);
        let found = prerank(&ranking(&scores), &sets, &config, Seed::new(3)).unwrap();
        let best: Vec<&str> = found.sets[..2].iter().map(|s| s.name.as_str()).collect();
        assert!(best.contains(&"top") && best.contains(&"bottom"), "{best:?}");
        for s in &found.sets[..2] {
            assert!(s.p_value == Some(0.0) && s.fdr.unwrap() < 0.01 && s.nes.unwrap() * s.es > 0.0, "{s:?}");
        }
        // Under the null p is uniform: of 30, about one and a half below 0.05.
        let few = found.sets[2..].iter().filter(|s| s.p_value.unwrap() < 0.05).count();
        assert!(few <= 6, "{few}");
        assert!(found.sets[2..].iter().all(|s| s.fdr.unwrap() > 0.05));
        let again = prerank(&ranking(&scores), &sets, &config, Seed::new(3)).unwrap();
        assert_eq!(again, found);
        assert_ne!(prerank(&ranking(&scores), &sets, &config, Seed::new(4)).unwrap(), found);
    }

    #[test]
    fn what_cannot_be_tested_says_why() {
        let r = ranking(&[3.0, 2.0, 0.0, 0.0, -0.0, -1.0]);
        let sets = [
            ("whole", set(&[0, 1, 2, 3, 4, 5])),
            ("zero", set(&[2, 3])),
            ("absent", set(&[7, 8])),
            ("twice", set(&[0, 0])),
            ("good", set(&[0, 5, 5])),
        ];
        let found = prerank(&r, &sets, &small(), Seed::new(1)).unwrap();
        let left: Vec<_> = found.left_out.iter().map(|(n, w)| (n.as_str(), w.as_str())).collect();
        assert_eq!(
            left,
            [
                ("whole", "every ranked gene is in it"),
                ("zero", "all its genes have a score of 0"),
                ("absent", "0 ranked genes, not 2 to 100"),
                ("twice", "1 ranked genes, not 2 to 100"),
            ]
        );
        assert_eq!((found.sets.len(), found.sets[0].size), (1, 2));
        // Equal scores, among them the two zeros, stay in their order.
        let names: Vec<&str> = found.ranking.iter().map(|g| g.0.as_str()).collect();
        assert_eq!(names, ["g0", "g1", "g2", "g3", "g4", "g5"]);
        let says = |r: &[(String, f64)], config: &PrerankConfig| {
            prerank(r, &sets, config, Seed::new(1)).unwrap_err().to_string()
        };
        assert_eq!(
            says(&ranking(&[1.0, f64::NAN]), &small()),
            "prerank: expected a finite score of g1, got NaN"
        );
        let twice = [r.clone(), r[..1].to_vec()].concat();
        assert_eq!(says(&twice, &small()), "prerank: expected each gene once, got \"g0\"");
        assert!(says(&r[..1], &small()).contains("two genes or more"));
        assert!(says(&r, &small().sizes(5, 4)).contains("least must be from 1 to 4, got 5"));
        assert!(says(&r, &small().permutations(0)).contains("permutations must be at least 1"));
        assert!(says(&r, &small().weight(-1.0)).contains("weight must be 0 or more"));
    }
}
