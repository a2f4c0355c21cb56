// The register tile: Rows x Blocks accumulators held in registers over the whole reduction. AVX2 has its own.
#include "kernels/body/side_by_side.h"
#include "kernels/body/tiles_in_order.h"
#include "kernels/conv_finish.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// What comes ahead, to the second-level cache, line by line among the products, in bytes from a weight. Those that are
// pixels, read where they are, lie in planes that no processor sees coming, and the panels after these lie beside them:
// two panels on. (8 images c96 k16 112 x 112, Zen 4: 0.29 of the time; the same lines called in at once before the
// tile: 1.) Packed ones: the panel after this one, which a network has not read since its last image. (MobileNetV2, one
// image, one thread: 0.99, EfficientNet-Lite0 0.98, MNASNet 0.97 of the time.) Tiles of one block are through two
// elements before memory has answered: for them that is more. (AVX2, by this tile: 512 channels 7 x 7 by F(2,3) 0.55 of
// the time, by 2 or 4 KB ahead 0.89; ResNet-18 0.82.)
template <class Real>
inline int64_t weights_ahead(const ConvTile<Real>& a) {
    if (kTileBlocks<Real> > 1) return a.weight_ahead;
    return a.weight_step != 0 ? a.steps * a.weight_step * static_cast<int64_t>(sizeof(Real)) : 256;
}

// Where the reduction goes next: pointers are ready a tap ahead, so that no load waits for their arithmetic.
template <class Real>
struct TileWalk {
    const Real* source;  // of the step
    const Real* weight;
    const ConvTap* tap;
    int64_t taps, steps;  // that are left, this one too
    const char* rows;     // of the tap: its first element in the tile's first row
    const Real* w;
    const Real* end;

    void aim(const ConvTile<Real>& a) {
        rows = reinterpret_cast<const char*>(source + tap->source);
        w = weight + tap->weight * a.weight_taps;
        end = w + (steps == 1 ? a.last_elements : a.elements) * a.weight_element_step;
    }
    // False at the end.
    bool next(const ConvTile<Real>& a) {
        ++tap;
        if (--taps == 0) {
            if (--steps == 0) return false;
            taps = a.n_taps, tap = a.taps;
            source += a.source_step;
            weight += a.weight_step;
        }
        aim(a);
        return true;
    }
};

// The place comes in registers: a struct would go through memory, by narrow stores and a wide load, which waits for
// them (Zen 4: 6 % of a convolution of 16 channels). `Half`: of the last block at most half of the lanes are channels,
// and the other half is not multiplied. (Zen 4, one image, one thread: MobileNetV2 0.983 of the time,
// EfficientNet-Lite0 0.984, MNASNet 0.993; an end in registers is no faster and 700 bytes more.)
template <class Real, int Rows, int Blocks, bool Half = false>
void run_tile(const ConvTile<Real>& a, int64_t row, int64_t column, int64_t block) {
    TilePlace place = {row, column, block};
    using V = Vec<Real>;
    constexpr int kVecs = kBlockVecs<Real>;
    // Rows of 24 columns and more are cut into tiles of these heights alone. (Code for AVX-512, float32: 64 KB; all
    // heights unrolled: 100.)
    constexpr bool kUsual = Blocks == kTileBlocks<Real> && Rows + 2 >= kTileRows<Real>;
    constexpr bool kTail = Half && kVecs == 1;  // half a register
    constexpr int kWhole = Blocks * kVecs - (Half ? (kVecs + 1) / 2 : 0);
    V sums[Rows][Blocks * kVecs];
    if (!Half && a.resume) {
        const Real* output = place.at(a.output);
        CONVLENS_UNROLL
        for (int i = 0; i < Rows; ++i) {
            CONVLENS_UNROLL
            for (int b = 0; b < Blocks; ++b) {
                CONVLENS_UNROLL
                for (int v = 0; v < kVecs; ++v) {
                    sums[i][b * kVecs + v] = V::load(output + b * a.output.block_step + v * V::width);
                }
            }
            output += a.output.column_step;
        }
    } else {
        const Real* first = first_sums(a, place);
        CONVLENS_UNROLL
        for (int v = 0; v < Blocks * kVecs; ++v) {
            const V sum = V::load(first + v * V::width);
            CONVLENS_UNROLL
            for (int i = 0; i < Rows; ++i) sums[i][v] = sum;
        }
    }
    // Rows are addressed as one of three pointers plus 0, 1, 2, 3 or 4 strides; of these x86 encodes 2 and 4 strides in
    // the load. What GCC cannot hold in general registers it puts into a vector's, and then a weight goes to the stack
    // (118 instead of 163 GFLOP/s, Sapphire Rapids, GCC 12): so the walk over taps lives in memory, and strides are
    // hidden from it, lest it keep their multiples.
    int64_t stride = a.source.column_step * static_cast<int64_t>(sizeof(Real));
    int64_t stride2 = 2 * stride, stride3 = 3 * stride;
    int64_t element_step = a.source_element_step * static_cast<int64_t>(sizeof(Real));
    __asm__("" : "+r"(stride2), "+r"(stride3), "+r"(element_step));
    const int64_t weight_element_step = a.weight_element_step, weight_block_step = a.weight_block_step;
    const int64_t weight_ahead = weights_ahead(a);
    Real* output = place.at(a.output);
    TileWalk<Real> walk;
    walk.source = place.at(a.source), walk.weight = a.weight + place.block * weight_block_step;
    walk.tap = a.taps, walk.taps = a.n_taps, walk.steps = a.steps;
    walk.rows = nullptr;
    bool more = walk.taps > 0 && walk.steps > 0;
    if (more) walk.aim(a);
    const char* begin = walk.rows;
    // It comes while the sums are made: three tenths of what it costs. (Zen 4: 1 x 1 from 64 channels to 256 with a
    // residual, 82 to 92 GFLOP/s.)
    if (kUsual && a.epilogue.residual.data != nullptr) {
        const Real* residual = place.at(a.epilogue.residual);
        CONVLENS_KEEP_LOOP
        for (int i = 0; i < Rows; ++i) {
            CONVLENS_UNROLL
            for (int b = 0; b < Blocks; ++b) __builtin_prefetch(residual + b * a.epilogue.residual.block_step);
            residual += a.epilogue.residual.column_step;
        }
    }
    // More at a time than the processor can wait for would hold the sums up. (8 images, Zen 4, of the time when a whole
    // stage was called in at once: c96 k576 14 x 14 0.93, c256 k512 stride 2 56 x 56 0.95, c576 k96 14 x 14 0.94.)
    if (kUsual && !Half && a.ahead.data != nullptr) {
        const Real* to = place.at(a.ahead) + (Rows - 1) * a.ahead.column_step;
        CONVLENS_KEEP_LOOP
        for (int64_t lane = 0; lane < Blocks * kBlockLanes<Real>; ++lane) {
            __builtin_prefetch(to, 1);
            to += a.ahead_lane_step;
        }
    }
    while (more) {
        const char* s0 = walk.rows;
        const char* s1 = s0 + 5 * stride;
        const char* s2 = s1 + 5 * stride;
        const Real* w = walk.w;
        const Real* end = walk.end;
        more = walk.next(a);
        const char* ahead = walk.rows;
        if (!more) ahead = begin + Rows * stride;  // the next tile
        CONVLENS_UNROLL
        for (int i = 0; i < Rows; ++i) {
            __builtin_prefetch(ahead);
            ahead += stride;
        }
        __asm__ volatile("" : "+m"(walk), "+m"(place), "+m"(output), "+m"(begin), "+m"(more) : : "memory");
        const auto element = [&](bool ahead_too) __attribute__((always_inline)) {
            __asm__ volatile("" : "+r"(stride));
            V ws[Blocks * kVecs];
            CONVLENS_UNROLL
            for (int b = 0; b < Blocks; ++b) {
                CONVLENS_UNROLL
                for (int v = 0; v < kVecs; ++v) {
                    ws[b * kVecs + v] = V::load(w + b * weight_block_step + v * V::width);
                }
                if (ahead_too) {
                    __builtin_prefetch(reinterpret_cast<const char*>(w + b * weight_block_step) + weight_ahead, 0, 2);
                }
            }
            CONVLENS_UNROLL
            for (int i = 0; i < Rows; ++i) {
                const char* s = i < 5 ? s0 : i < 10 ? s1 : s2;
                const int64_t offset = i % 5 == 2 ? stride2 : i % 5 == 3 ? stride3 : (i % 5) * stride;
                const V x = V::splat(*reinterpret_cast<const Real*>(s + offset));
                CONVLENS_UNROLL
                for (int v = 0; v < kWhole; ++v) sums[i][v] = fma(x, ws[v], sums[i][v]);
                if constexpr (kTail) sums[i][kWhole] = fma_low(x, ws[kWhole], sums[i][kWhole]);
            }
            s0 += element_step;
            s1 += element_step;
            s2 += element_step;
            w += weight_element_step;
        };
        if constexpr (kUsual && !Half) {
            // By twos, and where vectors are narrow by fours: longer code costs more than the loop does (Zen 4,
            // AVX-512, c16 k96 112 x 112: 2 %), and one load of elements that lie pages apart makes the processor fetch
            // ahead what is not wanted (8 images c512 k128 28 x 28: 11 %).
            for (const Real* last = end - (kVecs > 1 ? 3 : 1) * weight_element_step; w < last;) {
                element(true);
                element(true);
                if (kVecs > 1) {
                    element(true);
                    element(true);
                }
            }
        }
        // More columns than a tile has are cut into none lower than half of it.
        while (w != end) {
            element(Half || (!kUsual && Blocks == kTileBlocks<Real> && 2 * Rows >= kTileRows<Real>));
        }
    }
    finish_tile<Real, Rows, Blocks, kUsual && !Half>(a, sums, place, output);
}

template <class Real>
using RunTile = void (*)(const ConvTile<Real>&, int64_t row, int64_t column, int64_t block);

// entry[blocks][rows]
template <class Real>
struct TileTable {
    RunTile<Real> entry[kPanelBlocks + 1][kTileRows<Real> + 1] = {};
};
template <class Real, int Blocks, int Rows>
constexpr void fill_table(TileTable<Real>& table) {
    table.entry[Blocks][Rows] = run_tile<Real, Rows, Blocks>;
    if constexpr (Rows > 1) fill_table<Real, Blocks, Rows - 1>(table);
    if constexpr (Rows == 1 && Blocks > 1) fill_table<Real, Blocks - 1, kTileRows<Real>>(table);
}
template <class Real>
constexpr TileTable<Real> make_table() {
    TileTable<Real> table;
    fill_table<Real, kTileBlocks<Real>, kTileRows<Real>>(table);
    return table;
}
template <class Real>
constexpr TileTable<Real> kTiles = make_table<Real>();

// Mobile networks have 24, 40, 72 and 120 channels; float64 is not worth the code.
template <class Real>
constexpr bool kHalves = sizeof(Real) == 4;

template <class Real>
void conv_tile(const ConvTile<Real>& a) {
    if constexpr (Vec<Real>::ordered) {
        if (a.source_columns > 1) return conv_side_by_side(a);
        if (is_lone(a)) {
            const bool half = 2 * a.last_lanes <= kBlockLanes<Real>;
            return (half ? run_threes<Real, 3, 1>
                         : run_threes<Real, 4, 1>)(a, (a.steps - 1) * a.elements + a.last_elements);
        }
        conv_tile_in_order(a);
    } else {
        constexpr int kRows = kTileRows<Real>, kMost = kTileBlocks<Real>;
        // Tiles of a row differ by one column at most: 14 and 1 would leave the last one waiting for its own sums.
        const int64_t tiles = (a.columns + kRows - 1) / kRows;
        const bool halves = kHalves<Real> && 2 * a.last_lanes <= kBlockLanes<Real> && !a.resume;
        for (int64_t row = 0; row < a.rows; ++row) {
            int64_t column = 0;
            for (int64_t tile = 0; tile < tiles; ++tile) {
                const int64_t next = (tile + 1) * a.columns / tiles;
                for (int64_t block = 0; block < a.blocks; block += kMost) {
                    const int64_t blocks = a.blocks - block < kMost ? a.blocks - block : kMost;
                    if constexpr (kHalves<Real>) {
                        if (halves && next - column == kRows && block + kMost == a.blocks) {
                            run_tile<Real, kRows, kMost, true>(a, row, column, block);
                            continue;
                        }
                    }
                    kTiles<Real>.entry[blocks][next - column](a, row, column, block);
                }
                column = next;
            }
        }
    }
}

// The sum of `count` partials, halves first: the same tree for every ISA and thread count.
template <class Real>
Vec<Real> tree_sum(const Real* p, int64_t step, int64_t count) {
    if (count == 1) return Vec<Real>::load(p);
    const int64_t half = (count + 1) / 2;
    return tree_sum(p, step, half) + tree_sum(p + half * step, step, count - half);
}

template <class Real>
void conv_combine(const ConvCombine<Real>& a) {
    using V = Vec<Real>;
    constexpr int kLanes = kBlockLanes<Real>;
    const ConvEpilogue<Real>& e = a.epilogue;
    for (int64_t b = 0; b < a.blocks; ++b) {
        const int64_t lanes = b == a.blocks - 1 ? a.last_lanes : kLanes;
        Real sums[kLanes], block[kLanes];
        for (int v = 0; v < kLanes; v += V::width) {
            tree_sum(a.partials + b * kLanes + v, a.partial_step, a.n_partials).store(sums + v);
        }
        if (a.finish) {
            finish_block(e, sums, e.bias == nullptr ? nullptr : e.bias + b * kLanes,
                         e.residual.data == nullptr ? nullptr : e.residual.data + b * e.residual.block_step,
                         e.keep.data == nullptr ? nullptr : e.keep.data + b * e.keep.block_step,
                         e.positive.data == nullptr ? nullptr : e.positive.data + b * e.positive.block_step, lanes,
                         block);
        }
        store_block(a.finish ? block : sums, lanes, a.exact, a.output + b * kLanes);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(conv_tile, ConvTile)
CONVLENS_EXPORT_KERNEL(conv_combine, ConvCombine)
