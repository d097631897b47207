use crate::{Error, Result};
use oncograph_nn::Seed;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// How a region or tract of any size becomes a vector of a given length (G-21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoxelSampling {
    /// Voxels at even steps through the list, which is in raster order; small regions repeat voxels.
    #[default]
    Even,
    /// Voxels drawn at random with replacement, in raster order.
    Random,
    /// Values between voxels at even steps.
    Interpolate,
}

/// What a tract's vector is made of (G-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TractChannels {
    /// The same voxels of all sequences, one sequence after the other.
    #[default]
    All,
    /// Of T1 alone, as many values.
    T1,
}

/// Which voxels of a list of `count` are taken, with the weight of the next one: `(position, share of position + 1)`.
///
/// # Errors
/// [`Error::Input`] for an empty list or a request for no values.
pub fn sample_positions(
    count: usize,
    values: usize,
    sampling: VoxelSampling,
    seed: Seed,
) -> Result<Vec<(usize, f32)>> {
    if count == 0 || values == 0 {
        return Err(Error::input("sample_positions", "voxels to sample", format!("{values} of {count}")));
    }
    Ok(match sampling {
        VoxelSampling::Even => (0..values).map(|i| (i * count / values, 0.0)).collect(),
        VoxelSampling::Random => {
            let mut rng = seed.rng();
            let mut drawn: Vec<usize> = (0..values).map(|_| rng.random_range(0..count)).collect();
            drawn.sort_unstable();
            drawn.into_iter().map(|i| (i, 0.0)).collect()
        }
        VoxelSampling::Interpolate => {
            let step = (count - 1) as f64 / (values.max(2) - 1) as f64;
            let at = |i: usize| {
                let position = i as f64 * step;
                let whole = (position as usize).min(count - 1);
                let share = if whole + 1 < count { (position - whole as f64) as f32 } else { 0.0 };
                (whole, share)
            };
            (0..values).map(at).collect()
        }
    })
}

/// The vector of the voxels `voxels`, offsets into each of `volumes`: `values` of every volume, one volume after the
/// other, all at the same positions.
///
/// # Errors
/// As [`sample_positions`], or [`Error::Input`] for a voxel outside a volume.
///
/// # Example
/// ```
/// use oncograph_brain::{VoxelSampling, sample_voxels};
/// use oncograph_nn::Seed;
///
/// let t1 = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
/// let vector = sample_voxels(&[&t1], &[1, 2, 4, 5], 2, VoxelSampling::Even, Seed::new(1))?;
/// assert_eq!(vector, [11.0, 14.0]);
/// # Ok::<(), oncograph_brain::Error>(())
/// ```
pub fn sample_voxels(
    volumes: &[&[f32]],
    voxels: &[u32],
    values: usize,
    sampling: VoxelSampling,
    seed: Seed,
) -> Result<Vec<f32>> {
    let positions = sample_positions(voxels.len(), values, sampling, seed)?;
    let mut vector = Vec::with_capacity(values * volumes.len());
    for volume in volumes {
        if let Some(outside) = voxels.iter().find(|v| **v as usize >= volume.len()) {
            return Err(Error::input("sample_voxels", format!("voxels below {}", volume.len()), outside));
        }
        let value = |i: usize| volume[voxels[i] as usize];
        let at = |&(i, share): &(usize, f32)| match share > 0.0 {
            true => value(i) * (1.0 - share) + value(i + 1) * share,
            false => value(i),
        };
        vector.extend(positions.iter().map(at));
    }
    Ok(vector)
}

/// The values of a volume in standard deviations from their mean within a mask (G-22); outside it they are 0.
///
/// # Errors
/// [`Error::Input`] if the mask is empty, has another length, or a value in it is not finite.
pub fn z_score_within(values: &[f32], inside: &[bool]) -> Result<Vec<f32>> {
    const OP: &str = "z_score_within";
    if values.len() != inside.len() {
        return Err(Error::input(OP, format!("a mask of {} voxels", values.len()), inside.len()));
    }
    let foreground = || values.iter().zip(inside).filter(|(_, m)| **m).map(|(v, _)| f64::from(*v));
    let count = foreground().count();
    if count == 0 {
        return Err(Error::input(OP, "a mask that is not empty", "none of its voxels"));
    }
    let mean = foreground().sum::<f64>() / count as f64;
    let deviation = (foreground().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
    if !deviation.is_finite() {
        return Err(Error::input(OP, "finite values", format!("a deviation of {deviation}")));
    }
    // A constant volume carries no information: zeros.
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    let z = |(v, m): (&f32, &bool)| if *m { ((f64::from(*v) - mean) * scale) as f32 } else { 0.0 };
    Ok(values.iter().zip(inside).map(z).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_by_hand() {
        let sample =
            |count, values, sampling| sample_positions(count, values, sampling, Seed::new(3)).unwrap();
        let whole = |v: Vec<(usize, f32)>| v.into_iter().map(|p| p.0).collect::<Vec<_>>();
        assert_eq!(whole(sample(10, 5, VoxelSampling::Even)), [0, 2, 4, 6, 8]);
        assert_eq!(whole(sample(3, 6, VoxelSampling::Even)), [0, 0, 1, 1, 2, 2]);
        assert_eq!(
            sample(3, 5, VoxelSampling::Interpolate),
            [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (2, 0.0)]
        );
        assert_eq!(sample(1, 2, VoxelSampling::Interpolate), [(0, 0.0), (0, 0.0)]);
        let drawn = whole(sample(7, 50, VoxelSampling::Random));
        assert!(drawn.windows(2).all(|w| w[0] <= w[1]) && drawn.iter().all(|i| *i < 7));
        assert_eq!(drawn, whole(sample(7, 50, VoxelSampling::Random)));
        assert!(sample_positions(0, 5, VoxelSampling::Even, Seed::new(3)).is_err());
    }

    #[test]
    fn volumes_are_taken_at_the_same_positions() {
        let (a, b) = ([0.0, 1.0, 2.0, 3.0], [0.0, 10.0, 20.0, 30.0]);
        let vector = sample_voxels(&[&a, &b], &[3, 1, 2], 2, VoxelSampling::Random, Seed::new(1)).unwrap();
        assert_eq!(vector[2..], [10.0 * vector[0], 10.0 * vector[1]]);
        let error = sample_voxels(&[&a], &[4], 2, VoxelSampling::Even, Seed::new(1)).unwrap_err();
        assert_eq!(error.to_string(), "sample_voxels: expected voxels below 4, got 4");
    }

    #[test]
    fn z_scores_are_those_within_the_mask() {
        let z = z_score_within(&[1.0, 100.0, 3.0], &[true, false, true]).unwrap();
        assert_eq!(z, [-1.0, 0.0, 1.0]);
        assert_eq!(z_score_within(&[5.0, 5.0], &[true; 2]).unwrap(), [0.0; 2]);
        assert!(z_score_within(&[f32::NAN], &[true]).is_err());
        assert!(z_score_within(&[1.0], &[false]).is_err());
    }
}
