//! What the network went by: shares of modalities, columns, and the gene sets that they belong to.

use crate::pipeline::PATIENT;
use crate::{OmicsExtras, OmicsStudyCohort, OmicsVariant, Result};
use oncograph_core::Seed;
use oncograph_explain::{
    Enriched, EnrichmentConfig, Prerank, PrerankConfig, RankStability, over_representation, prerank,
    rank_stability,
};
use oncograph_study::StudyResults;
use std::collections::{BTreeMap, BTreeSet};

/// Genes that count as important, or a tenth of those measured if that is more.
const TOP: usize = 20;
/// Measured genes of a set that is tested for over-representation, at least and at most.
const SIZES: (usize, usize) = (3, 500);
/// The same for a set's place in the ranking.
const RANKED_SIZES: (usize, usize) = (8, 500);

/// A modality's share of attention.
#[derive(Debug, Clone, PartialEq)]
pub struct ModalityImportance {
    /// The modality.
    pub name: String,
    /// Its mean share over held-out patients that have it.
    pub share: f64,
    /// How many patients have it.
    pub patients: usize,
}

/// What the network went by on held-out patients.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OmicsFindings {
    /// The modalities.
    pub importance: Vec<ModalityImportance>,
    /// By table, with the covariates under `patient`, its columns with their mean share of the first task's output, the largest
    /// first.
    pub ranking: BTreeMap<String, Vec<(String, f64)>>,
    /// By table how alike the rankings of the folds are.
    pub stability: BTreeMap<String, RankStability>,
    /// By source of gene sets, the sets that are over-represented among the best genes.
    pub enrichment: Vec<(String, Vec<Enriched>)>,
    /// By source of gene sets, where the sets lie in the whole ranking.
    pub preranked: Vec<(String, Prerank)>,
}

impl OmicsFindings {
    /// Collects what the jobs of the network kept; permutations are drawn from `seed`.
    ///
    /// # Errors
    /// As [`OmicsExtras::of`], or an error of the enrichment.
    pub fn new(results: &StudyResults, cohort: &OmicsStudyCohort, seed: Seed) -> Result<Self> {
        let full = OmicsVariant::Full.name();
        let extras = results.of_model(&full).map(OmicsExtras::of).collect::<Result<Vec<_>>>()?;
        let (ranking, stability) = rankings(&extras, cohort);
        let (enrichment, preranked) = enrichment(cohort, &ranking, seed)?;
        Ok(OmicsFindings {
            importance: importance(&extras, cohort),
            ranking,
            stability,
            enrichment,
            preranked,
        })
    }
}

fn importance(extras: &[OmicsExtras], cohort: &OmicsStudyCohort) -> Vec<ModalityImportance> {
    let names = cohort.modality_names();
    let mut sums = vec![(0.0, 0usize); names.len()];
    for row in extras.iter().flat_map(|e| &e.importance) {
        for (sum, share) in sums.iter_mut().zip(row).filter(|(_, s)| **s > 0.0) {
            *sum = (sum.0 + share, sum.1 + 1);
        }
    }
    let one = |(name, (sum, patients)): (String, (f64, usize))| ModalityImportance {
        name,
        share: sum / patients.max(1) as f64,
        patients,
    };
    names.into_iter().zip(sums).map(one).collect()
}

/// By table the ranking of its columns and its stability over folds.
type Rankings = (BTreeMap<String, Vec<(String, f64)>>, BTreeMap<String, RankStability>);

fn rankings(extras: &[OmicsExtras], cohort: &OmicsStudyCohort) -> Rankings {
    let (mut ranking, mut stability) = (BTreeMap::new(), BTreeMap::new());
    let dataset = &cohort.dataset().cohort;
    let covariates = std::iter::once((PATIENT, dataset.covariates.columns()));
    let tables = dataset.tables.iter().map(|(table, (columns, _))| (table.as_str(), &columns[..]));
    for (table, columns) in covariates.chain(tables) {
        // A column that a fold did not select has no score there: 0.
        let scores_of = |shares: &Vec<(String, f64)>| -> Vec<f64> {
            let by_name: BTreeMap<&str, f64> = shares.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            columns.iter().map(|f| by_name.get(f.as_str()).copied().unwrap_or(0.0)).collect()
        };
        let scores: Vec<Vec<f64>> =
            extras.iter().filter_map(|e| e.shares.get(table)).map(scores_of).collect();
        if scores.is_empty() {
            continue;
        }
        if let Ok(s) = rank_stability(&scores, TOP.min(columns.len())) {
            stability.insert(table.to_string(), s);
        }
        let mean = |i: usize| scores.iter().map(|s| s[i]).sum::<f64>() / scores.len() as f64;
        let mut all: Vec<(String, f64)> =
            columns.iter().enumerate().map(|(i, f)| (f.clone(), mean(i))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ranking.insert(table.to_string(), all);
    }
    (ranking, stability)
}

/// By source of sets, what was found in them.
type Found<T> = Vec<(String, T)>;

/// Over-representation among the best genes, or among the genes whose products the best antibodies bind, and where the
/// sets lie in the ranking of all.
fn enrichment(
    cohort: &OmicsStudyCohort,
    ranking: &BTreeMap<String, Vec<(String, f64)>>,
    seed: Seed,
) -> Result<(Found<Vec<Enriched>>, Found<Prerank>)> {
    let dataset = cohort.dataset();
    let ranked = ["gene", "protein"].into_iter().find_map(|t| Some((t, ranking.get(t)?)));
    let Some((table, ranked)) = ranked else { return Ok((vec![], vec![])) };
    let genes_of = |name: &String| match (&dataset.antibodies, table) {
        (Some(known), "protein") => known.genes.get(name).cloned().unwrap_or_default(),
        _ => vec![name.clone()],
    };
    let top = TOP.max(ranked.len() / 10).min(ranked.len());
    let as_genes = |list: &[(String, f64)]| list.iter().flat_map(|(n, _)| genes_of(n)).collect::<Vec<_>>();
    let (selected, measured) = (as_genes(&ranked[..top]), as_genes(ranked));
    // A gene that several antibodies bind has the score of the best of them.
    let mut seen = BTreeSet::new();
    let scored = ranked.iter().flat_map(|(n, v)| genes_of(n).into_iter().map(move |g| (g, *v)));
    let genes: Vec<(String, f64)> = scored.filter(|(g, _)| seen.insert(g.clone())).collect();
    let options = EnrichmentConfig::new().sizes(SIZES.0, SIZES.1);
    let ranked_options = PrerankConfig::new().sizes(RANKED_SIZES.0, RANKED_SIZES.1);
    let (mut found, mut preranked) = (vec![], vec![]);
    for source in &dataset.sets {
        let (name, sets) = (&source.name, &source.sets);
        found.push((name.clone(), over_representation(&selected, &measured, sets, &options)?));
        if genes.len() > 1 {
            let seed = seed.stream("prerank").stream(name);
            preranked.push((name.clone(), prerank(&genes, sets, &ranked_options, seed)?));
        }
    }
    Ok((found, preranked))
}
