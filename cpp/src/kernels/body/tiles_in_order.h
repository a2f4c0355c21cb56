// Register tiles where instructions name 16 registers and two make a block (AVX2): twelve hold sums. Three rows take
// both blocks of a panel, with three elements of the source and one register of weights at a time: seven loads for
// twelve products, where six rows of one block take eight, and a row of seven or fourteen columns has no tile that
// waits for its own sums. A run of tiles shares what is computed before the first: docs/decisions/0012-avx2-tile.md.
#pragma once

#include "kernels/conv_finish.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// The sums of a tile, and the products of one element.
template <class Real, int Rows, int Vecs>
struct Sums {
    using V = Vec<Real>;
    static constexpr int kVecs = kBlockVecs<Real>, kBlocks = (Vecs + kVecs - 1) / kVecs;
    V v[Rows][kBlocks * kVecs];

    // Of the row `stride` bytes on, `third` for the row after three, and the block `block_bytes` on.
    inline __attribute__((always_inline)) void add_products(const char* source, int64_t stride, const char* third,
                                                            const char* weight, int64_t block_bytes) {
        const auto element = CONVLENS_EACH(i) {
            return V::splat_in_order(reinterpret_cast<const Real*>((i < 3 ? source : third) + i % 3 * stride));
        };
        const auto weights = CONVLENS_EACH(k) {
            const char* block = k < kVecs ? weight : weight + block_bytes;
            return V::load_in_order(reinterpret_cast<const Real*>(block) + k % kVecs * V::width);
        };
        if constexpr (Vecs <= kVecs) {
            V ws[Vecs];
            each_index<Vecs>(CONVLENS_EACH(k) { ws[k] = weights(k); });
            each_index<Rows>(CONVLENS_EACH(i) {
                const V x = element(i);
                each_index<Vecs>(CONVLENS_EACH(k) { v[i][k] = fma_in_order(x, ws[k], v[i][k]); });
            });
        } else {
            V xs[Rows];
            each_index<Rows>(CONVLENS_EACH(i) { xs[i] = element(i); });
            each_index<Vecs>(CONVLENS_EACH(k) {
                const V w = weights(k);
                each_index<Rows>(CONVLENS_EACH(i) { v[i][k] = fma_in_order(xs[i], w, v[i][k]); });
            });
        }
    }
};

constexpr int kSingleRows = 6, kPairRows = 3;

// What runs of tiles share: sums that an earlier part of the reduction left, or that are left to the next, and what is
// called into the second-level cache meanwhile, a few lines for each block of elements.
template <class Real>
struct Run {
    Real* sums;  // of each tile in turn
    bool resumes, remains;
    const char *ahead, *ahead_end;
    int64_t ahead_lines;
};

// `tiles` tiles side by side from `place` on. `Packed`: weights are panels, an element's blocks side by side, and the
// elements of a block follow each other on both sides, so that nothing is added up between the products.
template <class Real, int Rows, int Vecs, bool Packed>
void run_tiles(const ConvTile<Real>& a, TilePlace place, int64_t tiles, Run<Real>& r) {
    using V = Vec<Real>;
    using Tile = Sums<Real, Rows, Vecs>;
    constexpr int kVecs = kBlockVecs<Real>, kBlocks = Tile::kBlocks, kAll = kBlocks * kVecs;
    constexpr int64_t kSize = sizeof(Real), kLanes = kBlockLanes<Real>;
    constexpr bool kOften = Rows * Vecs > 8 || (Vecs == 4 && Rows == 2);  // the others end by way of memory
    const int64_t stride = a.source.column_step * kSize;
    const Real* first = first_sums(a, place);
    const Real* source = place.at(a.source);
    Real* output = place.at(a.output);
    do {
        Tile sums;
        if (r.resumes) {
            each_index<Rows>(CONVLENS_EACH(i) {
                each_index<kAll>(CONVLENS_EACH(k) { sums.v[i][k] = V::load(r.sums + (i * kAll + k) * V::width); });
            });
        } else if (a.resume) {
            each_index<Rows>(CONVLENS_EACH(i) {
                each_index<kAll>(CONVLENS_EACH(k) {
                    const Real* block = output + i * a.output.column_step + k / kVecs * a.output.block_step;
                    sums.v[i][k] = V::load(block + k % kVecs * V::width);
                });
            });
        } else {
            each_index<kAll>(CONVLENS_EACH(k) {
                const V sum = V::load(first + k * V::width);
                each_index<Rows>(CONVLENS_EACH(i) { sums.v[i][k] = sum; });
            });
        }
        if (!r.remains && a.epilogue.residual.data != nullptr) {
            const Real* residual = place.at(a.epilogue.residual);
            CONVLENS_KEEP_LOOP
            for (int i = 0; i < Rows; ++i) {
                for (int b = 0; b < kBlocks; ++b) __builtin_prefetch(residual + b * a.epilogue.residual.block_step);
                residual += a.epilogue.residual.column_step;
            }
        }
        if (!r.remains && a.ahead.data != nullptr) {
            const Real* to = place.at(a.ahead) + (Rows - 1) * a.ahead.column_step;
            CONVLENS_KEEP_LOOP
            for (int64_t lane = 0; lane < kBlocks * kLanes; ++lane) {
                __builtin_prefetch(to, 1);
                to += a.ahead_lane_step;
            }
        }
        const Real* from = source;
        const Real* weight = a.weight + place.block * a.weight_block_step + place.row * a.weight_row_step;
        for (int64_t steps = a.steps; steps > 0; --steps, from += a.source_step, weight += a.weight_step) {
            const int64_t elements = steps == 1 ? a.last_elements : a.elements;
            const ConvTap* end = a.taps + a.n_taps;
            for (const ConvTap* tap = a.taps; tap != end; ++tap) {
                const char* s = reinterpret_cast<const char*>(from + tap->source);
                const char* w = reinterpret_cast<const char*>(weight + tap->weight * a.weight_taps);
                if constexpr (Packed) {
                    if (elements == kLanes) {
                        for (int64_t i = r.ahead < r.ahead_end ? r.ahead_lines : 0; i > 0; --i, r.ahead += 64) {
                            __builtin_prefetch(r.ahead, 0, 2);
                        }
                        if (Vecs > kVecs && a.coming != nullptr) {
                            const char* next_row = s + a.source.row_step * kSize;
                            each_index<Rows>(CONVLENS_EACH(i) { __builtin_prefetch(next_row + i * stride); });
                        }
                        each_index<kLanes>(CONVLENS_EACH(e) {
                            const char* from_here = s + e * kSize;
                            sums.add_products(from_here, stride, from_here + 3 * stride,
                                              w + e * kBlocks * kLanes * kSize, kLanes * kSize);
                        });
                        continue;
                    }
                }
                const int64_t element_bytes = a.source_element_step * kSize;
                const int64_t weight_bytes = a.weight_element_step * kSize, block_bytes = a.weight_block_step * kSize;
                CONVLENS_KEEP_LOOP
                for (int64_t e = 0; e < elements; ++e) {
                    sums.add_products(s, stride, s + 3 * stride, w, block_bytes);
                    s += element_bytes, w += weight_bytes;
                }
            }
        }
        if (r.remains) {
            each_index<Rows>(CONVLENS_EACH(i) {
                each_index<kAll>(CONVLENS_EACH(k) { sums.v[i][k].store(r.sums + (i * kAll + k) * V::width); });
            });
        } else {
            finish_tile<Real, Rows, kBlocks, kOften, kOften && !Packed>(a, sums.v, place, output);
        }
        r.sums += Rows * kAll * V::width;
        place.column += Rows;
        source += Rows * a.source.column_step, output += Rows * a.output.column_step;
    } while (--tiles > 0);
}

template <class Real>
using RunTiles = void (*)(const ConvTile<Real>&, TilePlace, int64_t tiles, Run<Real>&);

enum { kAnywhere, kPacked, kPackedHalf };  // where the weights are; half of the last block's lanes are no channels

// entry[where][blocks - 1][rows - 1]
template <class Real>
constexpr RunTiles<Real> kRuns[3][kPanelBlocks][kSingleRows] = {
    {{run_tiles<Real, 1, 2, false>, run_tiles<Real, 2, 2, false>, run_tiles<Real, 3, 2, false>,
      run_tiles<Real, 4, 2, false>, run_tiles<Real, 5, 2, false>, run_tiles<Real, 6, 2, false>},
     {run_tiles<Real, 1, 4, false>, run_tiles<Real, 2, 4, false>, run_tiles<Real, 3, 4, false>}},
    {{run_tiles<Real, 1, 2, false>, run_tiles<Real, 2, 2, false>, run_tiles<Real, 3, 2, false>,
      run_tiles<Real, 4, 2, false>, run_tiles<Real, 5, 2, false>, run_tiles<Real, 6, 2, true>},
     {run_tiles<Real, 1, 4, false>, run_tiles<Real, 2, 4, true>, run_tiles<Real, 3, 4, true>}},
    {{}, {run_tiles<Real, 1, 4, false>, run_tiles<Real, 2, 4, true>, run_tiles<Real, 3, 3, true>}},
};

// A row of columns by some blocks. Tiles of a row differ by one column at most: the higher ones first.
template <class Real>
struct TiledRow {
    const RunTiles<Real>* run;
    int64_t blocks, tiles, low, higher;

    TiledRow(const ConvTile<Real>& a, int where, int64_t n_blocks) : run(kRuns<Real>[where][n_blocks - 1]) {
        const int64_t most = n_blocks == 1 ? kSingleRows : kPairRows;
        blocks = n_blocks, tiles = (a.columns + most - 1) / most;
        low = a.columns / tiles, higher = a.columns % tiles;
    }
    // `count` tiles from `first` on.
    void go(const ConvTile<Real>& a, int64_t row, int64_t block, int64_t first, int64_t count, Run<Real>& r) const {
        const int64_t left = higher > first ? higher - first : 0, high = left < count ? left : count;
        const int64_t column = first * low + (first < higher ? first : higher);
        if (high > 0) run[low](a, {row, column, block}, high, r);
        if (count > high) run[low - 1](a, {row, column + high * (low + 1), block}, count - high, r);
    }
};

// Of a long reduction a group of tiles takes a part at a time, whose weights stay in the first-level cache; sums wait
// in between. The order of the products is that of the whole. (Zen 3, plain 1 x 1, of the time: c2048 k512 7 x 7 0.86,
// c320 k1280 7 x 7 0.83, c512 k128 28 x 28 0.94. Panels, which are read line by line, gain nothing.)
constexpr int64_t kPartBytes = 16 << 10, kGroupTiles = 16, kLeastTiles = 4;

template <class Real>
void run_in_parts(const ConvTile<Real>& a, const TiledRow<Real>& t, int64_t row, int64_t block, Run<Real>& r) {
    alignas(64) Real sums[kGroupTiles * kSingleRows * kBlockLanes<Real>];
    const int64_t fit = kPartBytes / (t.blocks * kBlockLanes<Real> * static_cast<int64_t>(sizeof(Real)));
    const int64_t step = a.n_taps * a.elements;
    const bool by_steps = a.steps > 1;  // or by the elements of the only one
    const int64_t all = by_steps ? a.steps : a.last_elements, part = by_steps ? (fit > step ? fit / step : 1) : fit;
    for (int64_t first = 0; first < t.tiles; first += kGroupTiles) {
        const int64_t count = t.tiles - first < kGroupTiles ? t.tiles - first : kGroupTiles;
        ConvTile<Real> piece = a;
        for (int64_t done = 0; done < all; done += part) {
            const int64_t now = all - done < part ? all - done : part;
            const bool last = done + now == all;
            if (by_steps) piece.steps = now;
            piece.last_elements = !by_steps ? now : last ? a.last_elements : a.elements;
            r.sums = sums, r.resumes = done > 0, r.remains = !last;
            t.go(piece, row, block, first, count, r);
            piece.source.data += now * (by_steps ? a.source_step : a.source_element_step);
            piece.weight += now * (by_steps ? a.weight_step : a.weight_element_step);
        }
    }
}

template <class Real>
void conv_tile_in_order(const ConvTile<Real>& a) {
    constexpr int64_t kLanes = kBlockLanes<Real>, kBlockBytes = kLanes * sizeof(Real);
    if (a.rows == 0 || a.columns == 0) return;
    for (int64_t block = 0; block < a.blocks; block += kPanelBlocks) {
        const int64_t blocks = a.blocks - block < kPanelBlocks ? a.blocks - block : kPanelBlocks;
        int where = kAnywhere;
        if (a.source_element_step == 1 && a.elements == kLanes && a.weight_element_step == blocks * kLanes &&
            (blocks == 1 || a.weight_block_step == kLanes)) {
            const bool half = blocks == 2 && block + 2 == a.blocks && 2 * a.last_lanes <= kLanes && !a.resume;
            where = half ? kPackedHalf : kPacked;
        }
        const TiledRow<Real> t(a, where, blocks);
        // The panel after this one, once, or what the caller says.
        const char* next =
            reinterpret_cast<const char*>(a.weight) + a.steps * a.weight_step * static_cast<int64_t>(sizeof(Real));
        int64_t lines = where == kAnywhere ? 0 : blocks * kLanes;
        if (a.coming != nullptr) next = a.coming, lines = a.coming_lines;
        int64_t tiles = t.tiles, times = a.steps * a.n_taps;
        (a.weight_row_step == 0 ? tiles : times) *= a.rows;
        Run<Real> r = {nullptr, false, false, next, next + times * lines * 64, (lines + tiles - 1) / tiles};
        const int64_t products = a.n_taps * (a.elements * (a.steps - 1) + a.last_elements);
        const bool whole = where != kAnywhere || t.tiles < kLeastTiles || (a.steps == 1 && a.n_taps > 1) ||
                           2 * products * blocks * kBlockBytes <= 3 * kPartBytes;
        for (int64_t row = 0; row < a.rows; ++row) {
            if (whole) {
                t.go(a, row, block, 0, t.tiles, r);
            } else {
                run_in_parts(a, t, row, block, r);
            }
        }
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
