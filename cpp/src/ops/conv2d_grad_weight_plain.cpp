// conv2d_grad_weight of plain tensors, to a plain gradient.
//
// inputs  dy plain, without halo; x plain
// outputs dw plain (K, C / groups, R, S)
// attributes those of conv2d_grad_weight
//
// The product of dy, as it is, with blocks of x whose lanes are (c, r, s) (im2col, transposed a block at a time). Each
// chunk of pixels of an image, or of a few images of few pixels, is summed up by itself, so that chains stay short;
// they follow in order. A task takes more lanes where chunks are short: then it is dw that is dear, and its rows are
// written in longer runs. (AMD EPYC 9004, time by NumPy's im2col and product, two blocks a task before: c512 k512 r3
// stride 2 14 x 14 1.11, now 0.82; c512 k512 r3 7 x 7 1.10, now 0.78; c512 k2048 7 x 7 1.13, now 0.96.)
#include "ops/panel.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kMostRows = 512;    // of the product a task computes, when it must be copied to dw
constexpr std::int64_t kMostPacked = 512;  // pixels that are summed up, each image's rounded up to blocks
// Each task packs its lanes for itself, which costs little where squares of x are transposed as they lie, and some ten
// rows' worth where pixels are gathered.
constexpr std::int64_t kTasks = 8, kTasksThatGather = 2;
constexpr std::int64_t kLaneBytes = 128 << 10;  // of the lanes a task multiplies by: two blocks at least

template <class Real>
struct Shape : PlainConv<Real> {
    std::int64_t reduction, blocks;        // numbers of one output channel, and blocks of them
    std::int64_t apart;                    // blocks at the end that dw has no room for, with the one before
    std::int64_t images, chunk, row_step;  // images and pixels that are summed up; a row of these before transposing
    std::int64_t lane_groups, row_groups;
    bool in_place;  // squares of x's own planes are transposed
    Shape(const Problem& p, std::int64_t n) : PlainConv<Real>(p, p.inputs[1], p.inputs[0]) {
        constexpr std::int64_t lanes = kLanes<Real>;
        static_assert(kMostPacked >= kChunkElements + lanes, "a chunk");
        static_assert(kLaneBytes >= 2 * kMostPacked * kBlockBytes, "two blocks of them");
        reduction = this->c_group * this->taps, blocks = ceil_div(reduction, lanes);
        apart = reduction % lanes == 0 ? 0 : 2 - blocks % 2;
        const std::int64_t chunks = ceil_div(this->pixels, kChunkElements + lanes);
        chunk = round_up(ceil_div(this->pixels, chunks), lanes);
        // Eight images of 7 x 7, two of 14 x 14: each time fewer that dw is read and written.
        const std::int64_t fit = (kChunkElements + lanes) / min_of(chunk, this->pixels);
        images = max_of(1, min_of(n, min_of(fit, kMostPacked / chunk)));
        row_step = chunk + lanes;  // no power of two
        const std::int64_t pairs = ceil_div(blocks - apart, 2);
        lane_groups = ceil_div(pairs, kLaneBytes / (2 * images * chunk * kBlockBytes)) + (apart > 0 ? 1 : 0);
        in_place = this->is_pointwise() && !has_halo(*this->x);
        const std::int64_t tasks = (in_place ? kTasks : kTasksThatGather) / (lane_groups * this->a.groups);
        const std::int64_t least = apart == 0 ? 1 : ceil_div(this->k_group, kMostRows);
        row_groups = max_of(least, min_of(ceil_div(this->k_group, 56), tasks));
    }
    std::int64_t first_block(std::int64_t lane_group) const {
        const std::int64_t full = blocks - apart, groups = lane_groups - (apart > 0 ? 1 : 0);
        if (lane_group >= groups) return lane_group == lane_groups ? blocks : full;
        return lane_group * ceil_div(full, 2) / groups * 2;
    }
    std::int64_t block_elements() const { return images * chunk * kLanes<Real>; }
    // Of any number of images.
    std::int64_t sums_elements() const { return min_of(this->k_group, kMostRows) * this->width; }
    std::int64_t pixels_elements() const { return kLanes<Real> * (row_step + 1); }
};

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    const Tensor *dy = p.inputs[0], *x = p.inputs[1];
    CONVLENS_RETURN_IF_ERROR(check_plain_conv<Real>(p, x, dy, p.outputs[0], "x", "dy", "dw"));
    const Shape<Real> s(p, 1);
    scratch->per_thread_bytes = (s.sums_elements() + s.pixels_elements()) * static_cast<std::int64_t>(sizeof(Real)) +
                                kLaneBytes + s.chunk * static_cast<std::int64_t>(sizeof(PanelRun));
    return check_halo(*x, "x", forward_rectangle(s.a, whole(*dy)));
}

Rectangle input_rectangle(const Problem& p, int input, Rectangle) {
    if (input == 0) return whole(*p.inputs[0]);
    return forward_rectangle(ConvAttributes::of(p), whole(*p.inputs[0]));
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Shape<Real> s(*call.problem, call.n);
    return s.a.groups * s.row_groups * s.lane_groups;
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Shape<Real> s(*call.problem, call.n);
    const std::int64_t at = task % s.lane_groups, part = task / s.lane_groups % s.row_groups;
    const std::int64_t group = task / s.lane_groups / s.row_groups, lanes = kLanes<Real>, size = sizeof(Real);
    const std::int64_t k0 = group * s.k_group + part * s.k_group / s.row_groups;
    const std::int64_t rows = group * s.k_group + (part + 1) * s.k_group / s.row_groups - k0;
    const std::int64_t first = s.first_block(at), blocks = s.first_block(at + 1) - first;
    const std::int64_t e0 = first * lanes, filled = min_of(blocks * lanes, s.reduction - e0);
    const auto& kernels = call.kernels->set<Real>();
    Real* sums = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* pixels = sums + s.sums_elements();
    Real* packed = pixels + s.pixels_elements();
    PanelRun* runs = reinterpret_cast<PanelRun*>(packed + kLaneBytes / size);
    Real* dw = reinterpret_cast<Real*>(call.outputs[0].data) + k0 * s.reduction + e0;
    // Lanes that all are numbers of dw are summed up where they stay.
    const bool direct = filled % lanes == 0;
    Real* const output = direct ? dw : sums;
    const std::int64_t output_step = direct ? s.reduction : s.width;
    for (std::int64_t k = 0; k < rows && call.n == 0; ++k) {
        std::memset(static_cast<void*>(output + k * output_step), 0, static_cast<std::size_t>(filled) * sizeof(Real));
    }

    const std::int64_t x_row = row_stride<Real>(*s.x), x_plane = channel_stride<Real>(*s.x);
    Panel<Real> pack;
    pack.width = s.row_step, pack.runs = runs, pack.stride = s.a.stride_w;
    pack.R = pack.S = 1, pack.channel_step = x_plane, pack.row_step = pack.column_step = 0;
    pack.image_end = reinterpret_cast<const Real*>(call.inputs[1].data + call.n * call.inputs[1].image_stride);
    for (std::int64_t image = 0; image < call.n; image += s.images) {
        const std::int64_t images = min_of(s.images, call.n - image);
        for (std::int64_t p = 0; p < s.pixels; p += s.chunk) {
            const std::int64_t count = min_of(s.chunk, s.pixels - p);
            pack.n_runs = s.runs(p, count, x_row, runs);
            for (std::int64_t i = 0; i < images * blocks; ++i) {
                const std::int64_t e1 = e0 + i / images * lanes, here = min_of(lanes, s.reduction - e1);
                Real* x = image_data<Real>(call.inputs[1], image + i % images) + group * s.c_group * x_plane -
                          s.a.pad_top * x_row - s.a.pad_left;
                TransposeBlock<Real> square;
                square.source = x + e1 * s.pixels + p, square.source_step = s.pixels, square.source_next = lanes;
                square.output = packed + (i / images * s.images + i % images) * s.chunk * lanes;
                square.output_step = lanes, square.output_next = lanes * lanes;
                square.count = ceil_div(count, lanes);
                // The last one may be more bytes than x has.
                if (!s.in_place || here < lanes ||
                    square.source + (lanes - 1) * s.pixels + square.count * lanes > pack.image_end) {
                    pack.channels = s.taps == 1 ? here : 1;
                    for (std::int64_t e = 0; e < here; e += pack.channels) {
                        const std::int64_t c = (e1 + e) / s.taps, tap = (e1 + e) % s.taps;
                        pack.panel = pixels + e * s.row_step;
                        pack.image =
                            x + c * x_plane + tap / s.a.S * s.a.dilation_h * x_row + tap % s.a.S * s.a.dilation_w;
                        kernels.pack_panel(pack);
                    }
                    square.source = pixels, square.source_step = s.row_step;
                }
                kernels.transpose_block(square);
            }
            ConvTile<Real> tile;
            tile.rows = 1, tile.columns = rows, tile.blocks = blocks, tile.last_lanes = lanes;
            tile.taps = &kNoTap, tile.n_taps = 1, tile.steps = images;
            tile.elements = tile.last_elements = count;
            tile.weight = packed, tile.weight_block_step = s.block_elements();
            tile.weight_step = s.chunk * lanes, tile.weight_element_step = lanes;
            tile.source.data = image_data<Real>(call.inputs[0], image) + k0 * s.pixels + p;
            tile.source.column_step = s.pixels, tile.source_element_step = 1;
            tile.source_step = call.inputs[0].image_stride / size;
            tile.output.data = output, tile.output.column_step = output_step, tile.output.block_step = lanes;
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
