// The scheduler: blocks one after another, in each the warps, in each the lanes. CUDASIM_ORDER=reverse turns all three
// around: a kernel whose result changes with it has a race.
#pragma once

namespace cudasim {

// Lets the exchange of lane `l` take place if every lane that its mask names is there.
inline bool exchange(Fiber *lanes, unsigned width, unsigned l) {
  const uint32_t mask = lanes[l].mask;
  for (unsigned i = 0; i < width; i++)
    if (mask >> i & 1 && (lanes[i].state != State::Warp || lanes[i].mask != mask)) return false;
  for (unsigned i = 0; i < width; i++) {
    if (!(mask >> i & 1)) continue;
    for (unsigned j = 0; j < width; j++) lanes[i].seen[j] = lanes[j].posted;
    lanes[i].state = State::Ready;
  }
  return true;
}

// Runs a warp until each of its lanes waits for the block or is done; false if nothing could run.
inline bool run_warp(unsigned first, unsigned width) {
  Fiber *lanes = m.fibers + first;
  bool any = false;
  for (;;) {
    bool ran = false;
    for (unsigned k = 0; k < width && !m.error; k++) {
      const unsigned l = m.reverse ? width - 1 - k : k;
      if (lanes[l].state != State::Ready) continue;
      resume(first + l);
      ran = true;
    }
    if (m.error) return true;
    for (unsigned l = 0; l < width; l++)
      if (lanes[l].state == State::Warp) ran |= exchange(lanes, width, l);
    if (!ran) return any;
    any = true;
  }
}

// Opens the barrier if all live threads wait at it, as hardware does: threads that have ended are not waited for.
// False if the block is done or cannot go on.
inline bool next_phase(bool ran) {
  unsigned live = 0, waiting = 0;
  for (unsigned t = 0; t < m.count; t++) {
    live += m.fibers[t].state != State::Done;
    waiting += m.fibers[t].state == State::Block;
  }
  if (!live) return false;
  if (waiting == live) {
    for (unsigned t = 0; t < m.count; t++)
      if (m.fibers[t].state == State::Block) m.fibers[t].state = State::Ready;
  } else if (!ran) {
    snprintf(m.message, sizeof m.message,
             "block %u,%u,%u: %u threads are in a warp exchange whose mask names lanes that do not come; %u wait at "
             "__syncthreads, %u have ended",
             m.at.x, m.at.y, m.at.z, live - waiting, waiting, m.count - live);
    m.error = m.message;
    return false;
  }
  return true;
}

inline void run_block() {
  for (unsigned t = 0; t < m.count; t++) {
    m.fibers[t].sp = nullptr;
    m.fibers[t].stack = -1;
    m.fibers[t].state = State::Ready;
  }
  const unsigned warps = (m.count + WARP - 1) / WARP;
  bool ran;
  do {
    ran = false;
    for (unsigned k = 0; k < warps; k++) {
      const unsigned first = (m.reverse ? warps - 1 - k : k) * WARP;
      ran |= run_warp(first, m.count - first < WARP ? m.count - first : WARP);
      if (m.error) return;
    }
  } while (next_phase(ran));
}

// Passes the driver's array of pointers to arguments on as arguments.
template <class... A, size_t... I>
inline void call(void (*kernel)(A...), void **args, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_cv_t<std::remove_reference_t<A>> *>(args[I])...);
}
template <class... A> inline void call(void (*kernel)(A...), void **args) {
  call(kernel, args, std::index_sequence_for<A...>());
}

} // namespace cudasim

// Runs `call` over a grid; returns null, or what went wrong.
extern "C" const char *cudasim_launch(void (*call)(void **), void **args, const unsigned *grid, const unsigned *block,
                                      size_t shared) {
  using namespace cudasim;
  m.grid = {grid[0], grid[1], grid[2]};
  m.block = {block[0], block[1], block[2]};
  m.count = block[0] * block[1] * block[2];
  m.call = call;
  m.args = args;
  m.error = nullptr;
  const char *order = getenv("CUDASIM_ORDER");
  m.reverse = order && !strcmp(order, "reverse");
  const uint64_t blocks = uint64_t(grid[0]) * grid[1] * grid[2];
  for (uint64_t k = 0; k < blocks && !m.error; k++) {
    const uint64_t b = m.reverse ? blocks - 1 - k : k;
    m.at = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]), unsigned(b / grid[0] / grid[1])};
    // What the block before left must not be found there.
    memset(dynamic_shared, 0xff, shared);
    run_block();
  }
  return m.error;
}

// Where the kernel is, for a message about an address that it may not touch.
extern "C" void cudasim_place(char *text, size_t size) {
  using namespace cudasim;
  snprintf(text, size, "block %u,%u,%u thread %u,%u,%u", m.at.x, m.at.y, m.at.z, m.thread.x, m.thread.y, m.thread.z);
}
