use super::super::{CovariateValue, ImageVectors, NamedRows, OmicsCohort, OmicsDataset};
use super::schema::{
    COHORT_FILE, ClassColumn, CohortSchema, EdgeTable, ImageTable, OutcomeColumns, PatientTable,
    SurvivalColumns, ValueTable,
};
use crate::{Error, Result};
use oncograph_core::{TimeUnit, write_file};
use std::collections::BTreeMap;
use std::path::Path;

/// The column of identifiers in every table.
const PATIENT: &str = "patient";
const CENTRE: &str = "treated at";
const CANCER_TYPE: &str = "type of cancer";
const AXES: [&str; 3] = ["centroid x", "centroid y", "centroid z"];

/// Writes a cohort as a folder.
pub(super) fn dataset(dataset: &OmicsDataset, root: &Path) -> Result<()> {
    let io = |e| Error::io("write", root, e);
    if root.exists() && root.read_dir().map_err(io)?.next().is_some() {
        return Err(Error::at(root, "the folder is not empty"));
    }
    std::fs::create_dir_all(root).map_err(io)?;
    let cohort = &dataset.cohort;
    patients(dataset, root)?;
    for (name, rows) in &cohort.tables {
        values(&root.join(table_file(name)), cohort, rows)?;
    }
    if let Some(images) = &cohort.images {
        vectors(&root.join("images.csv"), cohort, images)?;
    }
    let mut edges = vec![];
    for (i, network) in dataset.networks.iter().enumerate() {
        let file = format!("edges_{}.tsv", i + 1);
        let rows = network.pairs.iter().map(|(a, b)| vec![a.clone(), b.clone()]);
        table(&root.join(&file), b'\t', &["from", "to"].map(String::from), rows)?;
        let (from, to) = (network.from.clone(), network.to.clone());
        let columns = ["from", "to"].map(String::from);
        edges.push(EdgeTable { from, to, file, columns, score: None, least: 0.7 });
    }
    if let Some(antibodies) = &dataset.antibodies {
        let rows = antibodies.genes.iter().map(|(antibody, genes)| vec![antibody.clone(), genes.join(" ")]);
        table(&root.join("antibodies.tsv"), b'\t', &["antibody", "genes"].map(String::from), rows)?;
    }
    let mut gene_sets = BTreeMap::new();
    for (i, source) in dataset.sets.iter().enumerate() {
        let file = format!("sets_{}.gmt", i + 1);
        let line = |(name, genes): &(String, Vec<String>)| format!("{name}\t\t{}\n", genes.join("\t"));
        write_file(root.join(&file), source.sets.iter().map(line).collect::<String>().as_bytes())?;
        gene_sets.insert(source.name.clone(), file);
    }
    let schema = CohortSchema {
        name: dataset.name.clone(),
        phantom: dataset.phantom,
        patients: own("patients.csv"),
        covariates: cohort.coding.clone(),
        tables: cohort.tables.keys().map(|name| (name.clone(), described(name, cohort))).collect(),
        images: cohort.images.as_ref().map(|images| ImageTable {
            file: "images.csv".into(),
            id: Some(PATIENT.into()),
            centroid: if has_places(images) { AXES.map(String::from).to_vec() } else { vec![] },
            leave_out: vec![],
        }),
        edges,
        antibodies: dataset.antibodies.as_ref().map(|_| "antibodies.tsv".into()),
        gene_sets,
        outcomes: outcomes(cohort, root)?,
        centre: (!dataset.centres.is_empty()).then(|| CENTRE.into()),
        cancer_type: (!dataset.cancer_types.is_empty()).then(|| CANCER_TYPE.into()),
        remarks: vec![],
    };
    schema.validate()?;
    let text = serde_json::to_vec_pretty(&schema).map_err(|e| Error::at(root, e.to_string()))?;
    Ok(write_file(root.join(COHORT_FILE), &text)?)
}

fn own(file: &str) -> PatientTable {
    PatientTable { file: file.into(), id: Some(PATIENT.into()) }
}

fn table_file(name: &str) -> String {
    format!("values_{name}.csv")
}

fn described(name: &str, cohort: &OmicsCohort) -> ValueTable {
    let (file, id) = (table_file(name), Some(PATIENT.into()));
    ValueTable { file, id, log1p: cohort.counts.contains(name), ..ValueTable::default() }
}

/// Writes a header and rows.
fn table(
    path: &Path,
    delimiter: u8,
    header: &[String],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(vec![]);
    let failed = |e: csv::Error| Error::at(path, e.to_string());
    writer.write_record(header).map_err(failed)?;
    for row in rows {
        writer.write_record(&row).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|e| Error::at(path, e.to_string()))?;
    Ok(write_file(path, &bytes)?)
}

/// Covariates as people write them, centre and type of cancer.
fn patients(dataset: &OmicsDataset, root: &Path) -> Result<()> {
    let cohort = &dataset.cohort;
    let mut header = vec![PATIENT.to_string()];
    header.extend(cohort.coding.iter().map(|c| c.name.clone()));
    let labels = [(CENTRE, &dataset.centres), (CANCER_TYPE, &dataset.cancer_types)];
    let labels: Vec<_> = labels.into_iter().filter(|(_, all)| !all.is_empty()).collect();
    header.extend(labels.iter().map(|(name, _)| name.to_string()));
    let row = |p: usize| {
        let (mut cells, mut from) = (vec![cohort.ids()[p].clone()], 0);
        for covariate in &cohort.coding {
            let width = covariate.columns().len();
            cells.push(match covariate.decode(&cohort.covariates.row(p)[from..from + width]) {
                Some(CovariateValue::Number(value)) => value.to_string(),
                Some(CovariateValue::Text(text)) => text,
                None => String::new(),
            });
            from += width;
        }
        cells.extend(labels.iter().map(|(_, all)| all[p].clone()));
        cells
    };
    table(&root.join("patients.csv"), b',', &header, (0..cohort.ids().len()).map(row))
}

/// Writes `outcomes.csv` and describes it.
fn outcomes(cohort: &OmicsCohort, root: &Path) -> Result<OutcomeColumns> {
    let times = || cohort.outcomes.iter().filter_map(|o| o.survival);
    let unit = times().next().map_or(TimeUnit::Years, |t| t.unit());
    let survival = times().next().is_some();
    let mut header = vec![PATIENT.to_string()];
    if survival {
        header.extend(["time", "event"].map(String::from));
    }
    header.extend(cohort.classes.iter().map(|(task, _)| format!("class {task}")));
    header.extend(cohort.events.iter().map(|event| format!("event {event}")));
    let bit = |known: Option<bool>| known.map_or(String::new(), |yes| u8::from(yes).to_string());
    let rows = cohort.ids().iter().zip(&cohort.outcomes).map(|(id, o)| {
        let mut cells = vec![id.clone()];
        if survival {
            cells.push(o.survival.map_or(String::new(), |t| t.time_in(unit).to_string()));
            cells.push(bit(o.survival.map(|t| t.event())));
        }
        let class = |(task, names): &(String, Vec<String>)| {
            o.classes.get(task).and_then(|c| names.get(*c)).cloned().unwrap_or_default()
        };
        cells.extend(cohort.classes.iter().map(class));
        cells.extend((0..cohort.events.len()).map(|e| bit(o.toxicity.get(e).copied().flatten())));
        cells
    });
    table(&root.join("outcomes.csv"), b',', &header, rows)?;
    let class = |(task, names): &(String, Vec<String>)| ClassColumn {
        task: task.clone(),
        column: format!("class {task}"),
        names: names.clone(),
    };
    Ok(OutcomeColumns {
        table: Some(own("outcomes.csv")),
        survival: survival.then(|| SurvivalColumns { time: "time".into(), unit, event: "event".into() }),
        classes: cohort.classes.iter().map(class).collect(),
        events: cohort.events.iter().map(|e| (e.clone(), format!("event {e}"))).collect(),
    })
}

/// A value in as few digits as give it back.
fn cell(value: f32) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

fn values(path: &Path, cohort: &OmicsCohort, (columns, rows): &NamedRows) -> Result<()> {
    let header: Vec<String> = std::iter::once(PATIENT.to_string()).chain(columns.iter().cloned()).collect();
    let here = cohort.ids().iter().zip(rows).filter_map(|(id, row)| Some((id, row.as_ref()?)));
    let line = |(id, row): (&String, &Vec<f32>)| {
        std::iter::once(id.clone()).chain(row.iter().map(|v| cell(*v))).collect()
    };
    table(path, b',', &header, here.map(line))
}

fn has_places(images: &ImageVectors) -> bool {
    images.patients.iter().flatten().any(|v| v.centroid.is_some())
}

fn vectors(path: &Path, cohort: &OmicsCohort, images: &ImageVectors) -> Result<()> {
    let axes = if has_places(images) { &AXES[..] } else { &[] };
    let header = std::iter::once(PATIENT).chain(axes.iter().copied()).map(String::from);
    let header: Vec<String> = header.chain(images.features.iter().cloned()).collect();
    let all = cohort.ids().iter().zip(&images.patients);
    let rows = all.flat_map(|(id, vectors)| vectors.iter().map(move |v| (id, v))).map(|(id, vector)| {
        let place = |axis: usize| vector.centroid.map_or(String::new(), |c| c[axis].to_string());
        let cells = (0..axes.len()).map(place).chain(vector.values.iter().map(|v| cell(*v)));
        std::iter::once(id.clone()).chain(cells).collect()
    });
    table(path, b',', &header, rows)
}
