// Transposing squares of lanes x lanes weights.
#include "kernels/args/pack.hpp"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

// width vectors of width lanes, in registers: log2(width) rounds of perfect shuffles are a transposition.
template <class Real>
inline void transpose_registers(const Real* source, int64_t source_step, Real* output, int64_t output_step) {
    using V = Vec<Real>;
    constexpr int kWidth = V::width;
    V rows[2][kWidth];
    CONVLENS_UNROLL
    for (int i = 0; i < kWidth; ++i) rows[0][i] = V::load(source + i * source_step);
    int from = 0;
    CONVLENS_UNROLL
    for (int done = 1; done < kWidth; done *= 2) {
        CONVLENS_UNROLL
        for (int i = 0; i < kWidth / 2; ++i) {
            zip(rows[from][i], rows[from][i + kWidth / 2], &rows[1 - from][2 * i], &rows[1 - from][2 * i + 1]);
        }
        from = 1 - from;
    }
    CONVLENS_UNROLL
    for (int i = 0; i < kWidth; ++i) rows[from][i].store(output + i * output_step);
}

template <class Real>
void transpose_block(const TransposeBlock<Real>& a) {
    constexpr int kLanes = 64 / static_cast<int>(sizeof(Real)), kWidth = Vec<Real>::width;
    for (int64_t n = 0; n < a.count; ++n) {
        const Real* source = a.source + n * a.source_next;
        Real* output = a.output + n * a.output_next;
        for (int i = 0; i < kLanes; i += kWidth) {
            for (int j = 0; j < kLanes; j += kWidth) {
                transpose_registers(source + j * a.source_step + i, a.source_step, output + i * a.output_step + j,
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
