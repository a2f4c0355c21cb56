// How many threads this process may use: environment, affinity, container quota.
#pragma once

namespace convlens {

// min(processors in the affinity mask, the cgroup's cpu quota rounded up); at least 1.
int available_cores();

// The first positive integer of an environment variable such as "4" or "4,2"; 0 when unset or not a number.
int threads_from_environment(const char* name);

// Whether OpenMP's threads were told to sleep as soon as they have nothing to do (OMP_WAIT_POLICY, GOMP_SPINCOUNT).
bool threads_sleep();

// Nanoseconds since some moment, for spans of time.
double now_ns();

// The processor this thread runs on; -1 where that cannot be asked.
int current_processor();

// Moves this thread to another processor of its affinity mask if it runs on `processor` and the mask has one for each
// of `threads`. Linux wakes a thread beside the one that woke it when all others look taken; those of a virtual machine
// do while they are halted, so two threads took turns on one processor and left the other idle.
void leave_processor(int processor, int threads);

// The quota of a cgroup v2 `cpu.max` ("150000 100000" is 2 cores, "max 100000" none: 0); exposed for tests.
int cores_of_quota(const char* text);

}  // namespace convlens
