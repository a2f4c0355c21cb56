// conv2d_grad_input of plain tensors, by a plain weight.
//
// inputs  dy plain, without halo; w plain (K, C / groups, R, S)
// outputs dx plain
// attributes those of conv2d_grad_input
//
// The product of the transposed weight with panels of dy's pixels gives what each tap of each channel contributes; a
// task adds that up for a few channels, or for a band of rows of all of a few, in the order of pixels, then r, s
// (col2im): what a band's neighbours need of its pixels they multiply again. With one tap on every pixel the product is
// dx itself; with one tap and a stride it lies among zeros.
#include "ops/panel.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kSumBytes = 512 << 10;
constexpr std::int64_t kMostRows = 512;  // of the product a task computes
// Tasks pack dy each for themselves, which costs as much as some ten rows of the product. So tasks of few rows take
// bands of dx. (Zen 3, c3 k64 r3 224 x 224: 0.82 of the time, 8 images 0.71.)
constexpr std::int64_t kLeastRows = 56, kRowsOfBands = 2 * kLeastRows, kBands = 8;
constexpr std::int64_t kBandRows = 8;  // of dy, for each that is multiplied again

// Of dx, what a task writes; of dy, the pixels that contribute to that.
struct Part {
    std::int64_t row0, row1, pixel0, pixel1;
};

template <class Real>
struct Shape : PlainConv<Real> {
    bool direct, among_zeros;
    std::int64_t sum_width, sum_plane;            // where a channel's contributions are added up
    std::int64_t channels_a_task, pieces, parts;  // of a group; of the pixels
    bool few_rows;          // register tiles have few: a whole panel goes by all of a task's weight at once
    std::int64_t together;  // panels packed together
    Shape(const Problem& p, bool ordered) : PlainConv<Real>(p, p.outputs[0], p.inputs[0]), few_rows(ordered) {
        const ConvAttributes& at = this->a;
        const Tensor &dx = *this->x, &dy = *this->y;
        direct = this->is_pointwise() && !has_halo(dx);
        among_zeros = !direct && this->taps == 1 && at.pad_top == 0 && at.pad_left == 0 && !has_halo(dx);
        sum_width = max_of(at.pad_left + dx.width, (dy.width - 1) * at.stride_w + (at.S - 1) * at.dilation_w + 1);
        sum_plane =
            sum_width * max_of(at.pad_top + dx.height, (dy.height - 1) * at.stride_h + (at.R - 1) * at.dilation_h + 1);
        const std::int64_t cg = this->c_group, size = sizeof(Real);
        if (direct || among_zeros) {
            parts = min_of(16, ceil_div(this->panels, kPackedPanels));
            pieces = max_of(ceil_div(cg, kMostRows), among_zeros ? min_of(cg / kLeastRows, 4 / parts) : 0);
        } else {
            const std::int64_t rows = cg * this->taps, reach = (at.R - 1) * at.dilation_h;
            const std::int64_t least = kBandRows * max_of(1, ceil_div(reach, at.stride_h));
            parts = rows < kRowsOfBands ? max_of(1, min_of(min_of(kBands, dx.height), dy.height / least)) : 1;
            sum_plane = min_of(sum_plane, sum_width * (ceil_div(dx.height, parts) + 2 * reach));
            pieces = parts > 1 ? 1 : max_of(2, min_of(16, rows / kLeastRows));
            pieces = min_of(cg, max_of(pieces, ceil_div(cg * sum_plane * size, kSumBytes)));
        }
        channels_a_task = ceil_div(cg, pieces);
        pieces = ceil_div(cg, channels_a_task);
        together = few_rows && !sums() ? this->together_for_few_rows(chunk()) : kPackedPanels;
    }
    Part part(std::int64_t i) const {
        if (!sums())
            return {0, 0, i * this->panels / parts * this->width, end_of_panels((i + 1) * this->panels / parts)};
        const ConvAttributes& at = this->a;
        const std::int64_t height = this->x->height, row0 = i * height / parts, row1 = (i + 1) * height / parts;
        const std::int64_t first = max_of(0, ceil_div(row0 + at.pad_top - (at.R - 1) * at.dilation_h, at.stride_h));
        const std::int64_t end = min_of(this->y->height, (row1 - 1 + at.pad_top) / at.stride_h + 1);
        return {row0, row1, first * this->y->width, max_of(first, end) * this->y->width};
    }
    std::int64_t end_of_panels(std::int64_t panel) const { return min_of(this->pixels, panel * this->width); }
    // Of a task's rows, in each of each_piece's.
    std::int64_t piece_tiles() const { return few_rows ? kMostRows : kPieceTiles; }
    std::int64_t rows(std::int64_t piece) const {
        return min_of(channels_a_task, this->c_group - piece * channels_a_task) * this->taps;
    }
    // The transposed weight of a task: each_piece's, each [k][row], and packing overruns its end; or whole squares,
    // since tiles of few rows want a row's elements together. (Zen 3, c512 k256 28 x 28 0.88 of the time, stride 2
    // 0.89.)
    std::int64_t packed_elements() const {
        const std::int64_t rows = channels_a_task * this->taps;
        return few_rows ? round_up(rows, kLanes<Real>) * packed_step() : rows * this->k_group + kLanes<Real>;
    }
    std::int64_t packed_step() const { return round_up(this->k_group, kLanes<Real>); }
    std::int64_t chunk() const { return this->chunk_channels(this->k_group, 1, few_rows); }
    std::int64_t panel_elements() const { return chunk() * this->width + kLanes<Real>; }
    std::int64_t product_elements() const { return channels_a_task * this->taps * this->width + kLanes<Real>; }
    std::int64_t thread_elements() const { return together * (panel_elements() + product_elements()) + sum_elements(); }
    bool sums() const { return !direct && !among_zeros; }
    std::int64_t sum_elements() const { return !sums() ? 0 : channels_a_task * sum_plane + 4 * kLanes<Real>; }
};

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, kConvAttributes));
    CONVLENS_RETURN_IF_ERROR(check_plain_conv<Real>(p, p.outputs[0], p.inputs[0], p.inputs[1], "dx", "dy", "w"));
    const Shape<Real> s(p, false), ordered(p, true);  // which, the call says
    const std::int64_t size = sizeof(Real);
    if (s.sum_plane > (std::int64_t{1} << 40)) return fail(Code::unsupported, "`dy` spans too many pixels of `dx`");
    scratch->fixed_bytes = s.a.groups * s.pieces * max_of(s.packed_elements(), ordered.packed_elements()) * size;
    scratch->per_thread_bytes = max_of(s.thread_elements(), ordered.thread_elements()) * size;
    return {};
}

// ---- phase 0: transpose ----

template <class Real>
std::int64_t pack_tasks(const Call& call) {
    const Shape<Real> s(*call.problem, call.kernels->ordered);
    return call.n == 0 ? 0 : s.a.groups * s.pieces;
}

// `rows` rows of `elements`, from columns `step` apart, to rows `to_step` apart that whole squares have room in.
template <class Real>
void transpose_rows(const Call& call, const Real* from, const Real* end, std::int64_t step, std::int64_t elements,
                    std::int64_t rows, Real* to, std::int64_t to_step) {
    constexpr std::int64_t lanes = kLanes<Real>;
    for (std::int64_t k = 0; k < elements; k += lanes) {
        for (std::int64_t row = 0; row < rows; row += lanes) {
            TransposeBlock<Real> square;
            square.source = from + k * step + row, square.source_step = step;
            square.output = to + row * to_step + k, square.output_step = to_step;
            if (square.source + (lanes - 1) * step + lanes <= end) {
                call.kernels->set<Real>().transpose_block(square);
                continue;
            }
            for (std::int64_t i = 0; i < min_of(lanes, elements - k); ++i) {
                for (std::int64_t j = 0; j < min_of(lanes, rows - row); ++j) {
                    square.output[j * to_step + i] = square.source[i * step + j];
                }
            }
        }
    }
}

template <class Real>
void pack(const Call& call, std::int64_t task, int) {
    const Shape<Real> s(*call.problem, call.kernels->ordered);
    const std::int64_t group = task / s.pieces, piece = task % s.pieces, all_rows = s.c_group * s.taps;
    const Real* w = reinterpret_cast<const Real*>(call.inputs[1].data);
    const Real* const first_row = w + group * s.k_group * all_rows + piece * s.channels_a_task * s.taps;
    const Real* const end = w + s.a.groups * s.k_group * all_rows;
    Real* packed = reinterpret_cast<Real*>(call.fixed_scratch) + task * s.packed_elements();
    if (s.few_rows) {
        transpose_rows(call, first_row, end, all_rows, s.k_group, s.rows(piece), packed, s.packed_step());
        return;
    }
    each_piece(s.rows(piece), s.piece_tiles(), [&](std::int64_t first, std::int64_t rows) {
        const PanelRun run = {0, rows, 0};
        Panel<Real> copy;
        copy.panel = packed + first * s.k_group, copy.width = rows, copy.runs = &run, copy.n_runs = 1;
        copy.channels = s.k_group, copy.R = copy.S = copy.stride = 1;
        copy.channel_step = all_rows, copy.row_step = copy.column_step = 0;
        copy.image = const_cast<Real*>(first_row) + first, copy.image_end = end;
        call.kernels->set<Real>().pack_panel(copy);
    });
}

// ---- phase 1: multiply, and add up ----

// Where a pixel of dy lies in a plane of dx, for one tap; behind the last one, where the plane ends.
template <class Real>
std::int64_t place(const Shape<Real>& s, std::int64_t pixel) {
    if (pixel >= s.pixels) return pixels_of(*s.x);
    return pixel / s.y->width * s.a.stride_h * s.x->width + pixel % s.y->width * s.a.stride_w;
}

// The product for pixels [pixel, pixel + count), and the zeros from there to the next ones', to `add.channels` planes
// of dx.
template <class Real>
void write_among_zeros(const Call& call, const Shape<Real>& s, Panel<Real>* add, PanelRun* runs, std::int64_t pixel,
                       std::int64_t count) {
    const std::int64_t from = place(s, pixel), to = place(s, pixel + count), lanes = kLanes<Real>;
    for (std::int64_t c = 0; c < add->channels; ++c) {
        std::memset(static_cast<void*>(add->image + c * add->channel_step + from), 0,
                    static_cast<std::size_t>(to - from) * sizeof(Real));
    }
    add->n_runs = s.runs(pixel, count, s.x->width, runs, s.product_elements());
    for (std::int64_t i = 0; i < add->n_runs; ++i) {
        // Whole blocks, and the zeros among them, that end before the next panels' zeros begin.
        const std::int64_t fit = (to - runs[i].offset) / (s.a.stride_w * lanes) * lanes;
        for (std::int64_t l = fit; l < runs[i].count; ++l) {
            for (std::int64_t c = 0; c < add->channels; ++c) {
                add->image[c * add->channel_step + runs[i].offset + l * s.a.stride_w] +=
                    add->panel[c * s.width + runs[i].lane + l];
            }
        }
        runs[i].count = min_of(runs[i].count, fit);
    }
    call.kernels->set<Real>().add_panel(*add);
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const Shape<Real> s(*call.problem, call.kernels->ordered);
    return call.n * s.a.groups * s.pieces * s.parts;
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Shape<Real> s(*call.problem, call.kernels->ordered);
    const Part part = s.part(task % s.parts);
    const std::int64_t unit = task / s.parts, piece = unit % s.pieces, group = unit / s.pieces % s.a.groups;
    const std::int64_t image = unit / s.pieces / s.a.groups, c0 = group * s.c_group + piece * s.channels_a_task;
    const std::int64_t all_rows = s.rows(piece), channels = all_rows / s.taps, chunk = s.chunk();
    const auto& kernels = call.kernels->set<Real>();
    Real* panel = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    Real* product = panel + s.together * s.panel_elements();
    Real* sums = product + s.together * s.product_elements();
    const Real* transposed =
        reinterpret_cast<const Real*>(call.fixed_scratch) + (group * s.pieces + piece) * s.packed_elements();
    const Tensor& dx = *s.x;
    const std::int64_t plane = channel_stride<Real>(dx), row_step = row_stride<Real>(dx);
    Real* to = image_data<Real>(call.outputs[0], image) + c0 * plane;
    Real* pixel0 = to + part.pixel0;  // where dx's pixels are dy's
    if (s.sums()) std::memset(static_cast<void*>(sums), 0, static_cast<std::size_t>(s.sum_elements()) * sizeof(Real));

    const bool in_place = s.reads_in_place(s.c_group * s.taps, min_of(chunk, s.k_group), s.few_rows, false, call.n);
    // Panels are counted from the first pixel of the part on.
    const std::int64_t pixels = part.pixel1 - part.pixel0;
    const auto filled = [&](std::int64_t p) { return min_of(s.width, pixels - p * s.width); };
    const auto straight = [&](std::int64_t p) { return s.direct && filled(p) % kLanes<Real> == 0; };
    PanelRun runs[kMostRuns];
    Panel<Real> copy, add;
    copy.far = s.is_far(call.inputs[0], call.n);
    copy.panel = panel, copy.width = s.width, copy.runs = runs;
    copy.R = copy.S = copy.stride = 1, copy.channel_step = s.pixels, copy.row_step = copy.column_step = 0;
    copy.image_end = reinterpret_cast<const Real*>(call.inputs[0].data + call.n * call.inputs[0].image_stride);
    add.width = s.width, add.runs = runs;
    add.channels = channels, add.R = s.a.R, add.S = s.a.S, add.stride = s.a.stride_w;
    add.channel_step = s.sum_plane, add.row_step = s.a.dilation_h * s.sum_width, add.column_step = s.a.dilation_w;
    // Sums begin in the row of the part's first pixel, or of what is written, the one above: rows of dx behind padding.
    const std::int64_t first_row = part.pixel0 / s.y->width * s.a.stride_h;
    const std::int64_t sum_row = min_of(first_row, part.row0 + s.a.pad_top);
    add.image = sums + (first_row - sum_row) * s.sum_width, add.image_end = nullptr;
    if (s.among_zeros) add.image = to, add.channel_step = plane, add.panel = product;
    const std::int64_t panels = ceil_div(pixels, s.width);
    for (std::int64_t first = 0; first < panels; first += s.together) {
        const std::int64_t end = min_of(panels, first + s.together), step = s.panel_elements();
        for (std::int64_t k = 0; k < s.k_group; k += chunk) {
            const std::int64_t packed = s.first_packed(first, end, in_place, filled(end - 1));
            copy.n_runs = end - packed;
            for (std::int64_t p = packed; p < end; ++p) {
                runs[p - packed] = {(p - packed) * step, filled(p), p * s.width};
            }
            copy.channels = min_of(chunk, s.k_group - k);
            copy.image = image_data<Real>(call.inputs[0], image) + (group * s.k_group + k) * s.pixels + part.pixel0;
            kernels.pack_panel(copy);
            each_piece(all_rows, s.piece_tiles(), [&](std::int64_t row, std::int64_t rows) {
                for (std::int64_t p = first; p < end; ++p) {
                    Real* sum = product + (p - first) * s.product_elements();
                    const bool here = p < packed;
                    ConvTile<Real> tile =
                        panel_tile<Real>(here ? copy.image + p * s.width : panel + (p - packed) * step,
                                         here ? s.pixels : s.width, filled(p), copy.channels, rows, &kNoTap);
                    tile.output.data = straight(p) ? pixel0 + row * s.pixels + p * s.width : sum + row * s.width;
                    tile.output.column_step = straight(p) ? s.pixels : s.width;
                    if (s.few_rows) {
                        tile.source.data = transposed + row * s.packed_step() + k;
                        tile.source.column_step = s.packed_step(), tile.source_element_step = 1;
                        take_elements(&tile, copy.channels, !here);
                    } else {
                        tile.source.data = transposed + row * s.k_group + k * rows;
                        tile.source.column_step = 1, tile.source_element_step = rows;
                    }
                    tile.finish = k > 0 ? kConvAdd : kConvStore;
                    kernels.conv_tile(tile);
                }
            });
        }
        if (s.among_zeros) {
            const std::int64_t pixel = first * s.width;
            write_among_zeros(call, s, &add, runs, part.pixel0 + pixel, min_of(pixels, end * s.width) - pixel);
        }
        for (std::int64_t p = first; p < end && !s.among_zeros; ++p) {
            const Real* sum = product + (p - first) * s.product_elements();
            if (!s.direct) {
                add.panel = const_cast<Real*>(sum);
                add.n_runs = s.runs(p * s.width, filled(p), s.sum_width, runs);
                kernels.add_panel(add);
            } else if (!straight(p)) {
                for (std::int64_t c = 0; c < channels; ++c) {
                    std::memcpy(pixel0 + c * s.pixels + p * s.width, sum + c * s.width,
                                static_cast<std::size_t>(filled(p)) * sizeof(Real));
                }
            }
        }
    }
    for (std::int64_t c = 0; c < channels && s.sums(); ++c) {
        for (std::int64_t y = part.row0; y < part.row1; ++y) {
            std::memcpy(to + c * plane + y * row_step,
                        sums + c * s.sum_plane + (y + s.a.pad_top - sum_row) * s.sum_width + s.a.pad_left,
                        static_cast<std::size_t>(dx.width) * sizeof(Real));
        }
        zero_halo<Real>(call.outputs[0], image, c0 + c, part.row0, part.row1);
    }
    if (task % (s.a.groups * s.pieces * s.parts) == 0) zero_beyond_channels<Real>(call.outputs[0], image);
}

template <class Real>
constexpr Op make_conv2d_grad_input_plain() {
    return {"conv2d_grad_input_plain",
            check<Real>,
            nullptr,
            nullptr,
            nullptr,
            {{pack_tasks<Real>, pack<Real>}, {tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(conv2d_grad_input_plain, make_conv2d_grad_input_plain)
