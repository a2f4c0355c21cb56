#pragma once

#include <stdint.h>

namespace convlens {

// interleave:   y[p * lanes + c] = x[c * channel_stride + p], and 0 for c in [channels, lanes)
// deinterleave: y[c * channel_stride + p] = x[p * lanes + c]
// for c in [0, channels), channels <= lanes, and p in [0, pixels). `gap` pixels of y are left out behind each row of
// `row_pixels` pixels of an interleave; 0: there are no rows.
template <class Real>
struct ReorderArgs {
    const Real* x;
    Real* y;
    int64_t channel_stride;
    int64_t channels, pixels;
    int64_t row_pixels, gap;
};

}  // namespace convlens
