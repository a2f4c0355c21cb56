// Between plain and blocked rows: squares transposed in registers, and what is left one element at a time.
#include "kernels/args/reorder.hpp"
#include "kernels/body/transpose.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
constexpr int64_t kBlock = 64 / static_cast<int64_t>(sizeof(Real));

// Where the square at or after p begins: the last one overlaps the one before. Below a square's width there is none.
template <class Real>
inline int64_t square_at(int64_t p, int64_t pixels) {
    return p + Vec<Real>::width <= pixels ? p : pixels - Vec<Real>::width;
}

template <class Real>
void interleave(const ReorderArgs<Real>& a) {
    constexpr int64_t width = Vec<Real>::width;
    const int64_t row_pixels = a.row_pixels > 0 ? a.row_pixels : a.pixels, gap = a.gap * kBlock<Real>;
    for (int64_t p = 0; p < a.pixels && a.pixels >= width; p += width) {
        constexpr int64_t piece = 16 / static_cast<int64_t>(sizeof(Real));
        const int64_t at = square_at<Real>(p, a.pixels), skip = (p - at) / piece * piece;
        const int64_t first = at + skip, row = first / row_pixels;
        for (int64_t c = 0; c < kBlock<Real>; c += width) {
            Real* to = a.y + first * kBlock<Real> + row * gap + c;
            int64_t left = (row + 1) * row_pixels - first;
            const Real* x = a.x + c * a.channel_stride + at;
            transpose_to(x, a.channel_stride, a.channels - c, skip, [&](int, Vec<Real> v) {
                v.store(to);
                const bool last = --left == 0;
                to += kBlock<Real> + (last ? gap : 0);
                left = last ? row_pixels : left;
            });
        }
    }
    if (a.pixels >= width) return;
    for (int64_t p = 0; p < a.pixels; ++p) {
        Real* to = a.y + p * kBlock<Real> + p / row_pixels * gap;
        for (int64_t c = 0; c < kBlock<Real>; ++c) to[c] = c < a.channels ? a.x[c * a.channel_stride + p] : Real(0);
    }
}

template <class Real>
void deinterleave(const ReorderArgs<Real>& a) {
    constexpr int64_t width = Vec<Real>::width;
    // One or two pixels behind whole squares go one element at a time.
    const int64_t rest = a.pixels % width, pixels = a.pixels < width ? 0 : rest > 2 ? a.pixels : a.pixels - rest;
    for (int64_t p = 0; p < pixels; p += width) {
        const int64_t at = square_at<Real>(p, pixels);
        for (int64_t c = 0; c < a.channels; c += width) {
            transpose_registers(a.x + at * kBlock<Real> + c, kBlock<Real>, width, a.y + c * a.channel_stride + at,
                                a.channel_stride, a.channels - c);
        }
    }
    for (int64_t p = pixels; p < a.pixels; ++p) {
        CONVLENS_KEEP_LOOP
        for (int64_t c = 0; c < a.channels; ++c) a.y[c * a.channel_stride + p] = a.x[p * kBlock<Real> + c];
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(interleave, ReorderArgs)
CONVLENS_EXPORT_KERNEL(deinterleave, ReorderArgs)
