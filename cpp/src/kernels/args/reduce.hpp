#pragma once

#include <stdint.h>

namespace convlens {

enum ReduceKind : int { kReduceSum = 0, kReduceMean = 1, kReduceMax = 2 };  // the kernels take a mean for a sum

// The total of rows x pixels of a plane, in double: one per lane of a blocked plane, one of a plain plane. A row is
// summed in Real on four chains, rows are added in double; the order is a function of `rows` and `pixels` alone.
template <class Real>
struct ReducePlaneArgs {
    const Real* x;
    int64_t row_stride;  // elements
    int64_t rows, pixels;
    bool blocked;
    int kind;
    double* total;
};

// y[p * y_step] = the total over planes of x[plane * plane_stride + p (blocked: p lanes + lane)], times `scale`.
// Blocked planes are added lane by lane, then the lanes as a binary tree; plain ones in double.
template <class Real>
struct ReduceChannelsArgs {
    const Real* x;
    int64_t plane_stride, planes, pixels;
    int64_t last_lanes;  // of the last blocked plane; its other lanes are left out
    bool blocked;
    int kind;
    double scale;
    Real* y;
    int64_t y_step;
};

}  // namespace convlens
