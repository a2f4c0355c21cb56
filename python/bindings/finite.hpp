// NaN and infinity among the numbers of an array.
#pragma once

#include <cstdint>
#include <cstring>

namespace convlens_python {

// Whether the exponent of any number has all of its bits: one pass, where NumPy needs two or a temporary array.
template <class Real, class Bits>
bool all_finite_bits(const Real* array, std::int64_t size) {
    constexpr Bits exponent = sizeof(Real) == 4 ? Bits{0xff} << 23 : Bits{0x7ff} << (sizeof(Bits) * 8 - 12);
    constexpr Bits least = exponent & (~exponent + 1);
    const char* data = reinterpret_cast<const char*>(array);
    Bits carried = 0;  // out of an exponent, into the sign
    for (std::int64_t i = 0; i < size; ++i) {
        Bits bits;
        std::memcpy(&bits, data + static_cast<std::size_t>(i) * sizeof(bits), sizeof(bits));
        carried |= (bits & exponent) + least;
    }
    return carried >> (sizeof(Bits) * 8 - 1) == 0;
}

inline bool all_finite(const float* array, std::int64_t size) {
    return all_finite_bits<float, std::uint32_t>(array, size);
}
inline bool all_finite(const double* array, std::int64_t size) {
    return all_finite_bits<double, std::uint64_t>(array, size);
}

}  // namespace convlens_python
