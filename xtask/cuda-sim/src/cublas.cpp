// cuBLAS: products of f32 and f64 matrices, column-major, as it refuses and takes them.
#include "sim.h"

#include <algorithm>
#include <vector>

using cudasim::Counted;

namespace {

enum : int { BLAS_OK = 0, BLAS_INVALID_VALUE = 7, BLAS_FAILED = 13, BLAS_NOT_SUPPORTED = 15 };
enum : int { TYPE_F32 = 0, TYPE_F64 = 1 }; // cudaDataType

int handle;
int math_mode;

struct Sizes {
  bool ta, tb;
  int m, n, k, lda, ldb, ldc;
};

// C (m x n) = alpha op(A) op(B) + beta C.
template <class T> void multiply(const Sizes &s, T alpha, const T *a, const T *b, T beta, T *c) {
  const size_t m = size_t(s.m), n = size_t(s.n), k = size_t(s.k), ldb = size_t(s.ldb);
  size_t lda = size_t(s.lda);
  std::vector<T> packed;
  if (s.ta) { // columns in a row, so that the inner loop goes along them
    packed.resize(m * k);
    for (size_t i = 0; i < m; i++)
      for (size_t l = 0; l < k; l++) packed[l * m + i] = a[i * lda + l];
    a = packed.data();
    lda = m;
  }
  std::vector<T> sum(m);
  for (size_t j = 0; j < n; j++) {
    std::fill(sum.begin(), sum.end(), T(0));
    for (size_t l = 0; l < k; l++) {
      const T v = s.tb ? b[l * ldb + j] : b[j * ldb + l];
      const T *column = a + l * lda;
      for (size_t i = 0; i < m; i++) sum[i] += column[i] * v;
    }
    T *out = c + j * size_t(s.ldc);
    // With a beta of 0, C is not read: it may be NaN.
    for (size_t i = 0; i < m; i++) out[i] = alpha * sum[i] + (beta == T(0) ? T(0) : beta * out[i]);
  }
}

struct Batch {
  long long a, b, c; // strides
  int count;
};

template <class T>
int batched(const Sizes &s, const void *alpha, const void *a, const void *b, const void *beta, void *c, const Batch &by) {
  ENTER(BLAS_FAILED);
  const size_t elements = size_t(s.m) * s.k + size_t(s.k) * s.n + size_t(s.m) * s.n;
  const Counted counted(sizeof(T) == 4 ? "gemm f32" : "gemm f64", sizeof(T) * elements * size_t(by.count));
  // Empty products are taken, leading dimensions that are too small are not.
  if (s.m < 0 || s.n < 0 || s.k < 0 || s.lda < std::max(1, s.ta ? s.k : s.m) ||
      s.ldb < std::max(1, s.tb ? s.n : s.k) || s.ldc < std::max(1, s.m)) {
    cudasim::failed(BLAS_INVALID_VALUE, "gemm refused: a leading dimension is too small");
    return BLAS_INVALID_VALUE;
  }
  for (int i = 0; i < by.count; i++)
    multiply<T>(s, *static_cast<const T *>(alpha), static_cast<const T *>(a) + i * by.a,
                static_cast<const T *>(b) + i * by.b, *static_cast<const T *>(beta), static_cast<T *>(c) + i * by.c);
  return BLAS_OK;
}

} // namespace

API int cublasCreate_v2(void **out) {
  *out = &handle;
  return BLAS_OK;
}
API int cublasDestroy_v2(void *) { return BLAS_OK; }
API int cublasSetStream_v2(void *, void *) { return BLAS_OK; }
API int cublasSetMathMode(void *, int mode) {
  math_mode = mode;
  return BLAS_OK;
}
API int cublasGetMathMode(void *, int *mode) {
  *mode = math_mode;
  return BLAS_OK;
}

API int cublasSgemmStridedBatched(void *, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda,
                                  long long sa, const float *b, int ldb, long long sb, const float *beta, float *c, int ldc,
                                  long long sc, int count) {
  return batched<float>({ta != 0, tb != 0, m, n, k, lda, ldb, ldc}, alpha, a, b, beta, c, {sa, sb, sc, count});
}
API int cublasDgemmStridedBatched(void *, int ta, int tb, int m, int n, int k, const double *alpha, const double *a,
                                  int lda, long long sa, const double *b, int ldb, long long sb, const double *beta,
                                  double *c, int ldc, long long sc, int count) {
  return batched<double>({ta != 0, tb != 0, m, n, k, lda, ldb, ldc}, alpha, a, b, beta, c, {sa, sb, sc, count});
}
API int cublasSgemm_v2(void *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda,
                       const float *b, int ldb, const float *beta, float *c, int ldc) {
  return cublasSgemmStridedBatched(h, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
API int cublasDgemm_v2(void *h, int ta, int tb, int m, int n, int k, const double *alpha, const double *a, int lda,
                       const double *b, int ldb, const double *beta, double *c, int ldc) {
  return cublasDgemmStridedBatched(h, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
API int cublasGemmStridedBatchedEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int type,
                                   int lda, long long sa, const void *b, int, int ldb, long long sb, const void *beta,
                                   void *c, int, int ldc, long long sc, int count, int, int) {
  const Sizes sizes = {ta != 0, tb != 0, m, n, k, lda, ldb, ldc};
  const Batch by = {sa, sb, sc, count};
  if (type == TYPE_F32) return batched<float>(sizes, alpha, a, b, beta, c, by);
  if (type == TYPE_F64) return batched<double>(sizes, alpha, a, b, beta, c, by);
  cudasim::failed(BLAS_NOT_SUPPORTED, "gemm of a type other than f32 and f64 is not part of the stand-in");
  return BLAS_NOT_SUPPORTED;
}
