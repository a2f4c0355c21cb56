#pragma once

#include <stdint.h>

namespace convlens {

// Softmax or its logarithm over the channels of `pixels` neighbouring pixels of a row.
// Blocked: channel c of pixel p is x[c / lanes * plane_stride + p * lanes + c % lanes]; plain: x[c * plane_stride + p].
template <class Real>
struct SoftmaxArgs {
    const Real* x;
    Real* y;
    int64_t x_plane_stride, y_plane_stride;
    int64_t channels, pixels;
    Real* scratch;  // blocked: channels rounded up to lanes; plain: channels * lanes
    bool log, blocked;
};

// One image: loss = -log softmax(x)[label]; NaN when the label is not in [0, channels). log_prob may be null.
template <class Real>
struct CrossEntropyArgs {
    const Real* x;
    Real* loss;
    Real* log_prob;
    Real* scratch;  // channels rounded up to lanes
    int64_t channels, label;
};

// One image: grad_x[c] = (exp(log_prob[c]) - (c == label)) * grad_loss; NaN when the label is not in [0, channels).
template <class Real>
struct CrossEntropyGradArgs {
    const Real* log_prob;
    Real* grad_x;
    Real* scratch;  // channels rounded up to lanes
    int64_t channels, label;
    Real grad_loss;
};

}  // namespace convlens
