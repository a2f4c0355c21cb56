// dw[k][c][h][w] = sum over images i of dy[i][k] * x[i][c][h][w]
//
// inputs  dy (K, 1, 1) blocked; x (C, H, W), blocked or plain
// outputs dw packed as a convolution (K, C, H, W), not batched; zeros when there is no image
//
// To the register tile a row is a pixel, a column a channel of x, and an element of the reduction an image. Images are
// added in their order: there are enough weights to share between threads, whatever their number.
#include "ops/linear.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, 0));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.inputs[0], "dy", Layout::blocked));
    CONVLENS_RETURN_IF_ERROR(check_features<Real>(p.inputs[0], "dy"));
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(p.inputs[1], "x"));
    return check_linear_weight<Real>(p.outputs[0], "dw", *p.inputs[0], *p.inputs[1]);
}

// A unit is a row of pixels of a block of x's channels, for a panel of outputs.
struct Units {
    std::int64_t count, per_task;
};
template <class Real>
Units units_of(const Call& call, const PackedWeight& w) {
    const std::int64_t size = sizeof(Real), elements = w.S * w.tap_elements(w.panel_blocks);
    const std::int64_t by_work = kTaskProducts * 4 / size / (elements * max_of(1, call.n));
    return {w.panels * w.steps * w.R, max_of(1, min_of(by_work, units_per_task(elements * size)))};
}

template <class Real>
PackedWeight weight_of(const Call& call) {
    return linear_weight<Real>(*call.problem->inputs[0], *call.problem->inputs[1]);
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Units units = units_of<Real>(call, weight_of<Real>(call));
    return ceil_div(units.count, units.per_task);
}

template <class Real>
void run_unit(const Call& call, const PackedWeight& w, const PackedPanel& panel, std::int64_t step, std::int64_t row) {
    const Tensor& x = *call.problem->inputs[1];
    const bool plain = x.layout == Layout::plain;
    const std::int64_t width = panel.blocks * w.lanes, tap_elements = w.tap_elements(panel.blocks);
    const std::int64_t channels = call.n == 0 ? 0 : w.step_lanes(panel, step);
    Real* output =
        reinterpret_cast<Real*>(call.outputs[0].data) + panel.offset + (step * w.R + row) * w.S * tap_elements;
    // Channels that pad the block, or all when there is no image: the tile would read none either.
    for (std::int64_t s = 0; s < w.S && channels < w.lanes; ++s) {
        std::memset(static_cast<void*>(output + s * tap_elements + channels * width), 0,
                    static_cast<std::size_t>((w.lanes - channels) * width) * sizeof(Real));
    }
    if (call.n == 0) return;

    ConvTap tap = {0, 0};
    ConvTile<Real> tile;
    tile.output = {output, tap_elements, width, w.lanes};
    tile.rows = w.S, tile.columns = channels, tile.blocks = panel.blocks;
    tile.last_lanes = last_lanes<Real>(w.K, panel.first_block, panel.blocks);
    tile.source = constant(operand_at<Real>(call.inputs[1], 0, plain ? step * w.lanes : step, row, 0));
    tile.source.row_step = pixel_elements<Real>(x), tile.source.block_step = 0;
    tile.source.column_step = plain ? plane_stride<Real>(x) : 1;
    tile.source_element_step = image_step<Real>(call.inputs[1]);
    tile.weight = images_at<Real>(call.inputs[0], 0, panel.first_block, 0, 0).data;
    tile.weight_block_step = w.lanes;
    tile.weight_element_step = image_step<Real>(call.inputs[0]);
    tile.taps = &tap, tile.n_taps = 1, tile.steps = 1;
    tile.elements = tile.last_elements = call.n;
    call.kernels->set<Real>().conv_tile(tile);
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const PackedWeight w = weight_of<Real>(call);
    const Units units = units_of<Real>(call, w);
    for (std::int64_t u = task * units.per_task; u < min_of(units.count, (task + 1) * units.per_task); ++u) {
        run_unit<Real>(call, w, w.panel(u / (w.steps * w.R)), u / w.R % w.steps, u % w.R);
    }
}

template <class Real>
constexpr Op make_linear_grad_weight() {
    return {"linear_grad_weight", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(linear_grad_weight, make_linear_grad_weight)
