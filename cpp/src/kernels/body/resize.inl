// Rows first, then columns: the blend of two rows is straight vector code, the gather along the row is not.
#include "kernels/args/resize.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
void resize(const ResizeArgs<Real>& a) {
    const Real* __restrict__ above = a.above;
    const Real* __restrict__ below = a.below;
    Real* __restrict__ row = a.row;
    const Real* v = above;
    if (a.weight_y != 0) {
        // A constant stays exactly that constant: the weight multiplies a difference of zero.
        for (int64_t i = 0; i < a.source_width; ++i) row[i] = above[i] + a.weight_y * (below[i] - above[i]);
        v = row;
    }
    for (int64_t i = 0; i < a.width; ++i) {
        const Real left = v[a.left[i]];
        a.y[i] = a.weight_x[i] == 0 ? left : left + a.weight_x[i] * (v[a.right[i]] - left);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(resize, ResizeArgs)
