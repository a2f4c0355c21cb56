// Where in its window an index lies: lanes are neighbouring windows of a row, those over its edges go one by one.
#include "kernels/body/window.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// -1 when it is no position of the window whose corner is (y0, x0), with these of its rows and columns inside.
inline int64_t place_of(const PoolWindow& p, int64_t index, int64_t y0, int64_t x0, Range ys, Range xs) {
    const int64_t corner = y0 * p.width + x0, left = xs.from * p.dilation_width;
    const uint64_t reach = xs.count() > 0 ? (xs.count() - 1) * p.dilation_width + 1 : 0;
    int64_t place = -1;
    for (int64_t ky = ys.from; ky < ys.to; ++ky) {
        const int64_t start = corner + ky * p.dilation_height * p.width + left;
        const uint64_t away = static_cast<uint64_t>(index) - static_cast<uint64_t>(start);
        if (away >= reach) continue;
        const int64_t kx = p.dilation_width == 1 ? away : static_cast<int64_t>(away) / p.dilation_width;
        if (kx * p.dilation_width == static_cast<int64_t>(away)) place = ky * p.kernel_width + xs.from + kx;
    }
    return place;
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
    const int64_t columns = p.kernel_width;
    const Words<Real> wide = splat(columns), down = splat(p.dilation_height * p.width), gap = down - wide;
    const Words<Real> last = down - splat(1), bytes = splat(255);
    const Words<Real> next = splat(V::width * p.stride_width);
    Ints<Real> outside = {};  // ones where a place is none
    bool wrong = false;
    int64_t row = a.row0 % a.rows;
    for (int64_t i = a.row0; i < a.row1; ++i) {
        const int64_t y0 = row * p.stride_height - p.pad_top, at = i * a.columns;
        const Range ys = inside(y0, p.dilation_height, p.kernel_height, 0, p.height);
        const auto edge = [&](int64_t from, int64_t to) {
            for (int64_t column = from; column < to; ++column) {
                const int64_t x0 = column * p.stride_width - p.pad_left;
                const Range xs = inside(x0, p.dilation_width, p.kernel_width, 0, p.width);
                const int64_t place = place_of(p, a.indices[at + column], y0, x0, ys, xs);
                a.offset[at + column] = static_cast<uint8_t>(place);
                wrong |= place < 0;
            }
        };
        edge(0, whole.from);
        const int64_t corner = (y0 + ys.from * p.dilation_height) * p.width + whole.from * p.stride_width - p.pad_left;
        Words<Real> corners = apart + splat(corner);
        const Words<Real> first = splat(ys.from * columns);
        for (int64_t column = whole.from; column < whole.to; column += V::width, corners = corners + next) {
            const int64_t readable = a.windows - at - column;
            const int64_t* from = a.indices + at + column;
            int64_t some[V::width];
            if (__builtin_expect(readable < V::width, 0)) {
                for (int64_t j = 0; j < V::width; ++j) some[j] = j < readable ? from[j] : 0;
                from = some;
            }
            // Within a window are the first `wide` of every `down` from its corner.
            Words<Real> away = (Words<Real>)to_ints(narrow_integers(from, V())) - corners, place = away + first;
            for (int64_t ky = ys.count(); ky > 1; --ky) {
                const Words<Real> lower = (Words<Real>)((Ints<Real>)away > (Ints<Real>)last);
                away = away - (lower & down);
                place = place - (lower & gap);
            }
            const Ints<Real> none = (Ints<Real>)(away >= wide);
            if (column + V::width > whole.to) {
                const unsigned lanes = (1u << (whole.to - column)) - 1;
                wrong |= (sign_bits(to_reals<Real>(none)) & lanes) != 0;
            } else {
                outside = outside | none;
            }
            narrow_bytes(a.offset + at + column, to_reals<Real>((Ints<Real>)(place & bytes)));
        }
        edge(whole.to, a.columns);
        if (++row == a.rows) row = 0;
    }
    if (wrong || sign_bits(to_reals<Real>(outside)) != 0) *a.wrong = true;
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(pool_places, PoolPlacesArgs)
