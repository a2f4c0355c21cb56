// The dispatch table: one KernelSet per ISA and type, filled from kernels.def.
#pragma once

#include "base/cpu.hpp"
#include "kernels/args/all.hpp"

namespace convlens {

template <class Real>
struct KernelSet {
#define CONVLENS_KERNEL(family, name, Args) void (*name)(const Args<Real>& args);
#include "kernels/kernels.def"
#undef CONVLENS_KERNEL
};

struct Kernels {
    const char* isa;
    const char* description;
    std::uint32_t needs;  // CPU features, base/cpu.hpp
    KernelSet<float> f32;
    KernelSet<double> f64;

    template <class Real>
    const KernelSet<Real>& set() const;
};
template <>
inline const KernelSet<float>& Kernels::set<float>() const { return f32; }
template <>
inline const KernelSet<double>& Kernels::set<double>() const { return f64; }

// Every row of isa.def in this build, best first.
const Kernels* all_kernels(int* count);
// The one in use: CONVLENS_ISA if it names a row this CPU can run, else the best it can. `reason` says why, for `info`.
const Kernels& active_kernels();
const char* active_kernels_reason();
// Forces an ISA by name; used by tests and the C ABI. Fails with the list of names when unknown or not runnable.
Status select_kernels(const char* isa);

}  // namespace convlens
