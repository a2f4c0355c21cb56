// packed = U[k][c] = G g[k][c] G^T, each output channel times its scale, in the order of ops/winograd.hpp.
//
// inputs  w plain (K C 3 3), not batched; [scale] (K)
// outputs packed
// attributes K, C, unit
#include "ops/winograd.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kWidthMost = 32;
template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, p.instruction->n_inputs == 1 ? 1 : 2, 1, 1, 3));
    const std::int64_t K = p.attribute(0), C = p.attribute(1);
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(K, C, 3, 3, 1));
    CONVLENS_RETURN_IF_ERROR(check_unit(p.attribute(2)));
    CONVLENS_RETURN_IF_ERROR(
        check_plain_weight<Real>(p.inputs[0], "w", PackedWeight::make(K, C, 3, 3, 1, kLanes<Real>)));
    if (p.inputs[1] != nullptr) CONVLENS_RETURN_IF_ERROR(check_vector<Real>(p.inputs[1], "scale", K));
    return check_packed<Real>(p.outputs[0], "packed",
                              position_weight<Real>(K, C).elements() * positions_of(p.attribute(2)));
}

template <class Real>
std::int64_t tasks(const Call& call) {
    return position_weight<Real>(call.attribute(0), call.attribute(1)).panels;
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const std::int64_t K = call.attribute(0), C = call.attribute(1), unit = call.attribute(2), size = unit + 2;
    const PackedWeight w = position_weight<Real>(K, C);
    const PackedPanel panel = w.panel(task);
    const Real* plain = reinterpret_cast<const Real*>(call.inputs[0].data);
    const Real* scale = call.inputs[1] ? reinterpret_cast<const Real*>(call.inputs[1].data) : nullptr;
    Real* packed = reinterpret_cast<Real*>(call.outputs[0].data);
    const std::int64_t width = panel.blocks * w.lanes, k0 = panel.first_block * w.lanes,
                       channels = min_of(width, K - k0);
    alignas(kBlockBytes) Real g[kTaps][kWidthMost] = {};
    WinogradWeight<Real> a;
    a.unit = static_cast<int>(unit), a.source = g[0], a.tap_step = kWidthMost, a.count = width;
    a.position_step = position_elements(w, panel);
    for (std::int64_t c = 0; c < w.steps * w.lanes; ++c) {
        for (std::int64_t l = 0; l < channels; ++l) {
            const Real* kernel = plain + ((k0 + l) * C + c) * kTaps;
            const Real by = scale == nullptr ? 1 : scale[k0 + l];
            for (std::int64_t t = 0; t < kTaps; ++t) g[t][l] = c < C ? kernel[t] * by : 0;
        }
        a.output = packed + panel.offset * size * size + c * width;
        call.kernels->set<Real>().winograd_weight(a);
    }
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_pack_winograd() {
    return {"pack_winograd", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(pack_winograd, make_pack_winograd)
