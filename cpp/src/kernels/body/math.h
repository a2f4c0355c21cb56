// What bodies need beyond arithmetic: masks, bits, rounding, exp, log, sigmoid, tanh, erf, powers. Written once over
// the compilers' vector extension, which every ISA's register type is an instance of. Included by bodies after the
// ISA's vec.h.
//
// Functions run with subnormals flushed to zero: log takes them for zeros, exp and sigmoid never return one.
#pragma once

#include <stdint.h>

#include "kernels/unroll.hpp"

namespace convlens {
namespace kernels {
namespace CONVLENS_ISA_NAME {
namespace {

template <class Real>
struct Format;
template <>
struct Format<float> {
    typedef int32_t Int;
    typedef int32_t Ints __attribute__((vector_size(Vec<float>::width * 4)));
    typedef uint32_t Words __attribute__((vector_size(Vec<float>::width * 4)));
    static constexpr int mantissa_bits = 23;
    static constexpr Int exponent_bias = 127;
    static constexpr Int one = 0x3f800000, sqrt_half = 0x3f3504f3, quiet_nan = 0x7fc00000, infinity = 0x7f800000;
    static constexpr float smallest_normal = 0x1p-126f;
    static constexpr float round_magic = 0x1.8p23f;  // adding it leaves an integer in the low bits of the mantissa
    // exp(x) is 0 below and infinite above, whatever the sign and the last bits.
    static constexpr float exp_low = -105, exp_high = 90;
    // ln 2 in two parts; the first has zeros enough at its end for its product with an exponent to be exact.
    static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
    // exp(-x) is finite and 2^k a normal number between these; 1 + exp(-x) is 1 above.
    static constexpr float sigmoid_low = -88, sigmoid_high = 64;
    // (exp(r) - 1 - r) / r^2, |r| <= ln 2 / 2; exp(r) within 4e-9.
    static constexpr float exp_terms[] = {4.9999993e-01f, 1.6666519e-01f, 4.1668406e-02f, 8.3688988e-03f,
                                          1.3814221e-03f};
    static constexpr int log_terms = 5, tanh_terms = 6;
    // erf(x) / x in x^2, x < 1; exp(x^2) erfc(x) in (x - 2) / (x + 2), 1 <= x <= 4. Chebyshev interpolants, within
    // 1e-9.
    static constexpr float erf_end = 4, erf_middle = 2;
    static constexpr float erf_near[] = {1.1283791e+00f, -3.7612626e-01f, 1.1283594e-01f, -2.6854211e-02f,
                                         5.1890872e-03f, -8.0168643e-04f, 7.875875e-05f};
    static constexpr float erf_far[] = {2.5539568e-01f, -4.2718583e-01f, 2.4165821e-01f,  -7.897852e-02f,
                                        3.7321413e-03f, 6.9948556e-03f,  -8.3658996e-04f, -9.4415963e-04f};
    // erf(x / sqrt 2) / 2x in x^2 as a quotient, x < 5.55, within 2e-8; beyond, it is 1 / 2x.
    static constexpr float gelu_end = 5.55f;
    static constexpr float gelu_over[] = {3.98942273e-01f, 3.36886964e-02f, 4.66396945e-03f,
                                          1.66687524e-04f, 6.29414779e-06f, 2.26098932e-08f};
    static constexpr float gelu_under[] = {1.00000000e+00f, 2.51111405e-01f, 2.85435189e-02f,
                                           1.87268905e-03f, 7.27301576e-05f, 1.18911257e-06f};
};
template <>
struct Format<double> {
    typedef int64_t Int;
    typedef int64_t Ints __attribute__((vector_size(Vec<double>::width * 8)));
    typedef uint64_t Words __attribute__((vector_size(Vec<double>::width * 8)));
    static constexpr int mantissa_bits = 52;
    static constexpr Int exponent_bias = 1023;
    static constexpr Int one = 0x3ff0000000000000, sqrt_half = 0x3fe6a09e667f3bcd, quiet_nan = 0x7ff8000000000000,
                         infinity = 0x7ff0000000000000;
    static constexpr double smallest_normal = 0x1p-1022;
    static constexpr double round_magic = 0x1.8p52;
    static constexpr double exp_low = -750, exp_high = 720;
    static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double sigmoid_low = -709, sigmoid_high = 64;
    // 1 / 2! ... 1 / 13!, below a twentieth of an ulp.
    static constexpr double exp_terms[] = {0.5,           1.0 / 6,        1.0 / 24,        1.0 / 120,
                                           1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                           1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    static constexpr int log_terms = 11, tanh_terms = 10;
    // As for float, in (x - 2.5) / (x + 2.5), 1 <= x <= 6, within 4e-16.
    static constexpr double erf_end = 6, erf_middle = 2.5;
    static constexpr double erf_near[] = {1.1283791670955126,      -0.37612638903183543,   0.11283791670945006,
                                          -0.02686617064323777,    0.0052239776071164225,  -0.0008548325975389692,
                                          0.00012055294904839707,  -1.492473690741966e-05, 1.6447424703317362e-06,
                                          -1.6208483801871705e-07, 1.3720064546777686e-08, -7.795898827002142e-10};
    static constexpr double erf_far[] = {0.2108063640611436,      -0.37173673394897294,    0.2517131932174488,
                                         -0.12503305237891782,    0.03992253907546523,     -0.003993701160123029,
                                         -0.0026423659518134547,  0.0008759152875774328,   0.0002283799633257643,
                                         -0.00012887483134837842, -3.4175718896856294e-05, 1.8596747731144528e-05,
                                         7.499735050763299e-06,   -2.2328516517555215e-06, -1.587633893127344e-06};
};

template <class Real>
using Ints = typename Format<Real>::Ints;
template <class Real>
using Words = typename Format<Real>::Words;  // unsigned, for arithmetic that may wrap

// Lanes of ones or zeros.
template <class Real>
struct Mask {
    Ints<Real> v;
};
template <class Real>
inline Mask<Real> operator&(Mask<Real> a, Mask<Real> b) {
    return {a.v & b.v};
}
template <class Real>
inline Mask<Real> operator|(Mask<Real> a, Mask<Real> b) {
    return {a.v | b.v};
}
template <class Real>
inline Mask<Real> operator~(Mask<Real> a) {
    return {~a.v};
}

template <class Real>
inline Mask<Real> operator<(Vec<Real> a, Vec<Real> b) {
    return {(Ints<Real>)(a.v < b.v)};
}
template <class Real>
inline Mask<Real> operator>(Vec<Real> a, Vec<Real> b) {
    return {(Ints<Real>)(a.v > b.v)};
}
template <class Real>
inline Mask<Real> operator<=(Vec<Real> a, Vec<Real> b) {
    return {(Ints<Real>)(a.v <= b.v)};
}
template <class Real>
inline Mask<Real> operator>=(Vec<Real> a, Vec<Real> b) {
    return {(Ints<Real>)(a.v >= b.v)};
}
template <class Real>
inline Mask<Real> operator==(Vec<Real> a, Vec<Real> b) {
    return {(Ints<Real>)(a.v == b.v)};
}
template <class Real>
inline Mask<Real> operator!=(Vec<Real> a, Vec<Real> b) {
    return {(Ints<Real>)(a.v != b.v)};
}
template <class Real>
inline Mask<Real> is_nan(Vec<Real> a) {
    return a != a;
}

template <class Real>
inline Vec<Real> select(Mask<Real> m, Vec<Real> a, Vec<Real> b) {
    Vec<Real> y;
    y.v = m.v ? a.v : b.v;
    return y;
}
// a where the mask is, 0 elsewhere.
template <class Real>
inline Vec<Real> keep(Mask<Real> m, Vec<Real> a) {
    return select(m, a, Vec<Real>::zero());
}

template <class Real>
inline Ints<Real> to_ints(Vec<Real> a) {
    return (Ints<Real>)a.v;
}
template <class Real>
inline Vec<Real> to_reals(Ints<Real> bits) {
    Vec<Real> y;
    y.v = (decltype(y.v))bits;
    return y;
}
template <class Real>
inline Ints<Real> splat_ints(typename Format<Real>::Int bits) {
    return bits | Ints<Real>{};
}

// One bit a lane, lane 0 lowest.
template <class Real>
inline unsigned to_bits(Mask<Real> m) {
    return sign_bits(to_reals<Real>(m.v));
}
template <class Real>
inline Mask<Real> from_bits(unsigned bits) {
    Ints<Real> place;
    for (int i = 0; i < Vec<Real>::width; ++i) place[i] = typename Format<Real>::Int{1} << i;
    return {(Ints<Real>)((splat_ints<Real>(static_cast<typename Format<Real>::Int>(bits)) & place) != Ints<Real>{})};
}

template <class Real>
inline Vec<Real> abs(Vec<Real> a) {
    return to_reals<Real>(to_ints(a) & ~to_ints(Vec<Real>::splat(Real(-0.0))));
}
template <class Real>
inline Vec<Real> neg(Vec<Real> a) {
    return to_reals<Real>(to_ints(a) ^ to_ints(Vec<Real>::splat(Real(-0.0))));
}
// Both let NaN through from either side.
template <class Real>
inline Vec<Real> max_nan(Vec<Real> a, Vec<Real> b) {
    return select(is_nan(a), a, max(a, b));
}
template <class Real>
inline Vec<Real> min_nan(Vec<Real> a, Vec<Real> b) {
    return select(is_nan(a), a, min(a, b));
}
template <class Real>
inline Vec<Real> relu(Vec<Real> a) {
    return max(Vec<Real>::zero(), a);
}
template <class Real>
inline Vec<Real> sign(Vec<Real> a) {
    const Vec<Real> zero = Vec<Real>::zero(), one = Vec<Real>::splat(1);
    const Vec<Real> y = select(a > zero, one, keep(a < zero, Vec<Real>::splat(-1)));
    return select(is_nan(a), a, y);
}

template <class Real>
inline Vec<Real> power_of_two(Ints<Real> k) {
    const Words<Real> bias = (Words<Real>)splat_ints<Real>(Format<Real>::exponent_bias);
    return to_reals<Real>((Ints<Real>)(((Words<Real>)k + bias) << Format<Real>::mantissa_bits));
}

template <class Real, int count>
inline Vec<Real> polynomial(const Real (&coefficients)[count], Vec<Real> x) {
    Vec<Real> y = Vec<Real>::splat(coefficients[count - 1]);
    for (int i = count - 2; i >= 0; --i) y = fma(y, x, Vec<Real>::splat(coefficients[i]));
    return y;
}

// exp(x) = 2^k exp(r), |r| <= ln 2 / 2.
// With minus_one, exp(x) - 1: for k = 0 before anything is added that would cancel.
template <class Real, bool minus_one = false>
inline Vec<Real> exp(Vec<Real> x) {
    typedef Format<Real> F;
    x = min(Vec<Real>::splat(F::exp_high), max(Vec<Real>::splat(F::exp_low), x));
    const Vec<Real> magic = Vec<Real>::splat(F::round_magic);
    const Vec<Real> shifted = fma(x, Vec<Real>::splat(Real(1.4426950408889634074)), magic);
    const Vec<Real> k = shifted - magic;
    Vec<Real> r = fma(k, Vec<Real>::splat(-F::ln2_high), x);
    r = fma(k, Vec<Real>::splat(-F::ln2_low), r);
    const Vec<Real> one = Vec<Real>::splat(1), near = fma(r * r, polynomial(F::exp_terms, r), r);
    // 2^k in two factors: k reaches past the exponents on both sides.
    const Ints<Real> exponent = (Ints<Real>)((Words<Real>)to_ints(shifted) - (Words<Real>)to_ints(magic));
    const Ints<Real> half = exponent >> 1;
    const Vec<Real> y = (near + one) * power_of_two<Real>(half) *
                        power_of_two<Real>((Ints<Real>)((Words<Real>)exponent - (Words<Real>)half));
    return minus_one ? select(k == Vec<Real>::zero(), near, y - one) : y;
}

// exp(-x) = 2^k exp(-r) where 2^k is a normal number: the exponent's bits are added to the polynomial's. NaN gives
// anything. Of several vectors, step by step: what one waits for is done for another.
template <class Real, int N>
inline void exp_minus(Vec<Real> (&x)[N]) {
    typedef Format<Real> F;
    typedef Vec<Real> V;
    const V magic = V::splat(F::round_magic);
    V shifted[N], k[N], p[N];
    each_index<N>(CONVLENS_EACH(i) { shifted[i] = fma(x[i], V::splat(Real(-1.4426950408889634074)), magic); });
    each_index<N>(CONVLENS_EACH(i) { k[i] = shifted[i] - magic; });
    each_index<N>(CONVLENS_EACH(i) { x[i] = fma(k[i], V::splat(F::ln2_high), x[i]); });
    each_index<N>(CONVLENS_EACH(i) { x[i] = fma(k[i], V::splat(F::ln2_low), x[i]); });
    constexpr int terms = sizeof(F::exp_terms) / sizeof(Real);
    const auto term = CONVLENS_EACH(t) { return V::splat(t % 2 ? -F::exp_terms[t] : F::exp_terms[t]); };
    each_index<N>(CONVLENS_EACH(i) { p[i] = term(Index<terms - 1>()); });
    each_index<terms - 1>(CONVLENS_EACH(t) {
        each_index<N>(CONVLENS_EACH(i) { p[i] = fma(p[i], x[i], term(Index<terms - 2 - t>())); });
    });
    each_index<N>(CONVLENS_EACH(i) { p[i] = fma(p[i], x[i], V::splat(-1)); });
    each_index<N>(CONVLENS_EACH(i) { p[i] = fma(p[i], x[i], V::splat(1)); });
    each_index<N>(CONVLENS_EACH(i) {
        const Words<Real> exponent = (Words<Real>)to_ints(shifted[i]) << F::mantissa_bits;
        x[i] = to_reals<Real>((Ints<Real>)((Words<Real>)to_ints(p[i]) + exponent));
    });
}
template <class Real>
inline Vec<Real> exp_minus(Vec<Real> x) {
    Vec<Real> one[] = {x};
    exp_minus(one);
    return one[0];
}

// 1 + exp(-x). What exp(-x) is beyond the bounds is not told apart; NaN gives anything.
template <class Real, int N>
inline void one_and_exp_minus(const Vec<Real> (&x)[N], Vec<Real> (&y)[N]) {
    typedef Vec<Real> V;
    const V low = V::splat(Format<Real>::sigmoid_low), high = V::splat(Format<Real>::sigmoid_high);
    each_index<N>(CONVLENS_EACH(i) { y[i] = min(high, max(low, x[i])); });
    exp_minus(y);
    each_index<N>(CONVLENS_EACH(i) { y[i] = V::splat(1) + y[i]; });
}

// (Zen 4: 0.65 of the time of one that calls exp.)
template <class Real, int N>
inline void sigmoid(Vec<Real> (&x)[N]) {
    Vec<Real> under[N];
    one_and_exp_minus(x, under);
    each_index<N>(CONVLENS_EACH(i) { x[i] = select(is_nan(x[i]), x[i], Vec<Real>::splat(1) / under[i]); });
}

// The bits of x sigmoid(x), whose NaN is x's.
template <class Real, int N>
inline void silu(Vec<Real> (&x)[N]) {
    Vec<Real> under[N];
    one_and_exp_minus(x, under);
    each_index<N>(CONVLENS_EACH(i) { x[i] = x[i] * (Vec<Real>::splat(1) / under[i]); });
}

// log(x) = k ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = 2 atanh(s), s = f / (2 + f), as in fdlibm.
template <class Real>
inline Vec<Real> log(Vec<Real> x) {
    typedef Format<Real> F;
    const Words<Real> bits = (Words<Real>)to_ints(x);
    const Ints<Real> k = (Ints<Real>)(bits - (Words<Real>)splat_ints<Real>(F::sqrt_half)) >> F::mantissa_bits;
    const Words<Real> mantissa = bits - ((Words<Real>)k << F::mantissa_bits);
    const Vec<Real> f = to_reals<Real>((Ints<Real>)mantissa) - Vec<Real>::splat(1);
    Vec<Real> exponent;
    exponent.v = __builtin_convertvector(k, decltype(exponent.v));
    const Vec<Real> s = f / (Vec<Real>::splat(2) + f), z = s * s;
    Vec<Real> r = Vec<Real>::splat(Real(2.0 / (2 * F::log_terms + 1)));
    for (int i = F::log_terms - 1; i >= 1; --i) r = fma(r, z, Vec<Real>::splat(Real(2.0 / (2 * i + 1))));
    r = r * z;
    const Vec<Real> half_square = Vec<Real>::splat(Real(0.5)) * f * f;
    const Vec<Real> low = fma(exponent, Vec<Real>::splat(F::ln2_low), s * (half_square + r));
    const Vec<Real> y = fma(exponent, Vec<Real>::splat(F::ln2_high), f - (half_square - low));
    const Vec<Real> infinity = to_reals<Real>(splat_ints<Real>(F::infinity));
    const Vec<Real> nan = to_reals<Real>(splat_ints<Real>(F::quiet_nan));
    Vec<Real> special = select(x < Vec<Real>::zero(), nan, neg(infinity));
    special = select(x < Vec<Real>::splat(F::smallest_normal), special, y);
    return select(is_nan(x) | (x == infinity), x, special);
}

// For functions that are rare: one copy of the code.
template <class Real>
__attribute__((noinline)) Vec<Real> shared_exp(Vec<Real> x) {
    return exp(x);
}
template <class Real>
__attribute__((noinline)) Vec<Real> shared_log(Vec<Real> x) {
    return log(x);
}

// log(1 + x): what 1 + x rounds away is the derivative's share of the result.
template <class Real>
inline Vec<Real> log1p(Vec<Real> x) {
    const Vec<Real> one = Vec<Real>::splat(1), u = one + x, lost = (x - (u - one)) / u;
    const Vec<Real> infinity = to_reals<Real>(splat_ints<Real>(Format<Real>::infinity));
    return shared_log(u) + keep((u > Vec<Real>::zero()) & (u < infinity), lost);
}

// Halves go to the even neighbour, zeros keep their sign. From two thirds of the magic on there are integers only.
template <class Real>
inline Vec<Real> nearest_integer(Vec<Real> x) {
    const Vec<Real> whole = Vec<Real>::splat(Format<Real>::round_magic / 3 * 2), size = abs(x);
    const Ints<Real> sign = to_ints(x) & to_ints(Vec<Real>::splat(Real(-0.0)));
    return select(size < whole, to_reals<Real>(to_ints(size + whole - whole) | sign), x);
}

// |a|^b = exp(b log |a|), the product in two parts; it errs by |b log a| roundings of the logarithm.
template <class Real>
inline Vec<Real> pow(Vec<Real> a, Vec<Real> b) {
    const Vec<Real> zero = Vec<Real>::zero(), one = Vec<Real>::splat(1), half = b * Vec<Real>::splat(Real(0.5));
    const Vec<Real> l = shared_log(abs(a)), p = b * l, low = fma(b, l, neg(p));
    Vec<Real> y = shared_exp(p);
    const Vec<Real> infinity = to_reals<Real>(splat_ints<Real>(Format<Real>::infinity));
    y = select((abs(low) < one) & (y < infinity), fma(y, low, y), y);  // infinite ones have no low part
    const Mask<Real> whole = nearest_integer(b) == b, odd = whole & (nearest_integer(half) != half);
    const Vec<Real> nan = to_reals<Real>(splat_ints<Real>(Format<Real>::quiet_nan));
    const Vec<Real> negative = select(odd, neg(y), select(whole, y, nan));
    y = select(a < zero, negative, y);
    return select((b == zero) | (a == one), one, y);
}

// Near 0 a polynomial; further out 1 - erfc(x), erfc(x) = exp(-x^2) times a smooth function.
template <class Real>
inline Vec<Real> erf(Vec<Real> x) {
    typedef Format<Real> F;
    const Vec<Real> one = Vec<Real>::splat(1), middle = Vec<Real>::splat(F::erf_middle);
    const Vec<Real> near = x * polynomial(F::erf_near, x * x);
    const Vec<Real> m = min(Vec<Real>::splat(F::erf_end), max(one, abs(x)));
    const Vec<Real> far = one - exp_minus(m * m) * polynomial(F::erf_far, (m - middle) / (m + middle));
    const Vec<Real> signed_far = select(x < Vec<Real>::zero(), neg(far), far);
    return select(abs(x) >= one, signed_far, near);
}

template <class Real>
inline Vec<Real> hard_swish(Vec<Real> x) {
    const Vec<Real> line = min(Vec<Real>::splat(6), max(Vec<Real>::zero(), x + Vec<Real>::splat(3)));
    return x * line * Vec<Real>::splat(Real(1.0 / 6));
}

// x / 2 (1 + erf(x / sqrt 2)). Its errors are roundings of x: where 1 + erf cancels nothing smaller is left.
template <class Real>
inline Vec<Real> gelu(Vec<Real> x) {
    const Vec<Real> half = Vec<Real>::splat(Real(0.5));
    if constexpr (sizeof(Real) == 4) {
        typedef Format<Real> F;
        const Vec<Real> z = x * x, share = polynomial(F::gelu_over, z) / polynomial(F::gelu_under, z);
        const Vec<Real> zero = Vec<Real>::zero(), far = select(x < zero, zero, Vec<Real>::splat(1));
        return x * select(abs(x) >= Vec<Real>::splat(F::gelu_end), far, max(fma(x, share, half), zero));
    } else {
        return x * half * (Vec<Real>::splat(1) + erf(x * Vec<Real>::splat(Real(0.70710678118654752440))));
    }
}

// Near 0 Lambert's continued fraction x / (1 + z / (3 + z / (5 + ...))), z = x^2: all terms positive, nothing cancels.
template <class Real>
inline Vec<Real> tanh(Vec<Real> x) {
    typedef Format<Real> F;
    const Vec<Real> one = Vec<Real>::splat(1), z = x * x;
    Vec<Real> numerator = Vec<Real>::splat(Real(2 * F::tanh_terms - 1)), denominator = one;
    for (int i = F::tanh_terms - 2; i >= 0; --i) {
        const Vec<Real> next = fma(z, denominator, Vec<Real>::splat(Real(2 * i + 1)) * numerator);
        denominator = numerator;
        numerator = next;
    }
    const Vec<Real> magnitude = abs(x);
    const Vec<Real> small = exp_minus(min(Vec<Real>::splat(F::sigmoid_high), magnitude + magnitude));
    const Vec<Real> large = (one - small) / (one + small);
    const Vec<Real> near = x * (denominator / numerator);
    const Vec<Real> far = select(x < Vec<Real>::zero(), neg(large), large);
    return select(is_nan(x), x, select(magnitude < Vec<Real>::splat(Real(0.625)), near, far));
}

}  // namespace
}  // namespace CONVLENS_ISA_NAME
}  // namespace kernels
}  // namespace convlens
