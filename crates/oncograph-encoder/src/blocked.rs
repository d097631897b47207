//! The residual networks in the blocked layout: from the stem to the pool no change of layout, bias, residual and
//! ReLU in the pass that writes a convolution's output.

use crate::chain::Step;
use crate::{Pyramid, Result};
use candle_core::{DType, Tensor};
use oncograph_nn::conv3d::{BlockedConv3d, BlockedVolume, SpareVolumes};
use oncograph_nn::pool::Pool3dConfig;
use std::sync::{Arc, Mutex};

/// Whether the blocked kernels take `x`: f32 on the CPU, without a gradient, which they do not compute.
pub(crate) fn takes(x: &Tensor) -> bool {
    x.dtype() == DType::F32 && x.device().is_cpu() && !x.track_op()
}

/// Folded convolutions with a ReLU between them.
#[derive(Debug)]
pub(crate) struct BlockedChain(Vec<BlockedConv3d>);

impl BlockedChain {
    /// Of folded steps.
    pub(crate) fn new(chain: &[Step]) -> Result<Self> {
        Ok(BlockedChain(chain.iter().map(prepared).collect::<Result<_>>()?))
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
    pub(crate) fn new(conv1: &[Step], conv2: &[Step], downsample: Option<&Step>) -> Result<Self> {
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

/// A residual network from the stem to the last map.
#[derive(Debug)]
pub(crate) struct BlockedTrunk {
    stem: BlockedChain,
    /// The max pool behind the stem.
    pool: Option<Pool3dConfig>,
    layers: Vec<Vec<BlockedBlock>>,
    /// The memory of the last pass, for an input of this shape.
    spare: Mutex<(Vec<usize>, Arc<SpareVolumes>)>,
}

impl BlockedTrunk {
    /// Of folded parts.
    pub(crate) fn new(
        stem: &[Step],
        pool: Option<Pool3dConfig>,
        layers: Vec<Vec<BlockedBlock>>,
    ) -> Result<Self> {
        Ok(BlockedTrunk { stem: BlockedChain::new(stem)?, pool, layers, spare: Mutex::default() })
    }

    /// The last map; `f` sees every earlier one, the stem's before the pool.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        mut f: impl FnMut(&BlockedVolume) -> Result<()>,
    ) -> Result<BlockedVolume> {
        let spare = self.spare(x.dims());
        let mut x = self.stem.forward_stem(x, &spare)?;
        f(&x)?;
        if let Some(pool) = &self.pool {
            let pooled = x.max_pool(pool, &spare)?;
            spare.put(std::mem::replace(&mut x, pooled));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                f(&x)?;
            }
            for block in layer {
                x = block.forward(x, &spare)?;
            }
        }
        Ok(x)
    }

    /// The maps of the stem and of every layer.
    pub(crate) fn pyramid(&self, x: &Tensor) -> Result<Pyramid> {
        let mut layers = Vec::with_capacity(self.layers.len() + 1);
        let last = self.forward(x, |map| {
            layers.push(map.to_tensor()?);
            Ok(())
        })?;
        layers.push(last.to_tensor()?);
        Ok(Pyramid { stem: layers.remove(0), layers })
    }

    /// The memory of the last pass if its input had the same shape; else that is given up.
    fn spare(&self, shape: &[usize]) -> Arc<SpareVolumes> {
        let mut last = self.spare.lock().unwrap_or_else(|e| e.into_inner());
        if last.0 != shape {
            *last = (shape.to_vec(), Arc::default());
        }
        last.1.clone()
    }
}
