use crate::chain::{Step, StepConfig};
use crate::{Error, Pyramid, Result};
use candle_core::Tensor;
use candle_nn::{Init, Linear, Module, VarBuilder};
use oncograph_nn::pool::{Pool3dConfig, adaptive_avg_pool3d, avg_pool3d, max_pool3d};
use oncograph_nn::relu;
use serde::{Deserialize, Serialize};

const OP: &str = "MonaiResNet";

/// The kind of residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ResNetBlock {
    /// Two 3x3x3 convolutions: 10, 18 and 34 layers.
    #[default]
    Basic,
    /// 1x1x1, 3x3x3 and 1x1x1 convolutions; the last one widens four times: 50 layers and more.
    Bottleneck,
}

impl ResNetBlock {
    fn expansion(self) -> usize {
        match self {
            ResNetBlock::Basic => 1,
            ResNetBlock::Bottleneck => 4,
        }
    }
}

/// What the shortcut does where the size or the number of channels changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShortcutType {
    /// Takes every n-th voxel and adds channels of zeros; no parameters.
    A,
    /// A 1x1x1 convolution and a norm.
    #[default]
    B,
}

/// Configuration of [`MonaiResNet`], with MONAI's names and defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MonaiResNetConfig {
    /// The kind of residual block.
    pub block: ResNetBlock,
    /// Blocks per stage.
    pub layers: [usize; 4],
    /// Channels per stage, before the block's widening; 64, 128, 256, 512.
    pub block_inplanes: [usize; 4],
    /// Channels of the input.
    pub n_input_channels: usize,
    /// The kernel of the first convolution; 7.
    pub conv1_t_size: [usize; 3],
    /// The stride of the first convolution; 1 (MedicalNet: 2).
    pub conv1_t_stride: [usize; 3],
    /// Whether the max pool behind the first convolution is left out; false.
    pub no_max_pool: bool,
    /// What the shortcut does where sizes change; B.
    pub shortcut_type: ShortcutType,
    /// Multiplies the channels of every stage; 1.
    pub widen_factor: f64,
    /// The outputs of `fc`; `None` leaves it out (`feed_forward=False`).
    pub num_classes: Option<usize>,
    /// Whether the shortcut's convolution has a bias; true.
    pub bias_downsample: bool,
}

impl MonaiResNetConfig {
    /// MONAI's `resnet10`, `18`, `34`, `50`, `101`, `152` or `200`, without `fc`.
    ///
    /// # Errors
    /// [`Error::Config`] for another depth.
    pub fn resnet(depth: usize, n_input_channels: usize) -> Result<Self> {
        use ResNetBlock::*;
        let (block, layers) = match depth {
            10 => (Basic, [1, 1, 1, 1]),
            18 => (Basic, [2, 2, 2, 2]),
            34 => (Basic, [3, 4, 6, 3]),
            50 => (Bottleneck, [3, 4, 6, 3]),
            101 => (Bottleneck, [3, 4, 23, 3]),
            152 => (Bottleneck, [3, 8, 36, 3]),
            200 => (Bottleneck, [3, 24, 36, 3]),
            other => return Err(config("depth", "10, 18, 34, 50, 101, 152 or 200", other)),
        };
        Ok(MonaiResNetConfig {
            block,
            layers,
            block_inplanes: [64, 128, 256, 512],
            n_input_channels,
            conv1_t_size: [7; 3],
            conv1_t_stride: [1; 3],
            no_max_pool: false,
            shortcut_type: ShortcutType::B,
            widen_factor: 1.0,
            num_classes: None,
            bias_downsample: true,
        })
    }

    /// MedicalNet's trunk of this depth: one input channel, stem of stride 2, no bias in shortcuts, which have no
    /// parameters in 18 and 34 layers.
    ///
    /// MedicalNet's segmentation network replaces the strides of `layer3` and `layer4` by dilation; this one keeps
    /// them, as MONAI does with the same weights.
    ///
    /// # Errors
    /// As [`MonaiResNetConfig::resnet`].
    pub fn medicalnet(depth: usize) -> Result<Self> {
        let shortcut = if matches!(depth, 18 | 34) { ShortcutType::A } else { ShortcutType::B };
        let config = Self::resnet(depth, 1)?.conv1_t_stride([2; 3]);
        Ok(config.shortcut_type(shortcut).bias_downsample(false))
    }

    /// Sets the channels per stage.
    pub fn block_inplanes(mut self, block_inplanes: [usize; 4]) -> Self {
        self.block_inplanes = block_inplanes;
        self
    }

    /// Sets the blocks per stage.
    pub fn layers(mut self, layers: [usize; 4]) -> Self {
        self.layers = layers;
        self
    }

    /// Sets the kernel of the first convolution.
    pub fn conv1_t_size(mut self, conv1_t_size: [usize; 3]) -> Self {
        self.conv1_t_size = conv1_t_size;
        self
    }

    /// Sets the stride of the first convolution.
    pub fn conv1_t_stride(mut self, conv1_t_stride: [usize; 3]) -> Self {
        self.conv1_t_stride = conv1_t_stride;
        self
    }

    /// Sets whether the max pool is left out.
    pub fn no_max_pool(mut self, no_max_pool: bool) -> Self {
        self.no_max_pool = no_max_pool;
        self
    }

    /// Sets what the shortcut does where sizes change.
    pub fn shortcut_type(mut self, shortcut_type: ShortcutType) -> Self {
        self.shortcut_type = shortcut_type;
        self
    }

    /// Sets the factor of all channels.
    pub fn widen_factor(mut self, widen_factor: f64) -> Self {
        self.widen_factor = widen_factor;
        self
    }

    /// Sets the outputs of `fc`; `None` leaves it out.
    pub fn num_classes(mut self, num_classes: Option<usize>) -> Self {
        self.num_classes = num_classes;
        self
    }

    /// Sets whether the shortcut's convolution has a bias.
    pub fn bias_downsample(mut self, bias_downsample: bool) -> Self {
        self.bias_downsample = bias_downsample;
        self
    }

    /// Channels of the last stage: the length of a globally pooled feature.
    pub fn feature_channels(&self) -> usize {
        self.planes()[3] * self.block.expansion()
    }

    fn planes(&self) -> [usize; 4] {
        self.block_inplanes.map(|planes| (planes as f64 * self.widen_factor) as usize)
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let mut sizes = vec![("n_input_channels", self.n_input_channels)];
        sizes.extend(self.layers.map(|n| ("layers", n)));
        sizes.extend(self.planes().map(|n| ("block_inplanes", n)));
        sizes.extend(self.conv1_t_size.map(|n| ("conv1_t_size", n)));
        sizes.extend(self.conv1_t_stride.map(|n| ("conv1_t_stride", n)));
        sizes.extend(self.num_classes.map(|n| ("num_classes", n)));
        match sizes.into_iter().find(|(_, size)| *size == 0) {
            Some((field, got)) => Err(config(field, "at least 1", got)),
            None => Ok(()),
        }
    }

    /// Makes the model: convolutions from a Kaiming normal distribution by fan-out, norms at 1 and 0, as MONAI.
    ///
    /// # Errors
    /// As [`MonaiResNetConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<MonaiResNet> {
        self.validate()?;
        let planes = self.planes();
        let stem = StepConfig {
            channels: (self.n_input_channels, planes[0]),
            kernel: self.conv1_t_size,
            stride: self.conv1_t_stride,
            padding: self.conv1_t_size.map(|k| k / 2),
        };
        let stem = Step::new(stem, vb.pp("conv1"), vb.pp("bn1"))?;
        let mut input = planes[0];
        let mut layers = Vec::new();
        for (stage, (count, planes)) in self.layers.into_iter().zip(planes).enumerate() {
            let vb = vb.pp(format!("layer{}", stage + 1));
            let mut blocks = Vec::new();
            for i in 0..count {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                blocks.push(Block::new(self, (input, planes), stride, vb.pp(i))?);
                input = planes * self.block.expansion();
            }
            layers.push(blocks);
        }
        let fc = self.num_classes.map(|n| fc(self.feature_channels(), n, vb.pp("fc"))).transpose()?;
        Ok(MonaiResNet { config: self.clone(), stem, layers, fc })
    }
}

fn config(field: &'static str, expected: &str, got: impl ToString) -> Error {
    Error::Config { op: OP, field, expected: expected.to_string(), got: got.to_string() }
}

/// PyTorch's start of a linear layer, but for the bias, which MONAI sets to 0.
fn fc(inputs: usize, classes: usize, vb: VarBuilder) -> Result<Linear> {
    let bound = 1.0 / (inputs as f64).sqrt();
    let weight = vb.get_with_hints((classes, inputs), "weight", Init::Uniform { lo: -bound, up: bound })?;
    Ok(Linear::new(weight, Some(vb.get_with_hints(classes, "bias", Init::Const(0.0))?)))
}

#[derive(Debug, Clone)]
enum Shortcut {
    Identity,
    /// Every n-th voxel, then channels of zeros up to this number.
    Pad {
        stride: usize,
        channels: usize,
    },
    Convolution(Step),
}

impl Shortcut {
    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Shortcut::Identity => Ok(x.clone()),
            Shortcut::Pad { stride, channels } => {
                let y = avg_pool3d(x, &Pool3dConfig::new([1; 3]).stride([*stride; 3]))?;
                Ok(y.pad_with_zeros(1, 0, channels.saturating_sub(y.dim(1)?))?)
            }
            Shortcut::Convolution(step) => step.forward(x, train),
        }
    }
}

#[derive(Debug, Clone)]
struct Block {
    steps: Vec<Step>,
    shortcut: Shortcut,
}

impl Block {
    fn new(c: &MonaiResNetConfig, (input, planes): (usize, usize), s: usize, vb: VarBuilder) -> Result<Self> {
        let step = |i: usize, channels, kernel: usize, stride: usize| {
            let (kernel, stride, padding) = ([kernel; 3], [stride; 3], [kernel / 2; 3]);
            let at = StepConfig { channels, kernel, stride, padding };
            Step::new(at, vb.pp(format!("conv{i}")), vb.pp(format!("bn{i}")))
        };
        let out = planes * c.block.expansion();
        let steps = match c.block {
            ResNetBlock::Basic => vec![step(1, (input, planes), 3, s)?, step(2, (planes, planes), 3, 1)?],
            ResNetBlock::Bottleneck => vec![
                step(1, (input, planes), 1, 1)?,
                step(2, (planes, planes), 3, s)?,
                step(3, (planes, out), 1, 1)?,
            ],
        };
        let shortcut = match c.shortcut_type {
            _ if s == 1 && input == out => Shortcut::Identity,
            ShortcutType::A => Shortcut::Pad { stride: s, channels: out },
            ShortcutType::B => {
                let at =
                    StepConfig { channels: (input, out), kernel: [1; 3], stride: [s; 3], padding: [0; 3] };
                let vb = vb.pp("downsample");
                Shortcut::Convolution(Step::with_bias(at, c.bias_downsample, vb.pp(0), vb.pp(1))?)
            }
        };
        Ok(Block { steps, shortcut })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut y = x.clone();
        for (i, step) in self.steps.iter().enumerate() {
            if i > 0 {
                y = relu(&y)?;
            }
            y = step.forward(&y, train)?;
        }
        Ok(relu(&(y + self.shortcut.forward(x, train)?)?)?)
    }

    fn folded(&self) -> Result<Self> {
        let shortcut = match &self.shortcut {
            Shortcut::Convolution(step) => Shortcut::Convolution(step.folded()?),
            other => other.clone(),
        };
        Ok(Block { steps: self.steps.iter().map(Step::folded).collect::<Result<_>>()?, shortcut })
    }
}

/// MONAI's 3D ResNet, whose parameter names are also those of MedicalNet's published weights.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_encoder::MonaiResNetConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let config = MonaiResNetConfig::medicalnet(18)?.block_inplanes([4, 8, 16, 32]);
/// let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let scan = Tensor::ones((1, 1, 16, 32, 32), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.forward_features(&scan, false)?.dims(), [1, 32, 1, 1, 1]);
/// # Ok(())
/// # }
/// ```
///
/// The published weights hold the head of a segmentation network besides:
/// `Checkpoint::read(path)?.without("conv_seg.").load_strict(&store)?`.
///
/// # Reference
/// Hara et al. 2018; Chen et al. 2019, "Med3D"; `monai.networks.nets.ResNet`. With [`ShortcutType::A`] MONAI and
/// MedicalNet cut the gradient of the shortcut off; here it flows.
#[derive(Debug, Clone)]
pub struct MonaiResNet {
    config: MonaiResNetConfig,
    stem: Step,
    layers: Vec<Vec<Block>>,
    fc: Option<Linear>,
}

impl MonaiResNet {
    /// The configuration that the model was made from.
    pub fn config(&self) -> &MonaiResNetConfig {
        &self.config
    }

    /// The feature maps of all stages; `train` chooses the batch's statistics in the norms.
    ///
    /// # Shapes
    /// `x` \[batch, n_input_channels, D, H, W\].
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank or number of channels, or an error of the layers.
    pub fn pyramid(&self, x: &Tensor, train: bool) -> Result<Pyramid> {
        let stem = self.run_stem(x, train)?;
        let mut layers: Vec<Tensor> = Vec::with_capacity(4);
        let mut x = self.run_pool(&stem)?;
        for layer in &self.layers {
            x = run_layer(layer, &x, train)?;
            layers.push(x.clone());
        }
        Ok(Pyramid { stem, layers })
    }

    /// The map behind `layer4`; earlier maps are freed on the way.
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn forward_features(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = self.run_pool(&self.run_stem(x, train)?)?;
        for layer in &self.layers {
            x = run_layer(layer, &x, train)?;
        }
        Ok(x)
    }

    /// The map behind `layer4`, averaged in `output` cells and flattened.
    ///
    /// # Shapes
    /// \[batch, feature channels * product of output\].
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn forward_pooled(&self, x: &Tensor, output: [usize; 3], train: bool) -> Result<Tensor> {
        Ok(adaptive_avg_pool3d(&self.forward_features(x, train)?, output)?.flatten_from(1)?)
    }

    /// The outputs of `fc` on the globally averaged features \[batch, classes\].
    ///
    /// # Errors
    /// [`Error::Config`] for a model without `fc`; else as [`MonaiResNet::pyramid`].
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let Some(fc) = &self.fc else {
            return Err(config("num_classes", "set for a forward pass to classes", "None"));
        };
        Ok(fc.forward(&self.forward_pooled(x, [1; 3], train)?)?)
    }

    /// The same function in evaluation with every norm folded into its convolution; the weights are copied.
    ///
    /// # Errors
    /// An error of candle.
    pub fn folded(&self) -> Result<FoldedMonaiResNet> {
        let fold = |blocks: &Vec<Block>| blocks.iter().map(Block::folded).collect::<Result<Vec<_>>>();
        let fc = match &self.fc {
            Some(fc) => Some(Linear::new(fc.weight().copy()?, fc.bias().map(Tensor::copy).transpose()?)),
            None => None,
        };
        Ok(FoldedMonaiResNet(MonaiResNet {
            config: self.config.clone(),
            stem: self.stem.folded()?,
            layers: self.layers.iter().map(fold).collect::<Result<_>>()?,
            fc,
        }))
    }

    fn run_stem(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if x.rank() != 5 || x.dims()[1] != self.config.n_input_channels {
            let expected = format!("[batch, {}, D, H, W]", self.config.n_input_channels);
            return Err(Error::Shape { op: OP, expected, got: x.dims().to_vec() });
        }
        Ok(relu(&self.stem.forward(x, train)?)?)
    }

    fn run_pool(&self, stem: &Tensor) -> Result<Tensor> {
        if self.config.no_max_pool {
            return Ok(stem.clone());
        }
        Ok(max_pool3d(stem, &Pool3dConfig::new([3; 3]).stride([2; 3]).padding([1; 3]))?)
    }
}

fn run_layer(blocks: &[Block], x: &Tensor, train: bool) -> Result<Tensor> {
    blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x, train))
}

/// A [`MonaiResNet`] for inference: no norms, no training mode; its results equal those of the model in evaluation up
/// to rounding.
#[derive(Debug, Clone)]
pub struct FoldedMonaiResNet(MonaiResNet);

impl FoldedMonaiResNet {
    /// The configuration of the model that was folded.
    pub fn config(&self) -> &MonaiResNetConfig {
        &self.0.config
    }

    /// As [`MonaiResNet::pyramid`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn pyramid(&self, x: &Tensor) -> Result<Pyramid> {
        self.0.pyramid(x, false)
    }

    /// As [`MonaiResNet::forward_features`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn forward_features(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward_features(x, false)
    }

    /// As [`MonaiResNet::forward_pooled`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn forward_pooled(&self, x: &Tensor, output: [usize; 3]) -> Result<Tensor> {
        self.0.forward_pooled(x, output, false)
    }

    /// As [`MonaiResNet::forward`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::forward`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;
    use candle_core::{DType, Device};
    use oncograph_nn::testing::{assert_gradient_coverage, pattern};
    use oncograph_nn::{ParamStore, Seed};

    fn build(config: &MonaiResNetConfig, dtype: DType) -> (ParamStore, MonaiResNet) {
        let store = ParamStore::new(Seed::new(1));
        let model = config.build(store.var_builder(dtype, &Device::Cpu)).unwrap();
        (store, model)
    }

    fn small(depth: usize) -> MonaiResNetConfig {
        MonaiResNetConfig::resnet(depth, 1).unwrap().block_inplanes([2, 3, 4, 5]).num_classes(Some(2))
    }

    #[test]
    fn the_trunk_has_the_right_number_of_parameters() {
        // Stem, blocks and shortcuts added up by hand; MedicalNet's 18 layers have no parameters in their shortcuts.
        let count = |depth| build(&MonaiResNetConfig::medicalnet(depth).unwrap(), DType::F32).0;
        assert_eq!(count(18).parameter_count(), 32_986_176);
        assert_eq!(count(50).parameter_count(), 46_155_072);
    }

    #[test]
    fn every_parameter_gets_a_gradient_in_every_form() {
        for config in [
            small(18),
            small(10).shortcut_type(ShortcutType::A).conv1_t_stride([2; 3]),
            small(50).layers([1, 2, 1, 1]).widen_factor(1.5),
            small(50).layers([1; 4]).shortcut_type(ShortcutType::A).no_max_pool(true),
        ] {
            let (store, model) = build(&config, DType::F64);
            let x = pattern(&[2, 1, 17, 20, 18], 1).unwrap();
            let loss = (model.forward(&x, true).unwrap() * pattern(&[2, 2], 2).unwrap()).unwrap();
            assert_gradient_coverage(&store, &loss.sum_all().unwrap()).unwrap();
        }
    }

    #[test]
    fn folding_keeps_the_function() {
        for config in [small(18), small(50).layers([1; 4]), small(10).shortcut_type(ShortcutType::A)] {
            let (store, model) = build(&config, DType::F64);
            let x = pattern(&[2, 1, 9, 16, 12], 1).unwrap();
            for _ in 0..3 {
                model.forward(&x, true).unwrap();
            }
            for (name, var) in store.trainable() {
                if name.ends_with("downsample.0.bias") {
                    var.set(&pattern(var.dims(), 5).unwrap()).unwrap();
                }
            }
            let plain = model.forward(&x, false).unwrap();
            let gap = (&plain - model.folded().unwrap().forward(&x).unwrap()).unwrap().abs().unwrap();
            let gap = gap.max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(gap < 1e-10, "{gap}");
        }
    }

    #[test]
    fn weights_in_the_published_form_load() {
        let config = MonaiResNetConfig::medicalnet(18).unwrap().block_inplanes([1, 1, 2, 2]);
        let (from, _) = build(&config, DType::F32);
        let mut published: std::collections::HashMap<_, _> =
            from.snapshot().unwrap().into_iter().map(|(k, v)| (format!("module.{k}"), v)).collect();
        let head = Tensor::zeros((2, 2, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
        published.insert("module.conv_seg.0.weight".into(), head);
        let (to, _) = build(&config, DType::F32);
        let checkpoint = Checkpoint::from_tensors(published);
        assert_eq!(checkpoint.load_into(&to).unwrap().unexpected, ["conv_seg.0.weight"]);
        checkpoint.clone().without("conv_seg.").load_strict(&to).unwrap();
        // Another kind of shortcut, or three channels, is a mismatch that is listed.
        let (other, _) = build(&config.clone().shortcut_type(ShortcutType::B), DType::F32);
        let report = checkpoint.without("conv_seg.").load_into(&other).unwrap();
        assert!(report.missing.iter().all(|name| name.contains("downsample")) && !report.missing.is_empty());
        let mut three = config;
        three.n_input_channels = 3;
        let folded = Checkpoint::from_tensors(build(&three, DType::F32).0.snapshot().unwrap());
        assert_eq!(
            folded.load_into(&to).unwrap().misshaped,
            ["conv1.weight: [1, 1, 7, 7, 7], [1, 3, 7, 7, 7]"]
        );
        folded.fold_stem("conv1.weight", 1).unwrap().load_strict(&to).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = MonaiResNetConfig::resnet(19, 1).unwrap_err().to_string();
        assert_eq!(error, "MonaiResNet: depth must be 10, 18, 34, 50, 101, 152 or 200, got 19");
        let (_, model) = build(&small(10), DType::F32);
        let x = Tensor::ones((1, 2, 4, 4, 4), DType::F32, &Device::Cpu).unwrap();
        assert!(model.forward_features(&x, false).is_err());
        assert!(small(10).widen_factor(0.1).validate().is_err());
    }
}
