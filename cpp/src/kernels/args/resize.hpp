#pragma once

#include <stdint.h>

namespace convlens {

// What one output of an axis is made of: weights[weight + t] times input first + t, for t in [0, count).
struct alignas(8) ResizeBand {
    int32_t first, count, weight;
};

// One row of output: first the rows of x that `rows` names are blended, then the pixels along the blend. Two
// neighbours whose weights add up to one (`lerp`) are a + w (b - a), so that a constant stays exactly that constant.
template <class Real>
struct ResizeArgs {
    const Real* x;  // pixel (0, 0) of a plane
    int64_t x_row_stride, x_width;
    int64_t lanes;  // elements a pixel
    const ResizeBand* rows;
    const ResizeBand* columns;  // `width` of them
    const Real* weights;
    bool lerp;
    Real* row;  // scratch of x_width pixels
    Real* y;
    int64_t width;
};

}  // namespace convlens
