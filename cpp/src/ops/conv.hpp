// What the convolutions share: their attributes, the rules they keep, addresses and task grids.
#pragma once

#include "ops/geometry.hpp"
#include "ops/pack.hpp"
#include "ops/weight_pieces.hpp"

namespace convlens {

// The first nine attributes of every convolution.
struct ConvAttributes {
    std::int64_t R, S, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
    static ConvAttributes of(const Problem& p) {
        return {p.attribute(0), p.attribute(1), p.attribute(2), p.attribute(3), p.attribute(4),
                p.attribute(5), p.attribute(6), p.attribute(7), p.attribute(8)};
    }
};
constexpr int kConvAttributes = 9;

inline CONVLENS_COLD Status check_attributes(const ConvAttributes& a) {
    constexpr std::int64_t kMax = 1 << 15;
    const struct {
        const char* name;
        std::int64_t value, low;
    } rules[] = {{"stride_h", a.stride_h, 1}, {"stride_w", a.stride_w, 1},     {"pad_top", a.pad_top, 0},
                 {"pad_left", a.pad_left, 0}, {"dilation_h", a.dilation_h, 1}, {"dilation_w", a.dilation_w, 1}};
    for (const auto& rule : rules) {
        if (rule.value < rule.low || rule.value > kMax) {
            return fail(Code::corrupt_file, "`%s` (=%lld) must lie in [%lld, %lld]", rule.name,
                        static_cast<long long>(rule.value), static_cast<long long>(rule.low),
                        static_cast<long long>(kMax));
        }
    }
    return {};
}

inline std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Rows and columns of x that rows and columns of y = conv(x) need.
inline Rectangle forward_rectangle(const ConvAttributes& a, Rectangle r) {
    return {r.y0 * a.stride_h - a.pad_top, r.x0 * a.stride_w - a.pad_left,
            (r.y1 - 1) * a.stride_h - a.pad_top + (a.R - 1) * a.dilation_h + 1,
            (r.x1 - 1) * a.stride_w - a.pad_left + (a.S - 1) * a.dilation_w + 1};
}
// Rows and columns of dy that rows and columns of dx need.
inline Rectangle backward_rectangle(const ConvAttributes& a, Rectangle r) {
    return {-floor_div(-(r.y0 + a.pad_top - (a.R - 1) * a.dilation_h), a.stride_h),
            -floor_div(-(r.x0 + a.pad_left - (a.S - 1) * a.dilation_w), a.stride_w),
            floor_div(r.y1 - 1 + a.pad_top, a.stride_h) + 1, floor_div(r.x1 - 1 + a.pad_left, a.stride_w) + 1};
}
inline Rectangle whole(const Tensor& t) { return {0, 0, t.height, t.width}; }

// Kernels read halos without looking: the tensor must have them.
inline CONVLENS_COLD Status check_halo(const Tensor& t, const char* name, Rectangle need) {
    const std::int64_t top = -need.y0, left = -need.x0, bottom = need.y1 - t.height, right = need.x1 - t.width;
    if (top > t.halo_top || left > t.halo_left || bottom > t.halo_bottom || right > t.halo_right) {
        return fail(Code::corrupt_file,
                    "`%s` has a halo of %d, %d, %d, %d (top, left, bottom, right); the convolution reads %lld, %lld, "
                    "%lld, %lld",
                    name, t.halo_top, t.halo_left, t.halo_bottom, t.halo_right, static_cast<long long>(top),
                    static_cast<long long>(left), static_cast<long long>(bottom), static_cast<long long>(right));
    }
    return {};
}

// A layer's input: blocked, or plain when it is the network's own.
template <class Real>
CONVLENS_COLD Status check_source(const Tensor* t, const char* name) {
    if (t != nullptr && t->layout == Layout::plain) return check_activation<Real>(t, name, Layout::plain);
    return check_activation<Real>(t, name, Layout::blocked);
}

template <class Real>
CONVLENS_COLD Status check_mask(const Tensor* t, const char* name, const Tensor& like) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, name, DType::mask));
    if (!t->batched || !same_shape(*t, like) || !(t->layout == Layout::blocked || one_pixel(*t))) {
        return fail(Code::corrupt_file, "`%s` must be a batched, blocked mask of the shape of its tensor", name);
    }
    return {};
}

template <class Real>
CONVLENS_COLD Status check_residual(const Tensor* t, const char* name, const Tensor& like) {
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(t, name, Layout::blocked));
    if (!same_shape(*t, like)) {
        return fail(Code::corrupt_file, "`%s` is %d x %d x %d; what it is added to is %d x %d x %d", name, t->channels,
                    t->height, t->width, like.channels, like.height, like.width);
    }
    return {};
}

inline CONVLENS_COLD Status check_activation_attributes(const Problem& p, int first) {
    if (p.attribute(first) < kConvNone || p.attribute(first) > kConvClip) {
        return fail(Code::corrupt_file, "`activation` (=%lld) must be 0 (none), 1 (relu) or 2 (clip)",
                    static_cast<long long>(p.attribute(first)));
    }
    return {};
}

// ---- addresses ----

// Pixel (y, x) of a plane of a real tensor, and the steps from there; planes are blocks, or channels of a plain tensor.
template <class Real>
ConvOperand<Real> operand_at(const View& view, std::int64_t image, std::int64_t plane, std::int64_t y, std::int64_t x) {
    const Tensor& t = *view.tensor;
    ConvOperand<Real> o;
    o.row_step = row_stride<Real>(t), o.column_step = pixel_elements<Real>(t), o.block_step = plane_stride<Real>(t);
    o.data = image_data<Real>(view, image) + plane * o.block_step + y * o.row_step + x * o.column_step;
    return o;
}
template <class Real>
ConvOperand<const Real> constant(const ConvOperand<Real>& o) {
    return {o.data, o.row_step, o.column_step, o.block_step};
}
// The same of a mask, in bytes.
template <class Real>
ConvOperand<std::uint8_t> mask_at(const View& view, std::int64_t image, std::int64_t block, std::int64_t y,
                                  std::int64_t x) {
    const Tensor& t = *view.tensor;
    ConvOperand<std::uint8_t> o;
    o.column_step = kLanes<Real> / 8, o.row_step = t.width * o.column_step, o.block_step = t.height * o.row_step;
    o.data = reinterpret_cast<std::uint8_t*>(view.data + image * view.image_stride) + block * o.block_step +
             y * o.row_step + x * o.column_step;
    return o;
}
template <class T>
void widen(ConvOperand<T>* o, std::int64_t rows, std::int64_t columns) {
    o->row_step *= rows, o->column_step *= columns;
}

// ---- a plain result, computed in blocks a few rows at a time, which leave for their planes while they are cached ----

constexpr std::int64_t kStageBytes = 16 << 10;  // half of a first-level cache

inline bool is_plain(const Tensor& t) { return t.layout == Layout::plain && !one_pixel(t); }

// Rows [row0, row1) of a panel's channels, from `stage`.
template <class Real>
CONVLENS_SHARED void leave_stage(const Call& call, std::int64_t image, const PackedPanel& panel, std::int64_t row0,
                                 std::int64_t row1, const Real* stage) {
    const Tensor& t = *call.problem->outputs[0];
    constexpr std::int64_t lanes = kLanes<Real>;
    const std::int64_t plane = pixels_of(t), pixels = (row1 - row0) * t.width, first = panel.first_block * lanes;
    const std::int64_t channels = min_of(panel.blocks * lanes, t.channels - first);
    Real* to = image_data<Real>(call.outputs[0], image) + first * plane + row0 * t.width;
    for (std::int64_t c = 0; c < channels; c += lanes) {
        call.kernels->set<Real>().deinterleave(
            {stage + c * pixels, to + c * plane, plane, min_of(lanes, channels - c), pixels, pixels, 0});
    }
}

template <class Real>
Real attribute_real(const Call& call, int i) {
    return static_cast<Real>(call.problem->real_attribute(i));
}

// Channels in the last of `blocks` blocks from `first` on.
template <class Real>
std::int64_t last_lanes(std::int64_t channels, std::int64_t first, std::int64_t blocks) {
    return min_of(kLanes<Real>, channels - (first + blocks - 1) * kLanes<Real>);
}

// ---- task grids: functions of the shape, and of n alone where a shape is too small to be worth a task ----

// A task is about this many multiplications of float32: some 20 us.
constexpr std::int64_t kTaskProducts = std::int64_t{1} << 20;
constexpr std::int64_t kMostPieces = 32;         // of an image: cores to feed at batch 1
constexpr std::int64_t kStripBytes = 512 << 10;  // of input, so that it stays in the second-level cache
constexpr std::int64_t kPanelBytes = 256 << 10;  // of weights, beside it

struct ConvGrid {
    std::int64_t rows, panels;  // what is cut
    std::int64_t strips, panel_groups, images_per_task;
    bool weights_outside;

    static ConvGrid make(std::int64_t rows, std::int64_t panels, std::int64_t products, std::int64_t element_bytes,
                         std::int64_t source_bytes, std::int64_t weight_bytes) {
        const std::int64_t task = kTaskProducts * 4 / element_bytes;
        ConvGrid g{};
        g.rows = rows, g.panels = panels;
        const std::int64_t pieces = min_of(kMostPieces, max_of(1, products / task));
        // In eights, where one cut is enough: what the last few threads wait for is a part of a piece, not a piece.
        const std::int64_t even = products < task ? 1 : min_of(kMostPieces, round_up(pieces, 8));
        const std::int64_t cached = min_of(rows, ceil_div(source_bytes, kStripBytes));
        g.weights_outside = weight_bytes > source_bytes;
        if (g.weights_outside) {
            g.panel_groups = min_of(panels, even);
            g.strips = min_of(rows, max_of(cached, ceil_div(pieces, g.panel_groups)));
        } else {
            g.strips = min_of(rows, max_of(cached, even));
            g.panel_groups = min_of(panels, ceil_div(pieces, g.strips));
        }
        g.images_per_task = even == 1 && g.strips == 1 ? min_of(64, max_of(1, task / max_of(1, products))) : 1;
        return g;
    }
    // Depthwise: a panel reads a block of its own, and a strip would read it again for every row its windows share.
    // (Zen 4, one thread, 5 x 5: c672 14 x 14 148 us by strips of one or two rows, 85 by panels.)
    static ConvGrid by_panels(std::int64_t rows, std::int64_t panels, std::int64_t products,
                              std::int64_t element_bytes) {
        return make(rows, panels, products, element_bytes, 0, 1);
    }
    std::int64_t tasks(std::int64_t n) const { return ceil_div(n, images_per_task) * strips * panel_groups; }
};

struct ConvPiece {
    std::int64_t image0, image1, row0, row1, panel0, panel1;
};

// A thread's consecutive tasks share what is dear to read: the strip of input, or the weights.
inline ConvPiece piece_of(const ConvGrid& g, std::int64_t n, std::int64_t task) {
    std::int64_t images, strip, group;
    const std::int64_t image_groups = ceil_div(n, g.images_per_task);
    if (g.weights_outside) {
        strip = task % g.strips, images = task / g.strips % image_groups, group = task / g.strips / image_groups;
    } else {
        group = task % g.panel_groups, strip = task / g.panel_groups % g.strips,
        images = task / g.panel_groups / g.strips;
    }
    return {images * g.images_per_task,        min_of(n, (images + 1) * g.images_per_task),
            strip * g.rows / g.strips,         (strip + 1) * g.rows / g.strips,
            group * g.panels / g.panel_groups, (group + 1) * g.panels / g.panel_groups};
}

// Steps of input channels a pass: some kChainProducts products, whose weights stay in the second-level cache while a
// strip streams by. A pass begins at zero and is added to those before it: rounding grows with the root of its length.
// (Zen 4: 1 % slower than one chain, and 288 products 2 %; a third of the error of 4608 in one chain, and a quarter.)
constexpr std::int64_t kChainProducts = 576;
inline std::int64_t steps_a_pass(const PackedWeight& w, std::int64_t taps) {
    const std::int64_t fit = max_of(1, kChainProducts / max_of(1, taps * w.lanes));
    return ceil_div(w.steps, ceil_div(w.steps, fit));
}

// How a pass ends: the residual goes with the first one, everything else with the last.
template <class Real>
CONVLENS_SHARED void finish_pass(ConvTile<Real>* tile, const ConvEpilogue<Real>& whole, bool first, bool last) {
    tile->epilogue = last ? whole : ConvEpilogue<Real>{};
    tile->finish = last ? kConvEpilogue : first ? kConvStore : kConvAdd;
    if (first && !last && whole.residual.data != nullptr) {
        tile->epilogue.residual = whole.residual, tile->finish = kConvEpilogue;
    }
    if (last && !first) tile->epilogue.residual = constant(tile->output);
}

}  // namespace convlens
