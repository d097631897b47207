// The state of the one device, its counters, and the message for a fault.
#include "sim.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <utility>
#include <vector>

namespace cudasim {

static bool switched_on(const char *name) {
  const char *value = getenv(name);
  return value && *value && strcmp(value, "0");
}

uint64_t setting(const char *name, uint64_t otherwise) {
  const char *value = getenv(name);
  return value && *value ? strtoull(value, nullptr, 10) : otherwise;
}

Simulator::Simulator() : guard(switched_on("CUDASIM_GUARD")), stats(switched_on("CUDASIM_STATS")) {}

// One line for each kind of call, the most frequent first.
static void print(const char *what, const std::map<std::string, Counter> &counters) {
  std::vector<std::pair<std::string, Counter>> all(counters.begin(), counters.end());
  std::stable_sort(all.begin(), all.end(), [](auto &a, auto &b) { return a.second.calls > b.second.calls; });
  for (const auto &[name, c] : all)
    fprintf(stderr, "%s: %9llu x %-34s %12llu bytes %10.3f ms\n", what, static_cast<unsigned long long>(c.calls),
            name.c_str(), static_cast<unsigned long long>(c.bytes), c.seconds * 1e3);
}

Simulator::~Simulator() {
  if (!stats) return;
  fprintf(stderr, "cudasim: peak memory %.3f MB\n", double(peak) / 1e6);
  print("cudasim", counters);
}

void Simulator::start_range() {
  if (in_range_) return;
  before_range_ = counters;
  in_range_ = true;
}

void Simulator::stop_range() {
  if (!in_range_) return;
  in_range_ = false;
  if (!stats) return;
  std::map<std::string, Counter> range;
  for (const auto &[name, c] : counters) {
    const Counter &before = before_range_[name];
    if (c.calls > before.calls)
      range[name] = {c.calls - before.calls, c.bytes - before.bytes, c.seconds - before.seconds};
  }
  print("cudasim range", range);
}

Simulator &simulator() {
  static Simulator *const state = new Simulator;
  // Destroyed when the program exits, which prints; made first here, so that it goes last.
  static struct AtExit {
    ~AtExit() { delete state; }
  } at_exit;
  return *state;
}

Counted::Counted(const std::string &name, size_t bytes) : counter_(simulator().counters[name]) {
  counter_.calls++;
  counter_.bytes += bytes;
  simulator().running = name;
}

Counted::~Counted() {
  counter_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  simulator().running.clear();
}

Status failed(Status status, const std::string &cause) {
  fprintf(stderr, "cudasim: %s\n", cause.c_str());
  simulator().cause = cause;
  return status;
}

// The program ends here, and no other thread runs code of the stand-in: what a signal handler should not call is harmless.
static void on_fault(int, siginfo_t *info, void *) {
  const Simulator &s = simulator();
  const Address at = reinterpret_cast<Address>(info->si_addr);
  char place[128] = "host code", after[128] = "", text[512];
  if (s.place) s.place(place, sizeof place);
  auto next = s.memory.upper_bound(at);
  if (next != s.memory.begin()) {
    --next;
    snprintf(after, sizeof after, ", %llu bytes behind the end of an allocation of %zu",
             static_cast<unsigned long long>(at - next->first - next->second), next->second);
  }
  const int n = snprintf(text, sizeof text, "cudasim: illegal address %p in %s (%s)%s\n", info->si_addr,
                         s.running.empty() ? "no call of the device" : s.running.c_str(), place, after);
  const ssize_t written = write(STDERR_FILENO, text, size_t(n));
  _exit(written < 0 ? 135 : 134);
}

void report_faults() {
  if (!simulator().guard) return;
  // The stack that overflowed may be the one of the kernel.
  static char stack[64 << 10];
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
}

} // namespace cudasim

// What a function that the stand-in lacks calls (`cargo xtask test-cuda` writes them from the bindings).
API int cudasim_missing(const char *name, int status) {
  using namespace cudasim;
  std::lock_guard<std::recursive_mutex> held(simulator().lock);
  failed(status, std::string(name) + " is not part of the stand-in (xtask/cuda-sim/README.md)");
  return status;
}
// A function without a result cannot report it: every later call of the driver does.
API int cudasim_missing_void(const char *name) {
  using namespace cudasim;
  std::lock_guard<std::recursive_mutex> held(simulator().lock);
  return simulator().sticky =
             failed(NOT_SUPPORTED, std::string(name) + " is not part of the stand-in (xtask/cuda-sim/README.md)");
}
