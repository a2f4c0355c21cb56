// Pooling of plain planes, as callers hand them over: lanes = neighbouring outputs of a row. Sums and winners come in
// the order of the blocked kernels, but for windows as wide as their plane. Windows over the left and right edge go one
// by one.
#include "kernels/body/window.h"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// A row of windows: n_rows of their rows and `columns` of their columns lie inside x; the first row is at first_place.
template <class Real>
struct WindowRow {
    int64_t row_step, n_rows, dilation, kernel_width, first_place, counted_rows, counted_columns;
    Range columns;
};

template <bool Value>
struct Flag {
    static constexpr bool value = Value;
};

// The taps of neighbouring windows, visit(vector, ky, kx): windows Stride (1 or 2) apart; Size is their width, and
// their height when Whole; 0 is any. Lanes are in the order of `arranged`.
template <int Stride, int Size, class Real, class Visit>
inline void each_tap_of_row(const WindowRow<Real>& w, const Real* x, int64_t ky, Visit visit) {
    typedef Vec<Real> V;
    V even, odd;
    if constexpr (Size > 0) {
        CONVLENS_UNROLL
        for (int kx = 0; kx < Size; kx += 2) {
            unzip(V::load(x + kx), V::load(x + kx + V::width), &even, &odd);
            visit(even, ky, kx);
            if (kx + 1 < Size) visit(odd, ky, kx + 1);
        }
    } else {
        for (int64_t kx = 0; kx < w.kernel_width; ++kx) {
            const Real* at = x + kx * w.dilation;
            if (Stride == 2) unzip(V::load(at), V::load(at + V::width), &even, &odd);
            visit(Stride == 2 ? even : V::load(at), ky, kx);
        }
    }
}
template <int Stride, int Size, bool Whole, class Real, class Visit>
inline void each_tap(const WindowRow<Real>& w, const Real* x, Visit visit) {
    if constexpr (Size > 0 && Whole) {
        CONVLENS_UNROLL
        for (int ky = 0; ky < Size; ++ky) each_tap_of_row<Stride, Size>(w, x + ky * w.row_step, ky, visit);
    } else {
        for (int64_t ky = 0; ky < w.n_rows; ++ky) each_tap_of_row<Stride, Size>(w, x + ky * w.row_step, ky, visit);
    }
}
template <int Stride, class Real>
inline Vec<Real> arranged(Vec<Real> v) {
    return Stride == 2 ? in_order(v) : v;
}

template <bool WithOffset>
struct Maximum {
    static constexpr bool counts = false;
    template <int Stride, int Size, bool Whole, class Real>
    static void lanes(const WindowRow<Real>& w, const Real* x, Real* y, uint8_t* offset) {
        typedef Vec<Real> V;
        V best = V::splat(-Real(__builtin_inff()));
        if (!WithOffset) {
            // NaN makes a sum NaN (as opposite infinities do): without it, nothing else needs a look at it.
            V sum = V::zero();
            each_tap<Stride, Size, Whole>(w, x, [&](V v, int64_t, int64_t) { best = max(v, best), sum = sum + v; });
            if (__builtin_expect(to_bits(is_nan(sum)) == 0, 1)) return store_anywhere(y, arranged<Stride>(best));
            best = V::splat(-Real(__builtin_inff()));
        }
        Ints<Real> winner = splat_ints<Real>(w.first_place);
        each_tap<Stride, Size, Whole && WithOffset>(w, x, [&](V v, int64_t ky, int64_t kx) {
            // The first maximum wins; of NaN, which beat all else, the first too.
            const Mask<Real> take = ~(v <= best) & ~is_nan(best);
            best = select(take, v, best);
            if (WithOffset) winner = take.v ? splat_ints<Real>(w.first_place + ky * w.kernel_width + kx) : winner;
        });
        store_anywhere(y, arranged<Stride>(best));
        if (WithOffset) narrow_bytes(offset, arranged<Stride>(to_reals<Real>(winner)));
    }
    template <class Real>
    static void one(const WindowRow<Real>& w, const Real* x, Real* y, uint8_t* offset) {
        Real best = -Real(__builtin_inff());
        int64_t winner = w.first_place + w.columns.from;
        for (int64_t ky = 0; ky < w.n_rows; ++ky, x += w.row_step) {
            for (int64_t kx = w.columns.from; kx < w.columns.to; ++kx) {
                const Real v = x[kx * w.dilation];
                if (v <= best || best != best) continue;
                best = v, winner = w.first_place + ky * w.kernel_width + kx;
            }
        }
        *y = best;
        if (WithOffset) *offset = static_cast<uint8_t>(winner);
    }
};

struct Average {
    static constexpr bool counts = true;
    template <int Stride, int Size, bool Whole, class Real>
    static void lanes(const WindowRow<Real>& w, const Real* x, Real* y, uint8_t*) {
        typedef Vec<Real> V;
        V total = V::zero(), row = V::zero();
        each_tap<Stride, Size, Whole>(w, x, [&](V v, int64_t, int64_t kx) {
            row = row + v;
            if (kx == (Size > 0 ? Size : w.kernel_width) - 1) total = total + row, row = V::zero();
        });
        const int64_t count = w.counted_rows * w.counted_columns;
        total = total / V::splat(static_cast<Real>(count > 0 ? count : 1));
        store_anywhere(y, arranged<Stride>(total));
    }
    template <class Real>
    static void one(const WindowRow<Real>& w, const Real* x, Real* y, uint8_t*) {
        Real total = 0;
        for (int64_t ky = 0; ky < w.n_rows; ++ky, x += w.row_step) {
            Real row = 0;
            for (int64_t kx = w.columns.from; kx < w.columns.to; ++kx) row += x[kx * w.dilation];
            total += row;
        }
        const int64_t count = w.counted_rows * w.counted_columns;
        *y = total / static_cast<Real>(count > 0 ? count : 1);
    }
};

// Stride 0 is any: one window after the other.
template <class Kind, int Stride, int Size, class Real>
void pool_rows(const PoolPlaneArgs<Real>& a) {
    constexpr int64_t width = Vec<Real>::width;
    const PoolWindow& p = *a.window;
    Range whole = whole_outputs(p.kernel_width, p.stride_width, p.pad_left, p.dilation_width, 0, p.width);
    if (whole.to > a.columns) whole.to = a.columns;
    if (Stride == 0 || whole.from > whole.to) whole.from = whole.to = a.columns;
    const Range whole_rows = whole_outputs(p.kernel_height, p.stride_height, p.pad_top, p.dilation_height, 0, p.height);
    // Lanes beyond a row's windows are garbage: they may be read below the end of x, and written where this call's next
    // rows will come.
    const bool adjacent = a.y_row_stride == a.columns && (a.row1 <= a.rows || a.y_plane_stride == a.rows * a.columns);
    const int64_t last_lanes = whole.from + (whole.to - whole.from + width - 1) / width * width;
    const int64_t beyond = Size == 2 ? 0 : (p.kernel_width - 1) * p.dilation_width;
    const int64_t spilled_rows = (last_lanes - 1) / a.columns, x_step = p.stride_height * a.x_row_stride;
    WindowRow<Real> w = {};
    w.row_step = p.dilation_height * a.x_row_stride, w.dilation = p.dilation_width, w.kernel_width = p.kernel_width;
    for (int64_t i = a.row0; i < a.row1;) {
        const int64_t plane = i / a.rows, row = i - plane * a.rows, y0 = row * p.stride_height - p.pad_top;
        const Range ys = inside(y0, p.dilation_height, p.kernel_height, 0, p.height);
        w.n_rows = ys.count(), w.first_place = ys.from * p.kernel_width;
        if (Kind::counts) w.counted_rows = counted_rows(p, row);
        const Real* x =
            a.x + plane * a.x_plane_stride + (y0 + ys.from * p.dilation_height) * a.x_row_stride - p.pad_left;
        Real* y = a.y + plane * a.y_plane_stride + row * a.y_row_stride;
        uint8_t* offset = a.offset == nullptr ? nullptr : a.offset + i * a.columns;
        const auto edge = [&](int64_t from, int64_t to) {
            for (int64_t column = from; column < to; ++column) {
                w.columns = inside(column * p.stride_width - p.pad_left, p.dilation_width, p.kernel_width, 0, p.width);
                if (Kind::counts) w.counted_columns = counted_columns(p, column);
                Kind::one(w, x + column * p.stride_width, y + column, offset == nullptr ? nullptr : offset + column);
            }
            w.counted_columns = p.kernel_width;
        };
        if constexpr (Stride > 0) {
            const auto lanes = [&](int64_t column, auto complete) {
                Kind::template lanes<Stride, Size, decltype(complete)::value>(
                    w, x + column * Stride, y + column, offset == nullptr ? nullptr : offset + column);
            };
            // How many rows from here on are alike, and may read and write whole vectors.
            int64_t alike = row >= whole_rows.from ? (whole_rows.to < a.rows ? whole_rows.to : a.rows) - row : 0;
            const int64_t spill = adjacent ? a.row1 - spilled_rows - i : (last_lanes <= a.columns ? a.row1 - i : 0);
            const int64_t room = a.x_end - (x + (w.n_rows - 1) * w.row_step + last_lanes * Stride + beyond);
            const int64_t reads = room < 0 ? 0 : x_step > 0 ? room / x_step + 1 : a.row1;
            if (alike > spill) alike = spill;
            if (alike > reads) alike = reads;
            if (alike > 0) {
                w.counted_columns = p.kernel_width;
                for (const int64_t end = i + alike; i < end; ++i, x += x_step, y += a.y_row_stride) {
                    if (whole.from > 0) edge(0, whole.from);
                    for (int64_t column = whole.from; column < whole.to; column += width) lanes(column, Flag<true>{});
                    if (whole.to < a.columns) edge(whole.to, a.columns);
                    if (offset != nullptr) offset += a.columns;
                }
                continue;
            }
            const bool readable = room >= (last_lanes - whole.to) * -Stride;
            int64_t column = whole.from;
            edge(0, column);
            while (column < whole.to && (column + width <= whole.to || (readable && whole.to - width >= whole.from))) {
                if (column + width > whole.to) column = whole.to - width;
                lanes(column, Flag<false>{});
                column += width;
            }
            edge(column, a.columns);
        } else {
            edge(0, a.columns);
        }
        ++i;
    }
}

// Windows that are runs of neighbours, as those as wide as their plane: a sum a lane, then a tree over the lanes of as
// many windows as there are.
template <class Real>
void average_runs(const PoolPlaneArgs<Real>& a) {
    typedef Vec<Real> V;
    const int64_t length = a.window->kernel_width, step = a.x_row_stride, rest = length % V::width;
    const unsigned all = ~0u >> (32 - V::width),
                   last = length < V::width ? all >> (V::width - rest) : all << (V::width - rest);
    const V count = V::splat(static_cast<Real>(length));
    for (int64_t row = a.row0; row < a.row1; row += V::width) {
        V sums[V::width];
        for (int64_t i = 0; i < V::width; ++i) {
            const Real* x = a.x + (row + i < a.row1 ? row + i : row) * step;
            V sum = V::zero();
            for (int64_t j = V::width; j <= length; j += V::width, x += V::width) sum = sum + V::load(x);
            if (rest != 0) {
                const Real* at = length < V::width ? x : x + rest - V::width;
                Real lanes[V::width] = {};
                if (at + V::width > a.x_end) {
                    for (int64_t j = 0; j < rest; ++j) lanes[j] = x[j];
                    at = lanes;
                }
                sum = sum + keep_where(last, V::load(at));
            }
            sums[i] = sum;
        }
        CONVLENS_UNROLL
        for (int half = V::width / 2; half > 0; half /= 2) {
            CONVLENS_UNROLL
            for (int i = 0; i < half; ++i) {
                V low, high;
                zip(sums[i], sums[i + half], &low, &high);
                sums[i] = low + high;
            }
        }
        Real lanes[V::width];
        const bool room = row + V::width <= a.row1;
        store_anywhere(room ? a.y + row : lanes, sums[0] / count);
        for (int64_t i = 0; !room && row + i < a.row1; ++i) a.y[row + i] = lanes[i];
    }
}

template <class Kind, class Real>
inline void pool_plane(const PoolPlaneArgs<Real>& a) {
    const PoolWindow& p = *a.window;
    if (p.stride_width == 1) return pool_rows<Kind, 1, 0>(a);
    if (p.stride_width != 2) return pool_rows<Kind, 0, 0>(a);
    if (p.dilation_width == 1 && p.kernel_width == 2 && p.kernel_height == 2) return pool_rows<Kind, 2, 2>(a);
    if (p.dilation_width == 1 && p.kernel_width == 3 && p.kernel_height == 3) return pool_rows<Kind, 2, 3>(a);
    pool_rows<Kind, 2, 0>(a);
}
template <class Real>
void max_pool_plane(const PoolPlaneArgs<Real>& a) {
    a.offset == nullptr ? pool_plane<Maximum<false>>(a) : pool_plane<Maximum<true>>(a);
}
template <class Real>
void avg_pool_plane(const PoolPlaneArgs<Real>& a) {
    const PoolWindow& p = *a.window;
    const bool runs = p.kernel_height == 1 && p.kernel_width == p.width && p.pad_left == 0 && a.columns == 1;
    const bool one_plane = a.x_plane_stride == 0;  // by shape, not by what a call happens to hold
    runs&& one_plane ? average_runs(a) : pool_plane<Average>(a);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(max_pool_plane, PoolPlaneArgs)
CONVLENS_EXPORT_KERNEL(avg_pool_plane, PoolPlaneArgs)
