//! Normalisation, by the kernels of `norm.cu`.
#![allow(unsafe_code)]

mod plan;

pub(crate) use plan::Grouping;

use super::divide::Divider;
use super::launch::{NULL, Operand, Packed, Real, config, function, per_element, result, storage};
use super::memory::{place, place_of, place_or_null, tensor};
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{CudaDevice, CudaStorage, Result, Shape, Tensor};
use oncograph_kernels::NORM;
use plan::Plan;

/// `Owners` of `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Owners {
    inner: Divider,
    groups: Divider,
    span: Divider,
    weights: Divider,
}

/// `Statistics` of `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Targets {
    exact: u64,
    rounded: u64,
    eps: f64,
    groups: u32,
}

/// `Running` of `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RunningPlaces {
    mean: u64,
    var: u64,
    batches: u64,
    share: f64,
    unbiased: f64,
}

/// `Terms` of `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Terms {
    x: u64,
    y: u64,
    dy: u64,
    weight: u64,
    exact: u64,
    owners: Owners,
}

/// `Targets` of `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SumTargets {
    of_weight: u64,
    of_bias: u64,
    level: u64,
    weight: u64,
    exact: u64,
    share: f64,
    groups: u32,
}

// SAFETY: numbers and addresses in the order of the fields of the structure that the kernels declare.
unsafe impl DeviceRepr for Owners {}
// SAFETY: as above.
unsafe impl DeviceRepr for Targets {}
// SAFETY: as above.
unsafe impl DeviceRepr for RunningPlaces {}
// SAFETY: as above.
unsafe impl DeviceRepr for Terms {}
// SAFETY: as above.
unsafe impl DeviceRepr for SumTargets {}

/// Mean and 1 / sqrt(variance + eps) of groups in the memory of a device.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    /// \[2, groups\] in f64.
    exact: Tensor,
    /// The same in the type of the elements.
    rounded: Tensor,
}

/// The buffers of a layer with running statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running<'a> {
    pub(crate) mean: &'a Tensor,
    pub(crate) var: &'a Tensor,
    /// How many batches were seen (i64).
    pub(crate) batches: &'a Tensor,
}

impl Running<'_> {
    fn places<T: Real>(self, share: f64, unbiased: f64) -> Result<RunningPlaces> {
        Ok(RunningPlaces {
            mean: place::<T>(self.mean)?,
            var: place::<T>(self.var)?,
            batches: place::<i64>(self.batches)?,
            share,
            unbiased,
        })
    }
}

/// No layer.
const NOWHERE: RunningPlaces =
    RunningPlaces { mean: NULL, var: NULL, batches: NULL, share: 0.0, unbiased: 0.0 };

/// Room for the statistics of `groups`, and where a kernel writes them.
fn statistics<T: Real>(device: &CudaDevice, groups: usize, eps: f64) -> Result<(Statistics, Targets)> {
    let room = || result::<f64>(device, "moments", 2 * groups);
    let exact = tensor(room()?, (2, groups), device);
    let rounded = tensor(result::<T>(device, "moments", 2 * groups)?, (2, groups), device);
    let targets =
        Targets { exact: place::<f64>(&exact)?, rounded: place::<T>(&rounded)?, eps, groups: groups as u32 };
    Ok((Statistics { exact, rounded }, targets))
}

/// The statistics of each group of `x`, which has elements; `running` is moved towards them by the share `momentum`, or so
/// that it stays the mean over all batches.
pub(crate) fn moments(
    x: &Tensor,
    of: Grouping,
    eps: f64,
    running: Option<(Running, Option<f64>)>,
) -> Result<Statistics> {
    of.check("moments")?;
    let (x, device) = (x.contiguous()?, x.device().as_cuda_device()?);
    with_real!("moments", x.dtype(), T => {
        let (statistics, targets) = statistics::<T>(device, of.groups, eps)?;
        let plan = Plan::new(of);
        let size = of.size() as f64;
        let learn = |(running, momentum): (Running, Option<f64>)| running.places::<T>(momentum.unwrap_or(-1.0), size / (size - 1.0));
        let places = running.map_or(Ok(NOWHERE), learn)?;
        let (first, x) = (plan.function::<T>(device, "moments")?, place::<T>(&x)?);
        match plan.room(device, "moments", 3)? {
            None => {
                // SAFETY: as the kernel declares them; x has the elements of the groups.
                unsafe { launch!(first, plan.grid, &x, &plan.groups, &NULL, &targets, &places) }?;
            }
            Some(mut parts) => {
                if plan.columns {
                    // SAFETY: as above; there is room for the parts of each column.
                    unsafe { launch!(first, plan.grid, &x, &plan.groups, &mut parts) }?;
                } else {
                    // SAFETY: as above.
                    unsafe { launch!(first, plan.grid, &x, &plan.groups, &mut parts, &targets, &places) }?;
                }
                let finish = function::<T>(device, &NORM, "finish_moments")?;
                // SAFETY: as the kernel declares them; each group has as many parts.
                unsafe { launch!(finish, plan.finish(), &parts, &(plan.left as u32), &targets, &places) }?;
            }
        }
        if places.mean != NULL && places.share < 0.0 {
            let count = function::<T>(device, &NORM, "count_batch")?;
            // SAFETY: one number of 64 bits.
            unsafe { launch!(count, config(1, (1, 1)), &places.batches) }?;
        }
        Ok(statistics)
    })
}

/// The statistics that evaluation takes.
pub(crate) fn use_running(running: Running, eps: f64) -> Result<Statistics> {
    let device = running.mean.device().as_cuda_device()?;
    let groups = running.mean.elem_count();
    with_real!("running statistics", running.mean.dtype(), T => {
        let (statistics, targets) = statistics::<T>(device, groups, eps)?;
        let places = running.places::<T>(0.0, 0.0)?;
        let function = function::<T>(device, &NORM, "use_running")?;
        // SAFETY: as the kernel declares them, with one number for each group.
        unsafe { launch!(function, per_element(groups), &targets, &places) }?;
        Ok(statistics)
    })
}

/// A normalisation of elements that are grouped twice: for the statistics, and for the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Norm {
    pub(crate) groups: Grouping,
    pub(crate) weights: Grouping,
    /// Whether the statistics are those of the input, which the gradient goes through.
    pub(crate) through: bool,
    /// Whether a ReLU follows.
    pub(crate) relu: bool,
}

/// The gradients for the input, the weight and the bias; the latter two where they were asked for.
pub(crate) struct Gradients {
    pub(crate) x: Tensor,
    pub(crate) affine: Option<(Tensor, Tensor)>,
}

impl Norm {
    fn owners(&self) -> Owners {
        Owners {
            inner: Divider::new(self.groups.inner),
            groups: Divider::new(self.groups.groups),
            span: Divider::new(self.weights.inner),
            weights: Divider::new(self.weights.groups),
        }
    }

    /// `x` by `statistics`, with weight and bias.
    pub(crate) fn forward(
        &self,
        (x, layout): Operand,
        statistics: &Statistics,
        affine: Option<[Operand; 2]>,
    ) -> Result<(CudaStorage, Shape)> {
        self.groups.check("normalise")?;
        let (device, count) = (x.device(), self.groups.count());
        with_real!("normalise", x.dtype(), T => {
            let mut y = result::<T>(device, "normalise", count)?;
            let (x, rounded) = (Packed::new(x, layout)?, place::<T>(&statistics.rounded)?);
            let x = x.view::<T>()?;
            let [weight, bias] = affine.map_or([Ok(NULL), Ok(NULL)], |both| both.map(|(s, l)| place_of::<T>(s, l)));
            let (n, owners, relu) = (count as u32, self.owners(), u32::from(self.relu));
            let function = function::<T>(device, &NORM, "normalise")?;
            // SAFETY: as the kernel declares them, with `count` elements, and numbers for each group and weight.
            unsafe { launch!(function, per_element(count), &x, &rounded, &weight?, &bias?, &mut y, &n, &owners, &relu) }?;
            Ok((storage(y, device), layout.shape().clone()))
        })
    }

    /// Of the result `y`, for its gradient `dy`.
    pub(crate) fn backward(
        &self,
        (x, y, dy): (&Tensor, &Tensor, &Tensor),
        statistics: &Statistics,
        weight: Option<&Tensor>,
        of_affine: bool,
    ) -> Result<Gradients> {
        let (x, y, dy) = (x.contiguous()?, y.contiguous()?, dy.contiguous()?);
        let (device, count) = (x.device().as_cuda_device()?, self.groups.count());
        with_real!("normalise", x.dtype(), T => {
            let exact = place::<f64>(&statistics.exact)?;
            let terms = Terms {
                x: place::<T>(&x)?,
                y: if self.relu { place::<T>(&y)? } else { NULL },
                dy: place::<T>(&dy)?,
                weight: NULL,
                exact,
                owners: self.owners(),
            };
            let weight = place_or_null::<T>(weight)?;
            let sums = self.sums::<T>(device, terms, weight, of_affine)?;
            let mut dx = result::<T>(device, "normalise", count)?;
            let function = function::<T>(device, &NORM, "input_gradient")?;
            let rounded = place::<T>(&statistics.rounded)?;
            let level = place_or_null::<T>(sums.level.as_ref())?;
            let (n, owners, grid) = (count as u32, terms.owners, per_element(count));
            // SAFETY: as the kernel declares them, with `count` elements, and numbers for each group and weight.
            unsafe { launch!(function, grid, &terms.x, &terms.y, &terms.dy, &rounded, &level, &weight, &mut dx, &n, &owners) }?;
            Ok(Gradients { x: tensor(dx, x.shape(), device), affine: sums.affine })
        })
    }

    /// The sums over groups and weights: in one go where they are the same.
    fn sums<T: Real>(
        &self,
        device: &CudaDevice,
        terms: Terms,
        weight: u64,
        of_affine: bool,
    ) -> Result<SumsOf> {
        let room =
            |n: usize| Ok::<_, candle_core::Error>(tensor(result::<T>(device, "normalise", n)?, n, device));
        let weights = self.weights.groups;
        let affine =
            of_affine.then(|| Ok::<_, candle_core::Error>((room(weights)?, room(weights)?))).transpose()?;
        let level = self.through.then(|| room(2 * self.groups.groups)).transpose()?;
        let of_weights = SumTargets {
            of_weight: place_or_null::<T>(affine.as_ref().map(|a| &a.0))?,
            of_bias: place_or_null::<T>(affine.as_ref().map(|a| &a.1))?,
            level: NULL,
            weight: NULL,
            exact: terms.exact,
            share: 1.0 / self.groups.size() as f64,
            groups: weights as u32,
        };
        let of_level = place_or_null::<T>(level.as_ref())?;
        if self.groups == self.weights {
            let both = SumTargets { level: of_level, weight, ..of_weights };
            if of_affine || self.through {
                gradient_sums::<T>(device, self.groups, &terms, &both)?;
            }
            return Ok(SumsOf { affine, level });
        }
        if of_affine {
            gradient_sums::<T>(device, self.weights, &terms, &of_weights)?;
        }
        if self.through {
            let groups = self.groups.groups as u32;
            let targets =
                SumTargets { of_weight: NULL, of_bias: NULL, level: of_level, groups, ..of_weights };
            gradient_sums::<T>(device, self.groups, &Terms { weight, ..terms }, &targets)?;
        }
        Ok(SumsOf { affine, level })
    }
}

struct SumsOf {
    affine: Option<(Tensor, Tensor)>,
    level: Option<Tensor>,
}

fn gradient_sums<T: Real>(
    device: &CudaDevice,
    over: Grouping,
    terms: &Terms,
    targets: &SumTargets,
) -> Result<()> {
    let plan = Plan::new(over);
    let first = plan.function::<T>(device, "gradient_sums")?;
    let Some(mut parts) = plan.room(device, "normalise", 2)? else {
        // SAFETY: as the kernel declares them; the terms are as many as the elements of the groups.
        return unsafe { launch!(first, plan.grid, terms, &plan.groups, &NULL, targets) };
    };
    if plan.columns {
        // SAFETY: as above; there is room for the parts of each column.
        unsafe { launch!(first, plan.grid, terms, &plan.groups, &mut parts) }?;
    } else {
        // SAFETY: as above.
        unsafe { launch!(first, plan.grid, terms, &plan.groups, &mut parts, targets) }?;
    }
    let finish = function::<T>(device, &NORM, "finish_sums")?;
    let (left, groups) = (plan.left as u32, plan.groups.groups);
    // SAFETY: as the kernel declares them; each group has as many parts.
    unsafe { launch!(finish, plan.finish(), &parts, &left, &groups, targets) }
}
