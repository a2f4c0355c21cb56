// A max pool's winners as callers know them: row * width + column of a plane.
#pragma once

#include "base/status.hpp"
#include "ops/pool_planes.hpp"

namespace convlens {

// Of planes without gaps, and at most 256 positions a window.
CONVLENS_COLD Status indices_of_offsets(const PoolPlanes& pool, const std::uint8_t* offset, std::int64_t* indices);
// dx = the sum of dy over the windows that a position won; invalid_argument when an index is no position of its window.
template <class Real>
Status max_pool2d_grad_of_indices(const PoolPlanes& pool, const Real* dy, const std::int64_t* indices, Real* dx);

}  // namespace convlens
