// Arguments of the transforms of Winograd's convolution; ops/winograd.hpp says what lies where.
#pragma once

#include <stdint.h>

#include "kernels/args/conv_tile.hpp"

namespace convlens {

// A tile of `unit` x `unit` outputs comes from (unit + 2) x (unit + 2) inputs: position (i, j) is their transform's.
//     output[(i (unit + 2) + j) position_step + t lanes + lane]
//         = sum over y, x of B[i][y] B[j][x] source[y row_step + (t unit + x) column_step + lane], t < tiles
// Steps may be negative: rows and columns are then read from the last to the first, tiles still in their order, which
// `next` says.
template <class Real>
struct WinogradInput {
    int unit = 4;
    const Real* source = nullptr;
    int64_t row_step = 0, column_step = 0, next = 0;
    int64_t tiles = 0;
    Real* output = nullptr;
    int64_t position_step = 0;
};

// Position (i, j) of a 3 x 3 kernel, for `count` elements side by side, whatever channels they are of:
//     output[(i (unit + 2) + j) position_step + e] = sum over y, x of G[i][y] G[j][x] source[(3 y + x) tap_step + e]
// `count` is a multiple of the lanes.
template <class Real>
struct WinogradWeight {
    int unit = 4;
    const Real* source = nullptr;
    int64_t tap_step = 0;
    Real* output = nullptr;
    int64_t position_step = 0;
    int64_t count = 0;
};

// The tile's output of row y, column t next_columns + x and block b is finished from
//     sum over i, j of A[y][i] A[x][j] sums[(i (unit + 2) + j) position_step + b block_step + t lanes + lane]
// for y in [row0, row1) and x in [column0, column1): at the edges, tiles are only partly there. Of `tile` counts what
// is not its sums: output, blocks, last_lanes, epilogue.
template <class Real>
struct WinogradOutput {
    int unit = 4;
    const Real* sums = nullptr;
    int64_t position_step = 0, block_step = 0;
    int64_t tiles = 0, next_columns = 0;
    int64_t row0 = 0, row1 = 0, column0 = 0, column1 = 0;
    ConvTile<Real> tile;
};

}  // namespace convlens
