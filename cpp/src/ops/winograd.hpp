// Winograd's convolution F(unit, 3): what lies where.
//
// A tile is unit x unit pixels of the output on the absolute grid, from (unit + 2)^2 of the input. Each of these
// `positions` is a 1 x 1 convolution of its own, columns the tiles:
//     M[position] = U[position] V[position],  V = B d B^T of the input, U = G g G^T of the weights, y = A M A^T.
// Packed weights are those of as many 1 x 1 convolutions as there are positions: [panel][position][step][lane][width];
// or those of the 3 x 3 convolution, [panel][step][tap][lane][width], of which U is made whenever it is needed.
//
// The gradient to the input is the convolution by the turned kernel. A tile that is read from its last pixel to the
// first, and written so, turns it: U serves both, its squares of channels transposed on the way.
#pragma once

#include "ops/conv.hpp"

namespace convlens {

inline Status check_unit(std::int64_t unit) {
    if (unit == 2 || unit == 4) return {};
    return fail(Code::corrupt_file, "`unit` (=%lld) must be 2, F(2,3), or 4, F(4,3)", static_cast<long long>(unit));
}
constexpr std::int64_t kTaps = 9;
inline std::int64_t positions_of(std::int64_t unit) { return (unit + 2) * (unit + 2); }

// The sizes of the 1 x 1 convolution of a position. U has `positions` times its elements.
template <class Real>
PackedWeight position_weight(std::int64_t K, std::int64_t C) {
    return PackedWeight::make(K, C, 1, 1, 1, kLanes<Real>);
}
// Elements of a position of a panel; the panel's positions begin at `panel.offset` times as many as there are.
inline std::int64_t position_elements(const PackedWeight& w, const PackedPanel& panel) {
    return w.steps * w.tap_elements(panel.blocks);
}

}  // namespace convlens
