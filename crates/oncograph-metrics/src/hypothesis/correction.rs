use crate::{Result, check, rank};
use serde::{Deserialize, Serialize};

/// How p-values are adjusted for many tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// False discovery rate for independent or positively dependent tests.
    #[default]
    BenjaminiHochberg,
    /// False discovery rate under any dependence.
    BenjaminiYekutieli,
    /// Family-wise error, step-down.
    Holm,
    /// Family-wise error, `m p`.
    Bonferroni,
}

/// Adjusted p-values, in the order of the input; reject where the adjusted value is at most α.
///
/// # Errors
/// A value outside [0, 1].
///
/// # Example
/// ```
/// use oncograph_metrics::{Correction, adjust_p_values};
/// let q = adjust_p_values(&[0.04, 0.01, 0.03], Correction::BenjaminiHochberg)?;
/// assert!(q.iter().zip([0.04, 0.03, 0.04]).all(|(a, b)| (a - b).abs() < 1e-15));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `statsmodels.stats.multitest.multipletests` (`fdr_bh`, `fdr_by`, `holm`, `bonferroni`).
pub fn adjust_p_values(p_values: &[f64], correction: Correction) -> Result<Vec<f64>> {
    check::probabilities("adjust_p_values", "p_values", p_values)?;
    let m = p_values.len() as f64;
    let order = rank::argsort(p_values);
    let mut adjusted = vec![0.0; p_values.len()];
    match correction {
        Correction::Bonferroni => {
            adjusted.iter_mut().zip(p_values).for_each(|(a, p)| *a = (p * m).min(1.0));
        }
        Correction::Holm => {
            let mut largest = 0.0f64;
            for (position, &i) in order.iter().enumerate() {
                largest = largest.max(p_values[i] * (m - position as f64)).min(1.0);
                adjusted[i] = largest;
            }
        }
        Correction::BenjaminiHochberg | Correction::BenjaminiYekutieli => {
            let dependence = match correction {
                Correction::BenjaminiYekutieli => (1..=p_values.len()).map(|k| 1.0 / k as f64).sum(),
                _ => 1.0,
            };
            let mut smallest = 1.0f64;
            for (position, &i) in order.iter().enumerate().rev() {
                smallest = smallest.min(p_values[i] * m * dependence / (position + 1) as f64);
                adjusted[i] = smallest;
            }
        }
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let close = |c, expected: [f64; 3]| {
            let q = adjust_p_values(&[0.02, 0.5, 0.01], c).unwrap();
            assert!(q.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{c:?} {q:?}");
        };
        close(Correction::Bonferroni, [0.06, 1.0, 0.03]);
        close(Correction::Holm, [0.04, 0.5, 0.03]);
        close(Correction::BenjaminiHochberg, [0.03, 0.5, 0.03]);
        let scale = 11.0 / 6.0;
        close(Correction::BenjaminiYekutieli, [0.03 * scale, 0.5 * scale, 0.03 * scale]);
        assert!(adjust_p_values(&[1.2], Correction::Holm).is_err());
        assert!(adjust_p_values(&[], Correction::Holm).unwrap().is_empty());
    }
}
