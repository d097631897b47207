// cuRAND's interface over another generator than NVIDIA's: the numbers are others, their distributions the same.
#include "sim.h"

#include <cmath>

namespace {

enum : int { RANDOM_OK = 0, LENGTH_NOT_MULTIPLE = 105, LAUNCH_FAILURE = 201 };

// SplitMix64.
struct Random {
  uint64_t state = 0;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  double uniform() { return (double(next() >> 11) + 1) * 0x1p-53; } // (0, 1], as cuRAND's
};

template <class T> int uniform(void *generator, T *out, size_t n) {
  ENTER(LAUNCH_FAILURE);
  const cudasim::Counted counted("random", n * sizeof(T));
  for (size_t i = 0; i < n; i++) out[i] = T(static_cast<Random *>(generator)->uniform());
  return RANDOM_OK;
}

template <class T> int normal(void *generator, T *out, size_t n, T mean, T deviation) {
  ENTER(LAUNCH_FAILURE);
  const cudasim::Counted counted("random", n * sizeof(T));
  // cuRAND makes them in pairs and refuses an odd count.
  if (n % 2) return LENGTH_NOT_MULTIPLE;
  Random &r = *static_cast<Random *>(generator);
  for (size_t i = 0; i < n; i += 2) {
    const double radius = std::sqrt(-2 * std::log(r.uniform())), angle = 6.283185307179586 * r.uniform();
    out[i] = mean + deviation * T(radius * std::cos(angle));
    out[i + 1] = mean + deviation * T(radius * std::sin(angle));
  }
  return RANDOM_OK;
}

} // namespace

API int curandCreateGenerator(void **generator, int) {
  *generator = new Random;
  return RANDOM_OK;
}
API int curandDestroyGenerator(void *generator) {
  delete static_cast<Random *>(generator);
  return RANDOM_OK;
}
API int curandSetStream(void *, void *) { return RANDOM_OK; }
API int curandSetPseudoRandomGeneratorSeed(void *generator, unsigned long long seed) {
  static_cast<Random *>(generator)->state = seed;
  return RANDOM_OK;
}
API int curandGenerateUniform(void *g, float *out, size_t n) { return uniform(g, out, n); }
API int curandGenerateUniformDouble(void *g, double *out, size_t n) { return uniform(g, out, n); }
API int curandGenerateNormal(void *g, float *out, size_t n, float mean, float deviation) {
  return normal(g, out, n, mean, deviation);
}
API int curandGenerateNormalDouble(void *g, double *out, size_t n, double mean, double deviation) {
  return normal(g, out, n, mean, deviation);
}
