// dw[k][c][r][s] = sum over images, p, q of
//     dy[k][p][q] * x[c][p stride_h - pad_top + r dilation_h][q stride_w - pad_left + s dilation_w]; c of k's group.
//
// inputs  dy blocked; x blocked, or plain
// outputs dw packed
// attributes R, S, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups
//
// The tile changes roles: its lanes are output channels from dy, its rows input channels of x (or the taps of a
// kernel's row where those are more), and it reduces over the pixels of a unit. Units are a few rows of an image or a
// few images, so that chains stay short; their sums are added up in a fixed number of partials, and these as a tree.
// Both numbers depend on shapes and n alone.
#include "ops/conv.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kUnitPixels = 192;  // of dy: two blocks of them and one of x stay in the first-level cache
constexpr std::int64_t kMostTasks = 32;

struct Plan {
    PackedWeight weight;
    std::int64_t rows_a_unit, strips, images_a_unit;
    std::int64_t most_partials, steps_a_task;
    bool rows_are_taps;
    ConvTap rows[1];  // of a unit: where they begin in x and dy
};

template <class Real>
PackedWeight weight_of(const Problem& p) {
    const ConvAttributes a = ConvAttributes::of(p);
    return PackedWeight::make(p.inputs[0]->channels, p.inputs[1]->channels, a.R, a.S, a.groups, kLanes<Real>);
}

template <class Real>
Plan shape_of(const Problem& p) {
    Plan plan{};
    const ConvAttributes a = ConvAttributes::of(p);
    const Tensor& dy = *p.inputs[0];
    const PackedWeight w = plan.weight = weight_of<Real>(p);
    plan.strips = ceil_div(dy.height, min_of(dy.height, max_of(1, kUnitPixels / dy.width)));
    plan.rows_a_unit = ceil_div(dy.height, plan.strips);
    plan.strips = ceil_div(dy.height, plan.rows_a_unit);
    plan.images_a_unit = plan.strips > 1 ? 1 : max_of(1, kUnitPixels / pixels_of(dy));
    plan.rows_are_taps = min_of(w.C, w.lanes) < a.S;
    // Large weights are enough tasks by themselves, one step of one panel each; small ones are summed in partials.
    const std::int64_t squares = w.panels * w.steps;
    plan.steps_a_task = ceil_div(w.steps, max_of(1, kMostTasks / w.panels));
    plan.most_partials = max_of(1, kMostTasks / squares);
    return plan;
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    const ConvAttributes a = ConvAttributes::of(p);
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.inputs[0], "dy", Layout::blocked));
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(p.inputs[1], "x"));
    const Tensor &dy = *p.inputs[0], &x = *p.inputs[1];
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(dy.channels, x.channels, a.R, a.S, a.groups));
    CONVLENS_RETURN_IF_ERROR(check_attributes(a));
    const PackedWeight w = weight_of<Real>(p);
    if (w.depthwise && x.layout == Layout::plain && !one_pixel(x)) {
        return fail(Code::unsupported, "`x` of a depthwise convolution must have layout blocked");
    }
    CONVLENS_RETURN_IF_ERROR(check_packed<Real>(p.outputs[0], "dw", w.elements()));
    const Plan plan = shape_of<Real>(p);
    if (plan.most_partials > 1) {
        const std::int64_t bytes = round_up(w.elements() * static_cast<std::int64_t>(sizeof(Real)), kBlockBytes);
        scratch->fixed_bytes = plan.most_partials * bytes;
    }
    return check_halo(x, "x", forward_rectangle(a, whole(dy)));
}

Rectangle input_rectangle(const Problem& p, int input, Rectangle) {
    if (input == 0) return whole(*p.inputs[0]);
    return forward_rectangle(ConvAttributes::of(p), whole(*p.inputs[0]));
}

template <class Real>
CONVLENS_COLD std::int64_t plan_bytes(const Problem& p) {
    return static_cast<std::int64_t>(sizeof(Plan)) +
           shape_of<Real>(p).rows_a_unit * static_cast<std::int64_t>(sizeof(ConvTap));
}

template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* memory) {
    Plan& plan = *static_cast<Plan*>(memory);
    plan = shape_of<Real>(p);
    const std::int64_t x_row = ConvAttributes::of(p).stride_h * row_stride<Real>(*p.inputs[1]);
    for (std::int64_t i = 0; i < plan.rows_a_unit; ++i) {
        plan.rows[i] = {i * x_row, i * row_stride<Real>(*p.inputs[0])};
    }
}

std::int64_t units(const Plan& plan, std::int64_t n) { return ceil_div(n, plan.images_a_unit) * plan.strips; }
std::int64_t partials(const Plan& plan, std::int64_t n) {
    return max_of(1, min_of(plan.most_partials, units(plan, n)));
}
std::int64_t step_groups(const Plan& plan) { return ceil_div(plan.weight.steps, plan.steps_a_task); }

// Where partial sums go: straight to dw when there is one.
template <class Real>
Real* partial_at(const Call& call, const Plan& plan, std::int64_t partial) {
    if (partials(plan, call.n) == 1) return reinterpret_cast<Real*>(call.outputs[0].data);
    return reinterpret_cast<Real*>(call.fixed_scratch) + partial * plan.weight.elements();
}

// ---- phase 0: sums of a run of units, for some steps of one panel ----

template <class Real>
std::int64_t tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    return partials(plan, call.n) * plan.weight.panels * step_groups(plan);
}

struct Unit {
    std::int64_t image, images, row, rows;
};
Unit unit_at(const Plan& plan, std::int64_t unit, std::int64_t n, std::int64_t height) {
    const std::int64_t image = unit / plan.strips * plan.images_a_unit, row = unit % plan.strips * plan.rows_a_unit;
    return {image, min_of(plan.images_a_unit, n - image), row, min_of(plan.rows_a_unit, height - row)};
}

// Adds a unit's products to one step of a panel.
template <class Real>
void add_unit(const Call& call, const Plan& plan, const PackedPanel& panel, std::int64_t step, const Unit& unit,
              Real* output) {
    const PackedWeight& w = plan.weight;
    const ConvAttributes a = ConvAttributes::of(*call.problem);
    const Tensor &dy = *call.problem->inputs[0], &x = *call.problem->inputs[1];
    const bool plain = x.layout == Layout::plain;
    const std::int64_t lanes = w.step_lanes(panel, step), c_block = panel.first_step + step, size = sizeof(Real);
    const ConvOperand<Real> grad = operand_at<Real>(call.inputs[0], unit.image, panel.first_block, unit.row, 0);
    const ConvOperand<Real> source = operand_at<Real>(call.inputs[1], unit.image, plain ? c_block * w.lanes : c_block,
                                                      unit.row * a.stride_h - a.pad_top, -a.pad_left);
    const std::int64_t channel_step = plain ? source.block_step : 1, tap_step = a.dilation_w * source.column_step;
    const std::int64_t width = panel.blocks * w.lanes;

    ConvTile<Real> tile;
    tile.rows = 1, tile.blocks = panel.blocks;
    tile.last_lanes = last_lanes<Real>(dy.channels, panel.first_block, panel.blocks);
    tile.output.block_step = w.lanes;
    tile.weight = grad.data, tile.weight_block_step = grad.block_step;
    tile.weight_element_step = w.lanes, tile.source_element_step = a.stride_w * source.column_step;
    tile.elements = tile.last_elements = dy.width;
    tile.taps = plan.rows, tile.n_taps = unit.rows;
    tile.steps = unit.images;
    tile.source_step = call.inputs[1].image_stride / size, tile.weight_step = call.inputs[0].image_stride / size;
    tile.finish = kConvAdd;
    tile.columns = plan.rows_are_taps ? a.S : lanes;
    tile.source.column_step = plan.rows_are_taps ? tap_step : channel_step;
    tile.output.column_step = plan.rows_are_taps ? w.lanes * width : width;
    for (std::int64_t r = 0; r < a.R; ++r) {
        for (std::int64_t i = 0; i < (plan.rows_are_taps ? lanes : a.S); ++i) {
            const std::int64_t c = plan.rows_are_taps ? i : 0, s = plan.rows_are_taps ? 0 : i;
            tile.output.data = output + ((r * a.S + s) * w.lanes + c) * width;
            tile.source.data = source.data + r * a.dilation_h * source.row_step + s * tap_step + c * channel_step;
            call.kernels->set<Real>().conv_tile(tile);
        }
    }
}

template <class Real>
void add_depthwise(const Call& call, const Plan& plan, const PackedPanel& panel, const Unit& unit, Real* output) {
    const PackedWeight& w = plan.weight;
    const ConvAttributes a = ConvAttributes::of(*call.problem);
    DepthwiseGradWeight<Real> sum;
    sum.rows = unit.rows, sum.columns = call.problem->inputs[0]->width;
    for (std::int64_t i = unit.image; i < unit.image + unit.images; ++i) {
        sum.grad = constant(operand_at<Real>(call.inputs[0], i, panel.first_block, unit.row, 0));
        const ConvOperand<Real> source =
            operand_at<Real>(call.inputs[1], i, panel.first_block, unit.row * a.stride_h - a.pad_top, -a.pad_left);
        sum.source = constant(source);
        widen(&sum.source, a.stride_h, a.stride_w);
        sum.taps = a.S, sum.source_tap_step = a.dilation_w * source.column_step;
        for (std::int64_t r = 0; r < a.R; ++r) {
            sum.output = output + r * a.S * w.lanes;
            sum.source.data = source.data + r * a.dilation_h * source.row_step;
            call.kernels->set<Real>().depthwise_grad_weight(sum);
        }
    }
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const PackedWeight& w = plan.weight;
    const std::int64_t group = task % step_groups(plan), p = task / step_groups(plan) % w.panels;
    const std::int64_t partial = task / step_groups(plan) / w.panels, count = partials(plan, call.n);
    const std::int64_t unit0 = partial * units(plan, call.n) / count,
                       unit1 = (partial + 1) * units(plan, call.n) / count;
    const std::int64_t step0 = group * plan.steps_a_task, step1 = min_of(w.steps, step0 + plan.steps_a_task);
    const PackedPanel panel = w.panel(p);
    Real* output = partial_at<Real>(call, plan, partial) + panel.offset;
    const auto zero = [](Real* from, std::int64_t elements) {
        std::memset(static_cast<void*>(from), 0, static_cast<std::size_t>(elements) * sizeof(Real));
    };
    const std::int64_t height = call.problem->inputs[0]->height;
    if (w.depthwise) {
        zero(output, w.R * w.S * w.lanes);
        for (std::int64_t u = unit0; u < unit1; ++u) {
            add_depthwise<Real>(call, plan, panel, unit_at(plan, u, call.n, height), output);
        }
        return;
    }
    zero(output + step0 * w.step_elements(panel.blocks), (step1 - step0) * w.step_elements(panel.blocks));
    for (std::int64_t u = unit0; u < unit1; ++u) {
        for (std::int64_t step = step0; step < step1; ++step) {
            add_unit<Real>(call, plan, panel, step, unit_at(plan, u, call.n, height),
                           output + step * w.step_elements(panel.blocks));
        }
    }
}

// ---- phase 1: the sum over partials, and zeros between channels of different groups ----

constexpr std::int64_t kCombineBlocks = 512;

bool has_holes(const PackedWeight& w) {
    return w.groups > 1 && !w.depthwise && (w.C / w.groups % w.lanes != 0 || w.K / w.groups % w.lanes != 0);
}

std::int64_t combine_tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    if (has_holes(plan.weight)) return plan.weight.panels;
    if (partials(plan, call.n) == 1) return 1;  // what pads dw to 64 bytes, if anything
    return ceil_div(plan.weight.elements(), kCombineBlocks * plan.weight.lanes);
}

template <class Real>
void combine_range(const Call& call, const Plan& plan, std::int64_t first, std::int64_t elements) {
    if (partials(plan, call.n) == 1) return;
    ConvCombine<Real> sum;
    sum.partials = partial_at<Real>(call, plan, 0) + first;
    sum.n_partials = partials(plan, call.n), sum.partial_step = plan.weight.elements();
    sum.output = reinterpret_cast<Real*>(call.outputs[0].data) + first;
    sum.blocks = elements / plan.weight.lanes, sum.last_lanes = plan.weight.lanes;
    call.kernels->set<Real>().conv_combine(sum);
}

template <class Real>
void combine(const Call& call, std::int64_t task, int) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const PackedWeight& w = plan.weight;
    if (has_holes(w)) {
        const PackedPanel panel = w.panel(task);
        combine_range<Real>(call, plan, panel.offset, w.steps * w.step_elements(panel.blocks));
        Real* dw = reinterpret_cast<Real*>(call.outputs[0].data);
        for_each_run(
            w, task, [](std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {},
            [&](std::int64_t at, std::int64_t count) {
                for (std::int64_t l = 0; l < count; ++l) dw[at + l] = 0;
            });
    } else {
        const std::int64_t first = task * kCombineBlocks * w.lanes;
        combine_range<Real>(call, plan, first, min_of(kCombineBlocks * w.lanes, w.elements() - first));
    }
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_conv2d_grad_weight() {
    return {"conv2d_grad_weight", check<Real>,     input_rectangle,
            plan_bytes<Real>,     make_plan<Real>, {{tasks<Real>, run<Real>}, {combine_tasks, combine<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d_grad_weight, make_conv2d_grad_weight)
