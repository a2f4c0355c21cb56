// Softmax over the channels of every pixel, or its logarithm. y may be the same bytes as x.
//
// inputs  x
// outputs y, of x's shape and layout
// attributes log (0 or 1)
#include "ops/geometry.hpp"

namespace convlens {
namespace {

bool is_vector(const Problem& p) { return one_pixel(*p.inputs[0]) && one_pixel(*p.outputs[0]); }

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 1));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "x", DType::real));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::real));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    if (!x.batched || !y.batched || !same_shape(x, y)) {
        return fail(Code::corrupt_file, "`x` and `y` must be batched and of one shape");
    }
    if (x.layout == Layout::packed || y.layout == Layout::packed || (x.layout != y.layout && !is_vector(p))) {
        return fail(Code::corrupt_file, "`x` and `y` must have one layout, plain or blocked");
    }
    if (p.attribute(0) != 0 && p.attribute(0) != 1) return fail(Code::corrupt_file, "`log` must be 0 or 1");
    const std::int64_t lanes = kLanes<Real>;
    const bool by_channel = is_vector(p) || x.layout == Layout::blocked;
    scratch->per_thread_bytes =
        (by_channel ? round_up(x.channels, lanes) : x.channels * lanes) * static_cast<std::int64_t>(sizeof(Real));
    return {};
}

// An exponential costs what moving some eight numbers does.
template <class Real>
std::int64_t chunk_of(const Tensor& x) {
    return units_per_task(std::int64_t{x.channels} * x.width * static_cast<std::int64_t>(8 * sizeof(Real)));
}
template <class Real>
std::int64_t tasks(const Call& call) {
    const Tensor& x = *call.inputs[0].tensor;
    return ceil_div(call.n * x.height, chunk_of<Real>(x));
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Tensor &x = *call.inputs[0].tensor, &y = *call.outputs[0].tensor;
    const bool vector = is_vector(*call.problem);
    SoftmaxArgs<Real> args{};
    args.x_plane_stride = vector ? 1 : plane_stride<Real>(x);
    args.y_plane_stride = vector ? 1 : plane_stride<Real>(y);
    args.channels = x.channels, args.pixels = x.width;
    args.scratch = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    args.log = call.attribute(0) != 0, args.blocked = !vector && x.layout == Layout::blocked;
    for_each_rows(task, chunk_of<Real>(x), call.n, 1, x.height,
                  [&](std::int64_t image, std::int64_t, std::int64_t row0, std::int64_t row1) {
                      for (std::int64_t row = row0; row < row1; ++row) {
                          args.x = image_data<Real>(call.inputs[0], image) + row * row_stride<Real>(x);
                          args.y = image_data<Real>(call.outputs[0], image) + row * row_stride<Real>(y);
                          call.kernels->set<Real>().softmax(args);
                      }
                      for (std::int64_t plane = 0; plane < planes_of<Real>(y); ++plane) {
                          zero_halo<Real>(call.outputs[0], image, plane, row0, row1);
                      }
                      if (row1 == x.height) zero_beyond_channels<Real>(call.outputs[0], image);
                  });
}

template <class Real>
constexpr Op make_softmax() {
    return {"softmax", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(softmax, make_softmax)
