// A chain of element-wise operations as one register program over cache-sized chunks; broadcasting, masks, several
// outputs, outputs in place of inputs.
//
// inputs  up to 16: full (the outputs' shape), or broadcast: (c 1 1), a vector of c, (1 h w), (1 1 1), a scalar
// outputs up to 8, all full; each stored exactly once
// attributes n_constants, constants (real) ..., one word an operation (elementwise.def)
//
// An output may be the same bytes as a full input: a chunk is read before it is written.
#include "ops/geometry.hpp"

namespace convlens {
namespace {

struct Word {
    std::uint8_t code, dst, a, b, c;
};

Word word_at(const Problem& p, std::int64_t i) {
    const std::uint64_t bits = static_cast<std::uint64_t>(p.attribute(static_cast<int>(1 + p.attribute(0) + i)));
    return {static_cast<std::uint8_t>(bits), static_cast<std::uint8_t>(bits >> 8),
            static_cast<std::uint8_t>(bits >> 16), static_cast<std::uint8_t>(bits >> 24),
            static_cast<std::uint8_t>(bits >> 32)};
}
std::int64_t word_count(const Problem& p) { return p.instruction->n_attributes - 1 - p.attribute(0); }

int operand_count(std::uint8_t code) {
    static constexpr int counts[] = {
#define CONVLENS_ELEMENTWISE(name, operands, meaning) operands,
#include "ops/elementwise.def"
#undef CONVLENS_ELEMENTWISE
    };
    return counts[code];
}

// How the operands' elements are walked. Flat: contiguous elements without planes, as vectors and packed weights are.
struct Walk {
    bool batched, flat, blocked, by_rows;
    std::int64_t channels, height, width;
    std::int64_t planes, rows, run_elements, pieces, chunk_units;
    ElementwiseRole roles[kMaxInputs];
};

struct Plan {
    Walk walk;
    std::int32_t n_steps;
    // then n_steps ElementwiseStep, padded to 8 bytes, then the constants
    ElementwiseStep* steps() { return reinterpret_cast<ElementwiseStep*>(this + 1); }
    const ElementwiseStep* steps() const { return reinterpret_cast<const ElementwiseStep*>(this + 1); }
    static std::int64_t steps_bytes(std::int64_t n) { return round_up(n * sizeof(ElementwiseStep), 8); }
    const double* constants() const {
        return reinterpret_cast<const double*>(reinterpret_cast<const char*>(this + 1) + steps_bytes(n_steps));
    }
};

bool is_full(const Tensor& t, const Tensor& y) { return same_shape(t, y); }

CONVLENS_COLD Status check_words(const Problem& p) {
    const Instruction& instruction = *p.instruction;
    const std::int64_t words = word_count(p);
    std::uint32_t written = 0, stored = 0;
    for (std::int64_t i = 0; i < words; ++i) {
        const Word w = word_at(p, i);
        const long long at = i;
        if (w.code >= kElementwiseCount)
            return fail(Code::unsupported, "operation %lld: unknown number %d", at, w.code);
        const int operands = operand_count(w.code);
        const std::uint8_t registers[] = {w.a, w.b, w.c};
        for (int r = 0; r < operands; ++r) {
            if (registers[r] >= kElementwiseRegisters || !(written >> registers[r] & 1)) {
                return fail(Code::corrupt_file, "operation %lld reads register %d, which nothing wrote", at,
                            registers[r]);
            }
        }
        if (w.code == kElementwise_store) {
            if (w.dst >= instruction.n_outputs || stored >> w.dst & 1) {
                return fail(Code::corrupt_file, "operation %lld stores output %d, which is absent or stored already",
                            at, w.dst);
            }
            stored |= 1u << w.dst;
            continue;
        }
        if (w.dst >= kElementwiseRegisters)
            return fail(Code::corrupt_file, "operation %lld: no register %d", at, w.dst);
        if (w.code == kElementwise_load && (w.a >= instruction.n_inputs || p.inputs[w.a] == nullptr)) {
            return fail(Code::corrupt_file, "operation %lld loads input %d, which is absent", at, w.a);
        }
        if (w.code == kElementwise_constant && w.a >= p.attribute(0)) {
            return fail(Code::corrupt_file, "operation %lld takes constant %d of %lld", at, w.a,
                        static_cast<long long>(p.attribute(0)));
        }
        written |= 1u << w.dst;
    }
    if (stored != (1u << instruction.n_outputs) - 1) return fail(Code::corrupt_file, "an output is never stored");
    return {};
}

// Nothing batched: vectors, packed weights, scalars; only the number of elements counts.
CONVLENS_COLD Status walk_flat(const Problem& p, Walk* walk) {
    const std::int64_t count = logical_elements(*p.outputs[0]);
    const auto check = [&](const Tensor& t, const char* name, bool scalar) -> Status {
        if (has_halo(t) || (t.layout == Layout::blocked && !one_pixel(t))) {
            return fail(Code::corrupt_file, "`%s` is not batched; it must be plain or packed, without halo", name);
        }
        if (logical_elements(t) != count && !(scalar && logical_elements(t) == 1)) {
            return fail(Code::corrupt_file, "`%s` has %lld elements and the output %lld; nothing else broadcasts", name,
                        static_cast<long long>(logical_elements(t)), static_cast<long long>(count));
        }
        return {};
    };
    for (int i = 0; i < p.instruction->n_outputs; ++i) CONVLENS_RETURN_IF_ERROR(check(*p.outputs[i], "output", false));
    for (int i = 0; i < p.instruction->n_inputs; ++i) {
        if (p.inputs[i] == nullptr) continue;
        CONVLENS_RETURN_IF_ERROR(check(*p.inputs[i], "input", true));
        walk->roles[i] = logical_elements(*p.inputs[i]) == count ? ElementwiseRole::full : ElementwiseRole::scalar;
    }
    walk->flat = true;
    walk->channels = count, walk->height = walk->width = 1;
    return {};
}

CONVLENS_COLD Status role_of(const Tensor& t, const Tensor& y, ElementwiseRole* role) {
    if (is_full(t, y)) {
        *role = ElementwiseRole::full;
    } else if (one_pixel(t) && t.channels == 1) {
        *role = ElementwiseRole::scalar;
    } else if (one_pixel(t) && t.channels == y.channels) {
        *role = ElementwiseRole::channel;
    } else if (t.channels == 1 && t.height == y.height && t.width == y.width) {
        *role = ElementwiseRole::spatial;
    } else {
        return fail(Code::corrupt_file, "an input of %d x %d x %d does not broadcast to %d x %d x %d", t.channels,
                    t.height, t.width, y.channels, y.height, y.width);
    }
    if (t.layout == Layout::packed) return fail(Code::corrupt_file, "a packed tensor meets batched ones");
    if (t.dtype == DType::mask && *role != ElementwiseRole::full) {
        return fail(Code::unsupported, "a mask of %d x %d x %d does not broadcast; select with a real tensor",
                    t.channels, t.height, t.width);
    }
    return {};
}

CONVLENS_COLD Status walk_images(const Problem& p, Walk* walk) {
    const Tensor& y = *p.outputs[0];
    bool pixel = true, halo = false, masks = false;
    const auto note = [&](const Tensor& t) {
        pixel = pixel && one_pixel(t);
        halo = halo || has_halo(t);
        masks = masks || t.dtype == DType::mask;
    };
    for (int i = 0; i < p.instruction->n_outputs; ++i) {
        const Tensor& t = *p.outputs[i];
        if (!is_full(t, y) || t.layout == Layout::packed)
            return fail(Code::corrupt_file, "outputs must have one shape");
        note(t);
    }
    for (int i = 0; i < p.instruction->n_inputs; ++i) {
        if (p.inputs[i] == nullptr) continue;
        CONVLENS_RETURN_IF_ERROR(role_of(*p.inputs[i], y, &walk->roles[i]));
        if (walk->roles[i] == ElementwiseRole::full) note(*p.inputs[i]);
    }
    for (int i = 0; i < p.instruction->n_inputs + p.instruction->n_outputs && !pixel; ++i) {
        const bool output = i >= p.instruction->n_inputs;
        const Tensor* t = output ? p.outputs[i - p.instruction->n_inputs] : p.inputs[i];
        if (t == nullptr || (!output && walk->roles[i] != ElementwiseRole::full)) continue;
        if (t->layout != y.layout)
            return fail(Code::corrupt_file, "operands of the outputs' shape must have one layout");
    }
    if (masks && halo && y.layout == Layout::plain) {
        return fail(Code::unsupported, "masks in layout plain need operands without halo");
    }
    walk->flat = pixel;
    walk->blocked = !pixel && y.layout == Layout::blocked;
    walk->by_rows = halo;
    walk->channels = y.channels, walk->height = y.height, walk->width = y.width;
    return {};
}

template <class Real>
CONVLENS_COLD Status make_walk(const Problem& p, Walk* walk) {
    *walk = {};
    const Instruction& instruction = *p.instruction;
    for (int i = 0; i < instruction.n_inputs; ++i)
        walk->batched = walk->batched || (p.inputs[i] && p.inputs[i]->batched);
    for (int i = 0; i < instruction.n_outputs; ++i) walk->batched = walk->batched || p.outputs[i]->batched;
    for (int i = 0; i < instruction.n_outputs; ++i) {
        if (p.outputs[i]->batched != walk->batched) return fail(Code::corrupt_file, "output %d is not batched", i);
    }
    CONVLENS_RETURN_IF_ERROR(walk->batched ? walk_images(p, walk) : walk_flat(p, walk));
    const std::int64_t pixel = walk->blocked ? kLanes<Real> : 1;
    const std::int64_t planes = walk->blocked ? ceil_div(walk->channels, kLanes<Real>) : walk->channels;
    walk->rows = walk->by_rows ? walk->height : 1;
    walk->planes = walk->by_rows || walk->blocked ? planes : 1;
    walk->run_elements = walk->width * pixel;
    if (!walk->by_rows) walk->run_elements *= walk->height;
    if (walk->planes == 1) walk->run_elements *= planes;
    const std::int64_t capacity = kElementwiseChunkBytes / static_cast<std::int64_t>(sizeof(Real));
    walk->pieces = ceil_div(walk->run_elements, capacity);
    walk->chunk_units = units_per_task(min_of(walk->run_elements, capacity) * static_cast<std::int64_t>(sizeof(Real)) *
                                       max_of(1, word_count(p)));
    return {};
}

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    const Instruction& instruction = *p.instruction;
    if (instruction.n_inputs > kMaxInputs || instruction.n_outputs < 1 || instruction.n_outputs > kMaxOutputs) {
        return fail(Code::corrupt_file, "elementwise has %d inputs and %d outputs; it takes up to %d and 1 to %d",
                    instruction.n_inputs, instruction.n_outputs, kMaxInputs, kMaxOutputs);
    }
    if (instruction.n_attributes < 1 || p.attribute(0) < 0 || p.attribute(0) > instruction.n_attributes - 1) {
        return fail(Code::corrupt_file, "`n_constants` must lie within the attributes");
    }
    for (int i = 0; i < instruction.n_inputs + instruction.n_outputs; ++i) {
        const bool output = i >= instruction.n_inputs;
        const Tensor* t = output ? p.outputs[i - instruction.n_inputs] : p.inputs[i];
        if (t == nullptr && !output) continue;
        const DType dtype = t != nullptr && t->dtype == DType::mask ? DType::mask : DType::real;
        CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, output ? "output" : "input", dtype));
    }
    CONVLENS_RETURN_IF_ERROR(check_words(p));
    Walk walk;
    CONVLENS_RETURN_IF_ERROR(make_walk<Real>(p, &walk));
    scratch->per_thread_bytes = kElementwiseRegisters * kElementwiseChunkBytes;
    return {};
}

CONVLENS_COLD std::int64_t plan_bytes(const Problem& p) {
    return static_cast<std::int64_t>(sizeof(Plan)) + Plan::steps_bytes(word_count(p)) + p.attribute(0) * 8;
}

// Whether writing `y` may change what `x` holds. Two externals may be the same memory of the caller's.
CONVLENS_COLD bool may_overlap(const Tensor& x, const Tensor& y) {
    return overlap(x, y) || (x.place == Place::external && y.place == Place::external);
}

// The register written by step i is read at or after a step that may overwrite input `input`.
bool read_after_overwrite(const Problem& p, std::int64_t i, int input) {
    const std::uint8_t dst = word_at(p, i).dst;
    bool overwritten = false;
    for (std::int64_t j = i + 1; j < word_count(p); ++j) {
        const Word w = word_at(p, j);
        const std::uint8_t registers[] = {w.a, w.b, w.c};
        for (int r = 0; r < operand_count(w.code); ++r) {
            if (registers[r] == dst && overwritten) return true;
        }
        if (w.code == kElementwise_store) {
            overwritten = overwritten || may_overlap(*p.inputs[input], *p.outputs[w.dst]);
        } else if (w.dst == dst) {
            return false;
        }
        // A fused step writes where the store after it would; it reads its own operands first.
        if (w.code != kElementwise_store && j + 1 < word_count(p)) {
            const Word next = word_at(p, j + 1);
            if (next.code == kElementwise_store && next.a == w.dst) {
                overwritten = overwritten || may_overlap(*p.inputs[input], *p.outputs[next.dst]);
            }
        }
    }
    return false;
}

bool written_once(const Problem& p, std::uint8_t dst) {
    int count = 0;
    for (std::int64_t j = 0; j < word_count(p); ++j) {
        const Word w = word_at(p, j);
        count += w.code != kElementwise_store && w.dst == dst;
    }
    return count == 1;
}

template <class Real>
CONVLENS_COLD void make_plan(const Problem& p, void* memory) {
    Plan& plan = *static_cast<Plan*>(memory);
    (void)make_walk<Real>(p, &plan.walk);
    plan.n_steps = static_cast<std::int32_t>(word_count(p));
    for (std::int64_t i = 0; i < plan.n_steps; ++i) {
        const Word w = word_at(p, i);
        ElementwiseStep step{w.code, w.dst, w.a, w.b, w.c, -1, false, false, false, false};
        const bool arithmetic = w.code > kElementwise_store;
        if (arithmetic) {
            // Operands not named are never dereferenced, but indices must stay within the registers.
            if (operand_count(w.code) < 3) step.c = w.a;
            if (operand_count(w.code) < 2) step.b = w.a;
            if (i + 1 < plan.n_steps) {
                const Word next = word_at(p, i + 1);
                if (next.code == kElementwise_store && next.a == w.dst && p.outputs[next.dst]->dtype == DType::real) {
                    step.fused = static_cast<std::int8_t>(next.dst);
                }
            }
        }
        const bool scalar = w.code == kElementwise_load && plan.walk.roles[w.a] == ElementwiseRole::scalar;
        if (w.code == kElementwise_load) step.copies = read_after_overwrite(p, i, w.a);
        if (w.code == kElementwise_constant || scalar) step.once = written_once(p, w.dst) && !step.copies;
        if (w.code == kElementwise_load && plan.walk.roles[w.a] == ElementwiseRole::channel) {
            step.a_plane = plan.walk.blocked && written_once(p, w.dst);
        }
        if (w.code == kElementwise_store) step.skipped = i > 0 && plan.steps()[i - 1].fused == w.dst;
        plan.steps()[i] = step;
    }
    double* constants = const_cast<double*>(plan.constants());
    for (std::int64_t i = 0; i < p.attribute(0); ++i) constants[i] = p.real_attribute(static_cast<int>(1 + i));
}

std::int64_t units_of(const Call& call, const Walk& walk) {
    return (walk.batched ? call.n : 1) * walk.planes * walk.rows * walk.pieces;
}
std::int64_t tasks(const Call& call) {
    const Walk& walk = static_cast<const Plan*>(call.plan)->walk;
    return ceil_div(units_of(call, walk), walk.chunk_units);
}

template <class Real>
ElementwiseOperand operand(const View& view, std::int64_t image, ElementwiseRole role) {
    const Tensor& t = *view.tensor;
    const bool mask = t.dtype == DType::mask;
    char* data = view.data + image * view.image_stride;
    if (mask || t.layout == Layout::packed) return {data, 0, 0, 1, role, mask};
    return {data + origin<Real>(t) * static_cast<std::int64_t>(sizeof(Real)),
            plane_stride<Real>(t),
            row_stride<Real>(t),
            pixel_elements<Real>(t),
            role,
            false};
}

// What an output holds beyond its elements, once its run is complete.
template <class Real>
void zero_rest(const Call& call, const Walk& walk, std::int64_t image, std::int64_t unit0, std::int64_t unit1) {
    for (int i = 0; i < call.problem->instruction->n_outputs; ++i) {
        const View& view = call.outputs[i];
        const Tensor& t = *view.tensor;
        if (has_halo(t)) {
            for (std::int64_t run = unit0 / walk.pieces; run * walk.pieces < unit1; ++run) {
                const std::int64_t last = run * walk.pieces + walk.pieces - 1;
                if (last < unit0 || last >= unit1) continue;
                zero_halo<Real>(view, image, run / walk.rows, run % walk.rows, run % walk.rows + 1);
            }
        }
        if (unit1 != walk.planes * walk.rows * walk.pieces) continue;
        zero_beyond_channels<Real>(view, image);
    }
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const Plan& plan = *static_cast<const Plan*>(call.plan);
    const Walk& walk = plan.walk;
    const std::int64_t per_image = walk.planes * walk.rows * walk.pieces;
    ElementwiseOperand inputs[kMaxInputs], outputs[kMaxOutputs];
    ElementwiseArgs<Real> args{plan.steps(),
                               plan.constants(),
                               inputs,
                               outputs,
                               reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride),
                               plan.n_steps,
                               walk.blocked,
                               walk.channels,
                               walk.height,
                               walk.width,
                               walk.rows,
                               walk.pieces,
                               walk.run_elements,
                               0,
                               0};
    std::int64_t unit = task * walk.chunk_units;
    const std::int64_t end = min_of(unit + walk.chunk_units, units_of(call, walk));
    while (unit < end) {
        const std::int64_t image = unit / per_image;
        args.unit0 = unit - image * per_image;
        args.unit1 = min_of(per_image, end - image * per_image);
        for (int i = 0; i < call.problem->instruction->n_inputs; ++i) {
            if (call.inputs[i]) inputs[i] = operand<Real>(call.inputs[i], image, walk.roles[i]);
        }
        for (int i = 0; i < call.problem->instruction->n_outputs; ++i) {
            outputs[i] = operand<Real>(call.outputs[i], image, ElementwiseRole::full);
        }
        call.kernels->set<Real>().elementwise(args);
        zero_rest<Real>(call, walk, image, args.unit0, args.unit1);
        unit = image * per_image + args.unit1;
    }
}

template <class Real>
constexpr Op make_elementwise() {
    return {"elementwise", check<Real>, nullptr, plan_bytes, make_plan<Real>, {{tasks, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(elementwise, make_elementwise)
