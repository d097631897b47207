//! The paper's tables: what it states, what of that is possible, and what we run for each row.

mod audit;
mod early_fusion;
mod published;
mod rows;

pub use audit::{ParameterRatio, audit_tables, constant_rows, parameter_ratios};
pub use early_fusion::{EarlyFusion, FittedEarlyFusion};
pub use published::{PUBLISHED_STG, Published, PublishedScores};
pub use rows::{PaperRow, PaperTable, RowModel};
