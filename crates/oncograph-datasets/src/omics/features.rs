//! The names of features: what spreadsheet programs, R and pandas do to them, and what makes them match no gene set.

use super::barcode::looks_like_sample;
use crate::tables::{file_name, name_of_column};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Names that are shown in a message.
const SHOWN: usize = 5;

/// The checked names of a table's columns.
#[derive(Debug)]
pub(super) struct FeatureNames {
    /// The name of the first column.
    pub id: String,
    /// Without versions.
    pub features: Vec<String>,
    /// Remarks on names that were changed or are odd.
    pub notes: Vec<String>,
    /// The names as in the file, where they differ.
    original: Option<Vec<String>>,
}

impl FeatureNames {
    /// Checks a header, of which the first column are identifiers of samples.
    ///
    /// Columns without a name at the end of a table are passed over, as long as their cells are empty.
    ///
    /// # Errors
    /// [`Error::AtFile`] for no feature, no header, samples in columns, dates, or a name that is empty, and
    /// [`Error::DuplicateColumn`].
    pub fn new(path: &Path, sheet: Option<&str>, header: &[String]) -> Result<Self> {
        let named = header.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        let refuse = |detail: String| Err(Error::at(path, detail));
        let id = name_of_column(header, 0);
        let names = header.get(1..named).unwrap_or_default();
        if names.is_empty() {
            return refuse(format!(
                "there is no feature: `{id}` is the only column; cells are to be separated by commas, tabs or semicolons"
            ));
        }
        let all = |fits: fn(&str) -> bool| -> Vec<&str> {
            names.iter().map(String::as_str).filter(|name| fits(name)).collect()
        };
        let numbers = all(is_fraction);
        if 2 * numbers.len() > names.len() {
            return refuse(format!(
                "the first row holds numbers ({}): the header is missing",
                list(&numbers)
            ));
        }
        let samples = all(looks_like_sample);
        if 2 * samples.len() >= names.len() {
            return refuse(transposed(&format!("the columns are samples ({})", list(&samples))));
        }
        if holds_features(&id) {
            return refuse(transposed(&format!("the first column is `{id}`")));
        }
        let dates = all(is_date);
        if !dates.is_empty() {
            return refuse(format!(
                "the names of {} columns are dates: {}. A spreadsheet program makes dates of genes such as MARCH1, SEPT2 and DEC1: \
                 take the names from the original table",
                dates.len(),
                list(&dates)
            ));
        }
        let scientific = all(is_scientific);
        if !scientific.is_empty() {
            return refuse(format!(
                "the names of {} columns are numbers with an exponent: {}. A spreadsheet program makes them of identifiers such as \
                 2310009E13: take the names from the original table",
                scientific.len(),
                list(&scientific)
            ));
        }
        if let Some(column) = names.iter().position(String::is_empty) {
            return refuse(format!("column {} of {named} has no name", column + 2));
        }
        Self::with_versions_cut(path, sheet, &header[..named])
    }

    /// The identifiers of samples in the header of a transposed table, of which the first column are features.
    ///
    /// # Errors
    /// [`Error::AtFile`] for no sample or one without a name, and [`Error::DuplicateColumn`].
    pub fn of_samples(path: &Path, sheet: Option<&str>, header: &[String]) -> Result<Self> {
        let named = header.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        let samples = header.get(1..named).unwrap_or_default();
        if samples.is_empty() {
            return Err(Error::at(
                path,
                "there is no sample: a transposed table has one for each further column",
            ));
        }
        let mut first_of: HashMap<&str, usize> = HashMap::new();
        for (column, sample) in samples.iter().enumerate() {
            if sample.is_empty() {
                return Err(Error::at(path, format!("column {} of {named} has no name", column + 2)));
            }
            if let Some(first) = first_of.insert(sample, column) {
                return Err(Error::duplicate_column(path, sheet, header, first + 1, column + 1));
            }
        }
        let features = samples.to_vec();
        Ok(FeatureNames { id: name_of_column(header, 0), features, notes: vec![], original: None })
    }

    fn with_versions_cut(path: &Path, sheet: Option<&str>, header: &[String]) -> Result<Self> {
        let file = file_name(path);
        let (names, mut notes) = (&header[1..], vec![]);
        let features: Vec<String> = names.iter().map(|name| without_version(name)).collect();
        let mut first_of: HashMap<&str, usize> = HashMap::new();
        for (column, name) in features.iter().enumerate() {
            if let Some(first) = first_of.insert(name, column) {
                return Err(Error::duplicate_column(path, sheet, header, first + 1, column + 1));
            }
        }
        let cut: Vec<&str> =
            names.iter().zip(&features).filter(|(a, b)| a != b).map(|(name, _)| name.as_str()).collect();
        if !cut.is_empty() {
            let (n, first) = (cut.len(), list(&cut[..1]));
            notes.push(format!(
                "{file}: the versions of {n} identifiers are cut, as of {first}: gene sets have none"
            ));
        }
        let known: HashSet<&str> = features.iter().map(String::as_str).collect();
        let again =
            |name: &&str| name.rsplit_once('.').is_some_and(|(stem, n)| is_digits(n) && known.contains(stem));
        let again: Vec<&str> = features.iter().map(String::as_str).filter(again).collect();
        if !again.is_empty() {
            notes.push(format!(
                "{file}: {} features are named as pandas and R name a second column of the same name: {}",
                again.len(),
                list(&again)
            ));
        }
        let original = (!cut.is_empty()).then(|| names.to_vec());
        Ok(FeatureNames { id: name_of_column(header, 0), features, notes, original })
    }

    /// A feature's name in the file.
    pub fn original(&self, feature: usize) -> &str {
        &self.original.as_ref().unwrap_or(&self.features)[feature]
    }

    /// The error for a cell in a column without a name.
    pub fn unnamed(&self, path: &Path, column: usize, row: usize) -> Error {
        Error::at(path, format!("column {} has no name, but a value in row {row}", column + 1))
    }
}

/// Refuses a table whose rows are genes, by the identifier of its first row.
pub(super) fn refuse_gene(path: &Path, id: &str) -> Result<()> {
    match is_ensembl(id) {
        true => Err(Error::at(path, transposed(&format!("the first row is of {id}")))),
        false => Ok(()),
    }
}

fn transposed(what: &str) -> String {
    format!(
        "{what}: features are in the rows and samples in the columns; a row for each sample is needed. Transpose the table, \
         for example with pandas: `read_csv(FILE, index_col=0).T.to_csv(OUT)`"
    )
}

/// Whether a first column of this name holds features, so that columns are samples.
fn holds_features(name: &str) -> bool {
    let name: String =
        name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    let known = [
        "gene",
        "genes",
        "gene_id",
        "gene_ids",
        "geneid",
        "gene_name",
        "gene_names",
        "gene_symbol",
        "genesymbol",
        "symbol",
        "hugo_symbol",
        "hgnc_symbol",
        "ensembl",
        "ensembl_id",
        "ensembl_gene_id",
        "ensg",
        "entrez",
        "entrez_id",
        "entrez_gene_id",
        "hybridization_ref",
        "composite_element_ref",
        "probe",
        "probe_id",
        "probeset",
        "probeset_id",
        "id_ref",
        "cpg",
        "mirna",
        "mirna_id",
        "protein",
        "protein_id",
        "antibody",
        "feature",
        "features",
        "feature_id",
    ];
    known.contains(&name.as_str())
}

/// Names for a message, the first of them.
pub(super) fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    format!("{}{}", shown.join(", "), if names.len() > SHOWN { ", ..." } else { "" })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A number that is no integer: integers may be Entrez' identifiers of genes.
fn is_fraction(name: &str) -> bool {
    name.parse::<f64>().is_ok_and(|v| v.is_finite()) && !is_digits(name)
}

fn is_scientific(name: &str) -> bool {
    let exponent = |(_, e): (&str, &str)| e.starts_with(['+', '-']) && is_digits(&e[1..]);
    is_fraction(name) && name.to_ascii_uppercase().split_once('E').is_some_and(exponent)
}

/// Whether a name is a date as spreadsheet programs of several languages write it: `1-Mar`, `02. Sep`, `Sep-02`, `2024-03-01`,
/// `01/03/2024`. A month before a single digit is none: Oct-4 is a protein.
pub(super) fn is_date(name: &str) -> bool {
    // The time of day, with which a date may end.
    let date =
        name.split_once([' ', 'T']).filter(|(_, time)| time.contains(':')).map_or(name, |(date, _)| date);
    let parts: Vec<&str> = date.split(['-', '/', '.', ' ']).filter(|part| !part.is_empty()).collect();
    let number = |text: &str, range: std::ops::RangeInclusive<u32>| {
        is_digits(text) && text.len() <= 4 && text.parse().is_ok_and(|n| range.contains(&n))
    };
    let year = |text: &str| (text.len() == 2 || text.len() == 4) && is_digits(text);
    let (day, month) =
        (|t: &str| t.len() <= 2 && number(t, 1..=31), |t: &str| t.len() <= 2 && number(t, 1..=12));
    match parts[..] {
        [d, m] if is_month(m) => day(d),
        [m, y] if is_month(m) => year(y),
        [d, m, y] if is_month(m) => day(d) && year(y),
        [m, d, y] if is_month(m) => day(d) && year(y),
        [y, m, d] if y.len() == 4 => number(y, 1900..=2100) && month(m) && day(d),
        [a, b, y] if y.len() == 4 => number(y, 1900..=2100) && day(a) && day(b) && (month(a) || month(b)),
        _ => false,
    }
}

/// Months in English, German, French, Spanish, Italian and Portuguese, whole or shortened.
fn is_month(text: &str) -> bool {
    const MONTHS: [&str; 34] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mrz",
        "mär", "mai", "okt", "dez", "janv", "févr", "mars", "avr", "juin", "juil", "août", "déc", "ene",
        "abr", "ago", "dic", "gen", "mag", "giu", "lug",
    ];
    const LONG: [&str; 26] = [
        "set",
        "ott",
        "fev",
        "out",
        "january",
        "february",
        "march",
        "april",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "januar",
        "februar",
        "märz",
        "juni",
        "juli",
        "oktober",
        "dezember",
        "janvier",
        "février",
        "avril",
        "juillet",
    ];
    let text = text.to_lowercase();
    MONTHS.contains(&text.as_str()) || LONG.contains(&text.as_str())
}

/// Whether a name is one of Ensembl's genes, transcripts, exons or proteins.
fn is_ensembl(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let kind = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let upper = kind.starts_with("ENS") && kind.bytes().all(|b| b.is_ascii_uppercase());
    upper && kind.ends_with(['G', 'T', 'P', 'E']) && stem.len() - kind.len() == 11
}

/// Whether a name is one of RefSeq's transcripts or proteins.
fn is_refseq(name: &str) -> bool {
    let known = ["NM_", "NR_", "NP_", "XM_", "XR_", "XP_"];
    let number = |rest: &str| is_digits(rest.split('.').next().unwrap_or_default());
    known.iter().any(|p| name.strip_prefix(p).is_some_and(number))
}

/// An identifier of Ensembl or RefSeq without its version; what stands behind it is kept: `ENSG00000002586.20_PAR_Y` is of
/// another chromosome than `ENSG00000002586.20`.
fn without_version(name: &str) -> String {
    let Some((stem, rest)) = name.split_once('.') else { return name.into() };
    let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let versioned = behind.len() < rest.len() && (behind.is_empty() || behind.starts_with('_'));
    match versioned && (is_ensembl(name) || is_refseq(name)) {
        true => format!("{stem}{behind}"),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(header: &[&str]) -> Result<FeatureNames> {
        let header: Vec<String> = header.iter().map(|h| h.to_string()).collect();
        FeatureNames::new(Path::new("t.csv"), None, &header)
    }

    fn error(header: &[&str]) -> String {
        names(header).unwrap_err().to_string()
    }

    #[test]
    fn dates_in_many_languages_are_no_genes_but_genes_are() {
        for date in [
            "1-Mar",
            "01-Mar",
            "2-Sep",
            "Sep-02",
            "sept-02",
            "1. Mrz",
            "01.Mär",
            "1-mars",
            "2-sept.",
            "1-Dec",
            "1-déc",
            "Mar-01",
            "2024-03-01",
            "2024-03-01 00:00:00",
            "01/03/2024",
            "1.3.2024",
            "2-Sep-24",
            "March-01",
            "1-ott",
        ] {
            assert!(is_date(date), "{date}");
        }
        for name in [
            "MARCH1",
            "SEPT2",
            "DEC1",
            "Oct-4",
            "OCT4",
            "HLA-A",
            "NKX2-1",
            "14-3-3_beta",
            "4E-BP1",
            "1-Mac",
            "H1.2",
            "hsa-mir-10",
            "MT-ND1",
            "RP11-34P13.7",
            "AC000111.1",
            "BH3-2-1",
            "A-Raf_pS299",
            "7-7-77",
            "TBA.umol.L.",
        ] {
            assert!(!is_date(name), "{name}");
        }
        let text = error(&["sample", "TP53", "1-Mar", "1-Mar", "2-Sep"]);
        assert!(text.contains("t.csv") && text.contains("dates: `1-Mar`, `1-Mar`, `2-Sep`"), "{text}");
        assert!(error(&["sample", "TP53", "2.31E+13"]).contains("`2.31E+13`"));
        assert!(names(&["sample", "1", "2", "EGFR"]).is_ok());
    }

    #[test]
    fn versions_are_cut_and_said() {
        let found =
            names(&["s", "ENSG00000141510.17", "ENSMUST00000000001.4", "NM_000546.6", "RP11-34P13.7"])
                .unwrap();
        assert_eq!(found.features, ["ENSG00000141510", "ENSMUST00000000001", "NM_000546", "RP11-34P13.7"]);
        assert!(found.notes[0].contains("versions of 3 identifiers"), "{:?}", found.notes);
        assert_eq!(found.original(0), "ENSG00000141510.17");
        let y = names(&["s", "ENSG00000002586.20", "ENSG00000002586.20_PAR_Y"]).unwrap();
        assert_eq!(y.features, ["ENSG00000002586", "ENSG00000002586_PAR_Y"]);
        let text = error(&["s", "ENSG00000141510.17", "TP53", "ENSG00000141510.18"]);
        assert!(
            text.contains("`ENSG00000141510.17` or `ENSG00000141510.18` is there twice, as columns 2 and 4"),
            "{text}"
        );
        assert!(names(&["s", "TP53", "EGFR"]).unwrap().notes.is_empty());
    }

    #[test]
    fn names_that_are_there_twice_or_not_at_all() {
        let text = error(&["s", "TP53", "EGFR", "TP53"]);
        assert!(text.contains("column `TP53` is there twice, as columns 2 and 4"), "{text}");
        assert!(error(&["s", "TP53", "", "EGFR"]).contains("column 3 of 4 has no name"));
        assert_eq!(names(&["", "TP53", "", ""]).unwrap().features, ["TP53"]);
        assert!(error(&["S1\\t1"]).contains("no feature") && error(&[]).contains("no feature"));
        assert!(error(&["S1", "0.5", "-1.25"]).contains("header is missing"));
        assert!(names(&["s", "TP53", "TP53.1"]).unwrap().notes[0].contains("`TP53.1`"));
    }

    #[test]
    fn samples_in_columns_are_refused_however_they_are_known() {
        for header in [
            ["gene", "TCGA-02-0001-01A", "TCGA-02-0003-01A"],
            ["", "TCGA.02.0001.01", "tcga.02.0003.11"],
            ["x", "GSM123456", "GSM123457"],
            ["", "GTEX-1117F-0226-SM-5GZZ7", "GTEX-111CU-1826-SM-5GZYN"],
            ["Hugo_Symbol", "P1", "P2"],
            ["Hybridization REF", "a", "b"],
        ] {
            let text = error(&header);
            assert!(text.contains("Transpose the table"), "{text}");
        }
        assert!(refuse_gene(Path::new("t.csv"), "ENSG00000141510.17").is_err());
        assert!(refuse_gene(Path::new("t.csv"), "TCGA-02-0001").is_ok());
    }
}
