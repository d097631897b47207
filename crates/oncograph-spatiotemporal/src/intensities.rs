use crate::ANATOMY;
use oncograph_imaging::{Mask, Volume};

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

/// What there is to say of the intensities of a liver that are not those of a liver's parenchyma in HU, with contrast, fat or
/// iron: the CT may be stored with another offset, or the mask show something else.
pub(crate) fn implausible_liver(intensities: Option<[f32; INTENSITIES]>) -> Option<String> {
    let [mean, _] = intensities?;
    (!(-60.0..=300.0).contains(&mean)).then(|| {
        format!("the liver has a mean of {mean:.0} HU: are these Hounsfield units, and is this the liver?")
    })
}

/// The names of a structure's two numbers as columns of a table.
pub(crate) fn intensity_columns() -> Vec<String> {
    let names = |structure: &str| {
        let structure = structure.replace(' ', "_");
        [format!("{structure}_hu"), format!("{structure}_hu_sd")]
    };
    ANATOMY.iter().flat_map(|structure| names(structure)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_imaging::{Frame, Grid};

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
    fn no_liver_is_as_dark_as_air() {
        assert_eq!(implausible_liver(None), None);
        assert_eq!(implausible_liver(Some([95.0, 20.0])), None);
        let said = implausible_liver(Some([-930.4, 20.0])).unwrap();
        assert!(said.contains("-930 HU"), "{said}");
    }
}
