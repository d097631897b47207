// ReLU and what is fused with it.

#include "common.cuh"

extern "C" __global__ void relu(const real *__restrict__ x, real *__restrict__ y, u64 count) {
  FOR_EACH(i, count) y[i] = positive(x[i]);
}

extern "C" __global__ void add_relu(const real *__restrict__ a, const real *__restrict__ b, real *__restrict__ y,
                                    u64 count) {
  FOR_EACH(i, count) y[i] = positive(a[i] + b[i]);
}

// Of the result y, which is positive where x was.
extern "C" __global__ void relu_backward(const real *__restrict__ dy, const real *__restrict__ y,
                                         real *__restrict__ dx, u64 count) {
  FOR_EACH(i, count) dx[i] = y[i] <= real(0) ? real(0) : dy[i];
}
