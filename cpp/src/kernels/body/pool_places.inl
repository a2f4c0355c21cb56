// Where in its window an index lies: lanes are neighbouring windows of a row, those over its edges go one by one.
#include "kernels/body/window.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// -1 when it is no position of the window whose corner is (y0, x0).
inline int64_t place_of(const PoolWindow& p, int64_t index, int64_t y0, int64_t x0) {
    if (index < 0 || index >= p.height * p.width) return -1;
    const int64_t y = index / p.width - y0, x = index % p.width - x0;
    const int64_t ky = y / p.dilation_height, kx = x / p.dilation_width;
    const bool within = y >= 0 && x >= 0 && ky < p.kernel_height && kx < p.kernel_width;
    const bool on = ky * p.dilation_height == y && kx * p.dilation_width == x;
    return within && on ? ky * p.kernel_width + kx : -1;
}

template <class Real>
void pool_places(const PoolPlacesArgs<Real>& a) {
    typedef Vec<Real> V;
    typedef typename Format<Real>::Int Int;
    const PoolWindow& p = *a.window;
    Range whole = whole_outputs(p.kernel_width, p.stride_width, p.pad_left, 1, 0, p.width);
    if (whole.to > a.columns) whole.to = a.columns;
    const bool small = p.height < (1 << 15) && p.width < (1 << 15);  // lanes hold every index
    if (p.dilation_width != 1 || !small || whole.from > whole.to) whole.from = whole.to = a.columns;
    Words<Real> apart;
    for (int i = 0; i < V::width; ++i) apart[i] = i * p.stride_width;
    const auto splat = [](int64_t x) { return (Words<Real>)splat_ints<Real>(static_cast<Int>(x)); };
    bool wrong = false;
    int64_t row = a.row0 % a.rows;
    for (int64_t i = a.row0; i < a.row1; ++i) {
        const int64_t y0 = row * p.stride_height - p.pad_top, at = i * a.columns;
        const auto edge = [&](int64_t from, int64_t to) {
            for (int64_t column = from; column < to; ++column) {
                const int64_t x0 = column * p.stride_width - p.pad_left;
                const int64_t place = place_of(p, a.indices[at + column], y0, x0);
                a.offset[at + column] = static_cast<uint8_t>(place);
                wrong |= place < 0;
            }
        };
        edge(0, whole.from);
        const Range ys = inside(y0, p.dilation_height, p.kernel_height, 0, p.height);
        for (int64_t column = whole.from; column < whole.to; column += V::width) {
            const int64_t left = whole.to - column, readable = a.windows - at - column;
            const int64_t* from = a.indices + at + column;
            int64_t some[V::width];
            if (readable < V::width) {
                for (int64_t j = 0; j < V::width; ++j) some[j] = j < readable ? from[j] : 0;
                from = some;
            }
            const int64_t corner = (y0 + ys.from * p.dilation_height) * p.width + column * p.stride_width - p.pad_left;
            Words<Real> away = (Words<Real>)to_ints(narrow_integers(from, V())) - apart - splat(corner);
            Ints<Real> place = splat_ints<Real>(-1);
            for (int64_t ky = ys.from; ky < ys.to; ++ky) {
                const Ints<Real> here = (Ints<Real>)(away < splat(p.kernel_width));
                place = here ? (Ints<Real>)(away + splat(ky * p.kernel_width)) : place;
                away = away - splat(p.dilation_height * p.width);
            }
            const unsigned outside = sign_bits(to_reals<Real>(place));
            wrong |= (left < V::width ? outside & ((1u << left) - 1) : outside) != 0;
            narrow_bytes(a.offset + at + column, to_reals<Real>(place));
        }
        edge(whole.to, a.columns);
        if (++row == a.rows) row = 0;
    }
    if (wrong) *a.wrong = true;
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(pool_places, PoolPlacesArgs)
