// conv2d_grad_weight of plain tensors, to a plain gradient, each channel by itself.
//
// inputs  dy plain, without halo; x plain, without halo
// outputs dw plain (C, 1, R, S), 3 x 3 or 5 x 5
// attributes those of depthwise_plain
//
// A tap's products are added up per lane over a plane, then over the lanes in pairs; images follow in order.
#include "ops/depthwise_plane.hpp"

namespace convlens {
namespace {

template <class Real>
DepthwisePlanes<Real> shape_of(const Problem& p) {
    return DepthwisePlanes<Real>(p, p.inputs[1], p.inputs[0]);
}

template <class Real>
Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_depthwise<Real>(p, p.inputs[1], p.inputs[0], p.outputs[0], "x", "dy", "dw"));
    scratch->per_thread_bytes =
        (copied_plane<Real>(*p.inputs[1]) + copied_plane<Real>(*p.inputs[0])) * static_cast<std::int64_t>(sizeof(Real));
    return {};
}

template <class Real>
std::int64_t channels_a_task(const DepthwisePlanes<Real>& s, std::int64_t n) {
    return units_per_task(n * s.bytes(pixels_of(*s.source) + pixels_of(*s.output)));
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const DepthwisePlanes<Real> s = shape_of<Real>(*call.problem);
    return ceil_div(s.source->channels, channels_a_task(s, call.n));
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const DepthwisePlanes<Real> s = shape_of<Real>(*call.problem);
    Real* copy = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    ConvTap taps[kMostDepthwiseTaps];
    s.forward_taps(taps);
    DepthwiseRowsGradWeight<Real> add;
    add.height = s.source->height, add.width = s.source->width, add.first_row = -s.a.pad_top;
    add.stride = s.a.stride_h, add.taps = taps, add.R = s.a.R;
    add.rows = s.output->height, add.columns = s.output->width;
    const std::int64_t channels = channels_a_task(s, call.n), count = s.a.R * s.a.S;
    for (std::int64_t c = task * channels; c < min_of(s.source->channels, (task + 1) * channels); ++c) {
        add.sums = reinterpret_cast<Real*>(call.outputs[0].data) + c * count;
        for (std::int64_t i = 0; i < count; ++i) add.sums[i] = 0;
        for (std::int64_t image = 0; image < call.n; ++image) {
            add.source = readable_plane<Real>(call.inputs[1], call.n, image, c, copy);
            add.grad = readable_plane<Real>(call.inputs[0], call.n, image, c, copy + copied_plane<Real>(*s.source));
            call.kernels->set<Real>().depthwise_rows_grad_weight(add);
        }
    }
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_depthwise_grad_weight_plain() {
    return {"depthwise_grad_weight_plain", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(depthwise_grad_weight_plain, make_depthwise_grad_weight_plain)
