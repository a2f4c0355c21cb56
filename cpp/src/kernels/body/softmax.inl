// Softmax over channels with the maximum subtracted. Sums run lane by lane over whole blocks of 64 bytes, then over the
// lanes in order, so their order is the same on every ISA.
#include "kernels/args/softmax.hpp"
#include "kernels/body/math.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
constexpr int64_t kSoftmaxLanes = 64 / sizeof(Real);

template <class Real>
int64_t whole_blocks(int64_t channels) {
    return (channels + kSoftmaxLanes<Real> - 1) / kSoftmaxLanes<Real> * kSoftmaxLanes<Real>;
}

template <class Real>
Real scalar_log(Real x) {
    Real y[Vec<Real>::width];
    log(Vec<Real>::splat(x)).store(y);
    return y[0];
}

// What softmax subtracts from, and divides by, for one pixel.
template <class Real>
struct Norm {
    Real largest, sum;
};

// Channels beyond the last are -infinity in `values`, so that they are neither the largest nor add to the sum.
template <class Real>
Norm<Real> norm_of(const Real* values, int64_t padded) {
    constexpr int64_t lanes = kSoftmaxLanes<Real>;
    typedef Vec<Real> V;
    Real best[lanes], sums[lanes];
    for (int64_t r = 0; r < lanes; r += V::width) {
        V largest = V::load(values + r);
        for (int64_t i = lanes; i < padded; i += lanes) largest = max_nan(largest, V::load(values + i + r));
        largest.store(best + r);
    }
    Real largest = best[0];
    for (int64_t i = 1; i < lanes; ++i) {
        if (best[i] > largest || best[i] != best[i]) largest = best[i];
        if (largest != largest) break;
    }
    const V shift = V::splat(largest);
    for (int64_t r = 0; r < lanes; r += V::width) {
        V sum = V::zero();
        for (int64_t i = 0; i < padded; i += lanes) sum = sum + exp(V::load(values + i + r) - shift);
        sum.store(sums + r);
    }
    Real sum = 0;
    for (int64_t i = 0; i < lanes; ++i) sum += sums[i];
    return {largest, sum};
}

template <class Real>
void normalise(Real* values, int64_t padded, Norm<Real> norm, bool want_log) {
    typedef Vec<Real> V;
    const V shift = V::splat(norm.largest), sum = V::splat(norm.sum), log_sum = V::splat(scalar_log(norm.sum));
    for (int64_t i = 0; i < padded; i += V::width) {
        const V x = V::load(values + i) - shift;
        (want_log ? x - log_sum : exp(x) / sum).store(values + i);
    }
}

template <class Real>
void pad_lowest(Real* values, int64_t channels) {
    for (int64_t c = channels; c < whole_blocks<Real>(channels); ++c) values[c] = -static_cast<Real>(__builtin_inf());
}

template <class Real>
void softmax_blocked(const SoftmaxArgs<Real>& a) {
    constexpr int64_t lanes = kSoftmaxLanes<Real>;
    const int64_t padded = whole_blocks<Real>(a.channels);
    for (int64_t p = 0; p < a.pixels; ++p) {
        for (int64_t c = 0; c < padded; c += lanes) {
            __builtin_memcpy(a.scratch + c, a.x + c / lanes * a.x_plane_stride + p * lanes, 64);
        }
        pad_lowest(a.scratch, a.channels);
        normalise(a.scratch, padded, norm_of(a.scratch, padded), a.log);
        for (int64_t c = a.channels; c < padded; ++c) a.scratch[c] = 0;
        for (int64_t c = 0; c < padded; c += lanes) {
            __builtin_memcpy(a.y + c / lanes * a.y_plane_stride + p * lanes, a.scratch + c, 64);
        }
    }
}

// One pixel, its channels next to each other: no more is read or written than there are channels.
template <class Real>
void softmax_vector(const SoftmaxArgs<Real>& a) {
    __builtin_memcpy(a.scratch, a.x, a.channels * sizeof(Real));
    pad_lowest(a.scratch, a.channels);
    const int64_t padded = whole_blocks<Real>(a.channels);
    normalise(a.scratch, padded, norm_of(a.scratch, padded), a.log);
    __builtin_memcpy(a.y, a.scratch, a.channels * sizeof(Real));
}

// A lane a pixel.
template <class Real>
void softmax_plain(const SoftmaxArgs<Real>& a) {
    constexpr int64_t lanes = kSoftmaxLanes<Real>;
    typedef Vec<Real> V;
    for (int64_t p = 0; p < a.pixels; p += lanes) {
        const int64_t count = a.pixels - p < lanes ? a.pixels - p : lanes;
        for (int64_t c = 0; c < a.channels; ++c) {
            Real* to = a.scratch + c * lanes;
            const Real* from = a.x + c * a.x_plane_stride + p;
            if (count == lanes) {
                __builtin_memcpy(to, from, 64);
            } else {
                __builtin_memset(to, 0, 64);
                __builtin_memcpy(to, from, count * sizeof(Real));
            }
        }
        for (int64_t r = 0; r < lanes; r += V::width) {
            Real* values = a.scratch + r;
            V largest = V::load(values);
            for (int64_t c = 1; c < a.channels; ++c) largest = max_nan(largest, V::load(values + c * lanes));
            V sum = V::zero();
            for (int64_t c = 0; c < a.channels; ++c) {
                const V x = V::load(values + c * lanes) - largest, e = exp(x);
                sum = sum + e;
                (a.log ? x : e).store(values + c * lanes);
            }
            const V log_sum = log(sum);
            for (int64_t c = 0; c < a.channels; ++c) {
                const V x = V::load(values + c * lanes);
                (a.log ? x - log_sum : x / sum).store(values + c * lanes);
            }
        }
        for (int64_t c = 0; c < a.channels; ++c) {
            Real* to = a.y + c * a.y_plane_stride + p;
            if (count == lanes) {
                __builtin_memcpy(to, a.scratch + c * lanes, 64);
            } else {
                __builtin_memcpy(to, a.scratch + c * lanes, count * sizeof(Real));
            }
        }
    }
}

template <class Real>
void softmax(const SoftmaxArgs<Real>& a) {
    if (a.blocked) return softmax_blocked(a);
    if (a.pixels == 1 && a.x_plane_stride == 1 && a.y_plane_stride == 1) return softmax_vector(a);
    softmax_plain(a);
}

template <class Real>
void cross_entropy(const CrossEntropyArgs<Real>& a) {
    __builtin_memcpy(a.scratch, a.x, a.channels * sizeof(Real));
    pad_lowest(a.scratch, a.channels);
    const int64_t padded = whole_blocks<Real>(a.channels);
    const Norm<Real> norm = norm_of(a.scratch, padded);
    normalise(a.scratch, padded, norm, true);
    const bool valid = a.label >= 0 && a.label < a.channels;
    a.loss[0] = valid ? -a.scratch[a.label] : static_cast<Real>(__builtin_nan(""));
    if (a.log_prob != nullptr) __builtin_memcpy(a.log_prob, a.scratch, a.channels * sizeof(Real));
}

template <class Real>
void cross_entropy_grad(const CrossEntropyGradArgs<Real>& a) {
    typedef Vec<Real> V;
    const bool valid = a.label >= 0 && a.label < a.channels;
    __builtin_memcpy(a.scratch, a.log_prob, a.channels * sizeof(Real));
    pad_lowest(a.scratch, a.channels);
    const int64_t padded = whole_blocks<Real>(a.channels);
    for (int64_t i = 0; i < padded; i += V::width) exp(V::load(a.scratch + i)).store(a.scratch + i);
    if (valid) a.scratch[a.label] -= 1;
    const V factor = V::splat(valid ? a.grad_loss : static_cast<Real>(__builtin_nan("")));
    for (int64_t i = 0; i < padded; i += V::width) (V::load(a.scratch + i) * factor).store(a.scratch + i);
    __builtin_memcpy(a.grad_x, a.scratch, a.channels * sizeof(Real));
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(softmax, SoftmaxArgs)
CONVLENS_EXPORT_KERNEL(cross_entropy, CrossEntropyArgs)
CONVLENS_EXPORT_KERNEL(cross_entropy_grad, CrossEntropyGradArgs)
