// A lean loop for products that are stored or added and no more, where registers are 16 as in tiles_in_order.h: by rows
// that lie side by side by threes, one stream a tile instead of three or six that begin anew pages further on, or
// apart.
#pragma once

#include "kernels/body/tiles_in_order.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// `tiles` tiles of Rows rows, by the first Vecs registers of a panel of two blocks.
template <class Real, int Rows, int Vecs, int Columns>
void run_lone(const ConvTile<Real>& a, int64_t elements, int64_t tiles, int64_t between) {
    using V = Vec<Real>;
    constexpr int kVecs = kBlockVecs<Real>;
    constexpr int64_t kSize = sizeof(Real), kLanes = kBlockLanes<Real>, kWidth = kPanelBlocks * kLanes;
    constexpr int kUnrolled = Rows == 3 && Vecs == 4 ? 16 : 1;  // most tiles are those; by 8 they take 1.02 of the time
    const int64_t tile_bytes = Rows * a.source.column_step * kSize, third = 3 * a.source.column_step * kSize;
    const int64_t stride = (Columns > 1 ? kSize : a.source.column_step * kSize) + between;
    const int64_t block_step = a.output.block_step, column_step = a.output.column_step;
    const int64_t wide = a.weight_element_step * kSize;
    const int64_t unrolled = wide == kWidth * kSize ? kUnrolled : INT64_MAX;
    const bool add = a.finish == kConvAdd, streams = a.streams;
    const char* source = reinterpret_cast<const char*>(a.source.data);
    Real* output = a.output.data;
    for (; tiles > 0; --tiles, source += tile_bytes) {
        Sums<Real, Rows, Vecs> sums;
        each_index<Rows>(CONVLENS_EACH(i) { each_index<Vecs>(CONVLENS_EACH(k) { sums.v[i][k] = V::zero(); }); });
        const char* s = source;
        const char* w = reinterpret_cast<const char*>(a.weight);
        const auto element = CONVLENS_EACH(e) {
            const char* from = s + e * Columns * kSize;
            sums.add_products(from, stride, from + third, w + e * kWidth * kSize, kLanes * kSize);
        };
        int64_t left = elements;
        if constexpr (kUnrolled > 1) {
            for (; left >= unrolled; left -= kUnrolled) {
                each_index<kUnrolled>(element);
                s += kUnrolled * Columns * kSize, w += kUnrolled * kWidth * kSize;
            }
        }
        CONVLENS_KEEP_LOOP
        for (; left > 0; --left) {
            element(Index<0>{});
            s += Columns * kSize, w += wide;
        }
        each_index<Rows>(CONVLENS_EACH(i) {
            each_index<Vecs>(CONVLENS_EACH(k) {
                Real* to = output + k / kVecs * block_step + k % kVecs * V::width;
                V sum = sums.v[i][k];
                if (add) sum = V::load(to) + sum;
                if (Columns == 1 && streams) return sum.stream(to);
                sum.store(to);
            });
            output += column_step;
            __asm__("" : "+r"(output));
        });
    }
}

// Columns by threes, and what is left of them: four, side by side, by twos, since one would wait for its own sums.
template <class Real, int Vecs, int Columns>
__attribute__((noinline)) void run_threes(ConvTile<Real> a, int64_t elements) {
    const int64_t left = Columns > 1 && a.columns % 3 == 1 && a.columns > 1 ? 4 : a.columns % 3;
    const int64_t done = a.columns - left, step = a.source.column_step;
    run_lone<Real, 3, Vecs, Columns>(a, elements, done / 3, 0);
    a.source.data += done * step, a.output.data += done * a.output.column_step, a.columns = left;
    if (Columns > 1) {
        // The second two are the third of three and the first of the next.
        for (int64_t two = 0; two < left / 2; ++two) {
            run_lone<Real, 2, 4, Columns>(a, elements, 1, two * (step - 1) * 3 * static_cast<int64_t>(sizeof(Real)));
            a.source.data += 2, a.output.data += 2 * a.output.column_step;
        }
        if (left != 1) return;
        a.source.column_step = a.source_columns = 1;
    }
    conv_tile_in_order(a);
}

template <class Real>
void conv_side_by_side(const ConvTile<Real>& a) {
    const bool half = 2 * a.last_lanes <= kBlockLanes<Real>;
    if (a.blocks == 2) return (half ? run_threes<Real, 3, 3> : run_threes<Real, 4, 3>)(a, a.elements);
    (half ? run_lone<Real, 6, 1, 3> : run_lone<Real, 6, 2, 3>)(a, a.elements, a.columns / 6, 0);
}

constexpr int64_t kShortSum = 96;  // as in ops/panel.hpp

// Whether rows that lie apart go so: of two blocks, one tap, all elements together on both sides, or by a panel in
// place in short sums.
template <class Real>
bool is_lone(const ConvTile<Real>& a) {
    constexpr int64_t kLanes = kBlockLanes<Real>;
    const bool together = a.elements == kLanes && a.source_step == kLanes && a.weight_element_step == 2 * kLanes;
    return (together || (a.steps == 1 && a.last_elements <= kShortSum)) && a.finish != kConvEpilogue && a.rows == 1 &&
           a.blocks == 2 && a.n_taps == 1 && !a.resume && a.source_element_step == 1 && a.weight_block_step == kLanes;
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
