// Arguments of the one register tile every dense convolution and linear layer goes through.
#pragma once

#include <stdint.h>

namespace convlens {

// One tap of the reduction: where its elements lie, relative to `source` and `weight`, in elements.
struct ConvTap {
    int64_t source, weight;
};

enum ConvActivation : int { kConvNone = 0, kConvRelu = 1, kConvClip = 2 };

// What becomes of the sums.
enum ConvFinish : int {
    kConvStore = 0,     // output = sums
    kConvAdd = 1,       // output += sums
    kConvEpilogue = 2,  // output = activation(bias + sums + residual), zero where `keep` is
};

// Places of one operand of the epilogue: [block][row][column], steps in elements (masks: in bytes).
template <class T>
struct ConvOperand {
    T* data = nullptr;  // nullptr: absent
    int64_t row_step = 0, column_step = 0, block_step = 0;
};

template <class Real>
struct ConvEpilogue {
    const Real* bias = nullptr;  // a block a channel block, or nullptr
    ConvOperand<const Real> residual;
    ConvOperand<const uint8_t> keep;  // one bit a lane
    ConvOperand<uint8_t> positive;    // output > 0, of a clip: low < output < high
    int activation = kConvNone;
    Real low = 0, high = 0;
};

// output[b][y][x][lane] = finish(sum over step, tap, element of
//     source[y source.row_step + x source.column_step + step source_step + tap.source + element source_element_step]
//   * weight[b weight_block_step + step weight_step + tap.weight weight_taps + element weight_element_step + lane])
// in this order of step, tap, element, each product added by one fma. Columns are pixels, images or channels.
template <class Real>
struct ConvTile {
    ConvOperand<Real> output;
    int64_t rows = 0, columns = 0, blocks = 0;
    // Lanes of the last block that are channels; the others are written as zeros, or left alone when `exact`.
    int64_t last_lanes = 0;
    bool exact = false;    // not together with `resume` or kConvAdd
    bool streams = false;  // write past the caches; `output` and its steps are whole vectors
    bool resume = false;   // start from what `output` holds, where an earlier call left it; not together with a bias

    ConvOperand<const Real> source;  // block_step unused
    // Columns of the source side by side, element by element: with 3, column x lies at x / 3 * 3 column_step + x % 3,
    // its elements 3 apart. Where registers are 16 alone (body/side_by_side.h): one row of one block or two out of
    // panels of two, one step and tap, stored or added; columns of one block are whole sixes.
    int source_columns = 1;
    const Real* weight = nullptr;
    int64_t weight_block_step = 0;
    // Where registers are 16 alone: from the weights of a row to the next's. And what is called in meanwhile, so many
    // lines a row, step and tap, with the next row's source; nullptr: as much as there are weights, behind them.
    int64_t weight_row_step = 0;
    const char* coming = nullptr;
    int64_t coming_lines = 0;
    const ConvTap* taps = nullptr;
    int64_t n_taps = 0;
    int64_t weight_ahead = 256;  // bytes from a weight to what is called into the second-level cache
    int64_t weight_taps = 1;     // one list of taps serves panels of different width
    int64_t steps = 0, source_step = 0, weight_step = 0;
    int64_t elements = 0, last_elements = 0;  // a tap; in the last step
    int64_t source_element_step = 0, weight_element_step = 0;

    // Planes that the output goes to afterwards, one a lane: called in while the sums are made. Steps as of `output`.
    ConvOperand<const Real> ahead;
    int64_t ahead_lane_step = 0;

    int finish = kConvStore;
    ConvEpilogue<Real> epilogue;
};

// output[b][lane] = finish(sum over p of partials[p partial_step + b lanes + lane]), as a fixed binary tree over p.
template <class Real>
struct ConvCombine {
    const Real* partials = nullptr;
    int64_t n_partials = 0, partial_step = 0;
    Real* output = nullptr;
    int64_t blocks = 0, last_lanes = 0;
    bool exact = false;
    bool finish = false;  // apply the epilogue: one row, one column, blocks adjacent
    ConvEpilogue<Real> epilogue;
};

}  // namespace convlens
