//! Products of matrices by cuBLAS that candle's tensors do not have: into a part of a result, and onto what is there.
#![allow(unsafe_code)]

use super::launch::Real;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaView, CudaViewMut, DevicePtr as _, DevicePtrMut as _};
use candle_core::cuda_backend::gemm_reduced_precision_f32;
use candle_core::{CudaDevice, DType, Error, Result, bail};
use std::ffi::c_void;

/// A factor, row after row, of which `ld` elements lie from one row to the next.
pub(crate) struct Matrix<'a, T> {
    data: CudaView<'a, T>,
    ld: usize,
    transposed: bool,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows of `ld` elements.
    pub(crate) fn rows(data: CudaView<'a, T>, ld: usize) -> Self {
        Matrix { data, ld, transposed: false }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Matrix { transposed: !self.transposed, ..self }
    }
}

/// `out = a b + beta out`, with `a` \[m, k\], `b` \[k, n\] and `out` \[m, n\] whose rows lie `ld` elements apart; in TF32
/// where candle's own products may.
///
/// # Errors
/// If an operand has too few elements or a size is beyond cuBLAS; an error of cuBLAS.
pub(crate) fn gemm<T: Real>(
    device: &CudaDevice,
    operands: [&Matrix<'_, T>; 2],
    out: (&mut CudaViewMut<'_, T>, usize),
    sizes: (usize, usize, usize),
    beta: f64,
) -> Result<()> {
    gemm_in(device, operands, out, sizes, beta, gemm_reduced_precision_f32())
}

/// As [`gemm`], f32 in TF32 if `tf32`.
///
/// # Errors
/// As [`gemm`].
pub(crate) fn gemm_in<T: Real>(
    device: &CudaDevice,
    [a, b]: [&Matrix<'_, T>; 2],
    (out, ld): (&mut CudaViewMut<'_, T>, usize),
    (m, n, k): (usize, usize, usize),
    beta: f64,
    tf32: bool,
) -> Result<()> {
    if m * n == 0 {
        return Ok(());
    }
    let needed = |rows: usize, columns: usize, ld: usize| match rows * columns {
        0 => 0,
        _ => (rows - 1) * ld + columns,
    };
    let of = |x: &Matrix<'_, T>, rows, columns| match x.transposed {
        true => needed(columns, rows, x.ld),
        false => needed(rows, columns, x.ld),
    };
    if a.data.len() < of(a, m, k) || b.data.len() < of(b, k, n) || out.len() < needed(m, n, ld) {
        bail!("a product of [{m}, {k}] and [{k}, {n}] does not fit its operands");
    }
    let size = |n: usize| i32::try_from(n).map_err(|_| Error::Msg(format!("{n} is too large for cuBLAS")));
    let operation = |x: &Matrix<'_, T>| match x.transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let (kind, compute) = types(T::DTYPE, tf32)?;
    let scale = |v: f64| Scale { f32: v as f32, f64: v };
    let (alpha, beta) = (scale(1.0), scale(beta));
    let pointer = |s: &Scale| match T::DTYPE {
        DType::F64 => (&raw const s.f64).cast::<c_void>(),
        _ => (&raw const s.f32).cast::<c_void>(),
    };
    let (blas, stream) = (device.cublas_handle(), device.cuda_stream());
    let (a_at, _a) = a.data.device_ptr(&stream);
    let (b_at, _b) = b.data.device_ptr(&stream);
    let (out_at, _out) = out.device_ptr_mut(&stream);
    // cuBLAS counts along columns: to it, these are the transposes, and the product is that of b and a.
    // SAFETY: the operands have the elements that their sizes say; the pointers to scales live until the call returns.
    unsafe {
        result::gemm_strided_batched_ex(
            *blas.handle(),
            operation(b),
            operation(a),
            size(n)?,
            size(m)?,
            size(k)?,
            pointer(&alpha),
            b_at as *const c_void,
            kind,
            size(b.ld.max(1))?,
            0,
            a_at as *const c_void,
            kind,
            size(a.ld.max(1))?,
            0,
            pointer(&beta),
            out_at as *mut c_void,
            kind,
            size(ld)?,
            0,
            1,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .map_err(Error::wrap)
}

struct Scale {
    f32: f32,
    f64: f64,
}

/// What cuBLAS calls a type, and how it is to multiply.
fn types(dtype: DType, tf32: bool) -> Result<(sys::cudaDataType, sys::cublasComputeType_t)> {
    Ok(match dtype {
        DType::F32 if tf32 => {
            (sys::cudaDataType::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32)
        }
        DType::F32 => (sys::cudaDataType::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F),
        DType::F64 => (sys::cudaDataType::CUDA_R_64F, sys::cublasComputeType_t::CUBLAS_COMPUTE_64F),
        other => bail!("a product of {other:?}"),
    })
}
