use super::fused::Rule;
use super::slots::Slots;
use super::{check_at_least_zero, check_fraction, impl_optimizer};
use crate::Result;
use crate::element::Element;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Configuration of [`Adam`], with PyTorch's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct AdamConfig {
    /// Learning rate; 1e-3.
    pub learning_rate: f64,
    /// Decay of the first and second moment; 0.9 and 0.999.
    pub betas: (f64, f64),
    /// Added to the denominator; 1e-8.
    pub eps: f64,
    /// L2 penalty added to the gradient (coupled); 0.
    pub weight_decay: f64,
    /// Whether to divide by the largest second moment so far (Reddi et al. 2018); false.
    pub amsgrad: bool,
    /// Whether to climb instead of to descend; false.
    pub maximize: bool,
}

/// Configuration of [`AdamW`], with PyTorch's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct AdamWConfig {
    /// Learning rate; 1e-3.
    pub learning_rate: f64,
    /// Decay of the first and second moment; 0.9 and 0.999.
    pub betas: (f64, f64),
    /// Added to the denominator; 1e-8.
    pub eps: f64,
    /// Decoupled weight decay: parameters shrink by `learning_rate * weight_decay` per step; 0.01.
    pub weight_decay: f64,
    /// Whether to divide by the largest second moment so far (Reddi et al. 2018); false.
    pub amsgrad: bool,
    /// Whether to climb instead of to descend; false.
    pub maximize: bool,
}

macro_rules! adam_config {
    ($config:ident, $name:literal, $weight_decay:literal, $decoupled:literal) => {
        impl Default for $config {
            fn default() -> Self {
                $config {
                    learning_rate: 1e-3,
                    betas: (0.9, 0.999),
                    eps: 1e-8,
                    weight_decay: $weight_decay,
                    amsgrad: false,
                    maximize: false,
                }
            }
        }

        impl $config {
            /// PyTorch's defaults with this learning rate.
            pub fn new(learning_rate: f64) -> Self {
                $config { learning_rate, ..Self::default() }
            }

            /// Sets the decay of the first and second moment.
            pub fn betas(mut self, first: f64, second: f64) -> Self {
                self.betas = (first, second);
                self
            }

            /// Sets the term that is added to the denominator.
            pub fn eps(mut self, eps: f64) -> Self {
                self.eps = eps;
                self
            }

            /// Sets the weight decay.
            pub fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.weight_decay = weight_decay;
                self
            }

            /// Sets whether the largest second moment so far is the denominator.
            pub fn amsgrad(mut self, amsgrad: bool) -> Self {
                self.amsgrad = amsgrad;
                self
            }

            /// Sets whether to climb instead of to descend.
            pub fn maximize(mut self, maximize: bool) -> Self {
                self.maximize = maximize;
                self
            }

            /// Whether every value is in its range.
            ///
            /// # Errors
            /// [`crate::Error::Argument`] names the first value that is not.
            pub fn validate(&self) -> Result<()> {
                check_at_least_zero($name, "learning_rate", self.learning_rate)?;
                check_fraction($name, "betas.0", self.betas.0)?;
                check_fraction($name, "betas.1", self.betas.1)?;
                check_at_least_zero($name, "eps", self.eps)?;
                check_at_least_zero($name, "weight_decay", self.weight_decay)
            }

            fn coefficients(&self, step: u64) -> Coefficients {
                let t = step as f64;
                Coefficients {
                    shrink: if $decoupled { 1.0 - self.learning_rate * self.weight_decay } else { 1.0 },
                    l2: if $decoupled { 0.0 } else { self.weight_decay },
                    betas: self.betas,
                    eps: self.eps,
                    step_size: self.learning_rate / (1.0 - self.betas.0.powf(t)),
                    correction2_sqrt: (1.0 - self.betas.1.powf(t)).sqrt(),
                    amsgrad: self.amsgrad,
                }
            }
        }

        impl Rule for $config {
            const NAME: &'static str = $name;

            fn moments(&self) -> Vec<&'static str> {
                let names = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
                names[..if self.amsgrad { 3 } else { 2 }].to_vec()
            }

            fn update<T: Element>(&self, step: u64, param: &mut [T], grad: &[T], moments: &mut [&mut [T]]) {
                self.coefficients(step).update(param, grad, moments);
            }

            #[cfg(feature = "cuda")]
            fn kernel(&self, step: u64) -> (&'static str, [f64; 8]) {
                let c = self.coefficients(step);
                let (b1, b2) = c.betas;
                let numbers =
                    [c.shrink, c.l2, 1.0 - b1, b2, 1.0 - b2, c.eps, c.step_size, c.correction2_sqrt];
                ("adam", numbers)
            }

            fn update_tensor(
                &self,
                step: u64,
                param: &Tensor,
                grad: &Tensor,
                moments: &mut [Tensor],
            ) -> candle_core::Result<Tensor> {
                self.coefficients(step).update_tensor(param, grad, moments)
            }
        }
    };
}

adam_config!(AdamConfig, "Adam", 0.0, false);
adam_config!(AdamWConfig, "AdamW", 0.01, true);

/// Adam with coupled L2 penalty and optional AMSGrad.
///
/// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
/// `p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)`, with `g` the gradient plus `weight_decay * p`.
///
/// # Reference
/// Kingma and Ba 2015; `torch.optim.Adam`.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    slots: Slots,
}

impl Adam {
    /// An optimizer without state yet.
    ///
    /// # Errors
    /// As [`AdamConfig::validate`].
    pub fn new(config: AdamConfig) -> Result<Self> {
        config.validate()?;
        Ok(Adam { config, slots: Slots::default() })
    }
}

impl_optimizer!(Adam);

/// Adam with decoupled weight decay: `p *= 1 - lr * weight_decay`, then as [`Adam`] without L2 penalty.
///
/// # Reference
/// Loshchilov and Hutter 2019; `torch.optim.AdamW`.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    slots: Slots,
}

impl AdamW {
    /// An optimizer without state yet.
    ///
    /// # Errors
    /// As [`AdamWConfig::validate`].
    pub fn new(config: AdamWConfig) -> Result<Self> {
        config.validate()?;
        Ok(AdamW { config, slots: Slots::default() })
    }
}

impl_optimizer!(AdamW);

/// What one step of either rule needs, worked out once per parameter.
struct Coefficients {
    shrink: f64,
    l2: f64,
    betas: (f64, f64),
    eps: f64,
    step_size: f64,
    correction2_sqrt: f64,
    amsgrad: bool,
}

impl Coefficients {
    fn update<T: Element>(&self, param: &mut [T], grad: &[T], moments: &mut [&mut [T]]) {
        match moments {
            [m, v] => self.run(param, grad, m, v, |_, v| v),
            [m, v, largest] => self.run(param, grad, m, v, |i, v| {
                largest[i] = largest[i].maximum(v);
                largest[i]
            }),
            _ => {}
        }
    }

    fn run<T: Element>(
        &self,
        param: &mut [T],
        grad: &[T],
        m: &mut [T],
        v: &mut [T],
        mut denominator: impl FnMut(usize, T) -> T,
    ) {
        let [shrink, l2, one_b1, b2, one_b2] =
            [self.shrink, self.l2, 1.0 - self.betas.0, self.betas.1, 1.0 - self.betas.1].map(T::from_f64);
        let [eps, step_size, correction] = [self.eps, self.step_size, self.correction2_sqrt].map(T::from_f64);
        for (i, (((p, g), m), v)) in param.iter_mut().zip(grad).zip(m).zip(v).enumerate() {
            let g = *g + l2 * *p;
            *p *= shrink;
            *m += one_b1 * (g - *m);
            *v = b2 * *v + one_b2 * g * g;
            *p -= step_size * *m / (denominator(i, *v).sqrt() / correction + eps);
        }
    }

    fn update_tensor(
        &self,
        param: &Tensor,
        grad: &Tensor,
        moments: &mut [Tensor],
    ) -> candle_core::Result<Tensor> {
        let grad = if self.l2 == 0.0 { grad.clone() } else { (grad + param * self.l2)? };
        moments[0] = ((&moments[0] * self.betas.0)? + (&grad * (1.0 - self.betas.0))?)?;
        moments[1] = ((&moments[1] * self.betas.1)? + (grad.sqr()? * (1.0 - self.betas.1))?)?;
        if self.amsgrad {
            moments[2] = moments[2].maximum(&moments[1])?;
        }
        let second = &moments[if self.amsgrad { 2 } else { 1 }];
        let denominator = ((second.sqrt()? / self.correction2_sqrt)? + self.eps)?;
        (param * self.shrink)? - ((&moments[0] * self.step_size)? / denominator)?
    }
}
