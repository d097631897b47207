//! What the network went by: shares of modalities, genes, and the sets that they belong to.

use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::folds::{FULL, FoldResult, modality_names};
use oncograph::explain::{Enriched, EnrichmentConfig, RankStability, over_representation, rank_stability};
use std::collections::BTreeMap;

/// Genes that count as important: 20 as in the specification, or a tenth of those measured if that is more.
const TOP: usize = 20;

pub struct Findings {
    /// Mean share per modality over held-out patients that have it, and how many do.
    pub importance: Vec<(String, f64, usize)>,
    /// By node type: the best names and their mean scores.
    pub genes: BTreeMap<String, Vec<(String, f64)>>,
    /// By node type, over folds.
    pub stability: BTreeMap<String, RankStability>,
    /// By collection of sets.
    pub enrichment: Vec<(String, Vec<Enriched>)>,
}

pub fn findings(config: &RunConfig, cohort: &Cohort, results: &[FoldResult]) -> anyhow::Result<Findings> {
    let _ = config;
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
            .filter_map(|r| r.gradients.get(node_type))
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
    let enrichment = enrichment(cohort, &genes)?;
    Ok(Findings { importance, genes, stability, enrichment })
}

/// Over-representation among the best genes, or among the genes whose products the best antibodies bind.
fn enrichment(
    cohort: &Cohort,
    genes: &BTreeMap<String, Vec<(String, f64)>>,
) -> anyhow::Result<Vec<(String, Vec<Enriched>)>> {
    let as_genes = |list: &[(String, f64)], node_type: &str| -> Vec<String> {
        let of = |name: &String| match (&cohort.antibodies, node_type) {
            (Some((map, _)), "protein") => map.get(name).cloned().unwrap_or_default(),
            _ => vec![name.clone()],
        };
        list.iter().flat_map(|(n, _)| of(n)).collect()
    };
    let ranked = ["gene", "protein"].into_iter().find_map(|t| Some((t, genes.get(t)?)));
    let Some((node_type, ranked)) = ranked else { return Ok(vec![]) };
    let top = TOP.max(ranked.len() / 10).min(ranked.len());
    let (selected, measured) = (as_genes(&ranked[..top], node_type), as_genes(ranked, node_type));
    let options = EnrichmentConfig::new().sizes(3, 500);
    let mut found = vec![];
    for (name, sets) in &cohort.sets {
        found.push((name.clone(), over_representation(&selected, &measured, sets, &options)?));
    }
    Ok(found)
}
