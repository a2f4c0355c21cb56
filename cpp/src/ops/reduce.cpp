// y = the sum, mean or maximum of x over some of its axes, which y keeps with size 1.
//
// inputs  x real: blocked, plain or packed
// outputs y; batched when x is and n is not among the axes
// attributes axes (bits: 1 n, 2 channels, 4 spatial), kind (0 sum, 1 mean, 2 max)
//
// Order of a sum, a function of shapes alone: a plane (a channel's pixels) row by row, rows in double; then channels in
// double, then images in double, one after the other.
#include <cmath>
#include <limits>

#include "ops/geometry.hpp"

namespace convlens {
namespace {

enum Axes : std::int64_t { kImages = 1, kChannels = 2, kSpatial = 4 };

// x as planes of rows. A tensor of one pixel is reduced over it without changing anything, which saves cases; what is
// reduced over channels and pixels and lies in one piece is one plane.
struct Source {
    std::int64_t axes, planes, rows, pixels, row_stride, plane_stride, origin;
    bool blocked;
    std::int64_t totals(std::int64_t lanes) const { return blocked ? planes * lanes : planes; }
};
constexpr std::int64_t kLongestRow = 1024, kShortestRow = 64;

template <class Real>
Source source_of(const Problem& p) {
    const Tensor& x = *p.inputs[0];
    std::int64_t axes = p.attribute(0);
    if (x.height == 1 && x.width == 1) axes |= kSpatial;
    const bool blocked = x.layout == Layout::blocked;
    const std::int64_t elements = logical_elements(x);
    if (!blocked && !has_halo(x) && (axes & kChannels) && (axes & kSpatial)) {
        std::int64_t row = kLongestRow;
        while (row >= kShortestRow && elements % row != 0) row /= 2;
        if (row >= kShortestRow) return {axes, 1, elements / row, row, row, elements, 0, false};
    }
    return {axes,   planes_of<Real>(x), x.height, x.width, row_stride<Real>(x), plane_stride<Real>(x), origin<Real>(x),
            blocked};
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 2));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "x", DType::real));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::real));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    const std::int64_t axes = p.attribute(0), kind = p.attribute(1);
    if (axes < 1 || axes > 7) {
        return fail(Code::corrupt_file, "`axes` (=%lld) must be a sum of 1 (n), 2 (channels), 4 (spatial)",
                    static_cast<long long>(axes));
    }
    if (kind < kReduceSum || kind > kReduceMax) {
        return fail(Code::corrupt_file, "`kind` (=%lld) must be 0 (sum), 1 (mean) or 2 (max)",
                    static_cast<long long>(kind));
    }
    const Source s = source_of<Real>(p);
    if (!(s.axes & kSpatial) && s.axes != kChannels && s.axes != kImages) {
        return fail(Code::unsupported,
                    "reduce over n and channels of %d x %d pixels; over one of them, or over all axes", x.height,
                    x.width);
    }
    const std::int64_t channels = axes & kChannels ? 1 : x.channels;
    const std::int64_t height = axes & kSpatial ? 1 : x.height, width = axes & kSpatial ? 1 : x.width;
    if (y.channels != channels || y.height != height || y.width != width) {
        return fail(Code::corrupt_file, "`y` is %d x %d x %d; these axes of `x` leave %lld x %lld x %lld", y.channels,
                    y.height, y.width, static_cast<long long>(channels), static_cast<long long>(height),
                    static_cast<long long>(width));
    }
    if (y.batched != (x.batched && !(axes & kImages))) {
        return fail(Code::corrupt_file, "`y` must be batched when `x` is and n is not among the axes");
    }
    if (y.layout == Layout::packed) return fail(Code::corrupt_file, "`y` must be plain or blocked");
    if (s.axes == kImages && (x.layout != y.layout || has_halo(x) || has_halo(y))) {
        return fail(Code::corrupt_file, "over n alone, `x` and `y` must have one layout and no halo");
    }
    if (s.axes & kSpatial) {
        if (has_halo(y)) return fail(Code::corrupt_file, "`y` has one pixel and may have no halo");
        const std::int64_t bytes = round_up(s.totals(kLanes<Real>) * 8, 64);
        (x.batched ? scratch->per_image_bytes : scratch->fixed_bytes) = bytes;
    }
    return {};
}

// ---- spatial: a total per plane of every image, then the rest

template <class Real>
std::int64_t images_of(const Call& call) {
    return call.inputs[0].tensor->batched ? call.n : 1;
}
template <class Real>
double count_of(const Call& call, std::int64_t axes) {
    const Tensor& x = *call.inputs[0].tensor;
    double count = 1;
    if (axes & kImages) count *= static_cast<double>(images_of<Real>(call));
    if (axes & kChannels) count *= x.channels;
    if (axes & kSpatial) count *= static_cast<double>(pixels_of(x));
    return count;
}
template <class Real>
Real finished(const Call& call, double total) {
    return static_cast<Real>(call.attribute(1) == kReduceMean ? total / count_of<Real>(call, call.attribute(0))
                                                              : total);
}
double join(const Call& call, double a, double b) {
    if (call.attribute(1) == kReduceMax) return b > a || b != b ? b : a;
    return a + b;
}
double start(const Call& call) {
    return call.attribute(1) == kReduceMax ? -std::numeric_limits<double>::infinity() : 0.0;
}

template <class Real>
double* totals_of(const Call& call, const Source& s, std::int64_t image) {
    char* scratch = call.inputs[0].tensor->batched ? call.image_scratch : call.fixed_scratch;
    return reinterpret_cast<double*>(scratch + image * round_up(s.totals(kLanes<Real>) * 8, 64));
}

template <class Real>
std::int64_t plane_chunk(const Source& s) {
    return units_per_task(s.rows * s.pixels * (s.blocked ? kBlockBytes : static_cast<std::int64_t>(sizeof(Real))));
}
// Without spatial axes: rows of y, whatever is added up behind each of its elements.
template <class Real>
std::int64_t rows_of(const Call& call, const Source& s) {
    const Tensor& y = *call.outputs[0].tensor;
    return (y.batched ? call.n : 1) * (s.axes == kImages ? planes_of<Real>(y) : 1) * y.height;
}
template <class Real>
std::int64_t row_chunk(const Call& call, const Source& s) {
    const Tensor& y = *call.outputs[0].tensor;
    const std::int64_t behind = s.axes == kImages ? images_of<Real>(call) * row_stride<Real>(y)
                                                  : y.width * s.planes * (s.blocked ? kLanes<Real> : 1);
    return units_per_task(behind * static_cast<std::int64_t>(sizeof(Real)));
}
template <class Real>
std::int64_t plane_tasks(const Call& call) {
    const Source s = source_of<Real>(*call.problem);
    if (s.axes & kSpatial) return ceil_div(images_of<Real>(call) * s.planes, plane_chunk<Real>(s));
    return ceil_div(rows_of<Real>(call, s), row_chunk<Real>(call, s));
}

template <class Real>
void run_channels(const Call& call, const Source& s, std::int64_t unit) {
    const View &x = call.inputs[0], &y = call.outputs[0];
    const Tensor& t = *y.tensor;
    const std::int64_t image = unit / t.height, row = unit % t.height;
    const std::int64_t step = pixel_elements<Real>(t), lanes = kLanes<Real>;
    Real* to = image_data<Real>(y, image) + row * row_stride<Real>(t);
    if (step > 1) std::memset(static_cast<void*>(to), 0, static_cast<std::size_t>(t.width) * kBlockBytes);
    const double scale = call.attribute(1) == kReduceMean ? 1.0 / x.tensor->channels : 1.0;
    call.kernels->set<Real>().reduce_channels({image_data<Real>(x, image) + row * s.row_stride, s.plane_stride,
                                               s.planes, t.width, x.tensor->channels - (s.planes - 1) * lanes,
                                               s.blocked, static_cast<int>(call.attribute(1)), scale, to, step});
    zero_halo<Real>(y, image, 0, row, row + 1);
    if (row == t.height - 1) zero_padding<Real>(y, image);
}

template <class Real>
void run_images(const Call& call, std::int64_t row) {
    const View &x = call.inputs[0], &y = call.outputs[0];
    const std::int64_t stride = row_stride<Real>(*y.tensor);
    Real* to = image_data<Real>(y, 0) + row * stride;
    for (std::int64_t i = 0; i < stride; ++i) {
        double total = start(call);
        for (std::int64_t image = 0; image < images_of<Real>(call); ++image) {
            total = join(call, total, static_cast<double>(image_data<Real>(x, image)[row * stride + i]));
        }
        to[i] = finished<Real>(call, total);
    }
    const Tensor& t = *y.tensor;
    if (t.layout == Layout::blocked && call.n == 0) {  // a mean of nothing is NaN, but not in lanes beyond the channels
        const std::int64_t block = row / t.height, channels = t.channels - block * kLanes<Real>;
        for (std::int64_t i = 0; i < stride; ++i)
            if (i % kLanes<Real> >= channels) to[i] = 0;
    }
    if (row == planes_of<Real>(t) * t.height - 1) zero_padding<Real>(y, 0);
}

template <class Real>
void run_planes(const Call& call, std::int64_t task, int) {
    const Source s = source_of<Real>(*call.problem);
    if (!(s.axes & kSpatial)) {
        const std::int64_t chunk = row_chunk<Real>(call, s), end = min_of((task + 1) * chunk, rows_of<Real>(call, s));
        for (std::int64_t row = task * chunk; row < end; ++row) {
            if (s.axes == kChannels) {
                run_channels<Real>(call, s, row);
            } else {
                run_images<Real>(call, row);
            }
        }
        return;
    }
    const std::int64_t chunk = plane_chunk<Real>(s), units = images_of<Real>(call) * s.planes;
    for (std::int64_t unit = task * chunk; unit < min_of(units, (task + 1) * chunk); ++unit) {
        const std::int64_t image = unit / s.planes, plane = unit % s.planes;
        const Real* x = reinterpret_cast<const Real*>(call.inputs[0].data + image * call.inputs[0].image_stride);
        call.kernels->set<Real>().reduce_plane(
            {x + s.origin + plane * s.plane_stride, s.row_stride, s.rows, s.pixels, s.blocked,
             static_cast<int>(call.attribute(1)),
             totals_of<Real>(call, s, image) + plane * (s.blocked ? kLanes<Real> : 1)});
    }
}

template <class Real>
std::int64_t finish_tasks(const Call& call) {
    const Source s = source_of<Real>(*call.problem);
    if (!(s.axes & kSpatial)) return 0;
    if (call.attribute(0) & kImages) {
        return call.attribute(0) & kChannels ? 1 : ceil_div(call.outputs[0].tensor->channels, kLanes<Real>);
    }
    return images_of<Real>(call);
}

template <class Real>
double over_channels(const Call& call, const Source& s, std::int64_t image) {
    const std::int64_t count = s.planes == 1 && !s.blocked ? 1 : call.inputs[0].tensor->channels;
    const double* totals = totals_of<Real>(call, s, image);
    double total = start(call);
    for (std::int64_t c = 0; c < count; ++c) total = join(call, total, totals[c]);
    return total;
}

// Elements of a y of one pixel that are written: its channels and, unless they end the caller's array, what pads them.
template <class Real>
std::int64_t room_of(const Tensor& y) {
    const bool exact = y.place == Place::external && y.layout == Layout::plain;
    return exact ? y.channels : round_up(y.channels, kLanes<Real>);
}

template <class Real>
void run_finish(const Call& call, std::int64_t task, int) {
    const Source s = source_of<Real>(*call.problem);
    const View& y = call.outputs[0];
    const std::int64_t axes = call.attribute(0), lanes = kLanes<Real>;
    if (!(axes & kImages)) {
        Real* to = image_data<Real>(y, task);
        if (axes & kChannels) {
            *to = finished<Real>(call, over_channels<Real>(call, s, task));
        } else {
            for (std::int64_t c = 0; c < y.tensor->channels; ++c) {
                to[c] = finished<Real>(call, totals_of<Real>(call, s, task)[c]);
            }
        }
        for (std::int64_t c = y.tensor->channels; c < room_of<Real>(*y.tensor); ++c) to[c] = 0;
        return;
    }
    Real* to = image_data<Real>(y, 0);
    const std::int64_t images = images_of<Real>(call);
    for (std::int64_t c = task * lanes; c < min_of((task + 1) * lanes, room_of<Real>(*y.tensor)); ++c) {
        double total = start(call);
        for (std::int64_t image = 0; image < images && c < y.tensor->channels; ++image) {
            total = join(call, total,
                         axes & kChannels ? over_channels<Real>(call, s, image) : totals_of<Real>(call, s, image)[c]);
        }
        to[c] = c < y.tensor->channels ? finished<Real>(call, total) : Real(0);
    }
}

template <class Real>
constexpr Op make_reduce() {
    return {"reduce", check<Real>, nullptr,
            nullptr,  nullptr,     {{plane_tasks<Real>, run_planes<Real>}, {finish_tasks<Real>, run_finish<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(reduce, make_reduce)
