// Sums and maxima. NaN wins a maximum, as it spoils a sum.
#include "kernels/args/reduce.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
struct Reduction {
    static constexpr int lanes = 64 / (int)sizeof(Real);
    static constexpr int width = Vec<Real>::width;
    typedef Real V __attribute__((vector_size(sizeof(Real) * width)));

    static V load(const Real* p) {
        V v;
        __builtin_memcpy(&v, p, sizeof v);
        return v;
    }
    template <bool Max, class T>
    static T join(T a, T b) {
        if constexpr (Max) {
            return (b > a) | (b != b) ? b : a;
        } else {
            return a + b;
        }
    }
    template <bool Max>
    static Real first() {
        return Max ? -(Real)__builtin_huge_val() : (Real)0;
    }
};

// The total of `pixels` vectors `step` apart, on four chains.
template <class Real, bool Max>
typename Reduction<Real>::V chains(const Real* x, int64_t step, int64_t pixels) {
    typedef Reduction<Real> R;
    typename R::V t[4];
    for (auto& chain : t) chain = typename R::V{} + R::template first<Max>();
    int64_t p = 0;
    for (; p + 4 <= pixels; p += 4, x += 4 * step) {
        for (int i = 0; i < 4; ++i) t[i] = R::template join<Max>(t[i], R::load(x + i * step));
    }
    for (; p < pixels; ++p, x += step) t[p % 4] = R::template join<Max>(t[p % 4], R::load(x));
    return R::template join<Max>(R::template join<Max>(t[0], t[1]), R::template join<Max>(t[2], t[3]));
}

template <class Real, bool Max>
Real tree(Real* values, int count) {
    for (int half = count / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) values[i] = Reduction<Real>::template join<Max>(values[i], values[i + half]);
    }
    return values[0];
}

template <class Real, bool Max>
void reduce_plane_as(const ReducePlaneArgs<Real>& a) {
    typedef Reduction<Real> R;
    constexpr int lanes = R::lanes;
    const int count = a.blocked ? lanes : 1;
    for (int i = 0; i < count; ++i) a.total[i] = R::template first<Max>();
    Real row[lanes];
    for (int64_t y = 0; y < a.rows; ++y) {
        const Real* x = a.x + y * a.row_stride;
        const int64_t steps = a.blocked ? a.pixels : a.pixels / lanes;
        for (int v = 0; v < lanes; v += R::width) {
            const auto total = chains<Real, Max>(x + v, lanes, steps);
            __builtin_memcpy(row + v, &total, sizeof total);
        }
        if (a.blocked) {
            for (int i = 0; i < lanes; ++i) a.total[i] = R::template join<Max>(a.total[i], (double)row[i]);
        } else {
            a.total[0] = R::template join<Max>(a.total[0], (double)tree<Real, Max>(row, lanes));
            for (int64_t i = steps * lanes; i < a.pixels; ++i) {
                a.total[0] = R::template join<Max>(a.total[0], (double)x[i]);
            }
        }
    }
}
template <class Real>
void reduce_plane(const ReducePlaneArgs<Real>& a) {
    if (a.kind == kReduceMax) {
        reduce_plane_as<Real, true>(a);
    } else {
        reduce_plane_as<Real, false>(a);
    }
}

template <class Real, bool Max>
void reduce_blocks(const ReduceChannelsArgs<Real>& a) {
    typedef Reduction<Real> R;
    constexpr int lanes = R::lanes;
    for (int64_t p = 0; p < a.pixels; ++p) {
        Real total[lanes];
        const Real* x = a.x + p * lanes;
        for (int v = 0; v < lanes; v += R::width) {
            const auto part = chains<Real, Max>(x + v, a.plane_stride, a.planes - 1);
            __builtin_memcpy(total + v, &part, sizeof part);
        }
        x += (a.planes - 1) * a.plane_stride;
        for (int64_t l = 0; l < a.last_lanes; ++l) total[l] = R::template join<Max>(total[l], x[l]);
        a.y[p * a.y_step] = (Real)((double)tree<Real, Max>(total, lanes) * a.scale);
    }
}

// Pixels side by side, so that the loop over them is vector code.
template <class Real, bool Max>
void reduce_planes(const ReduceChannelsArgs<Real>& a) {
    typedef Reduction<Real> R;
    constexpr int64_t tile = 64;
    for (int64_t p0 = 0; p0 < a.pixels; p0 += tile) {
        const int64_t count = a.pixels - p0 < tile ? a.pixels - p0 : tile;
        double total[tile];
        for (int64_t p = 0; p < count; ++p) total[p] = R::template first<Max>();
        for (int64_t c = 0; c < a.planes; ++c) {
            const Real* x = a.x + c * a.plane_stride + p0;
            for (int64_t p = 0; p < count; ++p) total[p] = R::template join<Max>(total[p], (double)x[p]);
        }
        for (int64_t p = 0; p < count; ++p) a.y[(p0 + p) * a.y_step] = (Real)(total[p] * a.scale);
    }
}

template <class Real, bool Max>
void reduce_channels_as(const ReduceChannelsArgs<Real>& a) {
    if (a.blocked) {
        reduce_blocks<Real, Max>(a);
    } else {
        reduce_planes<Real, Max>(a);
    }
}
template <class Real>
void reduce_channels(const ReduceChannelsArgs<Real>& a) {
    if (a.kind == kReduceMax) {
        reduce_channels_as<Real, true>(a);
    } else {
        reduce_channels_as<Real, false>(a);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(reduce_plane, ReducePlaneArgs)
CONVLENS_EXPORT_KERNEL(reduce_channels, ReduceChannelsArgs)
