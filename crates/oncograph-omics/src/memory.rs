use crate::batch::index;
use crate::{BatchSource, Error, OmicsBatch, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// A cohort in memory: the patient table, one table of values per type of named nodes, and vectors of images.
#[derive(Debug, Clone)]
pub struct MemoryCohort {
    patient: Tensor,
    values: BTreeMap<String, (Tensor, Vec<bool>)>,
    rows: BTreeMap<String, Rows>,
    device: Device,
}

/// Nodes with a vector each, of all patients one behind the other.
#[derive(Debug, Clone)]
struct Rows {
    features: Tensor,
    /// The first node of each patient, and the number of nodes at the end.
    starts: Vec<usize>,
    /// Edges among each patient's own nodes.
    edges: Vec<Vec<(u32, u32)>>,
}

impl MemoryCohort {
    /// From rows of patient features.
    ///
    /// # Errors
    /// [`Error::Input`] if a row has another length than the first or there is none.
    pub fn new(patient: &[Vec<f32>], device: &Device) -> Result<Self> {
        Ok(MemoryCohort {
            patient: tensor("patient", patient, device)?,
            values: BTreeMap::new(),
            rows: BTreeMap::new(),
            device: device.clone(),
        })
    }

    /// Adds the values of a type of nodes; `None` where a patient lacks the type.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of patients or rows of different length.
    pub fn with(mut self, node_type: impl Into<String>, rows: &[Option<Vec<f32>>]) -> Result<Self> {
        let name = node_type.into();
        if rows.len() != self.len() {
            return Err(Error::input(format!("rows of {name}"), self.len(), rows.len()));
        }
        let width = rows.iter().flatten().map(Vec::len).next().unwrap_or(0);
        let filled: Vec<Vec<f32>> =
            rows.iter().map(|r| r.clone().unwrap_or_else(|| vec![0.0; width])).collect();
        let values = tensor(&name, &filled, &self.device)?;
        self.values.insert(name, (values, rows.iter().map(Option::is_some).collect()));
        Ok(self)
    }

    /// Adds a type of nodes with a vector each, any number per patient, and the edges among a patient's own.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of patients, vectors of different length, or if there is none.
    pub fn with_rows(
        mut self,
        node_type: impl Into<String>,
        nodes: &[Vec<Vec<f32>>],
        edges: Vec<Vec<(u32, u32)>>,
    ) -> Result<Self> {
        let name = node_type.into();
        if nodes.len() != self.len() || edges.len() != self.len() {
            return Err(Error::input(format!("nodes of {name}"), self.len(), nodes.len().min(edges.len())));
        }
        let mut starts = vec![0];
        nodes.iter().for_each(|own| starts.push(starts[starts.len() - 1] + own.len()));
        let features = tensor(&name, &nodes.concat(), &self.device)?;
        self.rows.insert(name, Rows { features, starts, edges });
        Ok(self)
    }

    /// Patients.
    pub fn len(&self) -> usize {
        self.patient.dims()[0]
    }

    /// Whether there is no patient.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cohort as if nobody had some node types.
    pub fn without(mut self, node_types: &[&str]) -> Self {
        self.values.retain(|name, _| !node_types.contains(&name.as_str()));
        self.rows.retain(|name, _| !node_types.contains(&name.as_str()));
        self
    }
}

fn tensor(what: &str, rows: &[Vec<f32>], device: &Device) -> Result<Tensor> {
    let width = rows.first().map_or(0, Vec::len);
    if let Some(row) = rows.iter().position(|r| r.len() != width || r.is_empty()) {
        return Err(Error::input(format!("row {row} of {what}"), format!("{width} values"), rows[row].len()));
    }
    let bad = rows.iter().position(|r| r.iter().any(|v| !v.is_finite()));
    if let Some(row) = bad {
        return Err(Error::input(format!("row {row} of {what}"), "finite values", "NaN or infinity"));
    }
    Ok(Tensor::from_vec(rows.concat(), (rows.len(), width), device)?)
}

impl BatchSource for MemoryCohort {
    fn batch(&self, patients: &[usize]) -> Result<OmicsBatch> {
        if let Some(p) = patients.iter().find(|p| **p >= self.len()) {
            return Err(Error::input("patient", format!("below {}", self.len()), p));
        }
        let rows: Vec<u32> = patients.iter().map(|p| *p as u32).collect();
        let rows = index(&rows, &self.device)?;
        let mut batch = OmicsBatch::new(self.patient.index_select(&rows, 0)?);
        for (name, (values, present)) in &self.values {
            let here = patients.iter().map(|p| present[*p]).collect();
            batch = batch.with_values(name, values.index_select(&rows, 0)?, here);
        }
        for (name, nodes) in &self.rows {
            let (mut taken, mut owner, mut edges) = (vec![], vec![], vec![]);
            for (place, p) in patients.iter().enumerate() {
                let first = taken.len() as u32;
                let own = nodes.starts[*p]..nodes.starts[*p + 1];
                owner.extend(own.clone().map(|_| place as u32));
                taken.extend(own.map(|node| node as u32));
                edges.extend(nodes.edges[*p].iter().map(|(a, b)| (a + first, b + first)));
            }
            // Nobody of the batch has the type: it is absent.
            if !taken.is_empty() {
                let features = nodes.features.index_select(&index(&taken, &self.device)?, 0)?;
                batch = batch.with_rows(name, features, owner, edges);
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nodes;
    use oncograph_nn::testing::device;

    #[test]
    fn vectors_of_a_batch_keep_their_patients_and_edges() {
        let nodes = [vec![vec![1.0], vec![2.0]], vec![], vec![vec![3.0], vec![4.0]]];
        let edges = vec![vec![(0, 1)], vec![], vec![(1, 0)]];
        let cohort = MemoryCohort::new(&vec![vec![0.0]; 3], &device()).unwrap();
        assert!(cohort.clone().with_rows("image", &nodes[..2], edges.clone()).is_err());
        let cohort = cohort.with_rows("image", &nodes, edges).unwrap();
        let batch = cohort.batch(&[2, 1, 0]).unwrap();
        let Some(Nodes::Rows { features, patient, edges }) = batch.nodes.get("image") else { panic!("none") };
        assert_eq!(features.to_vec2::<f32>().unwrap().concat(), [3.0, 4.0, 1.0, 2.0]);
        assert_eq!((&patient[..], &edges[..]), (&[0, 0, 2, 2][..], &[(1, 0), (2, 3)][..]));
        assert!(cohort.batch(&[1]).unwrap().nodes.is_empty());
        assert!(cohort.without(&["image"]).batch(&[0]).unwrap().nodes.is_empty());
    }
}
