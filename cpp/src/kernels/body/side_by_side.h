// Products by a weight whose rows lie side by side by threes: a tile reads one stream of it, which the processor sees
// coming, instead of three or six that begin anew pages further on. Where registers are 16, as tiles_in_order.h.
#pragma once

#include "kernels/body/tiles_in_order.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

constexpr int kSideBySide = 3;

// `tiles` tiles of Rows rows, by the first Vecs registers of a panel of two blocks.
template <class Real, int Rows, int Vecs>
void run_side(const ConvTile<Real>& a, int64_t tiles) {
    using V = Vec<Real>;
    constexpr int kVecs = kBlockVecs<Real>;
    constexpr int64_t kSize = sizeof(Real), kLanes = kBlockLanes<Real>, kWidth = kPanelBlocks * kLanes;
    constexpr int kUnrolled = Rows == kSideBySide ? 16 : 1;  // most tiles are those; by 8 they take 1.02 of the time
    const int64_t tile_bytes = Rows * a.source.column_step * kSize, third = kSideBySide * a.source.column_step * kSize;
    const int64_t block_step = a.output.block_step, column_step = a.output.column_step, elements = a.elements;
    const bool add = a.finish == kConvAdd;
    const char* source = reinterpret_cast<const char*>(a.source.data);
    Real* output = a.output.data;
    for (; tiles > 0; --tiles, source += tile_bytes) {
        Sums<Real, Rows, Vecs> sums;
        each_index<Rows>(CONVLENS_EACH(i) { each_index<Vecs>(CONVLENS_EACH(k) { sums.v[i][k] = V::zero(); }); });
        if (Rows == kSideBySide && a.epilogue.residual.data != nullptr) {
            CONVLENS_KEEP_LOOP
            for (int i = 0; i < Rows; ++i) {
                for (int b = 0; b * kVecs < Vecs; ++b) __builtin_prefetch(output + i * column_step + b * block_step, 1);
            }
        }
        const char* s = source;
        const char* w = reinterpret_cast<const char*>(a.weight);
        const auto element = CONVLENS_EACH(e) {
            const char* from = s + e * kSideBySide * kSize;
            sums.add_products(from, kSize, from + third, w + e * kWidth * kSize, kLanes * kSize);
        };
        int64_t left = elements;
        for (; left >= kUnrolled; left -= kUnrolled) {
            each_index<kUnrolled>(element);
            s += kUnrolled * kSideBySide * kSize, w += kUnrolled * kWidth * kSize;
        }
        CONVLENS_KEEP_LOOP
        for (; left > 0; --left) {
            element(Index<0>{});
            s += kSideBySide * kSize, w += kWidth * kSize;
        }
        each_index<Rows>(CONVLENS_EACH(i) {
            each_index<Vecs>(CONVLENS_EACH(k) {
                Real* to = output + k / kVecs * block_step + k % kVecs * V::width;
                V sum = sums.v[i][k];
                if (add) sum = V::load(to) + sum;
                sum.store(to);
            });
            output += column_step;
            __asm__("" : "+r"(output));
        });
    }
}

template <class Real>
void conv_side_by_side(const ConvTile<Real>& a) {
    if (a.blocks == 1) {
        const bool half = 2 * a.last_lanes <= kBlockLanes<Real>;
        return (half ? run_side<Real, 6, 1> : run_side<Real, 6, 2>)(a, a.columns / 6);
    }
    run_side<Real, kSideBySide, 4>(a, a.columns / kSideBySide);
    const int64_t done = a.columns / kSideBySide * kSideBySide;
    if (done == a.columns) return;
    ConvTile<Real> rest = a;  // one or two, of three
    rest.source.data += done * a.source.column_step, rest.output.data += done * a.output.column_step;
    rest.source.column_step = rest.source_columns = 1, rest.columns -= done;
    conv_tile_in_order(rest);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
