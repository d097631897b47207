// What a kernel calls to know its place and to meet other threads.
#pragma once

#define threadIdx (cudasim::m.thread)
#define blockIdx (cudasim::m.at)
#define blockDim (cudasim::m.block)
#define gridDim (cudasim::m.grid)
#define warpSize 32

namespace cudasim {

template <class T> inline uint64_t pack(T v) {
  static_assert(sizeof(T) <= 8, "exchanges of at most 8 bytes");
  uint64_t u = 0;
  memcpy(&u, &v, sizeof v);
  return u;
}
template <class T> inline T unpack(uint64_t u) {
  T v;
  memcpy(&v, &u, sizeof v);
  return v;
}

inline unsigned lane() { return m.current % WARP; }

template <class T> inline T shuffle(uint32_t mask, T v, unsigned from) {
  const unsigned own = lane();
  const uint64_t *seen = warp_exchange(mask, pack(v));
  if (from != own && !(mask >> from & 1)) fail("a shuffle reads a lane that its mask leaves out");
  return unpack<T>(seen[from]);
}

} // namespace cudasim

inline void __syncthreads() { cudasim::block_barrier(); }
inline void __syncwarp(unsigned mask = ~0u) { cudasim::warp_exchange(mask, 0); }
// One thread runs at a time and writes straight to memory.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline unsigned __activemask() { return ~0u; }

// `width` cuts the warp into parts of that many lanes; a lane beyond its part reads itself.
template <class T> inline T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  const unsigned inside = unsigned(width - 1);
  return cudasim::shuffle(mask, v, (cudasim::lane() & ~inside) + (unsigned(from) & inside));
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32) {
  const unsigned l = cudasim::lane(), from = l ^ unsigned(x), part = ~unsigned(width - 1);
  return cudasim::shuffle(mask, v, (from & part) == (l & part) ? from : l);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32) {
  const unsigned l = cudasim::lane();
  return cudasim::shuffle(mask, v, (l & unsigned(width - 1)) + d < unsigned(width) ? l + d : l);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32) {
  const unsigned l = cudasim::lane();
  return cudasim::shuffle(mask, v, (l & unsigned(width - 1)) >= d ? l - d : l);
}
inline unsigned __ballot_sync(unsigned mask, int p) {
  const uint64_t *seen = cudasim::warp_exchange(mask, p != 0);
  unsigned votes = 0;
  for (unsigned i = 0; i < cudasim::WARP; i++)
    if (mask >> i & 1 && seen[i]) votes |= 1u << i;
  return votes;
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, !p) == 0; }
