// Pooling of plain planes, as callers hand them over: lanes = neighbouring outputs of a row. Sums and winners come in
// the order of the blocked kernels. Windows over the left and right edge go one by one.
#include "kernels/body/apart.h"
#include "kernels/body/window.h"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// A row of windows: n_rows of their rows and `columns` of their columns lie inside x; the first row is at first_place.
template <class Real>
struct WindowRow {
    const PoolWindow* window;
    int64_t row_step, n_rows, first_place, counted_rows, counted_columns;
    Range columns;
};

// visit(position, ky, kx) for the taps inside, the usual windows unrolled: Size x Size without dilation; 0 is any.
template <int Size, class Real, class Visit>
inline void each_tap(const WindowRow<Real>& w, const Real* x, Visit visit) {
    if constexpr (Size > 0) {
        CONVLENS_UNROLL
        for (int64_t ky = 0; ky < Size; ++ky, x += w.row_step) {
            CONVLENS_UNROLL
            for (int64_t kx = 0; kx < Size; ++kx) visit(x + kx, ky, kx);
        }
    } else {
        for (int64_t ky = 0; ky < w.n_rows; ++ky, x += w.row_step) {
            for (int64_t kx = w.columns.from; kx < w.columns.to; ++kx) {
                visit(x + kx * w.window->dilation_width, ky, kx);
            }
        }
    }
}

template <bool WithOffset>
struct Maximum {
    template <int Stride, int Size, class Real>
    static void lanes(const WindowRow<Real>& w, const Real* x, Real* y, uint8_t* offset) {
        typedef Vec<Real> V;
        const int64_t stride = w.window->stride_width, kernel_width = w.window->kernel_width;
        const int64_t first = Size > 0 ? 0 : w.columns.from;
        V best = load_apart<Stride>(x + first * w.window->dilation_width, stride);
        Ints<Real> winner = splat_ints<Real>(w.first_place + first);
        each_tap<Size>(w, x, [&](const Real* at, int64_t ky, int64_t kx) {
            const V v = load_apart<Stride>(at, stride);
            if (WithOffset) {
                // The first maximum wins; of NaN, which beat all else, the first too.
                const Mask<Real> take = ~(v <= best) & ~is_nan(best);
                best = select(take, v, best);
                winner = take.v ? splat_ints<Real>(w.first_place + ky * kernel_width + kx) : winner;
            } else {
                best = select(is_nan(v), v, max(v, best));
            }
        });
        best.store(y);
        if (WithOffset) narrow_bytes(offset, to_reals<Real>(winner));
    }
};

struct Average {
    template <int Stride, int Size, class Real>
    static void lanes(const WindowRow<Real>& w, const Real* x, Real* y, uint8_t*) {
        typedef Vec<Real> V;
        const int64_t last = Size > 0 ? Size - 1 : w.columns.to - 1;
        V total = V::zero(), row = V::zero();
        each_tap<Size>(w, x, [&](const Real* at, int64_t, int64_t kx) {
            row = row + load_apart<Stride>(at, w.window->stride_width);
            if (kx == last) total = total + row, row = V::zero();
        });
        const int64_t count = w.counted_rows * w.counted_columns;
        (total / V::splat(static_cast<Real>(count > 0 ? count : 1))).store(y);
    }
};

template <class Kind, int Stride, class Real>
void pool_rows(const PoolPlaneArgs<Real>& a) {
    constexpr int64_t width = Vec<Real>::width;
    const PoolWindow& p = *a.window;
    Range whole = whole_outputs(p.kernel_width, p.stride_width, p.pad_left, p.dilation_width, 0, p.width);
    if (whole.to > a.columns) whole.to = a.columns;
    if (whole.from > whole.to) whole.from = whole.to;
    // Lanes beyond a row's windows are garbage: they may be read below the end of x, and written where this call's next
    // row will come.
    const Real* y_end = a.y + (a.row1 - 1) * a.y_row_stride + a.columns;
    for (int64_t row = a.row0; row < a.row1; ++row) {
        const int64_t y0 = row * p.stride_height - p.pad_top;
        const Range ys = inside(y0, p.dilation_height, p.kernel_height, 0, p.height);
        WindowRow<Real> w = {};
        w.window = &p, w.row_step = p.dilation_height * a.x_row_stride, w.n_rows = ys.count();
        w.first_place = ys.from * p.kernel_width, w.counted_rows = counted_rows(p, row);
        const Real* x = a.x + (y0 + ys.from * p.dilation_height) * a.x_row_stride - p.pad_left;
        Real* y = a.y + row * a.y_row_stride;
        const auto offset = [&](int64_t column) {
            return a.offset == nullptr ? nullptr : a.offset + row * a.columns + column;
        };
        const Real* row_end = a.y_row_stride == a.columns ? y_end : y + a.columns;
        const int64_t reach = (w.n_rows - 1) * w.row_step + (p.kernel_width - 1) * p.dilation_width + 1;
        const int size = p.dilation_width != 1 || w.n_rows != p.kernel_width ? 0 : static_cast<int>(w.n_rows);
        int64_t column = 0;
        while (column < a.columns) {
            const Real* at = x + column * p.stride_width;
            const int64_t left = whole.to - column;
            const bool over = left < width && at + (width - 1) * p.stride_width + reach > a.x_end;
            if (column < whole.from || left <= 0 || (over && whole.to - whole.from < width)) {
                w.columns = inside(column * p.stride_width - p.pad_left, p.dilation_width, p.kernel_width, 0, p.width);
                w.counted_columns = counted_columns(p, column);
                Real lanes[width];
                uint8_t places[width] = {};
                Kind::template lanes<kOne, kAny>(w, at, lanes, places);
                y[column] = lanes[0];
                if (a.offset != nullptr) *offset(column) = places[0];
                ++column;
                continue;
            }
            w.columns = {0, p.kernel_width}, w.counted_columns = p.kernel_width;
            if (over) {
                column = whole.to - width;
                at = x + column * p.stride_width;
            }
            const bool room = over || left >= width || y + column + width <= row_end;
            Real lanes[width];
            uint8_t places[width] = {};
            Real* to = room ? y + column : lanes;
            uint8_t* winners = room || a.offset == nullptr ? offset(column) : places;
            if (Stride > 0 && size == 2) {
                Kind::template lanes<Stride, 2>(w, at, to, winners);
            } else if (Stride > 0 && size == 3) {
                Kind::template lanes<Stride, 3>(w, at, to, winners);
            } else {
                Kind::template lanes<Stride, kAny>(w, at, to, winners);
            }
            if (!room) {
                for (int64_t i = 0; i < left; ++i) y[column + i] = lanes[i];
                for (int64_t i = 0; i < left && a.offset != nullptr; ++i) offset(column)[i] = places[i];
            }
            column = column + width < whole.to ? column + width : whole.to;
        }
    }
}

template <class Kind, class Real>
inline void pool_plane(const PoolPlaneArgs<Real>& a) {
    const int64_t stride = a.window->stride_width;
    if (stride == 1) return pool_rows<Kind, 1>(a);
    if (stride == 2) return pool_rows<Kind, 2>(a);
    pool_rows<Kind, 0>(a);
}
template <class Real>
void max_pool_plane(const PoolPlaneArgs<Real>& a) {
    a.offset == nullptr ? pool_plane<Maximum<false>>(a) : pool_plane<Maximum<true>>(a);
}
template <class Real>
void avg_pool_plane(const PoolPlaneArgs<Real>& a) {
    pool_plane<Average>(a);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(max_pool_plane, PoolPlaneArgs)
CONVLENS_EXPORT_KERNEL(avg_pool_plane, PoolPlaneArgs)
