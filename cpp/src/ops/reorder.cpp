// y[c][h][w] = x[c][h - pad_top][w - pad_left], or `value` where x has no such element. Any layout and halo on either
// side; also a reshape between different channel counts when one side is plain without halo.
//
// inputs  x; real, or uint8 or int64 (then pads and value are 0)
// outputs y, of x's type
// attributes pad_top, pad_left (negative: crop), value (real)
#include "ops/geometry.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kMaxPad = 1 << 24;

// x and y as one shape: the plain side of a reshape takes the shape of the other.
struct Sides {
    Tensor x, y;
};

bool reshapes(const Tensor& x, const Tensor& y) { return x.channels != y.channels; }
bool is_flat(const Tensor& t) { return (t.layout == Layout::plain || one_pixel(t)) && !has_halo(t); }
void take_shape(Tensor* t, const Tensor& from) {
    t->channels = from.channels, t->height = from.height, t->width = from.width;
    t->layout = Layout::plain;
}

Sides sides_of(const Problem& p) {
    Sides s{*p.inputs[0], *p.outputs[0]};
    if (reshapes(s.x, s.y)) {
        if (is_flat(s.y)) {
            take_shape(&s.y, s.x);
        } else {
            take_shape(&s.x, s.y);
        }
    }
    return s;
}

// The copy is byte for byte: same shape, halo and layout, nothing moved.
bool same_bytes(const Problem& p, const Sides& s) {
    const bool layout = s.x.layout == s.y.layout || (one_pixel(s.x) && one_pixel(s.y));
    return layout && same_shape(s.x, s.y) && s.x.halo_top == s.y.halo_top && s.x.halo_left == s.y.halo_left &&
           s.x.halo_bottom == s.y.halo_bottom && s.x.halo_right == s.y.halo_right && p.attribute(0) == 0 &&
           p.attribute(1) == 0;
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 3));
    if (p.inputs[0] == nullptr) return fail(Code::corrupt_file, "`x` is absent; the instruction needs it");
    const DType dtype = p.inputs[0]->dtype;
    if (dtype == DType::mask) return fail(Code::unsupported, "`x` is a mask; reorder takes real, uint8 and int64");
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "x", dtype));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", dtype));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    if (x.layout == Layout::packed || y.layout == Layout::packed) {
        return fail(Code::corrupt_file, "reorder takes plain and blocked tensors; pack_weight makes packed ones");
    }
    if (dtype == DType::int64 && !(is_flat(x) && is_flat(y))) {
        return fail(Code::unsupported, "reorder takes int64 tensors in layout plain only");
    }
    if (x.batched && !y.batched) return fail(Code::corrupt_file, "`x` is batched and `y` is not");
    for (int i = 0; i < 2; ++i) {
        if (p.attribute(i) < -kMaxPad || p.attribute(i) > kMaxPad) {
            return fail(Code::corrupt_file, "`%s` (=%lld) must lie within %lld", i == 0 ? "pad_top" : "pad_left",
                        static_cast<long long>(p.attribute(i)), static_cast<long long>(kMaxPad));
        }
    }
    if (dtype != DType::real && p.attribute(2) != 0) {
        return fail(Code::corrupt_file, "`value` must be 0 for tensors of type %s", dtype_name(dtype));
    }
    if (reshapes(x, y)) {
        if (logical_elements(x) != logical_elements(y) || p.attribute(0) != 0 || p.attribute(1) != 0 ||
            !(is_flat(x) || is_flat(y))) {
            return fail(Code::corrupt_file,
                        "`x` has %d channels and `y` %d; a reshape keeps the number of elements, pads nothing and has "
                        "a plain side without halo",
                        x.channels, y.channels);
        }
    }
    return {};
}

Rectangle input_rectangle(const Problem& p, int, Rectangle r) {
    const Tensor& x = *p.inputs[0];
    if (reshapes(x, *p.outputs[0])) return {0, 0, x.height, x.width};
    return {max_of(0, r.y0 - p.attribute(0)), max_of(0, r.x0 - p.attribute(1)), min_of(x.height, r.y1 - p.attribute(0)),
            min_of(x.width, r.x1 - p.attribute(1))};
}

struct Work {
    std::int64_t images, groups, rows, chunk;
    std::int64_t tasks() const { return ceil_div(images * groups * rows, chunk); }
};

constexpr std::int64_t kPieceBytes = 64 << 10;

template <class Real>
std::int64_t element_bytes(DType dtype) {
    return dtype == DType::real ? sizeof(Real) : dtype == DType::int64 ? 8 : 1;
}
template <class Real>
std::int64_t image_bytes(const Tensor& t) {
    return planes_of<Real>(t) * plane_stride<Real>(t) * element_bytes<Real>(t.dtype);
}

// A group is a block's worth of channels, whatever the layouts; a byte-wise copy goes by pieces instead of rows.
template <class Real>
Work work_of(const Call& call, const Sides& s) {
    const std::int64_t images = s.y.batched ? call.n : 1;
    if (same_bytes(*call.problem, s)) {
        const std::int64_t pieces = ceil_div(min_of(image_bytes<Real>(s.x), image_bytes<Real>(s.y)), kPieceBytes);
        const std::int64_t piece = min_of(kPieceBytes, image_bytes<Real>(s.y));
        return {images, 1, pieces, units_per_task(piece)};
    }
    const std::int64_t row_bytes = kLanes<Real> * s.y.width * element_bytes<Real>(s.y.dtype);
    return {images, blocks_of<Real>(s.y), s.y.height, units_per_task(row_bytes)};
}

template <class Real>
std::int64_t tasks(const Call& call) {
    return work_of<Real>(call, sides_of(*call.problem)).tasks();
}

template <class Real>
void interleave(const Call& call, const Real* x, Real* y, std::int64_t stride, std::int64_t channels,
                std::int64_t pixels, std::int64_t row_pixels, std::int64_t gap) {
    call.kernels->set<Real>().interleave({x, y, stride, channels, pixels, row_pixels, gap});
}
template <class Real>
void deinterleave(const Call& call, const Real* x, Real* y, std::int64_t stride, std::int64_t channels,
                  std::int64_t pixels) {
    call.kernels->set<Real>().deinterleave({x, y, stride, channels, pixels, 0, 0});
}

template <class Element>
void copy(Element* to, const Element* from, std::int64_t count) {
    if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(Element));
}

// One row of the group's channels; its halo is the caller's.
template <class Real>
void fill_row(const Call& call, const Sides& s, const Real* x, Real* y, std::int64_t group, std::int64_t row,
              Real value) {
    const std::int64_t lanes = kLanes<Real>, channel0 = group * lanes;
    const std::int64_t channels = min_of(lanes, s.y.channels - channel0);
    const std::int64_t x_row = row - call.attribute(0), pad_left = call.attribute(1);
    std::int64_t from = min_of(max_of(pad_left, 0), s.y.width);
    std::int64_t to = max_of(from, min_of(pad_left + s.x.width, s.y.width));
    if (x_row < 0 || x_row >= s.x.height) from = to = s.y.width;
    const std::int64_t x_plane = plane_stride<Real>(s.x), y_plane = plane_stride<Real>(s.y);
    x += (s.x.layout == Layout::blocked ? group : channel0) * x_plane + x_row * row_stride<Real>(s.x) +
         (from - pad_left) * pixel_elements<Real>(s.x);
    y += (s.y.layout == Layout::blocked ? group : channel0) * y_plane + row * row_stride<Real>(s.y);
    if (s.y.layout == Layout::blocked) {
        const auto fill = [&](std::int64_t p0, std::int64_t p1) {
            for (Real* pixel = y + p0 * lanes; pixel < y + p1 * lanes; pixel += lanes) {
                for (std::int64_t c = 0; c < lanes; ++c) pixel[c] = c < channels ? value : Real(0);
            }
        };
        fill(0, from);
        fill(to, s.y.width);
        if (from == to) return;
        if (s.x.layout == Layout::blocked) return copy(y + from * lanes, x, (to - from) * lanes);
        return interleave(call, x, y + from * lanes, x_plane, channels, to - from, to - from, 0);
    }
    for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t p = 0; p < from; ++p) y[c * y_plane + p] = value;
        for (std::int64_t p = to; p < s.y.width; ++p) y[c * y_plane + p] = value;
        if (s.x.layout == Layout::plain) copy(y + c * y_plane + from, x + c * x_plane, to - from);
    }
    if (s.x.layout == Layout::blocked && to > from) {
        deinterleave(call, x, y + from, y_plane, channels, to - from);
    }
}

// Between plain and blocked, with no gap between rows of what is read: they are one row. What is written in blocks may
// have a halo. (Zen 4, with what it is read for, 8 images of c512 k512 r3 stride 2 14 x 14: 0.96 of the time row by
// row, a row being narrower than a square.)
bool gapless(const Problem& p, const Sides& s) {
    return s.x.layout != s.y.layout && s.x.width == s.y.width && s.x.height == s.y.height && p.attribute(0) == 0 &&
           p.attribute(1) == 0 && !has_halo(s.x) && (s.y.layout == Layout::blocked || !has_halo(s.y));
}
template <class Real>
void fill_rows(const Call& call, const Sides& s, const Real* x, Real* y, std::int64_t group, std::int64_t row0,
               std::int64_t row1) {
    const std::int64_t plane = pixels_of(s.y), channels = min_of(kLanes<Real>, s.y.channels - group * kLanes<Real>);
    const std::int64_t pixels = (row1 - row0) * s.y.width;
    const bool blocks = s.y.layout == Layout::blocked;
    x += group * (blocks ? kLanes<Real> * plane : plane_stride<Real>(s.x)) + row0 * row_stride<Real>(s.x);
    y += group * (blocks ? plane_stride<Real>(s.y) : kLanes<Real> * plane) + row0 * row_stride<Real>(s.y);
    if (blocks) {
        interleave(call, x, y, plane, channels, pixels, s.y.width, s.y.halo_left + s.y.halo_right);
    } else {
        deinterleave(call, x, y, plane, channels, pixels);
    }
}

template <class Real>
void run_rows(const Call& call, const Sides& s, std::int64_t task) {
    const Work work = work_of<Real>(call, s);
    View y_view = call.outputs[0];
    y_view.tensor = &s.y;
    const Real value = static_cast<Real>(call.problem->real_attribute(2));
    for_each_rows(task, work.chunk, work.images, work.groups, work.rows,
                  [&](std::int64_t image, std::int64_t group, std::int64_t row0, std::int64_t row1) {
                      const Real* x =
                          reinterpret_cast<const Real*>(call.inputs[0].data + image * call.inputs[0].image_stride) +
                          origin<Real>(s.x);
                      Real* y = reinterpret_cast<Real*>(y_view.data + image * y_view.image_stride) + origin<Real>(s.y);
                      if (gapless(*call.problem, s)) {
                          fill_rows<Real>(call, s, x, y, group, row0, row1);
                      } else {
                          for (std::int64_t row = row0; row < row1; ++row) {
                              fill_row<Real>(call, s, x, y, group, row, value);
                          }
                      }
                      const std::int64_t lanes = s.y.layout == Layout::blocked ? 1 : kLanes<Real>;
                      for (std::int64_t plane = group * lanes;
                           plane < min_of((group + 1) * lanes, planes_of<Real>(s.y)); ++plane) {
                          zero_halo<Real>(y_view, image, plane, row0, row1);
                      }
                      if (group == work.groups - 1 && row1 == work.rows) zero_padding<Real>(y_view, image);
                  });
}

template <class Real>
void run_bytes(const Call& call, const Sides& s, std::int64_t task) {
    const Work work = work_of<Real>(call, s);
    const std::int64_t bytes = min_of(image_bytes<Real>(s.x), image_bytes<Real>(s.y));
    for_each_rows(task, work.chunk, work.images, 1, work.rows,
                  [&](std::int64_t image, std::int64_t, std::int64_t piece0, std::int64_t piece1) {
                      const char* x = call.inputs[0].data + image * call.inputs[0].image_stride;
                      char* y = call.outputs[0].data + image * call.outputs[0].image_stride;
                      const std::int64_t from = piece0 * kPieceBytes, to = min_of(bytes, piece1 * kPieceBytes);
                      if (x != y) copy(y + from, x + from, to - from);
                      if (piece1 == work.rows) {
                          const std::int64_t end =
                              s.y.place == Place::external ? image_bytes<Real>(s.y) : round_up(bytes, kBlockBytes);
                          std::memset(y + bytes, 0, static_cast<std::size_t>(max_of(0, end - bytes)));
                      }
                  });
}

// Elements from the first of an image to one of a tensor without halo.
template <class Real>
std::int64_t element_at(const Tensor& t, std::int64_t channel, std::int64_t row, std::int64_t column) {
    const std::int64_t lanes = t.layout == Layout::blocked ? kLanes<Real> : 1;
    return ((channel / lanes * t.height + row) * t.width + column) * lanes + channel % lanes;
}

// Whole numbers, which few networks bring into another layout, one by one.
template <class Real>
CONVLENS_COLD void run_whole_numbers(const Call& call, const Sides& s, std::int64_t task) {
    const Work work = work_of<Real>(call, s);
    const std::int64_t bytes = element_bytes<Real>(s.y.dtype), lanes = kLanes<Real>;
    constexpr std::int64_t kZero = 0;
    View y_view = call.outputs[0];
    y_view.tensor = &s.y;
    for_each_rows(task, work.chunk, work.images, work.groups, work.rows,
                  [&](std::int64_t image, std::int64_t group, std::int64_t row0, std::int64_t row1) {
                      const char* x = call.inputs[0].data + image * call.inputs[0].image_stride;
                      char* y = y_view.data + image * y_view.image_stride;
                      const std::int64_t channels = min_of((group + 1) * lanes, s.y.channels);
                      const std::int64_t end = s.y.layout == Layout::blocked ? (group + 1) * lanes : channels;
                      for (std::int64_t row = row0; row < row1; ++row) {
                          const std::int64_t x_row = row - call.attribute(0), pad_left = call.attribute(1);
                          for (std::int64_t channel = group * lanes; channel < end; ++channel) {
                              const bool here = channel < channels && x_row >= 0 && x_row < s.x.height;
                              const char* from = x + element_at<Real>(s.x, channel, x_row, -pad_left) * bytes;
                              char* to = y + element_at<Real>(s.y, channel, row, 0) * bytes;
                              for (std::int64_t column = 0; column < s.y.width; ++column) {
                                  const bool inside = here && column >= pad_left && column < pad_left + s.x.width;
                                  const char* value = inside ? from : reinterpret_cast<const char*>(&kZero);
                                  bytes == 1 ? std::memcpy(to, value, 1) : std::memcpy(to, value, 8);
                                  from += pixel_elements<Real>(s.x) * bytes, to += pixel_elements<Real>(s.y) * bytes;
                              }
                          }
                      }
                      if (group == work.groups - 1 && row1 == work.rows) zero_padding<Real>(y_view, image);
                  });
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const Sides s = sides_of(*call.problem);
    if (same_bytes(*call.problem, s)) return run_bytes<Real>(call, s, task);
    if (s.y.dtype == DType::real) return run_rows<Real>(call, s, task);
    run_whole_numbers<Real>(call, s, task);
}

template <class Real>
constexpr Op make_reorder() {
    return {"reorder", check<Real>, input_rectangle, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(reorder, make_reorder)
