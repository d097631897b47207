use crate::Result;
use oncograph_metrics::{Correction, adjust_p_values, spearman};

/// Edges between columns whose correlation in the training rows is at least `least` in magnitude (`correlates_with`):
/// each column keeps its `most` strongest neighbours, ties by position. Pearson's correlation; a constant column has no
/// edges.
///
/// `rows` are the training rows, imputed; 0.3 and 10 as a rule.
pub fn correlated(rows: &[Vec<f32>], least: f64, most: usize) -> Vec<(u32, u32)> {
    let (n, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    // Unit vectors, column after column: a correlation is a product.
    let unit = |c: usize| -> Option<Vec<f64>> {
        let mean = rows.iter().map(|r| f64::from(r[c])).sum::<f64>() / n as f64;
        let centred: Vec<f64> = rows.iter().map(|r| f64::from(r[c]) - mean).collect();
        let norm = centred.iter().map(|v| v * v).sum::<f64>().sqrt();
        (norm > 1e-9).then(|| centred.iter().map(|v| v / norm).collect())
    };
    let units: Vec<Option<Vec<f64>>> = (0..width).map(unit).collect();
    let mut edges = vec![];
    for (a, x) in units.iter().enumerate() {
        let Some(x) = x else { continue };
        let mut near: Vec<(f64, usize)> = vec![];
        for (b, y) in units.iter().enumerate().filter(|(b, _)| *b != a) {
            if let Some(y) = y {
                let r = x.iter().zip(y).map(|(p, q)| p * q).sum::<f64>().abs();
                if r >= least {
                    near.push((r, b));
                }
            }
        }
        near.sort_by(|p, q| q.0.total_cmp(&p.0).then(p.1.cmp(&q.1)));
        edges.extend(near.iter().take(most).map(|(_, b)| (a.min(*b) as u32, a.max(*b) as u32)));
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Edges between the columns of two tables whose Spearman correlation in the training rows has a false discovery rate
/// (Benjamini and Hochberg, over all pairs) below `fdr` (`associated_with`). Pairs without a correlation, for example of
/// a constant column, are no tests.
///
/// # Errors
/// An error of the correction.
pub fn associated(a: &[Vec<f32>], b: &[Vec<f32>], fdr: f64) -> Result<Vec<(u32, u32)>> {
    let column = |rows: &[Vec<f32>], c: usize| rows.iter().map(|r| f64::from(r[c])).collect::<Vec<_>>();
    let columns = |rows: &[Vec<f32>]| -> Vec<Vec<f64>> {
        (0..rows.first().map_or(0, Vec::len)).map(|c| column(rows, c)).collect()
    };
    let (left, right) = (columns(a), columns(b));
    let (mut pairs, mut p_values) = (vec![], vec![]);
    for (i, x) in left.iter().enumerate() {
        for (j, y) in right.iter().enumerate() {
            if let Ok(c) = spearman(x, y)
                && c.p_value.is_finite()
            {
                pairs.push((i as u32, j as u32));
                p_values.push(c.p_value);
            }
        }
    }
    let adjusted = adjust_p_values(&p_values, Correction::BenjaminiHochberg)
        .map_err(|e| crate::Error::argument("associated", "p-values", "adjustable", e))?;
    Ok(pairs.into_iter().zip(adjusted).filter(|(_, q)| *q < fdr).map(|(p, _)| p).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<f32>> {
        // The second column is the first's negative, the third alternates, the fourth is constant.
        (0..12).map(|i| vec![i as f32, -(i as f32), (i % 2) as f32, 1.0]).collect()
    }

    #[test]
    fn strong_correlations_of_either_sign_are_edges() {
        assert_eq!(correlated(&rows(), 0.9, 10), [(0, 1)]);
        assert_eq!(correlated(&rows(), 0.0, 1), [(0, 1), (0, 2)]);
    }

    #[test]
    fn associations_pass_a_false_discovery_rate() {
        let other: Vec<Vec<f32>> = (0..12).map(|i| vec![(i * i) as f32, ((i * 7) % 5) as f32]).collect();
        assert_eq!(associated(&rows(), &other, 0.05).unwrap(), [(0, 0), (1, 0)]);
    }
}
