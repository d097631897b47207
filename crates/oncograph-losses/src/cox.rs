use crate::error::same_length;
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// What is done with events at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// Every event sees the whole risk set.
    #[default]
    Breslow,
    /// Events at one time leave the risk set one after the other, on average.
    Efron,
}

/// Negative partial log-likelihood per event:
/// `-(1/n_e) sum_{i: event} [ eta_i - log sum_{j: t_j >= t_i} exp(eta_j) ]`.
///
/// Sorted once, O(n log n); sums are kept relative to the largest risk so far, so that large risks neither
/// overflow nor vanish. The gradient is computed with the loss, in f64. Without an event the loss is 0.
///
/// # Shapes
/// `log_risk` \[n\] or \[n, 1\], `time` and `event` n values -> scalar
///
/// # Errors
/// [`Error::Input`] if the lengths differ or a time is NaN; an error of candle on a device without a kernel.
///
/// # Reference
/// Cox 1972; Breslow 1974; Efron 1977. Equal to statsmodels' `PHReg` log-likelihood over `-n_e`.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_losses::{Ties, cox};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log_risk = Tensor::new(&[0f64, 0., 0.], &Device::Cpu)?;
/// let loss = cox(&log_risk, &[1.0, 2.0, 3.0], &[true, true, false], Ties::Breslow)?;
/// assert!((loss.to_scalar::<f64>()? - (3f64.ln() + 2f64.ln()) / 2.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn cox(log_risk: &Tensor, time: &[f64], event: &[bool], ties: Ties) -> Result<Tensor> {
    same_length("cox", log_risk, &[time.len(), event.len()])?;
    if let Some(i) = time.iter().position(|t| t.is_nan()) {
        return Err(Error::input("cox", "times that are numbers", format_args!("NaN at {i}")));
    }
    let mut order: Vec<usize> = (0..time.len()).collect();
    order.sort_by(|&a, &b| time[b].total_cmp(&time[a]));
    let op = Cox { order, time: time.to_vec(), event: event.to_vec(), ties };
    // The value and the gradient come out as one vector: the loss first.
    let both = log_risk.flatten_all()?.contiguous()?.apply_op1(op)?;
    Ok(both.get(0)?)
}

/// n log risks -> the loss, followed by its n derivatives.
struct Cox {
    /// Patients from the longest time to the shortest.
    order: Vec<usize>,
    time: Vec<f64>,
    event: Vec<bool>,
    ties: Ties,
}

impl Cox {
    fn run(&self, eta: &[f64]) -> Vec<f64> {
        let n = eta.len();
        let mut out = vec![0.0; n + 1];
        let events = self.event.iter().filter(|e| **e).count();
        if events == 0 {
            return out;
        }
        // Everything is kept relative to the largest risk, which cancels in every ratio; a risk set whose members
        // all lie far below it is summed relative to a maximum of its own.
        let groups = self.groups();
        let mut log_sum = f64::NEG_INFINITY;
        // Per group: terms (log denominator, share removed per event) for the backward sweep.
        let mut terms: Vec<Vec<(f64, f64)>> = Vec::with_capacity(groups.len());
        let mut loss = 0.0;
        for group in &groups {
            for &i in *group {
                log_sum = log_add(log_sum, eta[i]);
            }
            let dead: Vec<usize> = group.iter().copied().filter(|&i| self.event[i]).collect();
            let tied = dead.iter().fold(f64::NEG_INFINITY, |s, &i| log_add(s, eta[i]));
            let mut of_group = vec![];
            for (k, &i) in dead.iter().enumerate() {
                let share = match self.ties {
                    Ties::Breslow => 0.0,
                    Ties::Efron => k as f64 / dead.len() as f64,
                };
                let denominator =
                    if share > 0.0 { log_sum + (-share * (tied - log_sum).exp()).ln_1p() } else { log_sum };
                loss += denominator - eta[i];
                of_group.push((denominator, share));
            }
            terms.push(of_group);
        }
        // d/d eta_j: the sum over risk sets that hold j of exp(eta_j) / denominator, from the shortest time up.
        let mut log_weight = f64::NEG_INFINITY;
        for (group, of_group) in groups.iter().zip(&terms).rev() {
            let mut removed = 0.0;
            for &(denominator, share) in of_group {
                log_weight = log_add(log_weight, -denominator);
                removed = f64::max(removed, share);
            }
            for &i in *group {
                let mut gradient = (eta[i] + log_weight).exp();
                if self.event[i] {
                    if removed > 0.0 {
                        gradient -= of_group.iter().map(|(d, share)| share * (eta[i] - d).exp()).sum::<f64>();
                    }
                    gradient -= 1.0;
                }
                out[i + 1] = gradient / events as f64;
            }
        }
        out[0] = loss / events as f64;
        out
    }

    /// Runs of equal times, longest time first.
    fn groups(&self) -> Vec<&[usize]> {
        self.order.chunk_by(|&a, &b| self.time[a] == self.time[b]).collect()
    }
}

fn log_add(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if large == f64::NEG_INFINITY { large } else { large + (small - large).exp().ln_1p() }
}

impl CustomOp1 for Cox {
    fn name(&self) -> &'static str {
        "cox"
    }

    fn cpu_fwd(&self, eta: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((from, to)) = layout.contiguous_offsets() else {
            candle_core::bail!("cox needs contiguous input")
        };
        let shape = Shape::from(to - from + 1);
        match eta {
            CpuStorage::F32(v) => {
                let wide: Vec<f64> = v[from..to].iter().map(|&x| f64::from(x)).collect();
                let out = self.run(&wide).into_iter().map(|x| x as f32).collect();
                Ok((CpuStorage::F32(out), shape))
            }
            CpuStorage::F64(v) => Ok((CpuStorage::F64(self.run(&v[from..to])), shape)),
            _ => candle_core::bail!("cox runs in f32 and f64"),
        }
    }

    fn bwd(&self, _: &Tensor, both: &Tensor, d_both: &Tensor) -> candle_core::Result<Option<Tensor>> {
        // Only the loss is handed out, so only its cotangent can be other than 0.
        let gradient = both.narrow(0, 1, self.time.len())?;
        Ok(Some(
            gradient.broadcast_mul(&d_both.narrow(0, 0, 1)?.to_dtype(DType::F64)?.to_dtype(both.dtype())?)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    const TIME: [f64; 7] = [3., 1., 3., 2., 2., 5., 2.];
    const EVENT: [bool; 7] = [true, true, true, true, false, false, true];
    const ETA: [f64; 7] = [0.3, -1.0, 2.0, 0.1, 0.7, -0.4, 1.5];

    fn loss(eta: &[f64], ties: Ties) -> f64 {
        let eta = Tensor::new(eta, &Device::Cpu).unwrap();
        cox(&eta, &TIME, &EVENT, ties).unwrap().to_scalar().unwrap()
    }

    /// The definition, term by term.
    fn plain(eta: &[f64], ties: Ties) -> f64 {
        let mut sum = 0.0;
        for i in 0..7 {
            if !EVENT[i] {
                continue;
            }
            let risk: f64 = (0..7).filter(|&j| TIME[j] >= TIME[i]).map(|j| eta[j].exp()).sum();
            let tied: Vec<usize> = (0..7).filter(|&j| EVENT[j] && TIME[j] == TIME[i]).collect();
            let dead: f64 = tied.iter().map(|&j| eta[j].exp()).sum();
            let k = tied.iter().position(|&j| j == i).unwrap() as f64 / tied.len() as f64;
            let k = if ties == Ties::Efron { k } else { 0.0 };
            sum += (risk - k * dead).ln() - eta[i];
        }
        sum / 5.0
    }

    #[test]
    fn equals_the_definition_and_its_derivative() {
        for ties in [Ties::Breslow, Ties::Efron] {
            approx::assert_relative_eq!(loss(&ETA, ties), plain(&ETA, ties), epsilon = 1e-12);
            let eta = Var::new(&ETA, &Device::Cpu).unwrap();
            let scaled = (cox(&eta, &TIME, &EVENT, ties).unwrap() * 3.0).unwrap();
            let g = scaled.backward().unwrap().get(&eta).unwrap().to_vec1::<f64>().unwrap();
            for (i, g) in g.iter().enumerate() {
                let at = |h: f64| {
                    let mut e = ETA;
                    e[i] += h;
                    plain(&e, ties)
                };
                approx::assert_relative_eq!(*g, 3.0 * (at(1e-6) - at(-1e-6)) / 2e-6, epsilon = 1e-8);
            }
        }
    }

    #[test]
    fn large_risks_neither_overflow_nor_vanish() {
        let eta = [800.0, -900.0, 799.0, 0.0, 5.0, -700.0, -800.0];
        assert!(loss(&eta, Ties::Breslow).is_finite());
        // Adding a constant to all risks changes nothing.
        let moved = ETA.map(|e| e + 500.0);
        approx::assert_relative_eq!(loss(&moved, Ties::Efron), loss(&ETA, Ties::Efron), epsilon = 1e-10);
    }

    #[test]
    fn without_events_it_is_zero() {
        let eta = Var::new(&[1f64, 2.], &Device::Cpu).unwrap();
        let l = cox(&eta, &[1., 2.], &[false, false], Ties::Breslow).unwrap();
        assert_eq!(l.to_scalar::<f64>().unwrap(), 0.0);
        assert!(cox(&eta, &[1., f64::NAN], &[true, true], Ties::Breslow).is_err());
    }
}
