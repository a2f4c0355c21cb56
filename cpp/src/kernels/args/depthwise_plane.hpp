// Arguments of depthwise convolutions of plain planes: lanes are the pixels of a row.
#pragma once

#include "kernels/args/conv_tile.hpp"

namespace convlens {

// Elements that may be read before and behind the rows of a plane. What they hold does not matter.
template <class Real>
constexpr int64_t kPlaneSlack = 3 * 64 / static_cast<int64_t>(sizeof(Real));

// output[y output_row_step + x] = bias + sum over tap, r of
//     source[(first_row + y stride + r) width + x stride + tap.source] * weight[tap.weight + r weight_row_step]
// in this order, where a source outside of height x width is 0; stride is 1 and R 3 or 5, or 2 and 3, with taps whose
// sources are neighbours. Lanes beyond the columns are overwritten by the row below; those beyond output_end are not
// written. Windows of 3 x 3 go through `tile` rows at a time; unless `ahead` is 0, what lies so many elements further
// on is fetched meanwhile. Whole planes may follow each other, `planes` of all operands: the bias (nullptr: 0) has an
// element for each.
template <class Real>
struct DepthwiseRows {
    const Real* source = nullptr;
    int64_t height = 0, width = 0, first_row = 0, stride = 1;
    const ConvTap* taps = nullptr;
    int64_t n_taps = 0, R = 0;
    const Real* weight = nullptr;
    int64_t weight_row_step = 0;
    const Real* bias = nullptr;
    Real* output = nullptr;
    Real* output_end = nullptr;
    int64_t output_row_step = 0, rows = 0, columns = 0, tile = 1, ahead = 0, planes = 1;
};

// output[y columns + x] = sum over r, s in falling order of source[i width + j] * weight[3 r + s]
// where 2 i = first_row + y + pad_top - r, 2 j = x + pad_left - s, and i, j lie in height x width; pads are 0, 1 or 2.
// Lanes beyond the columns are as those of DepthwiseRows, and so are planes.
template <class Real>
struct DepthwiseSpread {
    const Real* source = nullptr;
    int64_t height = 0, width = 0, first_row = 0, pad_top = 0, pad_left = 0;
    const Real* weight = nullptr;
    Real* output = nullptr;
    Real* output_end = nullptr;
    int64_t rows = 0, columns = 0, planes = 1;
};

// sums[3 r + s] += sum over y, x of grad[y columns + x]
//     * source[(first_row + y stride + r) width + first_column + x stride + s]    or 0 outside of height x width,
// r and s below 3, stride 1 or 2; `ahead` and `planes` are as those of DepthwiseRows.
template <class Real>
struct DepthwiseRowsGradWeight {
    const Real* source = nullptr;
    int64_t height = 0, width = 0, first_row = 0, first_column = 0, stride = 1;
    const Real* grad = nullptr;
    int64_t rows = 0, columns = 0, ahead = 0, planes = 1;
    Real* sums = nullptr;
};

}  // namespace convlens
