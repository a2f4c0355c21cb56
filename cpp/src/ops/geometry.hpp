// Where the elements of a tensor lie, the rules every operand keeps, and how an op cuts its work into tasks.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/status.hpp"
#include "ops/op.hpp"
#include "runtime/tensor.hpp"

namespace convlens {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }
inline std::int64_t min_of(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
inline std::int64_t max_of(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

template <class Real>
std::int64_t blocks_of(const Tensor& t) {
    return ceil_div(t.channels, kLanes<Real>);
}
// Planes of a tensor: blocks of channels when blocked, channels when plain.
template <class Real>
std::int64_t planes_of(const Tensor& t) {
    return t.layout == Layout::blocked ? blocks_of<Real>(t) : t.channels;
}
// Elements a pixel of a plane has.
template <class Real>
std::int64_t pixel_elements(const Tensor& t) {
    return t.layout == Layout::blocked ? kLanes<Real> : 1;
}
inline bool has_halo(const Tensor& t) { return (t.halo_top | t.halo_left | t.halo_bottom | t.halo_right) != 0; }
inline std::int64_t pixels_of(const Tensor& t) { return std::int64_t{t.height} * t.width; }
// One pixel and no halo: plain and blocked are the same bytes.
inline bool one_pixel(const Tensor& t) { return t.height == 1 && t.width == 1 && !has_halo(t); }
inline bool same_shape(const Tensor& a, const Tensor& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
}
inline std::int64_t logical_elements(const Tensor& t) { return std::int64_t{t.channels} * t.height * t.width; }

// Elements from one row, or one plane, of a tensor that may have a halo to the next.
template <class Real>
std::int64_t row_stride(const Tensor& t) {
    return (std::int64_t{t.width} + t.halo_left + t.halo_right) * pixel_elements<Real>(t);
}
template <class Real>
std::int64_t plane_stride(const Tensor& t) {
    return (std::int64_t{t.height} + t.halo_top + t.halo_bottom) * row_stride<Real>(t);
}
// Elements from one channel to the next of what is read as plain, which blocked of one pixel is too.
template <class Real>
std::int64_t channel_stride(const Tensor& t) {
    return one_pixel(t) ? 1 : plane_stride<Real>(t);
}
// Elements from the first byte of an image to pixel (0, 0) of its first plane.
template <class Real>
std::int64_t origin(const Tensor& t) {
    return t.halo_top * row_stride<Real>(t) + t.halo_left * pixel_elements<Real>(t);
}

// Pixel (0, 0) of plane 0 of an image of a real tensor.
template <class Real>
Real* image_data(const View& view, std::int64_t image) {
    return reinterpret_cast<Real*>(view.data + image * view.image_stride) + origin<Real>(*view.tensor);
}

// Bytes of one copy of a tensor, halo included, without what pads it; -1 when that leaves 63 bits.
template <class Real>
std::int64_t exact_bytes(const Tensor& t) {
    const std::int64_t lanes = kLanes<Real>;
    std::int64_t height = t.height, width = t.width, planes = t.channels, bytes = sizeof(Real);
    if (t.dtype == DType::real && t.layout != Layout::packed) {
        height += t.halo_top + t.halo_bottom;
        width += t.halo_left + t.halo_right;
    }
    if (t.layout == Layout::blocked) planes = ceil_div(planes, lanes), bytes = kBlockBytes;
    if (t.dtype == DType::int64) bytes = 8;
    if (t.dtype == DType::uint8) bytes = t.layout == Layout::blocked ? lanes : 1;
    std::int64_t total;
    if (__builtin_mul_overflow(planes, height, &total) || __builtin_mul_overflow(total, width, &total)) return -1;
    if (t.dtype == DType::mask) {
        if (t.layout != Layout::blocked) total = total / lanes + (total % lanes != 0);
        bytes = lanes / 8;
    }
    if (__builtin_mul_overflow(total, bytes, &total) || total > INT64_MAX - kBlockBytes) return -1;
    return total;
}
// Bytes one copy must have: only tensors in place external go without the padding to a multiple of 64.
template <class Real>
std::int64_t needed_bytes(const Tensor& t) {
    const std::int64_t exact = exact_bytes<Real>(t);
    return exact < 0 || t.place == Place::external ? exact : round_up(exact, kBlockBytes);
}

inline const char* dtype_name(DType dtype) {
    switch (dtype) {
        case DType::real:
            return "real";
        case DType::int64:
            return "int64";
        case DType::uint8:
            return "uint8";
        case DType::mask:
            return "mask";
    }
    return "unknown";
}

// A real tensor without padding may be anything C can index; the rest is what the kernels count on.
template <class Real>
CONVLENS_COLD Status check_operand(const Tensor* t, const char* name, DType dtype) {
    if (t == nullptr) return fail(Code::corrupt_file, "`%s` is absent; the instruction needs it", name);
    if (t->dtype != dtype) {
        return fail(Code::corrupt_file, "`%s` is of type %s; the instruction takes %s", name, dtype_name(t->dtype),
                    dtype_name(dtype));
    }
    if (t->channels < 1 || t->height < 1 || t->width < 1) {
        return fail(Code::corrupt_file, "`%s` is %d x %d x %d; sizes must be positive", name, t->channels, t->height,
                    t->width);
    }
    if (dtype != DType::real && has_halo(*t)) {
        return fail(Code::corrupt_file, "`%s` has a halo; only real tensors may", name);
    }
    if (t->layout == Layout::packed && (t->height != 1 || t->width != 1 || has_halo(*t))) {
        return fail(Code::corrupt_file, "`%s` is packed; a packed tensor has one dimension, `channels`", name);
    }
    const std::int64_t needed = needed_bytes<Real>(*t);
    if (needed < 0 || t->bytes < needed) {
        return fail(Code::corrupt_file, "`%s` has %lld bytes; its shape needs %lld", name,
                    static_cast<long long>(t->bytes), static_cast<long long>(needed));
    }
    return {};
}

// Operands of an activation op: real, batched, in the given layout.
template <class Real>
CONVLENS_COLD Status check_activation(const Tensor* t, const char* name, Layout layout) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, name, DType::real));
    if (!t->batched)
        return fail(Code::corrupt_file, "`%s` is not batched; the instruction takes one copy an image", name);
    if (t->layout != layout && !(one_pixel(*t) && t->layout != Layout::packed)) {
        return fail(Code::corrupt_file, "`%s` must have layout %s", name,
                    layout == Layout::plain ? "plain" : "blocked");
    }
    // The same bytes, except that an external plain tensor stops at its last channel.
    if (layout == Layout::blocked && t->place == Place::external && t->layout == Layout::plain &&
        t->channels % kLanes<Real> != 0) {
        return fail(Code::corrupt_file, "`%s` (%d channels, external) must have layout blocked", name, t->channels);
    }
    return {};
}

// For ops that read an input after they have written: the output may not lie where it does.
inline CONVLENS_COLD Status check_apart(const Tensor& output, const char* output_name, const Tensor& input,
                                        const char* input_name) {
    if (output.place != input.place || output.batched != input.batched || output.slot != input.slot ||
        output.offset != input.offset || output.within != input.within) {
        return {};
    }
    return fail(Code::corrupt_file, "`%s` must not lie in place of `%s`", output_name, input_name);
}

inline CONVLENS_COLD Status check_counts(const Problem& p, int n_inputs, int min_outputs, int max_outputs,
                                         int n_attributes) {
    const Instruction& i = *p.instruction;
    if (i.n_inputs != n_inputs || i.n_outputs < min_outputs || i.n_outputs > max_outputs ||
        i.n_attributes != n_attributes) {
        return fail(Code::corrupt_file, "the instruction has %d inputs, %d outputs, %d attributes; it takes %d, %d, %d",
                    i.n_inputs, i.n_outputs, i.n_attributes, n_inputs, max_outputs, n_attributes);
    }
    return {};
}

// Tasks are runs of consecutive units; a unit is computed alike whatever run it falls into. `unit_bytes` is what a unit
// moves: a task moves about 128 KB, some 20 us, far above what a parallel region costs.
constexpr std::int64_t kTaskBytes = 128 << 10;
inline std::int64_t units_per_task(std::int64_t unit_bytes) { return max_of(1, kTaskBytes / max_of(1, unit_bytes)); }

// Calls `work(image, plane, row0, row1)` for the units [task * chunk, ...) of n images x planes x rows.
template <class Work>
void for_each_rows(std::int64_t task, std::int64_t chunk, std::int64_t n, std::int64_t planes, std::int64_t rows,
                   Work work) {
    std::int64_t unit = task * chunk;
    const std::int64_t end = min_of(unit + chunk, n * planes * rows);
    while (unit < end) {
        const std::int64_t plane = unit / rows, row = unit % rows;
        const std::int64_t row_end = min_of(rows, row + end - unit);
        work(plane / planes, plane % planes, row, row_end);
        unit += row_end - row;
    }
}

// Zeros the halo around rows [row0, row1) of a plane: left and right of them, above the first and below the last row.
template <class Real>
void zero_halo(const View& view, std::int64_t image, std::int64_t plane, std::int64_t row0, std::int64_t row1) {
    const Tensor& t = *view.tensor;
    if (!has_halo(t)) return;
    const std::int64_t pixel = pixel_elements<Real>(t), stride = row_stride<Real>(t);
    Real* base = image_data<Real>(view, image) + plane * plane_stride<Real>(t);
    const auto zero = [](Real* from, std::int64_t count) {
        if (count > 0) std::memset(static_cast<void*>(from), 0, static_cast<std::size_t>(count) * sizeof(Real));
    };
    if (row0 == 0) zero(base - t.halo_top * stride - t.halo_left * pixel, t.halo_top * stride);
    for (std::int64_t y = row0; y < row1; ++y) {
        zero(base + y * stride - t.halo_left * pixel, t.halo_left * pixel);
        zero(base + y * stride + t.width * pixel, t.halo_right * pixel);
    }
    if (row1 == t.height) zero(base + t.height * stride - t.halo_left * pixel, t.halo_bottom * stride);
}

// Zeros what pads a copy to a multiple of 64 bytes.
template <class Real>
void zero_padding(const View& view, std::int64_t image) {
    if (view.tensor->place == Place::external) return;
    const std::int64_t used = exact_bytes<Real>(*view.tensor), padding = round_up(used, kBlockBytes) - used;
    if (padding == 0) return;
    std::memset(view.data + image * view.image_stride + used, 0, static_cast<std::size_t>(padding));
}

// After a vector was written as plain, or a plain image: what follows its elements, the lanes of a block included.
template <class Real>
CONVLENS_SHARED void zero_beyond_channels(const View& view, std::int64_t image) {
    const Tensor& t = *view.tensor;
    if (t.layout == Layout::blocked && t.dtype == DType::real && one_pixel(t)) {
        Real* data = image_data<Real>(view, image);
        for (std::int64_t c = t.channels; c < round_up(t.channels, kLanes<Real>); ++c) data[c] = 0;
    }
    zero_padding<Real>(view, image);
}

}  // namespace convlens
