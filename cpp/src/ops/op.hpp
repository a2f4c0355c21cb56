// An op = checks, a plan, a list of phases (task count, task function). The runtime opens one parallel region a phase.
#pragma once

#include <cstdint>

#include "base/parallel.hpp"
#include "base/status.hpp"
#include "kernels/kernels.hpp"
#include "runtime/tensor.hpp"

namespace convlens {

constexpr int kMaxInputs = 16;
constexpr int kMaxOutputs = 8;

// One instruction as parsed from a Program. Operands are tensor indices, kAbsent for an optional one left out.
constexpr std::int32_t kAbsent = -1;
struct Instruction {
    std::uint16_t opcode;
    std::uint16_t n_inputs, n_outputs, n_attributes;
    const std::int32_t* inputs;
    const std::int32_t* outputs;
    const std::int64_t* attributes;  // integers; real-valued ones are the bits of a double
};

// What an instruction needs beside its operands; the runtime takes the maximum over the Program.
struct ScratchNeed {
    std::int64_t fixed_bytes = 0, per_image_bytes = 0, per_thread_bytes = 0;
};

// What check() sees: tensors only, no data.
struct Problem {
    const Instruction* instruction;
    const Tensor* inputs[kMaxInputs];  // nullptr: absent
    const Tensor* outputs[kMaxOutputs];
    // Attributes the instruction does not have read as 0, so that no file can make a check read past its section.
    std::int64_t attribute(int i) const { return i < instruction->n_attributes ? instruction->attributes[i] : 0; }
    double real_attribute(int i) const;
};

// Rows and columns [y0, y1) x [x0, x1) of a tensor, in absolute coordinates; may reach outside it (into its halo).
struct Rectangle {
    std::int64_t y0, x0, y1, x1;
};

// What a task sees.
struct Call {
    const Problem* problem;
    View inputs[kMaxInputs];
    View outputs[kMaxOutputs];
    std::int64_t n;        // images in this call; may be 0
    const void* plan;      // what make_plan wrote
    char* fixed_scratch;   // fixed_bytes of check(); all scratch is 64-byte aligned and holds anything at first
    char* image_scratch;   // n * per_image_bytes
    char* thread_scratch;  // threads * thread_scratch_stride (per_thread_bytes or more, a multiple of 64)
    std::int64_t thread_scratch_stride;
    int threads;             // tasks run on at most so many
    const Kernels* kernels;  // the ISA chosen at start

    std::int64_t attribute(int i) const { return problem->attribute(i); }
};

struct Phase {
    std::int64_t (*tasks)(const Call& call);  // a function of shapes, attributes and n alone, never of threads
    void (*run)(const Call& call, std::int64_t task, int thread);
};

constexpr int kMaxPhases = 3;
struct Op {
    char name[32];
    // Every rule an operand or attribute must keep, so that no phase can leave the operands' byte ranges whatever the
    // file said; also the scratch it needs. Sizes in 64 bits.
    Status (*check)(const Problem& problem, ScratchNeed* scratch);
    // The rectangle of input `i` that a rectangle of output 0 needs. Null: the op reads no halo. The halo a tensor must
    // carry, strips of fused blocks, incremental occlusion and receptive fields all come from this one function.
    Rectangle (*input_rectangle)(const Problem& problem, int input, Rectangle output);
    // Bytes of the plan, and its maker (tap lists, task grids). Called once when the Program is opened. May be null.
    std::int64_t (*plan_bytes)(const Problem& problem);
    void (*make_plan)(const Problem& problem, void* plan);
    Phase phases[kMaxPhases];  // ends at the first with run == nullptr
    // Rows [row0, row1) of a blocked output 0 of image 0, by themselves and without scratch. Null: the op cannot.
    void (*run_rows)(const Call& call, std::int64_t row0, std::int64_t row1) = nullptr;
};

// The row of an op for float32 or float64; nullptr when the number is unknown or float64 was left out of the build.
const Op* find_op(std::uint16_t opcode, bool float64);
const char* op_name(std::uint16_t opcode);  // nullptr when unknown
int op_count();

// Defines both rows of an op from one template, at global scope, at the start of a line:
//     template <class Real> constexpr Op make_reorder() { return {"reorder", check<Real>, ...}; }
//     CONVLENS_DEFINE_OP(reorder, make_reorder)
#if defined(CONVLENS_FLOAT64)
#define CONVLENS_DEFINE_OP(name, make)            \
    namespace convlens {                          \
    extern const Op k_##name##_f32;               \
    extern const Op k_##name##_f64;               \
    constexpr Op k_##name##_f32 = make<float>();  \
    constexpr Op k_##name##_f64 = make<double>(); \
    }
#else
#define CONVLENS_DEFINE_OP(name, make)           \
    namespace convlens {                         \
    extern const Op k_##name##_f32;              \
    constexpr Op k_##name##_f32 = make<float>(); \
    }
#endif

}  // namespace convlens
