#include "ops/pack.hpp"

#include "ops/geometry.hpp"

namespace convlens {

namespace {

// Input channels [c0, c1) that output channels [k0, k1) need.
void input_range(const PackedWeight& w, std::int64_t k0, std::int64_t k1, std::int64_t* c0, std::int64_t* c1) {
    const std::int64_t k_group = w.K / w.groups, c_group = w.C / w.groups;
    *c0 = k0 / k_group * c_group;
    *c1 = ((min_of(k1, w.K) - 1) / k_group + 1) * c_group;
}

// The panels of the middle repeat: the ranges' lengths have the period of the panels' places in the groups.
std::int64_t longest_range(const PackedWeight& w) {
    std::int64_t longest = 1;
    for (std::int64_t p = 0; p < w.panels; ++p) {
        const std::int64_t run = ceil_div(w.run_blocks, w.panel_blocks);
        const std::int64_t first = p / run * w.run_blocks + p % run * w.panel_blocks;
        const std::int64_t blocks = min_of(w.panel_blocks, w.run_blocks - p % run * w.panel_blocks);
        std::int64_t c0, c1;
        input_range(w, first * w.lanes, (first + blocks) * w.lanes, &c0, &c1);
        longest = max_of(longest, ceil_div(c1, w.lanes) - c0 / w.lanes);
    }
    return longest;
}

}  // namespace

PackedWeight PackedWeight::make(std::int64_t K, std::int64_t C, std::int64_t R, std::int64_t S, std::int64_t groups,
                                std::int64_t lanes) {
    PackedWeight w{};
    w.K = K, w.C = C, w.R = R, w.S = S, w.groups = groups, w.lanes = lanes;
    w.depthwise = groups > 1 && groups == C && groups == K;
    w.k_blocks = ceil_div(K, lanes), w.c_blocks = ceil_div(C, lanes);
    const std::int64_t k_group = K / groups;
    if (w.depthwise) {
        w.run_blocks = w.k_blocks, w.panel_blocks = 1;
    } else if (groups == 1) {
        w.run_blocks = w.k_blocks, w.panel_blocks = 2;
    } else if (k_group % lanes == 0) {
        w.run_blocks = k_group / lanes, w.panel_blocks = 2;
    } else {
        // Two blocks of narrow groups would need twice the inputs of one, half of them for nothing.
        w.run_blocks = w.k_blocks, w.panel_blocks = k_group < 2 * lanes ? 1 : 2;
    }
    w.panels = w.k_blocks / w.run_blocks * ceil_div(w.run_blocks, w.panel_blocks);
    w.steps = w.depthwise ? 1 : groups == 1 ? w.c_blocks : longest_range(w);
    return w;
}

PackedPanel PackedWeight::panel(std::int64_t p) const {
    const std::int64_t run = ceil_div(run_blocks, panel_blocks);
    PackedPanel panel;
    panel.first_block = p / run * run_blocks + p % run * panel_blocks;
    panel.blocks = min_of(panel_blocks, run_blocks - p % run * panel_blocks);
    if (depthwise) {
        panel.first_step = panel.first_block, panel.offset = panel.first_block * R * S * lanes;
        return panel;
    }
    std::int64_t c0, c1;
    input_range(*this, panel.first_block * lanes, (panel.first_block + panel.blocks) * lanes, &c0, &c1);
    panel.first_step = min_of(c0 / lanes, c_blocks - steps);
    panel.offset = panel.first_block * steps * R * S * lanes * lanes;
    return panel;
}

std::int64_t PackedWeight::panel_of(std::int64_t block) const {
    const std::int64_t run = ceil_div(run_blocks, panel_blocks);
    return block / run_blocks * run + block % run_blocks / panel_blocks;
}

CONVLENS_COLD Status check_weight_sizes(std::int64_t K, std::int64_t C, std::int64_t R, std::int64_t S,
                                        std::int64_t groups) {
    constexpr std::int64_t kMaxChannels = 1 << 24, kMaxKernel = 1 << 15, kMaxTaps = 1 << 20;
    const auto channels = [](std::int64_t value, const char* name) {
        if (value >= 1 && value <= kMaxChannels) return Status{};
        return fail(Code::corrupt_file, "`%s` (=%lld) must lie in [1, %lld]", name, static_cast<long long>(value),
                    static_cast<long long>(kMaxChannels));
    };
    CONVLENS_RETURN_IF_ERROR(channels(K, "out_channels"));
    CONVLENS_RETURN_IF_ERROR(channels(C, "in_channels"));
    if (R < 1 || S < 1 || R > kMaxKernel || S > kMaxKernel || R * S > kMaxTaps) {
        return fail(Code::corrupt_file, "`kernel_size` (=%lld x %lld) must be positive, at most %lld taps",
                    static_cast<long long>(R), static_cast<long long>(S), static_cast<long long>(kMaxTaps));
    }
    if (groups < 1 || C % groups != 0 || K % groups != 0) {
        return fail(Code::corrupt_file,
                    "`groups` (=%lld) must be positive and divide `in_channels` (=%lld) and "
                    "`out_channels` (=%lld)",
                    static_cast<long long>(groups), static_cast<long long>(C), static_cast<long long>(K));
    }
    std::int64_t total;
    if (__builtin_mul_overflow((K + 16) * (C + 16), R * S, &total) || total > INT64_MAX / 1024) {
        return fail(Code::corrupt_file, "a weight of %lld x %lld x %lld x %lld does not fit 53 bits",
                    static_cast<long long>(K), static_cast<long long>(C), static_cast<long long>(R),
                    static_cast<long long>(S));
    }
    return {};
}

std::int64_t packed_elements(std::int64_t K, std::int64_t C, std::int64_t R, std::int64_t S, std::int64_t groups,
                             std::int64_t lanes) {
    if (!check_weight_sizes(K, C, R, S, groups).ok()) return -1;
    return PackedWeight::make(K, C, R, S, groups, lanes).elements();
}

}  // namespace convlens
