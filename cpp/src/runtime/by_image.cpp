// Which instructions of an entry images go through one by one: the run whose activations are by most larger than their
// weights and than what stays cached of a batch. Of a whole batch each would come from memory again; of one image,
// whose tensors lie where those of the image before lay, they are still there. (Zen 4, 8 images, one thread and two:
// SqueezeNet 11 and 6 % faster, ResNet-18 5 and 4 %, ResNet-50 1.5 %. The first 42 of MobileNetV2's 55 instructions
// rather than 21, one thread: 0.98 of the time, EfficientNet-Lite0 0.965.) Each thread takes images of its own, for
// nothing to wait between the instructions; what is left goes over all threads. (SmoothGrad on one thread: SqueezeNet
// and MobileNetV2 0.96, ResNet-18 0.98.)
#include <cstring>

#include "runtime/program.hpp"

namespace convlens {
namespace {

constexpr double kCachedBytes = 128 << 10;  // of an image's operands
// Ops that do the same to each image whatever others there are.
constexpr const char* kOps[] = {
    "reorder",         "conv2d",       "conv2d_winograd", "conv2d_grad_input", "conv2d_grad_input_winograd",
    "concat",          "strided_copy", "max_pool2d",      "max_pool2d_grad",   "avg_pool2d",
    "avg_pool2d_grad", "elementwise",  "reduce"};

bool of_arena(const Tensor* t) { return t != nullptr && t->place == Place::arena && t->batched != 0; }

// What an image's operands are larger than, in bytes; far below 0 where it may not go by itself.
CONVLENS_COLD double gain(const Op& op, const Problem& p) {
    bool known = false;
    for (const char* name : kOps) known = known || std::strcmp(op.name, name) == 0;
    double batched = 0, others = 0;
    const auto add = [&](const Tensor* t) {
        if (t != nullptr) (t->batched != 0 ? batched : others) += static_cast<double>(t->bytes);
    };
    for (int k = 0; k < p.instruction->n_inputs; ++k) add(p.inputs[k]);
    for (int k = 0; k < p.instruction->n_outputs; ++k) {
        add(p.outputs[k]);
        known = known && (p.outputs[k] == nullptr || p.outputs[k]->batched != 0);
    }
    return known ? batched - others - kCachedBytes : -1e300;
}

}  // namespace

// Whether an output of `a` that is read beyond its own part of the entry lies where one of `b` does that is, or that
// another entry reads.
CONVLENS_COLD bool Program::shares_bytes(const Problem& a, const Problem& b) const {
    const auto is = [&](const Problem& p, int k, Span span) {
        return of_arena(p.outputs[k]) && span_of(p.outputs[k]) == span;
    };
    for (int k = 0; k < a.instruction->n_outputs; ++k) {
        for (int l = 0; is(a, k, Span::across) && l < b.instruction->n_outputs; ++l) {
            const bool stays = is(b, l, Span::across) || is(b, l, Span::shared);
            if (stays && overlap(*a.outputs[k], *b.outputs[l])) return true;
        }
    }
    return false;
}

// A tensor is known by its index, or that of what it is a part of. Those that two entries touch stay where they are.
CONVLENS_COLD void Program::find_entries() {
    for (int e = 0; e < n_entries_; ++e) {
        // `within` stands for this entry, `before` for those before it.
        for (std::int64_t t = 0; t < n_tensors_; ++t) {
            if (spans_[t] == Span::within) spans_[t] = Span::before;
        }
        for (std::uint32_t i = 0; i < entries_[e].n_instructions; ++i) {
            const Problem& p = problems_[entries_[e].first_instruction + i];
            const auto touch = [&](const Tensor* t) {
                if (of_arena(t))
                    span_of(t) = span_of(t) == Span::unknown  ? Span::within
                                 : span_of(t) == Span::before ? Span::shared
                                                              : span_of(t);
            };
            for (int k = 0; k < p.instruction->n_inputs; ++k) touch(p.inputs[k]);
            for (int k = 0; k < p.instruction->n_outputs; ++k) touch(p.outputs[k]);
        }
    }
    for (std::int64_t t = 0; t < n_tensors_; ++t) {
        if (spans_[t] != Span::shared) spans_[t] = Span::unknown;
    }
}

// One that is read and nothing wrote, because it is another's bytes, ends the search.
CONVLENS_COLD Program::ByImage Program::by_image_of(const RawEntry& entry) {
    const std::int64_t start = entry.first_instruction, n = entry.n_instructions;
    ByImage made = {};
    double most = 0, sum = 0;
    for (std::int64_t i = 0, from = 0; i < n; ++i) {
        if (sum <= 0) sum = 0, from = i;
        sum += gain(*steps_[start + i].op, problems_[start + i]);
        if (sum > most) most = sum, made.first = from, made.count = i + 1 - from;
    }
    const std::int64_t first = made.first, count = made.count;
    if (count < 2) return {};
    for (std::int64_t i = 0; i < n; ++i) {
        const Problem& p = problems_[start + i];
        const bool within = i >= first && i < first + count;
        for (int k = 0; k < p.instruction->n_inputs; ++k) {
            if (!of_arena(p.inputs[k])) continue;
            Span& span = span_of(p.inputs[k]);
            if (span == Span::unknown) return {};
            if (i >= first && (span == Span::before || (span == Span::within && !within))) span = Span::across;
        }
        for (int k = 0; k < p.instruction->n_outputs; ++k) {
            if (!of_arena(p.outputs[k])) continue;
            Span& span = span_of(p.outputs[k]);
            if (span == Span::shared) continue;
            const Span now = within ? Span::within : i < first ? Span::before : Span::after;
            if (span != Span::unknown && !p.outputs[k]->is_part()) return {};
            span = span == Span::unknown || span == now ? now : Span::across;  // parts may be written here and there
        }
    }
    // What is read from before must not lie where later instructions put what is read afterwards: one image's result
    // would be written over the next one's input.
    for (std::int64_t i = 0; i < first; ++i) {
        for (std::int64_t j = first; j < first + count; ++j) {
            if (shares_bytes(problems_[start + i], problems_[start + j])) return {};
        }
    }
    made.low = header_->arena_image_bytes;
    for (std::int64_t i = first; i < first + count; ++i) {
        const Problem& p = problems_[start + i];
        for (int k = 0; k < p.instruction->n_outputs; ++k) {
            if (!of_arena(p.outputs[k]) || span_of(p.outputs[k]) != Span::within) continue;
            const Tensor& home = tensors_[home_of(p.outputs[k])];
            if (home.offset < made.low) made.low = home.offset;
            if (home.offset + home.bytes > made.size) made.size = home.offset + home.bytes;
        }
    }
    if (made.size <= made.low) return {};  // nothing lies apart
    made.size = (made.size - made.low + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    // The longest stretch of an image's bytes in which no tensor lies that they share with others.
    for (std::int64_t begin = 0; begin >= 0;) {
        std::int64_t end = header_->arena_image_bytes, next = -1;
        for (std::int64_t t = 0; t < n_tensors_; ++t) {
            const std::int64_t low = tensors_[t].offset, high = low + tensors_[t].bytes;
            if ((spans_[t] != Span::across && spans_[t] != Span::shared) || high <= begin) continue;
            if (low < end) end = low;
            if (next < 0 || high < next) next = high;
        }
        if (end - begin > made.bytes) made.begin = begin, made.bytes = end - begin;
        begin = next;
    }
    made.apart_threads = true;
    for (std::int64_t i = start + first; i < start + first + count; ++i) {
        made.work += steps_[i].work.of(1);
        made.apart_threads = made.apart_threads && !steps_[i].shares_scratch;
    }
    return made;
}

CONVLENS_COLD Status Program::plan_by_image() {
    CONVLENS_RETURN_IF_ERROR(by_image_.resize(n_entries_));
    CONVLENS_RETURN_IF_ERROR(spans_.resize(n_tensors_));
    find_entries();
    for (int e = 0; e < n_entries_; ++e) {
        by_image_[e] = by_image_of(entries_[e]);
        for (std::int64_t t = 0; t < n_tensors_; ++t) {
            // Nothing of this entry's own is there while another one runs.
            if (spans_[t] == Span::across) spans_[t] = Span::after;
        }
    }
    return {};
}

// An image, or what is one's own of a call: its memory and scratch are no other thread's.
void Program::run_image(std::int64_t first, std::int64_t last, const RawEntry& e, const Binding& binding,
                        const Frame& frame, const Call& own) const {
    for (std::int64_t i = first; i < last;) {
        Call calls[3] = {own, own, own};
        bind(&calls[0], i, e, binding, frame);
        if (steps_[i].strips != 0 && i + 3 <= last && strip_pieces(i, 1) > 0) {
            for (int k = 0; k < 3; ++k) {
                bind(&calls[k], i + k, e, binding, frame);
                calls[k].problem = &strips_[steps_[i].strips - 1].problems[k];
            }
            run_strips(i, calls, 0, 1, 0);
            i += 3;
            continue;
        }
        for (const Phase& phase : steps_[i].op->phases) {
            if (phase.run == nullptr) break;
            const std::int64_t tasks = phase.tasks(calls[0]);
            for (std::int64_t task = 0; task < tasks; ++task) phase.run(calls[0], task, 0);
        }
        ++i;
    }
}

}  // namespace convlens
