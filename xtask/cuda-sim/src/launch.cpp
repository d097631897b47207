// The driver's modules and launches: kernels are those that the stand-in's nvcc compiled for the host.
#include "sim.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <unistd.h>

using namespace cudasim;

namespace {

// As include/cuda_sim/launch.h defines them.
using Call = void (*)(void **);
using Launch = const char *(*)(Call, void **, const unsigned *, const unsigned *, size_t);
using Place = void (*)(char *, size_t);

constexpr unsigned DEFAULT_SHARED = 48 << 10;

struct Module {
  std::string source;
  void *library;
};

struct Function {
  std::string name;
  Call call;
  Launch launch;
  Place place;
  unsigned shared = DEFAULT_SHARED; // bytes that a launch may ask for
};

// What the stand-in's nvcc writes instead of PTX: the source, then the library.
constexpr char MARK[] = "//cudasim ";

// The library that was built, or the one of its name in the folder that CUDASIM_KERNELS names: kernels that were changed
// after a program was built.
std::string chosen(const std::string &built) {
  const char *folder = getenv("CUDASIM_KERNELS");
  if (!folder || !*folder) return built;
  const std::string other = folder + built.substr(built.rfind('/'));
  return access(other.c_str(), F_OK) == 0 ? other : built;
}

} // namespace

API Status cuModuleLoadData(void **out, const void *image) {
  ENTER(simulator().sticky);
  // The architecture that everything is compiled for on the stand-in.
  if (setting("CUDASIM_CAPABILITY", 90) < 80)
    return failed(NO_BINARY_FOR_GPU, "kernels for capability 8.0 on an older device");
  const char *text = static_cast<const char *>(image);
  if (strncmp(text, MARK, strlen(MARK)))
    return failed(INVALID_IMAGE, "the module is not one of the stand-in's nvcc: was it built with another one?");
  text += strlen(MARK);
  const std::string source(text, strcspn(text, "\n"));
  text += source.size() + strlen("\n//");
  const std::string path(text, strcspn(text, "\n"));
  auto module = std::make_unique<Module>(Module{source, nullptr});
  // No library: a source that is left out, whose kernels are missing only once they are asked for.
  if (!path.empty()) {
    module->library = dlopen(chosen(path).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!module->library) return failed(INVALID_IMAGE, dlerror());
  }
  *out = module.release();
  return OK;
}

// The library stays: functions of it may be in use.
API Status cuModuleUnload(void *module) {
  delete static_cast<Module *>(module);
  return OK;
}

API Status cuModuleGetFunction(void **out, void *handle, const char *name) {
  ENTER(simulator().sticky);
  const Module &module = *static_cast<Module *>(handle);
  const std::string wanted = std::string("cudasim_call_") + name;
  void *call = module.library ? dlsym(module.library, wanted.c_str()) : nullptr;
  if (!call)
    return failed(NOT_FOUND, std::string("no extern \"C\" kernel ") + name + " in " + module.source +
                                 (module.library ? "" : ", which the stand-in leaves out"));
  // As many as are asked for; the driver keeps them until the program ends, too.
  *out = new Function{name, reinterpret_cast<Call>(call),
                      reinterpret_cast<Launch>(dlsym(module.library, "cudasim_launch")),
                      reinterpret_cast<Place>(dlsym(module.library, "cudasim_place"))};
  return OK;
}

API Status cuFuncSetAttribute(void *function, int attribute, int value) {
  if (attribute == 8) static_cast<Function *>(function)->shared = unsigned(value); // MAX_DYNAMIC_SHARED_SIZE_BYTES
  return OK;
}
API Status cuFuncGetAttribute(int *value, int attribute, void *) {
  *value = attribute == 0 ? 1024 : 0; // MAX_THREADS_PER_BLOCK
  return OK;
}

// What the driver refuses; null if it takes the launch.
static const char *refused(const unsigned grid[3], const unsigned block[3], unsigned shared, const Function &f) {
  if (!grid[0] || !grid[1] || !grid[2]) return "an empty grid";
  if (!block[0] || !block[1] || !block[2]) return "an empty block";
  if (uint64_t(block[0]) * block[1] * block[2] > 1024) return "over 1,024 threads in a block";
  if (block[2] > 64) return "over 64 threads along z";
  if (grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535) return "too big a grid";
  if (shared > f.shared) return "more shared memory than the kernel may use";
  return nullptr;
}

API Status cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, void *, void **args, void **) {
  ENTER(simulator().sticky);
  const Function &f = *static_cast<Function *>(function);
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  if (const char *why = refused(grid, block, shared, f)) {
    char text[256];
    snprintf(text, sizeof text, "launch of %s refused: %s (grid %u,%u,%u, block %u,%u,%u, %u bytes shared)",
             f.name.c_str(), why, gx, gy, gz, bx, by, bz, shared);
    return failed(INVALID_VALUE, text);
  }
  const Counted counted("kernel " + f.name, 0);
  simulator().place = f.place;
  const char *error = f.launch(f.call, args, grid, block, shared);
  simulator().place = nullptr;
  // A GPU reports it at a later call; the launch itself has succeeded.
  if (error) simulator().sticky = failed(ASSERT, "kernel " + f.name + ": " + error);
  return OK;
}
