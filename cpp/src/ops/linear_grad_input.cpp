// dx[c][h][w] = (sum over k of dy[k] * w[k][c][h][w]) + residual[c][h][w], zero where the mask is
//
// inputs  dy (K, 1, 1), blocked or plain; w packed as a convolution (K, C, H, W); [mask], [residual] of dx's shape
// outputs dx (C, H, W), blocked; of one pixel also plain
//
// The tile wants weights with C in the lanes. A task transposes those of a few pixels at a time into scratch of its
// thread, so a layer's weights are in memory once. For few images they do not leave the registers. The sums are the
// same either way.
#include "ops/linear.hpp"

namespace convlens {
namespace {

// A unit is a block of channels at one pixel. Packed weights of consecutive units lie side by side: a run of them is a
// run of memory in every panel. As many as leave their transposed weights in the second-level cache.
constexpr std::int64_t kFewestUnits = 4, kMostUnits = 32;
constexpr std::int64_t kRunBytes = 256 << 10;
constexpr std::int64_t kTaskWeightBytes = 64 << 10;
// Transposing costs as much as multiplying with some ten images: 28 in a group, where there are as many. Partial sums
// of more than 56 leave the second-level cache.
constexpr std::int64_t kFewestImages = 28, kMostImages = 56;
// For up to so many images weights are multiplied as they are transposed, in runs of kFewUnits. Their sums go through
// memory once for each block of K, and at the end: with few blocks that is soon more than a copy of the weights costs.
// Runs are longer where there are fewer images yet: memory stands still between them. (Zen 4, one image, 25088 from
// 4096, runs of 128 instead of 16: 0.88 of the time.)
constexpr std::int64_t kFewImages = 16, kFewUnits = 16, kMostFewUnits = 128;
constexpr std::int64_t kFewPieces = 8;

struct Plan {
    PackedWeight weight;
    Split chunks;                   // of blocks of K
    Split unit_groups, few_groups;  // for few images
    std::int64_t units_a_run, images_per_task, few_images;

    const Split& groups(std::int64_t n) const { return n <= few_images ? few_groups : unit_groups; }
    // Of a run of few images, whose sums take as much scratch as kFewUnits of the most.
    std::int64_t few_units(std::int64_t n) const { return min_of(kMostFewUnits, kFewUnits * few_images / n); }
    std::int64_t chunk_outputs() const { return chunks.longest() * weight.lanes; }
    // Elements a unit's weights take in scratch.
    std::int64_t panel_elements() const { return chunk_outputs() * weight.lanes; }
};

template <class Real>
Plan plan_of(const Problem& p) {
    Plan plan{};
    const PackedWeight w = plan.weight = linear_weight<Real>(*p.inputs[0], *p.outputs[0]);
    const std::int64_t units = w.steps * w.R * w.S, size = sizeof(Real);
    plan.chunks = {w.k_blocks, min_of(w.k_blocks, chunks_of(w.K))};
    plan.units_a_run = max_of(kFewestUnits, min_of(kMostUnits, kRunBytes / (plan.panel_elements() * size)));
    const std::int64_t most = max_of(1, w.elements() * size / kTaskWeightBytes);
    plan.unit_groups = {units, min_of(most, ceil_div(units, plan.units_a_run))};
    plan.few_images = min_of(kFewImages, 2 + w.k_blocks);
    const std::int64_t piece = min_of(kMostFewUnits, max_of(kFewUnits, ceil_div(units, kFewPieces)));
    plan.few_groups = {units, min_of(most, ceil_div(units, piece))};
    const std::int64_t products = w.elements() / plan.unit_groups.parts;
    plan.images_per_task = max_of(kFewestImages, kTaskProducts * 4 / size / products);
    if (plan.chunks.parts > 1) plan.images_per_task = min_of(plan.images_per_task, kMostImages);
    return plan;
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    const Instruction& i = *p.instruction;
    if (i.n_inputs < 2 || i.n_inputs > 4 || i.n_outputs != 1 || i.n_attributes != 0) {
        return fail(Code::corrupt_file,
                    "linear_grad_input has %d inputs, %d outputs, %d attributes; it takes 2 to 4, 1, none", i.n_inputs,
                    i.n_outputs, i.n_attributes);
    }
    CONVLENS_RETURN_IF_ERROR(check_features<Real>(p.inputs[0], "dy"));
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(p.outputs[0], "dx"));
    const Tensor &dy = *p.inputs[0], &dx = *p.outputs[0];
    if (dx.layout == Layout::plain && !one_pixel(dx)) {
        return fail(Code::corrupt_file, "`dx` (%d x %d x %d) must have layout blocked", dx.channels, dx.height,
                    dx.width);
    }
    CONVLENS_RETURN_IF_ERROR(check_linear_weight<Real>(p.inputs[1], "w", dy, dx));
    CONVLENS_RETURN_IF_ERROR(check_apart(dx, "dx", dy, "dy"));
    if (p.inputs[2] != nullptr) CONVLENS_RETURN_IF_ERROR(check_mask<Real>(p.inputs[2], "mask", dx));
    if (p.inputs[3] != nullptr) CONVLENS_RETURN_IF_ERROR(check_residual<Real>(p.inputs[3], "residual", dx));

    const Plan plan = plan_of<Real>(p);
    const std::int64_t partials = plan.chunks.parts * kBlockBytes;
    std::int64_t bytes = plan.panel_elements() * static_cast<std::int64_t>(sizeof(Real));
    if (plan.chunks.parts > 1) bytes += plan.images_per_task * partials;
    scratch->per_thread_bytes = max_of(plan.units_a_run * bytes, kFewUnits * plan.few_images * partials);
    return {};
}

CONVLENS_COLD std::int64_t plan_bytes(const Problem&) { return sizeof(Plan); }
template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* memory) {
    *static_cast<Plan*>(memory) = plan_of<Real>(p);
}

std::int64_t tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    return plan.groups(call.n).parts * image_groups(call.n, plan.images_per_task).parts;
}

struct Place {
    std::int64_t step, tap, y, x;
};

// What a run of units works on.
template <class Real>
struct Run {
    const Call& call;
    const Plan& plan;
    std::int64_t unit0, units, image0, image1;
    Real* panels;                 // [unit][k][lane]; nullptr for few images
    Real* partials;               // [image][chunk][unit][lane]; nullptr when the tile finishes the sums
    Place places[kMostFewUnits];  // of its units

    void find_places() {
        const PackedWeight& w = plan.weight;
        const std::int64_t taps = w.R * w.S, tap = unit0 % taps;
        Place p = {unit0 / taps, tap, tap / w.S, tap % w.S};
        for (std::int64_t u = 0; u < units; ++u) {
            places[u] = p;
            ++p.tap, ++p.x;
            if (p.x == w.S) p.x = 0, ++p.y;
            if (p.y == w.R) p.y = 0, p.tap = 0, ++p.step;
        }
    }
    Real* partial(std::int64_t image, std::int64_t chunk) const {
        return partials + (image * plan.chunks.parts + chunk) * units * plan.weight.lanes;
    }
    // The weights of its first unit in a panel.
    const Real* weight_of(const PackedPanel& panel) const {
        return reinterpret_cast<const Real*>(call.inputs[1].data) + panel.offset +
               unit0 * plan.weight.tap_elements(panel.blocks);
    }
    std::int64_t lanes_of(std::int64_t u) const { return last_lanes<Real>(plan.weight.C, places[u].step, 1); }
    template <class T>
    using Operand = ConvOperand<T> (*)(const View&, std::int64_t, std::int64_t, std::int64_t, std::int64_t);
    template <class T>
    ConvOperand<T> at(Operand<T> operand, const View& view, std::int64_t u) const {
        return operand(view, image0, places[u].step, places[u].y, places[u].x);
    }
    // Units as blocks: two, wherever they lie, or more that lie a step apart.
    template <class T>
    ConvOperand<T> blocks(Operand<T> operand, const View& view, std::int64_t u, std::int64_t count) const {
        ConvOperand<T> first = at(operand, view, u);
        if (count > 1) first.block_step = at(operand, view, u + 1).data - first.data;
        return first;
    }
};

// A panel's weights of the units are far from the last panel's: without a word ahead, memory would idle in between.
template <class Real>
void prefetch(const Run<Real>& r, const PackedPanel& panel) {
    const PackedWeight& w = r.plan.weight;
    const std::int64_t unit_bytes = w.tap_elements(panel.blocks) * static_cast<std::int64_t>(sizeof(Real));
    const char* weight = reinterpret_cast<const char*>(r.weight_of(panel));
    for (std::int64_t at = 0; at < r.units * unit_bytes; at += kBlockBytes) {
        __builtin_prefetch(weight + at, 0, 2);
    }
}

// Blocks [first, end) of K.
struct Span {
    std::int64_t first, end;
};

// A chunk without the blocks before the first and behind the last that any image has a gradient in: they would add
// zeros. Of the seed of a class one block is left, and its weights alone are read.
template <class Real>
Span gradients_of(const Run<Real>& r, std::int64_t chunk) {
    const PackedWeight& w = r.plan.weight;
    const std::int64_t begin = r.plan.chunks.first(chunk), end = r.plan.chunks.first(chunk + 1);
    const auto zero = [&](std::int64_t block) {
        const std::int64_t k1 = min_of(w.K, (block + 1) * w.lanes);
        for (std::int64_t image = r.image0; image < r.image1; ++image) {
            const Real* dy = images_at<Real>(r.call.inputs[0], image, 0, 0, 0).data;
            for (std::int64_t k = block * w.lanes; k < k1; ++k) {
                if (dy[k] != Real(0)) return false;
            }
        }
        return true;
    };
    Span span = {begin, end};
    while (span.first + 1 < span.end && zero(span.first)) ++span.first;
    while (span.first + 1 < span.end && zero(span.end - 1)) --span.end;
    return span;
}

// Transposes a span's weights of all units.
template <class Real>
void transpose(const Run<Real>& r, Span span) {
    const PackedWeight& w = r.plan.weight;
    for (std::int64_t k = span.first; k < span.end; ++k) {
        const std::int64_t p = w.panel_of(k);
        const PackedPanel panel = w.panel(p);
        const bool more = p + 1 < w.panels && w.panel(p + 1).first_block < span.end;
        if (k == panel.first_block && more) prefetch(r, w.panel(p + 1));
        TransposeBlock<Real> t;
        t.source = r.weight_of(panel) + (k - panel.first_block) * w.lanes;
        t.source_step = panel.blocks * w.lanes;
        t.source_next = w.tap_elements(panel.blocks);
        t.output = r.panels + (k - span.first) * w.lanes * w.lanes;
        t.output_step = w.lanes;
        t.output_next = r.plan.panel_elements();
        t.count = r.units;
        r.call.kernels->template set<Real>().transpose_block(t);
    }
}

// A chunk of all units, for few images.
template <class Real>
void multiply(const Run<Real>& r, std::int64_t chunk, Span span) {
    const PackedWeight& w = r.plan.weight;
    const std::int64_t images = r.image1 - r.image0;
    for (std::int64_t i = 0; i < images; ++i) {
        std::memset(r.partial(i, chunk), 0, static_cast<std::size_t>(r.units * kBlockBytes));
    }
    TransposedProduct<Real> a;
    a.source_step = image_step<Real>(r.call.inputs[0]);
    a.count = r.units, a.images = images;
    a.output = r.partial(0, chunk), a.output_step = r.partial(1, chunk) - a.output;
    for (std::int64_t k = span.first, end; k < span.end; k = end) {
        const std::int64_t p = w.panel_of(k);
        const PackedPanel panel = w.panel(p);
        end = min_of(span.end, panel.first_block + panel.blocks);
        a.source = images_at<Real>(r.call.inputs[0], r.image0, k, 0, 0).data;
        a.elements = min_of(w.K, end * w.lanes) - k * w.lanes;
        a.weight = r.weight_of(panel) + (k - panel.first_block) * w.lanes;
        a.weight_step = panel.blocks * w.lanes, a.weight_next = w.tap_elements(panel.blocks);
        a.next = end < span.end ? r.weight_of(w.panel(p + 1)) : a.weight;
        r.call.kernels->template set<Real>().transposed_product(a);
    }
}

template <class Real>
ConvEpilogue<Real> epilogue_at(const Run<Real>& r, std::int64_t u, std::int64_t units) {
    const View &mask = r.call.inputs[2], &residual = r.call.inputs[3];
    ConvEpilogue<Real> e;
    if (mask) e.keep = constant(r.blocks(mask_images_at<Real>, mask, u, units));
    if (residual) e.residual = constant(r.blocks(images_at<Real>, residual, u, units));
    return e;
}

// A chunk of one unit, or of two of which the first has all its lanes; `span` holds what it has to add.
template <class Real>
void run_units(const Run<Real>& r, std::int64_t u, std::int64_t units, std::int64_t chunk, Span span) {
    const Plan& plan = r.plan;
    const PackedWeight& w = plan.weight;
    const Call& call = r.call;
    const std::int64_t k0 = span.first * w.lanes;
    ConvTap tap = {0, 0};
    ConvTile<Real> tile;
    tile.rows = 1, tile.columns = r.image1 - r.image0, tile.blocks = units;
    tile.source.data = images_at<Real>(call.inputs[0], r.image0, 0, 0, 0).data + k0;
    tile.source.column_step = image_step<Real>(call.inputs[0]);
    tile.weight = r.panels + u * plan.panel_elements();
    tile.weight_block_step = plan.panel_elements();
    tile.taps = &tap, tile.n_taps = 1, tile.steps = 1;
    tile.elements = tile.last_elements = min_of(w.K, span.end * w.lanes) - k0;
    tile.source_element_step = 1, tile.weight_element_step = w.lanes;
    if (r.partials != nullptr) {
        Real* partial = r.partial(0, chunk);
        tile.output = {partial + u * w.lanes, 0, r.partial(1, chunk) - partial, w.lanes};
        tile.last_lanes = w.lanes;
    } else {
        tile.output = r.blocks(images_at<Real>, call.outputs[0], u, units);
        tile.last_lanes = r.lanes_of(u + units - 1);
        tile.exact = is_exact(*call.problem->outputs[0]);
        tile.finish = kConvEpilogue;
        tile.epilogue = epilogue_at(r, u, units);
    }
    call.kernels->set<Real>().conv_tile(tile);
}

// Units whose pixels follow each other, of which all but the last have all their lanes.
template <class Real>
void combine(const Run<Real>& r, std::int64_t u, std::int64_t units) {
    const Call& call = r.call;
    ConvCombine<Real> a;
    a.n_partials = r.plan.chunks.parts, a.partial_step = r.units * kLanes<Real>;
    a.partials = r.partial(0, 0) + u * kLanes<Real>;
    const ConvOperand<Real> output = r.at(images_at<Real>, call.outputs[0], u);
    a.output = output.data;
    a.blocks = units, a.last_lanes = r.lanes_of(u + units - 1);
    a.exact = is_exact(*call.problem->outputs[0]);
    a.finish = true;
    a.epilogue = epilogue_at(r, u, units);
    ConvOperand<const std::uint8_t>& keep = a.epilogue.keep;
    ConvOperand<const Real>& residual = a.epilogue.residual;
    for (std::int64_t image = r.image0; image < r.image1; ++image) {
        call.kernels->set<Real>().conv_combine(a);
        a.partials += a.n_partials * a.partial_step;
        a.output += output.column_step;
        if (keep.data != nullptr) keep.data += keep.column_step;
        if (residual.data != nullptr) residual.data += residual.column_step;
    }
}

template <class Real>
void run_all(const Run<Real>& r) {
    const Plan& plan = r.plan;
    const Tensor& dx = *r.call.problem->outputs[0];
    std::int64_t units;
    for (std::int64_t chunk = 0; chunk < plan.chunks.parts; ++chunk) {
        const Span span = gradients_of(r, chunk);
        if (r.panels == nullptr) {
            multiply(r, chunk, span);
            continue;
        }
        transpose(r, span);
        for (std::int64_t u = 0; u < r.units; u += units) {
            // A tile's blocks have all lanes but for its last one.
            units = u + 1 < r.units && r.lanes_of(u) == kLanes<Real> ? 2 : 1;
            run_units(r, u, units, chunk, span);
        }
    }
    const auto joins = [&](std::int64_t u) {
        return u < r.units && r.lanes_of(u - 1) == kLanes<Real> && (one_pixel(dx) || r.places[u].x > 0);
    };
    for (std::int64_t u = 0; u < r.units && r.partials != nullptr; u += units) {
        for (units = 1; joins(u + units);) ++units;
        combine(r, u, units);
    }
    for (std::int64_t u = 0; u < r.units; ++u) {
        if (r.places[u].tap != 0) continue;
        for (std::int64_t i = r.image0; i < r.image1; ++i) {
            zero_halo<Real>(r.call.outputs[0], i, r.places[u].step, 0, dx.height);
        }
    }
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const Split images = image_groups(call.n, plan.images_per_task);
    const std::int64_t group = task % images.parts, piece = task / images.parts;
    const Split& pieces = plan.groups(call.n);
    const bool few = call.n <= plan.few_images;
    const std::int64_t most = few ? plan.few_units(call.n) : plan.units_a_run;
    Real* scratch = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* partials = few ? scratch : plan.chunks.parts > 1 ? scratch + most * plan.panel_elements() : nullptr;
    const std::int64_t end = pieces.first(piece + 1);
    for (std::int64_t unit = pieces.first(piece); unit < end; unit += most) {
        Run<Real> r = {call,
                       plan,
                       unit,
                       min_of(most, end - unit),
                       images.first(group),
                       images.first(group + 1),
                       few ? nullptr : scratch,
                       partials,
                       {}};
        r.find_places();
        run_all(r);
    }
}

template <class Real>
constexpr Op make_linear_grad_input() {
    return {"linear_grad_input", check<Real>, nullptr, plan_bytes, make_plan<Real>, {{tasks, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(linear_grad_input, make_linear_grad_input)
