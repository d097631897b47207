//! Long short-term memory with PyTorch's parameter names.

mod cell;
mod composed;

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`Lstm`], with PyTorch's defaults but for `batch_first`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LstmConfig {
    /// The width of the input.
    pub input_size: usize,
    /// The width of the hidden state of one direction.
    pub hidden_size: usize,
    /// How many layers are stacked; 1.
    pub num_layers: usize,
    /// Whether a second pass reads each sequence from its end; false.
    pub bidirectional: bool,
    /// Whether input and output are \[batch, time, width\] instead of \[time, batch, width\]; true.
    pub batch_first: bool,
    /// Whether the layers have biases; true.
    pub bias: bool,
    /// The width that the hidden state is projected to; 0 leaves it as it is.
    #[serde(default)]
    pub proj_size: usize,
}

impl LstmConfig {
    /// One unidirectional layer.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        LstmConfig {
            input_size,
            hidden_size,
            num_layers: 1,
            bidirectional: false,
            batch_first: true,
            bias: true,
            proj_size: 0,
        }
    }

    /// Sets how many layers are stacked.
    pub fn num_layers(mut self, num_layers: usize) -> Self {
        self.num_layers = num_layers;
        self
    }

    /// Sets whether a second pass reads each sequence from its end.
    pub fn bidirectional(mut self, bidirectional: bool) -> Self {
        self.bidirectional = bidirectional;
        self
    }

    /// Sets whether the batch or the time is the first dimension.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Sets whether the layers have biases.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Sets the width that the hidden state is projected to; 0 leaves it as it is.
    pub fn proj_size(mut self, proj_size: usize) -> Self {
        self.proj_size = proj_size;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
        ];
        if self.proj_size >= self.hidden_size.max(1) {
            return Err(Error::config("Lstm", "proj_size", "below hidden_size", self.proj_size));
        }
        match sizes.into_iter().find(|(_, size)| *size == 0) {
            Some((field, size)) => Err(Error::config("Lstm", field, "at least 1", size)),
            None => Ok(()),
        }
    }

    /// Makes the layer; all parameters are drawn from `U(-1/sqrt(hidden), 1/sqrt(hidden))`.
    ///
    /// # Errors
    /// As [`LstmConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<Lstm> {
        self.validate()?;
        let mut cells = Vec::new();
        for layer in 0..self.num_layers {
            let width = if layer == 0 { self.input_size } else { self.output_size() * self.directions() };
            for reverse in [false, true].into_iter().take(self.directions()) {
                cells.push(Cell::new(self, layer, width, reverse, &vb)?);
            }
        }
        Ok(Lstm { config: self.clone(), cells })
    }

    /// The width of the hidden state behind the projection.
    fn output_size(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden_size }
    }

    fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }
}

/// What [`Lstm`] returns.
#[derive(Debug, Clone)]
pub struct LstmOutput {
    /// The last layer's hidden state at every step, directions side by side; 0 beyond a sequence's end.
    pub output: Tensor,
    /// The hidden state after each sequence's last step \[layers * directions, batch, hidden\] (or the width of the
    /// projection).
    pub hidden: Tensor,
    /// The cell state after each sequence's last step \[layers * directions, batch, hidden\].
    pub cell: Tensor,
}

/// A stack of LSTM layers, one- or bidirectional, over sequences of equal or different lengths.
///
/// `i, f, o = sigmoid(..)`, `g = tanh(..)` of `W_ih x + b_ih + W_hh h + b_hh`; `c = f c + i g`; `h = o tanh(c)`.
/// Parameters are `weight_ih_l{k}`, `weight_hh_l{k}`, `bias_ih_l{k}`, `bias_hh_l{k}`, gates in the order i, f, g, o,
/// and the same with the suffix `_reverse`; with a projection also `weight_hr_l{k}`, and `h = W_hr (o tanh(c))`.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::lstm::LstmConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let vb = store.var_builder(DType::F32, &Device::Cpu);
/// let lstm = LstmConfig::new(3, 4).bidirectional(true).build(vb)?;
/// let x = Tensor::ones((2, 5, 3), DType::F32, &Device::Cpu)?;
/// let out = lstm.forward_with(&x, None, Some(&[5, 2]))?;
/// assert_eq!(out.output.dims(), [2, 5, 8]);
/// assert_eq!(out.hidden.dims(), [2, 2, 4]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Hochreiter and Schmidhuber 1997; Sak et al. 2014 for the projection; `torch.nn.LSTM` without inner dropout. Lengths act as a packed
/// sequence; unlike PyTorch they need not be sorted and may be 0.
#[derive(Debug, Clone)]
pub struct Lstm {
    config: LstmConfig,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone)]
struct Cell {
    weight_ih: Tensor,
    weight_hh: Tensor,
    weight_hr: Option<Tensor>,
    bias: Option<(Tensor, Tensor)>,
    reverse: bool,
}

impl Cell {
    fn new(c: &LstmConfig, layer: usize, width: usize, reverse: bool, vb: &VarBuilder) -> Result<Self> {
        let bound = 1.0 / (c.hidden_size as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let suffix = if reverse { "_reverse" } else { "" };
        let gates = 4 * c.hidden_size;
        let shaped = |name: &str, rows: usize, width: usize| {
            vb.get_with_hints((rows, width), &format!("{name}_l{layer}{suffix}"), init)
        };
        let matrix = |name: &str, width: usize| shaped(name, gates, width);
        let vector = |name: &str| vb.get_with_hints(gates, &format!("{name}_l{layer}{suffix}"), init);
        let bias = if c.bias { Some((vector("bias_ih")?, vector("bias_hh")?)) } else { None };
        let (weight_ih, weight_hh) = (matrix("weight_ih", width)?, matrix("weight_hh", c.output_size())?);
        let projects = c.proj_size > 0;
        let weight_hr = projects.then(|| shaped("weight_hr", c.proj_size, c.hidden_size)).transpose()?;
        Ok(Cell { weight_ih, weight_hh, weight_hr, bias, reverse })
    }

    /// `x` \[time, batch, width\] and the first hidden and cell state \[batch, width\] give the hidden states of all
    /// steps \[time, batch, width\] and the last hidden and cell state.
    fn forward(
        &self,
        x: &Tensor,
        (h, c): &(Tensor, Tensor),
        lengths: Option<&[usize]>,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (time, batch, width) = x.dims3()?;
        // The input's part of all steps in one product.
        let mut gates = x.reshape((time * batch, width))?.matmul(&self.weight_ih.t()?)?;
        if let Some((input, hidden)) = &self.bias {
            gates = gates.broadcast_add(&(input + hidden)?)?;
        }
        let gates = gates.reshape((time, batch, self.weight_ih.dim(0)?))?;
        if let Some(weight_hr) = &self.weight_hr {
            return composed::run_projected(
                &gates,
                [&self.weight_hh, weight_hr],
                [h, c],
                lengths,
                self.reverse,
            );
        }
        let state = Tensor::stack(&[h, c], 0)?;
        let states = if !x.device().is_metal() && matches!(x.dtype(), DType::F32 | DType::F64) {
            cell::run(&gates, &self.weight_hh, &state, lengths, self.reverse)?
        } else {
            composed::run(&gates, &self.weight_hh, &state, lengths, self.reverse)?
        };
        let last = states.get(if self.reverse { 0 } else { time - 1 })?;
        Ok((states.narrow(1, 0, 1)?.squeeze(1)?, last.get(0)?, last.get(1)?))
    }
}

impl Lstm {
    /// Runs over whole sequences from a zero state.
    ///
    /// # Shapes
    /// As [`Lstm::forward_with`].
    ///
    /// # Errors
    /// As [`Lstm::forward_with`].
    pub fn forward(&self, x: &Tensor) -> Result<LstmOutput> {
        self.forward_with(x, None, None)
    }

    /// Runs from a given state over sequences of given lengths.
    ///
    /// The reverse direction starts at each sequence's own end.
    ///
    /// # Shapes
    /// `x` \[batch, time, input\] (or \[time, batch, input\] without `batch_first`), `state` (hidden, cell) each
    /// \[layers * directions, batch, hidden\]; the output has the last dimension `directions * hidden`. With a projection
    /// hidden state and output have its width instead.
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape of input or state, a number of lengths other than the batch, or a length
    /// beyond the time dimension.
    pub fn forward_with(
        &self,
        x: &Tensor,
        state: Option<(&Tensor, &Tensor)>,
        lengths: Option<&[usize]>,
    ) -> Result<LstmOutput> {
        let c = &self.config;
        let dims = x.dims();
        if dims.len() != 3 || dims[2] != c.input_size || dims[0] * dims[1] == 0 {
            let order = if c.batch_first { "batch, time" } else { "time, batch" };
            return Err(Error::shape(
                "Lstm",
                format!("[{order}, {}] with no empty dimension", c.input_size),
                dims,
            ));
        }
        let mut x = if c.batch_first { x.transpose(0, 1)?.contiguous()? } else { x.clone() };
        let (time, batch) = (x.dims()[0], x.dims()[1]);
        let state = self.initial_state(&x, state, batch)?;
        let mask = lengths.map(|l| mask(l, time, batch, &x)).transpose()?;
        let (mut hidden, mut cell) = (Vec::new(), Vec::new());
        for layer in self.cells.chunks(c.directions()) {
            let mut outputs = Vec::with_capacity(layer.len());
            for direction in layer {
                let (states, h, c) = direction.forward(&x, &state[hidden.len()], lengths)?;
                hidden.push(h);
                cell.push(c);
                outputs.push(states);
            }
            x = if outputs.len() == 1 { outputs.remove(0) } else { Tensor::cat(&outputs, 2)? };
            if let Some(mask) = &mask {
                x = x.broadcast_mul(mask)?;
            }
        }
        let output = if c.batch_first { x.transpose(0, 1)?.contiguous()? } else { x };
        Ok(LstmOutput { output, hidden: Tensor::stack(&hidden, 0)?, cell: Tensor::stack(&cell, 0)? })
    }

    /// The first hidden and cell state of each layer and direction.
    fn initial_state(
        &self,
        x: &Tensor,
        state: Option<(&Tensor, &Tensor)>,
        batch: usize,
    ) -> Result<Vec<(Tensor, Tensor)>> {
        let (n, widths) = (self.cells.len(), [self.config.output_size(), self.config.hidden_size]);
        let Some((h, c)) = state else {
            let [h, c] = widths.map(|width| Tensor::zeros((batch, width), x.dtype(), x.device()));
            return Ok(vec![(h?, c?); n]);
        };
        for (tensor, width) in [h, c].into_iter().zip(widths) {
            if tensor.dims() != [n, batch, width] {
                return Err(Error::shape("Lstm state", format!("[{n}, {batch}, {width}]"), tensor.dims()));
            }
        }
        (0..n).map(|i| Ok((h.get(i)?, c.get(i)?))).collect()
    }
}

/// \[time, batch, 1\]: 1 up to each length, then 0.
fn mask(lengths: &[usize], time: usize, batch: usize, like: &Tensor) -> Result<Tensor> {
    if lengths.len() != batch || lengths.iter().any(|l| *l > time) {
        return Err(Error::shape("Lstm lengths", format!("{batch} numbers up to {time}"), lengths));
    }
    let values: Vec<f32> =
        (0..time).flat_map(|t| lengths.iter().map(move |l| f32::from(u8::from(t < *l)))).collect();
    Ok(Tensor::from_vec(values, (time, batch, 1), like.device())?.to_dtype(like.dtype())?)
}

#[cfg(test)]
mod tests;
