// Arguments of depthwise convolutions of plain planes: lanes are the pixels of a row. Rows are copied between zeros, even
// and odd columns apart where windows are two columns apart; then every tap is a load and no edge is special.
#pragma once

#include "kernels/args/conv_tile.hpp"

namespace convlens {

// Rows of sums at a time; `source` of DepthwiseRows must be readable for as many.
constexpr int64_t kDepthwiseRows = 7;

// For each row y in [0, rows) and part p in [0, parts):
//     scratch[y row_step + p part_step + i] = source[(first_row + y) width + p + i parts]    or 0 outside of the plane,
// and zeros up to a whole block; nothing else is written.
template <class Real>
struct PadPlane {
    const Real* source = nullptr;
    const Real* source_end = nullptr;  // nothing beyond is read
    int64_t width = 0, height = 0;
    int64_t first_row = 0, rows = 0, parts = 1;
    Real* scratch = nullptr;
    int64_t row_step = 0, part_step = 0;
};

// output[y output_row_step + x] = bias + sum over tap, r of
//     source[(y stride + r) row_step + x + tap.source] * weight[tap.weight + r weight_row_step]
// in this order; stride is 1 or 2, R 1 to 3 or 5. Lanes beyond the columns are overwritten by the row below; those beyond
// output_end are not written.
template <class Real>
struct DepthwiseRows {
    const Real* source = nullptr;
    int64_t row_step = 0, stride = 1;
    const ConvTap* taps = nullptr;
    int64_t n_taps = 0, R = 0;
    const Real* weight = nullptr;
    int64_t weight_row_step = 0;
    Real bias = 0;
    Real* output = nullptr;
    Real* output_end = nullptr;
    int64_t output_row_step = 0, rows = 0, columns = 0;
};

// The reverse of PadPlane: output[y columns + p + i parts] = scratch[y row_step + p part_step + i].
template <class Real>
struct MergePlane {
    const Real* scratch = nullptr;
    int64_t row_step = 0, part_step = 0, parts = 1;
    Real* output = nullptr;
    int64_t rows = 0, columns = 0;
};

// sums[r S + s] += sum over y, x of grad[y grad_row_step + x] * source[(y stride + r) row_step + x + taps[s].source],
// R = S = 3 or 5; zeros follow each row of grad up to a whole block.
template <class Real>
struct DepthwiseRowsGradWeight {
    const Real* source = nullptr;
    int64_t row_step = 0, stride = 1;
    const ConvTap* taps = nullptr;
    int64_t R = 0;
    const Real* grad = nullptr;
    int64_t grad_row_step = 0, rows = 0, columns = 0;
    Real* sums = nullptr;
};

}  // namespace convlens
