// Optimizers, averages of parameters, and gradients as one vector: each kernel goes over many tensors.
//
// A launch takes up to 64 tensors, whose addresses are its arguments: gradients lie somewhere else in each step, and
// nothing is copied to say where. `__grid_constant__` lets threads index them without a copy of their own. A block takes
// 4,096 elements of one tensor. The formulas are those of the CPU, in the same order (oncograph-nn/src/optim).

#include "common.cuh"

static const u32 MOST = 64, CHUNK = 4096;

struct Tensors {
  real *to[MOST];
  const real *from[MOST];
  real *more[3][MOST];
  u32 size[MOST], first[MOST]; // elements, and the first block of each
  u32 count;

  // The tensor of a block.
  __device__ __forceinline__ u32 of(u32 block) const {
    u32 low = 0, high = count;
    while (high - low > 1) {
      const u32 middle = (low + high) / 2;
      if (first[middle] <= block) low = middle;
      else high = middle;
    }
    return low;
  }
};

// Over the elements `i` of a block, which belong to tensor `k`.
#define FOR_EACH_OF(tensors, k, i)                                                                                       \
  const u32 k = tensors.of(blockIdx.x);                                                                                  \
  const size_t from_##i = size_t(blockIdx.x - tensors.first[k]) * CHUNK;                                                 \
  const size_t to_##i = from_##i + CHUNK < tensors.size[k] ? from_##i + CHUNK : tensors.size[k];                         \
  for (size_t i = from_##i + threadIdx.x; i < to_##i; i += blockDim.x)

struct Adam {
  double shrink, l2, one_beta1, beta2, one_beta2, eps, step_size, correction;
};

// Moments: of the gradient, of its square, and the largest of the latter where there is one.
extern "C" __global__ void adam(const __grid_constant__ Tensors t, Adam a) {
  const real shrink = real(a.shrink), l2 = real(a.l2), one_beta1 = real(a.one_beta1), beta2 = real(a.beta2);
  const real one_beta2 = real(a.one_beta2), eps = real(a.eps), step_size = real(a.step_size);
  const real correction = real(a.correction);
  FOR_EACH_OF(t, k, i) {
    real p = t.to[k][i], m = t.more[0][k][i], v = t.more[1][k][i];
    const real g = t.from[k][i] + l2 * p;
    p *= shrink;
    m += one_beta1 * (g - m);
    v = beta2 * v + one_beta2 * g * g;
    t.more[0][k][i] = m;
    t.more[1][k][i] = v;
    real second = v;
    if (t.more[2][k]) {
      const real old = t.more[2][k][i];
      second = old != old || v > old ? v : old;
      t.more[2][k][i] = second;
    }
    t.to[k][i] = p - step_size * m / (sqrt(second) / correction + eps);
  }
}

struct Sgd {
  double rate, decay, momentum, keep, nesterov;
};

extern "C" __global__ void sgd(const __grid_constant__ Tensors t, Sgd a) {
  const real rate = real(a.rate), decay = real(a.decay), momentum = real(a.momentum), keep = real(a.keep);
  FOR_EACH_OF(t, k, i) {
    const real p = t.to[k][i], g = t.from[k][i] + decay * p;
    real direction = g;
    if (t.more[0][k]) {
      const real b = momentum * t.more[0][k][i] + keep * g;
      t.more[0][k][i] = b;
      direction = a.nesterov != 0 ? g + momentum * b : b;
    }
    t.to[k][i] = p - rate * direction;
  }
}

struct RmsProp {
  double rate, alpha, one_alpha, eps, decay, momentum, centered;
};

// Moments: of the square, the momentum, of the gradient.
extern "C" __global__ void rmsprop(const __grid_constant__ Tensors t, RmsProp a) {
  const real rate = real(a.rate), alpha = real(a.alpha), rest = real(a.one_alpha), eps = real(a.eps);
  const real decay = real(a.decay), momentum = real(a.momentum), centered = real(a.centered);
  FOR_EACH_OF(t, k, i) {
    const real p = t.to[k][i], g = t.from[k][i] + decay * p;
    const real square = alpha * t.more[0][k][i] + rest * g * g;
    real mean = t.more[2][k][i];
    mean += rest * (g - mean);
    // Rounding can take it below zero.
    const real difference = square - centered * mean * mean, variance = difference > real(0) ? difference : real(0);
    const real buffer = momentum * t.more[1][k][i] + g / (sqrt(variance) + eps);
    t.more[0][k][i] = square;
    t.more[1][k][i] = buffer;
    t.more[2][k][i] = mean;
    t.to[k][i] = p - rate * buffer;
  }
}

// to = decay * more[0] + (1 - decay) * from.
extern "C" __global__ void average(const __grid_constant__ Tensors t, double decay) {
  const real keep = real(decay), rest = real(1 - decay);
  FOR_EACH_OF(t, k, i) t.to[k][i] = keep * t.more[0][k][i] + rest * t.from[k][i];
}

// to = factor * from.
extern "C" __global__ void scale(const __grid_constant__ Tensors t, double factor) {
  const real f = real(factor);
  FOR_EACH_OF(t, k, i) t.to[k][i] = f * t.from[k][i];
}

// to = from, brought to [-limit, limit]; a NaN stays.
extern "C" __global__ void limit(const __grid_constant__ Tensors t, double limit) {
  const real high = real(limit), low = -high;
  FOR_EACH_OF(t, k, i) {
    const real v = t.from[k][i];
    t.to[k][i] = v < low ? low : v > high ? high : v;
  }
}

// The sums that a norm is made of: of |v|^order, or the largest or smallest magnitude for an infinite order.
struct Norm {
  double order;

  __device__ __forceinline__ double none() const { return isinf(order) && order < 0 ? -order : 0; }

  __device__ __forceinline__ double of(double v) const {
    if (order == 2) return v * v;
    return isinf(order) ? fabs(v) : pow(fabs(v), order);
  }

  __device__ __forceinline__ double add(double a, double b) const {
    if (!isinf(order)) return a + b;
    if (a != a || b != b) return a + b;
    return (order > 0) == (b > a) ? b : a;
  }

  // Of 256 threads, in the first.
  __device__ __forceinline__ double of_block(double v) const {
    __shared__ double warps[8];
    for (int d = 16; d > 0; d /= 2) v = add(v, __shfl_down_sync(0xffffffffu, v, d));
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0)
      for (u32 w = 1; w < 8; w++) v = add(v, warps[w]);
    return v;
  }
};

// parts[block] = the sum over its elements.
extern "C" __global__ void norm_parts(const __grid_constant__ Tensors t, Norm norm, double *__restrict__ parts) {
  double sum = norm.none();
  FOR_EACH_OF(t, k, i) sum = norm.add(sum, norm.of(double(t.from[k][i])));
  sum = norm.of_block(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// The norm of all, by one block.
extern "C" __global__ void finish_norm(const double *__restrict__ parts, u32 count, Norm norm,
                                       double *__restrict__ out) {
  double sum = norm.none();
  for (u32 p = threadIdx.x; p < count; p += blockDim.x) sum = norm.add(sum, parts[p]);
  sum = norm.of_block(sum);
  if (threadIdx.x) return;
  if (norm.order == 2) sum = sqrt(sum);
  else if (!isinf(norm.order)) sum = pow(sum, 1 / norm.order);
  *out = sum;
}
