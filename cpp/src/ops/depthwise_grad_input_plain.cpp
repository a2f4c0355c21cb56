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
    bool merged;  // columns of both phases lie apart at first
    std::int64_t merged_part;
    explicit Shape(const Problem& p) : DepthwisePlanes<Real>(p, p.inputs[0], p.outputs[0], true) {
        merged = this->a.stride_h * this->a.stride_w > 1;
        merged_part = merged ? round_up(ceil_div(this->output->width, this->a.stride_w), kLanes<Real>) : 0;
    }
    std::int64_t merged_row() const { return merged_part * this->a.stride_w; }
};

template <class Real>
Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_depthwise<Real>(p, p.outputs[0], p.inputs[0], p.inputs[1], "dx", "dy", "w"));
    const Shape<Real> s(p);
    const std::int64_t elements = round_up(s.elements(), kLanes<Real>) + s.chunk * s.merged_row() + kLanes<Real>;
    scratch->per_thread_bytes = elements * static_cast<std::int64_t>(sizeof(Real));
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
    Real* padded = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* apart = padded + round_up(s.elements(), kLanes<Real>);
    PadPlane<Real> pad = s.padding(call.inputs[0], call.n, padded);
    DepthwiseRows<Real> sum;
    sum.row_step = s.row_step;
    ConvTap taps[kMostDepthwiseTaps];
    sum.taps = taps;
    MergePlane<Real> merge;
    merge.scratch = apart, merge.row_step = s.merged_row(), merge.part_step = s.merged_part;
    merge.parts = s.a.stride_w, merge.columns = s.output->width;
    each_piece_of_planes(s, task, call.n, [&](std::int64_t image, std::int64_t c, std::int64_t y0, std::int64_t y1) {
        const Rectangle r = s.reach(y0, y1);
        const Real* weight = reinterpret_cast<const Real*>(call.inputs[1].data) + c * s.a.R * s.a.S;
        Real* dx = image_data<Real>(call.outputs[0], image) + c * pixels_of(*s.output) + y0 * s.output->width;
        pad.source = image_data<Real>(call.inputs[0], image) + c * pixels_of(*s.source);
        pad.first_row = r.y0, pad.rows = max_of(0, r.y1 - r.y0);
        kernels.pad_plane(pad);
        for (std::int64_t across = 0; across < s.a.stride_w; ++across) {
            const PhaseOfPixels x(0, across, s.a.stride_w, s.a.pad_left, s.a.S);
            for (std::int64_t i = 0; i < x.taps; ++i) {
                taps[i] = {s.place(x.place + i), across + s.a.stride_w * (x.taps - 1 - i)};
            }
            sum.n_taps = x.taps, sum.columns = ceil_div(s.output->width - x.first, s.a.stride_w);
            for (std::int64_t down = 0; down < s.a.stride_h; ++down) {
                const PhaseOfPixels y(y0, down, s.a.stride_h, s.a.pad_top, s.a.R);
                sum.rows = ceil_div(y1 - y.first, s.a.stride_h), sum.R = y.taps;
                sum.source = padded + (y.place - r.y0) * s.row_step;
                sum.weight = weight + (down + s.a.stride_h * (y.taps - 1)) * s.a.S;
                sum.weight_row_step = -s.a.stride_h * s.a.S;
                if (s.merged) {
                    sum.output = apart + (y.first - y0) * merge.row_step + x.first * s.merged_part;
                    sum.output_row_step = s.a.stride_h * merge.row_step;
                    sum.output_end = apart + s.chunk * merge.row_step;
                } else {
                    sum.output = dx, sum.output_row_step = s.output->width;
                    sum.output_end = dx + sum.rows * s.output->width;
                }
                if (sum.columns > 0 && sum.rows > 0) kernels.depthwise_rows(sum);
            }
        }
        merge.output = dx, merge.rows = y1 - y0;
        if (s.merged) kernels.merge_plane(merge);
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
