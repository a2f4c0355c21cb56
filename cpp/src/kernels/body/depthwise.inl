// Depthwise convolution: lanes are channels, so a tap is one multiplication of vectors.
#include "kernels/body/depthwise_in_order.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// Taps in rows of S, neighbours as the columns are: a load serves all of its taps. The sums of each half of the columns
// by themselves.
template <int S, class Real, int Columns>
inline void sum_neighbours(const ConvTile<Real>& a, const Real* source, int64_t jump, Vec<Real> (&sums)[Columns][1]) {
    using V = Vec<Real>;
    constexpr int kHalf = Columns / 2;
    for (int64_t t = 0; t < a.n_taps; t += S) {
        V w[S];
        CONVLENS_UNROLL
        for (int i = 0; i < S; ++i) w[i] = V::load(a.weight + a.taps[t + i].weight);
        const Real* s = source + a.taps[t].source;
        CONVLENS_UNROLL
        for (int half = 0; half < Columns; half += kHalf, s += kHalf * V::width + jump) {
            CONVLENS_UNROLL
            for (int j = 0; j < kHalf + S - 1; ++j) {
                const V v = V::load(s + j * V::width);
                CONVLENS_UNROLL
                for (int i = 0; i < S; ++i) {
                    if (j >= i && j - i < kHalf) sums[half + j - i][0] = fma(v, w[i], sums[half + j - i][0]);
                }
            }
        }
    }
}

// `jump` lies between the halves of the columns: two rows may go as one.
template <class Real, int Columns>
void depthwise_columns(const ConvTile<Real>& a, int64_t row, int64_t column, int64_t jump = 0) {
    const TilePlace place = {row, column, 0};
    using V = Vec<Real>;
    constexpr int kVecs = kBlockVecs<Real>;
    V sums[Columns][kVecs];
    const Real* first = first_sums(a, place);
    CONVLENS_UNROLL
    for (int v = 0; v < kVecs; ++v) {
        const V sum = V::load(first + v * V::width);
        CONVLENS_UNROLL
        for (int i = 0; i < Columns; ++i) sums[i][v] = sum;
    }
    const Real* source = place.at(a.source);
    int64_t t = 0;
    if constexpr (kVecs == 1 && Columns == kTileRows<Real>) {
        if (a.elements == 3) sum_neighbours<3>(a, source, jump, sums), t = a.n_taps;
        if (a.elements == 5) sum_neighbours<5>(a, source, jump, sums), t = a.n_taps;
    }
    for (; t < a.n_taps; ++t) {
        const Real* s = source + a.taps[t].source;
        const Real* w = a.weight + a.taps[t].weight;
        V ws[kVecs];
        CONVLENS_UNROLL
        for (int v = 0; v < kVecs; ++v) ws[v] = V::load(w + v * V::width);
        CONVLENS_UNROLL
        for (int i = 0; i < Columns; ++i) {
            if (Columns == kTileRows<Real> && i == Columns / 2) s += jump;
            CONVLENS_UNROLL
            for (int v = 0; v < kVecs; ++v) sums[i][v] = fma(V::load(s + v * V::width), ws[v], sums[i][v]);
            s += a.source.column_step;
        }
    }
    finish_tile<Real, Columns, 1, (Columns >= 4)>(a, sums, place, place.at(a.output));
}

// Those of more than four columns that are no half of a whole tile are seldom enough to go as two.
constexpr int kFewColumns = 4;
template <class Real, int Columns>
inline void depthwise_rest(const ConvTile<Real>& a, int64_t row, int64_t column, int64_t columns) {
    if constexpr (Columns > 0) {
        if (columns == Columns) return depthwise_columns<Real, Columns>(a, row, column);
        depthwise_rest<Real, (Columns > kFewColumns ? kFewColumns : Columns - 1)>(a, row, column, columns);
    }
}

template <class Real>
void depthwise_tile_by_columns(const ConvTile<Real>& a) {
    constexpr int kColumns = kTileRows<Real>, kHalf = kColumns < 8 ? kColumns - 1 : kColumns / 2;
    int64_t row = 0;
    if (a.columns * 2 == kColumns && a.output.row_step == a.columns * a.output.column_step &&
        a.epilogue.residual.data == nullptr && !has_masks(a)) {
        const int64_t jump = a.source.row_step - a.columns * a.source.column_step;
        for (; row + 2 <= a.rows; row += 2) depthwise_columns<Real, kColumns>(a, row, 0, jump);
    }
    for (; row < a.rows; ++row) {
        int64_t column = 0;
        for (; column + kColumns <= a.columns; column += kColumns) {
            depthwise_columns<Real, kColumns>(a, row, column);
        }
        for (int64_t left = a.columns - column; left > 0; left = a.columns - column) {
            const bool even = left > kFewColumns && (left < kHalf || left == 2 * kFewColumns);
            const int64_t next = even ? left - left / 2 : left < kHalf ? left : kHalf;
            depthwise_rest<Real, kHalf>(a, row, column, next);
            column += next;
        }
    }
}

template <class Real>
void depthwise_tile(const ConvTile<Real>& a) {
    if constexpr (Vec<Real>::ordered) {
        depthwise_tile_in_order(a);
    } else {
        depthwise_tile_by_columns(a);
    }
}

// `Taps` neighbours share a load of the gradient. Even and odd columns have sums of their own: a chain of fmas a tap
// would wait for itself.
template <class Real, int Taps>
void depthwise_taps(const DepthwiseGradWeight<Real>& a, int64_t tap, int lane) {
    using V = Vec<Real>;
    V sums[2][Taps];
    CONVLENS_UNROLL
    for (int t = 0; t < Taps; ++t) sums[0][t] = sums[1][t] = V::zero();
    const int64_t tap_step = a.source_tap_step, column_step = a.source.column_step;
    for (int64_t row = 0; row < a.rows; ++row) {
        const Real* grad = a.grad.data + row * a.grad.row_step + lane;
        const Real* source = a.source.data + row * a.source.row_step + tap * tap_step + lane;
        int64_t column = 0;
        for (; column + 2 <= a.columns; column += 2) {
            const V even = V::load(grad), odd = V::load(grad + a.grad.column_step);
            CONVLENS_UNROLL
            for (int t = 0; t < Taps; ++t) {
                sums[0][t] = fma(even, V::load(source + t * tap_step), sums[0][t]);
                sums[1][t] = fma(odd, V::load(source + column_step + t * tap_step), sums[1][t]);
            }
            grad += 2 * a.grad.column_step;
            source += 2 * column_step;
        }
        if (column < a.columns) {
            const V even = V::load(grad);
            CONVLENS_UNROLL
            for (int t = 0; t < Taps; ++t) {
                sums[0][t] = fma(even, V::load(source + t * tap_step), sums[0][t]);
            }
        }
    }
    CONVLENS_UNROLL
    for (int t = 0; t < Taps; ++t) {
        Real* output = a.output + (tap + t) * kBlockLanes<Real> + lane;
        (V::load(output) + (sums[0][t] + sums[1][t])).store(output);
    }
}

template <class Real>
void depthwise_grad_weight(const DepthwiseGradWeight<Real>& a) {
    for (int lane = 0; lane < kBlockLanes<Real>; lane += Vec<Real>::width) {
        int64_t tap = 0;
        for (; tap + 5 <= a.taps; tap += 5) depthwise_taps<Real, 5>(a, tap, lane);
        const int64_t rest = a.taps - tap;
        if (rest == 4) depthwise_taps<Real, 4>(a, tap, lane);
        if (rest == 3) depthwise_taps<Real, 3>(a, tap, lane);
        if (rest == 2) depthwise_taps<Real, 2>(a, tap, lane);
        if (rest == 1) depthwise_taps<Real, 1>(a, tap, lane);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(depthwise_tile, ConvTile)
CONVLENS_EXPORT_KERNEL(depthwise_grad_weight, DepthwiseGradWeight)
