// What the convolutions of plain tensors share: their sizes, and panels of pixels.
#pragma once

#include "ops/conv.hpp"

namespace convlens {

constexpr std::int64_t kPanelBlocks = 2;
constexpr std::int64_t kPackedPanels = 4;  // packed together: a channel's pixels lie far from the next one's
constexpr std::int64_t kMostTogether = 16, kTogetherBytes = 256 << 10;  // the same for tiles of few rows
constexpr std::int64_t kMostRuns = kMostTogether * kPanelBlocks * 16;   // a row of pixels is one at least
constexpr std::int64_t kChunkElements = 384;   // of the reduction: a panel of them stays in the second-level cache
constexpr std::int64_t kChunkOfFewRows = 576;  // at most, all chunks alike
constexpr std::int64_t kPlanesBytes = 512 << 10;
constexpr std::int64_t kNearBytes = 4 << 20, kFarImageBytes = 2 << 20, kShortSum = 96;
constexpr std::int64_t kPageBytes = 4 << 10;
constexpr std::int64_t kMostPlainTaps = 1 << 10;
constexpr std::int64_t kTileRows = 14;   // of the product: the most that a tile has
constexpr std::int64_t kPieceTiles = 2;  // of a piece

// A weight of one tap may come with its rows side by side by threes, element by element, and zeros for rows that make
// them whole sixes: what a tile of few rows reads is one stream then (kernels/body/side_by_side.h).
constexpr std::int64_t kSideBySide = 3, kSideRows = 6;
inline bool side_by_side(const Problem& p) {
    return p.instruction->n_attributes > kConvAttributes && p.attribute(kConvAttributes) != 0;
}

// `y` is what a convolution of `x` gives; gradients have the other direction.
template <class Real>
struct PlainConv {
    ConvAttributes a;
    const Tensor *x, *y;
    std::int64_t c_group, k_group, taps, pixels, width, panels;
    bool weight_each = false;  // one an image
    CONVLENS_SHARED PlainConv(const Problem& p, const Tensor* x_tensor, const Tensor* y_tensor)
        : a(ConvAttributes::of(p)), x(x_tensor), y(y_tensor) {
        c_group = x->channels / a.groups, k_group = y->channels / a.groups, taps = a.R * a.S;
        pixels = pixels_of(*y), width = kPanelBlocks * kLanes<Real>, panels = ceil_div(pixels, width);
    }
    // Channels of `of` whose taps a chunk of the reduction takes. Tiles of few rows return to y less often. (Zen 3,
    // c512 k256 and k128 28 x 28: 0.98 of the time by chunks of 384.)
    std::int64_t chunk_channels(std::int64_t of, std::int64_t taps_each, bool few_rows) const {
        const std::int64_t most = few_rows ? ceil_div(of, ceil_div(of * taps_each, kChunkOfFewRows)) : of;
        return min_of(most, max_of(1, (few_rows ? kChunkOfFewRows : kChunkElements) / taps_each));
    }
    // Whether y's pixels are x's.
    bool is_pointwise() const {
        return taps == 1 && a.stride_h == 1 && a.stride_w == 1 && a.pad_top == 0 && a.pad_left == 0 &&
               x->height == y->height && x->width == y->width;
    }
    // Whether panels are read where they are, in planes of y's size whose pixels follow each other. For a few rows a
    // copy costs more than it saves; for many, planes that lie on too many pages cost more. (Zen 4, c144 k24 56 x 56:
    // 0.83 instead of 1.04; c16 k96 112 x 112: 0.96 instead of 1.00; c64 k256 56 x 56: 1.16 instead of 1.05 times the
    // product of OpenBLAS.)
    // Planes of whole pages share one place of the first-level cache. (c3 k64 r3 224 x 224, grad_input: 1.6 times.)
    // Tiles of few rows pass a panel more often: of short sums in place while the first-level cache and its list of
    // pages hold it, and planes are no further than a cache. (Zen 3, of the time of a copy: c32 k16 112 x 112 0.8, c80
    // k40 14 x 14 0.9, but c64 k64 56 x 56 1.13, c192 k32 28 x 28 1.2, 8 images of c24 k144 56 x 56 1.6.) Long sums of
    // few rows that lie apart, by planes of a page, are slower by a copy too (c144 k24 28 x 28 1.15).
    bool reads_in_place(std::int64_t rows, std::int64_t planes, bool few_rows, bool side, std::int64_t images) const {
        const std::int64_t plane = pixels * static_cast<std::int64_t>(sizeof(Real));
        const bool pages = plane > kPageBytes;
        if (few_rows && (pages || side || rows >= 32 || planes <= kShortSum)) {
            const std::int64_t most = !pages ? kShortSum : rows > 8 ? 32 : 64;
            return plane % kPageBytes != 0 && planes <= most && images <= kNearBytes / ((rows + planes) * plane);
        }
        return plane % kPageBytes != 0 && (rows <= 64 || planes <= 32 || planes * plane <= kPlanesBytes);
    }
    // Whether planes are pages and further than a cache.
    bool is_far(const View& image, std::int64_t images) const {
        return images * image.image_stride > kFarImageBytes &&
               pixels * static_cast<std::int64_t>(sizeof(Real)) > kPageBytes;
    }
    // Panels of `elements` that tiles of few rows are packed together for.
    std::int64_t together_for_few_rows(std::int64_t elements) const {
        const std::int64_t fit = kTogetherBytes / (elements * kPanelBlocks * kBlockBytes);
        return min_of(kMostTogether, max_of(kPackedPanels, fit));
    }
    // Of the panels [first, end), the last one of `last_pixels`, those from here on are packed: in place, one that is
    // not full.
    std::int64_t first_packed(std::int64_t first, std::int64_t end, bool in_place, std::int64_t last_pixels) const {
        return !in_place ? first : last_pixels % kLanes<Real> == 0 ? end : end - 1;
    }
    // The pixels [first, first + count) of y, row by row, as places in a plane of x with rows of x_row elements; those
    // of the next image, `x_image` elements on, follow. They lie in panels `panel_step` apart, or, when that is 0, in
    // one row.
    CONVLENS_SHARED std::int64_t runs(std::int64_t first, std::int64_t count, std::int64_t x_row, PanelRun* run,
                                      std::int64_t panel_step = 0, std::int64_t x_image = 0) const {
        // Rows that follow each other without a gap are one.
        const bool joined = a.stride_h == 1 && a.stride_w == 1 && x_row == y->width;
        const std::int64_t columns = joined ? pixels : y->width;
        std::int64_t n = 0;
        for (std::int64_t done = 0; done < count; ++n) {
            const std::int64_t pixel = (first + done) % pixels, row = pixel / columns, column = pixel % columns;
            std::int64_t pixels_here = min_of(count - done, columns - column), lane = done;
            if (panel_step > 0) {
                pixels_here = min_of(pixels_here, width - done % width);
                lane = done / width * panel_step + done % width;
            }
            run[n] = {lane, pixels_here,
                      (first + done) / pixels * x_image + row * a.stride_h * x_row + column * a.stride_w};
            done += pixels_here;
        }
        return n;
    }
};

template <class Real>
CONVLENS_COLD Status check_plain_conv(const Problem& p, const Tensor* x, const Tensor* y, const Tensor* w,
                                      const char* x_name, const char* y_name, const char* w_name,
                                      bool weight_each = false) {
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(x, x_name, Layout::plain));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(y, y_name, Layout::plain));
    const ConvAttributes a = ConvAttributes::of(p);
    const std::int64_t rows = side_by_side(p) ? round_up(y->channels, kSideRows) : y->channels;
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(y->channels, x->channels, a.R, a.S, a.groups));
    CONVLENS_RETURN_IF_ERROR(check_attributes(a));
    if (a.R * a.S > kMostPlainTaps || a.stride_h * a.stride_w > kMostPlainTaps) {
        return fail(Code::unsupported, "`kernel_size` and `stride` must have at most %lld taps and phases",
                    static_cast<long long>(kMostPlainTaps));
    }
    if (has_halo(*y)) return fail(Code::corrupt_file, "`%s` has a halo; its pixels must follow each other", y_name);
    PackedWeight sizes{};
    sizes.K = rows, sizes.C = x->channels, sizes.R = a.R, sizes.S = a.S, sizes.groups = a.groups;
    return check_plain_weight<Real>(w, w_name, sizes, weight_each);
}

// The tile whose lanes are a panel's pixels; `rows` rows of the product from `source` on.
template <class Real>
CONVLENS_SHARED ConvTile<Real> panel_tile(const Real* panel, std::int64_t width, std::int64_t pixels,
                                          std::int64_t elements, std::int64_t rows, const ConvTap* tap) {
    ConvTile<Real> tile;
    tile.rows = 1, tile.columns = rows, tile.steps = 1;
    tile.blocks = ceil_div(pixels, kLanes<Real>), tile.last_lanes = kLanes<Real>;
    tile.taps = tap, tile.n_taps = 1;
    tile.elements = tile.last_elements = elements;
    tile.weight = panel, tile.weight_block_step = kLanes<Real>, tile.weight_element_step = width;
    tile.output.block_step = kLanes<Real>;
    return tile;
}
constexpr ConvTap kNoTap = {0, 0};

// A panel's elements, in steps of a block where they lie together: a tile of few rows goes through those faster.
template <class Real>
CONVLENS_SHARED void take_elements(ConvTile<Real>* tile, std::int64_t elements, bool together) {
    constexpr std::int64_t lanes = kLanes<Real>;
    tile->steps = together ? ceil_div(elements, lanes) : 1, tile->elements = together ? lanes : elements;
    tile->last_elements = elements - (tile->steps - 1) * tile->elements;
    tile->source_step = lanes * tile->source_element_step, tile->weight_step = lanes * tile->weight_element_step;
}

// Calls visit(first row, rows) for the pieces that rows of the product are computed in, each by all packed panels in
// turn: a few tiles, cut where tiles are. (256 rows are 19 tiles, and cut into tens of 25.6 rows 20.)
template <class Visit>
void each_piece(std::int64_t rows, std::int64_t most_tiles, Visit visit) {
    const std::int64_t tiles = ceil_div(rows, kTileRows), count = ceil_div(tiles, most_tiles);
    for (std::int64_t i = 0, first = 0; i < count; ++i) {
        const std::int64_t end = (i + 1) * tiles / count * rows / tiles;
        visit(first, end - first);
        first = end;
    }
}

}  // namespace convlens
