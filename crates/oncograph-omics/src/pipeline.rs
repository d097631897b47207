use crate::cohort::IMAGES;
use crate::{
    Error, MemoryCohort, ModalityConfig, NodeTypeConfig, OmicsNetConfig, OmicsStudyCohort, OmicsSystemConfig,
    Result, SharedGraphs, SpatialEdges, TypedEdges,
};
use candle_core::Device;
use oncograph_datasets::omics::{
    ImageVector, ImageVectors, NamedRows, OmicsCohort, OmicsDataset, OmicsScaler, OmicsScalerConfig,
    Selection, antibody_edges, associated, correlated, named_edges,
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

/// What stands for the covariates where tables have names.
pub(crate) const PATIENT: &str = "patient";

/// Raw values of some patients, in the order of a cohort's columns; NaN where a value is missing.
#[derive(Debug, Clone)]
pub(crate) struct OmicsRows<'a> {
    /// A row per patient.
    pub covariates: Vec<Vec<f32>>,
    /// By table a row per patient that has it.
    pub tables: BTreeMap<String, Cow<'a, [Option<Vec<f32>>]>>,
    /// The vectors of each patient's images; `None` without a table of them.
    pub images: Option<Cow<'a, [Vec<ImageVector>]>>,
}

impl<'a> OmicsRows<'a> {
    /// All patients of a cohort.
    pub fn of_cohort(cohort: &'a OmicsCohort) -> Self {
        let row = |row: &[Option<f64>]| row.iter().map(|v| v.map_or(f32::NAN, |v| v as f32)).collect();
        OmicsRows {
            covariates: cohort.covariates.rows().map(row).collect(),
            tables: cohort.tables.iter().map(|(name, (_, rows))| (name.clone(), Cow::from(rows))).collect(),
            images: cohort.images.as_ref().map(|images| Cow::from(&images.patients)),
        }
    }
}

/// The scalers of a cohort's covariates and tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OmicsScalers {
    pub patient: OmicsScaler,
    pub tables: BTreeMap<String, OmicsScaler>,
    #[serde(default)]
    pub images: Option<OmicsScaler>,
}

/// Rows that went through [`OmicsScalers`].
struct Scaled {
    patient: Vec<Vec<f32>>,
    tables: BTreeMap<String, Vec<Option<Vec<f32>>>>,
    images: Option<Vec<Vec<Vec<f32>>>>,
}

impl OmicsScalers {
    /// Fits on the patients `train`: all covariates, and of each table the `select` columns of the largest variance.
    pub fn fit(cohort: &OmicsCohort, rows: &OmicsRows<'_>, select: usize, train: &[usize]) -> Result<Self> {
        let all = OmicsScalerConfig::new(0).select(Selection::All);
        let covariates: Vec<_> = rows.covariates.iter().cloned().map(Some).collect();
        let patient = OmicsScaler::fit(cohort.covariates.columns(), &covariates, train, &all)?;
        let table = |(name, (columns, rows)): (&String, &NamedRows)| {
            let options = OmicsScalerConfig::new(select).log1p(cohort.counts.contains(name));
            Ok((name.clone(), OmicsScaler::fit(columns, rows, train, &options)?))
        };
        let tables = cohort.tables.iter().map(table).collect::<Result<_>>()?;
        let vectors = |images: &ImageVectors| -> Result<OmicsScaler> {
            // Every vector of a training patient counts once.
            let own = train.iter().flat_map(|p| &images.patients[*p]);
            let own: Vec<Option<Vec<f32>>> = own.map(|v| Some(v.values.clone())).collect();
            let all_rows: Vec<usize> = (0..own.len()).collect();
            Ok(OmicsScaler::fit(&images.features, &own, &all_rows, &all)?)
        };
        Ok(OmicsScalers { patient, tables, images: cohort.images.as_ref().map(vectors).transpose()? })
    }

    fn transform(&self, rows: &OmicsRows<'_>) -> Scaled {
        let table = |(name, scaler): (&String, &OmicsScaler)| {
            let one = |row: &Option<Vec<f32>>| row.as_ref().map(|r| scaler.transform(r));
            Some((name.clone(), rows.tables.get(name)?.iter().map(one).collect()))
        };
        Scaled {
            patient: rows.covariates.iter().map(|r| self.patient.transform(r)).collect(),
            tables: self.tables.iter().filter_map(table).collect(),
            images: self.images.as_ref().zip(rows.images.as_ref()).map(|(scaler, images)| {
                let own = |own: &Vec<ImageVector>| own.iter().map(|v| scaler.transform(&v.values)).collect();
                images.iter().map(own).collect()
            }),
        }
    }

    /// Patient features followed by those of each table and the mean vector of images; of what a patient lacks, zeros.
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
        if let (Some(images), Some(scaler)) = (&scaled.images, &self.images) {
            names.extend(scaler.features.iter().map(|f| format!("{IMAGES}.{f}")));
            for (all, own) in all.iter_mut().zip(images) {
                let sum = |c: usize| own.iter().map(|v| f64::from(v[c])).sum::<f64>();
                all.extend((0..scaler.features.len()).map(|c| sum(c) / own.len().max(1) as f64));
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
    #[serde(default)]
    spatial: SpatialEdges,
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
            let joined = dataset.networks.iter().any(|n| n.from == *name && n.to == *name);
            let bound = name == "protein" && dataset.antibodies.is_some();
            if !joined && !bound {
                let seen: Vec<Vec<f32>> =
                    train.iter().filter_map(|&i| scaled.tables[name][i].clone()).collect();
                edges.push(TypedEdges::new(name, name, correlated(&seen, CORRELATION, NEIGHBOURS)));
            }
            let mut node_type = NodeTypeConfig::diag(name, scaler.features.len());
            node_type.input = config.net.node_input;
            node_types.push(node_type);
        }
        if let Some(scaler) = &scalers.images {
            node_types.push(NodeTypeConfig::rows(IMAGES, scaler.features.len()));
        }
        edges.extend(known_edges(config.net.union, dataset, &scalers));
        edges.extend(associations(config.net.associated, &scaled, train)?);
        let modalities = with_associated(cohort.modalities(), &edges);
        let tasks = config.tasks(cohort.tasks());
        let net = config.net.net(scalers.patient.features.len(), node_types, modalities, tasks);
        Ok(OmicsPipeline { scalers, edges, net, spatial: config.net.spatial })
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

    /// The columns of a table that the network reads; those of the covariates under `patient`.
    pub fn features(&self, table: &str) -> &[String] {
        match table {
            PATIENT => &self.scalers.patient.features,
            table => self.scalers.tables.get(table).map_or(&[], |s| &s.features),
        }
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
        if let (Some(nodes), Some(images)) = (&scaled.images, &rows.images)
            && nodes.iter().any(|own| !own.is_empty())
        {
            let places = |own: &Vec<ImageVector>| own.iter().map(|v| v.centroid).collect::<Vec<_>>();
            let edges = images.iter().map(|own| self.spatial.of(&places(own))).collect::<Result<_>>()?;
            source = source.with_rows(IMAGES, nodes, edges)?;
        }
        Ok(source)
    }

    /// Checks that scalers read only columns that there are, so that a damaged file is an error and no panic.
    pub(crate) fn check(
        &self,
        covariates: usize,
        tables: &BTreeMap<String, Vec<String>>,
        images: usize,
    ) -> Result<()> {
        let tables_fit = self.scalers.tables.iter().all(|(name, scaler)| {
            tables.get(name).is_some_and(|columns| scaler.fits(columns.len()))
                && self.net.node_type(name).is_some_and(|t| t.features == scaler.features.len())
        });
        let images_fit = self.scalers.images.as_ref().is_none_or(|scaler| {
            scaler.fits(images)
                && self.net.node_type(IMAGES).is_some_and(|t| t.features == scaler.features.len())
        });
        if !tables_fit || !images_fit || !self.scalers.patient.fits(covariates) {
            return Err(Error::input("pipeline", "scalers of the listed columns", "others"));
        }
        self.net.validate()
    }
}

/// Whether edges between two tables are those from a gene to its protein (M-06).
fn codes_for(from: &str, to: &str) -> bool {
    matches!((from, to), ("gene", "protein") | ("protein", "gene"))
}

/// Whether edges between two tables join genes and laboratory values.
fn associates(from: &str, to: &str) -> bool {
    matches!((from, to), ("gene", "lab") | ("lab", "gene"))
}

/// Edges between genes and laboratory values that go together in training patients with both (`associated_with`, M-04).
fn associations(fdr: Option<f64>, scaled: &Scaled, train: &[usize]) -> Result<Vec<TypedEdges>> {
    let (Some(fdr), Some(genes), Some(labs)) = (fdr, scaled.tables.get("gene"), scaled.tables.get("lab"))
    else {
        return Ok(vec![]);
    };
    let both = train.iter().filter_map(|&p| Some((genes[p].clone()?, labs[p].clone()?)));
    let (genes, labs): (Vec<_>, Vec<_>) = both.unzip();
    Ok(vec![TypedEdges::new("gene", "lab", associated(&genes, &labs, fdr)?)])
}

/// The modalities, where genes join the laboratory values' graph if edges join the two; pooled are the values alone.
fn with_associated(modalities: Vec<ModalityConfig>, edges: &[TypedEdges]) -> Vec<ModalityConfig> {
    let joined = edges.iter().any(|e| associates(&e.from, &e.to) && !e.pairs.is_empty());
    let one = |m: ModalityConfig| match joined && m.pooled == ["lab"] {
        true => ModalityConfig::new(m.name, ["lab", "gene"]).pooled(["lab"]),
        false => m,
    };
    modalities.into_iter().map(one).collect()
}

fn known_edges(union: bool, dataset: &OmicsDataset, scalers: &OmicsScalers) -> Vec<TypedEdges> {
    let names = |t: &str| scalers.tables.get(t).map(|s| &s.features[..]);
    let mut edges = vec![];
    for n in &dataset.networks {
        if let (Some(from), Some(to)) = (names(&n.from), names(&n.to))
            && (union || !codes_for(&n.from, &n.to))
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
        let one = OmicsRows {
            covariates: vec![rows.covariates[25].clone()],
            tables: tables.collect(),
            images: None,
        };
        let one = pipeline.source(&one, &device()).unwrap().batch(&[0]).unwrap();
        let same = all.batch(&[25]).unwrap();
        let values = |t: &candle_core::Tensor| t.to_vec2::<f32>().unwrap();
        assert_eq!(values(&one.patient), values(&same.patient));
        assert_eq!(one.present("gene"), same.present("gene"));
        let text = serde_json::to_string(&pipeline).unwrap();
        assert_eq!(serde_json::from_str::<OmicsPipeline>(&text).unwrap(), pipeline);
    }
}
