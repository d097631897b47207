use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::HashMap;

/// The average of several sites' parameters, `w = sum_k (n_k / n) w_k` (M-22); of integers, such as counts of batches
/// seen, the largest (defect 12).
///
/// Sums run in f64 in the order of the sites. Takes and gives what `ParamStore::snapshot` and `ParamStore::restore` do.
///
/// # Errors
/// [`Error::Input`] without sites or patients, or for sites whose names or shapes differ.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use std::collections::HashMap;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let site = |w: f32, seen: i64| -> candle_core::Result<HashMap<String, Tensor>> {
///     let w = Tensor::new(&[w], &Device::Cpu)?;
///     Ok(HashMap::from([("w".into(), w), ("seen".into(), Tensor::new(seen, &Device::Cpu)?)]))
/// };
/// let global = oncograph_omics::fed_avg(&[(&site(1.0, 5)?, 30), (&site(5.0, 7)?, 10)])?;
/// assert_eq!(global["w"].to_vec1::<f32>()?, [2.0]);
/// assert_eq!(global["seen"].to_scalar::<i64>()?, 7);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// McMahan et al., *Communication-efficient learning of deep networks from decentralized data*, 2017, algorithm 1.
pub fn fed_avg(sites: &[(&HashMap<String, Tensor>, usize)]) -> Result<HashMap<String, Tensor>> {
    let patients: usize = sites.iter().map(|s| s.1).sum();
    let Some(((first, _), _)) = sites.split_first().filter(|_| patients > 0) else {
        return Err(Error::input(
            "fed_avg",
            "sites with patients",
            format!("{} sites, {patients} patients", sites.len()),
        ));
    };
    let mut global = HashMap::new();
    for (name, like) in first.iter() {
        let of = |(k, (state, _)): (usize, &(&HashMap<String, Tensor>, usize))| match state.get(name) {
            Some(t) if t.dims() == like.dims() && t.dtype() == like.dtype() && state.len() == first.len() => {
                Ok(t.clone())
            }
            other => {
                let got =
                    other.map_or("nothing".into(), |t| format!("{:?}, {} entries", t.dims(), state.len()));
                Err(Error::input(format!("{name} of site {k}"), format!("{:?}", like.dims()), got))
            }
        };
        let all = sites.iter().enumerate().map(of).collect::<Result<Vec<_>>>()?;
        let float = matches!(like.dtype(), DType::F16 | DType::BF16 | DType::F32 | DType::F64);
        let mut sum: Option<Tensor> = None;
        for (t, (_, n)) in all.iter().zip(sites) {
            sum = Some(match (sum, float) {
                (None, true) => (t.to_dtype(DType::F64)? * (*n as f64 / patients as f64))?,
                (Some(s), true) => (s + (t.to_dtype(DType::F64)? * (*n as f64 / patients as f64))?)?,
                (None, false) => t.clone(),
                (Some(s), false) => s.maximum(t)?,
            });
        }
        if let Some(sum) = sum {
            global.insert(name.clone(), sum.to_dtype(like.dtype())?);
        }
    }
    Ok(global)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn site(w: f32, seen: i64) -> HashMap<String, Tensor> {
        let w = Tensor::new(&[w, -w], &Device::Cpu).unwrap();
        HashMap::from([("w".to_string(), w), ("seen".to_string(), Tensor::new(seen, &Device::Cpu).unwrap())])
    }

    #[test]
    fn defect_12_integers_are_not_averaged_and_sites_count_by_their_patients() {
        let global = fed_avg(&[(&site(1.0, 9), 1), (&site(3.0, 4), 3)]).unwrap();
        assert_eq!(global["w"].to_vec1::<f32>().unwrap(), [2.5, -2.5]);
        assert_eq!(global["seen"].to_scalar::<i64>().unwrap(), 9);
    }

    #[test]
    fn one_site_is_local_training_bit_for_bit() {
        let local = site(0.1, 3);
        let global = fed_avg(&[(&local, 17)]).unwrap();
        assert_eq!(global["w"].to_vec1::<f32>().unwrap(), local["w"].to_vec1::<f32>().unwrap());
    }

    #[test]
    fn sites_that_differ_are_named() {
        let mut other = site(1.0, 1);
        other.remove("w");
        let error = fed_avg(&[(&site(1.0, 1), 1), (&other, 1)]).unwrap_err().to_string();
        assert!(
            error.starts_with("w of site 1: expected [2], got nothing")
                || error.starts_with("seen of site 1"),
            "{error}"
        );
        assert!(fed_avg(&[]).is_err() && fed_avg(&[(&site(1.0, 1), 0)]).is_err());
    }
}
