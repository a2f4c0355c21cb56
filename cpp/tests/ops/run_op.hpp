// Runs one instruction on buffers of its own: guard bytes around every tensor, NaN wherever nothing may be read, every
// ISA this CPU has, one thread and several.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/cpu.hpp"
#include "base/parallel.hpp"
#include "harness.hpp"
#include "ops/geometry.hpp"
#include "ops/op.hpp"

namespace convlens_tests {

using namespace convlens;

// A deterministic stream of numbers in [0, 1).
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
    double next() {
        state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
        return static_cast<double>(state_ >> 11) / 9007199254740992.0;
    }
    double between(double low, double high) { return low + (high - low) * next(); }

  private:
    std::uint64_t state_;
};

struct Halo {
    int top = 0, left = 0, bottom = 0, right = 0;
};

template <class Real>
Tensor tensor_of(Layout layout, int channels, int height, int width, Halo halo = {}, bool batched = true,
                 DType dtype = DType::real, Place place = Place::arena) {
    Tensor t{};
    t.dtype = dtype, t.layout = layout, t.place = place, t.batched = batched;
    t.channels = channels, t.height = height, t.width = width;
    t.halo_top = static_cast<std::uint16_t>(halo.top), t.halo_left = static_cast<std::uint16_t>(halo.left);
    t.halo_bottom = static_cast<std::uint16_t>(halo.bottom), t.halo_right = static_cast<std::uint16_t>(halo.right);
    t.slot = place == Place::arena ? -1 : 0;
    t.bytes = needed_bytes<Real>(t);
    return t;
}

// A tensor that lies apart from all others: the ops compare.
inline std::int32_t next_place() {
    static std::int32_t count = 0;
    return ++count;
}
template <class Real, class... Rest>
Tensor apart(Layout layout, Rest... rest) {
    Tensor t = tensor_of<Real>(layout, rest...);
    const std::int32_t count = next_place();
    if (t.place == Place::external) t.slot = count;
    if (t.place != Place::external) t.offset = count * std::int64_t{1} << 32;
    return t;
}

// A tensor and its bytes. Logical values are doubles in the order n, c, h, w.
template <class Real>
struct Buffer {
    static constexpr std::int64_t kGuard = 256;
    static constexpr unsigned char kGuardByte = 0xa5;
    Tensor tensor{};
    std::int64_t n = 0, base = 0, plane = 0, row = 0;  // where elements lie, in units of them: see index
    std::vector<unsigned char> bytes;
    unsigned char* data = nullptr;

    Buffer() = default;
    Buffer(const Tensor& t, std::int64_t images) : tensor(t), n(t.batched ? images : 1) {
        base = t.dtype == DType::real ? origin<Real>(t) : 0;
        plane = plane_stride<Real>(t), row = row_stride<Real>(t);
        bytes.assign(static_cast<std::size_t>(kGuard * 2 + 64 + n * t.bytes), kGuardByte);
        data = bytes.data() + kGuard;
        data += (64 - reinterpret_cast<std::uintptr_t>(data) % 64) % 64;
        // An external tensor need not be aligned to more than its element.
        if (t.place == Place::external && t.dtype == DType::real) data += sizeof(Real);
    }
    Buffer(const Buffer& other) { *this = other; }
    Buffer& operator=(const Buffer& other) {
        tensor = other.tensor, n = other.n, bytes = other.bytes;
        base = other.base, plane = other.plane, row = other.row;
        data = other.data == nullptr ? nullptr : bytes.data() + (other.data - other.bytes.data());
        if (data != nullptr) {  // alignment may differ in the copy
            Buffer fresh(tensor, n);
            std::memcpy(fresh.data, other.data, static_cast<std::size_t>(n * tensor.bytes));
            bytes.swap(fresh.bytes);
            data = fresh.data;
        }
        return *this;
    }

    View view() { return {&tensor, reinterpret_cast<char*>(data), tensor.batched ? tensor.bytes : 0}; }

    bool guards_hold() const {
        for (const unsigned char* b = bytes.data(); b < data; ++b)
            if (*b != kGuardByte) return false;
        const unsigned char* end = data + n * tensor.bytes;
        for (const unsigned char* b = end; b < bytes.data() + bytes.size(); ++b)
            if (*b != kGuardByte) return false;
        return true;
    }

    // Index of a logical element in units of the element (bits for a mask).
    std::int64_t index(std::int64_t c, std::int64_t h, std::int64_t w) const {
        const std::int64_t lanes = kLanes<Real>;
        if (tensor.layout == Layout::blocked) return base + c / lanes * plane + h * row + w * lanes + c % lanes;
        return base + c * plane + h * row + w;
    }
    double get(std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) const {
        const unsigned char* image = data + i * tensor.bytes;
        const std::int64_t at = index(c, h, w);
        switch (tensor.dtype) {
            case DType::real: {
                Real value;
                std::memcpy(&value, image + at * static_cast<std::int64_t>(sizeof(Real)), sizeof value);
                return static_cast<double>(value);
            }
            case DType::int64: {
                std::int64_t value;
                std::memcpy(&value, image + at * 8, 8);
                return static_cast<double>(value);
            }
            case DType::uint8:
                return image[at];
            default:
                return image[at / 8] >> (at % 8) & 1;
        }
    }
    void set(std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w, double value) {
        unsigned char* image = data + i * tensor.bytes;
        const std::int64_t at = index(c, h, w);
        if (tensor.dtype == DType::real) {
            const Real real = static_cast<Real>(value);
            std::memcpy(image + at * static_cast<std::int64_t>(sizeof(Real)), &real, sizeof real);
        } else if (tensor.dtype == DType::int64) {
            const std::int64_t integer = static_cast<std::int64_t>(value);
            std::memcpy(image + at * 8, &integer, 8);
        } else if (tensor.dtype == DType::uint8) {
            image[at] = static_cast<unsigned char>(value);
        } else {
            image[at / 8] = static_cast<unsigned char>((image[at / 8] & ~(1 << at % 8)) | (value != 0) << at % 8);
        }
    }
    // Calls f(i, c, h, w) for every logical element.
    template <class F>
    void each(F f) const {
        for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t c = 0; c < tensor.channels; ++c)
                for (std::int64_t h = 0; h < tensor.height; ++h)
                    for (std::int64_t w = 0; w < tensor.width; ++w) f(i, c, h, w);
    }
    // Zeros within the copies (lanes beyond the channels, halo), then f(i, c, h, w) at the logical elements.
    template <class F>
    void fill(F f) {
        if (n > 0) std::memset(data, 0, static_cast<std::size_t>(n * tensor.bytes));
        each([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) { set(i, c, h, w, f(i, c, h, w)); });
    }
    void fill_random(std::uint64_t seed, double low = -1, double high = 1) {
        fill([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) {
            // A function of the element, so that an image is the same in every batch.
            Random random(seed * 1000003u + static_cast<std::uint64_t>(((i * 4099 + c) * 1031 + h) * 1033 + w));
            random.next(), random.next();
            return random.between(low, high);
        });
    }
    // NaN in the halo of a real tensor, for ops that may not read it.
    void poison_halo() {
        std::vector<bool> logical(static_cast<std::size_t>(tensor.bytes) / sizeof(Real));
        for (std::int64_t c = 0; c < round_up(tensor.channels, tensor.layout == Layout::blocked ? kLanes<Real> : 1);
             ++c)
            for (std::int64_t h = 0; h < tensor.height; ++h)
                for (std::int64_t w = 0; w < tensor.width; ++w)
                    logical[static_cast<std::size_t>(index(c, h, w))] = true;
        const Real nan = std::numeric_limits<Real>::quiet_NaN();
        for (std::int64_t i = 0; i < n; ++i)
            for (std::size_t e = 0; e < logical.size(); ++e)
                if (!logical[e])
                    std::memcpy(data + i * tensor.bytes + static_cast<std::int64_t>(e * sizeof(Real)), &nan,
                                sizeof nan);
    }
    // Everything that is not a logical element is zero bits.
    bool rest_is_zero() const {
        Buffer copy = *this;
        copy.each([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) { copy.set(i, c, h, w, 0); });
        for (std::int64_t b = 0; b < n * tensor.bytes; ++b)
            if (copy.data[b] != 0) return false;
        return true;
    }
    bool same_bits(const Buffer& other) const {
        return n * tensor.bytes == other.n * other.tensor.bytes &&
               (n == 0 || std::memcmp(data, other.data, static_cast<std::size_t>(n * tensor.bytes)) == 0);
    }
};

inline std::int64_t bits_of(double value) {
    std::int64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline std::uint16_t opcode_of(const char* name) {
    for (int i = 0; i < op_count(); ++i) {
        if (std::strcmp(op_name(static_cast<std::uint16_t>(i)), name) == 0) return static_cast<std::uint16_t>(i);
    }
    return 0xffff;
}

// Every ISA this CPU can run.
inline std::vector<const Kernels*> runnable_kernels() {
    std::vector<const Kernels*> all;
    int count = 0;
    const Kernels* kernels = all_kernels(&count);
    for (int i = 0; i < count; ++i)
        if ((kernels[i].needs & ~cpu_features()) == 0) all.push_back(&kernels[i]);
    return all;
}

template <class Real>
struct Runner {
    Instruction instruction{};
    Problem problem{};
    std::vector<std::int32_t> inputs, outputs;
    std::vector<std::int64_t> attributes;
    const Op* op = nullptr;

    Runner(const char* name, std::vector<const Tensor*> ins, std::vector<const Tensor*> outs,
           std::vector<std::int64_t> values)
        : attributes(std::move(values)) {
        instruction.opcode = opcode_of(name);
        op = find_op(instruction.opcode, sizeof(Real) == 8);
        for (std::size_t i = 0; i < ins.size(); ++i) {
            problem.inputs[i] = ins[i];
            inputs.push_back(ins[i] == nullptr ? kAbsent : static_cast<std::int32_t>(i));
        }
        for (std::size_t i = 0; i < outs.size(); ++i) {
            problem.outputs[i] = outs[i];
            outputs.push_back(outs[i] == nullptr ? kAbsent : static_cast<std::int32_t>(100 + i));
        }
        instruction.n_inputs = static_cast<std::uint16_t>(ins.size());
        instruction.n_outputs = static_cast<std::uint16_t>(outs.size());
        instruction.n_attributes = static_cast<std::uint16_t>(attributes.size());
        instruction.inputs = inputs.data(), instruction.outputs = outputs.data();
        instruction.attributes = attributes.data();
        problem.instruction = &instruction;
    }
    Runner(const Runner&) = delete;

    Status check() {
        ScratchNeed need;
        return op->check(problem, &need);
    }

    Status run(std::vector<Buffer<Real>*> ins, std::vector<Buffer<Real>*> outs, std::int64_t n, const Kernels* kernels,
               int threads) {
        ScratchNeed need;
        CONVLENS_RETURN_IF_ERROR(op->check(problem, &need));
        std::vector<std::int64_t> plan(static_cast<std::size_t>(op->plan_bytes ? op->plan_bytes(problem) / 8 + 1 : 0) +
                                       8);
        void* plan_at = aligned(plan.data());
        if (op->make_plan) op->make_plan(problem, plan_at);
        const std::int64_t fixed = round_up(need.fixed_bytes, 64), image = need.per_image_bytes;
        const std::int64_t stride = round_up(need.per_thread_bytes, 64);
        std::vector<char> scratch(static_cast<std::size_t>(fixed + n * image + threads * stride + 4 * 64), char(0x7f));
        Call call{};
        call.problem = &problem;
        for (std::size_t i = 0; i < ins.size(); ++i)
            if (ins[i]) call.inputs[i] = ins[i]->view();
        for (std::size_t i = 0; i < outs.size(); ++i)
            if (outs[i]) call.outputs[i] = outs[i]->view();
        call.n = n, call.plan = plan_at, call.kernels = kernels;
        call.fixed_scratch = static_cast<char*>(aligned(scratch.data()));
        call.image_scratch = static_cast<char*>(aligned(call.fixed_scratch + fixed));
        call.thread_scratch = static_cast<char*>(aligned(call.image_scratch + n * image));
        call.thread_scratch_stride = stride;
        call.threads = threads;
        for (const Phase& phase : op->phases) {
            if (phase.run == nullptr) break;
            struct Context {
                const Phase* phase;
                const Call* call;
            } context{&phase, &call};
            parallel_for(
                phase.tasks(call), threads,
                [](void* c, std::int64_t task, int thread) {
                    const Context& at = *static_cast<Context*>(c);
                    at.phase->run(*at.call, task, thread);
                },
                &context);
        }
        return {};
    }

  private:
    static void* aligned(void* p) {
        const std::uintptr_t at = (reinterpret_cast<std::uintptr_t>(p) + 63) / 64 * 64;
        return reinterpret_cast<void*>(at);
    }
};

// Runs on every ISA with 1, 2 and 3 threads; checks guards, untouched inputs, and equal bits for any thread count. Then
// calls verify(kernels) on the outputs of each ISA.
template <class Real, class Verify>
void run_everywhere(Runner<Real>& runner, std::vector<Buffer<Real>*> ins, std::vector<Buffer<Real>*> outs,
                    std::int64_t n, const std::string& what, Verify verify) {
    std::vector<Buffer<Real>> given;
    for (Buffer<Real>* in : ins) given.push_back(in ? *in : Buffer<Real>());
    for (const Kernels* kernels : runnable_kernels()) {
        std::vector<Buffer<Real>> first;
        for (int threads : {1, 2, 3}) {
            for (Buffer<Real>* out : outs)
                if (out)
                    std::memset(out->data, threads == 2 ? 0x7f : 0xff,
                                static_cast<std::size_t>(out->n * out->tensor.bytes));
            const Status status = runner.run(ins, outs, n, kernels, threads);
            CHECK_SAY(status.ok(), "%s: %s", what.c_str(), status.message);
            if (!status.ok()) return;
            for (std::size_t i = 0; i < outs.size(); ++i) {
                if (!outs[i]) continue;
                CHECK_SAY(outs[i]->guards_hold(), "%s: %s writes outside output %zu", what.c_str(), kernels->isa, i);
                if (threads == 1) first.push_back(*outs[i]);
            }
            std::size_t at = 0;
            for (std::size_t i = 0; i < outs.size(); ++i) {
                if (!outs[i]) continue;
                CHECK_SAY(outs[i]->same_bits(first[at++]), "%s: %s, %d threads differ from one", what.c_str(),
                          kernels->isa, threads);
            }
            for (std::size_t i = 0; i < ins.size(); ++i) {
                if (ins[i])
                    CHECK_SAY(ins[i]->same_bits(given[i]) && ins[i]->guards_hold(), "%s: %s changes input %zu",
                              what.c_str(), kernels->isa, i);
            }
        }
        verify(kernels);
    }
}

}  // namespace convlens_tests
