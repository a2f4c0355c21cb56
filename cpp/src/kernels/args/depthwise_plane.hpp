// Arguments of depthwise convolutions of plain planes: lanes are the pixels of a row.
#pragma once

#include "kernels/args/conv_tile.hpp"

namespace convlens {

// Elements that may be read before and behind the rows of a plane. What they hold does not matter.
template <class Real>
constexpr int64_t kPlaneSlack = 3 * 64 / static_cast<int64_t>(sizeof(Real));

// output[y output_row_step + x] = bias + sum over tap, r of
//     source[(first_row + y stride + r) width + x stride + tap.source] * weight[tap.weight + r weight_row_step]
// in this order, where a source outside of height x width is 0; stride is 1 or 2, R 1, 2, 3 or 5. Lanes beyond the
// columns are overwritten by the row below; those beyond output_end are not written.
template <class Real>
struct DepthwiseRows {
    const Real* source = nullptr;
    int64_t height = 0, width = 0, first_row = 0, stride = 1;
    const ConvTap* taps = nullptr;
    int64_t n_taps = 0, R = 0;
    const Real* weight = nullptr;
    int64_t weight_row_step = 0;
    Real bias = 0;
    Real* output = nullptr;
    Real* output_end = nullptr;
    int64_t output_row_step = 0, rows = 0, columns = 0;
};

// Columns that lie in two parts come together: output[y columns + 2 i + p] = source[y row_step + p part_step + i].
template <class Real>
struct MergePlane {
    const Real* source = nullptr;
    int64_t row_step = 0, part_step = 0;
    Real* output = nullptr;
    int64_t rows = 0, columns = 0;
};

// sums[r S + s] += sum over y, x of grad[y columns + x]
//     * source[(first_row + y stride + r) width + x stride + taps[s].source]    or 0 outside of height x width,
// R = S = 3 or 5.
template <class Real>
struct DepthwiseRowsGradWeight {
    const Real* source = nullptr;
    int64_t height = 0, width = 0, first_row = 0, stride = 1;
    const ConvTap* taps = nullptr;
    int64_t R = 0;
    const Real* grad = nullptr;
    int64_t rows = 0, columns = 0;
    Real* sums = nullptr;
};

}  // namespace convlens
