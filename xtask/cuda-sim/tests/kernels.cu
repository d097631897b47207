// Kernels for the tests of the stand-in: right ones, and one for each mistake that it is to find.

extern "C" __global__ void scale(float *x, unsigned n, float factor) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factor;
}

// The sum over a block, in memory whose size the launch chooses.
extern "C" __global__ void block_sum(const float *x, float *sums) {
  extern __shared__ float part[];
  const unsigned t = threadIdx.x;
  part[t] = x[blockIdx.x * blockDim.x + t];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) part[t] += part[t + half];
  }
  if (t == 0) sums[blockIdx.x] = part[0];
}

// The same over the lanes of each warp, by exchanges.
extern "C" __global__ void warp_sum(const float *x, float *sums) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  float v = x[i];
  for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(~0u, v, lanes);
  if (threadIdx.x % 32 == 0) sums[i / 32] = v;
}

// Threads read what their neighbours write, without a barrier between.
extern "C" __global__ void race(float *x) {
  const unsigned i = threadIdx.x;
  x[i] = x[(i + 1) % blockDim.x] + 1;
}

// The last thread writes one element behind the end.
extern "C" __global__ void beyond(float *x, unsigned n) {
  x[threadIdx.x + 1 == blockDim.x ? n : threadIdx.x] = 0;
}

// Lane 0 has ended when the others want to hear from it.
extern "C" __global__ void early(float *x) {
  if (threadIdx.x == 0) return;
  x[threadIdx.x] = __shfl_sync(~0u, x[threadIdx.x], 0);
}

// Half of a warp waits for the block, the other half for the warp.
extern "C" __global__ void torn(float *x) {
  if (threadIdx.x < 16) __syncthreads();
  x[threadIdx.x] = __shfl_xor_sync(~0u, x[threadIdx.x], 1);
}

extern "C" __global__ void checked(const float *x) { assert(x[threadIdx.x] < 2); }

// Without a C name: not found on a GPU, either.
__global__ void mangled(float *x) { x[0] = 1; }
