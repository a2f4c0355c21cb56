// Maximum and average over windows, lanes = channels. A row of output at a time; window positions outside the plane are
// cut off beforehand, so the loops have no tests inside.
#include "kernels/args/pool.hpp"

namespace convlens { namespace kernels { namespace CONVLENS_ISA_NAME { namespace {

template <class Real>
struct Integer;
template <>
struct Integer<float> {
    typedef int32_t type;
};
template <>
struct Integer<double> {
    typedef int64_t type;
};

template <class Real>
struct Lanes {
    static constexpr int width = Vec<Real>::width;
    static constexpr int count = 64 / (int)sizeof(Real) / width;  // registers a block
    typedef Real V __attribute__((vector_size(sizeof(Real) * width)));
    typedef typename Integer<Real>::type Int;
    typedef Int I __attribute__((vector_size(sizeof(Int) * width)));  // what a comparison gives: all bits set where it holds
    typedef uint8_t U __attribute__((vector_size(width)));

    static V load(const Real* p) {
        V v;
        __builtin_memcpy(&v, p, sizeof v);
        return v;
    }
    static void store(Real* p, V v) { __builtin_memcpy(p, &v, sizeof v); }
    static I all(int64_t k) { return I{} + (Int)k; }
    static I load_offset(const uint8_t* p) {
        U v;
        __builtin_memcpy(&v, p, sizeof v);
        return __builtin_convertvector(v, I);
    }
    static void store_offset(uint8_t* p, I v) {
        const U u = __builtin_convertvector(v, U);
        __builtin_memcpy(p, &u, sizeof u);
    }
};

// The window indices [from, to) whose positions start + i * dilation lie in [low, high).
struct Range {
    int64_t from, to;
};
inline Range inside(int64_t start, int64_t dilation, int64_t count, int64_t low, int64_t high) {
    int64_t from = start >= low ? 0 : (low - start + dilation - 1) / dilation;
    int64_t to = start >= high ? 0 : (high - start + dilation - 1) / dilation;
    if (to > count) to = count;
    if (from > to) from = to;
    return {from, to};
}

template <class Real, bool WithOffset>
void max_pool_row(const PoolArgs<Real>& a) {
    typedef Lanes<Real> L;
    typedef typename L::V V;
    typedef typename L::I I;
    const PoolWindow& w = *a.window;
    constexpr int64_t lanes = 64 / sizeof(Real);
    const int64_t y0 = a.row * w.stride_height - w.pad_top;
    const Range ys = inside(y0, w.dilation_height, w.kernel_height, 0, w.height);
    for (int64_t column = a.column0; column < a.column1; ++column) {
        const int64_t x0 = column * w.stride_width - w.pad_left;
        const Range xs = inside(x0, w.dilation_width, w.kernel_width, 0, w.width);
        for (int part = 0; part < L::count; ++part) {
            V best = V{} - (Real)__builtin_huge_val();
            // Where nothing beats -inf, the window's first position is the winner.
            I winner = L::all(ys.from * w.kernel_width + xs.from);
            for (int64_t ky = ys.from; ky < ys.to; ++ky) {
                const Real* x = a.x + (y0 + ky * w.dilation_height) * a.x_row_stride + part * L::width;
                for (int64_t kx = xs.from; kx < xs.to; ++kx) {
                    const V v = L::load(x + (x0 + kx * w.dilation_width) * lanes);
                    const I take = (v > best) | (v != v);  // the first maximum wins; NaN comes through
                    best = take ? v : best;
                    if (WithOffset) winner = take ? L::all(ky * w.kernel_width + kx) : winner;
                }
            }
            L::store(a.y + column * lanes + part * L::width, best);
            if (WithOffset) L::store_offset(a.offset + column * lanes + part * L::width, winner);
        }
    }
}

template <class Real>
void max_pool(const PoolArgs<Real>& a) {
    if (a.offset) {
        max_pool_row<Real, true>(a);
    } else {
        max_pool_row<Real, false>(a);
    }
}

inline int64_t counted(const PoolWindow& w, int64_t y0, int64_t x0) {
    const Range ys = inside(y0, w.dilation_height, w.kernel_height, w.counted_top, w.counted_bottom);
    const Range xs = inside(x0, w.dilation_width, w.kernel_width, w.counted_left, w.counted_right);
    return (ys.to - ys.from) * (xs.to - xs.from);
}

template <class Real>
void avg_pool(const PoolArgs<Real>& a) {
    typedef Lanes<Real> L;
    typedef typename L::V V;
    const PoolWindow& w = *a.window;
    constexpr int64_t lanes = 64 / sizeof(Real);
    const int64_t y0 = a.row * w.stride_height - w.pad_top;
    const Range ys = inside(y0, w.dilation_height, w.kernel_height, 0, w.height);
    for (int64_t column = a.column0; column < a.column1; ++column) {
        const int64_t x0 = column * w.stride_width - w.pad_left;
        const Range xs = inside(x0, w.dilation_width, w.kernel_width, 0, w.width);
        const int64_t count = counted(w, y0, x0);
        const Real share = count > 0 ? (Real)1 / (Real)count : (Real)0;
        for (int part = 0; part < L::count; ++part) {
            V total = V{};
            for (int64_t ky = ys.from; ky < ys.to; ++ky) {  // a sum per row first: shorter chains, smaller error
                const Real* x = a.x + (y0 + ky * w.dilation_height) * a.x_row_stride + part * L::width;
                V row = V{};
                for (int64_t kx = xs.from; kx < xs.to; ++kx) row += L::load(x + (x0 + kx * w.dilation_width) * lanes);
                total += row;
            }
            L::store(a.y + column * lanes + part * L::width, total * share);
        }
    }
}

// Calls add(output row, output column range, ky, kx) in a fixed order for every window position that falls on `row`.
template <class Real, class Add>
void each_window(const PoolGradArgs<Real>& a, Add add) {
    const PoolWindow& w = *a.window;
    for (int64_t ky = 0; ky < w.kernel_height; ++ky) {
        const int64_t above = a.row + w.pad_top - ky * w.dilation_height;
        if (above < 0) break;
        if (above % w.stride_height != 0 || above / w.stride_height >= a.dy_height) continue;
        for (int64_t kx = 0; kx < w.kernel_width; ++kx) {
            // Column c of dy meets column c * stride + shift of dx.
            const int64_t shift = kx * w.dilation_width - w.pad_left;
            const int64_t from = shift >= 0 ? 0 : (-shift + w.stride_width - 1) / w.stride_width;
            int64_t to = shift >= w.width ? 0 : (w.width - shift + w.stride_width - 1) / w.stride_width;
            if (to > a.dy_width) to = a.dy_width;
            if (from < to) add(above / w.stride_height, from, to, shift, ky, kx);
        }
    }
}

template <class Real>
void max_pool_grad(const PoolGradArgs<Real>& a) {
    typedef Lanes<Real> L;
    typedef typename L::V V;
    constexpr int64_t lanes = 64 / sizeof(Real);
    const PoolWindow& w = *a.window;
    __builtin_memset((void*)a.dx, 0, w.width * 64);
    each_window(a, [&](int64_t y, int64_t from, int64_t to, int64_t shift, int64_t ky, int64_t kx) {
        const typename L::I winner = L::all(ky * w.kernel_width + kx);
        for (int64_t column = from; column < to; ++column) {
            const Real* dy = a.dy + y * a.dy_row_stride + column * lanes;
            const uint8_t* offset = a.offset + (y * a.dy_width + column) * lanes;
            Real* dx = a.dx + (column * w.stride_width + shift) * lanes;
            for (int part = 0; part < 64; part += (int)sizeof(V), dy += L::width, dx += L::width, offset += L::width) {
                const V gradient = L::load_offset(offset) == winner ? L::load(dy) : V{};
                L::store(dx, L::load(dx) + gradient);
            }
        }
    });
}

template <class Real>
void avg_pool_grad(const PoolGradArgs<Real>& a) {
    typedef Lanes<Real> L;
    typedef typename L::V V;
    constexpr int64_t lanes = 64 / sizeof(Real);
    const PoolWindow& w = *a.window;
    __builtin_memset((void*)a.dx, 0, w.width * 64);
    each_window(a, [&](int64_t y, int64_t from, int64_t to, int64_t shift, int64_t, int64_t) {
        const int64_t y0 = y * w.stride_height - w.pad_top;
        for (int64_t column = from; column < to; ++column) {
            const int64_t count = counted(w, y0, column * w.stride_width - w.pad_left);
            const Real share = count > 0 ? (Real)1 / (Real)count : (Real)0;
            const Real* dy = a.dy + y * a.dy_row_stride + column * lanes;
            Real* dx = a.dx + (column * w.stride_width + shift) * lanes;
            for (int part = 0; part < 64; part += (int)sizeof(V), dy += L::width, dx += L::width) {
                L::store(dx, L::load(dx) + L::load(dy) * share);
            }
        }
    });
}

} } } }

CONVLENS_EXPORT_KERNEL(max_pool, PoolArgs)
CONVLENS_EXPORT_KERNEL(avg_pool, PoolArgs)
CONVLENS_EXPORT_KERNEL(max_pool_grad, PoolGradArgs)
CONVLENS_EXPORT_KERNEL(avg_pool_grad, PoolGradArgs)
