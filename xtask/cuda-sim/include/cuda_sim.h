// CUDA C++ as host C++: what a kernel source needs to be compiled by a C++ compiler and to run on a CPU.
//
// The stand-in's `nvcc` puts this header in front of a .cu file, turns every __global__ function into a host function
// and appends `cudasim_call_NAME(void **args)` for each. The result is a shared library with these functions and one,
// `cudasim_launch`, that runs a grid; the stand-in for libcuda loads it. README.md says what this can show.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <utility>

#ifndef __CUDA_ARCH__
// candle guards its f16, bf16 and fp8 kernels by the architecture: this old one leaves them out.
#define __CUDA_ARCH__ 520
#endif
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

#define __host__
#define __device__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
// `nvcc` replaces __global__ and __shared__ in the text: it has to collect the kernels' names, and `extern __shared__`
// becomes a pointer.

#include "cuda_sim/types.h"

#include "cuda_sim/machine.h"

#include "cuda_sim/launch.h"

#include "cuda_sim/threads.h"

#include "cuda_sim/arithmetic.h"

// A failed assert ends the launch, and every later call of the driver fails, as on a GPU.
#undef assert
#define assert(x) ((x) ? (void)0 : cudasim::fail("assert(" #x ") failed"))
