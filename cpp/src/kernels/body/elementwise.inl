// An interpreter of small register programs: one switch a step and chunk, so its cost vanishes in the chunk's.
#include "kernels/args/elementwise.hpp"
#include "kernels/body/math.h"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
struct Chunk {
    static constexpr int64_t lanes = 64 / sizeof(Real);
    static constexpr int64_t capacity = kElementwiseChunkBytes / sizeof(Real);
    const ElementwiseArgs<Real>* args;
    int64_t plane, row, start;  // start: within the run
    int64_t count;              // elements
    int64_t length;             // count rounded up to lanes: what registers compute
    int64_t channels;           // of this plane that exist; lanes when all do
    bool begins;                // the first chunk of its plane in this call

    int64_t flat() const { return (plane * args->rows + row) * args->run_elements + start; }
    bool ragged() const { return count != length; }
    bool masked() const { return channels != lanes; }
};

template <class Real>
Real* full_address(const Chunk<Real>& k, const ElementwiseOperand& o) {
    return reinterpret_cast<Real*>(o.data) + k.plane * o.plane_stride + k.row * o.row_stride + k.start;
}

template <class Real>
void fill(Real* y, int64_t count, Real value) {
    const Vec<Real> v = Vec<Real>::splat(value);
    for (int64_t i = 0; i < count; i += Vec<Real>::width) v.store(y + i);
}

// A value a channel. Blocked: the plane's lanes over and over; plain: runs of one value.
template <class Real>
void fill_channels(const Chunk<Real>& k, const ElementwiseOperand& o, Real* y, int64_t length) {
    const ElementwiseArgs<Real>& a = *k.args;
    const Real* values = reinterpret_cast<const Real*>(o.data);
    if (a.blocked) {
        Real block[Chunk<Real>::lanes] = {};
        for (int64_t c = 0; c < k.channels; ++c) block[c] = values[k.plane * Chunk<Real>::lanes + c];
        for (int64_t i = 0; i < length; i += Chunk<Real>::lanes) {
            for (int64_t r = 0; r < Chunk<Real>::lanes; r += Vec<Real>::width) {
                Vec<Real>::load(block + r).store(y + i + r);
            }
        }
        return;
    }
    const int64_t pixels = a.height * a.width;
    int64_t channel = k.flat() / pixels, until = (channel + 1) * pixels - k.flat();
    for (int64_t i = 0; i < k.count; ++i) {
        if (i == until) ++channel, until += pixels;
        y[i] = values[channel];
    }
    for (int64_t i = k.count; i < k.length; ++i) y[i] = 0;
}

// A value a pixel. Blocked: on all lanes of it; plain: repeated every channel.
template <class Real>
void fill_pixels(const Chunk<Real>& k, const ElementwiseOperand& o, Real* y) {
    const ElementwiseArgs<Real>& a = *k.args;
    const Real* values = reinterpret_cast<const Real*>(o.data);
    const int64_t step = a.blocked ? Chunk<Real>::lanes : 1;
    const int64_t pixel = a.blocked ? (k.row * a.run_elements + k.start) / step : k.flat() % (a.height * a.width);
    int64_t h = pixel / a.width, w = pixel % a.width;
    for (int64_t i = 0; i < k.count; i += step) {
        const Real value = values[h * o.row_stride + w * o.pixel_stride];
        if (a.blocked) {
            fill(y + i, step, value);
        } else {
            y[i] = value;
        }
        if (++w == a.width) {
            w = 0;
            if (++h == a.height) h = 0;
        }
    }
    for (int64_t i = k.count; i < k.length; ++i) y[i] = 0;
}

template <class Real>
unsigned load_group(const uint8_t* p) {
    return sizeof(Real) == 4 ? static_cast<unsigned>(p[0] | p[1] << 8) : p[0];
}

template <class Real>
void expand_bits(const Chunk<Real>& k, const ElementwiseOperand& o, Real* y) {
    const uint8_t* bits = reinterpret_cast<const uint8_t*>(o.data) + k.flat() / 8;
    const Vec<Real> one = Vec<Real>::splat(1);
    for (int64_t i = 0; i < k.length; i += Chunk<Real>::lanes, bits += Chunk<Real>::lanes / 8) {
        const unsigned group = load_group<Real>(bits);
        for (int r = 0; r < Chunk<Real>::lanes; r += Vec<Real>::width) {
            keep(from_bits<Real>(group >> r), one).store(y + i + r);
        }
    }
}

// Bits beyond the last element, or of lanes beyond the channels, are zero.
template <class Real>
void pack_bits(const Chunk<Real>& k, const ElementwiseOperand& o, const Real* x) {
    uint8_t* bits = reinterpret_cast<uint8_t*>(o.data) + k.flat() / 8;
    const unsigned lanes = (1u << k.channels) - 1;
    for (int64_t i = 0; i < k.length; i += Chunk<Real>::lanes, bits += Chunk<Real>::lanes / 8) {
        unsigned group = 0;
        for (int r = 0; r < Chunk<Real>::lanes; r += Vec<Real>::width) {
            group |= to_bits(Vec<Real>::load(x + i + r) != Vec<Real>::zero()) << r;
        }
        group &= lanes;
        if (k.count - i < Chunk<Real>::lanes) group &= (1u << (k.count - i)) - 1;
        bits[0] = static_cast<uint8_t>(group);
        if (sizeof(Real) == 4) bits[1] = static_cast<uint8_t>(group >> 8);
    }
}

template <class Real>
void store_masked(const Chunk<Real>& k, const Real* x, Real* y) {
    const unsigned lanes = (1u << k.channels) - 1;
    for (int64_t i = 0; i < k.length; i += Chunk<Real>::lanes) {
        for (int r = 0; r < Chunk<Real>::lanes; r += Vec<Real>::width) {
            keep(from_bits<Real>(lanes >> r), Vec<Real>::load(x + i + r)).store(y + i + r);
        }
    }
}

template <class Real, class F>
void map(int64_t n, Real* y, const Real* a, F f) {
    for (int64_t i = 0; i < n; i += Vec<Real>::width) f(Vec<Real>::load(a + i)).store(y + i);
}
template <class Real, class F>
void map(int64_t n, Real* y, const Real* a, const Real* b, F f) {
    for (int64_t i = 0; i < n; i += Vec<Real>::width) f(Vec<Real>::load(a + i), Vec<Real>::load(b + i)).store(y + i);
}

// The vectors of a block at once.
template <class Real, class F>
void map_blocks(int64_t n, Real* y, const Real* a, F f) {
    typedef Vec<Real> V;
    constexpr int64_t kVecs = Chunk<Real>::lanes / V::width;
    for (int64_t i = 0; i < n; i += Chunk<Real>::lanes) {
        V block[kVecs];
        each_index<kVecs>(CONVLENS_EACH(v) { block[v] = V::load(a + i + v * V::width); });
        f(block);
        each_index<kVecs>(CONVLENS_EACH(v) { block[v].store(y + i + v * V::width); });
    }
}

template <class Real>
void arithmetic(uint8_t code, int64_t n, Real* y, const Real* a, const Real* b, const Real* c) {
    typedef Vec<Real> V;
    const V zero = V::zero(), one = V::splat(1);
    switch (code) {
        case kElementwise_add:
            return map(n, y, a, b, [](V p, V q) { return p + q; });
        case kElementwise_sub:
            return map(n, y, a, b, [](V p, V q) { return p - q; });
        case kElementwise_mul:
            return map(n, y, a, b, [](V p, V q) { return p * q; });
        case kElementwise_div:
            return map(n, y, a, b, [](V p, V q) { return p / q; });
        case kElementwise_max:
            return map(n, y, a, b, [](V p, V q) { return max_nan(p, q); });
        case kElementwise_min:
            return map(n, y, a, b, [](V p, V q) { return min_nan(p, q); });
        case kElementwise_neg:
            return map(n, y, a, [](V p) { return neg(p); });
        case kElementwise_abs:
            return map(n, y, a, [](V p) { return abs(p); });
        case kElementwise_sign:
            return map(n, y, a, [](V p) { return sign(p); });
        case kElementwise_sqrt:
            return map(n, y, a, [](V p) { return sqrt(p); });
        case kElementwise_exp:
            return map(n, y, a, [](V p) { return exp(p); });
        case kElementwise_log:
            return map(n, y, a, [](V p) { return log(p); });
        case kElementwise_sigmoid:
            return map_blocks(n, y, a, [](auto& p) { sigmoid(p); });
        case kElementwise_tanh:
            return map(n, y, a, [](V p) { return tanh(p); });
        case kElementwise_relu:
            return map(n, y, a, [](V p) { return relu(p); });
        case kElementwise_greater:
            return map(n, y, a, b, [=](V p, V q) { return keep(p > q, one); });
        case kElementwise_greater_equal:
            return map(n, y, a, b, [=](V p, V q) { return keep(p >= q, one); });
        case kElementwise_less:
            return map(n, y, a, b, [=](V p, V q) { return keep(p < q, one); });
        case kElementwise_less_equal:
            return map(n, y, a, b, [=](V p, V q) { return keep(p <= q, one); });
        case kElementwise_equal:
            return map(n, y, a, b, [=](V p, V q) { return keep(p == q, one); });
        case kElementwise_logical_and:
            return map(n, y, a, b, [=](V p, V q) { return keep((p != zero) & (q != zero), one); });
        case kElementwise_logical_or:
            return map(n, y, a, b, [=](V p, V q) { return keep((p != zero) | (q != zero), one); });
        case kElementwise_logical_not:
            return map(n, y, a, [=](V p) { return keep(p == zero, one); });
        case kElementwise_expm1:
            return map(n, y, a, [](V p) { return exp<Real, true>(p); });
        case kElementwise_log1p:
            return map(n, y, a, [](V p) { return log1p(p); });
        case kElementwise_erf:
            return map(n, y, a, [](V p) { return erf(p); });
        case kElementwise_pow:
            return map(n, y, a, b, [](V p, V q) { return pow(p, q); });
        case kElementwise_round:
            return map(n, y, a, [](V p) { return nearest_integer(p); });
        case kElementwise_silu:
            return map_blocks(n, y, a, [](auto& p) { silu(p); });
        case kElementwise_hard_swish:
            return map(n, y, a, [](V p) { return hard_swish(p); });
        case kElementwise_gelu:
            return map(n, y, a, [](V p) { return gelu(p); });
        default:  // where
            for (int64_t i = 0; i < n; i += V::width) {
                select(V::load(a + i) != zero, V::load(b + i), V::load(c + i)).store(y + i);
            }
    }
}

// The register's content; points into the input itself where it can.
template <class Real>
const Real* load(const Chunk<Real>& k, const ElementwiseOperand& o, const ElementwiseStep& step, Real* y) {
    switch (o.role) {
        case ElementwiseRole::channel:
            if (!step.a_plane || k.begins) fill_channels(k, o, y, step.a_plane ? k.capacity : k.length);
            return y;
        case ElementwiseRole::spatial:
            fill_pixels(k, o, y);
            return y;
        case ElementwiseRole::scalar:
            fill(y, k.length, *reinterpret_cast<const Real*>(o.data));
            return y;
        case ElementwiseRole::full:
            break;
    }
    if (o.mask) {
        expand_bits(k, o, y);
        return y;
    }
    const Real* x = full_address(k, o);
    if (!k.ragged() && !step.copies) return x;
    __builtin_memcpy(y, x, k.count * sizeof(Real));
    for (int64_t i = k.count; i < k.length; ++i) y[i] = 0;
    return y;
}

template <class Real>
void store(const Chunk<Real>& k, const ElementwiseOperand& o, const Real* x) {
    if (o.mask) return pack_bits(k, o, x);
    Real* y = full_address(k, o);
    if (k.masked()) return store_masked(k, x, y);
    if (x != y) __builtin_memmove(y, x, k.count * sizeof(Real));
}

template <class Real>
void run_chunk(const Chunk<Real>& k, const Real** registers) {
    const ElementwiseArgs<Real>& a = *k.args;
    const bool direct = !k.ragged() && !k.masked();
    for (int32_t i = 0; i < a.n_steps; ++i) {
        const ElementwiseStep& step = a.steps[i];
        if (step.once) continue;
        Real* own = a.registers + step.dst % kElementwiseRegisters * Chunk<Real>::capacity;
        switch (step.code) {
            case kElementwise_load:
                registers[step.dst] = load(k, a.inputs[step.a], step, own);
                break;
            case kElementwise_constant:
                fill(own, k.length, static_cast<Real>(a.constants[step.a]));
                registers[step.dst] = own;
                break;
            case kElementwise_store:
                if (!(direct && step.skipped)) store(k, a.outputs[step.dst], registers[step.a]);
                break;
            default:
                if (direct && step.fused >= 0) own = full_address(k, a.outputs[step.fused]);
                arithmetic(step.code, k.length, own, registers[step.a], registers[step.b], registers[step.c]);
                registers[step.dst] = own;
        }
    }
}

template <class Real>
void elementwise(const ElementwiseArgs<Real>& a) {
    constexpr int64_t lanes = Chunk<Real>::lanes, capacity = Chunk<Real>::capacity;
    const Real* registers[kElementwiseRegisters];
    for (int i = 0; i < kElementwiseRegisters; ++i) registers[i] = a.registers + i * capacity;
    for (int32_t i = 0; i < a.n_steps; ++i) {
        const ElementwiseStep& step = a.steps[i];
        if (!step.once) continue;
        const Real value = step.code == kElementwise_constant ? static_cast<Real>(a.constants[step.a])
                                                              : *reinterpret_cast<const Real*>(a.inputs[step.a].data);
        fill(a.registers + step.dst * capacity, capacity, value);
    }
    const int64_t planes_channels = a.blocked ? lanes : 0;
    int64_t plane = -1;
    for (int64_t unit = a.unit0; unit < a.unit1; ++unit) {
        const int64_t run = unit / a.pieces, piece = unit % a.pieces;
        Chunk<Real> k;
        k.args = &a;
        k.plane = run / a.rows, k.row = run % a.rows, k.start = piece * capacity;
        k.begins = k.plane != plane, plane = k.plane;
        k.count = a.run_elements - k.start < capacity ? a.run_elements - k.start : capacity;
        k.length = (k.count + lanes - 1) / lanes * lanes;
        k.channels = lanes;
        if (a.blocked && a.channels - k.plane * planes_channels < lanes) k.channels = a.channels - k.plane * lanes;
        run_chunk(k, registers);
    }
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens

CONVLENS_EXPORT_KERNEL(elementwise, ElementwiseArgs)
