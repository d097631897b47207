use crate::{Error, Result};
use candle_core::{D, Tensor};

fn pair(loss: &'static str, a: &Tensor, b: &Tensor) -> Result<usize> {
    match (a.dims(), b.dims()) {
        ([n, _], other) if *n > 0 && a.dims() == other => Ok(*n),
        (x, y) => Err(Error::input(loss, "two matrices of one shape", (x, y))),
    }
}

/// Rows scaled to unit length; a row of zeros stays zero, with a finite gradient.
fn unit_rows(x: &Tensor) -> Result<Tensor> {
    // The bound of torch's cosine similarity (1e-8) on the norm, put under the root.
    let norm = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-16)?.sqrt()?;
    Ok(x.broadcast_div(&norm)?)
}

/// `1 - mean_i cos(a_i, b_i)`: views of one thing should agree.
///
/// # Shapes
/// \[n, F\], \[n, F\] -> scalar
///
/// # Errors
/// [`Error::Input`] if the shapes differ.
pub fn cosine_alignment(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let n = pair("cosine_alignment", a, b)?;
    Ok((unit_rows(a)? * unit_rows(b)?)?.sum_all()?.affine(-1.0 / n as f64, 1.0)?)
}

/// InfoNCE: each `a_i` should pick its own `b_i` among all rows of `b`:
/// `-(1/n) sum_i log( exp(cos(a_i,b_i)/tau) / sum_j exp(cos(a_i,b_j)/tau) )`.
///
/// # Shapes
/// \[n, F\], \[n, F\] -> scalar
///
/// # Errors
/// [`Error::Input`] if the shapes differ or `temperature` is not positive.
///
/// # Reference
/// van den Oord, Li and Vinyals, *Representation learning with contrastive predictive coding*, 2018.
pub fn info_nce(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    const LOSS: &str = "info_nce";
    let n = pair(LOSS, a, b)?;
    check_temperature(LOSS, temperature)?;
    let logits = (unit_rows(a)?.matmul(&unit_rows(b)?.t()?)? / temperature)?;
    own_column(&logits, (0..n).collect())
}

/// The mean of [`info_nce`] from `a` to `b` and from `b` to `a`, as in CLIP.
///
/// # Shapes
/// \[n, F\], \[n, F\] -> scalar
///
/// # Errors
/// [`Error::Input`] if the shapes differ or `temperature` is not positive.
///
/// # Reference
/// Radford et al., *Learning transferable visual models from natural language supervision*, 2021.
pub fn info_nce_symmetric(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    Ok(((info_nce(a, b, temperature)? + info_nce(b, a, temperature)?)? * 0.5)?)
}

/// NT-Xent: all 2n views in one pot; each should pick its partner among the other 2n - 1.
///
/// # Shapes
/// \[n, F\], \[n, F\] -> scalar
///
/// # Errors
/// [`Error::Input`] if the shapes differ or `temperature` is not positive.
///
/// # Reference
/// Chen et al., *A simple framework for contrastive learning of visual representations*, 2020, equation 1; mean over
/// the 2n anchors, the view itself left out of the sum.
pub fn nt_xent(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    const LOSS: &str = "nt_xent";
    let n = pair(LOSS, a, b)?;
    check_temperature(LOSS, temperature)?;
    let z = unit_rows(&Tensor::cat(&[a, b], 0)?)?;
    let logits = (z.matmul(&z.t()?)? / temperature)?;
    // Finite, so that 0 * mask stays 0 in the gradient; a thousand below the smallest cosine over the temperature, where
    // the exponential is 0 in every precision.
    let itself = -1000.0 - 2.0 / temperature;
    let mask: Vec<f64> = (0..4 * n * n).map(|i| if i % (2 * n + 1) == 0 { itself } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (2 * n, 2 * n), z.device())?.to_dtype(z.dtype())?;
    own_column(&(logits + mask)?, (0..2 * n).map(|i| (i + n) % (2 * n)).collect())
}

/// Mean cross-entropy of rows that should pick the given columns.
fn own_column(logits: &Tensor, columns: Vec<usize>) -> Result<Tensor> {
    let n = columns.len();
    let columns: Vec<u32> = columns.into_iter().map(|c| c as u32).collect();
    let columns = Tensor::from_vec(columns, (n, 1), logits.device())?;
    let own = logits.gather(&columns, 1)?.sum_all()?;
    let all = logits.log_sum_exp(1)?.sum_all()?;
    Ok(((all - own)? / n as f64)?)
}

fn check_temperature(loss: &'static str, temperature: f64) -> Result<()> {
    if temperature > 0.0 {
        return Ok(());
    }
    Err(Error::input(loss, "a positive temperature", temperature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn a() -> [[f64; 2]; 3] {
        [[1.0, 0.2], [-0.3, 0.8], [0.5, -1.1]]
    }

    fn b() -> [[f64; 2]; 3] {
        [[0.7, 0.1], [0.4, 0.9], [1.5, -0.2]]
    }

    fn cosine(x: &[f64; 2], y: &[f64; 2]) -> f64 {
        let norm = |v: &[f64; 2]| v[0].hypot(v[1]);
        (x[0] * y[0] + x[1] * y[1]) / (norm(x) * norm(y))
    }

    type Loss = fn(&Tensor, &Tensor) -> Tensor;

    fn value(loss: Loss, a: &[[f64; 2]; 3], b: &[[f64; 2]; 3]) -> f64 {
        let t = |v: &[[f64; 2]; 3]| Tensor::new(v, &Device::Cpu).unwrap();
        loss(&t(a), &t(b)).to_scalar().unwrap()
    }

    #[test]
    fn equal_their_definitions() {
        let (a, b) = (a(), b());
        let align = 1.0 - (0..3).map(|i| cosine(&a[i], &b[i])).sum::<f64>() / 3.0;
        approx::assert_relative_eq!(
            value(|a, b| cosine_alignment(a, b).unwrap(), &a, &b),
            align,
            epsilon = 1e-12
        );
        let e = |x: f64| (x / 0.2).exp();
        let nce: f64 = (0..3)
            .map(|i| -(e(cosine(&a[i], &b[i])) / b.iter().map(|b| e(cosine(&a[i], b))).sum::<f64>()).ln())
            .sum();
        approx::assert_relative_eq!(
            value(|a, b| info_nce(a, b, 0.2).unwrap(), &a, &b),
            nce / 3.0,
            epsilon = 1e-10
        );
        let z: Vec<_> = a.iter().chain(&b).copied().collect();
        let xent: f64 = (0..6)
            .map(|i| {
                let others = (0..6).filter(|&j| j != i).map(|j| e(cosine(&z[i], &z[j]))).sum::<f64>();
                -(e(cosine(&z[i], &z[(i + 3) % 6])) / others).ln()
            })
            .sum();
        approx::assert_relative_eq!(
            value(|a, b| nt_xent(a, b, 0.2).unwrap(), &a, &b),
            xent / 6.0,
            epsilon = 1e-10
        );
    }

    #[test]
    fn gradients_by_finite_differences() {
        let losses: [Loss; 3] = [
            |a, b| cosine_alignment(a, b).unwrap(),
            |a, b| info_nce(a, b, 0.3).unwrap(),
            |a, b| nt_xent(a, b, 0.3).unwrap(),
        ];
        for loss in losses {
            let (va, tb) = (Var::new(&a(), &Device::Cpu).unwrap(), Tensor::new(&b(), &Device::Cpu).unwrap());
            let g = loss(&va, &tb).backward().unwrap().get(&va).unwrap().to_vec2::<f64>().unwrap();
            for i in 0..3 {
                for f in 0..2 {
                    let at = |h: f64| {
                        let mut a = a();
                        a[i][f] += h;
                        value(loss, &a, &b())
                    };
                    approx::assert_relative_eq!(g[i][f], (at(1e-6) - at(-1e-6)) / 2e-6, epsilon = 1e-7);
                }
            }
        }
    }

    #[test]
    fn bad_input_is_refused_and_zero_rows_stay_finite() {
        let (x, y) =
            (Var::zeros((2, 3), candle_core::DType::F64, &Device::Cpu).unwrap(), [[1f64, 2., 3.]; 2]);
        let y = Tensor::new(&y, &Device::Cpu).unwrap();
        let g = info_nce(&x, &y, 0.2).unwrap().backward().unwrap();
        assert!(g.get(&x).unwrap().to_vec2::<f64>().unwrap().iter().flatten().all(|v| v.is_finite()));
        assert!(info_nce(&x, &y, 0.0).is_err());
        assert!(nt_xent(&x, &y.narrow(0, 0, 1).unwrap(), 0.1).is_err());
    }
}
