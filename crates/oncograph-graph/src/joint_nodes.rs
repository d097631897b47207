use crate::store::StoreKind;
use crate::{Error, NodeSet, NodeStore, NodeType, Result};
use candle_core::{Device, Tensor};

/// The nodes of one type of several graphs, one graph after the other.
#[derive(Debug, Clone)]
pub(crate) struct JointNodes {
    /// The first node of each graph, and the total at the end.
    pub starts: Vec<usize>,
    kind: StoreKind,
    /// The row or the name of each node; empty for owned features.
    rows: Vec<u32>,
    /// \[nodes, features\]; `None` until the table of their rows is given.
    features: Option<Tensor>,
}

impl JointNodes {
    /// Joins the sets of one type; sets without nodes fit any store.
    pub fn new(ty: &NodeType, sets: &[&NodeSet], device: &Device) -> Result<Self> {
        let filled: Vec<&NodeSet> = sets.iter().copied().filter(|s| s.count > 0).collect();
        let kind = filled.first().map_or(StoreKind::Owned, |s| s.store.kind());
        if let Some(other) = filled.iter().find(|s| s.store.kind() != kind) {
            let what = format!("{} nodes of one batch", ty.name);
            return Err(Error::mismatch(what, kind, other.store.kind()));
        }
        let mut starts = vec![0];
        for set in sets {
            starts.push(starts[starts.len() - 1] + set.count);
        }
        let rows = filled.iter().flat_map(|s| s.store.rows()).copied().collect();
        let mut values = Vec::with_capacity(filled.iter().map(|s| s.store.values().len()).sum());
        filled.iter().for_each(|s| values.extend_from_slice(s.store.values()));
        let shape = (starts[sets.len()], ty.features);
        let features = match kind {
            StoreKind::Rows => None,
            StoreKind::Owned | StoreKind::Named => Some(Tensor::from_vec(values, shape, device)?),
        };
        Ok(JointNodes { starts, kind, rows, features })
    }

    /// How many nodes there are.
    fn count(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// \[nodes, features\]
    pub fn features(&self, ty: &NodeType) -> Result<&Tensor> {
        let missing = || {
            let what = format!("features of {} nodes", ty.name);
            Error::mismatch(what, "the table of their rows (HeteroBatch::with_table)", "none")
        };
        self.features.as_ref().ok_or_else(missing)
    }

    /// The row or the name of each node.
    pub fn rows(&self, ty: &NodeType) -> Result<&[u32]> {
        if self.kind == StoreKind::Owned && self.count() > 0 {
            let what = format!("rows of {} nodes", ty.name);
            return Err(Error::mismatch(what, "rows of a table or named nodes", self.kind));
        }
        Ok(&self.rows)
    }

    /// Gathers the features from a table \[rows, features\].
    pub fn gather(&mut self, ty: &NodeType, table: &Tensor) -> Result<()> {
        let what = || format!("table of {} nodes", ty.name);
        let rows = match table.dims() {
            &[rows, width] if width == ty.features => rows,
            other => {
                let expected = format!("[rows, {}]", ty.features);
                return Err(Error::mismatch(what(), expected, format!("{other:?}")));
            }
        };
        if self.count() == 0 {
            return Ok(());
        }
        if self.kind != StoreKind::Rows {
            return Err(Error::mismatch(what(), StoreKind::Rows, self.kind));
        }
        // Checked here, since not every device does.
        if let Some(&row) = self.rows.iter().find(|&&row| row as usize >= rows) {
            return Err(Error::mismatch(what(), format!("rows below {rows}"), row));
        }
        self.features = Some(oncograph_nn::portable::rows_at(table, &self.rows)?);
        Ok(())
    }

    /// The sets that were joined, graph by graph.
    pub fn split(&self, ty: &NodeType) -> Result<Vec<NodeSet>> {
        let values = match (&self.features, self.kind) {
            (Some(features), StoreKind::Owned | StoreKind::Named) => features.flatten_all()?.to_vec1()?,
            _ => vec![],
        };
        let set = |w: &[usize]| {
            let (from, to) = (w[0], w[1]);
            let own = || values[from * ty.features..to * ty.features].to_vec();
            let rows = || self.rows[from..to].to_vec();
            let store = match self.kind {
                StoreKind::Owned => NodeStore::Owned(own()),
                StoreKind::Rows => NodeStore::Rows(rows()),
                StoreKind::Named => NodeStore::Named { names: rows(), values: own() },
            };
            NodeSet { count: to - from, store }
        };
        Ok(self.starts.windows(2).map(set).collect())
    }
}
