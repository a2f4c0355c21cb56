// Transposing squares of lanes x lanes weights, into memory or for a product.
#include "kernels/args/pack.hpp"
#include "kernels/body/transpose.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
void transpose_block(const TransposeBlock<Real>& a) {
    constexpr int kLanes = 64 / static_cast<int>(sizeof(Real)), kWidth = Vec<Real>::width;
    for (int64_t n = 0; n < a.count; ++n) {
        const Real* source = a.source + n * a.source_next;
        Real* output = a.output + n * a.output_next;
        for (int i = 0; i < kLanes; i += kWidth) {
            for (int j = 0; j < kLanes; j += kWidth) {
                transpose_registers(source + j * a.source_step + i, a.source_step, kWidth,
                                    output + i * a.output_step + j, a.output_step, kWidth);
            }
        }
    }
}

// Squares ahead whose lines are called in, to the second-level cache: 16 KB of panels of two blocks. (Zen 4, 4096 to
// 4096, one image: 0.4 of the time of 4 KB to the first-level cache, which waits for too few lines at once.)
constexpr int64_t kSquaresAhead = 8;

template <class Real>
void transposed_product(const TransposedProduct<Real>& args) {
    using V = Vec<Real>;
    constexpr int kLanes = 64 / static_cast<int>(sizeof(Real)), kWidth = V::width;
    const TransposedProduct<Real> a = args;
    for (int64_t n = 0; n < a.count; ++n) {
        const Real* weight = a.weight + n * a.weight_next;
        const int64_t later = n + kSquaresAhead;
        const Real* ahead =
            later < a.count ? a.weight + later * a.weight_next : a.next + (later - a.count) * a.weight_next;
        for (int j = 0; j < kLanes; j += kWidth) {
            for (int64_t k = 0; k < a.elements; k += kWidth) {
                // Hidden from the compiler, which would keep all rows' places in registers that it does not have.
                int64_t step = a.weight_step, elements = a.elements - k;
                const Real* square = weight + j * step + k;
                const Real* fetched = ahead + j * step + k;
                __asm__("" : "+r"(step), "+r"(square), "+r"(elements));
                CONVLENS_UNROLL
                for (int i = 0; i < kWidth; ++i) {
                    __builtin_prefetch(fetched, 0, 2);
                    fetched += step;
                    __asm__("" : "+r"(fetched));
                }
                V rows[kWidth];
                transpose_to(square, step, kWidth, 0, [&](int i, V v) __attribute__((always_inline)) { rows[i] = v; });
                const Real* source = a.source + k;
                Real* output = a.output + n * kLanes + j;
                for (int64_t image = 0; image < a.images; ++image) {
                    V sum = V::load(output);
                    CONVLENS_UNROLL
                    for (int i = 0; i < kWidth; ++i) {
                        if (i < elements) sum = fma(V::splat(source[i]), rows[i], sum);
                    }
                    sum.store(output);
                    source += a.source_step, output += a.output_step;
                }
            }
        }
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(transpose_block, TransposeBlock)
CONVLENS_EXPORT_KERNEL(transposed_product, TransposedProduct)
