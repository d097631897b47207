use super::OmicsTable;
use super::parquet_table::ParquetTable;
use super::table::{bad, delimited, is_parquet, table_file};
use crate::{Error, Result};
use oncograph_core::{FollowUp, Table};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What is known of a patient's outcomes; `None` where it is not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OmicsOutcomes {
    /// The time from diagnosis to death.
    pub survival: Option<FollowUp>,
    /// The best response to a drug: 0 none (stable or progressive disease), 1 partial, 2 complete.
    pub response: Option<usize>,
    /// A class by the name of its task, for example `subtype`.
    pub classes: BTreeMap<String, usize>,
    /// Yes/no labels of adverse events.
    pub toxicity: Vec<Option<bool>>,
}

/// Names of columns, and a row of values per patient that has any.
pub type NamedRows = (Vec<String>, Vec<Option<Vec<f32>>>);

/// Patients with molecular tables, a row of covariates and outcomes, in one order.
#[derive(Debug, Clone)]
pub struct OmicsCohort {
    /// The covariates of the patient node, with a row for each patient.
    pub covariates: Table,
    /// By node type: the names of its nodes, and a row per patient that has any.
    pub tables: BTreeMap<String, NamedRows>,
    /// Outcomes.
    pub outcomes: Vec<OmicsOutcomes>,
    /// Names of the classes of each task in [`OmicsOutcomes::classes`].
    pub classes: BTreeMap<String, Vec<String>>,
    /// Names of the adverse events.
    pub events: Vec<String>,
    /// Remarks on the data that have to be shown beside results.
    pub notes: Vec<String>,
}

impl OmicsCohort {
    /// The patients' identifiers, in the order of all fields.
    pub fn ids(&self) -> &[String] {
        self.covariates.ids()
    }
}

/// A CSV or Parquet file as rows of text by column name.
struct Sheet {
    path: std::path::PathBuf,
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Sheet {
    fn read(path: &Path) -> Result<Self> {
        if is_parquet(path) {
            let table = ParquetTable::open(path)?;
            let rows = table.rows_of_text()?.into_iter().map(csv::StringRecord::from).collect();
            return Ok(Sheet { path: path.into(), header: table.header().to_vec(), rows });
        }
        let mut reader = delimited(path, b',')?;
        let header = reader.headers().map_err(|e| bad(path, e))?.iter().map(str::to_owned).collect();
        let rows = reader.records().collect::<Result<_, _>>().map_err(|e| bad(path, e))?;
        Ok(Sheet { path: path.into(), header, rows })
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.header.iter().position(|h| h == name).ok_or_else(|| Error::MissingColumn {
            path: self.path.clone(),
            sheet: None,
            column: name.into(),
            found: self.header.clone(),
        })
    }

    fn text(&self, row: usize, column: usize) -> &str {
        self.rows[row].get(column).unwrap_or_default()
    }

    /// The largest number among those that a cell joins with `;`.
    fn largest(&self, row: usize, column: usize) -> Result<Option<f64>> {
        let mut best: Option<f64> = None;
        for part in self.text(row, column).split(';').map(str::trim).filter(|p| !p.is_empty() && *p != "NA") {
            let refused = || Error::cell(&self.path, row + 2, &self.header[column], "a number of days", part);
            let value: f64 = part.parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(refused)?;
            best = Some(best.map_or(value, |b| b.max(value)));
        }
        Ok(best)
    }

    fn by_id(&self) -> HashMap<String, usize> {
        (0..self.rows.len()).map(|i| (self.text(i, 0).to_string(), i)).collect()
    }
}

/// TCGA's clinical columns: survival in days and response of each row.
///
/// A death in the follow-up forms counts where the first form still has *alive*: `vital_status` alone under-counts.
fn tcga_outcomes(sheet: &Sheet) -> Result<Vec<OmicsOutcomes>> {
    let at = |name: &str| sheet.column(name);
    let (status, death, last) =
        (at("patient.vital_status")?, at("patient.days_to_death")?, at("patient.days_to_last_followup")?);
    let (later, later_death, drugs) =
        (at("followup_days")?, at("followup_death_days")?, at("drug_responses")?);
    let mut outcomes = vec![];
    for row in 0..sheet.rows.len() {
        let most = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        let died = most(sheet.largest(row, death)?, sheet.largest(row, later_death)?);
        let dead = died.is_some() || sheet.text(row, status) == "dead";
        let seen = most(sheet.largest(row, last)?, sheet.largest(row, later)?);
        let days = if dead { died } else { seen };
        let survival = days.filter(|d| *d > 0.0).map(|d| FollowUp::days(d, dead)).transpose()?;
        let response = sheet.text(row, drugs).split(';').filter_map(|r| match r.trim() {
            "complete response" => Some(2),
            "partial response" => Some(1),
            "stable disease" | "clinical progressive disease" | "radiographic progressive disease" => Some(0),
            _ => None,
        });
        outcomes.push(OmicsOutcomes { survival, response: response.max(), ..OmicsOutcomes::default() });
    }
    Ok(outcomes)
}

/// The number in a cell, to the precision of the tables; `None` where it holds none.
fn number(text: &str) -> Option<f64> {
    text.parse::<f32>().ok().filter(|v| v.is_finite()).map(f64::from)
}

/// TCGA-BRCA: 150 patients with mRNA, miRNA and proteins and 70 without proteins; subtype and survival.
///
/// `root` holds `brca_{mrna,mirna}_{train,test}.csv.gz`, `brca_protein_train.csv.gz`, `brca_subtype_{train,test}.csv` and
/// `brca_outcomes.csv`. Covariates of the patient node: age and stage (1 to 4).
///
/// # Errors
/// Errors of the files and their columns.
pub fn brca(root: impl AsRef<Path>) -> Result<OmicsCohort> {
    let root = root.as_ref();
    let read = |name: &str| OmicsTable::read(table_file(root, name)?);
    let sheet = Sheet::read(&table_file(root, "brca_outcomes.csv")?)?;
    let mrna = [read("brca_mrna_train.csv.gz")?, read("brca_mrna_test.csv.gz")?];
    let mirna = [read("brca_mirna_train.csv.gz")?, read("brca_mirna_test.csv.gz")?];
    let protein = [read("brca_protein_train.csv.gz")?];
    let ids: Vec<String> = mrna.iter().flat_map(|t| t.ids.clone()).collect();
    let place = sheet.by_id();
    let all = tcga_outcomes(&sheet)?;
    let mut outcomes: Vec<OmicsOutcomes> =
        ids.iter().map(|id| place.get(id).map(|i| all[*i].clone()).unwrap_or_default()).collect();
    let names = ["Basal", "Her2", "LumA"];
    for file in ["brca_subtype_train.csv", "brca_subtype_test.csv"] {
        let subtypes = Sheet::read(&table_file(root, file)?)?;
        let column = subtypes.column("pam50")?;
        let row_by_id = subtypes.by_id();
        for (id, outcome) in ids.iter().zip(&mut outcomes) {
            if let Some(row) = row_by_id.get(id)
                && let Some(class) = names.iter().position(|n| *n == subtypes.text(*row, column))
            {
                outcome.classes.insert("subtype".into(), class);
            }
        }
    }
    let (age, stage) = (
        sheet.column("patient.age_at_initial_pathologic_diagnosis")?,
        sheet.column("patient.stage_event.pathologic_stage")?,
    );
    let patient = ids.iter().map(|id| match place.get(id) {
        None => vec![None; 2],
        Some(i) => vec![number(sheet.text(*i, age)), stage_number(sheet.text(*i, stage))],
    });
    let tables = BTreeMap::from([
        ("gene".to_string(), joined(&mrna, &ids)),
        ("mirna".to_string(), joined(&mirna, &ids)),
        ("protein".to_string(), joined(&protein, &ids)),
    ]);
    let rows = patient.collect();
    Ok(OmicsCohort {
        covariates: Table::new(ids, vec!["age".into(), "stage".into()], rows)?,
        tables,
        outcomes,
        classes: BTreeMap::from([("subtype".to_string(), names.map(String::from).to_vec())]),
        events: vec![],
        notes: vec!["TCGA-BRCA. PAM50 subtypes are defined on gene expression: a model that sees mRNA predicts its own \
                     definition."
            .into()],
    })
}

fn stage_number(text: &str) -> Option<f64> {
    let letters = text.trim_start_matches("stage ").trim_end_matches(['a', 'b', 'c']);
    match letters {
        "i" => Some(1.0),
        "ii" => Some(2.0),
        "iii" => Some(3.0),
        "iv" => Some(4.0),
        _ => None,
    }
}

/// Tables of the same columns, one below the other, in the order of `ids`.
fn joined(tables: &[OmicsTable], ids: &[String]) -> NamedRows {
    let features = tables[0].features.clone();
    let mut rows = vec![None; ids.len()];
    for table in tables {
        // A table may have its columns in another order.
        let place: HashMap<&str, usize> =
            table.features.iter().enumerate().map(|(i, f)| (f.as_str(), i)).collect();
        let order: Vec<Option<usize>> = features.iter().map(|f| place.get(f.as_str()).copied()).collect();
        for (row, found) in rows.iter_mut().zip(table.aligned(ids)) {
            if let Some(found) = found {
                *row = Some(order.iter().map(|o| o.map_or(f32::NAN, |i| found[i])).collect());
            }
        }
    }
    (features, rows)
}

/// TCGA GBM and LGG: patients with protein expression (RPPA); survival, response and, where `idh` is given, IDH status.
///
/// `root` holds `gbmlgg_rppa.csv.gz` and `gbmlgg_outcomes.csv`; `idh` is the table of Ceccarelli et al. 2016 with columns
/// `patient` and `IDH.status`. Covariates of the patient node: age and Karnofsky score. Grade and histology are left
/// out: they are determined on the tumour and would leak the IDH status.
///
/// # Errors
/// Errors of the files and their columns.
pub fn gbmlgg(root: impl AsRef<Path>, idh: Option<&Path>) -> Result<OmicsCohort> {
    let root = root.as_ref();
    // A primary tumour (01) before a recurrent one (02) of the same patient.
    let mut table = OmicsTable::read(table_file(root, "gbmlgg_rppa.csv.gz")?)?;
    table = sorted_by_sample(table).rename(|id| id.chars().take(12).collect());
    let sheet = Sheet::read(&table_file(root, "gbmlgg_outcomes.csv")?)?;
    let (place, all) = (sheet.by_id(), tcga_outcomes(&sheet)?);
    let ids = table.ids.clone();
    let mut outcomes: Vec<OmicsOutcomes> =
        ids.iter().map(|id| place.get(id).map(|i| all[*i].clone()).unwrap_or_default()).collect();
    let mut classes = BTreeMap::new();
    if let Some(path) = idh {
        let status = Sheet::read(path)?;
        let (column, row_by_id) = (status.column("IDH.status")?, status.by_id());
        for (id, outcome) in ids.iter().zip(&mut outcomes) {
            match row_by_id.get(id).map(|row| status.text(*row, column)) {
                Some("WT") => drop(outcome.classes.insert("idh".into(), 0)),
                Some("Mutant") => drop(outcome.classes.insert("idh".into(), 1)),
                _ => {}
            }
        }
        classes.insert("idh".to_string(), vec!["wild-type".to_string(), "mutant".to_string()]);
    }
    let (age, karnofsky) = (
        sheet.column("patient.age_at_initial_pathologic_diagnosis")?,
        sheet.column("patient.karnofsky_performance_score")?,
    );
    let patient = ids.iter().map(|id| match place.get(id) {
        None => vec![None; 2],
        Some(i) => vec![number(sheet.text(*i, age)), number(sheet.text(*i, karnofsky))],
    });
    let (rows, proteins) = (patient.collect(), table.aligned(&ids));
    Ok(OmicsCohort {
        covariates: Table::new(ids, vec!["age".into(), "karnofsky".into()], rows)?,
        tables: BTreeMap::from([("protein".to_string(), (table.features, proteins))]),
        outcomes,
        classes,
        events: vec![],
        notes: vec![
            "TCGA GBM and LGG; one RPPA sample per patient, the primary tumour's where there is one.".into(),
        ],
    })
}

fn sorted_by_sample(table: OmicsTable) -> OmicsTable {
    let mut order: Vec<usize> = (0..table.len()).collect();
    order.sort_by(|a, b| table.ids[*a].cmp(&table.ids[*b]));
    OmicsTable {
        ids: order.iter().map(|i| table.ids[*i].clone()).collect(),
        values: order.iter().flat_map(|i| table.row(*i).to_vec()).collect(),
        features: table.features,
    }
}

/// Acetaminophen in 64 rats: expression of 3,116 genes of the liver; toxicity is ALT or AST above three times the median
/// of the animals of the lowest dose, and bile acids above the same multiple of theirs.
///
/// `root` holds `rat_liver_toxicity_{gene,clinic,treatment}.csv.gz`. Covariate: hours since the dose; the dose itself is
/// left out, since it is what the genes are to stand for. The clinical chemistry gives the labels and is no input.
///
/// # Errors
/// Errors of the files and their columns.
pub fn rat(root: impl AsRef<Path>) -> Result<OmicsCohort> {
    let root = root.as_ref();
    let genes = OmicsTable::read(table_file(root, "rat_liver_toxicity_gene.csv.gz")?)?;
    let clinic = OmicsTable::read(table_file(root, "rat_liver_toxicity_clinic.csv.gz")?)?;
    let treatment = Sheet::read(&table_file(root, "rat_liver_toxicity_treatment.csv.gz")?)?;
    let (dose, hours, row_by_id) =
        (treatment.column("Dose.Group")?, treatment.column("Time.Group")?, treatment.by_id());
    let text = |id: &String, column: usize| row_by_id.get(id).map_or("", |row| treatment.text(*row, column));
    let chemistry = clinic.aligned(&genes.ids);
    let events = [("ALT", "ALT.IU.L."), ("AST", "AST.IU.L."), ("bile acids", "TBA.umol.L.")];
    let mut toxicity = vec![vec![]; genes.len()];
    for (_, name) in events {
        let column = clinic.features.iter().position(|f| f == name).ok_or_else(|| Error::MissingColumn {
            path: root.join("rat_liver_toxicity_clinic.csv.gz"),
            sheet: None,
            column: name.into(),
            found: clinic.features.clone(),
        })?;
        let value = |i: usize| chemistry[i].as_ref().map(|r| r[column]).filter(|v| v.is_finite());
        let mut low: Vec<f32> = (0..genes.len())
            .filter(|&i| number(text(&genes.ids[i], dose)).is_some_and(|d| d <= 50.0))
            .filter_map(value)
            .collect();
        low.sort_by(f32::total_cmp);
        let limit = low.get(low.len() / 2).map(|m| 3.0 * m);
        for (i, labels) in toxicity.iter_mut().enumerate() {
            labels.push(limit.zip(value(i)).map(|(limit, v)| v > limit));
        }
    }
    let patient = genes.ids.iter().map(|id| vec![number(text(id, hours))]).collect();
    let outcomes =
        toxicity.into_iter().map(|toxicity| OmicsOutcomes { toxicity, ..OmicsOutcomes::default() }).collect();
    let rows = (0..genes.len()).map(|i| Some(genes.row(i).to_vec())).collect();
    Ok(OmicsCohort {
        covariates: Table::new(genes.ids, vec!["hours".into()], patient)?,
        tables: BTreeMap::from([("gene".to_string(), (genes.features, rows))]),
        outcomes,
        classes: BTreeMap::new(),
        events: events.map(|(name, _)| name.to_string()).to_vec(),
        notes: vec!["Rats, not people: the only real toxicity labels at hand. Four animals share each dose and hour, so that \
                     folds see the treatment groups of their held-out animals."
            .into()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_in_the_follow_up_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("o.csv");
        let text = "patient,patient.vital_status,patient.days_to_death,patient.days_to_last_followup,drug_responses,\
                    followup_days,followup_death_days\n\
                    A,alive,,242,partial response;complete response,242;500,\n\
                    B,alive,,100,stable disease,100,730.5\nC,dead,,10,,,\nD,alive,,,,,\n";
        std::fs::write(&path, text).unwrap();
        let all = tcga_outcomes(&Sheet::read(&path).unwrap()).unwrap();
        let years = |i: usize| all[i].survival.map(|s| (s.in_years(), s.event()));
        assert_eq!(years(0), Some((500.0 / 365.25, false)));
        assert_eq!((years(1), all[0].response, all[1].response), (Some((2.0, true)), Some(2), Some(0)));
        // Dead without a day, and alive without one: nothing is known.
        assert_eq!((all[2].survival, all[3].survival, all[3].response), (None, None, None));
        for bad in ["late", "inf"] {
            std::fs::write(&path, text.replace("730.5", bad)).unwrap();
            let error = tcga_outcomes(&Sheet::read(&path).unwrap()).unwrap_err().to_string();
            let expected =
                format!("row 3, column `followup_death_days`: expected a number of days, got \"{bad}\"");
            assert!(error.contains(&expected), "{error}");
        }
    }
}
