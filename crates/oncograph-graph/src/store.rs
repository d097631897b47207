use crate::{Error, NodeType, Result};
use std::collections::HashSet;

/// Where the features of the nodes of one type are. A graph holds one store per node type, beside its edges.
///
/// | store | the graph holds | [`HeteroBatch::features`](crate::HeteroBatch::features) |
/// |---|---|---|
/// | [`Owned`](NodeStore::Owned) | every feature | copied to the device with the batch |
/// | [`Rows`](NodeStore::Rows) | one row number per node | gathered from the table of a cohort, see [`HeteroBatch::with_table`](crate::HeteroBatch::with_table) |
/// | [`Named`](NodeStore::Named) | one value per node and which node it is | copied to the device with the batch |
#[derive(Debug, Clone, PartialEq)]
pub enum NodeStore {
    /// Features row by row: nodes x features of the type.
    Owned(Vec<f32>),
    /// For each node, its row in a table of all patients, which lies on a device and is given to the batch.
    Rows(Vec<u32>),
    /// One value per node, of nodes that are the same in every patient, such as the genes of a panel.
    Named {
        /// For each node, the position of its name in the list that all graphs share; each at most once.
        names: Vec<u32>,
        /// For each node, its one feature.
        values: Vec<f32>,
    },
}

impl Default for NodeStore {
    fn default() -> Self {
        NodeStore::Owned(vec![])
    }
}

/// Which store it is, without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Owned,
    Rows,
    Named,
}

impl std::fmt::Display for StoreKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StoreKind::Owned => "owned features",
            StoreKind::Rows => "rows of a table",
            StoreKind::Named => "named nodes",
        })
    }
}

impl NodeStore {
    pub(crate) fn kind(&self) -> StoreKind {
        match self {
            NodeStore::Owned(_) => StoreKind::Owned,
            NodeStore::Rows(_) => StoreKind::Rows,
            NodeStore::Named { .. } => StoreKind::Named,
        }
    }

    /// The features that the graph holds itself, row by row.
    pub(crate) fn values(&self) -> &[f32] {
        match self {
            NodeStore::Owned(values) | NodeStore::Named { values, .. } => values,
            NodeStore::Rows(_) => &[],
        }
    }

    /// The row number or the name of each node; empty for owned features.
    pub(crate) fn rows(&self) -> &[u32] {
        match self {
            NodeStore::Owned(_) => &[],
            NodeStore::Rows(rows) | NodeStore::Named { names: rows, .. } => rows,
        }
    }

    /// The store of the nodes `kept`, in that order; `width` is the number of features of the type.
    pub(crate) fn select(&self, kept: &[usize], width: usize) -> Self {
        match self {
            NodeStore::Owned(values) => {
                let rows = kept.iter().flat_map(|&i| &values[i * width..(i + 1) * width]);
                NodeStore::Owned(rows.copied().collect())
            }
            NodeStore::Rows(rows) => NodeStore::Rows(kept.iter().map(|&i| rows[i]).collect()),
            NodeStore::Named { names, values } => NodeStore::Named {
                names: kept.iter().map(|&i| names[i]).collect(),
                values: kept.iter().map(|&i| values[i]).collect(),
            },
        }
    }

    /// Checks the store of `count` nodes of type `ty`.
    pub(crate) fn check(&self, ty: &NodeType, count: usize) -> Result<()> {
        let what = || format!("features of {count} {} nodes", ty.name);
        match self {
            NodeStore::Owned(values) => check_values(what, count * ty.features, values),
            // The rows are checked against the table, which the batch is given.
            NodeStore::Rows(_) => Ok(()),
            NodeStore::Named { names, values } => {
                if ty.features != 1 {
                    let expected = format!("{} values per node", ty.features);
                    return Err(Error::mismatch(what(), expected, "named nodes, which have one"));
                }
                let mut seen = HashSet::new();
                if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
                    let what = format!("names of {} nodes", ty.name);
                    return Err(Error::mismatch(what, "each at most once", format!("{twice} again")));
                }
                check_values(what, count, values)
            }
        }
    }
}

/// Checks the number of values, and that each is finite.
pub(crate) fn check_values(what: impl Fn() -> String, expected: usize, values: &[f32]) -> Result<()> {
    if values.len() != expected {
        return Err(Error::mismatch(what(), format!("{expected} values"), values.len()));
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(Error::NotFinite { what: what(), index, value: values[index] }),
        None => Ok(()),
    }
}
