// Philox-4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), a counter an element: what an
// element draws depends on its place in the image alone, not on the layout.
#include "kernels/args/dropout.hpp"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
void dropout_mask(const DropoutMaskArgs<Real>& args) {
    constexpr int64_t lanes = 64 / sizeof(Real);
    for (int64_t group = args.group0; group < args.group1; ++group) {
        const int64_t channel = group / args.pixels * lanes, pixel = group % args.pixels;
        uint32_t a[lanes], b[lanes], c[lanes], d[lanes], key0 = args.key[0], key1 = args.key[1];
        for (int64_t l = 0; l < lanes; ++l) {
            a[l] = static_cast<uint32_t>((channel + l) * args.pixels + pixel);
            b[l] = args.counter[0], c[l] = args.counter[1], d[l] = args.counter[2];
        }
        CONVLENS_KEEP_LOOP
        for (int round = 0; round < 10; ++round, key0 += 0x9e3779b9u, key1 += 0xbb67ae85u) {
            for (int64_t l = 0; l < lanes; ++l) {
                const uint64_t left = uint64_t{0xd2511f53u} * a[l], right = uint64_t{0xcd9e8d57u} * c[l];
                a[l] = static_cast<uint32_t>(right >> 32) ^ b[l] ^ key0;
                c[l] = static_cast<uint32_t>(left >> 32) ^ d[l] ^ key1;
                b[l] = static_cast<uint32_t>(right), d[l] = static_cast<uint32_t>(left);
            }
        }
        unsigned bits = 0;
        CONVLENS_KEEP_LOOP
        for (int64_t l = 0; l < lanes; ++l) {
            bits |= static_cast<unsigned>(channel + l < args.channels && a[l] >= args.threshold) << l;
        }
        uint8_t* y = args.bits + group * (lanes / 8);
        y[0] = static_cast<uint8_t>(bits);
        if (lanes > 8) y[1] = static_cast<uint8_t>(bits >> 8);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(dropout_mask, DropoutMaskArgs)
