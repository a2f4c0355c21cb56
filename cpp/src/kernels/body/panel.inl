// Copies pixels of plain images into panels and adds panels to plain images.
#include "kernels/args/panel.hpp"
#include "kernels/body/apart.h"
#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real, class Visit>
inline void each_panel_row(const Panel<Real>& a, Visit visit) {
    Real* row = a.panel;
    for (int64_t c = 0; c < a.channels; ++c) {
        for (int64_t r = 0; r < a.R; ++r) {
            for (int64_t s = 0; s < a.S; ++s, row += a.width) {
                visit(row, a.image + c * a.channel_step + r * a.row_step + s * a.column_step);
            }
        }
    }
}

// Lanes beyond a run are garbage: the next run's come later, and those behind the panel's are nobody's.
template <int Stride, class Real>
void pack_runs(const Panel<Real>& a) {
    typedef Vec<Real> V;
    // Channels lie pages apart, where no processor looks ahead by itself.
    const int64_t ahead = a.R * a.S == 1 ? 6 * a.channel_step : 0;
    each_panel_row(a, [&](Real* row, const Real* image) {
        for (int64_t i = 0; i < a.n_runs; ++i) {
            const PanelRun& run = a.runs[i];
            const Real* from = image + run.offset;
            Real* to = row + run.lane;
            for (int64_t p = 0; p < run.count; p += V::width) {
                __builtin_prefetch(from + p * a.stride + ahead);
                if (Stride != 1) __builtin_prefetch(from + (p + V::width - 1) * a.stride + ahead);
                if (from + (p + V::width - 1) * a.stride < a.image_end) {
                    load_apart<Stride>(from + p * a.stride, a.stride).store(to + p);
                } else {
                    for (int64_t l = p; l < run.count; ++l) to[l] = from[l * a.stride];
                    break;
                }
            }
        }
    });
}

// A stride of two and taps side by side: what every second pixel leaves is the next tap's, two rows of the panel
// at once.
template <class Real>
void pack_pairs(const Panel<Real>& a) {
    typedef Vec<Real> V;
    int64_t s = 0;
    each_panel_row(a, [&](Real* row, const Real* image) {
        const bool second = (s & 1) != 0, alone = s == a.S - 1;
        if (++s == a.S) s = 0;
        if (second) return;
        for (int64_t i = 0; i < a.n_runs; ++i) {
            const PanelRun& run = a.runs[i];
            const Real* from = image + run.offset;
            Real* to = row + run.lane;
            int64_t p = 0;
            for (; p < run.count && from + 2 * V::width <= a.image_end; p += V::width, from += 2 * V::width) {
                V even, odd;
                unzip(V::load(from), V::load(from + V::width), &even, &odd);
                in_order(even).store(to + p);
                if (!alone) in_order(odd).store(to + p + a.width);
            }
            for (; p < run.count; ++p, from += 2) {
                to[p] = from[0];
                if (!alone) to[p + a.width] = from[1];
            }
        }
    });
}

// One tap, no stride: runs of each channel's plane, a cache line at a time, and the plane called in that comes eight
// later. Of what is far, eight planes by all runs at a time, and what lies behind each: so many streams memory keeps up
// with. (Zen 3, 8 images, of the time: c32 k16 112 x 112 0.83, c96 k24 56 x 56 0.87; one, near, 1.11.)
template <class Real>
void pack_planes(const Panel<Real>& a) {
    typedef Vec<Real> V;
    constexpr int64_t kLine = 64 / sizeof(Real), kPlanes = 8;
    const int64_t step = a.far ? kPlanes : a.channels, ahead = a.far ? 8 * kLine : kPlanes * a.channel_step;
    for (int64_t first = 0; first < a.channels; first += step) {
        const int64_t planes = a.channels - first < step ? a.channels - first : step;
        for (int64_t i = 0; i < a.n_runs; ++i) {
            const PanelRun& run = a.runs[i];
            const Real* from = a.image + first * a.channel_step + run.offset;
            Real* to = a.panel + first * a.width + run.lane;
            for (int64_t c = 0; c < planes; ++c, from += a.channel_step, to += a.width) {
                int64_t p = 0;
                for (; p + kLine <= run.count; p += kLine) {
                    __builtin_prefetch(from + p + ahead);
                    each_index<kLine / V::width>(
                        CONVLENS_EACH(v) { V::load(from + p + v * V::width).store(to + p + v * V::width); });
                }
                __builtin_prefetch(from + ahead + run.count - 1);
                for (; p < run.count; ++p) to[p] = from[p];
            }
        }
    }
}

template <class Real>
void pack_panel(const Panel<Real>& a) {
    if (Vec<Real>::ordered && a.R * a.S == 1 && a.stride == 1) return pack_planes(a);
    if (a.stride == 1) return pack_runs<1>(a);
    if (a.stride == 2 && a.column_step == 1 && a.spare) return pack_pairs(a);
    if (a.stride == 2) return pack_runs<2>(a);
    pack_runs<kAny>(a);
}

template <int Stride, class Real>
void add_runs(const Panel<Real>& a) {
    typedef Vec<Real> V;
    each_panel_row(a, [&](const Real* row, Real* image) {
        for (int64_t i = 0; i < a.n_runs; ++i) {
            const PanelRun& run = a.runs[i];
            const Real* from = row + run.lane;
            Real* to = image + run.offset;
            if (Stride == kAny) {
                for (int64_t p = 0; p < run.count; ++p) to[p * a.stride] = to[p * a.stride] + from[p];
                continue;
            }
            for (int64_t p = 0; p < run.count; p += V::width, to += Stride * V::width) {
                V v = V::load(from + p);
                if (run.count - p < V::width) v = keep_where((1u << (run.count - p)) - 1, v);
                if (Stride == 2) {
                    V low;
                    zip(v, V::zero(), &low, &v);
                    (V::load(to) + low).store(to);
                }
                Real* at = to + (Stride - 1) * V::width;
                (V::load(at) + v).store(at);
            }
        }
    });
}

template <class Real>
void add_panel(const Panel<Real>& a) {
    if (a.stride == 1) return add_runs<1>(a);
    if (a.stride == 2) return add_runs<2>(a);
    add_runs<kAny>(a);
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(pack_panel, Panel)
CONVLENS_EXPORT_KERNEL(add_panel, Panel)
