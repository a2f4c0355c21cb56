// The packed order of weights (K, C / groups, R, S): what the register tile streams.
//
//     [panel][step][r][s][input lane][panel block][output lane]
//
// A panel is one or two blocks of output channels (the last may be one), a step one block of input channels. A dense
// layer has all input blocks in every panel. With groups a panel holds the range of input blocks its outputs need, zero
// where a pair of channels is of different groups; every panel has as many steps as the longest range, so that its
// place is a product. Depthwise weights (groups = C = K) are [block][r][s][lane]. Padded lanes are zero.
#pragma once

#include <cstdint>

#include "base/status.hpp"

namespace convlens {

struct PackedPanel {
    std::int64_t first_block, blocks;  // of output channels
    std::int64_t first_step;           // the input block of step 0
    std::int64_t offset;               // elements before it
};

struct PackedWeight {
    std::int64_t K, C, R, S, groups, lanes;
    bool depthwise;
    std::int64_t k_blocks, c_blocks;
    std::int64_t run_blocks;    // panels do not cross a multiple of this many output blocks
    std::int64_t panel_blocks;  // of a panel, at most
    std::int64_t panels;
    std::int64_t steps;  // of a panel

    // K, C, R, S, groups >= 1, groups divides K and C; check with check_weight_sizes first.
    static PackedWeight make(std::int64_t K, std::int64_t C, std::int64_t R, std::int64_t S, std::int64_t groups,
                             std::int64_t lanes);

    std::int64_t elements() const {
        return depthwise ? k_blocks * R * S * lanes : k_blocks * steps * R * S * lanes * lanes;
    }
    PackedPanel panel(std::int64_t p) const;
    // The panel that holds an output block.
    std::int64_t panel_of(std::int64_t block) const;
    // Elements from one tap, or one step, of a panel of `blocks` blocks to the next.
    std::int64_t tap_elements(std::int64_t blocks) const { return lanes * blocks * lanes; }
    std::int64_t step_elements(std::int64_t blocks) const { return R * S * tap_elements(blocks); }
    // Real input channels of a step of a panel: `lanes`, fewer in the last block of all.
    std::int64_t step_lanes(const PackedPanel& panel, std::int64_t step) const {
        const std::int64_t rest = C - (panel.first_step + step) * lanes;
        return rest < lanes ? rest : lanes;
    }
};

// Rules on K, C, R, S, groups that keep every product of theirs far inside 63 bits.
CONVLENS_COLD Status check_weight_sizes(std::int64_t K, std::int64_t C, std::int64_t R, std::int64_t S,
                                        std::int64_t groups);

// Elements of packed weights; `lanes` is kLanes<Real>. -1 when check_weight_sizes fails.
std::int64_t packed_elements(std::int64_t K, std::int64_t C, std::int64_t R, std::int64_t S, std::int64_t groups,
                             std::int64_t lanes);

}  // namespace convlens
