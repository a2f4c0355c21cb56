// The transforms of Winograd's convolution, a block of channels at a time. F(2,3) has the points 0, 1, -1 and infinity,
// F(4,3) 0, 1, -1, 1/2, -2 and infinity: a third of the error of 0, 1, -1, 2, -2 (kernels of Lavin and Gray,
// arXiv:1509.09308; points after Barabasz et al., arXiv:1803.10986). The weights' transform has the factors that are
// no powers of two: row i of G is (1, p, p^2) / product of (p - q) over the other points q, the last one infinity.
#include "kernels/args/winograd.hpp"
#include "kernels/conv_finish.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
inline Vec<Real> times(double factor, Vec<Real> a, Vec<Real> b) {
    return fma(Vec<Real>::splat(static_cast<Real>(factor)), a, b);
}

// t = B d.
template <class Real>
inline void forward_points(const Vec<Real> (&d)[4], Vec<Real> (&t)[4]) {
    t[0] = d[0] - d[2], t[1] = d[2] + d[1], t[2] = d[2] - d[1], t[3] = d[3] - d[1];
}
template <class Real>
inline void forward_points(const Vec<Real> (&d)[6], Vec<Real> (&t)[6]) {
    using V = Vec<Real>;
    const V u = d[4] - d[2], v = d[3] - d[1];
    const V a = times(1.5, d[3], u), b = times(1.5, d[2], v);
    t[0] = a - times(1.5, d[1], d[2] - d[0]);
    t[1] = a + b;
    t[2] = a - b;
    t[3] = times(2, v, u);
    t[4] = times(-0.5, v, u);
    t[5] = times(1.5, d[4], d[5] - d[3]) - b;
}

// y = A m.
template <class Real>
inline void backward_points(const Vec<Real> (&m)[4], Vec<Real> (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]), y[1] = (m[1] - m[2]) + m[3];
}
template <class Real>
inline void backward_points(const Vec<Real> (&m)[6], Vec<Real> (&y)[4]) {
    using V = Vec<Real>;
    const V s = m[1] + m[2], d = m[1] - m[2];
    y[0] = (m[0] + s) + (m[3] + m[4]);
    y[1] = times(0.5, m[3], times(-2, m[4], d));
    y[2] = times(0.25, m[3], times(4, m[4], s));
    y[3] = times(0.125, m[3], times(-8, m[4], d + m[5]));
}

// Row I of u = G g. The first row of F(2,3) has the sign of B's.
template <class Real, int I>
inline Vec<Real> weight_point(const Vec<Real> (&g)[3], Index<2>, Index<I>) {
    const Vec<Real> half = Vec<Real>::splat(static_cast<Real>(0.5));
    if constexpr (I == 0) return g[0];
    if constexpr (I == 1) return half * ((g[0] + g[2]) + g[1]);
    if constexpr (I == 2) return half * ((g[0] + g[2]) - g[1]);
    return g[2];
}
template <class Real, int I>
inline Vec<Real> weight_point(const Vec<Real> (&g)[3], Index<4>, Index<I>) {
    using V = Vec<Real>;
    const V third = V::splat(static_cast<Real>(1. / 3));
    if constexpr (I == 0) return g[0];
    if constexpr (I == 1) return third * ((g[0] + g[2]) + g[1]);
    if constexpr (I == 2) return third * (g[1] - (g[0] + g[2]));
    if constexpr (I == 3) return V::splat(static_cast<Real>(-4. / 15)) * times(4, g[0], times(2, g[1], g[2]));
    if constexpr (I == 4) return V::splat(static_cast<Real>(1. / 15)) * times(4, g[2], times(-2, g[1], g[0]));
    return g[2];
}

template <class Real, int Unit>
void transform_weight(const WinogradWeight<Real>& a) {
    using V = Vec<Real>;
    constexpr int kSize = Unit + 2;
    const int64_t tap_step = a.tap_step, position_step = a.position_step, count = a.count;
    for (int64_t e = 0; e < count; e += V::width) {
        // Pointers go on from hidden values: multiples of the steps do not fit the registers.
        const Real* source = a.source + e;
        V taps[3][3];
        CONVLENS_UNROLL
        for (int t = 0; t < 9; ++t, source += tap_step) {
            __asm__("" : "+r"(source));
            taps[t % 3][t / 3] = V::load(source);
        }
        // A row of positions at a time: those of all do not fit the registers.
        Real* output = a.output + e;
        each_index<kSize>(CONVLENS_EACH(i) {
            V g[3];
            each_index<3>(CONVLENS_EACH(x) { g[x] = weight_point(taps[x], Index<Unit>(), i); });
            each_index<kSize>(CONVLENS_EACH(j) {
                __asm__("" : "+r"(output));
                weight_point(g, Index<Unit>(), j).store(output);
                output += position_step;
            });
        });
    }
}

// Pointers as in transform_weight. (Zen 3: 0.71 of the time of multiplied steps.)
template <class Real, int Unit>
void transform_input(const WinogradInput<Real>& a) {
    using V = Vec<Real>;
    constexpr int kSize = Unit + 2;
    const int64_t row_step = a.row_step, column_step = a.column_step, next = a.next, position_step = a.position_step;
    const Real* source = a.source;
    Real* output = a.output;
    for (int64_t t = a.tiles; t > 0; --t, source += next, output += kBlockLanes<Real>) {
        for (int lane = 0; lane < kBlockLanes<Real>; lane += V::width) {
            V half[kSize][kSize];  // [column][position]
            const Real* column = source + lane;
            CONVLENS_KEEP_LOOP
            for (int x = 0; x < kSize; ++x, column += column_step) {
                V d[kSize];
                const Real* at = column;
                CONVLENS_UNROLL
                for (int y = 0; y < kSize; ++y, at += row_step) {
                    __asm__("" : "+r"(at));
                    d[y] = V::load(at);
                    if (Unit == 4 && lane == 0) __builtin_prefetch(at + 2 * next);  // the whole block
                }
                forward_points(d, half[x]);
            }
            Real* to = output + lane;
            CONVLENS_KEEP_LOOP
            for (int i = 0; i < kSize; ++i) {
                V d[kSize], row[kSize];
                CONVLENS_UNROLL
                for (int x = 0; x < kSize; ++x) d[x] = half[x][i];
                forward_points(d, row);
                CONVLENS_UNROLL
                for (int j = 0; j < kSize; ++j, to += position_step) {
                    __asm__("" : "+r"(to));
                    row[j].store(to);
                }
            }
        }
    }
}

template <class Real, int Unit>
void transform_output(const WinogradOutput<Real>& a) {
    using V = Vec<Real>;
    constexpr int kSize = Unit + 2, kVecs = kBlockVecs<Real>, kLanes = kBlockLanes<Real>;
    [[maybe_unused]] const bool whole = a.column0 == 0 && a.column1 == Unit;
    for (int64_t b = 0; b < a.tile.blocks; ++b) {
        const Real* sums = a.sums + b * a.block_step;
        for (int64_t t = 0; t < a.tiles; ++t, sums += kLanes) {
            V half[kSize][Unit][kVecs];  // [position][row]
            CONVLENS_KEEP_LOOP
            for (int j = 0; j < kSize; ++j) {
                CONVLENS_UNROLL
                for (int v = 0; v < kVecs; ++v) {
                    V m[kSize], y[Unit];
                    CONVLENS_UNROLL
                    for (int i = 0; i < kSize; ++i) {
                        m[i] = V::load(sums + (i * kSize + j) * a.position_step + v * V::width);
                    }
                    backward_points(m, y);
                    CONVLENS_UNROLL
                    for (int i = 0; i < Unit; ++i) half[j][i][v] = y[i];
                }
            }
            const Real* bias = first_sums(a.tile, {0, 0, b});
            CONVLENS_KEEP_LOOP
            for (int64_t i = a.row0; i < a.row1; ++i) {
                V row[Unit][kVecs];
                CONVLENS_UNROLL
                for (int v = 0; v < kVecs; ++v) {
                    V m[kSize], y[Unit];
                    CONVLENS_UNROLL
                    for (int j = 0; j < kSize; ++j) m[j] = half[j][i][v];
                    backward_points(m, y);
                    CONVLENS_UNROLL
                    for (int x = 0; x < Unit; ++x) row[x][v] = y[x] + V::load(bias + v * V::width);
                }
                const TilePlace place = {i, t * a.next_columns + a.column0, b};
                if constexpr (Unit == 4) {  // F(2,3), for small maps, is not worth the code
                    if (whole) {
                        const Real* ahead = place.at(a.tile.output) + 2 * a.next_columns * a.tile.output.column_step;
                        CONVLENS_UNROLL
                        for (int x = 0; x < Unit; ++x) __builtin_prefetch(ahead + x * a.tile.output.column_step, 1);
                        finish_tile<Real, Unit, 1, true>(a.tile, row, place, place.at(a.tile.output));
                        continue;
                    }
                }
                Real buffer[Unit * kLanes];
                CONVLENS_UNROLL
                for (int x = 0; x < Unit; ++x) {
                    CONVLENS_UNROLL
                    for (int v = 0; v < kVecs; ++v) row[x][v].store(buffer + x * kLanes + v * V::width);
                }
                finish_slowly(a.tile, buffer + a.column0 * kLanes, place, static_cast<int>(a.column1 - a.column0), 1);
            }
        }
    }
}

template <class Real>
void winograd_input(const WinogradInput<Real>& a) {
    a.unit == 2 ? transform_input<Real, 2>(a) : transform_input<Real, 4>(a);
}
template <class Real>
void winograd_weight(const WinogradWeight<Real>& a) {
    a.unit == 2 ? transform_weight<Real, 2>(a) : transform_weight<Real, 4>(a);
}
template <class Real>
void winograd_output(const WinogradOutput<Real>& a) {
    a.unit == 2 ? transform_output<Real, 2>(a) : transform_output<Real, 4>(a);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(winograd_input, WinogradInput)
CONVLENS_EXPORT_KERNEL(winograd_weight, WinogradWeight)
CONVLENS_EXPORT_KERNEL(winograd_output, WinogradOutput)
