// Rows first, then columns. Both are blends of neighbours `step` elements apart.
#include "kernels/args/resize.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// y[l] = the band's sum over x[l + t step], for l in [0, n).
template <class Real>
inline void blend(const Real* x, int64_t step, const ResizeBand& band, const Real* weights, bool lerp, int64_t n,
                  Real* __restrict__ y) {
    const Real* __restrict__ a = x + band.first * step;
    const Real* w = weights + band.weight;
    if (band.count == 2 && lerp) {
        for (int64_t l = 0; l < n; ++l) y[l] = a[l] + w[1] * (a[l + step] - a[l]);
        return;
    }
    for (int64_t l = 0; l < n; ++l) y[l] = 0;
    for (int64_t t = 0; t < band.count; ++t, a += step) {
        for (int64_t l = 0; l < n; ++l) y[l] = y[l] + w[t] * a[l];
    }
}

template <class Real>
void resize(const ResizeArgs<Real>& a) {
    const Real* v = a.x + a.rows->first * a.x_row_stride;
    if (a.rows->count != 1 || a.weights[a.rows->weight] != 1) {
        blend(a.x, a.x_row_stride, *a.rows, a.weights, a.lerp, a.x_width * a.lanes, a.row);
        v = a.row;
    }
    if (a.lanes == 1) {
        for (int64_t j = 0; j < a.width; ++j) blend<Real>(v, 1, a.columns[j], a.weights, a.lerp, 1, a.y + j);
        return;
    }
    constexpr int64_t lanes = 64 / sizeof(Real);
    for (int64_t j = 0; j < a.width; ++j) {
        blend<Real>(v, lanes, a.columns[j], a.weights, a.lerp, lanes, a.y + j * lanes);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(resize, ResizeArgs)
