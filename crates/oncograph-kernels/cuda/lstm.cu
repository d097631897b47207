// The cell of an LSTM: what lies between the products of matrices, one step of all sequences at a time.
//
// Gates are in PyTorch's order i, f, g, o: [batch, 4 hidden]. States are [time, 2, batch, hidden], hidden state before cell
// state; `state` is the first one, [2, batch, hidden]. Sequence b has lengths[b] steps, all where `lengths` is null.

#include "common.cuh"

static __device__ __forceinline__ real sigmoid(real x) { return real(1) / (real(1) + exp(-x)); }

// Of the step t, after `last`, or of the first with last = -1: states[t] from gates[t] + products, where products = hidden
// state before x weight^T. A sequence that has ended keeps its state.
extern "C" __global__ void lstm_step(const real *__restrict__ gates, const real *__restrict__ products,
                                     const real *__restrict__ state, real *states, const u32 *__restrict__ lengths,
                                     int t, int last, u32 batch, u32 hidden) {
  const size_t cells = size_t(batch) * hidden;
  const real *before = last < 0 ? state : states + size_t(last) * 2 * cells;
  real *now = states + size_t(t) * 2 * cells;
  FOR_EACH(i, cells) {
    const u32 b = u32(i / hidden), j = u32(i % hidden);
    real h = before[i], c = before[cells + i];
    if (!lengths || u32(t) < lengths[b]) {
      const real *z = gates + (size_t(t) * batch + b) * 4 * hidden + j;
      const real *p = products + size_t(b) * 4 * hidden + j;
      real sums[4];
      for (u32 k = 0; k < 4; k++) sums[k] = z[size_t(k) * hidden] + p[size_t(k) * hidden];
      c = sigmoid(sums[1]) * c + sigmoid(sums[0]) * tanh(sums[2]);
      h = sigmoid(sums[3]) * tanh(c);
    }
    now[i] = h;
    now[cells + i] = c;
  }
}

// before[t] = the hidden state that step t starts from: [time, batch, hidden].
extern "C" __global__ void lstm_hidden_before(const real *__restrict__ state, const real *__restrict__ states,
                                              real *__restrict__ before, u32 time, u32 cells, u32 reverse) {
  FOR_EACH(i, size_t(time) * cells) {
    const u32 t = u32(i / cells), j = u32(i % cells);
    const bool first = reverse ? t + 1 == time : t == 0;
    before[i] = first ? state[j] : states[size_t(reverse ? t + 1 : t - 1) * 2 * cells + j];
  }
}

// The gradient of step t: of its sums of gates, into dz[t]; dh and dc are what the later steps leave, and become what
// reaches the step before but for dz x weight. `products` are those of this step.
extern "C" __global__ void lstm_step_backward(const real *__restrict__ gates, const real *__restrict__ products,
                                              const real *__restrict__ state, const real *__restrict__ states,
                                              const real *__restrict__ grad, const u32 *__restrict__ lengths,
                                              real *__restrict__ dz, real *dh, real *dc, int t, int last, u32 batch,
                                              u32 hidden) {
  const size_t cells = size_t(batch) * hidden;
  const real *c_before = (last < 0 ? state : states + size_t(last) * 2 * cells) + cells;
  const real *c_now = states + size_t(t) * 2 * cells + cells;
  const real *g_now = grad + size_t(t) * 2 * cells;
  FOR_EACH(i, cells) {
    const u32 b = u32(i / hidden), j = u32(i % hidden);
    const size_t row = (size_t(t) * batch + b) * 4 * hidden + j;
    const real h = dh[i] + g_now[i], c = dc[i] + g_now[cells + i];
    real *out = dz + row;
    if (lengths && u32(t) >= lengths[b]) {
      for (u32 k = 0; k < 4; k++) out[size_t(k) * hidden] = 0;
      dh[i] = h;
      dc[i] = c;
      continue;
    }
    const real *z = gates + row, *p = products + size_t(b) * 4 * hidden + j;
    real sums[4];
    for (u32 k = 0; k < 4; k++) sums[k] = z[size_t(k) * hidden] + p[size_t(k) * hidden];
    const real in = sigmoid(sums[0]), forget = sigmoid(sums[1]), cell = tanh(sums[2]), exit = sigmoid(sums[3]);
    const real tanh_c = tanh(c_now[i]);
    const real of_c = c + h * exit * (real(1) - tanh_c * tanh_c);
    out[0] = of_c * cell * in * (real(1) - in);
    out[size_t(hidden)] = of_c * c_before[i] * forget * (real(1) - forget);
    out[size_t(2) * hidden] = of_c * in * (real(1) - cell * cell);
    out[size_t(3) * hidden] = h * tanh_c * exit * (real(1) - exit);
    dh[i] = 0; // the state before reaches this step through the gates only
    dc[i] = of_c * forget;
  }
}
