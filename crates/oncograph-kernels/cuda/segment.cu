// Reductions over the edges of a graph in compressed sparse rows.
//
// A row's edges are taken in the order of the edge list. A row of more than 4,096 edges is cut into parts of as many,
// whose sums are added one after another: the bits depend on the graph alone. A graph without such a row has one part per
// row. The host makes the lists (oncograph-nn/src/cuda/lists.rs): part p holds the edges from part_offsets[p] on, row r
// the parts from row_parts[r] on.

#include "common.cuh"

// 1 / number of edges of a row, 1 for a row without edges or without offsets.
static __device__ __forceinline__ real share(const u32 *offsets, u32 row) {
  if (!offsets) return 1;
  const u32 degree = offsets[row + 1] - offsets[row];
  return real(1) / real(degree > 1 ? degree : 1);
}

// out[p, f] = the sum over the edges e of part p of x[columns[e], f], each times share(of_column, columns[e]); all times
// share(of_row, p).
//
// A part belongs to the threads of one y of a block, a feature to one x: neighbouring threads read neighbouring features.
extern "C" __global__ void gather_sum(const real *__restrict__ x, const u32 *__restrict__ part_offsets,
                                      const u32 *__restrict__ columns, const u32 *__restrict__ of_row,
                                      const u32 *__restrict__ of_column, real *__restrict__ out, u32 parts,
                                      u32 width) {
  const u32 part = blockIdx.x * blockDim.y + threadIdx.y;
  if (part >= parts) return;
  const u32 from = part_offsets[part], to = part_offsets[part + 1];
  const real scale = share(of_row, part);
  for (u32 f = threadIdx.x; f < width; f += blockDim.x) {
    real sum = 0;
    u32 e = from;
    // Four loads under way before the first is used; they are added in order.
    for (; e + 4 <= to; e += 4) {
      real v[4];
#pragma unroll
      for (int k = 0; k < 4; k++) {
        const u32 c = columns[e + k];
        v[k] = x[size_t(c) * width + f] * share(of_column, c);
      }
#pragma unroll
      for (int k = 0; k < 4; k++) sum += v[k];
    }
    for (; e < to; e++) {
      const u32 c = columns[e];
      sum += x[size_t(c) * width + f] * share(of_column, c);
    }
    out[size_t(part) * width + f] = sum * scale;
  }
}

// out[r, f] = the sum over the parts p of row r of sums[p, f], times share(of_row, r).
extern "C" __global__ void add_parts(const real *__restrict__ sums, const u32 *__restrict__ row_parts,
                                     const u32 *__restrict__ of_row, real *__restrict__ out, u32 rows, u32 width) {
  FOR_EACH(i, size_t(rows) * width) {
    const u32 row = u32(i / width), f = u32(i % width);
    real sum = 0;
    for (u32 p = row_parts[row]; p < row_parts[row + 1]; p++) sum += sums[size_t(p) * width + f];
    out[i] = sum * share(of_row, row);
  }
}
