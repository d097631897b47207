use super::{MonaiResNetConfig, ResNetBlock, ShortcutType};
use crate::Result;
use crate::blocked::BlockedBlock;
use crate::chain::{Step, StepConfig, through};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_nn::add_relu;
use oncograph_nn::pool::{Pool3dConfig, avg_pool3d};

#[derive(Debug, Clone)]
enum Shortcut {
    Identity,
    /// Every n-th voxel, then channels of zeros up to this number.
    Pad {
        stride: usize,
        channels: usize,
    },
    Convolution(Box<Step>),
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
pub(super) struct Block {
    steps: Vec<Step>,
    shortcut: Shortcut,
}

impl Block {
    pub(super) fn new(
        c: &MonaiResNetConfig,
        (input, planes): (usize, usize),
        (s, dilation): (usize, usize),
        vb: VarBuilder,
    ) -> Result<Self> {
        let step = |i: usize, channels, kernel: usize, stride: usize| {
            // A kernel of one voxel has nothing to dilate.
            let dilation = if kernel > 1 { dilation } else { 1 };
            let (kernel, stride, padding) = ([kernel; 3], [stride; 3], [dilation * (kernel / 2); 3]);
            let at = StepConfig { channels, kernel, stride, padding, dilation };
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
                let at = StepConfig {
                    channels: (input, out),
                    kernel: [1; 3],
                    stride: [s; 3],
                    padding: [0; 3],
                    dilation: 1,
                };
                let vb = vb.pp("downsample");
                Shortcut::Convolution(Box::new(Step::with_bias(at, c.bias_downsample, vb.pp(0), vb.pp(1))?))
            }
        };
        Ok(Block { steps, shortcut })
    }

    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (before, last) = self.steps.split_at(self.steps.len() - 1);
        let y = last[0].forward(&through(before, x, train)?, train)?;
        Ok(add_relu(&y, &self.shortcut.forward(x, train)?)?)
    }

    pub(super) fn folded(&self) -> Result<Self> {
        let shortcut = match &self.shortcut {
            Shortcut::Convolution(step) => Shortcut::Convolution(Box::new(step.folded()?)),
            other => other.clone(),
        };
        Ok(Block { steps: self.steps.iter().map(Step::folded).collect::<Result<_>>()?, shortcut })
    }

    /// A folded block in the blocked layout.
    pub(super) fn blocked(&self) -> Result<BlockedBlock> {
        let (first, last) = self.steps.split_at(self.steps.len() - 1);
        match &self.shortcut {
            Shortcut::Identity => BlockedBlock::new(first, last, None),
            Shortcut::Convolution(step) => BlockedBlock::new(first, last, Some(step)),
            Shortcut::Pad { stride, channels } => {
                let weight = first[0].conv().weight();
                BlockedBlock::new(first, last, Some(&Step::picking(*stride, *channels, weight)?))
            }
        }
    }
}
