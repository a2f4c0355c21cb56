// Depthwise convolution of plain planes: lanes are the pixels of a row.
#include "kernels/args/depthwise_plane.hpp"
#include "kernels/body/apart.h"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// The lanes of columns c, c + 2^shift ... that lie within the width.
inline unsigned lanes_inside(int64_t c, int shift, int64_t width, int64_t lanes) {
    const int64_t none = c < 0 ? (shift - c) >> shift : 0, some = c < width ? (width - c + shift) >> shift : 0;
    const unsigned all = some < lanes ? (1u << some) - 1 : ~0u;
    return none < lanes ? all >> none << none : 0;
}
// By a call, where the code's size counts for more: of integers alone, it leaves vectors where they are.
__attribute__((noinline)) unsigned lanes_within(int64_t c, int shift, int64_t width, int64_t lanes) {
    return lanes_inside(c, shift, width, lanes);
}

// Only the first `count` lanes that are left, when a whole vector would leave the memory. (No call: it would take all
// vectors out of their registers.)
template <class V, class Real>
inline void store_within(V v, Real* to, int64_t count, const Real* end) {
    if (count >= V::width || to + V::width <= end) return store_anywhere(to, v);
    Real lanes[V::width];
    v.store(lanes);
    CONVLENS_KEEP_LOOP
    for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

// Rows [first, first + count) of a plane; those above and below it count as zeros.
struct RowPlace {
    int64_t offset;
    bool within;
};
__attribute__((noinline)) void place_rows(RowPlace* rows, int64_t first, int64_t count, int64_t height, int64_t width) {
    CONVLENS_KEEP_LOOP
    for (int64_t i = 0; i < count; ++i) {
        const int64_t row = first + i;
        rows[i] = {row * width, row >= 0 && row < height};
    }
}

// Windows of 5 x 5. A load serves all of the rows whose windows it lies in.
template <class Real>
void sum_five_rows(const DepthwiseRows<Real>& a) {
    typedef Vec<Real> V;
    constexpr int kRows = V::registers < 32 ? 7 : 14, R = 5, kSources = kRows - 1 + R;
    RowPlace rows[kSources];
    int64_t placed = -1;
    for (int64_t plane = 0; plane < a.planes; ++plane)
        for (int64_t row = 0; row < a.rows; row += kRows) {
            if (placed != row) place_rows(rows, a.first_row + row, kSources, a.height, a.width);
            placed = row;
            const Real *source = a.source + plane * a.height * a.width, *weight = a.weight + plane * R * R;
            for (int64_t next = 0; next < a.columns; next += V::width) {
                // The last vector overlaps the one before: the sums are the same.
                const int64_t last = a.columns - V::width, column = next > last && last > 0 ? last : next;
                V sums[kRows];
                CONVLENS_UNROLL
                for (int t = 0; t < kRows; ++t) sums[t] = V::splat(a.bias == nullptr ? Real(0) : a.bias[plane]);
                for (int64_t tap = 0; tap < a.n_taps; ++tap) {
                    V w[R];
                    CONVLENS_UNROLL
                    for (int r = 0; r < R; ++r) w[r] = V::splat(weight[a.taps[tap].weight + r * a.weight_row_step]);
                    const int64_t c = column + a.taps[tap].source;
                    const unsigned bits = lanes_within(c, 0, a.width, V::width);
                    CONVLENS_UNROLL
                    for (int i = 0; i < kSources; ++i) {
                        V v = V::zero();
                        if (rows[i].within) v = keep_where(bits, V::load(source + c + rows[i].offset));
                        CONVLENS_UNROLL
                        for (int t = 0; t < kRows; ++t) {
                            if (i >= t && i < t + R) sums[t] = fma(v, w[i - t], sums[t]);
                        }
                    }
                }
                Real* to = a.output + (plane * a.rows + row) * a.output_row_step + column;
                const int64_t left = a.rows - row, count = left < kRows ? left : kRows;
                if (left >= kRows && to + (kRows - 1) * a.output_row_step + V::width <= a.output_end) {
                    CONVLENS_UNROLL
                    for (int t = 0; t < kRows; ++t, to += a.output_row_step) store_anywhere(to, sums[t]);
                    continue;
                }
                alignas(64) Real tile[kRows][V::width];
                CONVLENS_UNROLL
                for (int t = 0; t < kRows; ++t) sums[t].store(tile[t]);
                CONVLENS_KEEP_LOOP
                for (int64_t t = 0; t < count; ++t, to += a.output_row_step) {
                    store_within(V::load(tile[t]), to, a.columns - column, a.output_end);
                }
            }
        }
}

// Windows of 3 x 3. A row of the source is loaded once for all windows that see it, and what lies two apart in it taken
// apart once for all of its taps, which are neighbours then.
template <int Stride, class V, class Real>
void sum_three_rows(const DepthwiseRows<Real>& a) {
    constexpr int kLoads = Stride == 1 ? 3 : 4;
    int64_t places[kLoads] = {};
    unsigned bits[kLoads] = {};
    constexpr bool kWholeRow = V::width < Vec<Real>::width;  // which a vector holds
    const auto see = [&](int64_t column) {
        CONVLENS_UNROLL
        for (int i = 0; i < kLoads; ++i) {
            places[i] = Stride == 1 ? a.taps[i % 3].source : a.taps[0].source + i / 2 * 2 + i % 2 * V::width;
            const int64_t c = column * Stride + places[i];
            bits[i] = kWholeRow ? lanes_within(c, 0, a.width, V::width) : lanes_inside(c, 0, a.width, V::width);
        }
    };
    if (kWholeRow) see(0);
    for (int64_t plane = 0; plane < a.planes; ++plane) {
        const Real* weight = a.weight + plane * 9;
        const V bias = V::splat(a.bias == nullptr ? Real(0) : a.bias[plane]);
        V w[3][3];
        CONVLENS_UNROLL
        for (int r = 0; r < 3; ++r) {
            CONVLENS_UNROLL
            for (int s = 0; s < 3; ++s) w[r][s] = V::splat(weight[a.taps[s].weight + r * a.weight_row_step]);
        }
        for (int64_t row = 0; row < a.rows; row += a.tile) {
            const int64_t end = row + a.tile < a.rows ? row + a.tile : a.rows;
            for (int64_t next = 0; next < a.columns; next += V::width) {
                // The last vector overlaps the one before: the sums are the same.
                const int64_t last = a.columns - V::width, column = next > last && last > 0 ? last : next;
                int64_t y = a.first_row + row * Stride;
                if (!kWholeRow) see(column);
                const Real* source = a.source + column * Stride + (plane * a.height + y) * a.width;
                const auto take = [&](V* v) {
                    v[0] = v[1] = v[2] = V::zero();
                    if (y >= 0 && y < a.height) {
                        if (a.ahead > 0) {
                            CONVLENS_UNROLL
                            for (int i = 0; i < Stride; ++i) __builtin_prefetch(source + a.ahead + i * V::width);
                        }
                        V at[kLoads];
                        CONVLENS_UNROLL
                        for (int i = 0; i < kLoads; ++i) at[i] = keep_where(bits[i], V::load(source + places[i]));
                        if constexpr (Stride == 1) {
                            v[0] = at[0], v[1] = at[1], v[2] = at[2];
                        } else {
                            unzip(at[0], at[1], &v[0], &v[1]);
                            unzip(at[2], at[3], &v[2], &at[0]);
                        }
                    }
                    ++y, source += a.width;
                };
                V top[3], middle[3], bottom[3];
                take(top);
                if (Stride == 1) take(middle);
                Real* to = a.output + (plane * a.rows + row) * a.output_row_step + column;
                for (int64_t t = row; t < end; ++t, to += a.output_row_step) {
                    if (Stride == 2) take(middle);
                    take(bottom);
                    V sum = bias;
                    CONVLENS_UNROLL
                    for (int s = 0; s < 3; ++s) {
                        sum = fma(bottom[s], w[2][s], fma(middle[s], w[1][s], fma(top[s], w[0][s], sum)));
                        top[s] = Stride == 1 ? middle[s] : bottom[s];
                        middle[s] = bottom[s];
                    }
                    store_within(Stride == 1 ? sum : in_order(sum), to, a.columns - column, a.output_end);
                }
            }
        }
    }
}

template <class Real>
void depthwise_rows(const DepthwiseRows<Real>& a) {
    typedef Vec<Real> V;
    typedef typename V::Narrow Narrow;
    if (a.R == 5) return sum_five_rows(a);
    if (a.columns <= Narrow::width) {
        return a.stride == 1 ? sum_three_rows<1, Narrow>(a) : sum_three_rows<2, Narrow>(a);
    }
    a.stride == 1 ? sum_three_rows<1, V>(a) : sum_three_rows<2, V>(a);
}

// Neighbouring columns and rows of the output see one and two of the source. Two vectors of columns are put in turn.
template <class Real>
void depthwise_spread(const DepthwiseSpread<Real>& a) {
    typedef Vec<Real> V;
    constexpr int64_t kRows = 14, kColumns = 2 * V::width;
    const bool odd = a.pad_left % 2 != 0;
    for (int64_t plane = 0; plane < a.planes; ++plane) {
        V w[3][3];
        CONVLENS_UNROLL
        for (int i = 0; i < 9; ++i) w[i / 3][i % 3] = V::splat(a.weight[plane * 9 + i]);
        for (int64_t row = 0; row < a.rows; row += kRows) {
            const int64_t rows = row + kRows < a.rows ? row + kRows : a.rows;
            for (int64_t next = 0; next < a.columns; next += kColumns) {
                // The last vectors overlap those before, or end with the row: what lies below has sums already.
                const int64_t last = a.columns - kColumns,
                              column = next > last && last > 0 && last % 2 == 0 ? last : next,
                              left = a.columns - column, c = (a.pad_left + 1) / 2 - 1 + column / 2;
                const unsigned low_bits = lanes_within(c, 0, a.width, V::width),
                               high_bits = lanes_within(c + 1, 0, a.width, V::width);
                int64_t padded = a.first_row + row + a.pad_top, y = (padded - 1) >> 1;
                const Real* source = a.source + (plane * a.height + y) * a.width + c;
                Real* to = a.output + (plane * a.rows + row) * a.columns + column;
                const Real* end = column > 0 && left < kColumns ? to : a.output_end;
                V low, high;
                const auto take = [&] {
                    low = high = V::zero();
                    if (y >= 0 && y < a.height) {
                        low = keep_where(low_bits, V::load(source)), high = keep_where(high_bits, V::load(source + 1));
                    }
                    ++y, source += a.width;
                };
                take();
                for (int64_t t = row; t < rows; ++t, ++padded, to += a.columns) {
                    V one = V::zero(), two = V::zero();
                    const auto add = [&](const V* weight) {
                        V middle = high;  // a choice between variables would put both in memory
                        if (odd) middle = low;
                        one = fma(middle, weight[1], one);
                        two = fma(high, weight[0], fma(low, weight[2], two));
                    };
                    if (padded % 2 != 0) {
                        add(w[1]);
                    } else {
                        add(w[2]);
                        take();
                        add(w[0]);
                    }
                    V first, second;
                    if (odd) {
                        zip(one, two, &first, &second);
                    } else {
                        zip(two, one, &first, &second);
                    }
                    if (left >= kColumns || to + kColumns <= end) {
                        store_anywhere(to, first), store_anywhere(to + V::width, second);
                    } else {
                        Real lanes[kColumns];
                        first.store(lanes), second.store(lanes + V::width);
                        int64_t i = 0;
                        if (left >= V::width) store_anywhere(to, first), i = V::width;
                        CONVLENS_KEEP_LOOP
                        for (; i < left; ++i) to[i] = lanes[i];
                    }
                }
            }
        }
    }
}

// Lane l of the result is the sum over the lanes of v[l], added up in pairs.
template <class Real>
inline Vec<Real> add_lanes(Vec<Real>* v) {
    CONVLENS_UNROLL
    for (int n = Vec<Real>::width / 2; n > 0; n /= 2) {
        CONVLENS_UNROLL
        for (int i = 0; i < n; ++i) {
            Vec<Real> low, high;
            zip(v[i], v[i + n], &low, &high);
            v[i] = low + high;
        }
    }
    return v[0];
}

// A row of the source serves the rows of the gradient whose windows it lies in: these stay in registers.
template <int R, int Stride, class Real>
void grad_weight_rows(const DepthwiseRowsGradWeight<Real>& a) {
    typedef Vec<Real> V;
    constexpr int kKept = (R - 1) / Stride + 1, kGroups = (R * R + V::width - 1) / V::width;
    unsigned there = 0, bits[R] = {};
    int64_t seen = -1;
    for (int64_t plane = 0; plane < a.planes; ++plane) {
        V sums[R * R];
        CONVLENS_UNROLL
        for (int i = 0; i < R * R; ++i) sums[i] = V::zero();
        for (int64_t column = 0; column < a.columns; column += V::width) {
            there = lanes_within(column, 0, a.columns, V::width);
            CONVLENS_KEEP_LOOP
            for (int s = 0; s < R && seen != column; ++s) {
                bits[s] = there & lanes_within(column * Stride + a.first_column + s, Stride - 1, a.width, V::width);
            }
            seen = column;
            V grad[kKept];
            CONVLENS_UNROLL
            for (int k = 0; k < kKept; ++k) grad[k] = V::zero();
            const Real* next = a.grad + plane * a.rows * a.columns + column;
            int64_t row = a.first_row;
            const Real* source = a.source + (plane * a.height + row) * a.width + column * Stride + a.first_column;
            for (int64_t y = 0; y < a.rows + kKept - 1; ++y, next += a.columns) {
                CONVLENS_UNROLL
                for (int k = kKept - 1; k > 0; --k) grad[k] = grad[k - 1];
                if (a.ahead > 0) __builtin_prefetch(next + a.ahead);
                grad[0] = y < a.rows ? keep_where(there, V::load(next)) : V::zero();
                CONVLENS_UNROLL
                for (int phase = 0; phase < Stride; ++phase, ++row, source += a.width) {
                    if (row < 0 || row >= a.height) continue;
                    if (a.ahead > 0) {
                        CONVLENS_UNROLL
                        for (int i = 0; i < Stride; ++i) __builtin_prefetch(source + a.ahead + i * V::width);
                    }
                    CONVLENS_UNROLL
                    for (int s = 0; s < R; ++s) {
                        const V v = keep_where(bits[s], load_apart<Stride>(source + s, Stride));
                        CONVLENS_UNROLL
                        for (int r = phase; r < R; r += Stride) {
                            sums[r * R + s] = fma(grad[(r - phase) / Stride], v, sums[r * R + s]);
                        }
                    }
                }
            }
        }
        Real totals[kGroups * V::width];
        CONVLENS_UNROLL
        for (int g = 0; g < kGroups; ++g) {
            V group[V::width];
            CONVLENS_UNROLL
            for (int i = 0; i < V::width; ++i) {
                const int t = g * V::width + i;
                group[i] = t < R * R ? sums[t < R * R ? t : 0] : V::zero();
            }
            add_lanes(group).store(totals + g * V::width);
        }
        for (int i = 0; i < R * R; ++i) a.sums[plane * R * R + i] += totals[i];
    }
}
template <class Real>
void depthwise_rows_grad_weight(const DepthwiseRowsGradWeight<Real>& a) {
    a.stride == 1 ? grad_weight_rows<3, 1>(a) : grad_weight_rows<3, 2>(a);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(depthwise_rows, DepthwiseRows)
CONVLENS_EXPORT_KERNEL(depthwise_spread, DepthwiseSpread)
CONVLENS_EXPORT_KERNEL(depthwise_rows_grad_weight, DepthwiseRowsGradWeight)
