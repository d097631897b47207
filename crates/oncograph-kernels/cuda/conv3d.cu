// 3D convolution as a product of matrices: the volume as columns, and back; sums per channel.
//
// A slab is the output voxels from `first` on, `count` of them, of one sample and one group of channels. Its columns are
// [channels x taps, count], a tap being an element of the filter.

#include "common.cuh"

// Sizes along depth, height and width; of one call.
struct Geometry {
  u32 input[3], kernel[3], output[3], stride[3], padding[3], dilation[3];
};

// The number behind `at` in x, y and z of a volume of these sizes.
static __device__ __forceinline__ void unravel(u32 at, const u32 *sizes, u32 *position) {
  position[2] = at % sizes[2];
  position[1] = at / sizes[2] % sizes[1];
  position[0] = at / sizes[2] / sizes[1];
}

// columns[(c, tap), j] = x[c, the voxel that output first + j meets with this tap], 0 outside of the volume.
//
// A thread has one channel and one output and goes through the taps: neighbours write side by side.
extern "C" __global__ void volume_to_columns(const real *__restrict__ x, real *__restrict__ columns, Geometry g,
                                             u32 channels, u32 first, u32 count) {
  const size_t voxels = size_t(g.input[0]) * g.input[1] * g.input[2];
  const u32 taps = g.kernel[0] * g.kernel[1] * g.kernel[2];
  FOR_EACH(i, size_t(channels) * count) {
    const u32 c = u32(i / count), j = u32(i % count);
    u32 o[3];
    unravel(first + j, g.output, o);
    // Below 0 these wrap around to numbers that no volume has.
    const u32 z0 = o[0] * g.stride[0] - g.padding[0], y0 = o[1] * g.stride[1] - g.padding[1],
              x0 = o[2] * g.stride[2] - g.padding[2];
    const real *volume = x + c * voxels;
    real *column = columns + size_t(c) * taps * count + j;
    for (u32 kd = 0; kd < g.kernel[0]; kd++) {
      const u32 z = z0 + kd * g.dilation[0];
      for (u32 kh = 0; kh < g.kernel[1]; kh++) {
        const u32 y = y0 + kh * g.dilation[1];
        for (u32 kw = 0; kw < g.kernel[2]; kw++) {
          const u32 v = x0 + kw * g.dilation[2];
          const bool inside = z < g.input[0] && y < g.input[1] && v < g.input[2];
          *column = inside ? volume[(size_t(z) * g.input[1] + y) * g.input[2] + v] : real(0);
          column += count;
        }
      }
    }
  }
}

// dx[c, voxel] += the sum over the taps of columns[(c, tap), j] for the outputs first + j that meet the voxel.
//
// Each voxel belongs to one thread, which gathers: nothing is added by two threads.
extern "C" __global__ void columns_to_volume(const real *__restrict__ columns, real *__restrict__ dx, Geometry g,
                                             u32 channels, u32 first, u32 count) {
  const u32 voxels = g.input[0] * g.input[1] * g.input[2];
  FOR_EACH(i, size_t(channels) * voxels) {
    const u32 c = u32(i / voxels);
    u32 p[3];
    unravel(u32(i % voxels), g.input, p);
    real sum = 0;
    size_t row = size_t(c) * g.kernel[0] * g.kernel[1] * g.kernel[2];
    for (u32 kd = 0; kd < g.kernel[0]; kd++) {
      for (u32 kh = 0; kh < g.kernel[1]; kh++) {
        for (u32 kw = 0; kw < g.kernel[2]; kw++, row++) {
          const u32 k[3] = {kd, kh, kw};
          u32 o[3];
          bool meets = true;
          for (u32 a = 0; a < 3; a++) {
            // Wraps around where the tap lies before the first output; such a number is beyond the last.
            const u32 reach = p[a] + g.padding[a] - k[a] * g.dilation[a];
            o[a] = reach / g.stride[a];
            meets = meets && p[a] + g.padding[a] >= k[a] * g.dilation[a] && reach % g.stride[a] == 0 &&
                    o[a] < g.output[a];
          }
          if (!meets) continue;
          const u32 j = (o[0] * g.output[1] + o[1]) * g.output[2] + o[2] - first;
          if (j < count) sum += columns[row * count + j];
        }
      }
    }
    dx[i] += sum;
  }
}

// y[n, c, voxel] = bias[c], of count elements in all.
extern "C" __global__ void fill_channels(const real *__restrict__ bias, real *__restrict__ y, u32 channels, u32 voxels,
                                         u64 count) {
  FOR_EACH(i, count) y[i] = bias[i / voxels % channels];
}

// y[n, c, voxel] += bias[c], of count elements in all.
extern "C" __global__ void add_channels(const real *__restrict__ bias, real *__restrict__ y, u32 channels, u32 voxels,
                                        u64 count) {
  FOR_EACH(i, count) y[i] += bias[i / voxels % channels];
}

// sums[c] = the sum of dy[n, c, voxel] over n and voxel, in f64: one block per channel.
extern "C" __global__ void channel_sums(const real *__restrict__ dy, real *__restrict__ sums, u32 batch, u32 channels,
                                        u32 voxels) {
  __shared__ double parts[32];
  const u32 c = blockIdx.x;
  double sum = 0;
  for (u32 n = 0; n < batch; n++) {
    const real *row = dy + (size_t(n) * channels + c) * voxels;
    for (u32 i = threadIdx.x; i < voxels; i += blockDim.x) sum += double(row[i]);
  }
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) sums[c] = real(sum);
}

// The bits of the nearest bf16, of two the even one. By integers: subnormal numbers are kept.
static __device__ __forceinline__ u32 bf16_bits(real value) {
  const u32 bits = __float_as_uint(float(value));
  // A NaN stays one, whose upper half alone may be that of an infinity.
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// y[i] = x[i] as bf16.
extern "C" __global__ void pack_bf16(const real *__restrict__ x, unsigned short *__restrict__ y, u64 count) {
  FOR_EACH(i, count) y[i] = (unsigned short)bf16_bits(x[i]);
}

// y[n, c, voxel] = the bf16 x[n, c, voxel], plus bias[c] if there is a bias; count elements in all.
extern "C" __global__ void unpack_bf16(const unsigned short *__restrict__ x, real *__restrict__ y,
                                       const real *__restrict__ bias, u32 channels, u32 voxels, u64 count) {
  FOR_EACH(i, count) {
    const real value = real(__uint_as_float(u32(x[i]) << 16));
    y[i] = bias ? value + bias[i / voxels % channels] : value;
  }
}

// x[i] = x[i] rounded to bf16.
extern "C" __global__ void round_bf16(real *__restrict__ x, u64 count) {
  FOR_EACH(i, count) x[i] = real(__uint_as_float(bf16_bits(x[i]) << 16));
}
