#include "base/status.hpp"

#include <cstdarg>
#include <cstdio>

namespace convlens {

Status fail(Code code, const char* format, ...) {
    Status status;
    status.code = code;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(status.message, sizeof(status.message), format, arguments);
    va_end(arguments);
    return status;
}

}  // namespace convlens
