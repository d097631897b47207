//! Image encoders at the size of a scan.

use super::{Bench, random};
use anyhow::{Result, ensure};
use candle_core::Tensor;
use oncograph_encoder::{MonaiResNetConfig, VideoResNetConfig};
use oncograph_nn::conv3d::{BlockedConv3d, BlockedVolume, Conv3dConfig};
use oncograph_nn::optim::{AdamW, AdamWConfig, Optimizer};

type Run = fn(&mut Bench) -> Result<()>;

pub(super) const CASES: &[(&str, Run)] = &[
    ("encoder/r3d_18", |b| inference(b, &VideoResNetConfig::r3d_18(1), 1)),
    ("encoder/r3d_18_batch_6", |b| inference(b, &VideoResNetConfig::r3d_18(1), 6)),
    ("encoder/r3d_18_batch_8", |b| inference(b, &VideoResNetConfig::r3d_18(1), 8)),
    ("encoder/r2plus1d_18", |b| inference(b, &VideoResNetConfig::r2plus1d_18(1), 1)),
    ("encoder/monai_resnet18", monai),
    ("encoder/r3d_18_training", training),
    ("encoder/conv_1e5", |b| convolution(b, 46)),
    ("encoder/conv_1e6", |b| convolution(b, 100)),
    ("encoder/conv_1e7", |b| convolution(b, 215)),
];

fn scans(bench: &Bench, batch: usize) -> Result<Tensor> {
    let (depth, side) = (bench.size(40, 4), bench.size(128, 16));
    bench.random(&[batch, 1, depth, side, side], 1)
}

/// The network, narrow where only the way is tested.
fn sized(bench: &Bench, config: VideoResNetConfig) -> VideoResNetConfig {
    if bench.settings.tiny { config.base_width(8) } else { config }
}

fn inference(bench: &mut Bench, config: &VideoResNetConfig, batch: usize) -> Result<()> {
    let config = sized(bench, config.clone().classes(Some(400)));
    let model = config.build(bench.vb())?.folded()?;
    let x = scans(bench, batch)?;
    bench.give("x", &x);
    let y = bench.time(|| Ok(model.forward(&x)?))?;
    bench.result("y", &y);
    Ok(())
}

/// One convolution of a cube, as in a network that is folded for inference.
fn convolution(bench: &mut Bench, side: usize) -> Result<()> {
    ensure!(bench.settings.device.is_cpu(), "the blocked layout is of the CPU");
    let weight = random(&[8, 8, 3, 3, 3], 2)?;
    let blocked = BlockedConv3d::new(&weight, None, Conv3dConfig::new().padding([1; 3]))?;
    let x = BlockedVolume::from_tensor(&random(&[1, 8, side, side, side], 1)?)?;
    let y = bench.time(|| Ok(blocked.forward(&x, None, true)?))?;
    bench.result("sum", &y.to_tensor()?.sum_all()?);
    Ok(())
}

fn monai(bench: &mut Bench) -> Result<()> {
    let config = MonaiResNetConfig::resnet(18, 1)?.conv1_t_stride([1; 3]).num_classes(Some(2));
    let model = config.build(bench.vb())?.folded()?;
    let x = scans(bench, 1)?;
    bench.give("x", &x);
    let y = bench.time(|| Ok(model.forward(&x)?))?;
    bench.result("y", &y);
    Ok(())
}

fn training(bench: &mut Bench) -> Result<()> {
    let model = sized(bench, VideoResNetConfig::r3d_18(1).classes(Some(2))).build(bench.vb())?;
    let x = scans(bench, 2)?;
    bench.give("x", &x);
    // The first loss, before any step, is what the two sides can agree on; its maps must not outlive it.
    bench.result("loss", &model.forward(&x, true)?.sqr()?.mean_all()?);
    let store = bench.store.clone();
    let mut optimizer = AdamW::new(AdamWConfig::new(1e-4))?;
    bench.time(|| {
        let loss = model.forward(&x, true)?.sqr()?.mean_all()?;
        Ok(optimizer.step(&store, &store.backward(&loss)?)?)
    })
}
