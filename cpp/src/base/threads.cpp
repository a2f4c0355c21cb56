#include "base/threads.hpp"

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#if defined(__linux__)
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <unistd.h>
#endif

namespace convlens {

int threads_from_environment(const char* name) {
    const char* text = std::getenv(name);
    if (text == nullptr) return 0;
    const long value = std::strtol(text, nullptr, 10);
    return value >= 1 && value <= 4096 ? static_cast<int>(value) : 0;
}

bool threads_sleep() {
    static const bool sleep = [] {
        const char* count = std::getenv("GOMP_SPINCOUNT");
        if (count != nullptr) return std::strcmp(count, "0") == 0;
        const char* policy = std::getenv("OMP_WAIT_POLICY");
        return policy != nullptr && (policy[0] == 'p' || policy[0] == 'P');
    }();
    return sleep;
}

double now_ns() {
    timespec now;
#if defined(_WIN32)
    timespec_get(&now, TIME_UTC);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return 1e9 * static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec);
}

#if defined(__linux__)

int current_processor() { return sched_getcpu(); }

void leave_processor(int processor, int threads) {
    if (sched_getcpu() != processor) return;
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) < threads) return;
    cpu_set_t others = all;
    CPU_CLR(static_cast<std::size_t>(processor), &others);
    // The first call moves the thread, the second leaves its mask as it was.
    if (sched_setaffinity(0, sizeof(others), &others) == 0) sched_setaffinity(0, sizeof(all), &all);
}

#else

int current_processor() { return -1; }
void leave_processor(int, int) {}

#endif

int cores_of_quota(const char* text) {
    char* rest = nullptr;
    const long long quota = std::strtoll(text, &rest, 10);
    if (rest == text || quota <= 0) return 0;
    const long long period = std::strtoll(rest, nullptr, 10);
    if (period <= 0) return 0;
    const long long cores = (quota - 1) / period + 1;
    return cores > INT_MAX ? 0 : static_cast<int>(cores);
}

#if defined(__linux__)
namespace {

// Whole text of a small file; false when it cannot be read.
bool read_text(const char* path, char* text, std::size_t size) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    const ssize_t count = read(file, text, size - 1);
    close(file);
    if (count < 0) return false;
    text[count] = '\0';
    return true;
}

int smaller(int cores, int quota) { return quota > 0 && quota < cores ? quota : cores; }

// v2: every cgroup from ours up to the root may carry a quota. `path` is cut short on the way.
int quota_v2(char* path, int cores) {
    char file[640], text[128];
    for (;;) {
        std::snprintf(file, sizeof(file), "/sys/fs/cgroup%s/cpu.max", path);
        if (read_text(file, text, sizeof(text))) cores = smaller(cores, cores_of_quota(text));
        char* slash = std::strrchr(path, '/');
        if (slash == nullptr) return cores;
        *slash = '\0';
    }
}

int quota_v1(int cores) {
    char quota[64], period[64], both[128];
    if (!read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof(quota))) return cores;
    if (!read_text("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof(period))) return cores;
    std::snprintf(both, sizeof(both), "%s %s", quota, period);
    return smaller(cores, cores_of_quota(both));
}

int quota(int cores) {
    char groups[2048];
    if (read_text("/proc/self/cgroup", groups, sizeof(groups))) {
        char* line = std::strncmp(groups, "0::", 3) == 0 ? groups : std::strstr(groups, "\n0::");
        if (line != nullptr) {
            char path[512];
            const char* from = std::strstr(line, "0::") + 3;
            const std::size_t length = std::strcspn(from, "\n");
            if (length < sizeof(path)) {
                std::memcpy(path, from, length);
                path[length] = '\0';
                if (std::strcmp(path, "/") == 0) path[0] = '\0';
                cores = quota_v2(path, cores);
            }
        }
    }
    return quota_v1(cores);
}

}  // namespace
#endif

int available_cores() {
    int cores = 1;
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    // A machine with more than 1024 processors does not fit the set: then count what is online.
    const bool known = sched_getaffinity(0, sizeof(set), &set) == 0;
    cores = known ? CPU_COUNT(&set) : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    cores = quota(cores);
#elif defined(_WIN32)
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    cores = static_cast<int>(system.dwNumberOfProcessors);
#else
    cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
#endif
    return cores < 1 ? 1 : cores;
}

}  // namespace convlens
