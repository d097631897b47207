use crate::Result;
use crate::tables::{Row, Sheet};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Calls `row` with each row of a table and the places of the named columns.
fn columns<const N: usize>(
    path: &Path,
    wanted: [&str; N],
    mut row: impl FnMut(Row<'_>, [usize; N]) -> Result<()>,
) -> Result<()> {
    let sheet = Sheet::read(path)?;
    let mut places = [0; N];
    for (place, name) in places.iter_mut().zip(wanted) {
        *place = sheet.require(name)?;
    }
    sheet.rows().try_for_each(|r| row(r, places))
}

/// Protein pairs of BioPlex by gene symbol, with at least this probability of interaction (`pInt`).
///
/// # Errors
/// [`MissingColumn`](crate::Error::MissingColumn), [`Cell`](crate::Error::Cell) for a probability that is no number, errors of the file.
pub fn read_bioplex(path: impl AsRef<Path>, least: f64) -> Result<Vec<(String, String)>> {
    scored(path.as_ref(), ["SymbolA", "SymbolB", "pInt"], least)
}

/// Pairs of a table with columns for two names and a score, as STRING and BioGRID export them; those with
/// at least the score `least` (0.7 as a rule).
///
/// # Errors
/// As [`read_bioplex`].
pub fn read_scored_edges(
    path: impl AsRef<Path>,
    columns: [&str; 3],
    least: f64,
) -> Result<Vec<(String, String)>> {
    scored(path.as_ref(), columns, least)
}

fn scored(path: &Path, names: [&str; 3], least: f64) -> Result<Vec<(String, String)>> {
    let mut pairs = vec![];
    columns(path, names, |row, [a, b, score]| {
        let value = row.number(score)?.ok_or_else(|| row.refuse(score, "a number"))?;
        if value >= least {
            pairs.push((row.text(a)?.into_owned(), row.text(b)?.into_owned()));
        }
        Ok(())
    })?;
    Ok(pairs)
}

/// Transcription factors and their targets from TRRUST, which has a header in the copies that circulate.
///
/// # Errors
/// As [`read_bioplex`].
pub fn read_trrust(path: impl AsRef<Path>) -> Result<Vec<(String, String)>> {
    read_edges(path, ["Gene1", "Gene2"])
}

/// The pairs of a table with columns for two names.
///
/// # Errors
/// As [`read_bioplex`].
pub fn read_edges(path: impl AsRef<Path>, names: [&str; 2]) -> Result<Vec<(String, String)>> {
    let mut pairs = vec![];
    columns(path.as_ref(), names, |row, [a, b]| {
        pairs.push((row.text(a)?.into_owned(), row.text(b)?.into_owned()));
        Ok(())
    })?;
    Ok(pairs)
}

/// From a name to others, out of two columns of a table; several others are separated by spaces, commas or semicolons. For
/// example gene symbols to UniProt, or antibodies to gene symbols.
///
/// # Errors
/// As [`read_bioplex`].
pub fn read_map(path: impl AsRef<Path>, from: &str, to: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    columns(path.as_ref(), [from, to], |row, [from, to]| {
        let to = row.text(to)?;
        let names = to.split([' ', ',', ';']).filter(|n| !n.is_empty()).map(String::from);
        map.entry(row.text(from)?.into_owned()).or_default().extend(names);
        Ok(())
    })?;
    Ok(map)
}

/// Pairs of names as pairs of positions; pairs with a name that the lists lack are left out.
pub fn named_edges(pairs: &[(String, String)], from: &[String], to: &[String]) -> Vec<(u32, u32)> {
    let place = |names: &[String]| -> HashMap<String, u32> {
        names.iter().enumerate().map(|(i, n)| (n.clone(), i as u32)).collect()
    };
    let (sources, targets) = (place(from), place(to));
    pairs.iter().filter_map(|(a, b)| Some((*sources.get(a)?, *targets.get(b)?))).collect()
}

/// Protein–protein and gene–protein edges of an antibody table: two antibodies are joined where genes that they bind
/// the products of are joined in `pairs`, or where they share a gene (a protein and its phosphorylated form); a gene is
/// joined to each antibody against its product (`codes_for`).
///
/// The answer is (protein–protein, gene–protein).
#[allow(clippy::type_complexity)] // two lists of pairs
pub fn antibody_edges(
    antibodies: &[String],
    genes_of: &BTreeMap<String, Vec<String>>,
    genes: &[String],
    pairs: &[(String, String)],
) -> (Vec<(u32, u32)>, Vec<(u32, u32)>) {
    let mut bound: HashMap<&str, Vec<u32>> = HashMap::new();
    for (i, antibody) in antibodies.iter().enumerate() {
        for gene in genes_of.get(antibody).into_iter().flatten() {
            bound.entry(gene).or_default().push(i as u32);
        }
    }
    let mut proteins = vec![];
    for group in bound.values() {
        for (k, a) in group.iter().enumerate() {
            proteins.extend(group[k + 1..].iter().map(|b| (*a.min(b), *a.max(b))));
        }
    }
    for (a, b) in pairs {
        for x in bound.get(a.as_str()).into_iter().flatten() {
            for y in bound.get(b.as_str()).into_iter().flatten().filter(|y| *y != x) {
                proteins.push((*x.min(y), *x.max(y)));
            }
        }
    }
    proteins.sort_unstable();
    proteins.dedup();
    let codes = genes
        .iter()
        .enumerate()
        .flat_map(|(g, name)| bound.get(name.as_str()).into_iter().flatten().map(move |p| (g as u32, *p)));
    (proteins, codes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_edges_and_a_missing_column_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edges.tsv");
        std::fs::write(&path, "\"SymbolA\"\t\"SymbolB\"\t\"pInt\"\nA\tB\t0.9\nA\tC\t0.5\n").unwrap();
        let pairs = read_bioplex(&path, 0.7).unwrap();
        assert_eq!(pairs, [("A".to_string(), "B".to_string())]);
        let names = ["B", "A"].map(String::from);
        assert_eq!(named_edges(&pairs, &names, &names), [(1, 0)]);
        let error = read_trrust(&path).unwrap_err().to_string();
        assert!(error.contains("no column `Gene1`; found: SymbolA, SymbolB, pInt"), "{error}");
        std::fs::write(&path, "SymbolA\tSymbolB\tpInt\nA\tB\thigh\n").unwrap();
        assert!(read_bioplex(&path, 0.7).unwrap_err().to_string().contains("row 2, column `pInt`"));
    }

    #[test]
    fn antibodies_are_joined_through_genes() {
        let antibodies = ["Akt", "Akt_pS473", "PTEN", "p53"].map(String::from);
        let map = BTreeMap::from([
            ("Akt".to_string(), vec!["AKT1".to_string(), "AKT2".to_string()]),
            ("Akt_pS473".to_string(), vec!["AKT1".to_string()]),
            ("PTEN".to_string(), vec!["PTEN".to_string()]),
        ]);
        let pairs = [("PTEN".to_string(), "AKT2".to_string())];
        let genes = ["TP53", "AKT1"].map(String::from);
        let (proteins, codes) = antibody_edges(&antibodies, &map, &genes, &pairs);
        assert_eq!(proteins, [(0, 1), (0, 2)]);
        assert_eq!(codes, [(1, 0), (1, 1)]);
    }
}
