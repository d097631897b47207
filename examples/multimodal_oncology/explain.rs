//! What the network went by: shares of modalities, genes, and the sets that they belong to.

use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::folds::FoldResult;
use crate::variants::{FULL, modality_names};
use oncograph::explain::{
    Enriched, EnrichmentConfig, Prerank, PrerankConfig, RankStability, over_representation, prerank,
    rank_stability,
};
use oncograph::nn::Seed;
use std::collections::{BTreeMap, BTreeSet};

/// Genes that count as important: 20 as in the specification, or a tenth of those measured if that is more.
const TOP: usize = 20;

/// Genes of a set that were measured, at least and at most.
const LEAST: usize = 3;
const MOST: usize = 500;

/// The same at least, for a set's place in the ranking.
const LEAST_RANKED: usize = 8;

pub struct Findings {
    /// Mean share per modality over held-out patients that have it, and how many do.
    pub importance: Vec<(String, f64, usize)>,
    /// By node type: the best names and their mean scores.
    pub genes: BTreeMap<String, Vec<(String, f64)>>,
    /// By node type, over folds.
    pub stability: BTreeMap<String, RankStability>,
    /// By collection of sets.
    pub enrichment: Vec<(String, Vec<Enriched>)>,
    /// The same without a threshold, on the whole ranking.
    pub preranked: Vec<(String, Prerank)>,
}

pub fn findings(config: &RunConfig, cohort: &Cohort, results: &[FoldResult]) -> anyhow::Result<Findings> {
    let full: Vec<&FoldResult> = results.iter().filter(|r| r.model == FULL).collect();
    let names = modality_names(cohort);
    let mut sums = vec![(0.0, 0usize); names.len()];
    for row in full.iter().flat_map(|r| &r.importance) {
        for (sum, share) in sums.iter_mut().zip(row).filter(|(_, s)| **s > 0.0) {
            *sum = (sum.0 + share, sum.1 + 1);
        }
    }
    let importance = names.into_iter().zip(sums).map(|(n, (s, k))| (n, s / k.max(1) as f64, k)).collect();
    let (mut genes, mut stability) = (BTreeMap::new(), BTreeMap::new());
    for (node_type, (features, _)) in &cohort.data.tables {
        // A feature that a fold did not select has no score there: 0.
        let scores: Vec<Vec<f64>> = full
            .iter()
            .filter_map(|r| r.shares.get(node_type))
            .map(|g| {
                let of: BTreeMap<&str, f64> = g.iter().map(|(n, v)| (n.as_str(), *v)).collect();
                features.iter().map(|f| of.get(f.as_str()).copied().unwrap_or(0.0)).collect()
            })
            .collect();
        if scores.is_empty() {
            continue;
        }
        if let Ok(s) = rank_stability(&scores, TOP.min(features.len())) {
            stability.insert(node_type.clone(), s);
        }
        let mean = |i: usize| scores.iter().map(|s| s[i]).sum::<f64>() / scores.len() as f64;
        let mut all: Vec<(String, f64)> =
            features.iter().enumerate().map(|(i, f)| (f.clone(), mean(i))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        genes.insert(node_type.clone(), all);
    }
    let (enrichment, preranked) = enrichment(config, cohort, &genes)?;
    Ok(Findings { importance, genes, stability, enrichment, preranked })
}

/// By collection of sets, what is found in them.
type Found<T> = Vec<(String, T)>;

/// Over-representation among the best genes, or among the genes whose products the best antibodies bind, and where the
/// sets lie in the ranking of all.
fn enrichment(
    config: &RunConfig,
    cohort: &Cohort,
    genes: &BTreeMap<String, Vec<(String, f64)>>,
) -> anyhow::Result<(Found<Vec<Enriched>>, Found<Prerank>)> {
    let ranked = ["gene", "protein"].into_iter().find_map(|t| Some((t, genes.get(t)?)));
    let Some((node_type, ranked)) = ranked else { return Ok((vec![], vec![])) };
    let of = |name: &String| match (&cohort.antibodies, node_type) {
        (Some((map, _)), "protein") => map.get(name).cloned().unwrap_or_default(),
        _ => vec![name.clone()],
    };
    let top = TOP.max(ranked.len() / 10).min(ranked.len());
    let as_genes = |list: &[(String, f64)]| list.iter().flat_map(|(n, _)| of(n)).collect::<Vec<_>>();
    let (selected, measured) = (as_genes(&ranked[..top]), as_genes(ranked));
    // A gene that several antibodies bind has the score of the best of them.
    let mut seen = BTreeSet::new();
    let scored = ranked.iter().flat_map(|(n, v)| of(n).into_iter().map(move |g| (g, *v)));
    let ranking: Vec<(String, f64)> = scored.filter(|(g, _)| seen.insert(g.clone())).collect();
    let options = EnrichmentConfig::new().sizes(LEAST, MOST);
    let ranked_options = PrerankConfig::new().sizes(LEAST_RANKED, MOST);
    let (mut found, mut preranked) = (vec![], vec![]);
    for (name, sets) in &cohort.sets {
        found.push((name.clone(), over_representation(&selected, &measured, sets, &options)?));
        if ranking.len() > 1 {
            let seed = Seed::new(config.seed).stream("prerank").stream(name);
            preranked.push((name.clone(), prerank(&ranking, sets, &ranked_options, seed)?));
        }
    }
    Ok((found, preranked))
}
