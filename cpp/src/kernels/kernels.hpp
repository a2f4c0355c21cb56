// The dispatch table: one KernelSet per ISA and type, filled from kernels.def.
#pragma once

#include <cstdint>

#include "base/cpu.hpp"
#include "base/status.hpp"
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
    bool ordered;         // Vec::ordered: register tiles of few rows
    const KernelSet<float>* f32;
    const KernelSet<double>* f64;  // its entries are null in a build without CONVLENS_FLOAT64

    template <class Real>
    const KernelSet<Real>& set() const;
};
template <>
inline const KernelSet<float>& Kernels::set<float>() const {
    return *f32;
}
template <>
inline const KernelSet<double>& Kernels::set<double>() const {
    return *f64;
}

// Every row of isa.def in this build, best first.
const Kernels* all_kernels(int* count);
// Empty when this CPU can run `kernels`, else the reason why not.
const char* why_not_runnable(const Kernels& kernels);
// The one in use: CONVLENS_ISA if it names a row this CPU can run, else the best it can; nullptr when the build holds
// no ISA this CPU can run. `active_kernels_reason` says why, for `info`.
const Kernels* active_kernels();
const char* active_kernels_reason();
// Forces an ISA by name; used by tests and the C ABI. Fails with the list of names when unknown or not runnable.
// Programs that are open already keep the ISA they were opened with.
Status select_kernels(const char* isa);

}  // namespace convlens
