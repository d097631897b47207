// Storage only, with the one conversion that candle's sources mention outside of their guards by architecture.
#pragma once
#include "cuda_fp16.h"
struct __nv_fp8_e4m3 {
  unsigned char __x;
};
enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };
inline __half __nv_cvt_fp8_to_halfraw(unsigned char x, __nv_fp8_interpretation_t) {
  // Sign, four bits of exponent with bias 7, three of mantissa; only all ones is a NaN, and exponent 0 is subnormal.
  const int exponent = x >> 3 & 15, mantissa = x & 7;
  float magnitude = exponent ? ldexpf(8 + mantissa, exponent - 10) : ldexpf(mantissa, -9);
  if ((x & 0x7f) == 0x7f) magnitude = NAN;
  const _Float16 h = _Float16(x & 0x80 ? -magnitude : magnitude);
  __half out;
  memcpy(&out, &h, sizeof out);
  return out;
}
