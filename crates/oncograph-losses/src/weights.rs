use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// A weight that moves from `start` to `end` in a straight line over training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinearSchedule {
    /// The weight in the first epoch.
    pub start: f64,
    /// The weight in the last epoch.
    pub end: f64,
}

impl LinearSchedule {
    /// A weight that moves from `start` to `end`.
    pub const fn new(start: f64, end: f64) -> Self {
        LinearSchedule { start, end }
    }

    /// A weight that stays.
    pub const fn constant(value: f64) -> Self {
        LinearSchedule { start: value, end: value }
    }

    /// The weight in `epoch` (from 0) of `epochs`.
    pub fn at(&self, epoch: usize, epochs: usize) -> f64 {
        let progress = epoch as f64 / epochs.saturating_sub(1).max(1) as f64;
        self.start + (self.end - self.start) * progress.clamp(0.0, 1.0)
    }
}

/// The weights of STG's four losses: `L = alpha recurrence + beta survival + gamma contrastive + delta temporal`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskWeights {
    /// Of the recurrence loss.
    pub alpha: LinearSchedule,
    /// Of the survival loss.
    pub beta: LinearSchedule,
    /// Of the contrastive loss.
    pub gamma: LinearSchedule,
    /// Of the temporal loss.
    pub delta: LinearSchedule,
}

impl Default for TaskWeights {
    /// From recurrence towards survival, 0.7/0.3 to 0.3/0.7; contrastive 0.1, temporal 0.01.
    fn default() -> Self {
        TaskWeights {
            alpha: LinearSchedule::new(0.7, 0.3),
            beta: LinearSchedule::new(0.3, 0.7),
            gamma: LinearSchedule::constant(0.1),
            delta: LinearSchedule::constant(0.01),
        }
    }
}

/// Tasks weighed by the uncertainty that is learned of each: `sum_i k exp(-s_i) L_i + s_i / 2`, `s_i = log sigma_i^2`.
///
/// `k` is 1/2 where the losses are squared errors (a Gaussian of variance `sigma^2`) and 1 where they are negative log
/// likelihoods (tempered by `sigma^2`). A squared error is weighed best by `s_i = log L_i`; a loss that becomes 0 has no
/// such weight.
///
/// # Shapes
/// `losses` n scalars, `log_variances` \[n\] -> scalar
///
/// # Errors
/// [`Error::Input`] for another number of variances than of losses, or an error of candle.
///
/// # Reference
/// Kendall, Gal and Cipolla, *Multi-task learning using uncertainty to weigh losses for scene geometry and semantics*, CVPR 2018,
/// equations 7 and 10.
pub fn uncertainty_weighted(
    losses: &[&Tensor],
    log_variances: &Tensor,
    squared_errors: bool,
) -> Result<Tensor> {
    if log_variances.dims() != [losses.len()] || losses.is_empty() {
        let got = format!("{:?}", log_variances.dims());
        return Err(Error::input("uncertainty_weighted", format!("[{}] log variances", losses.len()), got));
    }
    let factor = if squared_errors { 0.5 } else { 1.0 };
    let precision = (log_variances.neg()?.exp()? * factor)?;
    let weighed = (Tensor::stack(losses, 0)? * precision)?.sum_all()?;
    Ok((weighed + (log_variances.sum_all()? * 0.5)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

    #[test]
    fn uncertainty_by_hand_and_its_derivative() {
        const LOSSES: [f64; 2] = [0.3, 2.0];
        const S: [f64; 2] = [-0.5, 0.7];
        for (squared, k) in [(true, 0.5), (false, 1.0)] {
            let by_hand =
                |s: [f64; 2]| (0..2).map(|i| k * (-s[i]).exp() * LOSSES[i] + 0.5 * s[i]).sum::<f64>();
            let losses = LOSSES.map(|l| Var::new(l, &device()).unwrap());
            let s = Var::new(&S, &device()).unwrap();
            let loss =
                uncertainty_weighted(&[losses[0].as_tensor(), losses[1].as_tensor()], &s, squared).unwrap();
            approx::assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), by_hand(S), epsilon = 1e-12);
            let g = loss.backward().unwrap();
            let of_s = g.get(&s).unwrap().to_vec1::<f64>().unwrap();
            for i in 0..2 {
                let at = |h: f64| {
                    let mut s = S;
                    s[i] += h;
                    by_hand(s)
                };
                approx::assert_relative_eq!(of_s[i], (at(1e-6) - at(-1e-6)) / 2e-6, epsilon = 1e-8);
                let of_loss = g.get(&losses[i]).unwrap().to_scalar::<f64>().unwrap();
                approx::assert_relative_eq!(of_loss, k * (-S[i]).exp(), epsilon = 1e-12);
            }
        }
        // The best weight of a squared error is one over it.
        let loss = Tensor::new(0.3f64, &device()).unwrap();
        let best = Var::new(&[0.3f64.ln()], &device()).unwrap();
        let g = uncertainty_weighted(&[&loss], &best, true).unwrap().backward().unwrap();
        assert!(g.get(&best).unwrap().to_vec1::<f64>().unwrap()[0].abs() < 1e-12);
        assert!(uncertainty_weighted(&[&loss, &loss], &best, true).is_err());
    }

    #[test]
    fn a_schedule_starts_and_ends_where_it_says() {
        let s = LinearSchedule::new(0.7, 0.3);
        assert_eq!((s.at(0, 11), s.at(10, 11)), (0.7, 0.3));
        assert!((s.at(5, 11) - 0.5).abs() < 1e-12);
        assert_eq!(s.at(0, 1), 0.7);
        assert!((s.at(99, 11) - 0.3).abs() < 1e-12);
    }
}
