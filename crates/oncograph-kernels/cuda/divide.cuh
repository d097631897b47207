// Quotients and remainders by a number that the host knows: a product and a shift in the place of a division.
#pragma once

#include "common.cuh"

// Of any n below 2^32 by a divisor of at least 1 (Granlund and Montgomery 1994). oncograph-nn/src/cuda/divide.rs makes it.
struct Divider {
  u32 divisor, magic, shift;

  __device__ __forceinline__ u32 quotient(u32 n) const { return u32(((u64(n) * magic >> 32) + n) >> shift); }
  __device__ __forceinline__ u32 remainder(u32 n) const { return n - quotient(n) * divisor; }
};
