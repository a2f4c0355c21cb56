// Arguments of depthwise convolutions, whose lanes are channels. `depthwise_tile` takes a ConvTile of one block:
//     output[y][x][lane] = finish(sum over tap of
//         source[y source.row_step + x source.column_step + tap.source + lane] * weight[tap.weight + lane])
// `elements` above 0: taps come in rows of that many, whose sources are neighbours, a block apart, as columns are.
#pragma once

#include "kernels/args/conv_tile.hpp"

namespace convlens {

// output[t][lane] += sum over y, x of
//     grad[y grad.row_step + x grad.column_step + lane]
//   * source[y source.row_step + x source.column_step + t source_tap_step + lane]
template <class Real>
struct DepthwiseGradWeight {
    Real* output = nullptr;
    int64_t taps = 0, source_tap_step = 0;
    ConvOperand<const Real> grad, source;
    int64_t rows = 0, columns = 0;
};

}  // namespace convlens
