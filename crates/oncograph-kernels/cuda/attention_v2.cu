// Attention whose logits see both ends of an edge before the leaky ReLU; attention.cu has the weighted sums.
//
// The pair of an edge is u = l (of its source) + r (of its target) + the attributes times their rows of the parameters,
// its logit the product of the first row of the parameters, a, with leaky_relu(u).

#include "edges.cuh"

struct Pairs {
  const real *l, *r, *parameters, *attributes;
  u32 count, width;
  real slope;

  __device__ __forceinline__ real operator()(u32 from, u32 to, u32 e, u32 f) const {
    real u = l[size_t(from) * width + f] + r[size_t(to) * width + f];
    for (u32 a = 0; a < count; a++) u += parameters[size_t(1 + a) * width + f] * attributes[size_t(e) * count + a];
    return u;
  }
  __device__ __forceinline__ real open(real u) const { return u > real(0) ? real(1) : slope; }
};

// z[e, h] = the logit: `lanes` lanes for each.
extern "C" __global__ void pair_logits(const real *__restrict__ l, const real *__restrict__ r,
                                       const real *__restrict__ parameters, const real *__restrict__ attributes,
                                       const u32 *__restrict__ sources, const u32 *__restrict__ targets,
                                       real *__restrict__ z, u64 count, u32 heads, u32 channels, u32 attribute_count,
                                       real slope, u32 lanes) {
  const size_t i = thread_number() / lanes;
  const Pairs pairs = {l, r, parameters, attributes, attribute_count, heads * channels, slope};
  real sum = 0;
  if (i < count) {
    const u32 e = u32(i / heads), h = u32(i % heads), from = sources[e], to = targets[e];
    for (u32 c = threadIdx.x % lanes; c < channels; c += lanes) {
      const u32 f = h * channels + c;
      const real u = pairs(from, to, e, f);
      sum += parameters[f] * u * pairs.open(u);
    }
  }
  sum = lanes_sum(sum, lanes);
  if (i < count && threadIdx.x % lanes == 0) z[i] = sum;
}

// out[p, f] = the sum of the gradients of the pairs over the edges of part p, which belongs to a target, or with dy to a
// source: then with the weighted dy of their targets.
extern "C" __global__ void pair_gradients(const real *__restrict__ l, const real *__restrict__ r,
                                          const real *__restrict__ parameters, const real *__restrict__ attributes,
                                          const real *__restrict__ dz, const real *__restrict__ weights,
                                          const real *__restrict__ dy, const u32 *__restrict__ part_offsets,
                                          const u32 *__restrict__ part_rows, const u32 *__restrict__ columns,
                                          const u32 *__restrict__ edges, real *__restrict__ out, u32 parts, u32 heads,
                                          u32 channels, u32 attribute_count, real slope) {
  const u32 width = heads * channels;
  const Pairs pairs = {l, r, parameters, attributes, attribute_count, width, slope};
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const u32 row = part_rows ? part_rows[part] : part, h = f / channels;
    const real a = parameters[f];
    out[size_t(part) * width + f] = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 at) {
      const u32 c = columns[at], e = edges[at];
      const size_t i = size_t(e) * heads + h;
      const real u = dy ? pairs(row, c, e, f) : pairs(c, row, e, f);
      const real d = dz[i] * a * pairs.open(u);
      return dy ? d + weights[i] * dy[size_t(c) * width + f] : d;
    });
  });
}

// The gradients of the parameters, summed over `part` edges at a time in the order of the edge list.
extern "C" __global__ void pair_parameters(const real *__restrict__ l, const real *__restrict__ r,
                                           const real *__restrict__ parameters, const real *__restrict__ attributes,
                                           const real *__restrict__ dz, const u32 *__restrict__ sources,
                                           const u32 *__restrict__ targets, real *__restrict__ out, u32 edges,
                                           u32 heads, u32 channels, u32 attribute_count, real slope, u32 part) {
  const u32 width = heads * channels, all = (1 + attribute_count) * width;
  const Pairs pairs = {l, r, parameters, attributes, attribute_count, width, slope};
  for_each_feature((edges + part - 1) / part, all, [&](u32 p, u32 at) {
    const u32 row = at / width, f = at % width, h = f / channels;
    const u32 from = p * part, to = from + part < edges ? from + part : edges;
    out[size_t(p) * all + at] = sum_in_order(from, to, [&](u32 e) {
      const real u = pairs(sources[e], targets[e], e, f), d = dz[size_t(e) * heads + h] * pairs.open(u);
      return row == 0 ? d * u : d * parameters[f] * attributes[size_t(e) * attribute_count + row - 1];
    });
  });
}
