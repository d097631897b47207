use crate::{GliomaNet, Result, Tumour, TumourBatch};
use candle_core::Device;

/// Weights of crossed tracts that differ by less than this are called flat; their mean is near 1.
pub(crate) const FLAT: f64 = 0.1;

/// How the surface of one tumour weighs the tracts, and how many of its points cross each.
#[derive(Debug, Clone, PartialEq)]
pub struct TractAttention {
    /// The weight of each tract; the mean over crossed tracts is near 1.
    pub attention: Vec<f32>,
    /// The points of the surface that cross each tract.
    pub crossings: Vec<usize>,
}

impl TractAttention {
    /// That of a patient; `None` for a network without attention over tracts.
    ///
    /// # Errors
    /// An error of the network.
    pub fn new(net: &GliomaNet, tumour: &Tumour, device: &Device) -> Result<Option<Self>> {
        let output = net.forward(&TumourBatch::new(&[tumour], None, device)?, false)?;
        let Some(attention) = output.tract_attention else { return Ok(None) };
        let crossings = tumour.incidence().crossings_per_tract();
        Ok(Some(TractAttention { attention: attention.to_vec1()?, crossings }))
    }

    /// The weights, 0 where no point crosses, whatever value the network uses for such a tract (G-10).
    pub fn weights(&self) -> Vec<f64> {
        let weight = |(a, n): (&f32, &usize)| if *n > 0 { f64::from(*a) } else { 0.0 };
        self.attention.iter().zip(&self.crossings).map(weight).collect()
    }

    /// In a sentence, what the weights are good for: that they hardly differ, where they do; `None` where they differ.
    pub fn flat(&self) -> Option<String> {
        let crossed =
            self.attention.iter().zip(&self.crossings).filter(|(_, n)| **n > 0).map(|(a, _)| f64::from(*a));
        let (low, high) =
            crossed.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), a| (low.min(a), high.max(a)));
        match (low <= high, high - low < FLAT) {
            (false, _) => Some("The surface crosses no tract.".into()),
            (true, true) => Some(format!(
                "The attention is flat: the crossed tracts have weights from {low:.3} to {high:.3}, so that their order says nothing \
                 about this tumour."
            )),
            (true, false) => None,
        }
    }

    /// The crossed tracts of the largest weights, at most `count`.
    pub fn strongest(&self, count: usize) -> Vec<usize> {
        let crossed = |t: &usize| self.crossings[*t] > 0;
        let mut order: Vec<usize> = (0..self.attention.len()).filter(crossed).collect();
        order.sort_by(|a, b| self.attention[*b].total_cmp(&self.attention[*a]).then(a.cmp(b)));
        order.truncate(count);
        order
    }
}
