// Softmax over the edges of each target, per head.

#include "edges.cuh"

// stats[p, h] = the largest logit of part p, stats[p, heads + h] = the sum of the exponentials less it: a warp for each.
// Without parts (`whole`) the second is the denominator.
extern "C" __global__ void softmax_parts(const real *__restrict__ z, const u32 *__restrict__ part_offsets,
                                         const u32 *__restrict__ edges, real *__restrict__ stats, u32 parts,
                                         u32 heads, u32 whole) {
  const size_t i = size_t(blockIdx.x) * blockDim.y + threadIdx.y;
  if (i >= size_t(parts) * heads) return; // whole warps
  const u32 part = u32(i / heads), h = u32(i % heads);
  const u32 from = part_offsets[part], to = part_offsets[part + 1];
  real largest = -INFINITY;
  for (u32 e = from + threadIdx.x; e < to; e += 32) {
    const real v = z[size_t(edges[e]) * heads + h];
    if (v > largest || v != v) largest = v;
  }
  largest = warp_max(largest);
  real sum = 0;
  for (u32 e = from + threadIdx.x; e < to; e += 32) sum += exp(z[size_t(edges[e]) * heads + h] - largest);
  sum = warp_sum(sum);
  if (threadIdx.x == 0) {
    stats[size_t(part) * 2 * heads + h] = largest;
    stats[size_t(part) * 2 * heads + heads + h] = whole ? sum + real(1e-16) : sum;
  }
}

// The same of rows, from their parts.
extern "C" __global__ void softmax_rows(const real *__restrict__ of_parts, const u32 *__restrict__ row_parts,
                                        real *__restrict__ stats, u32 rows, u32 heads) {
  FOR_EACH(i, size_t(rows) * heads) {
    const u32 row = u32(i / heads), h = u32(i % heads);
    const u32 from = row_parts[row], to = row_parts[row + 1];
    real largest = -INFINITY, sum = 0;
    for (u32 p = from; p < to; p++) {
      const real v = of_parts[size_t(p) * 2 * heads + h];
      if (v > largest || v != v) largest = v;
    }
    for (u32 p = from; p < to; p++) {
      const real *part = of_parts + size_t(p) * 2 * heads + h;
      const real count = part_share(part[0], largest);
      sum += count == real(0) ? real(0) : part[heads] * count;
    }
    stats[size_t(row) * 2 * heads + h] = largest;
    stats[size_t(row) * 2 * heads + heads + h] = sum + real(1e-16);
  }
}

extern "C" __global__ void softmax_edges(const real *__restrict__ z, const real *__restrict__ stats,
                                         const u32 *__restrict__ targets, real *__restrict__ y, u64 count, u32 heads) {
  FOR_EACH(i, count) {
    const real *of_row = stats + size_t(targets[i / heads]) * 2 * heads + i % heads;
    y[i] = exp(z[i] - of_row[0]) / of_row[heads];
  }
}

// out[p, h] = the sum over the edges e of part p of a[e, h] b[e, h].
extern "C" __global__ void segment_dot(const real *__restrict__ a, const real *__restrict__ b,
                                       const u32 *__restrict__ part_offsets, const u32 *__restrict__ edges,
                                       real *__restrict__ out, u32 parts, u32 heads) {
  for_each_feature(parts, heads, [&](u32 part, u32 h) {
    out[size_t(part) * heads + h] = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 e) {
      const size_t at = size_t(edges[e]) * heads + h;
      return a[at] * b[at];
    });
  });
}

extern "C" __global__ void softmax_backward(const real *__restrict__ y, const real *__restrict__ dy,
                                            const real *__restrict__ dots, const u32 *__restrict__ targets,
                                            real *__restrict__ dz, u64 count, u32 heads) {
  FOR_EACH(i, count) dz[i] = y[i] * (dy[i] - dots[size_t(targets[i / heads]) * heads + i % heads]);
}
