// Depthwise convolutions of large planes, where they lie: how a plane is cut, and what may be read around it.
#pragma once

#include "ops/depthwise_block.hpp"

namespace convlens {

constexpr std::int64_t kDepthwiseRows = 7;  // of a tile

// Windows slide over `source`, rows of `output` are cut. Forward that is x and y; the gradient of the input has dy and
// dx.
template <class Real>
struct DepthwisePlanes {
    ConvAttributes a;
    const Tensor *source, *output;
    std::int64_t chunk, chunks;  // rows of output, and how often
    CONVLENS_SHARED DepthwisePlanes(const Problem& p, const Tensor* from, const Tensor* to)
        : a(ConvAttributes::of(p)), source(from), output(to) {
        const std::int64_t rows = output->height, fit = units_per_task(output->width * bytes(1));
        chunk = min_of(rows, round_up(ceil_div(rows, ceil_div(rows, fit)), kDepthwiseRows));
        chunks = ceil_div(rows, chunk);
    }
    static std::int64_t bytes(std::int64_t elements) { return elements * static_cast<std::int64_t>(sizeof(Real)); }
    std::int64_t units(std::int64_t n) const { return n * source->channels * chunks; }
    std::int64_t units_a_task() const {
        return units_per_task(bytes(pixels_of(*source) + pixels_of(*output)) / chunks);
    }
    std::int64_t tasks(std::int64_t n) const { return ceil_div(units(n), units_a_task()); }
    // Tiles that the first cache holds; of what comes from memory smaller ones, and of long rows the next lines fetched
    // meanwhile. (AVX-512, one thread, times by those of 7 rows: 14 rows c32 112 x 112 0.93, c192 28 x 28 0.92, 8
    // images of c144 56 x 56 1.37; fetched 8 images of c32 112 x 112 0.73, of c144 56 x 56 1.26.) On AVX2 (`ordered`)
    // fetching pays as soon as the second cache does not hold the planes, and further ahead. (One thread, times by the
    // above: c96 112 x 112 stride 2 0.88, 8 images 0.87, 8 of c144 56 x 56 stride 2 0.73 to 0.81; 8 of c32 112 x 112
    // 0.83 to 0.88 with the output's lines, 1.05 without.)
    void schedule(std::int64_t source_bytes, bool ordered, DepthwiseRows<Real>* rows) const {
        const bool far = source_bytes > 8 << 20, long_rows = source->width > 64;
        rows->tile = far ? kDepthwiseRows : 2 * kDepthwiseRows;
        rows->ahead = far && long_rows ? 1024 : 0;
        if (ordered && (long_rows ? source_bytes > 1 << 20 : far && a.stride_w == 2)) {
            rows->ahead = 1024 * a.stride_w;
            if (far) rows->output_ahead = 1024;
        }
    }
};

// Elements of a copy of a plane.
template <class Real>
std::int64_t copied_plane(const Tensor& t) {
    return round_up(pixels_of(t), kLanes<Real>) + 2 * kPlaneSlack<Real>;
}
// Of the task's own: a copy of a plane of the source, and room for a piece of the output.
template <class Real>
std::int64_t planes_scratch(const DepthwisePlanes<Real>& s) {
    const std::int64_t spare = s.output->width < kLanesBehind<Real> ? s.chunk * s.output->width : 0;
    return s.bytes(copied_plane<Real>(*s.source) + spare + kLanesBehind<Real>);
}
// Planes from the c-th of an image on, around which kernels may read, of n images: `planes` of them, or fewer. The
// first and last ones are copied.
template <class Real>
CONVLENS_SHARED const Real* readable_planes(const View& view, std::int64_t n, std::int64_t image, std::int64_t c,
                                            Real* copy, std::int64_t* planes) {
    const std::int64_t pixels = pixels_of(*view.tensor), bytes = pixels * static_cast<std::int64_t>(sizeof(Real));
    const std::int64_t slack = kPlaneSlack<Real> * static_cast<std::int64_t>(sizeof(Real));
    const std::int64_t at = image * view.image_stride + c * bytes, behind = n * view.image_stride - slack - at;
    if (at >= slack && behind >= bytes) {
        *planes = min_of(*planes, behind / bytes);
        return reinterpret_cast<const Real*>(view.data + at);
    }
    *planes = 1;
    std::memcpy(copy + kPlaneSlack<Real>, view.data + at, static_cast<std::size_t>(bytes));
    return copy + kPlaneSlack<Real>;
}

// Task `task` of images, planes and their pieces: visit(image, plane, first row, end, output, &planes), for whole
// pieces or several planes, of which it leaves how many it went through. What rows of few columns write behind the last
// one of a task or an image lies in `spare`.
template <class Real, class Visit>
void each_piece_of_planes(const DepthwisePlanes<Real>& s, const Call& call, std::int64_t task, Real* spare,
                          Visit visit) {
    const std::int64_t first = task * s.units_a_task(), last = min_of(first + s.units_a_task(), s.units(call.n));
    std::int64_t row = first % s.chunks * s.chunk, plane = first / s.chunks;
    std::int64_t image = plane / s.source->channels, c = plane % s.source->channels;
    const std::int64_t columns = s.output->width;
    for (std::int64_t unit = first, planes; unit < last; unit += planes) {
        const std::int64_t end = min_of(row + s.chunk, std::int64_t{s.output->height});
        planes = s.chunks > 1 ? 1 : min_of(last - unit, s.source->channels - c);
        const bool ends = unit + planes == last || (c + planes == s.source->channels && end == s.output->height);
        const bool behind = ends && columns < kLanesBehind<Real>, spared = behind && planes == 1;
        if (behind && !spared) --planes;
        Real* to = image_data<Real>(call.outputs[0], image) + c * pixels_of(*s.output) + row * columns;
        visit(image, c, row, end, spared ? spare : to, &planes);
        if (spared) std::memcpy(to, spare, static_cast<std::size_t>(s.bytes((end - row) * columns)));
        if (c == 0 && row == 0) zero_beyond_channels<Real>(call.outputs[0], image);
        row += s.chunk;
        if (row >= s.output->height) row = 0, c += planes;
        if (c == s.source->channels) c = 0, ++image;
    }
}

}  // namespace convlens
