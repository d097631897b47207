use super::features::{is_date, list};
use crate::tables::{file_name, read_text};
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

/// Named sets of genes, for example the pathways of Reactome or the terms of GO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GeneSets {
    /// Name, description and genes of each set, in the file's order.
    pub sets: Vec<(String, String, Vec<String>)>,
    /// Remarks on how the file was read, to be shown beside results.
    pub notes: Vec<String>,
}

impl GeneSets {
    /// Reads a GMT file, plain or gzip: a set per line, its name, a description and its genes, with tabs between them. A gene
    /// that is there twice counts once; the weight in `GENE,1.0`, as Enrichr writes it, is left out; sets without genes are
    /// passed over. Each of these is in the notes.
    ///
    /// # Errors
    /// [`Error::AtFile`]: a file that cannot be read, one without a set that has genes, or a line without a name.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (text, mut notes) = read_text(path)?;
        let file = file_name(path);
        let (mut sets, mut empty, mut weighted, mut again) = (vec![], vec![], 0, vec![]);
        let (mut dates, mut seen) = (vec![], HashSet::new());
        for (i, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let mut cells = line.split('\t').map(str::trim);
            let (name, description) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let mut genes: Vec<String> = vec![];
            for cell in cells.filter(|g| !g.is_empty()) {
                let gene = without_weight(cell);
                weighted += usize::from(gene.len() < cell.len());
                if is_date(gene) {
                    dates.push(gene.to_owned());
                }
                genes.push(gene.to_owned());
            }
            genes.sort_unstable();
            genes.dedup();
            if genes.is_empty() {
                empty.push(format!("{name} (line {})", i + 1));
                continue;
            }
            if name.is_empty() {
                return Err(Error::format(
                    path,
                    "GMT",
                    format!("line {} has genes, but no name of a set", i + 1),
                ));
            }
            if !seen.insert(name.to_owned()) {
                again.push(name.to_owned());
            }
            sets.push((name.into(), description.into(), genes));
        }
        if sets.is_empty() {
            let detail =
                "there is no set in it: a line is a name, a description and genes, with tabs between them";
            return Err(Error::format(path, "GMT", detail));
        }
        let mut note = |names: &[String], what: &str| {
            if !names.is_empty() {
                let shown: Vec<&str> = names.iter().map(String::as_str).collect();
                notes.push(format!("{file}: {} {what}: {}", names.len(), list(&shown)));
            }
        };
        note(&empty, "sets without genes are passed over");
        note(&again, "names of sets are there more than once");
        note(&dates, "genes are dates, which a spreadsheet program made of names such as MARCH1 and SEPT2");
        if weighted > 0 {
            notes.push(format!("{file}: the weights of {weighted} genes are left out"));
        }
        Ok(GeneSets { sets, notes })
    }
}

/// A gene without the number behind a comma.
fn without_weight(cell: &str) -> &str {
    match cell.rsplit_once(',') {
        Some((gene, weight)) if !gene.trim().is_empty() && weight.trim().parse::<f64>().is_ok() => {
            gene.trim()
        }
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> Result<GeneSets> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gmt");
        std::fs::write(&path, bytes).unwrap();
        GeneSets::read(&path)
    }

    fn sets(of: &[(&str, &str, &[&str])]) -> Vec<(String, String, Vec<String>)> {
        let genes = |genes: &[&str]| genes.iter().map(|g| g.to_string()).collect();
        of.iter().map(|(name, about, g)| (name.to_string(), about.to_string(), genes(g))).collect()
    }

    #[test]
    fn genes_are_sorted_and_counted_once() {
        let found = read(b"P\thttp://x\tB\tA\tB\t\n\n").unwrap();
        assert_eq!(found.sets, sets(&[("P", "http://x", &["A", "B"])]));
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }

    #[test]
    fn sets_without_genes_are_passed_over_unless_there_is_no_other() {
        for text in [
            "A\tx\tTP53\nB\tx\nC\tx\tMYC\n",
            "A\tx\tTP53\r\nB\tx\t\t\r\nC\tx\tMYC",
            "A\tx\tTP53\rB\rC\tx\tMYC\r",
        ] {
            let found = read(text.as_bytes()).unwrap();
            assert_eq!(found.sets, sets(&[("A", "x", &["TP53"]), ("C", "x", &["MYC"])]), "{text:?}");
            assert!(
                found
                    .notes
                    .iter()
                    .any(|n| n.contains("a.gmt: 1 sets without genes are passed over: `B (line 2)`")),
                "{:?}",
                found.notes
            );
        }
        for text in ["Q\nP\tx\n", "P TP53 MYC\n", "\n"] {
            assert!(read(text.as_bytes()).unwrap_err().to_string().contains("no set in it"), "{text:?}");
        }
        assert!(read(b"\tx\tTP53\n").unwrap_err().to_string().contains("line 1 has genes, but no name"));
    }

    #[test]
    fn marks_weights_and_encodings_are_no_part_of_a_name() {
        let expected = sets(&[("A", "d\u{e9}f", &["EGFR", "TP53"])]);
        let utf8 = "\u{feff}A\td\u{e9}f\tTP53,1.0\tEGFR,-5e-1\t\n".as_bytes();
        let utf16: Vec<u8> =
            "\u{feff}A\td\u{e9}f\tTP53\tEGFR\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [utf8, b"A\td\xe9f\tTP53\tEGFR\n", &utf16] {
            assert_eq!(read(bytes).unwrap().sets, expected, "{bytes:?}");
        }
        assert!(read(utf8).unwrap().notes[0].contains("weights of 2 genes"));
        assert!(read(&utf16).unwrap().notes[0].contains("UTF-16LE"));
        let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gz.write_all(utf8).unwrap();
        assert_eq!(read(&gz.finish().unwrap()).unwrap().sets, expected);
        // A comma that is part of a name, and names that were changed.
        let odd = read(b"A\tx\tHLA-A,B\t1-Mar\nA\tx\tTP53\n").unwrap();
        assert_eq!(odd.sets[0].2, ["1-Mar", "HLA-A,B"]);
        assert!(
            odd.notes[0].contains("more than once: `A`")
                && odd.notes[1].contains("dates")
                && odd.notes[1].contains("`1-Mar`"),
            "{:?}",
            odd.notes
        );
    }
}
