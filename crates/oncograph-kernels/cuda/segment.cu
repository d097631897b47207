// Sums and maxima over the edges of a graph in compressed sparse rows.
//
// A row's edges are taken in the order of the edge list. A row of more than 4,096 edges is cut into parts of as many,
// whose sums are added one after another: the bits depend on the graph alone. A graph without such a row has one part per
// row. The host makes the lists (oncograph-nn/src/cuda/lists.rs): part p holds the edges from part_offsets[p] on, row r
// the parts from row_parts[r] on, and part p belongs to row part_rows[p]. Without part_rows parts are rows.

#include "edges.cuh"

// out[p, f] = the sum over the edges e of part p of x[columns[e], f], each times share(of_column, columns[e]); all times
// share(of_row, p).
extern "C" __global__ void gather_sum(const real *__restrict__ x, const u32 *__restrict__ part_offsets,
                                      const u32 *__restrict__ columns, const u32 *__restrict__ of_row,
                                      const u32 *__restrict__ of_column, real *__restrict__ out, u32 parts,
                                      u32 width) {
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const real sum = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 e) {
      const u32 c = columns[e];
      return x[size_t(c) * width + f] * share(of_column, c);
    });
    out[size_t(part) * width + f] = sum * share(of_row, part);
  });
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

// out[p, f] = the sum over the edges e of part p of x[columns[e], f] weight[edges[e], head of f].
extern "C" __global__ void weighted_sum(const real *__restrict__ x, const real *__restrict__ weight,
                                        const u32 *__restrict__ part_offsets, const u32 *__restrict__ columns,
                                        const u32 *__restrict__ edges, real *__restrict__ out, u32 parts, u32 width,
                                        u32 heads) {
  const u32 channels = width / heads;
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const u32 h = f / channels;
    out[size_t(part) * width + f] = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 e) {
      return x[size_t(columns[e]) * width + f] * weight[size_t(edges[e]) * heads + h];
    });
  });
}

// out[e, h] = the product of the channels of head h of x[sources[e]] and of y[targets[e]]: `lanes` lanes for each.
extern "C" __global__ void edge_dot(const real *__restrict__ x, const real *__restrict__ y,
                                    const u32 *__restrict__ sources, const u32 *__restrict__ targets,
                                    real *__restrict__ out, u64 count, u32 heads, u32 channels, u32 lanes) {
  const size_t i = thread_number() / lanes;
  const u32 lane = threadIdx.x % lanes, width = heads * channels;
  real sum = 0;
  if (i < count) {
    const size_t e = i / heads, head = size_t(i % heads) * channels;
    const real *a = x + size_t(sources[e]) * width + head, *b = y + size_t(targets[e]) * width + head;
    for (u32 c = lane; c < channels; c += lanes) sum += a[c] * b[c];
  }
  sum = lanes_sum(sum, lanes);
  if (i < count && lane == 0) out[i] = sum;
}

// The largest, where a NaN is larger than all.
static __device__ __forceinline__ bool wins(bool first, real v, real than) { return first || v > than || v != v; }

// out[p, f] = the largest of x[columns[e], f] over the edges e of part p, 0 without edges.
extern "C" __global__ void gather_max(const real *__restrict__ x, const u32 *__restrict__ part_offsets,
                                      const u32 *__restrict__ columns, real *__restrict__ out, u32 parts, u32 width) {
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const u32 from = part_offsets[part], to = part_offsets[part + 1];
    real largest = 0;
    for (u32 e = from; e < to; e++) {
      const real v = x[size_t(columns[e]) * width + f];
      if (wins(e == from, v, largest)) largest = v;
    }
    out[size_t(part) * width + f] = largest;
  });
}

// out[r, f] = the largest of parts[p, f] over the parts p of row r, 0 without parts.
extern "C" __global__ void max_of_parts(const real *__restrict__ parts, const u32 *__restrict__ row_parts,
                                        real *__restrict__ out, u32 rows, u32 width) {
  FOR_EACH(i, size_t(rows) * width) {
    const u32 row = u32(i / width), f = u32(i % width);
    real largest = 0;
    for (u32 p = row_parts[row]; p < row_parts[row + 1]; p++) {
      const real v = parts[size_t(p) * width + f];
      if (wins(p == row_parts[row], v, largest)) largest = v;
    }
    out[i] = largest;
  }
}

// ties[p, f] = how many edges of part p hold the largest value of its row, y.
extern "C" __global__ void count_largest(const real *__restrict__ x, const real *__restrict__ y,
                                         const u32 *__restrict__ part_offsets, const u32 *__restrict__ part_rows,
                                         const u32 *__restrict__ columns, real *__restrict__ ties, u32 parts,
                                         u32 width) {
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const real largest = y[size_t(part_rows ? part_rows[part] : part) * width + f];
    ties[size_t(part) * width + f] = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 e) {
      return real(x[size_t(columns[e]) * width + f] == largest ? 1 : 0);
    });
  });
}

// The share of one winner: the gradient over the number of ties, 0 where nothing wins.
extern "C" __global__ void share_of_largest(const real *__restrict__ dy, const real *__restrict__ ties,
                                            real *__restrict__ shares, u64 count) {
  FOR_EACH(i, count) shares[i] = ties[i] > real(0) ? dy[i] / ties[i] : real(0);
}

// out[p, f] = the shares of the targets of part p whose largest value is that of its row, a source.
extern "C" __global__ void gather_shares(const real *__restrict__ x, const real *__restrict__ y,
                                         const real *__restrict__ shares, const u32 *__restrict__ part_offsets,
                                         const u32 *__restrict__ part_rows, const u32 *__restrict__ columns,
                                         real *__restrict__ out, u32 parts, u32 width) {
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const real value = x[size_t(part_rows ? part_rows[part] : part) * width + f];
    out[size_t(part) * width + f] = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 e) {
      const size_t at = size_t(columns[e]) * width + f;
      return value == y[at] ? shares[at] : real(0);
    });
  });
}

// out[i, f] = x[rows[i], f].
extern "C" __global__ void copy_rows(const real *__restrict__ x, const u32 *__restrict__ rows, real *__restrict__ out,
                                     u32 count, u32 width) {
  for_each_feature(count, width, [&](u32 i, u32 f) { out[size_t(i) * width + f] = x[size_t(rows[i]) * width + f]; });
}

// The gradient of rows of edges that were brought into the order with loops: dy[places[e]], nothing for a loop, and
// the share of the loop of its target, whose row stands `kept` rows on; of_row has the edges of each of `nodes` nodes.
extern "C" __global__ void loop_rows_backward(const real *__restrict__ dy, const u32 *__restrict__ places,
                                              const u32 *__restrict__ targets, const u32 *__restrict__ of_row,
                                              real *__restrict__ out, u32 edges, u32 width, u32 kept, u32 nodes,
                                              u32 mean) {
  for_each_feature(edges, width, [&](u32 e, u32 f) {
    const u32 place = places[e], t = targets[e];
    real d = 0;
    if (place != 0xffffffffu) {
      d = dy[size_t(place) * width + f];
      if (t < nodes) d += dy[(size_t(kept) + t) * width + f] * share(mean ? of_row : nullptr, t);
    }
    out[size_t(e) * width + f] = d;
  });
}
