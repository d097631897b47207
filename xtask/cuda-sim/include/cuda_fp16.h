// Storage and the few functions that candle's sources mention outside of their guards by architecture; no arithmetic.
#pragma once
struct __half {
  unsigned short bits;
};
inline __half __ushort_as_half(unsigned short u) { return {u}; }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline bool __hisnan(__half h) { return (h.bits & 0x7fff) > 0x7c00; }
inline float __half2float(__half h) {
  _Float16 f;
  memcpy(&f, &h, sizeof f);
  return float(f);
}
inline __half __hmax(__half a, __half b) { return __half2float(a) < __half2float(b) ? b : a; }
inline __half __hmin(__half a, __half b) { return __half2float(b) < __half2float(a) ? b : a; }
inline __half __hmax_nan(__half a, __half b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmax(a, b); }
inline __half __hmin_nan(__half a, __half b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmin(a, b); }
