use crate::{Error, Result};

/// S-10: z-scores of image features, each number of each node by its mean and deviation over training patients.
///
/// A feature that does not vary in training becomes 0.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageScaler {
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl ImageScaler {
    /// Fits on the patients `train` of `values`, which holds `width` numbers per patient.
    ///
    /// # Errors
    /// [`Error::Input`] if `values` is not whole patients or `train` is empty or out of range.
    pub fn fit(values: &[f32], width: usize, train: &[usize]) -> Result<Self> {
        let patients = patients(values, width)?;
        if train.is_empty() || train.iter().any(|&p| p >= patients) {
            return Err(Error::input(
                "training patients",
                format!("some below {patients}"),
                format!("{train:?}"),
            ));
        }
        let n = train.len() as f64;
        let rows = || train.iter().map(|&p| &values[p * width..(p + 1) * width]);
        let mut mean = vec![0f64; width];
        rows().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v) / n));
        let mut variance = vec![0f64; width];
        let add = |row: &[f32]| {
            let terms = variance.iter_mut().zip(row).zip(&mean);
            terms.for_each(|((s, &v), m)| *s += (f64::from(v) - m).powi(2) / n);
        };
        rows().for_each(add);
        // A deviation at the rounding of the values themselves is no variation.
        let invert = |(v, m): (&f64, &f64)| {
            let deviation = v.sqrt();
            if deviation > 1e-6 * m.abs().max(1e-12) { (1.0 / deviation) as f32 } else { 0.0 }
        };
        let inverse = variance.iter().zip(&mean).map(invert).collect();
        Ok(ImageScaler { mean: mean.into_iter().map(|m| m as f32).collect(), inverse })
    }

    /// The z-scores of all patients of `values`.
    ///
    /// # Errors
    /// [`Error::Input`] if `values` is not whole patients of the fitted width.
    pub fn transform(&self, values: &[f32]) -> Result<Vec<f32>> {
        let width = self.mean.len();
        patients(values, width)?;
        let scale = |row: &[f32]| -> Vec<f32> {
            row.iter().zip(&self.mean).zip(&self.inverse).map(|((v, m), i)| (v - m) * i).collect()
        };
        Ok(values.chunks(width).flat_map(scale).collect())
    }

    /// Means and inverse deviations, to be saved.
    pub fn parts(&self) -> (&[f32], &[f32]) {
        (&self.mean, &self.inverse)
    }

    /// From what [`ImageScaler::parts`] gave.
    ///
    /// # Errors
    /// [`Error::Input`] if the lengths differ.
    pub fn from_parts(mean: Vec<f32>, inverse: Vec<f32>) -> Result<Self> {
        if mean.len() != inverse.len() || mean.is_empty() {
            return Err(Error::input("image scaler", format!("{} deviations", mean.len()), inverse.len()));
        }
        Ok(ImageScaler { mean, inverse })
    }
}

fn patients(values: &[f32], width: usize) -> Result<usize> {
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Error::input("image features", format!("rows of {width}"), values.len()));
    }
    Ok(values.len() / width)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 14: train-only fitting.
    #[test]
    fn held_out_patients_do_not_touch_the_fit() {
        let mut values = vec![1.0, 5.0, 3.0, 5.0, 99.0, -7.0];
        let fitted = ImageScaler::fit(&values, 2, &[0, 1]).unwrap();
        values[4..].copy_from_slice(&[-1e9, 1e9]);
        assert_eq!(ImageScaler::fit(&values, 2, &[0, 1]).unwrap(), fitted);
        assert_ne!(ImageScaler::fit(&values, 2, &[0, 2]).unwrap(), fitted);
        let z = fitted.transform(&[1.0, 5.0, 3.0, 5.0]).unwrap();
        assert_eq!(z, [-1.0, 0.0, 1.0, 0.0]);
        let (mean, inverse) = fitted.parts();
        assert_eq!(ImageScaler::from_parts(mean.to_vec(), inverse.to_vec()).unwrap(), fitted);
        assert!(ImageScaler::fit(&values, 4, &[0]).is_err());
    }
}
