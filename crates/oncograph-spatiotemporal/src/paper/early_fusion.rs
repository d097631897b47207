use crate::step_losses::{task_loss, validation};
use crate::trained::times;
use crate::{Result, STG_TASKS, StgCohort, StgPipeline, StgSystemConfig, TimePrediction, TimeScale};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use oncograph_core::{FollowUp, Seed, Split, Table};
use oncograph_nn::conv3d::{Conv3d, Conv3dConfig, Conv3dLayerConfig, PaddingMode};
use oncograph_nn::pool::{Pool3dConfig, adaptive_max_pool3d, max_pool3d};
use oncograph_nn::{Linear, Module, ParamStore, linear, linear_no_bias, relu};
use oncograph_study::{Answers, Fitted, Job, System, side_by_side};
use oncograph_train::{Learner, StepLoss, StopFlag, Validation};
use rand::seq::SliceRandom;
use std::sync::Arc;

/// Channels behind the two convolutions.
const WIDTHS: [usize; 2] = [16, 32];
/// Cells per axis of the pyramid.
const LEVELS: [usize; 3] = [1, 2, 4];

/// Early fusion: a small 3D CNN, trained from its start, on the CT with every covariate as one more channel of one value.
///
/// Two convolutions of 3 x 3 x 3 with a max-pool between and a pyramid of maxima behind, as
/// [`oncograph_encoder::SelfBuiltCnn`], and a linear head per task. The first convolution repeats the border voxels, so that
/// a channel of one value stays one: what it adds is a linear map of the covariates, and is computed as one.
///
/// # Reference
/// The row "multimodal 3D-CNN (early fusion)" of the paper, which states neither layers nor widths.
#[derive(Debug, Clone)]
pub struct EarlyFusion {
    config: StgSystemConfig,
    volumes: Arc<Vec<Vec<f32>>>,
    /// Slices, rows, columns.
    shape: [usize; 3],
}

impl EarlyFusion {
    /// Reads the CTs of a cohort by `workers` threads, as the encoder takes them; scaling, losses and training are those of
    /// `config`, but for learned loss weights, and risk sets are those of a batch.
    ///
    /// # Errors
    /// The first patient whose images cannot be loaded; a request to stop.
    pub fn read(
        config: &StgSystemConfig,
        cohort: &StgCohort,
        workers: usize,
        stop: &StopFlag,
    ) -> Result<Self> {
        let rows: Vec<usize> = (0..cohort.len()).collect();
        let volumes = side_by_side(&rows, workers, |&row| {
            if stop.is_requested() {
                return Err(oncograph_train::Error::Stopped.into());
            }
            let images = cohort.prepare(row).map_err(oncograph_study::Error::system)?;
            Ok::<_, oncograph_study::Error>(images.ct.as_slice().to_vec())
        })?;
        let (slices, in_plane) = (config.preprocess.slices, config.preprocess.in_plane);
        let shape = [slices, in_plane, in_plane];
        Ok(EarlyFusion { config: config.clone(), volumes: Arc::new(volumes), shape })
    }

    fn train(&self, data: &StgCohort, split: &Split, job: &mut Job<'_>) -> Result<FittedEarlyFusion> {
        let (seed, device) = (job.seed(), job.device().clone());
        let pipeline = StgPipeline::fit(data.clinical(), None, &split.train, &self.config)?;
        let store = ParamStore::new(seed.stream("network"));
        let vb = store.var_builder(DType::F32, &device);
        let outputs = self.config.model.survival_loss.width(self.config.model.steps);
        let network = Network::new(pipeline.covariates(), outputs, vb)?;
        let patients = Patients::new(self, &pipeline, data.clinical(), &device)?;
        let outcomes = data.outcomes();
        let scales = self.config.training.time_unit.scales(outcomes, &split.train)?;
        // A patient is shown once an epoch, in as many steps as the copies of the other rows take.
        let batch = (self.config.training.batch / self.config.training.augment.expansion.max(1)).max(1);
        let mut learner = VolumeLearner {
            network: &network,
            patients: &patients,
            outcomes,
            split,
            scales,
            batch,
            config: &self.config,
            seed,
        };
        job.train(&mut learner, &store, &self.config.fit)?;
        let [recurrence, survival] = network.output(&patients, &split.train, batch)?;
        let flat = |head: Tensor| head.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let training_outputs = [flat(recurrence)?, flat(survival)?];
        let training = split.train.iter().map(|&i| outcomes[i]).collect();
        let parameters = store.parameter_count();
        let system = self.clone();
        Ok(FittedEarlyFusion {
            system,
            pipeline,
            network,
            scales,
            training,
            training_outputs,
            device,
            batch,
            parameters,
        })
    }
}

impl System for EarlyFusion {
    type Data = StgCohort;
    type Fitted = FittedEarlyFusion;

    fn fit(
        &self,
        data: &StgCohort,
        split: &Split,
        job: &mut Job<'_>,
    ) -> oncograph_study::Result<FittedEarlyFusion> {
        Ok(self.train(data, split, job)?)
    }
}

/// A trained [`EarlyFusion`].
#[derive(Debug)]
pub struct FittedEarlyFusion {
    system: EarlyFusion,
    pipeline: StgPipeline,
    network: Network,
    scales: [TimeScale; 2],
    training: Vec<[FollowUp; 2]>,
    training_outputs: [Vec<f64>; 2],
    device: Device,
    batch: usize,
    parameters: usize,
}

impl FittedEarlyFusion {
    fn predict(&self, data: &StgCohort, rows: &[usize]) -> Result<[Vec<TimePrediction>; 2]> {
        let patients = Patients::new(&self.system, &self.pipeline, data.clinical(), &self.device)?;
        let output = self.network.output(&patients, rows, self.batch)?;
        let task = |task: usize, head: &Tensor| {
            let outcomes: Vec<FollowUp> = self.training.iter().map(|o| o[task]).collect();
            let training = (self.training_outputs[task].as_slice(), outcomes.as_slice());
            times(&self.system.config.model, head, &self.scales[task], training)
        };
        Ok([task(0, &output[0])?, task(1, &output[1])?])
    }
}

impl Fitted<StgCohort> for FittedEarlyFusion {
    fn answer(&self, data: &StgCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        let tasks = self.predict(data, rows)?.map(|task| task.into_iter().map(Into::into).collect());
        Ok(STG_TASKS.iter().map(|name| name.to_string()).zip(tasks).collect())
    }

    fn parameters(&self) -> usize {
        self.parameters
    }
}

/// What the network is given, patient by patient.
struct Patients<'a> {
    volumes: &'a [Vec<f32>],
    shape: [usize; 3],
    /// Scaled covariates.
    covariates: Vec<Vec<f32>>,
    device: Device,
}

impl<'a> Patients<'a> {
    fn new(
        system: &'a EarlyFusion,
        pipeline: &StgPipeline,
        clinical: &Table,
        device: &Device,
    ) -> Result<Self> {
        let covariates = pipeline.covariates_of(clinical)?;
        Ok(Patients { volumes: &system.volumes, shape: system.shape, covariates, device: device.clone() })
    }

    /// CTs \[rows, 1, D, H, W\] and covariates \[rows, covariates\] of some patients.
    fn batch(&self, rows: &[usize]) -> Result<(Tensor, Tensor)> {
        let [d, h, w] = self.shape;
        let voxels: Vec<f32> = rows.iter().flat_map(|&r| self.volumes[r].iter().copied()).collect();
        let covariates: Vec<f32> = rows.iter().flat_map(|&r| self.covariates[r].iter().copied()).collect();
        let width = covariates.len() / rows.len().max(1);
        Ok((
            Tensor::from_vec(voxels, (rows.len(), 1, d, h, w), &self.device)?,
            Tensor::from_vec(covariates, (rows.len(), width), &self.device)?,
        ))
    }
}

/// Parameters `conv1`, `covariates`, `conv2`, and the heads `rec` and `surv`.
#[derive(Debug)]
struct Network {
    conv1: Conv3d,
    covariates: Linear,
    conv2: Conv3d,
    heads: [Linear; 2],
}

impl Network {
    fn new(covariates: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        let conv = |input, out, vb| {
            let conv = Conv3dConfig::new().padding([1; 3]);
            Conv3dLayerConfig::new(input, out, [3; 3])
                .conv(conv)
                .padding_mode(PaddingMode::Replicate)
                .build(vb)
        };
        let width = WIDTHS[1] * LEVELS.iter().map(|cells| cells.pow(3)).sum::<usize>();
        Ok(Network {
            conv1: conv(1, WIDTHS[0], vb.pp("conv1"))?,
            covariates: linear_no_bias(covariates, WIDTHS[0], vb.pp("covariates"))?,
            conv2: conv(WIDTHS[0], WIDTHS[1], vb.pp("conv2"))?,
            heads: [linear(width, outputs, vb.pp("rec"))?, linear(width, outputs, vb.pp("surv"))?],
        })
    }

    /// CTs \[rows, 1, D, H, W\], covariates \[rows, covariates\] -> both heads \[rows, outputs\]
    fn forward(&self, ct: &Tensor, covariates: &Tensor) -> Result<[Tensor; 2]> {
        let added = self.covariates.forward(covariates)?;
        let (rows, channels) = added.dims2()?;
        let first = self.conv1.forward(ct)?.broadcast_add(&added.reshape((rows, channels, 1, 1, 1))?)?;
        let x = max_pool3d(&relu(&first)?, &Pool3dConfig::new([2; 3]))?;
        let x = relu(&self.conv2.forward(&x)?)?;
        let level = |cells: &usize| Ok(adaptive_max_pool3d(&x, [*cells; 3])?.flatten_from(1)?);
        let features = Tensor::cat(&LEVELS.iter().map(level).collect::<Result<Vec<_>>>()?, 1)?;
        Ok([self.heads[0].forward(&features)?, self.heads[1].forward(&features)?])
    }

    /// Both heads of some patients, `batch` at a time.
    fn output(&self, patients: &Patients<'_>, rows: &[usize], batch: usize) -> Result<[Tensor; 2]> {
        let (mut recurrence, mut survival) = (vec![], vec![]);
        for rows in rows.chunks(batch) {
            let (ct, covariates) = patients.batch(rows)?;
            let [r, s] = self.forward(&ct, &covariates)?;
            recurrence.push(r.detach());
            survival.push(s.detach());
        }
        Ok([Tensor::cat(&recurrence, 0)?, Tensor::cat(&survival, 0)?])
    }
}

/// The training of one network on one split.
struct VolumeLearner<'a> {
    network: &'a Network,
    patients: &'a Patients<'a>,
    outcomes: &'a [[FollowUp; 2]],
    split: &'a Split,
    scales: [TimeScale; 2],
    batch: usize,
    config: &'a StgSystemConfig,
    seed: Seed,
}

impl VolumeLearner<'_> {
    fn losses(&self, heads: &[Tensor; 2], rows: &[usize]) -> Result<[Tensor; 2]> {
        let loss = |task: usize| {
            let outcomes: Vec<FollowUp> = rows.iter().map(|&i| self.outcomes[i][task]).collect();
            let kind = self.config.model.survival_loss;
            task_loss(kind, &heads[task], &outcomes, &self.scales[task], None)
        };
        Ok([loss(0)?, loss(1)?])
    }

    fn step(&self, epoch: usize, step: usize) -> Result<StepLoss> {
        let mut order = self.split.train.clone();
        order.shuffle(&mut self.seed.stream("order").at(epoch as u64).rng());
        let rows = &order[step * self.batch..order.len().min((step + 1) * self.batch)];
        let (ct, covariates) = self.patients.batch(rows)?;
        let [recurrence, survival] = self.losses(&self.network.forward(&ct, &covariates)?, rows)?;
        let (weights, epochs) = (&self.config.training.loss.weights, self.config.training.epochs);
        let loss = ((&recurrence * weights.alpha.at(epoch, epochs))?
            + (&survival * weights.beta.at(epoch, epochs))?)?;
        Ok(StepLoss { loss, parts: vec![("recurrence", recurrence), ("survival", survival)] })
    }

    fn validation(&self) -> Result<Validation> {
        let rows = &self.split.validation;
        let heads = self.network.output(self.patients, rows, self.batch)?;
        validation(&self.losses(&heads, rows)?)
    }
}

impl Learner for VolumeLearner<'_> {
    fn steps(&self, _epoch: usize) -> usize {
        self.split.train.len().div_ceil(self.batch)
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        Ok(self.step(epoch, step)?)
    }

    fn validate(&mut self, _epoch: usize) -> oncograph_train::Result<Validation> {
        Ok(self.validation()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::conv3d::{conv3d, pad3d};
    use oncograph_nn::testing::{assert_gradient_coverage, device, pattern};

    /// The definition: covariates broadcast into channels behind the CT, and one convolution over all of them.
    #[test]
    fn a_linear_map_is_the_convolution_of_constant_channels() {
        let store = ParamStore::new(Seed::new(1));
        let network = Network::new(2, 3, store.var_builder(DType::F64, &device())).unwrap();
        let (ct, covariates) = (pattern(&[2, 1, 4, 5, 6], 1).unwrap(), pattern(&[2, 2], 2).unwrap());
        let heads = network.forward(&ct, &covariates).unwrap();
        assert_eq!(heads[0].dims(), [2, 3]);
        assert_gradient_coverage(&store, &(&heads[0] + &heads[1]).unwrap().sqr().unwrap().sum_all().unwrap())
            .unwrap();

        let channels = covariates.reshape((2, 2, 1, 1, 1)).unwrap().broadcast_as((2, 2, 4, 5, 6)).unwrap();
        let all = Tensor::cat(&[&ct, &channels.contiguous().unwrap()], 1).unwrap();
        // A kernel whose 27 taps add up to the weight of the linear map.
        let taps = (network.covariates.weight().reshape((WIDTHS[0], 2, 1, 1, 1)).unwrap() / 27.0).unwrap();
        let taps = taps.broadcast_as((WIDTHS[0], 2, 3, 3, 3)).unwrap();
        let kernel = Tensor::cat(&[network.conv1.weight(), &taps.contiguous().unwrap()], 1).unwrap();
        let padded = pad3d(&all, [(1, 1); 3], PaddingMode::Replicate).unwrap();
        let whole = conv3d(&padded, &kernel, None, &Conv3dConfig::new()).unwrap();
        let added =
            network.covariates.forward(&covariates).unwrap().reshape((2, WIDTHS[0], 1, 1, 1)).unwrap();
        let bias = network.conv1.bias().unwrap().reshape((1, WIDTHS[0], 1, 1, 1)).unwrap();
        let fast = network.conv1.forward(&ct).unwrap().broadcast_add(&added).unwrap();
        let difference = (fast.broadcast_sub(&bias).unwrap() - whole).unwrap().abs().unwrap();
        let largest = difference.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        assert!(largest < 1e-12, "{largest}");
    }
}
