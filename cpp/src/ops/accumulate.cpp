// A sum over images that goes on from call to call, in the images' order and rounded after each: the same bits however
// the images are cut into batches.
//     y[e] = (... ((before[e] + x[0][e]) + x[1][e]) ...) + x[n - 1][e]
//
// inputs  x real, batched; before real, not batched, of as many elements; both plain, or blocked and of one shape
// outputs y as `before`, whose bytes it may be
#include "ops/geometry.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kPieceElements = 2048;  // stay in the first-level cache while the images pass

// Lanes beyond the channels too.
template <class Real>
std::int64_t elements_of(const Tensor& t) {
    return planes_of<Real>(t) * plane_stride<Real>(t);
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, 0));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "x", DType::real));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[1], "before", DType::real));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::real));
    const Tensor &x = *p.inputs[0], &before = *p.inputs[1], &y = *p.outputs[0];
    const Tensor* const all[] = {&x, &before, &y};
    for (const Tensor* t : all) {
        const bool alike = y.layout == Layout::plain ? logical_elements(*t) == logical_elements(y)
                                                     : y.layout == Layout::blocked && same_shape(*t, y);
        if (t->layout != y.layout || has_halo(*t) || !alike) {
            return fail(Code::corrupt_file, "`x`, `before` and `y` must be alike in layout and size, without halo");
        }
    }
    if (!x.batched || before.batched || y.batched) {
        return fail(Code::corrupt_file, "`x` must be batched, `before` and `y` not");
    }
    return {};
}

// Of a length known at compile time, which every level of optimisation makes vectors of.
constexpr std::int64_t kRun = 64;
template <class Real>
void add_run(Real* __restrict to, const Real* __restrict x) {
    for (std::int64_t i = 0; i < kRun; ++i) to[i] += x[i];
}

template <class Real>
std::int64_t tasks(const Call& call) {
    return ceil_div(elements_of<Real>(*call.outputs[0].tensor), kPieceElements);
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const std::int64_t first = task * kPieceElements, elements = elements_of<Real>(*call.outputs[0].tensor);
    const std::int64_t count = min_of(kPieceElements, elements - first);
    const Real* before = image_data<Real>(call.inputs[1], 0) + first;
    Real* to = image_data<Real>(call.outputs[0], 0) + first;
    if (to != before) std::memcpy(static_cast<void*>(to), before, static_cast<std::size_t>(count) * sizeof(Real));
    for (std::int64_t image = 0; image < call.n; ++image) {
        const Real* x = image_data<Real>(call.inputs[0], image) + first;
        std::int64_t i = 0;
        for (; i + kRun <= count; i += kRun) add_run(to + i, x + i);
        for (; i < count; ++i) to[i] += x[i];
    }
    if (first + count == elements) zero_beyond_channels<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_accumulate() {
    return {"accumulate", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(accumulate, make_accumulate)
