// Sums over neighbours that stand between linear maps, and what is left of the maps beside the products of matrices.
// segment.cu has what parts of rows are.

#include "edges.cuh"

enum Scale { MEAN = 0, CLOSED_MEAN = 1, ROOT = 2, ROOT_WITH_LOOPS = 3 };

// The scale of each node from its in-degree; `loops` has its self loops. In f64 and rounded, as on the CPU.
extern "C" __global__ void degree_scales(const u32 *__restrict__ offsets, const u32 *__restrict__ loops,
                                         real *__restrict__ out, u32 rows, u32 scale) {
  FOR_EACH(i, rows) {
    u32 degree = offsets[i + 1] - offsets[i];
    if (scale == ROOT_WITH_LOOPS) degree = degree - loops[i] + 1;
    if (scale == MEAN) out[i] = real(1.0 / double(degree > 1 ? degree : 1));
    else if (scale == CLOSED_MEAN) out[i] = real(1.0 / double(degree + 1));
    else out[i] = degree == 0 ? real(0) : real(1.0 / sqrt(double(degree)));
  }
}

// What happens to the row itself: it counts as it has self loops, once more, or once instead of them.
enum Own { KEPT = 0, ADDED = 1, REPLACED = 2 };

static __device__ __forceinline__ real scale_of(const real *scales, u32 row) { return scales ? scales[row] : real(1); }

// out[p, f] = of_row[row of p] times the sum over the edges e of part p of of_column[c] x[c, f], c = columns[e].
extern "C" __global__ void neighbour_sum(const real *__restrict__ x, const u32 *__restrict__ part_offsets,
                                         const u32 *__restrict__ part_rows, const u32 *__restrict__ columns,
                                         const real *__restrict__ of_row, const real *__restrict__ of_column,
                                         real *__restrict__ out, u32 parts, u32 width, u32 own) {
  for_each_feature(parts, width, [&](u32 part, u32 f) {
    const u32 row = part_rows ? part_rows[part] : part;
    real sum = sum_in_order(part_offsets[part], part_offsets[part + 1], [&](u32 e) {
      const u32 c = columns[e];
      return own == REPLACED && c == row ? real(0) : x[size_t(c) * width + f] * scale_of(of_column, c);
    });
    if (!part_rows) {
      if (own != KEPT) sum += x[size_t(row) * width + f] * scale_of(of_column, row);
      sum *= scale_of(of_row, row);
    }
    out[size_t(part) * width + f] = sum;
  });
}

// The same of rows, from the sums of their parts.
extern "C" __global__ void neighbour_sum_of_parts(const real *__restrict__ sums, const u32 *__restrict__ row_parts,
                                                  const real *__restrict__ x, const real *__restrict__ of_row,
                                                  const real *__restrict__ of_column, real *__restrict__ out, u32 rows,
                                                  u32 width, u32 own) {
  FOR_EACH(i, size_t(rows) * width) {
    const u32 row = u32(i / width), f = u32(i % width);
    real sum = 0;
    for (u32 p = row_parts[row]; p < row_parts[row + 1]; p++) sum += sums[size_t(p) * width + f];
    if (own != KEPT) sum += x[i] * scale_of(of_column, row);
    out[i] = sum * scale_of(of_row, row);
  }
}

// y[r, f] += plus[r, f] + base[base_rows[r], f], or of the one row of the base without base_rows; then ReLU.
extern "C" __global__ void add_base(real *__restrict__ y, const real *__restrict__ plus, const real *__restrict__ base,
                                    const u32 *__restrict__ base_rows, u32 rows, u32 width, u32 relu) {
  FOR_EACH(i, size_t(rows) * width) {
    const u32 row = u32(i / width), f = u32(i % width);
    real v = y[i];
    if (plus) v += plus[i];
    if (base) v += base[size_t(base_rows ? base_rows[row] : 0) * width + f];
    y[i] = relu ? positive(v) : v;
  }
}

// out[p, f] = the sum over the rows from p * part on, of which there are `part`, fewer at the end.
extern "C" __global__ void column_sums(const real *__restrict__ x, real *__restrict__ out, u32 rows, u32 width,
                                       u32 part) {
  for_each_feature((rows + part - 1) / part, width, [&](u32 p, u32 f) {
    const u32 from = p * part, to = from + part < rows ? from + part : rows;
    out[size_t(p) * width + f] = sum_in_order(from, to, [&](u32 r) { return x[size_t(r) * width + f]; });
  });
}
