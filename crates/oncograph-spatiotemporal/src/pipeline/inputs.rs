use super::CtFeatures;
use crate::features::NODES;
use crate::image_numbers::{image_number_columns, image_numbers, with_image_numbers};
use crate::{Error, ImageScaler, NodeSubset, NodeTable, Result, StgSystemConfig};
use candle_core::Device;
use oncograph_core::Table;
use oncograph_datasets::scaler::{PipelineConfig, TabularPipeline};
use oncograph_graph::HeteroGraph;

/// What is fitted on the training patients before the network: imputation and scaling of the clinical covariates, scaling
/// and components of the image features.
#[derive(Debug, Clone, PartialEq)]
pub struct StgPipeline {
    tabular: TabularPipeline,
    images: Option<ImageScaler>,
    nodes: NodeSubset,
}

/// Patients as the network takes them.
#[derive(Debug, Clone)]
pub struct StgInputs {
    /// The features of all nodes.
    pub table: NodeTable,
    /// The graph of each patient over that table.
    pub graphs: Vec<HeteroGraph>,
}

impl StgPipeline {
    /// Fits on the rows `train` of the clinical table and, if there are any, of the image features, as `config` wants
    /// both scaled.
    ///
    /// # Errors
    /// Rows that are not there, or too few for the components.
    pub fn fit(
        clinical: &Table,
        images: Option<&[&CtFeatures]>,
        train: &[usize],
        config: &StgSystemConfig,
    ) -> Result<Self> {
        let joined = images.map(|images| {
            // Of what nobody has there is nothing to learn.
            let known: Vec<_> = train.iter().map(|&p| image_numbers(images[p])).collect();
            let names = image_number_columns();
            let known =
                |name: &str| known.iter().any(|p| names.iter().zip(p).any(|(n, v)| n == name && v.is_some()));
            with_image_numbers(clinical, images, |name| config.is_covariate(name) && known(name))
        });
        let joined = joined.transpose()?;
        let tabular = fit_covariates(joined.as_ref().unwrap_or(clinical), train, &config.clinical_scaling)?;
        let Some(images) = images else {
            return Ok(StgPipeline { tabular, images: None, nodes: NodeSubset::All });
        };
        let values = flat(images);
        let there: Vec<[bool; NODES]> = images.iter().map(|p| nodes_of(p)).collect();
        let mut scaler = ImageScaler::fit(&values, &there, train, config.image_scaling.norm)?
            .with_levels(config.encoder.pooling.levels())?;
        if let Some(count) = config.image_scaling.components {
            scaler = scaler.with_components(&values, &there, train, count)?;
        }
        Ok(StgPipeline { tabular, images: Some(scaler), nodes: config.model.nodes })
    }

    /// From parts that were fitted elsewhere.
    pub(crate) fn from_parts(
        tabular: TabularPipeline,
        images: Option<ImageScaler>,
        nodes: NodeSubset,
    ) -> Self {
        StgPipeline { tabular, images, nodes }
    }

    pub(crate) fn parts(&self) -> (&TabularPipeline, Option<&ImageScaler>) {
        (&self.tabular, self.images.as_ref())
    }

    /// Whether it was fitted with images: then it needs those of every patient.
    pub fn has_images(&self) -> bool {
        self.images.is_some()
    }

    fn has(&self, column: &str) -> bool {
        self.tabular.output_names().iter().any(|name| name == column)
    }

    /// How many clinical covariates the network is given, flags of missing ones included.
    pub fn covariates(&self) -> usize {
        self.covariate_names().len()
    }

    /// What they are called, column by column.
    pub(crate) fn covariate_names(&self) -> Vec<String> {
        self.tabular.output_names()
    }

    /// How many features each image node has; `None` without images.
    pub fn features(&self) -> Option<usize> {
        self.images.as_ref().map(ImageScaler::features)
    }

    /// The covariates of patients, imputed and scaled, row by row: what a network without images is given.
    ///
    /// # Errors
    /// Other columns.
    pub fn covariates_of(&self, clinical: &Table) -> Result<Vec<Vec<f32>>> {
        let (rows, width) = (self.tabular.transform(clinical)?.to_f32(), self.covariates());
        Ok(rows.chunks(width).map(<[f32]>::to_vec).collect())
    }

    /// Applies it to patients, those of the cohort that it was fitted on or any others.
    ///
    /// # Errors
    /// Other columns, image features of another width, or no images where it was fitted with some.
    pub fn apply(
        &self,
        clinical: &Table,
        images: Option<&[&CtFeatures]>,
        device: &Device,
    ) -> Result<StgInputs> {
        let images = match (&self.images, images) {
            (None, _) => None,
            (Some(_), None) => return Err(Error::input("images", "those of every patient", "none")),
            (Some(scaler), Some(images)) if images.len() == clinical.len() => Some((scaler, images)),
            (Some(_), Some(images)) => return Err(Error::input("images", clinical.len(), images.len())),
        };
        let joined = match images {
            Some((_, images)) => Some(with_image_numbers(clinical, images, |name| self.has(name))?),
            None => None,
        };
        let rows = self.tabular.transform(joined.as_ref().unwrap_or(clinical))?.to_f32();
        let values = images.map(|(scaler, images)| scaler.transform(&flat(images))).transpose()?;
        let width = self.features().unwrap_or(0);
        let table = NodeTable::new(values, width, rows, self.covariates(), device)?;
        let graph = |p: usize| match images {
            // A structure that is not there is no node, as one that augmentation removes.
            Some((_, images)) => {
                let there = images[p].empty.map(|empty| !empty);
                self.nodes.of(&table.graph(p, images[p].centroids)?.retain_nodes("anatomy", &there)?)
            }
            None => table.graph(p, [[0.5; 3]; 5]),
        };
        let graphs = (0..table.patients()).map(graph).collect::<Result<_>>()?;
        Ok(StgInputs { table, graphs })
    }
}

/// Imputation and scaling of the covariates, with logarithms of those columns of `config` that the table has.
pub(super) fn fit_covariates(
    clinical: &Table,
    train: &[usize],
    config: &PipelineConfig,
) -> Result<TabularPipeline> {
    let there = config.log1p.iter().filter(|name| clinical.columns().contains(name));
    let config = config.clone().log1p(there.cloned().collect::<Vec<_>>());
    Ok(TabularPipeline::fit(clinical, train, &config)?)
}

/// Which image nodes a patient has: those of the structures that are there, and the CT.
fn nodes_of(features: &CtFeatures) -> [bool; NODES] {
    std::array::from_fn(|node| !features.empty.get(node).copied().unwrap_or(false))
}

fn flat(images: &[&CtFeatures]) -> Vec<f32> {
    images.iter().flat_map(|p| p.values.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeatureNorm, ImageScalerConfig, StgPreset};

    fn config(norm: FeatureNorm, components: Option<usize>) -> StgSystemConfig {
        StgSystemConfig {
            image_scaling: ImageScalerConfig { norm, components },
            ..StgSystemConfig::new(StgPreset::Clinical)
        }
    }

    fn patients(n: usize) -> (Table, Vec<CtFeatures>) {
        let row = |p: usize| vec![Some(p as f64), (!p.is_multiple_of(3)).then_some((p as f64).sin())];
        let columns = vec!["age".to_string(), "marker".to_string()];
        let features = |p: usize| CtFeatures {
            values: (0..6 * 3 * 4).map(|i| (((p * 31 + i) * (i + 7)) % 23) as f32).collect(),
            centroids: [[0.5; 3]; 5],
            empty: [false; 5],
            kept: [Some(1.0); 5],
            numbers: [Some(p as f64), Some(1.0), (p != 3).then_some(2.0 * p as f64), Some(0.5)],
            intensities: [Some([(p * p % 5) as f32, 3.0]); 5],
            notes: vec![],
        };
        let table = Table::numbered(columns, (0..n).map(row).collect()).unwrap();
        (table, (0..n).map(features).collect())
    }

    /// Section 14: train-only fitting.
    #[test]
    fn held_out_patients_do_not_change_a_folds_pipeline() {
        let (table, images) = patients(9);
        let config = config(FeatureNorm::LogZScore, Some(2));
        let train = [0, 1, 2, 4, 5];
        let fit = |table: &Table, images: &[CtFeatures], train: &[usize]| {
            let images: Vec<&CtFeatures> = images.iter().collect();
            StgPipeline::fit(table, Some(&images), train, &config).unwrap()
        };
        let fitted = fit(&table, &images, &train);
        let rows = (0..9).map(|p| match train.contains(&p) {
            true => table.row(p).to_vec(),
            false => vec![Some(1e6), None],
        });
        let other = Table::numbered(table.columns().to_vec(), rows.collect()).unwrap();
        let mut changed = images.clone();
        for p in (0..9).filter(|p| !train.contains(p)) {
            changed[p].values.fill(1e6);
        }
        assert_eq!(fit(&other, &changed, &train), fitted);
        assert_ne!(fit(&table, &images, &[0, 1, 2, 4, 6]), fitted);
    }

    /// Zeros that stand for it would be an outlier of a z-score.
    #[test]
    fn a_structure_that_is_not_there_is_no_node() {
        let (table, mut images) = patients(7);
        images[2].empty[4] = true;
        let train = [0, 1, 2, 3, 4];
        let all: Vec<&CtFeatures> = images.iter().collect();
        let fitted =
            StgPipeline::fit(&table, Some(&all), &train, &config(FeatureNorm::ZScore, None)).unwrap();
        let inputs = fitted.apply(&table, Some(&all), &Device::Cpu).unwrap();
        let count = |p: usize| inputs.graphs[p].nodes("anatomy").unwrap().count;
        assert_eq!((count(1), count(2), inputs.graphs[2].edge_count()), (5, 4, 16));
        // What stands in its place matters to nobody.
        let mut other = images.clone();
        other[2].values[4 * 12..5 * 12].fill(1e6);
        let others: Vec<&CtFeatures> = other.iter().collect();
        assert_eq!(
            StgPipeline::fit(&table, Some(&others), &train, &config(FeatureNorm::ZScore, None)).unwrap(),
            fitted
        );
    }

    /// Each kind of number joins the covariates by its option, with a flag where some of the training patients lack it.
    #[test]
    fn numbers_of_images_are_covariates_by_option() {
        let (table, mut images) = patients(7);
        images.iter_mut().for_each(|p| p.intensities[2] = None);
        let all: Vec<&CtFeatures> = images.iter().collect();
        let covariates = |mask_numbers, intensities| {
            let config = StgSystemConfig { mask_numbers, intensities, ..config(FeatureNorm::ZScore, None) };
            StgPipeline::fit(&table, Some(&all), &[0, 1, 2, 3], &config).unwrap().covariates()
        };
        let plain = 3;
        assert_eq!(covariates(false, false), plain);
        assert_eq!(covariates(true, false), plain + 4 + 1);
        // Of a structure that nobody has there are none.
        assert_eq!(covariates(false, true), plain + 8);
        assert_eq!(covariates(true, true), plain + 5 + 8);
    }

    #[test]
    fn images_are_asked_for_where_they_were_fitted() {
        let (table, images) = patients(7);
        let config = config(FeatureNorm::ZScore, None);
        let all: Vec<&CtFeatures> = images.iter().collect();
        let pipeline = StgPipeline::fit(&table, Some(&all), &[0, 1, 2, 3], &config).unwrap();
        assert_eq!(pipeline.features(), Some(4));
        let error = |images| pipeline.apply(&table, images, &Device::Cpu).unwrap_err().to_string();
        assert_eq!(error(None), "images: expected those of every patient, got none");
        assert_eq!(error(Some(&all[1..])), "images: expected 7, got 6");
        let without = StgPipeline::fit(&table, None, &[0, 1, 2, 3], &config).unwrap();
        assert!(!without.apply(&table, Some(&all), &Device::Cpu).unwrap().table.has_images());
    }
}
