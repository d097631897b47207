use crate::reduction::constant;
use crate::{Error, Result};
use candle_core::Tensor;
use oncograph_nn::log_sum_exp;
use serde::{Deserialize, Serialize};

fn pair(loss: &'static str, a: &Tensor, b: &Tensor) -> Result<usize> {
    match (a.dims(), b.dims()) {
        ([n, _], other) if *n > 0 && a.dims() == other => Ok(*n),
        (x, y) => Err(Error::input(loss, "two matrices of one shape", (x, y))),
    }
}

/// Rows of unit length. The bound of torch's cosine similarity on the norm (1e-8) is put under the root.
fn unit_rows(x: &Tensor) -> Result<Tensor> {
    Ok(oncograph_nn::unit_rows(x, 1e-16)?)
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
/// [`Error::Input`] if the shapes differ, [`Error::Argument`] if `temperature` is not positive.
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
/// [`Error::Input`] if the shapes differ, [`Error::Argument`] if `temperature` is not positive.
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
/// [`Error::Input`] if the shapes differ, [`Error::Argument`] if `temperature` is not positive.
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
    let mask = constant(mask, (2 * n, 2 * n), &z)?;
    own_column(&(logits + mask)?, (0..2 * n).map(|i| (i + n) % (2 * n)).collect())
}

/// What stands under the fraction of a contrastive loss (G-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denominator {
    /// The negatives alone: decoupled contrastive learning. The loss of a pair that is much more alike than its
    /// negatives is below 0.
    #[default]
    ExcludePositive,
    /// The negatives and the pair itself, as in [`info_nce`].
    IncludePositive,
}

/// Each `a_i` should be more like its own `b_i` than like the other rows of `b`:
/// `-(1/n) sum_i log( exp(cos(a_i,b_i)/tau) / sum_{j in D_i} exp(cos(a_i,b_j)/tau) )`, `D_i` the negatives, with or
/// without `i` by `denominator`.
///
/// Rows of one `group` are not negatives of each other, for instance one tract in several patients; `None` takes every
/// other row as a negative.
///
/// # Shapes
/// \[n, F\], \[n, F\] -> scalar
///
/// # Errors
/// [`Error::Argument`] if `temperature` is not positive; [`Error::Input`] if the shapes differ, there are other groups than rows, or a row has
/// no negative at all.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_losses::{Denominator, cross_view};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Own pairs have cosine 1, others 0: log(e^1 / e^0) = 1, and the loss is below 0.
/// let z = Tensor::new(&[[1f64, 0.0], [0.0, 1.0]], &Device::Cpu)?;
/// let loss = cross_view(&z, &z, 1.0, Denominator::ExcludePositive, None)?.to_scalar::<f64>()?;
/// assert!((loss + 1.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// You et al., *Graph contrastive learning with augmentations*, 2020 (equation 3 and its code, without the positive);
/// Yeh et al., *Decoupled contrastive learning*, 2022.
pub fn cross_view(
    a: &Tensor,
    b: &Tensor,
    temperature: f64,
    denominator: Denominator,
    group: Option<&[usize]>,
) -> Result<Tensor> {
    const LOSS: &str = "cross_view";
    let n = pair(LOSS, a, b)?;
    check_temperature(LOSS, temperature)?;
    if let Some(group) = group
        && group.len() != n
    {
        return Err(Error::input(LOSS, format!("{n} groups"), group.len()));
    }
    let logits = (unit_rows(a)?.matmul(&unit_rows(b)?.t()?)? / temperature)?;
    let negative = |i: usize, j: usize| i != j && group.is_none_or(|g| g[i] != g[j]);
    if let Some(row) = (0..n).find(|&i| !(0..n).any(|j| negative(i, j))) {
        return Err(Error::input(LOSS, "a negative for every row", format!("none for row {row} of {n}")));
    }
    let include = denominator == Denominator::IncludePositive;
    // As in `nt_xent`: finite, and far below every logit.
    let out = -1000.0 - 2.0 / temperature;
    let at = |k: usize| {
        let (i, j) = (k / n, k % n);
        if negative(i, j) || (include && i == j) { 0.0 } else { out }
    };
    let mask: Vec<f64> = (0..n * n).map(at).collect();
    let mask = constant(mask, (n, n), &logits)?;
    let diagonal = Tensor::from_vec((0..n as u32).collect(), (n, 1), logits.device())?;
    let own = logits.gather(&diagonal, 1)?.sum_all()?;
    let all = log_sum_exp(&(&logits + mask)?)?.sum_all()?;
    Ok(((all - own)? / n as f64)?)
}

/// Options of [`bi_level`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BiLevelConfig {
    /// τ; 0.1.
    pub temperature: f64,
    /// λ, the share of image against surface; 0.8.
    pub lambda: f64,
    /// What stands under the fraction (G-18).
    pub denominator: Denominator,
    /// Whether tumour against network is the mean of both directions; false, as published: network to tumour (G-18).
    pub symmetric: bool,
}

impl Default for BiLevelConfig {
    fn default() -> Self {
        BiLevelConfig {
            temperature: 0.1,
            lambda: 0.8,
            denominator: Denominator::ExcludePositive,
            symmetric: false,
        }
    }
}

impl BiLevelConfig {
    /// Sets τ and λ.
    pub fn weights(mut self, temperature: f64, lambda: f64) -> Self {
        (self.temperature, self.lambda) = (temperature, lambda);
        self
    }

    /// Sets the denominator.
    pub fn denominator(mut self, denominator: Denominator) -> Self {
        self.denominator = denominator;
        self
    }

    /// Sets whether tumour against network is the mean of both directions.
    pub fn symmetric(mut self, symmetric: bool) -> Self {
        self.symmetric = symmetric;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        check_temperature("bi_level", self.temperature)?;
        if !(0.0..=1.0).contains(&self.lambda) {
            return Err(Error::config("bi_level", "lambda", "in [0, 1]", self.lambda));
        }
        Ok(())
    }
}

/// The projections that [`bi_level`] compares; those of one patient stand in the same row.
#[derive(Debug, Clone, Copy, Default)]
pub struct BiLevelViews<'a> {
    /// z^I: the tumour image.
    pub image: Option<&'a Tensor>,
    /// z^P: the tumour surface.
    pub surface: Option<&'a Tensor>,
    /// z^B: the brain network.
    pub network: Option<&'a Tensor>,
    /// z^T: image and surface together.
    pub tumour: Option<&'a Tensor>,
}

/// The bi-level contrastive loss: tumour image against tumour surface, and the tumour against the brain network:
/// `λ (l^{P2I} + l^{I2P}) / 2 + (1 - λ) l^{B2T}`, each `l` a [`cross_view`].
///
/// With two encoders it is the term of that pair: image and surface in both directions, or network to what there is
/// of the tumour.
///
/// # Shapes
/// each view \[n, F\] -> scalar
///
/// # Errors
/// [`Error::Input`] for fewer than two views, [`Error::Argument`] for options out of range; as [`cross_view`].
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852, equations of section *Bi-level multi-modal contrastive learning*.
pub fn bi_level(views: &BiLevelViews, config: &BiLevelConfig) -> Result<Tensor> {
    config.validate()?;
    let one = |a: &Tensor, b: &Tensor| cross_view(a, b, config.temperature, config.denominator, None);
    let both = |a: &Tensor, b: &Tensor| -> Result<Tensor> { Ok(((one(a, b)? + one(b, a)?)? * 0.5)?) };
    let of_network = |b: &Tensor, t: &Tensor| if config.symmetric { both(b, t) } else { one(b, t) };
    let &BiLevelViews { image, surface, network, tumour } = views;
    match (image, surface, network) {
        (Some(i), Some(p), Some(b)) => {
            let t = tumour.ok_or_else(|| Error::input("bi_level", "the tumour's view", "none"))?;
            Ok(((both(p, i)? * config.lambda)? + (of_network(b, t)? * (1.0 - config.lambda))?)?)
        }
        (Some(i), Some(p), None) => both(p, i),
        (Some(t), None, Some(b)) | (None, Some(t), Some(b)) => of_network(b, t),
        _ => Err(Error::input("bi_level", "two views or more", "one or none")),
    }
}

/// Mean cross-entropy of rows that should pick the given columns.
fn own_column(logits: &Tensor, columns: Vec<usize>) -> Result<Tensor> {
    let n = columns.len();
    let columns: Vec<u32> = columns.into_iter().map(|c| c as u32).collect();
    let columns = Tensor::from_vec(columns, (n, 1), logits.device())?;
    let own = logits.gather(&columns, 1)?.sum_all()?;
    let all = log_sum_exp(logits)?.sum_all()?;
    Ok(((all - own)? / n as f64)?)
}

fn check_temperature(loss: &'static str, temperature: f64) -> Result<()> {
    if temperature > 0.0 {
        return Ok(());
    }
    Err(Error::config(loss, "temperature", "above 0", temperature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

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
        let t = |v: &[[f64; 2]; 3]| Tensor::new(v, &device()).unwrap();
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
        let losses: [Loss; 5] = [
            |a, b| cross_view(a, b, 0.3, Denominator::ExcludePositive, None).unwrap(),
            |a, b| cross_view(a, b, 0.3, Denominator::IncludePositive, Some(&[0, 0, 1])).unwrap(),
            |a, b| cosine_alignment(a, b).unwrap(),
            |a, b| info_nce(a, b, 0.3).unwrap(),
            |a, b| nt_xent(a, b, 0.3).unwrap(),
        ];
        for loss in losses {
            let (va, tb) = (Var::new(&a(), &device()).unwrap(), Tensor::new(&b(), &device()).unwrap());
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

    /// Section 13: losses by hand, one of them below 0.
    #[test]
    fn cross_view_equals_its_definition() {
        let (a, b) = (a(), b());
        let e = |i: usize, j: usize| (cosine(&a[i], &b[j]) / 0.1).exp();
        let by_hand = |negatives: fn(usize, usize) -> bool| -> f64 {
            let one = |i: usize| {
                let sum: f64 = (0..3).filter(|&j| negatives(i, j)).map(|j| e(i, j)).sum();
                -(e(i, i) / sum).ln()
            };
            (0..3).map(one).sum::<f64>() / 3.0
        };
        let t = |v: &[[f64; 2]; 3]| Tensor::new(v, &device()).unwrap();
        let loss = |d, g: Option<&[usize]>| {
            cross_view(&t(&a), &t(&b), 0.1, d, g).unwrap().to_scalar::<f64>().unwrap()
        };
        let exclude = loss(Denominator::ExcludePositive, None);
        approx::assert_relative_eq!(exclude, by_hand(|i, j| i != j), epsilon = 1e-10);
        let include = loss(Denominator::IncludePositive, None);
        approx::assert_relative_eq!(include, by_hand(|_, _| true), epsilon = 1e-10);
        // Rows 0 and 1 are of one group: their only negative is row 2, and both are negatives of row 2.
        let grouped = loss(Denominator::ExcludePositive, Some(&[7, 7, 8]));
        approx::assert_relative_eq!(grouped, by_hand(|i, j| (i < 2) != (j < 2)), epsilon = 1e-10);
        let z = Tensor::new(&[[1f64, 0.0], [0.0, 1.0]], &device()).unwrap();
        let one = |d| cross_view(&z, &z, 0.1, d, None).unwrap().to_scalar::<f64>().unwrap();
        // log(e^10 / e^0) = 10.
        approx::assert_relative_eq!(one(Denominator::ExcludePositive), -10.0, epsilon = 1e-9);
        assert!(one(Denominator::IncludePositive) > 0.0);
    }

    #[test]
    fn bi_level_weighs_its_terms() {
        let t = |v: &[[f64; 2]; 3]| Tensor::new(v, &device()).unwrap();
        let c = [[0.1, 1.0], [-0.9, 0.2], [0.3, 0.3]];
        let d = [[1.0, 1.0], [-0.5, 0.4], [0.2, -0.3]];
        let (i, p, b, tumour) = (t(&a()), t(&b()), t(&c), t(&d));
        let views =
            BiLevelViews { image: Some(&i), surface: Some(&p), network: Some(&b), tumour: Some(&tumour) };
        let config = BiLevelConfig::default();
        let one = |x: &Tensor, y: &Tensor| {
            let l = cross_view(x, y, 0.1, Denominator::ExcludePositive, None).unwrap();
            l.to_scalar::<f64>().unwrap()
        };
        let loss = |v: &BiLevelViews, c: &BiLevelConfig| bi_level(v, c).unwrap().to_scalar::<f64>().unwrap();
        let pair = 0.5 * (one(&p, &i) + one(&i, &p));
        approx::assert_relative_eq!(
            loss(&views, &config),
            0.8 * pair + 0.2 * one(&b, &tumour),
            epsilon = 1e-12
        );
        let both = 0.5 * (one(&b, &tumour) + one(&tumour, &b));
        let symmetric = config.clone().symmetric(true);
        approx::assert_relative_eq!(loss(&views, &symmetric), 0.8 * pair + 0.2 * both, epsilon = 1e-12);
        let two = BiLevelViews { network: None, tumour: None, ..views };
        approx::assert_relative_eq!(loss(&two, &config), pair, epsilon = 1e-12);
        let two = BiLevelViews { surface: None, tumour: None, ..views };
        approx::assert_relative_eq!(loss(&two, &config), one(&b, &i), epsilon = 1e-12);
        let one_view = BiLevelViews { image: Some(&i), ..Default::default() };
        assert!(bi_level(&one_view, &config).unwrap_err().to_string().contains("two views"));
        assert!(bi_level(&views, &config.weights(0.1, 1.5)).is_err());
    }

    #[test]
    fn a_row_without_negatives_is_refused() {
        let z = Tensor::new(&[[1f64, 0.0], [0.0, 1.0]], &device()).unwrap();
        let error = cross_view(&z, &z, 0.1, Denominator::ExcludePositive, Some(&[3, 3])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cross_view: expected a negative for every row, got \"none for row 0 of 2\""
        );
        let one = z.narrow(0, 0, 1).unwrap();
        assert!(cross_view(&one, &one, 0.1, Denominator::IncludePositive, None).is_err());
    }

    #[test]
    fn bad_input_is_refused_and_zero_rows_stay_finite() {
        let (x, y) = (Var::zeros((2, 3), candle_core::DType::F64, &device()).unwrap(), [[1f64, 2., 3.]; 2]);
        let y = Tensor::new(&y, &device()).unwrap();
        let g = info_nce(&x, &y, 0.2).unwrap().backward().unwrap();
        assert!(g.get(&x).unwrap().to_vec2::<f64>().unwrap().iter().flatten().all(|v| v.is_finite()));
        assert!(info_nce(&x, &y, 0.0).is_err());
        assert!(nt_xent(&x, &y.narrow(0, 0, 1).unwrap(), 0.1).is_err());
    }
}
