// The gradients of pooling on plain planes. Each row of dx is written once, its sums in the order of (ky, kx).
#include "kernels/body/window.h"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// Rows [row0, row1) of one plane: `windows` of it and those behind it may be read.
template <class Real>
struct Plane {
    const PoolWindow* window;
    const Real* dy;
    int64_t dy_row_stride;
    const uint8_t* offset;
    int64_t windows, dy_height, dy_width;
    Real* dx;
    int64_t dx_row_stride;
    int64_t row0, row1;
    Real* room;  // where rows end that may be overrun, as what lies behind is written after them; null if only this row
};

// What windows give to their positions: take(v, ...) of the shared() dy of neighbouring windows at one place in each;
// across(...) of one window to neighbouring places; one(...) to one; give(...) of a row of windows, to the places that
// are theirs.
template <class Real>
struct Winners {
    typedef Vec<Real> V;
    static constexpr bool kPlaces = true;
    const Plane<Real>& a;
    Ints<Real> lane;
    explicit Winners(const Plane<Real>& args) : a(args) {
        for (int i = 0; i < V::width; ++i) lane[i] = i;
    }
    void aim(int64_t) {}
    void give(const Real* dy, Range columns, Real* line) const {
        __builtin_memcpy((void*)line, (const void*)(dy + columns.from), columns.count() * sizeof(Real));
    }
    static V take(V v, Ints<Real> winners, Ints<Real> place) {
        return keep(Mask<Real>{(Ints<Real>)(winners == place)}, v);
    }
    static Ints<Real> winners(const uint8_t* offset) { return to_ints(widen_bytes(offset, V())); }
    V across(Real dy, int64_t at, int64_t, int64_t place) const {
        return keep(Mask<Real>{(Ints<Real>)(lane == splat_ints<Real>(a.offset[at] - place))}, V::splat(dy));
    }
    Real one(Real dy, int64_t at, int64_t, int64_t place) const { return a.offset[at] == place ? dy : Real(0); }
    bool all_alike() const { return true; }
    V of_all() const { return V::zero(); }
    static V shared(V dy, V) { return dy; }
};
template <class Real>
struct Shares {
    typedef Vec<Real> V;
    static constexpr bool kPlaces = false;
    const Plane<Real>& a;
    Range alike, alike_rows;  // windows with all of their columns, or rows
    int64_t rows = 0;
    Real full = 0;
    explicit Shares(const Plane<Real>& args) : a(args) {
        const PoolWindow& p = *a.window;
        alike = whole_outputs(p.kernel_width, p.stride_width, p.pad_left, p.dilation_width, p.counted_left,
                              p.counted_right);
        alike_rows = whole_outputs(p.kernel_height, p.stride_height, p.pad_top, p.dilation_height, p.counted_top,
                                   p.counted_bottom);
    }
    void aim(int64_t row) {
        const bool whole = row >= alike_rows.from && row < alike_rows.to;
        const int64_t count = whole ? a.window->kernel_height : counted_rows(*a.window, row);
        if (count != rows) rows = count, full = share(count * a.window->kernel_width);
    }
    static Real share(int64_t count) { return count > 0 ? Real(1) / static_cast<Real>(count) : Real(0); }
    static V take(V v, Ints<Real>, Ints<Real>) { return v; }
    static Ints<Real> winners(const uint8_t*) { return Ints<Real>{}; }
    void give(const Real* dy, Range columns, Real* line) const {
        const int64_t n = columns.count();
        __builtin_memcpy((void*)line, (const void*)(dy + columns.from), n * sizeof(Real));
        for (int64_t i = 0; i < n; i += V::width) (V::load(line + i) * V::splat(full)).store(line + i);
        line -= columns.from;
        int64_t i = columns.from;
        for (; i < columns.to && i < alike.from; ++i) line[i] = one(dy[i], 0, i, 0);
        for (i = i < alike.to ? alike.to : i; i < columns.to; ++i) line[i] = one(dy[i], 0, i, 0);
    }
    bool all_alike() const { return alike.from <= 0 && alike.to >= a.dy_width; }
    V of_all() const { return V::splat(full); }
    static V shared(V dy, V share) { return dy * share; }
    V across(Real dy, int64_t at, int64_t column, int64_t place) const { return V::splat(one(dy, at, column, place)); }
    Real one(Real dy, int64_t, int64_t column, int64_t) const {
        if (column >= alike.from && column < alike.to) return dy * full;
        return dy * share(rows * counted_columns(*a.window, column));
    }
};

// The windows' rows that hold a row of x: `row` at its ky, and every steps.row-th above it at every steps.ky-th more.
struct Rows {
    int64_t ky, row;
};
inline Rows steps_of(const PoolWindow& p) {
    int64_t ky = 1;
    while (ky < p.kernel_height && ky * p.dilation_height % p.stride_height != 0) ++ky;
    return {ky, ky * p.dilation_height / p.stride_height};
}
inline Rows rows_of(const PoolWindow& p, int64_t y, int64_t step) {
    const int64_t top = y + p.pad_top, first = top / p.stride_height;
    if (p.dilation_height == 1) return {top - first * p.stride_height, first};
    for (int64_t ky = 0; ky < step; ++ky) {
        const int64_t start = top - ky * p.dilation_height, row = start / p.stride_height;
        if (row * p.stride_height == start) return {ky, row};
    }
    return {0, -1};
}

template <class Real>
inline Real* room_of(const Plane<Real>& a, int64_t y) {
    return a.room != nullptr ? a.room : a.dx + y * a.dx_row_stride + a.window->width;
}
template <class Real>
inline void put(Vec<Real> v, Real* to, int64_t count, const Real* room) {
    constexpr int64_t width = Vec<Real>::width;
    if (to + width <= room) return store_anywhere(to, v);
    Real lanes[width];
    v.store(lanes);
    for (int64_t i = 0; i < count && i < width; ++i) to[i] = lanes[i];
}

// Rows of dx from `count` rows of windows two wide, side by side in both directions, where vectors may be read and
// written whole: of a row narrower than one they spill into the next, which is written after it. Height: 2, or any.
template <int Height, class Given, class Real>
inline void grad_of_pairs(const Plane<Real>& a, Given& given, int64_t row, int64_t count, Real* dx) {
    typedef Vec<Real> V;
    const int64_t columns = a.dy_width, used = 2 * columns, height = Height > 0 ? Height : a.window->kernel_height;
    const int64_t below = a.dx_row_stride;
    const bool narrow = used <= V::width;
    const Ints<Real> two = splat_ints<Real>(2), one = splat_ints<Real>(1);
    for (const int64_t end = row + count; row < end; ++row, dx += height * below) {
        given.aim(row);
        const V share = given.of_all();
        const Real* dy = a.dy + row * a.dy_row_stride;
        const uint8_t* offset = a.offset + (Given::kPlaces ? row * columns : 0);
        for (int64_t column = 0; column < columns; column += V::width) {
            if (column + V::width > columns && columns >= V::width) column = columns - V::width;
            const V v = Given::shared(V::load(dy + column), share);
            const Ints<Real> winners = Given::winners(offset + (Given::kPlaces ? column : 0));
            Real* to = dx + 2 * column;
            Ints<Real> place = {};
            const auto put_row = [&] {
                V low, high;
                zip(Given::take(v, winners, place), Given::take(v, winners, place + one), &low, &high);
                store_anywhere(to, low);
                if (!narrow) store_anywhere(to + V::width, high);
                to += below, place = place + two;
            };
            put_row();
            if (Height == 2) {
                put_row();
            } else {
                for (int64_t ky = 1; ky < height; ++ky) put_row();
            }
        }
        for (int64_t ky = 0; ky < height; ++ky) {
            for (int64_t x = used; x < a.window->width; ++x) dx[ky * below + x] = 0;
        }
    }
}

// Windows side by side, each with rows of its own: lanes are windows when they are two wide, else a window's positions.
template <class Given, class Real>
void grad_of_tiles(const Plane<Real>& a) {
    typedef Vec<Real> V;
    const PoolWindow& p = *a.window;
    Given given(a);
    const int64_t size = p.kernel_width, height = p.kernel_height;
    const bool pairs = size == 2 && height == p.stride_height;
    // How far vectors reach beyond a row; the last of a long one ends with it.
    const int64_t vectors = a.dy_width < V::width ? (2 * a.dy_width > V::width ? 2 : 1) * V::width : 2 * a.dy_width;
    const int64_t spill = vectors - p.width;
    int64_t row = (a.row0 + p.pad_top) / p.stride_height, ky = a.row0 + p.pad_top - row * p.stride_height;
    for (int64_t y = a.row0; y < a.row1;) {
        Real *const to = a.dx + y * a.dx_row_stride, *const room = room_of(a, y);
        if (pairs && ky == 0) {
            int64_t count = (a.row1 - y) / height;
            if (count > a.dy_height - row) count = a.dy_height - row;
            if (a.dy_width < V::width) {
                const int64_t reads = (a.windows - V::width + a.dy_width) / a.dy_width - row;
                if (count > reads) count = reads;
            }
            if (spill > 0) {
                const int64_t writes = a.room == nullptr ? 0 : (a.room - to - p.width - spill) / a.dx_row_stride + 1;
                if (count > writes / height) count = writes / height;
            }
            if (count > 0) {
                height == 2 ? grad_of_pairs<2>(a, given, row, count, to) : grad_of_pairs<0>(a, given, row, count, to);
                row += count, y += count * height;
                continue;
            }
        }
        const int64_t columns = row < a.dy_height && ky < height ? a.dy_width : 0;
        if (columns > 0) given.aim(row);
        for (int64_t column = 0; column < columns; ++column) {
            const Real dy = a.dy[row * a.dy_row_stride + column];
            for (int64_t kx = 0; kx < size; kx += V::width) {
                const V v = given.across(dy, row * a.dy_width + column, column, ky * size + kx);
                put(v, to + column * size + kx, size - kx, room);
            }
        }
        for (int64_t x = size * columns; x < p.width; ++x) to[x] = 0;
        ++y;
        if (++ky == p.stride_height) ky = 0, ++row;
    }
}

// Rows of windows as sums read them: what each window gives, and to which place, among zeros.
constexpr int64_t kLineElements = 4096, kMostLines = 64;

// Of the windows that positions [x0, x1) of dx meet.
template <class Given, class Real>
struct Lines {
    typedef Vec<Real> V;
    const Plane<Real>& a;
    Given given;
    int64_t x0, x1, count, first, step, rows_apart;
    Range columns;
    int64_t held[kMostLines];
    Real dy[kLineElements];
    uint8_t places[Given::kPlaces ? kLineElements : 1];

    // Positions of dx that `count` lines have room for: whole vectors, none if there are too many.
    static int64_t room(const PoolWindow& p, int64_t count) {
        const int64_t reach = (p.kernel_width - 1) * p.dilation_width, stride = p.stride_width;
        const int64_t elements = count <= kMostLines ? kLineElements / count - 4 * V::width - reach : 0;
        return elements > 0 ? elements / V::width * V::width * stride : 0;
    }
    Lines(const Plane<Real>& args, Rows steps, int64_t n, Range x)
        : a(args), given(args), x0(x.from), x1(x.to), count(n), rows_apart(steps.row) {
        const PoolWindow& p = *a.window;
        const int64_t half = p.stride_width - 1;
        first = (x0 + p.pad_left - (p.kernel_width - 1) * p.dilation_width) >> half;
        const int64_t end = ((x1 - 1 + p.pad_left) >> half) + 2 * V::width;  // vectors read beyond what they need
        step = end - first + V::width;
        columns = {first > 0 ? first : 0, end < a.dy_width ? end : a.dy_width};
        if (columns.to < columns.from) columns.to = columns.from;
        for (int64_t i = 0; i < count; ++i) held[i] = -1;
        __builtin_memset((void*)dy, 0, count * step * sizeof(Real));
        if (Given::kPlaces) __builtin_memset(places, 0, count * step);
    }
    // Where the first window of a row would lie.
    int64_t of(int64_t row) {
        const int64_t nth = rows_apart > 1 ? row / rows_apart : row;
        const int64_t line = static_cast<uint32_t>(nth) % static_cast<uint32_t>(count), at = line * step - first;
        if (held[line] != row) {
            held[line] = row;
            given.aim(row);
            given.give(a.dy + row * a.dy_row_stride, columns, dy + at + columns.from);
            if (Given::kPlaces) {
                __builtin_memcpy(places + at + columns.from, a.offset + row * a.dy_width + columns.from,
                                 columns.count());
            }
        }
        return at;
    }
    struct Windows {
        V dy;
        Ints<Real> winners;
    };
    Windows load(int64_t at) const { return {V::load(dy + at), Given::winners(places + (Given::kPlaces ? at : 0))}; }
    static V take(const Windows& w, Ints<Real> place) {
        return Given::kPlaces ? keep(Mask<Real>{(Ints<Real>)(w.winners == place)}, w.dy) : w.dy;
    }
};

struct Line {
    int64_t at, place;
};

template <class Real>
inline void put_pairs(Vec<Real> even, Vec<Real> odd, Real* to, int64_t count, const Real* room) {
    constexpr int64_t width = Vec<Real>::width;
    Vec<Real> low, high;
    zip(even, odd, &low, &high);
    put(low, to, count, room);
    if (count > width) put(high, to + width, count - width, room);
}

// A row of dx from windows three wide and two apart, N rows of them. Of windows at `column` the first of the three
// places is met, of those before them the last; of either the middle: of those before, Shifted, where padding is odd.
template <int N, bool Shifted, class Given, class Real>
__attribute__((noinline)) void three_wide(const Lines<Given, Real>& lines, const Line* met, Real* dx,
                                          const Real* room) {
    typedef Vec<Real> V;
    int64_t at[N], column = (lines.x0 + lines.a.window->pad_left + Shifted) >> 1;
    Ints<Real> places[N][3];
    CONVLENS_UNROLL
    for (int i = 0; i < N; ++i) {
        at[i] = met[i].at;
        for (int k = 0; k < 3; ++k) places[i][k] = splat_ints<Real>(met[i].place + k);
    }
    for (int64_t x = lines.x0; x < lines.x1; x += 2 * V::width, column += V::width) {
        V outer = V::zero(), middle = V::zero();
        CONVLENS_UNROLL
        for (int i = 0; i < N; ++i) {
            const auto here = lines.load(at[i] + column), before = lines.load(at[i] + column - 1);
            outer = outer + lines.take(here, places[i][0]);
            outer = outer + lines.take(before, places[i][2]);
            middle = middle + lines.take(Shifted ? before : here, places[i][1]);
        }
        put_pairs(Shifted ? middle : outer, Shifted ? outer : middle, dx + x, lines.x1 - x, room);
    }
}

// Any others, one or two apart.
template <class Given, class Real>
__attribute__((noinline)) void any_wide(const Lines<Given, Real>& lines, const Line* met, int64_t n, Real* dx,
                                        const Real* room) {
    typedef Vec<Real> V;
    const PoolWindow& p = *lines.a.window;
    const int64_t stride = p.stride_width;
    for (int64_t x = lines.x0; x < lines.x1; x += stride * V::width) {
        V sums[2] = {V::zero(), V::zero()};
        for (int64_t phase = 0; phase < stride; ++phase) {
            V sum = V::zero();
            for (int64_t i = 0; i < n; ++i) {
                for (int64_t kx = 0; kx < p.kernel_width; ++kx) {
                    const int64_t shift = x + phase + p.pad_left - kx * p.dilation_width;
                    if ((shift & (stride - 1)) != 0) continue;
                    const auto windows = lines.load(met[i].at + (shift >> (stride - 1)));
                    sum = sum + lines.take(windows, splat_ints<Real>(met[i].place + kx));
                }
            }
            sums[phase] = sum;
        }
        if (stride == 2) {
            put_pairs(sums[0], sums[1], dx + x, lines.x1 - x, room);
        } else {
            put(sums[0], dx + x, lines.x1 - x, room);
        }
    }
}

// Windows one or two apart: lanes are every stride-th of neighbouring positions, and the windows that hold them.
template <class Given, class Real>
void grad_of_neighbours(const Plane<Real>& a, int64_t count, Range x) {
    const PoolWindow& p = *a.window;
    const Rows steps = steps_of(p);
    Lines<Given, Real> lines(a, steps, count, x);
    Line met[kMostLines];
    const bool three = p.stride_width == 2 && p.kernel_width == 3 && p.dilation_width == 1;
    for (int64_t y = a.row0; y < a.row1; ++y) {
        const Rows rows = rows_of(p, y, steps.ky);
        Real *const dx = a.dx + y * a.dx_row_stride, *const room = room_of(a, y);
        int64_t n = 0;
        for (int64_t ky = rows.ky, row = rows.row; ky < p.kernel_height && row >= 0; ky += steps.ky, row -= steps.row) {
            if (row < a.dy_height) met[n++] = {lines.of(row), ky * p.kernel_width};
        }
        const bool shifted = (p.pad_left & 1) != 0;
        if (three && n == 1) {
            (shifted ? three_wide<1, true, Given, Real> : three_wide<1, false, Given, Real>)(lines, met, dx, room);
        } else if (three && n == 2) {
            (shifted ? three_wide<2, true, Given, Real> : three_wide<2, false, Given, Real>)(lines, met, dx, room);
        } else {
            any_wide(lines, met, n, dx, room);
        }
    }
}

// A row of windows as it lies in memory.
template <class Given, class Real>
struct Source {
    typedef Vec<Real> V;
    const Real* dy;
    const uint8_t* places;
    V share;

    struct Windows {
        V dy;
        Ints<Real> winners;
        V take(Ints<Real> place) const { return Given::take(dy, winners, place); }
    };
    Windows load(int64_t at) const {
        return {Given::shared(V::load(dy + at), share), Given::winners(places + (Given::kPlaces ? at : 0))};
    }
};

// Columns [from, from + V::width] of it, of which [0, width) are its own and readable.
template <class Given, class Real>
struct Piece {
    Real dy[Vec<Real>::width + 1];
    uint8_t places[Vec<Real>::width + 1];

    __attribute__((noinline, cold)) void copy(const Real* dy_row, const uint8_t* places_row, int64_t from,
                                              int64_t width) {
        for (int64_t i = 0; i <= Vec<Real>::width; ++i) {
            const bool is = from + i >= 0 && from + i < width;
            dy[i] = is ? dy_row[from + i] : Real(0);
            places[i] = is && Given::kPlaces ? places_row[from + i] : 0;
        }
    }
};

// Windows of a row: how many there are, and the columns that may be read of each.
struct Columns {
    int64_t width;
    Range readable;
};

// Two rows of dx from windows 3 x 3, two apart: the first lies in the middle of `above`, the other one below it and on
// top of `below`. Shifted as in three_wide(). `places` are those of a
// window, in memory: instructions take them from there.
template <bool Shifted, class Given, class Real>
__attribute__((noinline)) void three_by_three(const Source<Given, Real>& above, const Source<Given, Real>& below,
                                              const Columns& columns, const Ints<Real>* places, const PoolWindow& p,
                                              Real* const dx[2], Real* const room[2]) {
    typedef Vec<Real> V;
    const Source<Given, Real> one = above, other = below;
    Real *const to = dx[0], *const next = dx[1];
    const int64_t width = p.width, windows = columns.width, start = p.pad_left + Shifted;
    const auto put_both = [&](const auto& a, const auto& b, int64_t x, auto load, auto store) {
        const int64_t column = (x + start) >> 1;
        const auto here = load(a, column), before = load(a, column - 1);
        const auto here2 = load(b, column), before2 = load(b, column - 1);
        V outer = V::zero() + here.take(places[3]) + before.take(places[5]);
        V middle = V::zero() + (Shifted ? before : here).take(places[4]);
        store(Shifted ? middle : outer, Shifted ? outer : middle, to + x, x, 0);
        outer = V::zero() + here2.take(places[0]) + before2.take(places[2]);
        outer = outer + here.take(places[6]) + before.take(places[8]);
        middle = V::zero() + (Shifted ? before2 : here2).take(places[1]) + (Shifted ? before : here).take(places[7]);
        store(Shifted ? middle : outer, Shifted ? outer : middle, next + x, x, 1);
    };
    Ints<Real> lane;
    for (int i = 0; i < V::width; ++i) lane[i] = i;
    const auto inside_row = [&](int64_t at) {
        const Ints<Real> column = lane + splat_ints<Real>(at);
        return Mask<Real>{(Ints<Real>)((column >= 0) & (column < splat_ints<Real>(windows)))};
    };
    for (int64_t x = 0; x < width; x += 2 * V::width) {
        const int64_t column = (x + start) >> 1;
        const bool partial = x + 2 * V::width > width;
        if (column > 0 && column + V::width <= windows && !partial) {
            put_both(
                one, other, x, [](const auto& rows, int64_t at) { return rows.load(at); },
                [](V even, V odd, Real* at, int64_t, int) {
                    V low, high;
                    zip(even, odd, &low, &high);
                    store_anywhere(at, low);
                    store_anywhere(at + V::width, high);
                });
            continue;
        }
        // The first row's end may run over the other one's beginning.
        const bool again = partial && x > 0;
        V low = V::zero(), high = low;
        if (again) low = V::load(next), high = V::load(next + V::width);
        Source<Given, Real> one2 = one, other2 = other;
        Piece<Given, Real> pieces[2];
        if (column - 1 < columns.readable.from || column + V::width > columns.readable.to) {
            pieces[0].copy(one.dy, one.places, column - 1, windows);
            pieces[1].copy(other.dy, other.places, column - 1, windows);
            one2.dy = pieces[0].dy - (column - 1), one2.places = pieces[0].places - (column - 1);
            other2.dy = pieces[1].dy - (column - 1), other2.places = pieces[1].places - (column - 1);
        }
        const Mask<Real> here = inside_row(column), before = inside_row(column - 1);
        put_both(
            one2, other2, x,
            [&](const auto& rows, int64_t at) {
                auto some = rows.load(at);
                some.dy = keep(at == column ? here : before, some.dy);
                return some;
            },
            [&](V even, V odd, Real* at, int64_t from, int row) { put_pairs(even, odd, at, width - from, room[row]); });
        if (again) put(low, next, width, room[1]), put(high, next + V::width, width - V::width, room[1]);
    }
}

constexpr int64_t kThreeColumns = 512;

// Windows 3 x 3, two apart, each with the same share.
template <class Given, class Real>
void grad_of_threes(const Plane<Real>& a) {
    typedef Vec<Real> V;
    const PoolWindow& p = *a.window;
    Given given(a);
    Ints<Real> places[9];
    for (int i = 0; i < 9; ++i) places[i] = splat_ints<Real>(i);
    Real none[kThreeColumns + 2 * V::width], spare[2 * (kThreeColumns + 2 * V::width)];
    uint8_t nowhere[Given::kPlaces ? kThreeColumns + 2 * V::width : 1] = {};
    for (int64_t i = 0; i < a.dy_width + 2 * V::width; i += V::width) V::zero().store(none + i);
    const auto source = [&](int64_t row) {
        if (row < 0 || row >= a.dy_height) {
            return Source<Given, Real>{none + V::width, nowhere + (Given::kPlaces ? V::width : 0), V::zero()};
        }
        given.aim(row);
        return Source<Given, Real>{a.dy + row * a.dy_row_stride, a.offset + (Given::kPlaces ? row * a.dy_width : 0),
                                   given.of_all()};
    };
    for (int64_t y = a.row0 - ((a.row0 + p.pad_top) % 2 == 0); y < a.row1; y += 2) {
        const int64_t row = (y + p.pad_top - 1) >> 1;
        Real *to[2], *room[2];
        for (int i = 0; i < 2; ++i) {
            const bool ours = y + i >= a.row0 && y + i < a.row1;
            to[i] = ours ? a.dx + (y + i) * a.dx_row_stride : spare;
            room[i] = ours ? room_of(a, y + i) : spare + sizeof spare / sizeof *spare;
        }
        const int64_t last = row + 1 < a.dy_height ? row + 1 : a.dy_height - 1, beyond = a.windows - last * a.dy_width;
        const Columns columns = {a.dy_width,
                                 {row > 0 ? -1 : 0, beyond < a.dy_width + V::width ? beyond : a.dy_width + V::width}};
        ((p.pad_left & 1) != 0
             ? three_by_three<true, Given, Real>
             : three_by_three<false, Given, Real>)(source(row), source(row + 1), columns, places, p, to, room);
    }
}

constexpr int64_t kGradColumns = 512;

// Windows few or far apart: lanes are the positions of one. The last window comes first, as its kx is the least.
template <class Given, class Real>
void grad_across(const Plane<Real>& a) {
    typedef Vec<Real> V;
    const PoolWindow& p = *a.window;
    const int64_t reach = (p.kernel_width - 1) * p.dilation_width;
    const Rows steps = steps_of(p);
    Given given(a);
    alignas(64) Real sums[kGradColumns + 2 * V::width];
    for (int64_t y = a.row0; y < a.row1; ++y) {
        const Rows rows = rows_of(p, y, steps.ky);
        Real* const room = room_of(a, y);
        for (int64_t x0 = 0; x0 < p.width; x0 += kGradColumns) {
            const int64_t columns = p.width - x0 < kGradColumns ? p.width - x0 : kGradColumns;
            for (int64_t x = 0; x < columns + V::width; x += V::width) V::zero().store(sums + x);
            int64_t last = (x0 + columns - 1 + p.pad_left) / p.stride_width;
            if (last >= a.dy_width) last = a.dy_width - 1;
            for (int64_t ky = rows.ky, row = rows.row; ky < p.kernel_height && row >= 0;
                 ky += steps.ky, row -= steps.row) {
                if (row >= a.dy_height) continue;
                given.aim(row);
                const Real* dy = a.dy + row * a.dy_row_stride;
                for (int64_t column = last; column >= 0; --column) {
                    const int64_t x = column * p.stride_width - p.pad_left - x0, at = row * a.dy_width + column;
                    if (x + reach < 0) break;
                    const int64_t place = ky * p.kernel_width;
                    if (p.dilation_width == 1 && x >= 0 && x + reach < columns) {
                        for (int64_t kx = 0; kx <= reach; kx += V::width) {
                            V v = given.across(dy[column], at, column, place + kx);
                            if (reach - kx + 1 < V::width) v = keep_where((1u << (reach - kx + 1)) - 1, v);
                            (V::load(sums + x + kx) + v).store(sums + x + kx);
                        }
                        continue;
                    }
                    const Range xs = inside(x, p.dilation_width, p.kernel_width, 0, columns);
                    for (int64_t kx = xs.from; kx < xs.to; ++kx) {
                        Real* sum = sums + x + kx * p.dilation_width;
                        *sum = *sum + given.one(dy[column], at, column, place + kx);
                    }
                }
            }
            Real* dx = a.dx + y * a.dx_row_stride + x0;
            for (int64_t x = 0; x < columns; x += V::width) put(V::load(sums + x), dx + x, columns - x, room);
        }
    }
}

template <class Given, class Real>
inline void grad_of_plane(const Plane<Real>& a) {
    const PoolWindow& p = *a.window;
    const bool disjoint = p.kernel_height <= p.stride_height && p.dilation_height == 1;
    const bool joined = p.kernel_width == p.stride_width && p.dilation_width == 1 && p.pad_left == 0;
    if (disjoint && joined && p.kernel_width * a.dy_width <= p.width) {
        return grad_of_tiles<Given>(a);
    }
    if constexpr (Vec<Real>::ordered) {  // measured on AVX2 alone; elsewhere not worth 12 KB
        const bool threes = p.kernel_height == 3 && p.kernel_width == 3 && p.stride_height == 2 && p.stride_width == 2;
        if (threes && p.dilation_height == 1 && p.dilation_width == 1 && a.dy_width >= 4 &&
            p.width <= 2 * kThreeColumns && a.dy_width <= kThreeColumns && Given(a).all_alike()) {
            return grad_of_threes<Given>(a);
        }
    }
    const int64_t step = steps_of(p).ky, count = (p.kernel_height + step - 1) / step;
    const int64_t columns = Lines<Given, Real>::room(p, count);
    if (a.dy_width < 4 || p.stride_width > 2 || columns == 0) return grad_across<Given>(a);
    // Of parts of rows none may overrun a row: the next one's beginning is written.
    Plane<Real> part = a;
    if (columns < p.width) part.room = nullptr;
    for (int64_t x = 0; x < p.width; x += columns) {
        grad_of_neighbours<Given>(part, count, {x, x + columns < p.width ? x + columns : p.width});
    }
}
template <template <class> class Given, class Real>
inline void pool_plane_grad(const PoolPlaneGradArgs<Real>& a) {
    const PoolWindow& p = *a.window;
    const bool adjacent = a.dx_row_stride == p.width && (a.dx_plane_stride == p.height * p.width || a.row1 <= p.height);
    int64_t plane = a.row0 / p.height, row = a.row0 - plane * p.height;
    const int64_t end = a.row1 - 1, last = end / p.height;
    Real* const room = a.dx + last * a.dx_plane_stride + (end - last * p.height) * a.dx_row_stride + p.width;
    for (int64_t i = a.row0; i < a.row1; ++plane, row = 0) {
        const int64_t count = a.row1 - i < p.height - row ? a.row1 - i : p.height - row;
        const int64_t before = plane * a.dy_height * a.dy_width;
        grad_of_plane<Given<Real>>(Plane<Real>{&p, a.dy + plane * a.dy_plane_stride, a.dy_row_stride,
                                               a.offset == nullptr ? nullptr : a.offset + before, a.windows - before,
                                               a.dy_height, a.dy_width, a.dx + plane * a.dx_plane_stride,
                                               a.dx_row_stride, row, row + count, adjacent ? room : nullptr});
        i += count;
    }
}
template <class Real>
void max_pool_plane_grad(const PoolPlaneGradArgs<Real>& a) {
    pool_plane_grad<Winners>(a);
}
template <class Real>
void avg_pool_plane_grad(const PoolPlaneGradArgs<Real>& a) {
    pool_plane_grad<Shares>(a);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(max_pool_plane_grad, PoolPlaneGradArgs)
CONVLENS_EXPORT_KERNEL(avg_pool_plane_grad, PoolPlaneGradArgs)
