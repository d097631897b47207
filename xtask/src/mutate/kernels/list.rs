//! The mutations: each a mistake that a careful person could make in a kernel. They are run by the test program that holds
//! the kernel to the CPU: `kernels` of oncograph-nn, or the unit tests of a crate.

use crate::mutate::{Mutation, mutations};

/// All of them.
pub const MUTATIONS: &[Mutation] = mutations! {
    // What the kernels share.
    "`block_sum`: no barrier before the parts of the last sum are overwritten", "crates/oncograph-kernels/cuda/common.cuh",
        "  __syncthreads(); // what was there before has been read\n  if (lane == 0)" => "  if (lane == 0)", "oncograph-spatiotemporal assemble::";
    "`block_sum`: no barrier before the parts are added", "crates/oncograph-kernels/cuda/common.cuh",
        "  __syncthreads();\n  T sum = 0;" => "  T sum = 0;", "kernels conv3d::";
    "`warp_sum`: the first of five exchanges is missing", "crates/oncograph-kernels/cuda/common.cuh",
        "for (int d = 16; d > 0; d /= 2) v +=" => "for (int d = 8; d > 0; d /= 2) v +=", "kernels segment::";
    "`warp_max`: a NaN is lost", "crates/oncograph-kernels/cuda/common.cuh",
        "v = other > v || other != other ? other : v;" => "v = other > v ? other : v;", "kernels segment::";
    "`positive`: ReLU of a NaN is 0", "crates/oncograph-kernels/cuda/common.cuh",
        "x <= T(0) ? T(0) : x;" => "x > T(0) ? x : T(0);", "kernels elementwise::";
    "`Divider`: the product is cut to 32 bits", "crates/oncograph-kernels/cuda/divide.cuh",
        "u64(n) * magic >> 32" => "u64(n * magic) >> 32", "kernels interpolate::";
    "rows of a graph: a block writes behind the last row", "crates/oncograph-kernels/cuda/edges.cuh",
        "  if (row >= rows) return;\n" => "", "kernels segment::";
    "sums over edges: those behind the last four are lost", "crates/oncograph-kernels/cuda/edges.cuh",
        "  for (; e < to; e++) sum += term(e);\n" => "", "kernels segment::";
    "means over edges: a row without edges is divided by 0", "crates/oncograph-kernels/cuda/edges.cuh",
        "real(degree > 1 ? degree : 1)" => "real(degree)", "kernels segment::";
    "`lanes_sum`: the exchange of neighbours is missing", "crates/oncograph-kernels/cuda/edges.cuh",
        "for (u32 d = lanes / 2; d > 0; d /= 2)" => "for (u32 d = lanes / 2; d > 1; d /= 2)", "kernels segment::";
    "attention: the largest logit is at least 0", "crates/oncograph-kernels/cuda/edges.cuh",
        "return first || z > largest;" => "return z > largest;", "kernels attention::";
    // One file after the other.
    "STG's nodes: kinds of images are counted with the clinical one", "crates/oncograph-kernels/cuda/assemble.cu",
        "node % (kinds - 1)" => "node % kinds", "oncograph-spatiotemporal assemble::";
    "STG's nodes: gradients are read as rows without the columns of kinds", "crates/oncograph-kernels/cuda/assemble.cu",
        "dy[size_t(at) * columns + f]" => "dy[size_t(at) * width + f]", "oncograph-spatiotemporal assemble::";
    "attention: all heads take the logit of the first", "crates/oncograph-kernels/cuda/attention.cu",
        "source[size_t(from) * stride + width + h]" => "source[size_t(from) * stride + width]", "kernels attention::";
    "attention: the gradient leaves out the mean", "crates/oncograph-kernels/cuda/attention.cu",
        "sum += (v[c] - y[at + c]) * dy[at + c];" => "sum += v[c] * dy[at + c];", "kernels attention::";
    "attention: parts of a hub are added as if their largest logits were equal", "crates/oncograph-kernels/cuda/attention.cu",
        "total += part[heads] * count;" => "total += part[heads];", "kernels attention::";
    "GATv2: the first attribute meets the row of `a`", "crates/oncograph-kernels/cuda/attention_v2.cu",
        "parameters[size_t(1 + a) * width + f]" => "parameters[size_t(a) * width + f]", "kernels attention::";
    "GATv2: the last part of the edges goes behind them", "crates/oncograph-kernels/cuda/attention_v2.cu",
        "to = from + part < edges ? from + part : edges;" => "to = from + part;", "kernels attention::";
    "convolution: no dilation along the depth", "crates/oncograph-kernels/cuda/conv3d.cu",
        "z = z0 + kd * g.dilation[0];" => "z = z0 + kd;", "kernels conv3d::";
    "convolution: the gradient of the input forgets the padding", "crates/oncograph-kernels/cuda/conv3d.cu",
        "reach = p[a] + g.padding[a] - k[a]" => "reach = p[a] - k[a]", "kernels conv3d::";
    "convolution: the gradient of each slab is read as the first", "crates/oncograph-kernels/cuda/conv3d.cu",
        "* g.output[2] + o[2] - first;" => "* g.output[2] + o[2];", "oncograph-nn cuda::conv3d::";
    "Cox: no barrier between reading a neighbour's total and replacing it", "crates/oncograph-kernels/cuda/cox.cu",
        "log_add(totals[t - d], totals[t]) : totals[t];\n    __syncthreads();" => "log_add(totals[t - d], totals[t]) : totals[t];", "oncograph-losses cox::tests::every_device";
    "Cox: sums are read before all are there", "crates/oncograph-kernels/cuda/cox.cu",
        "  __syncthreads(); // others read what was put\n" => "", "oncograph-losses cox::tests::every_device";
    "Cox: Efron's gradient forgets that the tied are removed", "crates/oncograph-kernels/cuda/cox.cu",
        "d -= 1.0 + (efron ? exp(e + removed[group[p]]) : 0.0);" => "d -= 1.0;", "oncograph-losses cox::tests::every_device";
    "dropout: the last rotation of ChaCha is by 8", "crates/oncograph-kernels/cuda/dropout.cu",
        "b = rotate(b ^ c, 7);" => "b = rotate(b ^ c, 8);", "kernels dropout::";
    "dropout: a block writes behind the last element", "crates/oncograph-kernels/cuda/dropout.cu",
        "k < tile && from + k < count;" => "k < tile;", "kernels dropout::";
    "edge-conditioned: maps are counted from source 0", "crates/oncograph-kernels/cuda/edge_conditioned.cu",
        "size_t(sources[e] - first_row)" => "size_t(sources[e])", "oncograph-nn cuda::edge_conditioned::";
    "ReLU: a NaN stops the gradient", "crates/oncograph-kernels/cuda/elementwise.cu",
        "y[i] <= real(0) ? real(0) : dy[i];" => "y[i] > real(0) ? dy[i] : real(0);", "kernels elementwise::";
    "interpolation: what has no share is multiplied by 0", "crates/oncograph-kernels/cuda/interpolate.cu",
        "y[n] = share == real(0) ? a : (real(1)" => "y[n] = (real(1)", "kernels interpolate::";
    "interpolation: an element that is first and second counts once", "crates/oncograph-kernels/cuda/interpolate.cu",
        "      if (second[i] == a) sum" => "      else if (second[i] == a) sum", "kernels interpolate::";
    "LSTM: a sequence goes on for one step", "crates/oncograph-kernels/cuda/lstm.cu",
        "u32(t) < lengths[b]" => "u32(t) <= lengths[b]", "kernels lstm::";
    "LSTM: the gradient of the forget gate takes the cell behind the step", "crates/oncograph-kernels/cuda/lstm.cu",
        "of_c * c_before[i] * forget" => "of_c * c_now[i] * forget", "kernels lstm::";
    "norm: the running variance is the biased one", "crates/oncograph-kernels/cuda/norm.cu",
        "s * (batch_var * unbiased)" => "s * batch_var", "kernels norm::";
    "norm: the running mean is of one batch less", "crates/oncograph-kernels/cuda/norm.cu",
        "1 / (double(*batches) + 1)" => "1 / double(*batches)", "kernels norm::";
    "norm: sums of warps are added without a barrier", "crates/oncograph-kernels/cuda/norm.cu",
        "parts[threadIdx.x / 32] = v;\n  __syncthreads();" => "parts[threadIdx.x / 32] = v;", "kernels norm::";
    "norm: columns behind the last are read", "crates/oncograph-kernels/cuda/norm.cu",
        "  if (c < columns)\n    for (u32 r = from + threadIdx.y; r < to; r += 8) sums.add(" => "  for (u32 r = from + threadIdx.y; r < to; r += 8) sums.add(", "kernels norm::";
    "Adam: decoupled decay is added to the gradient", "crates/oncograph-kernels/cuda/optim.cu",
        "const real g = t.from[k][i] + l2 * p;\n    p *= shrink;" => "const real g = t.from[k][i] + (l2 + (real(1) - shrink)) * p;", "kernels optim::";
    "optimizers: the first block of a tensor goes to the one before", "crates/oncograph-kernels/cuda/optim.cu",
        "if (first[middle] <= block)" => "if (first[middle] < block)", "kernels optim::";
    "pools: a dilated window that begins in the padding is rounded down to it", "crates/oncograph-kernels/cuda/pool.cu",
        "(pad - start + step - 1) / step * step" => "(pad - start) / step * step", "kernels pool::";
    "pools: an element gets back from one window too many", "crates/oncograph-kernels/cuda/pool.cu",
        "by_stride.quotient(at - reach) + 1;" => "by_stride.quotient(at - reach);", "kernels pool::";
    "pools: of equal elements in a window the last wins", "crates/oncograph-kernels/cuda/pool.cu",
        "(v == value && place < at)" => "(v == value && place > at)", "kernels pool::";
    "neighbours: the loops of a node count beside the one that replaces them", "crates/oncograph-kernels/cuda/propagate.cu",
        "degree = degree - loops[i] + 1;" => "degree = degree + 1;", "kernels propagate::";
    "neighbours: each part of a hub adds the hub itself", "crates/oncograph-kernels/cuda/propagate.cu",
        "    if (!part_rows) {" => "    {", "kernels propagate::";
    "maxima: each of equal elements gets the whole gradient", "crates/oncograph-kernels/cuda/segment.cu",
        "dy[i] / ties[i]" => "dy[i]", "kernels segment::";
    "maxima: a NaN never wins", "crates/oncograph-kernels/cuda/segment.cu",
        "first || v > than || v != v;" => "first || v > than;", "kernels segment::";
    "softmax: denominators lie one behind the other, not a head's stride", "crates/oncograph-kernels/cuda/softmax.cu",
        "exp(z[i] - of_row[0]) / of_row[heads];" => "exp(z[i] - of_row[0]) / of_row[1];", "kernels segment::";
    "softmax: warps behind the last row go on", "crates/oncograph-kernels/cuda/softmax.cu",
        "  if (i >= size_t(parts) * heads) return; // whole warps\n" => "", "kernels segment::";
    "rows: a row begins one number after the last", "crates/oncograph-kernels/cuda/rows.cu",
        "  x += row * width, y += row * width;\n  const real largest" => "  x += row * (width + 1), y += row * width;\n  const real largest", "kernels rows::";
    "rows: the largest number of a row is 0", "crates/oncograph-kernels/cuda/rows.cu",
        "  return warp_max(largest);" => "  return warp_max(largest) * real(0);", "kernels rows::";
    "rows: the gradient of a softmax leaves out the mean", "crates/oncograph-kernels/cuda/rows.cu",
        "dx[i] = y[i] * (dy[i] - along);" => "dx[i] = y[i] * dy[i];", "kernels rows::";
    "rows: the gradient of unit length goes along the row, too", "crates/oncograph-kernels/cuda/rows.cu",
        "(dy[i] - x[i] / norm * along) / norm" => "dy[i] / norm", "kernels rows::";
    "bf16: halves are rounded up, not to the even one", "crates/oncograph-kernels/cuda/conv3d.cu",
        "(bits + 0x7fffu + (bits >> 16 & 1u)) >> 16" => "(bits + 0x8000u) >> 16", "kernels precision::";
    "bf16: a NaN becomes an infinity", "crates/oncograph-kernels/cuda/conv3d.cu",
        "return bits >> 16 | 0x40u;" => "return bits >> 16 & 0xff80u;", "kernels precision::";
};
