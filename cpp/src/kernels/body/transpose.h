// Squares of a vector's width, transposed in registers.
#pragma once

#include <stdint.h>

#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// output[i output_step + j] = source[j source_step + i]: log2(width) rounds of perfect shuffles. Rows of the source
// from `rows` on count as zeros; those of the output from `columns` on are not written.
template <class Real>
inline void transpose_registers(const Real* source, int64_t source_step, int64_t rows, Real* output,
                                int64_t output_step, int64_t columns) {
    using V = Vec<Real>;
    constexpr int kWidth = V::width;
    V square[2][kWidth];
    CONVLENS_UNROLL
    for (int i = 0; i < kWidth; ++i) square[0][i] = i < rows ? V::load(source + i * source_step) : V::zero();
    int from = 0;
    CONVLENS_UNROLL
    for (int done = 1; done < kWidth; done *= 2) {
        CONVLENS_UNROLL
        for (int i = 0; i < kWidth / 2; ++i) {
            zip(square[from][i], square[from][i + kWidth / 2], &square[1 - from][2 * i], &square[1 - from][2 * i + 1]);
        }
        from = 1 - from;
    }
    CONVLENS_UNROLL
    for (int i = 0; i < kWidth; ++i) {
        if (i < columns) square[from][i].store(output + i * output_step);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
