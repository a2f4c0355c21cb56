// Transposing squares of lanes x lanes weights.
#include "kernels/args/pack.hpp"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// 16 bytes of a row: four float32 or two float64. Every ISA interleaves two such registers in one instruction; squares
// of wider ones would need shuffles of each ISA's own. Left to loops, GCC 12 takes four times as long.
template <class Real>
struct Quarter {
    static constexpr int width = 16 / static_cast<int>(sizeof(Real));
    typedef Real Lanes __attribute__((vector_size(16)));
    static Lanes load(const Real* p) {
        Lanes lanes;
        __builtin_memcpy(&lanes, p, sizeof lanes);
        return lanes;
    }
    static void store(Lanes lanes, Real* p) { __builtin_memcpy(p, &lanes, sizeof lanes); }
};
#if defined(__clang__)
#define CONVLENS_SHUFFLE(Mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CONVLENS_SHUFFLE(Mask, a, b, ...) __builtin_shuffle(a, b, Mask{__VA_ARGS__})
#endif

inline void transpose_small(const float* source, int64_t source_step, float* output, int64_t output_step) {
    using Q = Quarter<float>;
    [[maybe_unused]] typedef int32_t Mask __attribute__((vector_size(16)));
    const Q::Lanes a = Q::load(source), b = Q::load(source + source_step);
    const Q::Lanes c = Q::load(source + 2 * source_step), d = Q::load(source + 3 * source_step);
    const Q::Lanes ac = CONVLENS_SHUFFLE(Mask, a, c, 0, 4, 1, 5), ac_high = CONVLENS_SHUFFLE(Mask, a, c, 2, 6, 3, 7);
    const Q::Lanes bd = CONVLENS_SHUFFLE(Mask, b, d, 0, 4, 1, 5), bd_high = CONVLENS_SHUFFLE(Mask, b, d, 2, 6, 3, 7);
    Q::store(CONVLENS_SHUFFLE(Mask, ac, bd, 0, 4, 1, 5), output);
    Q::store(CONVLENS_SHUFFLE(Mask, ac, bd, 2, 6, 3, 7), output + output_step);
    Q::store(CONVLENS_SHUFFLE(Mask, ac_high, bd_high, 0, 4, 1, 5), output + 2 * output_step);
    Q::store(CONVLENS_SHUFFLE(Mask, ac_high, bd_high, 2, 6, 3, 7), output + 3 * output_step);
}
inline void transpose_small(const double* source, int64_t source_step, double* output, int64_t output_step) {
    using Q = Quarter<double>;
    [[maybe_unused]] typedef int64_t Mask __attribute__((vector_size(16)));
    const Q::Lanes a = Q::load(source), b = Q::load(source + source_step);
    Q::store(CONVLENS_SHUFFLE(Mask, a, b, 0, 2), output);
    Q::store(CONVLENS_SHUFFLE(Mask, a, b, 1, 3), output + output_step);
}
#undef CONVLENS_SHUFFLE

template <class Real>
void transpose_block(const TransposeBlock<Real>& a) {
    constexpr int kLanes = 64 / static_cast<int>(sizeof(Real)), kWidth = Quarter<Real>::width;
    for (int64_t n = 0; n < a.count; ++n) {
        const Real* source = a.source + n * a.source_next;
        Real* output = a.output + n * a.output_next;
        for (int i = 0; i < kLanes; i += kWidth) {
            CONVLENS_UNROLL
            for (int j = 0; j < kLanes; j += kWidth) {
                transpose_small(source + j * a.source_step + i, a.source_step, output + i * a.output_step + j,
                                a.output_step);
            }
        }
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(transpose_block, TransposeBlock)
