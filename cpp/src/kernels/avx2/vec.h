// AVX2 and FMA: two registers a 64-byte block.
#pragma once

#include <immintrin.h>

namespace convlens { namespace kernels { namespace avx2 { namespace {

template <class Real>
struct Vec;

template <>
struct Vec<float> {
    static constexpr int width = 8;
    static constexpr int registers = 16;
    __m256 v;
    static Vec zero() { return {_mm256_setzero_ps()}; }
    static Vec splat(float x) { return {_mm256_set1_ps(x)}; }
    static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
};
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec<float> operator+(Vec<float> a, Vec<float> b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec<float> operator-(Vec<float> a, Vec<float> b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec<float> operator*(Vec<float> a, Vec<float> b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec<float> operator/(Vec<float> a, Vec<float> b) { return {_mm256_div_ps(a.v, b.v)}; }
// max(a, b) is b when either is NaN: write max(zero, x) to let NaN through.
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm256_min_ps(a.v, b.v)}; }

template <>
struct Vec<double> {
    static constexpr int width = 4;
    static constexpr int registers = 16;
    __m256d v;
    static Vec zero() { return {_mm256_setzero_pd()}; }
    static Vec splat(double x) { return {_mm256_set1_pd(x)}; }
    static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
    void store(double* p) const { _mm256_storeu_pd(p, v); }
};
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
inline Vec<double> operator+(Vec<double> a, Vec<double> b) { return {_mm256_add_pd(a.v, b.v)}; }
inline Vec<double> operator-(Vec<double> a, Vec<double> b) { return {_mm256_sub_pd(a.v, b.v)}; }
inline Vec<double> operator*(Vec<double> a, Vec<double> b) { return {_mm256_mul_pd(a.v, b.v)}; }
inline Vec<double> operator/(Vec<double> a, Vec<double> b) { return {_mm256_div_pd(a.v, b.v)}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {_mm256_max_pd(a.v, b.v)}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {_mm256_min_pd(a.v, b.v)}; }

inline Vec<float> sqrt(Vec<float> a) { return {_mm256_sqrt_ps(a.v)}; }
inline Vec<double> sqrt(Vec<double> a) { return {_mm256_sqrt_pd(a.v)}; }
// The sign bit of lane i in bit i; body/math.h makes masks of it.
inline unsigned sign_bits(Vec<float> a) { return static_cast<unsigned>(_mm256_movemask_ps(a.v)); }
inline unsigned sign_bits(Vec<double> a) { return static_cast<unsigned>(_mm256_movemask_pd(a.v)); }

} } } }
