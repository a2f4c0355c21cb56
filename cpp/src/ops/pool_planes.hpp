// Pooling of plain tensors: planes that lie one after the other are taken as one, and cut into tasks of rows.
#pragma once

#include "ops/geometry.hpp"

namespace convlens {

// Attributes 0..7: R, S, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w; an average also has
// 8..10: count_include_pad, pad_bottom, pad_right.
inline PoolWindow pool_window(const Problem& p, const Tensor& x, bool average) {
    PoolWindow w{x.height,
                 x.width,
                 p.attribute(0),
                 p.attribute(1),
                 p.attribute(2),
                 p.attribute(3),
                 p.attribute(4),
                 p.attribute(5),
                 p.attribute(6),
                 p.attribute(7),
                 0,
                 0,
                 x.height,
                 x.width};
    if (average && p.attribute(8) != 0) {
        w.counted_top = -w.pad_top, w.counted_left = -w.pad_left;
        w.counted_bottom += p.attribute(9), w.counted_right += p.attribute(10);
    }
    return w;
}

// Both sides are blocked, or both plain: a caller's own. (One pixel is either.)
inline bool is_plain(const Tensor& x, const Tensor& y) {
    return x.layout == Layout::plain && y.layout == Layout::plain;
}

// Planes of windows, height x width each, and the planes of x they slide over. Those without gaps between them are one.
struct PoolPlanes {
    PoolWindow window;
    std::int64_t planes, height, width;

    // Rows in all planes, of x (dx) or of windows.
    std::int64_t rows(bool of_x) const { return planes * (of_x ? window.height : height); }
};

// Planes without gaps as fewer, taller ones, where no window lies over their top or bottom; windows as wide as their
// plane as runs of one row.
inline PoolPlanes stacked(PoolPlanes p) {
    PoolWindow& w = p.window;
    const std::int64_t reach = (p.height - 1) * w.stride_height + (w.kernel_height - 1) * w.dilation_height + 1;
    if (w.pad_top != 0 || reach > w.height) return p;
    if (p.height == 1) w.stride_height = w.height;
    if (p.height * w.stride_height != w.height) return p;
    if (p.width == 1 && w.pad_left == 0 && w.kernel_width == w.width && w.dilation_height == 1 &&
        w.dilation_width == 1) {
        w.width *= w.stride_height, w.kernel_width *= w.kernel_height;
        w.height = p.height, w.kernel_height = w.stride_height = 1, w.stride_width = w.width;
        w.counted_right = w.width;
    }
    w.height *= p.planes, p.height *= p.planes, p.planes = 1;
    w.counted_bottom = w.height;
    return p;
}

// What a task of rows moves.
constexpr std::int64_t kPlainPoolTaskBytes = 256 << 10;

template <class Real>
struct PlainPool {
    PoolPlanes of;
    std::int64_t images, chunk;  // rows a task
    bool gradient;

    std::int64_t tasks_an_image() const { return ceil_div(of.rows(gradient), chunk); }
    std::int64_t tasks() const { return images * tasks_an_image(); }
};

template <class Real>
PlainPool<Real> cut(const PoolPlanes& of, std::int64_t images, bool gradient) {
    const PoolWindow& w = of.window;
    const std::int64_t elements = images * of.planes * (w.height * w.width + of.height * of.width);
    const std::int64_t rows = of.rows(gradient), bytes = elements * static_cast<std::int64_t>(sizeof(Real));
    return {of, images, max_of(1, ceil_div(images * rows, max_of(1, bytes / kPlainPoolTaskBytes))), gradient};
}

template <class Real>
bool has_gaps(const View& view, std::int64_t element_bytes = sizeof(Real)) {
    return view && (has_halo(*view.tensor) || view.image_stride != logical_elements(*view.tensor) * element_bytes);
}

// Of an op on plain tensors; images without gaps are more planes.
template <class Real>
CONVLENS_SHARED PlainPool<Real> plain_pool(const Call& call, bool average, bool gradient) {
    const View &x = gradient ? call.outputs[0] : call.inputs[0], &y = gradient ? call.inputs[0] : call.outputs[0];
    const View& offset = gradient ? call.inputs[1] : call.outputs[1];
    const PoolWindow window = pool_window(*call.problem, *x.tensor, average);
    const std::int64_t channels = y.tensor->channels, height = y.tensor->height, width = y.tensor->width;
    if (has_gaps<Real>(x) || has_gaps<Real>(y) || has_gaps<Real>(offset, 1)) {
        return cut<Real>({window, channels, height, width}, call.n, gradient);
    }
    return cut<Real>(stacked({window, channels * call.n, height, width}), 1, gradient);
}

// The end of all images of a real tensor.
template <class Real>
const Real* end_of(const View& view, std::int64_t n) {
    return reinterpret_cast<const Real*>(view.data + n * view.image_stride);
}

// Zeros in the gaps around rows [row0, row1), counted through the planes of an image.
template <class Real>
void zero_gaps(const View& view, std::int64_t image, std::int64_t row0, std::int64_t row1) {
    const Tensor& t = *view.tensor;
    if (!has_gaps<Real>(view)) return;
    for (std::int64_t row = row0; row < row1;) {
        const std::int64_t first = row % t.height, end = min_of(t.height, first + row1 - row);
        zero_halo<Real>(view, image, row / t.height, first, end);
        row += end - first;
    }
    if (row1 == t.channels * std::int64_t{t.height}) zero_padding<Real>(view, image);
}

// A single plane has no stride to the next.
template <class Real>
std::int64_t stride_of_planes(const PoolPlanes& of, const Tensor& t) {
    return of.planes == 1 ? 0 : plane_stride<Real>(t);
}

// The forward of both: one kernel call a task.
template <class Real>
CONVLENS_SHARED void run_plain_pool(const Call& call, std::int64_t task, bool average) {
    const View &x = call.inputs[0], &y = call.outputs[0], &offset = call.outputs[1];
    const PlainPool<Real> pool = plain_pool<Real>(call, average, false);
    const PoolPlanes& of = pool.of;
    const std::int64_t image = task / pool.tasks_an_image(), row0 = task % pool.tasks_an_image() * pool.chunk;
    const std::int64_t row1 = min_of(of.rows(false), row0 + pool.chunk);
    // A tensor that is one plane has rows without gaps, whatever its own were.
    const std::int64_t x_row = max_of(of.window.width, row_stride<Real>(*x.tensor));
    const std::int64_t y_row = row_stride<Real>(*y.tensor);
    auto* winners = reinterpret_cast<std::uint8_t*>(offset.data);
    if (offset) winners += image * offset.image_stride;
    const auto& kernels = call.kernels->set<Real>();
    (average ? kernels.avg_pool_plane : kernels.max_pool_plane)(
        {&of.window, image_data<Real>(x, image), x_row, stride_of_planes<Real>(of, *x.tensor), end_of<Real>(x, call.n),
         image_data<Real>(y, image), y_row, stride_of_planes<Real>(of, *y.tensor), winners, of.height, of.width, row0,
         row1});
    zero_gaps<Real>(y, image, row0, row1);
    if (offset && row1 == of.rows(false) && has_gaps<Real>(offset, 1)) zero_padding<Real>(offset, image);
}

// The gradient of both.
template <class Real>
CONVLENS_SHARED void run_plain_pool_grad(const Call& call, std::int64_t task, bool average) {
    const View &dy = call.inputs[0], &offset = call.inputs[1], &dx = call.outputs[0];
    const PlainPool<Real> pool = plain_pool<Real>(call, average, true);
    const PoolPlanes& of = pool.of;
    const std::int64_t image = task / pool.tasks_an_image(), row0 = task % pool.tasks_an_image() * pool.chunk;
    const std::int64_t row1 = min_of(of.rows(true), row0 + pool.chunk);
    const std::int64_t x_row = max_of(of.window.width, row_stride<Real>(*dx.tensor));
    auto* winners = reinterpret_cast<const std::uint8_t*>(offset.data);
    if (offset) winners += image * offset.image_stride;
    const std::int64_t windows = of.rows(false) * of.width;
    const auto& kernels = call.kernels->set<Real>();
    (average ? kernels.avg_pool_plane_grad : kernels.max_pool_plane_grad)(
        {&of.window, image_data<Real>(dy, image), row_stride<Real>(*dy.tensor), stride_of_planes<Real>(of, *dy.tensor),
         winners, windows, of.height, of.width, image_data<Real>(dx, image), x_row,
         stride_of_planes<Real>(of, *dx.tensor), row0, row1});
    zero_gaps<Real>(dx, image, row0, row1);
}

}  // namespace convlens
