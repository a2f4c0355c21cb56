// Small Programs the runtime's tests share.
#pragma once

#include "runtime/builder.hpp"

namespace convlens_tests {

// y = x, through a blocked tensor with a halo in the arena, in two entries that share it: "in" and "out".
inline Builder through_the_arena(int channels, int height, int width, bool float64 = false) {
    using convlens::Layout;
    Builder b(float64);
    const std::int32_t middle = b.arena(Layout::blocked, channels, height, width, true, convlens::DType::real, 1);
    b.instruction("reorder", {b.port("x", false, channels, height, width)}, {middle}, {0, 0, bits_of(0)});
    b.entry("in");
    b.instruction("reorder", {middle}, {b.port("y", true, channels, height, width)}, {0, 0, bits_of(0)});
    b.entry("out");
    return b;
}

// Small, with every op that stands beside a pool: what the mutation test starts from.
inline Builder every_op(bool float64 = false) {
    using convlens::DType;
    using convlens::Layout;
    Builder b(float64);
    const std::vector<std::int64_t> window = {2, 3, 2, 1, 0, 1, 1, 1};
    std::vector<std::int64_t> average = window;
    average.insert(average.end(), {1, 0, 1});
    const std::int32_t x = b.port("x", false, 20, 6, 5), y = b.port("y", true, 20, 7, 9);
    const std::int32_t blocked = b.arena(Layout::blocked, 20, 6, 5, true, DType::real, 1);
    const std::int32_t pooled = b.arena(Layout::blocked, 20, 3, 5), offset = b.arena(Layout::blocked, 20, 3, 5, true, DType::uint8);
    const std::int32_t mean = b.arena(Layout::blocked, 20, 3, 5), plain = b.arena(Layout::plain, 20, 3, 5);
    b.instruction("reorder", {x}, {blocked}, {0, 0, bits_of(0)});
    b.instruction("max_pool2d", {blocked}, {pooled, offset}, window);
    b.instruction("avg_pool2d", {blocked}, {mean}, average);
    b.instruction("reorder", {mean}, {plain}, {0, 0, bits_of(0)});
    b.instruction("resize", {plain}, {y}, {1});
    b.entry("forward");
    const std::int32_t seed = b.port("seed", false, 20, 3, 5), dx = b.port("dx", true, 20, 6, 5);
    const std::int32_t dy = b.arena(Layout::blocked, 20, 3, 5), grad = b.arena(Layout::blocked, 20, 6, 5);
    b.instruction("reorder", {seed}, {dy}, {0, 0, bits_of(0)});
    b.instruction("max_pool2d_grad", {dy, offset}, {grad}, window);
    b.instruction("avg_pool2d_grad", {dy}, {grad}, average);
    b.instruction("reorder", {grad}, {dx}, {0, 0, bits_of(0)});
    b.entry("backward");
    return b;
}

}  // namespace convlens_tests
