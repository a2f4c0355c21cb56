// y[c][i][j] = the sum of row_weight[i][s] * column_weight[j][t] * x[c][row_first[i] + s][column_first[j] + t]: any
// linear map along rows, then columns, whose rows are bands. Resizing in every mode, the mean over adaptive windows,
// and the gradients of all of these, whose bands are the transposed ones.
//
// inputs  x
// outputs y, both blocked or both plain
// attributes lerp (1: the weights of a band of two add up to one), then for each row and each column of y: the first
//     input, the number of inputs, and as many weights (real)
#include "ops/geometry.hpp"

namespace convlens {
namespace {

// The plan: a band an output row, then one an output column, then their weights.
template <class Real>
const Real* weights_of(const void* plan, const Tensor& y) {
    return reinterpret_cast<const Real*>(static_cast<const ResizeBand*>(plan) + y.height + y.width);
}

// One pixel lies alike blocked and plain, so it says nothing about the layout of the other operand.
bool is_blocked(const Tensor& y) { return y.layout == Layout::blocked && !one_pixel(y); }
template <class Real>
std::int64_t pixel_of(const Tensor& y) {
    return is_blocked(y) ? kLanes<Real> : 1;
}
template <class Real>
std::int64_t plane_of(const Tensor& t, std::int64_t pixel) {
    return one_pixel(t) ? pixel : plane_stride<Real>(t);
}
template <class Real>
std::int64_t planes_of_resize(const Tensor& y) {
    return is_blocked(y) ? blocks_of<Real>(y) : y.channels;
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, p.instruction->n_attributes));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::real));
    const Layout layout = is_blocked(*p.outputs[0]) ? Layout::blocked : Layout::plain;
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.inputs[0], "x", layout));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.outputs[0], "y", layout));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    if (x.channels != y.channels) {
        return fail(Code::corrupt_file, "resize keeps the channels; `x` has %d, `y` %d", x.channels, y.channels);
    }
    std::int64_t at = 1;
    for (std::int64_t i = 0; i < std::int64_t{y.height} + y.width; ++i) {
        const std::int64_t size = i < y.height ? x.height : x.width;
        const std::int64_t left = p.instruction->n_attributes - at - 2;
        const std::int64_t first = left < 0 ? -1 : p.attribute(static_cast<int>(at));
        const std::int64_t count = left < 0 ? 0 : p.attribute(static_cast<int>(at + 1));
        if (first < 0 || first >= size || count < 0 || count > left || count > size - first) {
            return fail(Code::corrupt_file, "output %lld of resize has no whole band inside `x`",
                        static_cast<long long>(i));
        }
        at += 2 + count;
    }
    if (at != p.instruction->n_attributes) {
        return fail(Code::corrupt_file, "resize has %d attributes; its bands have %lld", p.instruction->n_attributes,
                    static_cast<long long>(at));
    }
    scratch->per_thread_bytes = round_up(x.width * pixel_of<Real>(y) * static_cast<std::int64_t>(sizeof(Real)), 64);
    return {};
}

template <class Real>
CONVLENS_COLD std::int64_t plan_bytes(const Problem& p) {
    const Tensor& y = *p.outputs[0];
    return (std::int64_t{y.height} + y.width) * static_cast<std::int64_t>(sizeof(ResizeBand)) +
           p.instruction->n_attributes * static_cast<std::int64_t>(sizeof(Real));
}
template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* plan) {
    const Tensor& y = *p.outputs[0];
    ResizeBand* band = static_cast<ResizeBand*>(plan);
    Real* weights = const_cast<Real*>(weights_of<Real>(plan, y));
    std::int32_t weight = 0;
    int at = 1;
    for (std::int64_t i = 0; i < std::int64_t{y.height} + y.width; ++i, ++band) {
        *band = {static_cast<std::int32_t>(p.attribute(at)), static_cast<std::int32_t>(p.attribute(at + 1)), weight};
        at += 2;
        for (std::int32_t t = 0; t < band->count; ++t) weights[weight++] = static_cast<Real>(p.real_attribute(at++));
    }
}

template <class Real>
std::int64_t row_units(const Tensor& y) {
    return units_per_task(row_stride<Real>(y) * 4 * static_cast<std::int64_t>(sizeof(Real)));
}
template <class Real>
std::int64_t tasks(const Call& call) {
    const Tensor& y = *call.outputs[0].tensor;
    return ceil_div(call.n * planes_of_resize<Real>(y) * y.height, row_units<Real>(y));
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const View &x = call.inputs[0], &y = call.outputs[0];
    const Tensor &from = *x.tensor, &to = *y.tensor;
    const auto* bands = static_cast<const ResizeBand*>(call.plan);
    const std::int64_t pixel = pixel_of<Real>(to);
    ResizeArgs<Real> a{nullptr,
                       row_stride<Real>(from),
                       from.width,
                       pixel,
                       nullptr,
                       bands + to.height,
                       weights_of<Real>(call.plan, to),
                       call.attribute(0) == 1,
                       reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride),
                       nullptr,
                       to.width};
    const std::int64_t planes = planes_of_resize<Real>(to);
    for_each_rows(task, row_units<Real>(to), call.n, planes, to.height,
                  [&](std::int64_t image, std::int64_t plane, std::int64_t row0, std::int64_t row1) {
                      a.x = image_data<Real>(x, image) + plane * plane_of<Real>(from, pixel);
                      Real* target = image_data<Real>(y, image) + plane * plane_of<Real>(to, pixel);
                      for (std::int64_t i = row0; i < row1; ++i) {
                          a.rows = bands + i, a.y = target + i * row_stride<Real>(to);
                          call.kernels->set<Real>().resize(a);
                      }
                      zero_halo<Real>(y, image, plane, row0, row1);
                      if (plane == planes - 1 && row1 == to.height) zero_beyond_channels<Real>(y, image);
                  });
}

template <class Real>
constexpr Op make_resize() {
    return {"resize", check<Real>, nullptr, plan_bytes<Real>, make_plan<Real>, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(resize, make_resize)
