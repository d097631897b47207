//! MONAI's and MedicalNet's 3D ResNets.

mod block;
mod config;

pub use config::{MonaiResNetConfig, ResNetBlock, ShortcutType};

use crate::blocked::{BlockedTrunk, takes};
use crate::chain::{Step, StepConfig};
use crate::{Error, Pyramid, Result};
use block::Block;
use candle_core::Tensor;
use candle_nn::{Init, Linear, Module, VarBuilder};
use config::config;
use oncograph_nn::pool::{Pool3dConfig, adaptive_avg_pool3d, max_pool3d};
use std::sync::Arc;

const OP: &str = "MonaiResNet";

impl MonaiResNetConfig {
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
            dilation: 1,
        };
        let stem = Step::new(stem, vb.pp("conv1"), vb.pp("bn1"))?;
        let mut input = planes[0];
        let mut layers = Vec::new();
        for (stage, (count, planes)) in self.layers.into_iter().zip(planes).enumerate() {
            let vb = vb.pp(format!("layer{}", stage + 1));
            let mut blocks = Vec::new();
            for i in 0..count {
                let dilated = self.dilated_stages && stage > 1;
                let stride = if stage > 0 && i == 0 && !dilated { 2 } else { 1 };
                // 2 and 4: as far apart as the voxels that the strides would have left.
                let dilation = if dilated { 1 << (stage - 1) } else { 1 };
                blocks.push(Block::new(self, (input, planes), (stride, dilation), vb.pp(i))?);
                input = planes * self.block.expansion();
            }
            layers.push(blocks);
        }
        let fc = self.num_classes.map(|n| fc(self.feature_channels(), n, vb.pp("fc"))).transpose()?;
        Ok(MonaiResNet { config: self.clone(), stem, layers, fc })
    }
}

/// PyTorch's start of a linear layer, but for the bias, which MONAI sets to 0.
fn fc(inputs: usize, classes: usize, vb: VarBuilder) -> Result<Linear> {
    let bound = 1.0 / (inputs as f64).sqrt();
    let weight = vb.get_with_hints((classes, inputs), "weight", Init::Uniform { lo: -bound, up: bound })?;
    Ok(Linear::new(weight, Some(vb.get_with_hints(classes, "bias", Init::Const(0.0))?)))
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
    /// [`Error::Argument`] for a model without `fc`; else as [`MonaiResNet::pyramid`].
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.classify(&self.forward_pooled(x, [1; 3], train)?)
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
        let plain = MonaiResNet {
            config: self.config.clone(),
            stem: self.stem.folded()?,
            layers: self.layers.iter().map(fold).collect::<Result<_>>()?,
            fc,
        };
        // The blocked kernels know no dilation.
        let fits = takes(plain.stem.conv().weight()) && !self.config.dilated_stages;
        let blocked = fits.then(|| plain.blocked()).transpose()?;
        Ok(FoldedMonaiResNet { plain, blocked: blocked.map(Arc::new) })
    }

    /// A folded model in the blocked layout.
    fn blocked(&self) -> Result<BlockedTrunk> {
        let layer = |blocks: &Vec<Block>| blocks.iter().map(Block::blocked).collect::<Result<Vec<_>>>();
        let layers = self.layers.iter().map(layer).collect::<Result<_>>()?;
        BlockedTrunk::new(std::slice::from_ref(&self.stem), self.pool(), layers)
    }

    fn check_input(&self, x: &Tensor) -> Result<()> {
        if x.rank() != 5 || x.dims()[1] != self.config.n_input_channels {
            let expected = format!("[batch, {}, D, H, W]", self.config.n_input_channels);
            return Err(Error::Shape { op: OP, expected, got: x.dims().to_vec() });
        }
        Ok(())
    }

    /// The max pool behind the stem.
    fn pool(&self) -> Option<Pool3dConfig> {
        let pool = Pool3dConfig::new([3; 3]).stride([2; 3]).padding([1; 3]);
        (!self.config.no_max_pool).then_some(pool)
    }

    fn classify(&self, pooled: &Tensor) -> Result<Tensor> {
        match &self.fc {
            Some(fc) => Ok(fc.forward(pooled)?),
            None => Err(config("num_classes", "set for a forward pass to classes", "None")),
        }
    }

    fn run_stem(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.check_input(x)?;
        self.stem.forward_relu(x, train)
    }

    fn run_pool(&self, stem: &Tensor) -> Result<Tensor> {
        match self.pool() {
            Some(pool) => Ok(max_pool3d(stem, &pool)?),
            None => Ok(stem.clone()),
        }
    }
}

fn run_layer(blocks: &[Block], x: &Tensor, train: bool) -> Result<Tensor> {
    blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x, train))
}

/// A [`MonaiResNet`] for inference: no norms, no training mode.
///
/// As [`FoldedVideoResNet`](crate::FoldedVideoResNet) it keeps the layout of its kernels in f32 on the CPU, with errors up
/// to 3e-5 of the largest value per convolution, and takes the path of the plain model elsewhere.
#[derive(Debug, Clone)]
pub struct FoldedMonaiResNet {
    plain: MonaiResNet,
    blocked: Option<Arc<BlockedTrunk>>,
}

impl FoldedMonaiResNet {
    /// The configuration of the model that was folded.
    pub fn config(&self) -> &MonaiResNetConfig {
        &self.plain.config
    }

    fn blocked(&self, x: &Tensor) -> Result<Option<&BlockedTrunk>> {
        self.plain.check_input(x)?;
        Ok(self.blocked.as_deref().filter(|_| takes(x)))
    }

    /// As [`MonaiResNet::pyramid`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn pyramid(&self, x: &Tensor) -> Result<Pyramid> {
        match self.blocked(x)? {
            Some(blocked) => blocked.pyramid(x),
            None => self.plain.pyramid(x, false),
        }
    }

    /// As [`MonaiResNet::forward_features`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn forward_features(&self, x: &Tensor) -> Result<Tensor> {
        match self.blocked(x)? {
            Some(blocked) => Ok(blocked.forward(x, |_| Ok(()))?.to_tensor()?),
            None => self.plain.forward_features(x, false),
        }
    }

    /// As [`MonaiResNet::forward_pooled`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::pyramid`].
    pub fn forward_pooled(&self, x: &Tensor, output: [usize; 3]) -> Result<Tensor> {
        Ok(adaptive_avg_pool3d(&self.forward_features(x)?, output)?.flatten_from(1)?)
    }

    /// As [`MonaiResNet::forward`] in evaluation.
    ///
    /// # Errors
    /// As [`MonaiResNet::forward`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.plain.classify(&self.forward_pooled(x, [1; 3])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;
    use candle_core::DType;
    use oncograph_nn::testing::{assert_gradient_coverage, device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    fn build(config: &MonaiResNetConfig, dtype: DType) -> (ParamStore, MonaiResNet) {
        let store = ParamStore::new(Seed::new(1));
        let model = config.build(store.var_builder(dtype, &device())).unwrap();
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
    #[cfg_attr(feature = "cuda", ignore = "a path of the CPU")]
    fn the_blocked_path_equals_the_plain_one() {
        for config in [
            small(18),
            small(50).layers([1; 4]),
            small(18).shortcut_type(ShortcutType::A).conv1_t_stride([2; 3]),
            small(10).no_max_pool(true),
        ] {
            let (_, model) = build(&config, DType::F32);
            let model = model.folded().unwrap();
            let x = pattern(&[2, 1, 9, 16, 13], 1).unwrap().to_dtype(DType::F32).unwrap();
            assert!(model.blocked(&x).unwrap().is_some());
            let (fast, plain) = (model.pyramid(&x).unwrap(), model.plain.pyramid(&x, false).unwrap());
            for (a, b) in
                std::iter::once((&fast.stem, &plain.stem)).chain(fast.layers.iter().zip(&plain.layers))
            {
                let most = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(most(&(a - b).unwrap()) < 1e-4 * most(b).max(1.0));
            }
        }
    }

    /// The strides of `layer3` and `layer4` become dilation: maps stay as large, and the weights are the same.
    #[test]
    fn dilated_stages_keep_the_size_and_the_parameters() {
        let config = small(18).shortcut_type(ShortcutType::A).conv1_t_stride([2; 3]);
        let (_, strided) = build(&config, DType::F64);
        let (store, dilated) = build(&config.dilated_stages(true), DType::F64);
        let x = pattern(&[1, 1, 17, 34, 32], 1).unwrap();
        let dims = |p: &Pyramid| p.layers.iter().map(|t| t.dims()[2..].to_vec()).collect::<Vec<_>>();
        let (few, many) = (strided.pyramid(&x, false).unwrap(), dilated.pyramid(&x, false).unwrap());
        assert_eq!(dims(&few)[1..], [[3, 5, 4], [2, 3, 2], [1, 2, 1]]);
        assert_eq!(dims(&many)[1..], [[3, 5, 4]; 3]);
        let gap =
            (dilated.folded().unwrap().forward(&x).unwrap() - dilated.forward(&x, false).unwrap()).unwrap();
        assert!(gap.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-10);
        let loss = dilated.forward(&pattern(&[2, 1, 17, 34, 32], 1).unwrap(), true).unwrap();
        let loss = (loss * pattern(&[2, 2], 2).unwrap()).unwrap();
        assert_gradient_coverage(&store, &loss.sum_all().unwrap()).unwrap();
    }

    #[test]
    fn weights_in_the_published_form_load() {
        let config = MonaiResNetConfig::medicalnet(18).unwrap().block_inplanes([1, 1, 2, 2]);
        let (from, _) = build(&config, DType::F32);
        let mut published: std::collections::HashMap<_, _> =
            from.snapshot().unwrap().into_iter().map(|(k, v)| (format!("module.{k}"), v)).collect();
        let head = Tensor::zeros((2, 2, 1, 1, 1), DType::F32, &device()).unwrap();
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
        let x = Tensor::ones((1, 2, 4, 4, 4), DType::F32, &device()).unwrap();
        assert!(model.forward_features(&x, false).is_err());
        assert!(small(10).widen_factor(0.1).validate().is_err());
    }
}
