#include "base/parallel.hpp"

#include <atomic>
#include <cfloat>

#include "base/threads.hpp"
#include "harness.hpp"

namespace {

struct Counts {
    std::atomic<int> of[100];
    std::atomic<int> bad_thread{0};
    int threads;
};

void count(void* context, std::int64_t task, int thread) {
    Counts& counts = *static_cast<Counts*>(context);
    ++counts.of[task];
    if (thread < 0 || thread >= counts.threads) ++counts.bad_thread;
}

}  // namespace

TEST(every_task_runs_once_whatever_the_thread_count) {
    for (int threads : {1, 2, 3, 200}) {
        Counts counts{};
        counts.threads = threads;
        convlens::parallel_for(100, threads, count, &counts);
        for (const auto& runs : counts.of) CHECK(runs == 1);
        CHECK(counts.bad_thread == 0);
    }
}

TEST(tasks_flush_subnormals_and_the_caller_keeps_them) {
    volatile float small = FLT_MIN;
    for (int threads : {1, 2}) {
        std::atomic<int> kept{0};
        convlens::parallel_for(
            64, threads,
            [](void* context, std::int64_t, int) {
                volatile float tiny = FLT_MIN;
                tiny = tiny * 0.5f;
                if (tiny != 0.0f) ++*static_cast<std::atomic<int>*>(context);
            },
            &kept);
        CHECK(kept == 0);
        volatile float half = small * 0.5f;
        CHECK(half != 0.0f);
    }
}

TEST(a_thread_leaves_a_processor_for_another_of_its_mask) {
    const int cores = convlens::available_cores();
    int left = 0, stayed = 0;
    for (int i = 0; i < 20; ++i) {  // the kernel may move it meanwhile
        const int here = convlens::current_processor();
        convlens::leave_processor(here, cores);
        left += convlens::current_processor() != here;
        const int now = convlens::current_processor();
        convlens::leave_processor(now + 1, cores);
        convlens::leave_processor(now, 1 << 20);
        stayed += convlens::current_processor() == now;
    }
    CHECK(convlens::available_cores() == cores);  // its mask is what it was
    CHECK(left > 0 || cores < 2 || convlens::current_processor() < 0);
    CHECK(stayed > 0);
}

TEST(a_second_call_in_flight_takes_its_share_of_the_threads) {
    const int before = convlens::max_threads();
    convlens::set_max_threads(4);
    if (convlens::openmp_enabled()) {
        const convlens::CallGuard first;
        CHECK(first.threads() == 4);
        const convlens::CallGuard second;
        CHECK(second.threads() == 2);
    }
    convlens::set_max_threads(before);
}
