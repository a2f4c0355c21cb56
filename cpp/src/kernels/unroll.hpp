// Loops over registers must disappear: both compilers unroll them whole when told to. Others are better kept, where
// the code's size counts for more.
#pragma once

#if defined(__clang__)
#define CONVLENS_UNROLL _Pragma("clang loop unroll(full)")
#define CONVLENS_KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define CONVLENS_UNROLL _Pragma("GCC unroll 64")
#define CONVLENS_KEEP_LOOP _Pragma("GCC unroll 1")
#endif

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// Calls visit(0), visit(1), ... with indices that are constants before the compiler looks at the loops around: what GCC
// unrolls later, it keeps in memory.
#define CONVLENS_EACH(i) [&](auto i) __attribute__((always_inline))
template <int I>
struct Index {
    __attribute__((always_inline)) constexpr operator int() const { return I; }
};
template <int N, class Visit>
inline __attribute__((always_inline)) void each_index(Visit visit) {
    if constexpr (N > 0) {
        each_index<N - 1>(visit);
        visit(Index<N - 1>());
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
