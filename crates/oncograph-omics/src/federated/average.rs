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
    average(sites, None)
}

/// [`fed_avg`] of what the sites made of `global`: one that did not change a parameter has no weight in it, and what none
/// changed stays.
pub(super) fn average(
    sites: &[(&HashMap<String, Tensor>, usize)],
    global: Option<&HashMap<String, Tensor>>,
) -> Result<HashMap<String, Tensor>> {
    let patients: usize = sites.iter().map(|s| s.1).sum();
    let Some(((first, _), _)) = sites.split_first().filter(|_| patients > 0) else {
        return Err(Error::input(
            "fed_avg",
            "sites with patients",
            format!("{} sites, {patients} patients", sites.len()),
        ));
    };
    let mut averaged = HashMap::new();
    for (name, like) in first.iter() {
        let mut taken = vec![];
        for (k, (state, n)) in sites.iter().enumerate() {
            let value = entry(name, like, k, state, first.len())?;
            let before = global.and_then(|g| g.get(name));
            if before.is_none_or(|b| !same_bits(b, value)) {
                taken.push((value, *n));
            }
        }
        // Where no site changed it, all have what the server has.
        averaged.insert(name.clone(), if taken.is_empty() { like.copy()? } else { weighted(&taken)? });
    }
    Ok(averaged)
}

fn entry<'a>(
    name: &str,
    like: &Tensor,
    site: usize,
    state: &'a HashMap<String, Tensor>,
    entries: usize,
) -> Result<&'a Tensor> {
    match state.get(name) {
        Some(t) if t.dims() == like.dims() && t.dtype() == like.dtype() && state.len() == entries => Ok(t),
        other => {
            let got = other.map_or("nothing".into(), |t| format!("{:?}, {} entries", t.dims(), state.len()));
            Err(Error::input(format!("{name} of site {site}"), format!("{:?}", like.dims()), got))
        }
    }
}

/// The mean by patients of floats, the largest of integers.
fn weighted(values: &[(&Tensor, usize)]) -> Result<Tensor> {
    let patients: usize = values.iter().map(|v| v.1).sum();
    let dtype = values[0].0.dtype();
    let mut sum: Option<Tensor> = None;
    for (t, n) in values {
        let term = match dtype.is_float() {
            true => (t.to_dtype(DType::F64)? * (*n as f64 / patients.max(1) as f64))?,
            false => (*t).clone(),
        };
        sum = Some(match sum {
            None => term,
            Some(s) if dtype.is_float() => (s + term)?,
            Some(s) => s.maximum(&term)?,
        });
    }
    Ok(sum.map_or_else(|| values[0].0.copy(), |s| s.to_dtype(dtype))?)
}

fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    let values = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
    let (Ok(a), Ok(b)) = (values(a), values(b)) else { return false };
    a.len() == b.len() && a.iter().zip(&b).all(|(x, y)| x.to_bits() == y.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::device;

    fn site(w: f32, seen: i64) -> HashMap<String, Tensor> {
        let w = Tensor::new(&[w, -w], &device()).unwrap();
        HashMap::from([("w".to_string(), w), ("seen".to_string(), Tensor::new(seen, &device()).unwrap())])
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
