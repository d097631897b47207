use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// How the change from one state to the next is penalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemporalKind {
    /// `relu(h_t - h_{t+1})`: decreases only, as STG's equation is written.
    #[default]
    Literal,
    /// `|h_t - h_{t+1}|`: any change.
    Abs,
    /// `(h_t - h_{t+1})^2`: any change, smooth at 0; what the text of the paper describes.
    L2,
}

/// The mean penalty of the change between neighbouring steps: `1/(N-1) sum_t mean_f p(h_t - h_{t+1})`.
///
/// # Shapes
/// `states` \[batch, steps, F\] -> scalar
///
/// # Errors
/// [`Error::Input`] if there are fewer than two steps.
pub fn temporal_consistency(states: &Tensor, kind: TemporalKind) -> Result<Tensor> {
    let (_, steps, _) = states.dims3()?;
    if steps < 2 {
        return Err(Error::input("temporal_consistency", "two or more steps", steps));
    }
    let change = (states.narrow(1, 0, steps - 1)? - states.narrow(1, 1, steps - 1)?)?;
    let penalty = match kind {
        TemporalKind::Literal => oncograph_nn::relu(&change)?,
        TemporalKind::Abs => change.abs()?,
        TemporalKind::L2 => change.sqr()?,
    };
    Ok(penalty.mean_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::device;

    #[test]
    fn by_hand() {
        // One graph, three steps, two features: changes (-1, +2) and (+3, 0).
        let h = Tensor::new(&[[[1f64, 5.], [2., 3.], [-1., 3.]]], &device()).unwrap();
        let run = |k| temporal_consistency(&h, k).unwrap().to_scalar::<f64>().unwrap();
        assert_eq!(run(TemporalKind::Literal), (2.0 + 3.0) / 4.0);
        assert_eq!(run(TemporalKind::Abs), (1.0 + 2.0 + 3.0) / 4.0);
        assert_eq!(run(TemporalKind::L2), (1.0 + 4.0 + 9.0) / 4.0);
        assert!(temporal_consistency(&h.narrow(1, 0, 1).unwrap(), TemporalKind::Abs).is_err());
    }
}
