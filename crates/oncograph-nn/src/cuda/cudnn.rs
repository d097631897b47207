//! The three passes of a 3D convolution by cuDNN.
//!
//! The algorithm is chosen once per shape, the fastest by cuDNN's own estimate among those that give the same bits on every
//! run. cuDNN 9.10.2 to 9.15 compute 3D convolutions in TF32 wrongly.
#![allow(unsafe_code)]

use crate::conv3d::Geometry;
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr};
use candle_core::{CudaDevice, Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

/// How much memory an algorithm may take beside its operands, in bytes.
const WORKSPACE: usize = 1 << 30;

/// Which of input, weight and output is the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    Forward,
    Data,
    Filter,
}

/// What operands and results are, and what is multiplied; sums are f64 for f64, else f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Math {
    F32,
    /// f32 of which 10 bits of mantissa are multiplied.
    Tf32,
    /// Half as many bytes, kept as `u16`.
    Bf16,
    F64,
}

/// A call with its device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    device: DeviceId,
    pass: Pass,
    geometry: Geometry,
    math: Math,
}

#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Data(sys::cudnnConvolutionBwdDataAlgo_t),
    Filter(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// What was chosen, and its workspace in bytes; nothing where cuDNN does not take the call.
type Choice = Option<(Algorithm, usize)>;

/// A pass that cuDNN takes, with its algorithm.
pub(super) struct Call<'a> {
    device: &'a CudaDevice,
    handle: sys::cudnnHandle_t,
    descriptors: Descriptors,
    algorithm: Algorithm,
    /// Of the workspace.
    bytes: usize,
}

impl<'a> Call<'a> {
    /// Nothing where cuDNN does not take the call.
    pub(super) fn new(device: &'a CudaDevice, g: &Geometry, pass: Pass, math: Math) -> Result<Option<Self>> {
        let key = Key { device: device.id(), pass, geometry: *g, math };
        let handle = handle(device)?;
        let Some(descriptors) = Descriptors::new(&key).map_err(Error::wrap)? else { return Ok(None) };
        let Some((algorithm, bytes)) = choice(&key, handle, &descriptors)? else { return Ok(None) };
        Ok(Some(Call { device, handle, descriptors, algorithm, bytes }))
    }

    /// The result, `count` elements, from the two operands: of x and w, w and dy, or x and dy. `S` is the type that
    /// the call's [`Math`] names.
    pub(super) fn run<S: DeviceRepr>(
        &self,
        [a, b]: [&CudaView<'_, S>; 2],
        count: usize,
    ) -> Result<CudaSlice<S>> {
        // A workspace of nothing has an address, too.
        let mut space = super::launch::result::<u8>(self.device, "conv3d", self.bytes.max(1))?;
        let mut out = super::launch::result::<S>(self.device, "conv3d", count)?;
        let stream = self.device.cuda_stream();
        {
            let (a, _a) = a.device_ptr(&stream);
            let (b, _b) = b.device_ptr(&stream);
            let (out, _out) = out.device_ptr_mut(&stream);
            let (space, _space) = space.device_ptr_mut(&stream);
            let (a, b, out) = (a as *const c_void, b as *const c_void, out as *mut c_void);
            let space = (space as *mut c_void, self.bytes);
            // SAFETY: the descriptors are those of the operands; the workspace has the bytes that were asked for.
            unsafe { self.descriptors.launch(self.handle, self.algorithm, [a, b], out, space) }
                .map_err(Error::wrap)?;
        }
        Ok(out)
    }
}

/// The algorithm for a call, from memory or from cuDNN.
fn choice(key: &Key, handle: sys::cudnnHandle_t, call: &Descriptors) -> Result<Choice> {
    static CHOSEN: Mutex<Option<HashMap<Key, Choice>>> = Mutex::new(None);
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    let chosen = chosen.get_or_insert_default();
    if let Some(known) = chosen.get(key) {
        return Ok(*known);
    }
    let found = call.choose(handle, key.pass).map_err(Error::wrap)?;
    chosen.insert(key.clone(), found);
    Ok(found)
}

/// A handle of cuDNN, with the memory that it holds until it is dropped.
struct Handle(sys::cudnnHandle_t);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made by cuDNN, and used by its thread alone, which ends. An error would leave memory behind, no more.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

/// cuDNN's handle of this thread, which belongs to the stream of the device; a handle is of one thread.
fn handle(device: &CudaDevice) -> Result<sys::cudnnHandle_t> {
    thread_local! {
        static HANDLES: RefCell<HashMap<DeviceId, Handle>> = RefCell::default();
    }
    HANDLES.with_borrow_mut(|handles| {
        if let Some(handle) = handles.get(&device.id()) {
            return Ok(handle.0);
        }
        let stream = device.cuda_stream();
        stream.context().bind_to_thread().map_err(Error::wrap)?;
        let handle = Handle(result::create_handle().map_err(Error::wrap)?);
        // SAFETY: the handle is new; the stream lives as long as the device, which the process keeps.
        unsafe { result::set_stream(handle.0, stream.cu_stream() as *mut _) }.map_err(Error::wrap)?;
        Ok(handles.entry(device.id()).or_insert(handle).0)
    })
}

/// What cuDNN is told about a call.
struct Descriptors {
    x: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
    double: bool,
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: made by cuDNN, and used by nobody after this. An error would leave memory behind, no more.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_filter_descriptor(self.w);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}

impl Descriptors {
    /// Nothing for sizes that cuDNN does not take.
    fn new(key: &Key) -> std::result::Result<Option<Self>, CudnnError> {
        let g = &key.geometry;
        let five = |batch: usize, channels: usize, space: [usize; 3]| {
            let [d, h, w] = space;
            [batch, channels, d, h, w].map(|n| c_int::try_from(n).unwrap_or(c_int::MAX))
        };
        let x = five(g.batch, g.groups * g.ci, g.input);
        let w = five(g.groups * g.co, g.ci, g.kernel);
        let y = five(g.batch, g.groups * g.co, g.output);
        let fits = |dims: &[c_int; 5]| dims.iter().try_fold(1, |all: c_int, n| all.checked_mul(*n)).is_some();
        if !(g.covers_its_input() && [x, w, y].iter().all(fits)) {
            return Ok(None);
        }
        use sys::cudnnDataType_t::{CUDNN_DATA_BFLOAT16, CUDNN_DATA_DOUBLE, CUDNN_DATA_FLOAT};
        let (kind, sums) = match key.math {
            Math::F64 => (CUDNN_DATA_DOUBLE, CUDNN_DATA_DOUBLE),
            Math::F32 | Math::Tf32 => (CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT),
            Math::Bf16 => (CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT),
        };
        let call = Descriptors {
            x: result::create_tensor_descriptor()?,
            w: result::create_filter_descriptor()?,
            y: result::create_tensor_descriptor()?,
            convolution: result::create_convolution_descriptor()?,
            double: key.math == Math::F64,
        };
        let three = |a: [usize; 3]| a.map(|n| n as c_int);
        let (padding, stride, dilation) = (three(g.padding), three(g.stride), three(g.dilation));
        let math = match key.math {
            Math::Tf32 | Math::Bf16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
            Math::F32 | Math::F64 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
        };
        let cross = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let first = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        // SAFETY: the descriptors are new, the arrays have the lengths that are given.
        unsafe {
            for (tensor, dims) in [(call.x, &x), (call.y, &y)] {
                result::set_tensornd_descriptor(tensor, kind, 5, dims.as_ptr(), strides(dims).as_ptr())?;
            }
            result::set_filternd_descriptor(call.w, kind, first, 5, w.as_ptr())?;
            let (padding, stride, dilation) = (padding.as_ptr(), stride.as_ptr(), dilation.as_ptr());
            result::set_convolutionnd_descriptor(
                call.convolution,
                3,
                padding,
                stride,
                dilation,
                cross,
                sums,
            )?;
            result::set_convolution_group_count(call.convolution, g.groups as c_int)?;
            result::set_convolution_math_type(call.convolution, math)?;
        }
        Ok(Some(call))
    }

    fn choose(&self, handle: sys::cudnnHandle_t, pass: Pass) -> std::result::Result<Choice, CudnnError> {
        // The first of cuDNN's list, which is sorted by time, that works, repeats its bits and fits.
        macro_rules! first {
            ($ask:path, $of:expr, $wrap:path) => {{
                const MOST: usize = 16;
                // SAFETY: numbers, of which all bits may be 0.
                let (mut count, mut found) = (0, [unsafe { std::mem::zeroed() }; MOST]);
                let (a, b, c, d) = $of;
                // SAFETY: the descriptors are set, and there is room for the results that are asked for.
                unsafe { $ask(handle, a, b, c, d, MOST as c_int, &raw mut count, found.as_mut_ptr()) }?;
                found[..count as usize].iter().find_map(|p| {
                    let repeats = p.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
                    let works = p.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS;
                    (works && repeats && p.memory <= WORKSPACE).then(|| ($wrap(p.algo), p.memory))
                })
            }};
        }
        let Descriptors { x, w, y, convolution, .. } = *self;
        Ok(match pass {
            Pass::Forward => {
                first!(result::get_convolution_forward_algorithm, (x, w, convolution, y), Algorithm::Forward)
            }
            Pass::Data => {
                first!(
                    result::get_convolution_backward_data_algorithm,
                    (w, y, convolution, x),
                    Algorithm::Data
                )
            }
            Pass::Filter => {
                first!(
                    result::get_convolution_backward_filter_algorithm,
                    (x, y, convolution, w),
                    Algorithm::Filter
                )
            }
        })
    }

    /// # Safety
    /// The operands and the result lie in the memory of the device and are those of the descriptors.
    unsafe fn launch(
        &self,
        handle: sys::cudnnHandle_t,
        algorithm: Algorithm,
        [a, b]: [*const c_void; 2],
        out: *mut c_void,
        (space, bytes): (*mut c_void, usize),
    ) -> std::result::Result<(), CudnnError> {
        let Descriptors { x, w, y, convolution, double } = *self;
        let (ones, zeros) = ((1f32, 1f64), (0f32, 0f64));
        let scale = |of: &(f32, f64)| match double {
            true => (&raw const of.1).cast::<c_void>(),
            false => (&raw const of.0).cast::<c_void>(),
        };
        let (alpha, beta) = (scale(&ones), scale(&zeros));
        // SAFETY: the caller's.
        unsafe {
            match algorithm {
                Algorithm::Forward(by) => result::convolution_forward(
                    handle,
                    alpha,
                    x,
                    a,
                    w,
                    b,
                    convolution,
                    by,
                    space,
                    bytes,
                    beta,
                    y,
                    out,
                ),
                Algorithm::Data(by) => result::convolution_backward_data(
                    handle,
                    alpha,
                    w,
                    a,
                    y,
                    b,
                    convolution,
                    by,
                    space,
                    bytes,
                    beta,
                    x,
                    out,
                ),
                Algorithm::Filter(by) => result::convolution_backward_filter(
                    handle,
                    alpha,
                    x,
                    a,
                    y,
                    b,
                    convolution,
                    by,
                    space,
                    bytes,
                    beta,
                    w,
                    out,
                ),
            }
        }
    }
}

/// Of elements side by side.
fn strides(dims: &[c_int; 5]) -> [c_int; 5] {
    let mut strides = [1; 5];
    (0..4).rev().for_each(|i| strides[i] = strides[i + 1] * dims[i + 1].max(1));
    strides
}
