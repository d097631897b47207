use crate::{
    Error, MemoryCohort, NodeTypeConfig, OmicsNetConfig, OmicsStudyCohort, OmicsSystemConfig, Result,
    SharedGraphs, TypedEdges,
};
use candle_core::Device;
use oncograph_datasets::omics::{
    NamedRows, OmicsCohort, OmicsDataset, OmicsScaler, OmicsScalerConfig, Selection, antibody_edges,
    correlated, named_edges,
};
use oncograph_datasets::scaler::Matrix;
use oncograph_study::Cohort;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Least magnitude of a training correlation that joins two columns (M-04).
const CORRELATION: f64 = 0.3;
/// Neighbours that a column keeps (M-04).
const NEIGHBOURS: usize = 10;

/// Raw values of some patients, in the order of a cohort's columns; NaN where a value is missing.
#[derive(Debug, Clone)]
pub(crate) struct OmicsRows<'a> {
    /// A row per patient.
    pub covariates: Vec<Vec<f32>>,
    /// By table a row per patient that has it.
    pub tables: BTreeMap<String, Cow<'a, [Option<Vec<f32>>]>>,
}

impl<'a> OmicsRows<'a> {
    /// All patients of a cohort.
    pub fn of_cohort(cohort: &'a OmicsCohort) -> Self {
        let row = |row: &[Option<f64>]| row.iter().map(|v| v.map_or(f32::NAN, |v| v as f32)).collect();
        OmicsRows {
            covariates: cohort.covariates.rows().map(row).collect(),
            tables: cohort.tables.iter().map(|(name, (_, rows))| (name.clone(), Cow::from(rows))).collect(),
        }
    }
}

/// The scalers of a cohort's covariates and tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OmicsScalers {
    pub patient: OmicsScaler,
    pub tables: BTreeMap<String, OmicsScaler>,
}

/// Rows that went through [`OmicsScalers`].
struct Scaled {
    patient: Vec<Vec<f32>>,
    tables: BTreeMap<String, Vec<Option<Vec<f32>>>>,
}

impl OmicsScalers {
    /// Fits on the patients `train`: all covariates, and of each table the `select` columns of the largest variance.
    pub fn fit(cohort: &OmicsCohort, rows: &OmicsRows<'_>, select: usize, train: &[usize]) -> Result<Self> {
        let all = OmicsScalerConfig::new(0).select(Selection::All);
        let covariates: Vec<_> = rows.covariates.iter().cloned().map(Some).collect();
        let patient = OmicsScaler::fit(cohort.covariates.columns(), &covariates, train, &all)?;
        let table = |(name, (columns, rows)): (&String, &NamedRows)| {
            let scaler = OmicsScaler::fit(columns, rows, train, &OmicsScalerConfig::new(select))?;
            Ok((name.clone(), scaler))
        };
        Ok(OmicsScalers { patient, tables: cohort.tables.iter().map(table).collect::<Result<_>>()? })
    }

    fn transform(&self, rows: &OmicsRows<'_>) -> Scaled {
        let table = |(name, scaler): (&String, &OmicsScaler)| {
            let one = |row: &Option<Vec<f32>>| row.as_ref().map(|r| scaler.transform(r));
            Some((name.clone(), rows.tables.get(name)?.iter().map(one).collect()))
        };
        Scaled {
            patient: rows.covariates.iter().map(|r| self.patient.transform(r)).collect(),
            tables: self.tables.iter().filter_map(table).collect(),
        }
    }

    /// Patient features followed by those of each table; of a table that a patient lacks, zeros.
    pub fn design(&self, rows: &OmicsRows<'_>) -> Matrix {
        let scaled = self.transform(rows);
        let mut names = self.patient.features.clone();
        let mut all: Vec<Vec<f64>> =
            scaled.patient.iter().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect();
        for (table, rows) in &scaled.tables {
            let features = &self.tables[table].features;
            names.extend(features.iter().map(|f| format!("{table}.{f}")));
            for (all, row) in all.iter_mut().zip(rows) {
                match row {
                    Some(row) => all.extend(row.iter().map(|v| f64::from(*v))),
                    None => all.extend(std::iter::repeat_n(0.0, features.len())),
                }
            }
        }
        Matrix { names, rows: all }
    }
}

/// From tables to what the network takes: selection, imputation, scaling and edges, fitted on training patients and applied
/// to any patient, those of a cohort or a new one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OmicsPipeline {
    scalers: OmicsScalers,
    edges: Vec<TypedEdges>,
    net: OmicsNetConfig,
}

impl OmicsPipeline {
    /// Fits on the patients `train` of a cohort.
    ///
    /// # Errors
    /// A table without a training patient, or an error of the scaler.
    pub fn fit(cohort: &OmicsStudyCohort, config: &OmicsSystemConfig, train: &[usize]) -> Result<Self> {
        let dataset = cohort.dataset();
        let rows = OmicsRows::of_cohort(&dataset.cohort);
        let scalers = OmicsScalers::fit(&dataset.cohort, &rows, config.select, train)?;
        let scaled = scalers.transform(&rows);
        let (mut node_types, mut edges) = (vec![], vec![]);
        for (name, scaler) in &scalers.tables {
            // Tables whose columns no database joins: correlations in the training rows.
            let known = matches!(name.as_str(), "gene" | "protein") && !dataset.networks.is_empty();
            if !known {
                let seen: Vec<Vec<f32>> =
                    train.iter().filter_map(|&i| scaled.tables[name][i].clone()).collect();
                edges.push(TypedEdges::new(name, name, correlated(&seen, CORRELATION, NEIGHBOURS)));
            }
            let mut node_type = NodeTypeConfig::diag(name, scaler.features.len());
            node_type.input = config.net.node_input;
            node_types.push(node_type);
        }
        edges.extend(known_edges(config.net.union, dataset, &scalers));
        let tasks = config.tasks(cohort.tasks());
        let net = config.net.net(scalers.patient.features.len(), node_types, cohort.modalities(), tasks);
        Ok(OmicsPipeline { scalers, edges, net })
    }

    /// The network that fits the selected columns.
    pub fn net(&self) -> &OmicsNetConfig {
        &self.net
    }

    /// The graphs that all patients share.
    ///
    /// # Errors
    /// [`Error::Input`] if edges and columns do not fit, as in a damaged file.
    pub fn graphs(&self) -> Result<SharedGraphs> {
        SharedGraphs::new(&self.net, &self.edges)
    }

    /// The columns of a table that the network reads.
    pub fn features(&self, table: &str) -> &[String] {
        self.scalers.tables.get(table).map_or(&[], |s| &s.features)
    }

    /// The tables that the network reads.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.scalers.tables.keys().map(String::as_str)
    }

    /// The patients of a cohort as the network takes them.
    ///
    /// # Errors
    /// An error of candle, or a value that is not finite.
    pub fn cohort(&self, cohort: &OmicsCohort, device: &Device) -> Result<MemoryCohort> {
        self.source(&OmicsRows::of_cohort(cohort), device)
    }

    /// Any patients as the network takes them; a table that none of them has is left out.
    pub(crate) fn source(&self, rows: &OmicsRows<'_>, device: &Device) -> Result<MemoryCohort> {
        let scaled = self.scalers.transform(rows);
        let mut source = MemoryCohort::new(&scaled.patient, device)?;
        for (name, rows) in &scaled.tables {
            if rows.iter().any(Option::is_some) {
                source = source.with(name, rows)?;
            }
        }
        Ok(source)
    }

    /// Checks that scalers read only columns that there are, so that a damaged file is an error and no panic.
    pub(crate) fn check(&self, covariates: usize, tables: &BTreeMap<String, Vec<String>>) -> Result<()> {
        let tables_fit = self.scalers.tables.iter().all(|(name, scaler)| {
            tables.get(name).is_some_and(|columns| scaler.fits(columns.len()))
                && self.net.node_type(name).is_some_and(|t| t.features == scaler.features.len())
        });
        if !tables_fit || !self.scalers.patient.fits(covariates) {
            return Err(Error::input("pipeline", "scalers of the listed columns", "others"));
        }
        self.net.validate()
    }
}

fn known_edges(union: bool, dataset: &OmicsDataset, scalers: &OmicsScalers) -> Vec<TypedEdges> {
    let names = |t: &str| scalers.tables.get(t).map(|s| &s.features[..]);
    let mut edges = vec![];
    for n in &dataset.networks {
        let between = n.from != n.to;
        if let (Some(from), Some(to)) = (names(&n.from), names(&n.to))
            && (union || !between)
        {
            edges.push(TypedEdges::new(&n.from, &n.to, named_edges(&n.pairs, from, to)));
        }
    }
    if let (Some(known), Some(antibodies)) = (&dataset.antibodies, names("protein")) {
        let genes = names("gene").unwrap_or_default();
        let (proteins, codes) = antibody_edges(antibodies, &known.genes, genes, &known.pairs);
        edges.push(TypedEdges::new("protein", "protein", proteins));
        if !genes.is_empty() && union {
            edges.push(TypedEdges::new("gene", "protein", codes));
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchSource;
    use oncograph_datasets::omics::OmicsPhantomConfig;
    use oncograph_nn::testing::device;

    #[test]
    fn one_patient_alone_is_scaled_as_in_the_cohort_and_the_others_do_not_matter() {
        let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(30, 1)).unwrap();
        let config = OmicsSystemConfig::quick().select(40);
        let cohort = OmicsStudyCohort::new(dataset.clone(), &config).unwrap();
        let train: Vec<usize> = (0..20).collect();
        let pipeline = OmicsPipeline::fit(&cohort, &config, &train).unwrap();
        assert_eq!(pipeline.features("gene").len(), 40);
        let all = pipeline.cohort(&dataset.cohort, &device()).unwrap();
        let mut changed = dataset.clone();
        changed.cohort.tables.get_mut("gene").unwrap().1[25].as_mut().unwrap()[0] = 1e6;
        let changed = OmicsStudyCohort::new(changed, &config).unwrap();
        assert_eq!(OmicsPipeline::fit(&changed, &config, &train).unwrap(), pipeline);
        let rows = OmicsRows::of_cohort(&dataset.cohort);
        let tables = rows.tables.iter().map(|(n, r)| (n.clone(), Cow::from(vec![r[25].clone()])));
        let one = OmicsRows { covariates: vec![rows.covariates[25].clone()], tables: tables.collect() };
        let one = pipeline.source(&one, &device()).unwrap().batch(&[0]).unwrap();
        let same = all.batch(&[25]).unwrap();
        let values = |t: &candle_core::Tensor| t.to_vec2::<f32>().unwrap();
        assert_eq!(values(&one.patient), values(&same.patient));
        assert_eq!(one.present("gene"), same.present("gene"));
        let text = serde_json::to_string(&pipeline).unwrap();
        assert_eq!(serde_json::from_str::<OmicsPipeline>(&text).unwrap(), pipeline);
    }
}
