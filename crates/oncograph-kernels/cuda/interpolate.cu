// Interpolation along one axis of [outer, axis, inner]. The host says for each output element which two elements it lies
// between and what share the second has (oncograph-nn/src/interpolate.rs).

#include "divide.cuh"

// y[o, i, r] = (1 - share[i]) * x[o, first[i], r] + share[i] * x[o, second[i], r].
extern "C" __global__ void interpolate(const real *__restrict__ x, const u32 *__restrict__ first,
                                       const u32 *__restrict__ second, const real *__restrict__ shares,
                                       real *__restrict__ y, u32 count, u32 input, Divider size, Divider inner) {
  FOR_EACH(n, count) {
    const u32 row = inner.quotient(u32(n)), r = u32(n) - row * inner.divisor;
    const u32 outer = size.quotient(row), i = row - outer * size.divisor;
    const real *from = x + size_t(outer) * input * inner.divisor + r;
    const real a = from[size_t(first[i]) * inner.divisor], share = shares[i];
    // What has no share may be a NaN.
    y[n] = share == real(0) ? a : (real(1) - share) * a + share * from[size_t(second[i]) * inner.divisor];
  }
}

// dx[o, a, r] = the sum over the outputs from begin[a] to end[a], in order, of their shares of a.
extern "C" __global__ void interpolate_gradient(const real *__restrict__ dy, const u32 *__restrict__ first,
                                                const u32 *__restrict__ second, const real *__restrict__ shares,
                                                const u32 *__restrict__ begin, const u32 *__restrict__ end,
                                                real *__restrict__ dx, u32 count, u32 size, Divider input,
                                                Divider inner) {
  FOR_EACH(n, count) {
    const u32 row = inner.quotient(u32(n)), r = u32(n) - row * inner.divisor;
    const u32 outer = input.quotient(row), a = row - outer * input.divisor;
    const real *from = dy + size_t(outer) * size * inner.divisor + r;
    real sum = 0;
    for (u32 i = begin[a]; i < end[a]; i++) {
      const real d = from[size_t(i) * inner.divisor], share = shares[i];
      if (first[i] == a) sum += (real(1) - share) * d;
      if (second[i] == a) sum += share * d;
    }
    dx[n] = sum;
  }
}
