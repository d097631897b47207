use super::table::open;
use crate::{Error, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Named sets of genes, for example the pathways of Reactome or the terms of GO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GeneSets {
    /// Name, description and genes of each set, in the file's order.
    pub sets: Vec<(String, String, Vec<String>)>,
}

impl GeneSets {
    /// Reads a GMT file, gzipped if its name ends in `.gz`: a set per line, its name, a description and its genes, with
    /// tabs between them. A gene that is there twice counts once.
    ///
    /// # Errors
    /// [`Error::AtFile`]: a file that cannot be read, one without sets, or a line that has no gene.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut sets = vec![];
        for (i, line) in BufReader::new(open(path)?).lines().enumerate() {
            let line = line.map_err(|e| Error::io("read", path, e))?;
            if line.trim().is_empty() {
                continue;
            }
            let mut cells = line.trim_end_matches(['\r', '\n']).split('\t').map(str::trim);
            let (name, description) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let mut genes: Vec<String> = cells.filter(|g| !g.is_empty()).map(String::from).collect();
            genes.sort_unstable();
            genes.dedup();
            if name.is_empty() || genes.is_empty() {
                let detail =
                    format!("line {} has no name, description and genes with tabs between them", i + 1);
                return Err(Error::format(path, "GMT", detail));
            }
            sets.push((name.into(), description.into(), genes));
        }
        if sets.is_empty() {
            return Err(Error::format(path, "GMT", "there is no set in it"));
        }
        Ok(GeneSets { sets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_genes_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gmt");
        std::fs::write(&path, "P\thttp://x\tB\tA\tB\t\n\n").unwrap();
        let sets = GeneSets::read(&path).unwrap().sets;
        assert_eq!(sets, [("P".to_string(), "http://x".to_string(), vec!["A".to_string(), "B".to_string()])]);
        std::fs::write(&path, "P\tx\tA\nQ\n").unwrap();
        assert!(GeneSets::read(&path).unwrap_err().to_string().contains("line 2 has no name"));
    }
}
