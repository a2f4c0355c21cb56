// What the depthwise convolutions of plain tensors share: how a plane is cut, and its copy between zeros.
#pragma once

#include "ops/conv.hpp"

namespace convlens {

constexpr std::int64_t kPlaneBytes = 20 << 10;  // of padded rows at a time: they stay in the first-level cache
constexpr std::int64_t kMostDepthwiseTaps = 5;

// Windows slide over `source`, rows of `output` are cut. Forward that is x and y; the gradient of the input has dy and
// dx, and its windows, one a phase of the stride, are always one pixel apart.
template <class Real>
struct DepthwisePlanes {
    ConvAttributes a;
    const Tensor *source, *output;
    bool gradient;
    std::int64_t parts, left, part_step, row_step, stride_h;
    std::int64_t chunk, chunks;  // rows of output, and how often

    DepthwisePlanes(const Problem& p, const Tensor* from, const Tensor* to, bool backward)
        : a(ConvAttributes::of(p)), source(from), output(to), gradient(backward) {
        const Rectangle r = reach(0, output->height);
        const std::int64_t lanes = kLanes<Real>;
        parts = gradient ? 1 : a.stride_w, stride_h = gradient ? 1 : a.stride_h;
        left = round_up(ceil_div(max_of(0, -r.x0), parts), lanes);
        const std::int64_t right = ceil_div(max_of(0, r.x1 - source->width), parts);
        // The zeros left of a part are those right of the one before.
        part_step = left + round_up(ceil_div(source->width, parts), lanes) + (right > left ? round_up(right, lanes) : 0);
        row_step = parts * part_step;
        const std::int64_t bytes = row_step * stride_h * static_cast<std::int64_t>(sizeof(Real));
        const std::int64_t rows = output->height, fit = max_of(kDepthwiseRows, kPlaneBytes / bytes);
        chunk = min_of(rows, round_up(ceil_div(rows, ceil_div(rows, fit)), kDepthwiseRows));
        chunks = ceil_div(rows, chunk);
    }
    Rectangle reach(std::int64_t y0, std::int64_t y1) const {
        const Rectangle r = {y0, 0, y1, output->width};
        return gradient ? backward_rectangle(a, r) : forward_rectangle(a, r);
    }
    // A tile reads rows of windows that are not there; vectors overrun the last row.
    std::int64_t rows_around(std::int64_t rows) const { return (rows + kDepthwiseRows - 1) * stride_h + a.R; }
    std::int64_t elements() const { return rows_around(chunk) * row_step + 2 * kLanes<Real>; }
    std::int64_t units(std::int64_t n) const { return n * source->channels * chunks; }
    std::int64_t units_a_task() const {
        return units_per_task((pixels_of(*source) + pixels_of(*output)) * static_cast<std::int64_t>(sizeof(Real)) /
                              chunks);
    }
    // What pads the planes of a view into `scratch`, which is zeroed.
    PadPlane<Real> padding(const View& view, std::int64_t n, Real* scratch) const {
        std::memset(static_cast<void*>(scratch), 0, static_cast<std::size_t>(elements()) * sizeof(Real));
        PadPlane<Real> pad;
        pad.source_end = reinterpret_cast<const Real*>(view.data + n * view.image_stride);
        pad.width = source->width, pad.height = source->height, pad.parts = parts;
        pad.scratch = scratch + left, pad.row_step = row_step, pad.part_step = part_step;
        return pad;
    }
    // Where column x of a plane lies in a padded row.
    std::int64_t place(std::int64_t x) const {
        const std::int64_t at = floor_div(x, parts);
        return left + at + (x - at * parts) * part_step;
    }
    void forward_taps(ConvTap* taps) const {
        for (std::int64_t s = 0; s < a.S; ++s) taps[s] = {place(s - a.pad_left), s};
    }
};

template <class Real>
Status check_depthwise(const Problem& p, const Tensor* x, const Tensor* y, const Tensor* w, const char* x_name,
                       const char* y_name, const char* w_name) {
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(x, x_name, Layout::plain));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(y, y_name, Layout::plain));
    const ConvAttributes a = ConvAttributes::of(p);
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(y->channels, x->channels, a.R, a.S, a.groups));
    CONVLENS_RETURN_IF_ERROR(check_attributes(a));
    if (a.R != a.S || (a.R != 3 && a.R != 5) || a.stride_h > 2 || a.stride_w > 2 || a.dilation_h != 1 ||
        a.dilation_w != 1 || a.groups != x->channels || a.groups != y->channels) {
        return fail(Code::unsupported,
                    "plain depthwise convolutions take kernels of 3 x 3 or 5 x 5, strides 1 and 2, no dilation, and "
                    "as many groups as channels of `%s` and `%s`",
                    x_name, y_name);
    }
    if (has_halo(*x) || has_halo(*y)) return fail(Code::corrupt_file, "`%s` and `%s` must have no halo", x_name, y_name);
    // Windows over nothing but padding are as many as zeros around an image: a file may not ask for more.
    const Rectangle r = forward_rectangle(a, whole(*y));
    if (a.pad_top >= a.R || a.pad_left >= a.S || r.y1 - x->height >= a.R || r.x1 - x->width >= a.S) {
        return fail(Code::unsupported, "`padding` must be less than the kernel");
    }
    PackedWeight sizes{};
    sizes.K = y->channels, sizes.C = x->channels, sizes.R = a.R, sizes.S = a.S, sizes.groups = a.groups;
    return check_plain_weight<Real>(w, w_name, sizes);
}

// Task `task` of images, planes and their pieces: visit(image, plane, first row, end), for whole pieces.
template <class Real, class Visit>
void each_piece_of_planes(const DepthwisePlanes<Real>& s, std::int64_t task, std::int64_t n, Visit visit) {
    const std::int64_t count = s.units_a_task(), last = min_of((task + 1) * count, s.units(n));
    for (std::int64_t unit = task * count; unit < last; ++unit) {
        const std::int64_t plane = unit / s.chunks, row = unit % s.chunks * s.chunk;
        visit(plane / s.source->channels, plane % s.source->channels, row, min_of(row + s.chunk, s.output->height));
    }
}

}  // namespace convlens
