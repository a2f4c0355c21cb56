// dx[c][h][w] = the sum of dy / count over the windows that hold (h, w), in the order of (ky, kx).
//
// inputs  dy
// outputs dx
// attributes those of avg_pool2d
#include "ops/pool.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 11));
    return check_pool<Real>(p, p.outputs[0], p.inputs[0], true);
}

template <class Real>
constexpr Op make_avg_pool2d_grad() {
    return {"avg_pool2d_grad", check<Real>, nullptr,
            nullptr,           nullptr,     {{pool_tasks<Real, true, true>, run_pool_grad<Real, true>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(avg_pool2d_grad, make_avg_pool2d_grad)
