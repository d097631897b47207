//! What the name of a scan says of who was scanned and when.

use serde::{Deserialize, Serialize};

/// The name of a scan, apart.
///
/// | collection | name | patient | time |
/// |---|---|---|---|
/// | BraTS-TCGA-GBM and -LGG, IvyGAP | `TCGA-02-0006_1996.08.23` | `TCGA-02-0006` | `1996.08.23` |
/// | BraTS 2017 to 2019 | `BraTS19_CBICA_AAB_1` | `BraTS19_CBICA_AAB` | `1` |
/// | BraTS 2023, 2024 | `BraTS-GLI-00005-101` | `BraTS-GLI-00005` | `101` |
/// | UCSF-PDGM from version 3 | `UCSF-PDGM-0429_FU003d` | `UCSF-PDGM-429` | `FU003d` |
/// | UPENN-GBM | `UPENN-GBM-00011_11` | `UPENN-GBM-00011` | `11` |
/// | MU-Glioma-Post | `PatientID_0003_Timepoint_2` | `PatientID_0003` | `Timepoint_2` |
/// | BIDS | `sub-01_ses-02` | `sub-01` | `ses-02` |
///
/// What follows a barcode of TCGA is a sample or a time, whatever it is. Any other name is that of a patient. Patients of UCSF-PDGM are named with three digits, as in their table; their images have
/// four.
///
/// # Example
/// ```
/// use oncograph_datasets::glioma::ScanName;
///
/// let scan = ScanName::of("UCSF-PDGM-0429_FU003d");
/// assert_eq!((scan.patient.as_str(), scan.time.as_deref()), ("UCSF-PDGM-429", Some("FU003d")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScanName {
    /// Who was scanned: scans of one patient have this in common.
    pub patient: String,
    /// When, as the name says it: a date, a number of a visit, days since the first scan.
    pub time: Option<String>,
}

impl ScanName {
    /// Takes a name apart.
    pub fn of(name: &str) -> Self {
        let name = name.trim();
        let (patient, time) = match parts(name) {
            Some((patient, time)) => (patient, Some(time.to_owned())),
            None => (name, None),
        };
        ScanName { patient: short_ucsf(patient), time }
    }
}

/// Patient and time, where the name has both.
fn parts(name: &str) -> Option<(&str, &str)> {
    let lower = name.to_ascii_lowercase();
    let at = |mark: &str| lower.rfind(mark).map(|i| (&name[..i], &name[i + 1..]));
    let digits = |text: &str, count: usize| text.len() == count && is_number(text);
    let brats = |rest: &str| lower.strip_prefix("brats").is_some_and(|tail| tail.starts_with(rest));
    let of_a_year = ["17_", "18_", "19_"].into_iter().any(brats);
    let tcga = name.split_at_checked("TCGA-02-0006".len()).filter(|(patient, _)| is_tcga_patient(patient));
    let found = tcga
        .filter(|(_, rest)| rest.starts_with(['_', '-', '.']))
        .map(|(patient, rest)| (patient, &rest[1..]))
        .or_else(|| at("_ses-"))
        .or_else(|| at("_timepoint_"))
        .or_else(|| at("_fu").filter(|(_, time)| is_follow_up(time)))
        .or_else(|| at("_").filter(|(_, time)| is_date(time)))
        .or_else(|| at("_").filter(|(_, time)| of_a_year && digits(time, 1)))
        .or_else(|| at("_").filter(|(_, time)| lower.starts_with("upenn-gbm-") && digits(time, 2)))
        .or_else(|| {
            at("-").filter(|(who, time)| brats("-") && digits(time, 3) && who.matches('-').count() == 2)
        });
    found.filter(|(patient, _)| !patient.is_empty())
}

fn is_tcga_patient(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let named = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_alphanumeric());
    matches!(parts[..], ["TCGA", site, patient] if named(site, 2) && named(patient, 4))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// As in FU003d: days since the first scan.
fn is_follow_up(text: &str) -> bool {
    text.get(2..).and_then(|days| days.strip_suffix(['d', 'D'])).is_some_and(is_number)
}

/// As in 1996.08.23 and 1996-08-23.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['.', '-']).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2] && parts.into_iter().all(is_number)
}

/// The name of a patient of UCSF-PDGM with three digits, any other as it is.
fn short_ucsf(patient: &str) -> String {
    const PREFIX: &str = "UCSF-PDGM-";
    let number = patient.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
    match number.and_then(|_| patient[PREFIX.len()..].parse::<u32>().ok()) {
        Some(number) => format!("{PREFIX}{number:03}"),
        None => patient.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_collection_are_taken_apart() {
        for (name, patient, time) in [
            ("TCGA-02-0006_1996.08.23", "TCGA-02-0006", Some("1996.08.23")),
            ("TCGA-02-0006", "TCGA-02-0006", None),
            ("TCGA-02-0006-01A", "TCGA-02-0006", Some("01A")),
            ("TCGA-02-00067", "TCGA-02-00067", None),
            ("BraTS-MET-00105-001", "BraTS-MET-00105", Some("001")),
            ("PatientID_0003_Timepoint_2", "PatientID_0003", Some("Timepoint_2")),
            ("P-0003", "P-0003", None),
            ("X_FUSION", "X_FUSION", None),
            ("ä", "ä", None),
            ("W39_1998.09.19", "W39", Some("1998.09.19")),
            ("BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB", Some("1")),
            ("Brats18_TCIA01_186_1", "Brats18_TCIA01_186", Some("1")),
            ("Brats17_2013_10_1", "Brats17_2013_10", Some("1")),
            ("BraTS20_Training_001", "BraTS20_Training_001", None),
            ("BraTS2021_00097", "BraTS2021_00097", None),
            ("BraTS-GLI-00005-101", "BraTS-GLI-00005", Some("101")),
            ("BraTS-GLI-00005", "BraTS-GLI-00005", None),
            ("UCSF-PDGM-0429_FU003d", "UCSF-PDGM-429", Some("FU003d")),
            ("UCSF-PDGM-0004", "UCSF-PDGM-004", None),
            ("UCSF-PDGM-004", "UCSF-PDGM-004", None),
            ("UPENN-GBM-00011_11", "UPENN-GBM-00011", Some("11")),
            ("sub-01_ses-02", "sub-01", Some("ses-02")),
            ("P1", "P1", None),
            ("P_full", "P_full", None),
            ("", "", None),
        ] {
            let found = ScanName::of(name);
            assert_eq!((found.patient.as_str(), found.time.as_deref()), (patient, time), "{name}");
        }
    }
}
