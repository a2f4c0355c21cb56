// Depthwise convolution of plain planes: lanes are the pixels of a row.
#include "kernels/args/depthwise_plane.hpp"
#include "kernels/body/apart.h"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
inline unsigned first_lanes(int64_t count) {
    return count < Vec<Real>::width ? (1u << count) - 1 : ~0u;
}

// Only the first `count` lanes that are left, when a whole vector would leave the memory.
template <class Real>
__attribute__((noinline)) void store_first(Vec<Real> v, Real* to, int64_t count) {
    Real lanes[Vec<Real>::width];
    v.store(lanes);
    CONVLENS_KEEP_LOOP
    for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}
template <class Real>
inline void store_within(Vec<Real> v, Real* to, int64_t count, const Real* end) {
    if (count >= Vec<Real>::width || to + Vec<Real>::width <= end) return v.store(to);
    store_first(v, to, count);
}

// The lanes of a vector of columns c, c + Stride ... that lie within the width.
template <int Stride, class Real>
inline unsigned lanes_within(int64_t c, int64_t width) {
    const int64_t below = c < 0 ? (Stride - 1 - c) / Stride : 0,
                  end = c < width ? (width - c + Stride - 1) / Stride : 0;
    return first_lanes<Real>(end) & ~(below < Vec<Real>::width ? (1u << below) - 1 : ~0u);
}

// Rows [first, first + count) of a plane; those above and below it count as zeros, and another is read in their place.
struct RowPlace {
    int64_t offset;
    unsigned within;
};
__attribute__((noinline)) void place_rows(RowPlace* rows, int64_t first, int64_t count, int64_t height, int64_t width) {
    CONVLENS_KEEP_LOOP
    for (int64_t i = 0; i < count; ++i) {
        const int64_t row = first + i;
        const bool inside = row >= 0 && row < height;
        rows[i].offset = inside ? row * width : 0;
        rows[i].within = inside ? ~0u : 0;
    }
}

template <class Real>
void merge_plane(const MergePlane<Real>& a) {
    typedef Vec<Real> V;
    const Real* end = a.output + a.rows * a.columns;
    for (int64_t row = 0; row < a.rows; ++row) {
        const Real* from = a.source + row * a.row_step;
        Real* to = a.output + row * a.columns;
        for (int64_t left = a.columns; left > 0; left -= 2 * V::width, from += V::width, to += 2 * V::width) {
            V low, high;
            zip(V::load(from), V::load(from + a.part_step), &low, &high);
            store_within(low, to, left, end);
            if (left > V::width) store_within(high, to + V::width, left - V::width, end);
        }
    }
}

// A load serves all of the rows whose windows it lies in.
template <int R, int Stride, class Real>
void sum_rows(const DepthwiseRows<Real>& a) {
    typedef Vec<Real> V;
    constexpr int kRows = 7;
    constexpr int kSources = (kRows - 1) * Stride + R;
    RowPlace rows[kSources];
    for (int64_t row = 0; row < a.rows; row += kRows) {
        place_rows(rows, a.first_row + row * Stride, kSources, a.height, a.width);
        for (int64_t next = 0; next < a.columns; next += V::width) {
            // The last vector overlaps the one before: the sums are the same.
            const int64_t last = a.columns - V::width, column = next > last && last > 0 ? last : next;
            V sums[kRows];
            CONVLENS_UNROLL
            for (int t = 0; t < kRows; ++t) sums[t] = V::splat(a.bias);
            for (int64_t tap = 0; tap < a.n_taps; ++tap) {
                V w[R];
                CONVLENS_UNROLL
                for (int r = 0; r < R; ++r) w[r] = V::splat(a.weight[a.taps[tap].weight + r * a.weight_row_step]);
                const int64_t c = column * Stride + a.taps[tap].source;
                const unsigned bits = lanes_within<Stride, Real>(c, a.width);
                CONVLENS_UNROLL
                for (int i = 0; i < kSources; ++i) {
                    const V v = keep_where(bits & rows[i].within, load_apart<Stride>(a.source + c + rows[i].offset, 2));
                    CONVLENS_UNROLL
                    for (int t = 0; t < kRows; ++t) {
                        const int r = i - t * Stride;
                        if (r >= 0 && r < R) sums[t] = fma(v, w[r], sums[t]);
                    }
                }
            }
            alignas(64) Real tile[kRows][V::width];
            CONVLENS_UNROLL
            for (int t = 0; t < kRows; ++t) sums[t].store(tile[t]);
            Real* to = a.output + row * a.output_row_step + column;
            const int64_t left = a.rows - row, count = left < kRows ? left : kRows;
            CONVLENS_KEEP_LOOP
            for (int64_t t = 0; t < count; ++t, to += a.output_row_step) {
                store_within(V::load(tile[t]), to, a.columns - column, a.output_end);
            }
        }
    }
}

template <class Real>
void depthwise_rows(const DepthwiseRows<Real>& a) {
    if (a.stride == 2) return a.R == 3 ? sum_rows<3, 2>(a) : sum_rows<5, 2>(a);
    if (a.R == 1) return sum_rows<1, 1>(a);
    if (a.R == 2) return sum_rows<2, 1>(a);
    a.R == 3 ? sum_rows<3, 1>(a) : sum_rows<5, 1>(a);
}

// Adds what Rows rows of the gradient, from `row` on, give to the taps (r, s) of one s.
template <int Rows, int R, int Stride, class Real>
inline void add_products(const DepthwiseRowsGradWeight<Real>& a, int64_t tap, int64_t row, Vec<Real>* sums) {
    typedef Vec<Real> V;
    constexpr int kSources = (Rows - 1) * Stride + R;
    RowPlace rows[kSources];
    place_rows(rows, a.first_row + row * Stride, kSources, a.height, a.width);
    for (int64_t column = 0; column < a.columns; column += V::width) {
        const int64_t c = column * Stride + tap;
        const unsigned there = first_lanes<Real>(a.columns - column);
        const unsigned bits = there & lanes_within<Stride, Real>(c, a.width);
        V grad[Rows];
        CONVLENS_UNROLL
        for (int t = 0; t < Rows; ++t) grad[t] = keep_where(there, V::load(a.grad + (row + t) * a.columns + column));
        CONVLENS_UNROLL
        for (int i = 0; i < kSources; ++i) {
            const V v = keep_where(bits & rows[i].within, load_apart<Stride>(a.source + c + rows[i].offset, 2));
            CONVLENS_UNROLL
            for (int t = 0; t < Rows; ++t) {
                const int r = i - t * Stride;
                if (r >= 0 && r < R) sums[r] = fma(grad[t], v, sums[r]);
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

template <int R, int Stride, class Real>
void grad_weight_rows(const DepthwiseRowsGradWeight<Real>& a) {
    typedef Vec<Real> V;
    constexpr int kRows = 7, kGroups = (R + V::width - 1) / V::width;
    for (int64_t s = 0; s < R; ++s) {
        V sums[R];
        CONVLENS_UNROLL
        for (int r = 0; r < R; ++r) sums[r] = V::zero();
        int64_t row = 0;
        for (; row + kRows <= a.rows; row += kRows) add_products<kRows, R, Stride>(a, a.taps[s].source, row, sums);
        for (; row < a.rows; ++row) add_products<1, R, Stride>(a, a.taps[s].source, row, sums);
        Real totals[kGroups * V::width];
        CONVLENS_UNROLL
        for (int g = 0; g < kGroups; ++g) {
            V group[V::width];
            CONVLENS_UNROLL
            for (int i = 0; i < V::width; ++i) {
                const int r = g * V::width + i;
                group[i] = r < R ? sums[r < R ? r : 0] : V::zero();
            }
            add_lanes(group).store(totals + g * V::width);
        }
        for (int r = 0; r < R; ++r) a.sums[r * R + s] += totals[r];
    }
}
template <class Real>
void depthwise_rows_grad_weight(const DepthwiseRowsGradWeight<Real>& a) {
    if (a.R == 3) return a.stride == 1 ? grad_weight_rows<3, 1>(a) : grad_weight_rows<3, 2>(a);
    a.stride == 1 ? grad_weight_rows<5, 1>(a) : grad_weight_rows<5, 2>(a);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(merge_plane, MergePlane)
CONVLENS_EXPORT_KERNEL(depthwise_rows, DepthwiseRows)
CONVLENS_EXPORT_KERNEL(depthwise_rows_grad_weight, DepthwiseRowsGradWeight)
