// Loads of values that lie apart.
#pragma once

#include <stdint.h>

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// p[0], p[stride], p[2 stride] ...; Stride is 1, 2, kAny, or kOne: p[0] in every lane, one window alone. Nothing beyond
// the last of them is read.
constexpr int kAny = 0, kOne = -1;
template <int Stride, class Real>
inline Vec<Real> load_apart(const Real* p, int64_t stride) {
    typedef Vec<Real> V;
    if (Stride == kOne) return V::splat(*p);
    if (Stride == 1) return V::load(p);
    if (Stride == 2) return every_second(V::load(p), V::load(p + V::width - 1));
    Real lanes[V::width];
    for (int i = 0; i < V::width; ++i) lanes[i] = p[i * stride];
    return V::load(lanes);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
