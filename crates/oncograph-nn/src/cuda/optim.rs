//! Optimizers and gradients as one vector, by the kernels of `optim.cu`: a launch for up to 64 tensors.
#![allow(unsafe_code)]

use super::launch::{NULL, Real, config, function, result};
use super::memory::{place, tensor};
use crate::cuda::launch::{launch, with_real};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
use candle_core::{CudaDevice, DType, Result, Tensor};
use oncograph_kernels::OPTIM;

/// Tensors of one launch, and elements of one block, as in `optim.cu`.
const MOST: usize = 64;
const CHUNK: usize = 4096;

/// `Tensors` of `optim.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Tensors {
    to: [u64; MOST],
    from: [u64; MOST],
    more: [[u64; MOST]; 3],
    size: [u32; MOST],
    first: [u32; MOST],
    count: u32,
}

/// The numbers of a rule: a structure of as many f64, or of fewer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Numbers([f64; 8]);

// SAFETY: addresses and numbers in the order of the fields of the structure that the kernels declare.
unsafe impl DeviceRepr for Tensors {}
// SAFETY: numbers; a kernel reads the first of them.
unsafe impl DeviceRepr for Numbers {}

/// Tensors of one shape: one that is written, one that is read, and up to three more.
struct Set {
    to: u64,
    from: u64,
    more: [u64; 3],
    size: usize,
}

/// Calls `run` with the sets, up to [`MOST`] at a time, and the number of blocks that they take.
fn each_launch(sets: &[Set], mut run: impl FnMut(&Tensors, u32) -> Result<()>) -> Result<()> {
    let sets: Vec<&Set> = sets.iter().filter(|set| set.size > 0).collect();
    for sets in sets.chunks(MOST) {
        let none = [NULL; MOST];
        let mut all = Tensors {
            to: none,
            from: none,
            more: [none; 3],
            size: [0; MOST],
            first: [0; MOST],
            count: sets.len() as u32,
        };
        let mut blocks = 0;
        for (k, set) in sets.iter().enumerate() {
            (all.to[k], all.from[k], all.size[k], all.first[k]) =
                (set.to, set.from, u32::try_from(set.size)?, blocks);
            all.more.iter_mut().zip(set.more).for_each(|(to, place)| to[k] = place);
            blocks += set.size.div_ceil(CHUNK) as u32;
        }
        run(&all, blocks)?;
    }
    Ok(())
}

fn blocks(sets: &[Set]) -> usize {
    sets.iter().map(|set| set.size.div_ceil(CHUNK)).sum()
}

fn run<T: Real>(device: &CudaDevice, kernel: &str, sets: &[Set], numbers: [f64; 8]) -> Result<()> {
    let function = function::<T>(device, &OPTIM, kernel)?;
    each_launch(sets, |tensors, blocks| {
        // SAFETY: as the kernel declares them: memory of as many elements as each size, which nothing else holds.
        unsafe { launch!(function, config(blocks, (256, 1)), tensors, &Numbers(numbers)) }
    })
}

/// Whether the kernels take `x`.
pub(crate) fn takes(x: &Tensor) -> bool {
    x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// A parameter with its gradient and its moments, of one type, shape and device.
pub(crate) struct Update<'a> {
    pub(crate) param: &'a Tensor,
    pub(crate) grad: &'a Tensor,
    pub(crate) moments: Vec<&'a Tensor>,
}

/// One step of the rule `kernel`, in place: of parameters and moments that no other tensor shares.
pub(crate) fn update(kernel: &str, numbers: [f64; 8], updates: &[Update]) -> Result<()> {
    let Some(first) = updates.first() else { return Ok(()) };
    let device = first.param.device().as_cuda_device()?;
    with_real!(kernel, first.param.dtype(), T => {
        let grads = updates.iter().map(|u| u.grad.contiguous()).collect::<Result<Vec<_>>>()?;
        let set = |(u, grad): (&Update, &Tensor)| {
            let mut more = [NULL; 3];
            for (to, moment) in more.iter_mut().zip(&u.moments) {
                *to = place::<T>(moment)?;
            }
            Ok(Set { to: place::<T>(u.param)?, from: place::<T>(grad)?, more, size: grad.elem_count() })
        };
        let sets = updates.iter().zip(&grads).map(set).collect::<Result<Vec<_>>>()?;
        run::<T>(device, kernel, &sets, numbers)
    })
}

/// New tensors by `kernel` with one number, each of one of `from`, and of the one of `more` if there are any.
pub(crate) fn map(kernel: &str, number: f64, from: &[Tensor], more: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut all = from.to_vec();
    for dtype in [DType::F32, DType::F64] {
        let at: Vec<usize> = (0..from.len()).filter(|i| from[*i].dtype() == dtype).collect();
        let Some(first) = at.first() else { continue };
        let device = from[*first].device().as_cuda_device()?;
        with_real!(kernel, dtype, T => {
            let (mut sets, mut kept) = (vec![], vec![]);
            for i in at {
                let (x, size) = (from[i].contiguous()?, from[i].elem_count());
                all[i] = tensor(result::<T>(device, kernel, size)?, x.shape(), device);
                let other = more.get(i).map(Tensor::contiguous).transpose()?;
                let of_other = other.as_ref().map_or(Ok(NULL), place::<T>)?;
                sets.push(Set { to: place::<T>(&all[i])?, from: place::<T>(&x)?, more: [of_other, NULL, NULL], size });
                kept.push((x, other));
            }
            run::<T>(device, kernel, &sets, [number; 8])?;
        });
    }
    Ok(all)
}

/// `(sum |v|^order)^(1 / order)` over the elements of all tensors, or its limits for an infinite order; the one number
/// comes to the host.
pub(crate) fn norm(tensors: &[Tensor], order: f64) -> Result<f64> {
    let Some(first) = tensors.first() else { candle_core::bail!("a norm of no tensors") };
    let device = first.device().as_cuda_device()?;
    let mut sets = [vec![], vec![]];
    let tensors = tensors.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    for x in &tensors {
        let wide = x.dtype() == DType::F64;
        let from = if wide { place::<f64>(x)? } else { place::<f32>(x)? };
        sets[usize::from(wide)].push(Set { to: NULL, from, more: [NULL; 3], size: x.elem_count() });
    }
    let count: usize = sets.iter().map(|sets| blocks(sets)).sum();
    let mut parts = result::<f64>(device, "norm", count.max(1))?;
    let [narrow, wide] = &sets;
    norm_parts::<f32>(device, narrow, order, &mut parts, 0)?;
    norm_parts::<f64>(device, wide, order, &mut parts, blocks(narrow))?;
    let mut sum = result::<f64>(device, "norm", 1)?;
    let finish = function::<f64>(device, &OPTIM, "finish_norm")?;
    // SAFETY: as the kernel declares them, with as many parts.
    unsafe { launch!(finish, config(1, (256, 1)), &parts, &(count as u32), &order, &mut sum) }?;
    Ok(device.clone_dtoh(&sum)?[0])
}

fn norm_parts<T: Real>(
    device: &CudaDevice,
    sets: &[Set],
    order: f64,
    parts: &mut CudaSlice<f64>,
    mut first: usize,
) -> Result<()> {
    let function = function::<T>(device, &OPTIM, "norm_parts")?;
    each_launch(sets, |tensors, blocks| {
        let part = parts.slice_mut(first..first + blocks as usize);
        first += blocks as usize;
        let mut part = part;
        // SAFETY: as the kernel declares them, with a part for each block.
        unsafe { launch!(function, config(blocks, (256, 1)), tensors, &order, &mut part) }
    })
}
