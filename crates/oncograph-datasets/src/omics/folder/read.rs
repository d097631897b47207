use super::super::features::{is_date, list};
use super::super::networks::{read_edges, read_map, read_scored_edges};
use super::super::table::{OmicsTableOptions, for_each_row_of, is_missing};
use super::super::{
    Antibodies, CovariateKind, CovariateValue, GeneSets, ImageVector, ImageVectors, NamedNetwork, NamedRows,
    OmicsCohort, OmicsCovariate, OmicsDataset, OmicsOutcomes, OmicsTable, SetCollection, TableAccount,
};
use super::remarks::remarks;
use super::schema::{CohortSchema, ImageTable, OutcomeColumns, PatientTable, ValueTable};
use crate::tables::{Cell, Row, Sheet, file_name};
use crate::{Error, Result};
use oncograph_core::{FollowUp, Table};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Reads the cohort that the description of a folder describes.
pub(super) fn dataset(root: &Path) -> Result<OmicsDataset> {
    let schema = CohortSchema::read(root)?;
    let mut reader = Reader { root, schema: &schema, notes: schema.remarks.clone(), accounts: vec![] };
    let sheet = reader.sheet(&schema.patients.file)?;
    let patients = Patients::of(&sheet, &schema.patients)?;
    reader.account("patients", &sheet.path, patients.ids.len(), patients.ids.len(), vec![]);
    let covariates = reader.covariates(&sheet, &patients)?;
    let coding = schema.covariates.clone();
    let outcomes = reader.outcomes(&sheet, &patients)?;
    let (centres, cancer_types) =
        (reader.labels(&sheet, &schema.centre)?, reader.labels(&sheet, &schema.cancer_type)?);
    reader.note_unused(&sheet);
    let mut tables = BTreeMap::new();
    for (name, table) in &schema.tables {
        tables.insert(name.clone(), reader.values(name, table, &patients)?);
    }
    let images = schema.images.as_ref().map(|table| reader.images(table, &patients)).transpose()?;
    let networks = reader.networks(&tables)?;
    let antibodies = reader.antibodies(&networks)?;
    let sets = reader.gene_sets()?;
    let Reader { notes, accounts, .. } = reader;
    let mut cohort = OmicsCohort {
        covariates: Table::new(
            patients.ids,
            coding.iter().flat_map(OmicsCovariate::columns).collect(),
            covariates,
        )?,
        coding,
        tables,
        counts: schema.tables.iter().filter(|(_, t)| t.log1p).map(|(name, _)| name.clone()).collect(),
        images,
        outcomes,
        classes: schema.outcomes.classes.iter().map(|c| (c.task.clone(), c.names.clone())).collect(),
        events: schema.outcomes.events.keys().cloned().collect(),
        accounts,
        notes,
    };
    cohort.notes.extend(remarks(&cohort));
    let (name, phantom) = (schema.name.clone(), schema.phantom);
    Ok(OmicsDataset { name, phantom, cohort, networks, antibodies, sets, centres, cancer_types })
}

/// The patients of a cohort by their places.
struct Patients {
    ids: Vec<String>,
    place: HashMap<String, usize>,
    file: String,
}

impl Patients {
    fn of(sheet: &Sheet, table: &PatientTable) -> Result<Self> {
        let column = key(sheet, table)?;
        let (mut ids, mut place) = (vec![], HashMap::new());
        let mut first = HashMap::new();
        for row in sheet.rows() {
            let id = row.identifier(column)?.into_owned();
            if let Some(first) = first.insert(id.clone(), row.number) {
                return Err(sheet.duplicate_patient(&id, first, row.number));
            }
            place.insert(id.clone(), ids.len());
            ids.push(id);
        }
        if ids.is_empty() {
            return Err(sheet.empty());
        }
        Ok(Patients { ids, place, file: file_name(&sheet.path) })
    }

    /// Those of some identifiers that are no patient's.
    fn others<'i>(&self, ids: impl Iterator<Item = &'i String>) -> Vec<String> {
        ids.filter(|id| !self.place.contains_key(*id)).cloned().collect()
    }
}

/// The column of a table's identifiers.
fn key(sheet: &Sheet, table: &PatientTable) -> Result<usize> {
    table.id.as_ref().map_or(Ok(0), |id| sheet.require(id))
}

struct Reader<'a> {
    root: &'a Path,
    schema: &'a CohortSchema,
    notes: Vec<String>,
    accounts: Vec<TableAccount>,
}

impl Reader<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    fn sheet(&mut self, file: &str) -> Result<Sheet> {
        let mut sheet = Sheet::read(&self.path(file))?;
        self.notes.append(&mut sheet.notes);
        Ok(sheet)
    }

    fn account(&mut self, table: &str, path: &Path, rows: usize, used: usize, others: Vec<String>) {
        let reason = format!("not in {}", self.schema.patients.file);
        let left_out = if others.is_empty() { vec![] } else { vec![(reason, others)] };
        self.accounts.push(TableAccount { table: table.into(), file: file_name(path), rows, used, left_out });
    }

    /// A row of the covariates' columns per patient.
    fn covariates(&self, sheet: &Sheet, patients: &Patients) -> Result<Vec<Vec<Option<f64>>>> {
        let mut rows = vec![vec![]; patients.ids.len()];
        for covariate in &self.schema.covariates {
            let column = sheet.require(&covariate.name)?;
            for (cells, row) in rows.iter_mut().zip(sheet.rows()) {
                cells.extend(covariate.encode(value(&row, column, covariate)?.as_ref())?);
            }
        }
        Ok(rows)
    }

    /// The text of a column per patient, `unknown` where there is none; nothing without a column.
    fn labels(&mut self, sheet: &Sheet, column: &Option<String>) -> Result<Vec<String>> {
        let Some(name) = column else { return Ok(vec![]) };
        let column = sheet.require(name)?;
        let label = |row: Row<'_>| Ok(Some(row.text(column)?.into_owned()).filter(|text| !is_missing(text)));
        let labels = sheet.rows().map(label).collect::<Result<Vec<_>>>()?;
        let unknown = labels.iter().filter(|l| l.is_none()).count();
        if unknown > 0 {
            self.notes.push(format!("{}: {name} is not known of {unknown} patients", file_name(&sheet.path)));
        }
        Ok(labels.into_iter().map(|l| l.unwrap_or_else(|| "unknown".into())).collect())
    }

    /// Names the columns of the table of patients that the description does not name.
    fn note_unused(&mut self, sheet: &Sheet) {
        let CohortSchema { patients, covariates, outcomes, centre, cancer_type, .. } = self.schema;
        let mut used: BTreeSet<&str> = covariates.iter().map(|c| c.name.as_str()).collect();
        used.extend([&patients.id, centre, cancer_type].into_iter().flatten().map(String::as_str));
        used.extend(sheet.header.first().filter(|_| patients.id.is_none()).map(String::as_str));
        if outcomes.table.is_none() {
            used.extend(outcomes.columns());
        }
        let names = sheet.header.iter().map(String::as_str);
        let unused: Vec<&str> = names.filter(|n| !n.is_empty() && !used.contains(n)).collect();
        if !unused.is_empty() {
            let file = file_name(&sheet.path);
            self.notes.push(format!(
                "{file}: columns without a part, as cohort.json does not name them: {}",
                list(&unused)
            ));
        }
    }

    /// What is known of each patient's outcomes, from the table of patients or one of their own.
    fn outcomes(&mut self, sheet: &Sheet, patients: &Patients) -> Result<Vec<OmicsOutcomes>> {
        let columns = &self.schema.outcomes;
        let empty = OmicsOutcomes { toxicity: vec![None; columns.events.len()], ..OmicsOutcomes::default() };
        let mut outcomes = vec![empty; patients.ids.len()];
        let own = columns.table.as_ref().map(|table| self.sheet(&table.file)).transpose()?;
        let (sheet, table) = match (&own, &columns.table) {
            (Some(own), Some(table)) => (own, table),
            _ => (sheet, &self.schema.patients),
        };
        let rows = Patients::of(sheet, table)?;
        let mut incomplete = vec![];
        let read = Outcomes::new(sheet, columns)?;
        for (row, id) in sheet.rows().zip(&rows.ids) {
            let (known, half) = read.of(&row)?;
            let Some(place) = patients.place.get(id) else { continue };
            outcomes[*place] = known;
            if half {
                incomplete.push(id.as_str());
            }
        }
        if own.is_some() {
            let others = patients.others(rows.ids.iter());
            self.some_belong(&sheet.path, &rows.ids, &others, patients)?;
            let without = patients.ids.iter().filter(|id| !rows.place.contains_key(*id));
            let without: Vec<&str> = without.map(String::as_str).collect();
            if !without.is_empty() {
                let (n, file) = (without.len(), file_name(&sheet.path));
                self.notes.push(format!("{file} has no row for {n} patients: {}", list(&without)));
            }
            self.account("outcomes", &sheet.path, rows.ids.len(), rows.ids.len() - others.len(), others);
        }
        if !incomplete.is_empty() {
            let (n, file) = (incomplete.len(), file_name(&sheet.path));
            self.notes.push(format!(
                "{file}: of {n} patients only the time or only the event is known, their survival counts as unknown: {}",
                list(&incomplete)
            ));
        }
        Ok(outcomes)
    }

    /// A table of measured values.
    fn values(&mut self, name: &str, table: &ValueTable, patients: &Patients) -> Result<NamedRows> {
        let path = self.path(&table.file);
        let mut options =
            OmicsTableOptions::new().transposed(table.transposed).leave_out(table.leave_out.iter().cloned());
        options.id = table.id.clone();
        let mut values = OmicsTable::read_with(&path, &options)?;
        self.notes.append(&mut values.notes);
        let others = patients.others(values.ids.iter());
        self.some_belong(&path, &values.ids, &others, patients)?;
        if table.log1p && values.values.iter().any(|v| *v < 0.0) {
            return Err(Error::at(
                &path,
                "some values are negative: they are no counts, and log1p is not for them",
            ));
        }
        self.account(name, &path, values.len(), values.len() - others.len(), others);
        Ok((values.features.clone(), values.aligned(&patients.ids)))
    }

    /// Vectors of images.
    fn images(&mut self, table: &ImageTable, patients: &Patients) -> Result<ImageVectors> {
        let path = self.path(&table.file);
        let mut options = OmicsTableOptions::new().leave_out(table.leave_out.iter().cloned());
        options.id = table.id.clone();
        let mut rows: Vec<(String, usize, Vec<f32>)> = vec![];
        let columns = for_each_row_of(&path, &options, &mut |line, id, cells| {
            rows.push((id.into(), line, cells.to_vec()));
            Ok(())
        })?;
        self.notes.extend(columns.notes);
        let place = |name: &String| {
            columns.features.iter().position(|f| f == name).ok_or_else(|| Error::MissingColumn {
                path: path.clone(),
                sheet: None,
                column: name.clone(),
                found: columns.features.clone(),
            })
        };
        let axes = table.centroid.iter().map(place).collect::<Result<Vec<_>>>()?;
        let kept: Vec<usize> = (0..columns.features.len()).filter(|c| !axes.contains(c)).collect();
        let ids: Vec<String> =
            rows.iter().map(|r| r.0.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let others = patients.others(ids.iter());
        self.some_belong(&path, &ids, &others, patients)?;
        let mut vectors = vec![vec![]; patients.ids.len()];
        for (id, line, cells) in rows {
            if let Some(column) = kept.iter().find(|c| cells[**c].is_nan()) {
                return Err(Error::cell(
                    &path,
                    line,
                    &columns.features[*column],
                    "a number of the vector",
                    "",
                ));
            }
            let mut centroid = [0.0; 3];
            centroid.iter_mut().zip(&axes).for_each(|(c, axis)| *c = f64::from(cells[*axis]));
            let known = !axes.is_empty() && centroid.iter().all(|c| c.is_finite());
            let Some(place) = patients.place.get(&id) else { continue };
            vectors[*place].push(ImageVector {
                values: kept.iter().map(|c| cells[*c]).collect(),
                centroid: known.then_some(centroid),
            });
        }
        self.account("images", &path, ids.len(), ids.len() - others.len(), others);
        let features = kept.iter().map(|c| columns.features[*c].clone()).collect();
        Ok(ImageVectors { features, patients: vectors })
    }

    /// Refuses a table of which no row belongs to a patient: its identifiers are spelt in another way.
    fn some_belong(&self, path: &Path, ids: &[String], others: &[String], patients: &Patients) -> Result<()> {
        if others.len() < ids.len() {
            return Ok(());
        }
        let first = |ids: &[String]| list(&ids.iter().take(2).map(String::as_str).collect::<Vec<_>>());
        let detail = format!(
            "none of its {} identifiers is a patient of {}: {} here, {} there",
            ids.len(),
            patients.file,
            first(ids),
            first(&patients.ids)
        );
        Err(Error::at(path, detail))
    }

    fn networks(&mut self, tables: &BTreeMap<String, NamedRows>) -> Result<Vec<NamedNetwork>> {
        let mut networks = vec![];
        for edges in &self.schema.edges {
            let (path, [a, b]) = (self.path(&edges.file), &edges.columns);
            let pairs = match &edges.score {
                Some(score) => read_scored_edges(&path, [a, b, score], edges.least)?,
                None => read_edges(&path, [a, b])?,
            };
            let names = |t: &str| tables.get(t).map(|(names, _)| names.iter().collect::<BTreeSet<_>>());
            if let (Some(from), Some(to)) = (names(&edges.from), names(&edges.to)) {
                let joined = pairs.iter().filter(|(a, b)| from.contains(a) && to.contains(b)).count();
                let (file, n) = (file_name(&path), pairs.len());
                if joined < n {
                    let (f, t) = (&edges.from, &edges.to);
                    self.notes.push(format!("{file}: {joined} of {n} pairs join columns of {f} and {t}"));
                }
            }
            networks.push(NamedNetwork { from: edges.from.clone(), to: edges.to.clone(), pairs });
        }
        Ok(networks)
    }

    fn antibodies(&self, networks: &[NamedNetwork]) -> Result<Option<Antibodies>> {
        let Some(file) = &self.schema.antibodies else { return Ok(None) };
        let genes = read_map(self.path(file), "antibody", "genes")?;
        let between_genes = networks.iter().filter(|n| n.from == "gene" && n.to == "gene");
        Ok(Some(Antibodies { genes, pairs: between_genes.flat_map(|n| n.pairs.clone()).collect() }))
    }

    fn gene_sets(&mut self) -> Result<Vec<SetCollection>> {
        let mut sources = vec![];
        for (name, file) in &self.schema.gene_sets {
            let read = GeneSets::read(self.root.join(file))?;
            self.notes.extend(read.notes);
            let sets = read.sets.into_iter().map(|(name, _, genes)| (name, genes)).collect();
            sources.push(SetCollection { name: name.clone(), sets });
        }
        Ok(sources)
    }
}

/// A cell as the value of a covariate.
fn value(row: &Row<'_>, column: usize, covariate: &OmicsCovariate) -> Result<Option<CovariateValue>> {
    if covariate.kind == CovariateKind::Number {
        let date = match row.cell(column) {
            Cell::Date(_) => true,
            Cell::Text(text) => is_date(text),
            _ => false,
        };
        if date {
            return Err(
                row.refuse(column, "a number, which a date is not: an age is the years between two of them")
            );
        }
        return Ok(number(row, column)?.map(CovariateValue::Number));
    }
    let text = row.text(column)?;
    if is_missing(&text) {
        return Ok(None);
    }
    match covariate.levels.iter().any(|level| *level == text) {
        true => Ok(Some(CovariateValue::Text(text.into_owned()))),
        false => Err(row.refuse(column, &format!("one of {}", covariate.levels.join(", ")))),
    }
}

/// The columns of outcomes in a table.
struct Outcomes<'a> {
    columns: &'a OutcomeColumns,
    survival: Option<[usize; 2]>,
    classes: Vec<usize>,
    events: Vec<usize>,
}

impl<'a> Outcomes<'a> {
    fn new(sheet: &Sheet, columns: &'a OutcomeColumns) -> Result<Self> {
        let survival = |c: &super::SurvivalColumns| -> Result<[usize; 2]> {
            Ok([sheet.require(&c.time)?, sheet.require(&c.event)?])
        };
        Ok(Outcomes {
            survival: columns.survival.as_ref().map(survival).transpose()?,
            classes: columns.classes.iter().map(|c| sheet.require(&c.column)).collect::<Result<_>>()?,
            events: columns.events.values().map(|c| sheet.require(c)).collect::<Result<_>>()?,
            columns,
        })
    }

    /// What a row holds, and whether it has one half of a survival alone.
    fn of(&self, row: &Row<'_>) -> Result<(OmicsOutcomes, bool)> {
        let (mut known, mut half) = (OmicsOutcomes::default(), false);
        if let (Some([time, event]), Some(columns)) = (self.survival, &self.columns.survival) {
            let years = number(row, time)?;
            if years.is_some_and(|t| t < 0.0) {
                return Err(row.refuse(time, "a time of at least 0"));
            }
            let seen = yes_or_no(row, event)?;
            half = years.is_some() != seen.is_some();
            let both = years.zip(seen).map(|(time, seen)| FollowUp::new(time, columns.unit, seen));
            known.survival = both.transpose()?;
        }
        for (class, column) in self.columns.classes.iter().zip(&self.classes) {
            let text = row.text(*column)?;
            if is_missing(&text) {
                continue;
            }
            let Some(at) = class.names.iter().position(|name| *name == text) else {
                return Err(row.refuse(*column, &format!("one of {}", class.names.join(", "))));
            };
            known.classes.insert(class.task.clone(), at);
        }
        known.toxicity = self.events.iter().map(|c| yes_or_no(row, *c)).collect::<Result<_>>()?;
        Ok((known, half))
    }
}

impl OutcomeColumns {
    /// The names of all columns.
    fn columns(&self) -> impl Iterator<Item = &str> {
        let survival = self.survival.iter().flat_map(|s| [&s.time, &s.event]);
        let classes = self.classes.iter().map(|c| &c.column);
        survival.chain(classes).chain(self.events.values()).map(String::as_str)
    }
}

/// The number in a cell; `None` where one of the words for a missing value stands.
fn number(row: &Row<'_>, column: usize) -> Result<Option<f64>> {
    if row.text(column).is_ok_and(|text| is_missing(&text)) {
        return Ok(None);
    }
    match row.number(column)? {
        Some(value) if !value.is_finite() => Err(row.refuse(column, "a number")),
        value => Ok(value),
    }
}

fn yes_or_no(row: &Row<'_>, column: usize) -> Result<Option<bool>> {
    let text = row.text(column)?;
    if is_missing(&text) {
        return Ok(None);
    }
    match text.to_lowercase().as_str() {
        // pandas writes 1.0 where another value of the column is missing.
        "1" | "1.0" | "yes" | "true" | "dead" | "deceased" => Ok(Some(true)),
        "0" | "0.0" | "no" | "false" | "alive" | "living" => Ok(Some(false)),
        _ => Err(row.refuse(column, "1 or 0, yes or no, true or false, dead or alive")),
    }
}
