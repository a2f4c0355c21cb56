// Runs every test, or those whose name contains the first argument, or after a minus those whose does not. Exit code 1
// when one fails or none is found.
#include <cstring>

#include "harness.hpp"

namespace convlens_tests {
namespace {
Test* g_first = nullptr;
Test** g_last = &g_first;
int g_failures = 0;
}  // namespace

void add(Test* test) {
    *g_last = test;
    g_last = &test->next;
}

void failed(const char* file, int line, const char* what) {
    ++g_failures;
    std::printf("    %s:%d: %s\n", file, line, what);
}

}  // namespace convlens_tests

// Whoever asks for more memory than there is gets a null pointer, under a sanitizer too.
#if defined(__SANITIZE_ADDRESS__)
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#elif defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }
#endif

int main(int count, char** arguments) {
    using namespace convlens_tests;
    const char* filter = count > 1 ? arguments[1] : "";
    const bool others = filter[0] == '-';
    int run = 0, broken = 0;
    for (Test* test = g_first; test != nullptr; test = test->next) {
        if ((std::strstr(test->name, filter + others) == nullptr) != others) continue;
        const int before = g_failures;
        test->run();
        ++run;
        if (g_failures != before) {
            ++broken;
            std::printf("FAILED %s\n", test->name);
        }
        std::fflush(stdout);
    }
    std::printf("%d tests, %d failed\n", run, broken);
    return run == 0 || broken > 0 ? 1 : 0;
}
