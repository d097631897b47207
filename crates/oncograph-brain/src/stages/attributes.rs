//! Attributes of regions and tracts as rows and tensors, and their scaling.

use super::AttributeScalers;
use crate::Result;
use candle_core::{Device, Tensor};
use oncograph_datasets::scaler::ZScore;

/// Attributes of regions and of tracts.
pub(super) type Attributes = (Vec<Vec<f32>>, Vec<Vec<f32>>);

/// Rows as a tensor \[rows, columns\].
pub(crate) fn matrix<'a>(rows: impl Iterator<Item = &'a Vec<f32>>, device: &Device) -> Result<Tensor> {
    let rows: Vec<&Vec<f32>> = rows.collect();
    let width = rows.first().map_or(0, |r| r.len());
    let values: Vec<f32> = rows.iter().flat_map(|r| r.iter().copied()).collect();
    Ok(Tensor::from_vec(values, (rows.len(), width), device)?)
}

/// Brings every attribute to standard deviations over the given patients.
pub(super) fn scale(attributes: &mut [Attributes], fitted_on: &[usize]) -> Result<AttributeScalers> {
    let fit = |part: fn(&Attributes) -> &Vec<Vec<f32>>| -> Result<ZScore> {
        let seen: Vec<Vec<f64>> = fitted_on.iter().flat_map(|&i| wide(part(&attributes[i]))).collect();
        let all: Vec<usize> = (0..seen.len()).collect();
        Ok(ZScore::fit(&seen, &all)?)
    };
    let scalers = AttributeScalers { regions: fit(|a| &a.0)?, tracts: fit(|a| &a.1)? };
    for patient in attributes.iter_mut() {
        patient.0 = scaled_rows(&scalers.regions, std::mem::take(&mut patient.0))?;
        patient.1 = scaled_rows(&scalers.tracts, std::mem::take(&mut patient.1))?;
    }
    Ok(scalers)
}

fn wide(rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
    rows.iter().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect()
}

/// Rows of attributes in the units of a scaler.
pub(crate) fn scaled_rows(scaler: &ZScore, rows: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
    let scaled = scaler.transform(&wide(&rows))?;
    Ok(scaled.into_iter().map(|r| r.into_iter().map(|v| v as f32).collect()).collect())
}
