// Dropout, with the mask of the CPU: the words of ChaCha8 (Bernstein 2008) as rand_chacha gives them, from block 0 of
// stream 0 on, 16 words to a block.

#include "common.cuh"

struct Key {
  u32 words[8];
};

static __device__ __forceinline__ u32 rotate(u32 v, int bits) { return v << bits | v >> (32 - bits); }

static __device__ __forceinline__ void quarter(u32 &a, u32 &b, u32 &c, u32 &d) {
  a += b;
  d = rotate(d ^ a, 16);
  c += d;
  b = rotate(b ^ c, 12);
  a += b;
  d = rotate(d ^ a, 8);
  c += d;
  b = rotate(b ^ c, 7);
}

static __device__ __forceinline__ void chacha8(const Key &key, u64 block, u32 *out) {
  const u32 start[16] = {0x61707865,        0x3320646e,   0x79622d32,   0x6b206574,   key.words[0], key.words[1],
                         key.words[2],      key.words[3], key.words[4], key.words[5], key.words[6], key.words[7],
                         u32(block),        u32(block >> 32), 0,        0};
  u32 s[16];
#pragma unroll
  for (int i = 0; i < 16; i++) s[i] = start[i];
#pragma unroll
  for (int round = 0; round < 8; round += 2) {
    quarter(s[0], s[4], s[8], s[12]);
    quarter(s[1], s[5], s[9], s[13]);
    quarter(s[2], s[6], s[10], s[14]);
    quarter(s[3], s[7], s[11], s[15]);
    quarter(s[0], s[5], s[10], s[15]);
    quarter(s[1], s[6], s[11], s[12]);
    quarter(s[2], s[7], s[8], s[13]);
    quarter(s[3], s[4], s[9], s[14]);
  }
#pragma unroll
  for (int i = 0; i < 16; i++) out[i] = s[i] + start[i];
}

// y[i] = word i < threshold ? x[i] * 0 : x[i] * keep, for blocks of 128 threads: each draws 16 words, which the block then
// takes side by side.
extern "C" __global__ void dropout(const real *__restrict__ x, real *__restrict__ y, u64 count, Key key, u64 threshold,
                                   float keep) {
  const u32 THREADS = 128, WORDS = 16;
  // One word more in each row: no two threads of a warp meet in a bank.
  __shared__ u32 words[THREADS * (WORDS + 1)];
  const u64 tile = THREADS * WORDS;
  for (u64 from = blockIdx.x * tile; from < count; from += gridDim.x * tile) {
    u32 own[16];
    if (from + threadIdx.x * WORDS < count) {
      chacha8(key, from / WORDS + threadIdx.x, own);
#pragma unroll
      for (u32 w = 0; w < WORDS; w++) words[threadIdx.x * (WORDS + 1) + w] = own[w];
    }
    __syncthreads();
    for (u32 k = threadIdx.x; k < tile && from + k < count; k += THREADS) {
      const u32 word = words[k / WORDS * (WORDS + 1) + k % WORDS];
      y[from + k] = x[from + k] * (word < threshold ? real(0) : real(keep));
    }
    __syncthreads();
  }
}
