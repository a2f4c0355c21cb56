// conv2d_grad_weight of plain tensors, to a plain gradient, each channel by itself.
//
// inputs  dy plain, without halo; x plain, without halo
// outputs dw plain (C, 1, R, S), 3 x 3 or 5 x 5
// attributes those of depthwise_plain
//
// A tap's products are added up for each strip of rows, then strip after strip; or, where they are taken from the
// planes as they lie, per lane over a plane, image after image, then over the lanes in pairs.
#include "ops/depthwise_plane.hpp"

namespace convlens {
namespace {

bool by_planes(const Problem& p) { return weight_from_planes(ConvAttributes::of(p), *p.inputs[0]); }
template <class Real>
DepthwiseBlocks<Real> in_blocks(const Problem& p) {
    return {p, p.inputs[1], p.inputs[0], false};
}

// Planes whose sums over the images, a vector for each tap, are in scratch at a time; vectors of others may be read.
constexpr std::int64_t kPlanesAtOnce = 32, kTaps = 9;
template <class Real>
constexpr std::int64_t kLaneSums = (kPlanesAtOnce * kTaps + kSumLanes<Real>)*kSumLanes<Real>;

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_depthwise<Real>(p, p.inputs[1], p.inputs[0], p.outputs[0], "x", "dy", "dw"));
    const std::int64_t copies = copied_plane<Real>(*p.inputs[1]) + copied_plane<Real>(*p.inputs[0]);
    scratch->per_thread_bytes =
        by_planes(p) ? DepthwisePlanes<Real>::bytes(copies + kLaneSums<Real>) : in_blocks<Real>(p).scratch_bytes();
    return {};
}

// Of channels, or of blocks of them.
template <class Real>
struct Pieces {
    std::int64_t count, a_task;
    explicit Pieces(const Call& call) {
        const Problem& p = *call.problem;
        const bool planes = by_planes(p);
        const std::int64_t bytes = (pixels_of(*p.inputs[0]) + pixels_of(*p.inputs[1])) * sizeof(Real);
        count = planes ? p.inputs[0]->channels : blocks_of<Real>(*p.inputs[0]);
        // Planes of an image that follow each other are read as one: a task takes many of them, rather than all images.
        a_task = units_per_task(planes ? min_of(call.n, 4) * bytes : call.n * bytes * kLanes<Real>);
    }
};

template <class Real>
std::int64_t tasks(const Call& call) {
    const Pieces<Real> pieces(call);
    return ceil_div(pieces.count, pieces.a_task);
}

template <class Real>
void run_planes(const Call& call, std::int64_t first, std::int64_t last, Real* copy) {
    const DepthwisePlanes<Real> s(*call.problem, call.problem->inputs[1], call.problem->inputs[0]);
    DepthwiseRowsGradWeight<Real> add;
    add.height = s.source->height, add.width = s.source->width, add.stride = s.a.stride_h;
    add.first_row = -s.a.pad_top, add.first_column = -s.a.pad_left;
    add.rows = s.output->height, add.columns = s.output->width;
    // (Zen 3, of the time: c96 112 x 112 stride 2 0.89, c32 112 x 112 0.95.)
    const std::int64_t far_bytes = (call.kernels->ordered ? 1 : 8) << 20;
    const bool far = call.n * (call.inputs[0].image_stride + call.inputs[1].image_stride) > far_bytes;
    add.ahead = far && add.columns > 32 ? 1024 : 0;
    const auto& kernels = call.kernels->set<Real>();
    Real *const copied_grad = copy + copied_plane<Real>(*s.source), *const sums =
                                                                        copied_grad + copied_plane<Real>(*s.output);
    for (std::int64_t begin = first, end; begin < last; begin = end) {
        end = min_of(last, begin + kPlanesAtOnce);
        const std::int64_t count = (end - begin) * kTaps;
        std::memset(static_cast<void*>(sums), 0, static_cast<std::size_t>(s.bytes(count * kSumLanes<Real>)));
        for (std::int64_t image = 0; image < call.n; ++image) {
            for (std::int64_t c = begin; c < end; c += add.planes) {
                add.planes = end - c;
                add.source = readable_planes<Real>(call.inputs[1], call.n, image, c, copy, &add.planes);
                add.grad = readable_planes<Real>(call.inputs[0], call.n, image, c, copied_grad, &add.planes);
                add.sums = sums + (c - begin) * kTaps * kSumLanes<Real>;
                kernels.depthwise_rows_grad_weight(add);
            }
        }
        kernels.sum_lanes({sums, count, reinterpret_cast<Real*>(call.outputs[0].data) + begin * kTaps});
    }
}

template <class Real>
void run_blocks(const Call& call, std::int64_t first, std::int64_t last, Real* scratch) {
    DepthwiseBlocks<Real> s = in_blocks<Real>(*call.problem);
    const ConvAttributes& a = s.a;
    const auto& kernels = call.kernels->set<Real>();
    const std::int64_t lanes = s.lanes, plane = pixels_of(*s.output), count = a.R * a.S;
    s.rows.data = scratch;
    Real *grad = s.rows.data + s.source_elements(), *sums = grad + s.output_elements();
    s.rows.clear(s.strip_rows);
    DepthwiseGradWeight<Real> add;
    add.grad = {grad, s.output->width * lanes, lanes, 0};
    add.columns = s.output->width, add.taps = a.S, add.source_tap_step = lanes;
    for (std::int64_t block = first; block < last; ++block) {
        const std::int64_t channels = min_of(lanes, s.source->channels - block * lanes);
        std::memset(static_cast<void*>(sums), 0, static_cast<std::size_t>(s.bytes(count * lanes)));
        for (std::int64_t image = 0; image < call.n; ++image) {
            s.rows.fresh = true;
            const Real* dy = image_data<Real>(call.inputs[0], image) + block * lanes * plane;
            for (std::int64_t y = 0; y < s.output->height; y += s.strip) {
                const std::int64_t end = min_of(y + s.strip, std::int64_t{s.output->height});
                const Rectangle need = s.need({y, 0, end, 1});
                s.rows.advance(*call.kernels, image_data<Real>(call.inputs[1], image), block, need.y0, need.y1);
                add.rows = end - y;
                kernels.interleave({dy + y * s.output->width, grad, plane, channels, add.rows * s.output->width, 0, 0});
                for (std::int64_t r = 0; r < a.R; ++r) {
                    add.output = sums + r * a.S * lanes;
                    add.source = s.rows.operand(y * a.stride_h - a.pad_top + r, -a.pad_left);
                    widen(&add.source, a.stride_h, a.stride_w);
                    kernels.depthwise_grad_weight(add);
                }
            }
        }
        Real* dw = reinterpret_cast<Real*>(call.outputs[0].data) + block * lanes * count;
        kernels.deinterleave({sums, dw, count, channels, count, 0, 0});
    }
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Pieces<Real> pieces(call);
    const std::int64_t first = task * pieces.a_task, last = min_of(pieces.count, first + pieces.a_task);
    Real* scratch = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    if (by_planes(*call.problem)) {
        run_planes(call, first, last, scratch);
    } else {
        run_blocks(call, first, last, scratch);
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
