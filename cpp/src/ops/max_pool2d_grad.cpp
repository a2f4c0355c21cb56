// dx[c][h][w] = the sum of dy over the windows that (h, w) won. Gathered per element of dx in the order of (ky, kx).
//
// inputs  dy, offset (uint8, of max_pool2d)
// outputs dx
// attributes those of max_pool2d
#include "ops/pool.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, 8));
    CONVLENS_RETURN_IF_ERROR(check_pool<Real>(p, p.outputs[0], p.inputs[0], false));
    return check_offset<Real>(p, p.inputs[1], *p.outputs[0], *p.inputs[0]);
}

template <class Real>
constexpr Op make_max_pool2d_grad() {
    return {"max_pool2d_grad", check<Real>, nullptr,
            nullptr,           nullptr,     {{pool_tasks<Real, false, true>, run_pool_grad<Real, false>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(max_pool2d_grad, make_max_pool2d_grad)
