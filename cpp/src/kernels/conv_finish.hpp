// Blocks of lanes and what is done with a tile's sums: shared by the bodies of dense and depthwise convolutions.
#pragma once

#include "kernels/args/conv_tile.hpp"
#include "kernels/bits.hpp"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
constexpr int kBlockLanes = 64 / static_cast<int>(sizeof(Real));
template <class Real>
constexpr int kBlockVecs = kBlockLanes<Real> / Vec<Real>::width;
// AVX-512 holds 14 rows of two blocks; the others hold as many rows of one block as leave room for it and a broadcast:
// 6 for NEON and AVX2 (two blocks: body/tiles_in_order.h), 2 for 16 registers of 16 bytes.
template <class Real>
constexpr int kTileBlocks = kBlockVecs<Real> == 1 ? 2 : 1;
constexpr int kPanelBlocks = 2;
template <class Real>
constexpr int kTileVecs = kTileBlocks<Real> * kBlockVecs<Real>;
template <class Real>
constexpr int kTileRows = (Vec<Real>::registers - kTileVecs<Real> - 1) / kTileVecs<Real>;

// Places of this tile: column x0 of a row, block b0.
struct TilePlace {
    int64_t row, column, block;
    template <class T>
    T* at(const ConvOperand<T>& operand) const {
        return operand.data + row * operand.row_step + column * operand.column_step + block * operand.block_step;
    }
};

// What the sums of a tile begin with: its bias, so that no addition waits for their end, or zeros. (Zen 4, 1 x 1 of 16
// channels with a clip: 4 %.)
template <class Real>
inline const Real* first_sums(const ConvTile<Real>& a, const TilePlace& place) {
    alignas(64) static constexpr Real kZeros[kPanelBlocks * kBlockLanes<Real>] = {};
    if (a.finish != kConvEpilogue || a.epilogue.bias == nullptr) return kZeros;
    return a.epilogue.bias + place.block * kBlockLanes<Real>;
}

// The lanes beyond `lanes` become zeros: zero weights times a NaN of the source are no zeros, and a clip's low need not
// be one. An exact output has no room for them.
template <class Real>
inline void store_block(const Real* block, int64_t lanes, bool exact, Real* output) {
    if (lanes == kBlockLanes<Real>) {
        for (int v = 0; v < kBlockLanes<Real>; v += Vec<Real>::width) Vec<Real>::load(block + v).store(output + v);
        return;
    }
    if (exact) {
        for (int64_t l = 0; l < lanes; ++l) output[l] = block[l];
        return;
    }
    const unsigned bits = (1u << lanes) - 1;
    for (int v = 0; v < kBlockLanes<Real>; v += Vec<Real>::width) {
        keep_where(bits >> v, Vec<Real>::load(block + v)).store(output + v);
    }
}

// Where the activation passes a gradient: above zero, or between a clip's bounds.
template <class Real>
inline unsigned passing_bits(const ConvEpilogue<Real>& e, Vec<Real> low, Vec<Real> high, Vec<Real> output) {
    if (e.activation != kConvClip) return positive_bits(output);
    return positive_bits(output - low) & positive_bits(high - output);
}

// One block of lanes after the reduction, whatever it takes. `lanes` of it are channels.
template <class Real>
inline void finish_block(const ConvEpilogue<Real>& e, const Real* sums, const Real* bias, const Real* residual,
                         const uint8_t* keep, uint8_t* positive, int64_t lanes, Real* output) {
    using V = Vec<Real>;
    const unsigned keep_bits = keep == nullptr ? ~0u : load_bits<Real>(keep);
    const V low = V::splat(e.activation == kConvClip ? e.low : Real(0)), high = V::splat(e.high);
    unsigned passing = 0;
    for (int v = 0; v < kBlockLanes<Real>; v += V::width) {
        V sum = V::load(sums + v);
        if (bias != nullptr) sum = sum + V::load(bias + v);
        if (residual != nullptr) sum = sum + V::load(residual + v);
        if (e.activation != kConvNone) sum = max(low, sum);
        if (e.activation == kConvClip) sum = min(high, sum);
        if (keep != nullptr) sum = keep_where(keep_bits >> v, sum);
        if (positive != nullptr) passing |= passing_bits(e, low, high, sum) << v;
        sum.store(output + v);
    }
    if (positive != nullptr) store_bits<Real>(positive, passing & ((1u << lanes) - 1));
}

// Masks of a tile whose outputs are just written: rolled loops over them, since masks in registers are much code. What
// they need is read before: bytes that are written may be anything's. (Zen 3, depthwise 3 x 3: 0.8 of the time with a
// mask stored, 0.7 with one read.)
template <class Real>
inline void keep_masked(const uint8_t* keep, int64_t keep_step, Real* output, int64_t step, int rows) {
    using V = Vec<Real>;
    CONVLENS_KEEP_LOOP
    for (int i = 0; i < rows; ++i, keep += keep_step, output += step) {
        const unsigned bits = load_bits<Real>(keep);
        CONVLENS_UNROLL
        for (int v = 0; v < kBlockLanes<Real>; v += V::width) {
            keep_where(bits >> v, V::load(output + v)).store(output + v);
        }
    }
}
template <bool Clip, class Real>
inline void store_positive(Real low_end, Real high_end, unsigned lanes, const Real* output, int64_t step,
                           uint8_t* positive, int64_t positive_step, int rows) {
    using V = Vec<Real>;
    const V low = V::splat(low_end), high = V::splat(high_end);
    CONVLENS_KEEP_LOOP
    for (int i = 0; i < rows; ++i, output += step, positive += positive_step) {
        unsigned passing = 0;
        CONVLENS_UNROLL
        for (int v = 0; v < kBlockLanes<Real>; v += V::width) {
            const V sum = V::load(output + v);
            unsigned bits = positive_bits(Clip ? sum - low : sum);
            if (Clip) bits &= positive_bits(high - sum);
            passing |= bits << v;
        }
        store_bits<Real>(positive, passing & lanes);
    }
}
template <class Real>
__attribute__((noinline)) void finish_masks(const ConvTile<Real>& a, TilePlace place, int rows, int blocks) {
    const ConvEpilogue<Real>& e = a.epilogue;
    const int64_t step = a.output.column_step;
    for (int b = 0; b < blocks; ++b, ++place.block) {
        Real* output = place.at(a.output);
        if (e.keep.data != nullptr) keep_masked(place.at(e.keep), e.keep.column_step, output, step, rows);
        if (e.positive.data == nullptr) continue;
        const unsigned lanes = (1u << (place.block == a.blocks - 1 ? a.last_lanes : kBlockLanes<Real>)) - 1;
        uint8_t* positive = place.at(e.positive);
        if (e.activation == kConvClip) {
            store_positive<true>(e.low, e.high, lanes, output, step, positive, e.positive.column_step, rows);
        } else {
            store_positive<false>(e.low, e.high, lanes, output, step, positive, e.positive.column_step, rows);
        }
    }
}

template <class Real>
inline bool has_masks(const ConvTile<Real>& a) {
    return a.finish == kConvEpilogue && (a.epilogue.keep.data != nullptr || a.epilogue.positive.data != nullptr);
}

// The ends of a tile by way of memory, for those that are not worth code of their own. `sums` is [row][block][lane].
template <class Real>
__attribute__((noinline)) void finish_slowly(const ConvTile<Real>& a, const Real* sums, const TilePlace& place,
                                             int rows, int blocks) {
    using V = Vec<Real>;
    constexpr int kLanes = kBlockLanes<Real>;
    const ConvEpilogue<Real>& e = a.epilogue;
    const bool partial = a.last_lanes != kLanes && place.block + blocks == a.blocks;
    const V low = V::splat(e.activation == kConvClip ? e.low : Real(0)), high = V::splat(e.high);
    const bool finish = a.finish == kConvEpilogue, add = a.finish == kConvAdd;
    for (int b = 0; b < blocks; ++b) {
        const TilePlace first = {place.row, place.column, place.block + b};
        const bool last = partial && b == blocks - 1;
        const unsigned bits = last ? (1u << a.last_lanes) - 1 : ~0u;
        for (int v = 0; v < kLanes; v += V::width) {
            const Real* from = sums + b * kLanes + v;
            Real* output = first.at(a.output) + v;
            const Real* residual = e.residual.data == nullptr ? nullptr : first.at(e.residual) + v;
            for (int i = 0; i < rows; ++i, from += blocks * kLanes, output += a.output.column_step) {
                V sum = V::load(from);
                if (add) sum = V::load(output) + sum;
                if (finish) {
                    if (residual != nullptr) {
                        sum = sum + V::load(residual);
                        residual += e.residual.column_step;
                    }
                    if (e.activation != kConvNone) sum = max(low, sum);
                    if (e.activation == kConvClip) sum = min(high, sum);
                }
                if (last && a.exact) {
                    Real lanes[V::width];
                    sum.store(lanes);
                    for (int l = 0; l < V::width && v + l < a.last_lanes; ++l) output[l] = lanes[l];
                    continue;
                }
                if (bits != ~0u) sum = keep_where(bits >> v, sum);
                sum.store(output);
            }
        }
    }
    if (has_masks(a)) finish_masks(a, place, rows, blocks);
}

// `Unrolled` tiles do all but the rarest in registers; others store alone. Rows follow each other by a pointer that is
// hidden from GCC, which would keep one for each of them, on the stack. (Zen 4, 1 x 1 of 16 channels: 4 %.)
template <class Real, int Rows, int Blocks, bool Unrolled, bool Streams = Unrolled>
inline __attribute__((always_inline)) void finish_tile(const ConvTile<Real>& a,
                                                       Vec<Real> (&sums)[Rows][Blocks * kBlockVecs<Real>],
                                                       TilePlace place, Real* output) {
    using V = Vec<Real>;
    constexpr int kVecs = kBlockVecs<Real>, kAll = Blocks * kVecs;
    const bool partial = a.last_lanes != kBlockLanes<Real> && place.block + Blocks == a.blocks;
    if (Unrolled ? partial && a.exact : a.finish != kConvStore || partial) {
        Real buffer[Rows * Blocks * kBlockLanes<Real>];
        each_index<Rows>(CONVLENS_EACH(i) {
            each_index<kAll>(CONVLENS_EACH(v) { sums[i][v].store(buffer + (i * kAll + v) * V::width); });
        });
        return finish_slowly(a, buffer, place, Rows, Blocks);
    }
    const int64_t block_step = a.output.block_step, column_step = a.output.column_step;
    if constexpr (Unrolled) {
        const ConvEpilogue<Real>& e = a.epilogue;
        if (a.finish == kConvAdd) {
            const Real* before = output;
            each_index<Rows>(CONVLENS_EACH(i) {
                each_index<kAll>(CONVLENS_EACH(v) {
                    const V there = V::load(before + v / kVecs * a.output.block_step + v % kVecs * V::width);
                    sums[i][v] = there + sums[i][v];
                });
                before += a.output.column_step;
                __asm__("" : "+r"(before));
            });
        } else if (a.finish == kConvEpilogue) {
            if (e.residual.data != nullptr) {
                const Real* residual = place.at(e.residual);
                each_index<Rows>(CONVLENS_EACH(i) {
                    each_index<kAll>(CONVLENS_EACH(v) {
                        const V r = V::load(residual + v / kVecs * e.residual.block_step + v % kVecs * V::width);
                        sums[i][v] = sums[i][v] + r;
                    });
                    residual += e.residual.column_step;
                    __asm__("" : "+r"(residual));
                });
            }
            if (e.activation != kConvNone) {
                // Relu is a clip at zero. max and min return their second argument when one is NaN: NaN survives.
                const V low = V::splat(e.activation == kConvClip ? e.low : Real(0));
                each_index<Rows>(
                    CONVLENS_EACH(i) { each_index<kAll>(CONVLENS_EACH(v) { sums[i][v] = max(low, sums[i][v]); }); });
                if (e.activation == kConvClip) {
                    const V high = V::splat(e.high);
                    each_index<Rows>(CONVLENS_EACH(i) {
                        each_index<kAll>(CONVLENS_EACH(v) { sums[i][v] = min(high, sums[i][v]); });
                    });
                }
            }
        }
        if (partial) {
            const unsigned bits = (1u << a.last_lanes) - 1;
            each_index<Rows>(CONVLENS_EACH(i) {
                each_index<kVecs>(CONVLENS_EACH(v) {
                    V& last = sums[i][(Blocks - 1) * kVecs + v];
                    last = keep_where(bits >> v * V::width, last);
                });
            });
        }
        if (Streams && a.streams) {
            each_index<Rows>(CONVLENS_EACH(i) {
                each_index<kAll>(
                    CONVLENS_EACH(v) { sums[i][v].stream(output + v / kVecs * block_step + v % kVecs * V::width); });
                output += column_step;
                __asm__("" : "+r"(output));
            });
            return;
        }
    }
    each_index<Rows>(CONVLENS_EACH(i) {
        each_index<kAll>(
            CONVLENS_EACH(v) { sums[i][v].store(output + v / kVecs * block_step + v % kVecs * V::width); });
        output += column_step;
        __asm__("" : "+r"(output));
    });
    if (Unrolled && has_masks(a)) finish_masks(a, place, Rows, Blocks);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
