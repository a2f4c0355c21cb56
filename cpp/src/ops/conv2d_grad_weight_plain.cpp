// conv2d_grad_weight of plain tensors, to a plain gradient.
//
// inputs  dy plain, without halo; x plain
// outputs dw plain (K, C / groups, R, S)
// attributes those of conv2d_grad_weight
//
// The product of dy, as it is, with panels of x whose lanes are (c, r, s) (im2col, transposed a panel at a time). Each
// chunk of pixels of an image is summed up by itself, so that chains stay short; chunks and images follow in order.
#include "ops/panel.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kMostRows = 512;  // of the product a task computes
constexpr std::int64_t kTasks = 16;

template <class Real>
struct Shape : PlainConv<Real> {
    std::int64_t reduction, lane_panels, row_groups, chunk, row_step;
    explicit Shape(const Problem& p) : PlainConv<Real>(p, p.inputs[1], p.inputs[0]) {
        reduction = this->c_group * this->taps;  // numbers of one output channel
        lane_panels = ceil_div(reduction, this->width);
        row_groups = max_of(ceil_div(this->k_group, kMostRows),
                            min_of(ceil_div(this->k_group, 56), kTasks / (lane_panels * this->a.groups)));
        const std::int64_t chunks = ceil_div(this->pixels, kChunkElements + kLanes<Real>);
        chunk = round_up(ceil_div(this->pixels, chunks), kLanes<Real>);
        row_step = chunk + kLanes<Real>;  // of a panel before it is transposed; no power of two
    }
    std::int64_t rows() const { return ceil_div(this->k_group, row_groups); }
    std::int64_t elements() const { return this->width * row_step + kLanes<Real> + chunk * this->width; }
};

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    const Tensor *dy = p.inputs[0], *x = p.inputs[1];
    CONVLENS_RETURN_IF_ERROR(check_plain_conv<Real>(p, x, dy, p.outputs[0], "x", "dy", "dw"));
    const Shape<Real> s(p);
    scratch->per_thread_bytes = (s.elements() + s.rows() * s.width) * static_cast<std::int64_t>(sizeof(Real)) +
                                s.chunk * static_cast<std::int64_t>(sizeof(PanelRun));
    return check_halo(*x, "x", forward_rectangle(s.a, whole(*dy)));
}

Rectangle input_rectangle(const Problem& p, int input, Rectangle) {
    if (input == 0) return whole(*p.inputs[0]);
    return forward_rectangle(ConvAttributes::of(p), whole(*p.inputs[0]));
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Shape<Real> s(*call.problem);
    return s.a.groups * s.row_groups * s.lane_panels;
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Shape<Real> s(*call.problem);
    const std::int64_t at = task % s.lane_panels, part = task / s.lane_panels % s.row_groups;
    const std::int64_t group = task / s.lane_panels / s.row_groups, lanes = kLanes<Real>;
    const std::int64_t k0 = group * s.k_group + part * s.k_group / s.row_groups;
    const std::int64_t rows = group * s.k_group + (part + 1) * s.k_group / s.row_groups - k0;
    const std::int64_t e0 = at * s.width, filled = min_of(s.width, s.reduction - e0);
    const auto& kernels = call.kernels->set<Real>();
    Real* sums = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* pixels = sums + s.rows() * s.width;
    Real* panel = pixels + s.width * s.row_step + lanes;
    PanelRun* runs = reinterpret_cast<PanelRun*>(panel + s.chunk * s.width);
    Real* dw = reinterpret_cast<Real*>(call.outputs[0].data) + k0 * s.reduction + e0;
    // Lanes that all are numbers of dw are summed up where they stay.
    const bool direct = filled % lanes == 0;
    Real* const output = direct ? dw : sums;
    const std::int64_t output_step = direct ? s.reduction : s.width;
    for (std::int64_t k = 0; k < rows && call.n == 0; ++k) {
        std::memset(static_cast<void*>(output + k * output_step), 0, static_cast<std::size_t>(filled) * sizeof(Real));
    }

    Panel<Real> pack;
    pack.width = s.row_step, pack.runs = runs, pack.stride = s.a.stride_w;
    pack.channels = pack.R = pack.S = 1, pack.channel_step = pack.row_step = pack.column_step = 0;
    pack.image_end = reinterpret_cast<const Real*>(call.inputs[1].data + call.n * call.inputs[1].image_stride);
    const std::int64_t x_row = row_stride<Real>(*s.x);
    // Squares of x's own planes.
    const bool in_place = s.is_pointwise() && !has_halo(*s.x) && s.pixels % lanes == 0 && filled % lanes == 0;
    for (std::int64_t image = 0; image < call.n; ++image) {
        const Real* x = image_data<Real>(call.inputs[1], image) + group * s.c_group * channel_stride<Real>(*s.x) -
                        s.a.pad_top * x_row - s.a.pad_left;
        for (std::int64_t p = 0; p < s.pixels; p += s.chunk) {
            const std::int64_t count = min_of(s.chunk, s.pixels - p);
            if (!in_place) pack.n_runs = s.runs(p, count, x_row, runs);
            for (std::int64_t e = 0; e < filled && !in_place; ++e) {
                const std::int64_t c = (e0 + e) / s.taps, tap = (e0 + e) % s.taps;
                pack.panel = pixels + e * s.row_step;
                pack.image = const_cast<Real*>(x) + c * channel_stride<Real>(*s.x) +
                             tap / s.a.S * s.a.dilation_h * x_row + tap % s.a.S * s.a.dilation_w;
                kernels.pack_panel(pack);
            }
            for (std::int64_t b = 0; b < filled; b += lanes) {
                TransposeBlock<Real> square;
                square.source = in_place ? x + (e0 + b) * s.pixels + p : pixels + b * s.row_step;
                square.source_step = in_place ? s.pixels : s.row_step, square.source_next = lanes;
                square.output = panel + b, square.output_step = s.width, square.output_next = lanes * s.width;
                square.count = ceil_div(count, lanes);
                kernels.transpose_block(square);
            }
            ConvTile<Real> tile = panel_tile<Real>(panel, s.width, filled, count, rows, &kNoTap);
            tile.output.data = output, tile.output.column_step = output_step;
            tile.source.data = image_data<Real>(call.inputs[0], image) + k0 * s.pixels + p;
            tile.source.column_step = s.pixels, tile.source_element_step = 1;
            tile.finish = image == 0 && p == 0 ? kConvStore : kConvAdd;
            kernels.conv_tile(tile);
        }
    }
    for (std::int64_t k = 0; k < rows && !direct; ++k) {
        std::memcpy(dw + k * s.reduction, sums + k * s.width, static_cast<std::size_t>(filled) * sizeof(Real));
    }
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_conv2d_grad_weight_plain() {
    return {"conv2d_grad_weight_plain", check<Real>, input_rectangle, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d_grad_weight_plain, make_conv2d_grad_weight_plain)
