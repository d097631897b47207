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
        let new = next(&gates.get(t)?, weight, &h, &c)?;
        (h, c) = kept((&h, &c), new, mask.as_ref().map(|m| m.get(t)).transpose()?)?;
        states[t] = Tensor::stack(&[&h, &c], 0)?;
    }
    Ok(Tensor::stack(&states, 0)?)
}

/// [`run`] with the hidden state projected by the second weight; gives the hidden states of all steps and the last
/// hidden and cell state.
pub(super) fn run_projected(
    gates: &Tensor,
    [weight, projection]: [&Tensor; 2],
    [h, c]: [&Tensor; 2],
    lengths: Option<&[usize]>,
    reverse: bool,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (time, batch, _) = gates.dims3()?;
    let mask = lengths.map(|l| super::mask(l, time, batch, gates)).transpose()?;
    let (mut h, mut c) = (h.clone(), c.clone());
    let mut states = vec![h.clone(); time];
    for step in 0..time {
        let t = if reverse { time - 1 - step } else { step };
        let (new_h, new_c) = next(&gates.get(t)?, weight, &h, &c)?;
        let new_h = new_h.matmul(&projection.t()?)?;
        (h, c) = kept((&h, &c), (new_h, new_c), mask.as_ref().map(|m| m.get(t)).transpose()?)?;
        states[t] = h.clone();
    }
    Ok((Tensor::stack(&states, 0)?, h, c))
}

/// One step.
fn next(gates: &Tensor, weight: &Tensor, h: &Tensor, c: &Tensor) -> Result<(Tensor, Tensor)> {
    let parts = (gates + h.contiguous()?.matmul(&weight.t()?)?)?.chunk(4, D::Minus1)?;
    let (i, f, g, o) = (sigmoid(&parts[0])?, sigmoid(&parts[1])?, parts[2].tanh()?, sigmoid(&parts[3])?);
    let c = ((f * c)? + (i * g)?)?;
    Ok(((o * c.tanh()?)?, c))
}

/// The new state of the sequences that run, the old one of those that have ended.
fn kept(old: (&Tensor, &Tensor), new: (Tensor, Tensor), runs: Option<Tensor>) -> Result<(Tensor, Tensor)> {
    let Some(runs) = runs else { return Ok(new) };
    let mix = |old: &Tensor, new: &Tensor| old + (new - old)?.broadcast_mul(&runs)?;
    Ok((mix(old.0, &new.0)?, mix(old.1, &new.1)?))
}
