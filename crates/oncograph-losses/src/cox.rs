use crate::error::same_length;
use crate::{Error, Result, Ties};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};
#[cfg(feature = "cuda")]
use oncograph_nn::cuda::{OnDevice, cox as cuda};
use std::sync::Arc;

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
    RiskSets::new(time, event)?.cox(log_risk, ties)
}

/// The risk sets of patients, sorted once for every loss on them: for training on all patients at a time.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_losses::{RiskSets, Ties};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sets = RiskSets::new(&[1.0, 2.0, 3.0], &[true, true, false])?;
/// let loss = sets.cox(&Tensor::new(&[0f64, 0., 0.], &Device::Cpu)?, Ties::Breslow)?;
/// assert!((loss.to_scalar::<f64>()? - (3f64.ln() + 2f64.ln()) / 2.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RiskSets(Arc<Sets>);

#[derive(Debug)]
struct Sets {
    /// Patients from the longest time to the shortest.
    order: Vec<usize>,
    /// Whether each of them, in that order, had the event.
    dead: Vec<bool>,
    /// Where each run of equal times ends in that order.
    ends: Vec<usize>,
    events: usize,
    #[cfg(feature = "cuda")]
    on_device: OnDevice<cuda::RiskLists>,
}

impl RiskSets {
    /// The risk sets of follow-up times and whether each ended with the event.
    ///
    /// # Errors
    /// [`Error::Input`] if the lengths differ or a time is NaN.
    pub fn new(time: &[f64], event: &[bool]) -> Result<Self> {
        if time.len() != event.len() {
            return Err(Error::input("cox", format!("{} events", time.len()), event.len()));
        }
        if let Some(i) = time.iter().position(|t| t.is_nan()) {
            return Err(Error::input("cox", "times that are numbers", format_args!("NaN at {i}")));
        }
        let order = from_the_longest(time);
        let n = order.len();
        let dead: Vec<bool> = order.iter().map(|&i| event[i]).collect();
        let sorted: Vec<f64> = order.iter().map(|&i| time[i]).collect();
        let ends = (1..=n).filter(|&p| p == n || sorted[p] != sorted[p - 1]).collect();
        let events = dead.iter().filter(|d| **d).count();
        Ok(RiskSets(Arc::new(Sets {
            order,
            dead,
            ends,
            events,
            #[cfg(feature = "cuda")]
            on_device: OnDevice::default(),
        })))
    }

    /// The loss of [`cox`] on these patients.
    ///
    /// # Shapes
    /// `log_risk` \[n\] or \[n, 1\] -> scalar
    ///
    /// # Errors
    /// [`Error::Input`] for another number of patients; an error of candle on a device without a kernel.
    pub fn cox(&self, log_risk: &Tensor, ties: Ties) -> Result<Tensor> {
        same_length("cox", log_risk, &[self.0.order.len()])?;
        let op = Cox { sets: self.0.clone(), ties };
        // The value and the gradient come out as one vector: the loss first.
        let both = log_risk.flatten_all()?.contiguous()?.apply_op1(op)?;
        Ok(both.get(0)?)
    }
}

#[cfg(feature = "cuda")]
impl Sets {
    fn copied(&self, device: &candle_core::CudaDevice) -> candle_core::Result<cuda::RiskLists> {
        let order: Vec<u32> = self.order.iter().map(|i| *i as u32).collect();
        let (mut group, mut share) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
        let mut starts = vec![0];
        for (g, &end) in (0..).zip(&self.ends) {
            let dead = &self.dead[group.len()..end];
            let (count, mut before) = (dead.iter().filter(|d| **d).count() as f64, 0.0);
            for dead in dead {
                group.push(g);
                share.push(if *dead { before / count } else { -1.0 });
                before += f64::from(u8::from(*dead));
            }
            starts.push(end as u32);
        }
        let lists = cuda::SortedPatients { order: &order, group: &group, starts: &starts, share: &share };
        cuda::RiskLists::new(lists, device)
    }
}

/// The positions of times in descending order, equal ones in their own order.
fn from_the_longest(time: &[f64]) -> Vec<usize> {
    // Integers that are in the order of the numbers, 0 and -0 being one; sorting them beside their positions reads
    // memory in order.
    let key = |t: f64| {
        let bits = (t + 0.0).to_bits();
        !if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    };
    let mut keys: Vec<(u64, u32)> = time.iter().zip(0..).map(|(t, i)| (key(*t), i)).collect();
    if keys.len() < RADIX_FROM {
        keys.sort_unstable();
    } else {
        radix_sort(&mut keys);
    }
    keys.into_iter().map(|(_, i)| i as usize).collect()
}

/// Shorter lists are sorted faster by comparing.
const RADIX_FROM: usize = 4096;

/// Sorts by key, stably: digit after digit from the lowest, leaving out digits that all keys share.
fn radix_sort(keys: &mut Vec<(u64, u32)>) {
    const BITS: u32 = 11;
    const MASK: u64 = (1 << BITS) - 1;
    let mut other = vec![(0, 0); keys.len()];
    for shift in (0..u64::BITS).step_by(BITS as usize) {
        let digit = |key: u64| (key >> shift & MASK) as usize;
        let mut place = vec![0; 1 << BITS];
        keys.iter().for_each(|(key, _)| place[digit(*key)] += 1);
        if keys.first().is_some_and(|(key, _)| place[digit(*key)] == keys.len()) {
            continue;
        }
        let mut before = 0;
        place.iter_mut().for_each(|p| before += std::mem::replace(p, before));
        for pair in keys.iter() {
            let p = &mut place[digit(pair.0)];
            other[*p] = *pair;
            *p += 1;
        }
        std::mem::swap(keys, &mut other);
    }
}

/// n log risks -> the loss, followed by its n derivatives.
struct Cox {
    sets: Arc<Sets>,
    ties: Ties,
}

/// Widest spread of log risks whose exponentials, relative to the largest, are summed as they are: each is a normal
/// number, and so is the reciprocal of any of their sums.
const SPREAD: f64 = 600.0;

impl Cox {
    fn run(&self, eta: &[f64]) -> Vec<f64> {
        let least = eta.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = eta.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // A NaN takes the careful way.
        if largest - least <= SPREAD && !eta.iter().any(|e| e.is_nan()) {
            self.run_linear(eta, largest)
        } else {
            self.run_logarithmic(eta)
        }
    }

    /// Sums of exponentials relative to the largest: one exponential per patient, one logarithm per event time.
    fn run_linear(&self, eta: &[f64], largest: f64) -> Vec<f64> {
        let Sets { order, dead, ends, events, .. } = &*self.sets;
        let mut out = vec![0.0; eta.len() + 1];
        if *events == 0 {
            return out;
        }
        let scale = 1.0 / *events as f64;
        // Everything in the order of the times, so that both sweeps read memory in order.
        let risk: Vec<f64> = order.iter().map(|&i| (eta[i] - largest).exp()).collect();
        let (mut at_risk, mut loss, mut start) = (0.0, 0.0, 0);
        // Per group the sum over its events of 1 / denominator, and of share / denominator.
        let mut terms = Vec::with_capacity(ends.len());
        for &end in ends {
            let group = start..end;
            at_risk += risk[group.clone()].iter().sum::<f64>();
            let count = dead[group.clone()].iter().filter(|d| **d).count();
            let mut term = (0.0, 0.0);
            if count > 0 {
                let own = |p: usize| if dead[p] { eta[order[p]] - largest } else { 0.0 };
                loss -= group.clone().map(own).sum::<f64>();
                if self.ties == Ties::Breslow || count == 1 {
                    loss += count as f64 * at_risk.ln();
                    term.0 = count as f64 / at_risk;
                } else {
                    let tied: f64 = group.map(|p| if dead[p] { risk[p] } else { 0.0 }).sum();
                    for k in 0..count {
                        let share = k as f64 / count as f64;
                        let denominator = at_risk - share * tied;
                        loss += denominator.ln();
                        term.0 += 1.0 / denominator;
                        term.1 += share / denominator;
                    }
                }
            }
            terms.push(term);
            start = end;
        }
        // d/d eta_j: exp(eta_j) times the sum of 1 / denominator over the risk sets that hold j, from the shortest time up.
        let mut weight = 0.0;
        let mut end = order.len();
        for (group, (all, removed)) in terms.iter().enumerate().rev() {
            let start = if group == 0 { 0 } else { ends[group - 1] };
            weight += all;
            for p in start..end {
                let gradient = if dead[p] { risk[p] * (weight - removed) - 1.0 } else { risk[p] * weight };
                out[order[p] + 1] = gradient * scale;
            }
            end = start;
        }
        out[0] = loss * scale;
        out
    }

    /// Sums as logarithms, for risks so far apart that exponentials would vanish.
    fn run_logarithmic(&self, eta: &[f64]) -> Vec<f64> {
        let Sets { order, dead, ends, events, .. } = &*self.sets;
        let mut out = vec![0.0; eta.len() + 1];
        if *events == 0 {
            return out;
        }
        let events = *events as f64;
        // Everything is kept relative to the largest risk, which cancels in every ratio; a risk set whose members
        // all lie far below it is summed relative to its own maximum.
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let groups: Vec<_> = starts.zip(ends).map(|(start, &end)| start..end).collect();
        let mut log_sum = f64::NEG_INFINITY;
        // Per group: terms (log denominator, share removed per event) for the backward sweep.
        let mut terms: Vec<Vec<(f64, f64)>> = Vec::with_capacity(groups.len());
        let mut loss = 0.0;
        for group in &groups {
            for p in group.clone() {
                log_sum = log_add(log_sum, eta[order[p]]);
            }
            let own: Vec<f64> = group.clone().filter(|&p| dead[p]).map(|p| eta[order[p]]).collect();
            let tied = own.iter().fold(f64::NEG_INFINITY, |s, &e| log_add(s, e));
            let mut of_group = vec![];
            for (k, own_eta) in own.iter().enumerate() {
                let share = match self.ties {
                    Ties::Breslow => 0.0,
                    Ties::Efron => k as f64 / own.len() as f64,
                };
                let denominator =
                    if share > 0.0 { log_sum + (-share * (tied - log_sum).exp()).ln_1p() } else { log_sum };
                loss += denominator - own_eta;
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
            for p in group.clone() {
                let eta = eta[order[p]];
                let mut gradient = (eta + log_weight).exp();
                if dead[p] {
                    if removed > 0.0 {
                        gradient -= of_group.iter().map(|(d, share)| share * (eta - d).exp()).sum::<f64>();
                    }
                    gradient -= 1.0;
                }
                out[order[p] + 1] = gradient / events;
            }
        }
        out[0] = loss / events;
        out
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

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, eta: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let device = candle_core::backend::BackendStorage::device(eta);
        let lists = self.sets.on_device.get(device, || self.sets.copied(device))?;
        cuda::cox((eta, layout), &lists, self.ties == Ties::Efron)
    }

    fn bwd(&self, _: &Tensor, both: &Tensor, d_both: &Tensor) -> candle_core::Result<Option<Tensor>> {
        // Only the loss is handed out, so only its cotangent can be other than 0.
        let gradient = both.narrow(0, 1, self.sets.order.len())?;
        Ok(Some(
            gradient.broadcast_mul(&d_both.narrow(0, 0, 1)?.to_dtype(DType::F64)?.to_dtype(both.dtype())?)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

    const TIME: [f64; 7] = [3., 1., 3., 2., 2., 5., 2.];
    const EVENT: [bool; 7] = [true, true, true, true, false, false, true];
    const ETA: [f64; 7] = [0.3, -1.0, 2.0, 0.1, 0.7, -0.4, 1.5];

    fn loss(eta: &[f64], ties: Ties) -> f64 {
        let eta = Tensor::new(eta, &device()).unwrap();
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
            let eta = Var::new(&ETA, &device()).unwrap();
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
    fn sums_as_they_are_equal_sums_of_logarithms() {
        for n in [1, 2, 3, 17, 64, 257, 5000] {
            let wave = |k: f64, i: usize| ((i as f64 + 1.0) * k).sin();
            for spread in [0.0, 1.0, 290.0] {
                let eta: Vec<f64> = (0..n).map(|i| spread * wave(1.7, i)).collect();
                let time: Vec<f64> = (0..n).map(|i| (wave(0.9, i) * n as f64 / 3.0).round()).collect();
                let event: Vec<bool> = (0..n).map(|i| wave(2.3, i) > -0.4).collect();
                for ties in [Ties::Breslow, Ties::Efron] {
                    let op = Cox { sets: RiskSets::new(&time, &event).unwrap().0, ties };
                    let largest = eta.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    for (a, b) in op.run_linear(&eta, largest).iter().zip(op.run_logarithmic(&eta)) {
                        approx::assert_relative_eq!(*a, b, epsilon = 1e-10, max_relative = 1e-10);
                    }
                }
            }
        }
    }

    #[test]
    fn every_device_has_the_same_loss_and_derivatives() {
        for n in [1, 2, 7, 600, 5000] {
            let wave = |k: f64, i: usize| ((i as f64 + 1.0) * k).sin();
            for (spread, times) in [(1.0, n as f64), (3.0, 4.0), (290.0, 20.0), (900.0, 20.0)] {
                let eta: Vec<f64> = (0..n).map(|i| spread * wave(1.7, i)).collect();
                let eta = Tensor::from_vec(eta, n, &candle_core::Device::Cpu).unwrap();
                let time: Vec<f64> = (0..n).map(|i| (wave(0.9, i) * times).round()).collect();
                let event: Vec<bool> = (0..n).map(|i| wave(2.3, i) > -0.4).collect();
                let sets = RiskSets::new(&time, &event).unwrap();
                for ties in [Ties::Breslow, Ties::Efron] {
                    let loss = |x: &[Tensor]| Ok(sets.cox(&x[0], ties).unwrap());
                    oncograph_nn::testing::check_devices(std::slice::from_ref(&eta), loss).unwrap();
                }
            }
        }
        #[cfg(feature = "cuda")]
        assert!(!oncograph_nn::cuda::by_host().contains(&"cox"));
    }

    #[test]
    fn times_are_ordered_stably_whatever_their_number() {
        for n in [0, 1, 2, 100, RADIX_FROM - 1, RADIX_FROM, 3 * RADIX_FROM + 7] {
            let mut time: Vec<f64> = (0..n).map(|i| ((i * 7919 % 613) as f64 - 300.0) * 0.37).collect();
            if n > 9 {
                (time[2], time[5], time[9]) = (0.0, -0.0, f64::INFINITY);
            }
            let mut expected: Vec<usize> = (0..n).collect();
            expected.sort_by(|&a, &b| time[b].partial_cmp(&time[a]).unwrap());
            assert_eq!(from_the_longest(&time), expected);
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
        let eta = Var::new(&[1f64, 2.], &device()).unwrap();
        let l = cox(&eta, &[1., 2.], &[false, false], Ties::Breslow).unwrap();
        assert_eq!(l.to_scalar::<f64>().unwrap(), 0.0);
        assert!(cox(&eta, &[1., f64::NAN], &[true, true], Ties::Breslow).is_err());
    }
}
