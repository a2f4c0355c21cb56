// TEST(a_sentence_that_says_what_holds) { CHECK(condition); } -- the whole harness of the C++ tests.
#pragma once

#include <cstdio>
#include <initializer_list>

namespace convlens_tests {

struct Test {
    const char* name;
    void (*run)();
    Test* next;
};
void add(Test* test);
void failed(const char* file, int line, const char* what);

struct Registrar {
    Test test;
    Registrar(const char* name, void (*run)()) : test{name, run, nullptr} { add(&test); }
};

}  // namespace convlens_tests

#define TEST(name)                                                           \
    static void test_##name();                                               \
    static ::convlens_tests::Registrar registrar_##name(#name, test_##name); \
    static void test_##name()

// Notes a failure and goes on.
#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) ::convlens_tests::failed(__FILE__, __LINE__, #condition); \
    } while (0)
// Notes a failure and leaves the test.
#define REQUIRE(condition)                                            \
    do {                                                              \
        if (!(condition)) {                                           \
            ::convlens_tests::failed(__FILE__, __LINE__, #condition); \
            return;                                                   \
        }                                                             \
    } while (0)
// printf-style explanation beside the failure.
#define CHECK_SAY(condition, ...)                                               \
    do {                                                                        \
        if (!(condition)) {                                                     \
            char convlens_text_[512];                                           \
            std::snprintf(convlens_text_, sizeof(convlens_text_), __VA_ARGS__); \
            ::convlens_tests::failed(__FILE__, __LINE__, convlens_text_);       \
        }                                                                       \
    } while (0)
#define CHECK_OK(expression)                                                                              \
    do {                                                                                                  \
        const ::convlens::Status convlens_check_ = (expression);                                          \
        if (!convlens_check_.ok()) ::convlens_tests::failed(__FILE__, __LINE__, convlens_check_.message); \
    } while (0)
