// Any processor: GCC's and Clang's 16-byte vector extension, four vectors a 64-byte block. Not every target has a fused
// multiply-add and a call to libm's is a hundred times slower, so fma here rounds twice.
#pragma once

#include <stdint.h>

namespace convlens {
namespace kernels {
namespace portable {
namespace {

typedef float Vector_float __attribute__((vector_size(16)));
typedef double Vector_double __attribute__((vector_size(16)));

template <class Real>
struct Vec;

template <>
struct Vec<float> {
    typedef Vec Narrow;
    static constexpr int width = 4;
    static constexpr int registers = 16;
    static constexpr bool ordered = false;
    Vector_float v;
    static Vec zero() { return {Vector_float{}}; }
    static Vec splat(float x) { return {x - Vector_float{}}; }
    static Vec load(const float* p) {
        Vec a;
        __builtin_memcpy(&a.v, p, sizeof a.v);
        return a;
    }
    void store(float* p) const { __builtin_memcpy(p, &v, sizeof v); }
    void stream(float* p) const { store(p); }
};
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {a.v * b.v + c.v}; }
inline Vec<float> operator+(Vec<float> a, Vec<float> b) { return {a.v + b.v}; }
inline Vec<float> operator-(Vec<float> a, Vec<float> b) { return {a.v - b.v}; }
inline Vec<float> operator*(Vec<float> a, Vec<float> b) { return {a.v * b.v}; }
inline Vec<float> operator/(Vec<float> a, Vec<float> b) { return {a.v / b.v}; }
// max(a, b) is b when either is NaN: write max(zero, x) to let NaN through.
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {a.v > b.v ? a.v : b.v}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {a.v < b.v ? a.v : b.v}; }

template <>
struct Vec<double> {
    typedef Vec Narrow;
    static constexpr int width = 2;
    static constexpr int registers = 16;
    static constexpr bool ordered = false;
    Vector_double v;
    static Vec zero() { return {Vector_double{}}; }
    static Vec splat(double x) { return {x - Vector_double{}}; }
    static Vec load(const double* p) {
        Vec a;
        __builtin_memcpy(&a.v, p, sizeof a.v);
        return a;
    }
    void store(double* p) const { __builtin_memcpy(p, &v, sizeof v); }
    void stream(double* p) const { store(p); }
};
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {a.v * b.v + c.v}; }
inline Vec<double> operator+(Vec<double> a, Vec<double> b) { return {a.v + b.v}; }
inline Vec<double> operator-(Vec<double> a, Vec<double> b) { return {a.v - b.v}; }
inline Vec<double> operator*(Vec<double> a, Vec<double> b) { return {a.v * b.v}; }
inline Vec<double> operator/(Vec<double> a, Vec<double> b) { return {a.v / b.v}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {a.v > b.v ? a.v : b.v}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {a.v < b.v ? a.v : b.v}; }

inline Vec<float> sqrt(Vec<float> a) {
    for (int i = 0; i < Vec<float>::width; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
    return a;
}
inline Vec<double> sqrt(Vec<double> a) {
    for (int i = 0; i < Vec<double>::width; ++i) a.v[i] = __builtin_sqrt(a.v[i]);
    return a;
}
// The sign bit of lane i in bit i; body/math.h makes masks of it.
inline unsigned sign_bits(Vec<float> a) {
    unsigned bits = 0;
    for (int i = 0; i < Vec<float>::width; ++i) bits |= (__builtin_signbit(a.v[i]) ? 1u : 0u) << i;
    return bits;
}
inline unsigned sign_bits(Vec<double> a) {
    unsigned bits = 0;
    for (int i = 0; i < Vec<double>::width; ++i) bits |= (__builtin_signbit(a.v[i]) ? 1u : 0u) << i;
    return bits;
}
// Bit i is set where lane i is above zero; NaN is not.
template <class Real>
inline unsigned positive_bits(Vec<Real> a) {
    unsigned bits = 0;
    for (int i = 0; i < Vec<Real>::width; ++i) bits |= (a.v[i] > 0 ? 1u : 0u) << i;
    return bits;
}
// Lane i of `a` where bit i is set, else +0. Bits above the vector's are ignored.
inline Vec<float> keep_where(unsigned bits, Vec<float> a) {
    typedef int32_t Mask __attribute__((vector_size(16)));
    const Mask lane = {1, 2, 4, 8}, set = lane & static_cast<int32_t>(bits);
    return {reinterpret_cast<Vector_float>(reinterpret_cast<Mask>(a.v) & (set == lane))};
}
inline Vec<double> keep_where(unsigned bits, Vec<double> a) {
    typedef int64_t Mask __attribute__((vector_size(16)));
    const Mask lane = {1, 2}, set = lane & static_cast<int64_t>(bits);
    return {reinterpret_cast<Vector_double>(reinterpret_cast<Mask>(a.v) & (set == lane))};
}
// To memory of any alignment.
template <class Real>
inline void store_anywhere(Real* p, Vec<Real> a) {
    a.store(p);
}
// Bytes as the integers of lanes, and back; the vector is a carrier of bits here (to_ints in body/math.h).
template <class Real, class Int>
inline Vec<Real> widen_bytes_as(const unsigned char* p) {
    Int integers[Vec<Real>::width];
    for (int i = 0; i < Vec<Real>::width; ++i) integers[i] = p[i];
    Vec<Real> a;
    __builtin_memcpy(&a.v, integers, sizeof a.v);
    return a;
}
template <class Int, class Real>
inline void narrow_bytes_as(unsigned char* p, Vec<Real> a) {
    Int integers[Vec<Real>::width];
    __builtin_memcpy(integers, &a.v, sizeof a.v);
    for (int i = 0; i < Vec<Real>::width; ++i) p[i] = static_cast<unsigned char>(integers[i]);
}
inline Vec<float> widen_bytes(const unsigned char* p, Vec<float>) { return widen_bytes_as<float, unsigned>(p); }
inline Vec<double> widen_bytes(const unsigned char* p, Vec<double>) {
    return widen_bytes_as<double, unsigned long long>(p);
}
inline void narrow_bytes(unsigned char* p, Vec<float> a) { narrow_bytes_as<unsigned>(p, a); }
inline void narrow_bytes(unsigned char* p, Vec<double> a) { narrow_bytes_as<unsigned long long>(p, a); }
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
    low->v = Vector_float{a.v[0], b.v[0], a.v[1], b.v[1]};
    high->v = Vector_float{a.v[2], b.v[2], a.v[3], b.v[3]};
}
inline void zip(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
    low->v = Vector_double{a.v[0], b.v[0]};
    high->v = Vector_double{a.v[1], b.v[1]};
}
// And apart again: the even and the odd ones of a's lanes followed by b's, both in an order that in_order() undoes; it
// also makes that order.
inline void unzip(Vec<float> a, Vec<float> b, Vec<float>* even, Vec<float>* odd) {
    even->v = Vector_float{a.v[0], a.v[2], b.v[0], b.v[2]};
    odd->v = Vector_float{a.v[1], a.v[3], b.v[1], b.v[3]};
}
inline void unzip(Vec<double> a, Vec<double> b, Vec<double>* even, Vec<double>* odd) {
    even->v = Vector_double{a.v[0], b.v[0]};
    odd->v = Vector_double{a.v[1], b.v[1]};
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
inline Vec<float> every_second(Vec<float> a, Vec<float> b) { return {Vector_float{a.v[0], a.v[2], b.v[1], b.v[3]}}; }
inline Vec<double> every_second(Vec<double> a, Vec<double> b) { return {Vector_double{a.v[0], b.v[1]}}; }

}  // namespace
}  // namespace portable
}  // namespace kernels
}  // namespace convlens
