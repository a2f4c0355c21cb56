// y[k][p][q] = activation(bias[k] + residual[k][p][q] + sum over c, r, s of
//     x[c][p stride_h - pad_top + r dilation_h][q stride_w - pad_left + s dilation_w] * w[k][c][r][s]); c of k's group.
//
// inputs  x blocked, or plain; w packed; [bias] (K); [residual] blocked, of y's shape
// outputs y blocked, or plain and alone; [mask] y > 0, of a clip low < y < high
// attributes R, S, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups, activation (0 none, 1 relu,
//     2 clip), low (real), high (real)
//
// Padding is x's halo: the kernel never asks where it is.
#include "ops/conv.hpp"

namespace convlens {
namespace {

struct Plan {
    PackedWeight weight;
    ConvGrid grid;
    std::int64_t steps_a_pass;
    std::int64_t stage_rows;  // of a plain y, computed in blocks beforehand; 0: y is blocked
    bool flat;                // rows of x and y follow each other without a gap: a strip is one run of pixels
    // With fewer channels than the kernel has columns, a tap is a channel of a kernel's row, its elements the columns:
    // starting a tap costs as much as two elements.
    bool elements_are_columns;
    std::int64_t n_taps;
    ConvTap taps[1];
};

template <class Real>
PackedWeight weight_of(const Problem& p) {
    const ConvAttributes a = ConvAttributes::of(p);
    return PackedWeight::make(p.outputs[0]->channels, p.inputs[0]->channels, a.R, a.S, a.groups, kLanes<Real>);
}

template <class Real>
ConvGrid grid_of(const Problem& p, const PackedWeight& w) {
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    const std::int64_t size = sizeof(Real);
    const std::int64_t products = w.elements() * pixels_of(y) * (w.depthwise ? 4 : 1);  // a load for every product
    if (w.depthwise) return ConvGrid::by_panels(y.height, w.panels, products, size);
    return ConvGrid::make(y.height, w.panels, products, size, planes_of<Real>(x) * plane_stride<Real>(x) * size,
                          w.elements() * size);
}

// Rows of y that are computed before they leave their blocks: a few, unless the weights would be read again and again.
template <class Real>
std::int64_t stage_rows(const Problem& p, const PackedWeight& w, const ConvGrid& grid) {
    const Tensor& y = *p.outputs[0];
    if (!is_plain(y)) return 0;
    const std::int64_t strip = ceil_div(y.height, grid.strips);
    const std::int64_t fit = max_of(1, kStageBytes / (y.width * w.panel_blocks * kBlockBytes));
    const std::int64_t bytes = w.steps * w.step_elements(w.panel_blocks) * static_cast<std::int64_t>(sizeof(Real));
    return bytes > kPanelBytes ? strip : ceil_div(strip, ceil_div(strip, fit));
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    const Instruction& i = *p.instruction;
    if (i.n_inputs < 2 || i.n_inputs > 4 || i.n_outputs < 1 || i.n_outputs > 2 || i.n_attributes != 12) {
        return fail(Code::corrupt_file, "conv2d has %d inputs, %d outputs, %d attributes; it takes 2 to 4, 1 or 2, 12",
                    i.n_inputs, i.n_outputs, i.n_attributes);
    }
    const ConvAttributes a = ConvAttributes::of(p);
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(p.inputs[0], "x"));
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(p.outputs[0], "y"));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(y.channels, x.channels, a.R, a.S, a.groups));
    CONVLENS_RETURN_IF_ERROR(check_attributes(a));
    const PackedWeight w = weight_of<Real>(p);
    if (w.depthwise && x.layout == Layout::plain && !one_pixel(x)) {
        return fail(Code::unsupported, "`x` of a depthwise convolution must have layout blocked");
    }
    CONVLENS_RETURN_IF_ERROR(check_packed<Real>(p.inputs[1], "w", w.elements()));
    if (p.inputs[2] != nullptr) CONVLENS_RETURN_IF_ERROR(check_vector<Real>(p.inputs[2], "bias", y.channels));
    if (p.inputs[3] != nullptr) CONVLENS_RETURN_IF_ERROR(check_residual<Real>(p.inputs[3], "residual", y));
    if (p.outputs[1] != nullptr) CONVLENS_RETURN_IF_ERROR(check_mask<Real>(p.outputs[1], "mask", y));
    CONVLENS_RETURN_IF_ERROR(check_activation_attributes(p, kConvAttributes));
    if (is_plain(y)) {
        if (w.depthwise || has_halo(y) || p.inputs[3] != nullptr || p.outputs[1] != nullptr) {
            return fail(Code::unsupported,
                        "`y` with a halo, a residual or a mask, or depthwise, must have layout blocked");
        }
        scratch->per_thread_bytes =
            stage_rows<Real>(p, w, grid_of<Real>(p, w)) * y.width * w.panel_blocks * kBlockBytes;
    }
    return check_halo(x, "x", forward_rectangle(a, whole(y)));
}

Rectangle input_rectangle(const Problem& p, int input, Rectangle r) {
    if (input == 0) return forward_rectangle(ConvAttributes::of(p), r);
    if (input == 3) return r;
    return {0, 0, 0, 0};
}

CONVLENS_COLD std::int64_t plan_bytes(const Problem& p) {
    return static_cast<std::int64_t>(sizeof(Plan)) +
           p.attribute(0) * p.attribute(1) * static_cast<std::int64_t>(sizeof(ConvTap));
}

template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* memory) {
    Plan& plan = *static_cast<Plan*>(memory);
    const ConvAttributes a = ConvAttributes::of(p);
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    const PackedWeight w = plan.weight = weight_of<Real>(p);
    plan.grid = grid_of<Real>(p, w);
    plan.steps_a_pass = steps_a_pass(w, a.R * a.S);
    plan.stage_rows = stage_rows<Real>(p, w, plan.grid);
    const auto gapless = [&](const Tensor* t) { return t == nullptr || t->halo_left + t->halo_right == 0; };
    plan.flat = a.R == 1 && a.S == 1 && a.stride_h == 1 && a.stride_w == 1 && a.pad_top == 0 && a.pad_left == 0 &&
                x.width == y.width && gapless(&x) && gapless(&y) && gapless(p.inputs[3]);
    // Weight offsets depend on the panel's width; taps hold those of one block.
    plan.elements_are_columns = !w.depthwise && w.groups == 1 && x.channels < a.S;
    const std::int64_t tap = w.depthwise ? w.lanes : w.tap_elements(1);
    const std::int64_t channel = x.layout == Layout::plain ? plane_stride<Real>(x) : 1;
    plan.n_taps = 0;
    for (std::int64_t r = 0; r < a.R; ++r) {
        const std::int64_t row = r * a.dilation_h * row_stride<Real>(x);
        for (std::int64_t i = 0; i < (plan.elements_are_columns ? x.channels : a.S); ++i) {
            ConvTap& t = plan.taps[plan.n_taps++];
            if (plan.elements_are_columns) {
                t = {row + i * channel, r * a.S * tap + i * w.lanes};
            } else {
                t = {row + i * a.dilation_w * pixel_elements<Real>(x), (r * a.S + i) * tap};
            }
        }
    }
}

template <class Real>
std::int64_t tasks(const Call& call) {
    return static_cast<const Plan*>(call.plan)->grid.tasks(call.n);
}

template <class Real>
ConvEpilogue<Real> epilogue_at(const Call& call, std::int64_t image, const PackedPanel& panel, std::int64_t row) {
    ConvEpilogue<Real> e;
    if (call.inputs[2]) e.bias = reinterpret_cast<const Real*>(call.inputs[2].data) + panel.first_block * kLanes<Real>;
    if (call.inputs[3]) e.residual = constant(operand_at<Real>(call.inputs[3], image, panel.first_block, row, 0));
    if (call.outputs[1]) e.positive = mask_at<Real>(call.outputs[1], image, panel.first_block, row, 0);
    e.activation = static_cast<int>(call.attribute(9));
    e.low = attribute_real<Real>(call, 10), e.high = attribute_real<Real>(call, 11);
    return e;
}

// Rows [row0, row1) of a panel's channels of one image; where y is plain, into `stage`.
template <class Real>
void run_panel(const Call& call, const Plan& plan, std::int64_t image, std::int64_t p, std::int64_t row0,
               std::int64_t row1, Real* stage) {
    const PackedWeight& w = plan.weight;
    const PackedPanel panel = w.panel(p);
    const ConvAttributes a = ConvAttributes::of(*call.problem);
    const Tensor &x = *call.problem->inputs[0], &y = *call.problem->outputs[0];
    const bool plain = x.layout == Layout::plain;

    ConvTile<Real> tile;
    if (stage == nullptr) {
        tile.output = operand_at<Real>(call.outputs[0], image, panel.first_block, row0, 0);
    } else {
        tile.output = {stage, y.width * w.lanes, w.lanes, (row1 - row0) * y.width * w.lanes};
        const std::int64_t plane = pixels_of(y), first = panel.first_block * w.lanes * plane + row0 * y.width;
        tile.ahead = {image_data<Real>(call.outputs[0], image) + first, y.width, 1, w.lanes * plane};
        tile.ahead_lane_step = plane;
    }
    tile.rows = plan.flat ? 1 : row1 - row0;
    tile.columns = plan.flat ? (row1 - row0) * y.width : y.width;
    tile.blocks = panel.blocks;
    tile.last_lanes = last_lanes<Real>(y.channels, panel.first_block, panel.blocks);
    tile.taps = plan.taps;
    tile.n_taps = plan.n_taps;
    tile.epilogue = epilogue_at<Real>(call, image, panel, row0);

    const std::int64_t channels_a_step = plain ? kLanes<Real> : 1;  // in planes of x
    tile.source = constant(operand_at<Real>(call.inputs[0], image, panel.first_step * channels_a_step,
                                            row0 * a.stride_h - a.pad_top, -a.pad_left));
    tile.source_step = channels_a_step * tile.source.block_step;
    tile.source_element_step = plain ? tile.source.block_step : 1;
    tile.source.block_step = 0;
    widen(&tile.source, a.stride_h, a.stride_w);
    tile.weight = reinterpret_cast<const Real*>(call.inputs[1].data) + panel.offset;

    if (w.depthwise) {
        tile.finish = kConvEpilogue;
        tile.elements = a.stride_w == 1 && a.dilation_w == 1 ? a.S : 0;
        call.kernels->set<Real>().depthwise_tile(tile);
    } else if (plan.elements_are_columns) {
        tile.weight_block_step = w.lanes;
        tile.weight_element_step = w.tap_elements(panel.blocks);
        tile.weight_taps = panel.blocks;
        tile.steps = 1;
        tile.elements = tile.last_elements = a.S;
        tile.source_element_step = a.dilation_w * pixel_elements<Real>(x);
        tile.finish = kConvEpilogue;
        call.kernels->set<Real>().conv_tile(tile);
    } else {
        tile.weight_block_step = w.lanes;
        tile.weight_element_step = panel.blocks * w.lanes;
        tile.weight_step = w.step_elements(panel.blocks);
        tile.weight_taps = panel.blocks;
        tile.elements = w.lanes;
        const ConvEpilogue<Real> epilogue = tile.epilogue;
        for (std::int64_t step = 0; step < w.steps; step += plan.steps_a_pass) {
            tile.steps = min_of(plan.steps_a_pass, w.steps - step);
            tile.last_elements = w.step_lanes(panel, step + tile.steps - 1);
            finish_pass(&tile, epilogue, step == 0, step + tile.steps == w.steps);
            tile.weight_ahead = tile.steps * tile.weight_step * static_cast<std::int64_t>(sizeof(Real));
            call.kernels->set<Real>().conv_tile(tile);
            tile.source.data += tile.steps * tile.source_step;
            tile.weight += tile.steps * tile.weight_step;
        }
    }
    for (std::int64_t b = 0; b < panel.blocks && stage == nullptr; ++b) {
        zero_halo<Real>(call.outputs[0], image, panel.first_block + b, row0, row1);
    }
}

// The same rows of a plain y: computed in blocks a few at a time, which leave for their planes while they are cached.
template <class Real>
void run_plain(const Call& call, const Plan& plan, std::int64_t image, std::int64_t p, std::int64_t row0,
               std::int64_t row1, Real* stage) {
    const PackedPanel panel = plan.weight.panel(p);
    for (std::int64_t row = row0; row < row1; row += plan.stage_rows) {
        const std::int64_t end = min_of(row1, row + plan.stage_rows);
        run_panel<Real>(call, plan, image, p, row, end, stage);
        leave_stage<Real>(call, image, panel, row, end, stage);
    }
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const ConvPiece piece = piece_of(plan.grid, call.n, task);
    Real* stage = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    for (std::int64_t image = piece.image0; image < piece.image1; ++image) {
        for (std::int64_t p = piece.panel0; p < piece.panel1; ++p) {
            if (plan.stage_rows > 0) {
                run_plain<Real>(call, plan, image, p, piece.row0, piece.row1, stage);
            } else {
                run_panel<Real>(call, plan, image, p, piece.row0, piece.row1, nullptr);
            }
        }
        if (plan.stage_rows > 0 && piece.panel1 == plan.grid.panels && piece.row1 == plan.grid.rows) {
            zero_padding<Real>(call.outputs[0], image);
        }
        if (call.outputs[1] && piece.panel1 == plan.grid.panels && piece.row1 == plan.grid.rows) {
            zero_padding<Real>(call.outputs[1], image);
        }
    }
}

template <class Real>
void run_rows(const Call& call, std::int64_t row0, std::int64_t row1) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    for (std::int64_t p = 0; p < plan.grid.panels; ++p) run_panel<Real>(call, plan, 0, p, row0, row1, nullptr);
}

template <class Real>
constexpr Op make_conv2d() {
    return {"conv2d",      check<Real>, input_rectangle, plan_bytes, make_plan<Real>, {{tasks<Real>, run<Real>}},
            run_rows<Real>};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d, make_conv2d)
