use crate::{Error, Result};
use oncograph_metrics::{Correction, adjust_p_values, hypergeometric_enrichment};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

const OP: &str = "over_representation";

/// Configuration of [`over_representation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EnrichmentConfig {
    /// Sets with fewer measured genes are left out; 1.
    pub least: usize,
    /// Sets with more measured genes are left out; none is.
    pub most: usize,
    /// Whether a set without any selected gene counts as a test. gseapy counts only those with one; false.
    pub count_empty: bool,
}

impl Default for EnrichmentConfig {
    fn default() -> Self {
        EnrichmentConfig { least: 1, most: usize::MAX, count_empty: false }
    }
}

impl EnrichmentConfig {
    /// All sets with a selected gene.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many measured genes a set has at least and at most.
    pub fn sizes(mut self, least: usize, most: usize) -> Self {
        self.least = least;
        self.most = most;
        self
    }

    /// Sets whether sets without a selected gene count as tests.
    pub fn count_empty(mut self, count: bool) -> Self {
        self.count_empty = count;
        self
    }

    /// Checks that the smallest size is not above the largest.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        if self.least > self.most {
            return Err(Error::config(OP, "least", format!("at most {}", self.most), self.least));
        }
        Ok(())
    }
}

/// One set of genes and how over-represented it is among the selected ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enriched {
    /// The set's name.
    pub name: String,
    /// Its selected genes, in the order of the selection.
    pub genes: Vec<String>,
    /// Its measured genes.
    pub size: usize,
    /// How many more selected genes it has than expected of a random selection.
    pub fold: f64,
    /// The chance of at least as many.
    pub p_value: f64,
    /// The false discovery rate by Benjamini and Hochberg, over the sets that count as tests.
    pub q_value: f64,
}

/// Which sets have more of the `selected` genes than chance, against the genes that were measured:
/// `P(X >= k) = sum_{i >= k} C(K, i) C(N - K, n - i) / C(N, n)`, sorted by p-value.
///
/// Genes that were not measured are taken out of the selection and of the sets first: a gene that could not have been
/// selected is no evidence. Names are compared as they are.
///
/// # Errors
/// [`Error::Argument`] for sizes that exclude each other, [`Error::Input`] if no selected gene was measured; an error of the statistics.
///
/// # Example
/// ```
/// use oncograph_explain::{EnrichmentConfig, over_representation};
///
/// let names = |list: &[&str]| list.iter().map(|n| n.to_string()).collect::<Vec<_>>();
/// let sets = [("repair", names(&["A", "B"])), ("growth", names(&["C", "D"]))];
/// let found =
///     over_representation(&names(&["A", "B"]), &names(&["A", "B", "C", "D"]), &sets, &EnrichmentConfig::new())?;
/// assert_eq!(found[0].name, "repair");
/// assert!((found[0].p_value - 1.0 / 6.0).abs() < 1e-15);
/// # Ok::<(), oncograph_explain::Error>(())
/// ```
///
/// # Reference
/// `scipy.stats.hypergeom.sf`; `gseapy.enrich` with the measured genes as background.
pub fn over_representation<N: AsRef<str>>(
    selected: &[String],
    measured: &[String],
    sets: &[(N, Vec<String>)],
    config: &EnrichmentConfig,
) -> Result<Vec<Enriched>> {
    config.validate()?;
    let universe: HashSet<&str> = measured.iter().map(String::as_str).collect();
    let mut drawn: Vec<&str> = vec![];
    let mut seen = HashSet::new();
    for gene in selected {
        if universe.contains(gene.as_str()) && seen.insert(gene.as_str()) {
            drawn.push(gene);
        }
    }
    if drawn.is_empty() {
        return Err(Error::input(
            OP,
            "a selected gene among the measured ones",
            format!("{} genes", selected.len()),
        ));
    }
    let mut found = vec![];
    for (name, genes) in sets {
        let members: HashSet<&str> =
            genes.iter().map(String::as_str).filter(|g| universe.contains(g)).collect();
        if members.is_empty() || members.len() < config.least || members.len() > config.most {
            continue;
        }
        let hits: Vec<String> =
            drawn.iter().filter(|g| members.contains(**g)).map(|g| g.to_string()).collect();
        if hits.is_empty() && !config.count_empty {
            continue;
        }
        let [k, set, n, all] = [hits.len(), members.len(), drawn.len(), universe.len()];
        let p_value = hypergeometric_enrichment(k as u64, set as u64, n as u64, all as u64)?;
        let fold = k as f64 / (set as f64 * n as f64 / all as f64);
        found.push(Enriched {
            name: name.as_ref().into(),
            genes: hits,
            size: set,
            fold,
            p_value,
            q_value: f64::NAN,
        });
    }
    let p_values: Vec<f64> = found.iter().map(|f| f.p_value).collect();
    let adjusted =
        if p_values.is_empty() { vec![] } else { adjust_p_values(&p_values, Correction::BenjaminiHochberg)? };
    found.iter_mut().zip(adjusted).for_each(|(f, q)| f.q_value = q);
    found.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then_with(|| a.name.cmp(&b.name)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|i| format!("g{i}")).collect()
    }

    #[test]
    fn defect_11_enrichment_needs_no_service() {
        // scipy.stats.hypergeom.sf(4, 100, 10, 20) and (0, 100, 20, 20), and both by Benjamini and Hochberg.
        let selected: Vec<String> = names(0..5).into_iter().chain(names(40..55)).collect();
        let mut first = names(0..10);
        first.extend(names(500..600));
        let sets =
            [("b", names(54..74)), ("a", first), ("none", names(80..90)), ("unmeasured", names(900..910))];
        let found = over_representation(&selected, &names(0..100), &sets, &EnrichmentConfig::new()).unwrap();
        let rows: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.size, f.genes.len())).collect();
        assert_eq!(rows, [("a", 10, 5), ("b", 20, 1)]);
        approx::assert_relative_eq!(found[0].p_value, 0.025464546427043124, max_relative = 1e-12);
        approx::assert_relative_eq!(found[1].p_value, 0.9934040562871407, max_relative = 1e-12);
        approx::assert_relative_eq!(found[0].q_value, 2.0 * found[0].p_value, max_relative = 1e-12);
        assert_eq!(found[0].fold, 2.5);
        let counted = EnrichmentConfig::new().count_empty(true);
        assert_eq!(over_representation(&selected, &names(0..100), &sets, &counted).unwrap().len(), 3);
        assert!(over_representation(&names(200..210), &names(0..100), &sets, &counted).is_err());
        let apart = EnrichmentConfig::new().sizes(5, 4);
        let error = over_representation(&selected, &names(0..100), &sets, &apart).unwrap_err();
        assert_eq!(error.to_string(), "over_representation: least must be at most 4, got 5");
    }
}
