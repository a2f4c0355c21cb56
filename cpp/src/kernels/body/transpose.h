// Squares of a vector's width, transposed in registers.
#pragma once

#include <stdint.h>

#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// store(i, v): v[j] = source[j source_step + i]. Loads bring pieces of 16 bytes in place; what is left are rounds of
// perfect shuffles within them. Rows of the source from `rows` on count as zeros; whole pieces of vectors before `from`
// are left out.
template <class Real, class Store>
__attribute__((always_inline)) inline void transpose_to(const Real* source, int64_t source_step, int64_t rows,
                                                        int64_t from, Store store) {
    using V = Vec<Real>;
    constexpr int kWidth = V::width, kPiece = 16 / static_cast<int>(sizeof(Real));
    alignas(64) Real square[kWidth * kWidth];
    if (rows < kWidth) {
        CONVLENS_KEEP_LOOP
        for (int i = 0; i < kWidth; ++i) {
            (i < rows ? V::load(source + i * source_step) : V::zero()).store(square + i * kWidth);
        }
        source = square, source_step = kWidth;
    }
    CONVLENS_UNROLL
    for (int i = 0; i < kWidth; i += kPiece) {
        if (i + kPiece <= from) continue;
        V v[2][kPiece];
        CONVLENS_UNROLL
        for (int j = 0; j < kPiece; ++j) v[0][j] = load_pieces(source + j * source_step + i, kPiece * source_step);
        int now = 0;
        CONVLENS_UNROLL
        for (int done = 1; done < kPiece; done *= 2) {
            CONVLENS_UNROLL
            for (int j = 0; j < kPiece / 2; ++j) {
                zip_pieces(v[now][j], v[now][j + kPiece / 2], &v[1 - now][2 * j], &v[1 - now][2 * j + 1]);
            }
            now = 1 - now;
        }
        CONVLENS_UNROLL
        for (int j = 0; j < kPiece; ++j) store(i + j, v[now][j]);
    }
}

// output[i output_step + j] = source[j source_step + i]; rows of the output from `columns` on are not written.
template <class Real>
inline void transpose_registers(const Real* source, int64_t source_step, int64_t rows, Real* output,
                                int64_t output_step, int64_t columns) {
    transpose_to(source, source_step, rows, 0, [=](int i, Vec<Real> v) {
        if (i < columns) store_anywhere(output + i * output_step, v);
    });
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
