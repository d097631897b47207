//! Barcodes of TCGA: patients, and which of their samples count.

use super::OmicsTable;
use super::features::list;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// TCGA's types of samples that are taken, in order of preference: 1 a primary solid tumour (`-01`), 2 a recurrent one, 3 and 9
/// blood, 6 a metastasis, 11 normal tissue.
///
/// # Example
/// ```
/// use oncograph_datasets::omics::SampleTypes;
///
/// assert_eq!(SampleTypes::default().types(), [1]);
/// assert_eq!("01,02".parse::<SampleTypes>()?.types(), [1, 2]);
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
///
/// # Reference
/// The code tables of the Genomic Data Commons, *Sample Type Codes*.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct SampleTypes(Vec<u8>);

impl SampleTypes {
    /// Some types, the preferred one first.
    ///
    /// # Errors
    /// [`Error::Argument`] for no type, one that is there twice or is not within 1 to 99.
    pub fn new(types: &[u8]) -> Result<Self> {
        let distinct: BTreeSet<u8> = types.iter().copied().collect();
        if types.is_empty() || distinct.len() < types.len() || types.iter().any(|t| !(1..=99).contains(t)) {
            let got = format!("{types:?}");
            return Err(Error::argument(
                "SampleTypes",
                "types",
                "distinct codes of 1 to 99, at least one",
                got,
            ));
        }
        Ok(SampleTypes(types.to_vec()))
    }

    /// The codes, the preferred one first.
    pub fn types(&self) -> &[u8] {
        &self.0
    }
}

impl Default for SampleTypes {
    fn default() -> Self {
        SampleTypes(vec![1])
    }
}

impl TryFrom<Vec<u8>> for SampleTypes {
    type Error = Error;

    fn try_from(types: Vec<u8>) -> Result<Self> {
        SampleTypes::new(&types)
    }
}

impl From<SampleTypes> for Vec<u8> {
    fn from(types: SampleTypes) -> Self {
        types.0
    }
}

impl FromStr for SampleTypes {
    type Err = Error;

    /// Codes with commas between them.
    fn from_str(text: &str) -> Result<Self> {
        let types: std::result::Result<Vec<u8>, _> =
            text.split(',').map(|part| part.trim().parse()).collect();
        match types {
            Ok(types) => SampleTypes::new(&types),
            Err(_) => {
                Err(Error::argument("SampleTypes", "text", "codes with commas between them, as 01,02", text))
            }
        }
    }
}

impl std::fmt::Display for SampleTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codes: Vec<String> = self.0.iter().map(|t| format!("{t:02}")).collect();
        f.write_str(&codes.join(", "))
    }
}

/// A barcode of TCGA in any spelling: dots or lines below for hyphens, small letters, with or without a sample and what it was
/// cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Barcode {
    /// `TCGA-02-0001`.
    pub patient: String,
    /// The type of the sample; `None` where the barcode is a patient's.
    pub sample: Option<u8>,
    /// Vial, portion, plate and centre.
    rest: String,
}

impl Barcode {
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.trim().to_ascii_uppercase();
        let parts: Vec<&str> = upper.split(['-', '.', '_']).collect();
        let is = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let [project, site, participant, ref rest @ ..] = parts[..] else { return None };
        if project != "TCGA" || !is(site, 2) || !is(participant, 4) {
            return None;
        }
        let patient = format!("TCGA-{site}-{participant}");
        let Some((sample, behind)) = rest.split_first() else {
            return Some(Barcode { patient, sample: None, rest: String::new() });
        };
        let vial = sample.get(2..).unwrap_or_default();
        let plain = sample.is_ascii() && vial.len() <= 1 && vial.bytes().all(|b| b.is_ascii_uppercase());
        let code = sample.get(..2).filter(|_| plain)?.parse().ok()?;
        Some(Barcode { patient, sample: Some(code), rest: [&[vial], behind].concat().join("-") })
    }
}

/// The patient of a barcode, or an identifier of another kind as it is.
pub(super) fn patient_of(id: &str) -> String {
    Barcode::parse(id).map_or_else(|| id.to_owned(), |barcode| barcode.patient)
}

/// Whether a name is that of a sample rather than of a gene: of TCGA, GTEx, GEO, the sequence archives or DepMap.
pub(super) fn looks_like_sample(name: &str) -> bool {
    let numbered = |prefix: &str, least: usize| {
        name.strip_prefix(prefix).is_some_and(|n| n.len() >= least && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let target = || name.starts_with("TARGET-") && name.matches('-').count() >= 2;
    let archive = || ["GSM", "SRR", "ERR", "DRR", "SRX", "SRS"].iter().any(|prefix| numbered(prefix, 4));
    let gtex = || name.starts_with("GTEX-") || name.starts_with("GTEX.");
    Barcode::parse(name).is_some() || target() || archive() || gtex() || numbered("ACH-", 6)
}

impl OmicsTable {
    /// One row for each patient: of TCGA's samples those of the given types, of which the first type counts most and then the
    /// first barcode. Rows whose identifier is no barcode of TCGA stay as they are; what was left out is in the notes.
    pub fn of_patients(self, types: &SampleTypes) -> Self {
        let mut best: BTreeMap<String, (usize, String, usize)> = BTreeMap::new();
        let (mut other, mut without, mut several) =
            (BTreeMap::<u8, usize>::new(), BTreeSet::new(), BTreeSet::new());
        let mut keep = vec![];
        for (row, id) in self.ids.iter().enumerate() {
            let Some(barcode) = Barcode::parse(id) else {
                keep.push((row, id.clone()));
                continue;
            };
            // A patient's own row comes after those of samples.
            let rank = match barcode.sample {
                None => Some(types.0.len()),
                Some(sample) => types.0.iter().position(|t| *t == sample),
            };
            let Some(rank) = rank else {
                *other.entry(barcode.sample.unwrap_or_default()).or_default() += 1;
                without.insert(barcode.patient);
                continue;
            };
            let candidate = (rank, barcode.rest, row);
            match best.get_mut(&barcode.patient) {
                None => drop(best.insert(barcode.patient, candidate)),
                Some(known) => {
                    if candidate < *known {
                        *known = candidate;
                    }
                    several.insert(barcode.patient);
                }
            }
        }
        without.retain(|patient| !best.contains_key(patient));
        keep.extend(best.into_iter().map(|(patient, (_, _, row))| (row, patient)));
        keep.sort_unstable();
        let mut notes = self.notes.clone();
        if !other.is_empty() {
            let (n, counts) = (other.values().sum::<usize>(), counts(&other));
            let patients: Vec<&str> = without.iter().map(String::as_str).collect();
            let none = match patients.len() {
                0 => String::new(),
                n => format!("; {n} patients have no other sample and no values: {}", list(&patients)),
            };
            notes.push(format!(
                "{n} samples of TCGA are not of the types {types} and left out ({counts}){none}"
            ));
        }
        if !several.is_empty() {
            notes.push(format!(
                "{} patients of TCGA have several samples of the types {types}: the first type counts, then the first barcode",
                several.len()
            ));
        }
        let values = keep.iter().flat_map(|(row, _)| self.row(*row)).copied().collect();
        OmicsTable {
            ids: keep.into_iter().map(|(_, id)| id).collect(),
            features: self.features,
            values,
            notes,
        }
    }
}

fn counts(of: &BTreeMap<u8, usize>) -> String {
    of.iter().map(|(code, n)| format!("{code:02}: {n}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barcodes_are_known_in_any_spelling() {
        let parts = |text: &str| Barcode::parse(text).map(|b| (b.patient, b.sample, b.rest));
        for (text, sample, rest) in [
            ("TCGA-02-0001", None, ""),
            ("tcga.02.0001", None, ""),
            ("TCGA-02-0001-01", Some(1), ""),
            ("TCGA.02.0001.01A", Some(1), "A"),
            ("tcga_02_0001_11b_01d", Some(11), "B-01D"),
            (" TCGA-02-0001-06A-21-1898-20 ", Some(6), "A-21-1898-20"),
        ] {
            assert_eq!(parts(text), Some(("TCGA-02-0001".to_string(), sample, rest.to_string())), "{text}");
        }
        for text in [
            "TCGA",
            "TCGA-02",
            "TCGA-002-0001",
            "TCGA-02-0001-x",
            "TCGA-02-0001-1é",
            "TCGX-02-0001",
            "P1",
            "",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
        assert_eq!(
            (patient_of("tcga.02.0001.01"), patient_of("rat 1")),
            ("TCGA-02-0001".into(), "rat 1".into())
        );
    }

    fn table(ids: &[&str]) -> OmicsTable {
        OmicsTable {
            ids: ids.iter().map(|id| id.to_string()).collect(),
            features: vec!["A".into()],
            values: (0..ids.len()).map(|i| i as f32).collect(),
            notes: vec![],
        }
    }

    #[test]
    fn the_type_counts_before_the_barcode_and_what_is_left_out_is_said() {
        let ids = [
            "TCGA-02-0001-11A",
            "TCGA-02-0003-01B",
            "tcga.02.0003.01a.21",
            "TCGA-02-0004-02A",
            "TCGA-02-0004-01A",
            "P9",
            "TCGA-02-0005-02A",
        ];
        let chosen = table(&ids).of_patients(&SampleTypes::default());
        assert_eq!(chosen.ids, ["TCGA-02-0003", "TCGA-02-0004", "P9"]);
        assert_eq!(chosen.values, [2.0, 4.0, 5.0]);
        assert!(
            chosen.notes[0].contains("3 samples") && chosen.notes[0].contains("(02: 2, 11: 1)"),
            "{:?}",
            chosen.notes
        );
        assert!(
            chosen.notes[0].contains("2 patients") && chosen.notes[0].contains("`TCGA-02-0001`"),
            "{:?}",
            chosen.notes
        );
        assert!(chosen.notes[1].contains("1 patients"), "{:?}", chosen.notes);
        let both = table(&ids).of_patients(&"1, 02".parse().unwrap());
        assert_eq!((both.len(), both.values[2]), (4, 5.0));
        assert_eq!(both.ids[3], "TCGA-02-0005");
        let normal = table(&ids).of_patients(&SampleTypes::new(&[11]).unwrap());
        assert_eq!((normal.ids[0].as_str(), normal.len()), ("TCGA-02-0001", 2));
        assert!(table(&["TCGA-02-0001", "X"]).of_patients(&SampleTypes::default()).notes.is_empty());
    }

    #[test]
    fn types_are_checked() {
        for bad in ["", "01,01", "0", "100", "primary"] {
            assert!(bad.parse::<SampleTypes>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&SampleTypes::default()).unwrap(), "[1]");
        assert!(serde_json::from_str::<SampleTypes>("[]").is_err());
        assert_eq!(SampleTypes::new(&[1, 6]).unwrap().to_string(), "01, 06");
    }
}
