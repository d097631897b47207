// The driver's devices, contexts, streams and events. Everything has happened when a call returns, so a stream is a
// handle and no more, and races between streams cannot be seen.
#include "sim.h"

#include <chrono>
#include <cstdio>

using namespace cudasim;

static int devices() { return int(setting("CUDASIM_DEVICES", 1)); }

API Status cuInit(unsigned) {
  static const bool once = (report_faults(), true);
  if (!setting("CUDASIM_DRIVER", 1)) return failed(STUB_LIBRARY, "no driver: CUDASIM_DRIVER=0");
  if (!devices()) return failed(NO_DEVICE, "no device: CUDASIM_DEVICES=0");
  return once ? OK : INVALID_VALUE;
}
API Status cuDriverGetVersion(int *version) {
  *version = 13000;
  return OK;
}
API Status cuDeviceGetCount(int *count) {
  *count = devices();
  return OK;
}
API Status cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal < devices() ? OK : failed(INVALID_DEVICE, "no device of this number");
}
API Status cuDeviceGetName(char *name, int size, int) {
  snprintf(name, size_t(size), "stand-in on the CPU");
  return OK;
}
// Of a big GPU, where code may ask; 0 else.
API Status cuDeviceGetAttribute(int *value, int attribute, int) {
  const int capability = int(setting("CUDASIM_CAPABILITY", 90));
  switch (attribute) {
  case 1: *value = 1024; break;       // MAX_THREADS_PER_BLOCK
  case 8: *value = 48 << 10; break;   // MAX_SHARED_MEMORY_PER_BLOCK
  case 10: *value = 32; break;        // WARP_SIZE
  case 16: *value = 132; break;       // MULTIPROCESSOR_COUNT
  case 75: *value = capability / 10; break; // COMPUTE_CAPABILITY_MAJOR
  case 76: *value = capability % 10; break; // COMPUTE_CAPABILITY_MINOR
  case 97: *value = 227 << 10; break; // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
  case 115: *value = 1; break;        // MEMORY_POOLS_SUPPORTED
  default: *value = 0;
  }
  return OK;
}

static int context; // its address is the handle
static thread_local void *current;
API Status cuDevicePrimaryCtxRetain(void **out, int) {
  *out = &context;
  return OK;
}
API Status cuDevicePrimaryCtxRelease_v2(int) { return OK; }
API Status cuCtxGetCurrent(void **out) {
  *out = current;
  return OK;
}
API Status cuCtxSetCurrent(void *c) {
  current = c;
  return OK;
}
API Status cuCtxSynchronize() {
  ENTER(simulator().sticky);
  return OK;
}

API Status cuProfilerStart() {
  ENTER(simulator().sticky);
  simulator().start_range();
  return OK;
}
API Status cuProfilerStop() {
  ENTER(simulator().sticky);
  simulator().stop_range();
  return OK;
}

API Status cuGetErrorName(Status status, const char **text) {
  switch (status) {
  case OK: *text = "CUDA_SUCCESS"; break;
  case INVALID_VALUE: *text = "CUDA_ERROR_INVALID_VALUE"; break;
  case STUB_LIBRARY: *text = "CUDA_ERROR_STUB_LIBRARY"; break;
  case NO_DEVICE: *text = "CUDA_ERROR_NO_DEVICE"; break;
  case NO_BINARY_FOR_GPU: *text = "CUDA_ERROR_NO_BINARY_FOR_GPU"; break;
  case OUT_OF_MEMORY: *text = "CUDA_ERROR_OUT_OF_MEMORY"; break;
  case INVALID_DEVICE: *text = "CUDA_ERROR_INVALID_DEVICE"; break;
  case INVALID_IMAGE: *text = "CUDA_ERROR_INVALID_IMAGE"; break;
  case NOT_FOUND: *text = "CUDA_ERROR_NOT_FOUND"; break;
  case ASSERT: *text = "CUDA_ERROR_ASSERT"; break;
  case NOT_SUPPORTED: *text = "CUDA_ERROR_NOT_SUPPORTED"; break;
  default: *text = "CUDA_ERROR_UNKNOWN";
  }
  return OK;
}
// The driver has one sentence per status; here it is what happened last.
API Status cuGetErrorString(Status status, const char **text) {
  static thread_local std::string last;
  std::lock_guard<std::recursive_mutex> held(simulator().lock);
  if (status == OK || simulator().cause.empty()) return cuGetErrorName(status, text);
  last = simulator().cause;
  *text = last.c_str();
  return OK;
}

struct Event {
  std::chrono::steady_clock::time_point at;
};

API Status cuStreamCreate(void **out, unsigned) {
  *out = new char;
  return OK;
}
API Status cuStreamCreateWithPriority(void **out, unsigned flags, int) { return cuStreamCreate(out, flags); }
API Status cuStreamDestroy_v2(void *stream) {
  delete static_cast<char *>(stream);
  return OK;
}
API Status cuStreamSynchronize(void *) {
  ENTER(simulator().sticky);
  const Counted counted("synchronize", 0);
  return OK;
}
API Status cuStreamWaitEvent(void *, void *, unsigned) {
  ENTER(simulator().sticky);
  const Counted counted("wait for event", 0);
  return OK;
}
API Status cuStreamIsCapturing(void *, int *status) {
  *status = 0;
  return OK;
}
API Status cuEventCreate(void **out, unsigned) {
  ENTER(simulator().sticky);
  const Counted counted("event", 0);
  *out = new Event;
  return OK;
}
API Status cuEventDestroy_v2(void *event) {
  delete static_cast<Event *>(event);
  return OK;
}
API Status cuEventRecord(void *event, void *) {
  static_cast<Event *>(event)->at = std::chrono::steady_clock::now();
  return OK;
}
API Status cuEventSynchronize(void *) {
  ENTER(simulator().sticky);
  return OK;
}
API Status cuEventQuery(void *) {
  ENTER(simulator().sticky);
  return OK;
}
API Status cuEventElapsedTime_v2(float *milliseconds, void *from, void *to) {
  const auto passed = static_cast<Event *>(to)->at - static_cast<Event *>(from)->at;
  *milliseconds = std::chrono::duration<float, std::milli>(passed).count();
  return OK;
}
API Status cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  return cuEventElapsedTime_v2(milliseconds, from, to);
}
