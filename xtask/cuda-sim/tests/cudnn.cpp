// A 3D convolution through descriptors of any rank: by hand, and the gradients as the transposes that they are.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" {
int cudnnCreateTensorDescriptor(void **);
int cudnnSetTensorNdDescriptor(void *, int, int, const int *, const int *);
int cudnnCreateFilterDescriptor(void **);
int cudnnSetFilterNdDescriptor(void *, int, int, int, const int *);
int cudnnCreateConvolutionDescriptor(void **);
int cudnnSetConvolutionNdDescriptor(void *, int, const int *, const int *, const int *, int, int);
int cudnnConvolutionForward(void *, const void *, void *, const void *, void *, const void *, void *, int, void *, size_t,
                            const void *, void *, void *);
int cudnnConvolutionBackwardData(void *, const void *, void *, const void *, void *, const void *, void *, int, void *,
                                 size_t, const void *, void *, void *);
int cudnnConvolutionBackwardFilter(void *, const void *, void *, const void *, void *, const void *, void *, int, void *,
                                   size_t, const void *, void *, void *);
}

using Values = std::vector<double>;

static void must(int status) {
  if (!status) return;
  printf("cudnn: %d\n", status);
  exit(1);
}

static Values wave(size_t n, int step) {
  Values v(n);
  for (size_t i = 0; i < n; i++) v[i] = double(int(i) * step % 7 - 3);
  return v;
}

static double dot(const Values &a, const Values &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
  return sum;
}

void convolution() {
  // Two channels of 3 x 3 x 3 to three of 2 x 2 x 2, with a filter of 3 and a stride of 2 over a border of 1.
  const int x_dims[5] = {1, 2, 3, 3, 3}, x_strides[5] = {54, 27, 9, 3, 1};
  const int y_dims[5] = {1, 3, 2, 2, 2}, y_strides[5] = {24, 8, 4, 2, 1};
  const int w_dims[5] = {3, 2, 3, 3, 3}, ones[3] = {1, 1, 1}, twos[3] = {2, 2, 2};
  const double alpha = 1, beta = 0;
  void *xd = nullptr, *yd = nullptr, *wd = nullptr, *cd = nullptr;
  must(cudnnCreateTensorDescriptor(&xd));
  must(cudnnCreateTensorDescriptor(&yd));
  must(cudnnCreateFilterDescriptor(&wd));
  must(cudnnCreateConvolutionDescriptor(&cd));
  must(cudnnSetTensorNdDescriptor(xd, 1, 5, x_dims, x_strides));
  must(cudnnSetTensorNdDescriptor(yd, 1, 5, y_dims, y_strides));
  must(cudnnSetFilterNdDescriptor(wd, 1, 0, 5, w_dims));
  must(cudnnSetConvolutionNdDescriptor(cd, 3, ones, twos, ones, 1, 1));
  const Values x = wave(54, 5), w = wave(162, 3), dy = wave(24, 2);
  Values y(24), dx(54), dw(162), space(8);
  const size_t bytes = space.size() * sizeof(double);
  void *s = space.data();
  must(cudnnConvolutionForward(nullptr, &alpha, xd, x.data(), wd, w.data(), cd, 1, s, bytes, &beta, yd, y.data()));
  must(cudnnConvolutionBackwardData(nullptr, &alpha, wd, w.data(), yd, dy.data(), cd, 1, s, bytes, &beta, xd, dx.data()));
  must(cudnnConvolutionBackwardFilter(nullptr, &alpha, xd, x.data(), yd, dy.data(), cd, 1, s, bytes, &beta, wd, dw.data()));
  // The first output sees the corner of 2 x 2 x 2 through the filter's far corner.
  double corner = 0;
  for (int c = 0; c < 2; c++)
    for (int i = 0; i < 8; i++) {
      const int d = i / 4, h = i / 2 % 2, col = i % 2;
      corner += x[size_t(c * 27 + d * 9 + h * 3 + col)] * w[size_t(c * 27 + (d + 1) * 9 + (h + 1) * 3 + col + 1)];
    }
  printf("corner: %g %g\n", y[0], corner);
  printf("transposes: %g %g %g\n", dot(y, dy), dot(dx, x), dot(dw, w));
}
