use super::{Explanation, NODE, OP};
use crate::{Error, Result};
use candle_core::Tensor;
use oncograph_nn::{Activation, ParamStore};

/// A mask that is learnt; its name in the store is `what`.
pub(super) struct Learnt {
    pub what: &'static str,
    pub tensor: Tensor,
    /// The positions of the entries with influence; known after the first epoch.
    pub places: Option<Tensor>,
    hard: Option<Tensor>,
}

impl Learnt {
    /// Puts `initial` into the store, if the configuration has a mask of this `shape`.
    pub(super) fn new(
        what: &'static str,
        initial: Option<Tensor>,
        shape: Option<Vec<usize>>,
        store: &ParamStore,
    ) -> Result<Option<Self>> {
        let Some(shape) = shape else { return Ok(None) };
        let initial = match initial {
            Some(mask) if mask.dims() == shape.as_slice() => mask,
            other => {
                let got = other.map(|mask| mask.dims().to_vec());
                return Err(Error::input(OP, format!("a {what} mask {shape:?}"), got));
            }
        };
        let tensor = store.var_builder(initial.dtype(), initial.device()).get(shape, what)?;
        if let Some(var) = store.get(what) {
            var.set(&initial.detach().contiguous()?)?;
        }
        Ok(Some(Learnt { what, tensor, places: None, hard: None }))
    }

    /// Notes the entries whose first gradient is not zero.
    pub(super) fn find_influence(&mut self, gradient: &Tensor) -> Result<()> {
        let hard = gradient.ne(0.0)?;
        let flags = hard.flatten_all()?.to_vec1::<u8>()?;
        let places: Vec<u32> = (0..).zip(&flags).filter(|(_, flag)| **flag != 0).map(|(i, _)| i).collect();
        if places.is_empty() {
            return Err(Error::EmptyHardMask { what: self.what });
        }
        let count = places.len();
        self.places = Some(Tensor::from_vec(places, count, gradient.device())?);
        self.hard = Some(hard);
        Ok(())
    }

    pub(super) fn finish(self, found: &mut Explanation) -> Result<()> {
        let raw = self.tensor.copy()?.detach();
        let hard = self.hard.ok_or(Error::EmptyHardMask { what: self.what })?;
        let mask = (Activation::Sigmoid.forward(&raw)? * hard.to_dtype(raw.dtype())?)?;
        for (to, value) in [(&mut found.masks, mask), (&mut found.raw, raw), (&mut found.hard, hard)] {
            *(if self.what == NODE { &mut to.node } else { &mut to.edge }) = Some(value);
        }
        Ok(())
    }
}
