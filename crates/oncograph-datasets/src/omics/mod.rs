//! Molecular tables and what is known of how their columns belong together.
//!
//! | | |
//! |---|---|
//! | [`OmicsTable`] | one row per sample, one column per gene, protein or laboratory value; CSV and its relatives, workbooks, or Parquet (feature `parquet`) |
//! | [`RowStore`] | such a table on disk as fixed rows, read a batch at a time |
//! | [`OmicsScaler`] | selection by variance, imputation and z-scores, fitted on the training rows only |
//! | [`read_bioplex`], [`read_trrust`], [`read_edges`], [`read_scored_edges`], [`read_map`] | networks between genes and proteins |
//! | [`correlated`], [`associated`] | edges from the training rows |
//! | [`GeneSets`] | gene sets from GMT files |
//! | [`SampleTypes`] | which samples of TCGA's patients count |
//! | [`brca`], [`gbmlgg`], [`rat`] | the three real cohorts |
//! | [`OmicsPhantomConfig`] | a generated cohort with a planted signal |
//! | [`CohortSchema`] | anyone's cohort: a folder of tables and a short file that describes them |
//! | [`OmicsDataset`] | any of these with its networks, gene sets and centres |

mod barcode;
mod cohort;
mod covariate;
mod dataset;
mod edges;
mod features;
mod folder;
mod gmt;
mod networks;
mod phantom;
mod row_store;
mod scaler;
mod table;
mod tcga;

pub use barcode::SampleTypes;
pub use cohort::{ImageVector, ImageVectors, NamedRows, OmicsCohort, OmicsOutcomes, TableAccount, rat};
pub use covariate::{CovariateKind, CovariateValue, OmicsCovariate};
pub use dataset::{Antibodies, NamedNetwork, OmicsCollection, OmicsDataset, SetCollection};
pub use edges::{associated, correlated};
pub use folder::{
    COHORT_FILE, ClassColumn, CohortSchema, EdgeTable, ImageTable, OutcomeColumns, PatientTable,
    SurvivalColumns, ValueTable,
};
pub use gmt::GeneSets;
pub use networks::{
    antibody_edges, named_edges, read_bioplex, read_edges, read_map, read_scored_edges, read_trrust,
};
pub use phantom::{OmicsPhantom, OmicsPhantomConfig};
pub use row_store::{RowStore, RowStoreWriter};
pub use scaler::{OmicsScaler, OmicsScalerConfig, Selection};
#[cfg(all(test, feature = "parquet"))]
pub(crate) use table::table_file;
pub use table::{OmicsColumns, OmicsTable, OmicsTableOptions, for_each_row};
pub use tcga::{brca, brca_with, gbmlgg, gbmlgg_with};
