// Pooling of volumes [batch * channels, D, H, W]. Each output belongs to one thread, or to a warp where windows are large;
// a gradient is gathered: an input element adds what its windows send back, in the order of the outputs.

#include "divide.cuh"

struct Range {
  u32 from, to;
};

// The windows along one axis; the CPU's are listed in oncograph-nn/src/pool/windows.rs.
struct Axis {
  u32 input, output, reach, stride, pad, step, adaptive, count_pad;
  Divider by_stride, by_output, by_input;

  // The elements of window o, of which `step` tells the distance.
  __device__ __forceinline__ Range window(u32 o) const {
    if (adaptive) return {o * input / output, ((o + 1) * input + output - 1) / output};
    const u32 start = o * stride, end = min(start + reach, input + 2 * pad);
    const u32 last = min(end > pad ? end - pad : 0, input);
    // The first element at or behind the start of the volume.
    const u32 skipped = start < pad ? (pad - start + step - 1) / step * step : 0;
    return {min(start + skipped - pad, last), last};
  }

  // What an average divides by.
  __device__ __forceinline__ u32 count(u32 o) const {
    const Range r = window(o);
    if (adaptive || !count_pad) return r.to - r.from;
    return min(o * stride + reach, input + 2 * pad) - o * stride;
  }

  // The windows in whose reach element i lies.
  __device__ __forceinline__ Range windows_of(u32 i) const {
    if (adaptive) return {i * output / input, ((i + 1) * output - 1) / input + 1};
    const u32 at = i + pad;
    const u32 from = at < reach ? 0 : by_stride.quotient(at - reach) + 1;
    return {from, min(by_stride.quotient(at) + 1, output)};
  }
};

struct Place {
  u32 volume, d, h, w;
};

struct Pool {
  Axis d, h, w;
  u32 divisor; // in the place of the counts of windows, unless 0

  __device__ __forceinline__ Place output(u32 i) const {
    const u32 row = w.by_output.quotient(i), plane = h.by_output.quotient(row), volume = d.by_output.quotient(plane);
    return {volume, plane - volume * d.output, row - plane * h.output, i - row * w.output};
  }

  __device__ __forceinline__ Place input(u32 i) const {
    const u32 row = w.by_input.quotient(i), plane = h.by_input.quotient(row), volume = d.by_input.quotient(plane);
    return {volume, plane - volume * d.input, row - plane * h.input, i - row * w.input};
  }

  __device__ __forceinline__ double share(u32 od, u32 oh, u32 ow) const {
    return divisor ? double(divisor) : double(d.count(od)) * double(h.count(oh)) * double(w.count(ow));
  }

  // Calls `f(offset)` for the elements of a window that lane `threadIdx.x` takes, in the order of memory.
  template <typename F> __device__ __forceinline__ void each(Place o, F f) const {
    const Range rd = d.window(o.d), rh = h.window(o.h), rw = w.window(o.w);
    if (blockDim.x == 1) {
      for (u32 i = rd.from; i < rd.to; i += d.step)
        for (u32 j = rh.from; j < rh.to; j += h.step)
          for (u32 k = rw.from; k < rw.to; k += w.step) f((i * h.input + j) * w.input + k);
      return;
    }
    const u32 rows = (rh.to - rh.from + h.step - 1) / h.step, columns = (rw.to - rw.from + w.step - 1) / w.step;
    const u32 all = (rd.to - rd.from + d.step - 1) / d.step * rows * columns;
    for (u32 e = threadIdx.x; e < all; e += 32) {
      const u32 row = e / columns, k = e - row * columns, plane = row / rows, j = row - plane * rows;
      f(((rd.from + plane * d.step) * h.input + rh.from + j * h.step) * w.input + rw.from + k * w.step);
    }
  }

  // Calls `f(offset, d, h, w)` for the outputs in whose reach an input lies, in their order.
  template <typename F> __device__ __forceinline__ void each_output(Place i, F f) const {
    const Range rd = d.windows_of(i.d), rh = h.windows_of(i.h), rw = w.windows_of(i.w);
    for (u32 a = rd.from; a < rd.to; a++)
      for (u32 b = rh.from; b < rh.to; b++)
        for (u32 c = rw.from; c < rw.to; c++) f((a * h.output + b) * w.output + c, a, b, c);
  }

  __device__ __forceinline__ size_t in_pixels() const { return size_t(d.input) * h.input * w.input; }
  __device__ __forceinline__ size_t out_pixels() const { return size_t(d.output) * h.output * w.output; }
};

// The output of a team: of a thread, or of a warp.
static __device__ __forceinline__ u32 team() { return blockIdx.x * blockDim.y + threadIdx.y; }

extern "C" __global__ void avg_pool(const real *__restrict__ x, real *__restrict__ y, u32 count, Pool pool) {
  const u32 i = team();
  if (i >= count) return;
  const Place o = pool.output(i);
  const real *volume = x + o.volume * pool.in_pixels();
  double sum = 0;
  pool.each(o, [&](u32 at) { sum += double(volume[at]); });
  if (blockDim.x == 32) sum = warp_sum(sum);
  if (threadIdx.x == 0) y[i] = real(sum / pool.share(o.d, o.h, o.w));
}

extern "C" __global__ void avg_pool_gradient(const real *__restrict__ dy, real *__restrict__ dx, u32 count, Pool pool) {
  FOR_EACH(i, count) {
    const Place at = pool.input(u32(i));
    const real *volume = dy + at.volume * pool.out_pixels();
    real sum = 0;
    pool.each_output(at, [&](u32 o, u32 d, u32 h, u32 w) { sum += real(double(volume[o]) / pool.share(d, h, w)); });
    dx[i] = sum;
  }
}

// The largest element, the first among equals, and where it lies; a NaN is the largest, the last among them.
struct Largest {
  real value;
  u32 at;

  static const u32 NOWHERE = 0xffffffffu;

  __device__ __forceinline__ void add(real v, u32 place) {
    if (place == NOWHERE) return;
    const bool nan = v != v, own = value != value;
    const bool better = at == NOWHERE || (nan || own ? nan && (!own || place > at)
                                                     : v > value || (v == value && place < at));
    if (better) value = v, at = place;
  }
};

static __device__ __forceinline__ Largest largest(const real *x, const Pool &pool, Place o) {
  const real *volume = x + o.volume * pool.in_pixels();
  Largest best = {real(-INFINITY), Largest::NOWHERE};
  pool.each(o, [&](u32 at) { best.add(volume[at], at); });
  if (blockDim.x == 32) {
    for (int d = 16; d > 0; d /= 2) {
      const real v = __shfl_down_sync(0xffffffffu, best.value, d);
      best.add(v, __shfl_down_sync(0xffffffffu, best.at, d));
    }
  }
  return best;
}

extern "C" __global__ void max_pool(const real *__restrict__ x, real *__restrict__ y, u32 count, Pool pool) {
  const u32 i = team();
  if (i >= count) return;
  const Largest best = largest(x, pool, pool.output(i));
  if (threadIdx.x == 0) y[i] = best.value;
}

// Where the largest elements lie in their volumes, -1 for a window in the padding alone.
extern "C" __global__ void max_pool_indices(const real *__restrict__ x, long long *__restrict__ indices, u32 count,
                                            Pool pool) {
  const u32 i = team();
  if (i >= count) return;
  const Largest best = largest(x, pool, pool.output(i));
  if (threadIdx.x == 0) indices[i] = best.at == Largest::NOWHERE ? -1 : (long long)best.at;
}

extern "C" __global__ void max_pool_gradient(const long long *__restrict__ indices, const real *__restrict__ dy,
                                             real *__restrict__ dx, u32 count, Pool pool) {
  FOR_EACH(i, count) {
    const Place at = pool.input(u32(i));
    const size_t outputs = at.volume * pool.out_pixels();
    const long long own = (long long)(i - at.volume * pool.in_pixels());
    real sum = 0;
    pool.each_output(at, [&](u32 o, u32, u32, u32) {
      if (indices[outputs + o] == own) sum += dy[outputs + o];
    });
    dx[i] = sum;
  }
}
