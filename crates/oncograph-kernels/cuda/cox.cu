// Cox's partial likelihood: the loss and its derivatives, in f64, by one block.
//
// The host has sorted the patients from the longest time to the shortest: position p holds patient order[p] of the group
// of equal times group[p], which begins at starts[group[p]]. share[p] is below 0 without an event, else how many events of
// the group come before it, over their number. Sums of exponentials are kept as their logarithms, so that large risks
// neither overflow nor vanish.

#include "common.cuh"

static __device__ __forceinline__ double log_add(double a, double b) {
  const double small = a < b ? a : b, large = a < b ? b : a;
  return large == -INFINITY ? large : large + log1p(exp(small - large));
}

// put(i, at(0) + .. + at(i)) of what at(i) are the logarithms of. Each thread takes a run of neighbours; `totals` has room
// for one value of each.
template <typename At, typename Put>
static __device__ __forceinline__ void scan(u32 n, double *totals, At at, Put put) {
  const u32 t = threadIdx.x, each = (n + blockDim.x - 1) / blockDim.x;
  const u32 from = t * each < n ? t * each : n, to = from + each < n ? from + each : n;
  double total = -INFINITY;
  for (u32 i = from; i < to; i++) total = log_add(total, at(i));
  __syncthreads(); // what was there before has been read
  totals[t] = total;
  __syncthreads();
  for (u32 d = 1; d < blockDim.x; d *= 2) {
    const double before = t >= d ? log_add(totals[t - d], totals[t]) : totals[t];
    __syncthreads();
    totals[t] = before;
    __syncthreads();
  }
  total = t > 0 ? totals[t - 1] : -INFINITY;
  for (u32 i = from; i < to; i++) {
    total = log_add(total, at(i));
    put(i, total);
  }
  __syncthreads(); // others read what was put
}

#define FOR_EACH_IN_BLOCK(i, count) for (u32 i = threadIdx.x; i < (count); i += blockDim.x)

// out[0] = the loss, out[1 + i] = its derivative by eta[i]. `work` has room for 2 n + 2 groups values; there is an event.
extern "C" __global__ void cox(const real *__restrict__ eta, const u32 *__restrict__ order,
                               const u32 *__restrict__ group, const u32 *__restrict__ starts,
                               const double *__restrict__ share, real *__restrict__ out, double *__restrict__ work,
                               u32 n, u32 groups, u32 events, u32 efron) {
  __shared__ double totals[512];
  __shared__ double parts[32];
  double *sums = work, *weights = work + n, *tied = work + 2 * size_t(n), *removed = tied + groups;
  const auto risk = [&](u32 p) { return double(eta[order[p]]); };
  scan(n, totals, risk, [&](u32 p, double sum) { sums[p] = sum; });
  FOR_EACH_IN_BLOCK(g, groups) {
    double sum = -INFINITY;
    for (u32 p = starts[g]; efron && p < starts[g + 1]; p++) {
      if (share[p] >= 0) sum = log_add(sum, risk(p));
    }
    tied[g] = sum;
  }
  __syncthreads();
  double loss = 0;
  FOR_EACH_IN_BLOCK(p, n) {
    double weight = -INFINITY;
    if (share[p] >= 0) {
      const double all = sums[starts[group[p] + 1] - 1];
      const double part = efron && share[p] > 0 ? log1p(-share[p] * exp(tied[group[p]] - all)) : 0.0;
      weight = -(all + part);
      loss += all + part - risk(p);
    }
    weights[p] = weight;
  }
  loss = block_sum(loss, parts);
  if (threadIdx.x == 0) out[0] = real(loss / events);
  __syncthreads();
  FOR_EACH_IN_BLOCK(g, groups) {
    double sum = -INFINITY;
    for (u32 p = starts[g]; efron && p < starts[g + 1]; p++) {
      if (share[p] > 0) sum = log_add(sum, log(share[p]) + weights[p]);
    }
    removed[g] = sum;
  }
  // From the shortest time up: the risk sets that hold a patient. Sums are not needed any more.
  const auto back = [&](u32 i) { return weights[n - 1 - i]; };
  scan(n, totals, back, [&](u32 i, double sum) { sums[n - 1 - i] = sum; });
  FOR_EACH_IN_BLOCK(p, n) {
    const double e = risk(p);
    double d = exp(e + sums[starts[group[p]]]);
    if (share[p] >= 0) d -= 1.0 + (efron ? exp(e + removed[group[p]]) : 0.0);
    out[1 + order[p]] = real(d / events);
  }
}
