// What the kernels over the edges of a graph share.
#pragma once

#include "common.cuh"

// 1 / number of edges of a row, 1 for a row without edges or without offsets.
static __device__ __forceinline__ real share(const u32 *offsets, u32 row) {
  if (!offsets) return 1;
  const u32 degree = offsets[row + 1] - offsets[row];
  return real(1) / real(degree > 1 ? degree : 1);
}

// term(from) + .. + term(to - 1), in this order, with the loads of four terms under way before the first is used.
template <typename Term> static __device__ __forceinline__ real sum_in_order(u32 from, u32 to, Term term) {
  real sum = 0;
  u32 e = from;
  for (; e + 4 <= to; e += 4) {
    real v[4];
#pragma unroll
    for (int k = 0; k < 4; k++) v[k] = term(e + k);
#pragma unroll
    for (int k = 0; k < 4; k++) sum += v[k];
  }
  for (; e < to; e++) sum += term(e);
  return sum;
}

// use(e, load(e)) for each e in order, with four loads under way before the first is used.
template <typename V, typename Load, typename Use>
static __device__ __forceinline__ void in_order(u32 from, u32 to, Load load, Use use) {
  u32 e = from;
  for (; e + 4 <= to; e += 4) {
    V v[4];
#pragma unroll
    for (int k = 0; k < 4; k++) v[k] = load(e + k);
#pragma unroll
    for (int k = 0; k < 4; k++) use(e + k, v[k]);
  }
  for (; e < to; e++) use(e, load(e));
}

// run(row, f) for each feature of each row: a row belongs to the threads of one y in blocks of one x, a feature to one
// thread of these, so that neighbouring threads read neighbouring features.
template <typename Run> static __device__ __forceinline__ void for_each_feature(u32 rows, u32 width, Run run) {
  const u32 row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  for (u32 f = blockIdx.y * blockDim.x + threadIdx.x; f < width; f += gridDim.y * blockDim.x) run(row, f);
}

// The sum over groups of `lanes` neighbouring lanes, a power of 2 up to 32, the same in each: all 32 must be there.
static __device__ __forceinline__ real lanes_sum(real v, u32 lanes) {
  for (u32 d = lanes / 2; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}

// As the CPU: the first logit, then each that is larger. A NaN behind the first comes through in the sum.
static __device__ __forceinline__ bool is_larger(bool first, real z, real largest) { return first || z > largest; }

// What the exponentials of a part count where the largest of its row is `largest`; nothing if they all vanish.
static __device__ __forceinline__ real part_share(real of_part, real largest) {
  return of_part == -INFINITY && largest != -INFINITY ? real(0) : exp(of_part - largest);
}
