// Sums of messages under a matrix per edge: outer products of the two sides of a message, summed per node; the products
// with the matrices are cuBLAS's.

#include "edges.cuh"

// out[p, k * features + f] = share(of_row, row) times the sum over the edges e of row first + p of h_k(e) x[c, f], times
// share(of_column, c); h has `hidden` features and behind them a 1. Rows may be parts of them.
extern "C" __global__ void outer_sums(const real *__restrict__ x, const real *__restrict__ h,
                                      const u32 *__restrict__ part_offsets, const u32 *__restrict__ columns,
                                      const u32 *__restrict__ edges, const u32 *__restrict__ of_row,
                                      const u32 *__restrict__ of_column, real *__restrict__ out, u32 first, u32 count,
                                      u32 features, u32 hidden) {
  const u32 width = (hidden + 1) * features;
  for_each_feature(count, width, [&](u32 p, u32 at) {
    const u32 row = first + p, k = at / features, f = at % features;
    const real sum = sum_in_order(part_offsets[row], part_offsets[row + 1], [&](u32 e) {
      const u32 c = columns[e];
      const real v = x[size_t(c) * features + f] * share(of_column, c);
      return k < hidden ? v * h[size_t(edges[e]) * hidden + k] : v;
    });
    out[size_t(p) * width + at] = sum * share(of_row, row);
  });
}

// dh[e, k] = share(of_target, t) times the product of dy[t] with column k of the map of the source of e, for the edges
// from position `first` on in the order of sources; map m belongs to source first_row + m.
extern "C" __global__ void hidden_gradients(const real *__restrict__ maps, const real *__restrict__ dy,
                                            const u32 *__restrict__ sources, const u32 *__restrict__ columns,
                                            const u32 *__restrict__ edges, const u32 *__restrict__ of_target,
                                            real *__restrict__ dh, u32 first, u32 count, u32 first_row, u32 out,
                                            u32 hidden) {
  for_each_feature(count, hidden, [&](u32 i, u32 k) {
    const u32 e = edges[first + i], t = columns[first + i];
    const real *map = maps + size_t(sources[e] - first_row) * out * hidden + k, *d = dy + size_t(t) * out;
    const real sum = sum_in_order(0, out, [&](u32 o) { return map[size_t(o) * hidden] * d[o]; });
    dh[size_t(e) * hidden + k] = sum * share(of_target, t);
  });
}
