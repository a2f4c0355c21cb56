// y = the channel of the largest, or smallest, of x at every pixel. NaN wins; of equal ones the first, or the last.
//
// inputs  x real, plain or of one pixel
// outputs y int64, plain, of one channel and x's pixels
// attributes least (0 or 1), last (0 or 1)
#include "ops/geometry.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 2));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.inputs[0], "x", Layout::plain));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::int64));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    if (!y.batched || y.channels != 1 || y.height != x.height || y.width != x.width || y.layout == Layout::packed ||
        (y.layout == Layout::blocked && !one_pixel(y))) {
        return fail(Code::corrupt_file, "`y` must be batched and plain, of one channel and the pixels of `x`");
    }
    if (p.attribute(0) < 0 || p.attribute(0) > 1 || p.attribute(1) < 0 || p.attribute(1) > 1) {
        return fail(Code::corrupt_file, "`least` and `last` must be 0 or 1");
    }
    return check_apart(y, "y", x, "x");
}

template <class Real>
std::int64_t chunk_of(const Tensor& x) {
    return units_per_task(std::int64_t{x.channels} * x.width * static_cast<std::int64_t>(sizeof(Real)));
}
template <class Real>
std::int64_t tasks(const Call& call) {
    const Tensor& x = *call.inputs[0].tensor;
    return ceil_div(call.n * x.height, chunk_of<Real>(x));
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const Tensor& t = *call.inputs[0].tensor;
    const View& y = call.outputs[0];
    const bool last = call.attribute(1) != 0;
    const Real sign = call.attribute(0) ? Real(-1) : Real(1);
    const std::int64_t step = channel_stride<Real>(t);
    for_each_rows(task, chunk_of<Real>(t), call.n, 1, t.height,
                  [&](std::int64_t image, std::int64_t, std::int64_t row0, std::int64_t row1) {
                      for (std::int64_t row = row0; row < row1; ++row) {
                          const Real* x = image_data<Real>(call.inputs[0], image) + row * row_stride<Real>(t);
                          auto* to = reinterpret_cast<std::int64_t*>(y.data + image * y.image_stride) + row * t.width;
                          for (std::int64_t p = 0; p < t.width; ++p) {
                              std::int64_t at = 0;
                              Real best = sign * x[p];
                              for (std::int64_t c = 1; c < t.channels; ++c) {
                                  const Real v = sign * x[c * step + p];
                                  const bool ties = v == best || (v != v && best != best);
                                  if (v > best || (v != v && best == best) || (last && ties)) best = v, at = c;
                              }
                              to[p] = at;
                          }
                      }
                      if (row0 == 0) zero_padding<Real>(y, image);
                  });
}

template <class Real>
constexpr Op make_arg_max() {
    return {"arg_max", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(arg_max, make_arg_max)
