// conv2d_grad_input of plain tensors, by a plain weight, each channel by itself.
//
// inputs  dy plain, without halo; w plain (C, 1, R, S), 3 x 3 or 5 x 5
// outputs dx plain, without halo
// attributes those of depthwise_plain
//
// Pixels a stride apart see the same taps: each such phase is a convolution of dy by a kernel of those taps, turned
// round. Sums go in falling order of s, r.
#include "ops/depthwise_plane.hpp"

namespace convlens {
namespace {

template <class Real>
struct Shape : DepthwisePlanes<Real> {
    std::int64_t part_step;  // columns of both phases lie apart at first
    explicit Shape(const Problem& p) : DepthwisePlanes<Real>(p, p.inputs[0], p.outputs[0]) {
        part_step = round_up(ceil_div(this->output->width, 2), kLanes<Real>);
    }
};

template <class Real>
Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_depthwise<Real>(p, p.outputs[0], p.inputs[0], p.inputs[1], "dx", "dy", "w"));
    const Shape<Real> s(p);
    scratch->per_thread_bytes = s.bytes(copied_plane<Real>(*s.source) + 2 * s.chunk * s.part_step);
    return {};
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Shape<Real> s(*call.problem);
    return ceil_div(s.units(call.n), s.units_a_task());
}

// The pixels from `first` on, every `stride`-th, that see the taps phase, phase + stride ...: the first pixel, how many
// taps, and the place in dy of the last of them.
struct PhaseOfPixels {
    std::int64_t first, taps, place;
    PhaseOfPixels(std::int64_t from, std::int64_t phase, std::int64_t stride, std::int64_t pad, std::int64_t kernel) {
        first = from + (phase + stride - (from + pad) % stride) % stride;
        taps = ceil_div(kernel - phase, stride);
        place = (first + pad - phase) / stride - (taps - 1);
    }
};

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Shape<Real> s(*call.problem);
    const auto& kernels = call.kernels->set<Real>();
    Real* copy = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    const std::int64_t stride = s.a.stride_h;
    ConvTap taps[kMostDepthwiseTaps];
    DepthwiseRows<Real> sum;
    sum.height = s.source->height, sum.width = s.source->width, sum.taps = taps;
    MergePlane<Real> merge;
    Real* apart = copy + copied_plane<Real>(*s.source);
    merge.source = apart, merge.row_step = 2 * s.part_step, merge.part_step = s.part_step;
    merge.columns = s.output->width;
    each_piece_of_planes(s, task, call.n, [&](std::int64_t image, std::int64_t c, std::int64_t y0, std::int64_t y1) {
        const Real* weight = reinterpret_cast<const Real*>(call.inputs[1].data) + c * s.a.R * s.a.S;
        Real* dx = image_data<Real>(call.outputs[0], image) + c * pixels_of(*s.output) + y0 * s.output->width;
        sum.source = readable_plane<Real>(call.inputs[0], call.n, image, c, copy);
        for (std::int64_t phase = 0; phase < stride * stride; ++phase) {
            const PhaseOfPixels x(0, phase % stride, stride, s.a.pad_left, s.a.S);
            const PhaseOfPixels y(y0, phase / stride, stride, s.a.pad_top, s.a.R);
            for (std::int64_t i = 0; i < x.taps; ++i) {
                taps[i] = {x.place + i, phase % stride + stride * (x.taps - 1 - i)};
            }
            sum.n_taps = x.taps, sum.R = y.taps, sum.first_row = y.place;
            sum.columns = ceil_div(s.output->width - x.first, stride), sum.rows = ceil_div(y1 - y.first, stride);
            sum.weight = weight + (phase / stride + stride * (y.taps - 1)) * s.a.S;
            sum.weight_row_step = -stride * s.a.S;
            if (stride == 1) {
                sum.output = dx, sum.output_row_step = s.output->width;
                sum.output_end = dx + sum.rows * s.output->width;
            } else {
                sum.output = apart + (y.first - y0) * merge.row_step + x.first * s.part_step;
                sum.output_row_step = stride * merge.row_step, sum.output_end = apart + s.chunk * merge.row_step;
            }
            if (sum.columns > 0 && sum.rows > 0) kernels.depthwise_rows(sum);
        }
        merge.output = dx, merge.rows = y1 - y0;
        if (stride == 2) kernels.merge_plane(merge);
        if (c == 0 && y0 == 0) zero_padding<Real>(call.outputs[0], image);
    });
}

template <class Real>
constexpr Op make_depthwise_grad_input_plain() {
    return {"depthwise_grad_input_plain", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(depthwise_grad_input_plain, make_depthwise_grad_input_plain)
