use crate::quadrature::gauss_legendre;
use crate::target::gradient;
use crate::{Error, ModelResult, Result};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

const OP: &str = "integrated_gradients";

/// How the integral along the path is approximated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuadratureMethod {
    /// Gauss and Legendre's nodes: the most exact for smooth models.
    #[default]
    #[serde(alias = "gausslegendre")]
    GaussLegendre,
    /// The left end of each of the steps.
    RiemannLeft,
    /// The middle of each of the steps.
    RiemannMiddle,
    /// The right end of each of the steps.
    RiemannRight,
}

/// Configuration of [`integrated_gradients`], with captum's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IntegratedGradientsConfig {
    /// At how many points of the path the gradient is taken; 50.
    pub n_steps: usize,
    /// Which points those are; Gauss-Legendre.
    pub method: QuadratureMethod,
}

impl Default for IntegratedGradientsConfig {
    fn default() -> Self {
        IntegratedGradientsConfig { n_steps: 50, method: QuadratureMethod::GaussLegendre }
    }
}

impl IntegratedGradientsConfig {
    /// Fifty Gauss-Legendre points.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets at how many points the gradient is taken.
    pub fn n_steps(mut self, n_steps: usize) -> Self {
        self.n_steps = n_steps;
        self
    }

    /// Sets which points those are.
    pub fn method(mut self, method: QuadratureMethod) -> Self {
        self.method = method;
        self
    }

    /// Whether there is at least one point.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        match self.n_steps {
            0 => Err(Error::config(OP, "n_steps", "at least 1", 0)),
            _ => Ok(()),
        }
    }

    /// Points in \[0, 1\] and their weights.
    fn nodes(&self) -> Vec<(f64, f64)> {
        let n = self.n_steps;
        let at = |shift: f64| (0..n).map(|i| ((i as f64 + shift) / n as f64, 1.0 / n as f64)).collect();
        match self.method {
            QuadratureMethod::GaussLegendre => gauss_legendre(n),
            QuadratureMethod::RiemannLeft => at(0.0),
            QuadratureMethod::RiemannMiddle => at(0.5),
            QuadratureMethod::RiemannRight => at(1.0),
        }
    }
}

/// What [`integrated_gradients`] returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IntegratedGradients {
    /// The share of each input element in the output, in the shape of the input.
    pub attributions: Tensor,
    /// Per sample the sum of the attributions minus the difference that they should sum to: how good the approximation
    /// of the integral is.
    pub delta: Vec<f64>,
}

/// The share of each input element in an output, relative to a `baseline`:
/// `(x - b) * integral_0^1 dY/dx(b + a (x - b)) da`; zeros where no baseline is given.
///
/// The shares sum to `Y(x) - Y(b)`. The points of the path are taken one after another, so that memory does not grow
/// with their number.
///
/// # Shapes
/// `x` \[batch, ..\], outputs of the model \[batch, classes\], one target per sample; the baseline has the shape of `x`
/// or a batch of 1.
///
/// # Errors
/// [`Error::Input`] for shapes or targets that do not fit, [`Error::Argument`] for a configuration that is not valid, [`Error::NoGradient`] for a model that does
/// not use its input, [`Error::Model`] for an error of the model.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_explain::{IntegratedGradientsConfig, integrated_gradients};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::new(&[[2f64, 3.0]], &Device::Cpu)?;
/// let product = |x: &Tensor| Ok((x.narrow(1, 0, 1)? * x.narrow(1, 1, 1)?)?);
/// let shares = integrated_gradients(&x, &[0], None, &IntegratedGradientsConfig::new(), product)?;
/// // Both factors have half of 2 * 3.
/// let [a, b] = shares.attributions.to_vec2::<f64>()?[0][..] else { return Err("two".into()) };
/// assert!((a - 3.0).abs() < 1e-12 && (b - 3.0).abs() < 1e-12 && shares.delta[0].abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Sundararajan et al. 2017; `captum.attr.IntegratedGradients`.
pub fn integrated_gradients(
    x: &Tensor,
    target: &[usize],
    baseline: Option<&Tensor>,
    config: &IntegratedGradientsConfig,
    model: impl Fn(&Tensor) -> ModelResult,
) -> Result<IntegratedGradients> {
    config.validate()?;
    if x.rank() < 2 {
        return Err(Error::input(OP, "an input [batch, ..]", x.dims()));
    }
    let x = x.detach();
    let baseline = match baseline {
        None => x.zeros_like()?,
        Some(b) if b.dims() == x.dims() || (b.dim(0)? == 1 && b.dims()[1..] == x.dims()[1..]) => {
            b.detach().broadcast_as(x.shape())?.contiguous()?
        }
        Some(b) => return Err(Error::input(OP, format!("a baseline {:?}", x.dims()), b.dims())),
    };
    let path = (&x - &baseline)?;
    let mut total = path.zeros_like()?;
    for (place, weight) in config.nodes() {
        let at = (&baseline + (&path * place)?)?;
        total = (total + (gradient(OP, &at, target, &model)? * weight)?)?;
    }
    let attributions = (total * &path)?;
    let (above, below) = (outputs_of(&model, &x, target)?, outputs_of(&model, &baseline, target)?);
    let sums = attributions.flatten_from(1)?.to_dtype(DType::F64)?.sum(1)?.to_vec1::<f64>()?;
    let delta = sums.iter().zip(above.iter().zip(&below)).map(|(s, (a, b))| s - (a - b)).collect();
    Ok(IntegratedGradients { attributions, delta })
}

/// The target's output of every sample.
fn outputs_of(model: &impl Fn(&Tensor) -> ModelResult, x: &Tensor, target: &[usize]) -> Result<Vec<f64>> {
    let outputs = model(x).map_err(Error::Model)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    // The targets were checked with the gradients.
    Ok(outputs.iter().zip(target).filter_map(|(row, t)| row.get(*t).copied()).collect())
}

/// The magnitude of the gradient of an output with respect to each input element.
///
/// # Shapes
/// As [`integrated_gradients`].
///
/// # Errors
/// As [`integrated_gradients`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_explain::saliency;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::new(&[[2f64, 3.0]], &Device::Cpu)?;
/// let difference = |x: &Tensor| Ok((x.narrow(1, 0, 1)? - (x.narrow(1, 1, 1)? * 2.0)?)?);
/// assert_eq!(saliency(&x, &[0], difference)?.to_vec2::<f64>()?, [[1.0, 2.0]]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Simonyan et al. 2014; `captum.attr.Saliency`.
pub fn saliency(x: &Tensor, target: &[usize], model: impl Fn(&Tensor) -> ModelResult) -> Result<Tensor> {
    Ok(gradient("saliency", x, target, &model)?.abs()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::pattern;

    fn model(x: &Tensor) -> ModelResult {
        let weight = pattern(&[4, 3], 7)?;
        Ok((x.matmul(&weight)?.tanh()? * 2.0)?.matmul(&pattern(&[3, 2], 8)?)?)
    }

    #[test]
    fn the_shares_sum_to_the_difference_of_the_outputs() {
        let (x, baseline) = (pattern(&[3, 4], 1).unwrap(), pattern(&[1, 4], 2).unwrap());
        let run = |method, n| {
            let config = IntegratedGradientsConfig::new().method(method).n_steps(n);
            integrated_gradients(&x, &[0, 1, 1], Some(&baseline), &config, model).unwrap().delta
        };
        use QuadratureMethod::*;
        assert!(run(GaussLegendre, 20).iter().all(|d| d.abs() < 1e-12));
        for (method, bound) in [(RiemannLeft, 1e-2), (RiemannRight, 1e-2), (RiemannMiddle, 1e-4)] {
            assert!(run(method, 200).iter().all(|d| d.abs() < bound && *d != 0.0), "{method:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let x = pattern(&[3, 4], 1).unwrap();
        let config = IntegratedGradientsConfig::new();
        let wrong = pattern(&[3, 3], 1).unwrap();
        assert!(integrated_gradients(&x, &[0, 0, 0], Some(&wrong), &config, model).is_err());
        assert!(integrated_gradients(&x, &[0, 0, 2], None, &config, model).is_err());
        assert!(integrated_gradients(&x, &[0; 3], None, &config.n_steps(0), model).is_err());
        assert!(saliency(&x, &[0], model).is_err());
    }
}
