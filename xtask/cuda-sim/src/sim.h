// What the parts of the stand-in share: the status codes, the state of the one device, the counters.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

namespace cudasim {

// CUresult; the other libraries' codes are beside their functions.
using Status = int;
enum : Status {
  OK = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  STUB_LIBRARY = 34,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  NO_BINARY_FOR_GPU = 209,
  NOT_FOUND = 500,
  ILLEGAL_ADDRESS = 700,
  ASSERT = 710,
  NOT_SUPPORTED = 801,
};

using Address = uint64_t; // CUdeviceptr

struct Counter {
  uint64_t calls = 0, bytes = 0;
  double seconds = 0;
};

struct Simulator {
  std::recursive_mutex lock;
  std::map<Address, size_t> memory; // start -> bytes
  size_t live = 0, peak = 0;
  Status sticky = OK; // after a failed kernel every call fails, as on a GPU
  std::string cause;  // of the last error, for cuGetErrorString
  std::map<std::string, Counter> counters;
  std::string running; // the kernel or product that runs
  // Writes where in its grid a kernel is; null while none runs.
  void (*place)(char *, size_t) = nullptr;
  const bool guard, stats;

  Simulator();
  ~Simulator(); // prints the counters

  // The counters of a part of the program, between a profiler's start and stop: they are printed by the stop.
  void start_range();
  void stop_range();

private:
  std::map<std::string, Counter> before_range_;
  bool in_range_ = false;
};

// A number in the environment, or the one that holds without it.
uint64_t setting(const char *name, uint64_t otherwise);

// Lives until the program exits, longer than what Rust drops.
Simulator &simulator();

// Counts a call and its time, and is what a fault is blamed on while it lasts.
class Counted {
public:
  Counted(const std::string &name, size_t bytes);
  ~Counted();

private:
  Counter &counter_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Prints what went wrong, keeps it for cuGetErrorString, and returns the status.
Status failed(Status status, const std::string &cause);

// Names the code that touched memory that it may not, and ends the program; for CUDASIM_GUARD=1.
void report_faults();

Status allocate(Address *out, size_t bytes);
Status release(Address start);
// Whether [start, start + bytes) lies in one allocation.
bool owned(Address start, size_t bytes);

} // namespace cudasim

// Every entry of the driver and of the libraries: one at a time, and none after a kernel has failed.
#define ENTER(STICKY)                                                          \
  std::lock_guard<std::recursive_mutex> held(cudasim::simulator().lock);       \
  if (cudasim::simulator().sticky != cudasim::OK) return STICKY
