// AVX2 and FMA: two registers a 64-byte block.
#pragma once

#include <immintrin.h>

namespace convlens {
namespace kernels {
namespace avx2 {
namespace {

// What is `in_order` happens as it is written, and a sum stays in its register: of an unrolled loop over twelve sums
// GCC 12 mixes the elements, has no register left, and keeps sums in memory.
template <class Real>
struct Vec;

template <>
struct Vec<float> {
    typedef Vec Narrow;
    static constexpr int width = 8;
    static constexpr int registers = 16;
    static constexpr bool ordered = true;
    __m256 v;
    static Vec zero() { return {_mm256_setzero_ps()}; }
    static Vec splat(float x) { return {_mm256_set1_ps(x)}; }
    static Vec splat_in_order(const float* p) {
        __m256 v;
        __asm__ volatile("vbroadcastss %1, %0" : "=x"(v) : "m"(*p));
        return {v};
    }
    static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static Vec load_in_order(const float* p) {
        __m256 v;
        __asm__ volatile("vmovups %1, %0" : "=x"(v) : "m"(*reinterpret_cast<const __m256_u*>(p)));
        return {v};
    }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
    void stream(float* p) const { _mm256_stream_ps(p, v); }
};
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec<float> fma_in_order(Vec<float> a, Vec<float> b, Vec<float> c) {
    __m256 v = c.v;
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+x"(v) : "x"(a.v), "x"(b.v));
    return {v};
}
inline Vec<float> operator+(Vec<float> a, Vec<float> b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec<float> operator-(Vec<float> a, Vec<float> b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec<float> operator*(Vec<float> a, Vec<float> b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec<float> operator/(Vec<float> a, Vec<float> b) { return {_mm256_div_ps(a.v, b.v)}; }
// max(a, b) is b when either is NaN: write max(zero, x) to let NaN through.
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm256_min_ps(a.v, b.v)}; }

template <>
struct Vec<double> {
    typedef Vec Narrow;
    static constexpr int width = 4;
    static constexpr int registers = 16;
    static constexpr bool ordered = true;
    __m256d v;
    static Vec zero() { return {_mm256_setzero_pd()}; }
    static Vec splat(double x) { return {_mm256_set1_pd(x)}; }
    static Vec splat_in_order(const double* p) {
        __m256d v;
        __asm__ volatile("vbroadcastsd %1, %0" : "=x"(v) : "m"(*p));
        return {v};
    }
    static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
    static Vec load_in_order(const double* p) {
        __m256d v;
        __asm__ volatile("vmovupd %1, %0" : "=x"(v) : "m"(*reinterpret_cast<const __m256d_u*>(p)));
        return {v};
    }
    void store(double* p) const { _mm256_storeu_pd(p, v); }
    void stream(double* p) const { _mm256_stream_pd(p, v); }
};
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
inline Vec<double> fma_in_order(Vec<double> a, Vec<double> b, Vec<double> c) {
    __m256d v = c.v;
    __asm__ volatile("vfmadd231pd %2, %1, %0" : "+x"(v) : "x"(a.v), "x"(b.v));
    return {v};
}
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
// Bit i is set where lane i is above zero; NaN is not.
inline unsigned positive_bits(Vec<float> a) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, _mm256_setzero_ps(), _CMP_GT_OQ)));
}
inline unsigned positive_bits(Vec<double> a) {
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a.v, _mm256_setzero_pd(), _CMP_GT_OQ)));
}
// Lane i of `a` where bit i is set, else +0. Bits above the vector's are ignored.
inline Vec<float> keep_where(unsigned bits, Vec<float> a) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane);
    return {_mm256_and_ps(a.v, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)))};
}
inline Vec<double> keep_where(unsigned bits, Vec<double> a) {
    const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi64x(static_cast<long long>(bits)), lane);
    return {_mm256_and_pd(a.v, _mm256_castsi256_pd(_mm256_cmpeq_epi64(set, lane)))};
}
// To memory of any alignment.
template <class Real>
inline void store_anywhere(Real* p, Vec<Real> a) {
    a.store(p);
}
// Bytes as the integers of lanes, and back; the vector is a carrier of bits here (to_ints in body/math.h). Written out
// because compilers convert such vectors one element at a time.
inline Vec<float> widen_bytes(const unsigned char* p, Vec<float>) {
    return {_mm256_castsi256_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}
inline Vec<double> widen_bytes(const unsigned char* p, Vec<double>) {
    int bytes;
    __builtin_memcpy(&bytes, p, 4);
    return {_mm256_castsi256_pd(_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes)))};
}
inline void narrow_bytes(unsigned char* p, Vec<float> a) {
    const __m256i v = _mm256_castps_si256(a.v);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
inline void narrow_bytes(unsigned char* p, Vec<double> a) {
    const __m256i v = _mm256_castpd_si256(a.v);
    const __m256i low = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm_setzero_si128());
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    __builtin_memcpy(p, &bytes, 4);
}
// int64 as the integers of lanes, the nearest that there is.
inline Vec<float> narrow_integers(const void* p, Vec<float>) {
    const __m256 first = _mm256_loadu_ps(static_cast<const float*>(p));
    const __m256 second = _mm256_loadu_ps(static_cast<const float*>(p) + 8);
    const __m256i low = _mm256_castps_si256(_mm256_shuffle_ps(first, second, _MM_SHUFFLE(2, 0, 2, 0)));
    const __m256i high = _mm256_castps_si256(_mm256_shuffle_ps(first, second, _MM_SHUFFLE(3, 1, 3, 1)));
    // The upper half of one that fits repeats its sign.
    const __m256i fits = _mm256_cmpeq_epi32(high, _mm256_srai_epi32(low, 31));
    const __m256i limit = _mm256_xor_si256(_mm256_srai_epi32(high, 31), _mm256_set1_epi32(0x7fffffff));
    const __m256i mixed = _mm256_blendv_epi8(limit, low, fits);
    return {_mm256_castsi256_ps(_mm256_permute4x64_epi64(mixed, _MM_SHUFFLE(3, 1, 2, 0)))};
}
inline Vec<double> narrow_integers(const void* p, Vec<double>) {
    return Vec<double>::load(static_cast<const double*>(p));
}
// The lanes of two vectors in turn, from their lower and their upper halves: a0 b0 a1 b1 ...
inline void zip(Vec<float> a, Vec<float> b, Vec<float>* low, Vec<float>* high) {
    const __m256 even = _mm256_unpacklo_ps(a.v, b.v), odd = _mm256_unpackhi_ps(a.v, b.v);
    low->v = _mm256_permute2f128_ps(even, odd, 0x20);
    high->v = _mm256_permute2f128_ps(even, odd, 0x31);
}
inline void zip(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
    const __m256d even = _mm256_unpacklo_pd(a.v, b.v), odd = _mm256_unpackhi_pd(a.v, b.v);
    low->v = _mm256_permute2f128_pd(even, odd, 0x20);
    high->v = _mm256_permute2f128_pd(even, odd, 0x31);
}
// And apart again: the even and the odd ones of a's lanes followed by b's, both in an order that in_order() undoes; it
// also makes that order.
inline void unzip(Vec<float> a, Vec<float> b, Vec<float>* even, Vec<float>* odd) {
    even->v = _mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(2, 0, 2, 0));
    odd->v = _mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(3, 1, 3, 1));
}
inline void unzip(Vec<double> a, Vec<double> b, Vec<double>* even, Vec<double>* odd) {
    even->v = _mm256_unpacklo_pd(a.v, b.v);
    odd->v = _mm256_unpackhi_pd(a.v, b.v);
}
inline Vec<double> in_order(Vec<double> a) { return {_mm256_permute4x64_pd(a.v, _MM_SHUFFLE(3, 1, 2, 0))}; }
inline Vec<float> in_order(Vec<float> a) { return {_mm256_castpd_ps(in_order(Vec<double>{_mm256_castps_pd(a.v)}).v)}; }
// Pieces of 16 bytes, each `step` elements behind the one before; zip within every piece.
inline Vec<float> load_pieces(const float* p, int64_t step) {
    return {_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1)};
}
inline Vec<double> load_pieces(const double* p, int64_t step) {
    return {_mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + step), 1)};
}
inline void zip_pieces(Vec<float> a, Vec<float> b, Vec<float>* low, Vec<float>* high) {
    low->v = _mm256_unpacklo_ps(a.v, b.v);
    high->v = _mm256_unpackhi_ps(a.v, b.v);
}
inline void zip_pieces(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
    low->v = _mm256_unpacklo_pd(a.v, b.v);
    high->v = _mm256_unpackhi_pd(a.v, b.v);
}
// Even lanes of `a`, odd lanes of `b` ...: a0 a2 ... b1 b3 ...: every second of twice as many neighbours, when b begins
// one before a ends.
inline Vec<float> every_second(Vec<float> a, Vec<float> b) {
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(3, 1, 2, 0)));
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(pairs, _MM_SHUFFLE(3, 1, 2, 0)))};
}
inline Vec<double> every_second(Vec<double> a, Vec<double> b) {
    return {_mm256_permute4x64_pd(_mm256_shuffle_pd(a.v, b.v, 0xa), _MM_SHUFFLE(3, 1, 2, 0))};
}

}  // namespace
}  // namespace avx2
}  // namespace kernels
}  // namespace convlens
