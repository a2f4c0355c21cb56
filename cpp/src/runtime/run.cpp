#include "base/allocator.hpp"
#include "base/parallel.hpp"
#include "base/threads.hpp"
#include "runtime/program.hpp"

namespace convlens {
namespace {

bool misaligned(const void* pointer, std::size_t alignment) {
    return reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0;
}

struct Task {
    const Call* call;
    void (*run)(const Call& call, std::int64_t task, int thread);
};

void run_task(void* context, std::int64_t task, int thread) {
    const Task& work = *static_cast<const Task*>(context);
    work.run(*work.call, task, thread);
}

}  // namespace

Workspace::~Workspace() {
    if (owned_) deallocate(arena_);
}

Status Workspace::size_up(const Program& program, std::int64_t n, int threads) {
    if (arena_ != nullptr) return fail(Code::invalid_argument, "this Workspace has memory already");
    if (n < 0) return fail(Code::invalid_argument, "`n` (=%lld) must be 0 or more images", static_cast<long long>(n));
    if (threads < 0) return fail(Code::invalid_argument, "`threads` (=%d) must be 1 or more, or 0 for all", threads);
    threads_ = threads == 0 ? max_threads() : threads;
    n_ = n;
    program_ = &program;
    bytes_ = program.arena_bytes(n, threads_);
    if (bytes_ < 0) {
        return fail(Code::out_of_memory, "`n` (=%lld): the memory for so many images does not fit 62 bits",
                    static_cast<long long>(n));
    }
    return {};
}

Status Workspace::create(const Program& program, std::int64_t n, int threads) {
    CONVLENS_RETURN_IF_ERROR(size_up(program, n, threads));
    arena_ = static_cast<char*>(allocate(static_cast<std::size_t>(bytes_)));
    owned_ = arena_ != nullptr;
    if (arena_ == nullptr) {
        return fail(Code::out_of_memory,
                    "no memory for a workspace of %lld bytes; `n` (=%lld) images in smaller batches need less",
                    static_cast<long long>(bytes_), static_cast<long long>(n));
    }
    return {};
}

Status Workspace::create_in(const Program& program, std::int64_t n, int threads, void* memory, std::size_t bytes) {
    CONVLENS_RETURN_IF_ERROR(size_up(program, n, threads));
    if (memory == nullptr || misaligned(memory, kAlignment)) {
        return fail(Code::invalid_argument, "`memory` (=%p) must be aligned to 64 bytes", memory);
    }
    if (bytes < static_cast<std::size_t>(bytes_)) {
        return fail(Code::invalid_argument, "`memory_bytes` (=%zu) must be at least %lld for %lld images on %d threads",
                    bytes, static_cast<long long>(bytes_), static_cast<long long>(n), threads_);
    }
    arena_ = static_cast<char*>(memory);
    return {};
}

Status Program::check_binding(const RawEntry& e, const Binding& binding, std::int64_t n) const {
    for (std::uint32_t k = 0; k < e.n_instructions; ++k) {
        const Instruction& instruction = instructions_[e.first_instruction + k];
        for (int j = 0; j < instruction.n_inputs + instruction.n_outputs; ++j) {
            const std::int32_t operand = instruction.inputs[j];
            if (operand == kAbsent || tensors_[operand].place == Place::arena) continue;
            const Tensor& t = tensors_[operand];
            if (t.place == Place::external) {
                const Port& p = ports_[t.slot];
                const void* data = binding.externals == nullptr ? nullptr : binding.externals[t.slot - e.first_port];
                const std::size_t element = t.layout == Layout::blocked ? kBlockBytes
                                            : t.dtype == DType::int64   ? 8
                                            : t.dtype == DType::uint8   ? 1
                                            : float64()                 ? 8
                                                                        : 4;
                if ((data == nullptr && (n > 0 || t.batched == 0)) || misaligned(data, element)) {
                    return fail(Code::invalid_argument, "`%.80s` (=%p) must be memory aligned to %zu bytes",
                                name(p.name), data, element);
                }
                continue;
            }
            const bool weight = t.place == Place::weight;
            const RawBuffer& b = weight ? weights_[t.slot] : states_[t.slot];
            const void* data = weight ? (binding.weights == nullptr ? weight_data(t.slot) : binding.weights[t.slot])
                                      : (binding.states == nullptr ? nullptr : binding.states[t.slot]);
            if (data == nullptr || misaligned(data, kAlignment)) {
                return fail(Code::invalid_argument, "%s `%.100s` (=%p) must be bound to memory aligned to 64 bytes",
                            weight ? "weight" : "state", name(b.name), data);
            }
        }
    }
    return {};
}

View Program::view(const Tensor* t, const RawEntry& e, const Binding& binding, const Frame& frame) const {
    View view;
    view.tensor = t;
    if (t == nullptr) return view;
    view.image_stride = t->batched != 0 ? t->pitch() : 0;
    switch (t->place) {
        case Place::arena:
            if (frame.apart != nullptr && span_of(t) == Span::within) {
                view.data = frame.apart + t->offset + t->within;
                return view;
            }
            view.data = frame.arena + (t->batched != 0 ? header_->arena_fixed_bytes + frame.n * t->offset : t->offset);
            view.data += t->within;
            break;
        case Place::weight:
            // Never written: read_instruction() refuses weights among the outputs.
            view.data = static_cast<char*>(
                const_cast<void*>(binding.weights == nullptr ? weight_data(t->slot) : binding.weights[t->slot]));
            break;
        case Place::state:
            view.data = static_cast<char*>(binding.states[t->slot]);
            break;
        case Place::external:
            view.data = binding.externals == nullptr
                            ? nullptr
                            : static_cast<char*>(binding.externals[static_cast<std::uint32_t>(t->slot) - e.first_port]);
            break;
    }
    if (view.data != nullptr) view.data += frame.image * view.image_stride;
    return view;
}

void Program::bind(Call* call, std::int64_t i, const RawEntry& e, const Binding& binding, const Frame& frame) const {
    const Problem& problem = problems_[i];
    call->problem = &problem;
    call->plan = steps_[i].plan_offset < 0 ? nullptr : plans_.data() + steps_[i].plan_offset;
    const Instruction& instruction = *problem.instruction;
    for (int k = 0; k < instruction.n_inputs; ++k) call->inputs[k] = view(problem.inputs[k], e, binding, frame);
    for (int k = 0; k < instruction.n_outputs; ++k) call->outputs[k] = view(problem.outputs[k], e, binding, frame);
}

Status Program::run(int index, Workspace& workspace, const Binding& binding, std::int64_t n, int threads) const {
    if (index < 0 || index >= n_entries_) {
        return fail(Code::invalid_argument, "`entry` (=%d) must be 0 to %d", index, n_entries_ - 1);
    }
    if (workspace.program_ != this || workspace.arena_ == nullptr) {
        return fail(Code::invalid_argument, "`workspace` must be created for the Program it runs");
    }
    if (n < 0 || n > workspace.n_) {
        return fail(Code::invalid_argument, "`n` (=%lld) must be 0 to %lld, the images the workspace is for",
                    static_cast<long long>(n), static_cast<long long>(workspace.n_));
    }
    const RawEntry& e = entries_[index];
    CONVLENS_RETURN_IF_ERROR(check_binding(e, binding, n));
    if (workspace.busy_.exchange(true, std::memory_order_acquire)) {
        return fail(Code::invalid_argument, "`workspace` runs another call already: take one for each thread");
    }

    const CallGuard guard;
    const bool spare = threads <= 0 && spares_threads();
    if (threads <= 0) threads = guard.threads();
    if (threads > workspace.threads_) threads = workspace.threads_;
    Spread spread(threads, threads_sleep(), team_of_thread(), now_ns);

    // [tensors fixed][n * tensors of an image][scratch fixed][n * scratch of an image][threads * scratch of a thread]
    char* arena = workspace.arena_;
    Call call = {};
    call.n = n;
    call.kernels = kernels_;
    call.fixed_scratch = arena + header_->arena_fixed_bytes + n * header_->arena_image_bytes;
    call.image_scratch = call.fixed_scratch + scratch_.fixed_bytes;
    call.thread_scratch = call.image_scratch + n * scratch_.per_image_bytes;
    call.thread_scratch_stride = scratch_.per_thread_bytes;
    call.threads = threads;
    const auto take_strips = [&](std::int64_t i, const Frame& frame, int pieces) {
        struct Piece {
            const Program* program;
            std::int64_t i;
            int pieces;
            Call calls[3];
        };
        Piece context = {this, i, pieces, {}};
        Work work;
        for (int k = 0; k < 3; ++k) {
            Call& c = context.calls[k];
            c.n = 1, c.kernels = kernels_;
            c.thread_scratch = call.thread_scratch, c.thread_scratch_stride = call.thread_scratch_stride;
            bind(&c, i + k, e, binding, frame);
            c.problem = &strips_[steps_[i].strips - 1].problems[k];
            work.per_image += steps_[i + k].work.of(1);
        }
        if (spare) {
            const int worth = spread.threads(work.per_image);
            if (worth < pieces) context.pieces = worth;
        }
        const auto run_piece = [](void* memory, std::int64_t piece, int thread) {
            const Piece& p = *static_cast<const Piece*>(memory);
            p.program->run_strips(p.i, p.calls, piece, p.pieces, thread);
        };
        parallel_for(context.pieces, context.pieces, run_piece, &context);
    };
    int n_inputs = 0, n_outputs = 0;  // of the instruction before
    // The instruction, or three of them, and what comes next.
    const auto take = [&](std::int64_t i, std::int64_t last, const Frame& frame) {
        const Step& step = steps_[i];
        if (step.strips != 0 && call.n == 1 && i + 3 <= last) {
            const int pieces = strip_pieces(i, threads);
            if (pieces > 0) {
                take_strips(i, frame, pieces);
                return i + 3;
            }
        }
        bind(&call, i, e, binding, frame);
        const Instruction& instruction = *call.problem->instruction;
        for (int k = instruction.n_inputs; k < n_inputs; ++k) call.inputs[k] = {};
        n_inputs = instruction.n_inputs;
        for (int k = instruction.n_outputs; k < n_outputs; ++k) call.outputs[k] = {};
        n_outputs = instruction.n_outputs;
        const int share = spare ? spread.threads(step.work.of(call.n)) : threads;
        for (const Phase& phase : step.op->phases) {
            if (phase.run == nullptr) break;
            Task task = {&call, phase.run};
            parallel_for(phase.tasks(call), share, run_task, &task);
        }
        return i + 1;
    };
    std::int64_t i = e.first_instruction;
    const std::int64_t end = i + e.n_instructions;
    const ByImage& each = by_image_[index];
    // Of an explanation that threads would share each image of, they wait for each other more often than caches save:
    // SmoothGrad of SqueezeNet and MobileNetV2 1.08 of the time. (Zen 4, two threads)
    const bool worth = n_entries_ == 1 || threads == 1 || each.apart_threads;
    if (n > 1 && worth && each.count > 0 && n * each.bytes >= each.size) {
        const std::int64_t first = i + each.first, last = first + each.count;
        while (i < first) i = take(i, first, {arena, n, 0, nullptr});
        char* apart = arena + header_->arena_fixed_bytes + n * each.begin - each.low;
        call.n = 1;
        std::int64_t done = 0;
        int share = threads;
        if (share > 1 && spare) share = spread.threads(each.work * static_cast<double>(n));
        if (share > 1 && each.apart_threads && n * each.bytes / each.size >= share && n >= share) {
            struct Images {
                const Program* program;
                const RawEntry* e;
                const Binding* binding;
                const Call* call;
                Frame frame;
                std::int64_t first, last, size;
            };
            Images images = {this, &e, &binding, &call, {arena, n, 0, apart}, first, last, each.size};
            const auto run_one = [](void* memory, std::int64_t image, int thread) {
                const Images& its = *static_cast<const Images*>(memory);
                const Program& program = *its.program;
                Frame frame = its.frame;
                Call own = *its.call;
                frame.image = image, frame.apart += thread * its.size;
                own.image_scratch += thread * program.scratch_.per_image_bytes;
                own.thread_scratch += thread * own.thread_scratch_stride;
                own.threads = 1;
                program.run_image(its.first, its.last, *its.e, *its.binding, frame, own);
            };
            done = n - n % share;
            parallel_for(done, share, run_one, &images);
        }
        for (std::int64_t image = done; image < n; ++image) {
            for (i = first; i < last;) i = take(i, last, {arena, n, image, apart});
        }
        i = last;
        call.n = n;
    }
    while (i < end) i = take(i, end, {arena, n, 0, nullptr});
    workspace.busy_.store(false, std::memory_order_release);
    return {};
}

}  // namespace convlens
