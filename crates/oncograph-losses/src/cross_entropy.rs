use crate::reduction::constant;
use crate::{Error, Reduction, Result};
use candle_core::Tensor;
use oncograph_nn::log_sum_exp;
use serde::{Deserialize, Serialize};

/// How [`cross_entropy`] weighs and reduces.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct CrossEntropyOptions {
    /// A weight for each class; `None` weighs all 1.
    pub weight: Option<Vec<f64>>,
    /// Share of the target that is spread evenly over all classes, 0 to 1. Default 0.
    pub label_smoothing: f64,
    /// A target that is not scored, such as -100.
    pub ignore_index: Option<i64>,
    /// Default: the mean, divided by the sum of the targets' weights.
    pub reduction: Reduction,
}

impl CrossEntropyOptions {
    /// Every class weighs 1, no smoothing, the mean.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a weight for each class.
    pub fn weight(mut self, weight: Vec<f64>) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Sets the share of the target that is spread over all classes.
    pub fn label_smoothing(mut self, share: f64) -> Self {
        self.label_smoothing = share;
        self
    }

    /// Sets the target that is not scored.
    pub fn ignore_index(mut self, index: i64) -> Self {
        self.ignore_index = Some(index);
        self
    }

    /// Sets the reduction.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Checks the options for `classes` classes.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of weights, a weight that is negative or not finite, a smoothing outside
    /// 0 to 1.
    pub fn validate(&self, classes: usize) -> Result<()> {
        const LOSS: &str = "cross_entropy";
        if let Some(weight) = &self.weight
            && (weight.len() != classes || weight.iter().any(|w| !(w.is_finite() && *w >= 0.0)))
        {
            return Err(Error::config(
                LOSS,
                "weight",
                format!("{classes} numbers of at least 0"),
                format!("{weight:?}"),
            ));
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(Error::config(LOSS, "label_smoothing", "in [0, 1]", self.label_smoothing));
        }
        Ok(())
    }
}

/// Cross-entropy of class scores: `-(sum_i w_{y_i} [(1-s) log p_{i,y_i} + (s/C) sum_c (w_c / w_{y_i}) log p_ic]) / sum_i w_{y_i}`
/// with `p = softmax(logits)` and smoothing `s`.
///
/// # Shapes
/// `logits` \[n, C\], n targets -> scalar (\[n\] without reduction, 0 for targets that are ignored)
///
/// # Errors
/// [`Error::Input`] for shapes that do not fit, a target that is no class, invalid options, or a mean over no target
/// or a weight of 0.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_losses::{CrossEntropyOptions, cross_entropy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let logits = Tensor::new(&[[0f64, 0., 0., 0.]], &Device::Cpu)?;
/// let loss = cross_entropy(&logits, &[2], &CrossEntropyOptions::new().label_smoothing(0.1))?;
/// assert!((loss.to_scalar::<f64>()? - 4f64.ln()).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.cross_entropy` with class indices.
pub fn cross_entropy(logits: &Tensor, target: &[i64], options: &CrossEntropyOptions) -> Result<Tensor> {
    const LOSS: &str = "cross_entropy";
    let (n, classes) = match logits.dims() {
        [n, c] if *n == target.len() && *n > 0 && *c > 0 => (*n, *c),
        other => {
            return Err(Error::input(LOSS, format!("logits [{}, classes]", target.len()), other));
        }
    };
    options.validate(classes)?;
    let weight = |c: usize| options.weight.as_ref().map_or(1.0, |w| w[c]);
    let smoothing = options.label_smoothing;
    // The coefficient of every log-probability; constants, so that the gradient is that of the log-softmax alone.
    let mut coefficients = vec![0.0; n * classes];
    let mut total = 0.0;
    for (row, &y) in coefficients.chunks_exact_mut(classes).zip(target) {
        if options.ignore_index == Some(y) {
            continue;
        }
        let own = usize::try_from(y).ok().filter(|y| *y < classes);
        let own = own.ok_or_else(|| Error::input(LOSS, format!("targets below {classes}"), y))?;
        row.iter_mut().enumerate().for_each(|(c, v)| *v = -smoothing / classes as f64 * weight(c));
        row[own] -= (1.0 - smoothing) * weight(own);
        total += weight(own);
    }
    if options.reduction == Reduction::Mean {
        if total <= 0.0 {
            return Err(Error::input(LOSS, "a target of positive weight", total));
        }
        coefficients.iter_mut().for_each(|v| *v /= total);
    }
    let coefficients = constant(coefficients, (n, classes), logits)?;
    let log_p = logits.broadcast_sub(&log_sum_exp(logits)?.unsqueeze(1)?)?;
    let losses = (log_p * coefficients)?;
    Ok(match options.reduction {
        Reduction::None => losses.sum(1)?,
        _ => losses.sum_all()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

    const LOGITS: [[f64; 3]; 4] = [[1.0, -0.5, 0.3], [40.0, -40.0, 0.0], [0.2, 0.1, 0.0], [-1.0, 2.0, 0.5]];
    const TARGET: [i64; 4] = [0, 1, -100, 2];

    fn options() -> CrossEntropyOptions {
        CrossEntropyOptions::new().weight(vec![0.5, 2.0, 1.5]).label_smoothing(0.2).ignore_index(-100)
    }

    /// The definition, term by term.
    fn plain(logits: &[[f64; 3]; 4]) -> f64 {
        let w = [0.5, 2.0, 1.5];
        let (mut sum, mut total) = (0.0, 0.0);
        for (row, y) in logits.iter().zip(TARGET).filter(|(_, y)| *y >= 0) {
            let log_z = row.iter().map(|x| (x - 40.0).exp()).sum::<f64>().ln() + 40.0;
            let even: f64 = (0..3).map(|c| w[c] * (row[c] - log_z)).sum();
            sum -= 0.8 * w[y as usize] * (row[y as usize] - log_z) + 0.2 / 3.0 * even;
            total += w[y as usize];
        }
        sum / total
    }

    #[test]
    fn equals_the_definition_and_its_derivative() {
        let logits = Var::new(&LOGITS, &device()).unwrap();
        let loss = cross_entropy(&logits, &TARGET, &options()).unwrap();
        approx::assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), plain(&LOGITS), epsilon = 1e-12);
        let g = loss.backward().unwrap().get(&logits).unwrap().to_vec2::<f64>().unwrap();
        for i in 0..4 {
            for c in 0..3 {
                let at = |h: f64| {
                    let mut l = LOGITS;
                    l[i][c] += h;
                    plain(&l)
                };
                approx::assert_relative_eq!(g[i][c], (at(1e-6) - at(-1e-6)) / 2e-6, epsilon = 1e-8);
            }
        }
    }

    #[test]
    fn reductions_agree_and_bad_input_is_refused() {
        let logits = Tensor::new(&LOGITS, &device()).unwrap();
        let run = |r| cross_entropy(&logits, &TARGET, &options().reduction(r)).unwrap();
        let each = run(Reduction::None).to_vec1::<f64>().unwrap();
        assert_eq!(each[2], 0.0);
        let sum = run(Reduction::Sum).to_scalar::<f64>().unwrap();
        approx::assert_relative_eq!(each.iter().sum::<f64>(), sum, epsilon = 1e-12);
        approx::assert_relative_eq!(
            run(Reduction::Mean).to_scalar::<f64>().unwrap() * 4.0,
            sum,
            epsilon = 1e-12
        );
        assert!(cross_entropy(&logits, &[0, 1, 3, 2], &CrossEntropyOptions::new()).is_err());
        assert!(cross_entropy(&logits, &[0], &CrossEntropyOptions::new()).is_err());
        assert!(cross_entropy(&logits, &[0; 4], &options().label_smoothing(1.5)).is_err());
    }
}
