// Masks keep one bit a lane: a group of 16 bits a float32 block, 8 bits a float64 block.
#pragma once

#include <stdint.h>

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
inline unsigned load_bits(const uint8_t* p) {
    if (sizeof(Real) == 8) return p[0];
    return static_cast<unsigned>(p[0]) | static_cast<unsigned>(p[1]) << 8;
}

template <class Real>
inline void store_bits(uint8_t* p, unsigned bits) {
    p[0] = static_cast<uint8_t>(bits);
    if (sizeof(Real) == 4) p[1] = static_cast<uint8_t>(bits >> 8);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
