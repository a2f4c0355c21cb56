#pragma once

#include <stdint.h>

namespace convlens {

// Bits of groups [group0, group1) of one image; a group is the lanes of one pixel of a block of channels.
template <class Real>
struct DropoutMaskArgs {
    uint8_t* bits;
    int64_t group0, group1, channels, pixels;
    uint64_t threshold;  // lets pass what is at least this, in [0, 2^32]
    uint32_t key[2], counter[3];
};

}  // namespace convlens
