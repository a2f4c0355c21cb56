// What a Program knows of a tensor before anything runs, and where it lies while an instruction runs.
#pragma once

#include <cstdint>

namespace convlens {

// A block of channels is 64 bytes on every ISA: 16 float32 or 8 float64.
constexpr std::int64_t kBlockBytes = 64;
template <class Real>
constexpr std::int64_t kLanes = kBlockBytes / static_cast<std::int64_t>(sizeof(Real));

enum class DType : std::uint8_t { real = 0, int64 = 1, uint8 = 2, mask = 3 };
// real : the Program's float32 or float64.
// mask : one bit a lane; a group of kLanes bits (2 bytes for float32, 1 byte for float64) mirrors each 64-byte block of
//        the real tensor of the same layout, without halo.
// uint8: one byte a lane, layout as the real tensor, without halo.

enum class Layout : std::uint8_t { plain = 0, blocked = 1, packed = 2 };
// plain  : [c][y][x] with halo rows and columns; in the arena padded to a multiple of 64 bytes an image, outside exact.
// blocked: [c / lanes][y][x][lanes] with halo; lanes beyond `channels` are zero, and so is the halo.
//          With height = width = 1 and no halo, plain and blocked are the same bytes.
// packed : weights in the order the convolution tile reads them (ops/pack.hpp); one dimension, `channels` = elements.

enum class Place : std::uint8_t { arena = 0, weight = 1, state = 2, external = 3 };

// 64 bytes; this is also its form in a compiled file.
struct Tensor {
    DType dtype;
    Layout layout;
    Place place;
    std::uint8_t batched;  // 1: one copy an image, `offset` and `bytes` are per image; 0: one copy for the call
    std::int32_t channels, height, width;
    std::uint16_t halo_top, halo_left, halo_bottom, halo_right;
    // Index among weights, states or externals. In the arena -1, or the tensor that this one is a part of: some of its
    // blocks of channels, real, blocked, of more than a pixel and batched. Four bytes of zero follow.
    std::int32_t slot;
    std::int64_t offset;  // arena: bytes from the start of its region (fixed or per image), a multiple of 64
    std::int64_t bytes;   // one copy, halo included
    std::int64_t within;  // of a part: bytes from the start of the whole's copy, a multiple of 64; else 0
    std::int64_t whole;   // of a part: `bytes` of the whole, whose `offset` it has; else 0

    bool is_part() const { return whole != 0; }
    std::int64_t pitch() const { return is_part() ? whole : bytes; }  // from an image's copy to the next one's
};
static_assert(sizeof(Tensor) == 64, "Tensor is part of the file format");

// Whether two tensors have bytes in common; of parts of different tensors, whether the whole ones have.
inline bool overlap(const Tensor& a, const Tensor& b) {
    if (a.place != b.place) return false;
    if (a.place != Place::arena) return a.slot == b.slot;
    if (a.is_part() && a.slot == b.slot) return a.within < b.within + b.bytes && b.within < a.within + a.bytes;
    return a.batched == b.batched && a.offset < b.offset + b.pitch() && b.offset < a.offset + a.pitch();
}
inline bool same_bytes(const Tensor& a, const Tensor& b) {
    return a.place == b.place && a.slot == b.slot && a.batched == b.batched && a.offset == b.offset &&
           a.within == b.within && a.bytes == b.bytes;
}

// A tensor while an instruction runs. `data` is the first byte of image 0, halo included.
struct View {
    const Tensor* tensor = nullptr;  // nullptr: an optional operand that is absent
    char* data = nullptr;
    std::int64_t image_stride = 0;  // bytes; 0 for a tensor that is not batched, more than its own for a part

    explicit operator bool() const { return tensor != nullptr; }
    std::int64_t row_elements() const { return tensor->width + tensor->halo_left + tensor->halo_right; }
    std::int64_t rows() const { return tensor->height + tensor->halo_top + tensor->halo_bottom; }
};

}  // namespace convlens
