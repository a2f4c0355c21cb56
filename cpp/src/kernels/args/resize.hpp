#pragma once

#include <stdint.h>

namespace convlens {

// One row of output between two rows of input: with v = above + weight_y * (below - above),
// y[i] = v[left[i]] + weight_x[i] * (v[right[i]] - v[left[i]]) for i in [0, width).
template <class Real>
struct ResizeArgs {
    const Real* above;
    const Real* below;
    Real weight_y;
    int64_t source_width;
    const int32_t* left;
    const int32_t* right;
    const Real* weight_x;
    Real* row;  // scratch of source_width elements
    Real* y;
    int64_t width;
};

}  // namespace convlens
