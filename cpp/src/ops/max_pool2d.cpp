// y[c][i][j] = max of x[c][i * stride_h - pad_top + ky * dilation_h][j * stride_w - pad_left + kx * dilation_w] over
// the (ky, kx) that fall inside x. The first maximum in the order of (ky, kx) wins; NaN wins over everything.
//
// inputs  x
// outputs y, [offset: uint8, the winner's ky * S + kx]
// attributes R, S, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w
#include "ops/pool.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 2, 8));
    CONVLENS_RETURN_IF_ERROR(check_pool<Real>(p, p.inputs[0], p.outputs[0], false));
    if (p.outputs[1] == nullptr) return {};
    return check_offset<Real>(p, p.outputs[1], *p.inputs[0], *p.outputs[0]);
}

Rectangle input_rectangle(const Problem& p, int, Rectangle output) {
    return pool_rectangle(pool_window(p, *p.inputs[0], false), output);
}

template <class Real>
constexpr Op make_max_pool2d() {
    return {"max_pool2d", check<Real>, input_rectangle,
            nullptr,      nullptr,     {{pool_tasks<Real, false, false>, run_pool<Real, false>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(max_pool2d, make_max_pool2d)
