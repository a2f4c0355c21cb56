// w = the weights that pack_weight packed, in the order (K, C / groups, R, S).
//
// inputs  packed
// outputs w plain, not batched
// attributes K, C, R, S, groups
#include "ops/weight_pieces.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 5));
    CONVLENS_RETURN_IF_ERROR(
        check_weight_sizes(p.attribute(0), p.attribute(1), p.attribute(2), p.attribute(3), p.attribute(4)));
    const PackedWeight w = packed_of<Real>(p);
    CONVLENS_RETURN_IF_ERROR(check_packed<Real>(p.inputs[0], "packed", w.elements()));
    return check_plain_weight<Real>(p.outputs[0], "w", w);
}

template <class Real>
std::int64_t tasks(const Call& call) {
    return packed_of<Real>(*call.problem).panels;
}

// A pair of channels lies in one panel, so no two tasks write the same element.
template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const Real* packed = reinterpret_cast<const Real*>(call.inputs[0].data);
    Real* plain = reinterpret_cast<Real*>(call.outputs[0].data);
    for_each_run(
        packed_of<Real>(*call.problem), task,
        [&](std::int64_t to, std::int64_t from, std::int64_t count, std::int64_t step, std::int64_t) {
            for (std::int64_t l = 0; l < count; ++l) plain[to + l * step] = packed[from + l];
        },
        [](std::int64_t, std::int64_t) {});
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_unpack_weight() {
    return {"unpack_weight", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(unpack_weight, make_unpack_weight)
