use crate::error::same_length;
use crate::reduction::constant;
use crate::{Error, Result, RiskSets, Ties};
use candle_core::Tensor;

/// The patients that a batch comes from, for [`cox_in_cohort`]: one value per patient in each list.
#[derive(Debug, Clone, Copy)]
pub struct CoxCohort<'a> {
    /// Follow-up times.
    pub time: &'a [f64],
    /// Whether each ended with the event.
    pub event: &'a [bool],
    /// Log risks, as they were when they were last computed: constants of the loss.
    pub log_risk: &'a [f64],
}

/// [`cox`](crate::cox) of a batch whose risk sets are those of the whole cohort that it comes from, with Breslow's ties:
/// `-(1/n_e) sum_{i in batch: event} [ eta_i - log sum_{j in cohort: t_j >= t_i} exp(eta_j) ]`.
///
/// `eta_j` is the live log risk of a patient in the batch and a constant of any other. A patient with several rows, for
/// instance augmented copies, stays one patient of each risk set: the mean of its rows' `exp(eta)`. `n_e` counts the rows
/// with an event; without one the loss is 0. The gradient of a row is that of the risk sets of the batch's own events.
///
/// # Shapes
/// `log_risk` \[rows\] or \[rows, 1\], `patients` the place of each row's patient in the cohort -> scalar
///
/// # Errors
/// [`Error::Input`] if lengths differ, a row's patient is not in the cohort or a time is NaN; an error of candle on a device
/// without a kernel.
///
/// # Reference
/// Cox 1972; Breslow 1974. Risk sets that reach beyond a batch: decision S-16 of `oncograph-spatiotemporal`.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_losses::{CoxCohort, cox_in_cohort};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cohort = CoxCohort { time: &[1.0, 2.0, 3.0], event: &[true, true, false], log_risk: &[0.0; 3] };
/// // The first patient alone in the batch: three are at risk at its time.
/// let loss = cox_in_cohort(&Tensor::new(&[0f64], &Device::Cpu)?, &[0], cohort)?;
/// assert!((loss.to_scalar::<f64>()? - 3f64.ln()).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn cox_in_cohort(log_risk: &Tensor, patients: &[usize], cohort: CoxCohort<'_>) -> Result<Tensor> {
    const LOSS: &str = "cox_in_cohort";
    let rows = same_length(LOSS, log_risk, &[patients.len()])?;
    let n = cohort.time.len();
    if cohort.event.len() != n || cohort.log_risk.len() != n {
        let got = format!("{} events, {} log risks", cohort.event.len(), cohort.log_risk.len());
        return Err(Error::input(LOSS, format!("{n} of each"), got));
    }
    if let Some(patient) = patients.iter().find(|&&p| p >= n) {
        return Err(Error::input(LOSS, format!("patients below {n}"), patient));
    }
    let mut copies = vec![0usize; n];
    patients.iter().for_each(|&p| copies[p] += 1);
    let absent: Vec<usize> = (0..n).filter(|&p| copies[p] == 0).collect();
    // One of c copies weighs 1/c: its log risk is less by ln c in every risk set, its own event included, which is added
    // to the loss again at the end.
    let share = |p: &usize| (copies[*p] as f64).ln();
    let live = (log_risk.flatten_all()? - constant(patients.iter().map(share).collect(), rows, log_risk)?)?;
    let known = absent.iter().map(|&p| cohort.log_risk[p]).collect();
    let all = match absent.len() {
        0 => live,
        rest => Tensor::cat(&[&live, &constant(known, rest, log_risk)?], 0)?,
    };
    let members = || patients.iter().chain(&absent);
    let time: Vec<f64> = members().map(|&p| cohort.time[p]).collect();
    let event: Vec<bool> = members().enumerate().map(|(row, &p)| row < rows && cohort.event[p]).collect();
    let observed: Vec<&usize> = patients.iter().filter(|&&p| cohort.event[p]).collect();
    let shares = observed.iter().map(|p| share(p)).sum::<f64>() / observed.len().max(1) as f64;
    Ok((RiskSets::new(&time, &event)?.cox(&all, Ties::Breslow)? - shares)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cox;
    use candle_core::Var;
    use oncograph_nn::testing::{check_devices, device};

    const TIME: [f64; 6] = [2.0, 5.0, 5.0, 1.0, 7.0, 3.0];
    const EVENT: [bool; 6] = [true, true, true, true, false, false];
    const KNOWN: [f64; 6] = [0.3, -0.4, 1.1, 0.2, -0.9, 0.6];
    /// Patient 1 has two rows; 2, 4 and 5 are not in the batch.
    const ROWS: [usize; 4] = [1, 0, 1, 3];
    const ETA: [f64; 4] = [0.5, -0.2, 0.9, 0.1];

    fn cohort() -> CoxCohort<'static> {
        CoxCohort { time: &TIME, event: &EVENT, log_risk: &KNOWN }
    }

    /// The definition, term by term.
    fn plain(eta: &[f64; 4]) -> f64 {
        let risk = |p: usize| {
            let own: Vec<f64> = (0..4).filter(|&r| ROWS[r] == p).map(|r| eta[r].exp()).collect();
            if own.is_empty() { KNOWN[p].exp() } else { own.iter().sum::<f64>() / own.len() as f64 }
        };
        let at_risk = |t: f64| (0..6).filter(|&p| TIME[p] >= t).map(risk).sum::<f64>();
        (0..4).map(|r| at_risk(TIME[ROWS[r]]).ln() - eta[r]).sum::<f64>() / 4.0
    }

    #[test]
    fn equals_the_definition_and_its_derivative() {
        let eta = Var::new(&ETA, &device()).unwrap();
        let loss = cox_in_cohort(&eta, &ROWS, cohort()).unwrap();
        approx::assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), plain(&ETA), epsilon = 1e-12);
        let g = loss.backward().unwrap().get(&eta).unwrap().to_vec1::<f64>().unwrap();
        for (i, g) in g.iter().enumerate() {
            let at = |h: f64| {
                let mut e = ETA;
                e[i] += h;
                plain(&e)
            };
            approx::assert_relative_eq!(*g, (at(1e-6) - at(-1e-6)) / 2e-6, epsilon = 1e-8);
        }
    }

    #[test]
    fn a_batch_of_everybody_once_is_the_plain_loss() {
        let order = [4, 2, 0, 5, 1, 3];
        let pick = |v: &[f64]| order.map(|p| v[p]);
        let eta = Tensor::new(&pick(&KNOWN), &device()).unwrap();
        // What is kept of patients that are in the batch does not matter.
        let stale = CoxCohort { log_risk: &[99.0; 6], ..cohort() };
        let ours = cox_in_cohort(&eta, &order, stale).unwrap().to_scalar::<f64>().unwrap();
        let plain = cox(&eta, &pick(&TIME), &order.map(|p| EVENT[p]), Ties::Breslow).unwrap();
        approx::assert_relative_eq!(ours, plain.to_scalar::<f64>().unwrap(), epsilon = 1e-12);
        let batch = cox(&eta.narrow(0, 0, 3).unwrap(), &[7.0, 5.0, 2.0], &[false, true, true], Ties::Breslow);
        let within = cox_in_cohort(&eta.narrow(0, 0, 3).unwrap(), &order[..3], cohort()).unwrap();
        assert!(within.to_scalar::<f64>().unwrap() > batch.unwrap().to_scalar::<f64>().unwrap());
    }

    #[test]
    fn every_device_has_the_same_loss_and_derivatives() {
        let eta = Tensor::new(&ETA, &candle_core::Device::Cpu).unwrap();
        let loss = |x: &[Tensor]| Ok(cox_in_cohort(&x[0], &ROWS, cohort()).unwrap());
        check_devices(&[eta], loss).unwrap();
    }

    #[test]
    fn no_event_and_what_does_not_fit() {
        let one = Tensor::new(&[0.4f64], &device()).unwrap();
        let censored = cox_in_cohort(&one, &[4], cohort()).unwrap();
        assert_eq!(censored.to_scalar::<f64>().unwrap(), 0.0);
        let error = cox_in_cohort(&one, &[6], cohort()).unwrap_err().to_string();
        assert!(error.contains("patients below 6"), "{error}");
        assert!(cox_in_cohort(&one, &[0, 1], cohort()).is_err());
        let short = CoxCohort { event: &EVENT[1..], ..cohort() };
        assert!(cox_in_cohort(&one, &[0], short).is_err());
    }
}
