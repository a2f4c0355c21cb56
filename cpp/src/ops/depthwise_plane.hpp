// What the depthwise convolutions of plain tensors share: how a plane is cut, and what may be read around it.
#pragma once

#include "ops/conv.hpp"

namespace convlens {

constexpr std::int64_t kMostDepthwiseTaps = 5;
constexpr std::int64_t kDepthwiseRows = 7;  // of a tile

// Windows slide over `source`, rows of `output` are cut. Forward that is x and y; the gradient of the input has dy and
// dx.
template <class Real>
struct DepthwisePlanes {
    ConvAttributes a;
    const Tensor *source, *output;
    std::int64_t chunk, chunks;  // rows of output, and how often
    DepthwisePlanes(const Problem& p, const Tensor* from, const Tensor* to)
        : a(ConvAttributes::of(p)), source(from), output(to) {
        const std::int64_t rows = output->height, fit = units_per_task(output->width * bytes(1));
        chunk = min_of(rows, round_up(ceil_div(rows, ceil_div(rows, fit)), kDepthwiseRows));
        chunks = ceil_div(rows, chunk);
    }
    static std::int64_t bytes(std::int64_t elements) { return elements * static_cast<std::int64_t>(sizeof(Real)); }
    std::int64_t units(std::int64_t n) const { return n * source->channels * chunks; }
    std::int64_t units_a_task() const {
        return units_per_task(bytes(pixels_of(*source) + pixels_of(*output)) / chunks);
    }
    void forward_taps(ConvTap* taps) const {
        for (std::int64_t s = 0; s < a.S; ++s) taps[s] = {s - a.pad_left, s};
    }
};

// Elements of a copy of a plane.
template <class Real>
std::int64_t copied_plane(const Tensor& t) {
    return round_up(pixels_of(t), kLanes<Real>) + 2 * kPlaneSlack<Real>;
}
// A plane of the n images of a view, around which kernels may read. The first and last ones are copied.
template <class Real>
const Real* readable_plane(const View& view, std::int64_t n, std::int64_t image, std::int64_t c, Real* copy) {
    const std::int64_t pixels = pixels_of(*view.tensor), bytes = pixels * static_cast<std::int64_t>(sizeof(Real));
    const std::int64_t slack = kPlaneSlack<Real> * static_cast<std::int64_t>(sizeof(Real));
    const std::int64_t at = image * view.image_stride + c * bytes;
    if (at >= slack && at + bytes + slack <= n * view.image_stride) {
        return reinterpret_cast<const Real*>(view.data + at);
    }
    std::memcpy(copy + kPlaneSlack<Real>, view.data + at, static_cast<std::size_t>(bytes));
    return copy + kPlaneSlack<Real>;
}

template <class Real>
Status check_depthwise(const Problem& p, const Tensor* x, const Tensor* y, const Tensor* w, const char* x_name,
                       const char* y_name, const char* w_name) {
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(x, x_name, Layout::plain));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(y, y_name, Layout::plain));
    const ConvAttributes a = ConvAttributes::of(p);
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(y->channels, x->channels, a.R, a.S, a.groups));
    CONVLENS_RETURN_IF_ERROR(check_attributes(a));
    if (a.R != a.S || (a.R != 3 && a.R != 5) || a.stride_h > 2 || a.stride_h != a.stride_w || a.dilation_h != 1 ||
        a.dilation_w != 1 || a.groups != x->channels || a.groups != y->channels) {
        return fail(Code::unsupported,
                    "plain depthwise convolutions take kernels of 3 x 3 or 5 x 5, strides of 1 or 2 both ways, no "
                    "dilation, and "
                    "as many groups as channels of `%s` and `%s`",
                    x_name, y_name);
    }
    if (has_halo(*x) || has_halo(*y))
        return fail(Code::corrupt_file, "`%s` and `%s` must have no halo", x_name, y_name);
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
