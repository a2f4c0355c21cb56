// conv2d_grad_weight of plain tensors, to a plain gradient.
//
// inputs  dy plain, without halo; x plain
// outputs dw plain (K, C / groups, R, S)
// attributes those of conv2d_grad_weight
//
// Large gradients are the product of dy, as it is, with blocks of x whose lanes are (c, r, s) (im2col, transposed a
// block at a time). Each chunk of pixels of an image, or of a few images of few pixels, is summed up by itself, so that
// chains stay short; they follow in order. A task takes more lanes where chunks are short: then it is dw that is dear,
// and its rows are written in longer runs. (AMD EPYC 9004, time by NumPy's im2col and product, two blocks a task
// before: c512 k512 r3 stride 2 14 x 14 1.11, now 0.82; c512 k512 r3 7 x 7 1.10, now 0.78; c512 k2048 7 x 7 1.13, now
// 0.96.)
//
// Of a small gradient, tasks take some of the pixels each, a function of shapes and n, so that each number is packed
// once; their sums are added up as a tree. Its lanes may be output channels, from dy, instead: of 27 or 147 numbers of
// 3 channels blocks of lanes are part empty, and taps of many channels are read where they are.
#include <atomic>

#include "base/allocator.hpp"
#include "ops/panel.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kMostRows = 512;    // of the product a task computes, when it must be copied to dw
constexpr std::int64_t kMostPacked = 512;  // pixels that are summed up, each image's rounded up to blocks
// Each task packs its lanes for itself, which costs little where squares of x are transposed as they lie, and some ten
// rows' worth where pixels are gathered.
constexpr std::int64_t kTasks = 8, kTasksThatGather = 2;
constexpr std::int64_t kLaneBytes = 256 << 10;  // of the lanes a task multiplies by: two blocks at least
// Of small gradients: numbers of sums, tasks that share the pixels, blocks of lanes of a task.
constexpr std::int64_t kMostSums = 96 << 10, kPixelTasks = 8, kLaneBlocks = 4;
constexpr std::int64_t kLeastPixels = 256;
constexpr std::int64_t kMostImageRows = 32, kLeastChannels = 12, kLeastTaps = 5;  // read in place
constexpr std::int64_t kRowsOfPages = 8;  // that a set of the first-level cache holds

template <class Real>
struct Shape : PlainConv<Real> {
    std::int64_t reduction, blocks;        // numbers of one output channel, and blocks of them
    std::int64_t apart;                    // blocks at the end that dw has no room for, with the one before
    std::int64_t images, chunk, row_step;  // images and pixels that are summed up; a row of these before transposing
    std::int64_t lane_groups, row_groups;
    bool in_place;  // squares of x's own planes are transposed
    std::int64_t chunks;
    // Of small gradients: what lanes and rows of the sums are, and how they lie.
    // Rows that are planes of x are read whole; else taps of one are rows of y, and those of a tile share lines.
    bool by_pixels, lanes_are_k, rows_in_place, rows_are_taps, rows_are_planes;
    std::int64_t lane_count, lane_blocks, lane_parts, sum_rows, sums_step, partials;
    Shape(const Problem& p, std::int64_t n, bool few_rows) : PlainConv<Real>(p, p.inputs[1], p.inputs[0]) {
        constexpr std::int64_t lanes = kLanes<Real>;
        static_assert(kMostPacked >= kChunkElements + lanes, "a chunk");
        static_assert(kLaneBytes >= 2 * kMostPacked * kBlockBytes, "two blocks of them");
        reduction = this->c_group * this->taps, blocks = ceil_div(reduction, lanes);
        apart = reduction % lanes == 0 ? 0 : 2 - blocks % 2;
        chunks = ceil_div(this->pixels, kChunkElements + lanes);
        chunk = round_up(ceil_div(this->pixels, chunks), lanes);
        // Eight images of 7 x 7, two of 14 x 14: each time fewer that dw is read and written.
        const std::int64_t fit = (kChunkElements + lanes) / min_of(chunk, this->pixels);
        images = max_of(1, min_of(n, min_of(fit, kMostPacked / chunk)));
        row_step = chunk + lanes;  // no power of two
        in_place = this->is_pointwise() && !has_halo(*this->x);
        const std::int64_t pairs = ceil_div(blocks - apart, 2);
        const std::int64_t pair_bytes = 2 * images * chunk * kBlockBytes,
                           most_bytes = kLaneBytes / (images > 1 ? 2 : 1);
        lane_groups = max_of(ceil_div(pairs, most_bytes / pair_bytes),
                             min_of(few_rows && in_place ? kTasks : kTasks / 2, ceil_div(pairs, 2))) +
                      (apart > 0 ? 1 : 0);
        const std::int64_t tasks = (in_place ? kTasks : kTasksThatGather) / (lane_groups * this->a.groups);
        const std::int64_t least = apart == 0 ? 1 : ceil_div(this->k_group, kMostRows);
        row_groups = max_of(least, min_of(ceil_div(this->k_group, 56), tasks));
        by_pixels = n > 0 && this->a.groups == 1 && this->pixels >= kLeastPixels &&
                    round_up(this->k_group, lanes) * round_up(reduction, lanes) <= kMostSums;
        if (by_pixels) share_pixels(n, few_rows);
    }
    // Places of planes of whole pages share one set of the first-level cache, and page by page they come late.
    bool by_pages() const { return this->pixels * static_cast<std::int64_t>(sizeof(Real)) % kPageBytes == 0; }
    CONVLENS_COLD void share_pixels(std::int64_t n, bool few_rows) {
        constexpr std::int64_t lanes = kLanes<Real>;
        const std::int64_t K = this->k_group, columns = this->y->width, height = this->y->height;
        rows_are_taps = this->c_group < kLeastChannels;
        rows_in_place = (!rows_are_taps || this->a.S >= kLeastTaps) && columns <= kMostPacked &&
                        columns * kMostImageRows >= kMostPacked;
        // In products: of whole blocks, to transpose a number of the lanes', to gather one.
        const std::int64_t by_k =
            round_up(K, lanes) * reduction + (by_pages() ? 20 : 6) * K + (rows_in_place ? 0 : 4) * reduction;
        const std::int64_t by_x = round_up(reduction, lanes) * K + (in_place ? 6 : 9) * reduction;
        lanes_are_k = by_k < by_x && (rows_in_place || K <= kLaneBlocks * lanes);
        rows_are_planes = lanes_are_k && in_place && few_rows;
        rows_in_place = rows_in_place && lanes_are_k && !rows_are_planes;
        lane_count = lanes_are_k ? K : reduction, sum_rows = lanes_are_k ? reduction : K;
        lane_blocks = ceil_div(lane_count, lanes), sums_step = lane_blocks * lanes;
        // Parts of the lanes read rows in place as cheaply as one, and have fewer sums to add up.
        const bool whole_rows = rows_in_place || rows_are_planes;
        lane_parts = ceil_div(lane_blocks, whole_rows ? kLaneBlocks / 2 : kLaneBlocks);
        if (rows_in_place) {
            chunk = min_of(kMostPacked / columns, ceil_div(height, kPixelTasks)) * columns;
            chunks = ceil_div(this->pixels, chunk), row_step = round_up(chunk, lanes) + lanes;
        }
        partials = min_of(whole_rows ? max_of(1, kPixelTasks / lane_parts) : kPixelTasks, n * chunks);
    }
    std::int64_t first_block(std::int64_t lane_group) const {
        const std::int64_t full = blocks - apart, groups = lane_groups - (apart > 0 ? 1 : 0);
        if (lane_group >= groups) return lane_group == lane_groups ? blocks : full;
        return lane_group * ceil_div(full, 2) / groups * 2;
    }
    // Of any number of images.
    std::int64_t sums_elements() const { return min_of(this->k_group, kMostRows) * this->width; }
    std::int64_t pixels_elements() const {
        return round_up(by_pixels ? kPieceTiles * kTileRows : 1, kLanes<Real>) * (kMostPacked + kLanes<Real> + 1);
    }
    std::int64_t partial_elements() const { return round_up(sum_rows, kLanes<Real>) * sums_step; }
};

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    const Tensor *dy = p.inputs[0], *x = p.inputs[1];
    CONVLENS_RETURN_IF_ERROR(check_plain_conv<Real>(p, x, dy, p.outputs[0], "x", "dy", "dw"));
    const Shape<Real> s(p, 1, false);  // for which kernels, the call says: what follows holds for all
    scratch->per_thread_bytes = (s.sums_elements() + s.pixels_elements()) * static_cast<std::int64_t>(sizeof(Real)) +
                                kLaneBytes + kMostPacked * static_cast<std::int64_t>(sizeof(PanelRun));
    if (s.by_pixels)
        scratch->fixed_bytes = kPixelTasks * s.partial_elements() * static_cast<std::int64_t>(sizeof(Real));
    return check_halo(*x, "x", forward_rectangle(s.a, whole(*dy)));
}

Rectangle input_rectangle(const Problem& p, int input, Rectangle) {
    if (input == 0) return whole(*p.inputs[0]);
    return forward_rectangle(ConvAttributes::of(p), whole(*p.inputs[0]));
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Shape<Real> s(*call.problem, call.n, call.kernels->ordered);
    return s.by_pixels ? s.partials * s.lane_parts : s.a.groups * s.row_groups * s.lane_groups;
}

// Packs pixels of an operand, 0 or 1, as rows of the reduction: those of a channel, or of its taps.
template <class Real>
struct Packer {
    const Call& call;
    const Shape<Real>& s;
    Real* pixels;  // of rows before they are transposed
    PanelRun* runs;
    int input;
    std::int64_t taps, p, count;
    Panel<Real> pack;

    Packer(const Call& c, const Shape<Real>& shape, int operand, Real* rows, PanelRun* r)
        : call(c), s(shape), pixels(rows), runs(r), input(operand), taps(operand == 0 ? 1 : shape.taps) {
        pack.width = s.row_step, pack.spare = true, pack.runs = runs, pack.stride = input == 0 ? 1 : s.a.stride_w;
        pack.channel_step = input == 0 ? s.pixels : channel_stride<Real>(*s.x);
        pack.row_step = s.a.dilation_h * row_stride<Real>(*s.x), pack.column_step = s.a.dilation_w;
        const View& view = call.inputs[input];
        pack.image_end = reinterpret_cast<const Real*>(view.data + call.n * view.image_stride);
    }
    void aim(std::int64_t first, std::int64_t pixels_here) {
        p = first, count = pixels_here;
        runs[0] = {0, count, p}, pack.n_runs = 1;
        if (input == 1) pack.n_runs = s.runs(p, count, row_stride<Real>(*s.x), runs);
    }
    // Where the reduction of a group begins, at pixel 0.
    Real* image(std::int64_t image, std::int64_t group) const {
        Real* first = image_data<Real>(call.inputs[input], image);
        if (input == 0) return first + group * s.k_group * s.pixels;
        return first + group * s.c_group * pack.channel_step - s.a.pad_top * row_stride<Real>(*s.x) - s.a.pad_left;
    }
    // Row e of the reduction, at pixel 0.
    Real* row(Real* image, std::int64_t e) const {
        const std::int64_t tap = e % taps;
        return image + e / taps * pack.channel_step + tap / s.a.S * pack.row_step + tap % s.a.S * pack.column_step;
    }
    void rows(Real* image, std::int64_t e, std::int64_t n, Real* output) {
        for (const std::int64_t end = e + n; e < end;) {
            const bool whole = e % taps == 0 && end - e >= taps;
            pack.channels = whole ? (end - e) / taps : 1;
            pack.R = whole && taps > 1 ? s.a.R : 1, pack.S = whole && taps > 1 ? s.a.S : 1;
            pack.panel = output, pack.image = row(image, e);
            call.kernels->set<Real>().pack_panel(pack);
            const std::int64_t done = pack.channels * pack.R * pack.S;
            e += done, output += done * s.row_step;
        }
    }
    // Rows [e, e + n), a block of lanes at most, transposed, to lines `step` apart. Squares that may end beyond the
    // operand are gathered too.
    void lanes(Real* image, std::int64_t e, std::int64_t n, Real* output, std::int64_t step) {
        constexpr std::int64_t lanes = kLanes<Real>;
        TransposeBlock<Real> square;
        square.source = image + e * s.pixels + p, square.source_step = s.pixels, square.source_next = lanes;
        square.output = output, square.output_step = step, square.output_next = lanes * step;
        square.count = ceil_div(count, lanes);
        if (!(input == 0 ? !s.by_pages() : s.in_place) || n < lanes ||
            square.source + (lanes - 1) * s.pixels + square.count * lanes > pack.image_end) {
            rows(image, e, n, pixels);
            square.source = pixels, square.source_step = s.row_step;
        }
        call.kernels->set<Real>().transpose_block(square);
    }
};

// Blocks of lanes of a number of elements: each by itself, or side by side in pairs, which tiles of few rows go through
// faster. (Zen 3, 15 layers of 64 to 1024 channels: 0.90 to 0.98 of the time, 0.95 in the geometric mean.)
template <class Real>
struct PackedLanes {
    Real* data;
    std::int64_t blocks, elements;
    bool pairs;
    bool paired(std::int64_t b) const { return pairs && (b | 1) < blocks; }
    std::int64_t step(std::int64_t b) const { return (paired(b) ? 2 : 1) * kLanes<Real>; }
    Real* at(std::int64_t b) const {
        return data + (paired(b) ? b / 2 * 2 * elements + b % 2 : b * elements) * kLanes<Real>;
    }
    // The products of the tile's rows with `count` elements of all blocks.
    void multiply(const Call& call, ConvTile<Real> tile, std::int64_t count) const {
        Real* const output = tile.output.data;
        const std::int64_t together = pairs ? kPanelBlocks : blocks;
        for (std::int64_t b = 0; b < blocks; b += together) {
            tile.blocks = min_of(together, blocks - b);
            tile.weight = at(b), tile.weight_element_step = step(b);
            tile.weight_block_step = pairs ? kLanes<Real> : elements * kLanes<Real>;
            if (pairs) take_elements(&tile, count, true);
            tile.output.data = output + b * kLanes<Real>;
            call.kernels->set<Real>().conv_tile(tile);
        }
    }
};

template <class Real>
Real* sums_of(const Call& call, const Shape<Real>& s, std::int64_t partial) {
    return reinterpret_cast<Real*>(call.fixed_scratch) + partial * s.partial_elements();
}

// Sums over a part of the pixels, for some blocks of lanes.
template <class Real>
void run_by_pixels(const Call& call, const Shape<Real>& s, std::int64_t task, Real* pixels, Real* packed,
                   PanelRun* runs) {
    constexpr std::int64_t lanes = kLanes<Real>;
    const std::int64_t partial = task / s.lane_parts, part = task % s.lane_parts;
    const std::int64_t block0 = part * s.lane_blocks / s.lane_parts;
    const std::int64_t blocks = (part + 1) * s.lane_blocks / s.lane_parts - block0;
    const std::int64_t units = call.n * s.chunks, unit0 = partial * units / s.partials;
    Packer<Real> x(call, s, 1, pixels, runs), dy(call, s, 0, pixels, runs);
    Packer<Real>& of_lanes = s.lanes_are_k ? dy : x;
    Real* output = sums_of(call, s, partial) + block0 * lanes;
    const PackedLanes<Real> by = {packed, blocks, round_up(s.chunk, lanes), call.kernels->ordered && !s.rows_in_place};
    ConvTap taps[kMostImageRows] = {};
    for (std::int64_t i = 0; i < kMostImageRows && s.rows_in_place; ++i) {
        taps[i] = {i * s.a.stride_h * row_stride<Real>(*s.x), i * s.y->width * lanes};
    }
    for (std::int64_t unit = unit0; unit < (partial + 1) * units / s.partials; ++unit) {
        const std::int64_t image = unit / s.chunks, p = unit % s.chunks * s.chunk;
        const std::int64_t count = min_of(s.chunk, s.pixels - p);
        of_lanes.aim(p, count);
        for (std::int64_t b = 0; b < blocks; ++b) {
            const std::int64_t e = (block0 + b) * lanes;
            of_lanes.lanes(of_lanes.image(image, 0), e, min_of(lanes, s.lane_count - e), by.at(b), by.step(b));
        }
        Real* source = x.image(image, 0);
        ConvTile<Real> tile = panel_tile<Real>(packed, lanes, blocks * lanes, count, s.sum_rows, taps);
        tile.source_element_step = 1;
        tile.finish = unit == unit0 ? kConvStore : kConvAdd;
        tile.output.data = output, tile.output.column_step = s.sums_step;
        if (s.rows_in_place) {
            // Rows of a tile are channels, or the taps of a kernel's row.
            const std::int64_t step = s.rows_are_taps ? s.a.S : 1, end = s.rows_are_taps ? s.reduction : s.taps;
            tile.columns = s.rows_are_taps ? s.a.S : s.c_group, tile.n_taps = count / s.y->width;
            tile.elements = tile.last_elements = s.y->width, tile.source_element_step = s.a.stride_w;
            tile.source.column_step = s.rows_are_taps ? s.a.dilation_w : x.pack.channel_step;
            tile.output.column_step *= s.rows_are_taps ? 1 : s.taps;
            for (std::int64_t e = 0; e < end; e += step) {
                tile.source.data = x.row(source, e) + p / s.y->width * taps[1].source;
                tile.output.data = output + e * s.sums_step;
                by.multiply(call, tile, count);
            }
        } else if (!s.lanes_are_k || s.rows_are_planes) {
            const std::int64_t most = s.by_pages() ? kRowsOfPages : s.sum_rows;
            const Real* rows = (s.lanes_are_k ? source : dy.image(image, 0)) + p;
            tile.source.column_step = s.pixels;
            for (std::int64_t k = 0; k < s.sum_rows; k += most) {
                tile.columns = min_of(most, s.sum_rows - k);
                tile.source.data = rows + k * s.pixels, tile.output.data = output + k * s.sums_step;
                by.multiply(call, tile, count);
            }
        } else {
            x.aim(p, count);
            tile.source.data = pixels, tile.source.column_step = s.row_step;
            each_piece(s.reduction, kPieceTiles, [&](std::int64_t e, std::int64_t rows) {
                x.rows(source, e, rows, pixels);
                tile.columns = rows, tile.output.data = output + e * s.sums_step;
                by.multiply(call, tile, count);
            });
        }
    }
}

// What is written once, and beyond the caches, is written past them: its lines need not be read first. Not rows that
// are pages apart. (Zen 3, of the time: c512 k512 r3 7 x 7 0.84, stride 2 14 x 14 0.84, 14 x 14 0.96; c1024 k2048
// stride 2 14 x 14 1.15.)
constexpr std::int64_t kStreamedBytes = 4 << 20;
template <class Real>
bool writes_once(const Call& call, const Shape<Real>& s) {
    const std::int64_t row = s.reduction * static_cast<std::int64_t>(sizeof(Real));
    return call.n <= s.images && s.pixels <= s.chunk && s.k_group * row > kStreamedBytes && row % kAlignment == 0 &&
           row % kPageBytes != 0 && reinterpret_cast<std::uintptr_t>(call.outputs[0].data) % kAlignment == 0;
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Shape<Real> s(*call.problem, call.n, call.kernels->ordered);
    Real* sums = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* pixels = sums + s.sums_elements();
    Real* packed = pixels + s.pixels_elements();
    PanelRun* runs = reinterpret_cast<PanelRun*>(packed + kLaneBytes / sizeof(Real));
    if (s.by_pixels) return run_by_pixels(call, s, task, pixels, packed, runs);
    const std::int64_t at = task % s.lane_groups, part = task / s.lane_groups % s.row_groups;
    const std::int64_t group = task / s.lane_groups / s.row_groups, lanes = kLanes<Real>, size = sizeof(Real);
    const std::int64_t k0 = group * s.k_group + part * s.k_group / s.row_groups;
    const std::int64_t rows = group * s.k_group + (part + 1) * s.k_group / s.row_groups - k0;
    const std::int64_t first = s.first_block(at), blocks = s.first_block(at + 1) - first;
    const std::int64_t e0 = first * lanes, filled = min_of(blocks * lanes, s.reduction - e0);
    Real* dw = reinterpret_cast<Real*>(call.outputs[0].data) + k0 * s.reduction + e0;
    // Lanes that all are numbers of dw are summed up where they stay.
    const bool direct = filled % lanes == 0;
    Real* const output = direct ? dw : sums;
    const std::int64_t output_step = direct ? s.reduction : s.width;
    for (std::int64_t k = 0; k < rows && call.n == 0; ++k) {
        std::memset(static_cast<void*>(output + k * output_step), 0, static_cast<std::size_t>(filled) * sizeof(Real));
    }

    const PackedLanes<Real> by = {packed, blocks, s.images * s.chunk, call.kernels->ordered && s.images == 1};
    const bool streams = by.pairs && writes_once(call, s);
    Packer<Real> x(call, s, 1, pixels, runs);
    for (std::int64_t image = 0; image < call.n; image += s.images) {
        const std::int64_t images = min_of(s.images, call.n - image);
        for (std::int64_t p = 0; p < s.pixels; p += s.chunk) {
            const std::int64_t count = min_of(s.chunk, s.pixels - p);
            x.aim(p, count);
            for (std::int64_t i = 0; i < images * blocks; ++i) {
                const std::int64_t b = i / images, e1 = e0 + b * lanes;
                x.lanes(x.image(image + i % images, group), e1, min_of(lanes, s.reduction - e1),
                        by.at(b) + i % images * s.chunk * lanes, by.step(b));
            }
            ConvTile<Real> tile;
            tile.rows = 1, tile.columns = rows, tile.last_lanes = lanes;
            tile.taps = &kNoTap, tile.n_taps = 1, tile.steps = images;
            tile.elements = tile.last_elements = count;
            tile.weight_step = s.chunk * lanes;
            tile.source.data = image_data<Real>(call.inputs[0], image) + k0 * s.pixels + p;
            tile.source.column_step = s.pixels, tile.source_element_step = 1;
            tile.source_step = call.inputs[0].image_stride / size;
            tile.output.data = output, tile.output.column_step = output_step, tile.output.block_step = lanes;
            tile.finish = image == 0 && p == 0 ? kConvStore : kConvAdd;
            tile.streams = streams;
            by.multiply(call, tile, count);
        }
    }
    for (std::int64_t k = 0; k < rows && !direct; ++k) {
        std::memcpy(dw + k * s.reduction, sums + k * s.width, static_cast<std::size_t>(filled) * sizeof(Real));
    }
    if (streams) std::atomic_thread_fence(std::memory_order_seq_cst);  // such writes keep no order else
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

// The sum over partials of a block of rows, which becomes columns of dw where lanes are output channels.
template <class Real>
std::int64_t combine_tasks(const Call& call) {
    const Shape<Real> s(*call.problem, call.n, call.kernels->ordered);
    return s.by_pixels ? ceil_div(s.sum_rows, kLanes<Real>) : 0;
}
template <class Real>
void combine(const Call& call, std::int64_t task, int) {
    const Shape<Real> s(*call.problem, call.n, call.kernels->ordered);
    constexpr std::int64_t lanes = kLanes<Real>;
    const std::int64_t first = task * lanes, rows = min_of(lanes, s.sum_rows - first);
    ConvCombine<Real> sum;
    sum.partials = sum.output = sums_of(call, s, 0) + first * s.sums_step;
    sum.n_partials = s.partials, sum.partial_step = s.partial_elements();
    sum.blocks = rows * s.lane_blocks, sum.last_lanes = lanes;
    call.kernels->set<Real>().conv_combine(sum);
    const Real* from = sum.output;
    Real* dw = reinterpret_cast<Real*>(call.outputs[0].data) + first * (s.lanes_are_k ? 1 : s.reduction);
    alignas(kBlockBytes) Real turned[lanes * lanes];
    const std::int64_t count = s.lanes_are_k ? s.k_group : rows, filled = s.lanes_are_k ? rows : s.reduction;
    for (std::int64_t k = 0; k < count; ++k, dw += s.reduction) {
        if (s.lanes_are_k && k % lanes == 0) {
            TransposeBlock<Real> square;
            square.source = sum.output + k, square.source_step = s.sums_step;
            square.output = turned, square.output_step = lanes;
            call.kernels->set<Real>().transpose_block(square);
            from = turned;
        }
        std::memcpy(dw, from, static_cast<std::size_t>(filled) * sizeof(Real));
        from += s.lanes_are_k ? lanes : s.sums_step;
    }
    if (task == 0) zero_padding<Real>(call.outputs[0], 0);
}

template <class Real>
constexpr Op make_conv2d_grad_weight_plain() {
    return {"conv2d_grad_weight_plain",
            check<Real>,
            input_rectangle,
            nullptr,
            nullptr,
            {{tasks<Real>, run<Real>}, {combine_tasks<Real>, combine<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d_grad_weight_plain, make_conv2d_grad_weight_plain)
