// Arguments of depthwise convolutions of plain planes: lanes are the pixels of a row.
#pragma once

#include "kernels/args/conv_tile.hpp"

namespace convlens {

// Elements that may be read before and behind the rows of a plane. What they hold does not matter.
template <class Real>
constexpr int64_t kPlaneSlack = 3 * 64 / static_cast<int64_t>(sizeof(Real));
// Less than so many elements are written behind a row, where it has fewer.
template <class Real>
constexpr int64_t kLanesBehind = 2 * 64 / static_cast<int64_t>(sizeof(Real));
// From the lanes of a sum to those of the next: the widest vector's.
template <class Real>
constexpr int64_t kSumLanes = 64 / static_cast<int64_t>(sizeof(Real));

// output[y output_row_step + x] = bias + sum over r, s of
//     source[(first_row + y stride + r) width + first_column + x stride + s] * weight[(r R + s) weight_step]
// where a source outside of height x width is 0; stride is 1 and R 3 or 5, or 2 and 3. 3 x 3 taps are added in this
// order, 5 x 5 ones column by column. Lanes beyond the columns are overwritten by the row below; behind the last row
// lanes are written too, unless it has kLanesBehind columns. Windows of 3 x 3 go through `tile` rows at a time; unless
// `ahead` is 0, what lies so many elements further on is fetched meanwhile, by stride 1 also `output_ahead` elements on
// of the output. Whole planes may follow each other, `planes` of all operands: the bias (nullptr: 0) has an element for
// each.
template <class Real>
struct DepthwiseRows {
    const Real* source = nullptr;
    int64_t height = 0, width = 0, first_row = 0, first_column = 0, stride = 1, R = 0;
    const Real* weight = nullptr;
    int64_t weight_step = 1;
    const Real* bias = nullptr;
    Real* output = nullptr;
    int64_t output_row_step = 0, rows = 0, columns = 0, tile = 1, ahead = 0, output_ahead = 0, planes = 1;
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
    int64_t rows = 0, columns = 0, planes = 1;
};

// sums[3 r + s][lane] += sum over y and some of the x, those of the lane, of grad[y columns + x]
//     * source[(first_row + y stride + r) width + first_column + x stride + s]    or 0 outside of height x width,
// r and s below 3, stride 1 or 2; there are kSumLanes of them, as many used as a vector has. `ahead` and `planes` are
// as those of DepthwiseRows.
template <class Real>
struct DepthwiseRowsGradWeight {
    const Real* source = nullptr;
    int64_t height = 0, width = 0, first_row = 0, first_column = 0, stride = 1;
    const Real* grad = nullptr;
    int64_t rows = 0, columns = 0, ahead = 0, planes = 1;
    Real* sums = nullptr;
};

// output[i] = sum over the lanes of sums[i][lane], in pairs; as many sums as a vector has lanes are read at a time.
template <class Real>
struct SumLanes {
    const Real* sums = nullptr;
    int64_t count = 0;
    Real* output = nullptr;
};

}  // namespace convlens
