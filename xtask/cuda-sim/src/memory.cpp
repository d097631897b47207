// Device memory, which is host memory: allocations, copies, fills.
#include "sim.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

namespace cudasim {

constexpr size_t PAGE = 4096;

static size_t device_bytes() {
  static const size_t bytes = setting("CUDASIM_MEMORY", uint64_t(16) << 30);
  return bytes;
}

static size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// Ends where its last page does, with one behind it that cannot be touched. The start keeps the 16 bytes that vector
// types want, so up to 15 bytes behind the end go unseen.
static char *guarded(size_t bytes) {
  const size_t body = rounded(bytes, PAGE);
  void *pages = mmap(nullptr, body + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  char *const start = static_cast<char *>(pages);
  mprotect(start + body, PAGE, PROT_NONE);
  return start + (body - rounded(bytes, 16));
}

Status allocate(Address *out, size_t bytes) {
  Simulator &s = simulator();
  if (bytes == 0) return failed(INVALID_VALUE, "an allocation of 0 bytes");
  if (bytes > device_bytes() - std::min(s.live, device_bytes())) return failed(OUT_OF_MEMORY, "out of memory");
  char *p = s.guard ? guarded(bytes) : static_cast<char *>(aligned_alloc(256, rounded(bytes, 256)));
  if (!p) return failed(OUT_OF_MEMORY, "out of memory on the host");
  memset(p, 0xff, bytes); // NaN, so that reading what nothing wrote shows
  *out = reinterpret_cast<Address>(p);
  s.memory[*out] = bytes;
  s.live += bytes;
  s.peak = std::max(s.peak, s.live);
  return OK;
}

Status release(Address start) {
  Simulator &s = simulator();
  const auto at = s.memory.find(start);
  if (at == s.memory.end()) return start ? failed(INVALID_VALUE, "a free of what is not allocated") : OK;
  s.live -= at->second;
  if (s.guard) {
    // Touching it again faults.
    munmap(reinterpret_cast<char *>(start / PAGE * PAGE), rounded(at->second, PAGE) + PAGE);
  } else {
    free(reinterpret_cast<void *>(start));
  }
  s.memory.erase(at);
  return OK;
}

bool owned(Address start, size_t bytes) {
  const auto &memory = simulator().memory;
  auto at = memory.upper_bound(start);
  if (at == memory.begin()) return false;
  --at;
  return start + bytes <= at->first + at->second;
}

// Copies after checking the sides that are on the device; 0 for one that is not.
static Status copy(const char *what, void *to, const void *from, size_t bytes, Address device_to, Address device_from) {
  ENTER(simulator().sticky);
  const Counted counted(what, bytes);
  if (bytes == 0) return OK;
  for (const Address side : {device_to, device_from})
    if (side && !owned(side, bytes)) return failed(INVALID_VALUE, std::string(what) + ": outside of any allocation");
  memmove(to, from, bytes);
  return OK;
}

static void *host(Address p) { return reinterpret_cast<void *>(p); }

} // namespace cudasim

using namespace cudasim;

API Status cuMemGetInfo_v2(size_t *free, size_t *total) {
  ENTER(simulator().sticky);
  *total = device_bytes();
  *free = *total - simulator().live;
  return OK;
}
API Status cuDeviceTotalMem_v2(size_t *bytes, int) {
  *bytes = device_bytes();
  return OK;
}
API Status cuMemAlloc_v2(Address *p, size_t bytes) {
  ENTER(simulator().sticky);
  const Counted counted("malloc", bytes);
  return allocate(p, bytes);
}
API Status cuMemAllocAsync(Address *p, size_t bytes, void *) {
  ENTER(simulator().sticky);
  const Counted counted("malloc", bytes);
  *p = 0;
  // The stream-ordered allocator gives a null pointer for nothing.
  return bytes == 0 ? OK : allocate(p, bytes);
}
API Status cuMemFree_v2(Address p) {
  ENTER(simulator().sticky);
  return release(p);
}
API Status cuMemFreeAsync(Address p, void *) { return cuMemFree_v2(p); }

API Status cuMemcpyHtoD_v2(Address to, const void *from, size_t bytes) {
  return copy("copy host to device", host(to), from, bytes, to, 0);
}
API Status cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *) {
  return cuMemcpyHtoD_v2(to, from, bytes);
}
API Status cuMemcpyDtoH_v2(void *to, Address from, size_t bytes) {
  // One number ends a step; more than that is what a step should not need.
  return copy(bytes <= 8 ? "copy of a number to the host" : "copy device to host", to, host(from), bytes, 0, from);
}
API Status cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *) { return cuMemcpyDtoH_v2(to, from, bytes); }
API Status cuMemcpyDtoD_v2(Address to, Address from, size_t bytes) {
  return copy("copy on device", host(to), host(from), bytes, to, from);
}
API Status cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *) {
  return cuMemcpyDtoD_v2(to, from, bytes);
}

API Status cuMemsetD8_v2(Address p, unsigned char value, size_t bytes) {
  ENTER(simulator().sticky);
  const Counted counted("memset", bytes);
  if (bytes == 0) return OK;
  if (!owned(p, bytes)) return failed(INVALID_VALUE, "memset: outside of any allocation");
  memset(host(p), value, bytes);
  return OK;
}
API Status cuMemsetD8Async(Address p, unsigned char value, size_t bytes, void *) { return cuMemsetD8_v2(p, value, bytes); }

// One pool, which gives everything back at once: its attributes have nothing to change.
static int pool;
static uint64_t release_threshold;
API Status cuDeviceGetDefaultMemPool(void **out, int) {
  *out = &pool;
  return OK;
}
API Status cuDeviceGetMemPool(void **out, int device) { return cuDeviceGetDefaultMemPool(out, device); }
API Status cuMemPoolSetAttribute(void *, int attribute, void *value) {
  if (attribute == 4) memcpy(&release_threshold, value, sizeof release_threshold); // RELEASE_THRESHOLD
  return OK;
}
API Status cuMemPoolGetAttribute(void *, int attribute, void *value) {
  if (attribute == 4) memcpy(value, &release_threshold, sizeof release_threshold);
  return OK;
}
API Status cuMemPoolTrimTo(void *, size_t) { return OK; }
