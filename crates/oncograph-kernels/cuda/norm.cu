// Normalisation: moments of groups of elements, y = (x - mean) / sqrt(var + eps) * weight + bias, and its gradients.
//
// Element i belongs to group i / inner % groups and to weight i / span % weights. What is summed is summed in f64. A group
// of many elements is cut into parts, whose sums a second kernel adds in order; where the elements of a group lie apart,
// neighbouring threads take neighbouring groups (the kernels that end in _columns). The host chooses by the shape alone
// (oncograph-nn/src/cuda/norm.rs).

#include "divide.cuh"

// Groups of `size` elements in `parts` parts of at most `part`.
struct Groups {
  u32 groups, inner, size, part, parts;
  Divider by_inner;

  // Where element k of a group lies.
  __device__ __forceinline__ size_t place(u32 group, u32 k) const {
    return k + size_t(by_inner.quotient(k)) * inner * (groups - 1) + size_t(group) * inner;
  }
};

// To which group and weight an element belongs.
struct Owners {
  Divider inner, groups, span, weights;

  __device__ __forceinline__ u32 group(u32 i) const { return groups.remainder(inner.quotient(i)); }
  __device__ __forceinline__ u32 weight(u32 i) const { return weights.remainder(span.quotient(i)); }
};

struct Moments {
  double count, mean, squares; // the squares of the differences from the mean, added

  __device__ __forceinline__ void add(Moments b) {
    const double n = count + b.count;
    if (n == 0) return;
    const double d = b.mean - mean, share = b.count / n;
    squares += b.squares + d * d * count * share;
    mean += d * share;
    count = n;
  }

  __device__ __forceinline__ Moments down(int lanes) const {
    return {__shfl_down_sync(0xffffffffu, count, lanes), __shfl_down_sync(0xffffffffu, mean, lanes),
            __shfl_down_sync(0xffffffffu, squares, lanes)};
  }
};

struct Sums {
  double plain, product;

  __device__ __forceinline__ void add(Sums b) {
    plain += b.plain;
    product += b.product;
  }

  __device__ __forceinline__ Sums down(int lanes) const {
    return {__shfl_down_sync(0xffffffffu, plain, lanes), __shfl_down_sync(0xffffffffu, product, lanes)};
  }
};

// All of a warp, in its first lane.
template <typename S> static __device__ __forceinline__ S of_warp(S v) {
  for (int d = 16; d > 0; d /= 2) v.add(v.down(d));
  return v;
}

// All of a block of 256 threads or of a warp, by `blockDim.x`, in its first thread.
template <typename S> static __device__ __forceinline__ S of_team(S v) {
  __shared__ S parts[8];
  v = of_warp(v);
  if (blockDim.x == 32) return v;
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0)
    for (u32 w = 1; w < blockDim.x / 32; w++) v.add(parts[w]);
  return v;
}

// The number of a team of `blockDim.x` threads.
static __device__ __forceinline__ u32 team() { return blockIdx.x * blockDim.y + threadIdx.y; }

// Sums of the elements that a thread takes: of their differences from the first, which lies among them, so that hardly a
// digit is lost.
struct Gathered {
  double first, plain, squares, count;

  __device__ __forceinline__ void add(double x) {
    if (count == 0) first = x;
    const double d = x - first;
    plain += d;
    squares += d * d;
    count += 1;
  }

  __device__ __forceinline__ Moments moments() const {
    if (count == 0) return {0, 0, 0};
    const double mean = plain / count, rest = squares - plain * mean;
    return {count, first + mean, rest < 0 ? 0 : rest};
  }
};

// Mean and 1 / sqrt(var + eps) of each group, [2, groups]: in f64, and rounded to the type of the elements.
struct Statistics {
  double *exact;
  real *rounded;
  double eps;
  u32 groups;

  __device__ __forceinline__ void set(u32 g, double mean, double var) const {
    const double inverse = 1 / sqrt(var + eps);
    exact[g] = mean;
    exact[groups + g] = inverse;
    rounded[g] = real(mean);
    rounded[groups + g] = real(inverse);
  }
};

// The running statistics of batches, moved by `share` towards the newest, or by 1 / batches where that is negative.
struct Running {
  real *mean, *var;
  long long *batches;
  double share, unbiased;

  __device__ __forceinline__ void learn(u32 g, double batch_mean, double batch_var) const {
    if (!mean) return;
    // With a negative share all groups read the number of batches, and `count_batch` adds this one afterwards.
    const double s = share < 0 ? 1 / (double(*batches) + 1) : share;
    mean[g] = real((1 - s) * double(mean[g]) + s * batch_mean);
    var[g] = real((1 - s) * double(var[g]) + s * (batch_var * unbiased));
    if (g == 0 && share >= 0) *batches += 1;
  }
};

static __device__ __forceinline__ void finish(u32 g, Moments m, Statistics statistics, Running running) {
  const double var = m.squares / m.count;
  statistics.set(g, m.mean, var);
  running.learn(g, m.mean, var);
}

// A part of a group for each team. Without `parts` each group has one, and is done.
extern "C" __global__ void moments(const real *__restrict__ x, Groups s, Moments *__restrict__ parts,
                                   Statistics statistics, Running running) {
  const u32 t = team(), g = t / s.parts, from = t % s.parts * s.part;
  if (g >= s.groups) return;
  Gathered sums = {0, 0, 0, 0};
  const u32 to = min(from + s.part, s.size);
  for (u32 k = from + threadIdx.x; k < to; k += blockDim.x) sums.add(double(x[s.place(g, k)]));
  const Moments m = of_team(sums.moments());
  if (threadIdx.x) return;
  if (parts) parts[t] = m;
  else finish(g, m, statistics, running);
}

// What the 8 threads of a column have, in the first of them.
template <typename S> static __device__ __forceinline__ S of_column(S v) {
  __shared__ S rows[8][32];
  rows[threadIdx.y][threadIdx.x] = v;
  __syncthreads();
  if (threadIdx.y == 0)
    for (u32 y = 1; y < 8; y++) v.add(rows[y][threadIdx.x]);
  return v;
}

// A column of a part for each 8 threads: the elements at c, c + columns, .. of the rows of part blockIdx.y. Part p of
// column c is parts[c * s.parts + p]: those of a group lie side by side.
extern "C" __global__ void moments_columns(const real *__restrict__ x, Groups s, Moments *__restrict__ parts) {
  const u32 columns = s.groups * s.inner, c = blockIdx.x * 32 + threadIdx.x;
  const u32 from = blockIdx.y * s.part, to = min(from + s.part, s.size);
  Gathered sums = {0, 0, 0, 0};
  if (c < columns)
    for (u32 r = from + threadIdx.y; r < to; r += 8) sums.add(double(x[size_t(r) * columns + c]));
  const Moments m = of_column(sums.moments());
  if (threadIdx.y == 0 && c < columns) parts[size_t(c) * s.parts + blockIdx.y] = m;
}

// The parts of one group, for a warp.
template <typename S> static __device__ __forceinline__ S of_parts(const S *parts, u32 count, S none) {
  S sum = none;
  for (u32 p = threadIdx.x; p < count; p += 32) sum.add(parts[p]);
  return of_warp(sum);
}

extern "C" __global__ void finish_moments(const Moments *__restrict__ parts, u32 count, Statistics statistics,
                                          Running running) {
  const u32 g = team();
  if (g >= statistics.groups) return;
  const Moments m = of_parts(parts + size_t(g) * count, count, Moments{0, 0, 0});
  if (threadIdx.x == 0) finish(g, m, statistics, running);
}

// The statistics that evaluation takes.
extern "C" __global__ void use_running(Statistics statistics, Running running) {
  FOR_EACH(g, statistics.groups) statistics.set(u32(g), running.mean[g], running.var[g]);
}

extern "C" __global__ void count_batch(long long *batches) { *batches += 1; }

// y = (x - mean) * inverse * weight + bias, or the positive part of it; without `weight` there is no bias either.
extern "C" __global__ void normalise(const real *__restrict__ x, const real *__restrict__ rounded,
                                     const real *__restrict__ weight, const real *__restrict__ bias,
                                     real *__restrict__ y, u32 count, Owners owners, u32 relu) {
  FOR_EACH(i, count) {
    const u32 g = owners.group(u32(i));
    real v = (x[i] - rounded[g]) * rounded[owners.groups.divisor + g];
    if (weight) {
      const u32 w = owners.weight(u32(i));
      v = v * weight[w] + bias[w];
    }
    y[i] = relu ? positive(v) : v;
  }
}

// What comes back to the output of the norm: without `y` there was no ReLU behind it.
static __device__ __forceinline__ real behind_relu(const real *y, const real *dy, size_t i) {
  return y && y[i] <= real(0) ? real(0) : dy[i];
}

// What the sums of the gradients are of.
struct Terms {
  const real *x, *y, *dy, *weight; // without weight it is 1
  const double *exact;
  Owners owners;

  __device__ __forceinline__ void add(Sums &sums, size_t i) const {
    double d = double(behind_relu(y, dy, i));
    if (weight) d *= double(weight[owners.weight(u32(i))]);
    const u32 g = owners.group(u32(i));
    sums.plain += d;
    sums.product += d * ((double(x[i]) - exact[g]) * exact[owners.groups.divisor + g]);
  }
};

// Where the sums go: as they are to the gradients of weight and bias, and to level and slope of the input's, [2, groups],
// which is one weight of `weight` for each group. Any may be absent.
struct Targets {
  real *of_weight, *of_bias, *level;
  const real *weight;
  const double *exact;
  double share; // 1 / elements of a group
  u32 groups;

  __device__ __forceinline__ void set(u32 g, Sums s) const {
    if (of_weight) of_weight[g] = real(s.product);
    if (of_bias) of_bias[g] = real(s.plain);
    if (!level) return;
    const double scale = weight ? share * double(weight[g]) : share;
    level[g] = real(s.plain * scale);
    level[groups + g] = real(s.product * scale * exact[groups + g]);
  }
};

extern "C" __global__ void gradient_sums(Terms terms, Groups s, Sums *__restrict__ parts, Targets targets) {
  const u32 t = team(), g = t / s.parts, from = t % s.parts * s.part;
  if (g >= s.groups) return;
  Sums sums = {0, 0};
  const u32 to = min(from + s.part, s.size);
  for (u32 k = from + threadIdx.x; k < to; k += blockDim.x) terms.add(sums, s.place(g, k));
  sums = of_team(sums);
  if (threadIdx.x) return;
  if (parts) parts[t] = sums;
  else targets.set(g, sums);
}

extern "C" __global__ void gradient_sums_columns(Terms terms, Groups s, Sums *__restrict__ parts) {
  const u32 columns = s.groups * s.inner, c = blockIdx.x * 32 + threadIdx.x;
  const u32 from = blockIdx.y * s.part, to = min(from + s.part, s.size);
  Sums sums = {0, 0};
  if (c < columns)
    for (u32 r = from + threadIdx.y; r < to; r += 8) terms.add(sums, size_t(r) * columns + c);
  sums = of_column(sums);
  if (threadIdx.y == 0 && c < columns) parts[size_t(c) * s.parts + blockIdx.y] = sums;
}

extern "C" __global__ void finish_sums(const Sums *__restrict__ parts, u32 count, u32 groups, Targets targets) {
  const u32 g = team();
  if (g >= groups) return;
  const Sums sums = of_parts(parts + size_t(g) * count, count, Sums{0, 0});
  if (threadIdx.x == 0) targets.set(g, sums);
}

// dx = inverse * (dy * weight - level - (x - mean) * slope); without `level` the statistics were given.
extern "C" __global__ void input_gradient(const real *__restrict__ x, const real *__restrict__ y,
                                          const real *__restrict__ dy, const real *__restrict__ rounded,
                                          const real *__restrict__ level, const real *__restrict__ weight,
                                          real *__restrict__ dx, u32 count, Owners owners) {
  const u32 groups = owners.groups.divisor;
  FOR_EACH(i, count) {
    const u32 g = owners.group(u32(i));
    real d = behind_relu(y, dy, i);
    if (weight) d *= weight[owners.weight(u32(i))];
    if (level) d -= level[g] + (x[i] - rounded[g]) * level[groups + g];
    dx[i] = rounded[groups + g] * d;
  }
}
