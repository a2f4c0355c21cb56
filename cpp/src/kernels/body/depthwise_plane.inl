// Depthwise convolution of plain planes: lanes are the pixels of a row.
#include "kernels/args/depthwise_plane.hpp"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// Bit i is set where column c + i lies within the width.
inline uint64_t columns_within(int64_t c, int64_t width) {
    const int64_t none = c < 0 ? -c : 0, some = width > c ? width - c : 0;
    const uint64_t all = some < 64 ? (uint64_t{1} << some) - 1 : ~uint64_t{0};
    return all >> none << none;
}
template <class V, class Real>
inline V load_where(uint64_t bits, const Real* p) {
    return keep_where(static_cast<unsigned>(bits), V::load(p));
}

// Windows of 5 x 5. A load serves all of the rows whose windows it lies in; rows beyond the plane are passed over.
template <class V, int kRows, class Real>
void sum_five_rows(const DepthwiseRows<Real>& a) {
    // Few rows' chains of sums would wait for themselves: every second row of weights has sums of its own.
    constexpr bool kTwice = V::width < Vec<Real>::width;
    constexpr int R = 5, kSources = kRows - 1 + R, kSums = kTwice ? 2 * kRows : kRows;
    const int64_t height = a.height, width = a.width, step = a.weight_step;
    for (int64_t plane = 0; plane < a.planes; ++plane)
        for (int64_t row = 0; row < a.rows; row += kRows) {
            const int64_t first = a.first_row + row;
            const uint64_t rows = columns_within(first, height);
            const Real *source = a.source + (plane * height + first) * width, *weight = a.weight + plane * R * R;
            for (int64_t next = 0; next < a.columns; next += V::width) {
                // The last vector overlaps the one before: the sums are the same.
                const int64_t last = a.columns - V::width, column = next > last && last > 0 ? last : next;
                const int64_t c = column + a.first_column;
                uint64_t bits = columns_within(c, width);
                V sums[kSums];
                CONVLENS_UNROLL
                for (int t = 0; t < kSums; ++t) {
                    sums[t] = V::splat(a.bias == nullptr || t >= kRows ? Real(0) : a.bias[plane]);
                }
                CONVLENS_KEEP_LOOP
                for (int64_t s = 0; s < R; ++s, bits >>= 1) {
                    const Real* from = source + c + s;
                    V w[R];
                    CONVLENS_UNROLL
                    for (int r = 0; r < R; ++r) w[r] = V::splat(weight[(r * R + s) * step]);
                    CONVLENS_UNROLL
                    for (int i = 0; i < kSources; ++i, from += width) {
                        if ((rows >> i & 1) == 0) continue;
                        const V v = load_where<V>(bits, from);
                        CONVLENS_UNROLL
                        for (int t = 0; t < kRows; ++t) {
                            V& sum = sums[kTwice && (i - t) % 2 != 0 ? kRows + t : t];
                            if (i >= t && i < t + R) sum = fma(v, w[i - t], sum);
                        }
                    }
                }
                Real* to = a.output + (plane * a.rows + row) * a.output_row_step + column;
                CONVLENS_UNROLL
                for (int t = 0; t < kRows; ++t, to += a.output_row_step) {
                    if (kTwice) sums[t] = sums[t] + sums[kSums - kRows + t];
                    if (row + t < a.rows) store_anywhere(to, sums[t]);
                }
            }
        }
}

// Windows of 3 x 3. A row of the source is added to the sums of all windows that see it, once it is loaded; what lies
// two apart in it is taken apart once for all of its taps, which are neighbours then.
template <int Stride, class V, class Real>
void sum_three_rows(const DepthwiseRows<Real>& a) {
    constexpr bool kWholeRow = V::width < Vec<Real>::width;  // which a vector holds
    const int64_t height = a.height, width = a.width, row_step = a.output_row_step, step = a.weight_step;
    const int64_t tile = kWholeRow ? 1 : a.tile, columns = kWholeRow ? V::width : a.columns;
    const uint64_t first_bits = columns_within(a.first_column, width);
    for (int64_t plane = 0; plane < a.planes; ++plane) {
        const Real* weight = a.weight + plane * 9;
        const V bias = V::splat(a.bias == nullptr ? Real(0) : a.bias[plane]);
        V w[9];
        CONVLENS_UNROLL
        for (int i = 0; i < 9; ++i) w[i] = V::splat(weight[i * step]);
        for (int64_t row = 0; row < (kWholeRow ? 1 : a.rows); row += tile) {
            const int64_t end = !kWholeRow && row + tile < a.rows ? row + tile : a.rows;
            for (int64_t next = 0; next < columns; next += V::width) {
                // The last vector overlaps the one before: the sums are the same.
                const int64_t last = columns - V::width, column = next > last && last > 0 ? last : next;
                const int64_t c = column * Stride + a.first_column;
                const uint64_t bits = kWholeRow ? first_bits : columns_within(c, width);
                int64_t y = a.first_row + row * Stride;
                const Real* source = a.source + (plane * height + y) * width + c;
                Real* to = a.output + (plane * a.rows + row) * row_step + column;
                const auto take = [&](V* v) {
                    const bool within = y >= 0 && y < height;
                    if (within) {
                        if (a.ahead > 0) {
                            CONVLENS_UNROLL
                            for (int i = 0; i < Stride; ++i) __builtin_prefetch(source + a.ahead + i * V::width);
                            if (Stride == 1) __builtin_prefetch(to + a.output_ahead, 1);
                        }
                        const auto at = [&](int place) { return load_where<V>(bits >> place, source + place); };
                        if constexpr (Stride == 1) {
                            v[0] = at(0), v[1] = at(1), v[2] = at(2);
                        } else {
                            unzip(at(0), at(V::width), &v[0], &v[1]);
                            if constexpr (kWholeRow) {
                                v[2] = next_lanes(v[0]);
                            } else {
                                V odd;
                                unzip(at(2), at(V::width + 2), &v[2], &odd);
                            }
                        }
                    }
                    ++y, source += width;
                    return within;
                };
                // Of the windows that the next row lies in: those that it is the last and the second row of.
                V third = bias, second = bias, v[3];
                for (int64_t t = row - 3 + Stride; t < end; ++t) {
                    if constexpr (Stride == 2) {
                        if (t >= row && take(v)) {
                            CONVLENS_UNROLL
                            for (int s = 0; s < 3; ++s) third = fma(v[s], w[3 + s], third);
                        }
                    }
                    V first = bias;
                    if (take(v)) {
                        CONVLENS_UNROLL
                        for (int s = 0; s < 3; ++s) {
                            third = fma(v[s], w[6 + s], third);
                            if constexpr (Stride == 1) second = fma(v[s], w[3 + s], second);
                            first = fma(v[s], w[s], first);
                        }
                    }
                    if (t >= row) {
                        store_anywhere(to, Stride == 1 ? third : in_order(third));
                        to += row_step;
                    }
                    third = Stride == 1 ? second : first;
                    second = first;
                }
            }
        }
    }
}

template <class Real>
void depthwise_rows(const DepthwiseRows<Real>& a) {
    typedef Vec<Real> V;
    typedef typename V::Narrow Narrow;
    if (a.R == 5) {
        constexpr int kRows = V::registers < 32 ? 7 : 14;
        constexpr int kNarrowRows = Narrow::width < V::width ? 7 : kRows;
        return a.columns <= Narrow::width ? sum_five_rows<Narrow, kNarrowRows>(a) : sum_five_rows<V, kRows>(a);
    }
    if (a.columns < Narrow::width) {
        return a.stride == 1 ? sum_three_rows<1, Narrow>(a) : sum_three_rows<2, Narrow>(a);
    }
    a.stride == 1 ? sum_three_rows<1, V>(a) : sum_three_rows<2, V>(a);
}

// Neighbouring columns and rows of the output see one and two of the source. Two vectors of columns are put in turn.
template <class V, class Real>
void spread_rows(const DepthwiseSpread<Real>& a) {
    constexpr int64_t kRows = 14, kColumns = 2 * V::width;
    const int64_t height = a.height, width = a.width, columns = a.columns;
    for (int64_t plane = 0; plane < a.planes; ++plane) {
        V w[9];
        CONVLENS_UNROLL
        for (int i = 0; i < 9; ++i) w[i] = V::splat(a.weight[plane * 9 + i]);
        for (int64_t row = 0; row < a.rows; row += kRows) {
            const int64_t end = row + kRows < a.rows ? row + kRows : a.rows;
            for (int64_t next = 0; next < columns; next += kColumns) {
                // The last vectors overlap those before: the sums are the same.
                const int64_t last = columns - kColumns, column = next > last && last > 0 ? last : next;
                const int64_t padded = column + a.pad_left, c = (padded + 1) / 2 - 1, top = a.first_row + a.pad_top;
                const bool odd = padded % 2 != 0;
                const uint64_t bits = columns_within(c, width);
                int64_t y = (row + top - 1) >> 1;
                const Real* source = a.source + (plane * height + y) * width + c;
                Real* to = a.output + (plane * a.rows + 2 * y - top) * columns + column;
                V one = V::zero(), two = V::zero();
                const auto store = [&](int64_t t) {
                    if (t >= row && t < end) {
                        V first, second;
                        if (odd) {
                            zip(one, two, &first, &second);
                        } else {
                            zip(two, one, &first, &second);
                        }
                        store_anywhere(to, first), store_anywhere(to + V::width, second);
                    }
                    to += columns;
                };
                for (int64_t t = 2 * y - top; t < end; t += 2, ++y, source += width) {
                    V low = V::zero(), high = low, middle = low;
                    if (y >= 0 && y < height) {
                        low = load_where<V>(bits, source), high = load_where<V>(bits >> 1, source + 1);
                        middle = high;
                        if (odd) middle = low;
                    }
                    one = fma(middle, w[1], one), two = fma(high, w[0], fma(low, w[2], two));
                    store(t);
                    one = fma(middle, w[4], V::zero()), two = fma(high, w[3], fma(low, w[5], V::zero()));
                    store(t + 1);
                    one = fma(middle, w[7], V::zero()), two = fma(high, w[6], fma(low, w[8], V::zero()));
                }
            }
        }
    }
}
template <class Real>
void depthwise_spread(const DepthwiseSpread<Real>& a) {
    typedef typename Vec<Real>::Narrow Narrow;
    a.columns <= 2 * Narrow::width ? spread_rows<Narrow>(a) : spread_rows<Vec<Real>>(a);
}

// A row of the source serves the rows of the gradient whose windows it lies in: these stay in registers. Taps of what
// lies two apart in it share loads, too: the last tap's source is the first one's of the next column.
template <int Stride, class V, class Real>
void grad_weight_rows(const DepthwiseRowsGradWeight<Real>& a) {
    constexpr int kKept = 4 - Stride, kShifts = Stride;
    constexpr bool kWholeRow = V::width < Vec<Real>::width;
    const bool beyond = Stride == 2 && a.first_column + a.columns * 2 < a.width;
    const int64_t columns = kWholeRow ? V::width : a.columns + beyond;
    // No pixel that no window sees is multiplied, not even by zero.
    const int64_t below = a.first_row + (a.rows - 1) * Stride + 3,
                  right = a.first_column + (a.columns - 1) * Stride + 3;
    const int64_t height = below < a.height ? below : a.height, width = right < a.width ? right : a.width;
    const int64_t grad_rows = a.rows, grad_step = a.columns, source_step = a.width, ahead = a.ahead;
    const uint64_t first_there = columns_within(0, grad_step), first_before = columns_within(-1, grad_step),
                   first_bits = columns_within(a.first_column, width);
    for (int64_t plane = 0; plane < a.planes; ++plane) {
        V sums[9];
        CONVLENS_UNROLL
        for (int i = 0; i < 9; ++i) sums[i] = V::zero();
        for (int64_t column = 0; column < columns; column += V::width) {
            const int64_t c = column * Stride + a.first_column;
            const uint64_t there = kWholeRow ? first_there : columns_within(column, grad_step),
                           before = kWholeRow ? first_before : columns_within(column - 1, grad_step),
                           bits = kWholeRow ? first_bits : columns_within(c, width);
            V grad[kKept][kShifts];
            CONVLENS_UNROLL
            for (int k = 0; k < kKept * kShifts; ++k) grad[k / kShifts][k % kShifts] = V::zero();
            const Real* next = a.grad + plane * grad_rows * grad_step + column;
            int64_t row = a.first_row;
            const Real* source = a.source + (plane * a.height + row) * source_step + c;
            for (int64_t y = 0; y < grad_rows + kKept - 1; ++y, next += grad_step) {
                CONVLENS_UNROLL
                for (int k = kKept - 1; k > 0; --k) {
                    CONVLENS_UNROLL
                    for (int i = 0; i < kShifts; ++i) grad[k][i] = grad[k - 1][i];
                }
                if (ahead > 0) __builtin_prefetch(next + ahead);
                CONVLENS_UNROLL
                for (int i = 0; i < kShifts; ++i) {
                    grad[0][i] = V::zero();
                    if (y < grad_rows) grad[0][i] = load_where<V>(i == 0 ? there : before, next - i);
                    if (Stride == 2) grad[0][i] = in_order(grad[0][i]);
                }
                CONVLENS_UNROLL
                for (int phase = 0; phase < Stride; ++phase, ++row, source += source_step) {
                    if (row < 0 || row >= height) continue;
                    if (ahead > 0) {
                        CONVLENS_UNROLL
                        for (int i = 0; i < Stride; ++i) __builtin_prefetch(source + ahead + i * V::width);
                    }
                    const auto at = [&](int place) { return load_where<V>(bits >> place, source + place); };
                    V v[3];
                    if constexpr (Stride == 1) {
                        v[0] = at(0), v[1] = at(1), v[2] = at(2);
                    } else {
                        unzip(at(0), at(V::width), &v[0], &v[1]);
                    }
                    CONVLENS_UNROLL
                    for (int s = 0; s < 3; ++s) {
                        CONVLENS_UNROLL
                        for (int r = phase; r < 3; r += Stride) {
                            const V g = grad[(r - phase) / Stride][Stride == 2 ? s / 2 : 0];
                            sums[r * 3 + s] = fma(g, v[Stride == 2 ? s % 2 : s], sums[r * 3 + s]);
                        }
                    }
                }
            }
        }
        Real* to = a.sums + plane * 9 * kSumLanes<Real>;
        CONVLENS_UNROLL
        for (int i = 0; i < 9; ++i, to += kSumLanes<Real>) (V::load(to) + sums[i]).store(to);
    }
}
template <class Real>
void depthwise_rows_grad_weight(const DepthwiseRowsGradWeight<Real>& a) {
    typedef Vec<Real> V;
    typedef typename V::Narrow Narrow;
    if (a.columns < Narrow::width) {
        return a.stride == 1 ? grad_weight_rows<1, Narrow>(a) : grad_weight_rows<2, Narrow>(a);
    }
    a.stride == 1 ? grad_weight_rows<1, V>(a) : grad_weight_rows<2, V>(a);
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
template <class Real>
void sum_lanes(const SumLanes<Real>& a) {
    typedef Vec<Real> V;
    for (int64_t i = 0; i < a.count; i += V::width) {
        V v[V::width];
        CONVLENS_UNROLL
        for (int k = 0; k < V::width; ++k) v[k] = V::load(a.sums + (i + k) * kSumLanes<Real>);
        Real sums[V::width];
        add_lanes(v).store(sums);
        const int64_t left = a.count - i, count = left < V::width ? left : V::width;
        CONVLENS_KEEP_LOOP
        for (int64_t k = 0; k < count; ++k) a.output[i + k] = sums[k];
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(depthwise_rows, DepthwiseRows)
CONVLENS_EXPORT_KERNEL(depthwise_spread, DepthwiseSpread)
CONVLENS_EXPORT_KERNEL(depthwise_rows_grad_weight, DepthwiseRowsGradWeight)
CONVLENS_EXPORT_KERNEL(sum_lanes, SumLanes)
