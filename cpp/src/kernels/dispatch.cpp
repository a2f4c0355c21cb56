#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/kernels.hpp"

namespace convlens {

#define CONVLENS_ISA(isa, description, needs, ordered) \
    extern const KernelSet<float> k_##isa##_f32;       \
    extern const KernelSet<double> k_##isa##_f64;
#include "kernels/isa.def"
#undef CONVLENS_ISA

namespace {

const Kernels kKernels[] = {
#define CONVLENS_ISA(isa, description, needs, ordered) \
    {#isa, description, needs, ordered, &k_##isa##_f32, &k_##isa##_f64},
#include "kernels/isa.def"
#undef CONVLENS_ISA
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

enum class Why : int { unset, best, environment, selected, environment_unknown, environment_not_runnable, nothing };
struct Choice {
    const Kernels* kernels;
    Why why;
};

// One word, so that a choice made by one thread is never seen by halves: row + 1 in the low bits, Why above.
std::atomic<int> g_choice{0};

int pack(const Choice& choice) {
    const int row = choice.kernels == nullptr ? 0 : static_cast<int>(choice.kernels - kKernels) + 1;
    return row | static_cast<int>(choice.why) << 8;
}

const Kernels* find(const char* isa) {
    for (const Kernels& kernels : kKernels) {
        if (std::strcmp(kernels.isa, isa) == 0) return &kernels;
    }
    return nullptr;
}

bool runnable(const Kernels& kernels) { return (kernels.needs & ~cpu_features()) == 0; }

Choice choose() {
    Why why = Why::best;
    const char* wanted = std::getenv("CONVLENS_ISA");
    if (wanted != nullptr && wanted[0] != '\0') {
        const Kernels* kernels = find(wanted);
        if (kernels != nullptr && runnable(*kernels)) return {kernels, Why::environment};
        why = kernels == nullptr ? Why::environment_unknown : Why::environment_not_runnable;
    }
    for (const Kernels& kernels : kKernels) {
        if (runnable(kernels)) return {&kernels, why};
    }
    return {nullptr, Why::nothing};
}

Choice current() {
    int packed = g_choice.load(std::memory_order_acquire);
    if (packed == 0) {
        const int chosen = pack(choose());
        // Another thread may have chosen meanwhile: its choice stands.
        if (g_choice.compare_exchange_strong(packed, chosen)) packed = chosen;
    }
    const int row = packed & 0xff;
    return {row == 0 ? nullptr : &kKernels[row - 1], static_cast<Why>(packed >> 8)};
}

}  // namespace

const Kernels* all_kernels(int* count) {
    *count = kCount;
    return kKernels;
}

const char* why_not_runnable(const Kernels& kernels) { return missing_cpu_features(kernels.needs); }

const Kernels* active_kernels() { return current().kernels; }

const char* active_kernels_reason() {
    switch (current().why) {
        case Why::best:
            return "the best this processor runs";
        case Why::environment:
            return "CONVLENS_ISA asks for it";
        case Why::selected:
            return "selected by the program";
        case Why::environment_unknown:
            return "the best this processor runs; CONVLENS_ISA names no ISA of this build";
        case Why::environment_not_runnable:
            return "the best this processor runs; it cannot run the one CONVLENS_ISA names";
        default:
            return "this build holds no ISA that this processor can run";
    }
}

Status select_kernels(const char* isa) {
    const Kernels* kernels = find(isa);
    if (kernels != nullptr && runnable(*kernels)) {
        g_choice.store(pack({kernels, Why::selected}), std::memory_order_release);
        return {};
    }
    char names[128] = {0};
    std::size_t used = 0;
    for (const Kernels& row : kKernels) {
        if (!runnable(row)) continue;
        used += static_cast<std::size_t>(std::snprintf(names + used, sizeof(names) - used, " %s", row.isa));
        if (used >= sizeof(names)) break;
    }
    if (kernels == nullptr) {
        return fail(Code::invalid_argument, "`isa` (=%.40s) is not one of this build; this processor can run:%s", isa,
                    names);
    }
    return fail(Code::unsupported, "`isa` (=%s) needs %s, which this processor lacks; it can run:%s", isa,
                why_not_runnable(*kernels), names);
}

}  // namespace convlens
