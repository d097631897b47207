// The node features of a batch of graphs of one patient each: image nodes mixed from the levels of their pyramids, with
// noise, and clinical nodes. A node is a row of the table of images, or with the highest bit a row of the clinical features.

#include "common.cuh"

static constexpr u32 CLINICAL = 0x80000000u, LEVELS = 3;

// out[node] = the features, and behind them with `kinds` the square root of their number in the column of the node's kind:
// the place of an image among those of its patient, or the last.
extern "C" __global__ void assemble(const real *__restrict__ weights, const real *__restrict__ clinical,
                                    const real *__restrict__ table, const u32 *__restrict__ nodes,
                                    const real *__restrict__ noise, real *__restrict__ out, u32 count, u32 width,
                                    u32 kinds) {
  const u32 columns = width + kinds;
  FOR_EACH(i, size_t(count) * columns) {
    const u32 at = u32(i / columns), f = u32(i % columns), node = nodes[at];
    const bool is_clinical = node & CLINICAL;
    real v = 0;
    if (f >= width) {
      const u32 kind = is_clinical ? kinds - 1 : node % (kinds - 1);
      if (f - width == kind) v = sqrt(real(width));
    } else if (is_clinical) {
      v = clinical[size_t(node & ~CLINICAL) * width + f];
    } else {
      if (noise) v = noise[size_t(at) * width + f];
      const real *levels = table + size_t(node) * LEVELS * width + f;
      for (u32 l = 0; l < LEVELS; l++) v += weights[l] * levels[size_t(l) * width];
    }
    out[i] = v;
  }
}

// dots[node, l] = the product of the gradient of an image node with level l: a warp for each node.
extern "C" __global__ void level_dots(const real *__restrict__ dy, const real *__restrict__ table,
                                      const u32 *__restrict__ nodes, real *__restrict__ dots, u32 count, u32 width,
                                      u32 columns) {
  const u32 at = blockIdx.x * blockDim.y + threadIdx.y;
  if (at >= count) return; // whole warps
  const u32 node = nodes[at];
  for (u32 l = 0; l < LEVELS; l++) {
    real sum = 0;
    if (!(node & CLINICAL)) {
      const real *level = table + (size_t(node) * LEVELS + l) * width;
      for (u32 f = threadIdx.x; f < width; f += 32) sum += dy[size_t(at) * columns + f] * level[f];
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0) dots[size_t(at) * LEVELS + l] = sum;
  }
}

// out[l] = the sum over all nodes, in f64: one block.
extern "C" __global__ void sum_levels(const real *__restrict__ dots, real *__restrict__ out, u32 count) {
  __shared__ double parts[32];
  for (u32 l = 0; l < LEVELS; l++) {
    double sum = 0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) sum += double(dots[size_t(i) * LEVELS + l]);
    sum = block_sum(sum, parts);
    if (threadIdx.x == 0) out[l] = real(sum);
  }
}
