//! The recurrence written with tensor operations: for devices without the fused kernel, and its reference in tests.

use crate::Result;
use candle_core::{D, Tensor};
use candle_nn::ops::sigmoid;

/// `gates` \[time, batch, 4 hidden\], `weight` \[4 hidden, hidden\], `state` \[2, batch, hidden\] give the states
/// \[time, 2, batch, hidden\]; beyond its length a sequence keeps its state.
pub(super) fn run(
    gates: &Tensor,
    weight: &Tensor,
    state: &Tensor,
    lengths: Option<&[usize]>,
    reverse: bool,
) -> Result<Tensor> {
    let (time, batch, _) = gates.dims3()?;
    let mask = lengths.map(|l| super::mask(l, time, batch, gates)).transpose()?;
    let (mut h, mut c) = (state.get(0)?, state.get(1)?);
    let mut states = vec![state.clone(); time];
    for step in 0..time {
        let t = if reverse { time - 1 - step } else { step };
        let parts = (gates.get(t)? + h.contiguous()?.matmul(&weight.t()?)?)?.chunk(4, D::Minus1)?;
        let (i, f, g, o) = (sigmoid(&parts[0])?, sigmoid(&parts[1])?, parts[2].tanh()?, sigmoid(&parts[3])?);
        let new_c = ((f * &c)? + (i * g)?)?;
        let new_h = (o * new_c.tanh()?)?;
        (h, c) = match &mask {
            Some(mask) => {
                let keep = mask.get(t)?;
                let mix = |old: &Tensor, new: &Tensor| old + (new - old)?.broadcast_mul(&keep)?;
                (mix(&h, &new_h)?, mix(&c, &new_c)?)
            }
            None => (new_h, new_c),
        };
        states[t] = Tensor::stack(&[&h, &c], 0)?;
    }
    Ok(Tensor::stack(&states, 0)?)
}
