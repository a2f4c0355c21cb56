// dx[c][y][x] = (bias[c] + residual + sum over k, r, s of dy[k][p][q] * w[k][c][r][s]), zero where the mask is; p, q
// with
//     y = p stride_h - pad_top + r dilation_h, x = q stride_w - pad_left + s dilation_w.
//
// inputs  dy blocked; w packed; [mask] of dx's shape; [residual] of dx's shape; [bias] (C)
// outputs dx blocked, or plain and alone
// attributes R, S, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups, [how w is packed: 0 as the
// forward's, 1 with its channels exchanged, 2 so too where a stride meets several taps: those of a phase together]
//
// Rows of one residue modulo stride_h see the same taps, and so do columns: each of the stride_h x stride_w phases is a
// convolution of dy with stride one, by those taps of the weights, transposed. No product is wasted. Taps of a phase
// lie together, as if they were a kernel of their own, phases in the order of (r dilation_h modulo stride_h, s
// dilation_w modulo stride_w): a step of one is all read, line by line. (Zen 3, 3 x 3 with stride 2, 0.92 to 0.96 of
// the time; one image of c512 k512 14 x 14 1.02.) Weights packed for the forward convolution are transposed on the way:
// both directions can share one packing. Blocks of dy's channels at either end that are zeros add nothing: of the
// gradient of one class, spread over its map, one block is left.
#include "ops/conv.hpp"

namespace convlens {
namespace {

// One residue of rows and columns: pixels (y0 + i stride_h, x0 + j stride_w) of dx, from pixel (p0 + i, q0 + j) of dy
// on.
struct Residue {
    std::int64_t y0, x0, first_tap, n_taps;
};

// Blocks of dy's channels, of an image.
struct Span {
    std::int64_t first, end;
};

struct Plan {
    PackedWeight forward, backward;  // the same if depthwise or exchanged
    ConvGrid grid;
    std::int64_t steps_a_pass, n_residues;
    std::int64_t stage_rows;  // of one residue, of a plain dx; 0: dx is blocked
    bool flat;
    bool in_place;  // w needs no transposing
    // Weights that outweigh dy are transposed by the task that uses them, a panel at a time, and never leave its cache.
    bool local;
    std::int64_t n_taps() const { return forward.R * forward.S; }
    // Those of a residue follow each other. With each its place in the kernel.
    ConvTap* taps() { return reinterpret_cast<ConvTap*>(this + 1); }
    const ConvTap* taps() const { return reinterpret_cast<const ConvTap*>(this + 1); }
    std::int64_t* places() { return reinterpret_cast<std::int64_t*>(taps() + n_taps()); }
    const std::int64_t* places() const { return reinterpret_cast<const std::int64_t*>(taps() + n_taps()); }
    Residue* residues() { return reinterpret_cast<Residue*>(places() + n_taps()); }
    const Residue* residues() const { return reinterpret_cast<const Residue*>(places() + n_taps()); }
};

bool is_exchanged(const Problem& p) { return p.attribute(kConvAttributes) != 0; }
bool has_phases(const ConvAttributes& a) { return a.stride_h * a.stride_w > 1 && a.R * a.S > 1; }

template <class Real>
PackedWeight backward_weight(const Problem& p) {
    const ConvAttributes a = ConvAttributes::of(p);
    return PackedWeight::make(p.outputs[0]->channels, p.inputs[0]->channels, a.R, a.S, a.groups, kLanes<Real>);
}
template <class Real>
PackedWeight forward_weight(const Problem& p) {
    if (is_exchanged(p)) return backward_weight<Real>(p);
    const ConvAttributes a = ConvAttributes::of(p);
    return PackedWeight::make(p.inputs[0]->channels, p.outputs[0]->channels, a.R, a.S, a.groups, kLanes<Real>);
}

constexpr std::int64_t kLocalBytes = 1 << 20;  // half of a second-level cache

template <class Real>
std::int64_t panel_bytes(const PackedWeight& w) {
    return w.steps * w.step_elements(w.panel_blocks) * static_cast<std::int64_t>(sizeof(Real));
}

template <class Real>
ConvGrid grid_of(const Problem& p, const PackedWeight& w) {
    const ConvAttributes a = ConvAttributes::of(p);
    const Tensor &dy = *p.inputs[0], &dx = *p.outputs[0];
    const std::int64_t size = sizeof(Real);
    const std::int64_t products = w.elements() * pixels_of(dx) / (a.stride_h * a.stride_w) * (w.depthwise ? 4 : 1);
    // What is cut are rows of one residue.
    if (w.depthwise) return ConvGrid::by_panels(ceil_div(dx.height, a.stride_h), w.panels, products, size);
    return ConvGrid::make(ceil_div(dx.height, a.stride_h), w.panels, products, size,
                          planes_of<Real>(dy) * plane_stride<Real>(dy) * size, w.elements() * size);
}
template <class Real>
bool is_local(const Problem& p, const ConvGrid& grid, const PackedWeight& w) {
    return !is_exchanged(p) && !w.depthwise && grid.weights_outside && w.panels >= 8 &&
           panel_bytes<Real>(w) <= kLocalBytes;
}

template <class Real>
std::int64_t stage_rows(const Problem& p, const PackedWeight& w, const ConvGrid& grid) {
    const Tensor& dx = *p.outputs[0];
    if (!is_plain(dx)) return 0;
    const std::int64_t row = ConvAttributes::of(p).stride_h * dx.width * w.panel_blocks * kBlockBytes;
    const std::int64_t strip = ceil_div(grid.rows, grid.strips), fit = max_of(1, kStageBytes / row);
    return panel_bytes<Real>(w) > kPanelBytes ? strip : ceil_div(strip, ceil_div(strip, fit));
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    const Instruction& i = *p.instruction;
    if (i.n_inputs < 2 || i.n_inputs > 5 || i.n_outputs != 1 || i.n_attributes < kConvAttributes ||
        i.n_attributes > kConvAttributes + 1) {
        return fail(Code::corrupt_file,
                    "conv2d_grad_input has %d inputs, %d outputs, %d attributes; it takes 2 to 5, 1, %d or one more",
                    i.n_inputs, i.n_outputs, i.n_attributes, kConvAttributes);
    }
    const ConvAttributes a = ConvAttributes::of(p);
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.inputs[0], "dy", Layout::blocked));
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(p.outputs[0], "dx"));
    const Tensor &dy = *p.inputs[0], &dx = *p.outputs[0];
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(dy.channels, dx.channels, a.R, a.S, a.groups));
    CONVLENS_RETURN_IF_ERROR(check_attributes(a));
    if (a.stride_h * a.stride_w > 1 << 20 || a.stride_h * a.stride_w * a.R * a.S > 1 << 26) {
        return fail(Code::unsupported, "`stride` (=%lld x %lld) must have at most 2^20 phases, 2^26 times the taps",
                    static_cast<long long>(a.stride_h), static_cast<long long>(a.stride_w));
    }
    const std::int64_t exchanged = has_phases(a) ? 2 : 1;
    if (is_exchanged(p) && p.attribute(kConvAttributes) != exchanged) {
        return fail(Code::corrupt_file, "exchanged weights of another order than %d", static_cast<int>(exchanged));
    }
    const PackedWeight w = forward_weight<Real>(p);
    CONVLENS_RETURN_IF_ERROR(check_packed<Real>(p.inputs[1], "w", w.elements()));
    if (p.inputs[2] != nullptr) CONVLENS_RETURN_IF_ERROR(check_mask<Real>(p.inputs[2], "mask", dx));
    if (p.inputs[3] != nullptr) CONVLENS_RETURN_IF_ERROR(check_residual<Real>(p.inputs[3], "residual", dx));
    if (p.inputs[4] != nullptr) CONVLENS_RETURN_IF_ERROR(check_vector<Real>(p.inputs[4], "bias", dx.channels));
    const PackedWeight b = backward_weight<Real>(p);
    const ConvGrid grid = grid_of<Real>(p, b);
    if (is_plain(dx)) {
        if (b.depthwise || has_halo(dx) || p.inputs[2] != nullptr || p.inputs[3] != nullptr) {
            return fail(Code::unsupported,
                        "`dx` with a halo, a mask or a residual, or depthwise, must have layout blocked");
        }
        scratch->per_thread_bytes = stage_rows<Real>(p, b, grid) * a.stride_h * dx.width * b.panel_blocks * kBlockBytes;
    }
    if (is_local<Real>(p, grid, b)) {
        scratch->per_thread_bytes += panel_bytes<Real>(b);
    } else if (!w.depthwise && !is_exchanged(p)) {
        scratch->fixed_bytes = b.elements() * static_cast<std::int64_t>(sizeof(Real));
    }
    scratch->per_image_bytes = kBlockBytes;
    return check_halo(dy, "dy", backward_rectangle(a, whole(dx)));
}

Rectangle input_rectangle(const Problem& p, int input, Rectangle r) {
    if (input == 0) return backward_rectangle(ConvAttributes::of(p), r);
    if (input == 3) return r;
    return {0, 0, 0, 0};
}

CONVLENS_COLD std::int64_t plan_bytes(const Problem& p) {
    const ConvAttributes a = ConvAttributes::of(p);
    return static_cast<std::int64_t>(sizeof(Plan)) + a.R * a.S * static_cast<std::int64_t>(sizeof(ConvTap) + 8) +
           a.stride_h * a.stride_w * static_cast<std::int64_t>(sizeof(Residue));
}

template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* memory) {
    Plan& plan = *static_cast<Plan*>(memory);
    const ConvAttributes a = ConvAttributes::of(p);
    const Tensor &dy = *p.inputs[0], &dx = *p.outputs[0];
    plan.forward = forward_weight<Real>(p);
    const PackedWeight w = plan.backward = backward_weight<Real>(p);
    plan.grid = grid_of<Real>(p, w);
    plan.local = is_local<Real>(p, plan.grid, w);
    plan.stage_rows = stage_rows<Real>(p, w, plan.grid);
    plan.in_place = w.depthwise || is_exchanged(p);
    plan.steps_a_pass = steps_a_pass(w, ceil_div(a.R, a.stride_h) * ceil_div(a.S, a.stride_w));
    const auto gapless = [](const Tensor* t) { return t == nullptr || t->halo_left + t->halo_right == 0; };
    plan.flat = a.R == 1 && a.S == 1 && a.stride_h == 1 && a.stride_w == 1 && a.pad_top == 0 && a.pad_left == 0 &&
                dx.width == dy.width && gapless(&dx) && gapless(&dy) && gapless(p.inputs[3]);

    // The rows of a residue, of a kernel's rows r with r dilation % stride = phase; likewise columns.
    const auto first_of = [](std::int64_t phase, std::int64_t pad, std::int64_t stride) {
        return phase - pad - floor_div(phase - pad, stride) * stride;
    };
    const std::int64_t tap = w.depthwise ? w.lanes : w.tap_elements(1);
    std::int64_t n_taps = 0;
    plan.n_residues = 0;
    for (std::int64_t i = 0; i < a.stride_h; ++i) {
        const std::int64_t y0 = first_of(i, a.pad_top, a.stride_h);
        for (std::int64_t j = 0; j < a.stride_w; ++j) {
            const std::int64_t x0 = first_of(j, a.pad_left, a.stride_w), first = n_taps;
            for (std::int64_t place = 0; place < a.R * a.S; ++place) {
                const std::int64_t r = place / a.S * a.dilation_h, s = place % a.S * a.dilation_w;
                if (r % a.stride_h != i || s % a.stride_w != j) continue;
                const std::int64_t y = (y0 + a.pad_top - r) / a.stride_h, x = (x0 + a.pad_left - s) / a.stride_w;
                plan.places()[n_taps] = place;
                plan.taps()[n_taps] = {y * row_stride<Real>(dy) + x * w.lanes,
                                       (w.depthwise ? place : n_taps - first) * tap};
                ++n_taps;
            }
            if (y0 < dx.height && x0 < dx.width) plan.residues()[plan.n_residues++] = {y0, x0, first, n_taps - first};
        }
    }
}

// ---- phase 0: where dy is zero ----

// A line an image.
Span& span_of(const Call& call, std::int64_t image) {
    return *reinterpret_cast<Span*>(call.image_scratch + image * kBlockBytes);
}

std::int64_t find_tasks(const Call& call) {
    return static_cast<const Plan*>(call.plan)->forward.groups == 1 ? call.n : 0;
}
template <class Real>
void find(const Call& call, std::int64_t image, int) {
    const Tensor& dy = *call.problem->inputs[0];
    const std::int64_t bytes = max_of(kBlockBytes, plane_stride<Real>(dy) * static_cast<std::int64_t>(sizeof(Real)));
    const char* first = call.inputs[0].data + image * call.inputs[0].image_stride;
    // The halo is zeros. Most blocks end at their first pixel.
    const auto zero = [=](std::int64_t block) {
        std::uint64_t word = 0;
        for (std::int64_t i = 0; i < bytes && word == 0; i += 8)
            std::memcpy(&word, first + block * bytes + i, sizeof(word));
        return word == 0;
    };
    Span span = {0, blocks_of<Real>(dy)};
    while (span.first + 1 < span.end && zero(span.first)) ++span.first;
    while (span.first + 1 < span.end && zero(span.end - 1)) --span.end;
    span_of(call, image) = span;
}

// ---- phase 1: transpose ----

std::int64_t transpose_units(const Plan& plan) {
    return plan.in_place || plan.local ? 0 : plan.backward.panels * plan.backward.steps;
}
template <class Real>
std::int64_t transpose_chunk(const Plan& plan) {
    return units_per_task(plan.backward.step_elements(plan.backward.panel_blocks) *
                          static_cast<std::int64_t>(sizeof(Real)));
}

template <class Real>
std::int64_t transpose_tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    return call.n == 0 ? 0 : ceil_div(transpose_units(plan), transpose_chunk<Real>(plan));
}

// A residue's weights of a panel, in those of all.
template <class Real>
Real* weight_of(const Plan& plan, const PackedPanel& panel, const Residue& residue, Real* all) {
    const PackedWeight& w = plan.backward;
    if (plan.local) return all + residue.first_tap * w.steps * w.tap_elements(panel.blocks);
    return all + (residue.first_tap * w.elements() + residue.n_taps * panel.offset) / plan.n_taps();
}

// All taps of one step (a block of dy's channels) of one panel (blocks of dx's).
template <class Real>
void transpose_step(const Call& call, const Plan& plan, std::int64_t p, std::int64_t step, Real* all) {
    alignas(kBlockBytes) static constexpr Real kZeros[kLanes<Real>] = {};
    const PackedWeight &f = plan.forward, &b = plan.backward;
    const PackedPanel to = b.panel(p);
    const std::int64_t k_block = to.first_step + step;
    const PackedPanel from = f.panel(f.panel_of(k_block));
    TransposeBlock<Real> square;
    square.output_step = to.blocks * b.lanes, square.output_next = b.tap_elements(to.blocks);
    for (std::int64_t i = 0; i < to.blocks; ++i, all += b.lanes) {
        const std::int64_t from_step = to.first_block + i - from.first_step;
        const Real* source = kZeros;  // of blocks whose groups do not meet
        square.source_step = square.source_next = 0;
        if (from_step >= 0 && from_step < f.steps) {
            const std::int64_t next = f.step_elements(from.blocks);
            source = reinterpret_cast<const Real*>(call.inputs[1].data) + from.offset + from_step * next +
                     (k_block - from.first_block) * f.lanes;
            square.source_step = from.blocks * f.lanes, square.source_next = f.tap_elements(from.blocks);
            // A panel's squares are far from the last panel's: memory would idle in between.
            for (std::int64_t row = 0; row < plan.n_taps() * b.lanes; ++row) {
                __builtin_prefetch(source + f.steps * next + row * square.source_step, 0, 2);
            }
        }
        for (std::int64_t k = 0; k < plan.n_residues; ++k) {
            const Residue& residue = plan.residues()[k];
            square.output = weight_of(plan, to, residue, all) + step * residue.n_taps * square.output_next;
            square.count = residue.n_taps == plan.n_taps() ? residue.n_taps : 1;  // without phases they lie apart alike
            for (std::int64_t t = 0; t < residue.n_taps; t += square.count, square.output += square.output_next) {
                square.source = source + plan.places()[residue.first_tap + t] * square.source_next;
                call.kernels->set<Real>().transpose_block(square);
            }
        }
    }
}

template <class Real>
void transpose(const Call& call, std::int64_t task, int) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const std::int64_t chunk = transpose_chunk<Real>(plan);
    for (std::int64_t unit = task * chunk; unit < min_of(transpose_units(plan), (task + 1) * chunk); ++unit) {
        const std::int64_t steps = plan.backward.steps;
        transpose_step<Real>(call, plan, unit / steps, unit % steps, reinterpret_cast<Real*>(call.fixed_scratch));
    }
}

// ---- phase 2: convolve ----

std::int64_t tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    if (plan.local) return call.n == 0 ? 0 : plan.backward.panels;
    return plan.grid.tasks(call.n);
}

// Rows [i0, i1) of one residue, in steps of the stride; where dx is plain, into `stage`.
template <class Real>
void run_residue(const Call& call, const Plan& plan, const Residue& residue, const PackedPanel& panel,
                 const Real* weight, std::int64_t image, std::int64_t i0, std::int64_t i1, Real* stage) {
    const PackedWeight& w = plan.backward;
    const ConvAttributes a = ConvAttributes::of(*call.problem);
    const Tensor& dx = *call.problem->outputs[0];
    const std::int64_t rows = min_of(i1, ceil_div(dx.height - residue.y0, a.stride_h)) - i0;
    const std::int64_t columns = ceil_div(dx.width - residue.x0, a.stride_w);
    if (rows <= 0) return;
    if (!w.depthwise) weight = weight_of(plan, panel, residue, weight);
    const std::int64_t y0 = residue.y0 + i0 * a.stride_h, block = panel.first_block;
    const auto strided = [&](auto operand) {
        widen(&operand, a.stride_h, a.stride_w);
        return operand;
    };

    ConvTile<Real> tile;
    if (stage == nullptr) {
        tile.output = strided(operand_at<Real>(call.outputs[0], image, block, y0, residue.x0));
    } else {
        const std::int64_t row = dx.width * w.lanes, dx_rows = min_of(dx.height, i1 * a.stride_h) - i0 * a.stride_h;
        tile.output =
            strided(ConvOperand<Real>{stage + residue.y0 * row + residue.x0 * w.lanes, row, w.lanes, dx_rows * row});
    }
    tile.rows = plan.flat ? 1 : rows, tile.columns = plan.flat ? rows * columns : columns;
    tile.blocks = panel.blocks;
    tile.last_lanes = last_lanes<Real>(dx.channels, block, panel.blocks);
    tile.taps = plan.taps() + residue.first_tap, tile.n_taps = residue.n_taps;
    tile.source = constant(operand_at<Real>(call.inputs[0], image, panel.first_step, i0, 0));
    tile.source_step = tile.source.block_step;
    tile.source.block_step = 0;
    if (call.inputs[2]) {
        const ConvOperand<std::uint8_t> keep = strided(mask_at<Real>(call.inputs[2], image, block, y0, residue.x0));
        tile.epilogue.keep = {keep.data, keep.row_step, keep.column_step, keep.block_step};
    }
    if (call.inputs[3]) {
        tile.epilogue.residual = strided(constant(operand_at<Real>(call.inputs[3], image, block, y0, residue.x0)));
    }
    if (call.inputs[4]) {
        tile.epilogue.bias = reinterpret_cast<const Real*>(call.inputs[4].data) + block * w.lanes;
    }
    if (w.depthwise) {
        tile.weight = weight;
        tile.finish = kConvEpilogue;
        return call.kernels->set<Real>().depthwise_tile(tile);
    }
    tile.weight_block_step = w.lanes;
    tile.weight_element_step = panel.blocks * w.lanes;
    tile.weight_step = residue.n_taps * w.tap_elements(panel.blocks);
    tile.weight_taps = panel.blocks;
    tile.source_element_step = 1;
    tile.elements = w.lanes;
    const std::int64_t pass = residue.n_taps == 0 ? w.steps : plan.steps_a_pass;
    const ConvEpilogue<Real> epilogue = tile.epilogue;
    const Real* source = tile.source.data;
    const Span span = w.groups == 1 ? span_of(call, image) : Span{0, w.steps};
    for (std::int64_t step = span.first / pass * pass; step < span.end; step += pass) {
        const std::int64_t first = max_of(step, span.first), end = min_of(step + pass, span.end);
        tile.steps = end - first;
        tile.last_elements = w.step_lanes(panel, end - 1);
        finish_pass(&tile, epilogue, first == span.first, end == span.end);
        tile.source.data = source + first * tile.source_step;
        tile.weight = weight + first * tile.weight_step;
        call.kernels->set<Real>().conv_tile(tile);
    }
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const PackedWeight& w = plan.backward;
    const ConvAttributes a = ConvAttributes::of(*call.problem);
    const Tensor& dx = *call.problem->outputs[0];
    ConvPiece piece;
    Real* panel_rows = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* stage = plan.stage_rows == 0 ? nullptr : panel_rows;
    if (plan.local) {
        piece = {0, call.n, 0, plan.grid.rows, task, task + 1};
        if (stage != nullptr) stage += panel_bytes<Real>(w) / static_cast<std::int64_t>(sizeof(Real));
        for (std::int64_t step = 0; step < w.steps; ++step) transpose_step<Real>(call, plan, task, step, panel_rows);
    } else {
        piece = piece_of(plan.grid, call.n, task);
    }
    const char* weights = plan.in_place ? call.inputs[1].data : call.fixed_scratch;
    for (std::int64_t image = piece.image0; image < piece.image1; ++image) {
        for (std::int64_t p = piece.panel0; p < piece.panel1; ++p) {
            const PackedPanel panel = w.panel(p);
            const Real* weight = plan.local ? panel_rows : reinterpret_cast<const Real*>(weights);
            if (w.depthwise) weight += panel.offset;
            const std::int64_t rows = plan.stage_rows > 0 ? plan.stage_rows : piece.row1 - piece.row0;
            for (std::int64_t row = piece.row0; row < piece.row1; row += rows) {
                const std::int64_t end = min_of(piece.row1, row + rows);
                for (std::int64_t i = 0; i < plan.n_residues; ++i) {
                    run_residue<Real>(call, plan, plan.residues()[i], panel, weight, image, row, end, stage);
                }
                const std::int64_t y0 = row * a.stride_h, y1 = min_of(dx.height, end * a.stride_h);
                if (stage != nullptr) leave_stage<Real>(call, image, panel, y0, y1, stage);
                for (std::int64_t b = 0; b < panel.blocks && stage == nullptr; ++b) {
                    zero_halo<Real>(call.outputs[0], image, panel.first_block + b, y0, y1);
                }
            }
        }
        if (stage != nullptr && piece.panel1 == plan.grid.panels && piece.row1 == plan.grid.rows) {
            zero_padding<Real>(call.outputs[0], image);
        }
    }
}

template <class Real>
constexpr Op make_conv2d_grad_input() {
    return {
        "conv2d_grad_input", check<Real>,
        input_rectangle,     plan_bytes,
        make_plan<Real>,     {{find_tasks, find<Real>}, {transpose_tasks<Real>, transpose<Real>}, {tasks, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d_grad_input, make_conv2d_grad_input)
