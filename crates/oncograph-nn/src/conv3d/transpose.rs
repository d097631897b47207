use super::config::Geometry;
use super::op::ChannelSums;
use super::{Algorithm, Conv3dConfig, im2col, plain};
use crate::element::{Element, require_cpu, with_element};
use crate::{Error, Result};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

const OP: &str = "conv_transpose3d";

/// How a transposed convolution spreads its input, with PyTorch's names and defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct ConvTranspose3dConfig {
    /// The distance in the output of neighbouring input elements; 1.
    pub stride: [usize; 3],
    /// What is cut off the output on each side; 0.
    pub padding: [usize; 3],
    /// What is added to the output at its far side, below the stride or the dilation; 0.
    pub output_padding: [usize; 3],
    /// The distance of neighbouring kernel elements; 1.
    pub dilation: [usize; 3],
    /// Into how many groups the channels are split that do not see each other; 1.
    pub groups: usize,
}

impl Default for ConvTranspose3dConfig {
    fn default() -> Self {
        let one = [1; 3];
        ConvTranspose3dConfig {
            stride: one,
            padding: [0; 3],
            output_padding: [0; 3],
            dilation: one,
            groups: 1,
        }
    }
}

impl ConvTranspose3dConfig {
    /// Stride 1, no padding, no dilation, one group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the distance in the output of neighbouring input elements.
    pub fn stride(mut self, stride: [usize; 3]) -> Self {
        self.stride = stride;
        self
    }

    /// Sets what is cut off the output on each side.
    pub fn padding(mut self, padding: [usize; 3]) -> Self {
        self.padding = padding;
        self
    }

    /// Sets what is added to the output at its far side.
    pub fn output_padding(mut self, output_padding: [usize; 3]) -> Self {
        self.output_padding = output_padding;
        self
    }

    /// Sets the distance of neighbouring kernel elements.
    pub fn dilation(mut self, dilation: [usize; 3]) -> Self {
        self.dilation = dilation;
        self
    }

    /// Sets the number of groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        self.forward_config().validate()?;
        if (0..3).any(|a| self.output_padding[a] >= self.stride[a].max(self.dilation[a])) {
            let got = format!("{:?}", self.output_padding);
            return Err(Error::config(OP, "output_padding", "below the stride or the dilation", got));
        }
        Ok(())
    }

    /// The convolution that this one is the transpose of.
    fn forward_config(&self) -> Conv3dConfig {
        let Self { stride, padding, dilation, groups, .. } = *self;
        Conv3dConfig { stride, padding, dilation, groups }
    }

    /// The output padding with which an input of `input` elements per axis gives an output of `output`.
    fn reaching(&self, input: [usize; 3], kernel: [usize; 3], output: [usize; 3]) -> Result<Self> {
        let least = Self { output_padding: [0; 3], ..*self }.sizes(input, kernel)?;
        let mut extra = [0; 3];
        for a in 0..3 {
            let largest = least[a] + self.stride[a].max(self.dilation[a]) - 1;
            extra[a] = match output[a].checked_sub(least[a]) {
                Some(extra) if output[a] <= largest => extra,
                _ => {
                    let expected = format!("a size from {} to {largest} along dimension {}", least[a], a + 2);
                    return Err(Error::shape(OP, expected, output));
                }
            };
        }
        Ok(Self { output_padding: extra, ..*self })
    }

    /// The output's sizes.
    fn sizes(&self, input: [usize; 3], kernel: [usize; 3]) -> Result<[usize; 3]> {
        let mut sizes = [0; 3];
        for a in 0..3 {
            let full = input[a].saturating_sub(1) * self.stride[a]
                + self.dilation[a] * (kernel[a] - 1)
                + self.output_padding[a]
                + 1;
            sizes[a] = full.saturating_sub(2 * self.padding[a]);
            if input[a] == 0 || sizes[a] == 0 {
                let expected = format!("an output along dimension {} behind the padding", a + 2);
                return Err(Error::shape(OP, expected, input));
            }
        }
        Ok(sizes)
    }

    /// The sizes of the convolution whose output is `x` \[batch, in, D, H, W\], for `weight`
    /// \[in, out / groups, kD, kH, kW\].
    fn geometry(&self, x: &[usize], weight: &[usize]) -> Result<Geometry> {
        self.validate()?;
        let (&[batch, channels, d, h, w], &[input, out, kd, kh, kw]) = (x, weight) else {
            return Err(Error::shape(OP, "input and weight of rank 5", (x, weight)));
        };
        if channels != input || !input.is_multiple_of(self.groups) || weight.contains(&0) {
            let expected =
                format!("input [batch, {input}, D, H, W] with channels that {} groups divide", self.groups);
            return Err(Error::shape(OP, expected, (x, weight)));
        }
        let (kernel, output) = ([kd, kh, kw], [d, h, w]);
        let Self { stride, padding, dilation, groups, .. } = *self;
        let (ci, co, input) = (out, input / groups, self.sizes(output, kernel)?);
        Ok(Geometry { batch, groups, ci, co, input, kernel, output, stride, padding, dilation })
    }
}

/// The transposed 3D convolution: every input element adds the kernel, times its value, to the output. It is the
/// gradient of [`super::conv3d`] with respect to its input.
///
/// # Shapes
/// `x` \[batch, in, D, H, W\], `weight` \[in, out / groups, kD, kH, kW\], `bias` \[out\] give \[batch, out, D', H', W'\]
/// with `D' = (D - 1) stride - 2 padding + dilation (kD - 1) + output_padding + 1`.
///
/// # Errors
/// [`Error::Shape`] for shapes that do not fit together or an empty output, [`Error::Config`] for a value out of its
/// range or a type other than f32 and f64, [`Error::NoKernel`] off the CPU.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{ConvTranspose3dConfig, conv_transpose3d};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::ones((1, 1, 2, 2, 2), DType::F32, &Device::Cpu)?;
/// let w = Tensor::ones((1, 1, 2, 2, 2), DType::F32, &Device::Cpu)?;
/// let y = conv_transpose3d(&x, &w, None, &ConvTranspose3dConfig::new().stride([2; 3]))?;
/// assert_eq!(y.dims(), [1, 1, 4, 4, 4]);
/// assert_eq!(y.sum_all()?.to_scalar::<f32>()?, 64.0);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.conv_transpose3d`.
pub fn conv_transpose3d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTranspose3dConfig,
) -> Result<Tensor> {
    transposed_with(x, weight, bias, config, Algorithm::Auto)
}

pub(super) fn transposed_with(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTranspose3dConfig,
    algorithm: Algorithm,
) -> Result<Tensor> {
    let g = config.geometry(x.dims(), weight.dims())?;
    require_cpu(OP, x.device())?;
    let op = Transposed { config: *config, algorithm };
    let Some(bias) = bias else { return Ok(x.apply_op2(weight, op)?) };
    if bias.dims() != [g.groups * g.ci] {
        return Err(Error::shape("conv_transpose3d bias", format!("[{}]", g.groups * g.ci), bias.dims()));
    }
    Ok(x.apply_op3(weight, bias, op)?)
}

#[derive(Debug, Clone, Copy)]
struct Transposed {
    config: ConvTranspose3dConfig,
    algorithm: Algorithm,
}

type Operand<'a> = (&'a CpuStorage, &'a Layout);

impl Transposed {
    fn run(
        &self,
        (x, x_l): Operand,
        (w, w_l): Operand,
        bias: Option<Operand>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let g = self.config.geometry(x_l.dims(), w_l.dims())?;
        let (channels, [d, h, w_out]) = (g.groups * g.ci, g.input);
        with_element!(OP, x.dtype(), T => {
            let (x, w) = (T::values(x, x_l)?, T::values(w, w_l)?);
            let mut y = match self.algorithm {
                Algorithm::Plain => plain::input_gradient(&g, &w, &x),
                Algorithm::Auto | Algorithm::Im2col => im2col::input_gradient(&g, &w, &x),
            };
            if let Some((bias, layout)) = bias {
                let bias = T::values(bias, layout)?;
                for (i, part) in y.chunks_mut(g.in_pixels().max(1)).enumerate() {
                    part.iter_mut().for_each(|v| *v += bias[i % channels]);
                }
            }
            Ok((T::to_cpu_storage_owned(y), Shape::from((g.batch, channels, d, h, w_out))))
        })
    }

    /// The gradients of input and weight, each only if it is asked for.
    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let g = self.config.geometry(x.dims(), weight.dims())?;
        let gradient = |part| Gradient {
            g,
            algorithm: self.algorithm,
            part,
            shape: Shape::from(match part {
                Part::Input => x.dims(),
                Part::Weight => weight.dims(),
            }),
        };
        let dx = x.track_op().then(|| dy.apply_op2_no_bwd(weight, &gradient(Part::Input))).transpose()?;
        let dw = weight.track_op().then(|| dy.apply_op2_no_bwd(x, &gradient(Part::Weight))).transpose()?;
        Ok((dx, dw))
    }
}

impl CustomOp2 for Transposed {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        w: &CpuStorage,
        w_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run((x, x_l), (w, w_l), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.gradients(x, weight, dy)
    }
}

impl CustomOp3 for Transposed {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_l: &Layout,
        w: &CpuStorage,
        w_l: &Layout,
        b: &CpuStorage,
        b_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run((x, x_l), (w, w_l), Some((b, b_l)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.gradients(x, weight, dy)?;
        let db = bias.track_op().then(|| dy.apply_op1_no_bwd(&ChannelSums)).transpose()?;
        Ok((dx, dw, db))
    }
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Input,
    Weight,
}

/// Of `dy` and the weight (for the input), or of `dy` and the input (for the weight): the forward pass and the weight
/// gradient of the convolution that was transposed.
struct Gradient {
    g: Geometry,
    algorithm: Algorithm,
    part: Part,
    shape: Shape,
}

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "conv_transpose3d_gradient"
    }

    fn cpu_fwd(
        &self,
        dy: &CpuStorage,
        dy_l: &Layout,
        other: &CpuStorage,
        other_l: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let plain = self.algorithm == Algorithm::Plain;
        with_element!(OP, dy.dtype(), T => {
            let (dy, other) = (T::values(dy, dy_l)?, T::values(other, other_l)?);
            let gradient = match (self.part, plain) {
                (Part::Input, true) => plain::forward(&self.g, &dy, &other, None),
                (Part::Input, false) => im2col::forward(&self.g, &dy, &other, None),
                (Part::Weight, true) => plain::weight_gradient(&self.g, &dy, &other),
                (Part::Weight, false) => im2col::weight_gradient(&self.g, &dy, &other),
            };
            Ok((T::to_cpu_storage_owned(gradient), self.shape.clone()))
        })
    }
}

/// Configuration of [`ConvTranspose3d`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConvTranspose3dLayerConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Depth, height and width of the kernel.
    pub kernel: [usize; 3],
    /// Stride, padding, output padding, dilation and groups.
    #[serde(default)]
    pub conv: ConvTranspose3dConfig,
    /// Whether the layer has a bias; true.
    pub bias: bool,
}

impl ConvTranspose3dLayerConfig {
    /// A layer with PyTorch's defaults.
    pub fn new(in_channels: usize, out_channels: usize, kernel: [usize; 3]) -> Self {
        let conv = ConvTranspose3dConfig::new();
        ConvTranspose3dLayerConfig { in_channels, out_channels, kernel, conv, bias: true }
    }

    /// Sets stride, padding, output padding, dilation and groups.
    pub fn conv(mut self, conv: ConvTranspose3dConfig) -> Self {
        self.conv = conv;
        self
    }

    /// Sets whether the layer has a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        self.conv.validate()?;
        for (field, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if channels == 0 || !channels.is_multiple_of(self.conv.groups) {
                let expected = format!("a multiple of {} groups", self.conv.groups);
                return Err(Error::config("ConvTranspose3d", field, expected, channels));
            }
        }
        if self.kernel.contains(&0) {
            let got = format!("{:?}", self.kernel);
            return Err(Error::config("ConvTranspose3d", "kernel", "at least 1", got));
        }
        Ok(())
    }

    /// Makes the layer; weight and bias are drawn from `U(-1/sqrt(n), 1/sqrt(n))`, `n = out / groups * kernel`.
    ///
    /// # Errors
    /// As [`ConvTranspose3dLayerConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<ConvTranspose3d> {
        self.validate()?;
        let [d, h, w] = self.kernel;
        let out = self.out_channels / self.conv.groups;
        let bound = 1.0 / ((out * d * h * w) as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let weight = vb.get_with_hints((self.in_channels, out, d, h, w), "weight", init)?;
        let bias = self.bias.then(|| vb.get_with_hints(self.out_channels, "bias", init)).transpose()?;
        Ok(ConvTranspose3d { weight, bias, config: self.clone() })
    }
}

/// A transposed 3D convolution with parameters `weight` \[in, out / groups, kD, kH, kW\] and `bias` \[out\].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{ConvTranspose3dConfig, ConvTranspose3dLayerConfig};
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let conv = ConvTranspose3dConfig::new().stride([2; 3]).padding([1; 3]);
/// let layer = ConvTranspose3dLayerConfig::new(4, 2, [3; 3]).conv(conv);
/// let layer = layer.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::ones((1, 4, 3, 3, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&x)?.dims(), [1, 2, 5, 5, 5]);
/// assert_eq!(layer.forward_to_size(&x, [6; 3])?.dims(), [1, 2, 6, 6, 6]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.ConvTranspose3d`.
#[derive(Debug, Clone)]
pub struct ConvTranspose3d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: ConvTranspose3dLayerConfig,
}

impl ConvTranspose3d {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &ConvTranspose3dLayerConfig {
        &self.config
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// As [`conv_transpose3d`].
    ///
    /// # Errors
    /// As [`conv_transpose3d`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv_transpose3d(x, &self.weight, self.bias.as_ref(), &self.config.conv)
    }

    /// Applies the layer with the output padding that gives an output of `size`.
    ///
    /// # Errors
    /// As [`conv_transpose3d`], and [`Error::Shape`] for a size that no output padding gives.
    pub fn forward_to_size(&self, x: &Tensor, size: [usize; 3]) -> Result<Tensor> {
        let &[_, _, d, h, w] = x.dims() else {
            return Err(Error::shape(OP, "[batch, in, D, H, W]", x.dims()));
        };
        let conv = self.config.conv.reaching([d, h, w], self.config.kernel, size)?;
        conv_transpose3d(x, &self.weight, self.bias.as_ref(), &conv)
    }
}

impl candle_nn::Module for ConvTranspose3d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ConvTranspose3d::forward(self, x)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient_coverage, check_gradients, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::{DType, Device};

    /// in, out, kernel, config, input size.
    type Case = (usize, usize, [usize; 3], ConvTranspose3dConfig, [usize; 3]);

    fn cases() -> Vec<Case> {
        let c = ConvTranspose3dConfig::new;
        vec![
            (3, 2, [2; 3], c().stride([2; 3]), [3, 4, 5]),
            (2, 3, [3; 3], c().stride([2; 3]).padding([1; 3]).output_padding([1, 0, 1]), [3, 2, 4]),
            (2, 2, [3, 1, 2], c().padding([1, 0, 0]).dilation([2, 1, 3]), [3, 2, 4]),
            // Output padding beyond the stride, below the dilation.
            (2, 2, [2; 3], c().dilation([3; 3]).output_padding([2, 1, 0]), [2, 3, 2]),
            (4, 6, [3, 2, 1], c().stride([1, 3, 2]).groups(2), [2, 3, 3]),
            (3, 3, [3; 3], c().stride([3, 2, 1]).padding([4, 3, 1]).groups(3), [5, 4, 3]),
            (2, 2, [1; 3], c(), [2, 3, 2]),
        ]
    }

    fn tensors((input, out, k, c, size): &Case) -> [Tensor; 3] {
        let shape = |a: usize, b: usize, s: [usize; 3]| [a, b, s[0], s[1], s[2]];
        [
            pattern(&shape(2, *input, *size), 1).unwrap(),
            pattern(&shape(*input, out / c.groups, *k), 2).unwrap(),
            pattern(&[*out], 3).unwrap(),
        ]
    }

    #[test]
    fn gradients_match_finite_differences_and_kernels_agree() {
        for case in cases() {
            let run = |t: &[Tensor], a| transposed_with(&t[0], &t[1], Some(&t[2]), &case.3, a);
            let inputs = tensors(&case);
            check_gradients(|t| run(t, Algorithm::Auto), &inputs, 1e-6, 1e-7).unwrap();
            check_gradients(|t| run(t, Algorithm::Plain), &inputs, 1e-6, 1e-7).unwrap();
            let (a, b) = (run(&inputs, Algorithm::Auto).unwrap(), run(&inputs, Algorithm::Plain).unwrap());
            let gap = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(gap < 1e-12, "{case:?}: {gap}");
        }
    }

    #[test]
    fn by_hand_along_one_axis() {
        let line = |v: &[f64]| Tensor::from_slice(v, (1, 1, 1, 1, v.len()), &Device::Cpu).unwrap();
        let c = ConvTranspose3dConfig::new().stride([1, 1, 2]).output_padding([0, 0, 1]);
        let y = conv_transpose3d(&line(&[1.0, 10.0]), &line(&[1.0, 2.0, 3.0]), None, &c).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [1.0, 2.0, 13.0, 20.0, 30.0, 0.0]);
    }

    #[test]
    fn the_layer_covers_its_parameters_and_names_what_does_not_fit() {
        let store = ParamStore::new(Seed::new(1));
        let config =
            ConvTranspose3dLayerConfig::new(2, 3, [2; 3]).conv(ConvTranspose3dConfig::new().stride([2; 3]));
        let layer = config.build(store.var_builder(DType::F64, &Device::Cpu)).unwrap();
        let x = pattern(&[1, 2, 2, 3, 2], 1).unwrap();
        let loss = layer.forward(&x).unwrap().sqr().unwrap().sum_all().unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
        assert_eq!(layer.forward_to_size(&x, [5, 6, 4]).unwrap().dims(), [1, 3, 5, 6, 4]);
        let error = layer.forward_to_size(&x, [6, 6, 4]).unwrap_err().to_string();
        assert!(error.contains("a size from 4 to 5 along dimension 2"), "{error}");
        assert!(layer.forward(&pattern(&[1, 3, 2, 3, 2], 1).unwrap()).is_err());
        assert!(ConvTranspose3dConfig::new().output_padding([1, 0, 0]).validate().is_err());
        assert!(
            ConvTranspose3dLayerConfig::new(2, 3, [1; 3]).conv(config.conv.groups(2)).validate().is_err()
        );
    }
}
