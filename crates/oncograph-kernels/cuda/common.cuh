// What the kernels share.
#pragma once

// Each file is compiled twice, with float and with double for REAL.
typedef REAL real;
typedef unsigned int u32;
typedef unsigned long long u64;

// The one number of a thread in a grid of one dimension, and how many there are.
__device__ __forceinline__ size_t thread_number() { return size_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ size_t thread_count() { return size_t(gridDim.x) * blockDim.x; }

// Over `count` elements, of which a thread takes every thread_count()-th.
#define FOR_EACH(i, count) for (size_t i = thread_number(); i < (count); i += thread_count())

// The sum over the lanes of a warp, the same in each: all 32 must be there.
template <typename T> __device__ __forceinline__ T warp_sum(T v) {
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}

// The largest over the lanes of a warp; a NaN comes through.
template <typename T> __device__ __forceinline__ T warp_max(T v) {
  for (int d = 16; d > 0; d /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, v, d);
    v = other > v || other != other ? other : v;
  }
  return v;
}

// The sum over a block, the same in each thread: all must be there, and their number is a multiple of 32. `parts` has
// room for 32 values in shared memory.
template <typename T> __device__ __forceinline__ T block_sum(T v, T *parts) {
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  v = warp_sum(v);
  __syncthreads(); // what was there before has been read
  if (lane == 0) parts[warp] = v;
  __syncthreads();
  T sum = 0;
  for (u32 w = 0; w < warps; w++) sum += parts[w];
  return sum;
}

// `max(x, 0)` that lets a NaN through.
template <typename T> __device__ __forceinline__ T positive(T x) { return x <= T(0) ? T(0) : x; }
