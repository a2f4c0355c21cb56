// After fork() an OpenMP team of the parent is a memory of threads that do not exist; a region that waited for them
// would hang. The child must compute, on several threads, and so must its own child.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/parallel.hpp"
#include "harness.hpp"

namespace {

bool computes() {
    std::atomic<int> runs{0};
    convlens::parallel_for(
        100, 2, [](void* context, std::int64_t, int) { ++*static_cast<std::atomic<int>*>(context); }, &runs);
    return runs == 100;
}

// Exit code of a child that runs `body`; -1 when a signal ended it, the alarm's included.
template <class Body>
int in_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST(a_forked_child_computes_on_and_so_does_its_child) {
    CHECK(computes());
    const int code = in_child([] {
        if (!computes() || !computes()) return 1;
        return in_child([] { return computes() && computes() ? 0 : 2; });
    });
    CHECK_SAY(code == 0, "exit code %d", code);
    CHECK(computes());
}

TEST(a_thread_of_a_forked_child_computes_too) {
    CHECK(computes());
    const int code = in_child([] {
        std::atomic<int> wrong{0};
        std::thread other([&] { wrong += computes() ? 0 : 1; });
        wrong += computes() ? 0 : 1;
        other.join();
        return wrong.load();
    });
    CHECK_SAY(code == 0, "exit code %d", code);
}
