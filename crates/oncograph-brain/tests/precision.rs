//! Training with convolutions in bf16 on a GPU against f32.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::{DType, Device, Tensor};
use oncograph_nn::conv3d::{Conv3d, Conv3dConfig, Conv3dLayerConfig};
use oncograph_nn::norm::{BatchNorm, BatchNormConfig};
use oncograph_nn::optim::AdamConfig;
use oncograph_nn::testing::{device, pattern};
use oncograph_nn::{Dropout, Linear, Mode, Module, ParamStore, Precision, Seed, linear};
use oncograph_train::{
    Error, FitConfig, FitOutcome, Keep, Learner, OptimizerConfig, Result, StepLoss, StopFlag, Validation, fit,
};
use std::path::Path;

const STEPS: usize = 3;

/// Two convolutions with batch norm, dropout and a linear layer, which tell how much of a volume is bright.
struct Brightness {
    convs: [Conv3d; 2],
    norms: [BatchNorm; 2],
    head: Linear,
    seed: Seed,
    device: Device,
    /// Asks for a stop before this many steps in all.
    stop_after: Option<(usize, StopFlag)>,
}

impl Brightness {
    fn new(device: &Device) -> (ParamStore, Self) {
        let store = ParamStore::new(Seed::new(4));
        let vb = store.var_builder(DType::F32, device);
        let conv = |i: usize, ci, co| {
            let config = Conv3dLayerConfig::new(ci, co, [3; 3]).conv(Conv3dConfig::new().padding([1; 3]));
            config.build(vb.pp(format!("conv{i}"))).unwrap()
        };
        let norm = |i: usize, c| BatchNormConfig::new(c).build(vb.pp(format!("norm{i}"))).unwrap();
        let learner = Brightness {
            convs: [conv(0, 1, 4), conv(1, 4, 6)],
            norms: [norm(0, 4), norm(1, 6)],
            head: linear(6, 1, vb.pp("head")).unwrap(),
            seed: Seed::new(7),
            device: device.clone(),
            stop_after: None,
        };
        (store, learner)
    }

    fn loss(&self, seed: Option<Seed>, salt: u64) -> Result<Tensor> {
        let (train, mode) = (seed.is_some(), seed.map_or(Mode::Eval, Mode::Train));
        let level = Tensor::new(&[0.2f32, 0.5, 1.0, 1.6], &self.device)?.reshape((4, 1, 1, 1, 1))?;
        let noise = pattern(&[4, 1, 5, 6, 4], salt)?.to_dtype(DType::F32)?.to_device(&self.device)?;
        let mut x = noise.broadcast_mul(&level)?;
        for (conv, norm) in self.convs.iter().zip(&self.norms) {
            x = conv.forward_norm(&x, norm, true, train)?;
        }
        let x = Dropout::new(0.1)?.forward(&x.flatten_from(2)?.sqr()?.mean(2)?, mode)?;
        Ok((self.head.forward(&x)? - level.reshape((4, 1))?)?.sqr()?.mean_all()?)
    }
}

impl Learner for Brightness {
    fn steps(&self, _: usize) -> usize {
        STEPS
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> Result<StepLoss> {
        if let Some((left, stop)) = &mut self.stop_after {
            if *left == 0 {
                stop.request();
            }
            *left = left.saturating_sub(1);
        }
        let seed = self.seed.at(epoch as u64).at(step as u64);
        Ok(StepLoss { loss: self.loss(Some(seed), 1 + step as u64)?, parts: vec![] })
    }

    fn validate(&mut self, _: usize) -> Result<Validation> {
        Ok(Validation { score: f64::from(self.loss(None, 9)?.to_scalar::<f32>()?), parts: vec![] })
    }
}

fn config(precision: Precision) -> FitConfig {
    let optimizer = OptimizerConfig::Adam(AdamConfig::new(0.02));
    FitConfig::new(8, optimizer).keep(Keep::Last).precision(precision)
}

/// What training comes to, and the bits of the parameters.
fn trained(precision: Precision, checkpoint: Option<&Path>) -> (FitOutcome, Vec<u32>) {
    let (store, mut learner) = Brightness::new(&device());
    let outcome =
        fit(&mut learner, &store, &config(precision), checkpoint, &StopFlag::new(), |_| ()).unwrap();
    let bits = store.trainable().into_iter().flat_map(|(_, var)| {
        let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits)
    });
    (outcome, bits.collect())
}

#[test]
fn losses_in_bf16_are_near_those_in_f32_and_fall() {
    // Eight epochs of noise of 8 bits in each product.
    const BOUND: f64 = 0.02;
    let (exact, exact_bits) = trained(Precision::F32, None);
    let (got, bits) = trained(Precision::Bf16, None);
    assert_ne!(bits, exact_bits);
    let first = exact.history[0].train_loss;
    let mut largest = 0f64;
    for (a, b) in got.history.iter().zip(&exact.history) {
        largest = largest.max((a.train_loss - b.train_loss).abs() / first);
    }
    println!("losses from {first:.3} to {:.3}, apart by {largest:.1e}", got.history[7].train_loss);
    assert!(largest < BOUND, "{largest}");
    assert!(got.history[7].train_loss < 0.5 * first, "{:?}", got.history);
    let tf32 = trained(Precision::Tf32, None).0.history[0].train_loss;
    assert!((tf32 - first).abs() < 0.01 * first, "{tf32}, {first}");
}

#[test]
fn a_stopped_run_ends_with_the_same_bits_and_in_its_own_precision() {
    let (whole, bits) = trained(Precision::Bf16, None);
    for stop_after in [1, 4, 11] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let (store, mut learner) = Brightness::new(&device());
        let stop = StopFlag::new();
        learner.stop_after = Some((stop_after, stop.clone()));
        let stopped = fit(&mut learner, &store, &config(Precision::Bf16), Some(&path), &stop, |_| ());
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        if path.exists() {
            let (store, mut learner) = Brightness::new(&device());
            let other = config(Precision::F32);
            let error = fit(&mut learner, &store, &other, Some(&path), &StopFlag::new(), |_| ()).unwrap_err();
            assert!(error.to_string().ends_with("begun in bf16, not in f32"), "{error}");
        }
        assert_eq!(trained(Precision::Bf16, Some(&path)), (whole.clone(), bits.clone()));
    }
}

#[test]
fn a_first_step_that_is_far_from_f32_ends_training() {
    let (store, mut learner) = Brightness::new(&device());
    let strict = config(Precision::Bf16).precision_tolerance(1e-9);
    let error = fit(&mut learner, &store, &strict, None, &StopFlag::new(), |_| ()).unwrap_err();
    assert!(matches!(error, Error::Imprecise { .. }), "{error}");
}
