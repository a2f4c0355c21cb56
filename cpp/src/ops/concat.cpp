// A run of channels, rows or columns of the inputs laid end to end, with zeros before the first and after the last of
// them: a concatenation, a slice, and the gradients of both.
//     y[.., a, ..] = joined[.., a + start, ..]
// In `groups` the channels joined are shuffled first: the first of each group, the second of each ...
//     shuffled[i groups + g] = joined[g (channels / groups) + i]
//
// inputs  up to 16, real, alike but along the axis
// outputs y, of the inputs' layout
// attributes axis (0 channels, 1 rows, 2 columns), start (negative: zeros first), groups (of channels; else 1)
#include "ops/geometry.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kMaxStart = std::int64_t{1} << 40;

std::int64_t extent(const Tensor& t, std::int64_t axis) {
    return axis == 0 ? t.channels : axis == 1 ? t.height : t.width;
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    const Instruction& instruction = *p.instruction;
    if (instruction.n_inputs < 1 || instruction.n_inputs > kMaxInputs) {
        return fail(Code::corrupt_file, "concat has %d inputs; it takes 1 to %d", instruction.n_inputs, kMaxInputs);
    }
    CONVLENS_RETURN_IF_ERROR(check_counts(p, instruction.n_inputs, 1, 1, 3));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::real));
    const Tensor& y = *p.outputs[0];
    if (y.layout == Layout::packed) return fail(Code::corrupt_file, "`y` must be plain or blocked");
    const std::int64_t axis = p.attribute(0), start = p.attribute(1), groups = p.attribute(2);
    std::int64_t joined = 0;
    if (axis < 0 || axis > 2 || start < -kMaxStart || start > kMaxStart) {
        return fail(Code::corrupt_file, "`axis` (=%lld) must be 0, 1 or 2, and `start` (=%lld) within %lld",
                    static_cast<long long>(axis), static_cast<long long>(start), static_cast<long long>(kMaxStart));
    }
    for (int i = 0; i < instruction.n_inputs; ++i) {
        CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[i], "x", DType::real));
        const Tensor& x = *p.inputs[i];
        // One pixel is the same bytes in both layouts, but for the last lanes of the caller's own memory.
        const bool exact = x.place == Place::external && x.channels % kLanes<Real> != 0;
        if (x.layout != y.layout &&
            (x.layout == Layout::packed || !one_pixel(x) || (exact && y.layout == Layout::blocked))) {
            return fail(Code::corrupt_file, "`x` must have the layout of `y`");
        }
        if (x.batched && !y.batched) return fail(Code::corrupt_file, "`x` is batched and `y` is not");
        for (std::int64_t other = 0; other < 3; ++other) {
            if (other != axis && extent(x, other) != extent(y, other)) {
                return fail(Code::corrupt_file, "`x` is %d x %d x %d and `y` %d x %d x %d; axis %lld alone may differ",
                            x.channels, x.height, x.width, y.channels, y.height, y.width, static_cast<long long>(axis));
            }
        }
        if (axis == 0 && one_pixel(y) && has_halo(x)) return fail(Code::corrupt_file, "`x` has a halo and `y` none");
        CONVLENS_RETURN_IF_ERROR(check_apart(y, "y", x, "x"));
        joined += x.channels;
    }
    if (groups < 1 || (groups > 1 && (axis != 0 || joined % groups != 0))) {
        return fail(Code::corrupt_file, "`groups` (=%lld) must be 1, or along axis 0 divide the %lld channels",
                    static_cast<long long>(groups), static_cast<long long>(joined));
    }
    return {};
}

// An operand as planes of rows of pixels. Channels of one plain pixel are one row; so are planes of channels that no
// operand has a halo around.
template <class Real>
struct Rows {
    std::int64_t axis, height, width, row, plane, pixel;
    Rows(const Problem& p, Tensor t) : axis(p.attribute(0)), height(t.height), width(t.width) {
        const Tensor& y = *p.outputs[0];
        t.layout = y.layout;
        row = row_stride<Real>(t), plane = plane_stride<Real>(t), pixel = pixel_elements<Real>(t);
        if (axis != 0) return;
        if (t.layout == Layout::plain && one_pixel(t)) axis = 2, width = t.channels, row = plane = 1;
        bool flat = !has_halo(y);
        for (int i = 0; i < p.instruction->n_inputs; ++i) flat = flat && !has_halo(*p.inputs[i]);
        if (flat) width *= height, height = 1;
    }
};

// Where index `a` of the output comes from: input `i` at its index `from`, `count` indices on end; i < 0: zeros.
struct Piece {
    int i;
    std::int64_t from, count;
};
Piece piece_at(const Problem& p, std::int64_t a) {
    const std::int64_t axis = p.attribute(0), left = extent(*p.outputs[0], axis) - a;
    std::int64_t at = a + p.attribute(1), most = left;
    if (left <= 0 || at < 0) return {-1, 0, left <= 0 ? kMaxStart : min_of(left, -at)};
    const std::int64_t groups = p.attribute(2);
    if (groups > 1) {
        std::int64_t joined = 0;
        for (int i = 0; i < p.instruction->n_inputs; ++i) joined += p.inputs[i]->channels;
        if (at < joined) at = at % groups * (joined / groups) + at / groups, most = 1;
    }
    for (int i = 0; i < p.instruction->n_inputs; ++i) {
        const std::int64_t size = extent(*p.inputs[i], axis);
        if (at < size) return {i, at, min_of(most, size - at)};
        at -= size;
    }
    return {-1, 0, left};
}

template <class Real>
void move(Real* to, const Real* from, std::int64_t count) {
    if (from == nullptr) {
        std::memset(static_cast<void*>(to), 0, static_cast<std::size_t>(count) * sizeof(Real));
    } else {
        std::memcpy(static_cast<void*>(to), from, static_cast<std::size_t>(count) * sizeof(Real));
    }
}

// Channels change lanes: a run of lanes of every pixel.
template <class Real>
void move_lanes(Real* to, const Real* from, std::int64_t count, std::int64_t pixels) {
    constexpr std::int64_t lanes = kLanes<Real>, quarter = lanes / 4;
    for (std::int64_t p = 0; p < pixels; ++p, to += lanes) {
        std::int64_t c = 0;
        if (from == nullptr) {
            for (; c < count; ++c) to[c] = 0;
            continue;
        }
        for (; c + quarter <= count; c += quarter) std::memcpy(to + c, from + c, kBlockBytes / 4);
        for (; c < count; ++c) to[c] = from[c];
        from += lanes;
    }
}

// One row of a plane.
template <class Real>
void fill_row(const Call& call, std::int64_t image, std::int64_t plane, std::int64_t y_row) {
    const Problem& p = *call.problem;
    const Tensor& y = *p.outputs[0];
    const std::int64_t lanes = kLanes<Real>;
    const Rows<Real> at(p, y);
    Real* to = image_data<Real>(call.outputs[0], image) + plane * at.plane + y_row * at.row;
    const bool shifts = at.axis == 0 && y.layout == Layout::blocked;
    const std::int64_t first = at.axis == 2 ? 0 : at.axis == 1 ? y_row : shifts ? plane * lanes : plane;
    const std::int64_t end = at.axis == 2 ? at.width : first + (shifts ? lanes : 1);
    for (std::int64_t a = first; a < end;) {
        Piece piece = piece_at(p, a);
        piece.count = min_of(piece.count, end - a);
        const Real* from = nullptr;
        if (piece.i >= 0) {
            const Rows<Real> x(p, *p.inputs[piece.i]);
            const std::int64_t x_plane = at.axis != 0 ? plane : shifts ? piece.from / lanes : piece.from;
            from = image_data<Real>(call.inputs[piece.i], image) + x_plane * x.plane +
                   (at.axis == 1 ? piece.from : y_row) * x.row;
            if (at.axis == 2) from += piece.from * x.pixel;
        }
        if (shifts) {
            const std::int64_t lane = piece.from % lanes;
            piece.count = min_of(piece.count, lanes - lane);
            // The last block of an input ends in zeros, as that of the output does.
            const bool both_end = a + piece.count >= y.channels && piece.i >= 0 &&
                                  piece.from + piece.count >= p.inputs[piece.i]->channels;
            if (a == first && lane == 0 && (piece.count == lanes || both_end)) {
                move(to, from, at.width * lanes);
                return;
            }
            move_lanes(to + (a - first), from == nullptr ? from : from + lane, piece.count, at.width);
        } else if (at.axis == 2) {
            move(to + a * at.pixel, from, piece.count * at.pixel);
        } else {
            move(to, from, at.width * at.pixel);
        }
        a += piece.count;
    }
}

// One row of a block of shuffled channels: every lane comes from a lane of its own.
template <class Real>
void shuffle_row(const Call& call, std::int64_t image, std::int64_t block, std::int64_t y_row) {
    constexpr std::int64_t lanes = kLanes<Real>, at_once = 16;  // pixels, of so many blocks, in the first-level cache
    const Problem& p = *call.problem;
    const Rows<Real> at(p, *p.outputs[0]);
    Real* to = image_data<Real>(call.outputs[0], image) + block * at.plane + y_row * at.row;
    const Real* from[lanes];
    for (std::int64_t c = 0; c < lanes; ++c) {
        const Piece piece = piece_at(p, block * lanes + c);
        from[c] = nullptr;
        if (piece.i < 0) continue;
        const Rows<Real> x(p, *p.inputs[piece.i]);
        from[c] = image_data<Real>(call.inputs[piece.i], image) + piece.from / lanes * x.plane + y_row * x.row +
                  piece.from % lanes;
    }
    for (std::int64_t p0 = 0; p0 < at.width; p0 += at_once) {
        const std::int64_t end = min_of(at.width, p0 + at_once);
        for (std::int64_t c = 0; c < lanes; ++c) {
            const Real* lane = from[c];
            if (lane == nullptr) {
                for (std::int64_t i = p0; i < end; ++i) to[i * lanes + c] = 0;
            } else {
                // By fours: where so short a loop begins counts else. (Zen 3, ShuffleNetV2: 5 %.)
                std::int64_t i = p0;
                for (; i + 4 <= end; i += 4) {
                    const Real l0 = lane[i * lanes], l1 = lane[(i + 1) * lanes];
                    const Real l2 = lane[(i + 2) * lanes], l3 = lane[(i + 3) * lanes];
                    to[i * lanes + c] = l0, to[(i + 1) * lanes + c] = l1;
                    to[(i + 2) * lanes + c] = l2, to[(i + 3) * lanes + c] = l3;
                }
                for (; i < end; ++i) to[i * lanes + c] = lane[i * lanes];
            }
        }
    }
}

struct Work {
    std::int64_t images, planes, rows, chunk;
};
template <class Real>
Work work_of(const Call& call) {
    const Tensor& y = *call.problem->outputs[0];
    const Rows<Real> at(*call.problem, y);
    const bool one_row = at.axis == 2 && call.attribute(0) == 0;
    return {y.batched ? call.n : 1, one_row ? 1 : planes_of<Real>(y), at.height,
            units_per_task(at.width * at.pixel * static_cast<std::int64_t>(sizeof(Real)))};
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Work w = work_of<Real>(call);
    return ceil_div(w.images * w.planes * w.rows, w.chunk);
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const Work w = work_of<Real>(call);
    for_each_rows(task, w.chunk, w.images, w.planes, w.rows,
                  [&](std::int64_t image, std::int64_t plane, std::int64_t row0, std::int64_t row1) {
                      const bool shuffles =
                          call.attribute(2) > 1 && call.problem->outputs[0]->layout == Layout::blocked;
                      const auto fill = shuffles ? shuffle_row<Real> : fill_row<Real>;
                      for (std::int64_t row = row0; row < row1; ++row) fill(call, image, plane, row);
                      zero_halo<Real>(call.outputs[0], image, plane, row0, row1);
                      if (plane == w.planes - 1 && row1 == w.rows) zero_padding<Real>(call.outputs[0], image);
                  });
}

template <class Real>
constexpr Op make_concat() {
    return {"concat", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(concat, make_concat)
