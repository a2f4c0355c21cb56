// The floating-point mode tasks run in: round to nearest, exceptions masked, subnormals flushed to zero.
#pragma once

#include <cstdint>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace convlens {

// Sets the mode for its scope and puts back exactly what it found, sticky flags included.
class FloatMode {
  public:
#if defined(__SSE__)
    FloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(kDefaultMxcsr | kFlushToZero | kDenormalsAreZero); }
    ~FloatMode() { _mm_setcsr(saved_); }

  private:
    static constexpr unsigned kDefaultMxcsr = 0x1f80, kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
    unsigned saved_;
#elif defined(__aarch64__)
    FloatMode() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
        const std::uint64_t flush_to_zero = std::uint64_t{1} << 24;
        __asm__ volatile("msr fpcr, %0" : : "r"(flush_to_zero));
    }
    ~FloatMode() { __asm__ volatile("msr fpcr, %0" : : "r"(saved_)); }

  private:
    std::uint64_t saved_;
#else
    FloatMode() {}
    ~FloatMode() {}
#endif
    FloatMode(const FloatMode&) = delete;
    FloatMode& operator=(const FloatMode&) = delete;
};

}  // namespace convlens
