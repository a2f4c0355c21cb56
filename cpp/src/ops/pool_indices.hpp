// A max pool's winners as callers know them, row * width + column of a plane, and as a byte, ky * S + kx.
#pragma once

#include "base/status.hpp"
#include "ops/pool_planes.hpp"

namespace convlens {

Status indices_of_offsets(const PoolPlanes& pool, const std::uint8_t* offset, std::int64_t* indices);
// invalid_argument when an index is no position of its window.
Status offsets_of_indices(const PoolPlanes& pool, const std::int64_t* indices, std::uint8_t* offset);

}  // namespace convlens
