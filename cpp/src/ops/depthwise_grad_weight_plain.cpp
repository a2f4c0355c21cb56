// conv2d_grad_weight of plain tensors, to a plain gradient, each channel by itself.
//
// inputs  dy plain, without halo; x plain, without halo
// outputs dw plain (C, 1, R, S), 3 x 3 or 5 x 5
// attributes those of depthwise_plain
//
// A tap's products are added up per lane over a piece of rows, then over the lanes in pairs; pieces and images follow in
// order.
#include "ops/depthwise_plane.hpp"

namespace convlens {
namespace {

template <class Real>
struct Shape : DepthwisePlanes<Real> {
    std::int64_t grad_step;
    explicit Shape(const Problem& p) : DepthwisePlanes<Real>(p, p.inputs[1], p.inputs[0], false) {
        grad_step = round_up(this->output->width, kLanes<Real>);
    }
    std::int64_t x_elements() const { return round_up(this->elements(), kLanes<Real>); }
    std::int64_t channels_a_task(std::int64_t n) const {
        return units_per_task(n * (pixels_of(*this->source) + pixels_of(*this->output)) *
                              static_cast<std::int64_t>(sizeof(Real)));
    }
};

template <class Real>
Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_depthwise<Real>(p, p.inputs[1], p.inputs[0], p.outputs[0], "x", "dy", "dw"));
    const Shape<Real> s(p);
    scratch->per_thread_bytes = (s.x_elements() + s.chunk * s.grad_step) * static_cast<std::int64_t>(sizeof(Real));
    return {};
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Shape<Real> s(*call.problem);
    return ceil_div(s.source->channels, s.channels_a_task(call.n));
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Shape<Real> s(*call.problem);
    const auto& kernels = call.kernels->set<Real>();
    Real* padded = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    ConvTap taps[kMostDepthwiseTaps];
    s.forward_taps(taps);
    PadPlane<Real> pad = s.padding(call.inputs[1], call.n, padded), grad;
    grad.source_end = reinterpret_cast<const Real*>(call.inputs[0].data + call.n * call.inputs[0].image_stride);
    grad.width = s.output->width, grad.height = s.output->height;
    grad.scratch = padded + s.x_elements(), grad.row_step = s.grad_step;
    DepthwiseRowsGradWeight<Real> add;
    add.source = padded, add.row_step = s.row_step, add.stride = s.stride_h, add.taps = taps, add.R = s.a.R;
    add.grad = grad.scratch, add.grad_row_step = s.grad_step, add.columns = s.output->width;
    const std::int64_t channels = s.channels_a_task(call.n), count = s.a.R * s.a.S;
    for (std::int64_t c = task * channels; c < min_of(s.source->channels, (task + 1) * channels); ++c) {
        add.sums = reinterpret_cast<Real*>(call.outputs[0].data) + c * count;
        for (std::int64_t i = 0; i < count; ++i) add.sums[i] = 0;
        for (std::int64_t image = 0; image < call.n; ++image) {
            for (std::int64_t y0 = 0; y0 < s.output->height; y0 += s.chunk) {
                add.rows = min_of(s.chunk, s.output->height - y0);
                const Rectangle r = s.reach(y0, y0 + add.rows);
                pad.source = image_data<Real>(call.inputs[1], image) + c * pixels_of(*s.source);
                pad.first_row = r.y0, pad.rows = r.y1 - r.y0;
                kernels.pad_plane(pad);
                grad.source = image_data<Real>(call.inputs[0], image) + c * pixels_of(*s.output);
                grad.first_row = y0, grad.rows = add.rows;
                kernels.pad_plane(grad);
                kernels.depthwise_rows_grad_weight(add);
            }
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
