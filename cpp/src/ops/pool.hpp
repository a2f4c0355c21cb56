// What the four pooling ops share: their window, its checks, and tasks of rows.
#pragma once

#include "ops/pool_planes.hpp"

namespace convlens {

// Every window must hold an element of x: a maximum over nothing is no number, in lanes beyond the channels either.
inline CONVLENS_COLD Status check_reach(std::int64_t out, std::int64_t in, std::int64_t stride, std::int64_t pad,
                                        std::int64_t dilation, std::int64_t reach, const char* axis) {
    const bool first = reach >= pad, last = (out - 1) * stride - pad < in, between = pad == 0 || dilation <= in;
    if (first && last && between) return {};
    return fail(Code::corrupt_file,
                "a window of %s %lld over %lld with stride %lld, padding %lld for %lld outputs holds no element of `x`",
                axis, static_cast<long long>(reach + 1), static_cast<long long>(in), static_cast<long long>(stride),
                static_cast<long long>(pad), static_cast<long long>(out));
}

// `x` is the plane the window slides over (x, or dx of a gradient), `y` has one pixel a window.
template <class Real>
CONVLENS_COLD Status check_pool(const Problem& p, const Tensor* x, const Tensor* y, bool average) {
    static const char* const kNames[] = {"R",        "S",          "stride_h",   "stride_w",          "pad_top",
                                         "pad_left", "dilation_h", "dilation_w", "count_include_pad", "pad_bottom",
                                         "pad_right"};
    constexpr std::int64_t kMost = 1 << 20;
    const Layout layout = x != nullptr && y != nullptr && is_plain(*x, *y) ? Layout::plain : Layout::blocked;
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(x, "x", layout));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(y, "y", layout));
    for (int i = 0; i < (average ? 11 : 8); ++i) {
        const std::int64_t least = i < 4 || i == 6 || i == 7 ? 1 : 0;
        if (p.attribute(i) < least || p.attribute(i) > kMost) {
            return fail(Code::corrupt_file, "`%s` (=%lld) must lie in [%lld, %lld]", kNames[i],
                        static_cast<long long>(p.attribute(i)), static_cast<long long>(least),
                        static_cast<long long>(kMost));
        }
    }
    const PoolWindow w = pool_window(p, *x, average);
    CONVLENS_RETURN_IF_ERROR(check_reach(y->height, x->height, w.stride_height, w.pad_top, w.dilation_height,
                                         (w.kernel_height - 1) * w.dilation_height, "height"));
    CONVLENS_RETURN_IF_ERROR(check_reach(y->width, x->width, w.stride_width, w.pad_left, w.dilation_width,
                                         (w.kernel_width - 1) * w.dilation_width, "width"));
    if (x->channels != y->channels) {
        return fail(Code::corrupt_file, "pooling keeps the channels; `x` has %d, `y` %d", x->channels, y->channels);
    }
    return {};
}

// The winners: one byte a lane beside y.
template <class Real>
CONVLENS_COLD Status check_offset(const Problem& p, const Tensor* offset, const Tensor& x, const Tensor& y) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(offset, "offset", DType::uint8));
    const Layout layout = is_plain(x, y) ? Layout::plain : Layout::blocked;
    if (offset->layout != layout || !offset->batched || !same_shape(*offset, y)) {
        return fail(Code::corrupt_file, "`offset` must be %s and batched, with the shape of `y`",
                    layout == Layout::plain ? "plain" : "blocked");
    }
    if (p.attribute(0) * p.attribute(1) > 256) {
        return fail(Code::unsupported, "a window of %lld x %lld has no offset in a byte; at most 256 elements do",
                    static_cast<long long>(p.attribute(0)), static_cast<long long>(p.attribute(1)));
    }
    return {};
}

// The rectangle of x under a rectangle of y, without what a window leaves out.
inline Rectangle pool_rectangle(const PoolWindow& w, Rectangle r) {
    const std::int64_t y0 = r.y0 * w.stride_height - w.pad_top, x0 = r.x0 * w.stride_width - w.pad_left;
    const std::int64_t y1 = (r.y1 - 1) * w.stride_height - w.pad_top + (w.kernel_height - 1) * w.dilation_height + 1;
    const std::int64_t x1 = (r.x1 - 1) * w.stride_width - w.pad_left + (w.kernel_width - 1) * w.dilation_width + 1;
    return {max_of(0, y0), max_of(0, x0), min_of(w.height, y1), min_of(w.width, x1)};
}

// Rows of `out` a task computes, when each of its elements meets a window.
template <class Real>
std::int64_t pool_chunk(const Problem& p, const Tensor& out, bool gradient) {
    std::int64_t visits = min_of(p.attribute(0) * p.attribute(1), 1 << 16);
    if (gradient) visits = visits / max_of(1, p.attribute(2) * p.attribute(3)) + 1;
    const std::int64_t pixel_bytes = pixel_elements<Real>(out) * static_cast<std::int64_t>(sizeof(Real));
    return units_per_task(out.width * pixel_bytes * min_of(visits, pixels_of(out) + 64));
}
template <class Real, bool kAverage, bool kGradient>
std::int64_t pool_tasks(const Call& call) {
    const Tensor& out = *call.outputs[0].tensor;
    if (is_plain(*call.inputs[0].tensor, out)) return plain_pool<Real>(call, kAverage, kGradient).tasks();
    const std::int64_t units = call.n * blocks_of<Real>(out) * out.height;
    return ceil_div(units, pool_chunk<Real>(*call.problem, out, kGradient));
}

// The forward of both: one kernel call a row of y.
template <class Real>
CONVLENS_SHARED void run_pool(const Call& call, std::int64_t task, bool average) {
    const View &x = call.inputs[0], &y = call.outputs[0], &offset = call.outputs[1];
    const Tensor& t = *y.tensor;
    if (is_plain(*x.tensor, t)) return run_plain_pool<Real>(call, task, average);
    const PoolWindow window = pool_window(*call.problem, *x.tensor, average);
    const auto kernel = average ? call.kernels->set<Real>().avg_pool : call.kernels->set<Real>().max_pool;
    for_each_rows(task, pool_chunk<Real>(*call.problem, t, false), call.n, blocks_of<Real>(t), t.height,
                  [&](std::int64_t image, std::int64_t block, std::int64_t row0, std::int64_t row1) {
                      const Real* from = image_data<Real>(x, image) + block * plane_stride<Real>(*x.tensor);
                      Real* to = image_data<Real>(y, image) + block * plane_stride<Real>(t);
                      auto* winners = reinterpret_cast<std::uint8_t*>(offset.data);
                      if (offset) winners += image * offset.image_stride + block * pixels_of(t) * kLanes<Real>;
                      for (std::int64_t row = row0; row < row1; ++row) {
                          kernel({&window, from, row_stride<Real>(*x.tensor), to + row * row_stride<Real>(t),
                                  offset ? winners + row * t.width * kLanes<Real> : nullptr, row, 0, t.width});
                      }
                      zero_halo<Real>(y, image, block, row0, row1);
                      if (offset && block == blocks_of<Real>(t) - 1 && row1 == t.height)
                          zero_padding<Real>(offset, image);
                  });
}

template <class Real, bool kAverage>
void run_pool(const Call& call, std::int64_t task, int) {
    run_pool<Real>(call, task, kAverage);
}

// The gradient of both: one kernel call a row of dx, which owns its row.
template <class Real>
CONVLENS_SHARED void run_pool_grad(const Call& call, std::int64_t task, bool average) {
    const View &dy = call.inputs[0], &offset = call.inputs[1], &dx = call.outputs[0];
    const Tensor& t = *dx.tensor;
    if (is_plain(*dy.tensor, t)) return run_plain_pool_grad<Real>(call, task, average);
    const PoolWindow window = pool_window(*call.problem, t, average);
    const auto kernel = average ? call.kernels->set<Real>().avg_pool_grad : call.kernels->set<Real>().max_pool_grad;
    for_each_rows(task, pool_chunk<Real>(*call.problem, t, true), call.n, blocks_of<Real>(t), t.height,
                  [&](std::int64_t image, std::int64_t block, std::int64_t row0, std::int64_t row1) {
                      const Tensor& d = *dy.tensor;
                      const Real* from = image_data<Real>(dy, image) + block * plane_stride<Real>(d);
                      Real* to = image_data<Real>(dx, image) + block * plane_stride<Real>(t);
                      auto* winners = reinterpret_cast<const std::uint8_t*>(offset.data);
                      if (offset) winners += image * offset.image_stride + block * pixels_of(d) * kLanes<Real>;
                      for (std::int64_t row = row0; row < row1; ++row) {
                          kernel({&window, from, row_stride<Real>(d), winners, d.height, d.width,
                                  to + row * row_stride<Real>(t), row});
                      }
                      zero_halo<Real>(dx, image, block, row0, row1);
                  });
}
template <class Real, bool kAverage>
void run_pool_grad(const Call& call, std::int64_t task, int) {
    run_pool_grad<Real>(call, task, kAverage);
}

}  // namespace convlens
