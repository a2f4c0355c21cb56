// conv2d_grad_input of plain tensors, by a plain weight, each channel by itself.
//
// inputs  dy plain, without halo; w plain (C, 1, R, S), 3 x 3 or 5 x 5
// outputs dx plain, without halo
// attributes those of depthwise_plain
//
// Pixels a stride apart see the same taps: each such phase is a convolution of dy by a kernel of those taps, turned
// round. Sums go in falling order of r, s.
#include "ops/depthwise_plane.hpp"

namespace convlens {
namespace {

bool by_planes(const Problem& p) {
    return slides_over_planes(ConvAttributes::of(p), *p.inputs[0]) && p.outputs[0]->width >= kLeastColumns;
}
template <class Real>
DepthwiseBlocks<Real> in_blocks(const Problem& p) {
    return {p, p.inputs[0], p.outputs[0], true};
}
template <class Real>
DepthwisePlanes<Real> in_planes(const Problem& p) {
    return {p, p.inputs[0], p.outputs[0]};
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_depthwise<Real>(p, p.outputs[0], p.inputs[0], p.inputs[1], "dx", "dy", "w"));
    const ConvAttributes a = ConvAttributes::of(p);
    const Tensor* dx = p.outputs[0];
    const Rectangle r = forward_rectangle(a, whole(*p.inputs[0]));
    if (dx->height - r.y1 >= a.stride_h || dx->width - r.x1 >= a.stride_w) {
        return fail(Code::corrupt_file, "`dx` must end less than a stride beyond the windows of `dy`");
    }
    scratch->per_thread_bytes = by_planes(p) ? planes_scratch(in_planes<Real>(p)) : in_blocks<Real>(p).scratch_bytes();
    return {};
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Problem& p = *call.problem;
    return by_planes(p) ? in_planes<Real>(p).tasks(call.n) : in_blocks<Real>(p).tasks(call.n);
}

// With strides of one that is a convolution by the kernel turned round.
template <class Real>
void run_planes(const Call& call, std::int64_t task, int thread) {
    const DepthwisePlanes<Real> s = in_planes<Real>(*call.problem);
    const ConvAttributes& a = s.a;
    const auto& kernels = call.kernels->set<Real>();
    Real* copy = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    DepthwiseRows<Real> sum;
    sum.height = s.source->height, sum.width = s.source->width;
    sum.R = a.R, sum.first_column = a.pad_left - (a.S - 1), sum.weight_step = -1;
    sum.output_row_step = sum.columns = s.output->width;
    DepthwiseSpread<Real> spread;
    spread.height = sum.height, spread.width = sum.width, spread.columns = sum.columns;
    spread.pad_top = a.pad_top, spread.pad_left = a.pad_left;
    s.schedule(call.n * call.inputs[0].image_stride, call.kernels->ordered, &sum);
    each_piece_of_planes(
        s, call, task, copy + copied_plane<Real>(*s.source),
        [&](std::int64_t image, std::int64_t c, std::int64_t y0, std::int64_t y1, Real* dx, std::int64_t* planes) {
            const Real* source = readable_planes<Real>(call.inputs[0], call.n, image, c, copy, planes);
            const Real* weight = reinterpret_cast<const Real*>(call.inputs[1].data) + c * a.R * a.S;
            if (a.stride_h == 1) {
                sum.source = source, sum.weight = weight + a.R * a.S - 1, sum.output = dx;
                sum.first_row = y0 + a.pad_top - (a.R - 1), sum.rows = y1 - y0, sum.planes = *planes;
                kernels.depthwise_rows(sum);
            } else {
                spread.source = source, spread.weight = weight, spread.output = dx;
                spread.first_row = y0, spread.rows = y1 - y0, spread.planes = *planes;
                kernels.depthwise_spread(spread);
            }
        });
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
    if (by_planes(*call.problem)) return run_planes<Real>(call, task, thread);
    each_strip(call, task, thread, in_blocks<Real>(*call.problem), View{},
               [&](ConvTile<Real>& tile, const DepthwiseBlocks<Real>& s, std::int64_t y, std::int64_t end) {
                   const ConvAttributes& a = s.a;
                   const std::int64_t stride = a.stride_h;
                   const ConvOperand<Real> sums = tile.output;
                   ConvTap taps[kMostDepthwiseTaps];
                   tile.taps = taps;
                   for (std::int64_t phase = 0; phase < stride * stride; ++phase) {
                       const PhaseOfPixels rows(y, phase / stride, stride, a.pad_top, a.R);
                       const PhaseOfPixels columns(0, phase % stride, stride, a.pad_left, a.S);
                       tile.n_taps = rows.taps * columns.taps, tile.elements = stride == 1 ? a.S : 0;
                       for (std::int64_t i = 0; i < tile.n_taps; ++i) {
                           const std::int64_t r = i / columns.taps, q = i % columns.taps;
                           const std::int64_t tap = (phase / stride + stride * (rows.taps - 1 - r)) * a.S +
                                                    phase % stride + stride * (columns.taps - 1 - q);
                           taps[i] = {r * s.rows.row_step() + q * s.lanes, tap * s.lanes};
                       }
                       tile.rows = ceil_div(end - rows.first, stride);
                       tile.columns = ceil_div(s.output->width - columns.first, stride);
                       if (tile.rows <= 0 || tile.columns <= 0) continue;
                       tile.source = s.rows.operand(rows.place, columns.place);
                       tile.output = sums;
                       tile.output.data += (rows.first - y) * sums.row_step + columns.first * s.lanes;
                       widen(&tile.output, stride, stride);
                       call.kernels->set<Real>().depthwise_tile(tile);
                   }
               });
}

template <class Real>
constexpr Op make_depthwise_grad_input_plain() {
    return {"depthwise_grad_input_plain", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(depthwise_grad_input_plain, make_depthwise_grad_input_plain)
