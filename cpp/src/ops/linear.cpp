// y[k] = activation(bias[k] + sum over c, h, w of x[c][h][w] * w[k][c][h][w])
//
// inputs  x (C, H, W), blocked or plain; w packed as a convolution (K, C, H, W); [bias] (K)
// outputs y (K, 1, 1), blocked or plain; [mask] y > 0, of a clip low < y < high
// attributes activation (0 none, 1 relu, 2 clip), low (real), high (real)
//
// A task takes panels of weights, chunks of the reduction and a group of images. With enough panels to feed the cores
// it takes all chunks, and combines them itself; else the partial sums of every image meet in a second phase. The sums
// are the same either way.
#include "ops/linear.hpp"

namespace convlens {
namespace {

// Weights a task streams: some 20 us from memory.
constexpr std::int64_t kTaskWeightBytes = 256 << 10;
constexpr std::int64_t kMostTasks = 256, kEnoughTasks = 16;  // for one image
constexpr std::int64_t kCachedBytes = 1 << 20;
// Tiles hold 14 images, or 6, or 2: groups are multiples of the largest.
constexpr std::int64_t kTileImages = 14;

struct Plan {
    PackedWeight weight;
    Split step_chunks, tap_chunks;  // of which one has one part only, or the first has one step a part
    Split panel_groups, chunk_groups;
    std::int64_t images_per_task;
    ConvTap taps[1];

    std::int64_t chunks() const { return step_chunks.parts * tap_chunks.parts; }
    bool in_one_task() const { return chunk_groups.parts == 1; }
};

template <class Real>
Plan plan_of(const Problem& p) {
    Plan plan{};
    const PackedWeight w = plan.weight = linear_weight<Real>(*p.outputs[0], *p.inputs[0]);
    const std::int64_t taps = w.R * w.S, size = sizeof(Real), bytes = w.elements() * size;
    plan.tap_chunks = {taps, min_of(max_of(1, kMostChunks / w.steps), chunks_of(taps * w.lanes))};
    plan.step_chunks = {w.steps,
                        plan.tap_chunks.parts > 1 ? w.steps : min_of(w.steps, chunks_of(w.steps * taps * w.lanes))};

    const std::int64_t pieces = min_of(kMostTasks, max_of(1, bytes / kTaskWeightBytes));
    plan.panel_groups = {w.panels, min_of(w.panels, pieces)};
    const std::int64_t groups = plan.panel_groups.parts;
    plan.chunk_groups = {plan.chunks(), groups >= kEnoughTasks ? 1 : min_of(plan.chunks(), ceil_div(pieces, groups))};

    const std::int64_t products = w.elements() / (groups * plan.chunk_groups.parts);
    const std::int64_t by_work = round_up(kTaskProducts * 4 / size / products, kTileImages);
    plan.images_per_task = max_of(by_work, (bytes > kCachedBytes ? 3 : 1) * kTileImages);
    return plan;
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    const Instruction& i = *p.instruction;
    if (i.n_inputs < 2 || i.n_inputs > 3 || i.n_outputs < 1 || i.n_outputs > 2 || i.n_attributes != 3) {
        return fail(Code::corrupt_file, "linear has %d inputs, %d outputs, %d attributes; it takes 2 or 3, 1 or 2, 3",
                    i.n_inputs, i.n_outputs, i.n_attributes);
    }
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(p.inputs[0], "x"));
    CONVLENS_RETURN_IF_ERROR(check_features<Real>(p.outputs[0], "y"));
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    CONVLENS_RETURN_IF_ERROR(check_linear_weight<Real>(p.inputs[1], "w", y, x));
    if (p.inputs[2] != nullptr) CONVLENS_RETURN_IF_ERROR(check_vector<Real>(p.inputs[2], "bias", y.channels));
    if (p.outputs[1] != nullptr) CONVLENS_RETURN_IF_ERROR(check_mask<Real>(p.outputs[1], "mask", y));
    CONVLENS_RETURN_IF_ERROR(check_activation_attributes(p, 0));
    CONVLENS_RETURN_IF_ERROR(check_apart(y, "y", x, "x"));

    const Plan plan = plan_of<Real>(p);
    if (plan.chunks() == 1) return {};
    if (plan.in_one_task()) {
        scratch->per_thread_bytes = plan.images_per_task * plan.chunks() * plan.weight.panel_blocks * kBlockBytes;
    } else {
        scratch->per_image_bytes = plan.chunks() * plan.weight.k_blocks * kBlockBytes;
    }
    return {};
}

CONVLENS_COLD std::int64_t plan_bytes(const Problem& p) {
    return static_cast<std::int64_t>(sizeof(Plan)) +
           pixels_of(*p.inputs[0]) * static_cast<std::int64_t>(sizeof(ConvTap));
}

template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* memory) {
    Plan& plan = *static_cast<Plan*>(memory);
    plan = plan_of<Real>(p);
    const Tensor& x = *p.inputs[0];
    for (std::int64_t h = 0; h < x.height; ++h) {
        for (std::int64_t w = 0; w < x.width; ++w) {
            const std::int64_t t = h * x.width + w;
            plan.taps[t] = {h * row_stride<Real>(x) + w * pixel_elements<Real>(x), t * plan.weight.tap_elements(1)};
        }
    }
}

// Where the partial sums of images from `image` on lie: [image][chunk][block][lane].
template <class Real>
struct Partials {
    Real* data;
    std::int64_t image, chunk_step, image_step;
    Real* at(std::int64_t i, std::int64_t chunk) const { return data + (i - image) * image_step + chunk * chunk_step; }
};
template <class Real>
Partials<Real> thread_partials(const Call& call, const Plan& plan, int thread, std::int64_t image) {
    const std::int64_t chunk_step = plan.weight.panel_blocks * kLanes<Real>;
    return {reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride), image, chunk_step,
            plan.chunks() * chunk_step};
}
template <class Real>
Partials<Real> image_partials(const Call& call, const Plan& plan, const PackedPanel& panel) {
    const std::int64_t chunk_step = plan.weight.k_blocks * kLanes<Real>;
    return {reinterpret_cast<Real*>(call.image_scratch) + panel.first_block * kLanes<Real>, 0, chunk_step,
            plan.chunks() * chunk_step};
}

template <class Real>
ConvEpilogue<Real> epilogue_at(const Call& call, const PackedPanel& panel, std::int64_t image) {
    ConvEpilogue<Real> e;
    if (call.inputs[2]) e.bias = reinterpret_cast<const Real*>(call.inputs[2].data) + panel.first_block * kLanes<Real>;
    if (call.outputs[1]) e.positive = mask_images_at<Real>(call.outputs[1], image, panel.first_block, 0, 0);
    e.activation = static_cast<int>(call.attribute(0));
    e.low = attribute_real<Real>(call, 1), e.high = attribute_real<Real>(call, 2);
    return e;
}

// The sums of one chunk for a panel and images [image0, image1): partial ones, or all there are, finished.
template <class Real>
void run_chunk(const Call& call, const Plan& plan, const PackedPanel& panel, std::int64_t chunk, std::int64_t image0,
               std::int64_t image1, const Partials<Real>& partials) {
    const PackedWeight& w = plan.weight;
    const Tensor& x = *call.problem->inputs[0];
    const std::int64_t step_part = chunk / plan.tap_chunks.parts, tap_part = chunk % plan.tap_chunks.parts;
    const std::int64_t step = plan.step_chunks.first(step_part), tap = plan.tap_chunks.first(tap_part);
    const bool plain = x.layout == Layout::plain;

    ConvTile<Real> tile;
    tile.rows = 1, tile.columns = image1 - image0, tile.blocks = panel.blocks;
    tile.source_element_step = plain ? plane_stride<Real>(x) : 1;
    tile.source_step = plane_stride<Real>(x) * (plain ? w.lanes : 1);
    tile.source.data = image_data<Real>(call.inputs[0], image0) + step * tile.source_step;
    tile.source.column_step = image_step<Real>(call.inputs[0]);
    tile.weight_block_step = w.lanes;
    tile.weight_element_step = panel.blocks * w.lanes;
    tile.weight_step = w.step_elements(panel.blocks);
    tile.weight_taps = panel.blocks;
    tile.weight = reinterpret_cast<const Real*>(call.inputs[1].data) + panel.offset + step * tile.weight_step;
    tile.taps = plan.taps + tap;
    tile.n_taps = plan.tap_chunks.first(tap_part + 1) - tap;
    tile.steps = plan.step_chunks.first(step_part + 1) - step;
    tile.elements = w.lanes;
    tile.last_elements = w.step_lanes(panel, step + tile.steps - 1);
    tile.last_lanes = w.lanes;
    if (plan.chunks() > 1) {
        tile.output = {partials.at(image0, chunk), 0, partials.image_step, w.lanes};
    } else {
        tile.output = images_at<Real>(call.outputs[0], image0, panel.first_block, 0, 0);
        tile.last_lanes = last_lanes<Real>(w.K, panel.first_block, panel.blocks);
        tile.exact = is_exact(*call.problem->outputs[0]);
        tile.finish = kConvEpilogue;
        tile.epilogue = epilogue_at<Real>(call, panel, image0);
    }
    call.kernels->set<Real>().conv_tile(tile);
}

template <class Real>
void combine(const Call& call, const Plan& plan, const PackedPanel& panel, std::int64_t image,
             const Partials<Real>& partials) {
    ConvCombine<Real> a;
    a.partials = partials.at(image, 0);
    a.n_partials = plan.chunks(), a.partial_step = partials.chunk_step;
    a.output = images_at<Real>(call.outputs[0], image, panel.first_block, 0, 0).data;
    a.blocks = panel.blocks;
    a.last_lanes = last_lanes<Real>(plan.weight.K, panel.first_block, panel.blocks);
    a.exact = is_exact(*call.problem->outputs[0]);
    a.finish = true;
    a.epilogue = epilogue_at<Real>(call, panel, image);
    call.kernels->set<Real>().conv_combine(a);
}

std::int64_t tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    return plan.panel_groups.parts * plan.chunk_groups.parts * image_groups(call.n, plan.images_per_task).parts;
}

// Consecutive tasks read the same weights for other images.
template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const Split images = image_groups(call.n, plan.images_per_task);
    const std::int64_t group = task % images.parts, piece = task / images.parts;
    const std::int64_t chunk_group = piece % plan.chunk_groups.parts, panel_group = piece / plan.chunk_groups.parts;
    const std::int64_t image0 = images.first(group), image1 = images.first(group + 1);
    for (std::int64_t p = plan.panel_groups.first(panel_group); p < plan.panel_groups.first(panel_group + 1); ++p) {
        const PackedPanel panel = plan.weight.panel(p);
        const Partials<Real> partials = plan.in_one_task() ? thread_partials<Real>(call, plan, thread, image0)
                                                           : image_partials<Real>(call, plan, panel);
        for (std::int64_t chunk = plan.chunk_groups.first(chunk_group);
             chunk < plan.chunk_groups.first(chunk_group + 1); ++chunk) {
            run_chunk<Real>(call, plan, panel, chunk, image0, image1, partials);
        }
        for (std::int64_t i = image0; i < image1 && plan.in_one_task(); ++i) {
            if (plan.chunks() > 1) combine<Real>(call, plan, panel, i, partials);
        }
    }
    if (piece == 0 && call.outputs[1]) {
        for (std::int64_t i = image0; i < image1; ++i) zero_padding<Real>(call.outputs[1], i);
    }
}

std::int64_t combined_images(const Plan& plan) {
    return units_per_task(plan.chunks() * plan.weight.k_blocks * kBlockBytes);
}

std::int64_t combine_tasks(const Call& call) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    return plan.in_one_task() ? 0 : ceil_div(call.n, combined_images(plan));
}

template <class Real>
void run_combine(const Call& call, std::int64_t task, int) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const std::int64_t images = combined_images(plan);
    for (std::int64_t p = 0; p < plan.weight.panels; ++p) {
        const PackedPanel panel = plan.weight.panel(p);
        const Partials<Real> partials = image_partials<Real>(call, plan, panel);
        for (std::int64_t i = task * images; i < min_of(call.n, (task + 1) * images); ++i) {
            combine<Real>(call, plan, panel, i, partials);
        }
    }
}

template <class Real>
constexpr Op make_linear() {
    return {"linear",   check<Real>,     nullptr,
            plan_bytes, make_plan<Real>, {{tasks, run<Real>}, {combine_tasks, run_combine<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(linear, make_linear)
