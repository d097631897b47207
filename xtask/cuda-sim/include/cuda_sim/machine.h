// One block at a time: its threads are fibers of one host thread. A fiber runs until it meets a barrier or a warp
// exchange, or ends. So shared memory is a static variable, atomics are plain arithmetic, and a run is deterministic.
#pragma once

namespace cudasim {

constexpr unsigned WARP = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr size_t STACK = 128 << 10;
constexpr size_t MAX_SHARED = 227 << 10;

enum class State : uint8_t { Ready, Warp, Block, Done };

struct Fiber {
  void *sp;            // where it stopped; null before its first run
  int stack;           // index into the pool of stacks, -1 if none
  State state;
  uint32_t mask;       // of the warp exchange it waits in
  uint64_t posted;     // what it brought there
  uint64_t seen[WARP]; // what the lanes had brought when the exchange took place
};

struct Machine {
  dim3 grid, block, at, thread; // gridDim, blockDim, blockIdx, threadIdx
  void (*call)(void **);
  void **args;
  Fiber fibers[MAX_THREADS];
  unsigned count;   // threads of a block
  unsigned current; // the fiber that runs
  void *scheduler;  // stack pointer of the scheduler while a fiber runs
  char *stacks[MAX_THREADS];
  int free_stacks[MAX_THREADS];
  int free_count, made;
  bool reverse;     // CUDASIM_ORDER=reverse
  const char *error;
  char message[512];
};

// One per library of kernels; the driver's lock lets one launch run at a time.
static Machine m;
alignas(1024) static char dynamic_shared[MAX_SHARED];

// Saves the registers that a call preserves and the stack pointer, and goes on where `to` was saved.
extern "C" void cudasim_switch(void **save, void *to) __attribute__((visibility("hidden")));
#if defined(__x86_64__)
constexpr int SAVED = 6; // registers that cudasim_switch pops
asm(R"(
.text
.hidden cudasim_switch
.globl cudasim_switch
.type cudasim_switch,@function
cudasim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cudasim_switch,.-cudasim_switch
)");
#else
#error "the stand-in for CUDA runs on x86-64; another processor needs its own cudasim_switch"
#endif

inline void to_scheduler() { cudasim_switch(&m.fibers[m.current].sp, m.scheduler); }

// Where a fiber begins; its stack is given back by the scheduler, so it never returns.
[[noreturn]] inline void fiber_main() {
  m.call(m.args);
  m.fibers[m.current].state = State::Done;
  to_scheduler();
  abort();
}

// Ends the launch with an error that names the place; the first one counts.
[[noreturn]] inline void fail(const char *what) {
  if (!m.error) {
    snprintf(m.message, sizeof m.message, "%s (block %u,%u,%u thread %u,%u,%u)", what, m.at.x, m.at.y, m.at.z,
             m.thread.x, m.thread.y, m.thread.z);
    m.error = m.message;
  }
  m.fibers[m.current].state = State::Done;
  to_scheduler();
  abort();
}

// Gives a fiber a stack on which cudasim_switch finds zeros for the registers and fiber_main to return to.
inline void prepare(Fiber &f) {
  if (!m.free_count) {
    m.stacks[m.made] = static_cast<char *>(aligned_alloc(64, STACK));
    m.free_stacks[m.free_count++] = m.made++;
  }
  f.stack = m.free_stacks[--m.free_count];
  void **top = reinterpret_cast<void **>(m.stacks[f.stack] + STACK);
  *--top = nullptr; // keeps the alignment that a call leaves behind
  *--top = reinterpret_cast<void *>(&fiber_main);
  for (int i = 0; i < SAVED; i++) *--top = nullptr;
  f.sp = top;
}

inline void resume(unsigned t) {
  Fiber &f = m.fibers[t];
  if (!f.sp) prepare(f);
  m.current = t;
  m.thread = {t % m.block.x, t / m.block.x % m.block.y, t / (m.block.x * m.block.y)};
  cudasim_switch(&m.scheduler, f.sp);
  if (f.state == State::Done && f.stack >= 0) {
    m.free_stacks[m.free_count++] = f.stack;
    f.stack = -1;
  }
}

inline void block_barrier() {
  m.fibers[m.current].state = State::Block;
  to_scheduler();
}

// Brings `value` to the lanes of `mask` and returns what each of them brought.
inline const uint64_t *warp_exchange(uint32_t mask, uint64_t value) {
  Fiber &f = m.fibers[m.current];
  const unsigned lane = m.current % WARP, first = m.current - lane;
  const unsigned width = m.count - first < WARP ? m.count - first : WARP;
  if (width < WARP) mask &= (1u << width) - 1;
  if (!(mask >> lane & 1)) fail("a lane takes part in a warp exchange whose mask leaves it out");
  f.mask = mask;
  f.posted = value;
  f.state = State::Warp;
  to_scheduler();
  return f.seen;
}

} // namespace cudasim
