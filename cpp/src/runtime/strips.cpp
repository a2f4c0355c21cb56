// Runs of three convolutions that go strip by strip: any, depthwise, 1 x 1, as MobileNet's and EfficientNet's blocks
// and their first layers have them. The two tensors between them never are: a thread has room for some of their rows,
// which stay in its cache, and takes a piece of the image through all three. What two pieces both need of the first
// tensor is computed twice; what two strips need is kept. The bits are those of one instruction after the other. (Zen
// 4, one image, 2 threads, time by one after the other: MobileNetV2 0.87 and 0.91, EfficientNet-Lite0 0.96 and 0.94;
// one thread 0.99 and 0.97.)
#include <atomic>
#include <cstring>

#include "ops/geometry.hpp"
#include "runtime/program.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kCachedBytes = 512 << 10;  // of both tensors' rows, half of a second-level cache
constexpr std::int64_t kLeastBytes = 200 << 10;   // of both tensors
constexpr std::int64_t kAloneBytes = 1 << 20;     // of the first one, a second-level cache: it pays on one thread too

constexpr std::uint8_t kWritten = 4;

std::atomic<bool> g_strips{true};

// Attributes of conv2d.
enum : int { kR, kS, kStrideH, kStrideW, kPadTop, kPadLeft, kDilationH, kDilationW, kGroups };

std::int64_t row_bytes(const Tensor& t) { return View{&t, nullptr, 0}.row_elements() * kBlockBytes; }
std::int64_t window(const Problem& p) { return (p.attribute(kR) - 1) * p.attribute(kDilationH) + 1; }
bool is_blocked(const Tensor* t) {
    return t->place == Place::arena && t->batched != 0 && t->dtype == DType::real && t->layout == Layout::blocked;
}
// A 1 x 1 convolution whose rows are those of its input.
bool keeps_rows(const Problem& p) {
    return p.attribute(kR) == 1 && p.attribute(kStrideH) == 1 && p.attribute(kPadTop) == 0;
}

}  // namespace

CONVLENS_COLD bool Program::suits_strips(std::int64_t i, const Array<std::uint8_t>& uses) const {
    if (i + 3 > n_raw_) return false;
    const Problem *a = &problems_[i], *b = a + 1, *c = a + 2;
    for (int k = 0; k < 3; ++k) {
        if (steps_[i + k].op->run_rows == nullptr || a[k].outputs[1] != nullptr || !is_blocked(a[k].outputs[0])) {
            return false;
        }
    }
    const Tensor &wide = *a->outputs[0], &narrow = *b->outputs[0], &y = *c->outputs[0];
    if (b->inputs[0] != &wide || c->inputs[0] != &narrow || wide.is_part() || narrow.is_part() || has_halo(narrow) ||
        !keeps_rows(*c) || b->attribute(kGroups) != wide.channels || narrow.channels != wide.channels ||
        wide.bytes + narrow.bytes < kLeastBytes) {
        return false;
    }
    for (std::int64_t t = 0; t < n_tensors_; ++t) {
        const bool between = tensors_ + t == &wide || tensors_ + t == &narrow;
        // Read once, and by no other name.
        if (between
                ? uses[t] != (kWritten | 1)
                : uses[t] > 0 && uses[t] < kWritten && (overlap(wide, tensors_[t]) || overlap(narrow, tensors_[t]))) {
            return false;
        }
    }
    // The first rows of y are written before the last ones of these are read.
    for (int k = 0; k < a->instruction->n_inputs; ++k) {
        if (a->inputs[k] != nullptr && overlap(y, *a->inputs[k])) return false;
    }
    return b->inputs[3] == nullptr || !overlap(y, *b->inputs[3]);
}

// The rows of a strip, even ones, and room for what lies between the instructions.
CONVLENS_COLD Status Program::plan_strips() {
    Array<std::uint8_t> uses;  // how often a tensor is read, and kWritten
    CONVLENS_RETURN_IF_ERROR(uses.resize(n_tensors_));
    for (std::int64_t i = 0; i < n_raw_; ++i) {
        const Instruction& in = instructions_[i];
        for (int k = 0; k < in.n_inputs + in.n_outputs; ++k) {
            if (in.inputs[k] == kAbsent) continue;
            std::uint8_t& use = uses[in.inputs[k]];
            const int read = use % kWritten;
            use = static_cast<std::uint8_t>(k >= in.n_inputs ? read | kWritten : read < 2 ? use + 1 : use);
        }
    }
    for (int e = 0; e < n_entries_; ++e) {
        const std::int64_t end = entries_[e].first_instruction + entries_[e].n_instructions;
        for (std::int64_t i = entries_[e].first_instruction; i + 3 <= end; ++i) {
            if (!suits_strips(i, uses)) continue;
            const Problem& depthwise = problems_[i + 1];
            Strips s = {};
            s.between[0] = *depthwise.inputs[0], s.between[1] = *depthwise.outputs[0];
            const std::int64_t blocks = ceil_div(s.between[0].channels, float64() ? 8 : 16);
            const std::int64_t stride = depthwise.attribute(kStrideH);
            const std::int64_t more = (stride * row_bytes(s.between[0]) + row_bytes(s.between[1])) * blocks;
            const std::int64_t first = more + (window(depthwise) - stride) * row_bytes(s.between[0]) * blocks;
            if (first > kCachedBytes) continue;
            s.rows = min_of(s.between[1].height, 1 + (kCachedBytes - first) / more);
            const std::int64_t rows[2] = {(s.rows - 1) * stride + window(depthwise), s.rows};
            // Rows above and below the image are not this tensor's halo: it begins and ends within the image.
            s.between[0].halo_top = s.between[0].halo_bottom = 0;
            for (int k = 0; k < 2; ++k) {
                s.between[k].height = static_cast<std::int32_t>(rows[k]);
                s.between[k].bytes = rows[k] * row_bytes(s.between[k]) * blocks;
            }
            scratch_.per_thread_bytes = max_of(scratch_.per_thread_bytes, s.between[0].bytes + s.between[1].bytes);
            steps_[i].strips = static_cast<std::int32_t>(strips_.size() + 1);
            CONVLENS_RETURN_IF_ERROR(strips_.push(s));
            i += 2;
        }
    }
    for (std::int64_t i = 0; i < n_raw_; ++i) {
        if (steps_[i].strips == 0) continue;
        Strips& s = strips_[steps_[i].strips - 1];
        for (int k = 0; k < 3; ++k) s.problems[k] = problems_[i + k];
        for (int k = 0; k < 2; ++k) s.problems[k].outputs[0] = s.problems[k + 1].inputs[0] = &s.between[k];
    }
    return {};
}

// How many pieces an image is cut into, 0: it does not pay. Rows computed twice may be a third.
int Program::strip_pieces(std::int64_t i, int threads) const {
    const Problem& depthwise = problems_[i + 1];
    const Tensor& wide = *depthwise.inputs[0];
    if (!g_strips.load(std::memory_order_relaxed)) return 0;
    if (threads < 2) return wide.bytes >= kAloneBytes;
    const std::int64_t shared = max_of(0, window(depthwise) - depthwise.attribute(kStrideH));
    return 3 * shared * (threads - 1) <= wide.height && threads * 2 <= depthwise.outputs[0]->height ? threads : 0;
}

void Program::run_strips(std::int64_t i, const Call* prepared, std::int64_t piece, int pieces, int thread) const {
    const Strips& s = strips_[steps_[i].strips - 1];
    const std::int64_t height = problems_[i].outputs[0]->height, out = problems_[i + 1].outputs[0]->height;
    const std::int64_t begin = out * piece / pieces, end = out * (piece + 1) / pieces;
    const std::int64_t strips = ceil_div(end - begin, s.rows);
    const std::int64_t row = row_bytes(s.between[0]), plane = row * s.between[0].height;
    Call calls[3] = {prepared[0], prepared[1], prepared[2]};
    char* rows = calls[0].thread_scratch + thread * calls[0].thread_scratch_stride;
    std::int64_t held = 0, done = 0;  // rows [held, done) of the first tensor are there
    for (std::int64_t k = 0; k < strips; ++k) {
        const std::int64_t y0 = begin + (end - begin) * k / strips, y1 = begin + (end - begin) * (k + 1) / strips;
        const Rectangle need = steps_[i + 1].op->input_rectangle(s.problems[1], 0, {y0, 0, y1, 1});
        const std::int64_t kept = k == 0 ? 0 : max_of(0, done - need.y0);
        const std::int64_t from = min_of(need.y1, max_of(0, need.y0 + kept)),
                           to = max_of(from, min_of(height, need.y1));
        const auto bytes = [&](std::int64_t count) { return static_cast<std::size_t>(max_of(0, count) * row); };
        for (char* p = rows; p < rows + s.between[0].bytes; p += plane) {
            if (kept > 0) std::memmove(p, p + (need.y0 - held) * row, bytes(kept));
            std::memset(p + kept * row, 0, bytes(from - need.y0 - kept));
            std::memset(p + (to - need.y0) * row, 0, bytes(need.y1 - to));
        }
        held = need.y0, done = need.y1;
        calls[0].outputs[0] = calls[1].inputs[0] = {&s.between[0], rows - held * row, 0};
        calls[1].outputs[0] =
            calls[2].inputs[0] = {&s.between[1], rows + s.between[0].bytes - y0 * row_bytes(s.between[1]), 0};
        steps_[i].op->run_rows(calls[0], from, to);
        for (int j = 1; j < 3; ++j) steps_[i + j].op->run_rows(calls[j], y0, y1);
    }
}

void set_strips(bool strips) { g_strips.store(strips, std::memory_order_relaxed); }

}  // namespace convlens
