//! Rows of the tables of patients, each by the codes of its table.

use super::{GliomaRecord, ScanName};
use crate::error::{Error, Result};
use crate::tables::{self, Sheet};
use std::collections::BTreeSet;

/// The columns of a table of one's own.
const ID: &str = "id";
const IDH: &str = "idh";
const SITE: &str = "site";
const AGE: &str = "age";
const SEX: &str = "sex";

/// More words than these in a column are names or remarks.
const WORDS: usize = 10;

/// A further covariate of a table of one's own.
#[derive(Debug, Clone)]
struct Covariate {
    name: String,
    column: usize,
    /// The word that it stands for, of a column of words.
    word: Option<String>,
}

/// The further covariates of a table of one's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Extra(Vec<Covariate>);

impl Extra {
    /// Columns of numbers, and one for each word of columns of words; remarks on columns that are neither.
    pub fn of(sheet: &Sheet) -> Result<(Self, Vec<String>)> {
        let (mut found, mut notes) = (vec![], vec![]);
        for (column, name) in sheet.header.iter().enumerate() {
            if name.is_empty() || [ID, IDH, SITE, AGE, SEX].iter().any(|own| name.eq_ignore_ascii_case(own)) {
                continue;
            }
            sheet.require(name)?;
            let (mut words, mut numbers) = (BTreeSet::new(), true);
            for row in sheet.rows().map(Row) {
                if let Some(text) = row.at(column)? {
                    numbers &= row.0.number(column).is_ok();
                    words.insert(text);
                }
            }
            let covariate = |word: Option<String>| {
                let name = word.as_ref().map_or_else(|| name.clone(), |word| format!("{name}_{word}"));
                Covariate { name, column, word }
            };
            match words.len() {
                0 => notes.push(format!("column `{name}` is empty")),
                _ if numbers => found.push(covariate(None)),
                1..=WORDS => found.extend(words.into_iter().map(Some).map(covariate)),
                words => notes.push(format!(
                    "column `{name}` has {words} different words and is no covariate (at most {WORDS} are)"
                )),
            }
        }
        Ok((Extra(found), notes))
    }

    pub fn names(self) -> Vec<String> {
        self.0.into_iter().map(|covariate| covariate.name).collect()
    }

    fn values(&self, row: &Row<'_>) -> Result<Vec<Option<f64>>> {
        let value = |Covariate { column, word, .. }: &Covariate| match (row.at(*column)?, word) {
            (None, _) => Ok(None),
            (Some(_), None) => row.0.number(*column),
            (Some(text), Some(word)) => Ok(Some(f64::from(u8::from(text == *word)))),
        };
        self.0.iter().map(value).collect()
    }
}

pub(super) struct Row<'a>(pub tables::Row<'a>);

impl Row<'_> {
    /// The text of a column that must be there; empty and `NA` are missing.
    fn text(&self, column: &str) -> Result<Option<String>> {
        self.at(self.0.sheet.require(column)?)
    }

    /// As [`Row::text`], of a column that may be absent.
    fn optional(&self, column: &str) -> Result<Option<String>> {
        self.0.sheet.place(column)?.map_or(Ok(None), |place| self.at(place))
    }

    fn at(&self, place: usize) -> Result<Option<String>> {
        let text = self.0.text(place)?;
        Ok((!matches!(&*text, "" | "NA" | "NaN")).then(|| text.into_owned()))
    }

    fn id(&self, column: &str) -> Result<String> {
        let place = self.0.sheet.require(column)?;
        match self.at(place)? {
            Some(_) => Ok(self.0.identifier(place)?.into_owned()),
            None => Err(self.0.refuse(place, "an identifier")),
        }
    }

    fn coded<T>(
        &self,
        column: &str,
        text: Option<&str>,
        expected: &str,
        code: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = text else { return Ok(None) };
        match code(text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.0.refuse(self.0.sheet.require(column)?, expected)),
        }
    }

    fn number(
        &self,
        column: &str,
        expected: &str,
        allowed: std::ops::RangeInclusive<f64>,
    ) -> Result<Option<f64>> {
        if self.optional(column)?.is_none() {
            return Ok(None);
        }
        let place = self.0.sheet.require(column)?;
        match self.0.number(place) {
            Ok(Some(value)) if allowed.contains(&value) => Ok(Some(value)),
            _ => Err(self.0.refuse(place, expected)),
        }
    }

    /// All cells but names, of a patient who was followed to a day: nobody else shares them. `None` where no such day is known.
    pub fn life(&self) -> Result<Option<Vec<String>>> {
        if self.optional("OS")?.is_none() || self.optional("Age at MRI")?.is_none() {
            return Ok(None);
        }
        let names = |column: &String| column == "ID" || column.starts_with("BraTS");
        let header = self.0.sheet.header.iter().enumerate().filter(|(_, column)| !names(column));
        // A cell that no text can be made of, as a formula in a column that nobody asked for, is as good as empty.
        Ok(Some(header.map(|(place, _)| self.at(place).ok().flatten().unwrap_or_default()).collect()))
    }

    pub fn ucsf(&self) -> Result<GliomaRecord> {
        // An indeterminate result counts as missing.
        let mgmt = self.optional("MGMT status")?.filter(|t| t != "indeterminate");
        let known = "wildtype, mutated (...) or a variant as IDH1 p.R132H";
        let sign = |text: &str| match text {
            "positive" => Some(true),
            "negative" => Some(false),
            _ => None,
        };
        let id = self.id("ID")?;
        Ok(GliomaRecord {
            patient: ScanName::of(&id).patient,
            id,
            idh: self.coded("IDH", self.text("IDH")?.as_deref(), known, ucsf_idh)?,
            age: self.number("Age at MRI", "an age in years", 0.0..=120.0)?,
            male: self.coded("Sex", self.optional("Sex")?.as_deref(), "M or F", sex)?,
            grade: self.coded(
                "WHO CNS Grade",
                self.optional("WHO CNS Grade")?.as_deref(),
                "1 to 4",
                grade,
            )?,
            karnofsky: None,
            histology: None,
            mgmt: self.coded("MGMT status", mgmt.as_deref(), "positive, negative or indeterminate", sign)?,
            site: Some("UCSF".into()),
            other_names: self.optional("BraTS21 ID")?.into_iter().collect(),
            extra: vec![],
        })
    }

    pub fn ceccarelli(&self) -> Result<GliomaRecord> {
        let idh = |text: &str| match text {
            "Mutant" => Some(true),
            "WT" => Some(false),
            _ => None,
        };
        let methylated = |text: &str| match text {
            "Methylated" => Some(true),
            "Unmethylated" => Some(false),
            _ => None,
        };
        let (mgmt, age) = ("MGMT.promoter.status", "Age..years.at.diagnosis.");
        let id = self.id("patient")?;
        Ok(GliomaRecord {
            patient: ScanName::of(&id).patient,
            id,
            idh: self.coded("IDH.status", self.text("IDH.status")?.as_deref(), "Mutant or WT", idh)?,
            age: self.number(age, "an age in years", 0.0..=120.0)?,
            male: self.coded("Gender", self.optional("Gender")?.as_deref(), "male or female", sex)?,
            grade: self.coded("Grade", self.optional("Grade")?.as_deref(), "G2, G3 or G4", grade)?,
            karnofsky: self.number("Karnofsky.Performance.Score", "0 to 100", 0.0..=100.0)?,
            histology: self.optional("Histology")?,
            mgmt: self.coded(
                mgmt,
                self.optional(mgmt)?.as_deref(),
                "Methylated or Unmethylated",
                methylated,
            )?,
            site: self.optional("Tissue.source.site")?,
            other_names: vec![],
            extra: vec![],
        })
    }

    /// A row of a table of one's own, whose columns may be in capital letters.
    pub fn plain(&self, extra: &Extra) -> Result<GliomaRecord> {
        let spelled = |own: &'static str| {
            let place = self.0.sheet.place_where(|name| name.eq_ignore_ascii_case(own))?;
            Ok::<_, Error>(place.map_or(own, |at| self.0.sheet.header[at].as_str()))
        };
        let (id, idh, site, age, male) =
            (spelled(ID)?, spelled(IDH)?, spelled(SITE)?, spelled(AGE)?, spelled(SEX)?);
        let status = |text: &str| match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "mutant" | "idh-mutant" => Some(true),
            "0" | "false" | "wild type" | "idh-wildtype" => Some(false),
            _ => ucsf_idh(text),
        };
        let id = self.id(id)?;
        Ok(GliomaRecord {
            patient: ScanName::of(&id).patient,
            id,
            idh: self.coded(idh, self.text(idh)?.as_deref(), "1 or mutant, 0 or wildtype", status)?,
            age: self.number(age, "an age in years", 0.0..=120.0)?,
            male: self.coded(male, self.optional(male)?.as_deref(), "M or F", sex)?,
            grade: None,
            karnofsky: None,
            histology: None,
            mgmt: None,
            site: self.optional(site)?,
            other_names: vec![],
            extra: extra.values(self)?,
        })
    }
}

/// As in "wildtype", "mutated (NOS)", "IDH1 p.R132H", "IDH1 p.Arg132His", "IDH2 p.Arg172Trp".
fn ucsf_idh(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase() {
        t if t == "wildtype" || t == "wild-type" || t == "wt" => Some(false),
        t if t.starts_with("mutated") || t.starts_with("idh1 p.") || t.starts_with("idh2 p.") => Some(true),
        _ => None,
    }
}

fn sex(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "m" | "male" => Some(true),
        "f" | "female" => Some(false),
        _ => None,
    }
}

fn grade(text: &str) -> Option<u8> {
    text.trim_start_matches('G').parse().ok().filter(|g| (1..=4).contains(g))
}
