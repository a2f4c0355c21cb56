// Rows first, then columns. Both are blends of neighbours `step` elements apart.
#include "kernels/args/resize.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// The band's sum over a[t step].
template <class Real, class T>
inline T blend(const Real* a, int64_t step, const ResizeBand& band, const Real* weights, bool lerp) {
    const Real* w = weights + band.weight;
    if (band.count == 2 && lerp) {
        const T first = T::load(a);
        return first + T::splat(w[1]) * (T::load(a + step) - first);
    }
    T sum = T::zero();
    for (int64_t t = 0; t < band.count; ++t, a += step) sum = sum + T::splat(w[t]) * T::load(a);
    return sum;
}

// A vector of one: the ends of rows, and pixels of plain tensors.
template <class Real>
struct One {
    Real v;
    static One load(const Real* a) { return {*a}; }
    static One splat(Real a) { return {a}; }
    static One zero() { return {0}; }
    One operator+(One b) const { return {v + b.v}; }
    One operator-(One b) const { return {v - b.v}; }
    One operator*(One b) const { return {v * b.v}; }
};

template <class Real>
void resize(const ResizeArgs<Real>& a) {
    typedef Vec<Real> V;
    const Real* v = a.x + a.rows->first * a.x_row_stride;
    if (a.rows->count != 1 || a.weights[a.rows->weight] != 1) {
        const int64_t n = a.x_width * a.lanes;
        int64_t l = 0;
        for (; l + V::width <= n; l += V::width) {
            blend<Real, V>(v + l, a.x_row_stride, *a.rows, a.weights, a.lerp).store(a.row + l);
        }
        for (; l < n; ++l) a.row[l] = blend<Real, One<Real>>(v + l, a.x_row_stride, *a.rows, a.weights, a.lerp).v;
        v = a.row;
    }
    for (int64_t j = 0; j < a.width; ++j) {
        const Real* from = v + a.columns[j].first * a.lanes;
        if (a.lanes == 1) a.y[j] = blend<Real, One<Real>>(from, 1, a.columns[j], a.weights, a.lerp).v;
        for (int64_t l = 0; l + V::width <= a.lanes; l += V::width) {
            blend<Real, V>(from + l, a.lanes, a.columns[j], a.weights, a.lerp).store(a.y + j * a.lanes + l);
        }
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(resize, ResizeArgs)
