// Atomics, which are plain arithmetic here, and the functions of CUDA's mathematics that the host's lacks. The
// approximate ones are computed exactly: a GPU differs from them by some units in the last place.
#pragma once

template <class T> using Same = std::common_type_t<T>; // the type of the pointer alone decides

template <class T> inline T atomicExch(T *a, Same<T> v) {
  const T old = *a;
  *a = v;
  return old;
}
template <class T> inline T atomicAdd(T *a, Same<T> v) { return atomicExch(a, T(*a + v)); }
template <class T> inline T atomicSub(T *a, Same<T> v) { return atomicExch(a, T(*a - v)); }
template <class T> inline T atomicMax(T *a, Same<T> v) { return atomicExch(a, v > *a ? v : *a); }
template <class T> inline T atomicMin(T *a, Same<T> v) { return atomicExch(a, v < *a ? v : *a); }
template <class T> inline T atomicCAS(T *a, Same<T> expected, Same<T> v) {
  return atomicExch(a, *a == expected ? v : *a);
}

template <class A, class B> inline std::common_type_t<A, B> min(A a, B b) { return b < a ? b : a; }
template <class A, class B> inline std::common_type_t<A, B> max(A a, B b) { return a < b ? b : a; }
template <class T> inline T __ldg(const T *p) { return *p; }

inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline double rsqrt(double x) { return 1. / sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

inline int __float_as_int(float x) { return cudasim::unpack<int>(cudasim::pack(x)); }
inline unsigned __float_as_uint(float x) { return cudasim::unpack<unsigned>(cudasim::pack(x)); }
inline float __int_as_float(int x) { return cudasim::unpack<float>(cudasim::pack(x)); }
inline float __uint_as_float(unsigned x) { return cudasim::unpack<float>(cudasim::pack(x)); }
inline long long __double_as_longlong(double x) { return cudasim::unpack<long long>(cudasim::pack(x)); }
inline double __longlong_as_double(long long x) { return cudasim::unpack<double>(cudasim::pack(x)); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned s) {
  return unsigned(((uint64_t(high) << 32 | low) << (s & 31)) >> 32);
}
