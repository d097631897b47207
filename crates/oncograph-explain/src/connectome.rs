use crate::{Error, Result};
use oncograph_imaging::{Frame, Grid, Volume};
use oncograph_metrics::{Alternative, Correction, adjust_p_values, fisher_exact, mann_whitney};

/// The mask of every tract from those of its two directions, which a graph has one after the other: first all tracts, then all
/// mirrored.
///
/// # Errors
/// [`Error::Input`] for an odd number of edges.
///
/// # Example
/// ```
/// // Two tracts: 0.8 and 0.4 there, 0.6 and 0.2 back.
/// let tracts = oncograph_explain::mirrored_mean(&[0.8, 0.4, 0.6, 0.2])?;
/// assert!((tracts[0] - 0.7).abs() < 1e-12 && (tracts[1] - 0.3).abs() < 1e-12);
/// # Ok::<(), oncograph_explain::Error>(())
/// ```
pub fn mirrored_mean(edges: &[f64]) -> Result<Vec<f64>> {
    if !edges.len().is_multiple_of(2) {
        return Err(Error::input("mirrored_mean", "both directions of every tract", edges.len()));
    }
    let (there, back) = edges.split_at(edges.len() / 2);
    Ok(there.iter().zip(back).map(|(a, b)| 0.5 * (a + b)).collect())
}

/// The tracts whose mask exceeds `threshold`, the largest first, at most `count`.
pub fn kept_tracts(mask: &[f64], threshold: f64, count: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..mask.len()).filter(|&t| mask[t] > threshold).collect();
    kept.sort_by(|a, b| mask[*b].total_cmp(&mask[*a]).then(a.cmp(b)));
    kept.truncate(count);
    kept
}

/// Where tracts of high masks run: the sum over tracts of mask times probability at every voxel.
///
/// # Errors
/// [`Error::Input`] for other numbers of tracts than of masks, or a voxel outside the grid.
pub fn tract_density(grid: &Grid, tracts: &[Vec<(u32, f32)>], mask: &[f64]) -> Result<Volume<f32>> {
    const OP: &str = "tract_density";
    if tracts.len() != mask.len() {
        return Err(Error::input(OP, format!("{} masks", tracts.len()), mask.len()));
    }
    let mut density = vec![0.0f64; grid.len()];
    for (tract, weight) in tracts.iter().zip(mask) {
        for (voxel, probability) in tract {
            match density.get_mut(*voxel as usize) {
                Some(sum) => *sum += weight * f64::from(*probability),
                None => return Err(Error::input(OP, format!("voxels below {}", grid.len()), voxel)),
            }
        }
    }
    let density = density.into_iter().map(|v| v as f32).collect();
    Ok(Volume::new(grid.clone(), Frame::default(), density)?)
}

/// How often a tract is kept in patients with and without a mutation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TractCount {
    /// The tract.
    pub tract: usize,
    /// Mutants whose explanation keeps it.
    pub mutants: usize,
    /// Wild types whose explanation keeps it.
    pub wild_types: usize,
    /// Fisher's exact p.
    pub p_value: f64,
    /// The p after Benjamini and Hochberg, over the tracts that anybody keeps.
    pub adjusted: f64,
}

/// Explanations of mutants against those of wild types.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TractComparison {
    /// Mean tracts kept per mutant.
    pub mean_mutants: f64,
    /// Mean tracts kept per wild type.
    pub mean_wild_types: f64,
    /// Mann and Whitney's p of the numbers of tracts kept; `None` where all patients keep as many.
    pub p_value: Option<f64>,
    /// The tracts that anybody keeps, those with the smallest p first.
    pub tracts: Vec<TractCount>,
}

/// Compares which tracts, and how many, explanations keep above `threshold` in mutants and wild types.
///
/// # Errors
/// [`Error::Input`] for other numbers of labels than of masks, masks of several lengths, or a class without patients.
pub fn compare_tracts(masks: &[Vec<f64>], mutant: &[bool], threshold: f64) -> Result<TractComparison> {
    const OP: &str = "compare_tracts";
    let tracts = masks.first().map_or(0, Vec::len);
    if masks.len() != mutant.len() || masks.iter().any(|m| m.len() != tracts) {
        let expected = format!("a mask of {tracts} tracts and a label per patient");
        return Err(Error::input(OP, expected, (masks.len(), mutant.len())));
    }
    let sizes = [true, false].map(|class| mutant.iter().filter(|m| **m == class).count());
    if sizes.contains(&0) {
        return Err(Error::input(OP, "mutants and wild types", sizes));
    }
    let kept = |patient: usize| masks[patient].iter().filter(|m| **m > threshold).count() as f64;
    let counts_of =
        |class: bool| (0..masks.len()).filter(|&i| mutant[i] == class).map(kept).collect::<Vec<f64>>();
    let (ours, others) = (counts_of(true), counts_of(false));
    let all: Vec<f64> = ours.iter().chain(&others).copied().collect();
    let varied = all.windows(2).any(|w| w[0] != w[1]);
    let mut counts = vec![];
    for tract in 0..tracts {
        let patients_with = |class: bool| {
            (0..masks.len()).filter(|&i| mutant[i] == class && masks[i][tract] > threshold).count()
        };
        let (a, b) = (patients_with(true), patients_with(false));
        if a + b > 0 {
            let table = [[a, sizes[0] - a], [b, sizes[1] - b]].map(|row| row.map(|n| n as u64));
            // A tract that every patient keeps separates nobody, and leaves the test an empty column.
            let p_value = match a + b == masks.len() {
                true => 1.0,
                false => fisher_exact(table, Alternative::TwoSided)?.p_value,
            };
            counts.push(TractCount { tract, mutants: a, wild_types: b, p_value, adjusted: p_value });
        }
    }
    if !counts.is_empty() {
        let p: Vec<f64> = counts.iter().map(|c| c.p_value).collect();
        let adjusted = adjust_p_values(&p, Correction::BenjaminiHochberg)?;
        counts.iter_mut().zip(adjusted).for_each(|(c, a)| c.adjusted = a);
    }
    counts.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(a.tract.cmp(&b.tract)));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    Ok(TractComparison {
        mean_mutants: mean(&ours),
        mean_wild_types: mean(&others),
        p_value: if varied { Some(mann_whitney(&ours, &others)?.p_value) } else { None },
        tracts: counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_tracts_come_largest_first() {
        assert_eq!(kept_tracts(&[0.6, 0.5, 0.9, 0.7], 0.5, 2), [2, 3]);
        assert!(mirrored_mean(&[0.1]).is_err());
    }

    #[test]
    fn density_by_hand() {
        let grid = Grid::axis_aligned([3, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let tracts = vec![vec![(0, 1.0), (1, 0.5)], vec![(1, 1.0)]];
        let density = tract_density(&grid, &tracts, &[0.8, 0.2]).unwrap();
        let expected = [0.8f32, 0.6, 0.0];
        density.as_slice().iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
        assert!(tract_density(&grid, &tracts, &[0.8]).is_err());
        assert!(tract_density(&grid, &[vec![(3, 1.0)]], &[0.8]).is_err());
    }

    #[test]
    fn a_tract_of_mutants_alone_is_found() {
        let masks: Vec<Vec<f64>> = (0..12).map(|i| vec![if i < 6 { 0.9 } else { 0.1 }, 0.8, 0.2]).collect();
        let mutant: Vec<bool> = (0..12).map(|i| i < 6).collect();
        let found = compare_tracts(&masks, &mutant, 0.5).unwrap();
        assert_eq!((found.mean_mutants, found.mean_wild_types), (2.0, 1.0));
        assert_eq!(found.tracts.iter().map(|t| t.tract).collect::<Vec<_>>(), [0, 1]);
        // Two ways out of C(12, 6) = 924.
        approx::assert_relative_eq!(found.tracts[0].p_value, 2.0 / 924.0, epsilon = 1e-9);
        approx::assert_relative_eq!(found.tracts[0].adjusted, 4.0 / 924.0, epsilon = 1e-9);
        assert_eq!((found.tracts[1].mutants, found.tracts[1].wild_types), (6, 6));
        assert!(found.p_value.unwrap() < 0.01);
        assert!(compare_tracts(&masks, &[true; 12], 0.5).is_err());
        assert!(compare_tracts(&masks, &mutant[..3], 0.5).is_err());
    }
}
