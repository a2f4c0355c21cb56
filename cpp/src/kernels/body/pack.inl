// Transposing squares of lanes x lanes weights.
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

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(transpose_block, TransposeBlock)
