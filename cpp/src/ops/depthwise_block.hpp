// What the depthwise convolutions of plain tensors share. The planes of a block of channels are brought together in
// scratch, lane by lane, some rows at a time; they are convolved there and taken apart again.
#pragma once

#include "ops/conv.hpp"

namespace convlens {

constexpr std::int64_t kMostDepthwiseTaps = 25;
constexpr std::int64_t kCacheBytes = 24 << 10;  // of scratch at a time: the first cache holds them

// Rows of a plain tensor's block of channels in scratch, with zeros around them where windows reach beyond the image.
template <class Real>
struct BlockRows {
    const Tensor* tensor;
    std::int64_t left, right;  // columns of zeros
    Real* data = nullptr;
    std::int64_t first = 0, last = 0;  // rows that `data` holds, in absolute coordinates
    bool fresh = true;                 // of another plane than the next ones

    static constexpr std::int64_t lanes = kLanes<Real>;
    std::int64_t row_step() const { return (left + tensor->width + right) * lanes; }
    Real* at(std::int64_t row, std::int64_t column) const {
        return data + (row - first) * row_step() + (left + column) * lanes;
    }
    ConvOperand<const Real> operand(std::int64_t row, std::int64_t column) const {
        return {at(row, column), row_step(), lanes, 0};
    }
    // Rows [from, to) of an image, those the strip before has in common with this one moved and not read again.
    void advance(const Kernels& kernels, const Real* image, std::int64_t block, std::int64_t from, std::int64_t to) {
        const std::int64_t step = row_step(), kept = fresh ? 0 : max_of(0, last - from);
        if (kept > 0 && from > first) std::memmove(data, data + (from - first) * step, bytes(kept * step));
        const std::int64_t begin = from + kept, top = min_of(max_of(begin, 0), to),
                           bottom = max_of(top, min_of(to, tensor->height));
        if (first != from || last != to) {  // else the zeros are there from the plane before
            if (top > begin) std::memset(static_cast<void*>(data + kept * step), 0, bytes((top - begin) * step));
            if (to > bottom) {
                std::memset(static_cast<void*>(data + (bottom - from) * step), 0, bytes((to - bottom) * step));
            }
        }
        first = from, last = to, fresh = false;
        if (bottom == top) return;
        const std::int64_t plane = pixels_of(*tensor), width = tensor->width;
        kernels.set<Real>().interleave({image + block * lanes * plane + top * width, at(top, 0), plane,
                                        min_of(lanes, tensor->channels - block * lanes), (bottom - top) * width, width,
                                        left + right});
    }
    void clear(std::int64_t rows) { std::memset(static_cast<void*>(data), 0, bytes(rows * row_step())); }
    static std::size_t bytes(std::int64_t elements) { return static_cast<std::size_t>(elements) * sizeof(Real); }
};

// Whether a pass does better on planes as they lie, lanes being pixels of a row, than on blocks of channels, which cost
// a transposition there and back. `output` is the convolution's: y or dy. (AVX-512, time by blocks', 8 images of 7 x 7,
// one thread: 3 x 3 forward 0.6, gradient of the weight 0.72; 5 x 5 forward 0.75, gradient of the input 0.6.)
constexpr std::int64_t kLeastColumns = 7;  // what a row's last vectors write behind it is then no longer than a row
inline bool slides_over_planes(const ConvAttributes& a, const Tensor& output) {
    return output.width >= kLeastColumns && (a.R == 3 || a.stride_h == 1);
}
inline bool weight_from_planes(const ConvAttributes& a, const Tensor& output) {
    return a.R == 3 && output.width >= kLeastColumns;
}

// How rows of `output`, which a pass computes from windows over `source`, are cut: into chunks, which go to tasks, and
// these into strips. Forward that is x and y; the gradient of the input has dy and dx.
template <class Real>
struct DepthwiseBlocks {
    static constexpr std::int64_t lanes = kLanes<Real>;
    ConvAttributes a;
    bool backward;
    const Tensor *source, *output;
    BlockRows<Real> rows;
    std::int64_t strip, strip_rows, chunk, chunks;  // rows of a strip; of the source for it; of a chunk

    DepthwiseBlocks(const Problem& p, const Tensor* from, const Tensor* to, bool gradient)
        : a(ConvAttributes::of(p)), backward(gradient), source(from), output(to) {
        const Rectangle all = need(whole(*output));
        rows.tensor = source;
        rows.left = max_of(0, -all.x0), rows.right = max_of(0, all.x1 - source->width);
        const std::int64_t source_row = bytes(rows.row_step()), output_row = bytes(output->width * lanes);
        // A strip brings `rate` rows of the source for `step` of the output, beside those that its windows share.
        const std::int64_t step = backward ? a.stride_h : 1, rate = backward ? 1 : a.stride_h;
        const std::int64_t fit = max_of(1, (kCacheBytes - a.R * source_row) / (rate * source_row + step * output_row));
        const std::int64_t moved = lanes * bytes(pixels_of(*source) + pixels_of(*output)) / output->height;
        chunk = chunk_of(output->height, max_of(4 * fit * step, units_per_task(moved)), step);
        chunks = ceil_div(output->height, chunk);
        strip = chunk_of(chunk, fit * step, step);
        strip_rows = backward ? (strip + a.R) / step + 2 : (strip - 1) * rate + a.R;
    }
    // Even pieces of at most `most` rows, about.
    static std::int64_t chunk_of(std::int64_t height, std::int64_t most, std::int64_t step) {
        return min_of(height, round_up(ceil_div(height, ceil_div(height, most)), step));
    }
    static std::int64_t bytes(std::int64_t elements) { return elements * static_cast<std::int64_t>(sizeof(Real)); }
    // What a rectangle of the output sees of the source.
    Rectangle need(Rectangle r) const { return backward ? backward_rectangle(a, r) : forward_rectangle(a, r); }
    std::int64_t source_elements() const { return strip_rows * rows.row_step(); }
    std::int64_t output_elements() const { return strip * output->width * lanes; }
    // By taps, as they are, and a bias.
    std::int64_t weight_elements() const { return lanes * (2 * max_of(a.R * a.S, lanes) + 2); }
    std::int64_t scratch_bytes() const { return bytes(source_elements() + output_elements() + weight_elements()); }
    std::int64_t blocks() const { return blocks_of<Real>(*source); }
    std::int64_t units(std::int64_t n) const { return n * blocks() * chunks; }
    std::int64_t units_a_task() const {
        return units_per_task(lanes * bytes(pixels_of(*source) + pixels_of(*output)) / chunks);
    }
    std::int64_t tasks(std::int64_t n) const { return ceil_div(units(n), units_a_task()); }
};

// A block's weights by taps: [r][s][lane]. `packed` has room for weight_elements(): the last block is copied where the
// kernel would read behind it.
template <class Real>
void gather_weights(const Call& call, const ConvAttributes& a, std::int64_t block, std::int64_t channels,
                    Real* packed) {
    const std::int64_t taps = a.R * a.S, lanes = kLanes<Real>, pixels = max_of(taps, lanes);
    const std::int64_t left = channels - block * lanes, count = min_of(lanes, left);
    const Real* weight = reinterpret_cast<const Real*>(call.inputs[1].data) + block * lanes * taps;
    if ((left - count) * taps < pixels - taps) {
        Real* copy = packed + pixels * lanes;
        std::memcpy(copy, weight, static_cast<std::size_t>(count * taps) * sizeof(Real));
        weight = copy;
    }
    call.kernels->set<Real>().interleave({weight, packed, taps, count, pixels, 0, 0});
}

// Calls `convolve(tile, s, y, end)` for the rows of each strip of a task: a tile of the sums, all but its source.
template <class Real, class Convolve>
void each_strip(const Call& call, std::int64_t task, int thread, DepthwiseBlocks<Real> s, const View& bias,
                Convolve convolve) {
    const std::int64_t lanes = s.lanes, plane = pixels_of(*s.output), channels = s.output->channels;
    s.rows.data = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real *sums = s.rows.data + s.source_elements(), *packed = sums + s.output_elements();
    Real* biases = packed + s.weight_elements() - lanes;
    s.rows.clear(s.strip_rows);
    ConvTile<Real> tile;
    tile.blocks = 1, tile.last_lanes = lanes, tile.weight = packed;
    if (bias) tile.finish = kConvEpilogue, tile.epilogue.bias = biases;
    std::int64_t packed_block = -1;
    const std::int64_t unit0 = task * s.units_a_task();
    const std::int64_t units = min_of(s.units_a_task(), s.units(call.n) - unit0);
    // A block's images follow each other: its weights are gathered once.
    std::int64_t chunk = unit0 % s.chunks, image = unit0 / s.chunks % call.n, block = unit0 / s.chunks / call.n;
    for (std::int64_t unit = 0; unit < units; ++unit) {
        const std::int64_t y0 = chunk * s.chunk, y1 = min_of(y0 + s.chunk, std::int64_t{s.output->height});
        const std::int64_t count = min_of(lanes, channels - block * lanes);
        if (block != packed_block) {
            gather_weights<Real>(call, s.a, block, channels, packed);
            for (std::int64_t c = 0; bias && c < lanes; ++c) {
                biases[c] = c < count ? reinterpret_cast<const Real*>(bias.data)[block * lanes + c] : Real(0);
            }
            packed_block = block;
        }
        s.rows.fresh = true;
        Real* to = image_data<Real>(call.outputs[0], image) + block * lanes * plane;
        for (std::int64_t y = y0; y < y1; y += s.strip) {
            const std::int64_t end = min_of(y + s.strip, y1);
            const Rectangle need = s.need({y, 0, end, 1});
            s.rows.advance(*call.kernels, image_data<Real>(call.inputs[0], image), block, need.y0, need.y1);
            tile.output = {sums, s.output->width * lanes, lanes, 0};
            convolve(tile, s, y, end);
            call.kernels->set<Real>().deinterleave(
                {sums, to + y * s.output->width, plane, count, (end - y) * s.output->width, 0, 0});
        }
        if (block == 0 && y0 == 0) zero_beyond_channels<Real>(call.outputs[0], image);
        if (++chunk == s.chunks) chunk = 0, ++image;
        if (image == call.n) image = 0, ++block;
    }
}

template <class Real>
CONVLENS_COLD Status check_depthwise(const Problem& p, const Tensor* x, const Tensor* y, const Tensor* w,
                                     const char* x_name, const char* y_name, const char* w_name) {
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(x, x_name, Layout::plain));
    CONVLENS_RETURN_IF_ERROR(check_activation<Real>(y, y_name, Layout::plain));
    const ConvAttributes a = ConvAttributes::of(p);
    CONVLENS_RETURN_IF_ERROR(check_weight_sizes(y->channels, x->channels, a.R, a.S, a.groups));
    CONVLENS_RETURN_IF_ERROR(check_attributes(a));
    if (a.R != a.S || (a.R != 3 && a.R != 5) || a.stride_h > 2 || a.stride_h != a.stride_w || a.dilation_h != 1 ||
        a.dilation_w != 1 || a.groups != x->channels || a.groups != y->channels) {
        return fail(Code::unsupported,
                    "plain depthwise convolutions take kernels of 3 x 3 or 5 x 5, strides of 1 or 2 both ways, no "
                    "dilation, and as many groups as channels of `%s` and `%s`",
                    x_name, y_name);
    }
    if (has_halo(*x) || has_halo(*y))
        return fail(Code::corrupt_file, "`%s` and `%s` must have no halo", x_name, y_name);
    // Windows over nothing but padding are as many as zeros around an image: a file may not ask for more.
    const Rectangle r = forward_rectangle(a, whole(*y));
    if (a.pad_top >= a.R || a.pad_left >= a.S || r.y1 - x->height >= a.R || r.x1 - x->width >= a.S) {
        return fail(Code::unsupported, "`padding` must be less than the kernel");
    }
    PackedWeight sizes{};
    sizes.K = y->channels, sizes.C = x->channels, sizes.R = a.R, sizes.S = a.S, sizes.groups = a.groups;
    return check_plain_weight<Real>(w, w_name, sizes);
}

}  // namespace convlens
