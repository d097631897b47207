use crate::blocked::{BlockedBlock, BlockedTrunk, takes};
use crate::chain::{Chain, Step, StepConfig};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, Linear, Module, VarBuilder};
use oncograph_nn::add_relu;
use oncograph_nn::pool::adaptive_avg_pool3d;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The kind of convolution in the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VideoResNetKind {
    /// 3x3x3 convolutions.
    #[default]
    R3d,
    /// A 1x3x3 convolution, norm and ReLU, then a 3x1x1 convolution.
    R2Plus1d,
}

/// Configuration of [`VideoResNet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VideoResNetConfig {
    /// The kind of convolution in the blocks.
    pub kind: VideoResNetKind,
    /// Channels of the input: 1 for a scan, 3 for the published weights.
    pub in_channels: usize,
    /// Channels of the first stage, doubled in each further one; 64.
    pub base_width: usize,
    /// Blocks per stage; 2 each (18 layers). \[3, 4, 6, 3\] gives 34 layers.
    pub blocks: [usize; 4],
    /// The outputs of the final linear layer `fc`; `None` leaves it out.
    pub classes: Option<usize>,
}

impl VideoResNetConfig {
    /// torchvision's `r3d_18` without `fc`.
    pub fn r3d_18(in_channels: usize) -> Self {
        VideoResNetConfig {
            kind: VideoResNetKind::R3d,
            in_channels,
            base_width: 64,
            blocks: [2; 4],
            classes: None,
        }
    }

    /// torchvision's `r2plus1d_18` without `fc`.
    pub fn r2plus1d_18(in_channels: usize) -> Self {
        VideoResNetConfig { kind: VideoResNetKind::R2Plus1d, ..Self::r3d_18(in_channels) }
    }

    /// Sets the channels of the first stage.
    pub fn base_width(mut self, base_width: usize) -> Self {
        self.base_width = base_width;
        self
    }

    /// Sets the blocks per stage.
    pub fn blocks(mut self, blocks: [usize; 4]) -> Self {
        self.blocks = blocks;
        self
    }

    /// Sets the outputs of `fc`; `None` leaves it out.
    pub fn classes(mut self, classes: Option<usize>) -> Self {
        self.classes = classes;
        self
    }

    /// Channels of the last stage: the length of a globally pooled feature.
    pub fn feature_channels(&self) -> usize {
        self.base_width * 8
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let mut sizes = vec![("in_channels", self.in_channels), ("base_width", self.base_width)];
        sizes.extend(self.blocks.map(|b| ("blocks", b)));
        sizes.extend(self.classes.map(|c| ("classes", c)));
        match sizes.into_iter().find(|(_, size)| *size == 0) {
            Some((field, got)) => {
                let (expected, got) = ("at least 1".to_string(), got.to_string());
                Err(Error::config("VideoResNet", field, expected, got))
            }
            None => Ok(()),
        }
    }

    /// Makes the model: convolutions from a Kaiming normal distribution by fan-out, norms at 1 and 0, as torchvision.
    ///
    /// # Errors
    /// As [`VideoResNetConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<VideoResNet> {
        self.validate()?;
        let stem = self.stem(vb.pp("stem"))?;
        let mut width = self.base_width;
        let mut layers = Vec::new();
        for (stage, count) in self.blocks.into_iter().enumerate() {
            let (out, vb) = (self.base_width << stage, vb.pp(format!("layer{}", stage + 1)));
            let mut blocks = Vec::new();
            for i in 0..count {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                blocks.push(Block::new(self.kind, (width, out), stride, vb.pp(i))?);
                width = out;
            }
            layers.push(blocks);
        }
        let fc = self.classes.map(|n| fc(self.feature_channels(), n, vb.pp("fc"))).transpose()?;
        Ok(VideoResNet { config: self.clone(), stem, layers, fc })
    }

    fn stem(&self, vb: VarBuilder) -> Result<Chain> {
        let (input, width) = (self.in_channels, self.base_width);
        let step = |channels, kernel, stride, padding, at: usize| {
            Step::new(StepConfig { channels, kernel, stride, padding, dilation: 1 }, vb.pp(at), vb.pp(at + 1))
        };
        Ok(Chain(match self.kind {
            VideoResNetKind::R3d => vec![step((input, width), [3, 7, 7], [1, 2, 2], [1, 3, 3], 0)?],
            VideoResNetKind::R2Plus1d => {
                // 45 of 64 channels in the published model.
                let middle = (45 * width / 64).max(1);
                vec![
                    step((input, middle), [1, 7, 7], [1, 2, 2], [0, 3, 3], 0)?,
                    step((middle, width), [3, 1, 1], [1; 3], [1, 0, 0], 3)?,
                ]
            }
        }))
    }
}

fn fc(inputs: usize, classes: usize, vb: VarBuilder) -> Result<Linear> {
    let weight = vb.get_with_hints((classes, inputs), "weight", Init::Randn { mean: 0.0, stdev: 0.01 })?;
    Ok(Linear::new(weight, Some(vb.get_with_hints(classes, "bias", Init::Const(0.0))?)))
}

#[derive(Debug, Clone)]
struct Block {
    conv1: Chain,
    conv2: Chain,
    downsample: Option<Step>,
}

impl Block {
    fn new(
        kind: VideoResNetKind,
        (input, out): (usize, usize),
        stride: usize,
        vb: VarBuilder,
    ) -> Result<Self> {
        // Both convolutions of a block share this width, worked out from the block's own input.
        let middle = input * out * 27 / (input * 9 + 3 * out);
        let chain = |channels: (usize, usize), s: usize, vb: VarBuilder| -> Result<Chain> {
            let inner = vb.pp(0);
            let step = |channels, kernel, stride, padding, conv, norm| {
                Step::new(StepConfig { channels, kernel, stride, padding, dilation: 1 }, conv, norm)
            };
            Ok(Chain(match kind {
                VideoResNetKind::R3d => vec![step(channels, [3; 3], [s; 3], [1; 3], inner, vb.pp(1))?],
                VideoResNetKind::R2Plus1d => vec![
                    step((channels.0, middle), [1, 3, 3], [1, s, s], [0, 1, 1], inner.pp(0), inner.pp(1))?,
                    step((middle, channels.1), [3, 1, 1], [s, 1, 1], [1, 0, 0], inner.pp(3), vb.pp(1))?,
                ],
            }))
        };
        let downsample = if stride != 1 || input != out {
            let c = StepConfig {
                channels: (input, out),
                kernel: [1; 3],
                stride: [stride; 3],
                padding: [0; 3],
                dilation: 1,
            };
            let vb = vb.pp("downsample");
            Some(Step::new(c, vb.pp(0), vb.pp(1))?)
        } else {
            None
        };
        let (conv1, conv2) =
            (chain((input, out), stride, vb.pp("conv1"))?, chain((out, out), 1, vb.pp("conv2"))?);
        Ok(Block { conv1, conv2, downsample })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.conv1.forward_relu(x, train)?;
        let y = self.conv2.forward(&y, train)?;
        let shortcut = match &self.downsample {
            Some(step) => step.forward(x, train)?,
            None => x.clone(),
        };
        Ok(add_relu(&y, &shortcut)?)
    }

    fn folded(&self) -> Result<Self> {
        let downsample = self.downsample.as_ref().map(Step::folded).transpose()?;
        Ok(Block { conv1: self.conv1.folded()?, conv2: self.conv2.folded()?, downsample })
    }
}

/// The feature maps of all stages.
#[derive(Debug, Clone)]
pub struct Pyramid {
    /// Behind the stem (before the max pool, where there is one).
    pub stem: Tensor,
    /// Behind `layer1` to `layer4`; each after the first halves every dimension and, as a rule, doubles the channels.
    pub layers: Vec<Tensor>,
}

/// A residual network over volumes: `r3d_18`, `r2plus1d_18` and their relatives, with torchvision's parameter names.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_encoder::VideoResNetConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let config = VideoResNetConfig::r3d_18(1).base_width(4);
/// let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let scan = Tensor::ones((1, 1, 8, 16, 16), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.forward_features(&scan, false)?.dims(), [1, 32, 1, 1, 1]);
/// let fast = model.folded()?; // for inference
/// assert_eq!(fast.forward_pooled(&scan, [2; 3])?.dims(), [1, 256]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Tran et al. 2018, "A closer look at spatiotemporal convolutions for action recognition";
/// `torchvision.models.video.VideoResNet`.
#[derive(Debug, Clone)]
pub struct VideoResNet {
    config: VideoResNetConfig,
    stem: Chain,
    layers: Vec<Vec<Block>>,
    fc: Option<Linear>,
}

impl VideoResNet {
    /// The configuration that the model was made from.
    pub fn config(&self) -> &VideoResNetConfig {
        &self.config
    }

    /// The feature maps of all stages; `train` chooses the batch's statistics in the norms.
    ///
    /// # Shapes
    /// `x` \[batch, in_channels, D, H, W\].
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank or number of channels, or an error of the layers.
    pub fn pyramid(&self, x: &Tensor, train: bool) -> Result<Pyramid> {
        let stem = self.run_stem(x, train)?;
        let mut layers: Vec<Tensor> = Vec::with_capacity(4);
        for layer in &self.layers {
            let input = layers.last().unwrap_or(&stem);
            layers.push(run_layer(layer, input, train)?);
        }
        Ok(Pyramid { stem, layers })
    }

    /// The map behind `layer4`; earlier maps are freed on the way.
    ///
    /// # Shapes
    /// `x` \[batch, in_channels, D, H, W\] gives \[batch, 8 base_width, ceil(D / 8), ceil(H / 16), ceil(W / 16)\].
    ///
    /// # Errors
    /// As [`VideoResNet::pyramid`].
    pub fn forward_features(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = self.run_stem(x, train)?;
        for layer in &self.layers {
            x = run_layer(layer, &x, train)?;
        }
        Ok(x)
    }

    /// The map behind `layer4`, averaged in `output` cells and flattened.
    ///
    /// # Shapes
    /// \[batch, 8 base_width * product of output\]; with \[2, 2, 2\] and the base width 64, 4096 numbers.
    ///
    /// # Errors
    /// As [`VideoResNet::pyramid`].
    pub fn forward_pooled(&self, x: &Tensor, output: [usize; 3], train: bool) -> Result<Tensor> {
        Ok(adaptive_avg_pool3d(&self.forward_features(x, train)?, output)?.flatten_from(1)?)
    }

    /// The outputs of `fc` on the globally averaged features.
    ///
    /// # Shapes
    /// \[batch, classes\].
    ///
    /// # Errors
    /// [`Error::Argument`] for a model without `fc`; else as [`VideoResNet::pyramid`].
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        Ok(self.fc()?.forward(&self.forward_pooled(x, [1; 3], train)?)?)
    }

    fn fc(&self) -> Result<&Linear> {
        self.fc.as_ref().ok_or_else(|| {
            let (expected, got) = ("set for a forward pass to classes".to_string(), "None".to_string());
            Error::config("VideoResNet", "classes", expected, got)
        })
    }

    /// The same function in evaluation with every norm folded into its convolution.
    ///
    /// The weights are copied: later changes to this model do not reach the folded one.
    ///
    /// # Errors
    /// An error of candle.
    pub fn folded(&self) -> Result<FoldedVideoResNet> {
        let fold = |blocks: &Vec<Block>| blocks.iter().map(Block::folded).collect::<Result<Vec<_>>>();
        let fc = match &self.fc {
            Some(fc) => Some(Linear::new(fc.weight().copy()?, fc.bias().map(Tensor::copy).transpose()?)),
            None => None,
        };
        let plain = VideoResNet {
            config: self.config.clone(),
            stem: self.stem.folded()?,
            layers: self.layers.iter().map(fold).collect::<Result<_>>()?,
            fc,
        };
        let blocked = takes(plain.stem.0[0].conv().weight()).then(|| plain.blocked()).transpose()?;
        Ok(FoldedVideoResNet { plain, blocked: blocked.map(Arc::new) })
    }

    /// A folded model in the blocked layout.
    fn blocked(&self) -> Result<BlockedTrunk> {
        let block = |b: &Block| BlockedBlock::new(&b.conv1.0, &b.conv2.0, b.downsample.as_ref());
        let layer = |blocks: &Vec<Block>| blocks.iter().map(block).collect::<Result<Vec<_>>>();
        BlockedTrunk::new(&self.stem.0, None, self.layers.iter().map(layer).collect::<Result<_>>()?)
    }

    fn check_input(&self, x: &Tensor) -> Result<()> {
        if x.rank() != 5 || x.dims()[1] != self.config.in_channels {
            let expected = format!("[batch, {}, D, H, W]", self.config.in_channels);
            return Err(Error::Shape { op: "VideoResNet", expected, got: x.dims().to_vec() });
        }
        Ok(())
    }

    fn run_stem(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.check_input(x)?;
        self.stem.forward_relu(x, train)
    }
}

fn run_layer(blocks: &[Block], x: &Tensor, train: bool) -> Result<Tensor> {
    blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x, train))
}

/// A [`VideoResNet`] for inference: no norms, no training mode.
///
/// Its results equal those of the model in evaluation up to rounding. In f32 on the CPU it keeps the layout of its
/// kernels from the stem to the pool (see [`BlockedConv3d`](oncograph_nn::conv3d::BlockedConv3d)): errors up to
/// 3e-5 of the largest value per convolution, and it keeps transformed weights (about four times
/// their size) and the maps' memory after the first pass. An input that tracks a
/// gradient, and every other type and device, takes the path of the plain model.
#[derive(Debug, Clone)]
pub struct FoldedVideoResNet {
    plain: VideoResNet,
    blocked: Option<Arc<BlockedTrunk>>,
}

impl FoldedVideoResNet {
    /// The configuration of the model that was folded.
    pub fn config(&self) -> &VideoResNetConfig {
        &self.plain.config
    }

    fn blocked(&self, x: &Tensor) -> Result<Option<&BlockedTrunk>> {
        self.plain.check_input(x)?;
        Ok(self.blocked.as_deref().filter(|_| takes(x)))
    }

    /// As [`VideoResNet::pyramid`] in evaluation.
    ///
    /// # Errors
    /// As [`VideoResNet::pyramid`].
    pub fn pyramid(&self, x: &Tensor) -> Result<Pyramid> {
        match self.blocked(x)? {
            Some(blocked) => blocked.pyramid(x),
            None => self.plain.pyramid(x, false),
        }
    }

    /// As [`VideoResNet::forward_features`] in evaluation.
    ///
    /// # Errors
    /// As [`VideoResNet::pyramid`].
    pub fn forward_features(&self, x: &Tensor) -> Result<Tensor> {
        match self.blocked(x)? {
            Some(blocked) => Ok(blocked.forward(x, |_| Ok(()))?.to_tensor()?),
            None => self.plain.forward_features(x, false),
        }
    }

    /// As [`VideoResNet::forward_pooled`] in evaluation.
    ///
    /// # Errors
    /// As [`VideoResNet::pyramid`].
    pub fn forward_pooled(&self, x: &Tensor, output: [usize; 3]) -> Result<Tensor> {
        Ok(adaptive_avg_pool3d(&self.forward_features(x)?, output)?.flatten_from(1)?)
    }

    /// As [`VideoResNet::forward`] in evaluation.
    ///
    /// # Errors
    /// As [`VideoResNet::forward`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.plain.fc()?.forward(&self.forward_pooled(x, [1; 3])?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::{assert_gradient_coverage, device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    fn build(config: &VideoResNetConfig, dtype: DType) -> (ParamStore, VideoResNet) {
        let store = ParamStore::new(Seed::new(1));
        let model = config.build(store.var_builder(dtype, &device())).unwrap();
        (store, model)
    }

    #[test]
    fn the_trunk_has_the_published_number_of_parameters() {
        let count = |config: VideoResNetConfig| build(&config, DType::F32).0.parameter_count();
        assert_eq!(count(VideoResNetConfig::r3d_18(3)), 33_166_272);
        assert_eq!(count(VideoResNetConfig::r3d_18(1)), 33_147_456);
        // torchvision: r2plus1d_18 has 31,505,325 parameters with its 400 classes.
        assert_eq!(count(VideoResNetConfig::r2plus1d_18(3).classes(Some(400))), 31_505_325);
    }

    #[test]
    fn every_parameter_gets_a_gradient() {
        for kind in [VideoResNetKind::R3d, VideoResNetKind::R2Plus1d] {
            let mut config = VideoResNetConfig::r3d_18(2).base_width(2).classes(Some(2));
            config.kind = kind;
            let (store, model) = build(&config, DType::F64);
            let x = pattern(&[2, 2, 9, 20, 18], 1).unwrap();
            let loss = (model.forward(&x, true).unwrap() * pattern(&[2, 2], 2).unwrap()).unwrap();
            assert_gradient_coverage(&store, &loss.sum_all().unwrap()).unwrap();
        }
    }

    #[test]
    fn folding_keeps_the_function() {
        for config in [VideoResNetConfig::r3d_18(1), VideoResNetConfig::r2plus1d_18(1)] {
            let (_, model) = build(&config.base_width(8).classes(Some(3)), DType::F32);
            let x = pattern(&[2, 1, 8, 24, 20], 1).unwrap().to_dtype(DType::F32).unwrap();
            for _ in 0..3 {
                model.forward(&x, true).unwrap(); // running statistics that are not 0 and 1
            }
            let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let plain = flat(model.forward_features(&x, false).unwrap());
            let folded = flat(model.folded().unwrap().forward_features(&x).unwrap());
            let scale = plain.iter().fold(0f32, |m, v| m.max(v.abs()));
            let gap = plain.iter().zip(&folded).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(scale > 0.1 && gap < 1e-5 * scale, "{gap} of {scale}");
        }
    }

    #[test]
    #[cfg_attr(feature = "cuda", ignore = "a path of the CPU")]
    fn a_folded_model_has_the_maps_and_input_gradients_of_the_plain_path() {
        for config in [VideoResNetConfig::r3d_18(3), VideoResNetConfig::r2plus1d_18(3)] {
            let (_, model) = build(&config.base_width(20).classes(Some(2)), DType::F32);
            let folded = model.folded().unwrap();
            let x = pattern(&[2, 3, 5, 18, 26], 1).unwrap().to_dtype(DType::F32).unwrap();
            let gap = |a: &Tensor, b: &Tensor| {
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let (a, b) = (flat(a), flat(b));
                let scale = b.iter().fold(0f32, |m, v| m.max(v.abs()));
                a.iter().zip(&b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale
            };
            let (fast, plain) = (folded.pyramid(&x).unwrap(), model.pyramid(&x, false).unwrap());
            assert!(gap(&fast.stem, &plain.stem) < 1e-5);
            for (fast, plain) in fast.layers.iter().zip(&plain.layers) {
                assert_eq!(fast.dims(), plain.dims());
                assert!(gap(fast, plain) < 2e-5, "{}", gap(fast, plain));
            }
            assert!(gap(&folded.forward(&x).unwrap(), &model.forward(&x, false).unwrap()) < 2e-5);
            let var = candle_core::Var::from_tensor(&x).unwrap();
            let grads = folded.forward(&var).unwrap().sum_all().unwrap().backward().unwrap();
            assert!(grads.get(&var).is_some());
        }
    }

    #[test]
    fn the_pyramid_halves_and_doubles() {
        let (_, model) = build(&VideoResNetConfig::r3d_18(1).base_width(2), DType::F32);
        let x = Tensor::ones((1, 1, 16, 32, 32), DType::F32, &device()).unwrap();
        let pyramid = model.pyramid(&x, false).unwrap();
        let shapes: Vec<Vec<usize>> = pyramid.layers.iter().map(|t| t.dims().to_vec()).collect();
        assert_eq!(pyramid.stem.dims(), [1, 2, 16, 16, 16]);
        assert_eq!(shapes, [[1, 2, 16, 16, 16], [1, 4, 8, 8, 8], [1, 8, 4, 4, 4], [1, 16, 2, 2, 2]]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (_, model) = build(&VideoResNetConfig::r3d_18(1).base_width(1), DType::F32);
        let x = Tensor::ones((1, 3, 4, 4, 4), DType::F32, &device()).unwrap();
        let error = model.forward_features(&x, false).unwrap_err().to_string();
        assert_eq!(error, "VideoResNet: expected [batch, 1, D, H, W], got [1, 3, 4, 4, 4]");
        assert!(model.forward(&x.narrow(1, 0, 1).unwrap(), false).is_err());
        assert!(VideoResNetConfig::r3d_18(0).validate().is_err());
    }
}
