// The only place with OpenMP pragmas (parallel.cpp). Everything above hands it a task count and a task function.
#pragma once

#include <cstdint>

namespace convlens {

// `thread` is in [0, threads) and indexes per-thread scratch; tasks run in any order and must not depend on it.
using TaskFunction = void (*)(void* context, std::int64_t task, int thread);

// Runs `tasks` tasks on at most `threads` threads. Each thread sets flush-to-zero for the region and restores it after.
// After fork() the child's regions run from a fresh thread, so a stale OpenMP team is never touched.
void parallel_for(std::int64_t tasks, int threads, TaskFunction function, void* context);

int max_threads();  // what a lone call may use: set_max_threads, CONVLENS_NUM_THREADS, OMP_NUM_THREADS, cores
void set_max_threads(int threads);  // threads >= 1
bool openmp_enabled();

// Counts calls in flight; a call takes max(1, max_threads() / calls in flight) threads.
class CallGuard {
  public:
    CallGuard();
    ~CallGuard();
    CallGuard(const CallGuard&) = delete;
    CallGuard& operator=(const CallGuard&) = delete;
    int threads() const { return threads_; }

  private:
    int threads_;
};

}  // namespace convlens
