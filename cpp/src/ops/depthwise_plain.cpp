// conv2d of plain tensors, by a plain weight, each channel by itself.
//
// inputs  x plain, without halo; w plain (C, 1, R, S), 3 x 3 or 5 x 5; [bias] (C)
// outputs y plain, without halo
// attributes the first nine of conv2d: strides 1 or 2, no dilation, groups = C
//
// Sums go in the order of r, s; the bias comes last.
#include "ops/depthwise_plane.hpp"

namespace convlens {
namespace {

bool by_planes(const Problem& p) { return slides_over_planes(ConvAttributes::of(p), *p.outputs[0]); }
template <class Real>
DepthwiseBlocks<Real> in_blocks(const Problem& p) {
    return {p, p.inputs[0], p.outputs[0], false};
}
template <class Real>
DepthwisePlanes<Real> in_planes(const Problem& p) {
    return {p, p.inputs[0], p.outputs[0]};
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, p.instruction->n_inputs == 2 ? 2 : 3, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_depthwise<Real>(p, p.inputs[0], p.outputs[0], p.inputs[1], "x", "y", "w"));
    if (p.inputs[2] != nullptr) {
        CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[2], "bias", DType::real));
        const Tensor& bias = *p.inputs[2];
        if (bias.batched || bias.layout != Layout::plain || has_halo(bias) ||
            logical_elements(bias) != p.outputs[0]->channels) {
            return fail(Code::corrupt_file, "`bias` must be plain, not batched, of %d elements",
                        p.outputs[0]->channels);
        }
    }
    scratch->per_thread_bytes = by_planes(p) ? planes_scratch(in_planes<Real>(p)) : in_blocks<Real>(p).scratch_bytes();
    return {};
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Problem& p = *call.problem;
    return by_planes(p) ? in_planes<Real>(p).tasks(call.n) : in_blocks<Real>(p).tasks(call.n);
}

template <class Real>
void run_planes(const Call& call, std::int64_t task, int thread) {
    const DepthwisePlanes<Real> s = in_planes<Real>(*call.problem);
    const auto& kernels = call.kernels->set<Real>();
    Real* copy = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    DepthwiseRows<Real> sum;
    sum.height = s.source->height, sum.width = s.source->width, sum.stride = s.a.stride_h;
    sum.R = s.a.R, sum.first_column = -s.a.pad_left;
    sum.output_row_step = sum.columns = s.output->width;
    s.schedule(call.n * call.inputs[0].image_stride, call.kernels->ordered, &sum);
    each_piece_of_planes(
        s, call, task, copy + copied_plane<Real>(*s.source),
        [&](std::int64_t image, std::int64_t c, std::int64_t y0, std::int64_t y1, Real* y, std::int64_t* planes) {
            sum.source = readable_planes<Real>(call.inputs[0], call.n, image, c, copy, planes);
            sum.weight = reinterpret_cast<const Real*>(call.inputs[1].data) + c * s.a.R * s.a.S;
            if (call.inputs[2]) sum.bias = reinterpret_cast<const Real*>(call.inputs[2].data) + c;
            sum.first_row = y0 * s.a.stride_h - s.a.pad_top;
            sum.output = y, sum.rows = y1 - y0, sum.planes = *planes;
            kernels.depthwise_rows(sum);
        });
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    if (by_planes(*call.problem)) return run_planes<Real>(call, task, thread);
    const DepthwiseBlocks<Real> shape = in_blocks<Real>(*call.problem);
    const ConvAttributes& a = shape.a;
    ConvTap taps[kMostDepthwiseTaps];
    for (std::int64_t i = 0; i < a.R * a.S; ++i) {
        taps[i] = {i / a.S * shape.rows.row_step() + i % a.S * shape.lanes, i * shape.lanes};
    }
    each_strip(call, task, thread, shape, call.inputs[2],
               [&](ConvTile<Real>& tile, const DepthwiseBlocks<Real>& s, std::int64_t y, std::int64_t end) {
                   tile.taps = taps, tile.n_taps = a.R * a.S, tile.elements = a.stride_w == 1 ? a.S : 0;
                   tile.rows = end - y, tile.columns = s.output->width;
                   tile.source = s.rows.operand(y * a.stride_h - a.pad_top, -a.pad_left);
                   widen(&tile.source, a.stride_h, a.stride_w);
                   call.kernels->set<Real>().depthwise_tile(tile);
               });
}

template <class Real>
constexpr Op make_depthwise_plain() {
    return {"depthwise_plain", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(depthwise_plain, make_depthwise_plain)
