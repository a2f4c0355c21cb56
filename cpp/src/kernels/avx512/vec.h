// AVX-512: one register is a whole 64-byte block.
#pragma once

// GCC 12's own header reads an undefined register on purpose and warns of it (fixed in GCC 13).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace convlens {
namespace kernels {
namespace avx512 {
namespace {

// Half a register, for rows that would leave the other half of a whole one empty.
struct HalfVec {
    static constexpr int width = 8;
    __m256 v;
    static HalfVec zero() { return {_mm256_setzero_ps()}; }
    static HalfVec splat(float x) { return {_mm256_set1_ps(x)}; }
    static HalfVec load(const float* p) { return {_mm256_loadu_ps(p)}; }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
};
inline HalfVec fma(HalfVec a, HalfVec b, HalfVec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline HalfVec operator+(HalfVec a, HalfVec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline HalfVec keep_where(unsigned bits, HalfVec a) { return {_mm256_maskz_mov_ps(static_cast<__mmask8>(bits), a.v)}; }
inline void store_anywhere(float* p, HalfVec a) { a.store(p); }
inline void zip(HalfVec a, HalfVec b, HalfVec* low, HalfVec* high) {
    low->v = _mm256_permutex2var_ps(a.v, _mm256_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11), b.v);
    high->v = _mm256_permutex2var_ps(a.v, _mm256_setr_epi32(4, 12, 5, 13, 6, 14, 7, 15), b.v);
}
inline void unzip(HalfVec a, HalfVec b, HalfVec* even, HalfVec* odd) {
    even->v = _mm256_permutex2var_ps(a.v, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14), b.v);
    odd->v = _mm256_permutex2var_ps(a.v, _mm256_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15), b.v);
}
inline HalfVec in_order(HalfVec a) { return a; }
// Each lane's next one; the last lane's does not matter.
inline HalfVec next_lanes(HalfVec a) {
    return {_mm256_permutevar8x32_ps(a.v, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 7))};
}

template <class Real>
struct Vec;

template <>
struct Vec<float> {
    typedef HalfVec Narrow;  // of lanes that a row of few pixels fills
    static constexpr int width = 16;
    static constexpr int registers = 32;
    static constexpr bool ordered = false;
    __m512 v;
    static Vec zero() { return {_mm512_setzero_ps()}; }
    static Vec splat(float x) { return {_mm512_set1_ps(x)}; }
    static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, v); }
    void stream(float* p) const { _mm512_stream_ps(p, v); }
};
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// The lower half of the lanes, in half the time; the others may be anything.
inline Vec<float> fma_low(Vec<float> a, Vec<float> b, Vec<float> c) {
    return {_mm512_castps256_ps512(
        _mm256_fmadd_ps(_mm512_castps512_ps256(a.v), _mm512_castps512_ps256(b.v), _mm512_castps512_ps256(c.v)))};
}
inline Vec<float> operator+(Vec<float> a, Vec<float> b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec<float> operator-(Vec<float> a, Vec<float> b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec<float> operator*(Vec<float> a, Vec<float> b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec<float> operator/(Vec<float> a, Vec<float> b) { return {_mm512_div_ps(a.v, b.v)}; }
// max(a, b) is b when either is NaN: write max(zero, x) to let NaN through.
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm512_min_ps(a.v, b.v)}; }

template <>
struct Vec<double> {
    typedef Vec Narrow;
    static constexpr int width = 8;
    static constexpr int registers = 32;
    static constexpr bool ordered = false;
    __m512d v;
    static Vec zero() { return {_mm512_setzero_pd()}; }
    static Vec splat(double x) { return {_mm512_set1_pd(x)}; }
    static Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
    void store(double* p) const { _mm512_storeu_pd(p, v); }
    void stream(double* p) const { _mm512_stream_pd(p, v); }
};
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
inline Vec<double> operator+(Vec<double> a, Vec<double> b) { return {_mm512_add_pd(a.v, b.v)}; }
inline Vec<double> operator-(Vec<double> a, Vec<double> b) { return {_mm512_sub_pd(a.v, b.v)}; }
inline Vec<double> operator*(Vec<double> a, Vec<double> b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline Vec<double> operator/(Vec<double> a, Vec<double> b) { return {_mm512_div_pd(a.v, b.v)}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {_mm512_max_pd(a.v, b.v)}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {_mm512_min_pd(a.v, b.v)}; }

inline Vec<float> sqrt(Vec<float> a) { return {_mm512_sqrt_ps(a.v)}; }
inline Vec<double> sqrt(Vec<double> a) { return {_mm512_sqrt_pd(a.v)}; }
// The sign bit of lane i in bit i; body/math.h makes masks of it.
inline unsigned sign_bits(Vec<float> a) { return _mm512_movepi32_mask(_mm512_castps_si512(a.v)); }
inline unsigned sign_bits(Vec<double> a) { return _mm512_movepi64_mask(_mm512_castpd_si512(a.v)); }
// Bit i is set where lane i is above zero; NaN is not.
inline unsigned positive_bits(Vec<float> a) { return _mm512_cmp_ps_mask(a.v, _mm512_setzero_ps(), _CMP_GT_OQ); }
inline unsigned positive_bits(Vec<double> a) { return _mm512_cmp_pd_mask(a.v, _mm512_setzero_pd(), _CMP_GT_OQ); }
// Lane i of `a` where bit i is set, else +0.
inline Vec<float> keep_where(unsigned bits, Vec<float> a) {
    return {_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), a.v)};
}
inline Vec<double> keep_where(unsigned bits, Vec<double> a) {
    return {_mm512_maskz_mov_pd(static_cast<__mmask8>(bits), a.v)};
}
// To memory of any alignment: 64 bytes over the end of a cache line take 11 cycles, each half 1.4 (AMD EPYC 9004).
inline void store_anywhere(float* p, Vec<float> a) {
    _mm256_storeu_ps(p, _mm512_castps512_ps256(a.v));
    _mm256_storeu_ps(p + 8, _mm512_extractf32x8_ps(a.v, 1));
}
inline void store_anywhere(double* p, Vec<double> a) {
    _mm256_storeu_pd(p, _mm512_castpd512_pd256(a.v));
    _mm256_storeu_pd(p + 4, _mm512_extractf64x4_pd(a.v, 1));
}
// Bytes as the integers of lanes, and back; the vector is a carrier of bits here (to_ints in body/math.h). Written out
// because compilers convert such vectors one element at a time.
inline Vec<float> widen_bytes(const unsigned char* p, Vec<float>) {
    return {_mm512_castsi512_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
inline Vec<double> widen_bytes(const unsigned char* p, Vec<double>) {
    return {_mm512_castsi512_pd(_mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}
inline void narrow_bytes(unsigned char* p, Vec<float> a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(a.v)));
}
inline void narrow_bytes(unsigned char* p, Vec<double> a) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm512_cvtepi64_epi8(_mm512_castpd_si512(a.v)));
}
// int64 as the integers of lanes, the nearest that there is.
inline Vec<float> narrow_integers(const void* p, Vec<float>) {
    const __m256i low = _mm512_cvtsepi64_epi32(_mm512_loadu_si512(p));
    const __m256i high = _mm512_cvtsepi64_epi32(_mm512_loadu_si512(static_cast<const char*>(p) + 64));
    return {_mm512_castsi512_ps(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1))};
}
inline Vec<double> narrow_integers(const void* p, Vec<double>) { return {_mm512_loadu_pd(p)}; }
// Pieces of 16 bytes, each `step` elements behind the one before; zip within every piece. Loads put pieces where
// shuffles would have to bring them.
inline __m256 load_two_pieces(const float* p, int64_t step) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
}
inline __m256d load_two_pieces(const double* p, int64_t step) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + step), 1);
}
inline Vec<float> load_pieces(const float* p, int64_t step) {
    __m512 v = _mm512_castps256_ps512(load_two_pieces(p, step));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 2 * step), 2);
    return {_mm512_insertf32x4(v, _mm_loadu_ps(p + 3 * step), 3)};
}
inline Vec<double> load_pieces(const double* p, int64_t step) {
    __m512d v = _mm512_castpd256_pd512(load_two_pieces(p, step));
    v = _mm512_insertf64x2(v, _mm_loadu_pd(p + 2 * step), 2);
    return {_mm512_insertf64x2(v, _mm_loadu_pd(p + 3 * step), 3)};
}
inline void zip_pieces(Vec<float> a, Vec<float> b, Vec<float>* low, Vec<float>* high) {
    low->v = _mm512_unpacklo_ps(a.v, b.v);
    high->v = _mm512_unpackhi_ps(a.v, b.v);
}
inline void zip_pieces(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
    low->v = _mm512_unpacklo_pd(a.v, b.v);
    high->v = _mm512_unpackhi_pd(a.v, b.v);
}
// The lanes of two vectors in turn, from their lower and their upper halves: a0 b0 a1 b1 ...
inline void zip(Vec<float> a, Vec<float> b, Vec<float>* low, Vec<float>* high) {
    const __m512i lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i upper = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    low->v = _mm512_permutex2var_ps(a.v, lower, b.v);
    high->v = _mm512_permutex2var_ps(a.v, upper, b.v);
}
inline void zip(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
    const __m512i lower = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i upper = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    low->v = _mm512_permutex2var_pd(a.v, lower, b.v);
    high->v = _mm512_permutex2var_pd(a.v, upper, b.v);
}
// And apart again: the even and the odd ones of a's lanes followed by b's, both in an order that in_order() undoes; it
// also makes that order.
inline void unzip(Vec<float> a, Vec<float> b, Vec<float>* even, Vec<float>* odd) {
    const __m512i first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i second = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    even->v = _mm512_permutex2var_ps(a.v, first, b.v);
    odd->v = _mm512_permutex2var_ps(a.v, second, b.v);
}
inline void unzip(Vec<double> a, Vec<double> b, Vec<double>* even, Vec<double>* odd) {
    even->v = _mm512_permutex2var_pd(a.v, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b.v);
    odd->v = _mm512_permutex2var_pd(a.v, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b.v);
}
template <class Real>
inline Vec<Real> in_order(Vec<Real> a) {
    return a;
}
// Even lanes of `a`, odd lanes of `b` ...: a0 a2 ... b1 b3 ...: every second of twice as many neighbours, when b begins
// one before a ends.
inline Vec<float> every_second(Vec<float> a, Vec<float> b) {
    const __m512i lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
    return {_mm512_permutex2var_ps(a.v, lanes, b.v)};
}
inline Vec<double> every_second(Vec<double> a, Vec<double> b) {
    return {_mm512_permutex2var_pd(a.v, _mm512_setr_epi64(0, 2, 4, 6, 9, 11, 13, 15), b.v)};
}

}  // namespace
}  // namespace avx512
}  // namespace kernels
}  // namespace convlens
