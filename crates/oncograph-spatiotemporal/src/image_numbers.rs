//! Numbers of a patient's images that no network made, as covariates.

use crate::intensities::{INTENSITIES, intensity_columns};
use crate::pipeline::CtFeatures;
use crate::{MASK_NUMBERS, Result};
use oncograph_core::Table;

/// Their columns: the [`MASK_NUMBERS`], then the mean and the deviation of each structure in HU.
pub(crate) fn image_number_columns() -> Vec<String> {
    MASK_NUMBERS.iter().map(ToString::to_string).chain(intensity_columns()).collect()
}

/// Those of a patient, in the order of [`image_number_columns`]; `None` for a structure that is missing.
pub(crate) fn image_numbers(patient: &CtFeatures) -> Vec<Option<f64>> {
    let of_structure = |numbers: &Option<[f32; INTENSITIES]>| {
        std::array::from_fn::<_, INTENSITIES, _>(|i| numbers.map(|n| f64::from(n[i])))
    };
    let intensities = patient.intensities.iter().flat_map(of_structure);
    patient.numbers.iter().copied().chain(intensities).collect()
}

/// A table of covariates with those numbers behind them whose columns are wanted.
///
/// # Errors
/// A column of the table that is called like one of them.
pub(crate) fn with_image_numbers(
    clinical: &Table,
    images: &[&CtFeatures],
    wanted: impl Fn(&str) -> bool,
) -> Result<Table> {
    let names = image_number_columns();
    let places: Vec<usize> = (0..names.len()).filter(|&at| wanted(&names[at])).collect();
    let columns = clinical.columns().iter().chain(places.iter().map(|&at| &names[at])).cloned().collect();
    let row = |(row, patient): (&[Option<f64>], &&CtFeatures)| -> Vec<Option<f64>> {
        let numbers = image_numbers(patient);
        row.iter().copied().chain(places.iter().map(|&at| numbers[at])).collect()
    };
    Ok(Table::new(clinical.ids().to_vec(), columns, clinical.rows().zip(images).map(row).collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_them_where_the_structure_is_there() {
        let table = Table::numbered(vec!["age".into()], vec![vec![Some(50.0)], vec![None]]).unwrap();
        let patient = |tumour: Option<[f32; 2]>| {
            let mut intensities = [Some([100.0, 9.0]); 5];
            intensities[4] = tumour;
            CtFeatures {
                values: vec![],
                centroids: [[0.5; 3]; 5],
                empty: [false; 5],
                kept: [Some(1.0); 5],
                numbers: [tumour.map(|_| 7.5), None, None, Some(0.5)],
                intensities,
                notes: vec![],
            }
        };
        let all = [patient(Some([40.0, 10.0])), patient(None)];
        let images: Vec<&CtFeatures> = all.iter().collect();
        let wide = with_image_numbers(&table, &images, |_| true).unwrap();
        assert_eq!(wide.columns()[..2], ["age", "tumour_volume_ml"]);
        assert_eq!(wide.columns()[13..], ["tumour_hu", "tumour_hu_sd"]);
        assert_eq!((wide.row(0)[1], wide.row(1)[1], wide.row(1)[4]), (Some(7.5), None, Some(0.5)));
        assert_eq!((wide.row(0)[13], wide.row(1)[13], wide.row(1)[5]), (Some(40.0), None, Some(100.0)));
        let some = with_image_numbers(&table, &images, |name| name == "tumour_hu_sd").unwrap();
        assert_eq!((some.columns().len(), some.row(0)[1]), (2, Some(10.0)));
    }
}
