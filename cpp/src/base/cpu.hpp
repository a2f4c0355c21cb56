// What the processor and its operating system let us use.
#pragma once

#include <cstdint>

namespace convlens {

constexpr std::uint32_t kCpuAvx2 = 1u << 0;
constexpr std::uint32_t kCpuFma = 1u << 1;
constexpr std::uint32_t kCpuAvx512 = 1u << 2;  // F, BW, DQ and VL together
constexpr std::uint32_t kCpuNeon = 1u << 3;

// Features the processor has and whose registers the operating system saves.
std::uint32_t cpu_features();

// Names of the features among `needs` that are missing, such as "AVX2, FMA"; "" when none is. Static storage.
const char* missing_cpu_features(std::uint32_t needs);

struct CpuFeatureName {
    std::uint32_t bit;
    const char* name;
};
const CpuFeatureName* cpu_feature_names(int* count);

}  // namespace convlens
