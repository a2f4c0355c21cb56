// What the linear layers share: the weight's geometry, addresses, and the fixed chunks of their reductions.
//
// A layer reads images (C, H, W) through weights packed as a convolution of kernel (H, W). To the register tile, its
// columns are images.
#pragma once

#include "ops/conv.hpp"

namespace convlens {

// `features` is (K, 1, 1), `image` (C, H, W).
template <class Real>
PackedWeight linear_weight(const Tensor& features, const Tensor& image) {
    return PackedWeight::make(features.channels, image.channels, image.height, image.width, 1, kLanes<Real>);
}

// The packed weight between two tensors that were checked themselves.
template <class Real>
CONVLENS_COLD Status check_linear_weight(const Tensor* t, const char* name, const Tensor& features,
                                         const Tensor& image) {
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(features.channels, image.channels, image.height, image.width, 1));
    return check_packed<Real>(t, name, linear_weight<Real>(features, image).elements());
}

// (K, 1, 1), blocked or plain. An exact one is read and written up to its last element.
template <class Real>
CONVLENS_COLD Status check_features(const Tensor* t, const char* name) {
    CONVLENS_RETURN_IF_ERROR(check_source<Real>(t, name));
    if (!one_pixel(*t)) {
        return fail(Code::corrupt_file, "`%s` is %d x %d x %d; it must have one pixel and no halo", name, t->channels,
                    t->height, t->width);
    }
    return {};
}
inline bool is_exact(const Tensor& t) { return t.place == Place::external && t.layout == Layout::plain; }

// Elements from an image to the next.
template <class Real>
std::int64_t image_step(const View& view) {
    return view.image_stride / static_cast<std::int64_t>(sizeof(Real));
}

// Pixel (y, x) of a block of channels, columns being images. A plain tensor of one pixel has the same bytes.
template <class Real>
ConvOperand<Real> images_at(const View& view, std::int64_t image, std::int64_t block, std::int64_t y, std::int64_t x) {
    const Tensor& t = *view.tensor;
    const std::int64_t block_step = one_pixel(t) ? kLanes<Real> : plane_stride<Real>(t);
    ConvOperand<Real> o;
    o.data = image_data<Real>(view, image) + block * block_step + y * row_stride<Real>(t) + x * pixel_elements<Real>(t);
    o.column_step = image_step<Real>(view), o.block_step = block_step;
    return o;
}
template <class Real>
ConvOperand<std::uint8_t> mask_images_at(const View& view, std::int64_t image, std::int64_t block, std::int64_t y,
                                         std::int64_t x) {
    ConvOperand<std::uint8_t> o = mask_at<Real>(view, image, block, y, x);
    o.row_step = 0, o.column_step = view.image_stride;
    return o;
}

// ---- chunks: the sum over all inputs is a tree of sums over about kChunkProducts of them ----
//
// So one image feeds several cores, a chunk's weights stay in the second-level cache while images pass, and a sum of
// 25,000 products loses no more bits than one of a thousand. Chunks are a function of the shape alone.
constexpr std::int64_t kChunkProducts = 1024;
constexpr std::int64_t kMostChunks = 64;

inline std::int64_t chunks_of(std::int64_t products) {
    return min_of(kMostChunks, max_of(1, ceil_div(products, kChunkProducts)));
}

// Parts [first(i), first(i + 1)) of `total`, alike up to one.
struct Split {
    std::int64_t total, parts;
    std::int64_t first(std::int64_t part) const { return part * total / parts; }
    std::int64_t longest() const { return ceil_div(total, parts); }
};

// Images in groups of about `most`: a function of n, which no image's sums depend on.
inline Split image_groups(std::int64_t n, std::int64_t most) { return {n, ceil_div(n, most)}; }

}  // namespace convlens
