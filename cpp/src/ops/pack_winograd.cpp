// packed = U[k][c] = G g[k][c] G^T, each output channel times its scale, in the order of ops/winograd.hpp; computed in
// double.
//
// inputs  w plain (K C 3 3), not batched; [scale] (K)
// outputs packed
// attributes K, C, unit
#include "ops/winograd.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kSizeMost = 6, kWidthMost = 32;
// Row i of G is (1, p, p^2) / product of (p - q) over the other points q; the last point is infinity. The first row of
// F(2,3) has the sign of B's.
constexpr double kTwo[4][3] = {{1, 0, 0}, {1. / 2, 1. / 2, 1. / 2}, {1. / 2, -1. / 2, 1. / 2}, {0, 0, 1}};
constexpr double kFour[6][3] = {{1, 0, 0},
                                {1. / 3, 1. / 3, 1. / 3},
                                {-1. / 3, 1. / 3, -1. / 3},
                                {-16. / 15, -8. / 15, -4. / 15},
                                {1. / 15, -2. / 15, 4. / 15},
                                {0, 0, 1}};

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

// One input channel of a panel: g and u are [y][x][lane].
void transform(const double (*G)[3], std::int64_t size, const double (*g)[3][kWidthMost],
               double (*u)[kSizeMost][kWidthMost]) {
    for (std::int64_t i = 0; i < size; ++i) {
        double half[3][kWidthMost];
        for (std::int64_t x = 0; x < 3; ++x) {
            for (std::int64_t l = 0; l < kWidthMost; ++l) {
                half[x][l] = G[i][0] * g[0][x][l] + G[i][1] * g[1][x][l] + G[i][2] * g[2][x][l];
            }
        }
        for (std::int64_t j = 0; j < size; ++j) {
            for (std::int64_t l = 0; l < kWidthMost; ++l) {
                u[i][j][l] = half[0][l] * G[j][0] + half[1][l] * G[j][1] + half[2][l] * G[j][2];
            }
        }
    }
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
    double g[3][3][kWidthMost] = {}, u[kSizeMost][kSizeMost][kWidthMost];
    for (std::int64_t c = 0; c < w.steps * w.lanes; ++c) {
        for (std::int64_t l = 0; l < channels; ++l) {
            const Real* kernel = plain + ((k0 + l) * C + c) * 9;
            const double by = scale == nullptr ? 1 : static_cast<double>(scale[k0 + l]);
            for (std::int64_t t = 0; t < 9; ++t) g[t / 3][t % 3][l] = c < C ? static_cast<double>(kernel[t]) * by : 0;
        }
        transform(unit == 2 ? kTwo : kFour, size, g, u);
        for (std::int64_t position = 0; position < size * size; ++position) {
            Real* to = packed + position_offset(w, panel, size * size, position) + c * width;
            for (std::int64_t l = 0; l < width; ++l) to[l] = static_cast<Real>(u[position / size][position % size][l]);
        }
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
