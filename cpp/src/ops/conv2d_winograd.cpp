// conv2d and conv2d_grad_input of 3 x 3 kernels with stride 1, dilation 1, one group, by Winograd's F(unit, 3):
// ops/winograd.hpp. A NaN or infinity reaches all of its tile.
//
// conv2d_winograd             inputs x blocked; w packed by pack_winograd, or pack_weight; [bias]; [residual]
//                             outputs y blocked; [mask]
//                             attributes those of conv2d, unit
// conv2d_grad_input_winograd  inputs dy blocked; w; [mask]; [residual]; [bias]
//                             outputs dx blocked
//                             attributes those of conv2d_grad_input; whether w is packed with its channels exchanged,
//                             or else by pack_weight for the forward convolution; unit
//
// A task takes some tiles in the order (image, row, column), whichever images they are of, and a group of panels. Where
// all tiles are one piece, V is made beforehand, for all groups; else a thread keeps what it made for the groups that
// follow. Many tiles at once read U, which is larger than any cache, or make it, seldom: that pays where V is beyond
// the second-level cache too. (Zen 4, one thread, V made once and 49 to 56 tiles instead of at most 28: c512 28 x 28
// 0.77 of the time, 8 images of c512 14 x 14 0.80, c64 56 x 56 0.93. Zen 3, up to 100 instead of 56: 5 images of c256
// 14 x 14 0.92, c64 56 x 56 0.96.) A tile's columns of the product are chains of
// their own, so that its bits are the same in whatever company. Weights that pack_weight packed are transformed on the
// way, some steps of a panel at a time, by the kernel that pack_winograd has, and those of a forward convolution
// exchanged for its gradient: the same bits.
#include "ops/winograd.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kFewTiles = 24, kManyTiles = 100;  // of a task: U is read, or made, for each
constexpr std::int64_t kTilesBytes = 3 << 20;             // of V, where it is not of few tiles
constexpr std::int64_t kEnoughTasks = 16, kLeastTasks = 2;
constexpr std::int64_t kChunkPositions = 144;  // times steps of U that are made at once

struct Plan {
    bool gradient;
    bool exchanges;  // channels of the weights, on the way
    std::int64_t unit, size, positions, top, left;
    PackedWeight packed, own;           // the same where nothing is exchanged
    std::int64_t rows, columns, tiles;  // of tiles in an image
    std::int64_t most_tiles;            // of a task
    std::int64_t chunk;                 // steps that are multiplied at once: all, or those of U that are made at once
    std::int64_t weight_step;           // from a position to the next
    bool stored;                        // U, rather than the weights themselves
};

// Both directions run the same code; which it is, an instruction says by its number of attributes, which check() keeps.
constexpr int kForwardAttributes = 12;
bool is_gradient(const Problem& p) { return p.instruction->n_attributes == kConvAttributes + 2; }
int bias_input(bool gradient) { return gradient ? 4 : 2; }

// The convolution of x that makes y.
ConvAttributes attributes_of(const Problem& p) {
    ConvAttributes a = ConvAttributes::of(p);
    if (is_gradient(p)) a.pad_top = 2 - a.pad_top, a.pad_left = 2 - a.pad_left;
    return a;
}

template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* memory) {
    Plan* plan = static_cast<Plan*>(memory);
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    const ConvAttributes a = attributes_of(p);
    plan->gradient = is_gradient(p), plan->top = a.pad_top, plan->left = a.pad_left;
    plan->unit = p.attribute(p.instruction->n_attributes - 1), plan->size = plan->unit + 2;
    plan->positions = positions_of(plan->unit);
    plan->own = position_weight<Real>(y.channels, x.channels);
    plan->exchanges = plan->gradient && p.attribute(kConvAttributes) == 0;
    plan->packed = plan->exchanges ? position_weight<Real>(x.channels, y.channels) : plan->own;
    plan->rows = ceil_div(y.height, plan->unit), plan->columns = ceil_div(y.width, plan->unit);
    plan->tiles = plan->rows * plan->columns;
    const std::int64_t lanes = kLanes<Real>, tile_bytes = plan->positions * plan->own.c_blocks * kBlockBytes;
    plan->stored = p.inputs[1]->channels != plan->packed.elements() * kTaps;
    plan->most_tiles = min_of(kManyTiles, max_of(kFewTiles, kTilesBytes / tile_bytes));
    if (plan->tiles <= kManyTiles) plan->most_tiles = max_of(plan->most_tiles, plan->tiles);
    plan->chunk = plan->stored ? plan->own.steps : min_of(plan->own.steps, kChunkPositions / plan->positions);
    plan->weight_step = plan->stored ? 0 : (plan->own.panel_blocks * plan->chunk * lanes + 1) * lanes;
}

// Elements from a position of V, or M, to the next, of some blocks and tiles. One block more: positions that are a
// power of two apart share lines of the cache.
std::int64_t position_step(const Plan& plan, std::int64_t blocks, std::int64_t tiles) {
    return (blocks * tiles + 1) * plan.own.lanes;
}
// Elements of a thread's scratch: V, M, U, and the taps of a step with channels exchanged.
std::int64_t input_elements(const Plan& plan) {
    return plan.positions * position_step(plan, plan.own.c_blocks, plan.most_tiles);
}
std::int64_t sums_elements(const Plan& plan) {
    return plan.positions * position_step(plan, plan.own.panel_blocks, plan.most_tiles);
}
std::int64_t weight_elements(const Plan& plan) { return plan.positions * plan.weight_step; }
std::int64_t turned_elements(const Plan& plan) {
    return plan.exchanges ? kTaps * plan.own.panel_blocks * plan.own.lanes * plan.own.lanes : 0;
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    const bool gradient = is_gradient(p);
    const ConvAttributes given = ConvAttributes::of(p), a = attributes_of(p);
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.inputs[0], "x", Layout::blocked));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(p.outputs[0], "y", Layout::blocked));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    CONVLENS_RETURN_IF_ERROR(check_attributes(given));
    if (a.R != 3 || a.S != 3 || a.stride_h * a.stride_w != 1 || a.dilation_h * a.dilation_w != 1 || a.groups != 1) {
        return fail(Code::corrupt_file,
                    "a Winograd convolution has a 3 x 3 kernel, stride 1, dilation 1 and one group");
    }
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(y.channels, x.channels, 3, 3, 1));
    CONVLENS_RETURN_IF_ERROR(check_unit(p.attribute(p.instruction->n_attributes - 1)));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[1], "w", DType::real));
    Plan plan;
    make_plan<Real>(p, &plan);
    const std::int64_t copies = plan.stored && !plan.exchanges ? plan.positions : kTaps;
    CONVLENS_RETURN_IF_ERROR(check_packed<Real>(p.inputs[1], "w", plan.packed.elements() * copies));
    const Tensor* bias = p.inputs[bias_input(gradient)];
    const Tensor* mask = gradient ? p.inputs[2] : p.outputs[1];
    if (bias != nullptr) CONVLENS_RETURN_IF_ERROR(check_vector<Real>(bias, "bias", y.channels));
    if (p.inputs[3] != nullptr) CONVLENS_RETURN_IF_ERROR(check_residual<Real>(p.inputs[3], "residual", y));
    if (mask != nullptr) CONVLENS_RETURN_IF_ERROR(check_mask<Real>(mask, "mask", y));
    if (!gradient) CONVLENS_RETURN_IF_ERROR(check_activation_attributes(p, kConvAttributes));
    const std::int64_t element = sizeof(Real);
    scratch->per_thread_bytes =
        kBlockBytes +
        (input_elements(plan) + sums_elements(plan) + weight_elements(plan) + turned_elements(plan)) * element;
    scratch->fixed_bytes = plan.tiles <= plan.most_tiles ? input_elements(plan) * element : 0;
    return check_halo(x, "x", forward_rectangle(a, whole(y)));
}

CONVLENS_COLD Status check_operands(const Problem& p, int inputs, int outputs, int attributes) {
    const Instruction& i = *p.instruction;
    if (i.n_inputs < 2 || i.n_inputs > inputs || i.n_outputs < 1 || i.n_outputs > outputs ||
        i.n_attributes != attributes + 1) {
        return fail(Code::corrupt_file, "the instruction has %d inputs, %d outputs, %d attributes", i.n_inputs,
                    i.n_outputs, i.n_attributes);
    }
    return {};
}
template <class Real>
CONVLENS_COLD Status check_forward(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_operands(p, 4, 2, kForwardAttributes));
    return check<Real>(p, scratch);
}
template <class Real>
CONVLENS_COLD Status check_gradient(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_operands(p, 5, 1, kConvAttributes + 1));
    return check<Real>(p, scratch);
}

Rectangle input_rectangle(const Problem& p, int input, Rectangle r) {
    if (input == 0) return forward_rectangle(attributes_of(p), r);
    if (input == 3) return r;
    return {0, 0, 0, 0};
}

CONVLENS_COLD std::int64_t plan_bytes(const Problem&) { return sizeof(Plan); }

// ---- the weights ----

template <class Real>
const Real* weights_of(const Call& call) {
    return reinterpret_cast<const Real*>(call.inputs[1].data);
}

// The taps of a step of a panel of dx's channels, from squares of a forward panel. What lies side by side is fetched
// together: a forward panel, the one after this.
template <class Real>
void transpose_taps(const Call& call, const Plan& plan, const PackedPanel& to, std::int64_t step, Real* output) {
    const PackedWeight &f = plan.packed, &b = plan.own;
    const PackedPanel from = f.panel(f.panel_of(step));
    const std::int64_t tap = f.tap_elements(from.blocks), next = kTaps * tap;
    const Real* source = weights_of<Real>(call) + kTaps * from.offset + to.first_block * next;
    const std::int64_t fetch = step == from.first_block ? to.blocks * next : 0;
    for (std::int64_t e = 0; e < fetch; e += f.lanes) __builtin_prefetch(source + f.steps * next + e, 0, 2);
    TransposeBlock<Real> square;
    square.source_step = from.blocks * f.lanes, square.source_next = next;
    square.output_step = to.blocks * f.lanes, square.output_next = f.lanes;
    square.count = to.blocks;
    for (std::int64_t t = 0; t < kTaps; ++t, source += tap, output += b.tap_elements(to.blocks)) {
        square.source = source + (step - from.first_block) * f.lanes, square.output = output;
        call.kernels->set<Real>().transpose_block(square);
    }
}

// U of the steps [s0, s1) of a panel, from the weights themselves.
template <class Real>
void transform(const Call& call, const Plan& plan, const PackedPanel& panel, std::int64_t s0, std::int64_t s1,
               Real* turned, Real* output) {
    WinogradWeight<Real> a;
    a.unit = static_cast<int>(plan.unit), a.position_step = plan.weight_step;
    a.tap_step = a.count = plan.own.tap_elements(panel.blocks);
    for (std::int64_t step = s0; step < s1; ++step) {
        if (plan.exchanges) transpose_taps(call, plan, panel, step, turned);
        a.source = plan.exchanges ? turned : weights_of<Real>(call) + kTaps * (panel.offset + step * a.count);
        a.output = output + (step - s0) * a.count;
        call.kernels->set<Real>().winograd_weight(a);
    }
}

// ---- the convolution ----

struct Grid {
    std::int64_t pieces, groups;  // of tiles, of panels
    std::int64_t tiles;           // of the largest piece: from a block to the next
    std::int64_t input_step, sums_step;
};
CONVLENS_COLD Grid grid_of(const Plan& plan, std::int64_t n) {
    const std::int64_t tiles = n * plan.tiles;
    const std::int64_t products = tiles * plan.positions * plan.own.elements();
    const std::int64_t wanted = min_of(kEnoughTasks, max_of(1, products / kTaskProducts));
    const std::int64_t halves = min_of(ceil_div(min_of(wanted, kLeastTasks), plan.own.panels), tiles / kFewTiles);
    const std::int64_t pieces = max_of(1, max_of(halves, ceil_div(tiles, plan.most_tiles)));
    const std::int64_t most = ceil_div(tiles, pieces);
    return {pieces, min_of(ceil_div(wanted, pieces), plan.own.panels), most,
            position_step(plan, plan.own.c_blocks, most), position_step(plan, plan.own.panel_blocks, most)};
}
CONVLENS_COLD std::int64_t tasks(const Call& call) {
    const Grid grid = grid_of(*static_cast<const Plan*>(call.plan), call.n);
    return call.n == 0 ? 0 : grid.pieces * grid.groups;
}

// Calls work(image, row, column0, column1, tiles before) for the tiles [t0, t1) of all images, a row of tiles at a
// time.
template <class Work>
void each_row(const Plan& plan, std::int64_t t0, std::int64_t t1, Work work) {
    for (std::int64_t t = t0; t < t1;) {
        const std::int64_t image = t / plan.tiles, row = t % plan.tiles / plan.columns, column = t % plan.columns;
        const std::int64_t count = min_of(t1 - t, plan.columns - column);
        work(image, row, column, column + count, t - t0);
        t += count;
    }
}

// V of the tiles [t0, t1) and some blocks: those that reach beyond the halo from copies with zeros there.
template <class Real>
__attribute__((noinline)) void gather(const Call& call, const Plan& plan, const Grid& grid, std::int64_t t0,
                                      std::int64_t t1, std::int64_t block0, std::int64_t block1, Real* input) {
    const Tensor& x = *call.problem->inputs[0];
    const std::int64_t lanes = kLanes<Real>, size = plan.size, unit = plan.unit;
    const std::int64_t bottom = x.height + x.halo_bottom, right = x.width + x.halo_right;
    const auto run = [&](const Real* first, std::int64_t row, std::int64_t column, std::int64_t tiles, Real* to) {
        WinogradInput<Real> a;
        a.unit = static_cast<int>(unit), a.tiles = tiles, a.next = unit * lanes;
        a.source = first, a.row_step = row, a.column_step = column;
        if (plan.gradient) {
            a.source += (size - 1) * (row + column), a.row_step = -row, a.column_step = -column;
        }
        a.output = to, a.position_step = grid.input_step;
        call.kernels->set<Real>().winograd_input(a);
    };
    input += block0 * grid.tiles * lanes;
    for (std::int64_t block = block0; block < block1; ++block, input += grid.tiles * lanes) {
        each_row(
            plan, t0, t1,
            [&](std::int64_t image, std::int64_t row, std::int64_t c0, std::int64_t c1, std::int64_t before) {
                const std::int64_t y = row * unit - plan.top, rows = min_of(size, bottom - y);
                const std::int64_t inside = rows < size ? 0 : floor_div(right + plan.left - size, unit) + 1;
                const ConvOperand<Real> from = operand_at<Real>(call.inputs[0], image, block, y, c0 * unit - plan.left);
                const std::int64_t simple = max_of(0, min_of(c1, inside) - c0);
                if (simple > 0) run(from.data, from.row_step, lanes, simple, input + before * lanes);
                for (std::int64_t c = c0 + simple; c < c1; ++c) {
                    alignas(kBlockBytes) Real patch[6 * 6 * kLanes<Real>] = {};
                    const std::int64_t columns = min_of(size, right + plan.left - c * unit);
                    for (std::int64_t r = 0; r < rows && columns > 0; ++r) {
                        std::memcpy(patch + r * size * lanes, from.data + (c - c0) * unit * lanes + r * from.row_step,
                                    static_cast<std::size_t>(columns * kBlockBytes));
                    }
                    run(patch, size * lanes, lanes, 1, input + (before + c - c0) * lanes);
                }
            });
    }
}

// A tile's operands from its last pixel to its first.
template <class T>
void turn(ConvOperand<T>* o, std::int64_t unit) {
    if (o->data == nullptr) return;
    o->data += (unit - 1) * (o->row_step + o->column_step);
    o->row_step = -o->row_step, o->column_step = -o->column_step;
}

// y of the tiles [t0, t1), from M.
template <class Real>
void finish(const Call& call, const Plan& plan, const Grid& grid, const PackedPanel& panel, std::int64_t t0,
            std::int64_t t1, const Real* sums) {
    const View& bias = call.inputs[bias_input(plan.gradient)];
    const Tensor& y = *call.problem->outputs[0];
    const std::int64_t lanes = kLanes<Real>, unit = plan.unit, block = panel.first_block;
    each_row(plan, t0, t1,
             [&](std::int64_t image, std::int64_t row, std::int64_t c0, std::int64_t c1, std::int64_t before) {
                 const std::int64_t y0 = row * unit, x0 = c0 * unit, rows = min_of(unit, y.height - y0);
                 WinogradOutput<Real> a;
                 ConvTile<Real>& tile = a.tile;
                 tile.output = operand_at<Real>(call.outputs[0], image, block, y0, x0);
                 tile.blocks = panel.blocks, tile.last_lanes = last_lanes<Real>(y.channels, block, panel.blocks);
                 tile.finish = kConvEpilogue;
                 ConvEpilogue<Real>& e = tile.epilogue;
                 if (bias) e.bias = reinterpret_cast<const Real*>(bias.data) + block * lanes;
                 if (call.inputs[3]) e.residual = constant(operand_at<Real>(call.inputs[3], image, block, y0, x0));
                 if (!plan.gradient) {
                     if (call.outputs[1]) e.positive = mask_at<Real>(call.outputs[1], image, block, y0, x0);
                     e.activation = static_cast<int>(call.attribute(9));
                     e.low = attribute_real<Real>(call, 10), e.high = attribute_real<Real>(call, 11);
                 } else if (call.inputs[2]) {
                     const ConvOperand<std::uint8_t> keep = mask_at<Real>(call.inputs[2], image, block, y0, x0);
                     e.keep = {keep.data, keep.row_step, keep.column_step, keep.block_step};
                 }
                 a.unit = static_cast<int>(unit), a.next_columns = unit;
                 a.position_step = grid.sums_step, a.block_step = grid.tiles * lanes;
                 a.row0 = 0, a.row1 = rows;
                 if (plan.gradient) {
                     turn(&tile.output, unit), turn(&e.residual, unit), turn(&e.keep, unit);
                     a.next_columns = -unit, a.row0 = unit - rows, a.row1 = unit;
                 }
                 // Whole tiles, then the one that the edge cuts.
                 const std::int64_t whole_tiles = min_of(c1, y.width / unit) - c0;
                 for (std::int64_t c = 0; c < c1 - c0; c += a.tiles) {
                     a.tiles = c < whole_tiles ? whole_tiles : 1;
                     const std::int64_t columns = min_of(unit, y.width - (c0 + c) * unit);
                     a.column0 = plan.gradient ? unit - columns : 0, a.column1 = a.column0 + columns;
                     a.sums = sums + (before + c) * lanes;
                     const auto move = [&](auto* operand) {
                         if (operand->data != nullptr) operand->data += c * a.next_columns * operand->column_step;
                     };
                     move(&tile.output), move(&e.residual), move(&e.keep), move(&e.positive);
                     call.kernels->set<Real>().winograd_output(a);
                 }
                 for (std::int64_t b = 0; b < panel.blocks && c0 == 0; ++b) {
                     zero_halo<Real>(call.outputs[0], image, block + b, y0, y0 + rows);
                 }
             });
}

void fetch_share(const char* weights, std::int64_t bytes, std::int64_t share, std::int64_t shares) {
    for (std::int64_t at = share * bytes / shares; at < (share + 1) * bytes / shares; at += kBlockBytes) {
        __builtin_prefetch(weights + at, 0, 2);
    }
}

// Adds the steps [s0, s1) to M of all positions and a panel: a row of a tile's product is a tile, its lanes channels.
// `coming`, which the next steps are made from, of this panel or the next one, is called in meanwhile: while products
// are summed nothing else comes from memory.
template <class Real>
void multiply(const Call& call, const Plan& plan, const Grid& grid, const PackedPanel& panel, std::int64_t s0,
              std::int64_t s1, std::int64_t tiles, const Real* input, const Real* weights, Real* sums,
              const char* coming, std::int64_t coming_bytes) {
    constexpr ConvTap kHere = {0, 0};
    const PackedWeight& w = plan.own;
    ConvTile<Real> tile;
    tile.rows = 1, tile.columns = tiles, tile.blocks = panel.blocks, tile.last_lanes = w.lanes;
    tile.taps = &kHere, tile.n_taps = 1, tile.resume = s0 > 0;
    tile.steps = s1 - s0, tile.source_step = grid.tiles * w.lanes;
    tile.source = {input + s0 * tile.source_step, grid.input_step, w.lanes, 0}, tile.source_element_step = 1;
    tile.elements = w.lanes, tile.last_elements = w.step_lanes(panel, s1 - 1);
    tile.weight = weights, tile.weight_block_step = w.lanes, tile.weight_element_step = panel.blocks * w.lanes;
    tile.weight_step = w.tap_elements(panel.blocks);
    tile.output = {sums, grid.sums_step, w.lanes, grid.tiles * w.lanes};
    const std::int64_t weight_step = plan.stored ? position_elements(w, panel) : plan.weight_step;
    if (call.kernels->ordered) {  // as rows with weights of their own
        tile.rows = plan.positions, tile.weight_row_step = weight_step;
        if (coming_bytes > 0) tile.coming = coming;
        tile.coming_lines = ceil_div(coming_bytes, plan.positions * tile.steps * kBlockBytes);
        return call.kernels->set<Real>().conv_tile(tile);
    }
    for (std::int64_t i = 0; i < plan.positions; ++i) {
        fetch_share(coming, coming_bytes, i, plan.positions);
        call.kernels->set<Real>().conv_tile(tile);
        tile.source.data += grid.input_step, tile.output.data += grid.sums_step, tile.weight += weight_step;
    }
}

// ---- phase before: V, where one piece is of several tasks; else, that no thread has made any ----

constexpr std::int64_t kGatherBlocks = 4;  // of channels, of a task

bool is_shared(const Plan& plan, const Grid& grid) {
    return grid.pieces == 1 && grid.groups > 1 && plan.tiles <= plan.most_tiles;
}
// One more than the piece a thread's V is of, 0 before it made any. Tasks of a piece follow each other.
std::int64_t& piece_in(const Call& call, int thread) {
    return *reinterpret_cast<std::int64_t*>(call.thread_scratch + thread * call.thread_scratch_stride);
}
template <class Real>
Real* thread_input(const Call& call, int thread) {
    return reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride + kBlockBytes);
}
template <class Real>
Real* shared_input(const Call& call) {
    return reinterpret_cast<Real*>(call.fixed_scratch);
}

CONVLENS_COLD std::int64_t gather_tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    if (call.n == 0) return 0;
    return is_shared(plan, grid_of(plan, call.n)) ? ceil_div(plan.own.c_blocks, kGatherBlocks) : 1;
}
template <class Real>
CONVLENS_COLD void gather_shared(const Call& call, std::int64_t task, int) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const Grid grid = grid_of(plan, call.n);
    if (!is_shared(plan, grid)) {
        for (int i = 0; i < call.threads; ++i) piece_in(call, i) = 0;
        return;
    }
    const std::int64_t first = task * kGatherBlocks, last = min_of(plan.own.c_blocks, first + kGatherBlocks);
    gather<Real>(call, plan, grid, 0, call.n * plan.tiles, first, last, shared_input<Real>(call));
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const PackedWeight& w = plan.own;
    const Grid grid = grid_of(plan, call.n);
    const std::int64_t tiles = call.n * plan.tiles, piece = task / grid.groups, group = task % grid.groups;
    const std::int64_t t0 = piece * tiles / grid.pieces, t1 = (piece + 1) * tiles / grid.pieces;
    Real* input = thread_input<Real>(call, thread);
    Real* sums = input + input_elements(plan);
    Real* made = sums + sums_elements(plan);
    Real* turned = made + weight_elements(plan);
    if (is_shared(plan, grid)) {
        input = shared_input<Real>(call);
    } else if (piece_in(call, thread) != piece + 1) {
        gather<Real>(call, plan, grid, t0, t1, 0, w.c_blocks, input);
        piece_in(call, thread) = piece + 1;
    }
    for (std::int64_t p = group * w.panels / grid.groups; p < (group + 1) * w.panels / grid.groups; ++p) {
        const PackedPanel panel = w.panel(p);
        for (std::int64_t s0 = 0, s1; s0 < w.steps; s0 = s1) {
            s1 = min_of(w.steps, s0 + plan.chunk);
            if (!plan.stored) transform<Real>(call, plan, panel, s0, s1, turned, made);
            const Real* weights = plan.stored ? weights_of<Real>(call) + panel.offset * plan.positions : made;
            const std::int64_t step = kTaps * w.tap_elements(panel.blocks);
            const Real* coming = weights_of<Real>(call) + kTaps * panel.offset + s1 * step;
            const std::int64_t bytes =
                plan.stored || plan.exchanges ? 0 : (s1 - s0) * step * std::int64_t{sizeof(Real)};
            multiply<Real>(call, plan, grid, panel, s0, s1, t1 - t0, input, weights, sums,
                           reinterpret_cast<const char*>(coming), bytes);
        }
        finish<Real>(call, plan, grid, panel, t0, t1, sums);
    }
    if (plan.gradient || !call.outputs[1] || (group + 1) != grid.groups) return;
    for (std::int64_t image = t0 / plan.tiles; (image + 1) * plan.tiles <= t1; ++image) {
        zero_padding<Real>(call.outputs[1], image);
    }
}

template <class Real>
constexpr Op make_forward() {
    return {"conv2d_winograd", check_forward<Real>, input_rectangle,
            plan_bytes,        make_plan<Real>,     {{gather_tasks, gather_shared<Real>}, {tasks, run<Real>}}};
}
template <class Real>
constexpr Op make_gradient() {
    return {"conv2d_grad_input_winograd",
            check_gradient<Real>,
            input_rectangle,
            plan_bytes,
            make_plan<Real>,
            {{gather_tasks, gather_shared<Real>}, {tasks, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d_winograd, make_forward)
CONVLENS_DEFINE_OP(conv2d_grad_input_winograd, make_gradient)
