// y as up to six axes of an image: a window of it takes elements of x by strides of any sign, the rest is one value.
//     y[begin + step i] = x[offset + sum_k i_k stride_k]    for 0 <= i_k < count_k,  value elsewhere
// Transposing, slicing, reversing, repeating, padding, and the gradient of a slice. Both are numbered in plain order.
//
// inputs  x real, plain or of one pixel; not batched: the same for every image
// outputs y real, plain or of one pixel
// attributes size x 6 (their product is the elements of y), begin x 6, step x 6, count x 6, stride x 6, offset,
//            value (real)
#include "ops/geometry.hpp"

namespace convlens {
namespace {

constexpr int kAxes = 6, kAttributes = 5 * kAxes + 2;

struct Axis {
    std::int64_t size, begin, step, count, stride;
};
Axis axis_at(const Problem& p, int k) {
    return {p.attribute(k), p.attribute(kAxes + k), p.attribute(2 * kAxes + k), p.attribute(3 * kAxes + k),
            p.attribute(4 * kAxes + k)};
}

// All sums in 64 bits with overflow checked: what the window reads lies in x, and the window in y.
bool stays_inside(const Problem& p, std::int64_t x_elements, std::int64_t y_elements) {
    std::int64_t total = 1, low = p.attribute(5 * kAxes), high = low, span;
    bool empty = false;
    for (int k = 0; k < kAxes; ++k) {
        const Axis a = axis_at(p, k);
        if (a.size < 1 || __builtin_mul_overflow(total, a.size, &total)) return false;
        if (a.begin < 0 || a.step < 1 || a.count < 0) return false;
        empty = empty || a.count == 0;
        if (a.count == 0) continue;
        if (__builtin_mul_overflow(a.count - 1, a.step, &span) || __builtin_add_overflow(span, a.begin, &span) ||
            span >= a.size) {
            return false;
        }
        if (__builtin_mul_overflow(a.count - 1, a.stride, &span)) return false;
        std::int64_t* end = span < 0 ? &low : &high;
        if (__builtin_add_overflow(*end, span, end)) return false;
    }
    return total == y_elements && (empty || (low >= 0 && high < x_elements));
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, kAttributes));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "x", DType::real));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::real));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    const auto in_order = [](const Tensor& t) {
        return t.layout == Layout::plain || (t.layout == Layout::blocked && one_pixel(t));
    };
    if (!in_order(x) || !in_order(y)) return fail(Code::corrupt_file, "`x` and `y` must be plain");
    if (x.batched && !y.batched) return fail(Code::corrupt_file, "`x` is batched and `y` is not");
    if (!stays_inside(p, logical_elements(x), logical_elements(y))) {
        return fail(Code::corrupt_file, "the window must lie in `y` and what it reads in `x`");
    }
    return check_apart(y, "y", x, "x");
}

// Element f of an image, numbered in plain order.
std::int64_t place(const Tensor& t, std::int64_t f) {
    if (!has_halo(t)) return f;
    const std::int64_t row = f / t.width, rows = std::int64_t{t.height} + t.halo_top + t.halo_bottom;
    return (row / t.height * rows + row % t.height) * (std::int64_t{t.width} + t.halo_left + t.halo_right) +
           f % t.width;
}

// The axes of an instruction, those of size 1 in front left out.
struct Walk {
    Axis axes[kAxes];
    int first = 0;
    std::int64_t offset;
    bool narrow;  // the last two are whole, the last one short
    bool spread;  // of the last two, elements lie apart, among zeros
    explicit Walk(const Problem& p) : offset(p.attribute(5 * kAxes)) {
        for (int k = 0; k < kAxes; ++k) axes[k] = axis_at(p, k);
        while (first < kAxes - 1 && axes[first].size == 1 && axes[first].count == 1) ++first;
        const Axis &a = axes[kAxes - 2], &b = axes[kAxes - 1];
        narrow = a.count == a.size && b.count == b.size && b.size <= 8;
        spread = a.begin == 0 && b.begin == 0 && b.step > 1 && p.attribute(5 * kAxes + 1) == 0;
    }
};

// Where the element of the first `axes` indices comes from, added to `source`; false: from nowhere.
bool locate(const Walk& w, const std::int64_t* index, int axes, std::int64_t* source) {
    for (int k = w.first; k < axes; ++k) {
        const Axis& a = w.axes[k];
        const std::int64_t i = index[k] - a.begin;
        if (i < 0 || i > (a.count - 1) * a.step || (a.step != 1 && i % a.step != 0)) return false;
        *source += (a.step == 1 ? i : i / a.step) * a.stride;
    }
    return true;
}

// `n` whole runs of a short last axis: the axis before it is the inner loop. (Phases of c3 h224 w224 to their places,
// pairs of 112: 700 to 68 us, AVX-512.)
template <class Real>
void fill_narrow(const Walk& w, const Real* from, Real* to, const std::int64_t* index, std::int64_t n, Real value) {
    const Axis &a = w.axes[kAxes - 2], &b = w.axes[kAxes - 1];
    std::int64_t source = w.offset;
    const bool inside = locate(w, index, kAxes - 1, &source);
    for (std::int64_t k = 0; k < b.size; ++k) {
        const Real* there = from + (inside ? source + k * b.stride : 0);
        for (std::int64_t i = 0; i < n; ++i) to[i * b.size + k] = inside ? there[i * a.stride] : value;
    }
}

// `n` whole runs, of some of which every few elements are of x, among zeros. (Stride 2, Zen 4, with the product: c256
// k512 14 x 14 0.7 of the time of run by run, 56 x 56 0.9.)
template <class Real>
void fill_spread(const Walk& w, const Real* from, Real* to, const std::int64_t* index, std::int64_t n) {
    const Axis &a = w.axes[kAxes - 2], &b = w.axes[kAxes - 1];
    std::memset(static_cast<void*>(to), 0, static_cast<std::size_t>(n * b.size) * sizeof(Real));
    std::int64_t source = w.offset, row = index[kAxes - 2];
    if (!locate(w, index, kAxes - 2, &source)) return;
    const std::int64_t end = min_of(a.count, ceil_div(row + n, a.step)), step = b.step, stride = b.stride;
    for (std::int64_t i = ceil_div(row, a.step); i < end; ++i) {
        Real* there = to + (i * a.step - row) * b.size;
        const Real* here = from + source + i * a.stride;
        for (std::int64_t l = 0; l < b.count; ++l) there[l * step] = here[l * stride];
    }
}

// Elements [index of the last axis, + n) of y, which lie on end.
template <class Real>
void fill_run(const Walk& w, const Tensor& x, const Real* from, Real* to, const std::int64_t* index, std::int64_t n,
              Real value) {
    std::int64_t source = w.offset;
    const bool inside = locate(w, index, kAxes - 1, &source);
    const Axis& a = w.axes[kAxes - 1];
    std::int64_t start = index[kAxes - 1] - a.begin, low = max_of(0, start), high = min_of(a.count, start + n);
    if (a.step != 1) low = max_of(0, ceil_div(start, a.step)), high = min_of(a.count, ceil_div(start + n, a.step));
    if (!inside) high = low;
    if (high - low < n) {
        for (std::int64_t i = 0; i < n; ++i) to[i] = value;
    }
    if (high <= low) return;
    source += low * a.stride, to += low * a.step - start;
    const std::int64_t count = high - low, step = a.step, stride = a.stride;
    if (has_halo(x)) {
        for (std::int64_t i = 0; i < count; ++i) to[i * step] = from[place(x, source + i * stride)];
        return;
    }
    from += source;
    if (step == 1 && stride == 1) {
        std::memcpy(static_cast<void*>(to), from, static_cast<std::size_t>(count) * sizeof(Real));
    } else {
        for (std::int64_t i = 0; i < count; ++i) to[i * step] = from[i * stride];
    }
}

// Elements [at, end) of an image.
template <class Real>
void fill(const Call& call, const Walk& w, std::int64_t image, std::int64_t at, std::int64_t end) {
    const Tensor &x = *call.problem->inputs[0], &y = *call.problem->outputs[0];
    const Real* from = image_data<Real>(call.inputs[0], image);
    Real* to = image_data<Real>(call.outputs[0], image);
    const Real value = static_cast<Real>(call.problem->real_attribute(5 * kAxes + 1));
    const bool halo = has_halo(y);
    std::int64_t index[kAxes], rest = at;
    for (int k = kAxes - 1; k >= 0; --k) index[k] = rest % w.axes[k].size, rest /= w.axes[k].size;
    while (at < end) {
        const Axis &before = w.axes[kAxes - 2], &last = w.axes[kAxes - 1];
        const std::int64_t runs = min_of(before.size - index[kAxes - 2], (end - at) / last.size);
        if ((w.narrow || w.spread) && index[kAxes - 1] == 0 && runs > 0 && !halo && !has_halo(x)) {
            if (w.narrow) {
                fill_narrow<Real>(w, from, to + at, index, runs, value);
            } else {
                fill_spread<Real>(w, from, to + at, index, runs);
            }
            at += runs * last.size, index[kAxes - 2] += runs;
            for (int k = kAxes - 2; k > 0 && index[k] == w.axes[k].size; --k) index[k] = 0, ++index[k - 1];
            continue;
        }
        std::int64_t n = min_of(w.axes[kAxes - 1].size - index[kAxes - 1], end - at);
        if (halo) n = min_of(n, y.width - at % y.width);
        fill_run<Real>(w, x, from, to + place(y, at), index, n, value);
        at += n, index[kAxes - 1] += n;
        for (int k = kAxes - 1; k > 0 && index[k] == w.axes[k].size; --k) index[k] = 0, ++index[k - 1];
        if (halo && at % y.width == 0) {
            const std::int64_t row = at / y.width - 1;
            zero_halo<Real>(call.outputs[0], image, row / y.height, row % y.height, row % y.height + 1);
        }
    }
    if (end == logical_elements(y)) zero_beyond_channels<Real>(call.outputs[0], image);
}

template <class Real>
constexpr std::int64_t kChunk = 2 * kTaskBytes / static_cast<std::int64_t>(sizeof(Real));

template <class Real>
std::int64_t elements(const Call& call) {
    const Tensor& y = *call.problem->outputs[0];
    return (y.batched ? call.n : 1) * logical_elements(y);
}

template <class Real>
std::int64_t tasks(const Call& call) {
    return ceil_div(elements<Real>(call), kChunk<Real>);
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const Walk w(*call.problem);
    const std::int64_t each = logical_elements(*call.problem->outputs[0]);
    const std::int64_t end = min_of((task + 1) * kChunk<Real>, elements<Real>(call));
    for (std::int64_t at = task * kChunk<Real>; at < end;) {
        const std::int64_t image = at / each, stop = min_of(end, (image + 1) * each);
        fill<Real>(call, w, image, at - image * each, stop - image * each);
        at = stop;
    }
}

template <class Real>
constexpr Op make_strided_copy() {
    return {"strided_copy", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(strided_copy, make_strided_copy)
