//! A convolution for inference that keeps its weights in the order of the kernels.

use super::choice::{Kernel, fastest, winograd_fits};
use super::direct::{DirectWeights, Input, direct, pad_planes};
use super::forward::{Extra, Run};
use super::lanes::{Isa, LANES};
use super::padded_bias;
use super::spare::SpareVolumes;
use super::volume::{BlockedVolume, with_values};
use super::weights::{Source, Weights};
use crate::conv3d::config::Geometry;
use crate::conv3d::{Algorithm, Conv3dConfig};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::OnceLock;

/// A 3D convolution for inference on the CPU, with bias, residual and ReLU in one pass.
///
/// It takes groups and dilation of 1 and f32. Weights are transformed when they are first used and kept: up to
/// 4 times the size of the weights for Winograd's kernels with tiles of 4.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{BlockedConv3d, BlockedVolume, Conv3dConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::ones((1, 16, 4, 6, 6), DType::F32, &Device::Cpu)?;
/// let w = Tensor::ones((8, 16, 3, 3, 3), DType::F32, &Device::Cpu)?;
/// let conv = BlockedConv3d::new(&w, None, Conv3dConfig::new().padding([1; 3]))?;
/// let y = conv.forward(&BlockedVolume::from_tensor(&x)?, None, true)?.to_tensor()?;
/// let corner = y.flatten_all()?.to_vec1::<f32>()?[0];
/// assert!((corner - 128.0).abs() < 1e-3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BlockedConv3d {
    weight: Tensor,
    /// \[out, in, kD, kH, kW\]
    shape: [usize; 5],
    bias: Option<Vec<f32>>,
    config: Conv3dConfig,
    algorithm: Algorithm,
    direct: OnceLock<DirectWeights>,
    planes: OnceLock<DirectWeights>,
    /// With tiles of 2 and of 4.
    winograd: [OnceLock<Weights>; 2],
}

impl BlockedConv3d {
    /// From a weight \[out, in, kD, kH, kW\], whose memory is shared, and a bias \[out\].
    ///
    /// Later changes of a variable's value reach only what has not yet been used: make a new convolution then.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit together, [`Error::Argument`] for groups or dilation other than 1
    /// or another type than f32.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, config: Conv3dConfig) -> Result<Self> {
        config.validate()?;
        if config.groups != 1 || config.dilation != [1; 3] {
            let got = format!("{} and {:?}", config.groups, config.dilation);
            return Err(Error::config("BlockedConv3d", "groups and dilation", "1", got));
        }
        let &[co, ci, kd, kh, kw] = weight.dims() else {
            return Err(Error::shape("BlockedConv3d", "a weight [out, in, kD, kH, kW]", weight.dims()));
        };
        if weight.dims().contains(&0) || bias.is_some_and(|b| b.dims() != [co]) {
            let got = (weight.dims(), bias.map(Tensor::dims));
            return Err(Error::shape("BlockedConv3d", format!("weights and a bias [{co}]"), got));
        }
        Ok(BlockedConv3d {
            weight: with_values(weight, |_| weight.detach())?,
            shape: [co, ci, kd, kh, kw],
            bias: bias.map(|b| with_values(b, padded_bias)).transpose()?,
            config,
            algorithm: Algorithm::Auto,
            direct: OnceLock::new(),
            planes: OnceLock::new(),
            winograd: [OnceLock::new(), OnceLock::new()],
        })
    }

    /// Sets the kernel: [`Algorithm::Winograd2`] or [`Algorithm::Winograd4`] where they apply, the direct one for
    /// every other choice than [`Algorithm::Auto`].
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// `relu(conv(x) + bias + residual)`, the last two where they are given.
    ///
    /// # Shapes
    /// `x` \[batch, in, D, H, W\]; `residual` as the result.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of channels, a residual of another shape, or a volume smaller than the
    /// kernel; [`Error::Argument`] for a padding above 1 along height or width, which the border of a
    /// [`BlockedVolume`] does not hold, or a chosen kernel that does not apply.
    pub fn forward(
        &self,
        x: &BlockedVolume,
        residual: Option<&BlockedVolume>,
        relu: bool,
    ) -> Result<BlockedVolume> {
        self.forward_reusing(x, residual, relu, &SpareVolumes::default())
    }

    /// [`BlockedConv3d::forward`] into memory of `spare`, where a volume of the result's shape is there.
    ///
    /// # Errors
    /// As [`BlockedConv3d::forward`].
    pub fn forward_reusing(
        &self,
        x: &BlockedVolume,
        residual: Option<&BlockedVolume>,
        relu: bool,
        spare: &SpareVolumes,
    ) -> Result<BlockedVolume> {
        let g = self.geometry(x.batch, x.channels, x.size)?;
        if g.padding[1].max(g.padding[2]) > 1 {
            let got = format!("{:?}", g.padding);
            return Err(Error::config("BlockedConv3d", "padding", "at most 1 on a blocked volume", got));
        }
        let kernel = self.kernel(&g)?;
        self.run(&g, residual, relu, spare, |extra, y| match kernel {
            Kernel::Direct => {
                let weights = self.once(&self.direct, |w| DirectWeights::new(&g, w, false))?;
                direct(Isa::detect(), &g, Input::blocked(x, g.padding), weights, extra, y);
                Ok(())
            }
            Kernel::Winograd(m) => {
                let (isa, source) = (
                    Isa::detect(),
                    Source { outputs: g.co, inputs: g.ci, depth: g.kernel[0], flipped: false },
                );
                let weights = self.once(&self.winograd[m / 4], |w| Weights::new(isa, m, w, source))?;
                Run { isa, x, weights, padding: g.padding, extra }.write(y);
                Ok(())
            }
        })
    }

    /// [`BlockedConv3d::forward`] of a plain tensor with the direct kernel: for the few channels of a network's
    /// input, and with any padding.
    ///
    /// # Errors
    /// [`Error::Shape`] as there, [`Error::Argument`] for another type than f32.
    pub fn forward_tensor(&self, x: &Tensor, relu: bool, spare: &SpareVolumes) -> Result<BlockedVolume> {
        let &[batch, channels, d, h, w] = x.dims() else {
            return Err(Error::shape("BlockedConv3d", "[batch, channels, D, H, W]", x.dims()));
        };
        let g = self.geometry(batch, channels, [d, h, w])?;
        let padded = with_values(x, |x| pad_planes(&g, x))?;
        self.run(&g, None, relu, spare, |extra, y| {
            let weights = self.once(&self.planes, |w| DirectWeights::new(&g, w, true))?;
            direct(Isa::detect(), &g, Input::planes(&g, &padded), weights, extra, y);
            Ok(())
        })
    }

    fn geometry(&self, batch: usize, channels: usize, [d, h, w]: [usize; 3]) -> Result<Geometry> {
        Geometry::new(&[batch, channels, d, h, w], &self.shape, &self.config)
    }

    /// What `make` makes of the weight, kept in `cell`.
    fn once<'a, T>(&self, cell: &'a OnceLock<T>, make: impl FnOnce(&[f32]) -> T) -> Result<&'a T> {
        if let Some(made) = cell.get() {
            return Ok(made);
        }
        let made = with_values(&self.weight, make)?;
        Ok(cell.get_or_init(|| made))
    }

    fn kernel(&self, g: &Geometry) -> Result<Kernel> {
        let m = match self.algorithm {
            Algorithm::Auto => return Ok(fastest(g)),
            Algorithm::Winograd2 => 2,
            Algorithm::Winograd4 => 4,
            _ => return Ok(Kernel::Direct),
        };
        match winograd_fits(g) {
            true => Ok(Kernel::Winograd(m)),
            false => Err(super::super::does_not_fit(g)),
        }
    }

    fn run(
        &self,
        g: &Geometry,
        residual: Option<&BlockedVolume>,
        relu: bool,
        spare: &SpareVolumes,
        f: impl FnOnce(Extra, &mut BlockedVolume) -> Result<()>,
    ) -> Result<BlockedVolume> {
        let mut y = spare.take(g.batch, g.co, g.output);
        if let Some(r) = residual.filter(|r| r.dims() != y.dims()) {
            return Err(Error::shape("BlockedConv3d residual", format!("{:?}", y.dims()), r.dims()));
        }
        if !y.data.is_empty() && y.size.iter().product::<usize>() > 0 {
            f(Extra { bias: self.bias.as_deref(), residual, relu }, &mut y)?;
        }
        debug_assert!(self.bias.as_ref().is_none_or(|b| b.len().is_multiple_of(LANES)));
        Ok(y)
    }
}
