#include "base/cpu.hpp"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace convlens {
namespace {

const CpuFeatureName kNames[] = {{kCpuAvx2, "AVX2"}, {kCpuFma, "FMA"}, {kCpuAvx512, "AVX-512"}, {kCpuNeon, "NEON"}};

// Every combination of missing features, so that the answer needs no buffer.
const char* const kMissing[16] = {"",
                                  "AVX2",
                                  "FMA",
                                  "AVX2, FMA",
                                  "AVX-512",
                                  "AVX2, AVX-512",
                                  "FMA, AVX-512",
                                  "AVX2, FMA, AVX-512",
                                  "NEON",
                                  "AVX2, NEON",
                                  "FMA, NEON",
                                  "AVX2, FMA, NEON",
                                  "AVX-512, NEON",
                                  "AVX2, AVX-512, NEON",
                                  "FMA, AVX-512, NEON",
                                  "AVX2, FMA, AVX-512, NEON"};

#if defined(__x86_64__) || defined(__i386__)
std::uint64_t enabled_register_state() {
    std::uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<std::uint64_t>(high) << 32 | low;
}
#endif

std::uint32_t detect() {
    std::uint32_t features = 0;
#if defined(__x86_64__) || defined(__i386__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0) return 0;
    const bool osxsave = (c >> 27 & 1) != 0, avx = (c >> 28 & 1) != 0, fma = (c >> 12 & 1) != 0;
    if (!osxsave || !avx) return 0;
    const std::uint64_t state = enabled_register_state();
    const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
    if (!ymm) return 0;
    if (fma) features |= kCpuFma;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
        if ((b >> 5 & 1) != 0) features |= kCpuAvx2;
        const bool avx512 = (b >> 16 & 1) != 0 && (b >> 17 & 1) != 0 && (b >> 30 & 1) != 0 && (b >> 31 & 1) != 0;
        if (zmm && avx512) features |= kCpuAvx512;
    }
#elif defined(__aarch64__)
    features |= kCpuNeon;  // part of the base architecture
#endif
    return features;
}

}  // namespace

std::uint32_t cpu_features() { return detect(); }

const char* missing_cpu_features(std::uint32_t needs) { return kMissing[needs & ~cpu_features() & 15u]; }

const CpuFeatureName* cpu_feature_names(int* count) {
    *count = static_cast<int>(sizeof(kNames) / sizeof(kNames[0]));
    return kNames;
}

}  // namespace convlens
