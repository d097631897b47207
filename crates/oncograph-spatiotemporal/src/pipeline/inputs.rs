use super::CtFeatures;
use crate::{Error, ImageScaler, ImageScalerConfig, NodeTable, Result};
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
    /// Fits on the rows `train` of the clinical table and, if there are any, of the image features.
    ///
    /// # Errors
    /// Rows that are not there, or too few for the components.
    pub fn fit(
        clinical: &Table,
        images: Option<&[&CtFeatures]>,
        train: &[usize],
        config: &ImageScalerConfig,
    ) -> Result<Self> {
        let tabular = TabularPipeline::fit(clinical, train, &PipelineConfig::new())?;
        let Some(images) = images else { return Ok(StgPipeline { tabular, images: None }) };
        let width = images.first().map_or(0, |p| p.values.len());
        let values = flat(images);
        let mut scaler = ImageScaler::fit(&values, width, train, config.norm)?;
        if let Some(count) = config.components {
            scaler = scaler.with_components(&values, train, count)?;
        }
        Ok(StgPipeline { tabular, images: Some(scaler) })
    }

    /// From parts that were fitted elsewhere.
    pub(crate) fn from_parts(tabular: TabularPipeline, images: Option<ImageScaler>) -> Self {
        StgPipeline { tabular, images }
    }

    pub(crate) fn parts(&self) -> (&TabularPipeline, Option<&ImageScaler>) {
        (&self.tabular, self.images.as_ref())
    }

    /// Whether it was fitted with images: then it needs those of every patient.
    pub fn has_images(&self) -> bool {
        self.images.is_some()
    }

    /// How many clinical covariates the network is given, flags of missing ones included.
    pub fn covariates(&self) -> usize {
        self.tabular.output_names().len()
    }

    /// How many features each image node has; `None` without images.
    pub fn features(&self) -> Option<usize> {
        self.images.as_ref().map(ImageScaler::features)
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
        let rows = self.tabular.transform(clinical)?.to_f32();
        let images = match (&self.images, images) {
            (None, _) => None,
            (Some(_), None) => return Err(Error::input("images", "those of every patient", "none")),
            (Some(scaler), Some(images)) if images.len() == clinical.len() => Some((scaler, images)),
            (Some(_), Some(images)) => return Err(Error::input("images", clinical.len(), images.len())),
        };
        let values = images.map(|(scaler, images)| scaler.transform(&flat(images))).transpose()?;
        let width = self.features().unwrap_or(0);
        let table = NodeTable::new(values, width, rows, self.covariates(), device)?;
        let centroids = |p: usize| images.map_or([[0.5; 3]; 5], |(_, images)| images[p].centroids);
        let graphs = (0..table.patients()).map(|p| table.graph(p, centroids(p))).collect::<Result<_>>()?;
        Ok(StgInputs { table, graphs })
    }
}

fn flat(images: &[&CtFeatures]) -> Vec<f32> {
    images.iter().flat_map(|p| p.values.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FeatureNorm;

    fn patients(n: usize) -> (Table, Vec<CtFeatures>) {
        let row = |p: usize| vec![Some(p as f64), (!p.is_multiple_of(3)).then_some((p as f64).sin())];
        let columns = vec!["age".to_string(), "marker".to_string()];
        let features = |p: usize| CtFeatures {
            values: (0..6 * 3 * 4).map(|i| (((p * 31 + i) * (i + 7)) % 23) as f32).collect(),
            centroids: [[0.5; 3]; 5],
            empty: [false; 5],
        };
        let table = Table::numbered(columns, (0..n).map(row).collect()).unwrap();
        (table, (0..n).map(features).collect())
    }

    /// Section 14: train-only fitting.
    #[test]
    fn held_out_patients_do_not_change_a_folds_pipeline() {
        let (table, images) = patients(9);
        let config = ImageScalerConfig { norm: FeatureNorm::LogZScore, components: Some(2) };
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

    #[test]
    fn images_are_asked_for_where_they_were_fitted() {
        let (table, images) = patients(7);
        let config = ImageScalerConfig { norm: FeatureNorm::ZScore, components: None };
        let all: Vec<&CtFeatures> = images.iter().collect();
        let pipeline = StgPipeline::fit(&table, Some(&all), &[0, 1, 2, 3], &config).unwrap();
        assert_eq!((pipeline.features(), pipeline.covariates()), (Some(4), 3));
        let error = |images| pipeline.apply(&table, images, &Device::Cpu).unwrap_err().to_string();
        assert_eq!(error(None), "images: expected those of every patient, got none");
        assert_eq!(error(Some(&all[1..])), "images: expected 7, got 6");
        let without = StgPipeline::fit(&table, None, &[0, 1, 2, 3], &config).unwrap();
        assert!(!without.apply(&table, Some(&all), &Device::Cpu).unwrap().table.has_images());
    }
}
