// y[c] = x[c] resampled to the size of y at half-pixel positions, (i + 1/2) * h / H - 1/2, clamped to x at the borders;
// no anti-aliasing.
//
// inputs  x plain
// outputs y plain
// attributes mode (0 nearest, halves down; 1 linear; 2 nearest, halves up)
#include <cmath>

#include "ops/geometry.hpp"

namespace convlens {
namespace {

enum Mode : std::int64_t { kNearestDown = 0, kLinear = 1, kNearestUp = 2 };

// Where an output index reads along one axis.
struct Sample {
    std::int32_t low, high;
    double weight;  // of high
};
Sample sample(std::int64_t i, std::int64_t in, std::int64_t out, std::int64_t mode) {
    const double at = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    const auto clamp = [in](double v) { return static_cast<std::int32_t>(v < 0 ? 0 : v > in - 1 ? in - 1 : v); };
    if (mode == kNearestDown || mode == kNearestUp) {
        const std::int32_t nearest = clamp(mode == kNearestDown ? std::ceil(at - 0.5) : std::floor(at + 0.5));
        return {nearest, nearest, 0.0};
    }
    if (at <= 0) return {0, 0, 0.0};
    const std::int32_t low = clamp(std::floor(at)), high = clamp(std::floor(at) + 1);
    return {low, high, low == high ? 0.0 : at - low};
}

// The plan: left, right and weight of every output column.
template <class Real>
struct Columns {
    Real* weight;
    std::int32_t *left, *right;
    Columns(void* plan, std::int64_t width) {
        weight = static_cast<Real*>(plan);
        left = reinterpret_cast<std::int32_t*>(weight + width);
        right = left + width;
    }
};

template <class Real>
Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 1));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.inputs[0], "x", Layout::plain));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.outputs[0], "y", Layout::plain));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    // One pixel of a blocked tensor is plain as well, but this op walks channels.
    if ((x.layout != Layout::plain && x.channels > kLanes<Real>) ||
        (y.layout != Layout::plain && y.channels > kLanes<Real>)) {
        return fail(Code::corrupt_file, "`x` and `y` must have layout plain");
    }
    if (x.channels != y.channels) {
        return fail(Code::corrupt_file, "resize keeps the channels; `x` has %d, `y` %d", x.channels, y.channels);
    }
    if (p.attribute(0) < 0 || p.attribute(0) > kNearestUp) {
        return fail(Code::corrupt_file,
                    "`mode` (=%lld) must be 0 (nearest, halves down), 1 (linear) or 2 (nearest, halves up)",
                    static_cast<long long>(p.attribute(0)));
    }
    scratch->per_thread_bytes = round_up(x.width * static_cast<std::int64_t>(sizeof(Real)), 64);
    return {};
}

template <class Real>
std::int64_t plan_bytes(const Problem& p) {
    return p.outputs[0]->width * static_cast<std::int64_t>(sizeof(Real) + 2 * sizeof(std::int32_t));
}
template <class Real>
void make_plan(const Problem& p, void* plan) {
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    const Columns<Real> columns(plan, y.width);
    for (std::int32_t i = 0; i < y.width; ++i) {
        const Sample s = sample(i, x.width, y.width, p.attribute(0));
        columns.left[i] = s.low, columns.right[i] = s.high, columns.weight[i] = static_cast<Real>(s.weight);
    }
}

template <class Real>
std::int64_t chunk(const Tensor& y) {
    return units_per_task(y.width * 4 * static_cast<std::int64_t>(sizeof(Real)));
}
template <class Real>
std::int64_t tasks(const Call& call) {
    const Tensor& y = *call.outputs[0].tensor;
    return ceil_div(call.n * y.channels * y.height, chunk<Real>(y));
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const View &x = call.inputs[0], &y = call.outputs[0];
    const Tensor &from = *x.tensor, &to = *y.tensor;
    const Columns<Real> columns(const_cast<void*>(call.plan), to.width);
    Real* row = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    for_each_rows(task, chunk<Real>(to), call.n, to.channels, to.height,
                  [&](std::int64_t image, std::int64_t channel, std::int64_t row0, std::int64_t row1) {
                      const Real* source = image_data<Real>(x, image) + channel * plane_stride<Real>(from);
                      Real* target = image_data<Real>(y, image) + channel * plane_stride<Real>(to);
                      for (std::int64_t i = row0; i < row1; ++i) {
                          const Sample s = sample(i, from.height, to.height, call.attribute(0));
                          call.kernels->set<Real>().resize(
                              {source + s.low * row_stride<Real>(from), source + s.high * row_stride<Real>(from),
                               static_cast<Real>(s.weight), from.width, columns.left, columns.right, columns.weight,
                               row, target + i * row_stride<Real>(to), to.width});
                      }
                      zero_halo<Real>(y, image, channel, row0, row1);
                      if (channel == to.channels - 1 && row1 == to.height) zero_padding<Real>(y, image);
                  });
}

Rectangle input_rectangle(const Problem& p, int, Rectangle r) {
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    return {sample(r.y0, x.height, y.height, p.attribute(0)).low, sample(r.x0, x.width, y.width, p.attribute(0)).low,
            sample(r.y1 - 1, x.height, y.height, p.attribute(0)).high + 1,
            sample(r.x1 - 1, x.width, y.width, p.attribute(0)).high + 1};
}

template <class Real>
constexpr Op make_resize() {
    return {"resize", check<Real>, input_rectangle, plan_bytes<Real>, make_plan<Real>, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(resize, make_resize)
