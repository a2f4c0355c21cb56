// packed = w in the tile's order (ops/pack.hpp), each output channel times its scale.
//
// inputs  w plain, not batched, K * C / groups * R * S elements in this order; [scale] (K), such as a folded
// batch-norm's outputs packed attributes K, C, R, S, groups
#include "ops/weight_pieces.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, p.instruction->n_inputs == 1 ? 1 : 2, 1, 1, 5));
    CONVLENS_RETURN_IF_ERROR(
        check_weight_sizes(p.attribute(0), p.attribute(1), p.attribute(2), p.attribute(3), p.attribute(4)));
    const PackedWeight w = packed_of<Real>(p);
    CONVLENS_RETURN_IF_ERROR(check_plain_weight<Real>(p.inputs[0], "w", w));
    if (p.inputs[1] != nullptr) {
        CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[1], "scale", DType::real));
        const Tensor& scale = *p.inputs[1];
        if (scale.batched || scale.layout != Layout::plain || has_halo(scale) || logical_elements(scale) != w.K) {
            return fail(Code::corrupt_file, "`scale` must be plain, not batched, of %lld elements",
                        static_cast<long long>(w.K));
        }
    }
    return check_packed<Real>(p.outputs[0], "packed", w.elements());
}

template <class Real>
std::int64_t chunk_of(const PackedWeight& w) {
    return units_per_task(w.elements() / w.panels * static_cast<std::int64_t>(sizeof(Real)));
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const PackedWeight w = packed_of<Real>(*call.problem);
    return ceil_div(w.panels, chunk_of<Real>(w));
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const PackedWeight w = packed_of<Real>(*call.problem);
    const std::int64_t chunk = chunk_of<Real>(w);
    const Real* plain = reinterpret_cast<const Real*>(call.inputs[0].data);
    const Real* scale = call.inputs[1] ? reinterpret_cast<const Real*>(call.inputs[1].data) : nullptr;
    Real* packed = reinterpret_cast<Real*>(call.outputs[0].data);
    for (std::int64_t p = task * chunk; p < min_of(w.panels, (task + 1) * chunk); ++p) {
        for_each_run(
            w, p,
            [&](std::int64_t from, std::int64_t to, std::int64_t count, std::int64_t step, std::int64_t k) {
                for (std::int64_t l = 0; l < count; ++l) {
                    const Real value = plain[from + l * step];
                    packed[to + l] = scale == nullptr ? value : value * scale[k + l];
                }
            },
            [&](std::int64_t to, std::int64_t count) {
                for (std::int64_t l = 0; l < count; ++l) packed[to + l] = 0;
            });
    }
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_pack_weight() {
    return {"pack_weight", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(pack_weight, make_pack_weight)
