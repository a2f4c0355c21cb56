// Depthwise tiles where instructions name 16 registers and two make a block (AVX2): half of the lanes of seven pixels,
// as the maps of most networks are multiples of seven wide, then the other half. A load of the source serves all taps
// of a row that see it: with one for each product, products wait for loads, and with both halves the sums and weights
// do not fit the registers. A run of tiles shares what is computed before the first. (Zen 3, clipped 3 x 3 of 28, 14
// and 7 columns: 0.68, 0.53 and 0.46 of the time of six pixels a call and a load a product; 5 x 5: 0.73, 0.64 and
// 0.59.)
#pragma once

#include "kernels/args/depthwise.hpp"
#include "kernels/conv_finish.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// Adds the products of neighbouring taps, `step` bytes apart; neighbouring columns are `Stride` of them apart.
template <int Stride, int Taps, class Real, int Columns>
inline __attribute__((always_inline)) void add_taps(const ConvTap* taps, const Real* source, int64_t step,
                                                    const Real* weight, Vec<Real> (&sums)[Columns]) {
    using V = Vec<Real>;
    V ws[Taps];
    each_index<Taps>(CONVLENS_EACH(i) { ws[i] = V::load(weight + taps[i].weight); });
    const char* at = reinterpret_cast<const char*>(source + taps->source);
    each_index<(Columns - 1) * Stride + Taps>(CONVLENS_EACH(j) {
        const V x = V::load(reinterpret_cast<const Real*>(at));
        each_index<Taps>(CONVLENS_EACH(i) {
            constexpr int kFrom = decltype(j)() - decltype(i)(), kColumn = kFrom / Stride;
            if constexpr (kFrom % Stride == 0 && kColumn >= 0 && kColumn < Columns) {
                sums[kColumn] = fma(x, ws[i], sums[kColumn]);
            }
        });
        at += step;
        __asm__("" : "+r"(at));
    });
}

// What ends most tiles; finish_slowly and finish_masks do the rest.
template <class Real, int Columns>
inline __attribute__((always_inline)) void store_lanes(const ConvTile<Real>& a, bool clip_sums, int lane,
                                                       Vec<Real> (&sums)[Columns], Real* output, int64_t step) {
    using V = Vec<Real>;
    if (clip_sums) {
        const ConvEpilogue<Real>& e = a.epilogue;
        const V low = V::splat(e.activation == kConvClip ? e.low : Real(0));
        each_index<Columns>(CONVLENS_EACH(i) { sums[i] = max(low, sums[i]); });
        if (e.activation == kConvClip) {
            const V high = V::splat(e.high);
            each_index<Columns>(CONVLENS_EACH(i) { sums[i] = min(high, sums[i]); });
        }
    }
    if (a.last_lanes != kBlockLanes<Real>) {
        const unsigned lanes = ((1u << a.last_lanes) - 1) >> lane;
        each_index<Columns>(CONVLENS_EACH(i) { sums[i] = keep_where(lanes, sums[i]); });
    }
    output += lane;
    each_index<Columns>(CONVLENS_EACH(i) {
        sums[i].store(output);
        output += step;
        __asm__("" : "+r"(output));
    });
}

// `tiles` tiles from `place` on: side by side, or below each other. Taps come in rows of `Taps` that share loads.
template <class Real, int Columns, int Stride, int Taps>
void run_depthwise(const ConvTile<Real>& a, TilePlace place, int64_t tiles, bool down) {
    using V = Vec<Real>;
    const Real* first = first_sums(a, place);
    const Real* source = place.at(a.source);
    Real* output = place.at(a.output);
    const int64_t step = a.source.column_step / Stride * static_cast<int64_t>(sizeof(Real));
    const int64_t source_step = down ? a.source.row_step : Columns * a.source.column_step;
    const int64_t output_step = down ? a.output.row_step : Columns * a.output.column_step;
    const bool slowly = a.exact || a.epilogue.residual.data != nullptr;
    const bool masks = !slowly && has_masks(a);
    const bool clip_sums = !slowly && a.finish == kConvEpilogue && a.epilogue.activation != kConvNone;
    const int64_t column_step = slowly ? kBlockLanes<Real> : a.output.column_step;
    do {
        Real buffer[Columns * kBlockLanes<Real>];
        Real* to = slowly ? buffer : output;
        for (int lane = 0; lane < kBlockLanes<Real>; lane += V::width) {
            V sums[Columns];
            const V sum = V::load(first + lane);
            each_index<Columns>(CONVLENS_EACH(i) { sums[i] = sum; });
            const ConvTap* end = a.taps + a.n_taps;
            for (const ConvTap* tap = a.taps; tap != end; tap += Taps) {
                add_taps<Stride, Taps>(tap, source + lane, step, a.weight + lane, sums);
            }
            store_lanes(a, clip_sums, lane, sums, to, column_step);
        }
        if (slowly) finish_slowly(a, buffer, place, Columns, 1);
        if (masks) finish_masks(a, place, Columns, 1);
        place.row += down, place.column += down ? 0 : Columns;
        source += source_step, output += output_step;
    } while (--tiles > 0);
}

template <class Real>
using RunDepthwise = void (*)(const ConvTile<Real>&, TilePlace, int64_t tiles, bool down);

// What taps share loads: none, or those of a row, as far apart as columns are or half as far.
enum SharingTaps { kNone, kThree, kFive, kThreeOfTwo, kFiveOfTwo };
constexpr int kDepthwiseColumns = 7;
template <class Real, int Stride, int Taps>
struct DepthwiseRuns {
    // Few columns, and float64, are not worth the code; what is not 3 x 3 with stride 1 has it for whole tiles alone.
    static constexpr int kLeast = Stride == 1 && Taps == 3 ? 4 : kDepthwiseColumns;
    template <int Columns>
    static constexpr RunDepthwise<Real> run =
        (Columns < kLeast || sizeof(Real) == 8) ? run_depthwise<Real, Columns, 1, 1>
                                                : run_depthwise<Real, Columns, Stride, Taps>;
    static constexpr RunDepthwise<Real> of_columns[kDepthwiseColumns] = {run<1>, run<2>, run<3>, run<4>,
                                                                         run<5>, run<6>, run<7>};
};

// Columns from the last to the first.
template <class T>
inline void turn_columns(ConvOperand<T>* o, int64_t columns) {
    o->data += o->data == nullptr ? 0 : (columns - 1) * o->column_step;
    o->column_step = -o->column_step;
}

// Beyond, rows leave the second-level cache before they are seen again.
constexpr int64_t kSourceBytes = 1 << 18;

template <class Real>
void run_depthwise_tiles(const ConvTile<Real>& a, SharingTaps taps) {
    // Tiles of a row differ by one column at most: the higher ones first.
    constexpr int kMost = kDepthwiseColumns;
    const int64_t tiles = (a.columns + kMost - 1) / kMost, low = a.columns / tiles, higher = a.columns % tiles;
    const RunDepthwise<Real>* const runs[] = {
        DepthwiseRuns<Real, 1, 1>::of_columns, DepthwiseRuns<Real, 1, 3>::of_columns,
        DepthwiseRuns<Real, 1, 5>::of_columns, DepthwiseRuns<Real, 2, 3>::of_columns,
        DepthwiseRuns<Real, 2, 5>::of_columns};
    const auto* run = runs[taps];
    // Runs go the longer way, as a call costs as much as three pixels.
    if (a.rows >= tiles && a.rows * a.source.row_step <= kSourceBytes / static_cast<int64_t>(sizeof(Real))) {
        int64_t column = 0;
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t columns = tile < higher ? low + 1 : low;
            run[columns - 1](a, {0, column, 0}, a.rows, true);
            column += columns;
        }
        return;
    }
    for (int64_t row = 0; row < a.rows; ++row) {
        if (higher > 0) run[low](a, {row, 0, 0}, higher, false);
        run[low - 1](a, {row, higher * (low + 1), 0}, tiles - higher, false);
    }
}

// How many taps follow each other by a block's lanes, forward or backward, if all of them come in such rows; else 1.
template <class Real>
inline int64_t taps_a_row(const ConvTile<Real>& a) {
    const auto next = [&](int64_t t) { return a.taps[t].source - a.taps[t - 1].source; };
    if (a.n_taps < 2 || (next(1) != kBlockLanes<Real> && next(1) != -kBlockLanes<Real>)) return 1;
    int64_t taps = 2;
    while (taps < a.n_taps && next(taps) == next(1)) ++taps;
    for (int64_t t = taps; t < a.n_taps; ++t) {
        if (t % taps != 0 && next(t) != next(1)) return 1;
    }
    return a.n_taps % taps == 0 ? taps : 1;
}

template <class Real>
void depthwise_tile_in_order(const ConvTile<Real>& a) {
    if (a.rows <= 0 || a.columns <= 0) return;
    constexpr int64_t kLanes = kBlockLanes<Real>;
    const int64_t taps = taps_a_row(a), step = a.source.column_step;
    SharingTaps sharing = kNone;
    if (taps == 3) sharing = step == kLanes ? kThree : step == 2 * kLanes ? kThreeOfTwo : kNone;
    if (taps == 5) sharing = step == kLanes ? kFive : step == 2 * kLanes ? kFiveOfTwo : kNone;
    if (sharing == kNone || a.taps[0].source < a.taps[1].source) return run_depthwise_tiles(a, sharing);
    ConvTile<Real> turned = a;  // those of a gradient go backward
    turn_columns(&turned.output, a.columns), turn_columns(&turned.source, a.columns);
    turn_columns(&turned.epilogue.residual, a.columns);
    turn_columns(&turned.epilogue.keep, a.columns), turn_columns(&turned.epilogue.positive, a.columns);
    run_depthwise_tiles(turned, sharing);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
