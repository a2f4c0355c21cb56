// Pooling of plain planes, as callers hand them over: lanes = neighbouring outputs of a row. Sums and winners come in
// the order of the blocked kernels, but for windows as wide as their plane. Windows over the left and right edge go one
// by one.
#include "kernels/body/window.h"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// Of one window: which of its columns lie inside, and how many count.
struct Place {
    Range columns;
    int64_t counted;
};
inline Place place_of(const PoolWindow& p, int64_t column) {
    const int64_t start = column * p.stride_width - p.pad_left;
    return {inside(start, p.dilation_width, p.kernel_width, 0, p.width), counted_columns(p, column)};
}

// A row of windows: n_rows of their rows lie inside x; the first row is at first_place.
struct WindowRow {
    int64_t stride, row_step, n_rows, dilation, kernel_width, first_place, counted_rows;
    int64_t ahead;  // elements, or 0
    bool left;      // the first window begins one column too far left, and the one before x may be read
    Place ends[2];  // of the first and the last window: most rows have one over either end at most
};

// visit(vector, ky, kx) for the taps of neighbouring windows that lie inside, one or two apart. Two apart, lanes are in
// an order that in_order() undoes.
template <class Real, class Visit>
inline void each_tap(const WindowRow& w, const Real* x, Visit visit) {
    typedef Vec<Real> V;
    for (int64_t ky = 0; ky < w.n_rows; ++ky, x += w.row_step) {
        for (int64_t kx = 0; kx < w.kernel_width; ++kx) {
            const Real* at = x + kx * w.dilation;
            V even = V::load(at), odd;
            if (w.stride == 2) unzip(even, V::load(at + V::width), &even, &odd);
            visit(even, ky, kx);
        }
    }
}
template <class Real>
inline Mask<Real> first_lane() {
    Mask<Real> first = {};
    first.v[0] = -1;
    return first;
}
// The same of whole windows of Size x Size, two apart. Of a vector of x the next one is the same row's, or of two
// narrow rows the other's. Left: of the first window the first column lies outside.
template <int Size, bool Left, class Real, class Visit>
inline void each_tap_of(const Real* x, int64_t row_step, int64_t neighbour, Real outside, Visit visit) {
    typedef Vec<Real> V;
    // Of three, one and then two: below padding of one the two are what begins with a line.
    CONVLENS_UNROLL
    for (int ky = 0; ky < Size; ++ky, x += row_step) {
        V even, odd;
        if (Size % 2 == 1) {
            unzip(V::load(x), V::load(x + neighbour), &even, &odd);
            visit(Left ? select(first_lane<Real>(), V::splat(outside), even) : even, ky, 0);
        }
        CONVLENS_UNROLL
        for (int kx = Size % 2; kx < Size; kx += 2) {
            unzip(V::load(x + kx), V::load(x + kx + neighbour), &even, &odd);
            visit(even, ky, kx);
            visit(odd, ky, kx + 1);
        }
    }
}

// The first maximum wins; of NaN, which beat all else, the first too.
template <bool WithOffset>
struct Maximum {
    static constexpr bool kTakesPairs = !WithOffset, kWithOffset = WithOffset;
    template <class Real>
    struct State {
        typedef Vec<Real> V;
        const WindowRow& w;
        V best = V::splat(-Real(__builtin_inff()));
        Ints<Real> winner;
        explicit State(const WindowRow& row) : w(row), winner(splat_ints<Real>(row.first_place)) {}
        void operator()(V v, int64_t ky, int64_t kx) {
            const Mask<Real> take = ~(v <= best) & ~is_nan(best);
            best = select(take, v, best);
            if (WithOffset) winner = take.v ? splat_ints<Real>(w.first_place + ky * w.kernel_width + kx) : winner;
        }
        void store(Real* y, uint8_t* offset) const {
            store_anywhere(y, w.stride == 2 ? in_order(best) : best);
            if (!WithOffset) return;
            const V places = to_reals<Real>(winner);
            narrow_bytes(offset, w.stride == 2 ? in_order(places) : places);
        }
    };
    template <class Real>
    __attribute__((noinline)) static void any(const WindowRow& w, const Real* x, Real* y, uint8_t* offset) {
        State<Real> state(w);
        each_tap(w, x, [&](Vec<Real> v, int64_t ky, int64_t kx) { state(v, ky, kx); });
        state.store(y, offset);
    }
    template <int Size, class Real>
    static void lanes(const WindowRow& w, const Real* x, Real* y, uint8_t* offset) {
        State<Real> state(w);
        each_tap_of<Size, false>(x, w.row_step, Vec<Real>::width, Real(0),
                                 [&](Vec<Real> v, int64_t ky, int64_t kx) { state(v, ky, kx); });
        state.store(y, offset);
    }
    // Of whole windows without NaN, which makes a sum NaN (as opposite infinities do).
    template <int Size, class Real>
    struct Whole {
        typedef Vec<Real> V;
        V sums = V::zero();
        explicit Whole(const WindowRow&) {}
        template <bool Left>
        V operator()(const Real* x, int64_t row_step, int64_t neighbour) {
            V best, sum;
            each_tap_of<Size, Left>(x, row_step, neighbour, -Real(__builtin_inff()), [&](V v, int64_t ky, int64_t kx) {
                best = ky + kx == 0 ? v : max(v, best);
                sum = ky + kx == 0 ? v : sum + v;
            });
            sums = sums + sum;
            return in_order(best);
        }
        bool failed() {
            const bool nan = to_bits(is_nan(sums)) != 0;
            sums = V::zero();
            return nan;
        }
    };
    template <class Real>
    __attribute__((noinline)) static void one(const WindowRow& w, const Place& at, const Real* x, Real* y,
                                              uint8_t* offset) {
        Real best = -Real(__builtin_inff());
        int64_t winner = w.first_place + at.columns.from;
        for (int64_t ky = 0; ky < w.n_rows; ++ky, x += w.row_step) {
            for (int64_t kx = at.columns.from; kx < at.columns.to; ++kx) {
                const Real v = x[kx * w.dilation];
                const bool take = !(v <= best) & (best == best);  // no branch: which one wins, nothing foretells
                best = take ? v : best;
                if (WithOffset) winner = take ? w.first_place + ky * w.kernel_width + kx : winner;
            }
        }
        *y = best;
        if (WithOffset) *offset = static_cast<uint8_t>(winner);
    }
};

// A sum a row first.
struct Average {
    static constexpr bool kTakesPairs = false, kWithOffset = false;
    template <class Real>
    struct State {
        typedef Vec<Real> V;
        V total = V::zero(), row = V::zero();
        void add(V v, bool last) {
            row = row + v;
            if (last) total = total + row, row = V::zero();
        }
        void store(const WindowRow& w, Real* y) const {
            const V mean = total / V::splat(divisor<Real>(w, w.kernel_width));
            store_anywhere(y, w.stride == 2 ? in_order(mean) : mean);
        }
    };
    template <class Real>
    static Real divisor(const WindowRow& w, int64_t columns) {
        const int64_t count = w.counted_rows * columns;
        return static_cast<Real>(count > 0 ? count : 1);
    }
    template <class Real>
    __attribute__((noinline)) static void any(const WindowRow& w, const Real* x, Real* y, uint8_t*) {
        State<Real> state;
        each_tap(w, x, [&](Vec<Real> v, int64_t, int64_t kx) { state.add(v, kx == w.kernel_width - 1); });
        state.store(w, y);
    }
    template <int Size, class Real>
    struct Whole {
        typedef Vec<Real> V;
        V windows, first;
        explicit Whole(const WindowRow& w) : windows(V::splat(divisor<Real>(w, Size))), first(windows) {
            first = select(first_lane<Real>(), V::splat(divisor<Real>(w, w.ends[0].counted)), first);
        }
        template <bool Left>
        V operator()(const Real* x, int64_t row_step, int64_t neighbour) {
            V total, row;
            each_tap_of<Size, Left>(x, row_step, neighbour, Real(0), [&](V v, int64_t ky, int64_t kx) {
                row = kx == 0 ? v : row + v;
                if (kx == Size - 1) total = ky == 0 ? row : total + row;
            });
            total = total + V::zero();  // as a sum from zero, which is never -0
            return in_order(Size == 2 ? total * V::splat(Real(0.25)) : total / (Left ? first : windows));
        }
        bool failed() const { return false; }
    };
    template <class Real>
    __attribute__((noinline)) static void one(const WindowRow& w, const Place& at, const Real* x, Real* y, uint8_t*) {
        Real total = 0;
        for (int64_t ky = 0; ky < w.n_rows; ++ky, x += w.row_step) {
            Real row = 0;
            for (int64_t kx = at.columns.from; kx < at.columns.to; ++kx) row += x[kx * w.dilation];
            total += row;
        }
        *y = total / divisor<Real>(w, at.counted);
    }
};

template <class Kind, class Real>
__attribute__((noinline)) void one_by_one(const WindowRow& w, const PoolWindow& p, const Real* x, Real* y,
                                          uint8_t* offset, int64_t from, int64_t to) {
    for (int64_t column = from; column < to; ++column) {
        Kind::one(w, place_of(p, column), x + column * p.stride_width, y + column,
                  offset == nullptr ? nullptr : offset + column);
    }
}

// Rows alike of whole windows of Size x Size, two apart, without offsets; Left: but for the first one's first column.
template <class Kind, int Size, bool Left, class Real>
__attribute__((noinline)) void whole_rows(const WindowRow& w, const Real* x, int64_t x_step, Real* y, int64_t y_step,
                                          int64_t columns, int64_t count) {
    typedef Vec<Real> V;
    typename Kind::template Whole<Size, Real> windows(w);
    const int64_t row_step = w.row_step, ahead = w.ahead;
    constexpr int kLine = 64 / sizeof(Real);
    for (; count > 0; --count, x += x_step, y += y_step) {
        int64_t column = 0;
        if (Left) {
            store_anywhere(y, windows.template operator()<Left>(x, row_step, V::width));
            column = V::width;
        }
        for (; column < columns; column += V::width) {
            const Real* at = x + 2 * column;
            if (Size == 2 && ahead > 0) {
                CONVLENS_UNROLL
                for (int i = 0; i < 2 * V::width; i += kLine) {
                    __builtin_prefetch(at + ahead + i);
                    __builtin_prefetch(at + row_step + ahead + i);
                }
            }
            store_anywhere(y + column, windows.template operator()<false>(at, row_step, V::width));
        }
        if (__builtin_expect(windows.failed(), 0)) {
            for (column = 0; column < columns; column += V::width) Kind::any(w, x + 2 * column, y + column, nullptr);
            if (Left) Kind::one(w, w.ends[0], x, y, nullptr);
        }
    }
}

// The same of two rows at a time, each at most half a vector; returns how many.
template <class Kind, int Size, class Real>
__attribute__((noinline)) int64_t whole_pairs(const WindowRow& w, const Real* x, int64_t x_step, Real* y,
                                              int64_t columns, int64_t count) {
    typedef Vec<Real> V;
    constexpr int kHalf = V::width / 2;
    typename Kind::template Whole<Size, Real> windows(w);
    const int64_t row_step = w.row_step;
    int64_t done = 0;
    for (; done + 2 <= count; done += 2, x += 2 * x_step, y += 2 * columns) {
        alignas(64) Real rows[V::width];
        windows.template operator()<false>(x, row_step, x_step).store(rows);
        __builtin_memcpy(y, rows, kHalf * sizeof(Real));
        __builtin_memcpy(y + columns, rows + kHalf, kHalf * sizeof(Real));
        if (__builtin_expect(windows.failed(), 0)) {
            Kind::any(w, x, y, nullptr);
            Kind::any(w, x + x_step, y + columns, nullptr);
        }
    }
    return done;
}

// Rows alike, whole vectors, Size x Size windows two apart; 0: any.
template <class Kind, int Size, class Real>
__attribute__((noinline)) void alike_rows(const WindowRow& w, const PoolPlaneArgs<Real>& a, const Real* x, Real* y,
                                          uint8_t* offset, Range whole, int64_t count) {
    const PoolWindow& p = *a.window;
    const int64_t x_step = p.stride_height * a.x_row_stride;
    if constexpr (Size > 0 && !Kind::kWithOffset) {
        if (w.left) whole.from = 0;
        if (whole.count() == a.columns) {
            int64_t done = 0;
            if constexpr (Size == 2 && Kind::kTakesPairs) {
                if (a.columns * 2 <= Vec<Real>::width && a.y_row_stride == a.columns) {
                    done = whole_pairs<Kind, Size>(w, x, x_step, y, a.columns, count);
                }
            }
            x += done * x_step, y += done * a.y_row_stride, count -= done;
            const auto rows = w.left ? whole_rows<Kind, Size, Size == 3, Real> : whole_rows<Kind, Size, false, Real>;
            return rows(w, x, x_step, y, a.y_row_stride, a.columns, count);
        }
    }
    for (; count > 0; --count, x += x_step, y += a.y_row_stride) {
        if (whole.from > 0) Kind::one(w, w.ends[0], x, y, offset);
        if (whole.from > 1) one_by_one<Kind>(w, p, x, y, offset, 1, whole.from);
        if constexpr (Size > 0 && !Kind::kWithOffset) {
            const auto rows = w.left ? whole_rows<Kind, Size, Size == 3, Real> : whole_rows<Kind, Size, false, Real>;
            rows(w, x + 2 * whole.from, 0, y + whole.from, 0, whole.count(), 1);
        } else {
            for (int64_t column = whole.from; column < whole.to; column += Vec<Real>::width) {
                uint8_t* winners = offset == nullptr ? nullptr : offset + column;
                if constexpr (Size > 0) {
                    Kind::template lanes<Size>(w, x + column * 2, y + column, winners);
                } else {
                    Kind::any(w, x + column * w.stride, y + column, winners);
                }
            }
        }
        if (whole.to < a.columns - 1) one_by_one<Kind>(w, p, x, y, offset, whole.to, a.columns - 1);
        if (whole.to < a.columns) {
            const int64_t column = a.columns - 1;
            Kind::one(w, w.ends[1], x + column * p.stride_width, y + column,
                      offset == nullptr ? nullptr : offset + column);
        }
        if (offset != nullptr) offset += a.columns;
    }
}

// What a kind of pooling does with a row's windows.
template <class Real>
struct Functions {
    void (*any)(const WindowRow& w, const Real* x, Real* y, uint8_t* offset);
    void (*one_by_one)(const WindowRow& w, const PoolWindow& p, const Real* x, Real* y, uint8_t* offset, int64_t from,
                       int64_t to);
    // Of any size, two by two, and three by three.
    void (*alike_rows[3])(const WindowRow& w, const PoolPlaneArgs<Real>& a, const Real* x, Real* y, uint8_t* offset,
                          Range whole, int64_t count);
};
template <class Kind, class Real>
Functions<Real> functions_of() {
    return {Kind::any,
            one_by_one<Kind, Real>,
            {alike_rows<Kind, 0, Real>, alike_rows<Kind, 2, Real>, alike_rows<Kind, 3, Real>}};
}

template <class Real>
__attribute__((noinline)) void pool_plane(const PoolPlaneArgs<Real>& a, const Functions<Real>& kind) {
    typedef Vec<Real> V;
    constexpr int64_t width = V::width;
    const PoolWindow& p = *a.window;
    Range whole = whole_outputs(p.kernel_width, p.stride_width, p.pad_left, p.dilation_width, 0, p.width);
    if (whole.to > a.columns) whole.to = a.columns;
    if (p.stride_width > 2 || whole.from > whole.to) whole.from = whole.to = a.columns;
    const Range whole_rows = whole_outputs(p.kernel_height, p.stride_height, p.pad_top, p.dilation_height, 0, p.height);
    const int64_t size =
        p.stride_width == 2 && p.dilation_width == 1 && p.kernel_width == p.kernel_height ? p.kernel_width : 0;
    // Lanes beyond a row's windows are garbage: they may be read below the end of x, and written where this call's next
    // rows will come.
    const bool adjacent = a.y_row_stride == a.columns && (a.row1 <= a.rows || a.y_plane_stride == a.rows * a.columns);
    const bool left = size == 3 && a.offset == nullptr && p.pad_left == 1 && whole.from == 1 && whole.to > 1;
    const int64_t first = left ? 0 : whole.from, last_lanes = first + (whole.to - first + width - 1) / width * width;
    const int64_t beyond = (p.kernel_width - 1) * p.dilation_width;
    const int64_t spilled_rows = (last_lanes - 1) / a.columns, x_step = p.stride_height * a.x_row_stride;
    WindowRow w = {};
    w.left = left;
    w.ends[0] = place_of(p, 0), w.ends[1] = place_of(p, a.columns - 1);
    w.stride = p.stride_width, w.row_step = p.dilation_height * a.x_row_stride;
    w.dilation = p.dilation_width, w.kernel_width = p.kernel_width;
    // Of x from memory the next lines are fetched meanwhile: where rows are long, or 256-bit vectors take all of x from
    // a third-level cache that nearly holds it. (One thread, time with and without. Zen 3: c64 224 x 224 0.50, of 8
    // images c512 28 x 28 0.65, c256 56 x 56 1.0, c128 112 x 112 1.1. AVX-512: c64 224 x 224 0.73, the last 1.07.)
    constexpr int64_t kFar = (8 << 20) / sizeof(Real), kFarther = 4 * kFar, kLong = 512 / sizeof(Real);
    const int64_t elements = a.x_end - a.x;
    const bool near = V::ordered && elements <= kFarther;
    w.ahead = elements > kFar && (p.width > kLong || near) ? 2048 : 0;
    for (int64_t i = a.row0; i < a.row1;) {
        const int64_t plane = i / a.rows, row = i - plane * a.rows, y0 = row * p.stride_height - p.pad_top;
        const Range ys = inside(y0, p.dilation_height, p.kernel_height, 0, p.height);
        w.n_rows = ys.count(), w.first_place = ys.from * p.kernel_width;
        w.counted_rows = counted_rows(p, row);
        const Real* x =
            a.x + plane * a.x_plane_stride + (y0 + ys.from * p.dilation_height) * a.x_row_stride - p.pad_left;
        Real* y = a.y + plane * a.y_plane_stride + row * a.y_row_stride;
        uint8_t* offset = a.offset == nullptr ? nullptr : a.offset + i * a.columns;
        // How many rows from here on are alike, and may read and write whole vectors.
        int64_t alike = row >= whole_rows.from ? (whole_rows.to < a.rows ? whole_rows.to : a.rows) - row : 0;
        const int64_t spill = adjacent ? a.row1 - spilled_rows - i : (last_lanes <= a.columns ? a.row1 - i : 0);
        const int64_t room = a.x_end - (x + (w.n_rows - 1) * w.row_step + last_lanes * p.stride_width + beyond);
        const int64_t reads = room < 0 ? 0 : room / x_step + 1;
        if (alike > spill) alike = spill;
        if (alike > reads) alike = reads;
        if (x < a.x) alike = 0;
        if (alike > 0) {
            kind.alike_rows[size == 2 || size == 3 ? size - 1 : 0](w, a, x, y, offset, whole, alike);
            i += alike;
            continue;
        }
        // Columns of which vectors may be read.
        int64_t end = (room + last_lanes * p.stride_width) / p.stride_width, column = whole.from;
        if (end > whole.to) end = whole.to;
        kind.one_by_one(w, p, x, y, offset, 0, column);
        while (column < end && end - width >= whole.from) {
            if (column + width > end) column = end - width;
            kind.any(w, x + column * p.stride_width, y + column, offset == nullptr ? nullptr : offset + column);
            column += width;
        }
        kind.one_by_one(w, p, x, y, offset, column, a.columns);
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

template <class Real>
void max_pool_plane(const PoolPlaneArgs<Real>& a) {
    pool_plane(a, a.offset == nullptr ? functions_of<Maximum<false>, Real>() : functions_of<Maximum<true>, Real>());
}
template <class Real>
void avg_pool_plane(const PoolPlaneArgs<Real>& a) {
    const PoolWindow& p = *a.window;
    const bool runs = p.kernel_height == 1 && p.kernel_width == p.width && p.pad_left == 0 && a.columns == 1;
    const bool one_plane = a.x_plane_stride == 0;  // by shape, not by what a call happens to hold
    if (runs && one_plane) return average_runs(a);
    pool_plane(a, functions_of<Average, Real>());
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(max_pool_plane, PoolPlaneArgs)
CONVLENS_EXPORT_KERNEL(avg_pool_plane, PoolPlaneArgs)
