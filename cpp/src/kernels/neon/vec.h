// AArch64 Advanced SIMD: four registers a 64-byte block.
#pragma once

#include <arm_neon.h>

namespace convlens {
namespace kernels {
namespace neon {
namespace {

template <class Real>
struct Vec;

template <>
struct Vec<float> {
    typedef Vec Narrow;
    static constexpr int width = 4;
    static constexpr int registers = 32;
    static constexpr bool ordered = false;
    float32x4_t v;
    static Vec zero() { return {vdupq_n_f32(0)}; }
    static Vec splat(float x) { return {vdupq_n_f32(x)}; }
    static Vec load(const float* p) { return {vld1q_f32(p)}; }
    void store(float* p) const { vst1q_f32(p, v); }
    void stream(float* p) const { store(p); }
};
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Vec<float> operator+(Vec<float> a, Vec<float> b) { return {vaddq_f32(a.v, b.v)}; }
inline Vec<float> operator-(Vec<float> a, Vec<float> b) { return {vsubq_f32(a.v, b.v)}; }
inline Vec<float> operator*(Vec<float> a, Vec<float> b) { return {vmulq_f32(a.v, b.v)}; }
inline Vec<float> operator/(Vec<float> a, Vec<float> b) { return {vdivq_f32(a.v, b.v)}; }
// max(a, b) is b when either is NaN: write max(zero, x) to let NaN through.
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }

template <>
struct Vec<double> {
    typedef Vec Narrow;
    static constexpr int width = 2;
    static constexpr int registers = 32;
    static constexpr bool ordered = false;
    float64x2_t v;
    static Vec zero() { return {vdupq_n_f64(0)}; }
    static Vec splat(double x) { return {vdupq_n_f64(x)}; }
    static Vec load(const double* p) { return {vld1q_f64(p)}; }
    void store(double* p) const { vst1q_f64(p, v); }
    void stream(double* p) const { store(p); }
};
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
inline Vec<double> operator+(Vec<double> a, Vec<double> b) { return {vaddq_f64(a.v, b.v)}; }
inline Vec<double> operator-(Vec<double> a, Vec<double> b) { return {vsubq_f64(a.v, b.v)}; }
inline Vec<double> operator*(Vec<double> a, Vec<double> b) { return {vmulq_f64(a.v, b.v)}; }
inline Vec<double> operator/(Vec<double> a, Vec<double> b) { return {vdivq_f64(a.v, b.v)}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {vbslq_f64(vcgtq_f64(a.v, b.v), a.v, b.v)}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {vbslq_f64(vcltq_f64(a.v, b.v), a.v, b.v)}; }

inline Vec<float> sqrt(Vec<float> a) { return {vsqrtq_f32(a.v)}; }
inline Vec<double> sqrt(Vec<double> a) { return {vsqrtq_f64(a.v)}; }
// The sign bit of lane i in bit i; body/math.h makes masks of it.
inline unsigned sign_bits(Vec<float> a) {
    const int32x4_t place = {0, 1, 2, 3};
    return vaddvq_u32(vshlq_u32(vshrq_n_u32(vreinterpretq_u32_f32(a.v), 31), place));
}
inline unsigned sign_bits(Vec<double> a) {
    const int64x2_t place = {0, 1};
    return static_cast<unsigned>(vaddvq_u64(vshlq_u64(vshrq_n_u64(vreinterpretq_u64_f64(a.v), 63), place)));
}
// Bit i is set where lane i is above zero; NaN is not.
inline unsigned positive_bits(Vec<float> a) {
    const uint32x4_t lane = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgtzq_f32(a.v), lane));
}
inline unsigned positive_bits(Vec<double> a) {
    const uint64x2_t lane = {1, 2};
    return static_cast<unsigned>(vaddvq_u64(vandq_u64(vcgtzq_f64(a.v), lane)));
}
// Lane i of `a` where bit i is set, else +0. Bits above the vector's are ignored.
inline Vec<float> keep_where(unsigned bits, Vec<float> a) {
    const uint32x4_t lane = {1, 2, 4, 8};
    const uint32x4_t set = vtstq_u32(vdupq_n_u32(bits), lane);
    return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.v), set))};
}
inline Vec<double> keep_where(unsigned bits, Vec<double> a) {
    const uint64x2_t lane = {1, 2};
    const uint64x2_t set = vtstq_u64(vdupq_n_u64(bits), lane);
    return {vreinterpretq_f64_u64(vandq_u64(vreinterpretq_u64_f64(a.v), set))};
}
// To memory of any alignment.
template <class Real>
inline void store_anywhere(Real* p, Vec<Real> a) {
    a.store(p);
}
// Bytes as the integers of lanes, and back; the vector is a carrier of bits here (to_ints in body/math.h). Written out
// because compilers convert such vectors one element at a time.
inline Vec<float> widen_bytes(const unsigned char* p, Vec<float>) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, p, 4);
    const uint16x8_t halves = vmovl_u8(vcreate_u8(bytes));
    return {vreinterpretq_f32_u32(vmovl_u16(vget_low_u16(halves)))};
}
inline Vec<double> widen_bytes(const unsigned char* p, Vec<double>) {
    const uint64x2_t integers = {p[0], p[1]};
    return {vreinterpretq_f64_u64(integers)};
}
inline void narrow_bytes(unsigned char* p, Vec<float> a) {
    const uint16x4_t halves = vmovn_u32(vreinterpretq_u32_f32(a.v));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(halves, halves));
    const uint32_t low = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    __builtin_memcpy(p, &low, 4);
}
inline void narrow_bytes(unsigned char* p, Vec<double> a) {
    const uint64x2_t integers = vreinterpretq_u64_f64(a.v);
    p[0] = static_cast<unsigned char>(vgetq_lane_u64(integers, 0));
    p[1] = static_cast<unsigned char>(vgetq_lane_u64(integers, 1));
}
// int64 as the integers of lanes, the nearest that there is.
inline Vec<float> narrow_integers(const void* p, Vec<float>) {
    int lanes[Vec<float>::width];
    for (int i = 0; i < Vec<float>::width; ++i) {
        long long x;
        __builtin_memcpy(&x, static_cast<const char*>(p) + 8 * i, 8);
        lanes[i] = x < -0x7fffffff - 1 ? -0x7fffffff - 1 : x > 0x7fffffff ? 0x7fffffff : static_cast<int>(x);
    }
    Vec<float> a;
    __builtin_memcpy(&a.v, lanes, sizeof a.v);
    return a;
}
inline Vec<double> narrow_integers(const void* p, Vec<double>) {
    return Vec<double>::load(static_cast<const double*>(p));
}
// The lanes of two vectors in turn, from their lower and their upper halves: a0 b0 a1 b1 ...
inline void zip(Vec<float> a, Vec<float> b, Vec<float>* low, Vec<float>* high) {
    low->v = vzip1q_f32(a.v, b.v);
    high->v = vzip2q_f32(a.v, b.v);
}
inline void zip(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
    low->v = vzip1q_f64(a.v, b.v);
    high->v = vzip2q_f64(a.v, b.v);
}
// And apart again: the even and the odd ones of a's lanes followed by b's, both in an order that in_order() undoes; it
// also makes that order.
inline void unzip(Vec<float> a, Vec<float> b, Vec<float>* even, Vec<float>* odd) {
    even->v = vuzp1q_f32(a.v, b.v);
    odd->v = vuzp2q_f32(a.v, b.v);
}
inline void unzip(Vec<double> a, Vec<double> b, Vec<double>* even, Vec<double>* odd) {
    even->v = vuzp1q_f64(a.v, b.v);
    odd->v = vuzp2q_f64(a.v, b.v);
}
template <class Real>
inline Vec<Real> in_order(Vec<Real> a) {
    return a;
}
// A piece of 16 bytes is all of a vector here.
template <class Real>
inline Vec<Real> load_pieces(const Real* p, int64_t) {
    return Vec<Real>::load(p);
}
template <class Real>
inline void zip_pieces(Vec<Real> a, Vec<Real> b, Vec<Real>* low, Vec<Real>* high) {
    zip(a, b, low, high);
}
// Even lanes of `a`, odd lanes of `b` ...: a0 a2 ... b1 b3 ...: every second of twice as many neighbours, when b begins
// one before a ends.
inline Vec<float> every_second(Vec<float> a, Vec<float> b) {
    return {vcombine_f32(vget_low_f32(vuzp1q_f32(a.v, a.v)), vget_low_f32(vuzp2q_f32(b.v, b.v)))};
}
inline Vec<double> every_second(Vec<double> a, Vec<double> b) {
    return {vcombine_f64(vget_low_f64(a.v), vget_high_f64(b.v))};
}

}  // namespace
}  // namespace neon
}  // namespace kernels
}  // namespace convlens
