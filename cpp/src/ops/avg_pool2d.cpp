// y[c][i][j] = sum of x[c][i * stride_h - pad_top + ky * dilation_h][j * stride_w - pad_left + kx * dilation_w] over
// the (ky, kx) that fall inside x, divided by their number, or by those inside the padded x when `count_include_pad` is
// set.
//
// inputs  x
// outputs y
// attributes those of max_pool2d, count_include_pad, pad_bottom, pad_right
#include "ops/pool.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 11));
    return check_pool<Real>(p, p.inputs[0], p.outputs[0], true);
}

Rectangle input_rectangle(const Problem& p, int, Rectangle output) {
    return pool_rectangle(pool_window(p, *p.inputs[0], true), output);
}

template <class Real>
constexpr Op make_avg_pool2d() {
    return {"avg_pool2d", check<Real>, input_rectangle,
            nullptr,      nullptr,     {{pool_tasks<Real, true, false>, run_pool<Real, true>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(avg_pool2d, make_avg_pool2d)
