use crate::{Dropout, Error, Mode, Result, softmax};
use candle_core::{D, DType, Tensor};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`MultiheadAttention`], with PyTorch's names, and its defaults but for `batch_first`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MultiheadAttentionConfig {
    /// The width of queries and outputs, split over the heads.
    pub embed_dim: usize,
    /// How many heads; a divisor of `embed_dim`.
    pub num_heads: usize,
    /// The probability with which attention weights are dropped in training; 0.
    pub dropout: f64,
    /// Whether the projections have biases; true.
    pub bias: bool,
    /// Whether one learnt key and value is put behind the given ones; false.
    pub add_bias_kv: bool,
    /// Whether a key and a value of zeros are put behind the given ones; false.
    pub add_zero_attn: bool,
    /// The width of the keys; `embed_dim`.
    pub kdim: Option<usize>,
    /// The width of the values; `embed_dim`.
    pub vdim: Option<usize>,
    /// Whether tensors are \[batch, length, width\] instead of \[length, batch, width\]; true.
    pub batch_first: bool,
}

impl MultiheadAttentionConfig {
    /// Attention over `embed_dim` features in `num_heads` heads.
    pub fn new(embed_dim: usize, num_heads: usize) -> Self {
        MultiheadAttentionConfig {
            embed_dim,
            num_heads,
            dropout: 0.0,
            bias: true,
            add_bias_kv: false,
            add_zero_attn: false,
            kdim: None,
            vdim: None,
            batch_first: true,
        }
    }

    /// Sets the probability with which attention weights are dropped.
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Sets whether the projections have biases.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Sets whether one learnt key and value is added.
    pub fn add_bias_kv(mut self, add_bias_kv: bool) -> Self {
        self.add_bias_kv = add_bias_kv;
        self
    }

    /// Sets whether a key and a value of zeros are added.
    pub fn add_zero_attn(mut self, add_zero_attn: bool) -> Self {
        self.add_zero_attn = add_zero_attn;
        self
    }

    /// Sets the width of the keys.
    pub fn kdim(mut self, kdim: usize) -> Self {
        self.kdim = Some(kdim);
        self
    }

    /// Sets the width of the values.
    pub fn vdim(mut self, vdim: usize) -> Self {
        self.vdim = Some(vdim);
        self
    }

    /// Sets whether the batch or the length is the first dimension.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let widths = [
            ("embed_dim", self.embed_dim),
            ("kdim", self.kdim.unwrap_or(1)),
            ("vdim", self.vdim.unwrap_or(1)),
        ];
        if let Some((field, width)) = widths.into_iter().find(|(_, width)| *width == 0) {
            return Err(Error::config(OP, field, "at least 1", width));
        }
        if self.num_heads == 0 || !self.embed_dim.is_multiple_of(self.num_heads) {
            let expected = format!("a divisor of the {} features", self.embed_dim);
            return Err(Error::config(OP, "num_heads", expected, self.num_heads));
        }
        Dropout::new(self.dropout).map(|_| ())
    }

    /// Makes the layer: projections from Xavier's uniform distribution, biases 0, as PyTorch.
    ///
    /// # Errors
    /// As [`MultiheadAttentionConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<MultiheadAttention> {
        self.validate()?;
        let e = self.embed_dim;
        let (k, v) = (self.kdim.unwrap_or(e), self.vdim.unwrap_or(e));
        let xavier = |name: &str, rows: usize, columns: usize| {
            let bound = (6.0 / (rows + columns) as f64).sqrt();
            vb.get_with_hints((rows, columns), name, Init::Uniform { lo: -bound, up: bound })
        };
        let projections = if k == e && v == e {
            let packed = xavier("in_proj_weight", 3 * e, e)?;
            [packed.narrow(0, 0, e)?, packed.narrow(0, e, e)?, packed.narrow(0, 2 * e, e)?]
        } else {
            [xavier("q_proj_weight", e, e)?, xavier("k_proj_weight", e, k)?, xavier("v_proj_weight", e, v)?]
        };
        let zeros = |name: &str, n: usize, vb: &VarBuilder| -> Result<Option<Tensor>> {
            Ok(self.bias.then(|| vb.get_with_hints(n, name, Init::Const(0.0))).transpose()?)
        };
        let bound = 1.0 / (e as f64).sqrt();
        let out = vb.pp("out_proj");
        let extra = |name: &str| -> Result<Option<Tensor>> {
            // Xavier's normal distribution of a tensor [1, 1, e].
            let init = Init::Randn { mean: 0.0, stdev: (2.0 / (2 * e) as f64).sqrt() };
            Ok(self.add_bias_kv.then(|| vb.get_with_hints((1, 1, e), name, init)).transpose()?)
        };
        Ok(MultiheadAttention {
            projections,
            in_bias: zeros("in_proj_bias", 3 * e, &vb)?,
            out_weight: out.get_with_hints((e, e), "weight", Init::Uniform { lo: -bound, up: bound })?,
            out_bias: zeros("bias", e, &out)?,
            bias_k: extra("bias_k")?,
            bias_v: extra("bias_v")?,
            dropout: Dropout::new(self.dropout)?,
            config: self.clone(),
        })
    }
}

const OP: &str = "MultiheadAttention";

/// Which keys a query may not see.
///
/// A mask of type u8 has 1 where attention is **not** allowed, as PyTorch's boolean masks; a mask of floats is added to
/// the scores. A query that may see no key at all gives NaN, as in PyTorch.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AttentionMasks<'a> {
    /// Per sample and key \[batch, keys\].
    pub key_padding: Option<&'a Tensor>,
    /// Per query and key \[queries, keys\], or also per sample and head \[batch * heads, queries, keys\].
    pub attention: Option<&'a Tensor>,
    /// Whether query i sees keys 0 to i only.
    pub causal: bool,
}

impl<'a> AttentionMasks<'a> {
    /// Every query sees every key.
    pub fn none() -> Self {
        Self::default()
    }

    /// Hides keys of single samples.
    pub fn key_padding(mut self, mask: Option<&'a Tensor>) -> Self {
        self.key_padding = mask;
        self
    }

    /// Hides keys of single queries.
    pub fn attention(mut self, mask: Option<&'a Tensor>) -> Self {
        self.attention = mask;
        self
    }

    /// Sets whether a query sees no later key.
    pub fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// What is added to the scores \[batch, heads, queries, keys\]: terms that broadcast to them.
    fn terms(&self, [b, h, l, s]: [usize; 4], like: &Tensor) -> Result<Vec<Tensor>> {
        let mut terms = Vec::new();
        if let Some(mask) = self.key_padding {
            if mask.dims() != [b, s] {
                return Err(Error::shape(OP, format!("a key padding mask [{b}, {s}]"), mask.dims()));
            }
            terms.push(additive(mask, like)?.reshape((b, 1, 1, s))?);
        }
        match self.attention {
            None => {}
            Some(mask) if mask.dims() == [l, s] => terms.push(additive(mask, like)?.reshape((1, 1, l, s))?),
            Some(mask) if mask.dims() == [b * h, l, s] => {
                terms.push(additive(mask, like)?.reshape((b, h, l, s))?)
            }
            Some(mask) => {
                let expected = format!("an attention mask [{l}, {s}] or [{}, {l}, {s}]", b * h);
                return Err(Error::shape(OP, expected, mask.dims()));
            }
        }
        if self.causal {
            let later: Vec<u8> = (0..l).flat_map(|i| (0..s).map(move |j| u8::from(j > i))).collect();
            terms.push(additive(&Tensor::from_vec(later, (1, 1, l, s), like.device())?, like)?);
        }
        Ok(terms)
    }
}

/// The term that a mask adds to the scores.
fn additive(mask: &Tensor, like: &Tensor) -> Result<Tensor> {
    match mask.dtype() {
        DType::U8 => {
            let hidden = Tensor::full(f32::NEG_INFINITY, mask.shape(), mask.device())?;
            Ok(mask.where_cond(&hidden, &hidden.zeros_like()?)?.to_dtype(like.dtype())?)
        }
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => Ok(mask.to_dtype(like.dtype())?),
        other => Err(Error::config(OP, "mask", "of type u8 or a float", format!("{other:?}"))),
    }
}

/// What [`MultiheadAttention`] returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AttentionOutput {
    /// The attended values, in the shape of the query.
    pub output: Tensor,
    /// How much each query takes of each key, per head \[batch, heads, queries, keys\].
    pub weights: Tensor,
}

impl AttentionOutput {
    /// The weights averaged over the heads \[batch, queries, keys\].
    ///
    /// # Errors
    /// An error of candle.
    pub fn average_weights(&self) -> Result<Tensor> {
        Ok(self.weights.mean(1)?)
    }
}

/// Scaled dot-product attention in several heads:
/// `softmax(W_q q (W_k k)^T / sqrt(d) + mask) W_v v` per head of `d` features, then `out_proj`.
///
/// Parameters are `in_proj_weight` \[3 E, E\] (or `q_proj_weight`, `k_proj_weight`, `v_proj_weight` where keys or
/// values have another width), `in_proj_bias`, `out_proj.weight`, `out_proj.bias`, `bias_k`, `bias_v`.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::{AttentionMasks, Mode, MultiheadAttentionConfig, ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let vb = store.var_builder(DType::F32, &Device::Cpu);
/// let attention = MultiheadAttentionConfig::new(8, 2).build(vb)?;
/// let x = Tensor::ones((1, 3, 8), DType::F32, &Device::Cpu)?;
/// let out = attention.forward(&x, &x, &x, &AttentionMasks::none().causal(true), Mode::Eval)?;
/// assert_eq!(out.output.dims(), [1, 3, 8]);
/// // The second query sees the first two keys, which are equal.
/// assert_eq!(out.average_weights()?.to_vec3::<f32>()?[0][1], [0.5, 0.5, 0.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Vaswani et al. 2017, section 3.2.2; `torch.nn.MultiheadAttention`, with `need_weights` always on (the weights are
/// there anyway) and the average over heads as a method.
#[derive(Debug, Clone)]
pub struct MultiheadAttention {
    config: MultiheadAttentionConfig,
    projections: [Tensor; 3],
    in_bias: Option<Tensor>,
    out_weight: Tensor,
    out_bias: Option<Tensor>,
    bias_k: Option<Tensor>,
    bias_v: Option<Tensor>,
    dropout: Dropout,
}

impl MultiheadAttention {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &MultiheadAttentionConfig {
        &self.config
    }

    /// Attends from `query` to `key` and `value`; `mode` chooses whether weights are dropped.
    ///
    /// # Shapes
    /// `query` \[batch, queries, embed_dim\], `key` \[batch, keys, kdim\], `value` \[batch, keys, vdim\], or with the
    /// first two dimensions exchanged without `batch_first`; the output has the query's shape.
    ///
    /// # Errors
    /// [`Error::Shape`] for tensors or masks that do not fit together, [`Error::Argument`] for a mask of integers.
    pub fn forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        masks: &AttentionMasks,
        mode: Mode,
    ) -> Result<AttentionOutput> {
        let c = &self.config;
        let [query, key, value] = self.batch_major([query, key, value])?;
        let (batch, queries, _) = query.dims3()?;
        let keys = key.dim(1)?;
        let heads = c.num_heads;
        let q = self.project(0, &query)?;
        let k = self.project(1, &key)?;
        let v = self.project(2, &value)?;
        let (k, v) = (self.extended(k, self.bias_k.as_ref())?, self.extended(v, self.bias_v.as_ref())?);
        let added = k.dim(1)? - keys;

        let width = c.embed_dim / heads;
        let split = |x: &Tensor| -> Result<Tensor> {
            let length = x.dim(1)?;
            Ok(x.reshape((batch, length, heads, width))?.transpose(1, 2)?.contiguous()?)
        };
        let q = (split(&q)? * (1.0 / (width as f64).sqrt()))?;
        let mut scores = q.matmul(&split(&k)?.transpose(2, 3)?)?;
        for term in masks.terms([batch, heads, queries, keys], &scores)? {
            // Added keys are never hidden.
            scores = scores.broadcast_add(&term.pad_with_zeros(D::Minus1, 0, added)?)?;
        }
        let weights = self.dropout.forward(&softmax(&scores, D::Minus1)?, mode)?;
        let mixed = weights.matmul(&split(&v)?)?.transpose(1, 2)?.reshape((batch, queries, c.embed_dim))?;
        let output = affine(&mixed, &self.out_weight, self.out_bias.as_ref())?;
        let output = if c.batch_first { output } else { output.transpose(0, 1)?.contiguous()? };
        Ok(AttentionOutput { output, weights })
    }

    /// The inputs as \[batch, length, width\], checked against each other.
    fn batch_major(&self, inputs: [&Tensor; 3]) -> Result<[Tensor; 3]> {
        let c = &self.config;
        let dims = inputs.map(|t| t.dims().to_vec());
        let widths = [c.embed_dim, c.kdim.unwrap_or(c.embed_dim), c.vdim.unwrap_or(c.embed_dim)];
        let (batch, length) = if c.batch_first { (0, 1) } else { (1, 0) };
        let fits = dims.iter().zip(widths).all(|(d, w)| d.len() == 3 && d[2] == w)
            && dims.iter().all(|d| d[batch] == dims[0][batch])
            && dims[1][length] == dims[2][length];
        if !fits {
            let order = if c.batch_first { "batch, length" } else { "length, batch" };
            let expected = format!("query, key and value [{order}, width] with the widths {widths:?}");
            return Err(Error::shape(OP, expected, dims));
        }
        let major = |x: &Tensor| if c.batch_first { Ok(x.clone()) } else { x.transpose(0, 1)?.contiguous() };
        Ok([major(inputs[0])?, major(inputs[1])?, major(inputs[2])?])
    }

    /// Query (0), key (1) or value (2) through its projection.
    fn project(&self, which: usize, x: &Tensor) -> Result<Tensor> {
        let e = self.config.embed_dim;
        let bias = self.in_bias.as_ref().map(|b| b.narrow(0, which * e, e)).transpose()?;
        affine(x, &self.projections[which], bias.as_ref())
    }

    /// Keys or values with the learnt row and the row of zeros behind them, if the layer has them.
    fn extended(&self, x: Tensor, learnt: Option<&Tensor>) -> Result<Tensor> {
        let (batch, _, e) = x.dims3()?;
        let mut parts = vec![x];
        if let Some(row) = learnt {
            parts.push(row.broadcast_as((batch, 1, e))?.contiguous()?);
        }
        if self.config.add_zero_attn {
            parts.push(Tensor::zeros((batch, 1, e), parts[0].dtype(), parts[0].device())?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 1)? })
    }
}

/// `x W^T + b` for `x` \[.., .., in\].
fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (batch, length, width) = x.dims3()?;
    let y = x.reshape((batch * length, width))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    Ok(y.reshape((batch, length, weight.dim(0)?))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient_coverage, check_gradients, device, pattern};
    use crate::{ParamStore, Seed};

    fn build(config: &MultiheadAttentionConfig) -> (ParamStore, MultiheadAttention) {
        let store = ParamStore::new(Seed::new(1));
        let layer = config.build(store.var_builder(DType::F64, &device())).unwrap();
        (store, layer)
    }

    fn everything() -> MultiheadAttentionConfig {
        MultiheadAttentionConfig::new(4, 2).kdim(3).vdim(5).add_bias_kv(true).add_zero_attn(true)
    }

    #[test]
    fn gradients_of_inputs_and_parameters() {
        let masks = AttentionMasks::none().causal(true);
        for config in [everything(), MultiheadAttentionConfig::new(4, 2).kdim(3).vdim(5).bias(false)] {
            let (store, layer) = build(&config);
            let inputs = [
                pattern(&[2, 3, 4], 1).unwrap(),
                pattern(&[2, 4, 3], 2).unwrap(),
                pattern(&[2, 4, 5], 3).unwrap(),
            ];
            let run = |t: &[Tensor]| layer.forward(&t[0], &t[1], &t[2], &masks, Mode::Eval);
            check_gradients(|t| Ok(run(t)?.output), &inputs, 1e-6, 1e-7).unwrap();
            let weights =
                |t: &[Tensor]| layer.forward(&t[0], &t[1], &inputs[2], &masks, Mode::Eval)?.average_weights();
            check_gradients(weights, &inputs[..2], 1e-6, 1e-7).unwrap();
            let loss = (run(&inputs).unwrap().output * pattern(&[2, 3, 4], 4).unwrap()).unwrap();
            assert_gradient_coverage(&store, &loss.sum_all().unwrap()).unwrap();
        }
    }

    #[test]
    fn heads_are_independent_and_time_first_is_a_transpose() {
        let (_, layer) = build(&MultiheadAttentionConfig::new(4, 2));
        let (_, other) = build(&MultiheadAttentionConfig::new(4, 2).batch_first(false));
        let x = pattern(&[2, 3, 4], 1).unwrap();
        let a = layer.forward(&x, &x, &x, &AttentionMasks::none(), Mode::Eval).unwrap();
        let t = x.transpose(0, 1).unwrap().contiguous().unwrap();
        let b = other.forward(&t, &t, &t, &AttentionMasks::none(), Mode::Eval).unwrap();
        let a3 = a.output.to_vec3::<f64>().unwrap();
        assert_eq!(a3, b.output.transpose(0, 1).unwrap().to_vec3::<f64>().unwrap());
        let sums = a.weights.sum(3).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-12));
        assert_eq!(a.weights.dims(), [2, 2, 3, 3]);
    }

    #[test]
    fn boolean_and_float_masks_say_the_same() {
        let (_, layer) = build(&MultiheadAttentionConfig::new(4, 2));
        let x = pattern(&[2, 3, 4], 1).unwrap();
        let later = Tensor::new(&[[0u8, 1, 1], [0, 0, 1], [0, 0, 0]], &device()).unwrap();
        let n = f64::NEG_INFINITY;
        let float = Tensor::new(&[[0.0, n, n], [0.0, 0.0, n], [0.0, 0.0, 0.0]], &device()).unwrap();
        let per_head = later.broadcast_as((4, 3, 3)).unwrap().contiguous().unwrap();
        let run = |m: AttentionMasks| {
            layer.forward(&x, &x, &x, &m, Mode::Eval).unwrap().output.to_vec3::<f64>().unwrap()
        };
        let causal = run(AttentionMasks::none().causal(true));
        for mask in [&later, &float, &per_head] {
            assert_eq!(run(AttentionMasks::none().attention(Some(mask))), causal);
        }
        let padding = Tensor::new(&[[0u8, 0, 1], [0, 0, 0]], &device()).unwrap();
        let masks = AttentionMasks::none().key_padding(Some(&padding));
        let weights = layer.forward(&x, &x, &x, &masks, Mode::Eval).unwrap().average_weights().unwrap();
        let weights = weights.to_vec3::<f64>().unwrap();
        assert!(weights[0].iter().all(|row| row[2] == 0.0) && weights[1].iter().all(|row| row[2] > 0.0));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (_, layer) = build(&MultiheadAttentionConfig::new(4, 2));
        let x = pattern(&[2, 3, 4], 1).unwrap();
        let short = pattern(&[2, 2, 4], 1).unwrap();
        let none = AttentionMasks::none();
        assert!(layer.forward(&x, &x, &short, &none, Mode::Eval).is_err());
        let integers = Tensor::zeros((3, 3), DType::I64, &device()).unwrap();
        let error = layer.forward(&x, &x, &x, &none.attention(Some(&integers)), Mode::Eval).unwrap_err();
        assert!(error.to_string().contains("of type u8 or a float"), "{error}");
        let error = MultiheadAttentionConfig::new(4, 3).validate().unwrap_err().to_string();
        assert_eq!(error, "MultiheadAttention: num_heads must be a divisor of the 4 features, got 3");
    }
}
