// conv2d of plain tensors, by a plain weight: what a caller hands over once needs no change of layout. And matmul, its
// twin for kernels of one pixel, whose weight is another one for each image: y = w x, matrix by matrix, one a group.
//
// inputs  x plain; w plain (K, C / groups, R, S); [bias] (K)
// outputs y plain, without halo
// attributes the first nine of conv2d, [whether w's rows lie side by side]
//
// The product of the weight, as it is, with panels of x's pixels (im2col, a panel at a time): lanes are pixels. Sums go
// in the order of c, r, s, after the bias; of bands (below) in that of r, c, s.
#include <atomic>

#include "base/allocator.hpp"
#include "ops/panel.hpp"

namespace convlens {
namespace {

// Of short sums it is y that takes the time: then panels are wide, so that its rows are written in runs of kilobytes.
// (Zen 4, of the time with panels of two blocks: c3 k64 r3 224 x 224 0.73, 8 images of c3 k32 r3 stride 2 0.72.)
constexpr std::int64_t kWideBytes = 80 << 10, kWideBlocks = 32, kWidePieces = 24, kWideTiles = 5;
static_assert(kMostTogether * kPanelBlocks <= kWideBlocks, "room for the runs of a panel");

// Of few channels panels may be whole rows of y. Those of a band share the rows of x: each is packed once, its edges
// filled in on the way, so that x needs no halo; a kernel's rows come first in the reduction, so that what a row of y
// reads lies together. (Zen 4, of the time before: c3 k64 r3 224 x 224 0.83, written past the caches; c3 k64 r7 stride
// 2 0.94, c3 k32 r3 stride 2 0.98, 8 images 0.88.)
constexpr std::int64_t kBandBytes = 192 << 10;

template <class Real>
struct Bands {
    std::int64_t rows = 0;           // of y, in a band; 0: panels are of any pixels
    std::int64_t step = 0;           // elements of a packed row of x, all of its channels and taps
    std::int64_t row = 0, line = 0;  // of a row of the panel, an odd number of blocks; of one of x before it is packed
    CONVLENS_SHARED Bands(const ConvAttributes& a, const Tensor& x, const Tensor& y) {
        constexpr std::int64_t lanes = kLanes<Real>;
        const std::int64_t planes = x.channels * a.S;
        if (a.groups > 1 || a.R == 1 || a.dilation_h > 1 || a.stride_h > a.R || y.width % lanes != 0) return;
        if (planes * a.R > kChunkElements) return;
        row = (y.width / lanes | 1) * lanes, step = planes * row;
        line = round_up((y.width - 1) * a.stride_w + (a.S - 1) * a.dilation_w + 1 + lanes, lanes);
        const std::int64_t fit = kBandBytes / (step * static_cast<std::int64_t>(sizeof(Real))) - a.R;
        rows = fit < a.stride_h ? 0 : min_of(y.height, fit / a.stride_h + 1);
    }
};

// Small planes that fill no whole vectors share panels with the next images', where tiles have few rows and the lanes
// saved are worth y's way through a copy: some kCopyProducts a pixel. (Zen 3, 8 images, of the time: c512 k512 6 x 6
// 0.86, 7 x 7 0.89, 11 x 11 0.98, 14 x 14 1.00; 14 x 14 c96 k576 1.08, c256 k512 1.07, c768 k512 0.98, c1024 k256
// 0.98.)
constexpr std::int64_t kJoinedPixels = 256, kMostJoined = 8, kCopyProducts = 12;

template <class Real>
struct Shape : PlainConv<Real> {
    Bands<Real> band;
    bool few_rows;               // register tiles have few: a whole panel goes by all of the weight at once
    bool in_place;               // panels are read where they are
    bool side;                   // rows of the weight lie side by side
    std::int64_t together, row;  // panels packed together; elements of a row of one
    std::int64_t joined;         // images whose pixels share panels
    Shape(const Problem& p, bool ordered, std::int64_t n)
        : PlainConv<Real>(p, p.inputs[0], p.outputs[0]), band(this->a, *this->x, *this->y), few_rows(ordered) {
        this->weight_each = p.inputs[1]->batched, side = side_by_side(p);
        const std::int64_t channels = chunk(), sums = channels * this->taps;
        in_place = this->is_pointwise() && !has_halo(*this->x) &&
                   this->reads_in_place(this->k_group, channels, few_rows, side, n);
        const std::int64_t fit = min_of(kWideBlocks, kWideBytes / (sums * kBlockBytes)) / kPanelBlocks;
        const std::int64_t wide = few_rows ? 1 : min_of(fit, this->pixels / (kWidePieces * this->width));
        together = in_place ? max_of(kPackedPanels, fit) : wide > 1 ? 1 : kPackedPanels;
        if (few_rows && !in_place) together = this->together_for_few_rows(sums);
        if (!in_place && wide > 1) this->width *= wide;
        row = this->width + (is_wide() ? kLanes<Real> : 0);  // no power of two
        if (band.rows > 0) this->width = this->y->width, row = band.row, together = band.rows;
        const std::int64_t spare = round_up(this->pixels, kLanes<Real> / 2) - this->pixels;
        const bool pays =
            this->pixels < kJoinedPixels && spare * this->c_group * this->taps > kCopyProducts * this->pixels;
        const bool joins = few_rows && pays && !in_place && band.rows == 0 && !this->weight_each;
        joined = joins ? max_of(1, min_of(n, kMostJoined)) : 1;
        this->panels = ceil_div(joined * this->pixels, this->width);
    }
    bool is_wide() const { return this->width > kPanelBlocks * kLanes<Real>; }
    std::int64_t chunk() const { return this->chunk_channels(this->c_group, this->taps, few_rows); }
    // Packing overruns a panel by less than a block.
    std::int64_t panel_elements() const {
        return band.rows > 0 ? this->a.stride_h * band.step : chunk() * this->taps * row + kLanes<Real>;
    }
    std::int64_t packed_elements() const {
        if (band.rows > 0) return band_rows(band.rows) * band.step + this->x->channels * band.line;
        return (in_place ? 1 : together) * panel_elements();
    }
    // Rows of the weight that a task begins after, and those of the largest task.
    std::int64_t rows_before(std::int64_t part, std::int64_t parts) const {
        return min_of(this->k_group, part * ceil_div(this->k_group, unit()) / parts * unit());
    }
    std::int64_t most_rows(std::int64_t parts) const {
        return ceil_div(ceil_div(this->k_group, unit()), parts) * unit();
    }
    std::int64_t unit() const { return side ? kSideRows : 1; }
    // Rows of x that `count` rows of y read.
    std::int64_t band_rows(std::int64_t count) const { return (count - 1) * this->a.stride_h + this->a.R; }
};

struct Grid {
    std::int64_t panel_groups, row_groups;
};
// Tasks of the same panels copy them each: where tiles have few rows, they take many of the weight's. What would be one
// task is two, by panels where there are some. (Zen 3, one thread, time by that of one: 7 x 7 pixels 1.00; by rows c960
// k320 7 x 7 1.03, c384 k64 14 x 14 1.10.)
constexpr std::int64_t kPiecesOfFewRows = 8, kTaskRows = 128, kTaskRowsOfFew = 640;
template <class Real>
CONVLENS_SHARED Grid grid_of(const Shape<Real>& s) {
    const std::int64_t task = kTaskProducts * 4 / static_cast<std::int64_t>(sizeof(Real));
    const std::int64_t products = s.k_group * s.c_group * s.taps * s.panels * s.width;
    const std::int64_t most = s.few_rows && s.band.rows == 0 ? kPiecesOfFewRows : kMostPieces;
    const std::int64_t pieces = min_of(most, max_of(1, products / task));
    Grid grid;
    const std::int64_t cut = s.band.rows > 0 ? round_up(ceil_div(s.panels, 8), 8) : ceil_div(s.panels, kPackedPanels);
    grid.panel_groups = min_of(min_of(cut, s.panels), pieces);
    const std::int64_t row_groups = ceil_div(s.k_group, most < kMostPieces ? kTaskRowsOfFew : kTaskRows);
    grid.row_groups = min_of(row_groups, max_of(1, pieces / grid.panel_groups));
    if (s.few_rows && pieces > 1 && grid.panel_groups * grid.row_groups == 1) {
        grid.panel_groups = min_of(2, s.panels);
        if (s.panels == 1) grid.row_groups = min_of(2, ceil_div(s.k_group, s.unit()));  // none is empty
    }
    return grid;
}

// Rows of the weight that are many lines apart, and a power of two, share few places of the first-level cache: then
// they are read from a copy with rows a line longer. (256 x 1024 by 14 x 14 pixels, Zen 4: half the time.)
template <class Real>
bool is_spread(const Shape<Real>& s) {
    return !s.weight_each && !s.few_rows && s.k_group > 8 &&
           s.c_group * s.taps * static_cast<std::int64_t>(sizeof(Real)) % 2048 == 0;
}
template <class Real>
bool copies_weight(const Shape<Real>& s) {
    return is_spread(s) || s.band.rows > 0 || (s.side && !s.few_rows);
}
template <class Real>
std::int64_t weight_step(const Shape<Real>& s) {
    return s.c_group * s.taps + (is_spread(s) ? kLanes<Real> : 0);
}
template <class Real>
std::int64_t rows_a_task(const Shape<Real>& s) {
    return units_per_task(weight_step(s) * static_cast<std::int64_t>(sizeof(Real)));
}

// Of a task, panels whose lanes are not all pixels of one image.
template <class Real>
std::int64_t partial_panels(const Shape<Real>& s) {
    return s.joined == 1 ? 1 : ceil_div(s.panels, grid_of(s).panel_groups);
}
template <class Real>
CONVLENS_COLD std::int64_t thread_elements(const Shape<Real>& s) {
    const std::int64_t rows = s.most_rows(grid_of(s).row_groups);
    return s.packed_elements() + (s.band.rows > 0 ? 0 : rows * s.width * partial_panels(s));
}

// `each`: a weight for each image.
template <class Real>
CONVLENS_COLD CONVLENS_SHARED Status check_either(const Problem& p, ScratchNeed* scratch, bool each) {
    const int attributes = kConvAttributes + (side_by_side(p) && !each ? 1 : 0);
    CONVLENS_RETURN_IF_ERROR(check_counts(p, p.instruction->n_inputs == 2 ? 2 : 3, 1, 1, attributes));
    CONVLENS_RETURN_IF_ERROR(check_plain_conv<Real>(p, p.inputs[0], p.outputs[0], p.inputs[1], "x", "y", "w", each));
    // Which, the call says; for many images a panel is copied.
    const Shape<Real> s(p, false, 1), ordered(p, true, INT64_MAX);
    std::int64_t elements = max_of(thread_elements(s), thread_elements(ordered));
    for (std::int64_t n = 1; n < ordered.joined; ++n) {
        elements = max_of(elements, thread_elements(Shape<Real>(p, true, n)));
    }
    if (s.side && (s.taps > 1 || s.a.groups > 1)) return fail(Code::corrupt_file, "rows side by side are of one tap");
    if (each && !s.is_pointwise()) return fail(Code::corrupt_file, "matmul takes kernels of one pixel alone");
    if (p.inputs[2] != nullptr) {
        CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[2], "bias", DType::real));
        const Tensor& bias = *p.inputs[2];
        if (bias.batched || bias.layout != Layout::plain || has_halo(bias) || logical_elements(bias) != s.y->channels) {
            return fail(Code::corrupt_file, "`bias` must be plain, not batched, of %d elements", s.y->channels);
        }
    }
    CONVLENS_RETURN_IF_ERROR(check_apart(*s.y, "y", *s.x, "x"));
    CONVLENS_RETURN_IF_ERROR(check_apart(*s.y, "y", *p.inputs[1], "w"));
    scratch->per_thread_bytes = elements * static_cast<std::int64_t>(sizeof(Real));
    if (copies_weight(s)) {
        scratch->fixed_bytes = s.y->channels * weight_step(s) * static_cast<std::int64_t>(sizeof(Real));
    }
    return s.band.rows > 0 ? Status{} : check_halo(*s.x, "x", forward_rectangle(s.a, whole(*s.y)));
}

template <class Real, bool Each>
Status check(const Problem& p, ScratchNeed* scratch) {
    return check_either<Real>(p, scratch, Each);
}

template <class Real>
CONVLENS_COLD Rectangle input_rectangle(const Problem& p, int input, Rectangle r) {
    const ConvAttributes a = ConvAttributes::of(p);
    if (input != 0) return {0, 0, 0, 0};
    if (Bands<Real>(a, *p.inputs[0], *p.outputs[0]).rows > 0) return whole(*p.inputs[0]);
    return forward_rectangle(a, r);
}

// ---- phase 0: the copy ----

template <class Real>
std::int64_t spread_tasks(const Call& call) {
    const Shape<Real> s(*call.problem, call.kernels->ordered, call.n);
    return call.n == 0 || !copies_weight(s) ? 0 : ceil_div(s.y->channels, rows_a_task(s));
}
template <class Real>
void spread(const Call& call, std::int64_t task, int) {
    const Shape<Real> s(*call.problem, call.kernels->ordered, call.n);
    const std::int64_t reduction = s.c_group * s.taps, chunk = rows_a_task(s);
    for (std::int64_t k = task * chunk; k < min_of(s.y->channels, (task + 1) * chunk); ++k) {
        Real* to = reinterpret_cast<Real*>(call.fixed_scratch) + k * weight_step(s);
        const Real* from = reinterpret_cast<const Real*>(call.inputs[1].data) + k * reduction;
        if (s.side) {
            from += (k % kSideBySide) * (1 - reduction);  // of the first one of the three
            for (std::int64_t c = 0; c < reduction; ++c) to[c] = from[c * kSideBySide];
            continue;
        }
        if (s.band.rows == 0) {
            std::memcpy(to, from, static_cast<std::size_t>(reduction) * sizeof(Real));
            continue;
        }
        for (std::int64_t r = 0; r < s.a.R; ++r) {
            for (std::int64_t c = 0; c < s.c_group; ++c, to += s.a.S) {
                std::memcpy(to, from + (c * s.a.R + r) * s.a.S, static_cast<std::size_t>(s.a.S) * sizeof(Real));
            }
        }
    }
}

// ---- phase 1: the product ----

// A result beyond the caches is written past them: a line that is written whole needs not be read first. (8 images, by
// OpenBLAS's product: c24 k144 56 x 56 1.60 and 0.88, c128 k512 28 x 28 1.00 and 0.91.) Lines are whole where rows are.
// Not where panels of any pixels are packed meanwhile: in bands y's rows grow in longer runs. Nor, on AVX2, planes of
// whole pages (Zen 3: c3 k64 r3 224 x 224 0.76 of the time, 8 images 0.67 to 0.79, 192 x 192 0.75; of 208 x 208 1.13).
constexpr std::int64_t kStreamedBytes = 4 << 20;
template <class Real>
bool streams(const Call& call, const Shape<Real>& s) {
    const View& y = call.outputs[0];
    if (s.few_rows && s.pixels * static_cast<std::int64_t>(sizeof(Real)) % kPageBytes == 0) return false;
    return (s.in_place || s.band.rows > 0) && call.n * y.image_stride > kStreamedBytes &&
           s.pixels % kLanes<Real> == 0 && y.image_stride % static_cast<std::int64_t>(kAlignment) == 0 &&
           reinterpret_cast<std::uintptr_t>(y.data) % kAlignment == 0;
}

// One beyond the second-level cache alone is called in while its sums are made, as a residual would be. (8 images, Zen
// 4: c64 k128 stride 2 56 x 56 0.84 of the time, c64 k64 stride 2 112 x 112 0.86.) Tiles of few rows take too little
// time for that: the lines of the next tile come. (Zen 3, c3 k64 r3 224 x 224: 0.94.)
constexpr std::int64_t kFarBytes = 1 << 20, kRowsAhead = 3;

template <class Real>
std::int64_t tasks(const Call& call) {
    const Shape<Real> s(*call.problem, call.kernels->ordered, call.n);
    const Grid grid = grid_of(s);
    return ceil_div(call.n, s.joined) * s.a.groups * grid.row_groups * grid.panel_groups;
}

// Packs the rows of x that rows [row, row + count) of y read.
template <class Real>
void pack_band(const Call& call, const Shape<Real>& s, Panel<Real> pack, std::int64_t image, std::int64_t row,
               std::int64_t count) {
    const std::int64_t line = s.band.line, left = s.a.pad_left, columns = min_of(s.x->width, line - left);
    Real* lines = pack.panel + s.packed_elements() - s.c_group * line;
    const PanelRun run = {0, s.width, 0};
    pack.spare = true, pack.runs = &run, pack.n_runs = 1, pack.R = 1;
    pack.image = lines, pack.image_end = lines + s.c_group * line, pack.channel_step = line;
    std::memset(static_cast<void*>(lines), 0, static_cast<std::size_t>(s.c_group * line) * sizeof(Real));
    for (std::int64_t i = 0; i < s.band_rows(count); ++i, pack.panel += s.band.step) {
        const std::int64_t from = row * s.a.stride_h - s.a.pad_top + i;
        if (from < 0 || from >= s.x->height) {
            std::memset(static_cast<void*>(pack.panel), 0, static_cast<std::size_t>(s.band.step) * sizeof(Real));
            continue;
        }
        const Real* x = image_data<Real>(call.inputs[0], image) + from * row_stride<Real>(*s.x);
        for (std::int64_t c = 0; c < s.c_group && columns > 0; ++c) {
            std::memcpy(lines + c * line + left, x + c * channel_stride<Real>(*s.x),
                        static_cast<std::size_t>(columns) * sizeof(Real));
        }
        call.kernels->set<Real>().pack_panel(pack);
    }
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Shape<Real> s(*call.problem, call.kernels->ordered, call.n);
    const Grid grid = grid_of(s);
    const std::int64_t at = task % grid.panel_groups, part = task / grid.panel_groups % grid.row_groups;
    const std::int64_t group = task / grid.panel_groups / grid.row_groups % s.a.groups;
    const std::int64_t image = task / grid.panel_groups / grid.row_groups / s.a.groups * s.joined;
    const std::int64_t images = min_of(s.joined, call.n - image), all = images * s.pixels;
    const auto lanes_used = [&](std::int64_t panel) { return min_of(s.width, all - panel * s.width); };
    const std::int64_t before = s.rows_before(part, grid.row_groups), k0 = group * s.k_group + before;
    const std::int64_t rows = s.rows_before(part + 1, grid.row_groups) - before;
    const bool side = s.side && s.few_rows;  // or from a copy
    const std::int64_t chunk = s.chunk();
    const View& w = call.inputs[1];
    const auto* weight = reinterpret_cast<const Real*>(copies_weight(s) ? call.fixed_scratch : w.data);
    if (s.weight_each) weight = image_data<Real>(w, image);
    const auto& kernels = call.kernels->set<Real>();
    Real* panels = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* partial = panels + s.packed_elements();  // of panels whose lanes are not all pixels of one image
    Real* y = image_data<Real>(call.outputs[0], image) + k0 * s.pixels;
    const std::int64_t size = sizeof(Real), x_image = call.inputs[0].image_stride / size,
                       y_image = call.outputs[0].image_stride / size;
    const Real* bias = call.inputs[2] ? reinterpret_cast<const Real*>(call.inputs[2].data) + k0 : nullptr;

    PanelRun runs[kWideBlocks * kLanes<Real>];
    Panel<Real> pack;
    pack.panel = panels, pack.width = s.row, pack.spare = s.is_wide(), pack.runs = runs;
    pack.far = s.is_far(call.inputs[0], call.n);
    pack.R = s.a.R, pack.S = s.a.S, pack.stride = s.a.stride_w;
    pack.channel_step = channel_stride<Real>(*s.x), pack.column_step = s.a.dilation_w;
    pack.row_step = s.a.dilation_h * row_stride<Real>(*s.x);
    pack.image_end = reinterpret_cast<const Real*>(call.inputs[0].data + call.n * call.inputs[0].image_stride);
    for (std::int64_t c = 0; c < s.c_group; c += chunk) {
        pack.channels = min_of(chunk, s.c_group - c);
        pack.image = image_data<Real>(call.inputs[0], image) + (group * s.c_group + c) * pack.channel_step -
                     s.a.pad_top * row_stride<Real>(*s.x) - s.a.pad_left;
        ConvTile<Real> tile = panel_tile<Real>(nullptr, 0, s.width, pack.channels * s.taps, 0, &kNoTap);
        tile.source.column_step = weight_step(s);
        tile.source_element_step = tile.source_columns = side ? kSideBySide : 1;
        tile.finish = c > 0 || bias != nullptr ? kConvAdd : kConvStore;
        tile.streams = streams(call, s) && c + chunk >= s.c_group;
        const bool far = !tile.streams && call.n * call.outputs[0].image_stride > kFarBytes;
        const std::int64_t filled_panels = ceil_div(all, s.width), begin = at * filled_panels / grid.panel_groups;
        const std::int64_t last = (at + 1) * filled_panels / grid.panel_groups;
        for (std::int64_t packed = begin; packed < last; packed += s.together) {
            const std::int64_t end = min_of(packed + s.together, last);
            const std::int64_t first = s.first_packed(packed, end, s.in_place, lanes_used(end - 1));
            if (s.band.rows > 0) {
                pack_band(call, s, pack, image, packed, end - packed);
            } else if (first < end) {
                const std::int64_t pixel = first * s.width;
                pack.n_runs = s.runs(pixel, min_of(end * s.width, all) - pixel, row_stride<Real>(*s.x), runs,
                                     s.panel_elements(), x_image);
                kernels.pack_panel(pack);
            }
            // A few rows by all panels, and then the next: the weight is read once, and y's rows grow in long pieces.
            each_piece(
                rows,
                s.few_rows        ? rows
                : s.band.rows > 0 ? 1
                : s.is_wide()     ? kWideTiles
                                  : kPieceTiles,
                [&](std::int64_t row, std::int64_t count) {
                    tile.source.data = weight + (k0 + row) * weight_step(s) + c * s.taps * tile.source_element_step;
                    for (std::int64_t p = packed; p < end; ++p) {
                        const std::int64_t pixels = lanes_used(p), filled = round_up(pixels, kLanes<Real>);
                        const bool here = p < first;
                        tile.blocks = filled / kLanes<Real>;
                        // What is written for rows that are not there is not copied.
                        const bool whole_sixes = side && tile.blocks == 1;
                        const bool straight = pixels == filled && !whole_sixes && s.joined == 1;
                        tile.columns = whole_sixes ? round_up(count, kSideRows) : count;
                        tile.last_lanes = kLanes<Real> - (s.few_rows ? filled - pixels : 0);
                        tile.weight = here ? pack.image + p * s.width : panels + (p - first) * s.panel_elements();
                        tile.weight_element_step = here ? pack.channel_step : s.row;
                        take_elements(&tile, pack.channels * s.taps, s.few_rows && !side && !here && !s.is_wide());
                        tile.output.column_step = straight ? s.pixels : s.width;
                        Real* sums = straight ? y + p * s.width : partial;
                        if (s.joined > 1) sums += (p - begin) * s.most_rows(grid.row_groups) * s.width;
                        tile.output.data = sums + row * tile.output.column_step;
                        if (far) {
                            tile.epilogue.residual = constant(tile.output);
                            tile.epilogue.residual.data += s.few_rows ? kRowsAhead * tile.output.column_step : 0;
                        }
                        for (std::int64_t k = 0; c == 0 && bias != nullptr && k < count; ++k) {
                            Real* of_row = tile.output.data + k * tile.output.column_step;
                            for (std::int64_t l = 0; l < filled; ++l) of_row[l] = bias[row + k];
                        }
                        kernels.conv_tile(tile);
                        if (straight || c + chunk < s.c_group) continue;
                        for (std::int64_t lane = 0, run; lane < pixels; lane += run) {
                            const std::int64_t pixel = p * s.width + lane, within = pixel % s.pixels;
                            run = min_of(pixels - lane, s.pixels - within);
                            Real* to = y + pixel / s.pixels * y_image + within;
                            for (std::int64_t k = row; k < row + count; ++k) {
                                std::memcpy(to + k * s.pixels, sums + k * s.width + lane,
                                            static_cast<std::size_t>(run * size));
                            }
                        }
                    }
                });
        }
    }
    if (streams(call, s)) std::atomic_thread_fence(std::memory_order_seq_cst);  // such writes keep no order else
    if (task % (s.a.groups * grid.row_groups * grid.panel_groups) != 0) return;
    for (std::int64_t i = 0; i < images; ++i) zero_beyond_channels<Real>(call.outputs[0], image + i);
}

template <class Real>
constexpr Op make_matmul() {
    return {"matmul", check<Real, true>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}
template <class Real>
constexpr Op make_conv2d_plain() {
    return {"conv2d_plain",
            check<Real, false>,
            input_rectangle<Real>,
            nullptr,
            nullptr,
            {{spread_tasks<Real>, spread<Real>}, {tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d_plain, make_conv2d_plain)
CONVLENS_DEFINE_OP(matmul, make_matmul)
