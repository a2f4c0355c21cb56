#include "base/status.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace convlens {

Status::Status(const Status& other) { *this = other; }

Status& Status::operator=(const Status& other) {
    code = other.code;
    std::memcpy(message, other.message, sizeof(message));
    return *this;
}

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
