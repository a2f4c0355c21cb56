// Between plain and blocked rows. A tile of pixels small enough for the first cache is read channel by channel; each
// cache line of the blocked side is touched once.
#include "kernels/args/reorder.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

constexpr int64_t kTilePixels = 64;

template <class Real>
void interleave(const ReorderArgs<Real>& a) {
    constexpr int64_t lanes = 64 / sizeof(Real);
    for (int64_t p0 = 0; p0 < a.pixels; p0 += kTilePixels) {
        const int64_t count = a.pixels - p0 < kTilePixels ? a.pixels - p0 : kTilePixels;
        Real* __restrict__ y = a.y + p0 * lanes;
        const Real* __restrict__ x = a.x + p0;
        if (a.channels < lanes) __builtin_memset(y, 0, count * 64);
        int64_t c = 0;
        for (; c + 4 <= a.channels; c += 4) {
            const Real* __restrict__ x0 = x + c * a.channel_stride;
            const Real* __restrict__ x1 = x0 + a.channel_stride;
            const Real* __restrict__ x2 = x1 + a.channel_stride;
            const Real* __restrict__ x3 = x2 + a.channel_stride;
            for (int64_t p = 0; p < count; ++p) {
                Real* __restrict__ to = y + p * lanes + c;
                to[0] = x0[p], to[1] = x1[p], to[2] = x2[p], to[3] = x3[p];
            }
        }
        for (; c < a.channels; ++c) {
            for (int64_t p = 0; p < count; ++p) y[p * lanes + c] = x[c * a.channel_stride + p];
        }
    }
}

template <class Real>
void deinterleave(const ReorderArgs<Real>& a) {
    constexpr int64_t lanes = 64 / sizeof(Real);
    for (int64_t p0 = 0; p0 < a.pixels; p0 += kTilePixels) {
        const int64_t count = a.pixels - p0 < kTilePixels ? a.pixels - p0 : kTilePixels;
        const Real* __restrict__ x = a.x + p0 * lanes;
        Real* __restrict__ y = a.y + p0;
        for (int64_t c = 0; c < a.channels; ++c) {
            for (int64_t p = 0; p < count; ++p) y[c * a.channel_stride + p] = x[p * lanes + c];
        }
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(interleave, ReorderArgs)
CONVLENS_EXPORT_KERNEL(deinterleave, ReorderArgs)
