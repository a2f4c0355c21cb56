// Maximum and average over windows, lanes = channels. Window positions outside the plane are cut off beforehand, so the
// loops over a window have no tests inside; the usual window sizes are unrolled where the whole window is inside.
#include "kernels/body/window.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
constexpr int64_t kPoolLanes = 64 / sizeof(Real);

// The part of one window that is inside the plane.
template <class Real>
struct Window {
    const Real* x;  // its position (0, 0), which may be outside
    int64_t row_step, column_step;
    Range ys, xs;
    int64_t kernel_width;
};

template <class Real, bool WithOffset>
inline void max_window(const Window<Real>& w, Real* y, uint8_t* offset) {
    typedef Vec<Real> V;
    for (int part = 0; part < kPoolLanes<Real>; part += V::width) {
        const Real* row = w.x + w.ys.from * w.row_step + part;
        V best = V::load(row + w.xs.from * w.column_step);
        Ints<Real> winner = splat_ints<Real>(w.ys.from * w.kernel_width + w.xs.from);
        for (int64_t ky = w.ys.from; ky < w.ys.to; ++ky, row += w.row_step) {
            for (int64_t kx = w.xs.from; kx < w.xs.to; ++kx) {
                const V v = V::load(row + kx * w.column_step);
                // The first maximum wins; of NaN, which beat all else, the first too.
                const Mask<Real> take = ~(v <= best) & ~is_nan(best);
                best = select(take, v, best);
                if (WithOffset) winner = take.v ? splat_ints<Real>(ky * w.kernel_width + kx) : winner;
            }
        }
        best.store(y + part);
        if (WithOffset) narrow_bytes(offset + part, to_reals<Real>(winner));
    }
}

template <class Real>
inline void average_window(const Window<Real>& w, int64_t count, Real* y) {
    typedef Vec<Real> V;
    const V divisor = V::splat(static_cast<Real>(count > 0 ? count : 1));
    for (int part = 0; part < kPoolLanes<Real>; part += V::width) {
        const Real* at = w.x + w.ys.from * w.row_step + part;
        V total = V::zero();
        for (int64_t ky = w.ys.from; ky < w.ys.to; ++ky, at += w.row_step) {  // a sum per row first: shorter chains
            V row = V::zero();
            for (int64_t kx = w.xs.from; kx < w.xs.to; ++kx) row = row + V::load(at + kx * w.column_step);
            total = total + row;
        }
        (total / divisor).store(y + part);
    }
}

// Calls visit(window, column) along a row; KernelHeight and KernelWidth above 0 are constants of whole windows.
template <int KernelHeight, int KernelWidth, class Real, class Visit>
inline void each_column(const PoolArgs<Real>& a, Visit visit) {
    const PoolWindow& p = *a.window;
    const int64_t y0 = a.row * p.stride_height - p.pad_top;
    Window<Real> w;
    w.row_step = p.dilation_height * a.x_row_stride, w.column_step = p.dilation_width * kPoolLanes<Real>;
    w.kernel_width = p.kernel_width;
    w.ys = inside(y0, p.dilation_height, p.kernel_height, 0, p.height);
    const bool whole_rows = w.ys.count() == p.kernel_height;
    for (int64_t column = a.column0; column < a.column1; ++column) {
        const int64_t x0 = column * p.stride_width - p.pad_left;
        w.x = a.x + y0 * a.x_row_stride + x0 * kPoolLanes<Real>;
        w.xs = inside(x0, p.dilation_width, p.kernel_width, 0, p.width);
        if (KernelHeight > 0 && whole_rows && w.xs.count() == p.kernel_width) {
            const Window<Real> whole{w.x, w.row_step, w.column_step, {0, KernelHeight}, {0, KernelWidth}, KernelWidth};
            visit(whole, column);
        } else {
            visit(w, column);
        }
    }
}
template <class Real, class Visit>
inline void each_column(const PoolArgs<Real>& a, Visit visit) {
    const PoolWindow& p = *a.window;
    if (p.kernel_height == 2 && p.kernel_width == 2) return each_column<2, 2>(a, visit);
    if (p.kernel_height == 3 && p.kernel_width == 3) return each_column<3, 3>(a, visit);
    each_column<0, 0>(a, visit);
}

template <class Real>
void max_pool(const PoolArgs<Real>& a) {
    constexpr int64_t lanes = kPoolLanes<Real>;
    if (a.offset) {
        each_column(a, [&](const Window<Real>& w, int64_t column) {
            max_window<Real, true>(w, a.y + column * lanes, a.offset + column * lanes);
        });
    } else {
        each_column(a, [&](const Window<Real>& w, int64_t column) {
            max_window<Real, false>(w, a.y + column * lanes, nullptr);
        });
    }
}

template <class Real>
void avg_pool(const PoolArgs<Real>& a) {
    const int64_t rows = counted_rows(*a.window, a.row);
    each_column(a, [&](const Window<Real>& w, int64_t column) {
        average_window(w, rows * counted_columns(*a.window, column), a.y + column * kPoolLanes<Real>);
    });
}

// Along one axis, the windows that hold position `at`: outputs first, first - output_step ... with window indices
// index, index + index_step ... Those with an output outside [0, outputs) are cut off.
struct Holders {
    int64_t output, output_step, index, index_step, count;
};

// Positions at + pad = output * stride + index * dilation repeat with the stride: this finds a phase's smallest index,
// and what lies between its windows.
inline Holders phase_of(int64_t phase, int64_t kernel, int64_t stride, int64_t dilation) {
    if (dilation == 1) return {0, 1, phase, stride, phase < kernel ? (kernel - phase - 1) / stride + 1 : 0};
    int64_t a = stride, b = dilation;
    while (b != 0) {
        const int64_t rest = a % b;
        a = b, b = rest;
    }
    const int64_t index_step = stride / a;
    int64_t index = 0;
    while (index < kernel && index < index_step && index * dilation % stride != phase) ++index;
    if (index == index_step || index >= kernel) return {0, 1, 0, 1, 0};
    // Until cut, `output` is what to subtract from (at + pad) / stride.
    return {(index * dilation - phase) / stride, dilation / a, index, index_step,
            (kernel - index - 1) / index_step + 1};
}
inline Holders cut(Holders h, int64_t quotient, int64_t outputs) {
    h.output = quotient - h.output;
    const int64_t above = h.output - (outputs - 1);
    if (above > 0) {
        const int64_t skipped = h.output_step == 1 ? above : (above + h.output_step - 1) / h.output_step;
        h.output -= skipped * h.output_step, h.index += skipped * h.index_step, h.count -= skipped;
    }
    const int64_t left = h.output < 0 ? 0 : (h.output_step == 1 ? h.output : h.output / h.output_step) + 1;
    if (h.count > left) h.count = left;
    if (h.count < 0) h.count = 0;
    return h;
}

// A block's vectors.
template <class Real>
struct Block {
    static constexpr int parts = (int)kPoolLanes<Real> / Vec<Real>::width;
    Vec<Real> v[parts];
};

// Every element of dx is the sum over the windows that hold it, in the order of (ky, kx): add(block, output row, output
// column, ky, kx).
template <class Real, class Add>
inline void gather(const PoolGradArgs<Real>& a, Add add) {
    typedef Vec<Real> V;
    constexpr int64_t lanes = kPoolLanes<Real>;
    const PoolWindow& p = *a.window;
    const int64_t y = a.row + p.pad_top;
    const Holders ys = cut(phase_of(y % p.stride_height, p.kernel_height, p.stride_height, p.dilation_height),
                           y / p.stride_height, a.dy_height);
    for (int64_t phase = 0; phase < p.stride_width; ++phase) {
        const Holders of_phase = phase_of(phase, p.kernel_width, p.stride_width, p.dilation_width);
        // The first position x >= 0 with (x + pad) % stride == phase.
        int64_t quotient = p.pad_left < phase ? 0 : (p.pad_left - phase + p.stride_width - 1) / p.stride_width;
        for (int64_t x = quotient * p.stride_width + phase - p.pad_left; x < p.width; x += p.stride_width, ++quotient) {
            Holders xs = of_phase;
            xs.output = quotient - of_phase.output;
            if (xs.output >= a.dy_width || xs.output < (xs.count - 1) * xs.output_step) {
                xs = cut(of_phase, quotient, a.dy_width);
            }
            Block<Real> total;
            for (V& v : total.v) v = V::zero();
            for (int64_t i = 0; i < ys.count; ++i) {
                for (int64_t j = 0; j < xs.count; ++j) {
                    add(total, ys.output - i * ys.output_step, xs.output - j * xs.output_step,
                        ys.index + i * ys.index_step, xs.index + j * xs.index_step);
                }
            }
            for (int part = 0; part < Block<Real>::parts; ++part)
                total.v[part].store(a.dx + x * lanes + part * V::width);
        }
    }
}

template <class Real>
inline void zero_pixels(Real* dx, int64_t from, int64_t to) {
    if (to > from) __builtin_memset((void*)(dx + from * kPoolLanes<Real>), 0, (to - from) * 64);
}

// Windows side by side, as a network's usually are: each element has one, and is written from it.
template <int KernelWidth, class Real>
inline void max_pool_grad_apart(const PoolGradArgs<Real>& a) {
    typedef Vec<Real> V;
    constexpr int64_t lanes = kPoolLanes<Real>;
    const PoolWindow& p = *a.window;
    const int64_t kernel_width = KernelWidth > 0 ? KernelWidth : p.kernel_width;
    const int64_t row = (a.row + p.pad_top) / p.stride_height, ky = (a.row + p.pad_top) % p.stride_height;
    if (ky >= p.kernel_height || row >= a.dy_height) return zero_pixels(a.dx, 0, p.width);
    int64_t done = 0;  // dx is written up to here
    for (int64_t column = 0; column < a.dy_width; ++column) {
        const int64_t x0 = column * p.stride_width - p.pad_left;
        const int64_t from = x0 < 0 ? -x0 : 0, to = p.width - x0 < kernel_width ? p.width - x0 : kernel_width;
        if (from >= to) continue;
        if (x0 > done) zero_pixels(a.dx, done, x0);
        done = x0 + to;
        const uint8_t* offset = a.offset + (row * a.dy_width + column) * lanes;
        const Real* dy = a.dy + row * a.dy_row_stride + column * lanes;
        Real* dx = a.dx + x0 * lanes;
        const bool whole = KernelWidth > 0 && to - from == KernelWidth;
        for (int part = 0; part < lanes; part += V::width) {
            if (whole) {
                for (int64_t kx = 0; kx < KernelWidth; ++kx) {
                    won(offset + part, dy + part, splat_ints<Real>(ky * kernel_width + kx))
                        .store(dx + kx * lanes + part);
                }
            } else {
                for (int64_t kx = from; kx < to; ++kx) {
                    won(offset + part, dy + part, splat_ints<Real>(ky * kernel_width + kx))
                        .store(dx + kx * lanes + part);
                }
            }
        }
    }
    zero_pixels(a.dx, done, p.width);
}

// Windows of 3 x 3 two apart, as a network's usually are where they overlap: what is read of a window serves the three
// columns it holds. A row has one or two rows of windows; the sums are those of gather().
template <int Rows, class Real>
inline void max_pool_grad_pairs(const PoolGradArgs<Real>& a, const Holders& ys) {
    typedef Vec<Real> V;
    constexpr int64_t lanes = kPoolLanes<Real>;
    const PoolWindow& p = *a.window;
    for (int64_t part = 0; part < lanes; part += V::width) {
        Ints<Real> winner[Rows], left_winner[Rows];
        V dy[Rows], left[Rows];
        for (int i = 0; i < Rows; ++i) winner[i] = splat_ints<Real>(-1), dy[i] = V::zero();
        int64_t column = 0;
        for (int64_t x = -p.pad_left; x < p.width; x += 2, ++column) {
            V even = V::zero(), odd = V::zero();
            for (int i = 0; i < Rows; ++i) {
                const int64_t row = ys.output - i, place = (ys.index + 2 * i) * 3;
                left_winner[i] = winner[i], left[i] = dy[i];
                if (column < a.dy_width) {
                    const uint8_t* offset = a.offset + (row * a.dy_width + column) * lanes + part;
                    winner[i] = (Ints<Real>)to_ints(widen_bytes(offset, V()));
                    dy[i] = V::load(a.dy + row * a.dy_row_stride + column * lanes + part);
                } else {
                    dy[i] = V::zero();
                }
                const auto add = [&](V sum, Ints<Real> won, V v, int64_t kx) {
                    return sum + keep(Mask<Real>{(Ints<Real>)(won == splat_ints<Real>(place + kx))}, v);
                };
                even = add(add(even, winner[i], dy[i], 0), left_winner[i], left[i], 2);
                odd = add(odd, winner[i], dy[i], 1);
            }
            if (x >= 0) even.store(a.dx + x * lanes + part);
            if (x + 1 >= 0 && x + 1 < p.width) odd.store(a.dx + (x + 1) * lanes + part);
        }
    }
}

template <class Real>
void max_pool_grad(const PoolGradArgs<Real>& a) {
    typedef Vec<Real> V;
    constexpr int64_t lanes = kPoolLanes<Real>;
    const PoolWindow& p = *a.window;
    if (p.dilation_height == 1 && p.dilation_width == 1 && p.kernel_height == 3 && p.kernel_width == 3 &&
        p.stride_height == 2 && p.stride_width == 2) {
        const int64_t y = a.row + p.pad_top;
        const Holders ys = cut(phase_of(y % 2, 3, 2, 1), y / 2, a.dy_height);
        if (ys.count == 0) return zero_pixels(a.dx, 0, p.width);
        return ys.count == 1 ? max_pool_grad_pairs<1>(a, ys) : max_pool_grad_pairs<2>(a, ys);
    }
    if (p.dilation_height == 1 && p.dilation_width == 1 && p.stride_height >= p.kernel_height &&
        p.stride_width >= p.kernel_width) {
        return p.kernel_width == 2 ? max_pool_grad_apart<2>(a) : max_pool_grad_apart<0>(a);
    }
    gather(a, [&](Block<Real>& total, int64_t row, int64_t column, int64_t ky, int64_t kx) {
        const uint8_t* offset = a.offset + (row * a.dy_width + column) * lanes;
        const Real* dy = a.dy + row * a.dy_row_stride + column * lanes;
        const Ints<Real> place = splat_ints<Real>(ky * p.kernel_width + kx);
        for (int part = 0; part < Block<Real>::parts; ++part) {
            total.v[part] = total.v[part] + won(offset + part * V::width, dy + part * V::width, place);
        }
    });
}

template <class Real>
void avg_pool_grad(const PoolGradArgs<Real>& a) {
    typedef Vec<Real> V;
    constexpr int64_t lanes = kPoolLanes<Real>;
    const PoolWindow& p = *a.window;
    // A window's count changes at the borders alone: within these outputs it is the whole window.
    const int64_t whole = p.kernel_height * p.kernel_width;
    const Range rows =
        whole_outputs(p.kernel_height, p.stride_height, p.pad_top, p.dilation_height, p.counted_top, p.counted_bottom);
    const Range columns =
        whole_outputs(p.kernel_width, p.stride_width, p.pad_left, p.dilation_width, p.counted_left, p.counted_right);
    const V whole_share = V::splat(Real(1) / static_cast<Real>(whole));
    gather(a, [&](Block<Real>& total, int64_t row, int64_t column, int64_t, int64_t) {
        V share = whole_share;
        if (row < rows.from || row >= rows.to || column < columns.from || column >= columns.to) {
            const int64_t count = counted_rows(p, row) * counted_columns(p, column);
            share = V::splat(count > 0 ? Real(1) / static_cast<Real>(count) : Real(0));
        }
        const Real* dy = a.dy + row * a.dy_row_stride + column * lanes;
        for (int part = 0; part < Block<Real>::parts; ++part) {
            total.v[part] = total.v[part] + V::load(dy + part * V::width) * share;
        }
    });
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(max_pool, PoolArgs)
CONVLENS_EXPORT_KERNEL(avg_pool, PoolArgs)
CONVLENS_EXPORT_KERNEL(max_pool_grad, PoolGradArgs)
CONVLENS_EXPORT_KERNEL(avg_pool_grad, PoolGradArgs)
