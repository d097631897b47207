// Softmax, log-sum-exp and length of each row of a matrix: a warp for each row.

#include "common.cuh"

// This warp's row, if there is one: whole warps leave together.
#define ROW_OF_WARP(row, rows)                                                                                         \
  const size_t row = size_t(blockIdx.x) * blockDim.y + threadIdx.y;                                                    \
  if (row >= (rows)) return

// The largest of a row, of which a NaN is the largest.
__device__ __forceinline__ real largest_of(const real *x, u32 width) {
  real largest = -INFINITY;
  for (u32 i = threadIdx.x; i < width; i += 32)
    if (x[i] > largest || x[i] != x[i]) largest = x[i];
  return warp_max(largest);
}

// The sum of exp(x - largest) over a row. Where the largest is infinite, so is the difference of it to itself NaN, as by
// single operations.
__device__ __forceinline__ real exponentials(const real *x, real largest, u32 width) {
  real sum = 0;
  for (u32 i = threadIdx.x; i < width; i += 32) sum += exp(x[i] - largest);
  return warp_sum(sum);
}

// The dot product of two rows.
__device__ __forceinline__ real dot(const real *a, const real *b, u32 width) {
  real sum = 0;
  for (u32 i = threadIdx.x; i < width; i += 32) sum += a[i] * b[i];
  return warp_sum(sum);
}

extern "C" __global__ void softmax(const real *__restrict__ x, real *__restrict__ y, u32 rows, u32 width) {
  ROW_OF_WARP(row, rows);
  x += row * width, y += row * width;
  const real largest = largest_of(x, width), sum = exponentials(x, largest, width);
  for (u32 i = threadIdx.x; i < width; i += 32) y[i] = exp(x[i] - largest) / sum;
}

// dx = y (dy - sum y dy)
extern "C" __global__ void softmax_gradient(const real *__restrict__ y, const real *__restrict__ dy,
                                            real *__restrict__ dx, u32 rows, u32 width) {
  ROW_OF_WARP(row, rows);
  y += row * width, dy += row * width, dx += row * width;
  const real along = dot(y, dy, width);
  for (u32 i = threadIdx.x; i < width; i += 32) dx[i] = y[i] * (dy[i] - along);
}

extern "C" __global__ void log_sum_exp(const real *__restrict__ x, real *__restrict__ y, u32 rows, u32 width) {
  ROW_OF_WARP(row, rows);
  x += row * width;
  const real largest = largest_of(x, width), sum = exponentials(x, largest, width);
  if (threadIdx.x == 0) y[row] = log(sum) + largest;
}

// dx = dy exp(x - y), with one y and dy per row
extern "C" __global__ void log_sum_exp_gradient(const real *__restrict__ x, const real *__restrict__ y,
                                                const real *__restrict__ dy, real *__restrict__ dx, u32 rows,
                                                u32 width) {
  ROW_OF_WARP(row, rows);
  x += row * width, dx += row * width;
  for (u32 i = threadIdx.x; i < width; i += 32) dx[i] = dy[row] * exp(x[i] - y[row]);
}

// y = x / sqrt(sum x^2 + eps)
extern "C" __global__ void unit_rows(const real *__restrict__ x, real *__restrict__ y, real eps, u32 rows, u32 width) {
  ROW_OF_WARP(row, rows);
  x += row * width, y += row * width;
  const real norm = sqrt(dot(x, x, width) + eps);
  for (u32 i = threadIdx.x; i < width; i += 32) y[i] = x[i] / norm;
}

// dx = (dy - y (y dy)) / norm
extern "C" __global__ void unit_rows_gradient(const real *__restrict__ x, const real *__restrict__ dy,
                                              real *__restrict__ dx, real eps, u32 rows, u32 width) {
  ROW_OF_WARP(row, rows);
  x += row * width, dy += row * width, dx += row * width;
  const real norm = sqrt(dot(x, x, width) + eps), along = dot(x, dy, width) / norm;
  for (u32 i = threadIdx.x; i < width; i += 32) dx[i] = (dy[i] - x[i] / norm * along) / norm;
}
