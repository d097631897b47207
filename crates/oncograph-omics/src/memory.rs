use crate::batch::index;
use crate::{BatchSource, Error, OmicsBatch, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// A cohort in memory: the patient table and one table of values per type of named nodes.
#[derive(Debug, Clone)]
pub struct MemoryCohort {
    patient: Tensor,
    values: BTreeMap<String, (Tensor, Vec<bool>)>,
    device: Device,
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
        Ok(batch)
    }
}
