// Arguments of the transposition that turns packed forward weights into packed backward ones, and of the product that
// does it in registers.
#pragma once

#include <stdint.h>

namespace convlens {

// output[i output_step + j] = source[j source_step + i] for i, j in [0, lanes): one block of channels squared.
template <class Real>
struct TransposeBlock {
    const Real* source = nullptr;
    int64_t source_step = 0;
    Real* output = nullptr;
    int64_t output_step = 0;
    // `count` such squares, these apart.
    int64_t count = 1, source_next = 0, output_next = 0;
};

// output[i output_step + n lanes + j] += sum over k below `elements`, in this order, each product added by one fma, of
//     source[i source_step + k] * weight[n weight_next + j weight_step + k]    for n in [0, count), j in [0, lanes)
// The weights are read once for all `images`, up to a whole vector of k. Those of `next` are wanted afterwards.
template <class Real>
struct TransposedProduct {
    const Real* source = nullptr;
    int64_t source_step = 0, elements = 0;
    const Real* weight = nullptr;
    int64_t weight_step = 0, weight_next = 0, count = 0;
    const Real* next = nullptr;
    Real* output = nullptr;
    int64_t output_step = 0, images = 0;
};

}  // namespace convlens
