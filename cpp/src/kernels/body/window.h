// Which positions of a window, and which windows, lie where: shared by the bodies of blocked and plain pooling.
#pragma once

#include "kernels/args/pool.hpp"
#include "kernels/body/math.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// The window indices [from, to) whose positions start + i * dilation lie in [low, high).
struct Range {
    int64_t from, to;
    int64_t count() const { return to - from; }
};
__attribute__((noinline)) Range inside_slowly(int64_t start, int64_t dilation, int64_t count, int64_t low,
                                              int64_t high) {
    int64_t from = start >= low ? 0 : (low - start + dilation - 1) / dilation;
    int64_t to = start >= high ? 0 : (high - start + dilation - 1) / dilation;
    if (to > count) to = count;
    if (from > to) from = to;
    return {from, to};
}
inline Range inside(int64_t start, int64_t dilation, int64_t count, int64_t low, int64_t high) {
    if (start >= low && start + (count - 1) * dilation < high) return {0, count};  // no division for most
    return inside_slowly(start, dilation, count, low, high);
}

// What an average divides by: window positions in the plane, padded where that counts.
inline int64_t counted_rows(const PoolWindow& p, int64_t output_row) {
    const int64_t start = output_row * p.stride_height - p.pad_top;
    return inside(start, p.dilation_height, p.kernel_height, p.counted_top, p.counted_bottom).count();
}
inline int64_t counted_columns(const PoolWindow& p, int64_t output_column) {
    const int64_t start = output_column * p.stride_width - p.pad_left;
    return inside(start, p.dilation_width, p.kernel_width, p.counted_left, p.counted_right).count();
}

// The outputs whose windows are counted whole.
inline Range whole_outputs(int64_t kernel, int64_t stride, int64_t pad, int64_t dilation, int64_t low, int64_t high) {
    const int64_t end = high - (kernel - 1) * dilation + pad;  // starts + pad lie in [low + pad, end)
    return {(low + pad + stride - 1) / stride, end > 0 ? (end + stride - 1) / stride : 0};
}

// dy where the window's winner is `place`, else 0.
template <class Real>
inline Vec<Real> won(const uint8_t* offset, const Real* dy, Ints<Real> place) {
    return keep(Mask<Real>{(Ints<Real>)(to_ints(widen_bytes(offset, Vec<Real>())) == place)}, Vec<Real>::load(dy));
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
