use crate::pipeline::CtFeatures;
use crate::{ANATOMY, Result};
use oncograph_core::Table;
use oncograph_imaging::{Mask, Volume};
use serde::{Deserialize, Serialize};

/// Numbers of a structure: the mean and the standard deviation of its voxels in HU, as they were scanned.
pub(crate) const INTENSITIES: usize = 2;

/// The mean and the standard deviation, in HU, of the CT within a mask on the CT's grid; `None` where it is empty.
///
/// They are of the scan's own voxels: on the network's grid of a tumour of 3 cm some ten voxels are left, of whose mean most
/// belongs to its surroundings.
///
/// # Reference
/// Zwanenburg et al., *The Image Biomarker Standardization Initiative*, Radiology 295, 2020: first-order statistics, mean
/// (Q4LE) and the root of the variance (ECT3).
pub(crate) fn intensities(ct: &Volume<f32>, mask: &Mask) -> Option<[f32; INTENSITIES]> {
    let inside =
        || ct.as_slice().iter().zip(mask.as_slice()).filter(|(_, m)| **m != 0).map(|(v, _)| f64::from(*v));
    let n = inside().count();
    if n == 0 {
        return None;
    }
    let mean = inside().sum::<f64>() / n as f64;
    let variance = inside().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
    Some([mean as f32, variance.sqrt() as f32])
}

/// The names of a structure's two numbers as columns of a table.
pub(crate) fn intensity_columns() -> Vec<String> {
    let names = |structure: &str| {
        let structure = structure.replace(' ', "_");
        [format!("{structure}_hu"), format!("{structure}_hu_sd")]
    };
    ANATOMY.iter().flat_map(|structure| names(structure)).collect()
}

/// A table of covariates with those columns of the intensities behind them that are wanted.
///
/// # Errors
/// A column of the table that is called like one of them.
pub(crate) fn with_intensities(table: &Table, images: &[&CtFeatures], wanted: &[String]) -> Result<Table> {
    let columns = table.columns().iter().chain(wanted).cloned().collect();
    let places: Vec<usize> = intensity_columns()
        .iter()
        .enumerate()
        .filter(|(_, c)| wanted.contains(c))
        .map(|(at, _)| at)
        .collect();
    let number = |patient: &CtFeatures, at: usize| {
        let node = at / INTENSITIES;
        (!patient.empty[node]).then(|| f64::from(patient.intensities[node][at % INTENSITIES]))
    };
    let row = |(row, patient): (&[Option<f64>], &&CtFeatures)| -> Vec<Option<f64>> {
        row.iter().copied().chain(places.iter().map(|&at| number(patient, at))).collect()
    };
    Ok(Table::new(table.ids().to_vec(), columns, table.rows().zip(images).map(row).collect())?)
}

/// Z-scores of the intensities by the training patients, each structure by those who have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IntensityScaler {
    mean: [[f32; INTENSITIES]; 5],
    /// 0 where training patients do not differ.
    inverse: [[f32; INTENSITIES]; 5],
}

impl IntensityScaler {
    pub fn fit(images: &[&CtFeatures], train: &[usize]) -> Self {
        let (mut mean, mut inverse) = ([[0.0; INTENSITIES]; 5], [[0.0; INTENSITIES]; 5]);
        for node in 0..ANATOMY.len() {
            for number in 0..INTENSITIES {
                let there = train.iter().filter(|&&p| !images[p].empty[node]);
                let values: Vec<f64> =
                    there.map(|&p| f64::from(images[p].intensities[node][number])).collect();
                let n = values.len().max(1) as f64;
                let average = values.iter().sum::<f64>() / n;
                let deviation = (values.iter().map(|v| (v - average).powi(2)).sum::<f64>() / n).sqrt();
                mean[node][number] = average as f32;
                if deviation > 1e-6 * average.abs().max(1.0) {
                    inverse[node][number] = (1.0 / deviation) as f32;
                }
            }
        }
        IntensityScaler { mean, inverse }
    }

    /// How many numbers every node gets: those of each structure at a place of their own, 0 at the others'.
    pub const WIDTH: usize = INTENSITIES * ANATOMY.len();

    /// Image features, patients x 6 nodes x `levels` x d, with [`IntensityScaler::WIDTH`] more behind each d: mixing levels
    /// leaves them as they are.
    pub fn beside(&self, values: &[f32], images: &[&CtFeatures], levels: usize) -> Vec<f32> {
        let rows = images.len() * (ANATOMY.len() + 1) * levels;
        let d = values.len() / rows.max(1);
        let mut out = Vec::with_capacity(rows * (d + Self::WIDTH));
        for (row, vector) in values.chunks(d.max(1)).enumerate() {
            let (patient, node) =
                (&images[row / levels / (ANATOMY.len() + 1)], row / levels % (ANATOMY.len() + 1));
            out.extend_from_slice(vector);
            let mut own = [0.0; Self::WIDTH];
            if node < ANATOMY.len() && !patient.empty[node] {
                for number in 0..INTENSITIES {
                    let value = patient.intensities[node][number] - self.mean[node][number];
                    own[node * INTENSITIES + number] = value * self.inverse[node][number];
                }
            }
            out.extend(own);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_imaging::{Frame, Grid};

    fn patient(tumour: Option<[f32; 2]>) -> CtFeatures {
        let mut intensities = [[100.0, 9.0]; 5];
        intensities[4] = tumour.unwrap_or_default();
        CtFeatures {
            values: vec![1.0; 6 * 3 * 2],
            centroids: [[0.5; 3]; 5],
            empty: [false, false, false, false, tumour.is_none()],
            kept: [Some(1.0); 5],
            numbers: [None; 4],
            intensities,
        }
    }

    #[test]
    fn mean_and_deviation_by_hand() {
        let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let ct = Volume::new(grid.clone(), Frame::default(), vec![10.0, 20.0, 60.0, 500.0]).unwrap();
        let mask = |inside: [u8; 4]| Mask::new(grid.clone(), Frame::default(), inside.to_vec()).unwrap();
        let [mean, deviation] = intensities(&ct, &mask([1, 1, 1, 0])).unwrap();
        assert!((mean - 30.0).abs() < 1e-5 && (deviation - (1400f32 / 3.0).sqrt()).abs() < 1e-4);
        assert_eq!(intensities(&ct, &mask([0; 4])), None);
    }

    #[test]
    fn they_stand_at_the_nodes_own_place_and_are_fitted_on_those_who_have_it() {
        let all = [
            patient(Some([40.0, 10.0])),
            patient(Some([60.0, 14.0])),
            patient(None),
            patient(Some([90.0, 1.0])),
        ];
        let images: Vec<&CtFeatures> = all.iter().collect();
        let scaler = IntensityScaler::fit(&images, &[0, 1, 2]);
        let values: Vec<f32> = images.iter().flat_map(|p| p.values.clone()).collect();
        let wide = scaler.beside(&values, &images, 3);
        let width = 2 + IntensityScaler::WIDTH;
        assert_eq!(wide.len(), 4 * 6 * 3 * width);
        let row = |patient: usize, node: usize, level: usize| {
            &wide[((patient * 6 + node) * 3 + level) * width..][..width]
        };
        assert_eq!(row(0, 4, 0), row(0, 4, 2));
        assert_eq!(row(0, 4, 0)[..2], [1.0, 1.0]);
        assert_eq!(row(0, 4, 0)[2 + 8..], [-1.0, -1.0]);
        assert_eq!(row(3, 4, 1)[2 + 8..], [4.0, -5.5]);
        assert!(row(0, 4, 0)[2..10].iter().all(|v| *v == 0.0), "the places of other nodes");
        assert!(row(2, 4, 0)[2..].iter().all(|v| *v == 0.0) && row(0, 5, 0)[2..].iter().all(|v| *v == 0.0));
        // Liver intensities do not differ: nothing to learn from.
        assert!(row(0, 0, 0)[2..].iter().all(|v| *v == 0.0));
    }

    #[test]
    fn a_table_has_them_where_the_structure_is_there() {
        let table = Table::numbered(vec!["age".into()], vec![vec![Some(50.0)], vec![None]]).unwrap();
        let all = [patient(Some([40.0, 10.0])), patient(None)];
        let images: Vec<&CtFeatures> = all.iter().collect();
        let wide = with_intensities(&table, &images, &intensity_columns()).unwrap();
        assert_eq!(wide.columns()[9..], ["tumour_hu", "tumour_hu_sd"]);
        assert_eq!((wide.row(0)[9], wide.row(1)[9], wide.row(1)[1]), (Some(40.0), None, Some(100.0)));
        let some = with_intensities(&table, &images, &["tumour_hu_sd".to_string()]).unwrap();
        assert_eq!((some.columns().len(), some.row(0)[1]), (2, Some(10.0)));
    }
}
