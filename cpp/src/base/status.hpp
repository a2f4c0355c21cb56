// The one error channel of the core: no exceptions, no printing, no abort.
#pragma once

#include <cstdint>

namespace convlens {

// What runs once, when a Program is opened: better small than fast.
#define CONVLENS_COLD __attribute__((cold))
// What many call, and none so often that the call counts: one copy of it, rather than one in each of them.
#define CONVLENS_SHARED __attribute__((noinline))

enum class Code : std::int32_t {
    ok = 0,
    invalid_argument = 1,  // the caller passed something that cannot be right
    unsupported = 2,       // right, but not built: the message says what is supported
    out_of_memory = 3,
    corrupt_file = 4,
    wrong_version = 5,
    io = 6,
};

struct [[nodiscard]] Status {
    Code code = Code::ok;
    char message[252];

    // Most are made and dropped where a rule is kept: those write two words, and only a failure copies the message.
    Status() { message[0] = 0; }
    CONVLENS_COLD Status(const Status& other);
    CONVLENS_COLD Status& operator=(const Status& other);
    bool ok() const { return code == Code::ok; }
};

// printf-style; the message names the parameter in backticks, its value, the rule and the remedy.
Status fail(Code code, const char* format, ...) __attribute__((cold, format(printf, 2, 3)));

#define CONVLENS_RETURN_IF_ERROR(expression)                 \
    do {                                                     \
        ::convlens::Status convlens_status_ = (expression);  \
        if (!convlens_status_.ok()) return convlens_status_; \
    } while (0)

}  // namespace convlens
