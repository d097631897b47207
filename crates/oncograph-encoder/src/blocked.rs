//! The residual networks in the blocked layout: from the stem to the pool no change of layout, bias, residual and
//! ReLU in the pass that writes a convolution's output.

use crate::Result;
use crate::chain::{Chain, Step};
use candle_core::{DType, Tensor};
use oncograph_nn::conv3d::{BlockedConv3d, BlockedVolume, SpareVolumes};

/// Whether the blocked kernels take `x`: f32 on the CPU, and no gradient is wanted, which they do not have.
pub(crate) fn takes(x: &Tensor) -> bool {
    x.dtype() == DType::F32 && x.device().is_cpu() && !x.track_op()
}

/// Folded convolutions with a ReLU between them.
#[derive(Debug)]
pub(crate) struct BlockedChain(Vec<BlockedConv3d>);

impl BlockedChain {
    /// Of folded steps.
    pub(crate) fn new(chain: &Chain) -> Result<Self> {
        Ok(BlockedChain(chain.0.iter().map(prepared).collect::<Result<_>>()?))
    }

    /// `relu(chain(x) + residual)`.
    fn forward(
        &self,
        x: &BlockedVolume,
        residual: Option<&BlockedVolume>,
        spare: &SpareVolumes,
    ) -> Result<BlockedVolume> {
        let mut current: Option<BlockedVolume> = None;
        for (i, conv) in self.0.iter().enumerate() {
            let residual = residual.filter(|_| i + 1 == self.0.len());
            let next = conv.forward_reusing(current.as_ref().unwrap_or(x), residual, true, spare)?;
            if let Some(done) = current.replace(next) {
                spare.put(done);
            }
        }
        Ok(current.unwrap_or_else(|| x.clone()))
    }

    /// `relu(chain(x))` of the input of a network.
    pub(crate) fn forward_stem(&self, x: &Tensor, spare: &SpareVolumes) -> Result<BlockedVolume> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(BlockedVolume::from_tensor(x)?) };
        let mut y = first.forward_tensor(x, true, spare)?;
        for conv in rest {
            let next = conv.forward_reusing(&y, None, true, spare)?;
            spare.put(std::mem::replace(&mut y, next));
        }
        Ok(y)
    }
}

fn prepared(step: &Step) -> Result<BlockedConv3d> {
    let conv = step.conv();
    Ok(BlockedConv3d::new(conv.weight(), conv.bias(), *conv.config())?)
}

/// A residual block of two chains.
#[derive(Debug)]
pub(crate) struct BlockedBlock {
    conv1: BlockedChain,
    conv2: BlockedChain,
    downsample: Option<BlockedConv3d>,
}

impl BlockedBlock {
    /// Of folded parts.
    pub(crate) fn new(conv1: &Chain, conv2: &Chain, downsample: Option<&Step>) -> Result<Self> {
        let downsample = downsample.map(prepared).transpose()?;
        Ok(BlockedBlock { conv1: BlockedChain::new(conv1)?, conv2: BlockedChain::new(conv2)?, downsample })
    }

    /// The block's output; its input's memory and that of all in between goes to `spare`.
    pub(crate) fn forward(&self, x: BlockedVolume, spare: &SpareVolumes) -> Result<BlockedVolume> {
        let y = self.conv1.forward(&x, None, spare)?;
        let shortcut = match &self.downsample {
            Some(conv) => {
                let shortcut = conv.forward_reusing(&x, None, false, spare)?;
                spare.put(x);
                shortcut
            }
            None => x,
        };
        let out = self.conv2.forward(&y, Some(&shortcut), spare)?;
        spare.put(y);
        spare.put(shortcut);
        Ok(out)
    }
}
