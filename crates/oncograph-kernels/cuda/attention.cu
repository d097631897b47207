// Attention over the edges of each target, per head.
//
// The logit of an edge for a head is leaky_relu(s + t (+ z)): s stands behind the values in the row of its source, t
// belongs to the target. Without targets it is z alone. segment.cu has what parts of rows are.

#include "edges.cuh"

struct Logits {
  const real *source, *target, *edge;
  u32 heads, width, stride;
  real slope;

  // Before the leaky ReLU.
  __device__ __forceinline__ real raw(u32 from, u32 to, u32 e, u32 h) const {
    real z = 0;
    if (target) z = source[size_t(from) * stride + width + h] + target[size_t(to) * heads + h];
    return edge ? z + edge[size_t(e) * heads + h] : z;
  }
  __device__ __forceinline__ real activated(real z) const { return z > real(0) ? z : z * slope; }
  __device__ __forceinline__ real operator()(u32 from, u32 to, u32 e, u32 h) const {
    return activated(raw(from, to, e, h));
  }
};

// out[r, f] = the sum over the edges of row r of exp(logit - largest) source[column, f], times 1 / (the sum of the
// exponentials + 1e-16); stats[r] takes the largest of each head and behind them that factor. Of parts of rows, sums
// without the factor, and the sums of exponentials in its place.
extern "C" __global__ void attend(const real *__restrict__ source, const real *__restrict__ target,
                                  const real *__restrict__ edge, const u32 *__restrict__ part_offsets,
                                  const u32 *__restrict__ part_rows, const u32 *__restrict__ columns,
                                  const u32 *__restrict__ edges, real *__restrict__ out, real *__restrict__ stats,
                                  u32 parts, u32 heads, u32 channels, u32 stride, real slope) {
  const u32 width = heads * channels;
  const Logits logit = {source, target, edge, heads, width, stride, slope};
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const u32 row = part_rows ? part_rows[part] : part, h = f / channels;
    const u32 from = part_offsets[part], to = part_offsets[part + 1];
    // All threads of a head read the same logits, which costs one read of memory.
    real largest = 0;
    in_order<real>(
        from, to, [&](u32 e) { return logit(columns[e], row, edges[e], h); },
        [&](u32 e, real z) {
          if (is_larger(e == from, z, largest)) largest = z;
        });
    struct Term {
      real z, x;
    };
    real total = 0, sum = 0;
    in_order<Term>(
        from, to,
        [&](u32 e) {
          const u32 c = columns[e];
          return Term{logit(c, row, edges[e], h), source[size_t(c) * stride + f]};
        },
        [&](u32, Term term) {
          const real w = exp(term.z - largest);
          total += w;
          sum += w * term.x;
        });
    const real scale = part_rows ? total : real(1) / (total + real(1e-16));
    out[size_t(part) * width + f] = part_rows ? sum : sum * scale;
    if (f % channels == 0) {
      stats[size_t(part) * 2 * heads + h] = largest;
      stats[size_t(part) * 2 * heads + heads + h] = scale;
    }
  });
}

// The same of rows, from those of their parts.
extern "C" __global__ void attend_parts(const real *__restrict__ sums, const real *__restrict__ of_parts,
                                        const u32 *__restrict__ row_parts, real *__restrict__ out,
                                        real *__restrict__ stats, u32 rows, u32 heads, u32 channels) {
  const u32 width = heads * channels;
  FOR_EACH(i, size_t(rows) * width) {
    const u32 row = u32(i / width), f = u32(i % width), h = f / channels;
    const u32 from = row_parts[row], to = row_parts[row + 1];
    real largest = 0;
    for (u32 p = from; p < to; p++) {
      const real z = of_parts[size_t(p) * 2 * heads + h];
      if (is_larger(p == from, z, largest)) largest = z;
    }
    real total = 0, sum = 0;
    for (u32 p = from; p < to; p++) {
      const real *part = of_parts + size_t(p) * 2 * heads + h;
      const real count = part_share(part[0], largest);
      if (count == real(0)) continue; // all of it vanishes, even what is no number
      total += part[heads] * count;
      sum += sums[size_t(p) * width + f] * count;
    }
    const real scale = real(1) / (total + real(1e-16));
    out[i] = sum * scale;
    if (f % channels == 0) {
      stats[size_t(row) * 2 * heads + h] = largest;
      stats[size_t(row) * 2 * heads + heads + h] = scale;
    }
  }
}

// Per edge and head its weight, and the gradient of its logit before the leaky ReLU: `lanes` lanes for each.
//
// With y = sum_j alpha_j v_j the gradient behind the ReLU is alpha_j (v_j - y) . dy.
extern "C" __global__ void attend_backward_edges(const real *__restrict__ source, const real *__restrict__ target,
                                                 const real *__restrict__ edge, const real *__restrict__ y,
                                                 const real *__restrict__ dy, const real *__restrict__ stats,
                                                 const u32 *__restrict__ sources, const u32 *__restrict__ targets,
                                                 real *__restrict__ weights, real *__restrict__ dz, u64 count,
                                                 u32 heads, u32 channels, u32 stride, real slope, u32 lanes) {
  const size_t i = thread_number() / lanes;
  const u32 lane = threadIdx.x % lanes, width = heads * channels;
  const Logits logit = {source, target, edge, heads, width, stride, slope};
  real sum = 0;
  u32 e = 0, h = 0, from = 0, to = 0;
  if (i < count) {
    e = u32(i / heads), h = u32(i % heads), from = sources[e], to = targets[e];
    const size_t at = size_t(to) * width + size_t(h) * channels;
    const real *v = source + size_t(from) * stride + size_t(h) * channels;
    for (u32 c = lane; c < channels; c += lanes) sum += (v[c] - y[at + c]) * dy[at + c];
  }
  sum = lanes_sum(sum, lanes);
  if (i < count && lane == 0) {
    const real *of_row = stats + size_t(to) * 2 * heads + h;
    const real raw = logit.raw(from, to, e, h);
    const real weight = exp(logit.activated(raw) - of_row[0]) * of_row[heads];
    weights[i] = weight;
    dz[i] = weight * sum * (raw > real(0) ? real(1) : slope);
  }
}

// out[p] = for part p of the edges that leave a source the sum of the weighted dy of their targets, and behind it that
// of the gradients of their logits.
extern "C" __global__ void attend_backward_sources(const real *__restrict__ weights, const real *__restrict__ dz,
                                                   const real *__restrict__ dy, const u32 *__restrict__ part_offsets,
                                                   const u32 *__restrict__ columns, const u32 *__restrict__ edges,
                                                   real *__restrict__ out, u32 parts, u32 heads, u32 channels) {
  const u32 width = heads * channels, stride = width + heads;
  for_each_feature(parts, stride, [&](u32 part, u32 f) {
    const u32 h = f < width ? f / channels : f - width;
    out[size_t(part) * stride + f] = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 e) {
      const size_t at = size_t(edges[e]) * heads + h;
      return f < width ? weights[at] * dy[size_t(columns[e]) * width + f] : dz[at];
    });
  });
}
