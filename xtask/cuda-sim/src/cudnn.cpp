// The part of cuDNN that a convolution of any rank needs, by the definition: f32, f64, and bf16 whose products are summed
// in f32, tensors with any strides, filters of the plain and the channels-last format. Enough to test the code that fills
// the descriptors.
#include "sim.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

using cudasim::Counted;

namespace {

enum : int { DNN_OK = 0, DNN_BAD_PARAM = 2000, DNN_NOT_SUPPORTED = 3000, DNN_FAILED = 5000 };
enum : int { TYPE_F32 = 0, TYPE_F64 = 1, TYPE_BF16 = 9 }; // cudnnDataType_t
enum : int { TENSOR_OPS = 1 };                  // cudnnMathType_t
enum : int { CHANNELS_FIRST = 0 };              // cudnnTensorFormat_t
enum : int { CROSS_CORRELATION = 1 };           // cudnnConvolutionMode_t
constexpr size_t WORKSPACE = 64;                // more than nothing, so that a workspace that is not passed shows

using Ints = std::vector<int>;
struct Tensor {
  int type = 0;
  Ints dims, strides;
};
struct Filter {
  int type = 0, format = 0;
  Ints dims;
};
struct Convolution {
  Ints pad, stride, dilation;
  int groups = 1;
  int sums = 0, math = 0; // what is added in, and with which units
};

int handle;

int bad(const char *why) {
  cudasim::failed(DNN_BAD_PARAM, std::string("cudnn refuses a convolution: ") + why);
  return DNN_BAD_PARAM;
}

// Of outputs, inputs, space; channels-last has the inputs innermost.
Ints strides_of(const Filter &f) {
  const size_t n = f.dims.size();
  Ints order, strides(n);
  if (f.format != CHANNELS_FIRST) order.push_back(1);
  for (size_t d = n; d-- > 2;) order.push_back(int(d));
  if (f.format == CHANNELS_FIRST) order.push_back(1);
  order.push_back(0);
  int step = 1;
  for (const int d : order) {
    strides[size_t(d)] = step;
    step *= f.dims[size_t(d)];
  }
  return strides;
}

int check(const Tensor &x, const Filter &w, const Convolution &c, const Tensor &y) {
  const size_t n = x.dims.size();
  if (n < 3 || w.dims.size() != n || y.dims.size() != n || c.pad.size() != n - 2) return bad("ranks differ");
  if (x.dims[0] != y.dims[0]) return bad("batches differ");
  if (x.dims[1] != w.dims[1] * c.groups || y.dims[1] != w.dims[0] || w.dims[0] % c.groups)
    return bad("channels do not fit");
  for (size_t d = 0; d < n - 2; d++) {
    const int reach = c.dilation[d] * (w.dims[d + 2] - 1) + 1;
    if (y.dims[d + 2] != (x.dims[d + 2] + 2 * c.pad[d] - reach) / c.stride[d] + 1) return bad("the output's size");
  }
  return DNN_OK;
}

// Steps through the positions in space of `dims`, all but the last `fixed` dimensions; false after the last position.
bool next(Ints &at, const Ints &dims, size_t fixed = 0) {
  for (size_t d = at.size() - fixed; d-- > 0;) {
    if (++at[d] < dims[d + 2]) return true;
    at[d] = 0;
  }
  return false;
}

// A run of products along the last dimension: the offset of the first, the steps, and how many.
struct Run {
  long y, x, w;
  int y_step, x_step, count;
};

// Calls visit(run) for all products of the convolution.
template <class F> int each(const Tensor &x, const Filter &w, const Convolution &c, const Tensor &y, F visit) {
  if (const int refused = check(x, w, c, y)) return refused;
  const size_t space = x.dims.size() - 2, last = space - 1;
  const Ints ws = strides_of(w);
  const int per_group = w.dims[0] / c.groups, stride = c.stride[last];
  // One element of the filter against one channel of a sample.
  auto element = [&](int batch, int out, int in, const Ints &k) {
    long wo = long(out) * ws[0] + long(in) * ws[1];
    for (size_t d = 0; d < space; d++) wo += long(k[d]) * ws[d + 2];
    // Outputs whose input lies inside along the last dimension.
    const int shift = k[last] * c.dilation[last] - c.pad[last];
    const int from = shift >= 0 ? 0 : (-shift + stride - 1) / stride, room = x.dims[last + 2] - 1 - shift;
    const int to = room < 0 ? 0 : std::min(y.dims[last + 2], room / stride + 1);
    if (from >= to) return;
    Ints at(space, 0);
    do {
      long yo = long(batch) * y.strides[0] + long(out) * y.strides[1] + long(from) * y.strides[last + 2];
      long xo = long(batch) * x.strides[0] + long(out / per_group * w.dims[1] + in) * x.strides[1] +
                long(from * stride + shift) * x.strides[last + 2];
      bool inside = true;
      for (size_t d = 0; d < last; d++) {
        const int p = at[d] * c.stride[d] - c.pad[d] + k[d] * c.dilation[d];
        inside &= p >= 0 && p < x.dims[d + 2];
        yo += long(at[d]) * y.strides[d + 2];
        xo += long(p) * x.strides[d + 2];
      }
      if (inside) visit(Run{yo, xo, wo, y.strides[last + 2], stride * x.strides[last + 2], to - from});
    } while (next(at, y.dims, 1));
  };
  for (int batch = 0; batch < y.dims[0]; batch++)
    for (int out = 0; out < y.dims[1]; out++)
      for (int in = 0; in < w.dims[1]; in++) {
        Ints k(space, 0);
        do element(batch, out, in, k);
        while (next(k, w.dims));
      }
  return DNN_OK;
}

// Multiplies by beta; with a beta of 0 what is there is not read: it may be NaN.
template <class T> void scale(T *p, const Ints &dims, const Ints &strides, T beta, size_t d = 0) {
  if (d == dims.size()) {
    *p = beta == T(0) ? T(0) : *p * beta;
    return;
  }
  for (int i = 0; i < dims[d]; i++) scale(p + long(i) * strides[d], dims, strides, beta, d + 1);
}

enum class Result { Y, X, W };

// One of the three: the convolution, or its gradient for the input or the filter.
struct Job {
  Result result;
  void *xd, *wd, *cd, *yd;
  void *x, *w, *y;
  const void *alpha, *beta;
};

template <class T> int run(const Job &job) {
  const auto &xd = *static_cast<Tensor *>(job.xd), &yd = *static_cast<Tensor *>(job.yd);
  const auto &wd = *static_cast<Filter *>(job.wd);
  const auto &cd = *static_cast<Convolution *>(job.cd);
  T *const x = static_cast<T *>(job.x), *const w = static_cast<T *>(job.w), *const y = static_cast<T *>(job.y);
  const T alpha = *static_cast<const T *>(job.alpha), beta = *static_cast<const T *>(job.beta);
  switch (job.result) {
  case Result::Y:
    scale(y, yd.dims, yd.strides, beta);
    return each(xd, wd, cd, yd, [&](const Run &r) {
      const T v = alpha * w[r.w];
      for (int i = 0; i < r.count; i++) y[r.y + i * r.y_step] += v * x[r.x + i * r.x_step];
    });
  case Result::X:
    scale(x, xd.dims, xd.strides, beta);
    return each(xd, wd, cd, yd, [&](const Run &r) {
      const T v = alpha * w[r.w];
      for (int i = 0; i < r.count; i++) x[r.x + i * r.x_step] += v * y[r.y + i * r.y_step];
    });
  default:
    scale(w, wd.dims, strides_of(wd), beta);
    return each(xd, wd, cd, yd, [&](const Run &r) {
      T sum = 0;
      for (int i = 0; i < r.count; i++) sum += y[r.y + i * r.y_step] * x[r.x + i * r.x_step];
      w[r.w] += alpha * sum;
    });
  }
}

float wide(uint16_t bits) {
  const uint32_t all = uint32_t(bits) << 16;
  float value;
  memcpy(&value, &all, sizeof value);
  return value;
}
// The nearest, of two the even one.
uint16_t narrow(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (value != value) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

size_t length(const Ints &dims, const Ints &strides) {
  size_t last = 0;
  for (size_t d = 0; d < dims.size(); d++) last += size_t(dims[d] - 1) * size_t(strides[d]);
  return last + 1;
}

// In f32, with operands of bf16 and a result that is rounded to it.
int run_bf16(const Job &job) {
  const auto &xd = *static_cast<Tensor *>(job.xd), &yd = *static_cast<Tensor *>(job.yd);
  const auto &wd = *static_cast<Filter *>(job.wd);
  const auto &cd = *static_cast<Convolution *>(job.cd);
  if (cd.sums != TYPE_F32 || cd.math != TENSOR_OPS) return bad("bf16 is summed in f32, by tensor operations");
  if (*static_cast<const float *>(job.beta) != 0) return bad("bf16 is added to nothing");
  const size_t lengths[3] = {length(xd.dims, xd.strides), length(wd.dims, strides_of(wd)), length(yd.dims, yd.strides)};
  void *const parts[3] = {job.x, job.w, job.y};
  std::vector<float> values[3];
  for (int p = 0; p < 3; p++)
    for (size_t i = 0; i < lengths[p]; i++) values[p].push_back(wide(static_cast<uint16_t *>(parts[p])[i]));
  Job inner = job;
  inner.x = values[0].data();
  inner.w = values[1].data();
  inner.y = values[2].data();
  if (const int failed = run<float>(inner)) return failed;
  const int result = job.result == Result::X ? 0 : job.result == Result::W ? 1 : 2;
  // What lies between the elements of a strided result goes there and back unchanged.
  for (size_t i = 0; i < lengths[result]; i++) static_cast<uint16_t *>(parts[result])[i] = narrow(values[result][i]);
  return DNN_OK;
}

int convolve(const char *name, const Job &job, const void *workspace, size_t bytes) {
  ENTER(DNN_FAILED);
  const Counted counted(name, 0);
  if (!workspace || bytes < WORKSPACE) return bad("the workspace is smaller than was asked for");
  const int type = static_cast<Tensor *>(job.xd)->type;
  if (static_cast<Tensor *>(job.yd)->type != type || static_cast<Filter *>(job.wd)->type != type)
    return bad("types differ");
  switch (type) {
  case TYPE_F32: return run<float>(job);
  case TYPE_F64: return run<double>(job);
  case TYPE_BF16: return run_bf16(job);
  default:
    cudasim::failed(DNN_NOT_SUPPORTED, "convolutions of types other than f32, f64, bf16 are not part of the stand-in");
    return DNN_NOT_SUPPORTED;
  }
}

// cudnnConvolution*AlgoPerf_t, of which the three kinds have the same layout.
struct Perf {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};
int propose(int *count, void *out) {
  Perf p = {};
  p.algorithm = 1; // the deterministic one of all three kinds
  p.memory = WORKSPACE;
  p.determinism = 1;
  memcpy(out, &p, sizeof p);
  *count = 1;
  return DNN_OK;
}
int workspace(size_t *bytes) {
  *bytes = WORKSPACE;
  return DNN_OK;
}

template <class D> int create(void **out) {
  *out = new D;
  return DNN_OK;
}
template <class D> int destroy(void *descriptor) {
  delete static_cast<D *>(descriptor);
  return DNN_OK;
}

} // namespace

API int cudnnCreate(void **out) {
  *out = &handle;
  return DNN_OK;
}
API int cudnnDestroy(void *) { return DNN_OK; }
API int cudnnSetStream(void *, void *) { return DNN_OK; }
API size_t cudnnGetVersion() { return 92100; }

API int cudnnCreateTensorDescriptor(void **d) { return create<Tensor>(d); }
API int cudnnDestroyTensorDescriptor(void *d) { return destroy<Tensor>(d); }
API int cudnnSetTensorNdDescriptor(void *d, int type, int n, const int *dims, const int *strides) {
  *static_cast<Tensor *>(d) = {type, Ints(dims, dims + n), Ints(strides, strides + n)};
  return DNN_OK;
}
API int cudnnSetTensor4dDescriptorEx(void *d, int type, int n, int c, int h, int w, int ns, int cs, int hs, int ws) {
  *static_cast<Tensor *>(d) = {type, {n, c, h, w}, {ns, cs, hs, ws}};
  return DNN_OK;
}
API int cudnnSetTensor4dDescriptor(void *d, int format, int type, int n, int c, int h, int w) {
  *static_cast<Tensor *>(d) = {type, {n, c, h, w}, strides_of({type, format, {n, c, h, w}})};
  return DNN_OK;
}

API int cudnnCreateFilterDescriptor(void **d) { return create<Filter>(d); }
API int cudnnDestroyFilterDescriptor(void *d) { return destroy<Filter>(d); }
API int cudnnSetFilterNdDescriptor(void *d, int type, int format, int n, const int *dims) {
  *static_cast<Filter *>(d) = {type, format, Ints(dims, dims + n)};
  return DNN_OK;
}
API int cudnnSetFilter4dDescriptor(void *d, int type, int format, int k, int c, int h, int w) {
  *static_cast<Filter *>(d) = {type, format, {k, c, h, w}};
  return DNN_OK;
}

API int cudnnCreateConvolutionDescriptor(void **d) { return create<Convolution>(d); }
API int cudnnDestroyConvolutionDescriptor(void *d) { return destroy<Convolution>(d); }
API int cudnnSetConvolutionNdDescriptor(void *d, int n, const int *pad, const int *stride, const int *dilation, int mode,
                                        int sums) {
  if (mode != CROSS_CORRELATION) return DNN_NOT_SUPPORTED; // what frameworks call a convolution
  auto &c = *static_cast<Convolution *>(d);
  c.pad.assign(pad, pad + n);
  c.stride.assign(stride, stride + n);
  c.dilation.assign(dilation, dilation + n);
  c.sums = sums;
  return DNN_OK;
}
API int cudnnSetConvolution2dDescriptor(void *d, int ph, int pw, int sh, int sw, int dh, int dw, int mode, int type) {
  const int pad[2] = {ph, pw}, stride[2] = {sh, sw}, dilation[2] = {dh, dw};
  return cudnnSetConvolutionNdDescriptor(d, 2, pad, stride, dilation, mode, type);
}
// Of f32 and f64 every choice gives the same here.
API int cudnnSetConvolutionMathType(void *d, int math) {
  static_cast<Convolution *>(d)->math = math;
  return DNN_OK;
}
API int cudnnSetConvolutionGroupCount(void *d, int groups) {
  static_cast<Convolution *>(d)->groups = groups;
  return DNN_OK;
}

API int cudnnGetConvolutionForwardAlgorithm_v7(void *, void *, void *, void *, void *, int, int *n, void *out) {
  return propose(n, out);
}
API int cudnnGetConvolutionBackwardDataAlgorithm_v7(void *, void *, void *, void *, void *, int, int *n, void *out) {
  return propose(n, out);
}
API int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void *, void *, void *, void *, void *, int, int *n, void *out) {
  return propose(n, out);
}
API int cudnnGetConvolutionForwardWorkspaceSize(void *, void *, void *, void *, void *, int, size_t *bytes) {
  return workspace(bytes);
}
API int cudnnGetConvolutionBackwardDataWorkspaceSize(void *, void *, void *, void *, void *, int, size_t *bytes) {
  return workspace(bytes);
}
API int cudnnGetConvolutionBackwardFilterWorkspaceSize(void *, void *, void *, void *, void *, int, size_t *bytes) {
  return workspace(bytes);
}

API int cudnnConvolutionForward(void *, const void *alpha, void *xd, void *x, void *wd, void *w, void *cd, int,
                                const void *space, size_t bytes, const void *beta, void *yd, void *y) {
  return convolve("cudnn forward", {Result::Y, xd, wd, cd, yd, x, w, y, alpha, beta}, space, bytes);
}
API int cudnnConvolutionBackwardData(void *, const void *alpha, void *wd, void *w, void *yd, void *dy, void *cd, int,
                                     const void *space, size_t bytes, const void *beta, void *xd, void *dx) {
  return convolve("cudnn gradient of the input", {Result::X, xd, wd, cd, yd, dx, w, dy, alpha, beta}, space, bytes);
}
API int cudnnConvolutionBackwardFilter(void *, const void *alpha, void *xd, void *x, void *yd, void *dy, void *cd, int,
                                       const void *space, size_t bytes, const void *beta, void *wd, void *dw) {
  return convolve("cudnn gradient of the filter", {Result::W, xd, wd, cd, yd, x, dw, dy, alpha, beta}, space, bytes);
}
