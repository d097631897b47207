//! Cohort readers, phantom cohorts, splits, scalers and the feature cache.
//!
//! From files on disk to numbers that a model may be trained on, independent of any model:
//!
//! | module | what it does |
//! |---|---|
//! | [`crlm`] | the colorectal liver metastasis cohort: clinical table, CT and masks in two layouts, and a *phantom* cohort with known truth |
//! | [`glioma`] | glioma with IDH status: public clinical tables |
//! | [`omics`] | tables of genes, proteins and laboratory values, networks between them, gene sets; TCGA and rat cohorts, and a *phantom* |
//! | [`patients`] | which scans and rows are of one patient |
//! | [`splits`] | stratified k-fold, repeated k-fold, train / validation / test |
//! | [`scaler`] | imputation and scaling, fitted on the training rows only |
//! | [`cache`] | computed features by content: nothing is computed twice, nothing stale is used |
//!
//! Every reader returns either checked data or an [`Error`] that names the file and the place in it.
//! Randomness comes from seeds only.
//!
//! # Example
//! ```
//! use oncograph_core::Seed;
//! use oncograph_datasets::crlm::{CrlmCohort, FeatureSet, LoadOptions, PhantomConfig, Structure, write_phantom};
//! use oncograph_datasets::scaler::{PipelineConfig, TabularPipeline};
//! use oncograph_datasets::splits::{merge_small_strata, stratified_split};
//!
//! # let folder = tempfile::tempdir()?;
//! // A small generated cohort; a folder of real data is opened the same way.
//! write_phantom(folder.path(), &PhantomConfig::new(20, 1).matrix(32), |_, _| ())?;
//! let cohort = CrlmCohort::open(folder.path())?;
//!
//! let strata = merge_small_strata(&cohort.clinical.strata(), 5);
//! let split = stratified_split(&strata, [0.6, 0.2, 0.2], Seed::new(1))?;
//! let features = cohort.clinical.features(FeatureSet::PreopOnly)?;
//! let pipeline = TabularPipeline::fit(&features, &split.train, &PipelineConfig::new())?;
//! let scaled = pipeline.transform(&features)?;
//! assert_eq!((features.ids().len(), scaled.rows.len()), (20, 20));
//!
//! let images = cohort.subjects[0].load(&LoadOptions::new())?;
//! assert_eq!(images.masks[&Structure::Liver].shape(), images.ct.shape());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cache;
pub mod crlm;
mod error;
pub mod glioma;
pub mod omics;
pub mod patients;
pub mod scaler;
pub mod splits;
mod tables;

pub use error::{Error, Result};
