// Arguments of the transposition that turns packed forward weights into packed backward ones.
#pragma once

#include <stdint.h>

namespace convlens {

// output[i output_step + j] = source[j source_step + i] for i, j in [0, lanes): one block of channels squared.
template <class Real>
struct TransposeBlock {
    const Real* source = nullptr;
    int64_t source_step = 0;
    Real* output = nullptr;
    int64_t output_step = 0;
    // `count` such squares, these apart.
    int64_t count = 1, source_next = 0, output_next = 0;
};

}  // namespace convlens
