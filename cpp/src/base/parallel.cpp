#include "base/parallel.hpp"

#include <atomic>
#include <thread>

#include "base/float_mode.hpp"
#include "base/threads.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(_OPENMP) && !defined(_WIN32)
#include <pthread.h>
#endif

namespace convlens {
namespace {

std::atomic<int> g_max_threads{0};  // 0: not set yet
std::atomic<int> g_calls{0};

void run_alone(std::int64_t tasks, TaskFunction function, void* context) {
    const FloatMode mode;
    for (std::int64_t task = 0; task < tasks; ++task) function(context, task, 0);
}

#if defined(_OPENMP)

struct Region {
    std::int64_t tasks;
    int threads;
    TaskFunction function;
    void* context;
};

// Tasks not yet handed out: each thread begins with a run of its own, then helps the others with theirs.
struct alignas(64) Share {
    std::atomic<std::int64_t> next;
    std::int64_t end;
};
constexpr int kMostShares = 32;
constexpr int kSpins = 20000, kYields = 64;  // some 10 and 40 us (Zen 4)

void run_region(const Region& region) {
    // Which thread runs a task may not change a result, and on a busy machine the slower thread then takes fewer. The
    // same run of tasks, and so of rows or channels, falls to a thread time and again: they are in its cache. Handing
    // out several at once keeps the counters cool when tasks are many and small.
    const int shares = region.threads < kMostShares ? region.threads : kMostShares;
    const std::int64_t step = region.tasks / (static_cast<std::int64_t>(region.threads) * 32) + 1;
    Share share[kMostShares];
    for (int i = 0; i < shares; ++i) {
        share[i].next.store(region.tasks * i / shares, std::memory_order_relaxed);
        share[i].end = region.tasks * (i + 1) / shares;
    }
    std::atomic<int> done{0};
    const int waits = threads_sleep() ? kSpins : kSpins + kYields, caller = current_processor();
#pragma omp parallel num_threads(region.threads)
    {
        const FloatMode mode;
        const int thread = omp_get_thread_num();
        if (thread != 0) leave_processor(caller, region.threads);
        for (int i = 0; i < shares; ++i) {
            Share& from = share[(thread + i) % shares];
            for (;;) {
                const std::int64_t first = from.next.fetch_add(step, std::memory_order_relaxed);
                if (first >= from.end) break;
                const std::int64_t last = first + step < from.end ? first + step : from.end;
                for (std::int64_t task = first; task < last; ++task) region.function(region.context, task, thread);
            }
        }
        // Who falls asleep at the end must be woken too: the caller stays awake for as long as a last task takes. Where
        // OpenMP would now spin, it yields first, to a thread that waits for this very processor.
        if (thread != 0) done.fetch_add(1, std::memory_order_relaxed);
        const int others = omp_get_num_threads() - 1;  // fewer than asked for under OMP_THREAD_LIMIT, or nested
        for (int i = 0; thread == 0 && i < waits && done.load(std::memory_order_relaxed) < others; ++i) {
            if (i >= kSpins) std::this_thread::yield();
        }
    }
}

#if defined(_WIN32)

void enter_region(const Region& region) { run_region(region); }

#else

// After fork() the forking thread still believes in a team whose threads did not survive, and OpenMP would wait for
// them for ever. Only that thread is marked: its regions run from a helper thread, which builds a team of its own. A
// process has at most one such thread, so one helper is enough.
thread_local bool t_team_is_stale = false;

pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t g_changed = PTHREAD_COND_INITIALIZER;
bool g_helper_runs = false;
const Region* g_work = nullptr;  // set by the stale thread, cleared by the helper when done

void after_fork_in_child() {
    t_team_is_stale = true;
    g_helper_runs = false;
    g_work = nullptr;
    g_calls.store(0);
    // Whoever held them in the parent does not exist here.
    pthread_mutex_init(&g_mutex, nullptr);
    pthread_cond_init(&g_changed, nullptr);
}

__attribute__((constructor)) void watch_forks() { pthread_atfork(nullptr, nullptr, after_fork_in_child); }

void* help(void*) {
    pthread_mutex_lock(&g_mutex);
    for (;;) {
        while (g_work == nullptr) pthread_cond_wait(&g_changed, &g_mutex);
        const Region* work = g_work;
        pthread_mutex_unlock(&g_mutex);
        run_region(*work);
        pthread_mutex_lock(&g_mutex);
        g_work = nullptr;
        pthread_cond_broadcast(&g_changed);
    }
    return nullptr;
}

void enter_region(const Region& region) {
    if (!t_team_is_stale) {
        run_region(region);
        return;
    }
    if (!g_helper_runs) {
        pthread_t helper;
        if (pthread_create(&helper, nullptr, help, nullptr) != 0) {
            run_alone(region.tasks, region.function, region.context);
            return;
        }
        pthread_detach(helper);
        g_helper_runs = true;
    }
    pthread_mutex_lock(&g_mutex);
    g_work = &region;
    pthread_cond_broadcast(&g_changed);
    while (g_work != nullptr) pthread_cond_wait(&g_changed, &g_mutex);
    pthread_mutex_unlock(&g_mutex);
}

#endif
#endif  // _OPENMP

}  // namespace

void parallel_for(std::int64_t tasks, int threads, TaskFunction function, void* context) {
    if (tasks <= 0) return;
#if defined(_OPENMP)
    if (threads > tasks) threads = static_cast<int>(tasks);
    if (threads > 1) {
        const Region region = {tasks, threads, function, context};
        enter_region(region);
        return;
    }
#else
    (void)threads;
#endif
    run_alone(tasks, function, context);
}

bool openmp_enabled() {
#if defined(_OPENMP)
    return true;
#else
    return false;
#endif
}

int max_threads() {
    int threads = g_max_threads.load(std::memory_order_relaxed);
    if (threads == 0) {
        threads = threads_from_environment("CONVLENS_NUM_THREADS");
        if (threads == 0) threads = threads_from_environment("OMP_NUM_THREADS");
        if (threads == 0) threads = available_cores();
        if (!openmp_enabled()) threads = 1;
        int unset = 0;
        // set_max_threads may have been called meanwhile: it wins.
        if (!g_max_threads.compare_exchange_strong(unset, threads)) threads = unset;
    }
    return threads;
}

void set_max_threads(int threads) {
    g_max_threads.store(threads < 1 || !openmp_enabled() ? 1 : threads, std::memory_order_relaxed);
}

CallGuard::CallGuard() {
    const int calls = g_calls.fetch_add(1, std::memory_order_relaxed) + 1;
    const int share = max_threads() / calls;
    threads_ = share < 1 ? 1 : share;
}

CallGuard::~CallGuard() { g_calls.fetch_sub(1, std::memory_order_relaxed); }

}  // namespace convlens
