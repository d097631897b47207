// One case of the stand-in's tests: main KERNELS.ptx CASE. Prints what the case measures; the Rust test beside the
// other tests of CUDA (tests/cuda/tests/stand_in.rs) chooses the switches and knows what is right.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

using Address = uint64_t;
extern "C" {
int cuInit(unsigned);
int cuCtxSynchronize();
int cuGetErrorString(int, const char **);
int cuMemAlloc_v2(Address *, size_t);
int cuMemFree_v2(Address);
int cuMemcpyHtoD_v2(Address, const void *, size_t);
int cuMemcpyDtoH_v2(void *, Address, size_t);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuFuncSetAttribute(void *, int, int);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
int cuGraphCreate(void **, unsigned);
int nvrtcCreateProgram(void **, const char *, const char *, int, const char *const *, const char *const *);
int nvrtcCompileProgram(void *, int, const char *const *);
int nvrtcGetPTXSize(void *, size_t *);
int nvrtcGetPTX(void *, char *);
}

using Values = std::vector<float>;

static void *module;

static void print(const char *what, int status) {
  const char *text = "";
  cuGetErrorString(status, &text);
  printf("%s: %d %s\n", what, status, text);
}

static void must(const char *what, int status) {
  if (!status) return;
  print(what, status);
  exit(1);
}

static void *kernel(const char *name) {
  void *function = nullptr;
  must(name, cuModuleGetFunction(&function, module, name));
  return function;
}

// An array on the device, which is given back at the end.
struct Array {
  Address at = 0;
  size_t count;
  explicit Array(size_t n) : count(n) { must("alloc", cuMemAlloc_v2(&at, n * sizeof(float))); }
  explicit Array(const Values &v) : Array(v.size()) {
    must("copy", cuMemcpyHtoD_v2(at, v.data(), v.size() * sizeof(float)));
  }
  ~Array() { cuMemFree_v2(at); }
  void show(const char *what) const {
    Values v(count);
    must("copy back", cuMemcpyDtoH_v2(v.data(), at, count * sizeof(float)));
    printf("%s:", what);
    for (const float f : v) printf(" %g", f);
    printf("\n");
  }
};

static int launch(const char *name, unsigned grid, unsigned block, std::vector<void *> args, unsigned shared = 0) {
  return cuLaunchKernel(kernel(name), grid, 1, 1, block, 1, 1, shared, nullptr, args.data(), nullptr);
}

static Values counting(size_t n) {
  Values v(n);
  for (size_t i = 0; i < n; i++) v[i] = float(i);
  return v;
}

static void sums() {
  Array x(counting(128)), blocks(2), warps(4);
  float factor = 2;
  unsigned n = 128;
  must("scale", launch("scale", 3, 64, {&x.at, &n, &factor}));
  must("block_sum", launch("block_sum", 2, 64, {&x.at, &blocks.at}, 64 * sizeof(float)));
  must("warp_sum", launch("warp_sum", 2, 64, {&x.at, &warps.at}));
  blocks.show("blocks");
  warps.show("warps");
}

// A launch that goes wrong, and the first call after it.
static void broken(const char *name) {
  Array x(counting(32));
  print("launch", launch(name, 1, 32, {&x.at}));
  print("later", cuCtxSynchronize());
}

static void refused() {
  Array x(counting(1));
  unsigned n = 1;
  float factor = 2;
  print("empty", launch("scale", 0, 32, {&x.at, &n, &factor}));
  print("wide", launch("scale", 1, 1025, {&x.at, &n, &factor}));
  print("shared", launch("scale", 1, 1, {&x.at, &n, &factor}, (48 << 10) + 1));
  must("attribute", cuFuncSetAttribute(kernel("scale"), 8, 64 << 10));
  print("after", launch("scale", 1, 1, {&x.at, &n, &factor}));
  x.show("x");
}

static void compiled_at_run_time() {
  const char *source = "extern \"C\" __global__ void fill(float *x) { x[threadIdx.x] = threadIdx.x + 0.5f; }";
  void *program = nullptr;
  size_t bytes = 0;
  must("create", nvrtcCreateProgram(&program, source, "fill", 0, nullptr, nullptr));
  must("compile", nvrtcCompileProgram(program, 0, nullptr));
  must("size", nvrtcGetPTXSize(program, &bytes));
  std::string ptx(bytes, 0);
  must("ptx", nvrtcGetPTX(program, ptx.data()));
  must("load", cuModuleLoadData(&module, ptx.data()));
  Array x(4);
  must("fill", launch("fill", 1, 4, {&x.at}));
  x.show("x");
}

void convolution(); // cudnn.cpp

int main(int, char **arguments) {
  const std::string name = arguments[2];
  std::stringstream ptx;
  ptx << std::ifstream(arguments[1]).rdbuf();
  must("init", cuInit(0));
  must("load", cuModuleLoadData(&module, ptx.str().c_str()));
  if (name == "sums") {
    sums();
  } else if (name == "refused") {
    refused();
  } else if (name == "race") {
    Array x(counting(4));
    must("race", launch("race", 1, 4, {&x.at}));
    x.show("x");
  } else if (name == "beyond") {
    Array x(counting(8));
    unsigned n = 8;
    print("launch", launch("beyond", 1, 8, {&x.at, &n}));
  } else if (name == "fresh") {
    Array(2).show("x");
  } else if (name == "missing") {
    void *graph = nullptr;
    print("call", cuGraphCreate(&graph, 0));
  } else if (name == "mangled") {
    void *function = nullptr;
    print("find", cuModuleGetFunction(&function, module, "mangled"));
  } else if (name == "nvrtc") {
    compiled_at_run_time();
  } else if (name == "cudnn") {
    convolution();
  } else {
    broken(name.c_str());
  }
}
